"""A replyd of one's own, for the scripts in this folder: started, asked for its metrics, stopped.

Standard library only. Nothing here sleeps to synchronise: what is waited for is polled, with a deadline.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "replyd"

START_SECONDS = 20
REST_SECONDS = 30
STOP_SECONDS = 30  # more than the grace period
POLL_SECONDS = 0.01

LISTENING = re.compile(r"listening service=(\S+) addr=(\S+)")
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Failure(Exception):
    """The checks can't go on."""


def wait_until(condition, seconds, what):
    """Polls until `condition()` has a value that counts as true, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain: {what}")
        time.sleep(POLL_SECONDS)


def read_all(sock):
    """Everything until the other side ends; a reset is an error."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def get(url):
    """(status, body) of a GET, past any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def samples(page):
    """A page in the text format as {(name, labels as sorted pairs): value}."""
    found = {}
    for name, labels, value in SAMPLE.findall(page):
        found[name, tuple(sorted(LABEL.findall(labels)))] = float(value)
    return found


class Replyd:
    """A running release binary. `with Replyd(config) as replyd:` ends it on every way out.

    `under` is the command line of a program that runs it, and keeps its process ID; `fds` are descriptors of ours that
    it gets, too.
    """

    def __init__(self, config, binary=BINARY, under=(), fds=()):
        if not os.access(binary, os.X_OK):
            raise Failure(f"{binary} is not there: cargo build --release")
        self.binary = binary
        self.config = config
        self.under = under
        self.fds_given = fds
        self.process = None
        self.listeners = {}

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="replyd-tests-")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def start(self):
        """Starts it in its folder, `{folder}` in the configuration, and waits until it is ready."""
        config = pathlib.Path(self.folder.name) / "server.toml"
        config.write_text(self.config.replace("{folder}", self.folder.name), encoding="utf-8")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [*self.under, self.binary, "--config", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.fds_given,
            )
        self.wait_for_log(r" ready$", START_SECONDS)
        for service, addr in LISTENING.findall(self.log()):
            self.listeners.setdefault(service, []).append(addr)

    @property
    def log_path(self):
        return pathlib.Path(self.folder.name) / "log"

    def log(self):
        """Everything it has said so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_for_log(self, pattern, seconds):
        """The match of a line in the log."""

        def found():
            match = re.search(pattern, self.log(), re.MULTILINE)
            if match is None and self.process.poll() is not None:
                raise Failure(f"replyd ended with {self.process.returncode}:\n{self.log()}")
            return match

        return wait_until(found, seconds, f"{pattern!r} in the log")

    def addr(self, service, number=0):
        """(host, port) of a service's TCP listener."""
        host, _, port = self.listeners[service][number].rpartition(":")
        return host.strip("[]"), int(port)

    def connect(self, service, number=0, timeout=20):
        """A connection to a service's TCP listener."""
        return socket.create_connection(self.addr(service, number), timeout)

    def admin_url(self, path="/metrics"):
        """The address of a page of the admin listener."""
        return f"http://{self.listeners['admin'][0]}{path}"

    def page(self):
        """The page /metrics."""
        status, body = get(self.admin_url())
        if status != 200:
            raise Failure(f"/metrics answers {status}")
        return body.decode("utf-8")

    def value(self, name, **labels):
        """One sample, its name without the prefix."""
        return samples(self.page()).get((f"replyd_{name}", tuple(sorted(labels.items()))), 0.0)

    def counts(self):
        """{service: (accepted, closed, open)}, without the admin listener, which is never at rest when asked."""
        found = {}
        for (name, labels), value in samples(self.page()).items():
            column = {
                "replyd_connections_accepted_total": 0,
                "replyd_connections_closed_total": 1,
                "replyd_connections_open": 2,
            }.get(name)
            service = dict(labels).get("service")
            if column is not None and service != "admin":
                found.setdefault(service, [0, 0, 0])[column] += value
        return found

    def is_at_rest(self):
        """Whether nothing is open and every connection that was accepted is counted as closed."""
        counts = self.counts().values()
        return all(accepted == closed and open_now == 0 for accepted, closed, open_now in counts)

    def wait_for_rest(self, seconds=REST_SECONDS):
        """Waits until it is."""
        try:
            wait_until(self.is_at_rest, seconds, "at rest: open 0, accepted = closed")
        except Failure as failure:
            raise Failure(f"{failure}; accepted, closed, open: {self.counts()}") from failure

    def outcomes(self):
        """{(service, outcome): count} of what has happened, without the admin listener."""
        found = {}
        for (name, labels), value in samples(self.page()).items():
            labels = dict(labels)
            if name == "replyd_connections_closed_total" and labels["service"] != "admin" and value:
                found[labels["service"], labels["outcome"]] = int(value)
        return found

    def terminate(self):
        """Tells it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self):
        """Its exit code, once it has ended."""
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Failure(f"replyd is still there {STOP_SECONDS} s after SIGTERM:\n{self.log()}") from error


class Report:
    """Runs groups of checks, prints a line for each, and counts."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.notes = []

    def note(self, text):
        """A figure that the group in hand has to show."""
        self.notes.append(text)

    def group(self, title, faults):
        """`faults` is an iterator over what is wrong; that it can't go on is one more fault."""
        found = []
        try:
            found.extend(faults)
        except (Failure, OSError, EOFError, KeyError, ValueError, subprocess.TimeoutExpired) as error:
            found.append(f"{type(error).__name__}: {error}")
        print(f"{'FAIL' if found else 'ok  '} {title}", flush=True)
        for fault in (*self.notes, *found):
            print("     " + fault.replace("\n", "\n     "), flush=True)
        self.notes.clear()
        self.passed += not found
        self.failed += bool(found)

    def skip(self, title, why):
        """Counts a group that can't be run here."""
        print(f"skip {title}: {why}", flush=True)
        self.skipped += 1

    def finish(self):
        """The last line; the exit code."""
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed else 0
