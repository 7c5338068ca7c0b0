"""Reloads, restarts and crashes under load: how many connections, how many failed, how long the longest wait.

Standard library only.
"""

import re
import signal

from lab.load import LOOPS, PROCESSES, SLOW_BYTES, Load
from lab.service import SLOW
from replyd import wait_until

ROUND_SECONDS = 60
IN_HAND_MAX = LOOPS * PROCESSES + 1  # connections that a crash can cut: all of them, and the slow reader
LOST = re.compile(r"reset by peer|Broken pipe|cut: |bytes of")


class Figures:
    """`rounds` of each, over at least `connections`."""

    def __init__(self, lifecycle, rounds, connections):
        self.lifecycle = lifecycle
        self.service = lifecycle.service
        self.rounds = rounds
        self.connections = connections

    def under_load(self, title, act):
        """Does it again and again in the middle of the load; (figures, faults of `act`)."""
        self.lifecycle.fresh()
        digest = self.service.write_slow(SLOW_BYTES)
        faults = []
        with Load(self.service.addrs(), SLOW, digest) as load:
            part = self.connections // (self.rounds + 1) + 1
            for number in range(self.rounds):
                load.wait_for(part, ROUND_SECONDS)
                faults.extend(act(number))
            load.wait_for(part, ROUND_SECONDS)
            figures = load.end()
        self.lifecycle.note(f"{self.rounds} {title}: {figures.line()}")
        return figures, faults

    def judged(self, title, act):
        """The same, where nobody may fail or wait too long."""
        figures, faults = self.under_load(title, act)
        yield from faults
        yield from figures.judged()
        if figures.done < self.connections:
            yield f"only {figures.done} connections"

    def reloads(self):
        """`systemctl reload`, each with another configuration."""

        def act(number):
            self.service.configure(f"reload-{number}")
            self.service.systemctl("reload", self.service.name)
            self.lifecycle.wait_for_mark(f"reload-{number}")
            return []

        yield from self.judged("reloads", act)
        restarts = self.service.property("NRestarts")
        if restarts != "0":
            yield f"{restarts} restarts"

    def restarts(self):
        """`systemctl restart`, without any socket unit."""

        def act(_):
            pid = self.service.pid()
            self.service.systemctl("restart", self.service.name)
            return [] if self.service.pid() not in (0, pid) else ["still the same process"]

        yield from self.judged("restarts", act)
        if "abandoned=0" not in self.service.log():
            yield "the log doesn't say that none was abandoned"

    def crashes(self):
        """SIGKILL: only what was in its hands is lost, and nobody is refused."""
        pids = []

        def act(_):
            pids.append(self.service.pid())
            self.service.systemctl("kill", "--kill-whom=main", f"--signal={int(signal.SIGKILL)}", self.service.name)
            is_new = lambda: self.service.pid() not in (0, *pids)  # noqa: E731
            wait_until(is_new, ROUND_SECONDS, "there is a new process")
            self.service.wait_for("ActiveState", "active")
            return []

        figures, faults = self.under_load("crashes", act)
        yield from faults
        lost = sum(count for fault, count in figures.faults.items() if LOST.search(fault))
        if lost > self.rounds * IN_HAND_MAX:
            yield f"{lost} lost in {self.rounds} crashes, more than were there"
        others = {fault: count for fault, count in figures.faults.items() if not LOST.search(fault)}
        yield from (f"{count} times {fault}" for fault, count in others.items())

    def groups(self):
        """(title, faults)."""
        return [
            (f"{self.rounds} reloads under load", self.reloads),
            (f"{self.rounds} restarts under load", self.restarts),
            (f"{self.rounds} crashes under load", self.crashes),
        ]
