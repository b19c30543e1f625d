"""Must show 2 and 3: sick servers leave the ring by vote and come back by proof; doubt ejects nobody."""

import threading
import time

import pytest

from harness import agent as agents
from harness import netns
from harness.agent import EJECTION, HEALTH, spec
from harness.checker import Checker, by_server
from harness.env import scaled, wait_for
from harness.netns import Namespace, Window
from harness.wire import Raw

pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")
needs_namespaces = pytest.mark.skipif(not netns.available(), reason="needs root")

# From the failure to the state that says so: `fall` intervals, and a second for everything else.
EJECT_WITHIN = HEALTH["fall"] * HEALTH["interval_ms"] / 1000 + 1


class Asker(threading.Thread):
    """Gets one key, one request after the other, and remembers when each failed."""

    def __init__(self, addr, key):
        super().__init__(daemon=True)
        self.addr, self.key = addr, key
        self.halt = threading.Event()
        self.good, self.failed = [], []  # when it was answered
        self.problem = None

    def run(self):
        try:
            with Raw(self.addr) as c:
                while not self.halt.is_set():
                    got = c.mc(b"get %s\r\n" % self.key)
                    bad = not got.endswith(b"END\r\n")
                    (self.failed if bad else self.good).append(time.monotonic())
                    self.halt.wait(0.002)
        except Exception as e:  # a closed connection is a finding
            self.problem = repr(e)

    def stop(self):
        self.halt.set()
        if self.is_alive():
            self.join(10)
        assert not self.problem, self.problem


def others(servers, names):
    return [s for i, s in enumerate(servers) if f"s{i}" not in names]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_sick_server_leaves_and_returns(world, plane, how):
    """The proxy's own breaker ends the errors within the failure limit, the verdict of the nannies
    follows, and the server is back after `rise` good probes and its back-off, empty."""
    limit, timeout_ms = 2, 100
    servers = world.memcached(4)
    plane.set_spec(spec("memcached", servers, timeout_ms=timeout_ms, server_failure_limit=limit,
                        auto_eject_hosts=True, server_retry_timeout_ms=300))
    agent = plane.agent(nanny=True)
    proxy = plane.proxy(agent, threads=1)
    keys = by_server("memcached", proxy.addr(), servers, 30)
    for s in servers:
        s.flush()
    victim = servers[1]
    key, stale = keys[victim][:2]
    with victim.raw() as d:
        assert d.mc_set(stale, b"old") == b"STORED\r\n"
    wait_for(lambda: plane.names("lock/nanny") == [agent.id], 5, "the nanny")
    bystander = Checker(proxy.addr(), "memcached", [k for s in (servers[0], servers[2], servers[3])
                                                    for k in keys[s][:10]], seed=world.seed)
    world.add(bystander).go()
    asker = world.add(Asker(proxy.addr(), key))
    asker.start()
    wait_for(lambda: len(asker.good) > 50, 5, "load")
    began = time.monotonic()
    victim.kill() if how == "kill" else victim.pause()
    wait_for(lambda: plane.ejected() == {"s1"}, 10, "the ejection", every=0.005)
    took = time.monotonic() - began
    assert took < scaled(EJECT_WITHIN), f"ejected after {took:.2f} s"
    assert took > 0.5 * HEALTH["interval_ms"] / 1000, "one bad probe is no proof"
    wait_for(lambda: "s1" not in proxy.ring(), 5, "the proxy to follow")
    # The limit counts requests that time out; where connects are refused, the first and then probes
    # after 0.1 s, 0.2 s, ...: between them requests fail at once.
    errors = [t - began for t in asker.failed if t >= began]
    assert errors
    within = 0.1 * (2 ** (limit - 1) - 1) if how == "kill" else (limit + 1) * timeout_ms / 1000
    assert errors[-1] < scaled(within + 0.3), f"{len(errors)} errors, the last after {errors[-1]:.3f} s"
    wait_for(lambda: plane.decided("ejected", "s1"), 5, "the log")
    assert not plane.decided("returned")
    # Its keys are written elsewhere meanwhile: what it held is stale.
    with proxy.raw() as c:
        assert c.mc_set(stale, b"newer") == b"STORED\r\n"
    back = time.monotonic()
    victim.restart() if how == "kill" else victim.resume()
    wait_for(lambda: not plane.ejected(), 10, "the return", every=0.005)
    assert time.monotonic() - back > (HEALTH["rise"] - 1.5) * HEALTH["interval_ms"] / 1000
    wait_for(lambda: "s1" in proxy.ring(), 5, "the proxy to follow")
    wait_for(lambda: plane.decided("returned", "s1"), 5, "the log")
    with victim.raw() as d:
        assert d.mc_get(stale) is None, "a stale value came back"

    def served():
        with proxy.raw() as c, victim.raw() as d:
            assert c.mc_set(key, b"again") == b"STORED\r\n"
            return d.mc_get(key) == b"again"
    wait_for(served, 5, "its keys to go there again")
    asker.stop()
    assert [t for t in asker.failed if t > began + scaled(EJECT_WITHIN)] == []
    bystander.verdict()


def test_row_69_flapper_backs_off(world, plane):
    """Each time it stays out twice as long, and at last until a person decides."""
    servers = world.memcached(3)
    relay = world.relay(servers[0].addr)
    backoff = 300
    health = {"interval_ms": 250, "timeout_ms": 250, "fall": 2, "rise": 2}
    ejection = {**EJECTION, "backoff_ms": backoff, "quarantine_after": 3}
    doc = spec("memcached", [relay, *servers[1:]], health=health, ejection=ejection)
    plane.set_spec(doc)
    plane.agent(nanny=True)
    plane.wait_status("ok")
    for n in range(4):
        relay.refuse()
        relay.drop_all()
        wait_for(lambda: plane.ejected() == {"s0"}, 10, f"ejection {n + 1}")
        relay.listen()
        if n < 3:
            wait_for(lambda: not plane.ejected(), 10, f"return {n + 1}")
    wait_for(lambda: plane.decided("quarantined", "s0"), 5, "the quarantine")
    # By the log's clock: what we see of it may come late.
    out, back = ([e["time"] for e in plane.decided(what, "s0")] for what in ("ejected", "returned"))
    assert len(out) == 4 and len(back) == 3
    for n, ms in enumerate(b - a for a, b in zip(out, back)):
        assert ms > 0.75 * backoff * 2 ** n, f"ejected at {out}, returned at {back}"
    # A person decides: pinned, and then unpinned.
    plane.set_spec({**doc, "pins": {"s0": "in"}})
    wait_for(lambda: not plane.ejected(), 5, "the pin")
    plane.set_spec(doc)
    plane.wait_status("ok")
    assert not plane.ejected()


def test_pinned_out(world, plane):
    """An operator's word ejects and restores, whatever the nannies find."""
    servers = world.memcached(3)
    doc = spec("memcached", servers)
    plane.set_spec({**doc, "pins": {"s2": "out"}})
    agent = plane.agent(nanny=True)
    proxy = plane.proxy(agent)
    wait_for(lambda: proxy.ring() == {"s0", "s1"}, 5, "the pin")
    plane.set_spec(doc)
    wait_for(lambda: proxy.ring() == {"s0", "s1", "s2"}, 5, "the pin to go")


class Nannies:
    """Three of them; all but the first live in namespaces, where every server is a window."""

    def __init__(self, world, plane, servers):
        self.plane, self.windows = plane, []
        made = [plane.agent_unstarted(nanny=True, rack="r0").begin()]
        zookeeper = plane.ensemble.servers[0]
        for i in (1, 2):
            ns = world.add(Namespace())
            world.add(Window(ns, zookeeper.addr))
            self.windows.append([world.add(Window(ns, s.addr)) for s in servers])
            made.append(plane.agent_unstarted(nanny=True, run=ns.run, rack=f"r{i}",
                                              coordinator=False).begin())
        self.agents = [a.wait_ready() for a in made]
        wait_for(lambda: len(plane.names("lock/nanny")) == 3, 5, "three nannies")

    def votes(self, server):
        return set(self.plane.names(f"pools/p/votes/{server}"))

    def ids(self, *numbers):
        return {self.agents[n].id for n in numbers}


def decided_again(plane, doc, n):
    """The coordinator has decided once more since what was before this call."""
    plane.set_spec({**doc, "timeout_ms": 3000 + n})
    plane.wait_status("ok")


@needs_namespaces
def test_one_of_three_nannies_is_not_believed(world, plane):
    servers = world.memcached(4)
    doc = spec("memcached", servers)
    plane.set_spec(doc)
    n = Nannies(world, plane, servers)
    plane.wait_status("ok")
    n.windows[1][0].cut()
    wait_for(lambda: n.votes("s0") == n.ids(2), 5, "the vote of the one that is cut off")
    decided_again(plane, doc, 1)
    assert not plane.ejected() and not plane.decided("ejected")
    began = time.monotonic()
    n.windows[0][0].cut()
    wait_for(lambda: plane.ejected() == {"s0"}, 5, "two of three to be believed")
    assert time.monotonic() - began < scaled(EJECT_WITHIN)
    assert n.votes("s0") == n.ids(1, 2)
    n.windows[0][0].listen()
    wait_for(lambda: not plane.ejected(), 10, "the return")
    assert n.votes("s0") == n.ids(2)


@needs_namespaces
def test_row_67_nanny_without_a_network_abstains(world, plane):
    servers = world.memcached(4)
    doc = spec("memcached", servers)
    plane.set_spec(doc)
    n = Nannies(world, plane, servers)
    plane.wait_status("ok")
    for w in n.windows[1]:
        w.cut()
    lost = n.agents[2].id
    wait_for(lambda: plane.read(f"lock/nanny/{lost}")["abstains"], 5, "the abstention")
    decided_again(plane, doc, 1)
    assert not plane.decided("ejected")
    # The two that are left are a quorum of three, and a majority of two.
    servers[3].kill()
    wait_for(lambda: plane.ejected() == {"s3"}, 5, "the others to decide")


def test_all_servers_fail_at_once(world, plane):
    """It is the nannies that are blind, more likely: nobody is ejected."""
    servers = world.memcached(5)
    doc = spec("memcached", servers)
    plane.set_spec(doc)
    plane.agents(3, nanny=True)
    wait_for(lambda: len(plane.names("lock/nanny")) == 3, 5, "three nannies")
    plane.wait_status("ok")
    for s in servers:
        s.pause()
    wait_for(lambda: all(plane.read(f"lock/nanny/{n}")["abstains"]
                         for n in plane.names("lock/nanny")), 5, "the abstentions")
    wait_for(lambda: plane.decided("blind begun"), 5, "the alarm")
    decided_again(plane, doc, 1)
    allowed = 1 if EJECTION["cap_percent"] < 40 else 2
    assert len(plane.ejected()) <= allowed, plane.ejected()
    for s in servers:
        s.resume()
    decided_again(plane, doc, 2)


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "one by one"])
def test_row_68_half_of_the_pool_is_gone(world, plane, at_once):
    """Five of ten. At once, nannies rather doubt themselves; one by one, the cap holds."""
    servers = world.memcached(10)
    ejection = {**EJECTION, "cap_percent": 20}
    doc = spec("memcached", servers, ejection=ejection)
    plane.set_spec(doc)
    fleet = plane.agents(3, nanny=True)
    proxy = plane.proxy(fleet[0])
    wait_for(lambda: len(plane.names("lock/nanny")) == 3, 5, "three nannies")
    plane.wait_status("ok")
    for i, s in enumerate(servers[:5]):
        s.kill()
        if not at_once and i < 2:
            wait_for(lambda i=i: len(plane.ejected()) == i + 1, 5, "the ejection of one")
    wait_for(lambda: plane.decided("panic begun") or plane.decided("blind begun"), 10, "the alarm")
    for n in (1, 2, 3):
        decided_again(plane, doc, n)
        assert len(plane.ejected()) <= 2, plane.ejected()
    out = {e["server"] for e in plane.decided("ejected")}
    assert len(out) <= 2 and out <= {"s0", "s1", "s2", "s3", "s4"}
    assert len(proxy.ring()) >= 8
    for s in servers[:5]:
        s.restart()
    wait_for(lambda: not plane.ejected(), 20, "all to be back")
    begun = {e["what"].split()[0] for e in plane.log() if e["what"].endswith(" begun")}
    # The doubt of nannies that saw half of a pool fail lasts longer than this test.
    wait_for(lambda: all(plane.decided(f"{b} ended") for b in begun - {"blind"}), 10,
             "the end of the alarm")
    wait_for(lambda: len(proxy.ring()) == 10, 5, "the whole ring")


def test_row_68_no_more_than_the_cap(world, plane):
    servers = world.memcached(10)
    ejection = {**EJECTION, "cap_percent": 20}
    doc = spec("memcached", servers, ejection=ejection)
    plane.set_spec(doc)
    agent = plane.agent(nanny=True)
    proxy = plane.proxy(agent)
    plane.wait_status("ok")
    for s in servers[:4]:
        s.kill()
    wait_for(lambda: plane.decided("panic begun"), 5, "the alarm")
    wait_for(lambda: len(plane.ejected()) == 2, 5, "the two that may go")
    decided_again(plane, doc, 1)
    assert len(plane.ejected()) == 2 and len(plane.decided("ejected")) == 2
    assert len(proxy.ring()) == 8
    for s in servers[:4]:
        s.restart()
    wait_for(lambda: not plane.ejected() and plane.decided("panic ended"), 15, "all to be back")


def test_a_server_returns_by_steps(world, plane):
    """What its neighbours have taken over comes home with it, no request fails or misses meanwhile,
    and no copy is left to be found when it goes out the next time."""
    servers = world.memcached(3)
    plane.set_spec(spec("memcached", servers, transition="two_ring", timeout_ms=200))
    agent = plane.agent(nanny=True)
    proxy = plane.proxy(agent, threads=1)
    keys = by_server("memcached", proxy.addr(), servers, 30)
    for s in servers:
        s.flush()
    victim = servers[1]
    key, other, touched = keys[victim][:3]
    wait_for(lambda: plane.names("lock/nanny") == [agent.id], 5, "the nanny")
    victim.kill()
    wait_for(lambda: plane.ejected() == {"s1"}, 10, "the ejection")
    wait_for(lambda: "s1" not in proxy.ring(), 5, "the proxy to follow")
    with proxy.raw() as c:
        for k in (key, other, touched):
            assert c.mc_set(k, b"neighbour's") == b"STORED\r\n"
    asker = world.add(Hits(proxy.addr(), key))
    asker.start()
    victim.restart()
    wait_for(lambda: plane.state().get("transition"), 10, "the way back to begin")
    assert plane.ejected() == {"s1"}
    with proxy.raw() as c:
        wait_for(lambda: plane.state()["transition"]["phase"] == "dual", 10, "the keys to move")
        assert c.mc_get(touched) == b"neighbour's"
        wait_for(lambda: not plane.ejected(), 30, "the return")
        asker.stop()
        assert asker.misses == 0 and not asker.failed, (asker.misses, asker.failed)
        with victim.raw() as d:
            assert d.mc_get(key) == b"neighbour's"
        # Out again: what it had meanwhile must not be followed by what was there before.
        for k in (key, other, touched):
            assert c.mc_set(k, b"its own") == b"STORED\r\n"
        victim.kill()
        wait_for(lambda: plane.ejected() == {"s1"}, 10, "the second ejection")
        wait_for(lambda: "s1" not in proxy.ring(), 5, "the proxy to follow")
        for k in (key, other, touched):
            assert c.mc_get(k) is None, k


class Hits(Asker):
    """One that also counts misses."""

    misses = 0

    def run(self):
        try:
            with Raw(self.addr) as c:
                while not self.halt.is_set():
                    got = c.mc(b"get %s\r\n" % self.key)
                    if not got.endswith(b"END\r\n"):
                        self.failed.append(got)
                    self.misses += got == b"END\r\n"
                    self.halt.wait(0.002)
        except Exception as e:  # a closed connection is a finding
            self.problem = repr(e)
