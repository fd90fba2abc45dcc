"""S4: somebody reads in the kernel for 400 ms at a time; ksoftirqd of that CPU is runnable and packets wait for it."""

from machine.packets import Packets


def run(story):
    packets = Packets(story)
    story.observe()
    packets.calm_is_over()
    reader = story.fault("spin 20 bursts")
    story.tells(12)
    reader.wait_for("end", 60)
    story.facts["late_ms"] = packets.end()
    story.watch(10)


def expect(seen):
    truth = seen.truths[0]
    span = truth["start"], truth["end"]
    late = seen.facts["late_ms"]
    seen.check("packets are late in truth", late["wedged"] >= 150, f"{late} ms")
    seen.wedged(span)
    series = 'stall_softirq_pending_seconds{cpu="1"}'
    seen.sees(series, 0.05, span, within=20)
    seen.never_more(series, 1.5, span)
    seen.never_more('stall_softirq_pending_seconds{cpu="0"}', 0.1, span)
    seen.grows('stall_kthread_run_delay_seconds_total{kthread="ksoftirqd",cpu="1"}', 2, span)
    seen.ends(series, span[1], within=2)
    holder = f"Probable holder sh, pid {truth['tid']}: likely (0.90)"
    seen.told("Packets of CPU 1 may come late: ksoftirqd/1", holder, "s at a time", "perf record -a -C 1")
