"""replyd as a service of that machine: its files, its unit, its log, its metrics.

Standard library only.
"""

import hashlib
import shutil

from replyd import BINARY, ROOT, Failure, get, samples, wait_until

UNIT = ROOT / "packaging" / "replyd.service"
SOCKET = ROOT / "packaging" / "replyd.socket"
ETC = "/etc/systemd/system"
CONFIG_PATH = "/etc/replyd/server.toml"
SLOW_PATH = "/etc/replyd/slow"
STATE_SECONDS = 40
OPEN = "replyd_connections_open"

HELLO, BARE, SLOW, MARK, COMMAND = (("127.0.0.1", port) for port in (17001, 17002, 17003, 17004, 17005))
ADMIN = "http://127.0.0.1:7150"

UNIX_PATH = "/run/replyd/hello.sock"

# hello as most are, bare accepts at once, slow takes its time, mark says which configuration is in force, command is
# one.
CONFIG = """
[[service]]
name = "hello"
listen = "127.0.0.1:17001"
read = "line"
reply.text = "hello, {{ request }}\\n"
[[service]]
name = "bare"
listen = "127.0.0.1:17002"
read = "line"
defer_accept_seconds = 0
reply.text = "hello, {{ request }}\\n"
[[service]]
name = "unix"
listen = "unix:/run/replyd/hello.sock"
read = "line"
reply.text = "hello, {{ request }}\\n"
[[service]]
name = "slow"
listen = "127.0.0.1:17003"
read = "line"
reply.file = "/etc/replyd/slow"
[[service]]
name = "mark"
listen = "127.0.0.1:17004"
read = "nothing"
reply.text = "@mark@\\n"
[[service]]
name = "command"
listen = "127.0.0.1:17005"
read = "line"
[service.reply.command]
run = ["/bin/sh", "-c", 'read -r name; echo "hello, $name"']
"""

BAD_CONFIG = """
[[service]]
listen = 7
"""


class Service:
    """One replyd; `name` of its unit."""

    name = "replyd.service"

    def __init__(self, machine):
        self.machine = machine

    def install(self):
        """As the package does, by hand: the binary, the unit, a configuration."""
        shutil.copy(BINARY, self.machine.path("/usr/bin/replyd"))
        for unit in (UNIT, SOCKET):
            if unit.exists():
                shutil.copy(unit, self.machine.path("/usr/lib/systemd/system/"))
        self.configure()
        # Enabled, so that systemd remembers how it ended.
        self.systemctl("enable", self.name)

    def configure(self, mark="first", text=CONFIG):
        """Writes the configuration."""
        self.machine.write(CONFIG_PATH, text.replace("@mark@", mark))

    def addrs(self):
        """Where `hello, you` is answered: TCP, TCP without TCP_DEFER_ACCEPT, unix, by a command."""
        return [HELLO, BARE, str(self.machine.path(UNIX_PATH)), COMMAND]

    def write_slow(self, count):
        """Writes the file that the slow reader reads; its digest."""
        content = bytes(range(256)) * (count // 256)
        self.machine.path(SLOW_PATH).write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def drop_in(self, text, unit=None):
        """Adds to the unit, for this test."""
        self.machine.write(f"{ETC}/{unit or self.name}.d/test.conf", text)
        self.systemctl("daemon-reload")

    def no_drop_in(self, unit=None):
        """The unit as it is shipped."""
        shutil.rmtree(self.machine.path(f"{ETC}/{unit or self.name}.d"), ignore_errors=True)
        self.systemctl("daemon-reload")

    def systemctl(self, *words):
        """A systemctl that has to succeed."""
        return self.machine.must("systemctl", *words)

    def start(self):
        self.systemctl("start", self.name)

    def stop(self):
        self.systemctl("stop", self.name)

    def property(self, name):
        """What `systemctl show` says."""
        return self.systemctl("show", "-P", name, self.name).strip()

    def pid(self):
        """Its main process, as that machine numbers it; 0 if there is none."""
        return int(self.property("MainPID"))

    def wait_for(self, name, value, seconds=STATE_SECONDS):
        """Until a property has a value."""
        wait_until(lambda: self.property(name) == value, seconds, f"{name}={value}, it is {self.property(name)}")

    def processes(self):
        """Its processes, as this machine numbers them."""
        group = self.machine.path(f"/sys/fs/cgroup{self.property('ControlGroup')}/cgroup.procs")
        return [int(pid) for pid in group.read_text(encoding="ascii").split()]

    def at_rest(self):
        """(processes, threads, descriptors), of a moment without a connection but the one that asks; else None."""
        page = self.page()
        opened = {dict(labels)["service"]: value for (name, labels), value in page.items() if name == OPEN}
        if opened.pop("admin") != 1 or any(opened.values()):
            return None
        return len(self.processes()), *(int(page[f"process_{what}", ()]) for what in ("threads", "open_fds"))

    def log(self):
        """Everything it and systemd have said about it."""
        return self.machine.must("journalctl", "--no-pager", "--output=cat", f"--unit={self.name}")

    def page(self):
        """The samples of /metrics."""
        status, page = get(f"{ADMIN}/metrics")
        if status != 200:
            raise Failure(f"/metrics answers {status}")
        return samples(page.decode())

    def value(self, metric, **labels):
        """One of them, its name without the prefix."""
        return self.page().get((f"replyd_{metric}", tuple(sorted(labels.items()))))
