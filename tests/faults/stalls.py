"""What stops or slows a process from outside: signals, debuggers, a slow disk, a log that nobody reads, a clock that steps.

F9 to F12. Standard library only.
"""

import contextlib
import glob
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import time

from faults import servers
from faults.loops import Loops
from faults.probe import watch
from faults.strace import Strace
from faults.suite import fault
from replyd import Failure, read_all, wait_until

STOPS, QUICK_STOPS = 20, 10
STOPPED_SECONDS = 0.05
RUNNING_EXCHANGES = 200  # between two stops
ATTACHES = 5
DEBUGGER_SECONDS = 60

DELAY_MS = 20  # of a write
CLOSE_DELAY_MS = 5  # a quarter of the time between two exchanges of the good client
CLOSE_P99_MAX = 20  # ms
WATCH_SECONDS, QUICK_WATCH_SECONDS = 10, 3
RATIO_MAX = 2

WAITING = 50  # of each kind
STEPS = ("+1h", "-1h", "+1d", "-1d")
STEP_SECONDS = 1.5  # after each
FAKETIME = "/usr/lib/*/faketime/libfaketime.so.1"
DATE = re.compile(rb"^Date: (.*)\r$", re.MULTILINE)

LOGGED = 10_000  # exchanges, a line each
QUEUED_MAX = 6000  # lines that the log's queue and its page hold


# ── F9 ──


@fault("F9", f"SIGSTOP and SIGCONT, {STOPS} times, under load", "0 failed")
def stopped(bench):
    count = QUICK_STOPS if bench.is_quick else STOPS
    for name in bench.names():
        with bench.serve(name) as server, Loops(server.addr) as loops:
            pids = server.pids()
            for _ in range(count):
                loops.wait_for(RUNNING_EXCHANGES)
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                time.sleep(STOPPED_SECONDS)  # how long it stands still
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
            judge(bench, server, loops.end(), f"{count} stops: ")


@fault(
    "F9", f"strace and gdb attach and detach, {ATTACHES} times each, under load", "0 failed", programs=("strace", "gdb")
)
def attached(bench):
    for name in bench.names():
        with bench.serve(name) as server, Loops(server.addr) as loops:
            for _ in range(ATTACHES):
                loops.wait_for(RUNNING_EXCHANGES)
                with Strace(server.pids(), trace="all"):
                    loops.wait_for(RUNNING_EXCHANGES)
                loops.wait_for(RUNNING_EXCHANGES)
                for pid in server.pids():
                    debug(pid)
            judge(bench, server, loops.end(), f"{ATTACHES} times each: ")


def debug(pid):
    """gdb attaches and leaves. Without the symbols: it reads them while the process stands still, for seconds."""
    command = ["gdb", "--nx", "--batch", "-iex", "set exec-file-mismatch off", "-iex", "set auto-solib-add off"]
    command += ["-ex", f"attach {pid}", "-ex", "detach", "/bin/true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEBUGGER_SECONDS, check=False)
    if done.returncode != 0 or "detached" not in done.stdout:
        raise Failure(f"gdb: {done.returncode}: {done.stdout}{done.stderr}")


def judge(bench, server, looped, before=""):
    """Nobody may have failed."""
    bench.figure(before + looped.line(), server.name)
    if server.name == "replyd":
        bench.equal("cut", dict(looped.faults), {})
        bench.equal("not connected", dict(looped.refused), {})


# ── F10 ──


@fault(
    "F10",
    f"write to the log takes {DELAY_MS} ms more, a line for each exchange",
    f"p99 ≤ {RATIO_MAX} × that without",
    programs=("strace",),
)
def slow_log(bench):
    seconds = QUICK_WATCH_SECONDS if bench.is_quick else WATCH_SECONDS
    with bench.replyd(servers.config(more='[log]\naccess = "all"\n')) as server:
        paths = [os.path.realpath(server.log_path)]
        # strace itself slows it, so it is there both times.
        with Strace([server.pid], paths=paths, trace="write"):
            alone = watch(server.addr, seconds)
        with Strace([server.pid], f"write:delay_exit={DELAY_MS}ms", paths=paths) as strace:
            slowed = watch(server.addr, seconds)
            strace.detach()
            delayed = len(strace.injected())
    bench.figure(
        f"p99 {alone.p99:.2f} ms without, {slowed.p99:.2f} ms with {delayed} slow writes, {slowed.failed} failed"
    )
    bench.check(delayed > 0, "no write was slow")
    bench.equal("failed", dict(alone.faults + slowed.faults), {})
    bench.within("ratio of p99", slowed.p99 / alone.p99, RATIO_MAX)


@fault("F10", f"close takes {CLOSE_DELAY_MS} ms more", f"0 failed, p99 ≤ {CLOSE_P99_MAX} ms", programs=("strace",))
def slow_close(bench):
    seconds = QUICK_WATCH_SECONDS if bench.is_quick else WATCH_SECONDS
    for name in bench.names():
        with bench.serve(name) as server:
            with Strace(server.pids(), f"close:delay_exit={CLOSE_DELAY_MS}ms") as strace:
                seen = watch(server.addr, seconds)
                strace.detach()
                delayed = len(strace.injected())
        bench.figure(f"{delayed} slow closes: {seen.line()}", name)
        if name == "replyd":
            bench.check(delayed > 0, "no close was slow")
            bench.equal("failed", dict(seen.faults), {})
            bench.within("p99", seen.p99, CLOSE_P99_MAX, " ms")


# ── F11 ──


@fault(
    "F11", f"the wall clock steps by {' '.join(STEPS)} (libfaketime; CLOCK_MONOTONIC can't step)",
    "nobody times out, nothing panics", programs=("faketime",),
)  # fmt: skip
def clock_steps(bench):
    [library] = glob.glob(FAKETIME)
    clock = pathlib.Path(f"/tmp/replyd-faults-clock-{os.getpid()}")
    under = ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={clock}"]
    under += ["FAKETIME_NO_CACHE=1", "DONT_FAKE_MONOTONIC=1"]
    with contextlib.ExitStack() as stack:
        stack.callback(clock.unlink, missing_ok=True)
        set_clock(clock, "+0")
        server = stack.enter_context(bench.replyd(servers.config(hello="defer_accept_seconds = 0"), under=under))
        connect = lambda: stack.enter_context(socket.create_connection(server.addr, servers.EXCHANGE_SECONDS))  # noqa: E731
        silent, half = [connect() for _ in range(WAITING)], [connect() for _ in range(WAITING)]
        for sock in half:
            sock.sendall(servers.REQUEST[:9])
        waiting = {"service": "hello", "for": "request"}
        wait_until(lambda: server.value("connections_waiting", **waiting) == 2 * WAITING, 20, "all of them wait")
        dates = [date_after(server, clock, step) for step in STEPS]
        closed = select.select(silent + half, [], [], 0)[0]
        bench.equal("connections that were closed meanwhile", len(closed), 0)
        for sock in half + silent:
            sock.sendall(servers.REQUEST[9:] if sock in half else servers.REQUEST)
        answered = sum(servers.is_reply(read_all(sock)) for sock in half + silent)
        bench.equal("answered in the end", answered, 2 * WAITING)
        bench.equal("days by which `Date` was off", dates, [days(step) for step in STEPS])
    bench.figure(f"{2 * WAITING} connections waited, none closed, {answered} answered; `Date` stepped each time")


def set_clock(clock, step):
    """Has replyd's clock be off by that."""
    new = clock.with_suffix(".new")
    new.write_text(f"{step}\n", encoding="ascii")
    new.rename(clock)


def date_after(server, clock, step):
    """By how many days the reply's date is off, a while after the step."""
    set_clock(clock, step)
    time.sleep(STEP_SECONDS)  # what would be timed out is, within this
    received = servers.exchange(server.addr)
    if not servers.is_reply(received):
        raise Failure(f"after {step}: {received!r}")
    said = subprocess.run(
        ["date", "--date", DATE.search(received)[1].decode(), "+%s"], capture_output=True, text=True, check=True
    )
    return round((int(said.stdout) - time.time()) / 86400, 1)


def days(step):
    """Of a step."""
    return round(int(step[:-1]) / {"h": 24, "d": 1}[step[-1]], 1)


# ── F12 ──


class Unheard(servers.Replyd):
    """A replyd whose stderr is some descriptor that takes nothing. It can't say where it listens, so it is told."""

    def __init__(self, fd):
        self.fd = fd
        self.listeners = {}
        addrs = {name: servers.free_addr() for name in ("hello", "admin")}
        places = {name: f"{host}:{port}" for name, (host, port) in addrs.items()}
        text = servers.config(more='[log]\naccess = "all"\n')
        for name in ("admin", "hello"):
            text = text.replace("127.0.0.1:0", places[name], 1)
        super().__init__(text)
        self.places = places

    def start(self):
        """Starts it, and waits until it answers."""
        config = pathlib.Path(self.folder.name) / "server.toml"
        config.write_text(self.config, encoding="utf-8")
        self.log_path.touch()
        self.process = subprocess.Popen(
            [self.binary, "--config", config], stdin=subprocess.DEVNULL, stdout=self.fd, stderr=self.fd
        )
        self.listeners = {name: [place] for name, place in self.places.items()}
        wait_until(self.is_good, servers.START_SECONDS, "replyd answers")


def unheard(bench, fd):
    """Exchanges with one that can't log, a line each."""
    with Unheard(fd) as server:
        server.remember()
        with Loops(server.addr) as loops:
            loops.wait_for(LOGGED)
            looped = loops.end()
        seen = watch(server.addr, QUICK_WATCH_SECONDS)
        dropped = server.value("log_dropped_total")
        bench.faults.extend(server.epilogue())
    bench.figure(f"{looped.line()}; {seen.line()}; {dropped:.0f} lines dropped and counted")
    bench.equal("cut, not connected", (dict(looped.faults), dict(looped.refused)), ({}, {}))
    bench.equal("failed", dict(seen.faults), {})
    bench.check(dropped >= LOGGED - QUEUED_MAX, f"only {dropped:.0f} lines are counted as dropped")


@fault("F12", "the log is a pipe that nobody reads, and is full", "replies go on, lines that are dropped are counted")
def full_pipe(bench):
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writing, b"x" * 4096)
        os.set_blocking(writing, True)
        unheard(bench, writing)
    finally:
        os.close(reading)
        os.close(writing)


@fault("F12", "the log is /dev/full", "replies go on, lines that are dropped are counted")
def full_disk(bench):
    with open("/dev/full", "wb") as full:
        unheard(bench, full)
