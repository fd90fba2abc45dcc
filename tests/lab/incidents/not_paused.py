"""Must not fire: the hypervisor pauses the machine for 15 s, and the wall clock is set an hour ahead and back."""


def run(story):
    story.service("bird", "route")
    story.observe()
    story.pause(15)
    story.watch(8)
    story.run("date -s @$(($(date +%s) + 3600)) >/dev/null")
    story.watch(6)
    story.run("date -s @$(($(date +%s) - 3600)) >/dev/null")
    story.watch(6)


def expect(seen):
    span = seen.marks["calm"], seen.marks["end"]
    seen.answers(span, within=0.5)
    for state in ("blocked", "starved"):
        seen.never_more(f"stall_service_{state}_seconds{{.*}}", 1, span)
    seen.never_more("stall_blocked_tasks{.*}", 0, span)
    seen.never_more("stall_probe_stuck_seconds{.*}", 0, span)
