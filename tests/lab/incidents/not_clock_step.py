"""Must not fire: the wall clock is set an hour ahead and back; a wait over both steps is as long as it is."""


def run(story):
    story.service("bird", "route")
    story.observe()
    story.mark("step")
    story.background("exec /lab/vfork_parent 16")
    for seconds in (3600, -3600):
        story.watch(5)
        story.run(f"date -s @$(($(date +%s) + {seconds})) >/dev/null")
    story.watch(10)


def expect(seen):
    span = seen.marks["step"], seen.marks["end"]
    seen.undisturbed(span)
    seen.reaches('stall_known_wait_seconds_max{kind="vfork"}', 8, span)
    seen.never_more('stall_known_wait_seconds_max{kind="vfork"}', 17, span)
