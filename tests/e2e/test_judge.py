"""The judge of histories, judged: every kind of violation is found in a history made by hand, nothing
is found in its lawful neighbour, and a pool that is really broken is found to be so."""

import pytest

from harness.judge import INF, Op, Terms, judge_key, judge_sum
from harness.load import Load
from harness.oracle import inspect, load_keys, prove
from harness.proxy import pool
from harness.walk import Walk

PRELOAD = (1, 2)


def op(what, begin, end, value=0, result="OK", aux=0, conn=None, tokens=()):
    return Op(begin * 10, end * 10, what, result, value, aux, conn, list(tokens))


def rules(kind, ops, storage=False, **terms):
    # Each on a connection of its own, where nothing else is said.
    ops = [o._replace(conn=100 + i) if o.conn is None else o for i, o in enumerate(ops)]
    t = Terms(storage=storage, preload=PRELOAD, slack_s=0, **terms)
    return {v.rule for v in judge_key(kind, 1, ops, t)}


SET5, SET6 = op("SET", 1, 2, 5), op("SET", 3, 4, 6)

# name: (kind, operations, what is found in a cache, what is found in storage)
CASES = {
    "newest value": ("REGISTER", [SET5, SET6, op("GET", 5, 6, 6)], set(), set()),
    "stale": ("REGISTER", [SET5, SET6, op("GET", 5, 6, 5)], {"FRESH"}, {"FRESH"}),
    "stale, of the preload": ("REGISTER", [SET5, op("GET", 5, 6, 1)], {"FRESH"}, {"FRESH"}),
    "either of two at once": ("REGISTER", [SET5, op("SET", 1, 4, 6), op("GET", 5, 6, 5)],
                              set(), set()),
    "read while it is overwritten": ("REGISTER", [SET5, SET6, op("GET", 3, 6, 5)], set(), set()),
    "unknown set, not read": ("REGISTER", [SET5, op("SET", 3, INF, 6, "LOST"), op("GET", 5, 6, 5)],
                              set(), set()),
    "unknown set, late": ("REGISTER", [op("SET", 1, INF, 6, "ERROR"), op("SET", 2, 3, 7),
                                       op("GET", 5, 6, 6)], set(), set()),
    "unknown set, read and then not": ("REGISTER", [SET5, op("SET", 3, INF, 6, "LOST"),
                                                    op("GET", 5, 6, 6), op("GET", 7, 8, 5)],
                                       {"MONO"}, {"MONO"}),
    "not monotonous": ("REGISTER", [SET5, op("SET", 3, 9, 6), op("GET", 4, 5, 6),
                                    op("GET", 6, 7, 5)], {"MONO"}, {"MONO"}),
    "delete undone": ("REGISTER", [SET5, op("DELETE", 3, 4), op("GET", 5, 6, 5)],
                      {"FRESH"}, {"FRESH"}),
    "lost": ("REGISTER", [SET5, op("GET", 5, 6, 0)], set(), {"FRESH"}),
    "lost before anything happened": ("REGISTER", [op("GET", 5, 6, 0)], set(), {"FRESH"}),
    "deleted": ("REGISTER", [SET5, op("DELETE", 3, 4), op("GET", 5, 6, 0)], set(), set()),
    "perhaps deleted": ("REGISTER", [SET5, op("DELETE", 3, INF, result="LOST"),
                                     op("GET", 5, 6, 0)], set(), set()),
    "set after its deletion": ("REGISTER", [op("DELETE", 1, 2), SET6, op("GET", 5, 6, 0)],
                               set(), {"FRESH"}),
    "seen, then lost": ("REGISTER", [op("DELETE", 0.5, 0.8), op("SET", 1, INF, 5, "LOST"),
                                     op("GET", 2, 3, 5), op("GET", 4, 5, 0)], set(), {"MONO"}),
    "invented": ("REGISTER", [op("GET", 5, 6, 77)], {"GHOST"}, {"GHOST"}),
    "refused, yet there": ("REGISTER", [op("SET", 1, 2, 5, "TRYAGAIN"), op("GET", 5, 6, 5)],
                           {"GHOST"}, {"GHOST"}),
    "from the future": ("REGISTER", [op("GET", 0.5, 0.7, 5), SET5], {"GHOST"}, {"GHOST"}),
    "impossible reply": ("REGISTER", [op("GET", 1, 2, result="CORRUPT")], {"CORRUPT"}, {"CORRUPT"}),
    "expired": ("REGISTER", [op("SET", 1, 2, 5, aux=1), op("GET", 2e6, 2e6 + 1, 5)],
                {"EXPIRED"}, {"EXPIRED"}),
    "expired and gone": ("REGISTER", [op("SET", 1, 2, 5, aux=1), op("GET", 2e6, 2e6 + 1, 0)],
                         set(), set()),
    "gone before its time": ("REGISTER", [op("SET", 1, 2, 5, aux=1), op("GET", 5, 6, 0)],
                             set(), {"FRESH"}),
    "cas on the newest": ("REGISTER", [SET5, op("CAS", 5, 6, 7, aux=5), op("GET", 7, 8, 7)],
                          set(), set()),
    "cas over another": ("REGISTER", [SET5, SET6, op("CAS", 5, 6, 7, aux=5)], {"CAS"}, {"CAS"}),
    "cas over a delete": ("REGISTER", [SET5, op("DELETE", 3, 4), op("CAS", 5, 6, 7, aux=5)],
                          {"CAS"}, {"CAS"}),
    "cas refused": ("REGISTER", [SET5, SET6, op("CAS", 5, 6, 7, "FAIL", aux=5)], set(), set()),
    "pipelined, in order": ("REGISTER", [op("SET", 1, 9, 5, conn=1), op("SET", 2, 9, 6, conn=1),
                                         op("GET", 3, 9, 6, conn=1)], set(), set()),
    "pipelined, overtaken": ("REGISTER", [op("SET", 1, 9, 5, conn=1), op("SET", 2, 9, 6, conn=1),
                                          op("GET", 3, 9, 5, conn=1)], {"ORDER"}, {"ORDER"}),
    "pipelined, too early": ("REGISTER", [op("GET", 1, 9, 5, conn=1), op("SET", 2, 9, 5, conn=1)],
                             {"ORDER"}, {"ORDER"}),
    "pipelined elsewhere": ("REGISTER", [op("SET", 1, 9, 5, conn=1), op("SET", 2, 9, 6, conn=2),
                                         op("GET", 3, 9, 5, conn=2)], set(), set()),
    "lock, released": ("LOCK", [op("ADD", 1, 2, 5), op("DELETE", 3, 4), op("ADD", 5, 6, 6)],
                       set(), set()),
    "lock, twice": ("LOCK", [op("ADD", 1, 2, 5), op("ADD", 5, 6, 6)], {"LOCK"}, {"LOCK"}),
    "lock, at once": ("LOCK", [op("ADD", 1, 5, 5), op("ADD", 2, 6, 6)], set(), set()),
    "lock, perhaps released": ("LOCK", [op("ADD", 1, 2, 5), op("DELETE", 3, INF, result="ERROR"),
                                        op("ADD", 5, 6, 6)], set(), set()),
    "lock, released before": ("LOCK", [op("DELETE", 0.1, 0.2), op("ADD", 1, 2, 5),
                                       op("ADD", 5, 6, 6)], {"LOCK"}, {"LOCK"}),
    "lock, refused": ("LOCK", [op("ADD", 1, 2, 5), op("ADD", 5, 6, 6, "FAIL")], set(), set()),
    "counted": ("COUNTER", [op("INCR", 1, 2, (1 << 20) + 1), op("INCR", 3, 4, (1 << 20) + 2),
                            op("GET", 5, 6, (1 << 20) + 2)], set(), set()),
    "counted twice the same": ("COUNTER", [op("INCR", 1, 2, (1 << 20) + 1),
                                           op("INCR", 3, 4, (1 << 20) + 1)],
                               {"COUNT", "FRESH"}, {"COUNT", "FRESH"}),
    "counted back": ("COUNTER", [op("INCR", 1, 2, (1 << 20) + 1), op("INCR", 3, 4, (1 << 20) + 2),
                                 op("GET", 5, 6, (1 << 20) + 1)], {"FRESH"}, {"FRESH"}),
    "counted unseen": ("COUNTER", [op("INCR", 1, INF, 0, "LOST"), op("GET", 5, 6, (1 << 20) + 1)],
                       set(), set()),
    "counted by nobody": ("COUNTER", [op("GET", 5, 6, (1 << 20) + 1)], {"GHOST"}, {"GHOST"}),
    "all tokens": ("LIST", [op("PUSH", 1, 2, 5), op("READALL", 3, 4, aux=1, tokens=(5, 1))],
                   set(), set()),
    "a token lost": ("LIST", [op("PUSH", 1, 2, 5), op("READALL", 3, 4, aux=1, tokens=(1,))],
                     {"SET"}, {"SET"}),
    "a token not yet": ("LIST", [op("PUSH", 1, 5, 5), op("READALL", 3, 4, aux=1, tokens=(1,))],
                        set(), set()),
    "a token seen, then lost": ("LIST", [op("PUSH", 1, 9, 5), op("READALL", 2, 3, aux=1,
                                                               tokens=(5, 1)),
                                         op("READALL", 4, 5, aux=1, tokens=(1,))],
                                {"SET"}, {"SET"}),
    "a token twice": ("LIST", [op("PUSH", 1, 2, 5), op("READALL", 3, 4, aux=1, tokens=(5, 5, 1))],
                      {"SET"}, {"SET"}),
    "a token of nobody": ("LIST", [op("READALL", 3, 4, aux=1, tokens=(8, 1))], {"GHOST"}, {"GHOST"}),
    "a token refused": ("LIST", [op("PUSH", 1, 2, 5, "TRYAGAIN"),
                                 op("READALL", 3, 4, aux=1, tokens=(5, 1))], {"GHOST"}, {"GHOST"}),
    "a collection gone": ("LIST", [op("READALL", 3, 4)], set(), {"SET"}),
    "appended": ("APPEND", [op("PUSH", 1, 2, 5), op("READALL", 3, 4, aux=1, tokens=(5,))],
                 set(), set()),
    "appended and lost": ("APPEND", [op("PUSH", 1, 2, 5), op("READALL", 3, 4, aux=1)],
                          {"SET"}, {"SET"}),
}


@pytest.mark.parametrize("name", CASES)
def test_made_by_hand(name):
    kind, ops, in_cache, in_storage = CASES[name]
    assert rules(kind, ops) == in_cache
    assert rules(kind, ops, storage=True) == in_storage
    # The order in which they were written down says nothing.
    assert rules(kind, ops[::-1], storage=True) == in_storage


def test_server_that_lost_all_explains_nothing_but_absence():
    ops = [SET5, op("GET", 9, 10, 0)]
    assert rules("REGISTER", ops, storage=True, losses=[(60, 61)]) == set()
    assert rules("REGISTER", ops[:1] + [op("GET", 4, 5, 0)], storage=True,
                 losses=[(60, 61)]) == {"FRESH"}
    locks = [op("ADD", 1, 2, 5), op("ADD", 7, 8, 6)]
    assert rules("LOCK", locks, losses=[(60, 61)]) == set()
    assert rules("LOCK", locks, losses=[(5, 6)]) == {"LOCK"}


@pytest.mark.parametrize("final, ok", [(1, False), (2, True), (3, True), (4, False)])
def test_sums(final, ok):
    ops = [op("INCR", 1, 2, (1 << 20) + 1), op("INCR", 3, 4, (1 << 20) + 2),
           op("INCR", 5, INF, 0, "LOST")]
    found = judge_sum("COUNTER", 1, ops, Terms(preload=PRELOAD), (1 << 20) + final)
    assert bool(found) != ok


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_flip_without_transition_is_found(world, protocol):
    """The load and the judge on a pool that grows and shrinks as twemproxy's does: stale values come
    back, and in storage everything that moved is lost."""
    servers = world.servers(protocol, 3)
    small, big = (pool(protocol, servers[:n]) for n in (2, 3))
    proxies = [world.proxy({"p": small}, threads=1) for _ in range(2)]
    keys = {"REGISTER": 300, "COUNTER": 20, "LOCK": 20, "APPEND": 20}
    if protocol == "redis":
        keys = {**keys, "LIST": 20, "SET": 20, "ZSET": 20, "STREAM": 20, "HASH": 20}
    load = Load(world, protocol, proxies, keys, storage=protocol == "redis", rate=10000, reads=50,
                refill=protocol == "memcached").go()
    walk = Walk(proxies, small, big, servers, load_keys(keys))
    for ring in (big, small):
        walk.ring = ring
        walk.publish()
        load.wait_seconds(len(load.seconds) + 1)
    load.finish()
    misplaced = inspect(load, small, servers)
    found = {v.rule for v in load.read().judge(load.terms())}
    if protocol == "memcached":
        assert {"FRESH", "LOCK"} <= found
    else:
        assert {"FRESH", "SET"} <= found
        assert {v.rule for v in misplaced} >= {"MISPLACED"}


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_stable_pool_is_clean(world, protocol):
    """Three proxies, pipelined and multi-key requests, times to live: no violation, no error."""
    servers = world.servers(protocol, 3)
    proxies = [world.proxy({"p": pool(protocol, servers)}, threads=2) for _ in range(3)]
    keys = {"REGISTER": 200, "COUNTER": 5, "LOCK": 10, "APPEND": 10}
    if protocol == "redis":
        keys = {**keys, "LIST": 10, "SET": 10, "ZSET": 10, "STREAM": 10, "HASH": 5}
    load = Load(world, protocol, proxies, keys, storage=protocol == "redis", rate=15000, reads=60,
                deletes=5, ttls=10, multi=10, depth=16, refill=protocol == "memcached").go()
    load.wait_seconds(2)
    prove(load, proxies[0].pools["p"], servers)
    assert load.done["ops"] > 5000
    assert not load.read().errors()
