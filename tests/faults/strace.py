"""strace beside a server: it makes system calls fail, or slow, and counts them.

`when=N` of an injection counts the calls of each thread by itself. Standard library only.
"""

import collections
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

from replyd import Failure, wait_until

ATTACH_SECONDS = 20
DETACH_SECONDS = 20
CALL = re.compile(r"^(?:\d+ +)?(\w+)\(", re.MULTILINE)
INJECTED = re.compile(r"^.*\((?:INJECTED|DELAYED).*$", re.MULTILINE)


class Strace:
    """`with Strace([pid], "accept4:error=EMFILE:when=1+") as strace:` they are injected meanwhile.

    `pids` are processes or single threads; with `follow`, every thread of theirs, and their children. What was
    called can be asked for after the end: `with` has `detach()`ed by then at the latest.
    """

    def __init__(self, pids, *injections, follow=True, paths=(), trace=None):
        self.pids = pids
        calls = trace or ",".join({injection.partition(":")[0] for injection in injections})
        self.command = ["strace", "--quiet=exit,personality", "--trace", calls]
        self.command += ["--follow-forks"] if follow else []
        self.command += [f"--trace-path={path}" for path in paths]
        self.command += [f"--inject={injection}" for injection in injections]
        self.process = None

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="strace-faults-")
        self.path = pathlib.Path(self.folder.name) / "calls"
        which = [f"--attach={pid}" for pid in self.pids]
        self.process = subprocess.Popen(
            [*self.command, f"--output={self.path}", *which],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        # Its stderr is a pipe: it would wait for a reader.
        self.said = []
        self.reader = threading.Thread(target=lambda: self.said.extend(iter(self.process.stderr.readline, "")))
        self.reader.start()
        try:
            wait_until(self.is_attached, ATTACH_SECONDS, "strace is attached")
        except BaseException:
            self.__exit__()
            raise
        self.attached_at = time.monotonic()
        return self

    def is_attached(self):
        """Whether it is, to all."""
        if self.process.poll() is not None:
            raise Failure(f"strace: {''.join(self.said)}")
        return sum(" attached" in line for line in list(self.said)) >= len(self.pids)

    def __exit__(self, *_):
        self.detach()
        self.folder.cleanup()

    def detach(self):
        """Ends it, and waits for that. What was called is known afterwards."""
        if self.process.poll() is None:
            self.seconds = time.monotonic() - getattr(self, "attached_at", time.monotonic())
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(DETACH_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        self.reader.join()
        self.process.stderr.close()

    def text(self):
        """A line for each call so far."""
        return self.path.read_text(encoding="utf-8", errors="replace")

    def calls(self):
        """{call: how often}."""
        return collections.Counter(CALL.findall(self.text()))

    def count(self, call):
        """How often something was called."""
        return self.calls()[call]

    def injected(self):
        """The lines of the calls that something was done to."""
        return INJECTED.findall(self.text())
