"""Two kernel threads wait in D for what does not come, one of them killable: kernel threads cannot be killed."""


def run(story):
    story.service("bird", "route")
    story.observe()
    story.fault("thread 0 park 20 killable").wait_for("start", 10)
    story.fault("thread 1 park 20 uninterruptible").wait_for("end", 60)
    story.watch(12)


def expect(seen):
    span = seen.truths[1]["start"], seen.truths[0]["end"]
    seen.wedged(span)
    for cpu in (0, 1):
        series = f'stall_blocked_group_seconds_max{{comm="stall_fault/{cpu}"}}'
        seen.sees(series, 2, span, within=10)
        seen.lower_bound(series, (seen.truths[cpu]["start"], span[1]))
        seen.ends(series, seen.truths[1]["end"], within=5)
    seen.reaches("stall_active_tasks", 2, span)
    seen.never_more('stall_service_blocked_seconds{service="bird"}', 0, span)
