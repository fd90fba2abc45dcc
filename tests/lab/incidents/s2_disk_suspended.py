"""S2, of our own making: a suspended device-mapper device below ext4. What it holds back is not counted as in flight."""

SETUP = """
dd if=/dev/zero of=/tmp/disk bs=1M count=64
losetup /dev/loop0 /tmp/disk
dmsetup create data --table "0 131072 linear /dev/loop0 0"
mkfs.ext4 -q /dev/dm-0
mkdir -p /data
mount /dev/dm-0 /data
"""


def run(story):
    story.run(SETUP, 60)
    story.service("syslog", "append /data/log")
    story.observe()
    # Without the freeze of the filesystem that usually comes with it: the journal itself runs into the device.
    story.run("dmsetup suspend --nolockfs data")
    story.mark("suspended")
    story.watch(20)
    story.note("the kernel's own counter of the device", "grep dm-0 /proc/diskstats")
    story.mark("resumed")
    story.run("dmsetup resume data")
    story.watch(12)


def expect(seen):
    span = seen.marks["suspended"], seen.marks["resumed"]
    seen.answers(span, within=0.5)
    series = 'stall_disk_suspended_seconds{device="dm-0"}'
    seen.reaches(series, 5, span, within=10)
    seen.lower_bound(series, span)
    seen.ends(series, span[1], within=6)
    seen.reaches('stall_service_blocked_seconds{service="syslog"}', 5, span)
    seen.never_more("stall_disk_stuck_seconds{.*}", 0, span)
    seen.never_more("stall_probe_stuck_seconds{.*}", 0, span)
