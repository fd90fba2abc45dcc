"""Law 2: in a minute of scrapes no process of ours asks for rtnl_mutex, cgroup_mutex or a lock of another process.

Our neighbours run under the same instrument. That it counts their calls shows that it would count ours.
"""

from machine.walls import Walls

# Threads of the serving process. What the others wait for costs a probe; what these wait for costs the page.
FRONT = ("stall_exporter", "engine", "http")


def run(story):
    story.service("bird", "route")
    walls = Walls(story, (*story.targets, "kubelet"))
    # The one who asks for cgroup_mutex; from 6.7 on process-exporter does so no more.
    story.unit("kubelet", "/lab/service kubelet group /sys/fs/cgroup/pod", walls.enter("kubelet"))
    story.services.append("kubelet")
    story.observe(calm=0, before=walls.enter)
    story.watch(60)
    story.facts["watched"] = walls.watched
    story.facts["hits"] = {program: walls.hits(program) for program in (*story.targets, "kubelet")}
    story.facts["stacks"] = walls.stacks("ours")
    story.note("our threads", "grep -h ^Name: $(grep -l stall_exporter /proc/[0-9]*/comm | sed 's|comm|task/*/status|') | sort | uniq -c")


def expect(seen):
    span = seen.marks["calm"], seen.marks["end"]
    seen.undisturbed(span)
    ours = seen.facts["hits"]["ours"]
    for lock in ("rtnl_mutex", "cgroup_mutex", "mmap_lock"):
        seen.check(f"nobody of ours asks for {lock}", lock not in ours, ours.get(lock, "no call"))
    # The letter of a blocked kworker, and the work of one that spins, are in `stat`: the detail lane is apart for that.
    pool = [call for call in ours.get("wq_pool_attach_mutex", {}) if not call.endswith(" by detail")]
    seen.check("nobody but detail asks for wq_pool_attach_mutex", not pool, pool or "no other")
    # The detail lane may, for the start time and the wait channel of few tasks; front may not.
    exec_calls = ours.get("exec_update_lock", {})
    front = {call: count for call, count in exec_calls.items() if call.split(" by ")[1].startswith(FRONT)}
    seen.check("front never asks for exec_update_lock", not front, front or f"others: {exec_calls or 'no call'}")
    seeing = (("node_exporter", "rtnl_mutex"), ("kubelet", "cgroup_mutex"), ("process-exporter", "mmap_lock"))
    for peer, lock in seeing:
        calls = seen.facts["hits"][peer].get(lock, {})
        seen.check(f"the instrument sees {peer} ask for {lock}", calls, f"{sum(calls.values())} calls")
