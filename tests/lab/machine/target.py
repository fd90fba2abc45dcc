"""A scraped program and what came of each scrape."""

from . import page
from .places import LabError

INTERVAL_MS = 1000
TIMEOUT_MS = 3000


class Scrape:
    def __init__(self, at, late, latency, outcome, page_text):
        self.at = at
        self.late = late
        self.latency = latency
        self.outcome = outcome
        self.values = page.parse(page_text) if page_text else {}

    @property
    def answered(self):
        return self.outcome == "answered"


class Target:
    def __init__(self, name, port, pages=False):
        self.name = name
        self.port = port
        self.scrapes = []
        self._pages = pages
        self._rest = bytearray()
        self._job = None

    def watch(self, channel, before):
        script = f"{before} exec /lab/scraper {self.port} {INTERVAL_MS} {TIMEOUT_MS} {'pages' if self._pages else ''}"
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
            _, at, late, latency, outcome, length = head.split()
            length = int(length)
            if len(rest) < length:
                return
            text = rest[:length].decode()
            self._rest = rest[length:]
            self.scrapes.append(Scrape(int(at) / 1e9, int(late) / 1e9, int(latency) / 1e9, outcome.decode(), text))
