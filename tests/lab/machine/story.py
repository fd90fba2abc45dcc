"""What an incident is told with: the machine, the services, the fault, and everybody who looks."""

import re
import time

from .figures import PEER_SIGNALS
from .places import LabError
from .target import Target

GROUPS = "/sys/fs/cgroup"

EXPORTER = "/lab/stall_exporter --web.listen-address 127.0.0.1:10100 --config.file /tmp/stall.toml"
CONFIG = """
[blocked]
# Half of what a look at human scale wants, so that an incident need not last a minute under emulation.
threshold = "2s"

[tasks]
interval = "2s"
# An emulated CPU is slower than a real one by a factor of ten and more; the budget is meant for a real one.
cpu_budget = 0.2
"""
START_SECONDS = 40


class Fault:
    """A command of the fault module that runs in a task of its own, and what the kernel said about it."""

    def __init__(self, story, command, job):
        self._story = story
        self.command = command
        self.job = job

    def truth(self):
        """Event -> CLOCK_MONOTONIC seconds."""
        lines = self._story.run("cat /proc/stall_fault").splitlines()
        found = {}
        for line in lines:
            _, tid, _, event, at, command = line.split(" ", 5)
            if command == self.command:
                # Of a fault that comes back: when it came first, and when it was last over.
                found[event] = found.get(event, int(at) / 1e9) if event == "start" else int(at) / 1e9
                found["tid"] = int(tid)
        return found

    def wait_for(self, event, seconds):
        deadline = time.monotonic() + seconds
        while event not in (truth := self.truth()):
            if time.monotonic() > deadline:
                raise LabError(f"no `{event}` of `{self.command}` after {seconds} s; {truth}; {self.job.output}")
            time.sleep(0.3)
        return truth


class Story:
    def __init__(self, vm):
        self.vm = vm
        self.run = vm.channel.run
        # The first samples must exist before the first question about them.
        time.sleep(0.5)
        self._host_start = time.monotonic()
        self._ahead = self._host_start - self.now()
        self.marks = {}
        self.notes = {}
        self.facts = {}
        self.faults = []
        self.services = []
        targets = (
            Target("ours", 10100, f"{GROUPS}/stall_exporter.service"),
            Target("node_exporter", 9100, f"{GROUPS}/node_exporter.service", tuple(PEER_SIGNALS)),
            Target("process-exporter", 9256, f"{GROUPS}/process-exporter.service", tuple(PEER_SIGNALS)),
        )
        self.targets = {target.name: target for target in targets}

    # --- actors -----------------------------------------------------------------------------------------------------

    def group(self, name, cpu_max=None, weight=100):
        """A control group below the root, as systemd makes one for each unit; returns the script that enters it."""
        path = f"{GROUPS}/{name}"
        self.run(f"mkdir -p {path} && echo {weight} >{path}/cpu.weight && echo {cpu_max or 'max'} >{path}/cpu.max")
        return f"echo $$ >{path}/cgroup.procs;"

    def unit(self, name, command, before=""):
        """A program in a group of its own: a neighbour that spins gets its share of CPU and not ours."""
        return self.vm.channel.start(f"{self.group(f'{name}.service')} {before} exec {command}")

    def service(self, name, what, essential=True):
        """A task called `name` that does something five times a second; an essential one is in our configuration."""
        if essential:
            self.services.append(name)
        return self.unit(name, f"/lab/service {name} {what}")

    def pid(self, name):
        return int(self.run(f"until pidof {name}; do sleep 0.1; done").split()[0])

    def background(self, script):
        return self.vm.channel.start(script)

    def fault(self, command, before="", again=""):
        """On CPU 1: CPU 0 is for those who measure. A shell's own write, so the task is a `sh`. `again`: what the shell
        does after it, to come back."""
        write = f"echo '{command}'; {again}"
        job = self.vm.channel.start(f"{before} taskset -p 2 $$ >/dev/null; exec >/proc/stall_fault; {write}")
        fault = Fault(self, command, job)
        self.faults.append(fault)
        return fault

    def filesystem(self):
        """ext4 on /data, on a device-mapper table `lab` over a loop device."""
        self.run(
            "truncate -s 64M /tmp/disk && losetup /dev/loop0 /tmp/disk"
            " && dmsetup create --noudevsync lab --table '0 131072 linear /dev/loop0 0'"
            " && mkfs.ext4 -q /dev/dm-0 && mkdir -p /data && mount /dev/dm-0 /data",
            60,
        )

    def release(self):
        self.run("echo release >/proc/stall_fault")

    # --- observers --------------------------------------------------------------------------------------------------

    def observe(self, calm=8, before=lambda target: "", under=lambda target: "", awaited=3):
        """Starts the three exporters and those who scrape them, and looks for `calm` seconds at a host that is well.

        `before` gives the script that comes before each exporter, in the process that becomes it; `under` the program
        that runs it. Only the first `awaited` of them must answer before it goes on.
        """
        services = "".join(f'[[service]]\nname = "{name}"\ncomm = "{name}"\n' for name in self.services)
        self.run(f"cat >/tmp/stall.toml <<'EOF'\n{CONFIG}\n{services}\nEOF")
        self.exporter = self.unit("stall_exporter", f"{under('ours')} {EXPORTER}", before("ours"))
        node_exporter = "/lab/prometheus-node-exporter --web.listen-address=127.0.0.1:9100"
        self.unit("node_exporter", f"{under('node_exporter')} {node_exporter}", before("node_exporter"))
        names = ",".join(["first", *self.services])
        process_exporter = "/lab/prometheus-process-exporter -web.listen-address 127.0.0.1:9256"
        process_exporter = f"{under('process-exporter')} {process_exporter}"
        self.unit("process-exporter", f"{process_exporter} -procnames {names}", before("process-exporter"))
        # Who measures must not wait for whom is measured.
        scrapers = self.group("lab", weight=10000)
        for target in self.targets.values():
            target.watch(self.vm.channel, scrapers)
        deadline = time.monotonic() + START_SECONDS
        for target in list(self.targets.values())[:awaited]:
            while not any(scrape.answered for scrape in target.scrapes):
                if time.monotonic() > deadline:
                    raise LabError(f"{target.name} never answered; ours said {self.exporter.output[-500:]}")
                time.sleep(0.2)
        self.mark("calm")
        self.watch(calm)

    def watch(self, seconds):
        time.sleep(seconds)
        for target in self.targets.values():
            target.check()
        if self.exporter.ended:
            raise LabError(f"the exporter ended with {self.exporter.status}: {self.exporter.output[-500:]}")

    def pause(self, seconds):
        """Stops all CPUs of the machine, as a hypervisor does that migrates it."""
        self.vm.qmp("stop")
        time.sleep(seconds)
        self.vm.qmp("cont")
        # The guest's clock stood still.
        self._ahead += seconds

    def now(self):
        """CLOCK_MONOTONIC of the guest."""
        return float(re.match(r"\S+", self.run("cat /proc/uptime"))[0])

    def stolen(self, start, end):
        """Seconds that the host did not run the machine's threads, in a span of the guest's CLOCK_MONOTONIC."""
        return self.vm.stolen.between(max(start + self._ahead, self._host_start), end + self._ahead)

    def note(self, what, script):
        """Keeps what a script prints, so that the result shows the state that was tried and not only the silence."""
        self.notes[what] = " ".join(self.run(script).split())

    def tells(self, seconds):
        """Waits, and keeps what /stalls then tells a person, as the terminal shows it."""
        time.sleep(seconds)
        told = "told by `stall_exporter stalls`"
        self.note(told, "/lab/stall_exporter stalls --url http://127.0.0.1:10100/")
        self.facts["told"] = self.notes[told]

    def mark(self, name):
        """Remembers this moment by a name that expectations can use."""
        self.marks[name] = self.now()
