"""Redis keys that move, on real servers: each step of a transition is pushed by the test, which does
what the agent would (the epoch's mark on every server) and looks where keys are."""

import threading
import time

import pytest

from harness.env import wait_for
from harness.proxy import pool
from harness.relay import ChaosRelay
from harness.wire import command

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


class Side:
    """One proxy of the pool, and a client of it. `seen`: the servers as it reaches them."""

    def __init__(self, world, seen, **options):
        self.old = pool("redis", seen[:3], **options)
        self.new = pool("redis", seen, **options)
        self.proxy = world.proxy({"p": self.old})
        self.control = world.add(self.proxy.control())
        self.client = world.add(self.proxy.raw())

    def push(self, version, rules):
        pools, transitions = {"p": self.new if rules == "done" else self.old}, {}
        if isinstance(rules, dict):
            transitions = {"transitions": {"p": {**rules, "next": self.new}}}
        return self.control.call("topology.apply", lineage="l", epoch=1, step=version,
                                 version=version, pools=pools, **transitions)


class RedisWalk:
    """From three servers to four in storage mode, with the marks that agents would set. `relayed`:
    a second proxy, which reaches the fourth server by a relay."""

    def __init__(self, world, relayed=False, **options):
        self.servers = world.redis(4)
        self.direct = [world.add(s.raw()) for s in self.servers]
        self.sides = [Side(world, self.servers, **options)]
        if relayed:
            self.relay = world.add(ChaosRelay(self.servers[3].addr))
            self.sides.append(Side(world, [*self.servers[:3], self.relay.text], **options))
        self.control, self.client = self.sides[0].control, self.sides[0].client
        self.version, self.marks, self.given = 0, 0, 0
        self.push("prepare")

    def push(self, phase, **more):
        """To all proxies, and wait until they have drained what went before."""
        self.version += 1
        if phase in ("dual", "dual-r"):
            self.marks += 1
            self.epoch(f"1.{self.marks}")
        rules = {"phase": phase, "mode": "storage", "hold_park_ms": 60,
                 **({"mark": f"1.{self.marks}"} if self.marks else {}), **more}
        for side in self.sides:
            if not side.push(self.version, phase if phase in (None, "done") else rules)["drained"]:
                side.control.wait_event("drained", version=self.version)

    def epoch(self, mark):
        for d in self.direct:
            assert d.resp("SET", "twinring:epoch", mark) == b"+OK\r\n"

    def where(self, key):
        """The servers that have it."""
        return [i for i, d in enumerate(self.direct) if d.resp("EXISTS", key) == b":1\r\n"]

    def owners(self, key):
        """(old, new), as numbers of servers."""
        r = self.control.call("route.trace", pool="p", key=key.decode())["route"]
        return int(r["current"]["child"]["server"][1:]), int(r["next"][1:])

    def keys(self, count, tag="", moving=True):
        """Keys that nothing has touched yet."""
        found = []
        while len(found) < count:
            self.given += 1
            key = f"{tag}key{self.given}"
            traced = self.control.call("route.trace", pool="p", key=key)["route"]
            if traced["moves"] == moving:
                found.append(key.encode())
        return found


@pytest.fixture
def walk(world):
    return RedisWalk(world)


def moved(walk, key):
    old, new = walk.owners(key)
    assert walk.where(key) == [new], (key, walk.where(key), old, new)


def test_every_kind_moves_on_first_touch(walk):
    keys = walk.keys(len(KINDS) * 2)
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


def test_a_write_waits_for_hold_to_end(walk):
    key, late = walk.keys(2)
    walk.push("hold", hold_park_ms=3000)
    walk.client.send(command("SET", key, "v") + command("GET", key))
    time.sleep(0.1)
    assert not walk.where(key)
    walk.push("dual")
    assert walk.client.resp_raw() == b"+OK\r\n"
    assert walk.client.resp_raw() == b"$1\r\nv\r\n"
    moved(walk, key)
    walk.push("hold", hold_park_ms=50)
    assert walk.client.resp("SET", late, "v").startswith(b"-TRYAGAIN ")
    assert not walk.where(late)


def test_there_and_back(walk):
    """What was written in any phase is there in all that follow; and everything ends where it
    began."""
    keys = walk.keys(6)
    for i, key in enumerate(keys):
        assert walk.client.resp("SET", key, i) == b"+OK\r\n"
    for phase in ["hold", "dual", "hold", "dual", "drain", "dual", "hold", "hold-r", "dual-r",
                  "drain-r", None]:
        if phase in ("drain", "drain-r"):  # what the mover does first
            for key in keys:
                walk.client.resp("GET", key)
        walk.push(phase)
        for i, key in enumerate(keys):
            value = int(walk.client.resp("GET", key).split(b"\r\n")[1])
            assert value % 100 == i
            if i % 2 or phase in ("hold", "hold-r"):
                continue
            assert walk.client.resp("INCRBY", key, 100) == b":%d\r\n" % (value + 100)
    for key in keys:
        assert walk.where(key) and walk.where(key)[0] < 3 and len(walk.where(key)) == 1


def test_no_key_comes_back(world):
    """A proxy whose RESTORE is delayed, until another one has moved the key and deleted it; or until
    a later epoch. The model's NOMARK and NOEPOCH."""
    walk = RedisWalk(world, relayed=True, timeout_ms=300)
    deleted, stale = walk.keys(2)
    for key in (deleted, stale):
        assert walk.client.resp("SET", key, "old") == b"+OK\r\n"
    walk.push("hold")
    walk.push("dual")
    late = walk.sides[1].client
    assert late.resp("EXISTS", "warm-up").startswith(b":")
    for key in walk.keys(1):  # so that its connection to the new server stands
        late.resp("GET", key)

    walk.relay.up.stall()
    late.send(command("INCR", deleted) + command("INCR", stale))
    assert b"timed out" in late.line() and b"timed out" in late.line()
    assert walk.client.resp("DEL", deleted) == b":1\r\n"
    assert not walk.where(deleted)
    assert walk.where(stale) == [walk.owners(stale)[0]]
    walk.epoch("2.1")
    for d in walk.direct:  # as if of the epoch that follows
        assert d.resp("HSET", "twinring:moved:1.1", deleted, "1").startswith(b":")
    walk.relay.up.flow()
    new = walk.direct[3]
    wait_for(lambda: b"errorstat_EPOCH:count=2" in new.resp("INFO", "errorstats"), 5,
             "both late commands to be refused")
    assert not walk.where(deleted)
    assert walk.where(stale) == [walk.owners(stale)[0]]

    # And in its own epoch: the key was moved, which its mark says.
    walk.push("dual")
    again = walk.keys(1)[0]
    assert walk.direct[walk.owners(again)[0]].resp("SET", again, "old") == b"+OK\r\n"
    walk.relay.up.stall()
    late.send(command("INCR", again))
    assert b"timed out" in late.line()
    assert walk.client.resp("GETDEL", again) == b"$3\r\nold\r\n"
    before = new.resp("INFO", "commandstats").count(b"cmdstat_hexists")
    calls = lambda: new.resp("INFO", "commandstats").split(b"cmdstat_hexists:calls=")[1].split(  # noqa: E731,E501
        b",")[0]
    assert before == 1
    had = calls()
    walk.relay.up.flow()
    wait_for(lambda: calls() != had, 5, "the late RESTORE")
    assert not walk.where(again)


class Counter(threading.Thread):
    """Pipelines of INCR on its own and on shared keys, through one proxy; knows what was done."""

    def __init__(self, world, side, keys):
        super().__init__(daemon=True)
        self.client = world.add(side.proxy.raw(timeout=20))
        self.keys, self.done, self.halt = keys, dict.fromkeys(keys, 0), threading.Event()
        self.problems, self.refused, self.last = [], 0, {}

    def run(self):
        try:
            while not self.halt.is_set():
                batch = self.keys * 3
                self.client.send(b"".join(command("INCR", k) for k in batch))
                for key in batch:
                    self.judge(key, self.client.resp_raw())
        except Exception as e:  # shown at the end
            self.problems.append(repr(e))

    def judge(self, key, reply):
        if reply.startswith(b":"):
            self.done[key] += 1
            value = int(reply[1:])
            if value <= self.last.get(key, 0):
                self.problems.append(f"{key} went from {self.last[key]} to {value}")
            self.last[key] = value
        elif reply.startswith(b"-TRYAGAIN "):
            self.refused += 1
        else:
            self.problems.append(reply)


def test_counters_are_exact(world):
    """Three clients at two proxies count on the same keys, in pipelines, while the ring changes and
    changes back; every acknowledged INCR counts, and no other."""
    walk = RedisWalk(world, relayed=True)
    keys = walk.keys(4) + walk.keys(2, moving=False)
    counters = [Counter(world, side, keys) for side in (*walk.sides, walk.sides[0])]
    for c in counters:
        c.start()
    for phase in ["hold", "dual", "drain", "dual", "hold", "hold-r", "dual-r", "drain-r", "dual-r",
                  "hold-r", "hold", "dual", "drain", "done"]:
        time.sleep(0.05)
        if phase in ("drain", "drain-r"):
            for key in keys:
                walk.client.resp("GET", key)
        walk.push(phase)
    time.sleep(0.05)
    for c in counters:
        c.halt.set()
    for c in counters:
        c.join(20)
        assert not c.is_alive() and not c.problems, c.problems[:5]
    for key in keys:
        done = sum(c.done[key] for c in counters)
        assert done > 0
        assert walk.client.resp("GET", key).split(b"\r\n")[1] == b"%d" % done, key
        assert len(walk.where(key)) == 1


def test_several_keys(world):
    """Commands whose keys have to be together: by hash tags all move together."""
    walk = RedisWalk(world, hash_tag="{}")
    tag = next(t for t in (f"{{t{i}}}" for i in range(100))
               if walk.control.call("route.trace", pool="p", key=t)["route"]["moves"])
    a, b, c, d, e = walk.keys(5, tag=tag)
    r = walk.client.resp
    assert r("SADD", a, "1", "2") == b":2\r\n" and r("SADD", b, "2", "3") == b":2\r\n"
    assert r("MSET", c, "c", d, "d") == b"+OK\r\n"
    walk.push("hold")
    assert r("SINTER", a, b) == b"*1\r\n$1\r\n2\r\n"
    assert r("MGET", c, e, d) == b"*3\r\n$1\r\nc\r\n$-1\r\n$1\r\nd\r\n"
    for words in [("SUNIONSTORE", e, a, b), ("RENAME", a, e), ("MSET", c, "x", d, "x"),
                  ("EVAL", "return 1", "2", a, b), ("DEL", c, d)]:
        assert r(*words).startswith(b"-TRYAGAIN "), words
    walk.push("dual")
    assert r("SINTERSTORE", e, a, b) == b":1\r\n"
    for key in (a, b, e):
        moved(walk, key)
    assert len(walk.where(c)) == 1
    script = "return {redis.call('GET',KEYS[1]),redis.call('GET',KEYS[2])}"
    assert r("EVAL", script, "2", c, d) == b"*2\r\n$1\r\nc\r\n$1\r\nd\r\n"
    for key in (c, d):
        moved(walk, key)
    walk.client.send(command("RENAME", c, e) + command("GET", e) + command("EXISTS", c, d))
    assert [walk.client.resp_raw() for _ in range(3)] == [b"+OK\r\n", b"$1\r\nc\r\n",
                                                          b":1\r\n"]
    far = next(k for k in walk.keys(50) if walk.owners(k)[0] != walk.owners(a)[0])
    assert r("RENAME", far, a).startswith((b"-CROSSSLOT ", b"-ERR no such key"))


def test_dialect_3_moves_keys_too(walk):
    key = walk.keys(1)[0]
    assert walk.client.resp("HSET", key, "f", "1.5") == b":1\r\n"
    assert walk.client.resp("HELLO", "3").startswith(b"%")
    for phase in ("hold", "dual"):
        walk.push(phase)
        assert walk.client.resp("HGETALL", key) == b"%1\r\n$1\r\nf\r\n$3\r\n1.5\r\n"
        assert walk.client.resp("GET", key).startswith(b"-WRONGTYPE ")
    moved(walk, key)
    assert walk.client.resp("HINCRBYFLOAT", key, "f", "1") == b"$3\r\n2.5\r\n"


def test_large_keys_stay_readable(walk):
    big, small = walk.keys(2)
    walk.client.resp("SETRANGE", big, "50000", "x")
    walk.client.resp("SETRANGE", small, "100", "x")
    limit = {"move_max_bytes": 20000}
    walk.push("hold", **limit)
    walk.push("dual", **limit)
    assert walk.client.resp("STRLEN", big) == b":50001\r\n"
    assert walk.client.resp("APPEND", big, "y").startswith(b"-TRYAGAIN ")
    assert walk.client.resp("APPEND", small, "y") == b":102\r\n"
    assert walk.where(big) == [walk.owners(big)[0]]
    moved(walk, small)


def test_connections_have_the_proxys_name(walk):
    name = walk.control.call("hello")["client_name"]
    walk.client.resp("SET", "any", "v")
    assert any(b" name=%s " % name.encode() in d.resp("CLIENT", "LIST") for d in walk.direct)
