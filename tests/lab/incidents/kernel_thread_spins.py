"""S2's kworker: a kernel thread works without a pause, preempted whenever somebody wants its CPU; a busy loop is none."""


def run(story):
    # A program that is as busy, in user space, on the same CPU.
    story.unit("cruncher", "/lab/service cruncher busy", "taskset -p 2 $$ >/dev/null;")
    story.observe()
    story.fault("thread 1 spin 25 preemptible").wait_for("end", 90)
    story.watch(10)


def expect(seen):
    truth = seen.truths[0]
    spun = truth["start"], truth["end"]
    seen.wedged(spun)
    spin = 'stall_kernel_spin_seconds_max{comm="stall_fault/1"}'
    seen.sees(spin, 5, spun, within=20)
    seen.lower_bound(spin, spun)
    seen.ends(spin, spun[1], within=8)
    seen.never_more('stall_kernel_spin_seconds_max{comm="cruncher"}', 0, spun)
