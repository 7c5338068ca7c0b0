"""Clients in a closed loop: each asks again right after it was answered, in processes of its own.

Standard library only.
"""

import collections
import multiprocessing
import socket
import threading
import time

from faults.servers import REQUEST, is_reply
from peers import Workers
from replyd import read_all, wait_until

PROCESSES = 2  # as many again would only compete with the server for two processors
CLIENTS = 8  # in each of them
CLIENT_SECONDS = 10
REFUSED_PAUSE_SECONDS = 0.005  # a port that is closed is no load
BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of ip(7)
COLLECT_SECONDS = 60


class Looped(collections.namedtuple("Looped", "done longest refused faults")):
    """What they have seen: exchanges that were answered; the longest wait of one of them, in seconds; {error: count} of
    those that got no connection, and {fault: count} of those that had one and no whole reply."""

    def line(self):
        """For people."""
        parts = [f"{self.done} answered, longest {self.longest * 1000:.0f} ms"]
        parts.append(f"{self.faults.total()} cut" + (f" ({self.faults.most_common(1)[0][0]})" if self.faults else ""))
        parts.append(f"{self.refused.total()} not connected")
        return ", ".join(parts)


def loop(addr, source, done, is_over, found):
    """One client; from an address of its own, as the ports of one would run out."""
    longest, refused, faults = 0.0, collections.Counter(), collections.Counter()
    while not is_over.is_set():
        began = time.monotonic()
        with socket.socket() as sock:
            sock.settimeout(CLIENT_SECONDS)
            sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
            try:
                sock.connect(addr)
            except OSError as error:
                refused[type(error).__name__] += 1
                time.sleep(REFUSED_PAUSE_SECONDS)
                continue
            try:
                sock.sendall(REQUEST)
                received = read_all(sock)
            except OSError as error:
                faults[type(error).__name__] += 1
                continue
        if not is_reply(received):
            faults[f"got {received[:60]!r}"] += 1
            continue
        longest = max(longest, time.monotonic() - began)
        with done.get_lock():
            done.value += 1
    found.append((longest, refused, faults))


def loops(addr, number, done, is_over, results):
    """Client process: several of them."""
    with number.get_lock():
        number.value += 1
        network = f"127.0.{100 + number.value}"
    found = []
    make = lambda n: threading.Thread(target=loop, args=(addr, f"{network}.{1 + n}", done, is_over, found))  # noqa: E731
    threads = [make(n) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(found)


class Loops:
    """`with Loops(addr) as loops:` they are at work; `loops.end()` is what they have seen."""

    COUNT = PROCESSES * CLIENTS

    def __init__(self, addr):
        self.done, self.is_over = multiprocessing.Value("q", 0), multiprocessing.Event()
        number = multiprocessing.Value("i", 0)
        self.workers = Workers(PROCESSES, loops, addr, number, self.done, self.is_over)

    def __enter__(self):
        self.workers.__enter__()
        wait_until(lambda: self.done.value > self.COUNT, COLLECT_SECONDS, "the clients are at work")
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.workers.__exit__()

    def wait_for(self, count, seconds=COLLECT_SECONDS):
        """Until so many more were answered."""
        wanted = self.done.value + count
        wait_until(lambda: self.done.value >= wanted, seconds, f"{count} more exchanges")

    def end(self):
        """Ends them."""
        self.is_over.set()
        found = [client for process in self.workers.collect(COLLECT_SECONDS) for client in process]
        refused = sum((client[1] for client in found), collections.Counter())
        faults = sum((client[2] for client in found), collections.Counter())
        return Looped(self.done.value, max(client[0] for client in found), refused, faults)
