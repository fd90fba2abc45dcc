"""Whether a program ever asked for a lock that it must not wait for, by the word of the kernel.

Probes on kernel functions, one trace instance for each program and all it forks. Not the function tracer: which mutex
a call of mutex_lock takes is in its argument, and only a probe can be filtered by that.
"""

import re

TRACING = "/sys/kernel/tracing"

# Mutexes by the name of the variable; all ways to take one are watched.
MUTEXES = ("rtnl_mutex", "cgroup_mutex", "wq_pool_attach_mutex")
TAKERS = ("mutex_lock", "mutex_lock_interruptible", "mutex_lock_killable", "mutex_trylock")

# Ways into a lock of another process: its mmap_lock, its exec_update_lock. The locks themselves have no fixed address.
DOORS = {
    # Not proc_mem_open, which all of these call: auxv_open does too, for a process's own few numbers.
    "mmap_lock": (
        "__access_remote_vm", "access_remote_vm", "proc_pid_cmdline_read", "environ_open", "pid_maps_open",
        "pid_smaps_open", "smaps_rollup_open", "pagemap_open", "mem_open",
    ),  # fmt: skip
    "exec_update_lock": ("do_task_stat", "proc_pid_wchan", "do_io_accounting", "lock_trace"),
}


class Walls:
    """Armed before the programs start: what a program reads once, it reads at its start."""

    def __init__(self, story, programs):
        self._run = story.run
        self._events = {}
        for mutex in MUTEXES:
            address = self._run(f"awk '$3 == \"{mutex}\" {{ print $1; exit }}' /proc/kallsyms").strip()
            for taker in TAKERS:
                self._probe(f"{mutex}__{taker}", taker, "lock=$arg1:x64", f"lock == 0x{address}")
        for lock, doors in DOORS.items():
            for door in doors:
                self._probe(f"{lock}__{door}", door)
        for program in programs:
            instance = f"{TRACING}/instances/{program}"
            self._run(f"mkdir {instance}")
            # Of the neighbours the number will do; their stacks would take minutes to read.
            stacks = int(program == "ours")
            for setting, value in (("event-fork", 1), ("stacktrace", stacks)):
                self._run(f"echo {value} >{instance}/options/{setting}")
            self._run(f"echo 16384 >{instance}/buffer_size_kb")
            for event, condition in self._events.items():
                if condition:
                    self._run(f"echo '{condition}' >{instance}/events/walls/{event}/filter")

    def _probe(self, event, function, argument="", condition=None):
        # Not every kernel has every function; which ones were watched is in the result.
        command = f"echo 'p:walls/{event} {function} {argument}' >>{TRACING}/kprobe_events 2>/dev/null && echo done || true"
        if self._run(command).strip():
            self._events[event] = condition

    @property
    def watched(self):
        return sorted(self._events)

    @staticmethod
    def enter(program):
        """Script that puts the shell, and what it becomes, into the program's instance."""
        instance = f"{TRACING}/instances/{program}"
        return f"echo $$ >{instance}/set_event_pid; echo 1 >{instance}/events/walls/enable;"

    def stacks(self, program):
        """Each way into a watched function once, outermost caller last: a hit of ours is only useful with its reason."""
        trace = self._run(f"grep -E ': [a-z_]+__|=>|stack trace' {TRACING}/instances/{program}/trace | head -n 20000", 150)
        found = set()
        for task, event, calls in re.findall(
            r"^ *(.*)-\d+ +\[.*: (\w+?__\w+): \(.*\n.*<stack trace>\n((?: => .*\n?)+)", trace, re.MULTILINE
        ):
            path = " ".join(re.findall(r"=> ([a-zA-Z_]\w*)", calls))
            found.add(f"{event} by {task}: {path}")
        return sorted(found)

    def hits(self, program):
        """Lock -> {function by task name: count}."""
        listed = self._run(
            f"sed -nE 's/^ *(.*)-[0-9]+ +\\[[0-9]+\\].*: ([a-z_]+): \\(.*/\\2 \\1/p' {TRACING}/instances/{program}/trace"
            " | sort | uniq -c",
            150,
        )
        found = {}
        for count, lock, function, task in re.findall(r"(\d+) (\w+?_(?:mutex|lock))__(\w+) (.*)", listed):
            found.setdefault(lock, {})[f"{function} by {task.strip()}"] = int(count)
        return found
