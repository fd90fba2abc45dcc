"""Must not fire: a kernel thread that is in D most of the time and makes progress ten times a second."""


def run(story):
    story.service("bird", "idle")
    story.observe()
    story.fault("thread 1 park 25 flap").wait_for("end", 60)
    story.watch(5)


def expect(seen):
    truth = seen.truths[0]
    span = truth["start"], truth["end"]
    seen.undisturbed(span)
    seen.never_more('stall_blocked_group_seconds_max{comm="stall_fault.*"}', 1, span)
    # It is in D, and the load average counts it: that is the difference between the two.
    seen.reaches("stall_active_tasks", 1, span)
