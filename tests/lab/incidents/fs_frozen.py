"""fsfreeze holds a filesystem, as for a snapshot that never ends: writers hang, and no disk is at fault."""


def run(story):
    story.filesystem()
    story.service("syslog", "append /data/log")
    story.observe()
    story.run("/sbin/fsfreeze -f /data")
    story.mark("lost")
    story.watch(25)
    story.mark("back")
    story.run("/sbin/fsfreeze -u /data")
    story.watch(12)


def expect(seen):
    lost = seen.marks["lost"], seen.marks["back"]
    seen.wedged(lost)
    series = 'stall_service_blocked_seconds{service="syslog"}'
    seen.sees(series, 2, lost, within=10)
    seen.lower_bound(series, lost)
    seen.reaches('stall_blocked_tasks{wchan="percpu_rwsem_wait"}', 1, lost)
    seen.ends(series, lost[1], within=6)
    seen.never_more("stall_disk_(stuck|suspended)_seconds{.*}", 0, lost)
    seen.never_more("stall_probe_stuck_seconds{.*}", 0, lost)
