"""Pools under load whose ring changes: what the tests of transitions have in common."""

import random
import threading
import time

from .load import Load, now
from .oracle import inspect, load_keys, prove, sums
from .proxy import pool
from .relay import Direction
from .walk import Walk
from .wire import Raw

# Enough keys of every kind for violations to be likely, few enough for each to be busy.
KEYS = {"memcached": {"REGISTER": 1500, "COUNTER": 40, "LOCK": 60, "APPEND": 60},
        "redis": {"REGISTER": 1200, "COUNTER": 40, "LOCK": 40, "APPEND": 40, "LIST": 40, "SET": 40,
                  "ZSET": 40, "STREAM": 40, "HASH": 40}}
HOT = {"memcached": {"REGISTER": 24, "COUNTER": 6, "LOCK": 12, "APPEND": 12},
       "redis": {"REGISTER": 24, "COUNTER": 8, "LOCK": 8, "APPEND": 8, "LIST": 8, "SET": 8, "ZSET": 8,
                 "STREAM": 8, "HASH": 8}}
# Redis that forgets nothing when it is killed.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class Evictor(threading.Thread):
    """A memcached server that is short of memory: it forgets what it likes, when it likes."""

    def __init__(self, servers, keys, pause=0.002, seed=0):
        super().__init__(daemon=True)
        self.servers, self.keys, self.pause = servers, keys, pause
        self.random = random.Random(seed)
        self.halt = threading.Event()
        self.evicted = 0
        self.start()

    def run(self):
        conns = [Raw(s.addr) for s in self.servers]
        try:
            while not self.halt.wait(self.pause):
                c = self.random.choice(conns)
                part = self.random.sample(self.keys, min(4, len(self.keys)))
                c.send(b"".join(b"delete %s\r\n" % k for k in part))
                self.evicted += sum(c.mc() == b"DELETED\r\n" for _ in part)
        except (OSError, EOFError):
            pass  # the server has been killed
        finally:
            for c in conns:
                c.close()

    def stop(self):
        self.halt.set()
        self.join(10)


class Scene:
    """Servers, three proxies without agents, load, and a walk from `ring` to `target`.

    before, after: which of the `total` servers are in either ring, as numbers, or as pool()s made
    by a function of the servers."""

    def __init__(self, world, protocol, total, before, after, storage=False, keys=None, proxies=3,
                 threads=1, environ=None, through=None, pool_options=None, server_options=None,
                 rules=None, evict=False, **load_options):
        self.world, self.protocol, self.storage = world, protocol, storage
        kw = {"options": server_options} if server_options else {}
        self.servers = world.servers(protocol, total, **kw)
        # What the proxies connect to: the servers, or a relay before each.
        self.seen = [through(s) for s in self.servers] if through else self.servers
        self.keys = dict(keys or KEYS[protocol])
        if evict:
            self.keys.pop("LOCK")  # a lock that is evicted is nobody's
        tags = {"cas_tags": True} if protocol == "memcached" else {}  # as a spec has it
        options = {"timeout_ms": 5000, **tags, **(pool_options or {})}

        def ring(which):
            if callable(which):
                return which(self.seen)
            return pool(protocol, [self.seen[i] for i in which], names=[f"s{i}" for i in which],
                        **options)
        self.ring, self.target = ring(before), ring(after)
        self.proxies = [world.proxy({"p": self.ring}, threads=threads, environ=environ)
                        for _ in range(proxies)]
        self.load = Load(world, protocol, self.proxies, self.keys, storage=storage,
                         **{"rate": 8000, "reads": 70, "deletes": 5, "conns": 6,
                            # Redis refuses requests for several keys in HOLD.
                            "multi": 5 if protocol == "memcached" else 0,
                            "refill": protocol == "memcached" and not storage, **load_options})
        self.walk = Walk(self.proxies, self.ring, self.target, self.seen_as_servers(),
                         load_keys(self.keys),
                         storage=storage, **{"hold_park_ms": 5000, **(rules or {})})
        assert self.walk.moving, "nothing moves"
        if evict:
            world.add(Evictor(self.servers, load_keys(self.keys), seed=world.seed))
        self.began = {}

    def go(self, warm_s=0.5):
        self.load.go()
        time.sleep(warm_s)
        return self

    def dwell(self, seconds):
        """For Walk: stay in each phase so long; nobody stays in HOLD."""
        def stay(phase):
            self.began.setdefault(phase, now())
            time.sleep(min(seconds, 0.1) if phase.startswith("hold") else seconds)
            assert self.load.alive(), self.load.describe()
        return stay

    def prove(self, **kw):
        """Every rule holds, by the clients and by the servers."""
        prove(self.load, self.walk.ring, self.seen_as_servers(), **kw)
        return self

    def seen_as_servers(self):
        """The servers, by the address that the pool has for them."""
        return self.servers if self.seen is self.servers else [Through(a, b) for a, b in
                                                               zip(self.seen, self.servers)]


class Through:
    """A server that is in the pool by the address of the relay before it."""

    def __init__(self, relay, server):
        self.text, self.port, self.raw = relay.text, server.port, server.raw


class _Jitter(Direction):
    """Each piece takes a time of its own, in its connection's order."""

    def __init__(self, most, seed):
        self.random, self.most = random.Random(seed), most
        super().__init__()

    @property
    def delay(self):
        return self.random.uniform(0, self.most)

    @delay.setter
    def delay(self, _):
        pass


def jitter(world, most):
    """For Scene: a network of its own before each server, on which nothing takes the same time twice."""
    def through(server):
        relay = world.relay(server.addr)
        relay.up, relay.down = _Jitter(most, world.seed), _Jitter(most, world.seed + 1)
        return relay
    return through


# So few keys that somebody is always at each of them; all of them move.
TINY = {"memcached": {"REGISTER": 8, "COUNTER": 3, "LOCK": 4, "APPEND": 3},
        "redis": {"REGISTER": 8, "COUNTER": 2, "LOCK": 2, "LIST": 2, "SET": 2, "HASH": 2}}


def hostile(world, protocol, storage=False, seconds=4.0, bug=None, most=0.012, evict=False, **load):
    """Everything at once: few keys, a slow and uneven network, proxies that are a phase apart, there
    and back again. Returns the Scene, its load at its end."""
    scene = Scene(world, protocol, 2, [0], [1], storage, keys=TINY[protocol], evict=evict,
                  environ={"TWINRING_BUG": bug} if bug else None, through=jitter(world, most),
                  **{"rate": 2500, "reads": 60, "deletes": 12, "conns": 4, "multi": 0, **load}).go(0.2)
    walk, rng, until = scene.walk, world.random, time.monotonic() + seconds
    while time.monotonic() < until:
        for phase in ["prepare", "hold", "dual", "drain"]:
            walk.to(phase, stagger=rng.uniform(0, 0.06))
            time.sleep(rng.uniform(0, 0.05))
            if phase != "drain" and rng.random() < 0.15:
                break
        if walk.phase == "drain" and rng.random() < 0.7:
            walk.finish(stagger=rng.uniform(0, 0.06))
        else:
            walk.back(lambda phase: time.sleep(rng.uniform(0, 0.05)))
    scene.load.finish()
    return scene


def violations(scene):
    """{rules broken}, by the clients and by what the servers have at the end."""
    load = scene.load
    found = inspect(load, scene.walk.ring, scene.seen_as_servers())
    found += load.read().judge(load.terms())
    if load.storage:
        found += sums(load, scene.seen_as_servers())
    return {v.rule for v in found}
