#!/usr/bin/env -S python3 -B
"""Faults and attacks: what the kernel, clients and operators do to a server, and what comes of it.

    cargo build --release && python3 tests/faults --quick   # some minutes; replyd alone: what tests/run runs
    cargo build --release && python3 tests/faults           # everything, beside nginx and HAProxy in the same run

A line for each fault. What is counted has to be exact; a time that misses its target is said, and is a failure only beyond
ten times of it, as others may be at work on this machine. After each fault replyd has to be as it was before: its log
without a panic, as many descriptors and threads, every connection counted, a good request answered. --record writes what
a whole run has measured to tests/FAULTS.md. Takes root. Exit code 1 if anything failed. Standard library only.
"""

import argparse
import importlib
import pathlib
import signal
import sys

sys.dont_write_bytecode = True

FOLDER = pathlib.Path(__file__).resolve().parent
# In place of this folder: `faults` is a package beside the other scripts' modules.
sys.path[0] = str(FOLDER.parent)

from faults import report, suite  # noqa: E402: after the path above

CHURN_SECONDS = 1800
QUICK_CHURN_SECONDS = 20


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="replyd alone, and small numbers")
    parser.add_argument("--record", action="store_true", help="write tests/FAULTS.md; not of a quick run")
    parser.add_argument("--only", default="", metavar="F1,F3", help="these faults alone")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument(
        "--churn-seconds", type=float, help=f"of the churn; {CHURN_SECONDS}, quickly {QUICK_CHURN_SECONDS}"
    )
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn by chance")
    options = parser.parse_args()
    if options.record and options.quick:
        parser.error("a quick run is not recorded")
    if options.churn_seconds is None:
        options.churn_seconds = QUICK_CHURN_SECONDS if options.quick else CHURN_SECONDS
    # So that an end from outside still ends our processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Each registers its faults.
    for path in sorted(FOLDER.glob("*.py")):
        if path.stem != "__main__":
            importlib.import_module(f"faults.{path.stem}")
    only = {number for number in options.only.split(",") if number}
    unknown = only - {fault.number for fault in suite.FAULTS}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    chosen = [fault for fault in suite.in_order() if not only or fault.number in only]
    if options.list:
        for fault in chosen:
            print(f"{fault.number} {fault.title}{'' if fault.quick else ' (not in a quick run)'}: {fault.target}")
        return 0
    results = suite.run(chosen, options)
    if options.record:
        report.record(results)
    return 1 if any(result.verdict == suite.FAILED for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
