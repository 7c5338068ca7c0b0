"""Stops, reloads, kills and restarts under load: F33, F34, F36, F37.

Standard library only.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time

from faults import servers
from faults.loops import Loops
from faults.probe import Probe
from faults.suite import fault
from peers import connect
from replyd import BINARY, Failure, read_all, wait_until

# ── F33 ──

QUEUED = 50
STOP_ROUNDS, QUICK_STOP_ROUNDS = 10, 3
STOP_EXCHANGES = 2000  # before each
# How each is told to end with what it has.
GRACEFUL = {"replyd": signal.SIGTERM, "nginx": signal.SIGQUIT, "haproxy": signal.SIGUSR1}
END_SECONDS = 15
SECOND_MAX = 100  # ms from a second SIGTERM to the end
EARLY_STARTS, QUICK_EARLY_STARTS = 100, 25
EARLY_STEP_SECONDS = 0.0005  # each is told so much later than the one before

# ── F34 ──

RELOADS = 10
RELOAD_SECONDS = 6
RELOAD_EXCHANGES = 150_000
STORM = 200
SETTLE_SECONDS = 20

# ── F36, F37 ──

LIVES, QUICK_LIVES = 10, 4
LIFE_EXCHANGES = 2000  # between two ends
WAIT_MAX = 1000  # ms; DESIGN P6
SERVING_MAX = 1000  # ms from a kill to the next reply

MARK = """
[[service]]
name = "mark"
listen = "127.0.0.1:0"
read = "nothing"
reply.text = "@mark@\\n"
"""


@fault(
    "F33",
    f"stop under load, {Loops.COUNT} clients in a loop and {QUEUED} queued",
    "0 resets of accepted or queued ones, exit 0",
)
def stop(bench):
    rounds = QUICK_STOP_ROUNDS if bench.is_quick else STOP_ROUNDS
    for name in bench.names():
        found = [stop_once(bench, name) for _ in range(rounds)]
        done, cut, lost = (sum(each[n] for each in found) for n in range(3))
        codes, longest = sorted({each[3] for each in found}), max(each[4] for each in found)
        bench.figure(
            f"{rounds} stops: {done} answered, {cut} cut; of {rounds * QUEUED} queued {lost} lost; "
            f"exit {codes}, at most {longest:.2f} s",
            name,
        )
        if name == "replyd":
            bench.equal("cut, lost, exit codes", (cut, lost, codes), (0, 0, [0]))


def stop_once(bench, name):
    """(answered, cut, queued ones that were lost, exit code, seconds)."""
    with bench.serve(name) as server, contextlib.ExitStack() as stack:
        with Loops(server.addr) as loops:
            loops.wait_for(STOP_EXCHANGES)
            # It stands still, and they are in the kernel's queue, with their requests.
            pids = server.pids()
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            queued = [stack.enter_context(connect(server.addr)) for _ in range(QUEUED)]
            for sock in queued:
                sock.sendall(servers.REQUEST)
            os.kill(server.pid, GRACEFUL[name])
            began = time.monotonic()
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            lost = sum(not is_answered(sock) for sock in queued)
            # Who stays is lingered for.
            stack.close()
            code = server.process.wait(END_SECONDS)
            seconds = time.monotonic() - began
            looped = loops.end()
        if name == "replyd":
            server.expects_end(0)
    return looped.done, looped.faults.total(), lost, code, seconds


def is_answered(sock):
    """Whether the reply comes, and the server's end after it."""
    try:
        return servers.is_reply(read_all(sock))
    except OSError:
        return False


@fault("F33", "a second SIGTERM while a command runs", f"exit 143 at once: ≤ {SECOND_MAX} ms")
def second_stop(bench):
    more = "[server]\ngrace_period_seconds = 60\n" + SLEEPER
    with bench.replyd(servers.config(more=more)) as server, contextlib.ExitStack() as stack:
        sock = stack.enter_context(connect(server.service_addr("sleeper")))
        sock.sendall(b"\n")
        wait_until(lambda: server.value("command_running", service="sleeper") == 1, 20, "the command runs")
        server.terminate()
        server.wait_for_log("draining", 20)
        time.sleep(0.2)  # a stop that isn't over
        if server.process.poll() is not None:
            raise Failure("it has not waited for the command")
        server.terminate()
        began = time.monotonic()
        server.process.wait(END_SECONDS)
        took = (time.monotonic() - began) * 1000
        server.expects_end(128 + signal.SIGTERM)
    bench.figure(f"exit 143 after {took:.0f} ms")
    bench.within("ms to the end", took, SECOND_MAX, " ms")


SLEEPER = """
[[service]]
name = "sleeper"
listen = "127.0.0.1:0"
read = "line"
[service.reply.command]
run = ["/bin/sleep", "30"]
timeout_seconds = 29
user = "nobody"
"""


@fault("F33", "SIGTERM during the start", "ends: drained, or by the signal before replyd has one line of its own")
def early_stop(bench):
    count = QUICK_EARLY_STARTS if bench.is_quick else EARLY_STARTS
    codes = {}
    with contextlib.ExitStack() as stack:
        # Only for its folder and configuration.
        server = stack.enter_context(bench.replyd())
        config = f"{server.folder.name}/server.toml"
        for number in range(count):
            process = subprocess.Popen(
                [BINARY, "--config", config], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(number * EARLY_STEP_SECONDS)  # each a bit later
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(END_SECONDS)
            finally:
                process.kill()
            codes[code] = codes.get(code, 0) + 1
    said = ", ".join(
        f"{count} {'by the signal' if code == -signal.SIGTERM else f'exit {code}'}"
        for code, count in sorted(codes.items())
    )
    bench.figure(f"{count} starts: {said}")
    bench.check(set(codes) <= {0, -signal.SIGTERM}, f"exit codes {codes}")
    bench.check(0 in codes, "none came as far as to drain")


@fault("F34", f"{RELOADS} reloads in {RELOAD_SECONDS} s at full rate", "0 failed")
def reloads(bench):
    for name in bench.names():
        options = {"more": MARK.replace("@mark@", "0")} if name == "replyd" else {}
        with bench.serve(name, **options) as server, Loops(server.addr) as loops, Probe(server.addr) as probe:
            began = time.monotonic()
            for number in range(1, RELOADS + 1):
                time.sleep(max(0, began + number * RELOAD_SECONDS / RELOADS - time.monotonic()))  # the rate of reloads
                reload(server, number)
            if not bench.is_quick:
                loops.wait_for(RELOAD_EXCHANGES - loops.done.value, 120)
            seen, looped = probe.end(), loops.end()
        bench.figure(f"{looped.line()}; beside them {seen.line()}", name)
        if name == "replyd":
            bench.equal("failed", (dict(looped.faults), dict(looped.refused), dict(seen.faults)), ({}, {}, {}))


def reload(server, number):
    """Another configuration; of replyd's it is known when it is in force."""
    if server.name != "replyd":
        server.reload()
        return
    configure(server, number)
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: mark(server) == number, SETTLE_SECONDS, f"reload {number} is in force")


def configure(server, number):
    """Has its file say which number it has; as a whole, as editors do."""
    path = f"{server.folder.name}/server.toml"
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(server.config.replace('"0\\n"', f'"{number}\\n"'))
    os.rename(f"{path}.new", path)


def mark(server):
    """The number of the configuration that is in force."""
    with connect(server.service_addr("mark")) as sock:
        return int(read_all(sock))


@fault("F34", f"{STORM} SIGHUPs back to back under load", "0 failed, the last configuration in force, the same process")
def storm(bench):
    with bench.replyd(servers.config(more=MARK.replace("@mark@", "0"))) as server, Loops(server.addr) as loops:
        for number in range(1, STORM + 1):
            configure(server, number)
            os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda: mark(server) == STORM, SETTLE_SECONDS, "the last one is in force")
        looped = loops.end()
        taken = server.log().count("reloaded")
    bench.figure(f"{STORM} signals, {taken} reloads; {looped.line()}")
    bench.equal("failed", (dict(looped.faults), dict(looped.refused)), ({}, {}))
    bench.check(0 < taken <= STORM, f"{taken} reloads")


class Held(servers.Replyd):
    """A replyd whose listener is somebody else's, as systemd's would be: it is there in every life."""

    def __init__(self, listener):
        # Its variables name the process that they are for: sd_listen_fds(3).
        script = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        text = servers.config().replace("127.0.0.1:0", f"127.0.0.1:{listener.getsockname()[1]}")
        text = text.replace(
            f'[admin]\nlisten = "127.0.0.1:{listener.getsockname()[1]}"', '[admin]\nlisten = "127.0.0.1:0"'
        )
        super().__init__(text, under=["bash", "-c", script, "bash"], fds=(listener.fileno(),))


def lives(bench, end, is_held):
    """(what the loops have seen, ms from each end until it serves again) of some ends and starts."""
    count = QUICK_LIVES if bench.is_quick else LIVES
    with contextlib.ExitStack() as stack:
        if is_held:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=servers.BACKLOG))
            server = stack.enter_context(Held(listener))
        else:
            text = servers.config().replace(
                'name = "hello"\nlisten = "127.0.0.1:0"', f'name = "hello"\nlisten = "{place()}"'
            )
            server = stack.enter_context(servers.Replyd(text + UNIX))
        loops = stack.enter_context(Loops(server.addr))
        serving = []
        for _ in range(count):
            loops.wait_for(LIFE_EXCHANGES)
            began = time.monotonic()
            server.process.send_signal(end)
            code = server.process.wait(END_SECONDS)
            wanted = 0 if end == signal.SIGTERM else -end
            bench.equal("exit code", code, wanted)
            server.listeners.clear()
            server.start()
            wait_until(server.is_good, END_SECONDS, "it serves again")
            serving.append((time.monotonic() - began) * 1000)
        loops.wait_for(LIFE_EXCHANGES)
        looped = loops.end()
        bench.faults.extend(f"log: {line}" for line in server.loud_lines())
    return looped, serving


UNIX = """
[[service]]
name = "unix"
listen = "unix:{folder}/socket"
read = "nothing"
reply.text = "here\\n"
"""


def place():
    """An address that nobody has, as text."""
    return "{}:{}".format(*servers.free_addr())


@fault("F36", "restart with an inherited listener, under load", f"0 failed, none waits > {WAIT_MAX} ms")
def inherited(bench):
    looped, serving = lives(bench, signal.SIGTERM, is_held=True)
    bench.figure(f"{len(serving)} restarts: {looped.line()}")
    bench.equal("failed", (dict(looped.faults), dict(looped.refused)), ({}, {}))
    bench.within("longest wait", looped.longest * 1000, WAIT_MAX, " ms")


@fault("F37", "SIGKILL and start, the listener inherited", "only connections in its hands are lost, none refused")
def killed_with_listener(bench):
    looped, serving = lives(bench, signal.SIGKILL, is_held=True)
    in_hand = Loops.COUNT * len(serving)
    bench.figure(f"{len(serving)} kills: {looped.line()} (at most {in_hand} can be in hand)")
    bench.equal("refused", dict(looped.refused), {})
    bench.check(looped.faults.total() <= in_hand, f"{looped.faults.total()} lost, {in_hand} can be in hand")


@fault(
    "F37",
    "SIGKILL and start, TCP and a unix socket of its own",
    f"binds again at once: serves ≤ {SERVING_MAX} ms after",
)
def killed(bench):
    looped, serving = lives(bench, signal.SIGKILL, is_held=False)
    bench.figure(f"{len(serving)} kills: serves after at most {max(serving):.0f} ms; {looped.line()}")
    # One in its hands, and, as a client that was cut is quick, one that is in the listener's queue when that is closed.
    most = 2 * Loops.COUNT * len(serving)
    bench.check(looped.faults.total() <= most, f"{looped.faults.total()} lost, {most} can be in hand or queued")
    bench.within("ms to serve", max(serving), SERVING_MAX, " ms")
