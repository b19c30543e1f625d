"""A whole system under load while its ring changes: servers, ZooKeeper, agents with a proxy each, and
whatever a nemesis does to them."""

import time

from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from . import scenario
from .agent import Plane, spec
from .env import scaled, wait_for
from .load import Load, now
from .oracle import prove
from .proxy import pool
from .relay import ChaosRelay

FORWARD = ["prepare", "hold", "dual", "drain"]
# A proxy that is cut off may act on moving keys for so long; short, or tests would take minutes.
LEASE_MS = 1500


class Cluster:
    """`total` servers, of which the first `n` are in the pool p. Options of the spec beyond those of
    a pool: `options`; of the load: **load_options."""

    def __init__(self, world, ensemble, protocol, total, n, storage=False, keys=None, n_agents=3,
                 threads=1, options=None, relays=False, verbose=False, **load_options):
        self.world, self.ensemble, self.protocol, self.storage = world, ensemble, protocol, storage
        self.plane = Plane(world, ensemble)
        # A cache that evicts would have a hit ratio of its own.
        kw = {"options": scenario.DURABLE if protocol == "redis" else ("-m", "1024")}
        self.servers = world.servers(protocol, total, **kw)
        self.wanted = {"mode": "storage" if storage else "cache", "transition": "two_ring",
                       "timeout_ms": 2000, **(options or {})}
        # A dozen processes share two CPUs here: HOLD may take longer than the 250 ms by default.
        self.wanted["moving"] = {"hold_park_ms": 1000, **self.wanted.get("moving", {})}
        self.set_ring(range(n))
        # Each agent has a way of its own to ZooKeeper, which can be cut.
        self.ways = [world.add(ChaosRelay(ensemble.servers[0].addr)) for _ in range(n_agents)] \
            if relays else []
        self.agents = [self._agent(i).begin() for i in range(n_agents)]
        for a in self.agents:
            a.wait_ready()
        self.proxies = [self.plane.proxy(a, threads=threads) for a in self.agents]
        self.plane.wait_status("ok")
        self.keys = dict(keys or scenario.KEYS[protocol])
        self.load = Load(world, protocol, self.proxies, self.keys, storage=storage,
                         **{"rate": 5000, "reads": 80, "deletes": 3, "conns": 5,
                            "refill": protocol == "memcached",
                            "multi": 5 if protocol == "memcached" else 0, **load_options})
        self.losses = []

    def _agent(self, i):
        source = {"source": f"zk:{self.ways[i].text}{self.plane.chroot}"} if self.ways else {}
        a = self.plane.agent_unstarted()
        a.options.update(source)
        return a

    # --- the pool ----------------------------------------------------------------------------

    def set_ring(self, which, **options):
        """The spec of an operator; `which`: numbers of servers. Returns what it was."""
        which = list(which)
        self.wanted = {**self.wanted, **options}
        servers = [self.servers[i] for i in which]
        names = [f"s{i}" for i in which]
        self.ring = {"which": which, **self.wanted}
        weights = self.wanted.get("weights")
        body = {k: v for k, v in self.wanted.items() if k != "weights"}
        doc = spec(self.protocol, servers, **body)
        doc["servers"] = pool(self.protocol, servers, names=names,
                              weights=weights and weights[:len(which)])["servers"]
        self.plane.set_spec(doc)
        self.doc = doc
        return self

    def pool_now(self):
        """The pool() of the ring that is in force, for owners(): from the ring body."""
        body = self.plane.read("pools/p/rings/" + self.plane.state()["ring"])["pool"]
        out = {k: v for k, v in body.items() if k in ("distribution", "hash", "hash_tag")}
        servers = [s if isinstance(s, str) else f"{s['host']}:{s['port']}:{s.get('weight', 1)} "
                   f"{s['name']}" for s in body["servers"]]
        return {"protocol": self.protocol, **out, "servers": servers}

    @staticmethod
    def quietly(read):
        """What read() returns; None when ZooKeeper is what the nemesis has killed."""
        try:
            return read()
        except (KazooException, KazooTimeoutError):
            return None

    def phase(self):
        """stable, or the first phase of the transition under way; None when it cannot be read."""
        state = self.quietly(self.plane.state)
        if state is None:
            return None
        t = state.get("transition")
        return (t.get("phase") or t["slices"][0]) if t else "stable"

    def wait_phase(self, phase, seconds=20):
        wait_for(lambda: self.phase() == phase, seconds, f"phase {phase}", every=0.003)

    def wait_begun(self, epoch, seconds=15):
        wait_for(lambda: self.plane.state()["epoch"] > epoch, seconds, "the transition to begin",
                 every=0.005)

    def wait_stable(self, seconds=40):
        """The transition has ended, one way or the other; or the report says what waits for what."""
        try:
            wait_for(lambda: self.phase() == "stable", seconds, "the ring to be stable", every=0.02)
        except AssertionError as e:
            raise AssertionError(f"{e}; status: {self.plane.status()}") from None

    def wait_stable_or_paused(self):
        """A server that was started anew may have lost what was moved there: whether to go on is for
        an operator to say, and here he says yes."""
        def there():
            walk = (self.quietly(self.plane.status) or {}).get("transition") or {}
            if walk.get("paused"):
                assert any("was started anew" in why for why in walk["blocked_on"]), walk
                self.wish("resume")
            return self.phase() == "stable"
        try:
            wait_for(there, 40, "the ring to be stable", every=0.2)
        except AssertionError as e:
            raise AssertionError(f"{e}; status: {self.plane.status()}") from None

    def change(self, which, seconds=40, **options):
        """From ring to ring, undisturbed; the phases that were seen."""
        epoch = self.plane.state()["epoch"]
        began = now()
        self.set_ring(which, **options)
        self.wait_begun(epoch)
        self.wait_stable(seconds)
        return began, now()

    def wish(self, what):
        """What `twinringctl transition abort|pause|resume` does."""
        self.plane.put("pools/p/wish", {"epoch": self.plane.state()["epoch"], "wish": what})

    # --- what a nemesis may want -------------------------------------------------------------

    def coordinator(self):
        """The agent that leads, or None."""
        names = self.plane.names("lock/coordinator")
        leader = self.plane.read("lock/coordinator/" + names[0]) if names else None
        return next((a for a in self.agents if leader and a.id == leader["id"]), None)

    def restart_agent(self, a):
        a.kill()
        a.begin().wait_ready()

    def restart_proxy(self, i):
        """It has another port afterwards, which the load is told."""
        self.proxies[i].kill()
        self.proxies[i].launch()
        self.load.moved(i)

    def restart_server(self, i, down_s=0.3):
        """A cache has lost everything; a store nothing that it acknowledged."""
        began = now()
        self.servers[i].kill()
        time.sleep(down_s)
        self.servers[i].restart()
        if self.protocol == "memcached":
            self.losses.append((began, now()))

    # --- the end -----------------------------------------------------------------------------

    def prove(self, settle_s=0.3, **kw):
        time.sleep(settle_s)
        prove(self.load, self.pool_now(), self.servers, losses=self.losses, **kw)
        return self

    def figures(self, *windows):
        """Hit ratio in percent, before and in each window."""
        h = self.load.read()
        return [round(r, 2) if (r := h.hit_ratio(*w)) is not None else None for w in windows]


# --- the nemesis -------------------------------------------------------------------------------

def _coordinator(c, rng):
    a = wait_for(c.coordinator, 10, "a coordinator")
    a.kill()
    time.sleep(rng.uniform(0, 2))
    a.begin().wait_ready()


def _agent(c, rng):
    a = rng.choice(c.agents)
    a.kill()
    time.sleep(rng.uniform(0, 2))
    a.begin().wait_ready()


def _proxy(c, rng):
    c.restart_proxy(rng.randrange(len(c.proxies)))


def _both(c, rng):
    i = rng.randrange(len(c.proxies))
    c.agents[i].kill()
    c.proxies[i].kill()
    time.sleep(rng.uniform(0, 1))
    c.agents[i].begin().wait_ready()
    c.proxies[i].launch()
    c.load.moved(i)


def _server(c, rng):
    c.restart_server(rng.choice(c.ring["which"]), rng.uniform(0, 0.5))


def _zookeeper(c, rng):
    for s in c.ensemble.servers:
        s.kill()
    time.sleep(rng.choice([0.5, LEASE_MS / 1000 + 1]))
    c.ensemble.restart()


def _cut(c, rng):
    way = rng.choice(c.ways)
    way.refuse()
    way.drop_all()
    time.sleep(rng.choice([0.5, LEASE_MS / 1000 * 1.1 + 3]))
    way.listen()


def _abort(c, rng):
    c.wish("abort")


def _stop_coordinator(c, rng):
    """Row 71, with a pause that outlives the session."""
    a = wait_for(c.coordinator, 10, "a coordinator")
    a.pause()
    time.sleep(scaled(3.5))
    a.resume()


NEMESES = {"coordinator": _coordinator, "agent": _agent, "proxy": _proxy, "agent+proxy": _both,
           "server": _server, "zookeeper": _zookeeper, "cut": _cut, "abort": _abort,
           "paused": _stop_coordinator}
