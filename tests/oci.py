#!/usr/bin/env python3
"""Runs the container image of packaging/oci without a container engine, and asks it.

    tests/oci.py [LAYOUT]     by default target/oci

The image is unpacked by umoci as nobody special, a service is put where one would be mounted, and what its
configuration says is run, in a root, user and network namespace of its own: the image's fixed port is nobody else's there.
"""

import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile

from replyd import ROOT, STOP_SECONDS, Failure, Report, get, read_all, wait_until

SERVICE = """
[[service]]
name = "hello"
listen = "0.0.0.0:80"
read = "line"
reply.text = "hello, {{ request }}\\n"
"""

# What the image may have in it: nothing that nobody looks after.
FILES = {"etc/replyd/server.toml", "usr/bin/replyd"}

START_SECONDS = 20


def main():
    if sys.argv[1:2] == ["--inside"]:
        return inside(pathlib.Path(sys.argv[2]))
    image = tagged(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "target" / "oci")
    with tempfile.TemporaryDirectory(prefix="replyd-tests-") as folder:
        bundle = pathlib.Path(folder) / "bundle"
        subprocess.run(["umoci", "unpack", "--rootless", "--image", image, bundle], check=True)
        return subprocess.run(
            ["unshare", "--map-root-user", "--net", sys.executable, __file__, "--inside", bundle], check=False
        ).returncode


def tagged(layout):
    """LAYOUT:TAG of the only image in it."""
    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    (manifest,) = index["manifests"]
    return f"{layout}:{manifest['annotations']['org.opencontainers.image.ref.name']}"


def inside(bundle):
    """Within the namespaces."""
    raise_loopback()
    report = Report()
    report.group("the image: its files, its user, its program", content(bundle))
    report.group("the image runs, is asked, and drains", life(bundle))
    return report.finish()


def raise_loopback():
    """A new network namespace has it down."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh14x", b"lo", 0x1)  # IFF_UP
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS


def content(bundle):
    """What is wrong with what is in it."""
    root = bundle / "rootfs"
    files = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
    if files != FILES:
        yield f"it has {sorted(files)}"
    process = json.loads((bundle / "config.json").read_text(encoding="utf-8"))["process"]
    if process["user"]["uid"] != 65532 or process["user"]["gid"] != 65532:
        yield f"it runs as {process['user']}"
    if process["args"] != ["/usr/bin/replyd", "--config", "/etc/replyd/server.toml"]:
        yield f"it runs {process['args']}"


def life(bundle):
    """What is wrong with what it does."""
    root = bundle / "rootfs"
    services = root / "etc" / "replyd" / "conf.d"
    services.mkdir()
    (services / "hello.toml").write_text(SERVICE, encoding="utf-8")
    arguments = json.loads((bundle / "config.json").read_text(encoding="utf-8"))["process"]["args"]
    log = bundle / "log"
    with open(log, "wb") as to:
        process = subprocess.Popen(["unshare", f"--root={root}", *arguments], stdin=subprocess.DEVNULL, stderr=to)
    try:
        yield from asked(process, log)
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_SECONDS)
        if code != 0:
            yield f"it ended with {code}:\n{log.read_text(encoding='utf-8')}"
    finally:
        process.kill()
        process.wait()


def asked(process, log):
    """What is wrong with its answers."""

    def is_ready():
        if process.poll() is not None:
            raise Failure(f"it ended with {process.returncode}:\n{log.read_text(encoding='utf-8')}")
        return " ready\n" in log.read_text(encoding="utf-8")

    wait_until(is_ready, START_SECONDS, "ready in the log")
    for path in ["/-/ready", "/metrics"]:
        status, _ = get(f"http://127.0.0.1:7150{path}")
        if status != 200:
            yield f"{path} answers {status}"
    with socket.create_connection(("127.0.0.1", 80), timeout=20) as client:
        client.sendall(b"you\n")
        reply = read_all(client)
    if reply != b"hello, you\n":
        yield f"the service answers {reply!r}"


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
