"""Rules that agents keep, each switched off in a build with mutations: the judge must see it. In other
builds there is nothing to switch, and the same scenes must be clean."""

import pytest

from harness import agent as agents
from harness import env
from harness.cluster import FORWARD, Cluster
from harness.oracle import inspect, load_keys, owners, sums
from harness.proxy import servers_of

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
    four = {**c.pool_now(), "servers": servers_of(c.servers)}
    with c.servers[3].raw() as d:
        for key, owner in owners(four, load_keys(c.keys)).items():
            if owner == c.servers[3].text and key[:1] == b"r":
                assert d.resp("SET", key, b"%s=999999999=" % key) == b"+OK\r\n"
    c.change(range(4))


def grow_and_abort(c):
    c.set_ring(range(4))
    c.wait_phase("dual")
    c.load.wait_seconds(len(c.load.seconds) + 1)
    c.wish("abort")
    c.wait_stable()


def phases(c):
    """As the log has the last transition."""
    steps = [e["why"].split(":")[0].split(" > ")[1] for e in c.plane.log() if e["what"] == "step"]
    return steps[-len(FORWARD):]


# rule: (protocol, scene)
SCENES = {"NOSCRUB": ("redis", grow_with_junk), "EARLYDRAIN": ("redis", grow),
          "SHORTABORT": ("redis", grow_and_abort)}


@pytest.mark.parametrize("rule", SCENES)
def test_scene_is_clean(world, zookeeper, monkeypatch, rule):
    protocol, scene = SCENES[rule]
    c = cluster(world, zookeeper, protocol, monkeypatch, None)
    scene(c)
    assert not violations(c)


def test_no_phase_is_left_out(world, zookeeper, monkeypatch):
    """Between DUAL and the new ring comes DRAIN. What happens without is too rare for a load."""
    c = cluster(world, zookeeper, "redis", monkeypatch, "NODRAINSTEP" if MUTATIONS else None)
    grow(c)
    assert ("drain" in phases(c)) != MUTATIONS, phases(c)


if MUTATIONS:
    @pytest.mark.parametrize("rule", SCENES)
    def test_mutation_is_found(world, zookeeper, monkeypatch, rule):
        protocol, scene = SCENES[rule]
        c = cluster(world, zookeeper, protocol, monkeypatch, rule)
        scene(c)
        assert violations(c)
