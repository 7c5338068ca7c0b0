"""Client processes for must_show.py: several, so that Python is not what is measured.

Each function that a process runs puts one result into the queue that is its last argument.
"""

import multiprocessing
import select
import socket
import threading
import time

from replyd import read_all

SOURCES = 20
RATE = 50  # of the good client, exchanges a second
CLIENT_SECONDS = 20
UNHEARD_SECONDS = 3  # a SYN that is dropped is sent again after 1 s
HELLO = b"hello, you\n"


class Workers:
    """Client processes of ours; ended, at the latest, on the way out."""

    def __init__(self, count, target, *arguments):
        self.results = multiprocessing.Queue()
        make = lambda: multiprocessing.Process(target=target, args=(*arguments, self.results))  # noqa: E731
        self.processes = [make() for _ in range(count)]

    def __enter__(self):
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.terminate()
            process.join()

    def collect(self, seconds=600):
        """The result of each."""
        return [self.results.get(timeout=seconds) for _ in self.processes]


def connect(addr, **options):
    """A connection; `receive_buffer` in bytes has to be set before it is made."""
    sock = socket.socket()
    try:
        sock.settimeout(options.get("timeout", CLIENT_SECONDS))
        if "receive_buffer" in options:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, options["receive_buffer"])
        sock.connect(addr)
    except BaseException:
        sock.close()
        raise
    return sock


# Each kind of exchange returns the reply; an error of the socket is a failure.


def unread(addr):
    """100 bytes behind the request that nobody reads."""
    with connect(addr) as sock:
        sock.sendall(b"you\n" + b"x" * 100)
        return read_all(sock)


def half_closed(addr):
    """A client that ends its side at once."""
    with connect(addr) as sock:
        sock.sendall(b"you\n")
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def late_reader(addr):
    """A reader that does something else first, behind a small buffer."""
    with connect(addr, receive_buffer=4096) as sock:
        sock.sendall(b"get\n")
        time.sleep(0.02)
        return read_all(sock)


def talker(addr):
    """A client that has no turn to speak and takes it: 64 KiB, on after it was answered."""
    pieces, received = [b"x" * 1024] * 64, []
    with connect(addr) as sock:
        has_ended = False
        while pieces or not has_ended:
            to_read, to_write = [] if has_ended else [sock], [sock] if pieces else []
            readable, writable, _ = select.select(to_read, to_write, [], CLIENT_SECONDS)
            if not readable and not writable:
                raise TimeoutError
            if readable:
                received.append(sock.recv(65536))
                has_ended = not received[-1]
            if writable:
                sock.sendall(pieces.pop())
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "after the end")
    return b"".join(received)


def exchanges(exchange, addr, wanted, count, results):
    """Client process: `count` exchanges, how many failed and of what."""
    faults = []
    for _ in range(count):
        try:
            got = exchange(addr)
            if got != wanted:
                faults.append(f"cut: {len(got)} bytes of {len(wanted)}")
        except OSError as error:
            faults.append(f"{type(error).__name__}: {error}")
    results.put(faults)


def greet(sock, faults):
    """One exchange with `hello`; an error of the socket is the caller's."""
    sock.sendall(b"you\n")
    got = read_all(sock)
    if got != HELLO:
        faults.append(f"cut: {got!r}")


def good_client(addr, seconds, results):
    """Client process: latencies in seconds, and failures, at a steady rate."""
    latencies, faults = [], []
    began = time.monotonic()
    for number in range(round(RATE * seconds)):
        due = began + number / RATE
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)  # the rate, not a synchronisation
            due = time.monotonic()
        # One that comes late because the one before took long has waited since it was due.
        try:
            with connect(addr) as sock:
                greet(sock, faults)
        except OSError as error:
            faults.append(f"{type(error).__name__}: {error}")
        latencies.append(time.monotonic() - due)
    results.put((latencies, faults))


def crowd(addr, count, ready, leave, results):
    """Client process: silent connections from several addresses, until it is told to leave."""
    silent = []
    for number in range(count):
        sock = socket.socket()
        sock.bind((f"127.0.1.{1 + number % SOURCES}", 0))
        sock.settimeout(CLIENT_SECONDS)
        sock.connect(addr)
        silent.append(sock)
    ready.set()
    leave.wait()
    for sock in silent:
        sock.close()
    results.put(count)


def loop(addr, done, is_stopping, faults):
    """One client in a closed loop; ends when it gets no connection, which is all right after the stop."""
    while True:
        try:
            sock = connect(addr, timeout=UNHEARD_SECONDS)
        except (ConnectionRefusedError, TimeoutError) as error:
            if not is_stopping.is_set():
                faults.append(f"before the stop: {type(error).__name__}")
            return
        except OSError as error:
            faults.append(f"connect: {type(error).__name__}")
            return
        with sock:
            try:
                sock.settimeout(CLIENT_SECONDS)
                greet(sock, faults)
            except OSError as error:
                faults.append(f"{type(error).__name__}: {error}")
        with done.get_lock():
            done.value += 1


def loops(addr, count, done, is_stopping, results):
    """Client process: several of them."""
    faults = []
    threads = [threading.Thread(target=loop, args=(addr, done, is_stopping, faults)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(faults)
