#!/usr/bin/env -S python3 -B
"""Runs a command against a release replyd that has healthy traffic.

    tests/healthy.py tests/dashboards.py --metrics-url {}

Starts the release binary with the repository's own server.toml and a command, on free ports, asks each service
ten times a second and checks every reply; {} is the address of its /metrics. The exit code is the
command's, or 1 if the traffic was not healthy. Standard library only.
"""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True

from replyd import ROOT, Failure, Replyd, read_all  # noqa: E402: after the switch above

PAUSE_SECONDS = 0.1
TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"

# What server.toml leaves out, and has metrics of its own: a command, a file for maintenance.
CHECK = """
[[service]]
name = "check"
listen = "127.0.0.1:0"
read = "nothing"
maintenance.file = "{folder}/down"
[service.reply.command]
run = ["/bin/echo", "up"]
cache_seconds = 0.5
user = "@user@"
"""

# Request and reply of each service.
EXCHANGES = {
    "hello": (b"you\n", rb"hello, you\n"),
    "whois": (b"example\r\n", rb"% replyd, queried at " + TIME + rb"\r\n\r\nobject:   example\r\nstatus:   no entry\r\n"),
    "status": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", rb"HTTP/1.1 200 OK\r\n(.+\r\n)+\r\nok\n"),
    "agent": (b"", rb"up ready 100%\n"),
    "daytime": (b"", TIME + rb"\n"),
    "echo": (b"abc", rb"abc"),
    "check": (b"", rb"up\n"),
}


class Traffic:
    """A thread that asks every service, again and again, until it is told to stop."""

    def __init__(self, replyd):
        self.replyd = replyd
        self.faults = []
        self.is_stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        for service in sorted(self.replyd.listeners.keys() - EXCHANGES.keys() - {"admin"}):
            self.faults.append(f"server.toml has {service}, which is not asked here")
        # What is on the page only once it has happened is there before the command looks.
        self.ask_all()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_stopping.set()
        self.thread.join()

    def run(self):
        """The thread."""
        while not self.faults and not self.is_stopping.wait(PAUSE_SECONDS):
            self.ask_all()

    def ask_all(self):
        """One exchange with each service."""
        for service, (request, wanted) in EXCHANGES.items():
            try:
                self.ask(service, request, wanted)
            except (OSError, KeyError) as error:
                self.faults.append(f"{service}: {type(error).__name__}: {error}")

    def ask(self, service, request, wanted):
        """One exchange."""
        with self.replyd.connect(service) as sock:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            got = read_all(sock)
        if not re.fullmatch(wanted, got):
            self.faults.append(f"{service}: got {got!r}, wanted {wanted!r}")


def main():
    command = sys.argv[1:]
    if not command or command[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 64
    # So that an end from outside still ends our replyd.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    config = (ROOT / "server.toml").read_text(encoding="utf-8")
    config = re.sub(r'^(listen\s*=\s*"[^":]+):\d+"', r'\1:0"', config, flags=re.MULTILINE)
    config += CHECK.replace("@user@", pwd.getpwuid(os.geteuid()).pw_name)
    try:
        with Replyd(config) as replyd:
            with Traffic(replyd) as traffic:
                command = [word.replace("{}", replyd.admin_url()) for word in command]
                code = subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode
            for fault in traffic.faults:
                print(f"FAIL traffic: {fault}")
            replyd.wait_for_rest()
            replyd.terminate()
            stopped = replyd.wait()
            if stopped != 0:
                print(f"FAIL replyd ended with {stopped}:\n{replyd.log()}")
    except (Failure, OSError) as error:
        print(f"FAIL {type(error).__name__}: {error}")
        return 1
    return code or int(bool(traffic.faults) or stopped != 0)


if __name__ == "__main__":
    sys.exit(main())
