#!/usr/bin/env -S python3 -B
"""What an exchange costs, in counts: system calls, and instructions of the user mode. Never in time.

    cargo build --release && tests/cost.py
    tests/cost.py --record      writes what it has counted to tests/cost/recorded.toml

Starts release binaries of its own on free ports of the loopback interface: one is asked by 64 clients at once
while perf counts its system calls (or strace, where perf can't), others run under valgrind. Heap allocations
are counted by `cargo test --test cost`. Standard library only.
"""

import argparse
import contextlib
import os
import pathlib
import resource
import signal
import sys
import tempfile
import tomllib

sys.dont_write_bytecode = True

from counts import Callgrind, Load, tracer, until_closed  # noqa: E402: after the switch above
from replyd import Replyd, Report, wait_until  # noqa: E402

RECORDED = pathlib.Path(__file__).parent / "cost" / "recorded.toml"

CLIENTS = 64
EXCHANGES = 100  # of each client in a round
ROUNDS = 8

CALLS_MAX = 8.0  # an exchange, at saturation
EPOLL_CTL_MAX = 0.1
# Six for the connection, with recv twice; one epoll_wait; two of futex, as the worker is woken and sleeps again. An accept
# in vain every other time would be half a call more.
LONE_CALLS_MAX = 9.4

# Under valgrind. Many at once, so that workers seldom sleep between two exchanges: one after another, rounds differ
# by up to 30 %, by whether they do.
SLOW_CLIENTS = 32
SLOW_EXCHANGES = 15
SLOW_ROUNDS = 12
TOLERANCE = 0.06  # runs of one binary, alone or beside a compiler on all processors, differed by up to 5 %

FLAT = 0.10
SERVICES = 100
FEW, MANY = 10, 10_000
DESCRIPTORS = 2 * MANY  # ours are as many as replyd's, each has its own limit; valgrind takes some
HOLD_SECONDS = 600

GET = "GET /status HTTP/1.1\r\nHost: localhost\r\nUser-Agent: cost\r\nAccept: */*\r\n\r\n"
KINDS = {
    # service: (keys, request)
    "text": ('reply.text = "a constant\\n"', "you\n"),
    "http": ('read = "http"\nreply.text = "a constant\\n"', GET),
    "echo": ("reply.echo = true", "a line\n"),
    "template": ('reply.text = "{{ service }} {{ request }} {{ peer.ip }} {{ time }}\\n"', "you\n"),
}


def service(name, keys):
    """A `[[service]]`."""
    return f'[[service]]\nname = "{name}"\nlisten = "127.0.0.1:0"\n{keys}\n'


def config(services, more=""):
    """A configuration; the number of workers is not left to the machine."""
    head = f'[server]\nmax_connections = {MANY + 2000}\n[workers]\nthreads = 2\n[admin]\nlisten = "127.0.0.1:0"\n'
    return head + more + "".join(services)


TEXT = service("text", KINDS["text"][0])
# Whoever has sent half a request is not thrown out while we count.
HELD = service("held", f"{KINDS['text'][0]}\nrequest_timeout_seconds = {HOLD_SECONDS}")
HUNDRED = [TEXT, *(service(f"other-{number}", KINDS["text"][0]) for number in range(1, SERVICES))]


@contextlib.contextmanager
def crowd(replyd, count):
    """Connections that have sent half a request and wait."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(replyd.connect("held", timeout=60))
            sock.sendall(b"half")
        is_there = lambda: replyd.value("connections_waiting", service="held", **{"for": "request"}) == count  # noqa: E731
        wait_until(is_there, 60, f"{count} connections wait")
        yield


def flat(what, few, many):
    """The fault, if it is not."""
    growth = many / few - 1
    if abs(growth) > FLAT:
        yield f"{what}: {few:.2f} becomes {many:.2f} ({growth:+.1%}), more than {FLAT:.0%}: something grows with their number"


class Cost:
    """The groups of checks. Each is a generator of faults."""

    def __init__(self, report, load, recorded):
        self.report = report
        self.load = load
        self.recorded = recorded
        self.found = {}
        self.total = 0.0
        self.tool, self.trace = tracer()

    # ── System calls ──

    def calls(self, replyd, clients=CLIENTS, exchanges=EXCHANGES):
        """System calls of an exchange by kind: of the round with the fewest, as a client that is kept from running
        is only ever looked at more often."""
        addr, (_, request) = replyd.addr("text"), KINDS["text"]
        work = lambda: self.load.run(addr, clients, exchanges, request)  # noqa: E731
        work()
        rounds = [self.trace(replyd.process.pid, work) for _ in range(ROUNDS)]
        fewest = min(rounds, key=lambda counts: sum(counts.values()))
        return {call: count / (clients * exchanges) for call, count in fewest.items()}

    def told(self, calls):
        """How many in all."""
        total = sum(calls.values())
        shown = [f"{call} {count:.2f}" for call, count in sorted(calls.items(), key=lambda item: -item[1]) if count >= 0.005]
        self.report.note(f"{total:.2f} by {self.tool}: {', '.join(shown)}")
        return total

    def saturation(self):
        """As few as the issue wants, of the service that a newcomer gets."""
        with Replyd(config([TEXT])) as replyd:
            calls = self.calls(replyd)
        self.total = total = self.told(calls)
        if total > CALLS_MAX:
            yield f"system calls: {total:.2f} an exchange, more than {CALLS_MAX}: see which, above"
        if calls.get("epoll_ctl", 0) > EPOLL_CTL_MAX:
            yield f"epoll_ctl: {calls['epoll_ctl']:.2f} an exchange, more than {EPOLL_CTL_MAX}"

    def alone(self):
        """One client, asking again and again: each of its exchanges finds everyone asleep."""
        with Replyd(config([TEXT])) as replyd:
            total = self.told(self.calls(replyd, 1, EXCHANGES * 10))
        if total > LONE_CALLS_MAX:
            yield f"system calls: {total:.2f} an exchange of a client alone, more than {LONE_CALLS_MAX}: see which, above"

    def calls_by_services(self):
        """Flat; beside 1 service is what was counted first."""
        with Replyd(config(HUNDRED)) as replyd:
            hundred = sum(self.calls(replyd).values())
        self.report.note(f"{self.total:.2f}, {hundred:.2f}")
        yield from flat("system calls", self.total, hundred)

    def calls_by_connections(self):
        """Flat."""
        with Replyd(config([TEXT, HELD])) as replyd:
            with crowd(replyd, FEW):
                few = sum(self.calls(replyd).values())
            with crowd(replyd, MANY):
                many = sum(self.calls(replyd).values())
        self.report.note(f"{few:.2f}, {many:.2f}")
        yield from flat("system calls", few, many)

    # ── Instructions ──

    def slow(self, replyd, name):
        """User instructions of an exchange."""
        addr, (_, request) = replyd.addr(name), KINDS[name]
        work = lambda: self.load.run(addr, SLOW_CLIENTS, SLOW_EXCHANGES, request)  # noqa: E731
        with until_closed(replyd.process.pid):
            work()
        return replyd.instructions(work, SLOW_ROUNDS) / (SLOW_CLIENTS * SLOW_EXCHANGES)

    def instructions(self):
        """As many as are recorded."""
        with Callgrind(config([service(name, keys) for name, (keys, _) in KINDS.items()])) as replyd:
            for name in KINDS:
                self.found[name] = found = round(self.slow(replyd, name))
                recorded = self.recorded.get(name)
                self.report.note(f"{name}: {found}, recorded {recorded}")
                if self.recorded and recorded is None:
                    yield f"{name}: nothing is recorded: tests/cost.py --record"
                elif self.recorded and abs(found / recorded - 1) > TOLERANCE:
                    yield (
                        f"{name}: {found} instructions an exchange, recorded are {recorded} ({found / recorded - 1:+.1%}, "
                        f"within {TOLERANCE:.0%} is good): find what changed; if it is meant, tests/cost.py --record"
                    )

    def instructions_by_services(self):
        """Flat."""
        with Callgrind(config([TEXT])) as replyd:
            one = self.slow(replyd, "text")
        with Callgrind(config(HUNDRED)) as replyd:
            hundred = self.slow(replyd, "text")
        self.report.note(f"{one:.0f}, {hundred:.0f}")
        yield from flat("instructions", one, hundred)

    def instructions_by_connections(self):
        """Flat."""
        with Callgrind(config([TEXT, HELD])) as replyd:
            with crowd(replyd, FEW):
                few = self.slow(replyd, "text")
            with crowd(replyd, MANY):
                many = self.slow(replyd, "text")
        self.report.note(f"{few:.0f}, {many:.0f}")
        yield from flat("instructions", few, many)


def groups(cost):
    """(title, descriptors it takes, faults)."""
    return [
        (f"system calls of an exchange, {CLIENTS} clients", 0, cost.saturation),
        ("system calls of an exchange, 1 client", 0, cost.alone),
        (f"system calls beside 1 and {SERVICES} services", 0, cost.calls_by_services),
        (f"system calls beside {FEW} and {MANY} half-sent requests", DESCRIPTORS, cost.calls_by_connections),
        ("instructions of an exchange", 0, cost.instructions),
        (f"instructions beside 1 and {SERVICES} services", 0, cost.instructions_by_services),
        (f"instructions beside {FEW} and {MANY} half-sent requests", DESCRIPTORS, cost.instructions_by_connections),
    ]


def record(found):
    """Writes what was counted where the next run looks."""
    lines = [f"{name} = {count}" for name, count in found.items()]
    head = "# User instructions of an exchange: tests/cost.py --record writes them, tests/cost.py compares.\n\n"
    RECORDED.write_text(f"{head}[instructions]\n" + "\n".join(lines) + "\n", encoding="utf-8")


def main():
    # So that an end from outside still ends our replyd.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the instructions to tests/cost/recorded.toml")
    arguments = parser.parse_args()
    # What else runs here would keep the clients waiting, and the acceptor would look at each of them once more.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    report = Report()
    with tempfile.TemporaryDirectory(prefix="replyd-cost-") as folder:
        recorded = {} if arguments.record else tomllib.loads(RECORDED.read_text(encoding="utf-8"))["instructions"]
        cost = Cost(report, Load(folder), recorded)
        if arguments.record:
            report.group("instructions of an exchange: recorded", cost.instructions())
            if len(cost.found) == len(KINDS):
                record(cost.found)
            return report.finish()
        for title, descriptors_needed, faults in groups(cost):
            if limit < descriptors_needed:
                report.skip(title, f"it takes {descriptors_needed} descriptors, and the hard limit is {limit}: ulimit -Hn")
            else:
                report.group(title, faults())
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
