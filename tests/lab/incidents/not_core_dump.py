"""Must not fire: a process of 256 MiB and several threads dumps core into a pipe that is read slowly."""

# Thirty seconds, a portion at a time; then the dump is cut off.
SLOW = """#!/bin/sh
for portion in $(seq 100); do
    dd bs=64k count=1 of=/dev/null 2>/dev/null
    sleep 0.3
done
"""


def run(story):
    story.services.append("bulk")
    story.service("bird", "route")
    story.run(f"cat >/tmp/slow <<'EOF'\n{SLOW}EOF\nchmod +x /tmp/slow")
    story.run("echo '|/tmp/slow' >/proc/sys/kernel/core_pattern")
    story.background("ulimit -c unlimited; exec /lab/service bulk bulk")
    story.observe()
    story.run(f"kill -SEGV {story.pid('bulk')}")
    story.mark("dumping")
    story.watch(20)
    story.facts["still"] = story.run(f"grep CoreDumping /proc/{story.pid('bulk')}/status").split()


def expect(seen):
    span = seen.marks["dumping"], seen.marks["end"]
    still = seen.facts["still"]
    seen.check("it still dumps at the end", still == ["CoreDumping:", "1"], " ".join(still))
    seen.undisturbed(span)
    seen.never_more('stall_blocked_group_seconds_max{comm="bulk"}', 0, span)
