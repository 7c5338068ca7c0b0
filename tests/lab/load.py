"""Clients that a restart must not harm: many in closed loops, a silent crowd, a slow reader.

Each in processes of its own, so that Python is not what is measured. Standard library only.
"""

import collections
import hashlib
import multiprocessing
import selectors
import socket
import threading
import time

from peers import Workers
from replyd import wait_until

PROCESSES = 2  # as many again would only compete with replyd for two cores
LOOPS = 8  # clients in a closed loop, a process
SILENT = 100
CLIENT_SECONDS = 10
COLLECT_SECONDS = 60
FAILED_PAUSE_SECONDS = 0.01
WAIT_SECONDS_MAX = 1.0  # from connect to the end of the reply
BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of ip(7)
REQUEST, REPLY = b"you\n", b"hello, you\n"
SLOW_BYTES = 16 * 1024 * 1024  # more than socket buffers take, so that the reply waits for its reader
SLOW_PIECE_BYTES = 64 * 1024
SLOW_PAUSE_SECONDS = 0.008  # a piece: 2 s and more for all of it


class Figures(collections.namedtuple("Figures", "done faults longest silent slow")):
    """What the clients have seen: exchanges, {fault: count}, the longest wait in seconds; who was beside them."""

    def line(self):
        """For people."""
        return (
            f"{self.done} connections, {self.faults.total()} failed, longest wait {self.longest * 1000:.0f} ms; "
            f"beside them {self.silent} silent, {self.slow} slow replies"
        )

    def judged(self):
        """The faults, where nobody may fail or wait too long."""
        yield from (f"{count} times {fault}" for fault, count in self.faults.most_common())
        if self.longest > WAIT_SECONDS_MAX:
            yield f"a client has waited for {self.longest:.3f} s"


def family(addr):
    """Of an address: a path is a unix socket's."""
    return socket.AF_UNIX if isinstance(addr, str) else socket.AF_INET


def greet(addr, source):
    """One exchange; what is wrong with it, or None."""
    sock = socket.socket(family(addr))
    try:
        sock.settimeout(CLIENT_SECONDS)
        if sock.family == socket.AF_INET:
            # A source for each client: the ports of one address would run out.
            sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        sock.connect(addr)
        sock.sendall(REQUEST)
        got = b""
        while piece := sock.recv(4096):
            got += piece
        return None if got == REPLY else f"cut: {got!r}"
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    finally:
        sock.close()


def loop(addr, source, done, is_over, found):
    """One client in a closed loop."""
    longest, faults = 0.0, collections.Counter()
    while not is_over.is_set():
        began = time.monotonic()
        fault = greet(addr, source)
        waited = time.monotonic() - began
        longest = max(longest, waited)
        with done.get_lock():
            done.value += 1
        if fault is not None:
            faults[fault] += 1
            time.sleep(FAILED_PAUSE_SECONDS)  # a port that is closed is no load
    found.append((longest, faults))


def loops(addrs, number, done, is_over, results):
    """Client process: several of them, spread over `addrs`."""
    found = []
    with number.get_lock():
        number.value += 1
        network = f"127.0.{1 + number.value}"
    arguments = lambda n: (addrs[n % len(addrs)], f"{network}.{1 + n}", done, is_over, found)  # noqa: E731
    threads = [threading.Thread(target=loop, args=arguments(n)) for n in range(LOOPS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(found)


def silent(addrs, seen, is_over, results):
    """Client process: connections that never say a word, made again when they are closed."""
    faults, made = collections.Counter(), 0
    with selectors.DefaultSelector() as selector:

        def open_one(addr):
            sock = socket.socket(family(addr))
            sock.settimeout(CLIENT_SECONDS)
            try:
                sock.connect(addr)
            except OSError as error:
                faults[f"silent: {type(error).__name__}: {error}"] += 1
                sock.close()
                return
            selector.register(sock, selectors.EVENT_READ, addr)

        while not is_over.is_set():
            for number in range(len(selector.get_map()), SILENT):
                open_one(addrs[number % len(addrs)])
                made += 1
            seen.set()
            for key, _ in selector.select(timeout=0.05):
                # Closed, perhaps reset after its timeout: both are fair to a client that never spoke.
                selector.unregister(key.fileobj)
                key.fileobj.close()
        for key in list(selector.get_map().values()):
            key.fileobj.close()
    results.put((made, faults))


def slow(addr, digest, seen, is_over, results):
    """Client process: a large reply, slowly, again and again."""
    made, faults = 0, collections.Counter()
    while not is_over.is_set():
        try:
            fault = read_slowly(addr, digest, seen)
        except OSError as error:
            fault = f"{type(error).__name__}: {error}"
        if fault is not None:
            faults[f"slow reader: {fault}"] += 1
            time.sleep(FAILED_PAUSE_SECONDS)
        made += 1
    results.put((made, faults))


def read_slowly(addr, digest, seen):
    """One reply; what is wrong with it, or None."""
    count, got = 0, hashlib.sha256()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_PIECE_BYTES)
        sock.settimeout(CLIENT_SECONDS)
        sock.connect(addr)
        sock.sendall(REQUEST)
        while piece := sock.recv(SLOW_PIECE_BYTES):
            seen.set()
            count += len(piece)
            got.update(piece)
            time.sleep(SLOW_PAUSE_SECONDS * len(piece) / SLOW_PIECE_BYTES)  # its slowness, not a synchronisation
    return None if got.hexdigest() == digest else f"{count} bytes of {SLOW_BYTES}"


class Load:
    """`with Load(...) as load:` they are all there; `load.end()` sends them home."""

    def __init__(self, addrs, slow_addr, digest):
        self.done, self.is_over = multiprocessing.Value("q", 0), multiprocessing.Event()
        is_silent, is_slow = multiprocessing.Event(), multiprocessing.Event()
        self.seen = (is_silent, is_slow)
        self.groups = [
            Workers(PROCESSES, loops, addrs, multiprocessing.Value("i", 0), self.done, self.is_over),
            Workers(1, silent, addrs, is_silent, self.is_over),
            Workers(1, slow, slow_addr, digest, is_slow, self.is_over),
        ]

    def __enter__(self):
        for group in self.groups:
            group.__enter__()
        wait_until(lambda: self.done.value and all(seen.is_set() for seen in self.seen), 30, "the load is there")
        return self

    def __exit__(self, *_):
        self.is_over.set()
        for group in self.groups:
            group.__exit__()

    def wait_for(self, count, seconds=60):
        """Until so many more exchanges are done."""
        wanted = self.done.value + count
        wait_until(lambda: self.done.value >= wanted, seconds, f"{count} more exchanges")

    def end(self):
        """What they have seen."""
        self.is_over.set()
        looped, [(silent, of_silent)], [(slow, of_slow)] = (group.collect(COLLECT_SECONDS) for group in self.groups)
        found = [client for process in looped for client in process]
        faults = sum((faults for _, faults in found), of_silent + of_slow)
        longest = max(longest for longest, _ in found)
        return Figures(self.done.value, faults, longest, silent, slow)
