"""Must not fire: a process of 256 MiB and one of several threads dump core into a pipe that is read slowly."""

SLOW = """#!/bin/sh
while dd bs=64k count=1 2>&1 >/dev/null | grep -q '^[01]+[01] records in' && [ $((n += 1)) -lt 150 ]; do
    sleep 0.2
done
"""


def run(story):
    for name in ("bulk", "sleepers"):
        story.services.append(name)
    story.service("bird", "route")
    story.run(f"cat >/tmp/slow <<'EOF'\n{SLOW}EOF\nchmod +x /tmp/slow; echo '|/tmp/slow' >/proc/sys/kernel/core_pattern")
    story.background("ulimit -c unlimited; exec /lab/service bulk bulk")
    story.background("ulimit -c unlimited; exec /lab/sleepers 4 threads 60")
    story.observe()
    story.run(f"kill -SEGV {story.pid('bulk')} {story.pid('sleepers')}")
    story.mark("dumping")
    story.watch(20)
    story.note("still dumping", "grep -l CoreDumping:.1 /proc/[0-9]*/status | xargs -r grep -hE '^(Name|State|CoreDumping):' | cut -f2")


def expect(seen):
    span = seen.marks["dumping"], seen.marks["end"]
    seen.undisturbed(span)
    for comm in ("bulk", "sleepers"):
        seen.never_more(f'stall_blocked_group_seconds_max{{comm="{comm}"}}', 0, span)
