#!/usr/bin/env -S python3 -B
"""Commands that misbehave, by the thousand, and crowds that wait for one; on the release binary.

    cargo build --release && tests/commands.py              # some 4 minutes; --quick: 50 of each, a small crowd

misbehaving  1,000 runs of each kind of command that nobody wants: ignores SIGTERM, forks, floods stdout,
             reads nothing of a megabyte, closes stdout, leaves its session, leaves its parents. Each client
             has its answer within the timeout + 100 ms, the process group is gone within
             kill_after_seconds + 0.5 s of the timeout. Then no descriptor, no zombie, no process more
             than before, memory flat, and every connection and run counted as what it was.
keys         Thousands of different requests to a service that caches by request: memory flat.
crowd        1,000 clients at once on a command that takes a second, 8 at a time. A static service of the
             same server is asked in a closed loop, alone and then beside them, by turns: no failure, and a
             p99 within 3 times of the one alone.

What is counted has to be exact. Times are printed; the middle one has to be within its bound, and with --strict
the longest one, for which nobody else may be at work on this machine. Exit code 1 if anything failed. Standard library only.
"""

import argparse
import collections
import functools
import os
import pathlib
import pwd
import signal
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True

import peers  # noqa: E402: after the switch above
from peers import Workers  # noqa: E402
from replyd import Failure, Replyd, Report, read_all, wait_until  # noqa: E402

RUNS = 1000
QUICK_RUNS = 50
KEYS = 6000
QUICK_KEYS = 300
KEY_BYTES = 16384
CROWD = 1000
QUICK_CROWD = 200
CROWD_SECONDS = 8
QUICK_CROWD_SECONDS = 1
CROWD_TURNS = 3
P99_RATIO_MAX = 3

PROCESSES = 4  # client processes
CLIENTS = 6  # in each of them
UNHURRIED = 15  # seconds for what ends by itself
KILL_AFTER = 0.3
ANSWER_ROOM = 0.1  # after the timeout
ANSWER_SECONDS = 0.5  # of what ends by itself
GONE_ROOM = 0.5  # after KILL
RATIO_ROOM = 10  # times P99_RATIO_MAX, without --strict
GONE_SECONDS = 20  # only a process that nobody ends is there that long
GROWTH_MAX = 8 * 1024 * 1024  # bytes; what an allocator keeps, but no leak of a thousand runs
MEGABYTE = b"x" * 1000 * 1000

# A worker that gets no turn for half a second is the machine's, not the server's.
HEAD = """
[queue]
max_wait_seconds = 60
[admin]
listen = "127.0.0.1:0"
[[service]]
name = "hello"
listen = "127.0.0.1:0"
read = "line"
reply.text = "hello, {{ request }}\\n"
"""

SERVICE = """
[[service]]
name = "@name@"
listen = "127.0.0.1:0"
read = "eof"
max_request_bytes = 2000000
[service.reply.command]
run = ["/bin/sh", "-c", '''@script@''']
timeout_seconds = @timeout@
kill_after_seconds = @kill_after@
concurrency = 100
working_directory = "{folder}"
user = "@user@"
"""

CROWDED = """
[[service]]
name = "slow"
listen = "127.0.0.1:0"
read = "line"
reply_timeout_seconds = 600
[service.reply.command]
run = ["/bin/sleep", "1"]
concurrency = 8
working_directory = "{folder}"
user = "@user@"
"""

KEYED = """
[[service]]
name = "keyed"
listen = "127.0.0.1:0"
read = "line"
[service.reply.command]
run = ["/usr/bin/head", "-c", "16384", "/dev/zero"]
cache_seconds = 3600
cache_key = ["request"]
concurrency = 8
working_directory = "{folder}"
user = "@user@"
"""

# Each writes its process group, by its client's port, and whoever leaves it a second one.
LEADER = "echo $$ > $REMOTE_PORT\n"
AWAY = "setsid sh -c 'echo $$ > $REMOTE_PORT.away; exec sleep 60'"
Kind = collections.namedtuple("Kind", "name script request timeout outcome result reply")
TIMED_OUT = (0.5, "timed_out", "timed_out", b"timed out\n")
KINDS = [
    Kind("ignores-term", "trap '' TERM; while :; do sleep 60; done", b"", *TIMED_OUT),
    Kind("forks", "for n in 1 2 3 4 5; do (trap '' TERM; sleep 60 & wait) & done; wait", b"", *TIMED_OUT),
    Kind("floods", "exec yes", b"", UNHURRIED, "failed", "too_large", b"failed\n"),
    Kind("reads-nothing", "exec sleep 60", MEGABYTE, *TIMED_OUT),
    Kind("closes-stdout", "echo cut; exec >&- 2>&-; sleep 60", b"", *TIMED_OUT),
    Kind("leaves-session", f"{AWAY} & sleep 60", b"", *TIMED_OUT),
    Kind("leaves-parents", f"({AWAY} &); (sleep 60 &); echo answer", b"", UNHURRIED, "replied", "answered", b"answer\n"),
]


def config(service):
    """A configuration as whoever runs this."""
    return (HEAD + service).replace("@user@", pwd.getpwuid(os.geteuid()).pw_name)


def service_of(kind):
    """The service of a kind."""
    service = SERVICE.replace("@name@", kind.name).replace("@script@", LEADER + kind.script)
    return service.replace("@timeout@", str(kind.timeout)).replace("@kill_after@", str(KILL_AFTER))


def is_there(group):
    """Whether a process group has a process in it; one that nobody has waited for counts."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def group_of(path):
    """The process group that a run has written; none if it has not come so far."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def run_once(addr, kind, folder):
    """(seconds to the answer, seconds from there until the groups are gone), or a fault."""
    with peers.connect(addr) as sock:
        sock.sendall(kind.request)
        began = time.monotonic()
        sock.shutdown(socket.SHUT_WR)
        reply = read_all(sock)
        answered = time.monotonic()
        port = sock.getsockname()[1]
    if reply != kind.reply:
        return f"{kind.name}: got {reply[:100]!r} ({len(reply)} bytes), wanted {kind.reply!r}"
    paths = [folder / str(port), folder / f"{port}.away"]
    groups = [group for group in map(group_of, paths) if group is not None]
    deadline = answered + GONE_SECONDS
    while any(map(is_there, groups)):
        if time.monotonic() > deadline:
            return f"{kind.name}: of the groups {groups} one is still there after {GONE_SECONDS} s"
        time.sleep(0.005)
    for path in paths:
        # The port may come again.
        path.unlink(missing_ok=True)
    return answered - began, time.monotonic() - answered


def client(addr, kind, folder, count, found):
    """One client: a run after the other."""
    for _ in range(count):
        try:
            found.append(run_once(addr, kind, folder))
        except OSError as error:
            found.append(f"{kind.name}: {type(error).__name__}: {error}")


def clients(addr, kind, folder, counts, results):
    """Client process: several of them."""
    found = []
    arguments = [(addr, kind, folder, count, found) for count in counts]
    threads = [threading.Thread(target=client, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(found)


def run_many(server, kind, runs):
    """What came of so many runs."""
    per_client = max(1, round(runs / PROCESSES / CLIENTS))
    folder = pathlib.Path(server.folder.name)
    with Workers(PROCESSES, clients, server.addr(kind.name), kind, folder, [per_client] * CLIENTS) as workers:
        return sum(workers.collect(), [])


def quantile(values, part):
    """Of values in any order."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def processes():
    """(pid, state, parent) of every process."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text(encoding="utf-8").rpartition(") ")[2].split()[:2]
            except OSError:
                continue  # it has ended meanwhile
            yield int(entry.name), state, int(parent)


def left(server):
    """Processes in the server's folder, wherever their parents are, and children of replyd's own."""
    found = []
    for pid, state, parent in processes():
        try:
            is_in_it = os.readlink(f"/proc/{pid}/cwd") == os.path.realpath(server.folder.name)
        except OSError:
            is_in_it = False
        if is_in_it or parent == server.process.pid:
            found.append((pid, state))
    return found


def descriptors(server):
    """How many replyd has open."""
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def memory(server):
    """Bytes that are replyd's own."""
    for line in pathlib.Path(f"/proc/{server.process.pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) * 1024
    raise Failure("this kernel doesn't tell the memory of a process")


def has(what, value, wanted, seconds=30):
    """The fault, if `value()` doesn't come to what is wanted."""
    try:
        wait_until(lambda: value() == wanted, seconds, what)
    except Failure:
        yield f"{what}: {value()}, not {wanted}"


class Checks:
    """The groups. Each is a generator of faults."""

    def __init__(self, report, is_quick, is_strict):
        self.report = report
        self.is_quick = is_quick
        self.is_strict = is_strict

    def within(self, what, values, bound):
        """The fault of times that are too long."""
        value = max(values) if self.is_strict else quantile(values, 0.5)
        if value > bound:
            yield f"{what}: {value:.3f}, more than {bound:.3f}"

    def misbehaving(self, kind, server):
        """So many runs of one kind."""
        runs = QUICK_RUNS if self.is_quick else RUNS
        # Memory and descriptors that the first ones take stay with the server.
        first = run_many(server, kind, max(runs // 5, PROCESSES * CLIENTS))
        yield from has("processes left after the first", lambda: left(server), [])
        server.wait_for_rest()
        before = descriptors(server), memory(server)
        found = run_many(server, kind, runs)
        faults = [each for each in first + found if isinstance(each, str)]
        yield from faults[:5]
        if len(faults) > 5:
            yield f"and {len(faults) - 5} more"
        yield from self.times(kind, [each for each in found if not isinstance(each, str)])
        server.wait_for_rest()
        yield from self.afterwards(server, kind, before, len(first) + len(found))

    def times(self, kind, found):
        """How long the answers and the ends took."""
        if not found:
            return
        expected = kind.timeout if kind.outcome == "timed_out" else 0
        late = [seconds - expected for seconds, _ in found]
        gone = [seconds for _, seconds in found]
        self.report.note(
            f"{len(found)} runs; answered after {'the timeout + ' if expected else ''}"
            f"{quantile(late, 0.5) * 1000:.0f} ms (p99 {quantile(late, 0.99) * 1000:.0f}, max {max(late) * 1000:.0f}); "
            f"group gone after {quantile(gone, 0.5) * 1000:.0f} ms more (max {max(gone) * 1000:.0f})"
        )
        if min(late) < -0.001:
            yield f"answered {-min(late) * 1000:.0f} ms before the timeout"
        yield from self.within("seconds to the answer", late, ANSWER_ROOM if expected else ANSWER_SECONDS)
        yield from self.within("seconds to the end", gone, KILL_AFTER + GONE_ROOM)

    def afterwards(self, server, kind, before, runs):
        """What must not be there anymore, and what must be counted."""
        yield from has("processes left", lambda: left(server), [])
        yield from has("descriptors", lambda: max(descriptors(server), before[0]), before[0])
        grown = memory(server) - before[1]
        self.report.note(f"{before[0]} descriptors; {before[1] / 1e6:.1f} MB of memory, and {grown / 1e6:+.2f} MB after all")
        if grown > GROWTH_MAX:
            yield f"memory has grown by {grown} bytes"
        outcomes = {outcome: count for (name, outcome), count in server.outcomes().items() if name == kind.name}
        if outcomes != {kind.outcome: runs}:
            yield f"outcomes: {outcomes}, not {runs} {kind.outcome}"
        labels = {"service": kind.name}
        yield from has("runs", lambda: server.value("command_runs_total", result=kind.result, **labels), runs)
        for gauge in ("command_running", "command_waiting"):
            yield from has(gauge, lambda: server.value(gauge, **labels), 0)

    def keys(self, server):
        """Different requests, each of which is cached, until the cache is full twice over."""
        keys = QUICK_KEYS if self.is_quick else KEYS
        half = keys // 2
        grown = []
        for turn in (0, 1):
            before = memory(server)
            faults = sum(ask_keys(server.addr("keyed"), range(turn * half, (turn + 1) * half)), [])
            yield from faults[:5]
            grown.append(memory(server) - before)
        shown = [f"{each / 1e6:+.1f} MB" for each in grown]
        self.report.note(f"{keys} keys of {KEY_BYTES} bytes: {shown[0]} by the first half, {shown[1]} by the second")
        if not self.is_quick and grown[1] > GROWTH_MAX:
            yield f"memory goes on growing: {grown[1]} bytes by the second half"
        runs = server.value("command_runs_total", service="keyed", result="answered")
        if runs != keys:
            yield f"{runs} runs of {keys} keys"

    def crowd(self, server):
        """A static service alone, and beside those who wait for a command."""
        seconds, count = (QUICK_CROWD_SECONDS, QUICK_CROWD) if self.is_quick else (CROWD_SECONDS, CROWD)
        alone, beside = [], []
        for _ in range(1 if self.is_quick else CROWD_TURNS):
            alone.append(closed_loop(server, seconds))
            with Crowd(server, count):
                beside.append(closed_loop(server, seconds))
            server.wait_for_rest()
            yield from has("processes left", lambda: left(server), [])
        faults = sum((turn[2] for turn in alone + beside), [])
        yield from faults[:5]
        ratio = sorted(turn[1] for turn in beside)[len(beside) // 2] / min(turn[1] for turn in alone)
        shown = [" ".join(f"{turn[n] * 1000:.2f}" for turn in turns) for n in (0, 1) for turns in (alone, beside)]
        self.report.note(
            f"{count} clients; ms alone → beside them: p50 {shown[0]} → {shown[1]}, p99 {shown[2]} → {shown[3]}, "
            f"ratio of p99 {ratio:.2f}"
        )
        if ratio > P99_RATIO_MAX * (1 if self.is_strict else RATIO_ROOM):
            yield f"the ratio is more than {P99_RATIO_MAX}"
        outcomes = {outcome for name, outcome in server.outcomes() if name == "slow"}
        if not outcomes <= {"replied", "peer_closed"}:
            yield f"outcomes of the crowd: {sorted(outcomes)}"


def ask_keys(addr, keys):
    """Asks each of them once, from several threads: the faults."""
    keys, faults = iter(keys), []
    lock = threading.Lock()

    def ask():
        while True:
            with lock:
                key = next(keys, None)
            if key is None:
                return
            try:
                with peers.connect(addr) as sock:
                    sock.sendall(b"%d\n" % key)
                    got = read_all(sock)
                if len(got) != KEY_BYTES:
                    faults.append(f"key {key}: {len(got)} bytes")
            except OSError as error:
                faults.append(f"key {key}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=ask) for _ in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults


def loop(addr, seconds, results):
    """Client process: exchanges with `hello`, each right after the one before; latencies in seconds, and faults."""
    latencies, faults = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            with peers.connect(addr) as sock:
                peers.greet(sock, faults)
        except OSError as error:
            faults.append(f"{type(error).__name__}: {error}")
        latencies.append(time.monotonic() - began)
    results.put((latencies, faults))


def closed_loop(server, seconds):
    """(p50, p99, faults) of that client."""
    with Workers(1, loop, server.addr("hello"), seconds) as workers:
        latencies, faults = workers.collect()[0]
    return quantile(latencies, 0.5), quantile(latencies, 0.99), faults


class Crowd:
    """Clients that wait for the command, all at once; they leave at the end."""

    def __init__(self, server, count):
        self.server = server
        self.count = count
        self.socks = []

    def __enter__(self):
        for _ in range(self.count):
            sock = self.server.connect("slow")
            sock.sendall(b"\n")
            self.socks.append(sock)
        labels = {"service": "slow"}
        value = self.server.value
        wait_until(lambda: value("command_running", **labels) == 8, 30, "the crowd is there")
        return self

    def __exit__(self, *_):
        for sock in self.socks:
            # As who gives up: a reset.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the runs, and a small crowd")
    parser.add_argument("--strict", action="store_true", help="the longest time counts, not the middle one")
    parser.add_argument("only", nargs="*", help="kinds of command, keys, crowd; all if none is named")
    arguments = parser.parse_args()
    # So that an end from outside still ends our processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    checks = Checks(report, arguments.quick, arguments.strict)
    groups = {kind.name: (service_of(kind), functools.partial(checks.misbehaving, kind)) for kind in KINDS}
    groups |= {"keys": (KEYED, checks.keys), "crowd": (CROWDED, checks.crowd)}
    for name in arguments.only or groups:
        report.group(name, checked(*groups[name]))
    return report.finish()


def checked(service, check):
    """The faults of a group, with a server of its own."""
    with Replyd(config(service)) as server:
        yield from check(server)
        yield from ends_well(server)


def ends_well(server):
    """A stop after all that: its exit code, and nothing left."""
    server.terminate()
    code = server.wait()
    if code != 0:
        yield f"exit code {code}:\n{server.log()}"
    yield from has("processes left", lambda: left(server), [])
    loud = [line for line in server.log().splitlines() if "ERROR" in line or "panic" in line]
    yield from loud[:5]


if __name__ == "__main__":
    sys.exit(main())
