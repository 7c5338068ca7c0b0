"""Client processes of attackers: they hold as many connections as they can, and take their time.

Each process is one loop around epoll. Standard library only.
"""

import collections
import errno
import multiprocessing
import select
import socket
import time
import typing

from faults.load import BIND_ADDRESS_NO_PORT, PIECE_BYTES, RESET, addresses
from peers import Workers
from replyd import wait_until

SOURCES = 20  # addresses of a network
CONNECT_SECONDS = 30
RATE = 100000  # connections a second: as many as it can
CONNECTING_MAX = 64  # under way at once: less than any backlog, as they only want to be there
LOOK_SECONDS = 0.02


class Manner(typing.NamedTuple):
    """How each of them behaves.

    It sends `opening`, and then `piece` again and again with `pause` seconds between. It `reads` what comes, or never.
    When the server ends, it leaves; or it `stays`, and goes on to send, until it is reset.
    """

    opening: bytes = b""
    piece: bytes = b""
    pause: float = 0
    receive_buffer: int = 0  # bytes; 0: as the system has it
    reads: bool = True
    stays: bool = False


SILENT = Manner()


class End(typing.NamedTuple):
    """What came of one. By the server's clock it was there for longer than `seconds`, and shorter than `since_connect`."""

    ending: str  # "ended", "held", or an errno
    seconds: float  # since it knew that it was connected
    since_connect: float  # since it began to connect
    received: int  # bytes


class Attacker:
    """One connection."""

    __slots__ = ("sock", "asked", "began", "received", "is_there")

    def __init__(self, sock):
        self.sock = sock
        self.asked = self.began = time.monotonic()
        self.received = 0
        self.is_there = False

    def end(self, ending):
        """How it has ended, by now."""
        now = time.monotonic()
        return End(ending, now - self.began, now - self.asked, self.received)


class Attackers:
    """All of a process: `found` has the `End` of each that is over."""

    def __init__(self, addr, manner, sources, rate, there, over):
        self.addr = addr
        self.rate = rate
        self.began = time.monotonic()
        self.manner = manner
        self.sources = sources
        self.there = there
        self.over = over
        self.poll = select.epoll()
        self.held = {}
        self.to_come = 0
        self.connecting = 0
        self.made = 0
        self.sending = collections.deque()  # (instant, fd, attacker): in their order, as all pause as long
        self.found = []

    def connect(self):
        """One more; an error counts as an end."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        if self.manner.receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.manner.receive_buffer)
        sock.bind((self.sources[self.made % len(self.sources)], 0))
        self.made += 1
        attacker = Attacker(sock)
        self.held[sock.fileno()] = attacker
        self.connecting += 1
        sock.connect_ex(self.addr)
        self.poll.register(sock.fileno(), select.EPOLLOUT)

    def end(self, fd, ending):
        """It is over."""
        attacker = self.held.pop(fd)
        self.found.append(attacker.end(ending))
        if attacker.is_there:
            self.over.value += 1
        else:
            self.connecting -= 1
        attacker.sock.close()

    def arrive(self, fd, attacker):
        """It is connected."""
        error = attacker.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.end(fd, errno.errorcode[error])
            return
        attacker.is_there = True
        attacker.began = time.monotonic()
        self.connecting -= 1
        self.there.value += 1
        if self.manner.opening:
            attacker.sock.send(self.manner.opening)
        if self.manner.piece:
            self.sending.append((attacker.began + self.manner.pause, fd, attacker))
        self.poll.modify(fd, select.EPOLLIN if self.manner.reads else 0)

    def go_on(self, fd, event):
        """Something has come."""
        attacker = self.held[fd]
        try:
            if not attacker.is_there:
                self.arrive(fd, attacker)
                return
            piece = attacker.sock.recv(PIECE_BYTES) if event & select.EPOLLIN else b""
            error = attacker.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as fault:
            self.end(fd, errno.errorcode[fault.errno])
            return
        attacker.received += len(piece)
        if error or event & (select.EPOLLERR | select.EPOLLHUP):
            self.end(fd, errno.errorcode.get(error, "ended"))
        elif not piece and self.manner.stays:
            self.poll.modify(fd, 0)
        elif not piece:
            self.end(fd, "ended")

    def send(self):
        """What is due."""
        now = time.monotonic()
        while self.sending and self.sending[0][0] <= now:
            due, fd, attacker = self.sending.popleft()
            if self.held.get(fd) is not attacker:
                continue
            try:
                attacker.sock.send(self.manner.piece)
            except BlockingIOError:
                pass
            except OSError as fault:
                self.end(fd, errno.errorcode[fault.errno])
                continue
            self.sending.append((due + self.manner.pause, fd, attacker))

    def turn(self):
        """Brings those that are to come, looks after those that are there."""
        come = self.rate * (time.monotonic() - self.began)
        while self.to_come and self.connecting < CONNECTING_MAX and self.made <= come:
            self.to_come -= 1
            self.connect()
        for fd, event in self.poll.poll(LOOK_SECONDS):
            self.go_on(fd, event)
        self.send()


def attack(addr, manner, count, sources, rate, signs, results):
    """Client process: so many, until all are over or it is told to leave."""
    there, over, leave = signs
    attackers = Attackers(addr, manner, sources, rate, there, over)
    attackers.to_come = count
    while not leave.is_set() and (attackers.to_come or attackers.held):
        attackers.turn()
    for attacker in attackers.held.values():
        attackers.found.append(attacker.end("held"))
        attacker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        attacker.sock.close()
    results.put(attackers.found)


class Crowd:
    """`with Crowd(addr, manner, count) as crowd:` all have connected, and are there as long as the server has them."""

    def __init__(self, addr, manner, count, processes=2, network="127.0.1", rate=RATE, sources=SOURCES):
        self.count = count
        self.leave = multiprocessing.Event()
        self.counts = [(multiprocessing.Value("q", 0), multiprocessing.Value("q", 0)) for _ in range(processes)]
        self.workers = Workers(0, attack)
        for number, (there, over) in enumerate(self.counts):
            share = count // processes + (number < count % processes)
            signs = (there, over, self.leave)
            arguments = (
                addr,
                manner,
                share,
                addresses(network, sources),
                rate / processes,
                signs,
                self.workers.results,
            )
            self.workers.processes.append(multiprocessing.Process(target=attack, args=arguments))

    def __enter__(self):
        self.workers.__enter__()
        wait_until(lambda: self.there() >= self.count, CONNECT_SECONDS, f"{self.count} connections are there")
        return self

    def __exit__(self, *_):
        self.leave.set()
        self.workers.__exit__()

    def there(self):
        """How many have connected so far."""
        return sum(there.value for there, _ in self.counts)

    def over(self):
        """For how many it is over."""
        return sum(over.value for _, over in self.counts)

    def wait_for_end(self, seconds):
        """Until the server has got rid of all."""
        wait_until(lambda: self.over() >= self.count, seconds, f"of {self.count} attackers none is there anymore")

    def ends(self):
        """The `End` of each; those that are still there leave."""
        self.leave.set()
        return sum(self.workers.collect(CONNECT_SECONDS), [])
