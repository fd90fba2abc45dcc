"""The result table: RESULTS.md with every check, and the table alone in README. Written, never edited."""

import re

from .places import LAB, ROOT

RESULTS = LAB / "RESULTS.md"
README = ROOT / "README.md"
COMMAND = "tests/lab/run all"
BEGIN, END = f"<!-- {COMMAND} -->\n", "<!-- end -->"

HEAD = (
    "| incident | kernel | scrapes answered | p50, ms | p99, ms | CPU, % | seen after, s | holder named after, s "
    "| false alarms |",
    "|---|---|---|---|---|---|---|---|---|",
)

PREFACE = f"""# What the lab saw

Written by `{COMMAND}` and `{COMMAND} --kernel 6.12`; the table is in README too. Each
incident happens in a virtual machine of two emulated CPUs, ten times and more slower than real ones: read the columns
against each other. In each cell: ours / node_exporter / process-exporter, scraped once a second at the same moment,
from the fault to its release.

Where the host was busy with other work, everybody is slower; each incident says how much.

* **p50, p99**: a scrape without an answer counts as its timeout, 3 s.
* **CPU**: by all processes of the exporter, of one CPU of the host: what the machine counts, divided by how many times
  more CPU time the same system calls cost there. Our limit is 5 %.
* **seen after**: the first page that shows it. For the peers, that shows *anything* more than in the calm before: a
  load average, a process in D, a pressure; whether somebody could tell from it what is wrong is another question.
* **holder named after**: who holds the lock. The peers have nothing that could.
* **false alarms**: pages with an alarm. Of the peers in what must not fire only: pages on which more than a busy CPU
  shows; a busy host can be in that.

"""


def _cell(row, figure):
    value = row.get(figure)
    if figure == "answered":
        return "{}/{}".format(*value) if value else "–"
    if value is None:
        return "–"
    return {
        "p50": f"{value * 1000:.0f}", "p99": f"{value * 1000:.0f}", "cpu": f"{value * 100:.1f}",
    }.get(figure, f"{value}")  # fmt: skip


def line(result):
    figures = ("answered", "p50", "p99", "cpu", "sees", "names", "false_alarms")
    cells = [" / ".join(_cell(row, figure) for row in result["rows"].values()) for figure in figures]
    failed = "" if result["held"] else " **failed**"
    return f"| {result['incident']}{failed} | {_short(result['kernel'])} | {' | '.join(cells)} |"


def _short(release):
    return re.match(r"\d+\.\d+", release)[0]


def _section(result):
    lines = [f"## {result['incident']} on {_short(result['kernel'])}", "", result["told"], ""]
    lines.append(
        f"* {result['kernel']}, {result['seconds']:.0f} s; its threads waited {result['stolen_seconds']:.0f} s for a CPU of"
        " the host"
    )
    for check in result["checks"]:
        sign = {True: "ok", False: "FAILED", None: "seen"}[check["held"]]
        lines.append(f"* {sign}: `{check['what']}`: {check['figure']}")
    lines += [f"* note: {what}: {said}" for what, said in result["notes"].items()]
    return "\n".join(lines) + "\n"


def _known(text):
    """(incident, kernel) -> (line, section) of an earlier RESULTS.md: a run of one kernel keeps what others said."""
    rows = re.finditer(r"^\| (\w+)[^|]* \| ([\d.]+) \|.*$", text, re.MULTILINE)
    lines = {(row[1], row[2]): row[0] for row in rows}
    parts = text.split("\n## ")[1:]
    sections = {tuple(part.split("\n", 1)[0].split(" on ")): f"## {part.rstrip()}\n" for part in parts}
    return {key: (lines[key], sections[key]) for key in lines if key in sections}


def show(results):
    return "\n".join((*HEAD, *map(line, results)))


def write(results, names):
    """Both files, from these results and, for incidents that still exist, from what RESULTS.md has of other runs."""
    known = _known(RESULTS.read_text()) if RESULTS.exists() else {}
    for result in results:
        known[result["incident"], _short(result["kernel"])] = line(result), _section(result)
    kept = sorted((key for key in known if key[0] in names), key=lambda key: (_order(key[0]), key[1]))
    table = "\n".join((*HEAD, *(known[key][0] for key in kept))) + "\n"
    RESULTS.write_text(PREFACE + table + "\n" + "\n".join(known[key][1] for key in kept))
    readme = README.read_text()
    before, rest = readme.split(BEGIN, 1)
    README.write_text(before + BEGIN + table + END + rest.split(END, 1)[1])


def _order(name):
    """Incidents, then what must not fire, then the walls."""
    return 1 + name.startswith("not_") - bool(re.match(r"s\d", name)) + 2 * name.startswith("walls"), name
