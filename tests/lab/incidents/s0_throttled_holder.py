"""S0: a task in a 7 % quota group is not run while it holds rtnl_mutex; bird and dpvs wait for it.

The holder burns 2 s inside the lock without a chance to be throttled, as a driver does that polls its firmware.
Its group then owes 2 s at 70 ms per second: it is runnable and not run for half a minute, and so is everybody who
wants the lock. No counter of the kernel moves until it is over.
"""


def run(story):
    quota = story.group("agent.service", cpu_max="7000 100000")
    story.service("bird", "route")
    story.service("dpvs", "link")
    story.observe()
    holder = story.fault("hold rtnl 2 debt", before=quota)
    holder.wait_for("acquired", 10)
    story.tells(15)
    holder.wait_for("released", 120)
    story.watch(12)


def expect(seen):
    held = seen.held()
    seen.wedged(held)
    seen.told("network configuration lock (rtnl_mutex)", "bird", "agent.service", "was throttled in", "Lift the quota")
    for service in ("bird", "dpvs"):
        series = f'stall_service_blocked_seconds{{service="{service}"}}'
        seen.sees(series, 2, held, within=8)
        seen.reaches(series, 5, held, within=10)
        seen.lower_bound(series, held)
        seen.ends(series, held[1], within=5)
    # rtnl_lock is not named where its tail call leaves the caller as the wait channel: 6.1 and 6.12 do.
    seen.reaches('stall_blocked_tasks{wchan="(rtnl_lock|rtnetlink_rcv_msg|dev_ioctl)"}', 1, held, within=10)
    seen.reaches('stall_blocked_group_seconds_max{comm="bird"}', 5, held)
    seen.reaches("stall_uninterruptible_tasks", 2, held)
    seen.names('comm="sh",cgroup=".*agent.service",reason=".*throttled.*",victim_wchan=".+"', held)
    seen.never_more('stall_probe_stuck_seconds{lane="tasks",.*}', 0, held)
