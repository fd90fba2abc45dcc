"""Must not fire: a process of 256 MiB and one of several threads dump core into a pipe that is read slowly."""

# Thirty seconds, a portion at a time; then the dump is cut off.
SLOW = """#!/bin/sh
for portion in $(seq 100); do
    dd bs=64k count=1 of=/dev/null 2>/dev/null
    sleep 0.3
done
"""


def run(story):
    for name in ("bulk", "sleepers"):
        story.services.append(name)
    story.service("bird", "route")
    story.run(f"cat >/tmp/slow <<'EOF'\n{SLOW}EOF\nchmod +x /tmp/slow")
    story.run("echo '|/tmp/slow' >/proc/sys/kernel/core_pattern")
    story.background("ulimit -c unlimited; exec /lab/service bulk bulk")
    story.background("ulimit -c unlimited; exec /lab/sleepers 4 threads 60")
    story.observe()
    story.run(f"kill -SEGV {story.pid('bulk')} {story.pid('sleepers')}")
    story.mark("dumping")
    story.watch(20)
    dumping = "grep -l CoreDumping:.1 /proc/[0-9]*/status | xargs -r grep -h ^Name: | cut -f2"
    story.facts["dumping"] = story.run(dumping).split()


def expect(seen):
    span = seen.marks["dumping"], seen.marks["end"]
    dumping = seen.facts["dumping"]
    seen.check("both still dump at the end", sorted(dumping) == ["bulk", "sleepers"], " ".join(dumping))
    seen.undisturbed(span)
    for comm in ("bulk", "sleepers"):
        seen.never_more(f'stall_blocked_group_seconds_max{{comm="{comm}"}}', 0, span)
