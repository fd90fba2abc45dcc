"""Packets for CPU 1, and how late they come while something there does not let ksoftirqd run."""

import re


class Packets:
    def __init__(self, story):
        # Small portions leave work to ksoftirqd at few packets; the busy neighbour makes the kernel want to reschedule.
        story.run("cd /proc/sys/net/core && echo 4 >netdev_budget && echo 4 >dev_weight")
        self._cruncher = story.service("cruncher", "busy", essential=False)
        story.run(f"taskset -p 2 {story.pid('cruncher')} >/dev/null")
        self._packets = story.unit("packets", "/lab/packets")
        self._calm = 0

    def calm_is_over(self):
        self._calm = len(self._packets.output.split("\n"))

    def end(self):
        """The latest packet of both spans, in milliseconds."""
        self._cruncher.kill()
        late = [int(late) for late in re.findall(r"late (\d+)", self._packets.output)]
        calm, wedged = late[: self._calm], late[self._calm :]
        return {"calm": max(calm, default=0), "wedged": max(wedged, default=0)}
