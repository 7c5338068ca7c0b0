"""F27: more than can be done. As much as ever is done, the rest is told so at once, and what others ask for is no worse.

Standard library only.
"""

import collections
import multiprocessing
import os
import pathlib
import subprocess
import tempfile
import time
import typing

from faults import servers, suite
from faults.good import Elsewhere
from faults.load import Ask, Load, Tally, load
from faults.network import Network
from replyd import ROOT, Failure, samples, wait_until

TARGET_WAIT_SECONDS = 0.01  # the default of target_wait_seconds
MAX_WAIT_SECONDS = 0.5  # and of max_wait_seconds
# Some 3 ms of a processor, by the one worker: a text that takes long to fill in. The queue is as it is by default.
COSTLY = """
[workers]
threads = 1

[[service]]
name = "costly"
listen = "127.0.0.1:0"
read = "line"
reply.text = "{{% for i in range(100) %}}{{% set b = '{text}' | replace('x', 'yy') %}}{{% endfor %}}done\\n"
busy.text = "busy\\n"
""".format(text="x" * 2000)
REPLIES = {"replied": (b"done\n", b""), "busy": (b"busy\n", b"")}
COSTLY_ASK = Ask(b"x\n", REPLIES, timeout=10)
HTTP_REPLIES = {"replied": (b"HTTP/1.1 200 ", servers.BODY), "busy": (b"HTTP/1.1 503 ", b"")}
HELLO_ASK = Ask(servers.REQUEST, HTTP_REPLIES, timeout=10)
CALIBRATION = 200  # exchanges

FACTORS, QUICK_FACTORS = (0.5, 1, 2, 4, 10), (1, 4, 10)
FACTOR_SECONDS, QUICK_FACTOR_SECONDS = 10, 3
GOODPUT_PART = 0.9
GOODPUT_ROOM = 1.8  # times less is a failure: a collapse, not a busy machine
RECOVERY_SECONDS = 1
AFTERWARDS_SECONDS = 5
MOMENT_SECONDS = 0.25
BAD_PART = 0.2
LIGHT_PART = 0.25  # of the capacity
LATE_SECONDS = 0.1
LAG_SECONDS = 0.5
REASONS = ("queue_full", "queue_wait", "max_connections")


def capacity(server):
    """Exchanges a second that the one worker can do, by what each costs alone."""
    before = server.value("worker_busy_seconds_total", pool="main")
    for _ in range(CALIBRATION):
        servers.exchange(server.service_addr("costly"), b"x\n")
    return CALIBRATION / (server.value("worker_busy_seconds_total", pool="main") - before)


def rejected(server, service):
    """How many were turned away, by metrics."""
    return sum(server.value("rejected_total", service=service, reason=reason) for reason in REASONS)


@suite.fault(
    "F27",
    "an open load of 0.5 to 10 times what a service of 3 ms can do",
    "goodput at 10 × ≥ 90 % of the peak, per second that its worker had a processor; p99 of the served ≤ 20 ms and the "
    "reply; recovered ≤ 1 s after",
    programs=("ip",),
)
def overload(bench):
    """A service with one worker."""
    factors = QUICK_FACTORS if bench.is_quick else FACTORS
    seconds = QUICK_FACTOR_SECONDS if bench.is_quick else FACTOR_SECONDS
    with Network(), bench.replyd(servers.config(more=COSTLY)) as server, Elsewhere() as elsewhere:
        addr, most = server.service_addr("costly"), capacity(server)
        levels = {}
        for factor in factors[:-1]:
            before = worker_seconds(server)
            tally = load(addr, COSTLY_ASK, factor * most, seconds, processes=2)
            levels[factor] = Level(tally, seconds, worker_seconds(server) - before)
            server.wait_for_rest()
        # The last one, and right behind it what the service can do with ease.
        with Load(addr, COSTLY_ASK, factors[-1] * most, seconds, processes=2) as heavy:
            before, begin = worker_seconds(server), heavy.begin + seconds
            with Load(addr, COSTLY_ASK, LIGHT_PART * most, AFTERWARDS_SECONDS, begin=begin, network="127.0.5") as light:
                time.sleep(max(0, begin - time.monotonic()))  # until the heavy load is over
                worked = worker_seconds(server) - before
                levels[factors[-1]], afterwards = Level(heavy.tally(), seconds, worked), light.tally()
        server.wait_for_rest()
        for factor, level in levels.items():
            late = level.tally.seconds("replied", 0.99) * 1000
            rates = f"{level.goodput:.0f} ({level.rate:.0f}/s)"
            bench.figure(f"{factor} × ({factor * most:.0f}/s): {rates}, p99 {late:.0f} ms")
        if is_too_busy(bench, elsewhere, levels[factors[-1]].tally):
            return
        judge_goodput(bench, levels, most)
        judge_recovery(bench, afterwards)
        judge_counts(bench, server, [*(level.tally for level in levels.values()), afterwards])


class Level(typing.NamedTuple):
    """A load of so much, for so long."""

    tally: Tally
    seconds: float
    worked: float  # seconds that the worker had a processor

    @property
    def rate(self):
        """Replies a second."""
        return self.tally.rate("replied", 0, self.seconds)

    @property
    def goodput(self):
        """Replies for each second of the worker's."""
        return self.rate * self.seconds / self.worked


def is_too_busy(bench, elsewhere, tally):
    """Whether the machine can't make such a load, or doesn't let anybody else serve: then nothing can be judged."""
    lag, wait = tally.lag(), elsewhere.end().p99 / 1000
    is_so = lag > LAG_SECONDS or wait > LATE_SECONDS
    if is_so:
        bench.not_comparable(f"the machine was too busy: the load came {lag:.2f} s late, p99 elsewhere {wait:.2f} s")
    return is_so


def worker_seconds(server):
    """That its worker has had a processor: less than the time it wanted one, where the load itself needs it, too."""
    stat = pathlib.Path(f"/proc/{server.pid}/task/{servers.thread(server.pid, 'worker-0')}/schedstat")
    return int(stat.read_text(encoding="ascii").split()[0]) / 1e9


def judge_goodput(bench, levels, most):
    """At the heaviest load, which is the last."""
    last = max(levels)
    heaviest = levels[last].tally
    part = levels[last].goodput / max(level.goodput for level in levels.values())
    told = f"{heaviest.seconds('busy', 0.5) * 1000:.0f} ms (p99 {heaviest.seconds('busy', 0.99) * 1000:.0f})"
    bench.figure(f"{part:.0%} of the peak at {last} ×, the others told busy after {told}")
    bench.at_least("part of the peak", part, GOODPUT_PART, room=GOODPUT_ROOM)
    target, served = 2 * TARGET_WAIT_SECONDS + 1 / most, heaviest.seconds("replied", 0.99)
    # Whoever has waited longer than the queue's bound is not served.
    bench.within("p99 of the served", served * 1000, target * 1000, " ms", room=1.5 * MAX_WAIT_SECONDS / target)


def judge_recovery(bench, afterwards):
    """Of the light load behind the heavy one: the last moment in which too many were not served, or late."""
    recovered, begin = 0.0, 0.0
    while begin < AFTERWARDS_SECONDS:
        then = afterwards.between(begin, begin + MOMENT_SECONDS).found
        begin += MOMENT_SECONDS
        bad = sum(each.ending != "replied" or each.seconds > LATE_SECONDS for each in then)
        if bad > BAD_PART * len(then):
            recovered = begin
    bench.figure(f"recovered after {recovered:.2f} s")
    bench.within("seconds to recover", recovered, RECOVERY_SECONDS, " s", room=AFTERWARDS_SECONDS - 1)


def judge_counts(bench, server, tallies):
    """Every client has got a reply or the busy reply, and is counted so."""
    ends = sum((tally.endings() for tally in tallies), CALIBRATED.copy())
    bench.check(set(ends) <= set(REPLIES), f"endings: {dict(ends)}")
    for outcome in REPLIES:
        bench.equal(
            f"counted as {outcome}",
            server.value("connections_closed_total", service="costly", outcome=outcome),
            ends[outcome],
        )
    bench.equal("counted as rejected", rejected(server, "costly"), ends["busy"])


CALIBRATED = collections.Counter(replied=CALIBRATION)
BESIDE_FACTOR = 4
BESIDE_RATE = 20  # a second: less than its share, also where the worker has a fifth of a processor
BESIDE_PART = 0.99
BESIDE_TARGET_MS = 30  # a turn behind one costly exchange, and the target of the queue


@suite.fault(
    "F27",
    "one service flooded at 4 times what it can do, another beside it",
    "≥ 99 % of the other's clients replied",
    programs=("ip",),
)
def beside(bench):
    """Both have the same one worker, and the same queue."""
    seconds = QUICK_FACTOR_SECONDS if bench.is_quick else FACTOR_SECONDS
    with Network(), bench.replyd(servers.config(more=COSTLY)) as server, Elsewhere() as elsewhere:
        most = capacity(server)
        with (
            Load(server.service_addr("costly"), COSTLY_ASK, BESIDE_FACTOR * most, seconds, processes=2) as flood,
            Load(server.addr, HELLO_ASK, BESIDE_RATE, seconds, begin=flood.begin, network="127.0.5") as other,
        ):
            flooded, found = flood.tally(), other.tally()
        is_judged = not is_too_busy(bench, elsewhere, flooded)
    part = found.endings()["replied"] / len(found.found)
    p50, p99 = (found.seconds("replied", quantile) * 1000 for quantile in (0.5, 0.99))
    bench.figure(f"{part:.1%} of {len(found.found)} replied, p50 {p50:.1f}, p99 {p99:.0f} ms")
    bench.figure(
        f"of the flood of {BESIDE_FACTOR * most:.0f}/s {flooded.endings()['replied'] / len(flooded.found):.0%}"
    )
    if not is_judged:
        return
    bench.check(part >= BESIDE_PART, f"of the other service: {dict(found.endings())}")
    text = f"p99 of the other service ({elsewhere.seen.p99:.2g} ms elsewhere at that time)"
    bench.within(text, p99, BESIDE_TARGET_MS, " ms", elsewhere.room(BESIDE_TARGET_MS))


QUEUE_BACKLOG = 512
QUEUE_RATE = 2000
QUEUE_SECONDS = 3
PLAIN = f"backlog = {QUEUE_BACKLOG}"
ALERT = "ReplydKernelQueueFilling"
ALERTS = ROOT / "dashboards/alerts.yml"
SERIES = ("listener_queue_length", "listener_queue_limit")
RULE_TEST = """
rule_files: [{alerts}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
{series}
    promql_expr_test:
      - expr: count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)
        eval_time: 5m
        exp_samples: [{{value: {wanted}}}]
"""


@suite.fault(
    "F27",
    "plain replies, an acceptor that gets no processor: the wait is in the kernel's queue",
    f"replyd_listener_queue_length says so, and {ALERT} fires; at rest it doesn't",
    programs=("ip", "promtool"),
)
def kernel_queue(bench):
    """Its thread may only run when nothing else wants to, and something does: what "the processors are busy" means."""
    with Network(), bench.replyd(servers.config(hello=PLAIN)) as server:
        at_rest = queue_samples(server)
        with Starved(server):
            with Load(server.addr, HELLO_ASK, QUEUE_RATE, QUEUE_SECONDS):
                filling = wait_until(lambda: filled(server), QUEUE_SECONDS, "the kernel's queue is seen to fill")
                began = time.monotonic()
                server.page()
                scraped = time.monotonic() - began
        bench.figure(
            f"queue length {filling[SERIES[0]]:.0f} of {filling[SERIES[1]]:.0f}; {ALERT} fires; "
            f"/metrics answers after {scraped * 1000:.0f} ms"
        )
        bench.faults.extend(not_as_alerted(filling, 1))
        bench.faults.extend(not_as_alerted(at_rest, 0))


def filled(server):
    """{name: value} of its listener, once its queue is more than half full."""
    try:
        values = queue_samples(server)
    except Failure:
        return None  # a scrape that was told busy, on a machine that is
    return values if values[SERIES[0]] > QUEUE_BACKLOG / 2 else None


def address(server):
    """The label `listener` of the service `hello`."""
    return server.listeners["hello"][0]


def queue_samples(server):
    """{name: value} of its listener."""
    page, labels = samples(server.page()), (("listener", address(server)), ("service", "hello"))
    return {name: page[f"replyd_{name}", labels] for name in SERIES}


def not_as_alerted(values, wanted):
    """What promtool says against as many alerts that fire, if the scrapes of five minutes have these values."""
    labels = 'job="replyd",instance="a",service="hello",listener="l"'
    lines = [
        f"      - series: replyd_{name}{{{labels}}}\n        values: {value:.0f}x10" for name, value in values.items()
    ]
    text = RULE_TEST.format(alerts=ALERTS, series="\n".join(lines), alert=ALERT, wanted=wanted)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        path = pathlib.Path(folder) / "test.yml"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run(
            ["promtool", "test", "rules", path], capture_output=True, text=True, timeout=60, check=False
        )
    if done.returncode != 0:
        yield f"{values}: promtool: {done.stdout}{done.stderr}"


class Starved:
    """The acceptor has the last processor, and has it only when a process of ours, which always runs there, lets it."""

    def __init__(self, server):
        self.thread = servers.thread(server.pid, "acceptor")
        self.processor = max(os.sched_getaffinity(0))
        self.rival = multiprocessing.Process(target=self.run)

    def __enter__(self):
        self.affinity = os.sched_getaffinity(self.thread)
        os.sched_setaffinity(self.thread, {self.processor})
        os.sched_setscheduler(self.thread, os.SCHED_IDLE, os.sched_param(0))
        self.rival.start()
        return self

    def __exit__(self, *_):
        self.rival.terminate()
        self.rival.join()
        os.sched_setscheduler(self.thread, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(self.thread, self.affinity)

    def run(self):
        """The process."""
        os.sched_setaffinity(0, {self.processor})
        while True:
            pass
