"""One thread of a process, standing still while the others run.

SIGSTOP knows only whole processes; a tracer can stop one thread. Standard library only.
"""

import contextlib
import ctypes
import os
import pathlib
import threading

from replyd import Failure

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17  # of ptrace(2)
WALL = 0x40000000  # waitpid(2): threads too


def ptrace(request, thread):
    """A request without arguments."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace: {os.strerror(ctypes.get_errno())}")


def thread_of(pid, name):
    """The thread of that name; the process' number in this machine's own count."""
    names = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        names[(task / "comm").read_text(encoding="utf-8").strip()] = int(task.name)
    if name not in names:
        raise Failure(f"no thread {name}, but {sorted(names)}")
    return names[name]


@contextlib.contextmanager
def wedged(pid, name):
    """Stops it, for as long as this lasts or the process lives."""
    thread = thread_of(pid, name)
    ptrace(SEIZE, thread)
    ptrace(INTERRUPT, thread)
    os.waitpid(thread, WALL)
    # A thread that has a tracer is not gone before that one has looked, and so its process neither.
    undertaker = threading.Thread(target=wait_for_end, args=(thread,))
    undertaker.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            ptrace(DETACH, thread)
        undertaker.join()


def wait_for_end(thread):
    """Until it has ended, or has no tracer anymore."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(thread, WALL)
