"""Must not fire: the hypervisor pauses the machine for 15 s."""


def run(story):
    story.service("bird", "route")
    story.observe()
    story.mark("paused")
    story.pause(15)
    story.watch(12)


def expect(seen):
    seen.undisturbed((seen.marks["paused"], seen.marks["end"]))
