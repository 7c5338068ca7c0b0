"""F13 to F19: the end of a connection. A reply that was sent arrives, whatever the client and the network do meanwhile.

Standard library only.
"""

import collections
import contextlib
import multiprocessing
import select
import socket
import subprocess
import threading
import time

from faults import servers, suite
from faults.load import Ask, Load
from faults.network import Network
from replyd import read_all

KILO = 1000
SIZES = {"500 B": 500, "30 kB": 30 * KILO, "1 MB": 1000 * KILO}
PATIENCE_SECONDS = 60  # of clients and servers, so that nothing but a reset can take a reply away
UNREAD = b"x" * 100
GET = "GET /{} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"

LOSS_PERCENT = 5
LOSSES = {"all but RSTs": "tcp flags & rst == 0", "all packets": ""}
LOSS_RATE = 150
CONTROL_SECONDS = 10
EXCHANGES, QUICK_EXCHANGES = 300, 60

SIZED = """
[[service]]
name = "bytes-{size}"
listen = "127.0.0.1:0"
read = "http"
request_timeout_seconds = {patience}
{more}
reply.text = "{text}\\n"
"""


def body(size):
    """That of a reply."""
    return b"x" * (size - 1) + b"\n"


def replied(size):
    """The replies of a service of that size, for `Ask`."""
    return {"replied": (b"HTTP/1.1 200 ", b"\r\n\r\n" + body(size))}


class Nginx(servers.Nginx):
    """With files of all sizes."""

    def text(self, folder):
        """Its configuration."""
        write_files(folder)
        good = 'return 200 "hello\\n";'
        files = f"send_timeout {self.request_seconds};\n    root {folder};\n    location = / {{ {good} }}"
        return super().text(folder).replace(good, files)


class Haproxy(servers.Haproxy):
    """With files of all sizes, which its buffers have to hold."""

    def text(self, folder):
        """Its configuration."""
        write_files(folder)
        rules = "".join(
            f"  http-request return status 200 content-type text/plain file {folder}/{size} if {{ path /{size} }}\n"
            for size in SIZES.values()
        )
        text = super().text(folder).replace("global\n", f"global\n  tune.bufsize {2 * max(SIZES.values())}\n")
        return text.replace("  http-request", rules + "  http-request", 1)


def write_files(folder):
    """A file of each size."""
    for size in SIZES.values():
        (folder / str(size)).write_bytes(body(size))


OTHERS = {"nginx": Nginx, "haproxy": Haproxy}


def sized(more=""):
    """A configuration of replyd with a service for each size."""
    services = (
        SIZED.format(size=size, patience=PATIENCE_SECONDS, more=more, text="x" * (size - 1)) for size in SIZES.values()
    )
    return servers.config(PATIENCE_SECONDS, more="".join(services))


def serve(bench, name, more=""):
    """A server with replies of all sizes."""
    return bench.replyd(sized(more)) if name == "replyd" else OTHERS[name](PATIENCE_SECONDS)


def addr_of(server, size):
    """Where a reply of that size is given."""
    return server.service_addr(f"bytes-{size}") if server.name == "replyd" else server.addr


@suite.fault(
    "F13",
    f"unread input, {LOSS_PERCENT} % of the packets lost",
    "0 replies lost of 300 × {500 B, 30 kB, 1 MB}",
    programs=("ip", "nft"),
)
def loss(bench):
    """A request with 100 bytes behind it that nobody reads, again and again, while packets are lost."""
    count = QUICK_EXCHANGES if bench.is_quick else EXCHANGES
    with Network() as network, PlainClose() as careless:
        network.lose(LOSS_PERCENT, LOSSES["all but RSTs"])
        found = exchanges({shown: careless.addr for shown in SIZES}, count, CONTROL_SECONDS)
        lost = sum(number for ends in found.values() for end, number in ends.items() if not end.startswith("replied"))
        bench.check(lost, "a server that closes plainly has lost nothing: this shows nothing")
    for name in bench.names():
        with Network() as network, serve(bench, name) as server:
            for which, spared in LOSSES.items():
                network.lose(LOSS_PERCENT, spared)
                found = exchanges({shown: addr_of(server, size) for shown, size in SIZES.items()}, count)
                network.lose(0)
                bad = {shown: dict(ends - collections.Counter(replied=count)) for shown, ends in found.items()}
                failed = {shown: ends for shown, ends in bad.items() if ends}
                number = sum(sum(ends.values()) for ends in failed.values())
                bench.figure(
                    f"{which}: {number} of {len(SIZES)} × {count} lost{f' ({failed})' if failed else ''}", name
                )
                if name == "replyd":
                    bench.equal(f"replies lost, where {which} are at risk", failed, {})
    bench.figure(f"a plain close loses {lost}")


def exchanges(addrs, count, timeout=PATIENCE_SECONDS):
    """{size: {ending: count}} of so many of each size, by the clock and all sizes at once."""
    with contextlib.ExitStack() as stack:
        loads = {}
        for shown, addr in addrs.items():
            ask = Ask(GET.format(SIZES[shown]).encode() + UNREAD, replied(SIZES[shown]), timeout)
            loads[shown] = stack.enter_context(Load(addr, ask, LOSS_RATE, count / LOSS_RATE))
        return {shown: each.tally().endings() for shown, each in loads.items()}


class PlainClose:
    """What not to do: a server that reads the request it knows, replies, and closes."""

    def __enter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=servers.BACKLOG)
        self.addr = self.listener.getsockname()
        self.process = multiprocessing.Process(target=self.serve)
        self.process.start()
        self.listener.close()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.join()

    def serve(self):
        """The process."""
        while True:
            threading.Thread(target=self.reply, args=(self.listener.accept()[0],), daemon=True).start()

    @staticmethod
    def reply(sock):
        """One connection."""
        with sock, contextlib.suppress(OSError):
            size = int(sock.recv(16, socket.MSG_PEEK).split()[1][1:])
            sock.recv(len(GET.format(size)))
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body(size))


ABORTS = ("TCPAbortOnClose", "TCPAbortOnData", "TCPAbortOnLinger")  # resets by an own close, of nstat(8)
SMALL_BUFFER = 16384


@suite.fault(
    "F14",
    "bytes behind the request, sent while 1 MB comes",
    "full replies, 0 resets of our own",
    programs=("ip", "nft"),
)
def talkers(bench):
    """A client with a small buffer sends 10 more bytes before it reads the reply."""
    count = 20 if bench.is_quick else 200
    size = SIZES["1 MB"]
    for name in bench.names():
        with Network() as network, serve(bench, name) as server:
            before, faults = network.counters(), collections.Counter()
            for _ in range(count):
                try:
                    got = late_reader(addr_of(server, size), GET.format(size).encode(), network)
                    faults[f"{len(got)} bytes"] += not got.endswith(body(size))
                except OSError as error:
                    faults[type(error).__name__] += 1
            after = network.counters()
            aborts = {each: after[each] - before[each] for each in ABORTS if after[each] != before[each]}
            bench.figure(f"{faults.total()} of {count} cut, {sum(aborts.values())} resets of its own", name)
            if name == "replyd":
                bench.equal("cut", +faults, collections.Counter())
                bench.equal("resets", aborts, {})


def late_reader(addr, request, network):
    """What it gets."""
    with socket.socket() as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock.connect(addr)
        sock.sendall(request)
        # Until the reply is on its way, and has stopped at the buffer.
        select.select([sock], [], [], PATIENCE_SECONDS)
        sock.sendall(b"x" * 10)
        return read_all(sock)


STREAMED = 10 * 1000 * KILO
LIMIT = 8192
LINGER_BYTES = 262144  # the default of linger_max_bytes
BUFFERS = 6 * 1024 * 1024  # bytes that the kernel may take on the way: tcp_rmem and tcp_wmem
LINGER_SECONDS = 10
STREAMS = {
    "body": (b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % STREAMED, b"HTTP/1.1 413 "),
    "head": (b"GET / HTTP/1.1\r\nHost: test\r\nX: ", b"HTTP/1.1 431 "),
    "garbage": (b"\0\1\2\3\r\n\r\n", b"HTTP/1.1 400 "),
}


@suite.fault(
    "F15", "10 MB to a server that refuses at 8 KiB", "the error is read by each client; the rest is not waited for"
)
def refused(bench):
    """Clients that go on sending whatever they are told."""
    count = 5 if bench.is_quick else 50
    with bench.replyd(servers.config(hello=f"max_request_bytes = {LIMIT}\nmax_head_bytes = {LIMIT}")) as server:
        taken, seconds, whole = [], [], 0
        for what, (begin, wanted) in STREAMS.items():
            for _ in range(count):
                got, sent, took = stream(server.addr, begin)
                is_whole = got.startswith(wanted) and b"\r\n\r\n" in got
                bench.check(is_whole, f"{what}: got {got[:60]!r} after {sent} bytes")
                whole += is_whole
                taken.append(sent)
                seconds.append(took)
        server.wait_for_rest()
        received = server.value("received_bytes_total", service="hello") / len(taken)
        bench.figure(
            f"{whole} of {len(taken)} have read it (endless {', '.join(STREAMS)}); {received / KILO:.0f} kB received of each, "
            f"at most {max(taken) / KILO:.0f} kB sent, {max(seconds) * 1000:.0f} ms"
        )
        bench.check(max(taken) <= LIMIT + LINGER_BYTES + BUFFERS, f"{max(taken)} bytes were taken")
        bench.within("seconds to the end", max(seconds), LINGER_SECONDS, " s", room=1.5)


def stream(addr, begin):
    """(what it gets, bytes it could send, seconds until the end): it sends as long as it can, and reads what comes."""
    with socket.create_connection(addr, PATIENCE_SECONDS) as sock:
        began = time.monotonic()
        sock.sendall(begin)
        sock.setblocking(False)
        got, sent, left = b"", 0, memoryview(b"x" * STREAMED)
        while True:
            readable, writable, _ = select.select([sock], [sock] if left else [], [], PATIENCE_SECONDS)
            if not readable and not writable:
                raise TimeoutError(f"nothing goes on after {sent} bytes")
            try:
                if writable:
                    number = sock.send(left[:65536])
                    sent, left = sent + number, left[number:]
            except (ConnectionResetError, BrokenPipeError):
                left = b""  # the server has had enough: what it said is still to be read
            try:
                if readable:
                    piece = sock.recv(65536)
                    got += piece
                    if not piece and not left:
                        break
            except ConnectionResetError:
                break
        return got, sent, time.monotonic() - began


LINE = """
[[service]]
name = "line"
listen = "127.0.0.1:0"
read = "line"
reply.text = "hello, {{ request }}\\n"
"""
HALF_CLOSERS = {
    "nc": ["nc.openbsd", "-N", "-w", "5", "@host@", "@port@"],
    "socat": ["socat", "-t", "5", "-", "TCP:@host@:@port@"],
    "socat, shut-down": ["socat", "-t", "5", "-,shut-down", "TCP:@host@:@port@,shut-down"],
}


@suite.fault("F16", "clients that end their side at once", "every reply arrives", programs=("nc.openbsd", "socat"))
def half_closers(bench):
    """Real ones."""
    count = 10 if bench.is_quick else 200
    with bench.replyd(servers.config(more=LINE)) as server:
        host, port = server.service_addr("line")
        for name, command in HALF_CLOSERS.items():
            command = [word.replace("@host@", host).replace("@port@", str(port)) for word in command]
            for request, wanted in ((b"you\n", b"hello, you\n"), (b"you", b"hello, you\n")):
                for _ in range(count):
                    done = subprocess.run(
                        command, input=request, capture_output=True, timeout=PATIENCE_SECONDS, check=False
                    )
                    bench.equal(f"{name} with {request!r}", done.stdout, wanted)
        number = 2 * count * len(HALF_CLOSERS)
        bench.figure(f"{number - len(bench.faults)} of {number} replies arrived ({', '.join(HALF_CLOSERS)})")
