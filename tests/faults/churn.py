"""F32: everything at once, for long. Memory, descriptors and threads are the same after it.

Standard library only.
"""

import collections
import contextlib
import time

from faults import suite
from faults.attackers import Crowd, Manner
from faults.leaving import STAGES, large
from faults.load import Ask, Load
from faults.network import Network
from faults.servers import BODY, REQUEST

PHASE_SECONDS = 30  # at most; at its end all leave, and what is left is looked at
PHASES_MIN = 5
WARM_PART = 0.3  # of the phases, at the begin: pages that stay with the server
GOOD_RATE = 200
RESET_RATE = 50  # of each stage
SLOW = 150  # of each kind
MEMORY_PART = 0.01
MEMORY_BYTES = 256 * 1024  # or so much, where a part is less than the allocator's pages
TIMEOUT_SECONDS = 20
BUSY_PART = 0.01
GOOD = Ask(REQUEST, {"replied": (b"HTTP/1.1 200 ", BODY), "busy": (b"HTTP/1.1 503 ", b"")}, TIMEOUT_SECONDS)
SLOW_MANNERS = {
    "hello": [
        Manner(opening=b"GET / HTTP/1.1\r\nX: ", piece=b"a", pause=0.5),
        Manner(opening=b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n", piece=b"a", pause=0.5),
        Manner(),
    ],
    "large": [Manner(opening=b"you\n", receive_buffer=2048, reads=False)],
}

Sample = collections.namedtuple("Sample", "seconds memory fds threads")


@suite.fault(
    "F32",
    "churn: good exchanges, resets of every stage, slow requests, slow readers",
    "30 min: memory flat (< 1 % after warm-up), descriptors and threads the same; no good exchange lost, ≤ 1 % busy",
    programs=("ip",),
)
def churn(bench):
    """In phases; between them all is at rest, and can be compared."""
    seconds = bench.options.churn_seconds
    phases = max(PHASES_MIN, round(seconds / PHASE_SECONDS))
    ends, resets, rest = collections.Counter(), 0, []
    with Network(), large(bench, 8192) as server:
        began = time.monotonic()
        while len(rest) < phases:
            good, gone = phase(server, seconds / phases)
            ends += good
            resets += gone
            server.wait_for_rest()
            server.wait_for_few_fds()
            rest.append(Sample(time.monotonic() - began, server.own_memory(), server.fds(), server.threads()))
        warm = rest[round(WARM_PART * phases) :]
        grown, first = warm[-1].memory - warm[0].memory, warm[0].memory
        bench.figure(
            f"{ends.total()} good exchanges ({dict(ends)}), {resets} resets, "
            f"{phases * SLOW * 4} slow ones in {rest[-1].seconds:.0f} s; "
            f"memory at rest {first / 1e6:.2f} MB, slope {slope(warm):+.1f} KiB a minute, {grown / first:+.2%} in all; "
            f"descriptors {sorted({each.fds for each in warm})}, threads {sorted({each.threads for each in warm})}"
        )
        # Where others keep the processors busy, somebody may wait for longer than is aimed at.
        bench.check(set(ends) <= {"replied", "busy"}, f"good exchanges: {dict(ends)}")
        bench.check(ends["busy"] <= BUSY_PART * ends.total(), f"{ends['busy']} of {ends.total()} busy")
        bench.check(grown <= max(MEMORY_PART * first, MEMORY_BYTES), f"memory at rest has grown by {grown} bytes")
        for what in ("fds", "threads"):
            seen = {getattr(each, what) for each in rest}
            bench.check(len(seen) == 1, f"{what} at rest: {sorted(seen)}")


def phase(server, seconds):
    """({ending: count} of good exchanges, how many were reset), after so long."""
    with contextlib.ExitStack() as stack:
        for service, manners in SLOW_MANNERS.items():
            for manner in manners:
                stack.enter_context(Crowd(server.service_addr(service), manner, SLOW, processes=1))
        leaving = []
        for number, stage in enumerate(STAGES):
            ask = Ask(b"you\n", {}, TIMEOUT_SECONDS, leaves=stage)
            load = Load(server.service_addr("large"), ask, RESET_RATE, seconds, network=f"127.0.{3 + number}")
            leaving.append(stack.enter_context(load))
        good = stack.enter_context(Load(server.addr, GOOD, GOOD_RATE, seconds))
        return good.tally().endings(), sum(each.tally().endings()["left"] for each in leaving)


def slope(samples):
    """Of memory over time, by least squares: KiB a minute."""
    count = len(samples)
    mean_x, mean_y = sum(each.seconds for each in samples) / count, sum(each.memory for each in samples) / count
    spread = sum((each.seconds - mean_x) ** 2 for each in samples)
    rise = sum((each.seconds - mean_x) * (each.memory - mean_y) for each in samples)
    return rise / spread / 1024 * 60
