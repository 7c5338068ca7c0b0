"""A machine of one's own: a real systemd as PID 1, in namespaces over a throw-away overlay of this machine's root.

What happens in it stays in it: packages are installed, users made, services started, and all is gone with its
first process. `boot` says how. Takes root. Standard library only.
"""

import collections
import contextlib
import ctypes
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from replyd import Failure, wait_until

BOOT = pathlib.Path(__file__).with_name("boot")
PROGRAMS = ("systemctl", "unshare", "nsenter", "setpriv", "pivot_root", "ip")
SYSTEMD_MIN = 252
BOOT_SECONDS = 60
END_SECONDS = 20
COMMAND_SECONDS = 180
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAMESPACES = ("--mount", "--pid", "--uts", "--ipc", "--cgroup", "--net")
OVERLAY = """
mount -t tmpfs lab "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" lab "$1/root"
"""
CLONE_NEWNET = 0x40000000

# What a systemd that is not kept apart would change for the whole machine.
SYSCTLS = ("kernel/hostname", "kernel/core_pattern", "fs/file-max", "fs/nr_open")
OURS = re.compile(r"(systemd-private|replyd)")
SENTINEL_AGE_SECONDS = 100 * 24 * 3600

Done = collections.namedtuple("Done", "code out")


def cgroup_root():
    """Where cgroup2 is mounted on this machine."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return pathlib.Path(before.split(" ")[4])
    return None


def obstacle():
    """Why no such machine can be made here; None if it can."""
    if os.geteuid() != 0:
        return "takes root"
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    version = int(subprocess.run(["systemctl", "--version"], capture_output=True, check=True).stdout.split()[1])
    if version < SYSTEMD_MIN:
        return f"systemd {version} is older than {SYSTEMD_MIN}"
    try:
        with cgroup():
            pass
    except OSError as error:
        return f"no control group can be made: {error}"
    return overlay_obstacle()


def overlay_obstacle():
    """Why `boot` would fail in its first steps, as it says itself."""
    with tempfile.TemporaryDirectory(prefix="replyd-lab-") as folder:
        command = ("unshare", "--fork", *NAMESPACES, "sh", "-ec", OVERLAY, "sh", folder)
        done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode == 0:
        return None
    return f"no overlay of / on a tmpfs in namespaces of one's own: {done.stderr.decode(errors='replace').strip()}"


@contextlib.contextmanager
def cgroup():
    """An empty control group; removed with all that came into it."""
    root = cgroup_root()
    if root is None:
        raise OSError("cgroup2 is not mounted")
    path = pathlib.Path(tempfile.mkdtemp(prefix="replyd-lab-", dir=root))
    try:
        yield path
    finally:
        wait_until(lambda: remove_groups(path), END_SECONDS, f"{path} can be removed")


def remove_groups(path):
    """Whether a tree of control groups is gone; one with a process in it stays."""
    try:
        for folder, _, _ in os.walk(path, topdown=False):
            os.rmdir(folder)
    except OSError:
        return False
    return True


class Host:
    """This machine, and what must be the same on it afterwards."""

    def __init__(self):
        self.sentinels = [tempfile.NamedTemporaryFile(prefix="replyd-lab-", dir=folder) for folder in ("/tmp", "/run")]
        for sentinel in self.sentinels:
            # Old enough for systemd-tmpfiles to remove it.
            time = os.stat(sentinel.name).st_mtime - SENTINEL_AGE_SECONDS
            os.utime(sentinel.name, (time, time))
        self.before = self.state()

    def state(self):
        """What a systemd that is not kept apart would change."""
        listed = lambda folder: {name for name in os.listdir(folder) if OURS.match(name)}  # noqa: E731
        state = {folder: listed(folder) for folder in ("/tmp", "/run", cgroup_root())}
        state["mounts"] = set(pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines())
        for name in SYSCTLS:
            state[name] = {pathlib.Path("/proc/sys", name).read_text(encoding="utf-8").strip()}
        return state

    def faults(self):
        """What is not as it was."""
        # What has gone, others may have ended.
        for what, after in self.state().items():
            yield from (f"{what}: new: {entry}" for entry in sorted(after - self.before[what]))
        for sentinel in self.sentinels:
            if not os.path.exists(sentinel.name):
                yield f"{sentinel.name} is gone"
            else:
                sentinel.close()


class Machine:
    """`with Machine(show) as machine:` boots it, and ends it on every way out; `show`: our folders that it sees."""

    def __init__(self, show=()):
        self.show = [str(path) for path in show]
        self.stack = contextlib.ExitStack()
        self.first = None  # its PID 1, as this machine numbers it

    def __enter__(self):
        try:
            self.boot()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *_):
        self.stack.close()

    def boot(self):
        """Starts it, waits until it is up, and takes this process into its network."""
        folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="replyd-lab-"))
        group = self.stack.enter_context(cgroup())
        output = self.stack.enter_context(tempfile.TemporaryFile())
        # Each ends with its parent, down to PID 1 and so all of it, even if this process is killed.
        command = ("setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--kill-child", "--propagation", "private")
        namespaces = [name for name in NAMESPACES if name != "--cgroup"]
        process = subprocess.Popen(
            [*command, *namespaces, BOOT, folder, group, *self.show],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )
        self.stack.callback(lambda: (process.kill(), process.wait()))

        def is_up():
            if process.poll() is not None:
                output.seek(0)
                raise Failure(f"no systemd: {output.read().decode(errors='replace').strip()}")
            children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii")
            self.first = int(children) if children else None
            return self.first and self.run("systemctl", "is-system-running").out.strip() in ("running", "degraded")

        wait_until(is_up, BOOT_SECONDS, "systemd is up")
        with open(f"/proc/{self.first}/ns/net", "rb") as network:
            if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), CLONE_NEWNET) != 0:
                raise Failure(f"cannot enter its network: {os.strerror(ctypes.get_errno())}")

    def path(self, path):
        """A path in it, as this machine sees it."""
        return pathlib.Path(f"/proc/{self.first}/root{path}")

    def write(self, path, text):
        """Writes a file in it, and the folders on the way."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text, encoding="utf-8")

    def run(self, *command, timeout=COMMAND_SECONDS):
        """What a command in it says, on both streams, and its exit code."""
        enter = ("nsenter", "--target", str(self.first), *NAMESPACES, "env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8")
        done = subprocess.run(
            [*enter, *map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=timeout, check=False,
        )
        return Done(done.returncode, done.stdout.decode(errors="replace"))

    def must(self, *command, timeout=COMMAND_SECONDS):
        """The same of one that has to succeed."""
        done = self.run(*command, timeout=timeout)
        if done.code != 0:
            raise Failure(f"{' '.join(map(str, command))}: exit {done.code}: {done.out.strip()}")
        return done.out
