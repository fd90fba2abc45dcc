"""What was seen, and the expectations on it. Each check becomes one line of the result; none ends the others."""

import re

from .target import TIMEOUT_MS

# A page is as old as its tick, a tick as the emulated CPU allows.
SLACK = 1.5

# A scraper that was held up this long does not measure whom it scrapes.
LATE_MAX = 0.1


class Seen:
    def __init__(self, targets, marks, truths, facts, stolen):
        self.targets = targets
        self.marks = marks
        self.truths = truths
        self.facts = facts
        self._stolen = stolen
        self.checks = []

    # --- looking ----------------------------------------------------------------------------------------------------

    def scrapes(self, who, span):
        start, end = span
        return [scrape for scrape in self.targets[who].scrapes if start <= scrape.at <= end]

    def held(self, number=0):
        """The span in which the fault had its lock, by the kernel's word."""
        truth = self.truths[number]
        return truth["acquired"], truth["released"]

    def values(self, series, span):
        """(time, highest value) of each page that has a series which matches as a whole; braces stand for
        themselves, everything else is a regular expression."""
        pattern = re.compile(series.replace("{", r"\{").replace("}", r"\}"))
        found = []
        for scrape in self.scrapes("ours", span):
            matching = [value for name, value in scrape.values.items() if pattern.fullmatch(name)]
            if matching:
                found.append((scrape.at, max(matching)))
        return found

    # --- expecting --------------------------------------------------------------------------------------------------

    def check(self, what, held, figure):
        """`held` may be None: could not be judged."""
        self.checks.append({"what": what, "held": None if held is None else bool(held), "figure": figure})

    def answers(self, span, within):
        """We answer every scrape, in time. Law 1. Where the scraper itself was held up, its figure is no evidence."""
        every = self.scrapes("ours", span)
        judged = [scrape for scrape in every if scrape.late < LATE_MAX and not self._is_stolen(scrape, within)]
        good = [scrape for scrape in judged if scrape.answered and scrape.latency <= within]
        worst = max((scrape.latency for scrape in judged), default=0)
        figure = f"{len(good)} of {len(judged)}, slowest {worst * 1000:.0f} ms; {len(every) - len(judged)} not judged"
        # One slow page condemns; silence of a host that was too busy to measure on acquits nobody.
        enough = len(judged) > len(every) / 2
        held = (len(good) == len(judged)) if enough or len(good) < len(judged) else None
        self.check(f"every scrape is answered within {within * 1000:.0f} ms", held, figure)

    def _is_stolen(self, scrape, within):
        """Too slow, and the host kept the machine from running for so long that it explains it."""
        over = scrape.latency - within
        return over > 0 and self._stolen(scrape.at, scrape.at + scrape.latency) > over

    def peer(self, who, span):
        """What became of the neighbour: no expectation, the comparison is the point."""
        theirs = self.scrapes(who, span)
        answered = [scrape for scrape in theirs if scrape.answered]
        slowest = max((scrape.latency for scrape in answered), default=0)
        figure = f"{len(answered)} of {len(theirs)} answered (timeout {TIMEOUT_MS} ms), slowest {slowest:.2f} s"
        self.checks.append({"what": f"{who} meanwhile", "held": None, "figure": figure})

    def reaches(self, series, value, span, within=None):
        """A series gets to a value during the span, and, if asked, within so many seconds of its start."""
        hits = [at - span[0] for at, seen in self.values(series, span) if seen >= value]
        highest = max((seen for _, seen in self.values(series, span)), default=None)
        figure = f"after {hits[0]:.1f} s, highest {highest:g}" if hits else f"never, highest {highest}"
        limit = f" within {within} s" if within else ""
        self.check(f"{series} ≥ {value:g}{limit}", hits and (within is None or hits[0] <= within), figure)

    def never_more(self, series, value, span):
        """A series stays at or below a value, or is not there. For what must not be called a stall."""
        highest = max((seen for _, seen in self.values(series, span)), default=None)
        self.check(f"{series} never above {value:g}", highest is None or highest <= value, f"highest {highest}")

    def lower_bound(self, series, span):
        """A duration in progress never says more than has passed since its truth began. Law 4."""
        pages = self.values(series, span)
        excess = max((seen - (at - span[0]) for at, seen in pages), default=None)
        # The page is made up to a scrape's latency after the scrape began.
        held = excess is not None and excess <= SLACK
        figure = "not seen" if excess is None else f"at most {excess:+.2f} s against the truth"
        self.check(f"{series} is a lower bound", held, figure)

    def ends(self, series, moment, within):
        """A series is back at zero, or gone, soon after a moment."""
        late = self.values(series, (moment + within, moment + within + 5))
        pages = self.scrapes("ours", (moment + within, moment + within + 5))
        highest = max((seen for _, seen in late), default=0)
        figure = f"{highest:g} on {len(pages)} pages"
        self.check(f"{series} ends within {within} s", pages and highest == 0, figure)
