"""F21, F25, F26 and F28: floods of SYNs, of connections, of one source; and an acceptor that stands still.

Standard library only.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time

from faults import servers, suite
from faults.attackers import SILENT, Crowd
from faults.good import Good
from faults.load import Ask, Load, load
from faults.network import Network, run
from faults.overload import HELLO_ASK, HTTP_REPLIES
from faults.probe import Probe
from replyd import wait_until

SPOOFED = "127.9.0.5"  # of 127.9.0.0/16, where no answer may go
SYNS, QUICK_SYNS = 60000, 20000
SYN_MICROSECONDS = 50  # between two
SYN_TARGET_MS = 5


@suite.fault(
    "F21",
    "SYN flood (hping3, aimed at 20,000 a second)",
    "0 good errors, p99 ≤ 5 ms; the kernel sends SYN cookies",
    programs=("ip", "nft", "hping3"),
)
def syn_flood(bench):
    """From an address that never answers."""
    count = QUICK_SYNS if bench.is_quick else SYNS
    for name in bench.names():
        with Network() as network, bench.serve(name) as server:
            host, port = server.addr
            network.filter("output", f"ip daddr 127.9.0.0/16 tcp sport {port} drop")
            before, began = network.counters(), time.monotonic()
            command = ["hping3", "-q", "-S", "-p", port, "-a", SPOOFED, "-i", f"u{SYN_MICROSECONDS}", "-c", count, host]
            with Good(server) as good:
                # It fails as it never gets an answer, which is as it should be.
                subprocess.run(
                    [str(word) for word in command],
                    capture_output=True,
                    stdin=subprocess.DEVNULL,
                    timeout=600,
                    check=False,
                )
                seconds = time.monotonic() - began
                seen = good.end()
            cookies = network.counters()["SyncookiesSent"] - before["SyncookiesSent"]
            bench.figure(f"{count / seconds:.0f} SYNs/s, {cookies} cookies: {seen.line()}", name)
            if name == "replyd":
                bench.check(cookies > 0, "the kernel has sent no SYN cookie: this was no flood")
                good.judge(bench, SYN_TARGET_MS)


FULL = 1000  # max_connections
FULL_PART = 0.9  # nginx counts its own descriptors
FLOOD, QUICK_FLOOD = 20000, 5000
FLOOD_RATE = 4000
FLOOD_HELD_SECONDS = 3  # that each stays, if it may
SHED_TARGET_MS = 5
GOOD_SOURCE = "127.0.9.9"
GOOD_PART = 0.99


@suite.fault(
    "F25",
    "a flood of silent connections, 20 times max_connections",
    "≥ 99 % of the good clients replied; no ListenOverflows",
    programs=("ip",),
)
def connection_flood(bench):
    """As fast as they come; without deferred accept, or the kernel would keep them."""
    count = QUICK_FLOOD if bench.is_quick else FLOOD
    for name in bench.names():
        with Network() as network, serve_few(bench, name) as server:
            before, fds = network.counters(), server.fds()
            ask = Ask(b"", HTTP_REPLIES, timeout=FLOOD_HELD_SECONDS)
            with Load(server.addr, ask, FLOOD_RATE, count / FLOOD_RATE, processes=2) as flood:
                wait_until(lambda: server.fds() >= fds + FULL * FULL_PART, 10, f"the flood fills {name}")  # noqa: B023
                with Good(server, source=GOOD_SOURCE) as good:
                    tally = flood.tally()
                    seen = good.end()
            after, ends = network.counters(), tally.endings()
            overflows = sum(after[each] - before[each] for each in ("ListenOverflows", "ListenDrops"))
            bench.figure(f"{seen.line()}; of {count}: {dict(ends)}, {overflows} overflows", name)
            if name == "replyd":
                bench.equal("ListenOverflows", overflows, 0)
                good.judge(bench, SHED_TARGET_MS, GOOD_PART)


def serve_few(bench, name):
    """A server that holds few connections."""
    if name == "replyd":
        return bench.replyd(servers.config(hello="defer_accept_seconds = 0", server=f"max_connections = {FULL}"))
    return {"nginx": SmallNginx, "haproxy": SmallHaproxy}[name]()


class SmallNginx(servers.Nginx):
    """Each of its workers, one for a processor, has its share."""

    def text(self, folder):
        """Its configuration."""
        return super().text(folder).replace(str(servers.CONNECTIONS_MAX), str(FULL // os.cpu_count()))


class SmallHaproxy(servers.Haproxy):
    """It leaves the others in the kernel's queue."""

    def text(self, folder):
        """Its configuration."""
        return super().text(folder).replace(str(servers.CONNECTIONS_MAX), str(FULL))


PER_SOURCE = 100
OTHER_SOURCE = "127.0.1.2"
MEMORY_SOURCES, QUICK_MEMORY_SOURCES = 100000, 5000
MEMORY_RATE = 4000
MEMORY_BYTES = 4 * 1024 * 1024  # of the table, whatever happens


@suite.fault(
    "F26",
    "one address opens more than max_connections_per_source",
    "the cap holds and is counted; all of another address replied",
    programs=("ip",),
)
def per_source(bench):
    """Three times as many as it may; IPv6 by /64."""
    text = servers.config(
        hello=f"defer_accept_seconds = 0\nmax_connections_per_source = {PER_SOURCE}",
        more=SIX.format(limit=SIX_LIMIT),
        server=f"max_connections = {4 * PER_SOURCE}",
    )
    with Network(), bench.replyd(text) as server:
        refused = lambda: server.value("rejected_total", service="hello", reason="per_source")  # noqa: E731
        with Crowd(server.addr, SILENT, 3 * PER_SOURCE, sources=1) as crowd:
            wait_until(lambda: refused() >= 2 * PER_SOURCE, 10, "the others are refused")
            with Probe(server.addr, source=OTHER_SOURCE) as probe:
                time.sleep(1)  # what is measured
                seen = probe.end()
            held = 3 * PER_SOURCE - crowd.over()
        bench.figure(f"{held} of {3 * PER_SOURCE} let in, {refused():.0f} counted; another address: {seen.line()}")
        bench.equal("let in", held, PER_SOURCE)
        bench.equal("refused", refused(), 2 * PER_SOURCE)
        bench.equal("exchanges of the other that failed", dict(seen.faults), {})
        bench.faults.extend(by_prefix(bench, server))


SIX_LIMIT = 4
SIX = """
[[service]]
name = "six"
listen = "[::1]:0"
read = "line"
defer_accept_seconds = 0
max_connections_per_source = {limit}
reply.text = "ok\\n"
busy.text = "busy\\n"
"""


def by_prefix(bench, server):
    """IPv6: the addresses of one /64 are one source, and those of another are another."""
    ours, theirs = [f"fd00:0:0:1::{number}" for number in range(1, SIX_LIMIT + 2)], "fd00:0:0:2::1"
    for address in (*ours, theirs):
        run("ip", "-6", "addr", "add", f"{address}/128", "dev", "lo", "nodad")
    addr = server.service_addr("six")
    with contextlib.ExitStack() as stack:
        for address in ours[:-1]:
            stack.enter_context(socket.create_connection(addr, 10, (address, 0)))
        wait_until(
            lambda: server.value("connections_open", service="six") == SIX_LIMIT, 10, "as many as may be are there"
        )
        for address, wanted in ((ours[-1], b"busy\n"), (theirs, b"ok\n")):
            got = servers.exchange(addr, b"x\n", source=address)
            if got != wanted:
                yield f"{address} beside {SIX_LIMIT} of {ours[0]}/64: got {got!r}, wanted {wanted!r}"
    bench.figure("IPv6 by /64")


RATE_LIMIT = 5.0
GREEDY_RATE = 100
RATE_SECONDS, QUICK_RATE_SECONDS = 10, 3


@suite.fault(
    "F26",
    "one address connects more often than max_rate_per_source",
    "5 a second of it replied, and all of another address",
    programs=("ip",),
)
def rate(bench):
    """A hundred a second."""
    seconds = QUICK_RATE_SECONDS if bench.is_quick else RATE_SECONDS
    with Network(), bench.replyd(servers.config(hello=f"max_rate_per_source = {RATE_LIMIT}")) as server:
        with (
            Load(server.addr, HELLO_ASK, GREEDY_RATE, seconds, sources=1) as greedy,
            Probe(server.addr, source=GOOD_SOURCE, rate=RATE_LIMIT / 2) as probe,
        ):
            tally = greedy.tally()
            seen = probe.end()
        ends, count = tally.endings(), round(GREEDY_RATE * seconds)
        counted = server.value("rejected_total", service="hello", reason="rate")
        bench.figure(f"{dict(ends)} of {count} in {seconds} s, {counted:.0f} counted; another address: {seen.line()}")
        bench.check(set(ends) <= {"replied", "busy"}, f"endings: {dict(ends)}")
        bench.check(
            RATE_LIMIT * seconds * 0.8 <= ends["replied"] <= RATE_LIMIT * (seconds + 2),
            f"{ends['replied']} were replied",
        )
        bench.equal("counted", counted, ends["busy"])
        bench.equal("exchanges of the other that failed", dict(seen.faults), {})


@suite.fault(
    "F26",
    "a limit for each source, and very many sources",
    "memory grows by ≤ 4 MiB for 100,000 addresses; all replied",
    programs=("ip",),
)
def many_sources(bench):
    """Each connects once."""
    count = QUICK_MEMORY_SOURCES if bench.is_quick else MEMORY_SOURCES
    limits = f"max_connections_per_source = {PER_SOURCE}\nmax_rate_per_source = {RATE_LIMIT}"
    with Network(), bench.replyd(servers.config(hello=limits)) as server:
        before = server.own_memory()
        ends = load(server.addr, HELLO_ASK, MEMORY_RATE, count / MEMORY_RATE, processes=2, sources=count).endings()
        grown = server.own_memory() - before
        bench.figure(f"{dict(ends)} of {count} addresses, memory grows by {grown / 1024:.0f} KiB")
        bench.equal("endings", dict(ends), {"replied": count})
        bench.check(grown <= MEMORY_BYTES, f"memory has grown by {grown} bytes")


STALL_SECONDS = 0.5
STALL_RATE = 2000
STALL_LOAD_SECONDS = 3
BUSY_PART = 0.01  # where the machine lets nobody catch up
STALL_TARGET_MS = 1000  # of the last one: what was missed, and to catch up


@suite.fault("F28", "SIGSTOP for 0.5 s, under 2,000 connections a second", "0 lost, ListenDrops 0", programs=("ip",))
def stall(bench):
    """The kernel's queue takes who comes meanwhile."""
    for name in bench.names():
        options = {"hello": "max_connections = 0"} if name == "replyd" else {}
        with Network() as network, bench.serve(name, **options) as server:
            before = network.counters()
            with Load(server.addr, HELLO_ASK, STALL_RATE, STALL_LOAD_SECONDS, processes=2) as running:
                time.sleep(max(0, running.begin + 1 - time.monotonic()))  # until it is at its height
                pids = server.pids()
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                time.sleep(STALL_SECONDS)  # the fault
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)
                tally = running.tally()
            ends, after = tally.endings(), network.counters()
            drops = after["ListenDrops"] - before["ListenDrops"]
            lost, busy = len(tally.found) - ends["replied"] - ends["busy"], ends["busy"] / len(tally.found)
            longest = max(each.seconds for each in tally.found) * 1000
            said = f"{lost} of {len(tally.found)} lost, {busy:.1%} busy, {drops} ListenDrops, longest {longest:.0f} ms"
            bench.figure(said, name)
            if name == "replyd":
                bench.equal("lost", lost, 0)
                bench.equal("ListenDrops", drops, 0)
                bench.within("part that was told busy", busy, BUSY_PART)
                bench.within("longest", longest, STALL_TARGET_MS, " ms")
