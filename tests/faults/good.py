"""The good client beside a fault, judged: none of its exchanges may fail, and it may not feel much of it.

What others do on this machine it feels as well. So a second one asks a replyd to which nothing is done, at the same time.
Standard library only.
"""

import contextlib
import time

from faults import servers, suite
from faults.probe import Probe

HICCUP_MS = 100


class Elsewhere:
    """`with Elsewhere() as elsewhere:` the good client of a replyd of its own; `end()` is what it has seen."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            untouched = stack.enter_context(servers.Replyd(servers.config()))
            self.probe = stack.enter_context(Probe(untouched.addr))
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def end(self):
        """Ends it."""
        self.seen = self.probe.end()
        return self.seen

    def room(self, target_ms):
        """Times a target that a time may take: more of it where the machine is so busy that this one is over it, too,
        and in any case what a scheduler may make of one exchange in a hundred.
        """
        return max(suite.ROOM * max(1.0, self.seen.p99 / target_ms), HICCUP_MS / target_ms)


class Good:
    """`with Good(server) as good:` both are at work; `good.end()` is what the one of this server has seen.

    Beside another server than replyd there is but that one, for nobody judges it.
    """

    def __init__(self, server, addr=None, **options):
        self.probe = Probe(addr or server.addr, **options)
        self.elsewhere = Elsewhere() if server.name == "replyd" else None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            if self.elsewhere:
                stack.enter_context(self.elsewhere)
            stack.enter_context(self.probe)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def end(self):
        """Ends both."""
        self.seen = self.probe.end()
        if self.elsewhere:
            self.elsewhere.end()
        return self.seen

    def judge(self, bench, target_ms, part=1.0):
        """So many of its exchanges have to be replied, and its p99 to be within the target.

        Those that fail elsewhere, too, are the machine's. Over the target is missed, and far over it a failure.
        """
        seen, elsewhere = self.seen, self.elsewhere.seen
        done = 1 - seen.failed / seen.done
        is_good = seen.failed <= (1 - part) * seen.done + elsewhere.failed
        bench.check(is_good, f"{done:.1%} of the good exchanges replied, not {part:.0%}: {dict(seen.faults)}")
        text = f"p99 of the good client ({elsewhere.p99:.2g} ms elsewhere at that time)"
        bench.within(text, seen.p99, target_ms, " ms", self.elsewhere.room(target_ms))


def watch(server, seconds):
    """What came of so long."""
    with Good(server) as good:
        time.sleep(seconds)  # what is measured
        good.end()
        return good
