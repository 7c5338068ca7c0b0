"""Panics, in every thread that serves: F40 and F41. On a binary of its own, with the feature `failpoints`: src/failpoint.rs.

Standard library only.
"""

import functools
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

from faults import servers
from faults.suite import fault
from replyd import ROOT, Failure, wait_until

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BUILD_SECONDS = 900
PANICS, QUICK_PANICS = 1000, 100
BESIDE = 10  # good exchanges after the panics
END_MAX = 1000  # ms
END_SECONDS = 20
THREADS = ("acceptor.turn", "admin-acceptor.turn", "signals.signal", "ctrl-c.signal")


@functools.cache
def binary():
    """Built, with the feature, where `cargo test` builds what it tests; and out of that one's way."""
    command = ["cargo", "build", "--quiet", "--features", "failpoints"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode != 0:
        raise Failure(f"cargo build --features failpoints: {done.stderr}")
    folder = tempfile.TemporaryDirectory(prefix="replyd-failpoints-")
    return folder, shutil.copy(TARGET / "debug" / "replyd", folder.name)


class Failpoints:
    """Where the panics are wanted. Of a `with`, as it is a folder."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="replyd-failpoints-")
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    def replyd(self, bench):
        """A replyd that looks there."""
        under = ["env", f"REPLYD_FAILPOINTS={self.folder.name}"]
        return bench.replyd(servers.config(more="[workers]\nthreads = 1\n"), binary=binary()[1], under=under)

    def want(self, place):
        """From now on."""
        (pathlib.Path(self.folder.name) / place).touch()

    def forget(self, place):
        """No longer."""
        (pathlib.Path(self.folder.name) / place).unlink()


@fault(
    "F40",
    "panics in exchanges",
    "each is one failed connection, as many workers as before, the process lives",
    programs=("cargo",),
)
def exchanges(bench):
    count = QUICK_PANICS if bench.is_quick else PANICS
    with Failpoints() as failpoints, failpoints.replyd(bench) as server:
        server.expects("failpoint worker-0.exchange")
        server.expects("failpoint admin-0.exchange")
        failpoints.want("worker-0.exchange")
        failed = sum(not server.is_good() for _ in range(count))
        failpoints.forget("worker-0.exchange")
        good = sum(server.is_good() for _ in range(BESIDE))
        failpoints.want("admin-0.exchange")
        is_scraped = is_scraping(server)
        failpoints.forget("admin-0.exchange")
        panicked = server.value("connections_closed_total", service="hello", outcome="panicked")
        of_admin = server.value("connections_closed_total", service="admin", outcome="panicked")
        workers = server.value("workers", pool="main")
        told = lambda: server.log().count("failpoint worker-0.exchange")  # noqa: E731
        is_told = lambda: told() + server.value("log_dropped_total") >= count  # noqa: E731
        wait_until(is_told, END_SECONDS, "the log has told of each panic")
        lines = told()
    bench.figure(
        f"{count} panics: {failed} connections failed, {panicked:.0f} counted as panicked, {lines} lines of the log; "
        f"then {good} of {BESIDE} good ones answered by {workers:.0f} worker; "
        f"{of_admin:.0f} panic of a scrape, and the next one answered"
    )
    bench.equal("failed, counted, answered then", (failed, panicked, good), (count, count, BESIDE))
    bench.equal("scrape in a panic, counted", (is_scraped, of_admin), (False, 1))


def is_scraping(server):
    """Whether /metrics answers."""
    try:
        server.page()
    except (OSError, Failure):
        return False
    return True


@fault(
    "F41",
    "a panic in the thread of an acceptor or of signals",
    f"exit 1 ≤ {END_MAX} ms later, and the log says so",
    programs=("cargo",),
)
def threads(bench):
    took = {}
    for place in THREADS:
        with Failpoints() as failpoints, failpoints.replyd(bench) as server:
            server.expects("failpoint|panicked")
            failpoints.want(place)
            began = time.monotonic()
            provoke(server, place)
            wait_until(lambda: server.process.poll() is not None, END_SECONDS, f"it ends after a panic at {place}")  # noqa: B023
            took[place] = (time.monotonic() - began) * 1000
            server.expects_end(1)
            bench.check("panicked" in server.log(), f"{place}: the log doesn't say it:\n{server.log()}")
        bench.within(f"{place}, ms to the end", took[place], END_MAX, " ms")
    bench.figure("exit 1 after: " + ", ".join(f"{place.partition('.')[0]} {ms:.0f} ms" for place, ms in took.items()))


def provoke(server, place):
    """Has that thread come by."""
    thread = place.partition(".")[0]
    if thread == "acceptor":
        server.is_good()
    elif thread == "admin-acceptor":
        is_scraping(server)
    else:
        server.process.send_signal(signal.SIGINT if thread == "ctrl-c" else signal.SIGHUP)
