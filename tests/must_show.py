#!/usr/bin/env -S python3 -B
"""The figures that a release of replyd has to show. Run by hand, on the release binary; takes about 3 minutes:

    cargo build --release && tests/must_show.py             # --rounds 0.1 does a tenth

closes  1,000 exchanges of each kind that a careless close would destroy. Every reply must be whole and
        followed by a clean end: a reset is a failure, and so is anything cut.
crowd   A good client at 50 exchanges a second for 10 s: alone, and then beside 2,000 silent connections
        from 20 addresses, 3 times by turns. No failure, and a p99 within 3 times of the one alone.
stops   10 stops by SIGTERM under 32 clients in a closed loop, with and without TCP_DEFER_ACCEPT. A
        connection that was established must get its whole reply; who is refused, or not heard, after the
        stop, has its normal end. Exit code 0 each time.

After each of the first two /metrics must be at rest. Needs descriptors for the crowd, `ulimit -n 5000`.
Exit code 1 if a figure is missed. Standard library only.
"""

import argparse
import multiprocessing
import signal
import sys
import time

sys.dont_write_bytecode = True

import peers  # noqa: E402: after the switch above
from peers import HELLO, Workers  # noqa: E402
from replyd import Failure, Replyd, wait_until  # noqa: E402

PROCESSES = 4  # client processes; more would only compete with replyd for the machine
EXCHANGES = 1000
SILENT = 2000
SECONDS = 10
CROWD_TURNS = 3
STOPS = 10
LOOPING = 32
WARM_EXCHANGES = 3000  # under load before a stop
P99_RATIO_MAX = 3

MEGABYTE = bytes(range(256)) * 4096
AGENT = b"up ready 100%\n"

CONFIG = r"""
[admin]
listen = "127.0.0.1:0"
[[service]]
name = "hello"
listen = "127.0.0.1:0"
read = "line"
request_timeout_seconds = 120
@defer@
reply.text = "hello, {{ request }}\n"
[[service]]
name = "agent"
listen = "127.0.0.1:0"
read = "nothing"
reply.text = "up ready 100%\n"
[[service]]
name = "file"
listen = "127.0.0.1:0"
read = "line"
reply.file = "{folder}/file"
"""
DEFERS = {"default": "", "0": "defer_accept_seconds = 0"}


def replyd(defer="default"):
    """A server for the figures."""
    return Replyd(CONFIG.replace("@defer@", DEFERS[defer]))


KINDS = [
    ("100 unread bytes", "hello", peers.unread, HELLO),
    ("client half-closed", "hello", peers.half_closed, HELLO),
    ("1 MB, client half-closed", "file", peers.half_closed, MEGABYTE),
    ("1 MB, late reader", "file", peers.late_reader, MEGABYTE),
    ("nothing read, client sends", "agent", peers.talker, AGENT),
]


class Table:
    """What is printed at the end."""

    def __init__(self):
        self.rows = []
        self.is_good = True

    def add(self, what, figures, is_good):
        self.rows.append((what, figures, "ok" if is_good else "MISSED"))
        self.is_good &= is_good
        print(f"… {what}: {figures}", flush=True)

    def show(self):
        print()
        for what, figures, verdict in self.rows:
            print(f"{what:<42} {verdict:<7} {figures}")


def rest(server):
    """Whether /metrics gets to rest, as text and as a bool."""
    try:
        server.wait_for_rest()
        return "at rest", True
    except Failure as failure:
        return str(failure), False


def show_closes(table, rounds):
    """The four kinds of exchange."""
    each = max(1, round(EXCHANGES * rounds / PROCESSES))
    with replyd() as server:
        with open(f"{server.folder.name}/file", "wb") as file:
            file.write(MEGABYTE)
        for title, service, exchange, wanted in KINDS:
            began = time.monotonic()
            with Workers(PROCESSES, peers.exchanges, exchange, server.addr(service), wanted, each) as workers:
                faults = sum(workers.collect(), [])
            seconds = time.monotonic() - began
            how, is_at_rest = rest(server)
            example = f", first: {faults[0]}" if faults else ""
            figures = f"{each * PROCESSES} exchanges, {len(faults)} failed{example}; {seconds:.1f} s; {how}"
            table.add(f"closes: {title}", figures, not faults and is_at_rest)
        outcomes = server.outcomes()
        is_good = {outcome for _, outcome in outcomes} == {"replied"}
        table.add("closes: outcomes", ", ".join(f"{s} {o} {n}" for (s, o), n in outcomes.items()), is_good)


def quantile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def measure(addr, seconds):
    """(p50, p99, faults) of the good client; times in ms."""
    with Workers(1, peers.good_client, addr, seconds) as workers:
        latencies, faults = workers.collect()[0]
    return quantile(latencies, 0.5) * 1000, quantile(latencies, 0.99) * 1000, faults


def measure_beside(server, count, seconds):
    """The same in a crowd that has just come; and how many of it were accepted in the end."""
    ready, leave = multiprocessing.Event(), multiprocessing.Event()
    addr = server.addr("hello")
    with Workers(1, peers.crowd, addr, count, ready, leave) as workers:
        wait_until(lambda: ready.is_set() or workers.processes[0].exitcode is not None, 60, "the crowd is there")
        if not ready.is_set():
            raise Failure("the crowd could not connect; descriptors? ulimit -n 5000")
        measured = measure(addr, seconds)
        waiting = int(server.value("connections_waiting", service="hello", **{"for": "request"}))
        leave.set()
        workers.collect()
    return *measured, waiting


def show_crowd(table, rounds, defer):
    """The good client, alone and in the crowd, by turns.

    Others may be at work on this machine: of the client alone the best turn counts, beside the crowd the
    middle one. So noise can't make a bad figure good.
    """
    seconds, count = max(1, SECONDS * rounds), max(1, round(SILENT * rounds))
    alone, beside, at_rest = [], [], []
    with replyd(defer) as server:
        for _ in range(CROWD_TURNS):
            alone.append(measure(server.addr("hello"), seconds))
            beside.append(measure_beside(server, count, seconds))
            at_rest.append(rest(server))
    faults = sum((turn[2] for turn in alone + beside), [])
    ratio = sorted(turn[1] for turn in beside)[CROWD_TURNS // 2] / min(turn[1] for turn in alone)
    times = [" ".join(f"{turn[n]:.2f}" for turn in turns) for n in (0, 1) for turns in (alone, beside)]
    figures = (
        f"{count} silent ({min(turn[3] for turn in beside)} waiting at the end), {len(faults)} failed; "
        f"ms alone → beside: p50 {times[0]} → {times[1]}, p99 {times[2]} → {times[3]}, ratio {ratio:.2f}; {at_rest[-1][0]}"
    )
    is_good = not faults and ratio <= P99_RATIO_MAX and all(good for _, good in at_rest)
    table.add(f"crowd: defer_accept {defer}", figures, is_good)


def stop_once(defer):
    """(exchanges, faults, exit code, seconds) of one stop under load."""
    done, is_stopping = multiprocessing.Value("q", 0), multiprocessing.Event()
    with replyd(defer) as server:
        addr = server.addr("hello")
        with Workers(PROCESSES, peers.loops, addr, LOOPING // PROCESSES, done, is_stopping) as workers:
            wait_until(lambda: done.value >= WARM_EXCHANGES, 60, "the load is there")
            is_stopping.set()
            began = time.monotonic()
            server.terminate()
            code = server.wait()
            seconds = time.monotonic() - began
            faults = sum(workers.collect(), [])
        if "abandoned=0" not in server.log():
            faults.append("replyd says that it abandoned some")
    return done.value, faults, code, seconds


def show_stops(table, rounds, defer):
    """Stops under load."""
    stops = [stop_once(defer) for _ in range(max(1, round(STOPS * rounds)))]
    faults = sum((stop[1] for stop in stops), [])
    codes = sorted({stop[2] for stop in stops})
    example = f", first: {faults[0]}" if faults else ""
    figures = (
        f"{len(stops)} stops, {sum(stop[0] for stop in stops)} exchanges, {len(faults)} failed{example}; "
        f"exit codes {codes}; at most {max(stop[3] for stop in stops):.2f} s"
    )
    table.add(f"stops: defer_accept {defer}", figures, not faults and codes == [0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=float, default=1, help="0.1 does a tenth of everything")
    parser.add_argument("only", nargs="*", help="closes, crowd, stops; all if none is named")
    arguments = parser.parse_args()
    only = set(arguments.only) or {"closes", "crowd", "stops"}
    # So that an end from outside still ends our processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    table = Table()
    if "closes" in only:
        show_closes(table, arguments.rounds)
    for defer in DEFERS:
        if "crowd" in only:
            show_crowd(table, arguments.rounds, defer)
    for defer in DEFERS:
        if "stops" in only:
            show_stops(table, arguments.rounds, defer)
    table.show()
    return 0 if table.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
