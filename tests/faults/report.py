"""tests/FAULTS.md: one table of what a run has measured. What was not run keeps its line, which has its own date.

Standard library only.
"""

import datetime
import os
import pathlib
import re
import subprocess
import sys

from faults import servers, suite
from replyd import ROOT, samples

FILE = ROOT / "tests/FAULTS.md"
COLUMNS = ("", "fault", "replyd", "target", "met?", "nginx", "HAProxy", "measured")
PACKAGES = ("nginx", "haproxy", "strace", "slowhttptest", "hping3")
NOT_RUN = "not run"
ROW = re.compile(r"^\| (F\d+) \| (.*) \|$", re.MULTILINE)

HEAD = """# Faults and attacks: what was measured

Written by `python3 tests/faults --record`, and not by hand; each row says when, and with which revision. Last run:
`{command}`, on {machine}; {versions}.

*met?* is of what replyd did: met; **missed**, and by what; **not comparable**, where something else was measured than
the target asks for. A dash: that server was not measured. After each fault replyd had no panic in its log, as many
descriptors and threads as before, every connection counted, and answered a good request; where it did not, the row
says so.

"""


def record(results):
    """Writes the file anew."""
    former = read()
    stamp = f"{datetime.datetime.now(datetime.UTC):%F %H:%M}, {revision()}"
    measured = {key(result.fault): row(result, stamp) for result in results if result.verdict != suite.SKIPPED}
    why = {
        key(result.fault): f"{NOT_RUN}: {cell(result.why[0])}" for result in results if result.verdict == suite.SKIPPED
    }
    lines = []
    for fault in suite.in_order():
        said = why.get(key(fault), NOT_RUN)
        nothing = (fault.number, cell(fault.title), said, cell(fault.target), "", "", "", "")
        lines.append(measured.get(key(fault)) or former.get(key(fault)) or nothing)
    table = [COLUMNS, ("---",) * len(COLUMNS), *lines]
    text = head() + "".join(f"| {' | '.join(cells)} |\n" for cells in table)
    FILE.write_text(text, encoding="utf-8")
    print(f"written: {FILE.relative_to(ROOT)}")


def key(fault):
    """What a row is known by."""
    return fault.number, cell(fault.title)


def read():
    """{key: cells} of the file as it is, of the rows that were measured."""
    if not FILE.exists():
        return {}
    rows = [(number, *rest.split(" | ")) for number, rest in ROW.findall(FILE.read_text(encoding="utf-8"))]
    return {
        tuple(cells[:2]): cells for cells in rows if len(cells) == len(COLUMNS) and not cells[2].startswith(NOT_RUN)
    }


def row(result, stamp):
    """The cells of a result."""
    figures = {server: cell(text) for server, text in result.figures.items()}
    verdict = suite.MISSED if result.verdict == suite.FAILED else result.verdict
    if result.why:
        verdict = f"**{verdict}**: {cell('; '.join(result.why[:3]))}"
    fault = result.fault
    others = [figures.get(name, "–") for name in ("nginx", "haproxy")]
    return (fault.number, cell(fault.title), figures.get("replyd", "–"), cell(fault.target), verdict, *others, stamp)


def cell(text):
    """A text as a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def revision():
    """Of the binary that was measured: it says so itself."""
    with servers.Replyd(servers.config()) as server:
        [labels] = (dict(labels) for name, labels in samples(server.page()) if name == "replyd_build_info")
    return labels["revision"]


def head():
    """Where and with what."""
    command = " ".join(["python3 tests/faults", *sys.argv[1:]])
    return HEAD.format(command=command, machine=machine(), versions=versions())


def machine():
    """The processor, the kernel, and how busy it was."""
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    load = pathlib.Path("/proc/loadavg").read_text(encoding="ascii").split()[0]
    name = model[1] if model else "unknown"
    return f"{os.cpu_count()} × {name}, Linux {os.uname().release}, load average {load}, all over loopback"


def versions():
    """Of what took part."""
    shown = (f"{package} {output('dpkg-query', '--show', '--showformat=${Version}', package)}" for package in PACKAGES)
    return ", ".join(shown)


def output(*command):
    """The first line of what a program says; `unknown` if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
