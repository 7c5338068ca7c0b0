#!/usr/bin/env -S python3 -B
"""Real clients against the release binary: curl, whois, finger, ncat, nc and Python's own.

    cargo build --release && tests/clients.py

Starts a replyd of its own on free ports of the loopback interface, compares every reply byte by byte,
then asks /metrics whether each connection was counted as what it was, and ends with a stop in the middle
of a reply. A client that is not installed is skipped and counted. Standard library only.
"""

import collections
import concurrent.futures
import http.client
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys

sys.dont_write_bytecode = True

from replyd import Failure, Replyd, Report, get, read_all, wait_until  # noqa: E402: after the switch above

CLIENT_SECONDS = 20
MEGABYTE = bytes(range(256)) * 4096
LARGE_FILE_BYTES = 32 * 1024 * 1024  # more than socket buffers take, so that its reply waits for the reader
CONFIG = pathlib.Path(__file__).with_suffix(".toml")
FINGER = ("127.0.0.79", 79)  # Debian's finger knows no other port


def can_listen(host, port):
    """Whether this user may listen there, on this machine."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return True
    except OSError:
        return False


def same(what, got, wanted):
    """The fault, if they differ."""
    if got != wanted:
        yield f"{what}: got {shown(got)}, wanted {shown(wanted)}"


def shown(value):
    """A value, cut to what a terminal can take."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(value)} in all)"


def run(*command, stdin=b""):
    """What a client prints; that it fails, or complains, is a failure."""
    command = [str(word) for word in command]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=CLIENT_SECONDS, check=False)
    if done.returncode != 0 or done.stderr:
        raise Failure(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


class Clients:
    """The groups of checks. Each is a generator of faults and notes in `expected` what it should count as."""

    def __init__(self, replyd, has_ipv6):
        self.replyd = replyd
        self.has_ipv6 = has_ipv6
        self.expected = collections.Counter()

    def expect(self, service, outcome="replied", count=1):
        self.expected[service, outcome] += count

    def unix(self, service):
        """The path of a service's unix socket."""
        return next(addr[5:] for addr in self.replyd.listeners[service] if addr.startswith("unix:"))

    def curl(self, service, *options, stdin=b"", path="/", outcome="replied"):
        """(interim status lines, status line, headers, body) of one request."""
        host, port = self.replyd.addr(service)
        always = ("--silent", "--show-error", "--include", "--noproxy", "*", "--max-time", "15")
        raw = run("curl", *always, *options, f"http://{host}:{port}{path}", stdin=stdin)
        self.expect(service, outcome)
        interim = []
        while True:
            head, _, raw = raw.partition(b"\r\n\r\n")
            status, *lines = head.decode().split("\r\n")
            if " 100 " not in status:
                return interim, status, dict(line.split(": ", 1) for line in lines), raw
            interim.append(status)

    def curl_gets(self):
        """GET, HEAD, OPTIONS, HTTP/1.0 and a unix socket."""
        for options in ((), ("-X", "OPTIONS"), ("--http1.0",), ("--unix-socket", self.unix("status"))):
            _, status, headers, body = self.curl("status", *options)
            date = headers.pop("Date", "")
            if not re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", date):
                yield f"{options}: Date: {date!r}"
            wanted = {"Connection": "close", "Content-Type": "text/plain; charset=utf-8", "Content-Length": "3"}
            yield from same(f"{options}", (status, headers, body), ("HTTP/1.1 200 OK", wanted, b"ok\n"))
        _, status, headers, body = self.curl("status", "--head")
        yield from same("HEAD", (status, headers["Content-Length"], body), ("HTTP/1.1 200 OK", "3", b""))

    def curl_templates(self):
        """What the request says is in the reply; status, type and headers as configured."""
        body = self.curl("where", "--data", "a=b", path="/x/y?q=1&r=%20")[3]
        yield from same("POST", body, b"POST /x/y q=1&r=%20 a=b\n")
        _, status, headers, body = self.curl("down")
        got = (status, headers["Content-Type"], headers["Retry-After"], body)
        yield from same("GET", got, ("HTTP/1.1 503 Service Unavailable", "text/html", "120", b"<p>back soon</p>\n"))

    def curl_uploads(self):
        """Bodies by length and by chunks, waiting for 100 Continue or not."""
        body = 2 * MEGABYTE
        at_once = ("--header", "Expect:")
        for kind, options, data, interim in (
            ("POST", ("--data-binary", "@-"), b"a small body", 0),
            ("POST, 2 MB, Expect", ("--data-binary", "@-"), body, 1),
            ("POST, 2 MB", ("--data-binary", "@-", *at_once), body, 0),
            ("-T, chunked, Expect", ("--upload-file", "-"), body, 1),
            ("-T, chunked", ("--upload-file", "-", *at_once), body, 0),
        ):
            interims, status, _, echoed = self.curl("upload", *options, stdin=data)
            yield from same(kind, (status, len(interims)), ("HTTP/1.1 200 OK", interim))
            yield from same(f"{kind}: body", echoed, data)

    def curl_refusals(self):
        """Too large, announced or found out; not allowed."""
        too_large = "HTTP/1.1 413 Content Too Large"
        for kind, options, size in (
            ("by length", ("--data-binary", "@-"), 4097),
            ("by chunks", ("--data-binary", "@-", "--header", "Transfer-Encoding: chunked"), 100_000),
            ("2 MB, Expect", ("--upload-file", "-"), 2_000_000),
        ):
            _, status, _, body = self.curl("status", *options, stdin=b"x" * size, outcome="too_large")
            yield from same(kind, (status, body), (too_large, b"request too large\n"))
        at_most = self.curl("status", "--data-binary", "@-", stdin=b"x" * 4096)[1]
        yield from same("as large as it may be", at_most, "HTTP/1.1 200 OK")
        status = self.curl("closed", outcome="denied")[1]
        yield from same("not allowed", status, "HTTP/1.1 403 Forbidden")

    def curl_file(self):
        """A file that is larger than any buffer."""
        host, port = self.replyd.addr("file")
        got = run("curl", "--silent", "--show-error", "--noproxy", "*", f"http://{host}:{port}/")
        self.expect("file")
        yield from same("bytes", len(got), LARGE_FILE_BYTES)
        if got != MEGABYTE * (LARGE_FILE_BYTES // len(MEGABYTE)):
            yield "the bytes are others"

    def whois(self):
        """RFC 3912."""
        host, port = self.replyd.addr("whois")
        got = run("whois", "-h", host, "-p", port, "example.net")
        self.expect("whois")
        yield from same("whois", got.replace(b"\r", b""), b"object: example.net\nstatus: no entry\n")

    def finger(self):
        """RFC 1288."""
        got = run("finger", f"ann@{FINGER[0]}")
        self.expect("finger")
        if not got.replace(b"\r", b"").endswith(b"Login: ann\nNo Plan.\n"):
            yield f"finger: {shown(got)}"

    def ncat(self):
        """CR LF, half close, a service that speaks first, a client that leaves, a unix socket."""
        got = run("ncat", "-C", *self.replyd.addr("hello"), stdin=b"you\n")
        self.expect("hello")
        yield from same("-C", got, b"hello, you\n")
        got = run("ncat", *self.replyd.addr("echo"), stdin=MEGABYTE)
        self.expect("echo")
        yield from same("until EOF", got, MEGABYTE)
        got = run("ncat", "--recv-only", *self.replyd.addr("agent"))
        self.expect("agent")
        yield from same("--recv-only", got, b"up ready 100%\n")
        got = run("ncat", "--send-only", *self.replyd.addr("hello"), stdin=b"you\n")
        self.expect("hello")
        yield from same("--send-only", got, b"")
        got = run("ncat", "-U", self.unix("echo"), stdin=MEGABYTE)
        self.expect("echo")
        yield from same("-U", got, MEGABYTE)

    def nc(self):
        """OpenBSD's, which Debian calls nc: -N half-closes, -z only connects."""
        got = run("nc.openbsd", "-N", *self.replyd.addr("hello"), stdin=b"you\nand more that nobody reads\n")
        self.expect("hello")
        yield from same("-N, line", got, b"hello, you\n")
        got = run("nc.openbsd", "-N", *self.replyd.addr("hello"), stdin=b"no line end")
        yield from same("-N, no line end", got, b"hello, no line end\n")
        self.expect("hello")
        got = run("nc.openbsd", "-N", *self.replyd.addr("echo"), stdin=MEGABYTE)
        self.expect("echo")
        yield from same("-N, until EOF", got, MEGABYTE)
        got = run("nc.openbsd", "-N", *self.replyd.addr("agent"))
        self.expect("agent")
        yield from same("speaks first", got, b"up ready 100%\n")
        got = run("nc.openbsd", "-N", "-U", self.unix("echo"), stdin=b"abc")
        self.expect("echo")
        yield from same("-U", got, b"abc")
        run("nc.openbsd", "-z", *self.replyd.addr("hello"))
        self.expect("hello", "no_request")

    def http_client(self):
        """Python's http.client, which takes the end of a reply from its length."""
        for method, body, chunked, wanted in (
            ("GET", None, False, b"GET /p  \n"),
            ("HEAD", None, False, b""),
            ("PUT", b"abc", False, b"PUT /p  abc\n"),
            ("POST", iter([b"ab", b"c" * 100]), True, b"POST /p  ab" + b"c" * 100 + b"\n"),
        ):
            connection = http.client.HTTPConnection(*self.replyd.addr("where"), timeout=CLIENT_SECONDS)
            connection.request(method, "/p", body, encode_chunked=chunked)
            answer = connection.getresponse()
            yield from same(method, (answer.status, answer.read(), answer.will_close), (200, wanted, True))
            connection.close()
            self.expect("where")

    def ask(self, service, request, wanted, number=0):
        """One exchange on a socket that is closed only after the other side's end."""
        with self.replyd.connect(service, number) as sock:
            sock.sendall(request)
            yield from same(f"{service} {request[:20]!r}", read_all(sock), wanted)
        self.expect(service)

    def sockets(self):
        """The other framings, unread bytes, and IPv6."""
        ip = self.replyd.addr("peer")[0].encode()
        yield from self.ask("peer", b"a\r\nb\r\n\r\nunread", ip + b" peer a\r\nb")
        yield from self.ask("four", b"abcdefgh", b"abcd")
        yield from self.ask("hello", b"you\n" + b"x" * 10_000, b"hello, you\n")
        yield from self.ask("agent", b"x" * 10_000, b"up ready 100%\n")
        if self.has_ipv6:
            yield from self.ask("hello", b"six\n", b"hello, six\n", number=1)

    def dribble(self):
        """A byte at a time, each seen by replyd before the next is sent."""
        bytes_before = self.replyd.value("received_bytes_total", service="hello")
        with self.replyd.connect("hello") as sock:
            for count, byte in enumerate(b"drip\r\n", 1):
                sock.sendall(bytes([byte]))
                wanted = bytes_before + count
                is_seen = lambda: self.replyd.value("received_bytes_total", service="hello") >= wanted  # noqa: B023, E731
                wait_until(is_seen, CLIENT_SECONDS, f"byte {count} was received")
            yield from same("reply", read_all(sock), b"hello, drip\n")
        self.expect("hello")

    def crowd(self):
        """Many at once, each half-closed at once: what one leaves behind must not meet the next."""

        def ask_often():
            for _ in range(90):
                with self.replyd.connect("megabyte") as sock:
                    sock.sendall(b"\n")
                    sock.shutdown(socket.SHUT_WR)
                    got = read_all(sock)
                if got != MEGABYTE:
                    return f"{len(got)} bytes of {len(MEGABYTE)}"
            return None

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            asked = [pool.submit(ask_often) for _ in range(16)]
            yield from filter(None, [each.result() for each in asked])
        self.expect("megabyte", count=16 * 90)

    def counted(self):
        """/metrics at rest, with exactly the outcomes that were caused."""
        self.replyd.wait_for_rest()
        yield from same("outcomes", sorted(self.replyd.outcomes().items()), sorted(self.expected.items()))
        for path in ("/-/healthy", "/-/ready"):
            yield from same(path, get(self.replyd.admin_url(path))[0], 200)

    def promtool(self):
        """Prometheus' own opinion of the page; it says nothing when it has none."""
        yield from same("promtool", run("promtool", "check", "metrics", stdin=self.replyd.page().encode()), b"")

    def stop(self):
        """SIGTERM while a reply is half sent: it is finished, the log says so, the exit code is 0."""
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(CLIENT_SECONDS)
            sock.connect(self.replyd.addr("file"))
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            waits = {"service": "file", "for": "write"}
            is_stuck = lambda: self.replyd.value("connections_waiting", **waits) == 1  # noqa: E731
            wait_until(is_stuck, CLIENT_SECONDS, "the reply waits for its reader")
            self.replyd.terminate()
            self.replyd.wait_for_log(" draining ", CLIENT_SECONDS)
            yield from same("/-/ready", get(self.replyd.admin_url("/-/ready"))[0], 503)
            head, _, body = read_all(sock).partition(b"\r\n\r\n")
            yield from same("status", head.split(b"\r\n")[0], b"HTTP/1.1 200 OK")
            yield from same("bytes", len(body), LARGE_FILE_BYTES)
        yield from same("exit code", self.replyd.wait(), 0)
        if "drained finished=1 abandoned=0" not in self.replyd.log():
            yield f"the log doesn't say what was drained:\n{self.replyd.log()}"


def groups(clients):
    """(title, the program it takes, faults)."""
    return [
        ("curl: GET, HEAD, OPTIONS, HTTP/1.0, unix", "curl", clients.curl_gets),
        ("curl: templates, status, headers", "curl", clients.curl_templates),
        ("curl: POST, -T, chunked, 100-continue", "curl", clients.curl_uploads),
        ("curl: 413 and 403", "curl", clients.curl_refusals),
        ("curl: a file of 32 MB", "curl", clients.curl_file),
        ("whois", "whois", clients.whois),
        ("finger", "finger", clients.finger),
        ("ncat: -C, --recv-only, --send-only, -U", "ncat", clients.ncat),
        ("nc: -N, -z, -U", "nc.openbsd", clients.nc),
        ("http.client: GET, HEAD, PUT, chunked POST", None, clients.http_client),
        ("sockets: framings, unread bytes, IPv6", None, clients.sockets),
        ("sockets: byte by byte", None, clients.dribble),
        ("sockets: 16 at once, 1 MB each", None, clients.crowd),
        ("/metrics: at rest, outcomes", None, clients.counted),
        ("promtool check metrics", "promtool", clients.promtool),
        ("SIGTERM in the middle of a reply", None, clients.stop),
    ]


def config(has_finger, has_ipv6):
    """The configuration for what this machine can do."""
    hello = '"127.0.0.1:0"' + (', "[::1]:0"' if has_ipv6 else "")
    finger = f"{FINGER[0]}:{FINGER[1]}" if has_finger else "127.0.0.1:0"
    return CONFIG.read_text(encoding="utf-8").replace("@hello@", hello).replace("@finger@", finger)


def main():
    # So that an end from outside still ends our replyd.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    has_finger, has_ipv6 = can_listen(*FINGER), can_listen("::1", 0)
    try:
        with Replyd(config(has_finger, has_ipv6)) as replyd:
            with open(f"{replyd.folder.name}/file", "wb") as file:
                file.writelines([MEGABYTE] * (LARGE_FILE_BYTES // len(MEGABYTE)))
            pathlib.Path(replyd.folder.name, "megabyte").write_bytes(MEGABYTE)
            for title, program, faults in groups(Clients(replyd, has_ipv6)):
                if program is not None and shutil.which(program) is None:
                    report.skip(title, f"{program} is not installed")
                elif program == "finger" and not has_finger:
                    report.skip(title, "finger knows only port 79, and listening there takes root")
                else:
                    report.group(title, faults())
            if not has_ipv6:
                report.skip("sockets: IPv6", "no address ::1 on this machine")
    except (Failure, OSError) as error:
        report.group("setup", iter([f"{type(error).__name__}: {error}"]))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
