"""Other system calls fail: recv, send, epoll, and those that start a command. F4 to F7.

Standard library only.
"""

import contextlib
import select
import socket

from faults import servers
from faults.strace import Strace
from faults.suite import fault
from replyd import read_all, wait_until

# The N-th call of each thread fails, for each N until nothing was injected anymore; at most so many.
NUMBERS_MAX, QUICK_NUMBERS_MAX = 60, 4
EXCHANGES = 6  # with an injection about
MEGABYTE = b"0123456789abcdef" * 65536
# Threads that an exchange goes through.
IN_EXCHANGES = ("acceptor", "worker-0")

INTERRUPTED = 60  # calls, every other one

SLOW_WINDOW = 2048  # bytes of a client's receive buffer

MORE = """
[workers]
threads = 1
[[service]]
name = "line"
listen = "127.0.0.1:0"
read = "line"
defer_accept_seconds = 0
reply.text = "hello, {{ request }}\\n"
[[service]]
name = "file"
listen = "127.0.0.1:0"
read = "line"
reply.file = "{folder}/file"
[[service]]
name = "command"
listen = "127.0.0.1:0"
read = "line"
failed.text = "failed\\n"
[service.reply.command]
run = ["/bin/echo", "answer"]
working_directory = "/"
user = "@user@"
"""

RECEIVING = {"recvfrom": ("ECONNRESET", "ETIMEDOUT", "EINTR", "ENOMEM", "EIO")}
SENDING = {"sendto": ("EPIPE", "ECONNRESET", "EAGAIN", "ENOBUFS", "EINTR"), "shutdown": ("ENOTCONN", "ENOBUFS")}
WATCHING = {"epoll_ctl": ("ENOSPC", "ENOMEM", "EEXIST", "EPERM")}
# As whom replyd runs it takes posix_spawn(3), and for somebody else fork(2) and exec(2).
STARTING = {
    "pipe2": ("EMFILE", "ENFILE"),
    "fcntl": ("EINTR",),
    "clone3,clone,fork,vfork": ("EAGAIN", "ENOMEM"),
    "execve": ("ENOMEM", "EACCES", "E2BIG"),
    "setgid": ("EPERM",),
    "prlimit64": ("EPERM",),
}


def config(user="nobody"):
    """The services that are asked."""
    return servers.config(more=MORE.replace("@user@", user))


@contextlib.contextmanager
def server_of_all(bench, user="nobody"):
    """A server with a service of each kind."""
    with bench.replyd(config(user)) as server:
        with open(f"{server.folder.name}/file", "wb") as file:
            file.write(MEGABYTE)
        yield server


def ask(server, service, request, wanted):
    """One exchange: None, or what was received, or the error."""
    try:
        with socket.create_connection(server.service_addr(service), servers.EXCHANGE_SECONDS) as sock:
            sock.sendall(request)
            received = read_all(sock)
    except ConnectionError as error:
        return type(error).__name__  # a reset is how a connection that broke ends
    return None if wanted(received) else received


def ask_hello(server):
    """By HTTP."""
    return ask(server, "hello", servers.REQUEST, servers.is_reply)


def ask_line(server):
    """By a line."""
    return ask(server, "line", b"you\n", b"hello, you\n".__eq__)


def ask_file(server):
    """A megabyte."""
    return ask(server, "file", b"\n", MEGABYTE.__eq__)


def ask_command(server):
    """A command's."""
    return ask(server, "command", b"\n", b"answer\n".__eq__)


def sweep(bench, server, calls, work, followed=()):
    """Fails the N-th of each of `calls` with each of its errnos, for each N: (injected, {errno: failed exchanges}).

    `work()` is what is asked meanwhile: the faults that it saw. `followed` are the threads' names; all if there are none.
    """
    most = QUICK_NUMBERS_MAX if bench.is_quick else NUMBERS_MAX
    pids = [servers.thread(server.pid, name) for name in followed] or [server.pid]
    total, failed = 0, {}
    for call, errnos in calls.items():
        for errno in errnos:
            for number in range(1, most + 1):
                with Strace(pids, f"{call}:error={errno}:when={number}", follow=not followed) as strace:
                    faults = [text for text in work() if text is not None]
                    strace.detach()
                    injected = len(strace.injected())
                if not injected:
                    break
                total += injected
                failed[errno] = failed.get(errno, 0) + len(faults)
                bench.check(
                    len(faults) <= injected,
                    f"{call} {errno} number {number}: {injected} injected, {len(faults)} failed: {faults[:3]}",
                )
    return total, failed


def script(server, *asks):
    """Asks each of them in turn, as often as an injection is about."""
    return [asks[number % len(asks)](server) for number in range(EXCHANGES)]


def said(injected, failed):
    """For people."""
    parts = ", ".join(f"{errno} {count}" for errno, count in failed.items())
    return f"{injected} injected, each failed one exchange at most; failed by errno: {parts}"


@fault(
    "F4", "recv fails: " + " ".join(RECEIVING["recvfrom"]), "one exchange affected at most, none by EINTR",
    programs=("strace",),
)  # fmt: skip
def receiving(bench):
    with server_of_all(bench) as server:
        injected, failed = sweep(bench, server, RECEIVING, lambda: script(server, ask_hello, ask_line), IN_EXCHANGES)
    bench.figure(said(injected, failed))
    bench.check(injected > 0, "nothing was injected")
    bench.equal("failed by EINTR", failed.get("EINTR"), 0)


@fault(
    "F5", "send and shutdown fail: EPIPE ECONNRESET EAGAIN ENOBUFS EINTR ENOTCONN",
    "one exchange affected at most, none by EAGAIN or EINTR", programs=("strace",),
)  # fmt: skip
def sending(bench):
    with server_of_all(bench) as server:
        injected, failed = sweep(bench, server, SENDING, lambda: script(server, ask_hello, ask_file), IN_EXCHANGES)
    bench.figure(said(injected, failed))
    bench.check(injected > 0, "nothing was injected")
    for errno in ("EAGAIN", "EINTR"):
        bench.equal(f"failed by {errno}", failed.get(errno), 0)


@fault("F5", f"short writes: 1 MB through a window of {SLOW_WINDOW} bytes", "every byte right", programs=("strace",))
def short_writes(bench):
    with server_of_all(bench) as server:
        with Strace([server.pid], trace="sendto") as strace:
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_WINDOW)
                sock.settimeout(servers.EXCHANGE_SECONDS)
                sock.connect(server.service_addr("file"))
                sock.sendall(b"\n")
                received = read_all(sock)
            strace.detach()
            sends = strace.calls()["sendto"]
    bench.figure(f"{len(received)} bytes by {sends} sends")
    bench.check(received == MEGABYTE, f"{len(received)} bytes, not those of the file")
    bench.check(sends > 1, "it was written at once")


@fault(
    "F6", "epoll_ctl fails: " + " ".join(WATCHING["epoll_ctl"]), "one exchange affected at most, the acceptor lives",
    programs=("strace",),
)  # fmt: skip
def watching(bench):
    with server_of_all(bench) as server:
        injected, failed = sweep(bench, server, WATCHING, lambda: script(server, ask_line_late), ("acceptor",))
    bench.figure(said(injected, failed))
    bench.check(injected > 0, "nothing was injected")


def ask_line_late(server):
    """In two parts, so that the connection has to be watched between them; a busy reply is an answer, and a failure."""
    waiting = {"service": "line", "for": "request"}
    try:
        with socket.create_connection(server.service_addr("line"), servers.EXCHANGE_SECONDS) as sock:
            sock.sendall(b"yo")
            is_seen = lambda: server.value("connections_waiting", **waiting) > 0 or is_over(sock)  # noqa: E731
            wait_until(is_seen, servers.EXCHANGE_SECONDS, "the connection waits, or is over")
            sock.sendall(b"u\n")
            received = read_all(sock)
    except ConnectionError as error:
        return type(error).__name__
    return None if received == b"hello, you\n" else received


def is_over(sock):
    """Whether the server has said something, or ended."""
    return bool(select.select([sock], [], [], 0)[0])


@fault("F6", "epoll_wait is interrupted, every other time", "none affected", programs=("strace",))
def interrupted_wait(bench):
    with server_of_all(bench) as server:
        # Every other time, as one that never succeeds hears of nothing; and not to the end: strace that leaves in the
        # middle of an injection leaves ENOSYS behind.
        injection = f"epoll_pwait:error=EINTR:when=1..{INTERRUPTED}+2"
        with Strace([servers.thread(server.pid, "acceptor")], injection, follow=False) as strace:
            faults = []
            while strace.count("epoll_pwait") <= INTERRUPTED:
                faults += [text for text in script(server, ask_hello, ask_line) if text is not None]
            strace.detach()
            injected = len(strace.injected())
    bench.figure(f"{injected} injected, {len(faults)} failed")
    bench.check(injected > 0, "nothing was injected")
    bench.equal("failed", faults, [])


@fault(
    "F7", "a command's start fails: pipe2, fcntl, clone, execve, setgid, prlimit",
    "the failure reply, no zombie, no descriptor more", programs=("strace",),
)  # fmt: skip
def starting(bench):
    for user in ("nobody", "root"):
        with server_of_all(bench, user) as server:
            server.expects("command")
            answers = []

            def work(server=server, answers=answers):
                answers.append(ask_command(server))
                return answers[-1:]

            calls = STARTING if user == "nobody" else {call: STARTING[call] for call in STARTING if call != "setgid"}
            injected, failed = sweep(bench, server, calls, work)
            others = {answer for answer in answers if answer not in (None, b"failed\n")}
            bench.equal("other answers than the command's and the failure reply", others, set())
            zombies = [pid for pid in servers.Watched.pids(server) if pid != server.pid]
            bench.equal("children left", zombies, [])
            bench.equal("the command afterwards", ask_command(server), None)
        parts = ", ".join(f"{errno} {count}" for errno, count in failed.items())
        bench.figure(f"as {user}: {injected} injected, failure replies: {parts}")
        bench.check(injected > 0, "nothing was injected")
