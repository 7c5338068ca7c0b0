#!/usr/bin/env -S python3 -B
"""A real HAProxy that checks the examples of packaging/ every 250 ms, by `option httpchk` and by `agent-check`.

    cargo build --release && tests/haproxy.py

Each example is served three ways side by side: a run for each check, a cached answer, and runs on a schedule. For 20
seconds all is well, and not one check may fail. Then what the scripts see changes, and HAProxy's state has to follow
within 2 seconds, there and back. A check that fails once takes its server down (`fall 1`). Standard library only.
"""

import contextlib
import csv
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from replyd import ROOT, Failure, Replyd, Report, read_all, wait_until  # noqa: E402: after the switch above

EXAMPLES = ROOT / "packaging/examples"
HEALTHY_SECONDS = 20
FOLLOW_SECONDS = 2
CHECK_SECONDS = 0.25
LOOK_SECONDS = 0.1
START_SECONDS = 10

# How often a script runs: once a check, once a second, or by the clock.
CACHE_SECONDS = 1
VARIANTS = {
    "uncached": "cache_seconds = 0",
    "cached": f"cache_seconds = {CACHE_SECONDS}",
    "scheduled": f"refresh_seconds = {CACHE_SECONDS}",
}
HTTP = ("clustercheck", "disk-space")
AGENT = ("agent-check",)
# Programs that the scripts run, which here show a file.
STUBS = {"mysql": "galera", "df": "disk"}

GALERA = "wsrep_cluster_status\tPrimary\nwsrep_local_state\t{}\nread_only\tOFF\n"
DISK = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda 100 0 0 {}% /\n"
LOAD = "{}.00 0.00 0.00 1/100 1\n"

# Where HAProxy sends nobody; the servers are only checked.
STATIC = """
[[service]]
name = "static"
listen = "127.0.0.1:0"
read = "http"
reply.text = "ok\\n"

[admin]
listen = "127.0.0.1:0"
"""

HAPROXY = """
global
    stats socket {folder}/haproxy.sock mode 600
    log stdout format raw local0

defaults
    mode http
    log global
    option log-health-checks
    timeout connect 2s
    timeout client 2s
    timeout server 2s
    timeout check 2s
    default-server inter 250ms agent-inter 250ms fall 1 rise 1 weight 100

backend http
    option httpchk
"""


def replaced(text, pattern, new, what):
    """The text with every match replaced; there has to be one."""
    text, count = re.subn(pattern, new.replace("\\", r"\\"), text, flags=re.MULTILINE)
    if not count:
        raise Failure(f"{what} has no {pattern}")
    return text


def service(example, variant, world):
    """An example's service, as it is but for addresses, paths, user and cache."""
    what = f"{example}.toml"
    text = (EXAMPLES / example / what).read_text(encoding="utf-8")
    text = replaced(text, r"^name = .*", f'name = "{example}-{variant}"', what)
    text = replaced(text, r"^listen = .*", 'listen = "127.0.0.1:0"', what)
    text = replaced(text, "^read = ", f'maintenance.file = "{world.folder}/maintenance"\nread = ', what)
    text = replaced(text, "/usr/libexec/replyd/", f"{EXAMPLES / example}/", what)
    text = replaced(text, '^PATH = "', f'PATH = "{world.folder}/bin:', what)
    text = replaced(text, r"^(cache|refresh)_seconds = \S+", VARIANTS[variant], what)
    if os.geteuid() == 0:
        text = replaced(text, '^#user = "nobody"', 'user = "root"', what)
    if example == "agent-check":
        text += f'AGENT_CHECK_LOAD_FILE = "{world.folder}/load"\n'
    return text.replace("/etc/replyd/", f"{world.folder}/")


def names(examples):
    """The services of some examples."""
    return [f"{example}-{variant}" for example in examples for variant in VARIANTS]


class World:
    """What the scripts see."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "bin").mkdir()
        for program, file in STUBS.items():
            stub = self.folder / "bin" / program
            stub.write_text(f'#!/bin/sh\nexec cat "{self.folder / file}"\n')
            stub.chmod(0o755)
        self.write("clustercheck.cnf", "[client]\n")
        self.be_well()

    def write(self, file, text):
        """A file, as a whole: a script may read it right now."""
        new = self.folder / "new"
        new.write_text(text)
        new.rename(self.folder / file)

    def be_well(self):
        """Synced, with room, idle, and nothing said by hand."""
        self.write("galera", GALERA.format(4))
        self.write("disk", DISK.format(43))
        self.write("load", LOAD.format(0))
        self.write("agent-check", "ready\n")


class HAProxy:
    """A running HAProxy with a server for each service. A `with` ends it on every way out."""

    def __init__(self, replyd, folder):
        self.folder = pathlib.Path(folder)
        self.process = None
        static = "{}:{}".format(*replyd.addr("static"))
        lines = [f"    server static {static} check"]
        lines += [f"    server {name} {static} check port {replyd.addr(name)[1]}" for name in names(HTTP)]
        lines += ["", "backend agent", "    balance roundrobin", "    option httpchk"]
        agent = "check agent-check agent-port"
        lines += [f"    server {name} {static} {agent} {replyd.addr(name)[1]}" for name in names(AGENT)]
        self.config = HAPROXY.replace("{folder}", str(self.folder)) + "\n".join(lines) + "\n"

    def __enter__(self):
        config = self.folder / "haproxy.cfg"
        config.write_text(self.config)
        with open(self.folder / "haproxy.log", "wb") as log:
            command = ["haproxy", "-db", "-f", config]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(self.is_checking, START_SECONDS, "HAProxy has checked every server")
        except BaseException as error:
            self.__exit__()
            if isinstance(error, Failure):
                raise Failure(f"{error}\n{self.log()}") from error
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def is_checking(self):
        """Whether it runs and each server has had a result."""
        if self.process.poll() is not None:
            raise Failure(f"HAProxy ended with {self.process.returncode}")
        try:
            servers = self.servers().values()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return "INI" not in [result for server in servers for result in results(server)]

    def log(self):
        """Everything it has said so far."""
        return (self.folder / "haproxy.log").read_text(encoding="utf-8", errors="replace")

    def servers(self):
        """{server: its line of `show stat`}."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(START_SECONDS)
            sock.connect(str(self.folder / "haproxy.sock"))
            sock.sendall(b"show stat\n")
            page = read_all(sock).decode().removeprefix("# ")
        lines = csv.DictReader(page.splitlines())
        return {line["svname"]: line for line in lines if line["svname"] != "BACKEND"}

    def state(self, server):
        """(status, weight) of a server."""
        line = self.servers()[server]
        return line["status"], int(line["weight"])


def results(server):
    """Of its last health check, and of its last agent check if it has any; an asterisk says that the next one is under way."""
    columns = [server[column].removeprefix("* ") for column in ("check_status", "agent_status")]
    return [result for result in columns if result]


class Checks:
    """The groups of checks, each a generator of faults."""

    def __init__(self, replyd, haproxy, world, report):
        self.replyd = replyd
        self.haproxy = haproxy
        self.world = world
        self.report = report

    def runs(self, name, **labels):
        """How many runs of a command had this result."""
        return self.replyd.value("command_runs_total", service=name, **labels)

    def healthy(self):
        """All is well, for a while: HAProxy's counters, its log, its state at every look."""
        everyone = ["static", *names(HTTP), *names(AGENT)]
        checks_before = {name: self.replyd.value("connections_accepted_total", service=name) for name in everyone}
        runs_before = {name: self.runs(name, result="answered") for name in everyone}
        until = time.monotonic() + HEALTHY_SECONDS
        while time.monotonic() < until:
            for name, server in self.haproxy.servers().items():
                state = (server["status"], server["weight"], *set(results(server)))
                if state != ("UP", "100", "L7OK"):
                    yield f"{name}: {state}: {server['last_chk']}, {server['last_agt']}"
                    return
            time.sleep(LOOK_SECONDS)  # between looks, not a synchronisation
        for name, server in self.haproxy.servers().items():
            for column in ("chkfail", "chkdown"):
                if server[column] != "0":
                    yield f"{name}: {column} {server[column]}"
        yield from (line for line in self.haproxy.log().splitlines() if re.search(r"fail|DOWN|ALERT|error", line))
        for name in everyone:
            checks = self.replyd.value("connections_accepted_total", service=name) - checks_before[name]
            runs = self.runs(name, result="answered") - runs_before[name]
            self.report.note(f"{name}: {checks:.0f} checks, {runs:.0f} runs")
            if name != "static":
                yield from self.counted(name, checks, runs)
        yield from (f"{key}: {count}" for key, count in self.replyd.outcomes().items() if key[1] != "replied")

    @staticmethod
    def counted(name, checks, runs):
        """Whether there were as many checks as there should be, and as many runs."""
        due = HEALTHY_SECONDS / CHECK_SECONDS
        # On a busy machine a check takes longer, and so they are fewer.
        if not 0.25 * due <= checks <= due + 2:
            yield f"{name}: {checks:.0f} checks in {HEALTHY_SECONDS} s"
        if name.endswith("-uncached") and abs(checks - runs) > 1:
            yield f"{name}: {checks:.0f} checks, and {runs:.0f} runs"
        if name.endswith(("-cached", "-scheduled")) and not 0 < runs <= HEALTHY_SECONDS / CACHE_SECONDS + 1:
            yield f"{name}: {runs:.0f} runs"

    def follows(self, examples, file, text, wanted):
        """The world changes, and HAProxy's (status, weight) of every variant is soon as wanted."""
        self.world.write(file, text)
        yield from self.become(examples, wanted)

    def become(self, examples, wanted):
        """HAProxy's (status, weight) of every variant is soon as wanted."""
        began = time.monotonic()
        late = dict.fromkeys(names(examples))
        while late and time.monotonic() - began < FOLLOW_SECONDS:
            for name in list(late):
                late[name] = self.haproxy.state(name)
                if late[name] == wanted:
                    del late[name]
            time.sleep(0.01)  # between looks
        took = time.monotonic() - began
        self.report.note(f"{wanted[0]}, weight {wanted[1]}: after {took:.2f} s")
        for name, state in late.items():
            yield f"{name}: {state}, not {wanted}, after {FOLLOW_SECONDS} s"

    def clustercheck(self):
        """Synced, joined, synced."""
        for state, status in ((3, "DOWN"), (4, "UP")):
            yield from self.follows(["clustercheck"], "galera", GALERA.format(state), (status, 100))

    def disk_space(self):
        """Room, full, room."""
        for percent, status in ((95, "DOWN"), (43, "UP")):
            yield from self.follows(["disk-space"], "disk", DISK.format(percent), (status, 100))

    def agent_check(self):
        """Weights by load, words by hand."""
        for load, weight in ((10_000, 10), (0, 100)):
            yield from self.follows(AGENT, "load", LOAD.format(load), ("UP", weight))
        for word, status, weight in (
            ("drain", "DRAIN (agent)", 100),
            ("ready", "UP", 100),
            ("maint", "MAINT", 100),
            ("ready", "UP", 100),
            ("down", "DOWN (agent)", 100),
            ("ready", "UP", 100),
        ):
            yield from self.follows(AGENT, "agent-check", f"{word}\n", (status, weight))

    def maintenance(self):
        """A file appears, and goes: replyd says it by itself, each in its protocol."""
        self.world.be_well()
        self.world.write("maintenance", "")
        yield from self.become(HTTP, ("DOWN", 100))
        yield from self.become(AGENT, ("MAINT", 100))
        (self.world.folder / "maintenance").unlink()
        yield from self.become(HTTP + AGENT, ("UP", 100))

    def agent_fails(self):
        """A script that fails changes nothing: HAProxy keeps what it was told before."""
        for word, status, weight in (("drain", "DRAIN (agent)", 100), ("ready", "UP", 100)):
            yield from self.follows(AGENT, "agent-check", f"{word}\n", (status, weight))
            failed = {name: self.runs(name, result="failed") for name in names(AGENT)}
            self.world.write("agent-check", "nonsense\n")
            for name, before in failed.items():
                is_told = lambda: self.runs(name, result="failed") >= before + 2  # noqa: B023, E731
                wait_until(is_told, START_SECONDS, f"{name} has failed twice")
                if self.haproxy.state(name) != (status, weight):
                    yield f"{name}: {self.haproxy.state(name)} of a failure, not {status}, {weight} as before"


def main():
    # So that an end from outside still ends what runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    # Checks have to be answered in time, whatever else this machine does; without root's right it has to be quiet.
    with contextlib.suppress(PermissionError):
        os.nice(-20)
    try:
        with tempfile.TemporaryDirectory(prefix="replyd-haproxy-") as folder:
            world = World(folder)
            services = [service(example, variant, world) for example in HTTP + AGENT for variant in VARIANTS]
            with Replyd("".join(services) + STATIC) as replyd, HAProxy(replyd, folder) as haproxy:
                checks = Checks(replyd, haproxy, world, report)
                report.group(f"{HEALTHY_SECONDS} s without a failed check", checks.healthy())
                report.group("clustercheck: up, down, up", checks.clustercheck())
                report.group("disk-space: up, down, up", checks.disk_space())
                report.group("agent-check: weight, drain, maint, down", checks.agent_check())
                report.group("agent-check: a script that fails", checks.agent_fails())
                report.group("maintenance: down and maint, up", checks.maintenance())
    except (Failure, OSError) as error:
        report.group("setup", iter([f"{type(error).__name__}: {error}"]))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
