"""A network namespace of one's own: loss and floods in it meet nobody else, and its kernel's counters are of nobody else.

The thread that enters it takes along every process and thread that it starts there. It has no name, so it is gone with
the last of them, whatever happens. Needs root, `ip` and `nft`. Standard library only.
"""

import ctypes
import os
import pathlib
import subprocess

CLONE_NEWNET = 0x40000000  # linux/sched.h
LIBC = ctypes.CDLL(None, use_errno=True)
OWN = pathlib.Path("/proc/thread-self/net")  # /proc/net is the first thread's
PROGRAM_SECONDS = 30


def call(name, *arguments):
    """A function of libc: `os` has neither setns nor unshare before Python 3.12."""
    if getattr(LIBC, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


class Network:
    """`with Network() as network:` inside it there is a loopback device, and nothing else."""

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("unshare", CLONE_NEWNET)
            run("ip", "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        call("setns", self.home, CLONE_NEWNET)
        os.close(self.home)

    def lose(self, percent, spared=""):
        """Drops so many per cent of the packets that arrive, of either side, at random; but those that are `spared`."""
        rule = f"{spared} numgen random mod 100 < {percent} drop" if percent else ""
        self.filter("input", rule)

    def filter(self, hook, rule):
        """One rule at a hook, in place of the one before; none if it is empty."""
        table = f"ip {hook}"
        commands = [f"add table {table}", f"delete table {table}"]
        if rule:
            chain = f"{{ type filter hook {hook} priority 0; }}"
            commands += [f"add table {table}", f"add chain {table} {hook} {chain}", f"add rule {table} {hook} {rule}"]
        run("nft", "; ".join(commands))

    def counters(self):
        """{name: value} of the kernel's counters for TCP."""
        found = {}
        for file in ("netstat", "snmp"):
            lines = [line.split() for line in (OWN / file).read_text(encoding="ascii").splitlines()]
            for names, values in zip(lines[::2], lines[1::2]):
                if names[0] in ("Tcp:", "TcpExt:"):
                    found.update(zip(names[1:], map(int, values[1:])))
        return found

    def unread(self, port):
        """Bytes that lie unread in the connections of a server at this port, all together."""
        lines = [line.split() for line in (OWN / "tcp").read_text(encoding="ascii").splitlines()[1:]]
        ours = (line for line in lines if int(line[1].rpartition(":")[2], 16) == port and line[3] != LISTEN)
        return sum(int(line[4].partition(":")[2], 16) for line in ours)


LISTEN = "0A"  # TCP_LISTEN of linux/tcp_states.h, as /proc/net/tcp has it


def orphans():
    """(sockets that no process has anymore, pages of memory that TCP holds), of the whole machine."""
    for line in (OWN / "sockstat").read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[0] == "TCP:":
            values = dict(zip(words[1::2], map(int, words[2::2])))
            return values["orphan"], values["mem"]
    raise OSError("/proc/net/sockstat doesn't tell of TCP")


def run(*command):
    """A program that has to succeed."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    if ended.returncode != 0:
        raise OSError(f"{command[0]}: {ended.stderr.strip() or ended.stdout.strip()}")
    return ended.stdout
