"""Where things are and how patient to be. Read from the environment once, so that every test agrees."""

import os
import random
import shutil
import socket
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = os.environ.get("TWINRING_BUILD", "release")
# For work on the tests themselves: "nutcracker" puts that in the proxy's place, "direct" puts
# nothing there, so that each pool is its first server.
UNDER_TEST = os.environ.get("TWINRING_UNDER_TEST", "twinring")
PROXY = Path(os.environ.get("TWINRING_PROXY", ROOT / "build" / BUILD / "twinring-proxy"))
# `make check` runs the long tests in a smaller size; `make check-long` in the full one.
LONG = os.environ.get("TWINRING_LONG") == "1"
# Sanitizers make the proxy, not the servers, slower; bounds on time are stretched by this.
SLOW = {"release": 1.0, "asan": 3.0, "tsan": 6.0, "mutations": 1.0}.get(BUILD, 1.0)

# Below the kernel's ephemeral range: a server that is down for a while must not find its port
# taken by some outgoing connection, nor must a connect to it meet itself.
PORTS = range(11000, 31000)
_port_lock = threading.Lock()
_port_random = random.Random(os.getpid() ^ time.monotonic_ns())
_port_given = set()


def free_port(host="127.0.0.1"):
    """A port nobody listens on now. Another process may still take it: launchers retry."""
    with _port_lock:
        for _ in range(200):
            port = _port_random.choice(PORTS)
            if port in _port_given:
                continue
            with socket.socket() as s:
                try:
                    s.bind((host, port))
                except OSError:
                    continue
            _port_given.add(port)
            return port
    raise RuntimeError("no free port found")


def scaled(seconds):
    """A bound on time, for the build that is under test."""
    return seconds * SLOW


def program(name):
    """Path of an installed program, or a failure that says what to do."""
    for path in (shutil.which(name), f"/usr/sbin/{name}"):
        if path and os.path.exists(path):
            return path
    raise RuntimeError(f"{name} is not installed: run deploy/install-deps.sh")


def wait_for(check, seconds=10.0, what="condition", every=0.01):
    """Poll check() until it is true; returns what it returned. Fails with the last exception."""
    deadline = time.monotonic() + scaled(seconds)
    last = None
    while True:
        try:
            got = check()
            if got:
                return got
            last = got
        except (OSError, AssertionError, EOFError) as e:
            last = e
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {scaled(seconds):g} s for {what}; last: {last!r}")
        time.sleep(every)
