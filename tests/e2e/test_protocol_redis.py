"""Redis, byte for byte: a client must not be able to tell the proxy, with one server or with three
behind it, from one Redis. Commands of several keys that cannot be split use one hash tag."""

import random
import re

import pytest

from harness.diff import Target, same
from harness.proxy import pool
from harness.wire import Raw, command


def cmds(text):
    """One request per line; words are split at blanks."""
    return b"".join(command(*line.split()) for line in text.strip().splitlines())


def keys(n, prefix="k"):
    return [f"{prefix}{i:04d}" for i in range(n)]


# name: one command a line. Each uses keys of its own.
GOOD = {
    "strings": """
        SET a1 v
        GET a1
        get a1
        GET a1-none
        GETSET a1 w
        APPEND a1 xyz
        STRLEN a1
        SETNX a1 z
        SETNX a2 z
        GETRANGE a1 1 2
        SETRANGE a1 2 QQ
        SET a1 n NX
        SET a1 n XX GET
        GETDEL a1
        GETEX a2 EX 100
        TTL a2
        SET a3 v EX 100
        TTL a3
        SETEX a4 100 v
        PSETEX a5 100000 v
        TTL a5
        TTL a6
        PTTL a6
        TYPE a4
        SUBSTR a4 0 0
        """,
    "counters": """
        INCR b1
        INCRBY b1 10
        DECR b1
        DECRBY b1 4
        INCRBYFLOAT b1 1.5
        SET b2 text
        INCR b2
        INCRBY b1 x
        SET b3 9223372036854775807
        INCR b3
        """,
    "expiry": """
        SET c1 v
        EXPIRE c1 100
        TTL c1
        PERSIST c1
        TTL c1
        EXPIRE c1 100 NX
        EXPIRE c1 50 GT
        PEXPIRE c1 100000
        EXPIREAT c1 1
        GET c1
        SET c2 v
        PEXPIREAT c2 99999999999999
        EXPIRETIME c2
        PEXPIRETIME c2
        EXPIRE c3 10
        """,
    "bits": """
        SETBIT d1 7 1
        GETBIT d1 7
        GETBIT d1 100
        BITCOUNT d1
        BITCOUNT d1 0 0
        BITPOS d1 1
        BITFIELD d1 SET u8 0 255 GET u8 0
        BITFIELD d1 INCRBY u2 100 1
        BITFIELD_RO d1 GET u8 0
        BITOP AND {d}x {d}y {d}z
        """,
    "lists": """
        RPUSH e1 a b c d
        LPUSH e1 z
        LRANGE e1 0 -1
        LLEN e1
        LINDEX e1 1
        LSET e1 0 y
        LSET e1 100 y
        LINSERT e1 BEFORE b bb
        LREM e1 1 c
        LPOS e1 d
        LTRIM e1 0 3
        LPOP e1
        RPOP e1
        LPOP e1 2
        LPOP e1
        LPUSHX e1 x
        RPUSHX e1 x
        RPUSH {e}2 1 2 3
        RPOPLPUSH {e}2 {e}3
        LMOVE {e}2 {e}3 LEFT RIGHT
        LRANGE {e}3 0 -1
        RPUSH e4 3 1 2
        SORT e4
        SORT e4 DESC LIMIT 0 2
        """,
    "sets": """
        SADD f1 1 2 3
        SADD f1 3
        SCARD f1
        SISMEMBER f1 2
        SMISMEMBER f1 2 9
        SMEMBERS f1
        SREM f1 1 9
        SADD {f}2 1 2 3
        SADD {f}3 2 3 4
        SINTER {f}2 {f}3
        SINTERCARD 2 {f}2 {f}3
        SUNION {f}2 {f}3
        SDIFF {f}2 {f}3
        SINTERSTORE {f}4 {f}2 {f}3
        SUNIONSTORE {f}4 {f}2 {f}3
        SDIFFSTORE {f}4 {f}2 {f}3
        SMOVE {f}2 {f}3 1
        SSCAN f1 0
        SADD f5 only
        SPOP f5
        SPOP f5
        SRANDMEMBER f5
        SPOP f5 2
        """,
    "hashes": """
        HSET g1 a 1 b 2 c 3
        HGET g1 a
        HGET g1 zz
        HMGET g1 a zz c
        HGETALL g1
        HKEYS g1
        HVALS g1
        HLEN g1
        HSTRLEN g1 a
        HEXISTS g1 a
        HSETNX g1 a 5
        HINCRBY g1 a 5
        HINCRBYFLOAT g1 b 0.5
        HDEL g1 a zz
        HMSET g1 x 1 y 2
        HSCAN g1 0
        HGETALL g-none
        HGET g1
        """,
    "zsets": """
        ZADD h1 1 a 2 b 3 c 4 d
        ZADD h1 XX CH 9 a
        ZADD h1 INCR 1 b
        ZCARD h1
        ZCOUNT h1 2 5
        ZSCORE h1 b
        ZSCORE h1 zz
        ZMSCORE h1 a zz
        ZRANK h1 b
        ZREVRANK h1 b
        ZRANGE h1 0 -1 WITHSCORES
        ZREVRANGE h1 0 1
        ZRANGEBYSCORE h1 -inf +inf WITHSCORES LIMIT 0 2
        ZREVRANGEBYSCORE h1 +inf 2
        ZRANGEBYLEX h1 - +
        ZLEXCOUNT h1 - +
        ZINCRBY h1 1.5 c
        ZPOPMIN h1
        ZPOPMAX h1 2
        ZREM h1 zz
        ZREMRANGEBYRANK h1 0 0
        ZREMRANGEBYSCORE h1 0 100
        ZREMRANGEBYLEX h1 - +
        ZADD {h}2 1 a 2 b
        ZADD {h}3 3 b 4 c
        ZUNIONSTORE {h}4 2 {h}2 {h}3
        ZINTERSTORE {h}4 2 {h}2 {h}3 WEIGHTS 2 3
        ZDIFFSTORE {h}4 2 {h}2 {h}3
        ZUNION 2 {h}2 {h}3 WITHSCORES
        ZINTER 2 {h}2 {h}3
        ZDIFF 2 {h}2 {h}3
        ZRANGESTORE {h}5 {h}2 0 -1
        ZSCAN {h}2 0
        ZPOPMIN h-none
        """,
    "geo-hll": """
        GEOADD i1 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
        GEODIST i1 Palermo Catania km
        GEOHASH i1 Palermo
        GEOPOS i1 Palermo none
        GEORADIUS i1 15 37 200 km ASC
        GEOSEARCH i1 FROMMEMBER Palermo BYRADIUS 200 km ASC
        GEOSEARCHSTORE {i}2 {i}1 FROMMEMBER Palermo BYRADIUS 200 km
        PFADD {i}3 a b c
        PFADD {i}4 c d
        PFCOUNT {i}3
        PFMERGE {i}5 {i}3 {i}4
        PFCOUNT {i}5
        """,
    "keyspace": """
        SET {j}1 v
        COPY {j}1 {j}2
        COPY {j}1 {j}2 REPLACE
        DUMP {j}1
        DUMP {j}none
        RESTORE {j}9 0 bad
        TYPE {j}1
        EXISTS {j}1 {j}2 {j}none
        """,
    "wrongtype": """
        RPUSH l1 a
        GET l1
        INCR l1
        HGET l1 f
        SADD l1 x
        ZADD l1 1 x
        SET l2 v
        LPUSH l2 x
        """,
    "arity": """
        GET
        GET a b
        SET a
        MGET
        DEL
        EXISTS
        MSET
        MSET a
        MSET a 1 b
        HSET h f
        LPUSH l
        ZADD z 1
        PING a b
        ECHO
        TTL
        EXPIRE k
        INCRBY k
        """,
    "local": """
        PING
        ping
        PING hello
        ECHO hello
        SELECT 0
        """,
    "scripts": """
        SET {m}1 v
        EVAL return(redis.call('get',KEYS[1])) 1 {m}1
        EVAL return{KEYS[1],KEYS[2],ARGV[1]} 2 {m}1 {m}2 x
        EVAL return(1) 1 {m}1
        EVALSHA 0000000000000000000000000000000000000000 1 {m}1
        EVAL bad-script 1 {m}1
        """,
    "unknown": """
        NOSUCHCOMMAND
        NOSUCHCOMMAND a b
        nosuch 1 2 3 4 5
        """,
}

SPLIT = {
    "mget-order": command("MSET", *[x for k in keys(20) for x in (k, "v" + k)])
    + command("MGET", *keys(20)[::-1]) + command("MGET", *keys(30)),
    "mget-dups": command("MSET", "n1", "1", "n2", "2", "n3", "3")
    + command("MGET", "n2", "n1", "n2", "none", "n3", "n3", "none"),
    "mget-one": command("MGET", "n1") + command("MGET", "n-none"),
    "mget-wrongtype": command("RPUSH", "o1", "x") + command("SET", "o2", "y")
    + command("MGET", "o2", "o1", "o3", "o1", "o2"),
    "mset-dups": command("MSET", "p1", "a", "p2", "b", "p1", "c") + command("MGET", "p1", "p2"),
    "mset-binary": command("MSET", b"q\r\n1", b"\0\r\n$5\r\n", b"", b"empty key")
    + command("MGET", b"", b"q\r\n1"),
    "exists-dups": command("SET", "r1", "v") + command("EXISTS", "r1", "r1", "r2", "r1")
    + command("EXISTS", *keys(20, "r")),
    "touch": command("MSET", "s1", "a", "s2", "b") + command("TOUCH", "s1", "s2", "s3", "s1"),
    "del-dups": command("MSET", *[x for k in keys(12, "t") for x in (k, "v")])
    + command("DEL", *keys(15, "t"), "t0001", "t0001") + command("EXISTS", *keys(15, "t")),
    "unlink": command("MSET", *[x for k in keys(12, "u") for x in (k, "v")])
    + command("UNLINK", *keys(6, "u"), "u0001") + command("EXISTS", *keys(15, "u")),
    "mget-1000": command("MSET", *[x for k in keys(1000, "w") for x in (k, k * 3)])
    + command("MGET", *keys(1100, "w")) + command("DEL", *keys(1100, "w")),
    "mget-large": b"".join(command("SET", f"x{i}", str(i) * 50000) for i in range(8))
    + command("MGET", "x7", "x0", "x3", "none", "x5", "x0"),
    "lower-case": command("mset", "y1", "1", "y2", "2") + command("mGeT", "y2", "y1")
    + command("del", "y1", "y2"),
}

RAW = {
    "inline": b"SET in1 v\r\nGET in1\r\nget in1\r\nPING\r\nGET none\r\n",
    "inline-blanks": b"  SET   in2   v  \r\nGET in2\r\n",
    "inline-quotes": b'SET in3 "a b\\n\\x41\\"c"\r\nGET in3\r\nSET in4 \'it\\\'s\'\r\nGET in4\r\n',
    "inline-lf": b"SET in5 v\nGET in5\n",
    "inline-empty": b"\r\n\r\nPING\r\n",
    "inline-multi": b"MSET in6 a in7 b in8 c\r\nMGET in8 in7 in6 in9\r\nDEL in6 in7 in8 in9\r\n",
    "inline-unknown": b"NOSUCH a b\r\nPING\r\n",
    "mixed": b"PING\r\n" + command("SET", "mx", "1") + b"GET mx\r\n" + command("GET", "mx"),
    "error-in-pipeline": command("SET", "er1", "text") + command("INCR", "er1") + command("GET", "er1")
    + command("NOSUCH") + command("GET") + command("MGET", "er1", "er2") + command("GET", "er1"),
    "sizes": b"".join(command("SET", f"sz{n}", "z" * n) + command("GET", f"sz{n}")
                      for base in (1024, 4096, 8192, 16384, 32768, 65536)
                      for n in range(base - 3, base + 4)),
    "size-4m": command("SET", "big", "b" * 4194304) + command("GET", "big") + command("DEL", "big"),
    "long-key": command("SET", "k" * 20000, "v") + command("GET", "k" * 20000),
    "pipeline": b"".join(command("SET", f"pl{i % 7}", i) + command("MGET", f"pl{i % 5}", f"pl{i % 3}")
                         + command("INCR", f"pl{i % 7}") for i in range(300)),
}

ALL = {**{n: cmds(t) for n, t in GOOD.items()}, **SPLIT, **RAW}
HELLO3 = command("HELLO", "3")


def no_key_text(reply):
    """The error of a failed script names a server's own script id."""
    return re.sub(rb"user_script:\d+", b"user_script", reply)


@pytest.fixture(scope="module")
def targets(module_world):
    real, one, *three = module_world.redis(5)
    options = {"hash_tag": "{}"}
    proxy = module_world.proxy({"one": pool("redis", [one], **options),
                                "three": pool("redis", three, **options)})
    made = [Target("redis", real.addr, "redis"),
            Target("proxy, 1 server", proxy.addr("one"), "redis"),
            Target("proxy, 3 servers", proxy.addr("three"), "redis")]
    made[0].servers = [real, one, *three]
    return made


@pytest.fixture(autouse=True)
def empty(targets):
    for sv in targets[0].servers:
        sv.flush()


@pytest.mark.parametrize("name", ALL)
def test_same_reply(targets, name):
    same(targets, ALL[name], normal=no_key_text)


@pytest.mark.parametrize("name", ALL)
def test_same_reply_resp3(targets, name):
    """The same after HELLO 3: maps, sets, doubles and nulls arrive as such."""
    got = same(targets, ALL[name], normal=no_key_text, hello=HELLO3)
    if name == "hashes":
        assert b"%3\r\n" in got
    if name == "mget-dups":
        assert b"_\r\n" in got


@pytest.mark.parametrize("name", [n for n in ALL if len(ALL[n]) < 4000])
def test_same_reply_byte_by_byte(targets, name):
    same(targets, ALL[name], normal=no_key_text, chunks=[1] * len(ALL[name]))


@pytest.mark.parametrize("name", ["pipeline", "mget-1000", "mget-large", "sizes", "mixed"])
def test_same_reply_random_cuts(targets, seed, name):
    rng = random.Random(seed)
    same(targets, ALL[name], chunks=[rng.choice((1, 2, 7, 100, 1460, 16384))
                                     for _ in range(min(400, len(ALL[name])))])


def test_random_pipelines(targets, seed):
    """Hundreds of commands of all kinds in one go, refused ones among them: nothing shifts."""
    rng = random.Random(seed)
    lines = [c for t in GOOD.values() for c in t.strip().splitlines()]
    for hello in (None, HELLO3):
        for _ in range(4):
            for sv in targets[0].servers:
                sv.flush()
            picked = [command(*rng.choice(lines).split()) if rng.random() < 0.8
                      else rng.choice(list(SPLIT.values())) for _ in range(200)]
            same(targets, b"".join(picked), normal=no_key_text, hello=hello)


def test_resp2_and_resp3_clients_side_by_side(targets):
    """Server connections are shared; dialects must not be."""
    addr = targets[2].addr
    with Raw(addr) as two, Raw(addr) as three:
        assert three.resp("HELLO", "3").startswith((b"%7\r\n", b"%8\r\n"))
        for i in range(20):
            assert two.resp("HSET", f"side{i}", "f", "v") == b":1\r\n"
            assert two.resp("HGETALL", f"side{i}") == b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
            assert three.resp("HGETALL", f"side{i}") == b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n"
            assert two.resp("GET", "side-none") == b"$-1\r\n"
            assert three.resp("GET", "side-none") == b"_\r\n"
        assert three.resp("HELLO", "2").startswith((b"*14\r\n", b"*16\r\n"))
        assert three.resp("GET", "side-none") == b"$-1\r\n"


def test_handshakes(targets):
    """What modern clients send first is answered well enough, and the connection stays open."""
    for t in targets[1:]:
        with Raw(t.addr) as c:
            for line, want in [
                    (("CLIENT", "SETNAME", "me"), b"\\+OK\r\n"),
                    (("CLIENT", "GETNAME"), b"\\$2\r\nme\r\n"),
                    (("CLIENT", "ID"), b":[0-9]+\r\n"),
                    (("CLIENT", "SETINFO", "LIB-NAME", "x"), b"\\+OK\r\n"),
                    (("CLIENT", "SETINFO", "LIB-VER", "1"), b"\\+OK\r\n"),
                    (("CLIENT", "NOSUCH"), b"-ERR [^\r\n]*\r\n"),
                    (("COMMAND", "COUNT"), b":[0-9]+\r\n"),
                    (("COMMAND",), b"\\*[0-9]+\r\n.*"),
                    (("COMMAND", "INFO", "get"), b"\\*1\r\n\\*.*"),
                    (("COMMAND", "DOCS"), b"[*%].*"),
                    (("INFO",), b"\\$.*redis_version:.*"),
                    (("CONFIG", "GET", "maxmemory"), b"\\*.*"),
                    (("TIME",), b"\\*2\r\n.*"),
                    (("DBSIZE",), b":[0-9]+\r\n"),
                    (("SELECT", "0"), b"\\+OK\r\n"),
                    (("SELECT", "1"), b"-ERR [^\r\n]*\r\n"),
                    (("HELLO",), b"\\*1[46]\r\n.*"),
                    (("HELLO", "9"), b"-NOPROTO [^\r\n]*\r\n"),
                    (("HELLO", "3", "SETNAME", "you"), b"%[78]\r\n.*"),
                    (("CLIENT", "GETNAME"), b"\\$3\r\nyou\r\n"),
                    (("RESET",), b"\\+RESET\r\n"),
                    (("CLIENT", "GETNAME"), b"\\$-1\r\n|\\$0\r\n\r\n"),
                    (("READONLY",), b"-ERR [^\r\n]*\r\n"),
                    (("AUTH", "x"), b"-ERR [^\r\n]*\r\n"),
                    (("PING",), b"\\+PONG\r\n")]:
                got = c.resp(*line)
                assert re.fullmatch(want, got, re.DOTALL), (line, got[:300])
            c.send(command("GET", "x") + command("QUIT") + command("GET", "x"))
            assert c.to_eof() == b"$-1\r\n+OK\r\n"


def test_dbsize_is_the_sum(targets):
    with Raw(targets[2].addr) as c:
        c.resp("MSET", *[x for k in keys(50, "db") for x in (k, "v")])
        assert c.resp("DBSIZE") == b":50\r\n"


def test_cross_server_commands_are_refused(targets):
    """Never silently wrong: keys on different servers get an error, and nothing is executed."""
    with Raw(targets[2].addr) as c:
        names = keys(20, "cs")
        c.resp("MSET", *[x for k in names for x in (k, "v")])
        for line in (("SUNIONSTORE", "dest", *names), ("RENAME", *names[:2]), ("COPY", *names[:2]),
                     ("ZUNION", len(names), *names), ("EVAL", "return 1", len(names), *names),
                     ("PFCOUNT", *names), ("SINTER", *names), ("BITOP", "OR", *names),
                     ("MSETNX", *[x for k in names for x in (k, "v")])):
            if line[0] in ("RENAME", "COPY"):  # two keys may share a server: any pair that does not
                got = [c.resp(line[0], a, b) for a, b in zip(names, names[1:])]
                assert any(g.startswith(b"-") for g in got), got
                c.resp("MSET", *[x for k in names for x in (k, "v")])
                continue
            got = c.resp(*line)
            assert got.startswith(b"-"), (line, got)
        assert c.resp("MGET", *names) == b"*20\r\n" + b"$1\r\nv\r\n" * 20
        assert c.resp("EXISTS", "dest") == b":0\r\n"


def test_auth(world):
    """A password is sent to the servers and demanded of clients; AUTH comes before SELECT."""
    servers = world.redis(3, password="s3cret")
    auth = {"auth": {"password": "s3cret"}}
    proxy = world.proxy({"p": pool("redis", servers, redis_db=3, **auth)})
    with proxy.raw() as c:
        assert c.resp("GET", "k").startswith(b"-NOAUTH ")
        assert c.resp("AUTH", "wrong").startswith((b"-WRONGPASS ", b"-ERR invalid password"))
        assert c.resp("SET", "k", "v").startswith(b"-NOAUTH ")
        assert c.resp("AUTH", "s3cret") == b"+OK\r\n"
        for k in keys(30):
            assert c.resp("SET", k, "v") == b"+OK\r\n"
    with proxy.raw() as c:
        assert c.resp("HELLO", "3", "AUTH", "default", "s3cret", "SETNAME", "n").startswith(b"%")
        assert c.resp("GET", "k0001") == b"$1\r\nv\r\n"
    for sv in servers:
        with sv.client() as c:
            assert c.resp("DBSIZE") == b":0\r\n", "data in database 0"
            assert c.resp("SELECT", "3") == b"+OK\r\n"
            assert c.resp("DBSIZE") != b":0\r\n"
