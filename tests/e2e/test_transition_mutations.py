"""Rules that agents keep, each switched off in a build with mutations: the judge must see it. In other
builds there is nothing to switch, and the same scenes must be clean."""

import pytest

from harness import agent as agents
from harness import env
from harness.cluster import Cluster
from harness.oracle import inspect, sums

MUTATIONS = env.BUILD == "mutations"
pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")
KEYS = {"memcached": {"REGISTER": 2000, "LOCK": 200},
        "redis": {"REGISTER": 1500, "COUNTER": 60, "LIST": 60, "SET": 60, "HASH": 60}}


def violations(c):
    c.load.finish()
    servers = c.servers
    found = inspect(c.load, c.pool_now(), servers)
    found += c.load.read().judge(c.load.terms(losses=c.losses))
    if c.storage:
        found += sums(c.load, servers)
    return {v.rule for v in found}


def cluster(world, zookeeper, protocol, monkeypatch, bug, **options):
    """Four servers, of which three are in the ring; slow movers, so that much is left to rules."""
    if bug:
        monkeypatch.setenv("TWINRING_BUG", bug)
    c = Cluster(world, zookeeper, protocol, 4, 3, protocol == "redis", keys=KEYS[protocol],
                options={"moving": {"keys_per_s": 150}, **options})
    c.load.go().wait_seconds(1)
    return c


def grow(c):
    c.change(range(4))


def grow_with_junk(c):
    """What the new server holds of an earlier time; the scrub is to see to it."""
    owned = range(KEYS[c.protocol]["REGISTER"])
    with c.servers[3].raw() as d:
        for i in owned:
            value = b"r:%d=999999999=" % i
            if c.protocol == "redis":
                d.resp("SET", b"r:%d" % i, value)
            else:
                d.mc(b"set r:%d 0 0 %d\r\n%s\r\n" % (i, len(value), value))
    c.change(range(4))


def grow_and_abort(c):
    c.set_ring(range(4))
    c.wait_phase("dual")
    c.load.wait_seconds(len(c.load.seconds) + 1)
    c.wish("abort")
    c.wait_stable()


# rule: (protocol, scene)
SCENES = {"NOSCRUB": ("redis", grow_with_junk), "EARLYDRAIN": ("redis", grow),
          "NODRAINSTEP": ("redis", grow), "SHORTABORT": ("redis", grow_and_abort)}


@pytest.mark.parametrize("rule", SCENES)
def test_scene_is_clean(world, zookeeper, monkeypatch, rule):
    protocol, scene = SCENES[rule]
    c = cluster(world, zookeeper, protocol, monkeypatch, None)
    scene(c)
    assert not violations(c)


if MUTATIONS:
    @pytest.mark.parametrize("rule", SCENES)
    def test_mutation_is_found(world, zookeeper, monkeypatch, rule):
        protocol, scene = SCENES[rule]
        c = cluster(world, zookeeper, protocol, monkeypatch, rule)
        scene(c)
        assert violations(c)
