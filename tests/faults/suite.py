"""The registry of faults, and what runs one: figures, judgements, a line for people.

A fault is a function that gets a `Bench`. It puts servers under a fault, says figures of each, and judges replyd's;
it may also yield faults, as text. Standard library only.
"""

import collections
import contextlib
import inspect
import os
import shutil
import subprocess
import time

from faults import servers
from replyd import Failure

ROOM = 10  # times a target that a time may take before it is a failure
SHOWN_MAX = 20  # faults of one test that are printed

# Verdicts.
MET = "met"
MISSED = "missed"
FAILED = "failed"
SKIPPED = "skipped"
NOT_COMPARABLE = "not comparable"

Fault = collections.namedtuple("Fault", "number title target quick programs act")

# `figures`: {server: text}; `why` is for a verdict that needs a reason; `seconds` is what it took.
Result = collections.namedtuple("Result", "fault verdict figures why seconds")

FAULTS = []


class Skip(Exception):
    """This can't be shown here: why."""


def fault(number, title, target, quick=True, programs=()):
    """Registers a function as what shows fault `number`. A number may have several, of different titles."""

    def register(act):
        FAULTS.append(Fault(number, title, target, quick, programs, act))
        return act

    return register


def in_order():
    """Those that are registered, by number."""
    return sorted(FAULTS, key=lambda each: int(each.number[1:]))


class Bench:
    """What a fault's function gets: servers, and somebody to tell figures and faults to."""

    def __init__(self, options):
        self.options = options
        self.is_quick = options.quick
        self.figures = {}
        self.faults = []
        self.missed = []
        self.why_not_comparable = ""

    # ── Servers ──

    def names(self):
        """The servers that take part: replyd, and in a whole run those that it is compared with."""
        others = [] if self.is_quick else [name for name in servers.OTHERS if shutil.which(name)]
        return ["replyd", *others]

    def serve(self, name, **options):
        """A server of `names()`, each the equal of the others; see `servers.OTHERS`."""
        if name == "replyd":
            return self.replyd(servers.config(**options))
        return servers.OTHERS[name](**options)

    @contextlib.contextmanager
    def replyd(self, config=None, **options):
        """A replyd, which is looked at afterwards: see `servers.Replyd.epilogue`."""
        with servers.Replyd(servers.config() if config is None else config, **options) as server:
            server.remember()
            yield server
            self.faults.extend(server.epilogue())

    # ── Figures and judgements ──

    def figure(self, text, server="replyd"):
        """Says what has been measured."""
        self.figures.setdefault(server, []).append(text)

    def check(self, is_good, text):
        """A fault, unless it is good."""
        if not is_good:
            self.faults.append(text)

    def equal(self, what, got, wanted):
        """A fault, unless they are equal."""
        self.check(got == wanted, f"{what}: {got!r}, not {wanted!r}")

    def within(self, what, value, target, unit="", room=ROOM):
        """Of what others at work on this machine can make worse: over the target is missed, and far over it a fault."""
        text = f"{what}: {value:.4g}{unit}, target {target:g}{unit}"
        if value > target * room:
            self.faults.append(text)
        elif value > target:
            self.missed.append(text)

    def at_least(self, what, value, target, unit="", room=ROOM):
        """The same of what is better the more it is."""
        text = f"{what}: {value:.4g}{unit}, target {target:g}{unit}"
        if value < target / room:
            self.faults.append(text)
        elif value < target:
            self.missed.append(text)

    def not_comparable(self, why):
        """What has been measured is not what the target asks for."""
        self.why_not_comparable = why


def run(chosen, options):
    """Runs them one by one: the results."""
    results = []
    began = time.monotonic()
    for each in chosen:
        if options.quick and not each.quick:
            continue
        result = run_one(each, options)
        show(result)
        results.append(result)
    counts = collections.Counter(result.verdict for result in results)
    said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    print(f"{len(results)} faults in {time.monotonic() - began:.0f} s: {said}")
    return results


def run_one(each, options):
    """The result of one."""
    missing = [program for program in each.programs if not shutil.which(program)]
    if missing:
        return Result(each, SKIPPED, {}, [f"{missing[0]} is not installed"], 0.0)
    if os.geteuid() != 0:
        return Result(each, SKIPPED, {}, ["takes root"], 0.0)
    bench, began = Bench(options), time.monotonic()
    try:
        if inspect.isgeneratorfunction(each.act):
            bench.faults.extend(each.act(bench))
        else:
            each.act(bench)
    except Skip as skip:
        return Result(each, SKIPPED, {}, [str(skip)], time.monotonic() - began)
    except (Failure, OSError, EOFError, LookupError, ValueError, subprocess.SubprocessError) as error:
        bench.faults.append(f"{type(error).__name__}: {error}")
    seconds = time.monotonic() - began
    if bench.faults:
        verdict, why = FAILED, bench.faults
    elif bench.why_not_comparable:
        verdict, why = NOT_COMPARABLE, [bench.why_not_comparable]
    else:
        verdict, why = (MISSED if bench.missed else MET), bench.missed
    figures = {server: "; ".join(texts) for server, texts in bench.figures.items()}
    return Result(each, verdict, figures, why, seconds)


def show(result):
    """A line, and below it what others did and what is wrong."""
    word = {FAILED: "FAIL", SKIPPED: "skip"}.get(result.verdict, "ok  ")
    said = result.why[0] if result.verdict == SKIPPED else result.figures.get("replyd", "no figure")
    print(f"{word} {result.fault.number} {result.fault.title}: {said} ({result.seconds:.0f} s)", flush=True)
    below = [f"{server}: {text}" for server, text in result.figures.items() if server != "replyd"]
    if result.verdict != SKIPPED:
        below += [f"{result.verdict}: {text}" for text in result.why[:SHOWN_MAX] if result.verdict != MET]
    if len(result.why) > SHOWN_MAX:
        below.append(f"and {len(result.why) - SHOWN_MAX} more")
    for line in below:
        print("     " + line.replace("\n", "\n     "), flush=True)
