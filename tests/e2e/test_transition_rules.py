"""What proxies do with keys that move, phase by phase, under load and judged: the test pushes the
phases itself, so that nothing but the proxies and the rules is on trial."""

import time

import pytest

from harness.env import LONG
from harness.oracle import names
from harness.proxy import pool
from harness.scenario import DURABLE, HOT, Scene

KINDS = [("memcached", False), ("redis", False), ("redis", True)]
NAMES = ["memcached", "redis", "storage"]
kinds = pytest.mark.parametrize("protocol, storage", KINDS, ids=NAMES)
# In `make check` a Redis cache has the tests that differ from those of a Redis storage.
most = kinds if LONG else pytest.mark.parametrize("protocol, storage", [KINDS[0], KINDS[2]],
                                                  ids=[NAMES[0], NAMES[2]])
pytestmark = pytest.mark.long
STAY = 1.0 if LONG else 0.15


def clean(scene):
    """No rule broken, and no client saw an error."""
    scene.prove()
    assert not scene.load.read().errors(), scene.load.figures()


@kinds
def test_there_and_back(world, protocol, storage):
    """3 -> 5 -> 3 servers: nobody notices."""
    scene = Scene(world, protocol, 5, range(3), range(5), storage, ttls=5).go()
    scene.walk.forward(scene.dwell(STAY))
    scene.walk.forward(scene.dwell(STAY))
    clean(scene)


@pytest.mark.parametrize("protocol, storage, phase", [
    pytest.param(*k, phase, id=f"{name}-{phase}") for k, name in zip(KINDS, NAMES)
    for phase in ["prepare", "hold", "dual", "drain"]
    if LONG or (phase in ("hold", "dual", "drain") and name != "redis")])
def test_row_75_abort(world, protocol, storage, phase):
    """From each phase back to the old ring, and then all the way after all."""
    scene = Scene(world, protocol, 4, range(3), range(4), storage).go()
    for p in ["prepare", "hold", "dual", "drain"]:
        scene.walk.to(p)
        scene.dwell(STAY / 2)(p)
        if p == phase:
            break
    scene.walk.back(scene.dwell(STAY / 2))
    scene.dwell(STAY)("stable")
    scene.walk.forward(scene.dwell(STAY / 4))
    clean(scene)


@most
def test_reweight_and_other_ring(world, protocol, storage):
    """Keys that move between servers that were there before, and stay: by weight, and from
    twemproxy's ketama to the other one."""
    def reweighted(servers):
        return pool(protocol, servers, weights=[1, 3, 2], timeout_ms=5000,
                    **({"cas_tags": True} if protocol == "memcached" else {}))
    scene = Scene(world, protocol, 3, range(3), reweighted, storage).go()
    scene.walk.forward(scene.dwell(STAY))
    scene.walk.target = {**scene.walk.ring, "distribution": "ketama_wayfair"}
    scene.walk.look()
    assert scene.walk.moving
    scene.walk.forward(scene.dwell(STAY))
    clean(scene)


@most
def test_row_76_expand_shrink_expand(world, protocol, storage):
    """What a server kept from an earlier time in the ring does not come back."""
    scene = Scene(world, protocol, 4, range(3), range(4), storage).go()
    for _ in range(3):
        scene.walk.forward(scene.dwell(STAY / 4))
    clean(scene)


def test_row_77_evictor(world):
    """Servers that forget at any time, in each phase, and with hot keys: nothing stale for it."""
    scene = Scene(world, "memcached", 3, range(2), range(3), keys=HOT["memcached"], evict=True,
                  rate=20000, reads=60).go()
    for _ in range(4 if LONG else 2):
        scene.walk.forward(scene.dwell(STAY))
    scene.prove()


@most
def test_proxies_one_after_another(world, protocol, storage):
    """The barrier lets two neighbouring phases live at once, for long."""
    scene = Scene(world, protocol, 3, range(2), range(3), storage, keys=HOT[protocol], rate=12000).go()
    scene.walk.forward(stagger=0.15)
    scene.walk.forward(stagger=0.15)
    clean(scene)


def test_several_keys(world):
    """MGET and MSET over keys in all places: refused in HOLD, else as ever."""
    scene = Scene(world, "redis", 4, range(3), range(4), storage=True, multi=40, rate=6000,
                  keys={**HOT["redis"], "REGISTER": 120}).go()
    scene.walk.forward(scene.dwell(STAY))
    scene.prove()
    errors = scene.load.read().errors()
    assert errors, "nobody wrote several keys in HOLD"
    for (what, result), n in errors.items():
        assert what in ("GET", "SET") and result == "ERROR", (what, result, n)
    assert "first error: -TRYAGAIN" in scene.load.log()


@most
def test_slices(world, protocol, storage):
    """Each sixteenth of the keys in a phase of its own, rolling."""
    scene = Scene(world, protocol, 3, range(2), range(3), storage, keys=HOT[protocol],
                  rate=6000).go()
    walk = scene.walk
    walk.to("prepare")
    walk.scrub()
    if protocol == "redis":
        walk.new_mark()
    for i in range(18):
        walk.slices = ["dual" if n < i - 1 else "hold" if n == i - 1 else "prepare"
                       for n in range(16)]
        walk.publish()
        time.sleep(STAY / 10)
    walk.slices = None
    walk.to("dual", duties=False)
    walk.to("drain")
    walk.finish()
    clean(scene)


def test_row_7_restart_in_dual(world):
    """A cache server that restarts in DUAL has nothing, and old cas tokens are worthless."""
    scene = Scene(world, "memcached", 3, range(2), range(3)).go()
    scene.walk.to("prepare").to("hold").to("dual")
    for s in (scene.servers[2], scene.servers[0]):
        s.kill()
        s.restart()
        time.sleep(STAY)
    scene.walk.to("drain").finish()
    scene.dwell(STAY)("stable")
    scene.load.finish()
    scene.prove(losses=[(scene.load.preload[1], float("inf"))])


def test_row_78_stopped_target(world):
    """Redis stops within imports; the way back is taken while it is stopped as far as possible, and
    all that was sent to it happens later."""
    scene = Scene(world, "redis", 3, range(2), range(3), storage=True,
                  keys=HOT["redis"], server_options=DURABLE,
                  pool_options={"timeout_ms": 300}).go()
    walk = scene.walk
    walk.to("prepare").to("hold")
    target = scene.servers[2]
    walk.duties("dual")
    target.pause()
    walk.to("dual", duties=False, barrier=False)
    time.sleep(1)
    # Nobody has drained: what timed out is still to come.
    walk.phase = "hold"
    walk.publish(barrier=False)
    time.sleep(0.3)
    for p in scene.proxies:
        with p.control() as c:
            hello = c.call("hello")["topology"]
            assert not hello["drained"] and hello["blocked_on"] == ["s2"], hello
    target.resume()
    walk.publish()
    walk.back()
    time.sleep(STAY)
    scene.prove()


def test_row_6_stopped_in_prepare(world):
    """A set that has timed out, and may yet happen, holds back the barrier."""
    scene = Scene(world, "memcached", 3, range(2), range(3),
                  pool_options={"timeout_ms": 300}).go()
    walk, victim = scene.walk, scene.servers[0]
    walk.to("prepare")
    victim.pause()
    time.sleep(0.5)
    walk.phase = "hold"
    walk.publish(barrier=False)
    time.sleep(0.5)
    for p in scene.proxies:
        with p.control() as c:
            hello = c.call("hello")["topology"]
            assert not hello["drained"] and "s0" in hello["blocked_on"], hello
    victim.resume()
    walk.publish()
    walk.to("dual").to("drain").finish()
    scene.prove()


def test_row_83_legacy_client(world):
    """In STABLE, before and after, every key is where a ketama client looks for it."""
    scene = Scene(world, "memcached", 4, range(3), range(4), rate=2000).go()
    scene.walk.forward()
    scene.load.finish()
    scene.walk.phase = "stable"
    for s in scene.servers:
        mine = {k for k, text in scene.walk.before.items() if text == s.text}
        assert len(mine & set(names(s, "memcached"))) > 0.9 * len(mine) * 0.9
