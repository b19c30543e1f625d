"""Must show 4 and 6: ZooKeeper, agents and proxies die in every combination; traffic goes on at the last
good topology, each recovers by itself, and the state is right after it."""

import itertools
import json
import threading
import time

import pytest
from kazoo.client import KazooClient

from harness import agent as agents
from harness import env
from harness.agent import Plane, spec
from harness.checker import Checker
from harness.env import scaled, wait_for
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


# Sessions are of 1 s: this is many of them.
AWAY_S = 600 if env.LONG else 12


@pytest.mark.long
def test_row_56_no_quorum(world):
    """Two of three servers are dead for long. Nothing happens to clients, nor after the return."""
    rig = Rig(world, 3)
    for s in rig.ensemble.servers[:2]:
        s.kill()
    rig.away()
    before, since = rig.proxy.shown(), rig.checker.ops
    began = time.monotonic()
    fresh = rig.plane.proxy(rig.agent)
    assert fresh.ring() == {"s0", "s1", "s2"}, "a proxy that starts meanwhile is served"
    second = load(world, fresh, 1)
    wait_for(lambda: time.monotonic() - began > AWAY_S, AWAY_S + 10, "a long time", every=0.1)
    assert rig.proxy.shown() == before == fresh.shown()
    assert rig.checker.ops > since + 20 * AWAY_S
    rig.ensemble.restart()
    wait_for(lambda: rig.plane.answers(), 15, "the quorum")
    rig.works(1)
    follows(fresh, 3001)
    wait_for(lambda: rig.plane.names("live") == [rig.agent.id], 5, "the agent's registration")
    calm(rig.checker)
    calm(second)


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


def java_random_bytes(seed, count):
    """What java.util.Random(seed).nextBytes() gives."""
    mask = (1 << 48) - 1
    seed, out = (seed ^ 0x5DEECE66D) & mask, b""
    while len(out) < count:
        seed = (seed * 0x5DEECE66D + 0xB) & mask
        out += (seed >> 16 & 0xFFFFFFFF).to_bytes(4, "little")
    return out[:count]


def session_password(session):
    """ZooKeeper makes a session's password of its id alone."""
    return java_random_bytes(session ^ 0xB3415C00, 16)


def close_session(plane, owner, ephemeral):
    """Connect to this session and end it, by a second handle. Does it own the node even so?"""
    thief = KazooClient(plane.ensemble.hosts, timeout=10,
                        client_id=(owner, session_password(owner)),
                        connection_retry={"max_tries": -1, "delay": 0.005, "max_delay": 0.005})
    try:
        thief.start(timeout=3)
    except thief.handler.timeout_exception:
        pass
    thief.stop()
    thief.close()
    stat = plane.zk.exists(ephemeral)
    return stat is not None and stat.ephemeralOwner == owner


def test_row_59_session_is_closed_by_a_second_handle(world, plane):
    """The same client id in another hand, which closes the session: the server expires it at once,
    under an agent that is well and connected."""
    servers = world.memcached(3)
    edit(plane, servers, 0)
    agent = plane.agent(nanny=True, session_timeout_ms=10000)
    proxy = plane.proxy(agent)
    plane.wait_status("ok")
    checker = load(world, proxy)
    ephemerals = [f"live/{agent.id}", f"lock/nanny/{agent.id}"]
    wait_for(lambda: all(plane.zk.exists(p) for p in ephemerals), 5, "the nodes of the session")
    owner = plane.zk.exists(ephemerals[0]).ephemeralOwner
    barrier = wait_for(lambda: (e := plane.state()["epoch"]) and plane.names(f"pools/p/barrier/{e}.0")
                       and f"pools/p/barrier/{e}.0/{agent.id}", 5, "the acknowledgement")
    version, state = proxy.hello()["topology"]["version"], plane.raw("pools/p/state")
    # The library takes its session back within milliseconds, so this may need more than one try.
    began = wait_for(lambda: not close_session(plane, owner, ephemerals[0]) and time.monotonic(), 15,
                     "the session to be closed")

    def again():
        stats = [plane.zk.exists(p) for p in (*ephemerals, barrier)]
        return all(s and s.ephemeralOwner != owner for s in stats)
    wait_for(again, 5, "the agent to register again")
    assert time.monotonic() - began < scaled(5)
    wait_for(lambda: len(plane.names("lock/coordinator")) == 1, 5, "one coordinator")
    assert plane.raw("pools/p/state") == state, "no ring changes"
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
    wait_for(lambda: [e["agent"] for e in plane.decided("applied")] == [first.id, second.id, second.id],
             5, "the log")


def test_row_71_coordinators_stopped_at_any_moment(world, plane):
    """Each is stopped while it has something to write, its session expires, the other takes steps, and
    it wakes: what it writes then is refused. No step is lost, taken twice or taken back."""
    servers = world.memcached(3)
    edit(plane, servers, 0)
    pair = plane.agents(2, session_timeout_ms=1000)
    proxies = [plane.proxy(a) for a in pair]
    plane.wait_status("ok")
    epochs = []

    def watch(data, stat):
        epochs.append(json.loads(data)["epoch"] if data else 0)
    plane.zk.DataWatch("pools/p/state", watch)
    by_id = {a.id: a for a in pair}
    wanted, stopped = 0, []
    for n in range(4):
        first = wait_for(lambda: plane.names("lock/coordinator"), 5, "a coordinator")
        first = min(first, key=lambda name: name[-10:])
        holder = by_id[plane.read(f"lock/coordinator/{first}")["id"]]
        other = next(a for a in pair if a is not holder)
        edit(plane, servers, 10 * n + 1)
        moment = time.monotonic() + world.random.random() * 0.03
        wait_for(lambda moment=moment: time.monotonic() > moment, 1, "some moment", every=0.001)
        holder.pause()
        stopped.append(holder.id)
        wait_for(lambda other=other: plane.names("live") == [other.id], 15, "its session to expire")
        for k in (2, 3):
            wanted = edit(plane, servers, 10 * n + k)
            follows(proxies[pair.index(other)], wanted)
        state = plane.raw("pools/p/state")
        holder.resume()
        for p in proxies:
            follows(p, wanted)
        plane.wait_status("ok")
        assert plane.raw("pools/p/state") == state, "the one that woke wrote"
        wait_for(lambda: len(plane.names("live")) == 2, 10, "both to be back")
    assert len(set(stopped)) == 2
    assert epochs == sorted(epochs), epochs
    # "N servers, ring R, epoch E": each epoch once, by whoever made it.
    made = [int(e["why"].rpartition(" ")[2]) for e in plane.decided("applied")]
    assert made == sorted(set(made)) and made[-1] == plane.state()["epoch"], made
    assert 9 <= len(made) <= 13


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


def test_row_72_no_word_for_a_proxy_that_cannot_speak(world, plane):
    """A proxy that holds its lock and does not answer keeps the host's word back, also from an agent that
    has only just started and has never met it; once it is dead, nobody waits for it."""
    servers = world.memcached(3)
    edit(plane, servers, 0)
    agent = plane.agent(session_timeout_ms=1000)
    mute, steady = plane.proxy(agent), plane.proxy(agent)
    plane.wait_status("ok")
    checker = load(world, steady)

    def acked():
        return plane.names(f"pools/p/barrier/{plane.state()['epoch']}.0") == [agent.id]

    def held_back(n):
        epoch = plane.state()["epoch"]
        follows(steady, edit(plane, servers, n))
        wait_for(lambda: plane.state()["epoch"] > epoch, 5, "the step")
        # Long enough for a report each second, and for what a wrong one would say at its start.
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert not acked(), "the word was given while a proxy was silent"
            wait_for(lambda: True)
        assert plane.status()["blocked_on"] == [agent.id]
    wait_for(acked, 5, "the first word")
    mute.pause()
    held_back(1)
    agent.kill()
    agent.launch()
    held_back(2)
    mute.resume()
    wait_for(acked, 10, "the word, once it answers")
    follows(mute, 3002)
    mute.pause()
    held_back(3)
    mute.kill()
    wait_for(acked, 10, "the word, once it is dead")
    # Both at once, with the host's word given before: it is withdrawn, or given for the new step only.
    agent.kill()
    wait_for(lambda: not plane.names("live"), 10, "the session to end")
    edit(plane, servers, 4)
    agent.launch()
    follows(steady, 3004)
    wait_for(acked, 10, "the word of the new agent")
    plane.wait_status("ok")
    calm(checker)


def test_row_81_a_host_sleeps_past_its_lease(world, plane):
    """All of a host stands still for longer than the lease. When it wakes the lease is over before
    anything else happens; in a stable pool that harms nobody, and the agent takes it up again."""
    servers = world.memcached(3)
    edit(plane, servers, 0)
    agent = plane.agent(session_timeout_ms=1000, confirm_ms=500)
    proxy = plane.proxy(agent)
    plane.wait_status("ok")
    checker = load(world, proxy)

    def lease():
        return proxy.hello()["topology"]["lease_ms"]
    wait_for(lambda: lease() > 50000, 5, "a lease")
    agent.pause()
    with proxy.control() as c:
        assert 0 < c.call("lease.renew", lease_ms=1500)["lease_ms"] <= 1500
        assert lease() > 0
        # Asked before it sleeps, answered when it wakes: by then the lease is over.
        proxy.pause()
        until = time.monotonic() + 1.7
        c.raw.send(b'{"id": 99, "method": "hello"}\n')
        edit(plane, servers, 1)
        wait_for(lambda: time.monotonic() > until, 5, "the lease to be over")
        proxy.resume()
        answer = json.loads(c.raw.until(b"\n"))
        assert answer["id"] == 99 and answer["result"]["topology"]["lease_ms"] == 0, answer
    agent.resume()
    wait_for(lambda: lease() > 50000, 10, "the next lease")
    follows(proxy, 3001)
    plane.wait_status("ok")
    calm(checker)
