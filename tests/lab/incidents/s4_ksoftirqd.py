"""S4: somebody reads in the kernel for 400 ms at a time; ksoftirqd of that CPU is runnable and packets wait for it."""

import re


def run(story):
    # Small portions leave work to ksoftirqd at few packets; the busy neighbour makes the kernel want to reschedule.
    story.run("cd /proc/sys/net/core && echo 4 >netdev_budget && echo 4 >dev_weight")
    cruncher = story.service("cruncher", "busy", essential=False)
    story.run(f"taskset -p 2 {story.pid('cruncher')} >/dev/null")
    packets = story.unit("packets", "/lab/packets")
    story.observe()
    calm = len(packets.output.split("\n"))
    reader = story.fault("spin 20 bursts")
    story.tells(12)
    reader.wait_for("end", 60)
    cruncher.kill()
    late = [int(late) for late in re.findall(r"late (\d+)", packets.output)]
    story.facts["late_ms"] = {"calm": max(late[:calm], default=0), "wedged": max(late[calm:], default=0)}
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
    holder = f"Probable holder sh, pid {truth['tid']}: possible (0.50)"
    seen.told("Packets of CPU 1 may come late: ksoftirqd/1", holder, "perf record -a -C 1")
