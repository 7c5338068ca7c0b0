"""Each system call that a server's life takes fails once, from its start to its stop: F8.

SQLite's rule: the N-th call of each kind, for each N, until a run in which nothing failed. Standard library only.
"""

import collections
import concurrent.futures
import contextlib
import itertools
import pathlib
import random
import re
import signal
import socket
import subprocess
import tempfile
import time

from faults import servers
from faults.strace import CALL, INJECTED
from faults.suite import fault
from replyd import BINARY, read_all

ERRNOS = ("EINTR", "ENOMEM", "EIO", "EMFILE")
RUNS_MAX = 6000
QUICK_RUNS = 200
AT_A_TIME = 3
START_SECONDS = 15
STOP_SECONDS = 20
EXCHANGE_SECONDS = 10
LINE_MAX = 200  # characters of a line of a log that is shown

# What can't be made to fail in a way that says anything about replyd.
LEFT_OUT = {
    "memory: Rust ends a program that gets none": "mmap munmap mprotect mremap brk madvise",
    "never fails so, and libc takes it for a bug": (
        "futex restart_syscall sched_yield sched_getaffinity sigaltstack rt_sigaction rt_sigprocmask rt_sigreturn "
        "set_robust_list set_tid_address rseq arch_prctl prctl gettid getpid getrandom exit exit_group"
    ),
    "never fails so with WNOHANG": "waitid",
    "the start of the program itself, and of Rust's library": "execve access pread64 poll",
    # A close that fails has closed (close(2)); one that strace makes fail has not.
    "does not leak in truth": "close",
}

# A write to an eventfd can't fail so; one to the log can.
PATHS = {"write": "log"}

# signal-hook's handler wakes its thread by it, and says so to nobody if that fails: the signal is heard with the next one.
LOSES_A_SIGNAL = "sendto"
UNHEARD_SECONDS = 5

CONFIG = """
[admin]
listen = "{admin}"
[server]
grace_period_seconds = 2
[workers]
threads = 1
[[service]]
name = "hello"
listen = "{hello}"
read = "http"
reply.text = "hello\\n"
[[service]]
name = "file"
listen = "{file}"
read = "line"
reply.file = "{folder}/file"
[[service]]
name = "command"
listen = "{command}"
read = "line"
[service.reply.command]
run = ["/bin/echo", "answer"]
working_directory = "/"
user = "nobody"
"""
METRICS = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n"
# (service, request, how often): 50 requests.
SCRIPT = (("hello", servers.REQUEST, 25), ("file", b"\n", 10), ("admin", METRICS, 5), ("command", b"\n", 10))

# Before replyd's own first line, the loader says what it could not do.
LOADER = re.compile(r"error while loading shared libraries|cannot open shared object")
BAD = re.compile(r"panick|abort|overflow|SIGSEGV|memory allocation")
# Panics of others' code where it gets what no kernel gives: std's Command::spawn of its own pipe to the child, signal-hook's
# iterator of its own socket. The process ends with 1 then, and says so.
OF_OTHERS = re.compile(r"panicked: the CLOEXEC pipe failed|a thread that takes signals has panicked")

Run = collections.namedtuple("Run", "call errno number")


class Life:
    """A replyd under strace, from its start to its stop, and the faults of that."""

    def __init__(self, run=None):
        self.run = run
        self.faults = []
        self.injected = 0
        self.calls = collections.Counter()
        self.ending = ""

    def live(self):
        """All of it."""
        with tempfile.TemporaryDirectory(prefix="replyd-sweep-") as folder:
            self.folder = pathlib.Path(folder)
            addrs = {name: servers.free_addr() for name, _, _ in SCRIPT}
            places = {name: f"{host}:{port}" for name, (host, port) in addrs.items()}
            (self.folder / "file").write_text("content\n", encoding="utf-8")
            (self.folder / "server.toml").write_text(CONFIG.format(folder=folder, **places), encoding="utf-8")
            command = ["strace", "--daemonize", "--follow-forks", "--quiet=all", f"--output={folder}/calls"]
            if self.run:
                command += ["--seccomp-bpf", "--trace", self.run.call]
                command += [f"--trace-path={folder}/{PATHS[self.run.call]}"] if self.run.call in PATHS else []
                command += [f"--inject={self.run.call}:error={self.run.errno}:when={self.run.number}"]
            with open(self.folder / "log", "wb") as log:
                process = subprocess.Popen(
                    [*command, BINARY, "--config", f"{folder}/server.toml"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            try:
                self.live_with(process, addrs)
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
            self.count()
        return self

    def live_with(self, process, addrs):
        """Start, 50 requests, stop."""
        if self.has_started(process, addrs):
            late = self.ask_all(process, addrs)
            if process.poll() is None:
                self.faults += [f"no answer to {name} in time" for name in late]
                # What failed once is over now: whoever lives serves.
                self.faults += [] if self.answers(addrs, process) else ["it lives, and doesn't serve"]
            self.stop(process)
            wanted = (0, 1, 3)
        else:
            wanted = (1, 64, 78)
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.faults.append("it doesn't end")
            return
        log = (self.folder / "log").read_text(encoding="utf-8", errors="replace")
        self.ending = f"exit {code}"
        if code not in wanted and not LOADER.search(log):
            self.faults.append(f"exit code {code}:\n{cut(log)}")
        elif BAD.search(log) and not (OF_OTHERS.search(log) and code == 1):
            self.faults.append(f"it says:\n{cut(log)}")

    def stop(self, process):
        """Tells it to stop, and once more if the first time may be lost."""
        for _ in range(2 if self.run and self.run.call == LOSES_A_SIGNAL else 1):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(UNHEARD_SECONDS)

    def has_started(self, process, addrs):
        """Whether it has, in time; False: it has ended."""
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None:
            if self.ask(addrs["hello"], servers.REQUEST, 1):
                return True
            if time.monotonic() > deadline:
                self.faults.append("it neither starts nor ends")
                process.kill()
                return False
            time.sleep(0.02)  # between looks
        return False

    @staticmethod
    def ask(addr, request, seconds=EXCHANGE_SECONDS):
        """The reply; empty if there is none."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            with socket.create_connection(addr, seconds) as sock:
                sock.sendall(request)
                return read_all(sock)
        return b""

    def ask_all(self, process, addrs):
        """The services that did not answer in time, which is longer than any fault may take."""
        late = []
        for name, request, count in SCRIPT:
            for _ in range(count):
                if process.poll() is not None:
                    return late
                began = time.monotonic()
                self.ask(addrs[name], request)
                if time.monotonic() - began >= EXCHANGE_SECONDS:
                    late.append(name)
        return late

    def answers(self, addrs, process):
        """Whether each service does, now; one that ends instead has an exit code to be judged by."""
        deadline = time.monotonic() + EXCHANGE_SECONDS
        for name, request, _ in SCRIPT:
            while not self.ask(addrs[name], request):
                if process.poll() is not None:
                    return True
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.02)  # between looks
        return True

    def count(self):
        """What was called and injected."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.folder / "calls").read_text(encoding="utf-8", errors="replace")
            self.injected = len(INJECTED.findall(text))
            self.calls = collections.Counter(CALL.findall(text))


def cut(log):
    """Without backtraces, and without what every start says."""
    lines = [line[:LINE_MAX] for line in log.splitlines() if " INFO " not in line]
    return "\n".join(lines)


class Sweep:
    """Lives, some at a time. One that is ended from outside begins no further one."""

    def __init__(self, lives_max):
        self.lives_max = lives_max
        self.lives = []
        self.is_stopped = False

    def is_over(self):
        """Whether there is to be no further one."""
        return self.is_stopped or len(self.lives) >= self.lives_max

    def once(self, run):
        """The life in which that call fails."""
        if not self.is_over():
            self.lives.append(Life(run).live())

    def each(self, pair):
        """Lives with the N-th of those calls failing, for each N until none did."""
        call, errno = pair
        for number in itertools.count(1):
            if self.is_over():
                return
            life = Life(Run(call, errno, number)).live()
            self.lives.append(life)
            if not life.injected:
                return

    def go(self, act, arguments):
        """Does that with each of the arguments."""
        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            try:
                list(pool.map(act, arguments))
            except BaseException:
                self.is_stopped = True
                raise


@fault(
    "F8",
    "each system call fails once: " + " ".join(ERRNOS),
    "no panic of ours, no abort, no hang, no half-dead process",
    programs=("strace",),
)
def each_once(bench):
    reference = Life().live()
    bench.equal("without any", (reference.faults, reference.ending), ([], "exit 0"))
    left_out = {call for calls in LEFT_OUT.values() for call in calls.split()}
    calls = sorted(set(reference.calls) - left_out)
    sweep = Sweep(RUNS_MAX)
    if bench.is_quick:
        chance = random.Random(bench.options.seed)
        # Of each the first ones, which are most likely to be there.
        draw = lambda number: Run(calls[number % len(calls)], chance.choice(ERRNOS), number // len(calls) + 1)  # noqa: E731
        sweep.go(sweep.once, [draw(number) for number in range(QUICK_RUNS)])
    else:
        sweep.go(sweep.each, [(call, errno) for call in calls for errno in ERRNOS])
        bench.check(not sweep.is_over(), f"{RUNS_MAX} runs, and not through")
    lives = sweep.lives
    injected = [life for life in lives if life.injected]
    endings = collections.Counter(life.ending for life in injected)
    bench.check(len(injected) > len(lives) // 4, f"only {len(injected)} of {len(lives)} runs had an injection")
    bench.figure(
        f"{len(calls)} calls, {len(lives)} runs of {sum(count for _, _, count in SCRIPT)} requests, "
        f"{len(injected)} with an injection: "
        + ", ".join(f"{count} {ending}" for ending, count in endings.most_common())
    )
    for life in lives:
        for text in life.faults:
            yield f"{life.run.call} {life.run.errno} number {life.run.number}: {text}"
