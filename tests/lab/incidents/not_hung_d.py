"""Must not fire: either freezer, a vfork parent, a core dump, a stop signal. In D or still, and nothing is wrong."""


def run(story):
    frozen_v2 = story.group("paused.service")
    story.background(f"{frozen_v2} exec /lab/service paused idle")
    story.run("mkdir -p /tmp/freezer && mount -t cgroup -o freezer freezer /tmp/freezer && mkdir /tmp/freezer/docker")
    story.background("echo $$ >/tmp/freezer/docker/cgroup.procs; exec /lab/service docker idle")
    stopped = story.background("exec /lab/service stopped busy")
    story.service("bird", "route")
    story.observe()
    story.run("echo 1 >/sys/fs/cgroup/paused.service/cgroup.freeze")
    story.run("echo FROZEN >/tmp/freezer/docker/freezer.state")
    stopped.kill(19)
    story.background("exec /lab/vfork_parent 25 2")
    # A dump that is taken slowly: nobody reads the pipe, and the threads of the process wait for its end.
    story.run("echo '|/bin/sleep 30' >/proc/sys/kernel/core_pattern")
    story.background("ulimit -c unlimited; exec /lab/sleepers 4 threads 60")
    story.run(f"kill -SEGV {story.pid('sleepers')}")
    story.mark("still")
    story.watch(20)
    names = "paused|docker|stopped|vfork_parent|sleepers"
    story.note("in truth", f"grep -lE '^Name:.({names})$' /proc/[0-9]*/task/*/status | xargs grep -hE '^(Name|State):' | cut -f2")


def expect(seen):
    span = seen.marks["still"], seen.marks["end"]
    seen.answers(span, within=0.5)
    seen.never_more('stall_service_(blocked|starved)_seconds{service="(bird|init)"}', 1, span)
    for comm in ("paused", "docker", "stopped", "vfork_parent", "sleepers"):
        seen.never_more(f'stall_blocked_group_seconds_max{{comm="{comm}"}}', 0, span)
    seen.never_more("stall_blocked_tasks{.*}", 0, span)
    # Told apart, not overlooked. The dump is not in it on kernels that let its threads wait in I instead of D.
    seen.reaches('stall_known_wait_tasks{kind="vfork"}', 2, span)
