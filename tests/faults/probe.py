"""The good client: one exchange after the other at a steady rate, a connection each, in a process of its own.

Standard library only.
"""

import collections
import multiprocessing
import time

from faults.servers import REQUEST, exchange, is_reply
from peers import RATE, Workers
from replyd import wait_until

TIMEOUT_SECONDS = 5  # for one exchange
COLLECT_SECONDS = 60


class Seen(collections.namedtuple("Seen", "latencies faults")):
    """What it has seen: latencies in seconds, by the order in which they were due; {fault: count}."""

    @property
    def done(self):
        """Exchanges, the failed ones too."""
        return len(self.latencies)

    @property
    def failed(self):
        """How many."""
        return self.faults.total()

    def quantile(self, part):
        """In milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000

    @property
    def p50(self):
        """In milliseconds."""
        return self.quantile(0.5)

    @property
    def p99(self):
        """In milliseconds."""
        return self.quantile(0.99)

    @property
    def longest(self):
        """In milliseconds."""
        return max(self.latencies) * 1000

    def line(self):
        """For people."""
        first = f" (first: {next(iter(self.faults))})" if self.faults else ""
        times = f"p50 {shown(self.p50)}, p99 {shown(self.p99)}, max {shown(self.longest)} ms"
        return f"{self.failed} of {self.done} good exchanges failed{first}, {times}"


def shown(number):
    """With two decimals where it is small."""
    return f"{number:.2f}" if number < 10 else f"{number:.0f}"


def good_client(addr, request, is_wanted, source, rate, started, is_over, results):
    """Client process. An exchange that comes late because the one before took long has waited since it was due."""
    latencies, faults = [], collections.Counter()
    began, number = time.monotonic(), 0
    while not is_over.is_set():
        due = began + number / rate
        number += 1
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)  # the rate, not a synchronisation
            due = time.monotonic()
        try:
            received = exchange(addr, request, TIMEOUT_SECONDS, source)
            if not is_wanted(received):
                faults[f"got {received[:60]!r}, {len(received)} bytes"] += 1
        except OSError as error:
            faults[f"{type(error).__name__}: {error}"] += 1
        latencies.append(time.monotonic() - due)
        started.set()
    results.put((latencies, faults))


class Probe:
    """`with Probe(addr) as probe:` it is at work; `probe.end()` is what it has seen.

    `is_wanted(received)` says whether a reply is right; `source` is an address to come from.
    """

    def __init__(self, addr, request=REQUEST, is_wanted=is_reply, source=None, rate=RATE):
        self.started, self.is_over = multiprocessing.Event(), multiprocessing.Event()
        self.workers = Workers(1, good_client, addr, request, is_wanted, source, rate, self.started, self.is_over)

    def __enter__(self):
        self.workers.__enter__()
        wait_until(self.started.is_set, COLLECT_SECONDS, "the good client has begun")
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.workers.__exit__()

    def end(self):
        """Ends it."""
        self.is_over.set()
        [(latencies, faults)] = self.workers.collect(COLLECT_SECONDS)
        return Seen(latencies, faults)


def watch(addr, seconds, **options):
    """What the good client sees for so long."""
    with Probe(addr, **options) as probe:
        time.sleep(seconds)  # what is measured
        return probe.end()
