"""Faults that other scripts and tests show: run from here, their figures taken from what they say.

A whole run alone runs them; tests/run has each as a step of its own. Standard library only.
"""

import os
import pathlib
import re
import subprocess

from faults.suite import Skip, fault
from replyd import ROOT

MINUTES_MAX = 40
CLEAN_UP_SECONDS = 60
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LOOM = {
    "RUSTFLAGS": "--cfg replyd_loom",
    "CARGO_TARGET_DIR": str(TARGET / "loom"),
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
}
RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed", re.MULTILINE)
SUMMARY = re.compile(r"^\d+ passed, \d+ failed, \d+ skipped$", re.MULTILINE)
SCORE = re.compile(r"exposure level.*?: ([\d.]+)")
PEERS = ROOT / "benches/results/peers.md"
PEER_ROW = re.compile(r"^\| 64 clients \| server CPU, replyd-http : nginx-http \| (\S+) \| (.*?) \|", re.MULTILINE)
PEER_DATE = re.compile(r"^- (date|revision): (.*)$", re.MULTILINE)
CPU_RATIO_MAX = 1.1  # server CPU an exchange, to nginx


def run(command, **environment):
    """(exit code, what it said). It ends when we do, and cleans up."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said, _ = process.communicate(timeout=MINUTES_MAX * 60)
    except BaseException:
        process.terminate()
        process.communicate(timeout=CLEAN_UP_SECONDS)
        raise
    return process.returncode, said


def judge(bench, command, code, said):
    """Its exit code; the end of what it said, if it failed."""
    bench.check(code == 0, f"{' '.join(command)}: exit {code}:\n{said[-2000:]}")


def cargo(bench, arguments, filters, is_there=True, **environment):
    """Tests of these names. `is_there`: that there is none is a failure."""
    command = ["cargo", "test", "--quiet", *arguments, "--", *filters]
    code, said = run(command, **environment)
    judge(bench, command, code, said)
    passed = sum(int(count) for count, _ in RESULT.findall(said))
    if not passed and code == 0 and not is_there:
        raise Skip(f"there is no test of that name so far: {' '.join(filters)}")
    bench.check(passed > 0, f"{' '.join(command)}: no test has run")
    bench.figure(f"{passed} tests passed: `{' '.join(command)}`")


def script(bench, *command):
    """A script of ours, which notes its figures below each group's line."""
    code, said = run(["python3", *command])
    judge(bench, command, code, said)
    # Of one that has failed, what is wrong is among them.
    notes = [line.strip() for line in said.splitlines() if line.startswith("     ")] if code == 0 else []
    summary = SUMMARY.findall(said)
    bench.check(bool(summary), f"{' '.join(command)}: it doesn't say how many passed")
    bench.figure("; ".join([*notes, *summary, f"`{' '.join(command)}`"]))


def by_cargo(
    number, title, target, *filters, arguments=("--test", "it"), is_there=True, programs=("cargo",), **environment
):
    """Registers a fault that tests of cargo show."""

    @fault(number, title, target, quick=False, programs=programs)
    def act(bench):
        cargo(bench, arguments, filters, is_there, **environment)


def by_script(number, title, target, *command, programs=()):
    """Registers a fault that a script shows."""

    @fault(number, title, target, quick=False, programs=programs)
    def act(bench):
        script(bench, *command)


by_cargo(
    "F35", "bad reloads: faults, an address in use, a file that is gone, a reading that panics",
    "the old configuration stays, the error is told", "reload::", "process::a_file_that_is_gone",
)  # fmt: skip
by_script(
    "F36", "restarts under a real systemd, its descriptor store", "0 failed of 150,000, none waits > 1 s",
    "tests/systemd.py", "--full", "restarts under load", programs=("systemctl",),
)  # fmt: skip
by_script(
    "F37", "crashes under a real systemd, its descriptor store", "only connections in its hands are lost",
    "tests/systemd.py", "--full", "crashes under load", programs=("systemctl",),
)  # fmt: skip
by_cargo("F38", "starts that are refused", "exit code and one clear line, before it is ready", "startup::")
by_cargo("F39", "sd_notify, by a fake manager", "READY, RELOADING, READY, STOPPING; beats are earned", "systemd::")
by_script(
    "F39", "watchdog under a real systemd", "a wedged process is started again",
    "tests/systemd.py", "wedged", programs=("systemctl",),
)  # fmt: skip
by_script(
    "F42", "the integration tests inside the unit's sandbox", "same results",
    "tests/systemd.py", "sandbox", programs=("systemctl",),
)  # fmt: skip
by_script(
    "F43", "commands past their timeout, with grandchildren", "answered ≤ timeout + 100 ms, groups gone",
    "tests/commands.py", "ignores-term", "forks", "leaves-session", "leaves-parents",
)  # fmt: skip
by_script(
    "F44", "commands that flood, read nothing, close stdout", "cut off, memory flat",
    "tests/commands.py", "floods", "reads-nothing", "closes-stdout", "keys",
)  # fmt: skip
by_cargo(
    "F45",
    "what a command inherits",
    "descriptors 0, 1, 2; no variable of ours, no blocked signal",
    "command::surroundings",
)
by_cargo(
    "F46",
    "requests that look like options or shell",
    "one argument, never an option, never a shell",
    "command::questions",
)
by_script(
    "F47",
    "a crowd that waits for a command",
    "plain replies unaffected: p99 ≤ 3 × that alone",
    "tests/commands.py",
    "crowd",
)
by_cargo("F48", "clients that leave during a command", "killed and reaped", "command::ends")
by_cargo(
    "F49",
    "loom: every interleaving of the wake-up flag",
    "no lost wake-up",
    "bell",
    arguments=("--release", "--lib"),
    **LOOM,
)
by_cargo(
    "F51",
    "simulation: one seed drives clock, sockets and threads",
    "no promise broken",
    "simulation",
    arguments=(),
    is_there=False,
)
by_cargo("F52", "fuzzing: the corpus", "no crash", "fuzz", arguments=(), is_there=False)
by_script(
    "F53",
    "what an exchange costs, in counts",
    "≤ 7 system calls; instructions as recorded",
    "tests/cost.py",
    programs=("valgrind",),
)
by_cargo("F53", "heap allocations of an exchange", "0 after warm-up", arguments=("--test", "cost"))


@fault(
    "F42",
    "the units, offline",
    "security score ≤ 1.5; every call within the filter",
    quick=False,
    programs=("systemd-analyze",),
)
def units(bench):
    code, said = run(["tests/units"])
    judge(bench, ["tests/units"], code, said)
    bench.figure(f"exposure level {', '.join(SCORE.findall(said)) or 'not said'}: `tests/units`")


@fault("F50", "shuttle: 10,000 schedules of acceptor, workers and stop", "no lost connection", quick=False)
def schedules(_bench):
    raise Skip(
        "loom goes through every interleaving of the one primitive of ours, F49; the channels are crossbeam's, "
        "which shuttle can't see into"
    )


@fault("F54", "server CPU of an exchange over HTTP, 64 clients", f"≤ {CPU_RATIO_MAX} × nginx's", quick=False)
def compared(bench):
    text = PEERS.read_text(encoding="utf-8")
    ratio, interval = PEER_ROW.search(text).groups()
    when = ", ".join(value for _, value in PEER_DATE.findall(text))
    bench.figure(
        f"{ratio} × [{interval}], median of interleaved rounds of {when}: benches/results/peers.md, by `benches/run peers`"
    )
    bench.check(float(ratio) <= CPU_RATIO_MAX, f"{ratio} × nginx's")
