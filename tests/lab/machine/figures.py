"""What is measured of every exporter in every incident: one row of the result table each."""

import functools
import statistics
import subprocess

from .places import OUT

# From a page: what of the peers an alert could be built on, and by how much above its highest in the calm before. Of
# counters the growth per second.
PEER_SIGNALS = {
    "node_load1": 1,
    "node_procs_blocked": 1,
    "node_procs_running": 3,
    "node_disk_io_now": 1,
    "node_pressure_cpu_waiting_seconds_total": 0.5,
    "node_pressure_io_waiting_seconds_total": 0.5,
    "node_pressure_io_stalled_seconds_total": 0.5,
    'namedprocess_namegroup_states{': 1,
}

# That a CPU is busy wakes nobody up.
PEER_BUSY = ("node_procs_running", "node_pressure_cpu")

# Of ours: what wakes somebody up, and from which value on. The threshold of the lab's configuration is 2 s.
ALARMS = {
    "stall_blocked_tasks{.*}": 0,
    "stall_service_(blocked|starved)_seconds{.*}": 2,
    "stall_probe_stuck_seconds{.*}": 0,
    "stall_disk_stuck_seconds{.*}": 2,
    "stall_kernel_spin_seconds_max{.*}": 2,
    "stall_suspect_seconds{.*}": 0,
}


def latency(scrapes, share, timeout):
    """The latency that `share` of the scrapes did not exceed. One without an answer took at least the timeout."""
    taken = sorted(scrape.latency if scrape.answered else timeout for scrape in scrapes)
    return taken[min(int(len(taken) * share), len(taken) - 1)] if taken else None


def cpu_share(scrapes):
    """CPU burnt by all its processes, of one CPU of the machine."""
    if len(scrapes) < 2:
        return None
    first, last = scrapes[0], scrapes[-1]
    return (last.burnt - first.burnt) / (last.at - first.at)


def slowness(targets, span):
    """How many times more CPU time a piece of work costs in the machine, as the host runs it now, than on the host."""
    paces = [scrape.pace for target in targets for scrape in target.scrapes if span[0] <= scrape.at <= span[1]]
    # The mean: a machine whose clock counts whole ticks says 0 for most of them.
    return statistics.mean(paces) / _host_pace() if paces else None


@functools.cache
def _host_pace():
    said = subprocess.run([OUT / "tools" / "scraper", "pace"], capture_output=True, text=True, check=True).stdout
    return statistics.median(map(int, said.split())) / 1e9


def _signals(scrapes):
    """(time, signal, value) of a peer's pages. Of process-exporter only what waits in D counts."""
    before = {}
    for scrape in scrapes:
        for series, value in scrape.values.items():
            if series.startswith("namedprocess") and 'state="Waiting"' not in series:
                continue
            if series.split("{")[0].endswith("_total"):
                at, earlier = before.get(series, (None, None))
                before[series] = scrape.at, value
                if at is None:
                    continue
                value = (value - earlier) / (scrape.at - at)
            yield scrape.at, series, value


def risen(calm, scrapes):
    """(time, series, rise) of what a peer's pages show more of than in the calm."""
    highest = {}
    for _, series, value in _signals(calm):
        highest[series] = max(value, highest.get(series, value))
    found = []
    for at, series, value in _signals(scrapes):
        step = next(step for name, step in PEER_SIGNALS.items() if series.startswith(name))
        rise = value - highest.get(series, 0)
        if rise >= step:
            found.append((at, series, rise))
    return found
