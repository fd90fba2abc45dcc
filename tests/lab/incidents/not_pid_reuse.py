"""Must not fire: process after process with one and the same id waits 3 s in D; that is no wait of 15 s."""

from machine.figures import ALARMS

LIVES = """
number=$(cut -d' ' -f5 /proc/loadavg)
for life in 1 2 3 4 5; do
    echo $((number + 100)) >/proc/sys/kernel/ns_last_pid
    (echo 'park 3 uninterruptible' >/proc/stall_fault) &
    wait
done
"""
# Each of them really waits, longer than the threshold; only a sum would be wrong.
SECONDS = 3
TRUE = ("stall_blocked_tasks", "stall_suspect_seconds")
ALONE = {series: most for series, most in ALARMS.items() if not series.startswith(TRUE)}


def run(story):
    story.service("bird", "route")
    story.observe()
    story.mark("reused")
    story.background(LIVES)
    story.watch(22)
    lives = [line.split() for line in story.run("cat /proc/stall_fault").splitlines()]
    story.facts["tids"] = [life[1] for life in lives if life[3] == "end"]


def expect(seen):
    span = seen.marks["reused"], seen.marks["end"]
    tids = seen.facts["tids"]
    seen.check("the id was used again", len(tids) - len(set(tids)) >= 2, " ".join(tids))
    seen.undisturbed(span, ALONE)
    # They are seen, or their sum could not be.
    seen.reaches('stall_blocked_group_seconds_max{comm="sh"}', 0.5, span)
    seen.never_more('stall_blocked_group_seconds_max{comm="sh"}', SECONDS + 0.5, span)
    seen.never_more('stall_blocked_seconds_max{.*}', SECONDS + 0.5, span)
