"""A device-mapper device is suspended under ext4, as by a volume manager that died on its way; its writer waits."""


def run(story):
    story.filesystem()
    story.service("syslog", "append /data/log")
    story.observe()
    story.run("dmsetup suspend --nolockfs --noudevsync lab")
    story.mark("lost")
    story.watch(25)
    story.mark("back")
    story.run("dmsetup resume --noudevsync lab")
    story.watch(12)


def expect(seen):
    lost = seen.marks["lost"], seen.marks["back"]
    seen.wedged(lost)
    series = 'stall_service_blocked_seconds{service="syslog"}'
    seen.sees(series, 2, lost, within=10)
    seen.lower_bound(series, lost)
    seen.ends(series, lost[1], within=6)
    seen.sees('stall_disk_suspended_seconds{device="dm-0"}', 2, lost, within=10)
    seen.ends('stall_disk_suspended_seconds{device="dm-0"}', lost[1], within=6)
    seen.never_more("stall_probe_stuck_seconds{.*}", 0, lost)
