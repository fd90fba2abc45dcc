"""Scripts into the guest, output and exit status back, many at once; the other end is guest/agent.c."""

import itertools
import threading

from .places import LabError


class Job:
    """A script in the guest. Its output arrives while it runs; `on_output` sees it as it comes."""

    def __init__(self, channel, number, on_output):
        self._channel = channel
        self._number = number
        self._on_output = on_output
        self._output = bytearray()
        self._ended = threading.Event()
        self.status = None

    def take(self, data):
        self._output += data
        if self._on_output:
            self._on_output(data)

    def end(self, status):
        self.status = status
        self._ended.set()

    @property
    def output(self):
        return self._output.decode(errors="replace")

    @property
    def ended(self):
        return self._ended.is_set()

    def wait(self, seconds):
        """Whether it ended in time."""
        return self._ended.wait(seconds)

    def kill(self, signal=9):
        self._channel.send(self._number, "kill", signal)


class Channel:
    def __init__(self, connection):
        self._connection = connection
        self._numbers = itertools.count(1)
        self._jobs = {0: Job(self, 0, None)}
        self._sending = threading.Lock()
        threading.Thread(target=self._receive, daemon=True).start()

    def wait_for_agent(self, seconds):
        if not self._jobs[0].wait(seconds) or self._jobs[0].status != 0:
            raise LabError("no word from the agent")

    def send(self, number, kind, value, data=b""):
        with self._sending:
            self._connection.sendall(b"%d %s %d\n" % (number, kind.encode(), value) + data)

    def start(self, script, on_output=None):
        number = next(self._numbers)
        job = self._jobs[number] = Job(self, number, on_output)
        encoded = script.encode()
        self.send(number, "run", len(encoded), encoded)
        return job

    def run(self, script, seconds=20):
        """The output of a script that must succeed in time."""
        job = self.start(script)
        if not job.wait(seconds):
            raise LabError(f"not done after {seconds} s: {script}\n{job.output}")
        if job.status != 0:
            raise LabError(f"status {job.status}: {script}\n{job.output}")
        return job.output

    def _receive(self):
        # Ends with the machine, whose end of the socket closes.
        stream = self._connection.makefile("rb")
        for line in stream:
            number, kind, value = line.split()
            job = self._jobs[int(number)]
            if kind == b"out":
                job.take(stream.read(int(value)))
            else:
                job.end(int(value))
        for job in self._jobs.values():
            if not job.ended:
                job.end(-1)
