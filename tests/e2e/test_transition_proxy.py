"""A proxy and a pool on its way to another ring: keys that stay are served in every phase, leases
decide whether keys that move are, and "drained" waits for what may still be executed."""

import time

import pytest

from harness.env import wait_for
from harness.proxy import ControlError, pool
from harness.wire import command

PHASES = ["prepare", "hold", "dual", "drain", "dual", "hold", "hold-r", "dual-r", "drain-r"]


class Walk:
    """A proxy whose pool goes from three servers to four, one pushed topology after the other."""

    def __init__(self, world, protocol, **options):
        servers = world.servers(protocol, 4)
        self.servers = servers
        self.old = pool(protocol, servers[:3], **options)
        self.new = pool(protocol, servers, **options)
        self.proxy = world.proxy({"p": self.old})
        self.control = world.add(self.proxy.control())
        self.version = 0

    def push(self, phase, lease_ms=0, grant=None, new=None, **more):
        """`lease_ms`: of the transition; `grant`: with this topology."""
        self.version += 1
        rules = {"phase": phase, "mode": "cache", "promote": True, "lease_ms": lease_ms,
                 "next": new or self.new, **more}
        return self.control.call(
            "topology.apply", lineage="l", epoch=1, step=self.version, version=self.version,
            pools={"p": self.old}, **({"transitions": {"p": rules}} if phase else {}),
            **({"lease_ms": grant} if grant is not None else {}))

    def keys(self, moving, count=20):
        """Keys that move, or that stay, by what the proxy itself says of them."""
        found, i = [], 0
        while len(found) < count:
            key = f"key{i}"
            i += 1
            if self.control.call("route.trace", pool="p", key=key)["route"]["moves"] == moving:
                found.append(key.encode())
        return found


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_keys_that_stay_are_served_in_every_phase(world, protocol):
    walk = Walk(world, protocol)
    walk.push("prepare")
    staying = walk.keys(False)
    with walk.proxy.raw() as c:
        for i, phase in enumerate(PHASES + [None]):
            value = b"v%d" % i
            walk.push(phase)
            for key in staying:
                if protocol == "memcached":
                    assert c.mc_set(key, value) == b"STORED\r\n"
                    assert c.mc_get(key) == value
                else:
                    assert c.resp("SET", key, value) == b"+OK\r\n"
                    assert c.resp("GET", key) == b"$%d\r\n%s\r\n" % (len(value), value)


def test_a_topology_must_make_sense(world):
    walk = Walk(world, "memcached")
    walk.push("prepare")
    shown = walk.control.call("topology.show")
    assert shown["transitions"]["p"]["phase"] == "prepare"
    for bad in [{"phase": "soon"}, {"slices": ["dual"] * 15}, {"mode": "storage"},
                {"next": {**walk.new, "protocol": "redis"}}, {"next": {**walk.new, "servers": []}},
                {"unknown": 1}, {"next": None}]:
        with pytest.raises(ControlError) as e:
            walk.push(**{"phase": "hold", **bad})
        assert "transitions" in str(e.value), e.value
        walk.version -= 1
    assert walk.control.call("topology.show") == shown


def fenced(c, keys):
    """Whether keys that move are refused; all or none."""
    replies = []
    for k in keys:
        c.send(b"set %s 0 0 1\r\nx\r\n" % k)
        replies.append(c.line())
    refused = [r.startswith(b"SERVER_ERROR") for r in replies]
    assert all(refused) or not any(refused), replies
    return refused[0]


def test_leases(world):
    """Only a leased proxy acts on keys that move; one that has run out needs a new one, for the
    topology in force."""
    walk = Walk(world, "memcached")
    walk.push("prepare", lease_ms=60000)
    moving = walk.keys(True)
    with walk.proxy.raw() as c:
        assert fenced(c, moving)  # never leased
        walk.push("prepare", lease_ms=60000, grant=60000)
        assert not fenced(c, moving)
        walk.control.call("lease.renew", lease_ms=300, version=walk.version - 1)
        assert not fenced(c, moving)
        wait_for(lambda: fenced(c, moving), 5, "the lease to run out")
        with pytest.raises(ControlError):
            walk.control.call("lease.renew", lease_ms=60000, version=walk.version - 1)
        assert fenced(c, moving)
        walk.control.call("lease.renew", lease_ms=60000, version=walk.version)
        assert not fenced(c, moving)
        # A message that lay in the socket of a stopped proxy is worth what is left of it.
        boot_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
        walk.control.call("lease.renew", lease_ms=60000, version=walk.version,
                          lease_until_us=boot_us - 1)
        assert fenced(c, moving)
        walk.control.call("lease.renew", lease_ms=60000, version=walk.version,
                          lease_until_us=boot_us + 30_000_000)
        assert not fenced(c, moving)
        assert walk.control.call("hello")["topology"]["lease_ms"] <= 30000
        walk.control.call("lease.renew", lease_ms=0, version=walk.version)
        assert fenced(c, moving)
        walk.push(None)
        with pytest.raises(ControlError):  # stable has no "moves": nothing is left to trace by
            walk.control.call("route.trace", pool="q", key="k")
        assert not fenced(c, moving)


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_drained_waits_for_what_may_still_be_executed(world, protocol):
    """Row 6: a server stops with a write on its way; the step is not drained until that write is
    known to be done, and the proxy says which server it waits for."""
    walk = Walk(world, protocol, timeout_ms=200)
    walk.push("prepare")
    key = walk.keys(False, 1)[0]
    name = walk.control.call("route.trace", pool="p", key=key.decode())["server"]
    server = walk.servers[int(name[1:])]
    with walk.proxy.raw() as c:
        server.pause()
        try:
            c.send(b"set %s 0 0 4\r\nlate\r\n" % key if protocol == "memcached"
                   else command("SET", key, "late"))
            assert b"timed out" in c.line()
            got = walk.push("hold")
            assert not got["drained"] and got["blocked_on"] == [name], got
            time.sleep(0.5)
            assert not walk.control.call("hello")["topology"]["drained"]
        finally:
            server.resume()
        walk.control.wait_event("drained", version=walk.version)
        shown = walk.control.call("hello")["topology"]
        assert shown["drained"] and "blocked_on" not in shown
    with server.raw() as d:  # it was executed, which is what had to be waited for
        assert b"late" in (d.mc_get(key) if protocol == "memcached" else d.resp("GET", key))
