"""Law 2: with everything switched on no process of ours opens a path outside the table, as strace sees it.

Our neighbours run under the same instrument. That it reports their calls shows that it would report ours.
"""

from machine import opens


def run(story):
    story.group("limited.service", cpu_max="50000 100000")
    story.service("bird", "route")
    # Under strace the neighbours take longer than any scrape waits; it is enough that they are asked.
    story.observe(calm=0, under=opens.under, awaited=1)
    # Something in D and something that does not run: they are read more closely.
    story.fault("thread 1 park 15 uninterruptible")
    story.watch(40)
    called = {program: opens.calls(story, program) for program in story.targets}
    story.facts["calls"] = {program: len(every) for program, every in called.items()}
    story.facts["trespasses"] = {program: opens.trespasses(story.sources, every) for program, every in called.items()}
    story.facts["ours"] = called["ours"]


def expect(seen):
    ours = seen.facts["trespasses"]["ours"]
    calls = seen.facts["calls"]["ours"]
    seen.check("ours opens nothing outside the table", calls > 10 and not ours, ours[:5] or f"{calls} different calls")
    # A trace in which nothing happened would please as well.
    for file in ("loadavg", "schedstat", "status", "wchan", "cpu.max"):
        seen.check(f"the trace has {file}", any(file in call for call in seen.facts["ours"]), "")
    for peer, path in (("node_exporter", "/sys/class/net"), ("process-exporter", "cmdline")):
        found = [call for call in seen.facts["trespasses"][peer] if path in call]
        seen.check(f"the instrument sees {peer} open {path}", found, f"{len(found)} different calls")
