"""The good client beside a fault, judged: none of its exchanges may fail, and it may not feel much of it.

What others do on this machine it feels as well. So a second one asks a replyd to which nothing is done, at the same time.
Standard library only.
"""

import contextlib
import time

from faults import servers, suite
from faults.probe import Probe


class Good:
    """`with Good(server) as good:` they are at work; `good.end()` is what the one of this server has seen."""

    def __init__(self, server, addr=None, **options):
        self.server = server
        self.addr = addr or server.addr
        self.options = options
        self.seen = self.elsewhere = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.probe = stack.enter_context(Probe(self.addr, **self.options))
            self.control = None
            if self.server.name == "replyd":
                untouched = stack.enter_context(servers.Replyd(servers.config()))
                self.control = stack.enter_context(Probe(untouched.addr))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def end(self):
        """Ends both."""
        self.seen = self.probe.end()
        self.elsewhere = self.control and self.control.end()
        return self.seen

    def judge(self, bench, target_ms, part=1.0):
        """So many of its exchanges have to be replied, and its p99 to be within the target.

        Over the target it is missed. It is a failure at ten times the target, or where the machine is so busy that the
        other one is over it too, at ten times of that.
        """
        seen = self.seen
        done = 1 - seen.failed / seen.done
        bench.check(done >= part, f"{done:.1%} of the good exchanges replied, not {part:.0%}: {dict(seen.faults)}")
        room = suite.ROOM * max(1.0, self.elsewhere.p99 / target_ms)
        text = f"p99 of the good client ({self.elsewhere.p99:.2g} ms elsewhere at that time)"
        bench.within(text, seen.p99, target_ms, " ms", room)


def watch(server, seconds):
    """What came of so long."""
    with Good(server) as good:
        time.sleep(seconds)  # what is measured
        good.end()
        return good
