"""S4 as it was: somebody reads in the kernel for a second and sleeps for nine, so that hardly a look meets it at work."""

from machine.packets import Packets

TIMES = 6


def run(story):
    packets = Packets(story)
    story.observe()
    packets.calm_is_over()
    command = "spin 1 bursts"
    reader = story.fault(command, again=f"for _ in $(seq {TIMES - 1}); do sleep 9; echo '{command}'; done")
    story.tells(TIMES * 10)
    reader.wait_for("end", 60)
    story.facts["late_ms"] = packets.end()
    story.watch(5)


def expect(seen):
    truth = seen.truths[0]
    span = truth["start"], truth["end"]
    late = seen.facts["late_ms"]
    seen.check("packets are late in truth", late["wedged"] >= 150, f"{late} ms")
    seen.check("it came back", span[1] - span[0] >= (TIMES - 2) * 10, f"{span[1] - span[0]:.1f} s")
    seen.wedged(span)
    seen.never_more('stall_softirq_pending_seconds{cpu="1"}', 1.5, span)
    seen.grows('stall_kthread_run_delay_seconds_total{kthread="ksoftirqd",cpu="1"}', 1, span)
    holder = f"Probable holder sh, pid {truth['tid']}: "
    seen.told("Packets of CPU 1 may come late: ksoftirqd/1", holder, "s at a time", "perf record -a -C 1")
