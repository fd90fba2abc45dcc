"""S4's neighbour: the mmap_lock and the exec_update_lock of a big process are held; whoever reads its /proc hangs."""


def run(story):
    story.service("database", "idle")
    story.service("bird", "route")
    story.observe()
    pid = story.pid("database")
    story.fault(f"hold exec {pid} 20 sleep").wait_for("acquired", 10)
    memory = story.fault(f"hold mmap {pid} 20 sleep")
    memory.wait_for("released", 60)
    story.watch(12)


def expect(seen):
    held = seen.held(1)
    seen.wedged(held)
    # The database itself runs on: it needs neither lock.
    seen.never_more('stall_service_(blocked|starved)_seconds{service="(database|bird)"}', 1, held)
    # The lane that judges goes on, whatever becomes of the one that explains.
    seen.never_more('stall_probe_stuck_seconds{lane="tasks",.*}', 0, held)
    seen.never_more('stall_probe_age_seconds{lane="tasks"}', 6, held)
    reader = 'stall_blocked_group_seconds_max{comm="prometheus-proc.*"}'
    seen.sees(reader, 2, held, within=15)
    seen.reaches(reader, 5, held)
