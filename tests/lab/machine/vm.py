"""One virtual machine: started, watched by a clock, ended. Whatever happens, nothing of it is left."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from .channel import Channel
from .places import LabError

MEMORY = "1536M"
CPUS = 2
# Without cmpxchg16b: qemu 7.2 does not emulate it atomically enough for the slab allocator of 6.12, which then hands
# out corrupted lists before init has started, nearly every time on a busy host.
CPU = "max,cx16=off"
BOOT_SECONDS = 90


def _with_parent():
    """Between fork and exec: SIGKILL for qemu if the lab is killed before it can clean up."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class Stolen:
    """How long the machine's threads waited for a CPU of the host, second by second: what no guest can be blamed for."""

    def __init__(self, pid):
        self._pid = pid
        self._samples = []
        self._over = threading.Event()
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self):
        while not self._over.wait(0.2):
            waited = 0
            with contextlib.suppress(OSError):
                for tid in os.listdir(f"/proc/{self._pid}/task"):
                    waited += int(pathlib.Path(f"/proc/{self._pid}/task/{tid}/schedstat").read_text().split()[1])
                self._samples.append((time.monotonic(), waited / 1e9))

    def between(self, start, end):
        """Seconds, over all its threads, in a span of the host's CLOCK_MONOTONIC; rounded outwards to samples."""
        before = [waited for at, waited in self._samples if at <= start]
        after = [waited for at, waited in self._samples if at >= end] or [self._samples[-1][1]]
        return after[0] - before[-1] if before else 0

    def stop(self):
        self._over.set()


class Vm:
    def __init__(self, kernel, initramfs, seconds, command_line=""):
        """Boots; `seconds` later the machine is gone, ended or not."""
        self._directory = tempfile.mkdtemp(prefix="stall-lab.")
        self.console = pathlib.Path(self._directory, "console")
        channel, monitor = (os.path.join(self._directory, name) for name in ("channel", "qmp"))
        # tcg: true two CPUs on any host, also where nested virtualisation is broken or missing. The console goes to
        # a file and the scripts over virtio, so that a flood of kernel messages cannot delay an answer.
        command = [
            "nice", "-n", "10", "qemu-system-x86_64",
            "-accel", "tcg,thread=multi", "-cpu", CPU, "-smp", str(CPUS), "-m", MEMORY,
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", kernel.image, "-initrd", initramfs,
            "-append", f"console=ttyS0 quiet panic=-1 nmi_watchdog=0 {command_line}",
            "-serial", f"file:{self.console}",
            "-qmp", f"unix:{monitor},server=on,wait=off",
            "-device", "virtio-serial",
            "-chardev", f"socket,id=lab,path={channel},server=on,wait=off",
            "-device", "virtserialport,chardev=lab,name=lab",
        ]  # fmt: skip
        start = time.monotonic()
        self.stolen = None
        # qemu inherits the death signal through nice's exec; the signal follows our thread, so this must be the main one.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            preexec_fn=_with_parent,
        )  # fmt: skip
        self._limit = threading.Timer(seconds, self._process.kill)
        self._limit.daemon = True
        self._limit.start()
        try:
            self._monitor = self._connect(monitor).makefile("rw")
            self._monitor.readline()
            self.qmp("qmp_capabilities")
            self.channel = Channel(self._connect(channel))
            self.channel.wait_for_agent(BOOT_SECONDS)
        except (OSError, LabError) as error:
            text = self.console_text()[-1500:]
            self.stop()
            raise LabError(f"the machine did not start: {error}\n{text}") from error
        except BaseException:
            # Interrupted: nobody else knows of the machine yet.
            self.stop()
            raise
        self.boot_seconds = time.monotonic() - start
        self.stolen = Stolen(self._process.pid)

    def _connect(self, path):
        for _ in range(200):
            if self._process.poll() is not None:
                raise LabError(f"qemu: {self._process.stderr.read().decode().strip()}")
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(path)
                return connection
            time.sleep(0.05)
        raise LabError(f"qemu did not open {path}")

    def qmp(self, command):
        """`stop` and `cont` pause and resume all CPUs: the guest's own clocks stand still meanwhile."""
        self._monitor.write(json.dumps({"execute": command}) + "\n")
        self._monitor.flush()
        while True:
            line = self._monitor.readline()
            if not line:
                raise LabError(f"qemu ended during {command}")
            answer = json.loads(line)
            if "event" not in answer:
                return answer

    def console_text(self):
        with contextlib.suppress(OSError):
            return self.console.read_text(errors="replace")
        return ""

    def stop(self):
        # Killed, not asked: there is nothing on a disk to save, and a guest with a held lock may not obey.
        self._limit.cancel()
        if self.stolen:
            self.stolen.stop()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
