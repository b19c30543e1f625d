"""A pool grows, step by step, led by the coordinator on real ZooKeeper: every phase in its order, nothing
lost, whoever dies meanwhile."""

import time

import pytest

from harness import agent as agents
from harness.agent import spec
from harness.env import scaled, wait_for

pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")

FORWARD = ["prepare", "hold", "dual", "drain"]
BACK = ["hold", "hold-r", "dual-r", "drain-r"]
KEYS = 300


def phases(plane):
    """What the log says of the last transition, as [(from, to)]."""
    steps = []
    for e in plane.log():
        if e.get("what") == "transition begun":
            steps = []
        if e.get("what") == "step":
            steps.append(tuple(e["why"].split(":")[0].split(" > ")))
    return steps


class Growth:
    """Redis servers as a store, one of which is to join; agents with a proxy each."""

    def __init__(self, world, plane, n_agents=3, servers=4, agent_options=None, **options):
        self.world, self.plane = world, plane
        self.servers = world.redis(servers)
        self.options = {"mode": "storage", "transition": "two_ring", **options}
        self.old, self.new = self.servers[:-1], self.servers
        self.set(self.old)
        self.agents = plane.agents(n_agents, **(agent_options or {}))
        self.proxies = [plane.proxy_unstarted(a).begin() for a in self.agents]
        for p in self.proxies:
            wait_for(lambda p=p: p.ready, 10, "a proxy to be ready")
        plane.wait_status("ok")
        self.fill()

    def set(self, servers, **options):
        self.plane.set_spec(spec("redis", servers, **{**self.options, **options}))

    def fill(self):
        with self.proxies[0].raw() as c:
            for i in range(KEYS):
                assert c.resp("SET", f"k{i}", f"v{i}") == b"+OK\r\n"

    def check(self):
        """Every key is there, by every living proxy, and at exactly one server."""
        for p in self.proxies:
            if not p.alive():
                continue
            with p.raw() as c:
                for i in range(KEYS):
                    got = c.resp("GET", f"k{i}")
                    assert got == b"$%d\r\nv%d\r\n" % (len(f"v{i}"), i), (i, got)
        there = []
        for s in self.servers:
            with s.raw() as c:
                there += [int(c.resp("EXISTS", f"k{i}").strip(b":\r\n")) for i in range(KEYS)]
        assert sum(there) == KEYS, f"{sum(there)} copies of {KEYS} keys"
        with self.servers[-1].raw() as c:
            return sum(c.resp("EXISTS", f"k{i}") == b":1\r\n" for i in range(KEYS))

    def phase(self):
        t = (self.plane.state() or {}).get("transition")
        return t["phase"] if t and "phase" in t else None

    def stable(self):
        s = self.plane.state()
        return s and not s.get("transition") and s

    def wait_stable(self, seconds=30):
        return wait_for(self.stable, scaled(seconds), "the transition to end", every=0.05)

    def wait_phase(self, phase, seconds=15):
        wait_for(lambda: self.phase() == phase, scaled(seconds), f"phase {phase}")

    def wish(self, what):
        self.plane.put("pools/p/wish", {"epoch": self.plane.state()["epoch"], "wish": what})

    def coordinator(self):
        leader = self.plane.read("lock/coordinator/" + self.plane.names("lock/coordinator")[0])
        return next(a for a in self.agents if a.id == leader["id"])


def test_a_store_grows_through_every_phase(world, plane):
    g = Growth(world, plane)
    before = plane.state()["ring"]
    seen = []
    g.set(g.new)
    began = time.monotonic()

    def ended():
        p = g.phase()
        if p and (not seen or seen[-1] != p):
            seen.append(p)
        return g.stable() and plane.state()["ring"] != before
    wait_for(ended, scaled(20), "the new ring", every=0.002)
    print(f"took {time.monotonic() - began:.2f} s, seen {seen}")
    assert [t for _, t in phases(plane)] == FORWARD[1:]
    plane.wait_status("ok")
    moved = g.check()
    assert KEYS // 8 < moved < KEYS // 2, moved
    wait_for(lambda: len(plane.names("pools/p/barrier")) == 1, 10, "old barriers to be gone")
    for s in g.servers:
        with s.raw() as c:
            assert wait_for(lambda c=c: c.resp("EXISTS", "twinring:epoch") == b":0\r\n", 5, "no marks")
            assert c.resp("KEYS", "twinring:*") == b"*0\r\n"
