"""Counts of what a running replyd does, for cost.py: system calls, by perf or strace; user instructions, by callgrind.

Standard library only.
"""

import collections
import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess

from replyd import Failure, Replyd, wait_until

LOAD = pathlib.Path(__file__).parent / "cost" / "load.rs"
LOAD_SECONDS = 120
TOOL_SECONDS = 30
ORDER_SECONDS = 5
UNHEARD_MAX = 5

# What an exchange takes, and may come to take; whatever else there is shows in the total.
CALLS = (
    "accept4", "close", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "futex", "getsockopt", "io_uring_enter",
    "read", "recvfrom", "recvmsg", "sched_yield", "sendmsg", "sendto", "setsockopt", "shutdown", "write", "writev",
)  # fmt: skip
ALL = "raw_syscalls:sys_enter"

# Lines of callgrind's output.
FUNCTION = re.compile(r"(c?fn)=\((\d+)\)(?: (.*))?$")
COST = re.compile(r"[\d+*-]\S* (\d+)$")
TOTAL = re.compile(r"^totals: (\d+)\n", re.MULTILINE)


class Load:
    """Clients in a closed loop, compiled into `folder`."""

    def __init__(self, folder):
        self.program = pathlib.Path(folder) / "load"
        done = subprocess.run(
            ["rustc", "-O", "--edition", "2024", "-o", self.program, LOAD], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise Failure(f"rustc {LOAD}: {done.stderr}")

    def run(self, addr, clients, exchanges, request):
        """So many exchanges of each client. That one of them isn't answered is a failure."""
        command = [self.program, f"{addr[0]}:{addr[1]}", str(clients), str(exchanges), request]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_SECONDS, check=False)
        if done.returncode != 0:
            raise Failure(f"the load: exit {done.returncode}: {done.stderr}")


def descriptors(pid):
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


@contextlib.contextmanager
def until_closed(pid):
    """Waits, at the end, until as many descriptors are open as at the beginning: asking for metrics would count."""
    before = descriptors(pid)
    yield
    wait_until(lambda: descriptors(pid) <= before, TOOL_SECONDS, "every connection is closed")


# ── System calls ──


def tracer():
    """(what counts system calls here, a function of a process ID and work that returns {call: count}), or None."""
    if shutil.which("perf") and subprocess.run(
        ["perf", "stat", "-e", ALL, "true"], capture_output=True, check=False
    ).returncode == 0:
        return "perf", by_perf
    if shutil.which("strace"):
        return "strace", by_strace
    return None


@contextlib.contextmanager
def ended(process):
    """Ends it, whatever happens, if it has not ended by itself."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def interrupted(process):
    """What it says on stderr once it is told to end."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=TOOL_SECONDS)[1]


def by_perf(pid, work):
    """Counts by tracepoints, which don't distort what is counted."""
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()
    events = ",".join([ALL, *(f"syscalls:sys_enter_{call}" for call in CALLS)])
    command = ["perf", "stat", "-x", ";", "-e", events, "-D", "-1", "-p", str(pid)]
    command += ["--control", f"fd:{command_read},{answer_write}"]
    perf = subprocess.Popen(command, pass_fds=(command_read, answer_write), stderr=subprocess.PIPE, text=True)
    os.close(command_read)
    os.close(answer_write)
    with ended(perf), os.fdopen(command_write, "w") as orders, os.fdopen(answer_read) as answers:

        def order(what):
            orders.write(f"{what}\n")
            orders.flush()
            if not answers.readline().strip("\n\0").startswith("ack"):
                raise Failure(f"perf has ended: {perf.communicate(timeout=TOOL_SECONDS)[1]}")

        order("enable")
        with until_closed(pid):
            work()
        order("disable")
        said = interrupted(perf)
    counts = {}
    for line in said.splitlines():
        count, _, event, *_ = [*line.split(";"), "", ""]
        if count.isdigit():
            counts[event.removeprefix("syscalls:sys_enter_")] = int(count)
    total = counts.pop(ALL)
    return counts | {"others": total - sum(counts.values())}


def by_strace(pid, work):
    """Counts by ptrace, which slows replyd down, so that its threads meet less often: more futex and sched_yield."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        threads = int(re.search(r"^Threads:\t(\d+)", status.read(), re.MULTILINE)[1])
    command = ["strace", "--follow-forks", "--summary-only", "--summary-columns=calls,name", "-p", str(pid)]
    strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with ended(strace):
        attached = strace.stderr.readline()
        if f"with {threads} threads" not in attached:
            raise Failure(f"strace: {attached}")
        with until_closed(pid):
            work()
        said = interrupted(strace)
    counts = {call: int(count) for count, call in re.findall(r"^ *(\d+) (\w+)$", said, re.MULTILINE)}
    counts.pop("total", None)
    return counts


# ── Instructions ──


class Callgrind(Replyd):
    """A replyd under valgrind, which counts the instructions of its user mode."""

    def __init__(self, config):
        super().__init__(config)

    def start(self):
        """Starts it; valgrind writes into its folder."""
        out = f"--callgrind-out-file={self.folder.name}/costs"
        self.under = ["valgrind", "--tool=callgrind", out, "--fair-sched=yes"]
        self.names = {}
        super().start()

    def order(self, what):
        """Has valgrind do something. It may not hear of it, while every thread waits in a system call."""
        command = ["vgdb", f"--pid={self.process.pid}", what]
        done = subprocess.run(command, capture_output=True, text=True, timeout=ORDER_SECONDS, check=False)
        if done.returncode != 0:
            raise Failure(f"{' '.join(command)}: {done.stderr}")

    def instructions(self, work, rounds):
        """How many `work()` takes, and closing every connection of it: the sum of the fewest that each function took
        in any of the rounds. How often a thread finds nothing to do and looks again is chance, and only ever adds;
        what remains is the same from run to run.
        """
        fewest, unheard = None, 0
        while rounds:
            try:
                costs = self.round(work)
            except subprocess.TimeoutExpired:
                unheard += 1
                if unheard == UNHEARD_MAX:
                    raise
                continue
            fewest = costs if fewest is None else fewest & costs
            rounds -= 1
        return sum(fewest.values())

    def round(self, work):
        """{function: instructions of its own} of one round."""
        self.order("zero")
        with until_closed(self.process.pid):
            work()
        before = self.dumps()
        self.order("dump")
        new = wait_until(lambda: self.dumps() - before, TOOL_SECONDS, "valgrind has written what it has counted")
        return self.costs(*new)

    def dumps(self):
        """What it has written so far."""
        return set(pathlib.Path(self.folder.name).glob("costs.*"))

    def costs(self, dump):
        """{function: instructions of its own} of a dump.

        Source: valgrind's manual, "Callgrind Format Specification".
        """
        # It is still being written when the order is done.
        is_whole = lambda: TOTAL.search(dump.read_text(encoding="utf-8"))  # noqa: E731
        total = int(wait_until(is_whole, TOOL_SECONDS, f"{dump} is whole")[1])
        costs, function, is_call = collections.Counter(), None, False
        for line in dump.read_text(encoding="utf-8").splitlines():
            if name := FUNCTION.match(line):
                kind, number, text = name.groups()
                # A name is told once for all dumps.
                self.names.setdefault(number, text)
                function = self.names[number] if kind == "fn" else function
            elif line.startswith("calls="):
                is_call = True
            elif cost := COST.match(line):
                # The line after a call has what the callee took.
                costs[function] += 0 if is_call else int(cost[1])
                is_call = False
        if sum(costs.values()) != total:
            raise Failure(f"{dump}: {sum(costs.values())} read of {total}")
        return costs
