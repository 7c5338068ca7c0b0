"""The Debian package's life: installed, upgraded under load, removed, purged.

The packages are made of one binary, each with a higher revision. Standard library only.
"""

import pathlib
import shutil
import subprocess

from lab.load import SLOW_BYTES, Load, greet
from lab.service import ADMIN, BAD_CONFIG, CONFIG_PATH, SLOW, SLOW_PATH
from replyd import ROOT, Failure, get, wait_until

DPKG = ("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", "--force-confold")
DEB = ROOT / "packaging" / "deb"
PACKAGE_SECONDS = 120
UP_SECONDS = 20
LOAD_EXCHANGES = 5000  # before and after the upgrade
HEALTHY = ("/-/healthy", "/-/ready")

# Where a package may leave traces, and what is not this one's doing.
LOOKED_AT = ("/etc", "/usr", "/var", "/run", "/opt", "/srv")
NOT_OURS = ("/var/log/", "/run/log/", "/var/lib/dpkg/", "/var/cache/", "/run/systemd/", "/usr/share/mime")


def build(revision):
    """A package of the release binary, with that revision; its path."""
    command = (DEB, "--no-build", "--revision", str(revision))
    done = subprocess.run(command, capture_output=True, timeout=PACKAGE_SECONDS, check=False)
    if done.returncode != 0:
        raise Failure(f"packaging/deb: exit {done.returncode}: {done.stderr.decode(errors='replace')}")
    return pathlib.Path(ROOT, done.stdout.decode().splitlines()[-1])


def obstacle():
    """Why there can be no package here; None if it can."""
    if shutil.which("cargo-deb") is None:
        return "cargo-deb is not installed"
    if shutil.which("dpkg") is None:
        return "dpkg is not installed"
    return None


class Package:
    """One life, step by step: each takes up where the one before has ended."""

    def __init__(self, service, report):
        self.service = service
        self.machine = service.machine
        self.note = report.note
        self.before = self.traces()

    def traces(self):
        """Every file, unit and user that there is."""
        files = self.machine.must("find", *LOOKED_AT, "-xdev").splitlines()
        users = self.machine.must("cat", "/etc/passwd", "/etc/group").splitlines()
        units = self.machine.must("systemctl", "list-unit-files", "--no-legend", "--no-pager").splitlines()
        return {line for line in (*files, *users, *units) if not line.startswith(NOT_OURS)}

    def dpkg(self, *words):
        """dpkg, which asks nothing and has to succeed."""
        self.machine.must(*DPKG, *words)

    def put(self, revision):
        """A package in that machine."""
        made = build(revision)
        shutil.copy(made, self.machine.path("/root"))
        return f"/root/{made.name}"

    def state(self):
        """(enabled, active)."""
        states = (self.machine.run("systemctl", word, self.service.name).out for word in ("is-enabled", "is-active"))
        return tuple(state.strip().splitlines()[-1] for state in states)

    def installed(self):
        """Enabled, started, and it answers."""
        self.dpkg("--install", self.put(1))
        if self.state() != ("enabled", "active"):
            yield f"it is {self.state()}"
        yield from (f"{path}: {get(ADMIN + path)}" for path in HEALTHY if get(ADMIN + path)[0] != 200)
        self.machine.must("replyd", "check", CONFIG_PATH)

    def upgraded(self):
        """Another version, with a configuration that was changed, while clients are there."""
        self.service.configure()
        self.service.systemctl("restart", self.service.name)
        digest, pid = self.service.write_slow(SLOW_BYTES), self.service.pid()
        package = self.put(2)
        with Load(self.service.addrs(), SLOW, digest) as load:
            load.wait_for(LOAD_EXCHANGES)
            self.dpkg("--install", package)
            wait_until(lambda: self.service.pid() not in (0, pid), UP_SECONDS, "the new one runs")
            load.wait_for(LOAD_EXCHANGES)
            figures = load.end()
        self.note(figures.line())
        yield from figures.judged()
        if self.state() != ("enabled", "active"):
            yield f"it is {self.state()}"

    def refused(self):
        """A version that does not take the configuration: dpkg fails, and what runs goes on."""
        pid = self.service.pid()
        self.service.configure(text=BAD_CONFIG)
        done = self.machine.run(*DPKG, "--install", self.put(3))
        if done.code == 0:
            yield "dpkg has succeeded"
        if "server.toml:3" not in done.out:
            yield f"it doesn't say where the fault is: {done.out}"
        if self.service.pid() != pid:
            yield "it is another process"
        yield from filter(None, (greet(addr, "127.0.0.1") for addr in self.service.addrs()))
        self.service.configure()
        self.dpkg("--configure", "replyd")
        if self.service.pid() in (0, pid):
            yield "the new one doesn't run"

    def removed(self):
        """Stopped, and gone but for its configuration."""
        self.dpkg("--remove", "replyd")
        if self.state()[1] != "inactive":
            yield f"it is {self.state()}"
        for path in ("/usr/bin/replyd", "/usr/lib/systemd/system/replyd.service"):
            if self.machine.path(path).exists():
                yield f"{path} is still there"
        if not self.machine.path(CONFIG_PATH).exists():
            yield "the configuration is gone, though it was changed"

    def purged(self):
        """As if it had never been there."""
        # What the tests put there is theirs.
        self.machine.path(SLOW_PATH).unlink()
        self.dpkg("--purge", "replyd")
        self.machine.must("systemctl", "daemon-reload")
        yield from (f"left: {line}" for line in sorted(self.traces() - self.before))
        yield from (f"missing: {line}" for line in sorted(self.before - self.traces()))

    def groups(self):
        """(title, faults)."""
        return [
            ("package: installed", self.installed),
            ("package: upgraded beside clients", self.upgraded),
            ("package: refused", self.refused),
            ("package: removed", self.removed),
            ("package: purged", self.purged),
        ]
