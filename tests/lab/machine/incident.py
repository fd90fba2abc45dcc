"""From an incident's file to its result."""

import importlib.util
import json
import re
import subprocess
import time

from . import initramfs
from .kernel import Kernel
from .places import LAB, RESULTS, LabError
from .seen import Seen
from .story import Story
from .vm import Vm

SECONDS_MAX = 600


def names():
    return sorted(path.stem for path in (LAB / "incidents").glob("*.py"))


def load(name):
    """An incident is a module: a docstring whose first line tells it, `run(story)` and `expect(seen)`."""
    path = LAB / "incidents" / f"{name}.py"
    if not path.exists():
        raise LabError(f"no incident {name}; there are {', '.join(names())}")
    spec = importlib.util.spec_from_file_location(f"incident_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Bench:
    """What all incidents of one call share: the kernel, the guest, and what the exporter in it can say."""

    def __init__(self, kernel_name, binary=None):
        self.kernel = Kernel(kernel_name)
        exporter = initramfs.build_exporter(binary)
        self.archive = initramfs.build(self.kernel, exporter)
        self.families = set(re.findall(r"^\| `(\w+)`", _says(exporter, "metrics"), re.MULTILINE))
        self.sources = _says(exporter, "sources")


def _says(exporter, table):
    return subprocess.run([exporter, table], capture_output=True, text=True, check=True).stdout


def play(name, bench):
    """One machine, one incident, one result."""
    module = load(name)
    start = time.monotonic()
    with Vm(bench.kernel, bench.archive, SECONDS_MAX, getattr(module, "COMMAND_LINE", "")) as vm:
        story = Story(vm)
        story.sources = bench.sources
        try:
            module.run(story)
        except LabError as error:
            raise LabError(f"{error}\n{vm.console_text()[-3000:]}") from error
        truths = [fault.truth() for fault in story.faults]
        story.mark("end")
        seen = Seen(story.targets, story.marks, truths, story.facts, story.stolen, bench.families)
        module.expect(seen)
        seconds = time.monotonic() - start
        result = {
            "incident": name,
            "told": module.__doc__.splitlines()[0],
            "kernel": bench.kernel.release,
            "boot_seconds": round(vm.boot_seconds, 1),
            "seconds": round(seconds, 1),
            "stolen_seconds": round(story.stolen(0, story.marks["end"]), 1),
            "held": all(check["held"] is not False for check in seen.checks),
            "rows": seen.rows,
            "checks": seen.checks,
            "marks": story.marks,
            "notes": story.notes,
            "facts": story.facts,
            "truths": truths,
            "timeline": {target.name: timeline(target) for target in story.targets.values()},
            "exporter_log": story.exporter.output.splitlines()[-50:],
        }
    return result


def save(result, kernel_name):
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{result['incident']}-{kernel_name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")


def timeline(target):
    """Of the pages, what is about stalls and not zero: the rest would bury it."""
    rows = []
    for scrape in target.scrapes:
        row = {
            "at": round(scrape.at, 3),
            "late_ms": round(scrape.late * 1000, 1),
            "ms": round(scrape.latency * 1000, 1),
            "cpu_s": round(scrape.burnt, 3),
            "outcome": scrape.outcome,
        }
        said = {
            series: value
            for series, value in scrape.values.items()
            if value != 0 and not series.startswith(("process_", "stall_exporter_http_", "stall_kthread_wait_seconds"))
        }
        rows.append({**row, "said": said} if said else row)
    return rows


def show(result):
    print(f"\n{result['incident']} on {result['kernel']}: {'held' if result['held'] else 'NOT HELD'}", end="")
    print(f" ({result['seconds']:.0f} s, boot {result['boot_seconds']} s, {result['stolen_seconds']} s of CPU taken by the host)")
    for check in result["checks"]:
        sign = {True: "ok", False: "FAIL", None: "-"}[check["held"]]
        print(f"  {sign:>4}  {check['what']}: {check['figure']}")
    for what, said in result["notes"].items():
        print(f"     -  {what}: {said}")
