"""accept(2) fails: for ever, now and then, or because there are no descriptors left. F1 to F3.

Standard library only.
"""

import os
import resource
import select
import signal
import socket
import time

from faults import servers
from faults.probe import Probe
from faults.strace import Strace
from faults.suite import fault
from replyd import Failure, get, read_all

# What a machine is out of, what a policy forbids, and one that nobody knows: it would only come again at once.
LASTING = ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "200")
# Of the one connection that was to be accepted: the next one may be good. accept(2), "Error handling".
PASSING = ("EPROTO", "ENETDOWN", "EHOSTUNREACH", "ECONNABORTED", "EINTR", "ETIMEDOUT")
FAILING_SECONDS, QUICK_FAILING_SECONDS = 2, 0.7
CALLS_MAX = 20  # a second, of those that last
CPU_MAX = 2  # percent
RECOVERY_MAX = 200  # ms
PASSING_CALLS_MAX = 1000  # a second: a pause after a few is enough

REQUESTS, QUICK_REQUESTS = 1000, 100
WORST_MAX = 60  # ms

IDLE = 120
SPARE = 40
OPEN_FILES = 20_000
GOOD_SECONDS, QUICK_GOOD_SECONDS = 6, 3
ANSWER_MAX = 100  # ms


def accepting(server):
    """(threads or processes that accept, whether their threads count too)."""
    if server.name == "replyd":
        return [servers.thread(server.pid, "acceptor")], False
    return server.workers(), True


def fail(server, errno, seconds):
    """accept4 fails for so long while a client waits: (calls a second, CPU in percent, ms from then to its answer).

    Some errors make others take another call: then the client has its answer before, and there are no ms.
    """
    pids, follow = accepting(server)
    with Strace(pids, f"accept4:error={errno}:when=1+", follow=follow) as strace, socket.socket() as client:
        client.settimeout(servers.EXCHANGE_SECONDS)
        client.connect(server.addr)
        client.sendall(servers.REQUEST)
        percent = servers.cpu_percent(server, seconds)
        is_early = bool(select.select([client], [], [], 0)[0])
        strace.process.send_signal(signal.SIGINT)
        began = time.monotonic()
        received = read_all(client)
        recovered = (time.monotonic() - began) * 1000
        strace.detach()
        count = strace.count("accept4")
    if (is_early and server.name == "replyd") or not servers.is_reply(received):
        raise Failure(f"{server.name}, {errno}: {received[:60]!r}, {'before' if is_early else 'after'} it was over")
    return count / seconds, percent, None if is_early else recovered


def fail_with_each(bench, errnos):
    """{server: [what came of it, by errno]}."""
    seconds = QUICK_FAILING_SECONDS if bench.is_quick else FAILING_SECONDS
    found = {}
    for name in bench.names():
        with bench.serve(name) as server:
            found[name] = [fail(server, errno, seconds) for errno in errnos]
            if name == "replyd":
                counted = server.value_sum("accept_errors_total", service="hello")
                bench.check(counted > 0, "replyd_accept_errors_total is 0")
        calls, percents, recovered = zip(*found[name], strict=True)
        late = [ms for ms in recovered if ms is not None]
        early = f"{len(recovered) - len(late)} answered all the same, " if None in recovered else ""
        bench.figure(
            f"{len(errnos)} errnos: {min(calls):.0f} to {max(calls):.0f} accept4/s, "
            f"CPU at most {max(percents):.1f} %, {early}answered at most {max(late, default=0):.0f} ms after",
            name,
        )
    return found["replyd"]


@fault(
    "F1", "accept4 fails for ever: " + " ".join(LASTING),
    f"≤ {CALLS_MAX} accept4/s, ≤ {CPU_MAX} % CPU, answered ≤ {RECOVERY_MAX} ms after it is over",
    programs=("strace",),
)  # fmt: skip
def lasting(bench):
    for errno, (calls, percent, recovered) in zip(LASTING, fail_with_each(bench, LASTING), strict=True):
        # Counted: a busy machine makes it fewer, never more.
        bench.check(calls <= CALLS_MAX * 1.5, f"{errno}: {calls:.0f} accept4/s")
        bench.within(f"{errno}, accept4/s", calls, CALLS_MAX + 1)
        bench.within(f"{errno}, CPU", percent, CPU_MAX, " %")
        bench.within(f"{errno}, answered after", recovered, RECOVERY_MAX, " ms")


@fault(
    "F1", "accept4 fails for ever: " + " ".join(PASSING),
    f"≤ {PASSING_CALLS_MAX} accept4/s, ≤ {CPU_MAX} % CPU, answered ≤ {RECOVERY_MAX} ms after it is over",
    programs=("strace",),
)  # fmt: skip
def passing(bench):
    for errno, (calls, percent, recovered) in zip(PASSING, fail_with_each(bench, PASSING), strict=True):
        bench.check(calls <= PASSING_CALLS_MAX, f"{errno}: {calls:.0f} accept4/s")
        bench.within(f"{errno}, CPU", percent, CPU_MAX, " %")
        bench.within(f"{errno}, answered after", recovered, RECOVERY_MAX, " ms")


@fault(
    "F2", "accept4 fails now and then: EMFILE, the 3rd and every 5th", f"all answered, the slowest ≤ {WORST_MAX} ms",
    programs=("strace",),
)  # fmt: skip
def now_and_then(bench):
    count = QUICK_REQUESTS if bench.is_quick else REQUESTS
    for name in bench.names():
        with bench.serve(name) as server:
            pids, follow = accepting(server)
            with Strace(pids, "accept4:error=EMFILE:when=3+5", follow=follow) as strace:
                waits, failed = one_by_one(server.addr, count)
                strace.detach()
                injected = len(strace.injected())
        text = f"{count} one by one, {injected} injected, {failed} failed, slowest {max(waits):.0f} ms"
        bench.figure(text, name)
        if name == "replyd":
            bench.check(injected > 0, "nothing was injected")
            bench.equal("failed", failed, 0)
            bench.within("slowest", max(waits), WORST_MAX, " ms")


def one_by_one(addr, count):
    """(ms that each exchange took, how many failed)."""
    waits, failed = [], 0
    for _ in range(count):
        began = time.monotonic()
        try:
            failed += not servers.is_reply(servers.exchange(addr))
        except OSError:
            failed += 1
        waits.append((time.monotonic() - began) * 1000)
    return waits, failed


@fault(
    "F3", f"no descriptors left: {IDLE} idle clients, room for {SPARE}",
    f"≤ {CPU_MAX} % CPU, good client answered ≤ {ANSWER_MAX} ms, so is /metrics",
)  # fmt: skip
def no_descriptors(bench):
    for name in bench.names():
        # Deferred, the idle ones would stay in the kernel.
        options = {"hello": "defer_accept_seconds = 0"} if name == "replyd" else {}
        with bench.serve(name, **options) as server:
            workers = [server.pid] if name == "replyd" else server.workers()
            before = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in workers}
            for pid in workers:
                used = len(os.listdir(f"/proc/{pid}/fd"))
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + SPARE, before[pid][1]))
            idle = [socket.create_connection(server.addr) for _ in range(IDLE)]
            try:
                in_need(bench, server)
            finally:
                for sock in idle:
                    sock.close()
                for pid, limits in before.items():
                    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def in_need(bench, server):
    """What a good client sees meanwhile."""
    seconds = QUICK_GOOD_SECONDS if bench.is_quick else GOOD_SECONDS
    with Probe(server.addr) as probe:
        percent = servers.cpu_percent(server, seconds)
        scraped = scrape(server) if server.name == "replyd" else None
        seen = probe.end()
    text = f"{seen.line()}; CPU {percent:.1f} %"
    if scraped is not None:
        text += f"; /metrics {scraped}" if isinstance(scraped, str) else f"; /metrics after {scraped:.0f} ms"
    bench.figure(text, server.name)
    if server.name != "replyd":
        return
    bench.equal("good exchanges that failed", seen.failed, 0)
    bench.within("p99 of the good client", seen.p99, ANSWER_MAX, " ms")
    bench.within("CPU", percent, CPU_MAX, " %")
    bench.check(not isinstance(scraped, str), f"/metrics: {scraped}")
    if not isinstance(scraped, str):
        bench.within("/metrics", scraped, ANSWER_MAX, " ms")


def scrape(server):
    """How many ms /metrics takes, or what is wrong with it."""
    began = time.monotonic()
    try:
        status, _ = get(server.admin_url())
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return (time.monotonic() - began) * 1000 if status == 200 else f"status {status}"
