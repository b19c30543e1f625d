"""Must show 4 and 6: ZooKeeper, agents and proxies die in every combination; traffic goes on at the last
good topology, each recovers by itself, and the state is right after it."""

import itertools
import threading
import time

import pytest

from harness import agent as agents
from harness.agent import Plane, spec
from harness.checker import Checker
from harness.env import wait_for
from harness.proxy import ControlError
from harness.zookeeper import Ensemble

pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")


def load(world, proxy, number=0):
    """A client that accepts no error at all."""
    return world.add(Checker(proxy.addr(), "memcached", [b"chk%d-%d" % (number, i) for i in range(30)],
                             seed=world.seed)).go()


def calm(checker):
    done = checker.ops
    wait_for(lambda: checker.ops > done + 50 or not checker.is_alive(), 10, "the client to be served")
    checker.verdict()


def edit(plane, servers, n):
    """Another state, with the same places for keys."""
    plane.set_spec(spec("memcached", servers, timeout_ms=3000 + n))
    return 3000 + n


def follows(proxy, timeout_ms, seconds=15):
    wait_for(lambda: proxy.shown()["pools"]["p"]["timeout_ms"] == timeout_ms, seconds,
             "the proxy to follow")


class Rig:
    """An ensemble, an agent, a proxy under load."""

    def __init__(self, world, size, **options):
        self.world = world
        self.ensemble = world.add(Ensemble(world.dir, "zk", size)).launch()
        self.plane = Plane(world, self.ensemble)
        self.servers = world.memcached(3)
        self.plane.set_spec(spec("memcached", self.servers))
        self.agent = self.plane.agent(session_timeout_ms=1000, **options)
        self.proxy = self.plane.proxy(self.agent)
        self.plane.wait_status("ok")
        self.checker = load(world, self.proxy)

    def away(self):
        wait_for(lambda: "the store is away" in self.agent.log()
                 or "disconnected" in self.agent.log() or "lost" in self.agent.log(), 10,
                 "the agent to notice")

    def works(self, n):
        """An edit is followed by the proxy, and the status says so."""
        follows(self.proxy, edit(self.plane, self.servers, n))
        self.plane.wait_status("ok")


def test_row_55_one_of_three_zookeepers_dies(world):
    rig = Rig(world, 3)
    rig.ensemble.wait_leader().kill()
    wait_for(lambda: rig.ensemble.leader() and rig.plane.answers(), 15, "a new leader")
    rig.works(1)
    calm(rig.checker)


def test_row_56_no_quorum(world):
    rig = Rig(world, 3)
    for s in rig.ensemble.servers[:2]:
        s.kill()
    rig.away()
    before = rig.proxy.shown()
    # Longer than the session.
    done = time.monotonic() + 2.5
    wait_for(lambda: time.monotonic() > done, 10, "the session to be overdue")
    assert rig.proxy.shown() == before
    fresh = rig.plane.proxy(rig.agent)
    assert fresh.ring() == {"s0", "s1", "s2"}, "a proxy that starts meanwhile is served"
    rig.ensemble.restart()
    wait_for(lambda: rig.plane.answers(), 15, "the quorum")
    rig.works(1)
    follows(fresh, 3001)
    calm(rig.checker)


def test_row_58_everything_dies(world):
    """ZooKeeper, the agent and one of two proxies at once; the agent comes back before ZooKeeper."""
    rig = Rig(world, 1)
    other = rig.plane.proxy(rig.agent)
    version = rig.proxy.hello()["topology"]["version"]
    rig.ensemble.kill()
    rig.agent.kill()
    other.kill()
    calm_at = rig.checker.ops
    wait_for(lambda: rig.checker.ops > calm_at + 50, 10, "traffic without a control plane")
    other.begin()
    rig.agent.begin()
    wait_for(lambda: other.ready, 15, "the proxy to serve without ZooKeeper")
    assert other.ring() == {"s0", "s1", "s2"}
    wait_for(lambda: "from the cache" in rig.agent.log(), 10, "the agent to start from its cache")
    assert other.hello()["topology"]["version"] == version
    second = load(world, other, 1)
    rig.ensemble.restart()
    wait_for(lambda: rig.plane.answers(), 15, "ZooKeeper")
    rig.works(1)
    follows(other, 3001)
    assert rig.plane.names("live") == [rig.agent.id]
    calm(rig.checker)
    calm(second)


def test_row_59_session_expires(world, plane):
    """The agent is stopped for longer than its session: it registers again under a new one."""
    servers = world.memcached(3)
    edit(plane, servers, 0)
    agent = plane.agent(nanny=True, session_timeout_ms=1000)
    proxy = plane.proxy(agent)
    plane.wait_status("ok")
    checker = load(world, proxy)
    ephemerals = [f"live/{agent.id}", f"lock/nanny/{agent.id}"]
    owner = wait_for(lambda: all(plane.zk.exists(p) for p in ephemerals)
                     and plane.zk.exists(ephemerals[0]).ephemeralOwner, 5, "the nodes of the session")
    version = proxy.hello()["topology"]["version"]
    agent.pause()
    wait_for(lambda: not any(plane.zk.exists(p) for p in ephemerals), 10, "the session to expire")
    agent.resume()

    def again():
        stats = [plane.zk.exists(p) for p in ephemerals]
        return all(s and s.ephemeralOwner != owner for s in stats)
    wait_for(again, 5, "the agent to register again")
    assert proxy.hello()["topology"]["version"] == version
    follows(proxy, edit(plane, servers, 1))
    plane.wait_status("ok")
    calm(checker)


def test_row_60_another_lineage(world, plane):
    """The tree is made anew: the last good topology stays, and the agent says why."""
    servers = world.memcached(3)
    edit(plane, servers, 0)
    agent = plane.agent()
    proxy = plane.proxy(agent)
    plane.wait_status("ok")
    checker = load(world, proxy)
    agent.kill()
    plane.delete_tree("pools")
    plane.put("cluster", {"format": 1, "lineage": "another"})
    plane.set_spec(spec("memcached", servers[:2]))
    agent.launch()
    wait_for(lambda: "lineage" in (plane.read(f"agents/{agent.id}")["problem"] or ""), 10, "the alarm")
    assert proxy.ring() == {"s0", "s1", "s2"}
    calm(checker)


def test_row_71_stopped_coordinator_writes_nothing_when_it_wakes(world, plane):
    servers = world.memcached(3)
    edit(plane, servers, 0)
    first = plane.agent(session_timeout_ms=1000)
    proxy = plane.proxy(first)
    plane.wait_status("ok")
    second = plane.agent(session_timeout_ms=1000)
    watching = plane.proxy(second)
    wait_for(lambda: len(plane.names("lock/coordinator")) == 2, 10, "a successor")
    first.pause()
    wait_for(lambda: plane.names("live") == [second.id], 15, "its session to expire")
    wanted = edit(plane, servers, 1)
    follows(watching, wanted)
    wanted = edit(plane, servers, 2)
    follows(watching, wanted)
    state = plane.raw("pools/p/state")
    first.resume()
    follows(proxy, wanted)
    plane.wait_status("ok")
    assert plane.raw("pools/p/state") == state
    assert [e["agent"] for e in plane.decided("applied")] == [first.id, second.id, second.id]


class Versions(threading.Thread):
    """Asks a proxy for its version, for ever; it must never go down."""

    def __init__(self, proxy):
        super().__init__(daemon=True)
        self.proxy, self.halt, self.seen, self.wrong = proxy, threading.Event(), [], []

    def run(self):
        while not self.halt.is_set():
            try:
                version = self.proxy.hello()["topology"]["version"]
            except (OSError, EOFError, ControlError, ValueError, KeyError, TypeError):
                version = 0  # it is down, or has no topology yet
            if version and self.seen and version < self.seen[-1]:
                self.wrong.append((self.seen[-1], version))
            if version:
                self.seen.append(version)
            self.halt.wait(0.005)

    def stop(self):
        self.halt.set()
        if self.is_alive():
            self.join(20)


def test_row_72_restarts_in_every_order(world, plane):
    """Agent and proxy die and return in every order while edits go on."""
    servers = world.memcached(3)
    edit(plane, servers, 0)
    agent = plane.agent(session_timeout_ms=1000)
    proxy = plane.proxy(agent)
    steady = plane.proxy(agent)
    plane.wait_status("ok")
    checker = load(world, steady)
    watchers = [world.add(Versions(p)) for p in (proxy, steady)]
    for w in watchers:
        w.start()
    halt, count = threading.Event(), itertools.count(1)

    def edits():
        while not halt.is_set():
            edit(plane, servers, next(count) % 1000)
            halt.wait(0.05)
    editor = threading.Thread(target=edits, daemon=True)
    editor.start()
    try:
        both = [agent, proxy]
        for how in ("kill", "stop"):
            for down in ([agent], [proxy], both, both[::-1]):
                for up in ([down] if len(down) == 1 else [down, down[::-1]]):
                    for p in down:
                        getattr(p, how)()
                    for p in up:
                        p.begin()
                    wait_for(lambda: proxy.ready, 10, "the proxy")
                    at = max(proxy.hello()["topology"]["version"],
                             steady.hello()["topology"]["version"])
                    for p in (proxy, steady):
                        wait_for(lambda p=p, at=at: p.hello()["topology"]["version"] > at, 15,
                                 "a newer version than at the restart")
    finally:
        halt.set()
        editor.join(10)
    wanted = edit(plane, servers, 5000)
    for p in (proxy, steady):
        follows(p, wanted)
    plane.wait_status("ok")
    for w in watchers:
        w.stop()
        assert not w.wrong, w.wrong[:5]
        assert len(set(w.seen)) > 8
    calm(checker)


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty"])
def test_row_53_broken_cache(world, how):
    """An agent that starts without ZooKeeper from a broken copy uses the generation before it, or none;
    the proxy serves on in any case."""
    rig = Rig(world, 1)
    rig.works(1)
    rig.ensemble.kill()
    rig.agent.kill()
    files = [f for f in sorted(rig.agent.state_dir.rglob("*")) if f.is_file()]
    assert files
    newest = max(files, key=lambda f: f.stat().st_mtime_ns)
    data = newest.read_bytes()
    newest.write_bytes({"truncated": data[:len(data) // 2], "empty": b"",
                        "flipped": data[:50] + bytes([data[50] ^ 4]) + data[51:]}[how])
    rig.agent.launch()
    assert rig.proxy.shown()["pools"]["p"]["timeout_ms"] == 3001
    rig.ensemble.restart()
    wait_for(lambda: rig.plane.answers(), 15, "ZooKeeper")
    rig.works(2)
    calm(rig.checker)
