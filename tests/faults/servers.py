"""The servers that faults are done to: replyd, and nginx and HAProxy as its equals, each a process of ours.

Each gives the same HTTP reply to the same request, listens on an address of its own, and is a context manager with
`addr`, `pid`, and figures of its processes. Standard library only.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import replyd
from replyd import Failure, read_all, wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
BODY = b"hello\n"
BACKLOG = 4096
REQUEST_SECONDS = 60  # for a request to be complete; nginx's default
CONNECTIONS_MAX = 16384
START_SECONDS = 20
STOP_SECONDS = 10
REST_SECONDS = 30
EXCHANGE_SECONDS = 10
STABLE_LOOKS = 25  # 10 ms apart
TICK = os.sysconf("SC_CLK_TCK")

# What a log must not have, whatever happens.
LOUD = re.compile(r"panick|\bERROR\b")

ADMIN = """
[admin]
listen = "127.0.0.1:0"
"""

HELLO = """
[[service]]
name = "hello"
listen = "127.0.0.1:0"
read = "http"
request_timeout_seconds = @seconds@
reply.text = "hello\\n"
"""


def config(request_seconds=REQUEST_SECONDS, more="", hello="", server=""):
    """A configuration of replyd: `server` is the lines of its [server], `hello` more lines of the service `hello`, which
    gives the reply that all give, and `more` is further tables."""
    head = f"[server]\n{server}\n" if server else ""
    service = HELLO.replace("@seconds@", str(request_seconds)).replace("reply.text", f"{hello}\nreply.text")
    return head + ADMIN + service + more


def exchange(addr, request=REQUEST, timeout=EXCHANGE_SECONDS, source=None):
    """One exchange: everything that was received until the server's end."""
    with socket.create_connection(addr, timeout, source and (source, 0)) as sock:
        sock.sendall(request)
        return read_all(sock)


def is_reply(received):
    """Whether that is the reply that all give."""
    return received.startswith(b"HTTP/1.1 200 ") and received.endswith(b"\r\n\r\n" + BODY)


def free_addr():
    """An address that nobody has at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()


class Watched:
    """Figures of a server's processes, by /proc."""

    def pids(self):
        """The process that was started, and those below it."""
        found = [self.pid]
        for pid in found:
            for task in tasks(pid):
                try:
                    children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii")
                except OSError:
                    continue  # it has ended
                found += [int(child) for child in children.split()]
        return found

    def cpu_seconds(self):
        """User and system time so far, of children that have ended too; in steps of 10 ms."""
        total = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime of proc(5)
        return total / TICK

    def fds(self):
        """Descriptors that are open."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())

    def threads(self):
        """Threads that there are."""
        return sum(len(tasks(pid)) for pid in self.pids())

    def user_memory(self):
        """Bytes of user memory, what is shared counted in parts (PSS)."""
        return self.memory("Pss")

    def own_memory(self):
        """Bytes of user memory that are of no file. What is of files changes with who else has them."""
        return self.memory("Pss_Anon")

    def memory(self, kind):
        """Bytes of a kind, by proc(5)."""
        rollups = (pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii") for pid in self.pids())
        return sum(int(re.search(rf"^{kind}: +(\d+) kB", rollup, re.MULTILINE)[1]) * 1024 for rollup in rollups)

    def is_good(self):
        """Whether a good request is answered."""
        try:
            return is_reply(exchange(self.addr))
        except OSError:
            return False


def tasks(pid):
    """The threads of a process; none if it has ended."""
    try:
        return os.listdir(f"/proc/{pid}/task")
    except FileNotFoundError:
        return []


def thread(pid, name):
    """The ID of a process's thread of that name."""
    for task in tasks(pid):
        if pathlib.Path(f"/proc/{pid}/task/{task}/comm").read_text(encoding="utf-8").strip() == name:
            return int(task)
    raise Failure(f"process {pid} has no thread {name}")


class Replyd(replyd.Replyd, Watched):
    """A running replyd, with what it has to be like after a fault.

    `expects(pattern)`: a line of the log that the fault is to cause. `expects_end(code)`: that it has ended.
    """

    name = "replyd"

    def __init__(self, text, **options):
        super().__init__(text, **options)
        self.expected = []
        self.expected_code = None

    @property
    def pid(self):
        return self.process.pid

    @property
    def addr(self):
        """Of the service `hello`, or the first one."""
        names = [name for name in self.listeners if name != "admin"]
        return super().addr("hello" if "hello" in names else names[0])

    def service_addr(self, service):
        """Of another service."""
        return super().addr(service)

    def pids(self):
        """Commands are not its own."""
        return [self.pid]

    def value_sum(self, name, **labels):
        """The samples of a metric that have these labels, added; its name without the prefix."""
        wanted = set(labels.items())
        found = replyd.samples(self.page()).items()
        return sum(value for (each, pairs), value in found if each == f"replyd_{name}" and wanted <= set(pairs))

    def expects(self, pattern):
        """The fault causes such lines in the log."""
        self.expected.append(re.compile(pattern))

    def expects_end(self, code):
        """The fault ends it."""
        self.expected_code = code

    def remember(self):
        """How it is before the fault: it has answered, and been asked for its metrics."""
        self.exchange_if_http()
        self.wait_for_rest()
        self.wait_for_few_fds()
        self.fds_before, self.threads_before = self.fds(), self.threads()

    def exchange_if_http(self):
        """A good request, if the service `hello` is there."""
        if "hello" in self.listeners and not self.is_good():
            raise Failure(f"replyd doesn't answer at the start:\n{self.log()}")

    def wait_for_few_fds(self):
        """Until the scrape before is closed: it is looked at every 30 ms, so the number has to stay for longer."""
        seen = []

        def is_stable():
            seen.append(self.fds())
            return len(seen) > STABLE_LOOKS and len(set(seen[-STABLE_LOOKS:])) == 1

        wait_until(is_stable, REST_SECONDS, "the number of descriptors is stable")

    def loud_lines(self):
        """Of the log, without those that are expected."""
        lines = [line for line in self.log().splitlines() if LOUD.search(line)]
        return [line for line in lines if not any(pattern.search(line) for pattern in self.expected)]

    def epilogue(self):
        """What is not as before."""
        yield from (f"log: {line}" for line in self.loud_lines()[:5])
        if self.expected_code is not None:
            code = self.process.wait(STOP_SECONDS)
            if code != self.expected_code:
                yield f"exit code {code}, not {self.expected_code}:\n{self.log()}"
            return
        if self.process.poll() is not None:
            yield f"replyd has ended with {self.process.returncode}:\n{self.log()}"
            return
        if "hello" in self.listeners and not self.is_good():
            yield "a good request is not answered afterwards"
        yield from self.not_as_before(self.wait_for_rest)
        for what, now, before in (
            ("descriptors", self.fds, self.fds_before),
            ("threads", self.threads, self.threads_before),
        ):
            is_same = lambda: now() == before  # noqa: B023, E731
            yield from self.not_as_before(lambda: wait_until(is_same, REST_SECONDS, f"{what} {before} again"))  # noqa: B023
            if now() != before:
                yield f"{what}: {now()}, {before} before"

    @staticmethod
    def not_as_before(wait):
        """The fault, if it is waited for in vain."""
        try:
            wait()
        except Failure as failure:
            yield str(failure)


class Other(Watched):
    """One that replyd is compared with. A `with` ends it on every way out."""

    name = ""

    def __init__(self, request_seconds=REQUEST_SECONDS, **_):
        self.request_seconds = request_seconds
        self.process = None

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-faults-")
        self.addr = free_addr()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                for pid in reversed(self.pids()):
                    os.kill(pid, signal.SIGKILL)
                self.process.wait()
        self.folder.cleanup()

    def start(self):
        """Starts it in the foreground, and waits until it answers."""
        path = pathlib.Path(self.folder.name)
        (path / "config").write_text(self.text(path), encoding="utf-8")
        with open(path / "log", "wb") as log:
            self.process = subprocess.Popen(
                self.command(path / "config"), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        wait_until(self.is_answering, START_SECONDS, f"{self.name} answers")

    def is_answering(self):
        """Whether it does; that it has ended is a failure."""
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return self.is_good()

    def log(self):
        """Everything it has said so far."""
        return (pathlib.Path(self.folder.name) / "log").read_text(encoding="utf-8", errors="replace")


class Nginx(Other):
    """As Debian ships it: a worker for each processor."""

    name = "nginx"

    def text(self, folder):
        """Its configuration."""
        seconds = self.request_seconds
        return (
            f"user root;\nworker_processes auto;\ndaemon off;\npid {folder}/pid;\nerror_log stderr crit;\n"
            f"events {{ worker_connections {CONNECTIONS_MAX}; }}\n"
            f"http {{\n  access_log off;\n  default_type text/plain;\n  keepalive_timeout 0;\n"
            f"  client_header_timeout {seconds};\n  client_body_timeout {seconds};\n"
            f"  client_body_temp_path {folder};\n"
            f"  server {{\n    listen {self.addr[0]}:{self.addr[1]} backlog={BACKLOG};\n"
            f'    return 200 "hello\\n";\n  }}\n}}\n'
        )

    @staticmethod
    def command(path):
        """What starts it."""
        return ["nginx", "-e", "stderr", "-c", path]

    def workers(self):
        """The processes that accept."""
        return self.pids()[1:]

    def reload(self):
        """Tells it to read its configuration again."""
        os.kill(self.pid, signal.SIGHUP)


class Haproxy(Other):
    """As Debian ships it: a thread for each processor, below a master that starts new ones."""

    name = "haproxy"

    def text(self, _folder):
        """Its configuration. It counts two descriptors a connection, and would not start where there are fewer."""
        seconds = self.request_seconds
        return (
            f"global\n  no strict-limits\n  maxconn {CONNECTIONS_MAX}\ndefaults\n  mode http\n  option httpclose\n"
            f"  timeout client {seconds}s\n  timeout http-request {seconds}s\nfrontend hello\n"
            f"  bind {self.addr[0]}:{self.addr[1]} backlog {BACKLOG}\n"
            f'  http-request return status 200 content-type text/plain string "hello\\n"\n'
        )

    @staticmethod
    def command(path):
        """What starts it: `-W` is the master."""
        return ["haproxy", "-W", "-db", "-f", path]

    def workers(self):
        """The processes that accept."""
        return self.pids()[1:]

    def reload(self):
        """Tells it to start a new process, which takes over."""
        os.kill(self.pid, signal.SIGUSR2)


OTHERS = {"nginx": Nginx, "haproxy": Haproxy}


def cpu_percent(server, seconds):
    """Of one processor, over so long from now."""
    before, began = server.cpu_seconds(), time.monotonic()
    time.sleep(seconds)  # what is measured
    return 100 * (server.cpu_seconds() - before) / (time.monotonic() - began)
