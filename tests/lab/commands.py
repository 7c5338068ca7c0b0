"""Commands under the shipped unit and its drop-in: what they may do, as whom, and that nothing is left of them.

Standard library only.
"""

import pathlib
import re
import shutil
import threading

from lab.lifecycle import SETTLE_SECONDS, same, say
from replyd import ROOT, Failure, wait_until

DROP_IN = ROOT / "packaging" / "commands.conf"
CAP_SYS_RESOURCE = 24  # of capabilities(7)
PART = re.compile(r"^# ── (\d): ", re.MULTILINE)
LOOK, BAD, STUBBORN, ENDLESS, SLOW = (("127.0.0.1", port) for port in (17011, 17012, 17013, 17014, 17015))

LOOK_PATH = "/usr/local/bin/look"
SETUID_PATH = "/usr/local/bin/setuid-id"

# A plain script: who it is and what it may do, a line each. What it may not do fails.
LOOK_SCRIPT = f"""#!/bin/sh
tell() {{
    said=$("$@" 2>/dev/null) && echo "$said" || echo no
}}
echo "user $(id -un)"
echo "capabilities $(awk '/^CapEff/ {{ print $2 }}' /proc/self/status)"
echo "setuid $(tell {SETUID_PATH} -un)"
echo "descriptors $(ulimit -n)"
echo "loadavg $(tell cut -c2 /proc/loadavg)"
echo "nice $(nice -n 5 nice)"
echo "netlink $(ss -ltn 2>&1 | grep -c netlink)"
echo "etc $(tell touch /etc/replyd/x)"
echo "state $(tell touch /var/lib/replyd/x)"
echo "groups $(id -Gn)"
"""

# `@user@` is a key, or nothing.
CONFIG = f"""
[server]
grace_period_seconds = 3
[[service]]
name = "look"
listen = "127.0.0.1:17011"
read = "nothing"
[service.reply.command]
run = ["{LOOK_PATH}"]
@user@
[[service]]
name = "bad"
listen = "127.0.0.1:17012"
read = "nothing"
[service.reply.command]
run = ["/bin/sh", "-c", "echo why >&2; exit 7"]
@user@
[[service]]
name = "stubborn"
listen = "127.0.0.1:17013"
read = "nothing"
[service.reply.command]
run = ["/usr/local/bin/stubborn"]
timeout_seconds = 1
kill_after_seconds = 0.2
@user@
[[service]]
name = "endless"
listen = "127.0.0.1:17014"
read = "nothing"
[service.reply.command]
run = ["/usr/local/bin/stubborn"]
timeout_seconds = 20
@user@
[[service]]
name = "slow"
listen = "127.0.0.1:17015"
read = "nothing"
[service.reply.command]
run = ["/bin/sh", "-c", "sleep 0.5; echo done"]
@user@
"""

# Eight processes that take no SIGTERM, in three sessions, of which the last begins in the second.
STUBBORN_SCRIPT = """#!/bin/sh
trap '' TERM
setsid sh -c 'setsid sh -c "sleep 1000 & sleep 1000; :" & sleep 1000; :' &
sleep 1000 & sleep 1000; :
"""
STUBBORN_PROCESSES = 8
ANYONES = "nobody"
NONE = "0" * 16
FAILED = "a command has failed"


def drop_in(last):
    """The shipped drop-in with its parts up to this one."""
    text = DROP_IN.read_text(encoding="utf-8")
    parts = {int(match[1]): match.start() for match in PART.finditer(text)}
    if sorted(parts) != [1, 2, 3]:
        raise Failure(f"{DROP_IN} has the parts {sorted(parts)}")
    wanted = text[: parts.get(last + 1, len(text))]
    return re.sub(r"^#(?=[A-Z])", "", wanted, flags=re.MULTILINE)


def may_limit_others():
    """Whether this machine has CAP_SYS_RESOURCE to give."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"^CapBnd:\s*(\w+)", status, re.MULTILINE)[1], 16) >> CAP_SYS_RESOURCE & 1


def asked(addr):
    """One exchange, of which nothing may come."""
    try:
        return say(addr)
    except ConnectionResetError:
        return b"abandoned"


class Commands:
    """The checks."""

    def __init__(self, lifecycle):
        self.lifecycle = lifecycle
        self.service = lifecycle.service
        self.machine = lifecycle.service.machine

    def fresh(self, text=None, user=""):
        """A replyd with commands that has just been started, with such a drop-in."""
        for path, script in ((LOOK_PATH, LOOK_SCRIPT), ("/usr/local/bin/stubborn", STUBBORN_SCRIPT)):
            self.machine.write(path, script)
            self.machine.path(path).chmod(0o755)
        shutil.copy("/usr/bin/id", self.machine.path(SETUID_PATH))
        self.machine.path(SETUID_PATH).chmod(0o4755)
        self.lifecycle.fresh(text, CONFIG.replace("@user@", f'user = "{user}"' if user else ""))

    def looked(self):
        """What a command may do, by name."""
        lines = say(LOOK).decode().splitlines()
        return dict(line.split(" ", 1) for line in lines)

    def may(self, **wanted):
        """The faults, if a command may do something else."""
        got = self.looked()
        yield from same("a command", {name: got.get(name) for name in wanted}, wanted)

    def shipped(self):
        """A plain script runs as replyd's own user, in its sandbox; a failure is told in the journal."""
        self.fresh()
        yield from self.may(user="replyd", setuid="replyd", capabilities=NONE, etc="no", state="no")
        yield from self.may(descriptors="1024", loadavg="no", nice="0", netlink="1")
        yield from same("failing", say(BAD), b"failed\n")
        told = self.machine.must(
            *("journalctl", "--no-pager", "--output=cat", f"--unit={self.service.name}"),
            *("REPLYD_SERVICE=bad", "--priority=warning"),
        )
        yield from same("journal", told.strip(), f"{FAILED} service=bad how=\"exit status 7\" unsaid=0 stderr=why")
        yield from self.ended_by_timeout()

    def opened(self):
        """With part 1 of commands.conf, what monitoring wants; with part 3, what it names."""
        self.fresh(drop_in(1))
        yield from self.may(user="replyd", setuid="replyd", capabilities=NONE, etc="no", state="no")
        yield from self.may(descriptors="1024", loadavg=".", nice="5", netlink="0")
        one_by_one = drop_in(3).partition("# ── 3: ")[2]
        self.fresh(f"[Service]\n#{one_by_one}")
        yield from self.may(user="replyd", loadavg="no", etc="no", state="")
        groups = self.looked()["groups"].split()
        if "adm" not in groups:
            yield f"its groups are {groups}"

    def switched(self):
        """With part 2 of commands.conf, a command is who its service says, and ends as any other."""
        self.fresh(drop_in(2), user=ANYONES)
        yield from self.may(user=ANYONES, setuid=ANYONES, capabilities=NONE, groups="nogroup", etc="no")
        yield from self.may(loadavg=".", nice="5", netlink="0")
        if may_limit_others():
            yield from self.may(descriptors="1024")
        else:
            self.lifecycle.note("its limit of descriptors is not looked at: no CAP_SYS_RESOURCE on this machine")
        yield from self.ended_by_timeout()
        self.service.systemctl("restart", self.service.name)
        yield from self.may(user=ANYONES)

    def ended_by_timeout(self):
        """One that takes no SIGTERM, in several sessions: nothing is left of it."""
        yield from same("over its time", say(STUBBORN), b"timed out\n")
        wait_until(lambda: len(self.service.processes()) == 1, SETTLE_SECONDS, "replyd is alone")

    def stopped(self):
        """A stop with commands running: who is in time gets an answer, and replyd itself ends the rest."""
        for title, text, user in (("shipped", None, ""), ("each its own user", drop_in(2), ANYONES)):
            self.fresh(text, user)
            found = []
            clients = [threading.Thread(target=lambda addr=addr: found.append(asked(addr))) for addr in (SLOW, ENDLESS)]
            for client in clients:
                client.start()
            are_there = lambda: len(self.service.processes()) >= 1 + 2 + STUBBORN_PROCESSES  # noqa: E731
            wait_until(are_there, SETTLE_SECONDS, "the commands run")
            group = self.machine.path(f"/sys/fs/cgroup{self.service.property('ControlGroup')}")
            said = len(self.service.log())
            self.service.stop()
            for client in clients:
                client.join()
            yield from same(f"{title}: answers", sorted(found), [b"abandoned", b"done\n"])
            yield from same(f"{title}: result", self.service.property("Result"), "success")
            if group.exists():
                yield f"{title}: its control group is still there"
            lines = self.service.log()[said:].splitlines()
            yield from (f"{title}: {line}" for line in lines if "Killing process" in line)

    def groups(self):
        """(title, faults)."""
        return [
            ("commands: the shipped unit", self.shipped),
            ("commands: commands.conf", self.opened),
            ("commands: each as a user of its own", self.switched),
            ("commands: stop while they run", self.stopped),
        ]
