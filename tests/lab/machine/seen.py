"""What was seen, and the expectations on it. Each check becomes one line of the result; none ends the others."""

import math
import re

from . import figures
from .target import TIMEOUT_MS

# A page is as old as its tick, a tick as the emulated CPU allows.
SLACK = 1.5

# A scraper that was held up this long does not measure whom it scrapes.
LATE_MAX = 0.1

# Law 1: within this a scrape is answered, whatever happens.
ANSWER_SECONDS = 0.5

# Of one CPU, by all our processes, while something is wedged; a real CPU, see `figures.slowness`.
CPU_LIMIT = 0.05

# Who holds the lock, and why we think so.
SUSPECT = "stall_suspect_seconds"

# Families that not every build has; a question about one that is not there is not judged.
LATER = (SUSPECT, "stall_disk_stuck_seconds", "stall_disk_suspended_seconds", "stall_kernel_spin_seconds_max")


class Seen:
    def __init__(self, targets, marks, truths, facts, stolen, families):
        self.targets = targets
        self._missing = tuple(f"{family}{{" for family in LATER if family not in families)
        # One row of the table for each exporter.
        self.rows = {name: {} for name in targets}
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

    def wedged(self, span):
        """What holds in every incident from its fault to its release, and the figures of all exporters meanwhile."""
        self._measure(span)
        self._quiet((self.marks["calm"], span[0]))

    def undisturbed(self, span, alarms=figures.ALARMS):
        """Nothing is wrong in the span, whatever it looks like, and nobody must be woken up."""
        self._measure(span)
        self._quiet((self.marks["calm"], span[1]), alarms)
        for who, row in self.rows.items():
            row["sees"] = None
            if who != "ours":
                row["false_alarms"] = row["alarms"]

    def _measure(self, span):
        calm = self.marks["calm"], span[0]
        slowness = figures.slowness(self.targets.values(), span)
        for who, row in self.rows.items():
            scrapes = self.scrapes(who, span)
            row["answered"] = [sum(scrape.answered for scrape in scrapes), len(scrapes)]
            for share in (50, 99):
                row[f"p{share}"] = figures.latency(scrapes, share / 100, TIMEOUT_MS / 1000)
            row["cpu_emulated"] = figures.cpu_share(scrapes)
            row["cpu"] = row["cpu_emulated"] / slowness if row["cpu_emulated"] and slowness else None
            if who != "ours":
                self._peer(who, row, self.scrapes(who, calm), scrapes, span[0])
        self._answers(span)
        self._burns(self.rows["ours"]["cpu"], slowness)

    def _burns(self, burnt, slowness):
        held = burnt is not None and burnt <= CPU_LIMIT
        figure = "not measured"
        if burnt is not None:
            figure = f"{burnt:.2%}; {burnt * slowness:.2%} of an emulated one, {slowness:.1f} times slower"
        self.check(f"our processes burn at most {CPU_LIMIT:.0%} of a CPU", held, figure)

    def _answers(self, span, within=ANSWER_SECONDS):
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

    def _quiet(self, span, alarms=figures.ALARMS):
        """Pages that show an alarm while nothing is wrong: none."""
        shown = {}
        for series, most in alarms.items():
            for at, value in self.values(series, span):
                if value > most:
                    shown.setdefault(at, f"{series} {value:g}")
        self.rows["ours"]["false_alarms"] = len(shown)
        pages = len(self.scrapes("ours", span))
        figure = f"{len(shown)} of {pages} pages" + (f", first {next(iter(shown.values()))}" if shown else "")
        self.check("no false alarm", pages > 0 and not shown, figure)

    def _peer(self, who, row, calm, scrapes, start):
        """What became of the neighbour: no expectation, the comparison is the point."""
        risen = figures.risen(calm, scrapes)
        # Whether it can be seen there at all, not what it would mean.
        row["sees"] = round(risen[0][0] - start, 1) if risen else None
        row["alarms"] = len({at for at, series, _ in risen if not series.startswith(figures.PEER_BUSY)})
        row["shows"] = sorted({series for _, series, _ in risen})
        answered, sent = row["answered"]
        slowest = max((scrape.latency for scrape in scrapes if scrape.answered), default=0)
        figure = f"{answered} of {sent} answered (timeout {TIMEOUT_MS} ms), slowest {slowest:.2f} s"
        figure += f"; shows {', '.join(row['shows'])}" if risen else "; shows nothing"
        self.checks.append({"what": f"{who} meanwhile", "held": None, "figure": figure})

    def sees(self, series, value, span, within):
        """The page shows it, and how soon: the earliest of these is the row's time to see."""
        hits = self.reaches(series, value, span, within)
        row = self.rows["ours"]
        if hits:
            row["sees"] = min(round(hits[0], 1), row.get("sees", math.inf))

    def told(self, *words):
        """What /stalls told a person has these words."""
        said = self.facts.get("told", "")
        missing = [word for word in words if word not in said]
        self.check("/stalls tells it", said and not missing, f"missing: {missing}" if missing else " … ".join(words))

    def names(self, labels, span, within=15):
        """The page names who holds the lock: labels of stall_suspect_seconds."""
        hits = self.reaches(f"{SUSPECT}{{{labels}}}", 0.001, span, within)
        self.rows["ours"]["names"] = round(hits[0], 1) if hits else None

    def reaches(self, series, value, span, within=None):
        """A series gets to a value during the span, and, if asked, within so many seconds of its start."""
        if series.startswith(self._missing):
            self.check(f"{series} ≥ {value:g}", None, "not in this build")
            return []
        hits = [at - span[0] for at, seen in self.values(series, span) if seen >= value]
        highest = max((seen for _, seen in self.values(series, span)), default=None)
        figure = f"after {hits[0]:.1f} s, highest {highest:g}" if hits else f"never, highest {highest}"
        limit = f" within {within} s" if within else ""
        self.check(f"{series} ≥ {value:g}{limit}", hits and (within is None or hits[0] <= within), figure)
        return hits

    def grows(self, series, by, span):
        """A counter grows by so much over the span."""
        values = [value for _, value in self.values(series, span)]
        grown = values[-1] - values[0] if values else 0
        self.check(f"{series} grows by {by:g}", grown >= by, f"{grown:g}")

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
