"""The integration tests, and so a server for each of them, inside the shipped unit's sandbox.

The unit is the shipped one with another ExecStart. Standard library only.
"""

import json
import os
import pathlib
import re
import subprocess

from lab.service import ETC, UNIT
from replyd import ROOT, Failure

NAME = "replyd-tests.service"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BUILD_SECONDS = 1800
TEST_SECONDS = 600
LOG_CHARACTERS = 20_000

# What is no sandbox, but how a service is started, told, watched and stopped.
HOW = re.compile(
    r"^(Type|NotifyAccess|Exec\w+|SuccessExitStatus|Restart\w*|WatchdogSec|TimeoutStopSec|KillMode|"
    r"FileDescriptorStoreMax|Environment)="
)
SUMMARY = re.compile(r"test result: .*")


def test_binary():
    """The integration tests' executable, built if need be."""
    command = ("cargo", "test", "--no-run", "--test", "it", "--message-format=json")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=BUILD_SECONDS, check=False)
    for line in done.stdout.decode().splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == "it":
            return message["executable"]
    raise Failure(f"no test binary: {done.stderr.decode()[-2000:]}")


def unit(binary):
    """The shipped unit around that binary."""
    lines = UNIT.read_text(encoding="utf-8").partition("[Service]")[2].partition("[Install]")[0].splitlines()
    sandbox = [line for line in lines if line and not line.startswith("#") and not HOW.match(line)]
    if ROOT.is_relative_to("/home") or ROOT.is_relative_to("/root"):
        # As empty as with `yes`, but for what is bound below.
        sandbox = [line.replace("ProtectHome=yes", "ProtectHome=tmpfs") for line in sandbox]
    run = [
        "Type=oneshot",
        f"ExecStart={binary} --color never",
        # Where the sources and the binaries are.
        f"BindReadOnlyPaths={ROOT} {TARGET}",
        # As cargo does it.
        f"WorkingDirectory={ROOT}",
    ]
    return "\n".join(["[Service]", *run, *sandbox]) + "\n", len(sandbox)


class Sandbox:
    """The check."""

    def __init__(self, service, report):
        self.machine = service.machine
        self.report = report

    def tests(self):
        """Every test passes in there."""
        text, properties = unit(test_binary())
        self.machine.write(f"{ETC}/{NAME}", text)
        self.machine.must("systemctl", "daemon-reload")
        done = self.machine.run("systemctl", "start", NAME, timeout=TEST_SECONDS)
        log = self.machine.must("journalctl", "--no-pager", "--output=cat", f"--unit={NAME}")
        summary = SUMMARY.search(log)
        self.report.note(f"{properties} properties; {summary.group() if summary else 'no result'}")
        if done.code != 0 or summary is None:
            yield (log.partition("\nfailures:\n")[2] or log)[-LOG_CHARACTERS:]

    def groups(self):
        """(title, faults)."""
        return [("the integration tests inside the unit's sandbox", self.tests)]
