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
    # What it holds back is not counted as in flight, so it is not stuck: it has a family of its own.
    seen.sees('stall_disk_suspended_seconds{device="dm-0"}', 2, lost, within=10)
    seen.lower_bound('stall_disk_suspended_seconds{device="dm-0"}', lost)
    seen.never_more("stall_disk_stuck_seconds{.*}", 0, lost)
    seen.names('comm="dm-0",.*', lost)
    seen.ends('stall_disk_suspended_seconds{device="dm-0"}', lost[1], within=6)
    seen.never_more("stall_probe_stuck_seconds{.*}", 0, lost)
