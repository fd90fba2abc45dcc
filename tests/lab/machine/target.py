"""A scraped program and what came of each scrape."""

from . import page
from .places import LabError

INTERVAL_MS = 1000
TIMEOUT_MS = 3000


class Scrape:
    def __init__(self, at, late, latency, outcome, burnt, pace, values):
        self.at = at
        self.late = late
        self.latency = latency
        self.outcome = outcome
        # CPU seconds of all its processes until then.
        self.burnt = burnt
        # CPU seconds of a fixed piece of work just before it.
        self.pace = pace
        self.values = values

    @property
    def answered(self):
        return self.outcome == "answered"


class Target:
    def __init__(self, name, port, group, wanted=""):
        """Of its pages only the series whose names begin with `wanted` are kept; there are thousands."""
        self.name = name
        self.port = port
        self.group = group
        self.scrapes = []
        self._wanted = wanted
        self._rest = bytearray()
        self._job = None

    def watch(self, channel, before):
        script = f"{before} exec /lab/scraper {self.port} {INTERVAL_MS} {TIMEOUT_MS} {self.group}"
        self._job = channel.start(script, self._take)

    def check(self):
        if self._job.ended:
            raise LabError(f"the scraper of {self.name} ended: {self._job.output[-300:]}")

    def _take(self, data):
        self._rest += data
        while True:
            head, newline, rest = self._rest.partition(b"\n")
            if not newline:
                return
            _, at, late, latency, outcome, burnt, pace, length = head.split()
            length = int(length)
            if len(rest) < length:
                return
            text = rest[:length].decode()
            self._rest = rest[length:]
            at, late, latency, pace = (int(nanoseconds) / 1e9 for nanoseconds in (at, late, latency, pace))
            values = page.parse(text, self._wanted)
            self.scrapes.append(Scrape(at, late, latency, outcome.decode(), int(burnt) / 1e6, pace, values))
