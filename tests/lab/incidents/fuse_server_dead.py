"""A FUSE server stops answering: its client waits in D, killable; the service is blocked, the kernel is not hung."""


def run(story):
    story.run("mkdir -p /mnt/fuse")
    server = story.background("exec /lab/fuse_server /mnt/fuse")
    story.run("until [ -e /mnt/fuse/file ]; do sleep 0.1; done")
    story.service("webapp", "stat /mnt/fuse/file")
    story.observe()
    server.kill(19)
    story.mark("lost")
    story.watch(25)
    story.note("in truth", f"grep State: /proc/{story.pid('webapp')}/status; cat /proc/{story.pid('webapp')}/wchan")
    story.mark("back")
    server.kill(18)
    story.watch(12)


def expect(seen):
    lost = seen.marks["lost"], seen.marks["back"]
    seen.wedged(lost)
    series = 'stall_service_blocked_seconds{service="webapp"}'
    seen.sees(series, 2, lost, within=10)
    seen.lower_bound(series, lost)
    seen.ends(series, lost[1], within=6)
    seen.reaches('stall_known_wait_tasks{kind="server"}', 1, lost)
    # Who else looks at every mount may hang there too, but nobody hangs in the kernel.
    seen.never_more("stall_blocked_tasks{.*}", 0, lost)
    seen.never_more("stall_probe_stuck_seconds{.*}", 0, lost)
