"""F29 and F30: everyone who could work is busy, or what comes is garbage. The port stays open, and /metrics answers.

Standard library only.
"""

import collections
import contextlib
import os
import pwd
import random
import re
import socket
import ssl
import time

from faults import servers, suite
from faults.attackers import Crowd, Manner
from faults.good import Good
from faults.load import Load
from faults.network import Network
from faults.overload import COSTLY, COSTLY_ASK, capacity
from peers import connect
from replyd import read_all, wait_until

METRICS_TARGET_MS = 100
GOOD_TARGET_MS = 10
HANG_SECONDS = 2
RUNS, WAITING = 8, 8
CLIENTS = 200
HANGING = f"""
[[service]]
name = "hanging"
listen = "127.0.0.1:0"
read = "line"
busy.text = "busy\\n"
timed_out.text = "timed out\\n"
[service.reply.command]
run = ["/bin/sleep", "600"]
timeout_seconds = {HANG_SECONDS}
concurrency = {RUNS}
max_waiting = {WAITING}
user = "@user@"
"""


class Scrapes:
    """The longest time that /metrics takes, as long as it is asked."""

    def __init__(self, server):
        self.server = server
        self.longest_ms = 0.0

    def once(self):
        """The page."""
        began = time.monotonic()
        page = self.server.page()
        self.longest_ms = max(self.longest_ms, (time.monotonic() - began) * 1000)
        return page

    def judge(self, bench):
        """P10."""
        bench.figure(f"/metrics within {self.longest_ms:.0f} ms")
        bench.within("longest scrape", self.longest_ms, METRICS_TARGET_MS, " ms")


@suite.fault(
    "F29",
    "every run of a command hangs",
    "the rest is told busy and counted; 0 good errors, /metrics ≤ 100 ms",
    programs=("ip",),
)
def commands(bench):
    """As many as may run and wait do so until their timeout."""
    text = servers.config(more=HANGING.replace("@user@", pwd.getpwuid(os.geteuid()).pw_name))
    with Network(), bench.replyd(text) as server:
        scrapes = Scrapes(server)
        with Good(server) as good, Crowd(server.service_addr("hanging"), Manner(opening=b"x\n"), CLIENTS) as crowd:
            wait_until(lambda: scrapes.once() and crowd.over() >= CLIENTS, 10 * HANG_SECONDS, "all are answered")
            told = collections.Counter(end.received for end in crowd.ends())
            seen = good.end()
        wanted = {len(b"busy\n"): CLIENTS - RUNS - WAITING, len(b"timed out\n"): RUNS + WAITING}
        refused = server.value("rejected_total", service="hanging", reason="max_waiting")
        bench.figure(f"{told[5]} of {CLIENTS} told busy at once, {told[10]} timed out; {seen.line()}")
        bench.equal("bytes of the answers", dict(told), wanted)
        bench.equal("counted as refused", refused, wanted[5])
        good.judge(bench, GOOD_TARGET_MS)
        scrapes.judge(bench)


OWN = """
[[service]]
name = "own"
listen = "127.0.0.1:0"
read = "http"
threads = 1
reply.text = "hello\\n"
"""
SMALL_QUEUE = 4
FACTOR = 4
WORKERS_SECONDS, QUICK_WORKERS_SECONDS = 10, 3
OWN_TARGET_MS = 50  # on two processors, one of which the flooded worker has


@suite.fault(
    "F29",
    "every worker busy, the queue full",
    "the rest is told busy; a service with threads of its own 0 errors; /metrics ≤ 100 ms",
    programs=("ip",),
)
def workers(bench):
    """Four times what they can do, and a queue of four."""
    seconds = QUICK_WORKERS_SECONDS if bench.is_quick else WORKERS_SECONDS
    text = servers.config(more=COSTLY + f"\n[queue]\ncapacity = {SMALL_QUEUE}\n" + OWN)
    with Network(), bench.replyd(text) as server:
        most, scrapes = capacity(server), Scrapes(server)
        addr = server.service_addr("costly")
        with (
            Good(server, addr=server.service_addr("own")) as good,
            Load(addr, COSTLY_ASK, FACTOR * most, seconds) as flood,
        ):
            while time.monotonic() < flood.begin + seconds:
                scrapes.once()
                time.sleep(0.05)  # the time between looks
            ends = flood.tally().endings()
            seen = good.end()
        server.wait_for_rest()
        counted = sum(
            server.value("rejected_total", service="costly", reason=reason) for reason in ("queue_full", "queue_wait")
        )
        bench.figure(f"{dict(ends)} of {FACTOR} × {most:.0f}/s, {counted:.0f} counted; own threads: {seen.line()}")
        bench.check(set(ends) == {"replied", "busy"}, f"endings: {dict(ends)}")
        bench.equal("counted as rejected", counted, ends["busy"])
        good.judge(bench, OWN_TARGET_MS)
        scrapes.judge(bench)


MARKER = b"REQUEST-IN-LOG"
FORGED = b"2026-01-01T00:00:00.000000Z ERROR forged " + MARKER
FRAMINGS = {
    "line": '"line"',
    "delimiter": '{ delimiter = "\\r\\n\\r\\n" }',
    "four": "{ bytes = 4 }",
    "ended": '"eof"',
    "hello": '"http"',
}
FRAMED = """
[[service]]
name = "@name@"
listen = "127.0.0.1:0"
read = @read@
request_timeout_seconds = 5
reply.text = "hello, {{ request }}\\n"
"""
LOG_ALL = '\n[log]\naccess = "all"\nlevel = "debug"\n'
LINE = re.compile(rb"\S+Z +(INFO|WARN|DEBUG|TRACE) \S.*")
BLOBS, QUICK_BLOBS = 2000, 100  # of chance, for each service
BLOB_BYTES = 20000  # at most: more than any limit
GARBAGE_BYTES = 4 * 1024 * 1024  # that memory may grow by: limits of 4 KiB and 16 KiB, one at a time
ENDLESS_BYTES = 1 << 30
OUTCOMES = {"replied", "too_large", "invalid", "peer_closed", "timed_out", "no_request", "failed"}
# What an HTTP service has to say to each.
KNOWN = {
    "TLS": (None, b"HTTP/1.1 400 "),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"HTTP/1.1 505 "),
    "HTTP/9": (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", b"HTTP/1.1 505 "),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 400 ",
    ),
    "length and chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 400 ",
    ),
    "a forged line": (b"GET /\n" + FORGED + b"\n\n", b"HTTP/1.1 400 "),
    "NULs": (b"\0" * 4096, b"HTTP/1.1 400 "),
    "a long name": (b"GET / HTTP/1.1\r\n" + b"x" * BLOB_BYTES, b"HTTP/1.1 431 "),
    "SSH": (b"SSH-2.0-OpenSSH_9.9 \x1b[31m" + MARKER + b"\r\n", b"HTTP/1.1 400 "),
    "SMB": (b"\0\0\0\x85\xffSMBr\0\0\0\0\x18S\xc8" + b"\0" * 110, b"HTTP/1.1 400 "),
    "RTSP": (b"OPTIONS / RTSP/1.0\r\n\r\n", b"HTTP/1.1 400 "),
}


@suite.fault(
    "F30",
    "garbage: random bytes, NULs, TLS, HTTP/2, scanners, an endless line",
    "bounded memory, the right error, no forged line in the log",
)
def garbage(bench):
    """What is drawn by chance is the same for the same --seed."""
    count = QUICK_BLOBS if bench.is_quick else BLOBS
    text = "".join(
        FRAMED.replace("@name@", name).replace("@read@", read) for name, read in FRAMINGS.items() if name != "hello"
    )
    chance = random.Random(bench.options.seed)
    with bench.replyd(servers.config(request_seconds=5, more=text + LOG_ALL)) as server:
        before = server.own_memory()
        for name, (sent, wanted) in KNOWN.items():
            got = give(server.addr, client_hello() if sent is None else sent)
            bench.check(got.startswith(wanted), f"{name}: got {got[:60]!r}, wanted {wanted!r}")
        number = len(KNOWN)
        for service in FRAMINGS:
            for blob in (blob_of(chance) for _ in range(count)):
                give(server.service_addr(service), blob)
            taken = endless(server.service_addr(service))
            bench.check(taken < ENDLESS_BYTES, f"{service}: takes an endless request")
            number += count + 1
        server.wait_for_rest()
        grown = server.own_memory() - before
        outcomes = collections.Counter()
        for (_, outcome), each in server.outcomes().items():
            outcomes[outcome] += each
        bench.figure(f"{number} requests: {dict(outcomes)}; memory grows by {grown / 1024:.0f} KiB")
        bench.check(set(outcomes) <= OUTCOMES, f"outcomes: {dict(outcomes)}")
        bench.check(grown <= GARBAGE_BYTES, f"memory has grown by {grown} bytes")
        wait_until(lambda: server.log().count(" exchange ") >= number, 10, "the log is written")
        bench.faults.extend(bad_lines(server.log_path.read_bytes()))


def client_hello():
    """How TLS begins."""
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="test.example").do_handshake()
    return out.read()


def blob_of(chance):
    """Bytes by chance, or what is known with bytes by chance in it."""
    if chance.random() < 0.5:
        return chance.randbytes(chance.randrange(1, BLOB_BYTES))
    known = bytearray(chance.choice([sent for sent, _ in KNOWN.values() if sent]))
    for _ in range(chance.randrange(1, 8)):
        known[chance.randrange(len(known))] = chance.randrange(256)
    return bytes(known)


def give(addr, sent):
    """What comes of it, our side ended."""
    with connect(addr) as sock:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
        try:
            return read_all(sock)
        except ConnectionResetError:
            return b""


def endless(addr):
    """Bytes that it takes of a request that has no end."""
    piece, taken = b"x" * 65536, 0
    with connect(addr) as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while taken < ENDLESS_BYTES:
            taken += sock.send(piece)
    return taken


def bad_lines(log):
    """Of the log: what a peer may have written."""
    for line in log.splitlines():
        if not LINE.fullmatch(line) or re.search(rb"[\0-\x1f\x7f]", line):
            yield f"a line of the log: {line[:200]!r}"
            return
    if MARKER in log:
        yield "what a peer has sent is in the log"
