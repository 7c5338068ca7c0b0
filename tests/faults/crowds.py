"""F20, F22 to F24 and F31: clients that come in thousands, and take their time. Nobody else may feel it, nor memory.

Standard library only.
"""

import collections
import contextlib
import pathlib
import re
import subprocess
import tempfile

from faults import servers, suite
from faults.attackers import SILENT, Crowd, Manner
from faults.good import Good, watch
from faults.network import Network
from replyd import Failure, wait_until

CONNECTIONS_MAX = 10000
CROWD, QUICK_CROWD = 9000, 2000
SETTLE_SECONDS = 30  # until the server has everything that its clients have sent
LATE_SECONDS = 0.25  # beyond a deadline

LIMITS = f"max_connections = {CONNECTIONS_MAX}"
RAW = """
[[service]]
name = "raw"
listen = "127.0.0.1:0"
read = "line"
defer_accept_seconds = 0
request_timeout_seconds = {seconds}
linger_total_seconds = {linger}
linger_idle_seconds = 2
reply.text = "hello, {{{{ request }}}}\\n"
"""


def raw(seconds=60, linger=10):
    """A configuration with a service that reads lines."""
    return RAW.format(seconds=seconds, linger=linger)


LINGERERS, QUICK_LINGERERS = 5000, 1000
LINGER_SECONDS, QUICK_LINGER_SECONDS = 10, 3
DRIBBLE_SECONDS = 1
LINGER_TARGET_MS = 10


@suite.fault(
    "F20",
    "clients that take the reply, stay, and send a byte a second",
    "each closed within linger_total_seconds (10); p99 ≤ 10 ms",
    programs=("ip",),
)
def lingerers(bench):
    """Then as many as there may be connections: one more is let in nevertheless."""
    count = QUICK_LINGERERS if bench.is_quick else LINGERERS
    linger = QUICK_LINGER_SECONDS if bench.is_quick else LINGER_SECONDS
    manner = Manner(opening=b"you\n", piece=b"x", pause=DRIBBLE_SECONDS, stays=True)
    with Network(), bench.replyd(servers.config(more=raw(linger=linger), server=LIMITS)) as server:
        with Good(server) as good, Crowd(server.service_addr("raw"), manner, count) as crowd:
            crowd.wait_for_end(4 * linger)
            longest = max(end.seconds for end in crowd.ends())
            seen = good.end()
        bench.figure(f"{count}: the last is reset after {longest:.1f} s, as it sends again; {seen.line()}")
        bench.within("seconds of the longest", longest, linger + DRIBBLE_SECONDS + LATE_SECONDS, " s", room=1.5)
        good.judge(bench, LINGER_TARGET_MS)
        server.wait_for_rest()
    few = count // 10
    with Network(), bench.replyd(servers.config(more=raw(linger=linger), server=f"max_connections = {few}")) as server:
        with Crowd(server.service_addr("raw"), manner, few):
            good = watch(server, linger / 2)
        bench.figure(f"where {few} fill max_connections: {good.seen.line()}")
        good.judge(bench, LINGER_TARGET_MS)


SLOW, QUICK_SLOW = 1500, 500
SLOW_SECONDS, QUICK_SLOW_SECONDS = 12, 4
SLOW_REQUEST_SECONDS = 10  # of the servers: within the attack
SLOW_TARGET_MS = 10
SLOW_PAUSE_SECONDS = 1
LINES = "lines"
SLOW_MODES = {"headers": "-H", "body": "-B", "read": "-X"}
MOST = re.compile(r"^\d+,(\d+),(\d+),(\d+),(\d+)$", re.MULTILINE)  # of a second: closed, pending, connected, available


@suite.fault(
    "F22",
    "slowhttptest: slow headers, slow body, slow read",
    "1,500 each: 0 good errors, p99 ≤ 10 ms and no worse than nginx's",
    programs=("ip", "slowhttptest"),
)
def slow_http(bench):
    """The tool, and the same of lines, by clients of our own."""
    found = {}
    for name in bench.names():
        options = {"more": raw(SLOW_REQUEST_SECONDS)} if name == "replyd" else {}
        with Network(), bench.serve(name, request_seconds=SLOW_REQUEST_SECONDS, **options) as server:
            for mode, option in SLOW_MODES.items():
                good, there = slowhttptest(server, option, bench.is_quick)
                bench.figure(f"{mode}, {there} at once: {good.seen.line()}", name)
                found[name, mode] = good
                bench.check(there, f"{name}: nobody attacked")
            if name == "replyd":
                found[name, LINES] = slow_lines(bench, server)
    for mode in (*SLOW_MODES, LINES):
        good = found["replyd", mode]
        good.judge(bench, SLOW_TARGET_MS)
        if ("nginx", mode) in found:
            other = found["nginx", mode].seen.p99
            bench.within(f"p99 beside nginx's, {mode}", good.seen.p99, other, " ms", good.elsewhere.room(other))


def slow_lines(bench, server):
    """What the good client sees beside the same without HTTP, by clients of our own."""
    count, seconds = (QUICK_SLOW, QUICK_SLOW_SECONDS) if bench.is_quick else (SLOW, SLOW_SECONDS)
    with Crowd(server.service_addr("raw"), Manner(b"h", b"a", SLOW_PAUSE_SECONDS), count):
        good = watch(server, seconds)
    bench.figure(f"{LINES}, {count} at once: {good.seen.line()}")
    return good


def slowhttptest(server, option, is_quick):
    """(what the good client sees beside it, most connections at once)."""
    count, seconds = (QUICK_SLOW, QUICK_SLOW_SECONDS) if is_quick else (SLOW, SLOW_SECONDS)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        prefix = pathlib.Path(folder) / "found"
        command = ["slowhttptest", "-c", count, option, "-i", 5, "-r", 1000, "-l", seconds, "-p", 2, "-g", "-o", prefix]
        command += ["-u", f"http://{server.addr[0]}:{server.addr[1]}/", "-v", 0]
        with Good(server) as good:
            done = subprocess.run(
                [str(word) for word in command],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=10 * seconds,
                check=False,
            )
            good.end()
        lines = MOST.findall(prefix.with_suffix(".csv").read_text(encoding="ascii"))
        if not lines:
            raise OSError(f"slowhttptest: {done.returncode}: {done.stdout[-500:]}")
        return good, max(int(line[2]) for line in lines)


CROWD_SECONDS, QUICK_CROWD_SECONDS = 10, 3
CROWD_TARGET_MS = 2
DEFERRED = {"deferred accept on": "defer_accept_seconds = 1", "off": "defer_accept_seconds = 0"}


@suite.fault("F23", "silent clients", "9,000: 0 good errors, p99 ≤ 2 ms", programs=("ip",))
def silent(bench):
    """They connect and say nothing."""
    count = QUICK_CROWD if bench.is_quick else CROWD
    seconds = QUICK_CROWD_SECONDS if bench.is_quick else CROWD_SECONDS
    for name in bench.names():
        for shown, line in DEFERRED.items() if name == "replyd" else [("", "")]:
            options = {"hello": line, "server": LIMITS} if name == "replyd" else {}
            with Network(), bench.serve(name, **options) as server:
                with Crowd(server.addr, SILENT, count) as crowd:
                    good = watch(server, seconds)
                    ends = collections.Counter(end.ending for end in crowd.ends())
                bench.figure(f"{shown or 'crowd'} {dict(ends)}: {good.seen.line()}", name)
                if name == "replyd":
                    bench.equal(f"the crowd, {shown}", dict(ends), {"held": count})
                    good.judge(bench, CROWD_TARGET_MS)


TRICKLERS, QUICK_TRICKLERS = 2000, 500
TRICKLE_SECONDS = 5  # request_timeout_seconds
TRICKLE_PAUSE_SECONDS = 1
TRICKLES = {"http": (b"GET / HTTP/1.1\r\nX: ", b"a"), "raw": (b"h", b"a")}


@suite.fault(
    "F24",
    "a request that drips and never idles",
    "2,000: each cut at request_timeout_seconds ± 250 ms",
    programs=("ip",),
)
def tricklers(bench):
    """A byte a second."""
    count = QUICK_TRICKLERS if bench.is_quick else TRICKLERS
    for name in bench.names():
        options = {"server": LIMITS, "more": raw(TRICKLE_SECONDS)} if name == "replyd" else {}
        with Network(), bench.serve(name, request_seconds=TRICKLE_SECONDS, **options) as server:
            for shown, (opening, piece) in TRICKLES.items():
                if name != "replyd" and shown == "raw":
                    continue
                addr = server.addr if shown == "http" else server.service_addr("raw")
                with Good(server) as good, Crowd(addr, Manner(opening, piece, TRICKLE_PAUSE_SECONDS), count) as crowd:
                    with contextlib.suppress(Failure if name != "replyd" else ()):
                        crowd.wait_for_end(3 * TRICKLE_SECONDS)
                    ends = [end for end in crowd.ends() if end.ending != "held"]
                    seen = good.end()
                early = min((end.since_connect for end in ends), default=0) - TRICKLE_SECONDS
                late = max((end.seconds for end in ends), default=0) - TRICKLE_SECONDS
                spread = f"{early * 1000:+.0f} to {late * 1000:+.0f} ms" if ends else "none"
                bench.figure(f"{shown}: {len(ends)} of {count} cut, {spread}; {seen.line()}", name)
                if name == "replyd":
                    bench.check(early > -LATE_SECONDS, f"{shown}: cut {-early:.3f} s early")
                    bench.within(f"seconds late, {shown}", late, LATE_SECONDS, " s")
                    good.judge(bench, LINGER_TARGET_MS)


HALF_BYTES, SILENT_BYTES = 4096, 300
HALVES = {
    "HTTP, half a request": (
        "http",
        Manner(opening=b"GET / HTTP/1.1\r\nHost: test\r\nUser-Agent: half-a-requ"),
        HALF_BYTES,
    ),
    "line, half a request": ("raw", Manner(opening=b"half a request"), HALF_BYTES),
    "silent": ("http", SILENT, SILENT_BYTES),
}


@suite.fault(
    "F31",
    "memory of connections that wait",
    "9,000 half requests ≤ 4,096 bytes of user memory each, silent ones ≤ 300",
    programs=("ip",),
)
def memory(bench):
    """Beside what it was before, a fresh server for each kind."""
    count = QUICK_CROWD if bench.is_quick else CROWD
    for name in bench.names():
        for shown, (service, manner, target) in HALVES.items():
            if service == "raw" and name != "replyd":
                continue
            options = {"server": LIMITS, "more": raw(), "hello": "defer_accept_seconds = 0"} if name == "replyd" else {}
            with Network() as network, bench.serve(name, **options) as server:
                addr = server.addr if service == "http" else server.service_addr("raw")
                fds, before = server.fds(), server.own_memory()
                with Crowd(addr, manner, count) as crowd:
                    wait_until(lambda: server.fds() >= fds + count, SETTLE_SECONDS, f"{name} has accepted {count}")  # noqa: B023
                    wait_until(lambda: network.unread(addr[1]) == 0, SETTLE_SECONDS, f"{name} has read all")  # noqa: B023
                    each = (server.own_memory() - before) / count
                    bench.figure(f"{shown}: {each:.0f} bytes each of {count - crowd.over()}", name)
                if name == "replyd":
                    server.wait_for_rest()
                    bench.check(each <= target, f"{shown}: {each:.0f} bytes, target {target}")
