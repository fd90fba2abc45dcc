"""S1: a task never leaves the kernel on CPU 1; whoever is bound to that CPU is runnable and not run, at any priority."""


def run(story):
    story.service("worker", "idle")
    story.run(f"taskset -p 2 {story.pid('worker')} >/dev/null")
    story.observe()
    hog = story.fault("spin 20 nopreempt")
    hog.wait_for("start", 10)
    story.tells(12)
    hog.wait_for("end", 60)
    story.watch(10)


def expect(seen):
    truth = seen.truths[0]
    spun = truth["start"], truth["end"]
    seen.wedged(spun)
    seen.told("works in the kernel without a pause on CPU 1", "worker")
    series = 'stall_service_starved_seconds{service="worker"}'
    seen.sees(series, 2, spun, within=10)
    seen.reaches(series, 5, spun, within=12)
    seen.lower_bound(series, spun)
    seen.ends(series, spun[1], within=6)
    # Who spins is named, with the one that waits for its CPU.
    spin = 'stall_kernel_spin_seconds_max{comm="sh"}'
    seen.reaches(spin, 5, spun, within=18)
    seen.lower_bound(spin, spun)
    seen.ends(spin, spun[1], within=6)
    seen.reaches("stall_kernel_spin_victim_seconds_max", 5, spun, within=18)
    seen.sees('stall_kernel_spin_seconds_max{comm="sh"}', 2, spun, within=12)
    seen.names('comm="sh",.*', spun)
    # Starved is not blocked: nobody waits for a lock here.
    seen.never_more('stall_service_blocked_seconds{service="worker"}', 0, spun)
