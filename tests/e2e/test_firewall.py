"""Rows 13 to 15: a firewall between the proxy and a server eats or refuses what is sent. The proxy lives
in a network namespace of its own, where the rules are; its clients reach it by a unix socket."""

import subprocess
import time
from pathlib import Path

import pytest

from harness import netns
from harness.checker import Checker, by_server
from harness.env import PROXY, scaled, wait_for
from harness.netns import Namespace, Window
from harness.proxy import Proxy, pool
from harness.wire import Raw

TIMEOUT_MS = 1000  # long, as the relays are threads of Python
GONE_WITHIN = 10  # seconds until a connection that nothing comes back on is given up
ESTABLISHED = "01"


class InsideProxy(Proxy):
    """Lives in the namespace, listens on a unix socket."""

    def __init__(self, workdir, name, pools, inside):
        self.client_path = Path(workdir) / f"{name}.client"
        super().__init__(workdir, name, pools, threads=1)
        self.argv = [*inside.run, PROXY, "-c", self.config_path]

    def listen_text(self, pool_name):
        return str(self.client_path)

    def addr(self, pool_name=None):
        return str(self.client_path)

    def connections(self, port):
        """How many established connections to `port` its kernel knows."""
        lines = Path(f"/proc/{self.pid}/net/tcp").read_text().splitlines()[1:]
        rows = [line.split() for line in lines]
        return sum(r[2].endswith(f":{port:04X}") and r[3] == ESTABLISHED for r in rows)


class Site:
    def __init__(self, world):
        self.inside = world.add(Namespace())
        self.servers = world.memcached(2)
        for s in self.servers:
            world.add(Window(self.inside, s.addr))
        self.proxy = world.add(InsideProxy(world.dir, world.name("proxy"), {
            "p": pool("memcached", self.servers, timeout_ms=TIMEOUT_MS)}, self.inside)).launch()
        keys = by_server("memcached", self.proxy.addr(), self.servers, 20)
        for s in self.servers:
            s.flush()
        self.bad = self.servers[1]
        self.key = keys[self.bad][0]
        self.checker = world.add(Checker(self.proxy.addr(), "memcached", keys[self.servers[0]],
                                         seed=world.seed)).go()

    def rule(self, *rule):
        subprocess.run([*self.inside.run, "iptables", "-w", "-A", "INPUT", "-p", "tcp", *rule],
                       check=True, timeout=10)

    def open(self):
        subprocess.run([*self.inside.run, "iptables", "-w", "-F"], check=True, timeout=10)

    def ask(self, conn):
        """(seconds, reply) of a write that belongs to the bad server."""
        began = time.monotonic()
        got = conn.send(b"set %s 0 0 1\r\ny\r\n" % self.key).mc()
        return time.monotonic() - began, got

    def recovers(self):
        self.open()
        with Raw(self.proxy.addr()) as c:
            wait_for(lambda: self.ask(c)[1] == b"STORED\r\n", 10, "the server to be used again")
        done = self.checker.ops
        wait_for(lambda: self.checker.ops > done + 50, 10, "the other server's client")
        self.checker.verdict()


pytestmark = pytest.mark.skipif(not netns.available(), reason="needs root")

DROPS = {
    # Whatever belongs to a connection; new ones may begin, and get no further.
    "13 established": ("--dport", "{port}", "!", "--syn", "-j", "DROP"),
    "15 one way": ("--sport", "{port}", "-j", "DROP"),
}


@pytest.mark.parametrize("what", DROPS)
def test_row_13_15_dropped(world, what):
    """Noticed within the request's timeout; the connection itself is given up within ten seconds."""
    site = Site(world)
    port = site.bad.port
    assert site.proxy.connections(port) == 1
    site.rule(*(a.format(port=port) for a in DROPS[what]))
    began = time.monotonic()
    with Raw(site.proxy.addr()) as c:
        took, got = site.ask(c)
        # Whether the write was done is not known: never an answer that says that it was, or was not.
        assert got.startswith(b"SERVER_ERROR"), got
        assert took < scaled(TIMEOUT_MS / 1000 * 1.1 + 0.1), took
        for _ in range(3):
            took, got = site.ask(c)
            assert got.startswith(b"SERVER_ERROR") and took < scaled(TIMEOUT_MS / 1000 * 1.1 + 0.1)
    wait_for(lambda: site.proxy.connections(port) == 0, GONE_WITHIN + 3, "the connection to be closed",
             every=0.1)
    assert time.monotonic() - began < GONE_WITHIN + 3
    site.recovers()


@pytest.mark.parametrize("how", ["tcp-reset", "icmp-port-unreachable"])
def test_row_14_rejected(world, how):
    """Refused at once: errors at once, and no busy loop."""
    site = Site(world)
    site.rule("--dport", str(site.bad.port), "-j", "REJECT", "--reject-with", how)
    with Raw(site.proxy.addr()) as c:
        took, got = site.ask(c)
        assert got.startswith(b"SERVER_ERROR") and took < scaled(TIMEOUT_MS / 1000 * 1.1 + 0.1)
        # What was connected has been noticed, and every connect is refused.
        wait_for(lambda: site.proxy.connections(site.bad.port) == 0, GONE_WITHIN + 3, "the end of it",
                 every=0.05)
        cpu, began = site.proxy.cpu_seconds(), time.monotonic()
        slowest = 0.0
        for _ in range(200):
            took, got = site.ask(c)
            assert got.startswith(b"SERVER_ERROR"), got
            slowest = max(slowest, took)
        assert slowest < scaled(0.1), slowest
        wait_for(lambda: time.monotonic() - began > 1, 5, "a second")
        assert site.proxy.cpu_seconds() - cpu < 0.8 * (time.monotonic() - began)
    site.recovers()
