"""F17 to F19: requests that come in pieces, clients that leave by a reset, clients that ask and never read.

Standard library only.
"""

import contextlib
import pathlib
import time

from faults import servers, suite
from faults.attackers import Crowd, Manner
from faults.closing import GET, OTHERS
from faults.good import Good
from faults.load import Ask, load
from faults.network import Network, orphans, run
from peers import connect
from replyd import read_all, wait_until

PIECES = """
[[service]]
name = "line"
listen = "127.0.0.1:0"
read = "line"
request_timeout_seconds = 60
defer_accept_seconds = 0
reply.text = "hello, {{ request }}\\n"

[[service]]
name = "delimited"
listen = "127.0.0.1:0"
read = { delimiter = "\\r\\n.\\r\\n" }
request_timeout_seconds = 60
defer_accept_seconds = 0
reply.echo = true

[[service]]
name = "posted"
listen = "127.0.0.1:0"
read = "http"
request_timeout_seconds = 60
defer_accept_seconds = 0
reply.echo = true
"""
# Requests, and how their replies end.
REQUESTS = {
    "line": (b"you there\r\n", b"hello, you there\n"),
    "delimited": (b"a\r\n..\r\nb\r\n.\r\n", b"a\r\n..\r\nb"),
    "hello": (servers.REQUEST, b"\r\n\r\n" + servers.BODY),
    "posted": (
        b"POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\n, w\r\n0\r\n\r\n",
        b"\r\n\r\nhello, w",
    ),
}
TAKEN_SECONDS = 10  # for a piece to be taken by the server


@suite.fault(
    "F17", "a request byte by byte, and split at every offset", "the same reply as in one piece", programs=("ip", "nft")
)
def pieces(bench):
    """Deterministic: a piece is sent when the server has taken the one before."""
    splits = 0
    with Network() as network, bench.replyd(servers.config(more=PIECES)) as server:
        for service, (request, wanted) in REQUESTS.items():
            addr = server.service_addr(service)
            whole = without_date(servers.exchange(addr, request))
            bench.check(whole.endswith(wanted), f"{service}: got {whole!r}")
            taken = lambda: network.unread(addr[1]) == 0  # noqa: B023, E731
            socks = [connect(addr) for _ in range(1, len(request))]
            for offset, sock in enumerate(socks, 1):
                sock.sendall(request[:offset])
            wait_until(taken, TAKEN_SECONDS, f"{service}: the first parts are taken")
            for offset, sock in enumerate(socks, 1):
                sock.sendall(request[offset:])
                bench.equal(f"{service}, split at {offset}", without_date(read_all(sock)), whole)
                sock.close()
            with connect(addr) as sock:
                for offset in range(len(request)):
                    sock.sendall(request[offset : offset + 1])
                    wait_until(taken, TAKEN_SECONDS, f"{service}: byte {offset} is taken")
                bench.equal(f"{service}, byte by byte", without_date(read_all(sock)), whole)
            splits += len(socks) + 1
        bench.figure(f"{splits - len(bench.faults)} of {splits} replies are the same ({', '.join(REQUESTS)})")


def without_date(reply):
    """The reply, but for what changes each second."""
    return b"\r\n".join(line for line in reply.split(b"\r\n") if not line.startswith(b"Date: "))


STAGES = ("connected", "asked", "begun")
RESETS, QUICK_RESETS = 10000, 1000
RESET_RATE = 1000
LINES_MAX = 10  # of the log, about so many resets
GOOD_TARGET_MS = 10
KILLED, QUICK_KILLED = 2000, 200

# Not in one piece: the kernel takes no more than 4 MB for a connection (tcp_wmem).
LARGE_BYTES = 16 * 1024 * 1024
LARGE = """
[[service]]
name = "large"
listen = "127.0.0.1:0"
read = "line"
defer_accept_seconds = 0
user_timeout_seconds = {timeout}
reply.file = "{{folder}}/large"
"""
USER_TIMEOUT_SECONDS = 10
QUICK_USER_TIMEOUT_SECONDS = 3


@contextlib.contextmanager
def large(bench, count, size=LARGE_BYTES, timeout=USER_TIMEOUT_SECONDS):
    """A replyd with a service of large replies, for so many connections."""
    text = servers.config(more=LARGE.format(timeout=timeout), server=f"max_connections = {count}")
    with bench.replyd(text) as server:
        with open(pathlib.Path(server.folder.name) / "large", "wb") as file:
            file.truncate(size)
        yield server


def outcomes_of(server, service):
    """{outcome: count} of a service."""
    return {outcome: number for (name, outcome), number in server.outcomes().items() if name == service}


@suite.fault(
    "F18",
    "clients that reset: before accept, after the request, in the reply",
    "0 good errors; each of 10,000 of each kind counted; a quiet log",
    programs=("ip", "ss"),
)
def resets(bench):
    """A thousand a second, of each stage; then `ss --kill` of connections that wait."""
    count = QUICK_RESETS if bench.is_quick else RESETS
    killed = QUICK_KILLED if bench.is_quick else KILLED
    with Network(), large(bench, 8192) as server:
        addr = server.service_addr("large")
        with Good(server) as good:
            for stage in STAGES:
                ask = Ask(b"you\n", {}, leaves=stage)
                ends = load(addr, ask, RESET_RATE, count / RESET_RATE, network="127.0.3").endings()
                bench.equal(f"clients that were {stage}", dict(ends), {"left": count})
            with Crowd(addr, Manner(opening=b"half"), killed) as crowd:
                waiting = lambda: server.value("connections_waiting", service="large", **{"for": "request"})  # noqa: E731
                wait_until(lambda: waiting() == killed, 10, "all of the crowd wait")
                run("ss", "--kill", "--tcp", "state", "established", f"sport = :{addr[1]}")
                crowd.wait_for_end(10)
            seen = good.end()
        server.wait_for_rest()
        outcomes = outcomes_of(server, "large")
        bench.figure(f"{len(STAGES)} × {count} resets, {killed} killed by ss: {outcomes}; {seen.line()}")
        # One that left before it was accepted may never have been.
        bench.check(3 * count + killed >= sum(outcomes.values()) >= 2 * count + killed, f"counted: {outcomes}")
        bench.check(set(outcomes) <= {"peer_closed", "no_request"}, f"outcomes: {outcomes}")
        good.judge(bench, GOOD_TARGET_MS)
        said = [line for line in server.log().splitlines() if "WARN" in line or "exchange" in line]
        bench.check(len(said) <= LINES_MAX, f"{len(said)} lines in the log: {said[:2]}")


LEAVERS, QUICK_LEAVERS = 9000, 2000
HALF = Manner(opening=b"GET / HTTP/1.1\r\nHost: test\r\nUser-Agent: half-a-requ")
LEAVING_SECONDS = 2


@suite.fault("F18", "a crowd with half a request resets all at once", "9,000: 0 good errors", programs=("ip",))
def leave_at_once(bench):
    """What was waiting is ready, all of it."""
    count = QUICK_LEAVERS if bench.is_quick else LEAVERS
    text = servers.config(hello="defer_accept_seconds = 0", server=f"max_connections = {count + 1000}")
    with Network() as network, bench.replyd(text) as server, Crowd(server.addr, HALF, count) as crowd:
        is_read = lambda: network.unread(server.addr[1]) == 0 and server.fds() > count  # noqa: E731
        wait_until(is_read, 30, "the halves are read")
        with Good(server) as good:
            crowd.leave.set()
            time.sleep(LEAVING_SECONDS)  # what is measured
            seen = good.end()
        server.wait_for_rest()
        bench.figure(f"{count}: {outcomes_of(server, 'hello')}; {seen.line()}")
        bench.equal("counted as peer_closed", outcomes_of(server, "hello").get("peer_closed"), count)
        good.judge(bench, GOOD_TARGET_MS)


READERS, QUICK_READERS = 1000, 200
READER_RATE = 50  # a second, so that it is not the copying of their replies that is measured
READER_BUFFER = 2048
FITTING_BYTES = 1000000  # the kernel takes it whole: replyd lingers and goes, and leaves an orphan
ORPHAN_SECONDS = 2  # beyond the user timeout
LINGER_SECONDS = 2  # linger_idle_seconds
PAGE = 4096


@suite.fault(
    "F19",
    "clients that ask and never read: 1 MB, 16 MB",
    "no worker held; all gone after linger and user_timeout_seconds (10) + 2 s, no orphan left",
    programs=("ip",),
)
def zero_window(bench):
    """What the kernel has taken whole, and what the server still has to write."""
    count = QUICK_READERS if bench.is_quick else READERS
    timeout = QUICK_USER_TIMEOUT_SECONDS if bench.is_quick else USER_TIMEOUT_SECONDS
    for name in bench.names():
        for shown, size, number in (("1 MB", FITTING_BYTES, count), ("16 MB", LARGE_BYTES, count // 5)):
            if name != "replyd" and size != FITTING_BYTES:
                continue
            with Network(), serve_large(bench, name, 2 * number, size, timeout) as server:
                addr = server.service_addr("large") if name == "replyd" else server.addr
                request = b"you\n" if name == "replyd" else GET.format(size).encode()
                before, fds, cpu = orphans(), server.fds(), server.cpu_seconds()
                manner = Manner(opening=request, receive_buffer=READER_BUFFER, reads=False)
                with Good(server) as good, Crowd(addr, manner, number, network="127.0.3", rate=READER_RATE):
                    limit = LINGER_SECONDS + timeout + ORPHAN_SECONDS
                    # Somebody may be answered just now.
                    took, pages = watch_orphans(lambda: server.fds() <= fds + 2, before[0], 3 * limit)  # noqa: B023
                    seen = good.end()
                memory = (pages - before[1]) * PAGE / number / 1000
                gone = f"gone after {took:.1f} s" if took < float("inf") else f"not gone after {3 * limit} s"
                bench.figure(
                    f"{shown}: {number} {gone}, {memory:.0f} kB of kernel memory each, "
                    f"{server.cpu_seconds() - cpu:.1f} s of processor; {seen.line()}",
                    name,
                )
                if name == "replyd":
                    bench.figure(str(outcomes_of(server, "large")))
                    bench.within(f"seconds until all are gone, {shown}", took, limit, " s", room=2)
                    good.judge(bench, GOOD_TARGET_MS)


def serve_large(bench, name, count, size, timeout):
    """A server with large replies, that gives up in so many seconds."""
    return large(bench, count, size, timeout) if name == "replyd" else OTHERS[name](timeout)


def watch_orphans(is_rid, orphans_before, seconds):
    """(seconds until server and kernel are rid of them, or infinite if it takes too long; most pages of the kernel's)."""
    began, pages = time.monotonic(), 0
    while True:
        left, memory = orphans()
        pages = max(pages, memory)
        took = time.monotonic() - began
        if is_rid() and left <= orphans_before:
            return took, pages
        if took > seconds:
            return float("inf"), pages
        time.sleep(0.05)  # the time between looks
