"""Client processes of an open load: exchanges that begin by the clock, whatever came of those before.

Each process is one loop around epoll, for thousands of exchanges a second. Standard library only.
"""

import collections
import errno
import ipaddress
import multiprocessing
import select
import socket
import struct
import time
import typing

from peers import Workers

BIND_ADDRESS_NO_PORT = 24  # IP_BIND_ADDRESS_NO_PORT of ip(7): a port is chosen when the other end is known
RESET = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close is a reset
LEFT, UNHEARD = "left", "unheard"  # endings that are the client's own
SOURCES = 50  # addresses of a network: the ports of one would run out
PIECE_BYTES = 65536
LEAD_SECONDS = 0.3  # for all processes to be there when the first exchange is due
DRAIN_SECONDS = 10  # more than `timeout`, before a process is given up


class Ask(typing.NamedTuple):
    """What each client does.

    `replies` is {ending: (how it begins, how it ends)}; a reply that is none of them is `cut`. `leaves` is when the
    client resets the connection: `connected`, `asked`, `begun` (the reply has), or never. It leaves what it can't get
    in `timeout` seconds, as `unheard`.
    """

    request: bytes
    replies: dict
    timeout: float = 30
    leaves: str = ""


class Exchange(typing.NamedTuple):
    """What came of one."""

    due: float  # seconds, in the end from the begin of the load
    lag: float  # seconds that it began late, as there was no processor for it
    seconds: float  # from when it was due until it was over
    ending: str


class Client:
    """One exchange under way."""

    __slots__ = ("sock", "due", "began", "to_send", "received", "deadline")

    def __init__(self, sock, due, ask):
        self.sock = sock
        self.due = due
        self.to_send = ask.request
        self.received = []
        self.began = time.monotonic()
        self.deadline = self.began + ask.timeout


class Clients:
    """All of a process: `found` has the `Exchange` of each that is over."""

    def __init__(self, addr, ask, sources):
        self.addr = addr
        self.ask = ask
        self.sources = sources
        self.begun = 0
        self.poll = select.epoll()
        # In the order of their deadlines, as all have as long.
        self.under_way = {}
        self.found = []

    def begin(self, due):
        """One more exchange."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, BIND_ADDRESS_NO_PORT, 1)
        sock.bind((self.sources[self.begun % len(self.sources)], 0))
        self.begun += 1
        error = sock.connect_ex(self.addr)
        client = Client(sock, due, self.ask)
        if error not in (0, errno.EINPROGRESS):
            self.end(client, errno.errorcode[error])
            return
        self.under_way[sock.fileno()] = client
        self.poll.register(sock.fileno(), select.EPOLLOUT)

    def end(self, client, ending):
        """It is over; whoever leaves does so by a reset."""
        self.found.append(Exchange(client.due, client.began - client.due, time.monotonic() - client.due, ending))
        if ending in (LEFT, UNHEARD):
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.sock.close()

    def go_on(self, client):
        """As far as it goes; the ending, or None."""
        try:
            if client.to_send is not None:
                if self.ask.leaves == "connected" and client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                    return LEFT
                sent = client.sock.send(client.to_send) if client.to_send else 0
                client.to_send = client.to_send[sent:] or None
                if self.ask.leaves == "asked" and client.to_send is None:
                    return LEFT
                if client.to_send is None:
                    self.poll.modify(client.sock.fileno(), select.EPOLLIN)
                return None
            piece = client.sock.recv(PIECE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            reply = self.kind(b"".join(client.received))
            return f"{reply}, then {errno.errorcode[error.errno]}"
        if not piece:
            return self.kind(b"".join(client.received))
        client.received.append(piece)
        return LEFT if self.ask.leaves == "begun" else None

    def kind(self, got):
        """The ending of who got this, and then the end."""
        for ending, (head, tail) in self.ask.replies.items():
            if got.startswith(head) and got.endswith(tail):
                return ending
        return "cut" if got else "nothing"

    def turn(self, seconds):
        """Looks after those under way, for so long at most."""
        for fd, _ in self.poll.poll(seconds):
            ending = self.go_on(self.under_way[fd])
            if ending is not None:
                self.end(self.under_way.pop(fd), ending)
        now = time.monotonic()
        while self.under_way:
            fd, client = next(iter(self.under_way.items()))
            if client.deadline > now:
                break
            del self.under_way[fd]
            self.end(client, UNHEARD)


def ask_by_clock(addr, ask, sources, schedule, results):
    """Client process: an exchange at each instant; what came of each, its instant from the begin of the load."""
    began, first, step, count = schedule
    clients = Clients(addr, ask, sources)
    number = 0
    while number < count or clients.under_way:
        now = time.monotonic()
        due = began + first + number * step
        # A few at most, so that those under way are looked after; who is late has waited since it was due.
        for _ in range(32):
            if number == count or due > now:
                break
            clients.begin(due)
            number += 1
            due = began + first + number * step
        clients.turn(min(0.1, max(0.0, due - time.monotonic())) if number < count else 0.1)
    results.put([each._replace(due=each.due - began) for each in clients.found])


def addresses(network, count):
    """So many of loopback, from the second of a network on."""
    first = int(ipaddress.IPv4Address(f"{network}.1"))
    return [str(ipaddress.IPv4Address(first + number)) for number in range(count)]


class Tally:
    """What came of a load: each `Exchange`."""

    def __init__(self, found):
        self.found = sorted(found)

    def endings(self):
        """{ending: count}."""
        return collections.Counter(each.ending for each in self.found)

    def lag(self):
        """Seconds that one of a hundred began late: there is no open load where this machine can't make it."""
        values = sorted(each.lag for each in self.found)
        return values[int(0.99 * len(values))]

    def seconds(self, ending, part):
        """A quantile of the time of those that ended so; infinite if there are none."""
        values = sorted(each.seconds for each in self.found if each.ending == ending)
        return values[min(len(values) - 1, int(part * len(values)))] if values else float("inf")

    def between(self, begin, end):
        """Of those that were due then."""
        return Tally([each for each in self.found if begin <= each.due < end])

    def rate(self, ending, begin, end):
        """How many a second ended so, then."""
        ended = (each.due + each.seconds for each in self.found if each.ending == ending)
        return sum(begin <= instant < end for instant in ended) / (end - begin)


class Load(Workers):
    """`with Load(addr, ask, rate, seconds) as load:` it is on; `load.tally()` waits for its end."""

    def __init__(self, addr, ask, rate, seconds, processes=1, network="127.0.2", sources=SOURCES, begin=None):
        self.begin = begin or time.monotonic() + LEAD_SECONDS
        self.longest = seconds + ask.timeout
        count = round(rate * seconds)
        self.results = multiprocessing.Queue()
        self.processes = []
        for number in range(processes):
            share = count // processes + (number < count % processes)
            schedule = (self.begin, number / rate, processes / rate, share)
            # Each process has its own, where there are as many.
            own = (
                addresses(network, sources)[number::processes] if sources >= processes else addresses(network, sources)
            )
            arguments = (addr, ask, own, schedule, self.results)
            self.processes.append(multiprocessing.Process(target=ask_by_clock, args=arguments))

    def tally(self):
        """What came of it."""
        return Tally(sum(self.collect(self.begin - time.monotonic() + self.longest + DRAIN_SECONDS), []))


def load(*arguments, **options):
    """What came of a load, once it is over."""
    with Load(*arguments, **options) as running:
        return running.tally()
