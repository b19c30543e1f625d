"""While rings change under load somebody dies, is cut off or changes his mind: nothing is lost, nothing
stale, and each run ends in a stable ring. Rows 57, 65, 66, 70-72, 75 of the fault catalogue.

A run is a seed: it decides who suffers, in which phase, for how long, and what is asked of the ring.
`make check` has a few; `make check-long` each nemesis in each phase, and more at random."""

import random

import pytest

from harness import agent as agents
from harness.cluster import FORWARD, LEASE_MS, NEMESES, Cluster
from harness.env import LONG, wait_for
from harness.zookeeper import Ensemble

pytestmark = [pytest.mark.long,
              pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")]
KINDS = {"memcached": ("memcached", False), "store": ("redis", True)}
SMALL = {"memcached": {"REGISTER": 800, "COUNTER": 20, "LOCK": 30, "APPEND": 30},
         "store": {"REGISTER": 500, "COUNTER": 20, "LOCK": 20, "APPEND": 20, "LIST": 20, "SET": 20,
                   "ZSET": 20, "STREAM": 20, "HASH": 20}}


@pytest.fixture
def ensemble(world):
    """ZooKeeper of its own, which a nemesis may kill."""
    return world.add(Ensemble(world.dir, "zk")).launch()


def run(world, ensemble, kind, nemesis, phase, seed):
    """One transition, and back, with one disaster on each way; in `make check` there is no way back."""
    rng = random.Random(seed)
    protocol, storage = KINDS[kind]
    c = Cluster(world, ensemble, protocol, 4, 3, storage, keys=SMALL[kind], relays=True, rate=3000,
                timeout=4000, options={"lease_ms": LEASE_MS, "moving": {"keys_per_s": 300}})
    c.load.go().wait_seconds(1)
    for which in (range(4), range(3)) if LONG else (range(4),):
        before = wait_for(lambda: c.quietly(c.plane.state), 20, "ZooKeeper")["ring"]
        c.set_ring(which)
        c.wait_phase(phase)
        NEMESES[nemesis](c, rng)
        c.wait_stable_or_paused()
        if nemesis == "abort":
            # What was aborted is not begun again by itself.
            assert c.plane.state()["ring"] == before
            c.set_ring(which, timeout_ms=c.wanted["timeout_ms"] + 1)
            wait_for(lambda: c.phase() == "stable" and len(c.pool_now()["servers"]) == len(which),
                     30, "the ring that was asked for again")
    c.prove()
    return c


CHOSEN = [("store", "coordinator", "dual"), ("store", "agent", "hold"), ("store", "proxy", "dual"),
          ("memcached", "server", "dual"), ("store", "cut", "dual"), ("store", "abort", "drain")]
ALL = [(k, n, p) for n in NEMESES for p in FORWARD for k in KINDS]


@pytest.mark.parametrize("kind, nemesis, phase", ALL if LONG else CHOSEN)
def test_nemesis(world, ensemble, seed, kind, nemesis, phase):
    run(world, ensemble, kind, nemesis, phase, seed)
