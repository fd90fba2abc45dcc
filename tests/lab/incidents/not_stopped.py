"""Must not fire: an essential service that was busy and one that slept are stopped by a signal, and go on later."""


def run(story):
    services = [story.service("busy", "busy"), story.service("idle", "idle")]
    story.service("bird", "route")
    story.observe()
    for service in services:
        service.kill(19)
    story.mark("stopped")
    story.watch(15)
    story.note("in truth", f"grep -h State: /proc/{story.pid('busy')}/status /proc/{story.pid('idle')}/status")
    for service in services:
        service.kill(18)
    story.watch(6)


def expect(seen):
    span = seen.marks["stopped"], seen.marks["end"]
    seen.undisturbed(span)
    seen.reaches('stall_tasks{state="T"}', 2, span)
