"""What systemd does to replyd, and what comes of it: start, reload, crash, watchdog, stop, activation.

Each check starts from the unit as it is shipped and is a generator of faults. Standard library only.
"""

import socket
import threading

from lab.load import CLIENT_SECONDS, SLOW_BYTES, greet, read_slowly
from lab.service import BAD_CONFIG, BARE, CONFIG, HELLO, MARK, SLOW, SOCKET
from lab.wedge import wedged
from peers import connect
from replyd import read_all, wait_until

SETTLE_SECONDS = 20
STORM = 200
WATCHDOG = "[Service]\nWatchdogSec=1\n"
WATCHDOG_BEATS = 8  # of the idle server: so many times told, at twice a period
THREADS = ("acceptor", "worker-0", "replyd")  # the last is main


def say(addr, request=b""):
    """One exchange."""
    with connect(addr, timeout=CLIENT_SECONDS) as sock:
        if request:
            sock.sendall(request)
        return read_all(sock)


def same(what, got, wanted):
    """The fault, if they differ."""
    if got != wanted:
        yield f"{what}: got {got!r}, wanted {wanted!r}"


class Lifecycle:
    """The checks."""

    def __init__(self, service, report):
        self.service = service
        self.note = report.note

    def fresh(self, drop_in=None, config=None):
        """A replyd that has just been started."""
        self.service.machine.run("systemctl", "stop", self.service.name)
        self.service.machine.run("systemctl", "reset-failed", self.service.name)
        self.service.no_drop_in()
        if drop_in:
            self.service.drop_in(drop_in)
        self.service.configure(**({"text": config} if config else {}))
        self.service.start()

    def mark(self):
        """What says which configuration is in force."""
        return say(MARK).decode().strip()

    def wait_for_mark(self, mark):
        """Until that one is."""
        wait_until(lambda: self.mark() == mark, SETTLE_SECONDS, f"{mark!r} is in force")

    def start(self):
        """`systemctl start` comes back when every listener listens; each is in the descriptor store."""
        self.fresh()
        for addr in self.service.addrs():
            yield from same(addr, greet(addr, "127.0.0.1"), None)
        yield from same("mark", self.mark(), "first")
        yield from same("state", self.service.property("ActiveState"), "active")
        if not self.service.property("StatusText"):
            yield "no STATUS"
        listeners = self.service.log().count("listening service=")
        stored = int(self.service.property("NFileDescriptorStore"))
        self.note(f"{stored} listeners stored, status {self.service.property('StatusText')!r}")
        yield from same("stored", stored, 7)
        if listeners < stored:
            yield f"{listeners} listeners in the log"

    def refused(self):
        """A configuration that can't work ends it with 78, and systemd doesn't try again."""
        self.fresh()
        self.service.stop()
        self.service.configure(text=BAD_CONFIG)
        done = self.service.machine.run("systemctl", "start", self.service.name)
        if done.code == 0:
            yield "it has started"
        yield from same("state", self.service.property("ActiveState"), "failed")
        yield from same("exit code", self.service.property("ExecMainStatus"), "78")
        yield from same("restarts", self.service.property("NRestarts"), "0")
        if "server.toml:3" not in self.service.log():
            yield "the log doesn't say where the fault is"

    def reload(self):
        """`systemctl reload` puts the new configuration in force, in the same process."""
        self.fresh()
        pid = self.service.pid()
        self.service.configure("second")
        self.service.systemctl("reload", self.service.name)
        self.wait_for_mark("second")
        yield from same("pid", self.service.pid(), pid)
        self.service.wait_for("ActiveState", "active")
        self.note(f"status {self.service.property('StatusText')!r}")
        yield from same("metric", self.service.value("config_last_reload_successful"), 1.0)

    def bad_reload(self):
        """A bad file: `systemctl reload` fails, a SIGHUP is refused, the old configuration stays."""
        self.fresh()
        pid = self.service.pid()
        self.service.configure(text=BAD_CONFIG)
        if self.service.machine.run("systemctl", "reload", self.service.name).code == 0:
            yield "systemctl reload has succeeded"
        yield from same("after the reload", (self.mark(), self.service.pid()), ("first", pid))
        self.service.systemctl("kill", "--kill-whom=main", "--signal=HUP", self.service.name)
        is_refused = lambda: self.service.value("config_last_reload_successful") == 0.0  # noqa: E731
        wait_until(is_refused, SETTLE_SECONDS, "config_last_reload_successful 0")
        yield from same("after SIGHUP", (self.mark(), self.service.pid()), ("first", pid))
        self.service.wait_for("ActiveState", "active")
        self.note(f"status {self.service.property('StatusText')!r}")
        if "reload" not in self.service.property("StatusText"):
            yield f"STATUS doesn't say it: {self.service.property('StatusText')!r}"
        if "server.toml:3" not in self.service.log():
            yield "the log doesn't say where the fault is"
        self.service.configure("third")
        self.service.systemctl("reload", self.service.name)
        self.wait_for_mark("third")
        is_good = lambda: self.service.value("config_last_reload_successful") == 1.0  # noqa: E731
        wait_until(is_good, SETTLE_SECONDS, "config_last_reload_successful 1")

    def storm(self):
        """200 SIGHUPs back to back: one process, one configuration, nothing left over."""
        self.fresh()
        self.service.configure("calm")
        self.service.systemctl("reload", self.service.name)
        self.wait_for_mark("calm")
        pid, before = self.service.pid(), wait_until(self.service.at_rest, SETTLE_SECONDS, "at rest")
        stored = self.service.property("NFileDescriptorStore")
        self.service.configure("storm")
        self.service.machine.must("bash", "-c", f"for n in {{1..{STORM}}}; do kill -HUP {pid}; done")
        self.wait_for_mark("storm")
        is_calm = lambda: self.service.at_rest() == before  # noqa: E731
        wait_until(is_calm, SETTLE_SECONDS, f"(processes, threads, descriptors) {before} again")
        yield from same("pid", self.service.pid(), pid)
        yield from same("stored", self.service.property("NFileDescriptorStore"), stored)
        yield from same("mark", self.mark(), "storm")
        yield from same("metric", self.service.value("config_last_reload_successful"), 1.0)
        self.note(f"(processes, threads, descriptors) before and after: {before}")

    def watchdog(self):
        """A process that stands still, or one thread of it, is killed and started again."""
        for what in ("process", *THREADS):
            self.fresh(WATCHDOG)
            pid = self.service.pid()
            if what == "process":
                self.service.systemctl("kill", "--kill-whom=main", "--signal=STOP", self.service.name)
                self.service.wait_for("NRestarts", "1")
            else:
                with wedged(self.service.processes()[0], what):
                    self.service.wait_for("NRestarts", "1")
            self.service.wait_for("ActiveState", "active")
            if self.service.pid() in (0, pid):
                yield f"{what}: still the same process"
            if "Watchdog timeout" not in self.service.log():
                yield f"{what}: not the watchdog's doing"
            yield from same(what, say(BARE, b"you\n"), b"hello, you\n")

    def idle(self):
        """A server that nobody asks lives on."""
        self.fresh(WATCHDOG)
        pid, beats, last = self.service.pid(), 0, None
        while beats < WATCHDOG_BEATS:
            beat = lambda: self.service.property("WatchdogTimestampMonotonic")  # noqa: E731
            wait_until(lambda: beat() != last, SETTLE_SECONDS, "the watchdog is told")  # noqa: B023
            last = beat()
            beats += 1
        yield from same("pid", self.service.pid(), pid)
        yield from same("restarts", self.service.property("NRestarts"), "0")

    def stop(self):
        """A slow reader gets all of its reply, though systemd would have lost patience."""
        self.fresh("[Service]\nTimeoutStopSec=1\n")
        found, seen = [], threading.Event()
        digest = self.service.write_slow(SLOW_BYTES)
        reader = threading.Thread(target=lambda: found.append(read_slowly(SLOW, digest, seen)))
        silent = [connect(addr) for addr in (HELLO, BARE) for _ in range(10)]
        reader.start()
        seen.wait(SETTLE_SECONDS)
        self.service.stop()
        reader.join()
        yield from same("slow reader", found, [None])
        yield from same("result", self.service.property("Result"), "success")
        yield from same("exit code", self.service.property("ExecMainStatus"), "0")
        self.note(self.service.log().splitlines()[-3])
        for sock in silent:
            sock.close()

    def abandoned(self):
        """One that takes nothing is abandoned after the grace period: no failure to systemd."""
        self.fresh()
        self.service.write_slow(SLOW_BYTES)
        self.service.configure(text=CONFIG + "[server]\ngrace_period_seconds = 1\n")
        self.service.systemctl("restart", self.service.name)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(SLOW)
            sock.sendall(b"you\n")
            sock.recv(1)
            self.service.stop()
        yield from same("result", self.service.property("Result"), "success")
        yield from same("exit code", self.service.property("ExecMainStatus"), "3")

    def activated(self):
        """The socket unit: its first connection starts the service, which takes that listener."""
        self.fresh()
        self.service.stop()
        listen = "[Socket]\nListenStream=\nListenStream=127.0.0.1:17001\nFileDescriptorName=hello\n"
        self.service.drop_in(listen, SOCKET.name)
        try:
            self.service.systemctl("start", SOCKET.name)
            yield from same("state", self.service.property("ActiveState"), "inactive")
            yield from same("first", say(HELLO, b"you\n"), b"hello, you\n")
            yield from same("state", self.service.property("ActiveState"), "active")
            self.service.systemctl("restart", self.service.name)
            yield from same("after a restart", say(HELLO, b"you\n"), b"hello, you\n")
        finally:
            self.service.systemctl("stop", SOCKET.name, self.service.name)
            self.service.no_drop_in(SOCKET.name)

    def groups(self):
        """(title, faults)."""
        return [
            ("start, and the descriptor store", self.start),
            ("start with a bad configuration", self.refused),
            ("reload", self.reload),
            ("bad reload", self.bad_reload),
            (f"{STORM} SIGHUPs back to back", self.storm),
            ("watchdog: the process, the acceptor, a worker, main", self.watchdog),
            ("watchdog: an idle server", self.idle),
            ("stop with slow clients", self.stop),
            ("stop at the end of the grace period", self.abandoned),
            ("socket activation", self.activated),
        ]
