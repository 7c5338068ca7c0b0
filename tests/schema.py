#!/usr/bin/env python3
"""The schema in packaging/, as an editor takes it: by tombi, the language server of many of them.

It must find nothing in a configuration that replyd takes, and something in every line in which replyd
finds a wrong key or value. Rules that take two keys are replyd's alone.

    tests/schema.py REPLYD TOMBI
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "packaging/server.schema.json"
FIXTURES = ROOT / "tests/it/check"

GOOD = [ROOT / "server.toml", *sorted(ROOT.glob("packaging/examples/*/*.toml"))]
GOOD += [FIXTURES / name for name in ("machine.toml", "meant.toml", "no-service.toml")]

BAD = ("addresses", "headers", "keys", "numbers", "requests", "tables")

# What a line of a fixture says that only replyd can refuse.
BEYOND = "# beyond the schema"


def lines_of_tombi(tombi: str, path: Path) -> dict[int, str]:
    """What tombi says of a file, by line."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as copy:
        text = path.read_text().removeprefix("#:schema packaging/server.schema.json\n")
        shift = 1 if text == path.read_text() else 0
        copy.write(f"#:schema file://{SCHEMA}\n{text}")
        copy.flush()
        command = [tombi, "lint", "--offline", "--no-cache", copy.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    found = re.findall(r"Error: (.*)\n +at \S+?:(\d+):\d+", said)
    if bool(found) != (done.returncode != 0):
        sys.exit(f"tombi ended with {done.returncode} and said:\n{said}")
    return {int(line) - shift: message for message, line in found}


def lines_of_replyd(replyd: str, path: Path) -> dict[int, str]:
    """What replyd says of a file, by line."""
    command = [replyd, "check", "--offline", "--format", "json", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    faults = json.loads(done.stdout)["faults"]
    return {fault["line"]: fault["message"] for fault in faults if fault["severity"] == "error"}


def main() -> None:
    replyd, tombi = sys.argv[1:]
    wrong = []
    for path in GOOD:
        for line, message in lines_of_tombi(tombi, path).items():
            wrong.append(f"{path}:{line}: replyd takes it, the schema does not: {message}")
    refused = 0
    for path in (FIXTURES / f"{name}.toml" for name in BAD):
        text = path.read_text().splitlines()
        told = lines_of_tombi(tombi, path)
        for line, message in lines_of_replyd(replyd, path).items():
            refused += line in told
            if (line in told) == (BEYOND in text[line - 1]):
                verb = "refuses this now" if line in told else "takes this"
                wrong.append(f"{path}:{line}: the schema {verb}: {message}")
    print("\n".join(wrong) or f"{len(GOOD)} files taken, {refused} lines refused")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
