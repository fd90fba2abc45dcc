"""Must not fire: an essential service is frozen, one by each version of the freezer; it does what it was told."""


def run(story):
    story.service("paused", "busy")
    story.services.append("docker")
    story.run("mkdir -p /tmp/freezer && mount -t cgroup -o freezer freezer /tmp/freezer && mkdir /tmp/freezer/docker")
    story.background("echo $$ >/tmp/freezer/docker/cgroup.procs; exec /lab/service docker idle")
    story.service("bird", "route")
    story.observe()
    story.run("echo 1 >/sys/fs/cgroup/paused.service/cgroup.freeze")
    story.run("echo FROZEN >/tmp/freezer/docker/freezer.state")
    story.mark("frozen")
    story.watch(20)
    story.note("in truth", f"cat /tmp/freezer/docker/freezer.state; grep State: /proc/{story.pid('docker')}/status")


def expect(seen):
    span = seen.marks["frozen"], seen.marks["end"]
    seen.undisturbed(span)
    for comm in ("paused", "docker"):
        seen.never_more(f'stall_blocked_group_seconds_max{{comm="{comm}"}}', 0, span)
    # Told apart, not overlooked.
    seen.reaches('stall_known_wait_tasks{kind="freezer"}', 1, span)
