"""S3: PID 1 is in D because somebody sleeps under cgroup_mutex; logins hang, the host looks idle and answers pings."""


def run(story):
    story.service("kubelet", "group /sys/fs/cgroup/pod")
    story.observe()
    holder = story.fault("hold cgroup 25 sleep")
    holder.wait_for("acquired", 10)
    story.run("kill -USR1 1")
    story.tells(12)
    holder.wait_for("released", 60)
    story.watch(12)


def expect(seen):
    held = seen.held()
    seen.wedged(held)
    seen.told("the lock of all control groups (cgroup_mutex)", "kubelet", "PID 1", "Do not close the shell")
    for service in ("init", "kubelet"):
        series = f'stall_service_blocked_seconds{{service="{service}"}}'
        seen.sees(series, 2, held, within=8)
        seen.reaches(series, 5, held, within=10)
        seen.lower_bound(series, held)
        seen.ends(series, held[1], within=5)
    # One of the two waits for the lock, the other one for the directory that the first one has locked.
    seen.reaches('stall_blocked_tasks{wchan="cgroup_kn_lock_live"}', 1, held)
    seen.reaches('stall_blocked_tasks{wchan="filename_create"}', 1, held)
    seen.reaches("stall_uninterruptible_tasks", 2, held)
    seen.reaches("stall_evidence_stacks_total", 2, held)
    seen.names('comm="sh",.*', held)
    # The lane of the control groups may hang: that is what it is apart for, and it says so.
    seen.never_more('stall_probe_stuck_seconds{lane="(tasks|detail)",.*}', 0, held)
