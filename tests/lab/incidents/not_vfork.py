"""Must not fire: two tasks in D that wait for a vfork child which takes its time."""


def run(story):
    story.services.append("vfork_parent")
    story.service("bird", "route")
    story.observe()
    story.background("exec /lab/vfork_parent 25 2")
    story.mark("forked")
    story.watch(20)


def expect(seen):
    span = seen.marks["forked"], seen.marks["end"]
    seen.undisturbed(span)
    seen.never_more('stall_blocked_group_seconds_max{comm="vfork_parent"}', 0, span)
    # Told apart, not overlooked.
    seen.reaches('stall_known_wait_tasks{kind="vfork"}', 2, span)
