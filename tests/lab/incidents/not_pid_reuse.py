"""Must not fire: process after process with one and the same id waits 5 s in D; that is no wait of 20 s."""

from machine.figures import ALARMS

LIVES = """
number=$(cut -d' ' -f5 /proc/loadavg)
for life in 1 2 3 4; do
    echo $((number + 100)) >/proc/sys/kernel/ns_last_pid
    (echo 'park 5 uninterruptible' >/proc/stall_fault) &
    wait
done
"""
# Each of them really waits, longer than the threshold and a walk; only a sum would be wrong.
SECONDS = 5
TRUE = ("stall_blocked_tasks", "stall_suspect_seconds")
ALONE = {series: most for series, most in ALARMS.items() if not series.startswith(TRUE)}


def run(story):
    story.service("bird", "route")
    story.observe()
    story.mark("reused")
    story.background(LIVES)
    story.watch(26)
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
