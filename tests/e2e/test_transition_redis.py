"""Redis keys that move, on real servers: each step of a transition is pushed by the test, which does
what the agent would (the epoch's mark on every server) and looks where keys are."""

import threading
import time

import pytest

from harness.env import wait_for
from harness.wire import command
from test_transition_proxy import Walk

KINDS = {
    "string": (["SET", "v"], ["GET"]),
    "hash": (["HSET", "f", "v", "g", "2"], ["HGETALL"]),
    "list": (["RPUSH", "a", "b", "c"], ["LRANGE", "0", "-1"]),
    "set": (["SADD", "1", "2", "3"], ["SMEMBERS"]),
    "zset": (["ZADD", "1", "a", "2.5", "b"], ["ZRANGE", "0", "-1", "WITHSCORES"]),
    "stream": (["XADD", "5-1", "f", "v"], ["XRANGE", "-", "+"]),
    "hll": (["PFADD", "a", "b"], ["PFCOUNT"]),
    "bits": (["SETBIT", "1000", "1"], ["BITCOUNT"]),
}


def on(words, key):
    """words with the key behind the verb"""
    return [words[0], key, *words[1:]]


class RedisWalk(Walk):
    """As Walk, in storage mode, with marks."""

    def __init__(self, world, **options):
        super().__init__(world, "redis", **options)
        self.direct = [world.add(s.raw()) for s in self.servers]
        self.marks = 0
        self.push("prepare")
        self.client = world.add(self.proxy.raw())

    def push(self, phase, **more):
        more = {"mode": "storage", "hold_park_ms": 60, **more}
        if phase in ("dual", "dual-r") and "mark" not in more:
            self.marks += 1
            more["mark"] = f"1.{self.marks}"
            self.epoch(more["mark"])
        self.mark = more.setdefault("mark", f"1.{self.marks}" if self.marks else None)
        if more["mark"] is None:
            del more["mark"]
        return super().push(phase, **more)

    def epoch(self, mark):
        for d in self.direct:
            assert d.resp("SET", "twinring:epoch", mark) == b"+OK\r\n"

    def where(self, key):
        """The servers that have it."""
        return [i for i, d in enumerate(self.direct) if d.resp("EXISTS", key) == b":1\r\n"]

    def owners(self, key):
        """(old, new), as numbers of servers."""
        r = self.control.call("route.trace", pool="p", key=key.decode())["route"]
        return (int(r["current"]["child"]["server"][1:]), int(r["next"][1:]))

    def moving(self, count=1):
        """Keys that nothing has touched yet."""
        have = getattr(self, "given", [])
        keys = [k for k in self.keys(True, len(have) + count) if k not in have]
        self.given = have + keys
        return keys if count > 1 else keys[0]


@pytest.fixture
def walk(world):
    return RedisWalk(world)


def moved(walk, key):
    old, new = walk.owners(key)
    assert walk.where(key) == [new], (key, walk.where(key), old, new)


def test_every_kind_moves_on_first_touch(walk):
    keys = walk.moving(len(KINDS) * 2)
    shown = {}
    for (kind, (make, show)), key, mortal in zip(KINDS.items(), keys[::2], keys[1::2]):
        for k in (key, mortal):
            assert not walk.client.resp(*on(make, k)).startswith(b"-")
            shown[k] = walk.client.resp(*on(show, k))
        assert walk.client.resp("PEXPIRE", mortal, "5000000") == b":1\r\n"
        shown[mortal] = walk.client.resp(*on(show, mortal)), walk.client.resp("PEXPIRETIME", mortal)
    walk.push("hold")
    for (kind, (make, show)), key, mortal in zip(KINDS.items(), keys[::2], keys[1::2]):
        assert walk.client.resp(*on(show, key)) == shown[key]
        assert walk.where(key) == [walk.owners(key)[0]]
    walk.push("dual")
    for (kind, (make, show)), key, mortal in zip(KINDS.items(), keys[::2], keys[1::2]):
        assert walk.client.resp(*on(show, key)) == shown[key], kind
        moved(walk, key)
        assert walk.client.resp("PTTL", key) == b":-1\r\n"
        assert walk.client.resp(*on(show, mortal)) == shown[mortal][0], kind
        assert walk.client.resp("PEXPIRETIME", mortal) == shown[mortal][1]
        moved(walk, mortal)
    walk.push("drain")
    for (kind, (make, show)), key in zip(KINDS.items(), keys[::2]):
        assert walk.client.resp(*on(show, key)) == shown[key]
