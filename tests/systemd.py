#!/usr/bin/env -S python3 -B
"""replyd under a real systemd: PID 1 of a machine of its own, over a throw-away overlay of this one. Takes root.

    cargo build --release && tests/systemd.py       # --full: the figures that a release has to show

Starts, reloads, restarts, crashes, wedges and stops replyd as a service with the shipped unit, under load and
without, and says how many connections that cost: none. This machine is left as it was, which is checked too.
Standard library only.
"""

import argparse
import signal
import sys

sys.dont_write_bytecode = True

from lab import package  # noqa: E402: after the switch above
from lab.commands import Commands  # noqa: E402
from lab.figures import Figures  # noqa: E402
from lab.lifecycle import Lifecycle  # noqa: E402
from lab.machine import Host, Machine, obstacle  # noqa: E402
from lab.sandbox import TARGET, Sandbox  # noqa: E402
from lab.service import Service  # noqa: E402
from replyd import ROOT, Failure, Report  # noqa: E402

QUICK = (3, 20_000)  # rounds, connections
FULL = (10, 150_000)
LOG_LINES = 30  # of a group that failed


def check(report, rounds, connections, only):
    """Every group of checks, each area on a machine of its own."""
    for area in (by_hand, sandboxed, packaged):
        with Machine(show=(ROOT, TARGET)) as machine:
            service = Service(machine)
            for title, faults in area(service, report, rounds, connections):
                if only in title:
                    run(report, title, faults, service)


def run(report, title, faults, service):
    """One group; if it fails, the end of the log too."""
    before = report.failed
    report.group(title, faults())
    if report.failed > before:
        print("     log: " + "\n          ".join(service.log().splitlines()[-LOG_LINES:]), flush=True)


def by_hand(service, report, rounds, connections):
    """replyd and the shipped unit, put there without a package."""
    service.install()
    lifecycle = Lifecycle(service, report)
    return lifecycle.groups() + Commands(lifecycle).groups() + Figures(lifecycle, rounds, connections).groups()


def sandboxed(service, report, *_):
    """The integration tests."""
    return Sandbox(service, report).groups()


def packaged(service, report, *_):
    """The package."""
    why_not = package.obstacle()
    if why_not:
        report.skip("package", why_not)
        return []
    return package.Package(service, report).groups()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="10 rounds of each over 150,000 connections")
    parser.add_argument("only", nargs="?", default="", help="words of the titles of the groups to run")
    arguments = parser.parse_args()
    # So that an end from outside still ends our machine.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report = Report()
    why_not = obstacle()
    if why_not:
        report.skip("systemd", why_not)
        return report.finish()
    host = Host()
    try:
        check(report, *(FULL if arguments.full else QUICK), arguments.only)
    except (Failure, OSError) as error:
        report.group("setup", iter([f"{type(error).__name__}: {error}"]))
    report.group("this machine is as it was", host.faults())
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
