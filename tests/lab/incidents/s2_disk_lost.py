"""S2: a disk stops answering below ext4; the journal cannot commit, and who touches the filesystem waits for ever.

Meanwhile a kernel thread works without a pause, as the kworker did that looked for the blocks which the other one held;
and everybody who comes along joins the queue.
"""

SETUP = """
/lab/nbd /dev/nbd0 64 &
echo $! >/run/nbd.pid
until [ "$(cat /sys/block/nbd0/size)" -gt 0 ]; do sleep 0.1; done
mkfs.ext4 -q /dev/nbd0
mkdir -p /data
mount /dev/nbd0 /data
# Another device that has done I/O, and is well.
dd if=/dev/zero of=/tmp/well bs=1M count=1
losetup /dev/loop0 /tmp/well
cat /dev/loop0 >/dev/null
touch /run/data.ready
wait
"""


def run(story):
    story.disk = story.background(SETUP)
    story.run("until [ -e /run/data.ready ]; do sleep 0.1; done")
    story.service("syslog", "append /data/log")
    story.observe()
    story.run("kill -STOP $(cat /run/nbd.pid)")
    story.mark("lost")
    story.fault("thread 1 spin 30 preemptible")
    pile = [story.background(f"sleep {after}; echo x >/data/pile{after}") for after in (8, 12, 16)]
    story.watch(20)
    story.tells(0)
    story.watch(15)
    story.mark("back")
    story.run("kill -CONT $(cat /run/nbd.pid)")
    story.watch(12)
    story.facts["went on"] = sum(job.ended for job in pile)


def expect(seen):
    lost = seen.marks["lost"], seen.marks["back"]
    seen.wedged(lost)
    seen.told("the journal of a filesystem", "nbd0", "I/O in flight and none completed", "Do not run sync")
    series = 'stall_service_blocked_seconds{service="syslog"}'
    seen.sees(series, 2, lost, within=8)
    seen.reaches(series, 5, lost, within=10)
    seen.lower_bound(series, lost)
    seen.ends(series, lost[1], within=6)
    seen.sees('stall_disk_stuck_seconds{device="nbd0"}', 2, lost, within=10)
    seen.ends('stall_disk_stuck_seconds{device="nbd0"}', lost[1], within=6)
    # An estimate, from which the busy thread is taken off as well.
    seen.reaches("stall_uninterruptible_tasks", 1, lost)
    # Of those who come after the last commit, the first has locked the directory and the others queue for it.
    seen.reaches('stall_blocked_tasks{wchan="path_openat"}', 2, lost)
    seen.check("all went on when it came back", seen.facts["went on"] == 3, f"{seen.facts['went on']} of 3")
    spun = seen.truths[0]["start"], min(seen.truths[0]["end"], lost[1])
    spin = 'stall_kernel_spin_seconds_max{comm="stall_fault/1"}'
    seen.sees(spin, 5, spun, within=20)
    seen.lower_bound(spin, spun)
    # The journal's own thread is the one that says that no commit will come.
    seen.reaches('stall_blocked_group_seconds_max{comm="jbd2.*"}', 5, lost)
    # The device, and no other.
    device = 'stall_disk_stuck_seconds{device="nbd0"}'
    seen.reaches(device, 5, lost, within=12)
    seen.lower_bound(device, lost)
    seen.names('comm="nbd0",.*', lost)
    seen.reaches('stall_disk_inflight{device="loop0"}', 0, lost)
    seen.never_more('stall_disk_stuck_seconds{device="(?!nbd0").*"}', 0, lost)
    seen.never_more("stall_probe_stuck_seconds{.*}", 0, lost)
