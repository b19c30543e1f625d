"""Must show 6: nothing a client sends can make a server execute what the proxy did not mean, and no
client disturbs another. Rows 18-38 of the fault catalogue, each a test; witnesses are memcached's
`watch` and -vv logs and Redis' MONITOR, and a checking client beside all of it."""

import random
import socket
import time

import pytest

from harness.diff import Target, same
from harness.env import scaled, wait_for
from harness.fake import memcached_like, redis_like
from harness.proxy import pool
from harness.rig import Rig, storage
from harness.wire import command

K251 = b"k" * 251
ERRORS = (b"ERROR", b"CLIENT_ERROR", b"SERVER_ERROR", b"-")


def rig_with_fake(world, protocol, reply, **options):
    """A rig whose pool "bad" has one fake server; clients of pool "p" must not notice."""
    like = memcached_like if protocol == "memcached" else redis_like
    fake = world.fake(like(reply))
    rig = Rig(world, protocol, n=1,
              pools={"bad": pool(protocol, [fake], timeout_ms=int(scaled(1000)), **options)})
    rig.fake = fake
    return rig


def first_only(answer):
    """reply(): `answer` to the first key request of all connections, then the default."""
    state = {"done": False}

    def reply(conn, words, body=None):
        verb = words[0].lower()
        if verb in (b"version", b"mn", b"ping", b"hello", b"auth", b"select") or state["done"]:
            return None
        state["done"] = True
        return answer
    return reply


@pytest.fixture(scope="module")
def rigs(module_world):
    """One rig per protocol for tests of one request each; each starts its own checking client."""
    made = {}

    def get(protocol):
        if protocol not in made:
            made[protocol] = Rig(module_world, protocol, checker=False)
        made[protocol].executed()
        return made[protocol].check()
    return get


# --- between the proxy and its servers ------------------------------------------------------------

@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_row_18_every_read_is_one_byte(world, protocol):
    """Bytes trickling in both directions change nothing: the replies are the direct ones."""
    real, behind = world.servers(protocol, 2)
    relay = world.relay(behind.addr)
    relay.up.split = relay.down.split = True
    rig = Rig(world, protocol, n=1, pools={"slow": pool(protocol, [relay])})
    targets = [Target("direct", real.addr, protocol),
               Target("proxy", rig.proxy.addr("slow"), protocol)]
    if protocol == "memcached":
        same(targets, b"set a 1 0 5\r\nhello\r\nset b 2 0 0\r\n\r\nget a b c a\r\nincr a 1\r\n"
             b"add a 0 0 1\r\nx\r\ndelete b\r\ntouch a 0\r\nget b\r\nset d 0 0 3000\r\n"
             + b"END\r\n" * 600 + b"\r\nget d a\r\n")
    else:
        same(targets, command("MSET", "a", "1", "b", b"x\r\n" * 500) + command("MGET", "a", "b", "c")
             + command("INCR", "b") + command("HSET", "h", "f", "v") + command("HGETALL", "h")
             + command("LPUSH", "l", *range(50)) + command("LRANGE", "l", 0, -1) + command("GET", "l"))
    rig.calm()


@pytest.mark.parametrize("protocol,extra", [
    ("memcached", b"END\r\nVALUE k2 0 6\r\nstolen\r\nEND\r\n"), ("memcached", b"END\r\nEND\r\n"),
    ("redis", b"$-1\r\n$6\r\nstolen\r\n")])
def test_row_19_extra_reply_bytes(world, protocol, extra):
    """A reply that nobody asked for ends the server connection, and never answers the next one."""
    rig = rig_with_fake(world, protocol, first_only(extra))
    with rig.proxy.raw("bad") as c:
        if protocol == "memcached":
            c.mc(b"get k1\r\n")
            wait_for(lambda: rig.stat("bad", "desync") >= 1, 5, "desync to be counted")
            got = c.mc(b"get k2\r\n")
        else:
            c.resp("GET", "k1")
            wait_for(lambda: rig.stat("bad", "desync") >= 1, 5, "desync to be counted")
            got = c.resp("GET", "k2")
        assert b"stolen" not in got
        assert got in (b"END\r\n", b"$-1\r\n") or got.startswith(ERRORS), got
    assert wait_for(lambda: len(rig.fake.conns) >= 2, 5, "a new server connection")
    rig.calm()


def test_row_19_extra_bytes_while_others_wait(world):
    """The same with requests of other clients in the queue: they get errors, not its bytes."""
    def reply(conn, words, body):
        if words[0] != b"get" or conn.number > 0:
            return None
        conn.mc_request()  # the other one is in the queue before anything is answered
        return b"END\r\nVALUE thief 0 6\r\nstolen\r\nEND\r\n"
    rig = rig_with_fake(world, "memcached", reply)
    with rig.proxy.raw("bad") as a:
        a.send(b"get one\r\nget two\r\nget three\r\n")
        got = a.mc() + a.mc() + a.mc()
        assert b"stolen" not in got and b"thief" not in got
    rig.calm()


@pytest.mark.parametrize("answer", [
    b"VALUE other 0 6\r\nstolen\r\nEND\r\n", b"VALUE mine2 0 6\r\nstolen\r\nEND\r\n",
    b"VALUE min 0 6\r\nstolen\r\nEND\r\n"])
def test_row_20_wrong_key_in_value(world, answer):
    """A value of another key is an error and a desync, and is never forwarded."""
    rig = rig_with_fake(world, "memcached", first_only(answer))
    with rig.proxy.raw("bad") as c:
        got = c.mc(b"get mine\r\n")
        assert b"stolen" not in got and got.startswith(b"SERVER_ERROR"), got
        assert rig.stat("bad", "desync") == 1
        wait_for(lambda: c.mc(b"get mine\r\n") == b"END\r\n", 5, "service to resume")
    rig.calm()


@pytest.mark.parametrize("answer", [
    b"VALUE k1 0 1\r\nx\r\nSERVER_ERROR out of memory writing get response\r\n",
    b"SERVER_ERROR out of memory\r\n", b"VALUE k1 0 1\r\nx\r\nEND\r\n", b"ERROR\r\n"])
def test_row_21_error_in_a_multiget(world, answer):
    """Half a multiget and an error: one reply of a defined form, and the client stays in sync."""
    rig = rig_with_fake(world, "memcached", first_only(answer))
    with rig.proxy.raw("bad") as c:
        got = c.mc(b"get k1 k2 k3\r\n")
        assert got.endswith(b"END\r\n") or got.split(b"\r\n")[-2].startswith(ERRORS), got
        wait_for(lambda: c.mc(b"get again\r\n") == b"END\r\n", 5, "service to resume")
    rig.calm()


@pytest.mark.parametrize("then", ["reads on", "closes"])
def test_row_22_early_error_before_the_body(world, then):
    """twemproxy #149: the server refuses while the body is still on its way."""
    size = 900000

    def handler(conn):
        while True:
            words = conn.line()[:-2].split(b" ")
            if words[0] == b"set" and words[1] == b"big":
                conn.send(b"SERVER_ERROR object too large for cache\r\n")
                if then == "closes":
                    return
                conn.exactly(size + 2)
            elif words[0] == b"set":
                conn.exactly(int(words[4]) + 2)
                conn.send(b"STORED\r\n")
            else:
                conn.send(b"VERSION 1\r\n" if words[0] == b"version" else b"END\r\n")
    fake = world.fake(handler)
    rig = Rig(world, "memcached", n=1, pools={"bad": pool("memcached", [fake])})
    with rig.proxy.raw("bad") as c:
        for _ in range(3):
            got = c.mc_set(b"big", b"x" * size)
            assert got.startswith(b"SERVER_ERROR"), got
            if then == "reads on":
                assert c.mc(b"get after\r\n") == b"END\r\n"
                assert c.mc_set(b"small", b"1") == b"STORED\r\n"
            else:
                wait_for(lambda: c.mc(b"get after\r\n") == b"END\r\n", 10, "service to resume")
    rig.calm()


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_row_23_sizes_around_buffers(world, protocol):
    """Values of every awkward size round-trip: buffers of any power of two, 1 MiB, and beyond."""
    rig = Rig(world, protocol, n=3)
    sizes = [b + d for b in (4096, 16384, 65536, 131072) for d in range(-64, 65, 8)]
    sizes += [b + d for b in (16384, 131072) for d in range(-3, 4)]
    sizes += [1048576 - 300 + d for d in range(4)] if protocol == "memcached" else \
        [1048576 + d for d in range(-3, 4)]
    with rig.client() as c:
        for n in sizes:
            value = bytes([n % 251]) * n
            if protocol == "memcached":
                assert c.mc_set(b"z%d" % n, value) == b"STORED\r\n"
                assert c.mc_get(b"z%d" % n) == value
            else:
                assert c.resp("SET", f"z{n}", value) == b"+OK\r\n"
                assert c.resp("GET", f"z{n}") == b"$%d\r\n%s\r\n" % (n, value)
        if protocol == "memcached":
            for n in range(1048576 - 3, 1048576 + 4):
                assert c.mc_set(b"too", b"x" * n) == b"SERVER_ERROR object too large for cache\r\n"
                assert c.mc_get(b"too") is None
    rig.calm()


@pytest.mark.parametrize("header", [b"$536870913", b"$4294967296", b"$99999999999999999999"])
def test_row_24_huge_bulk_is_refused_before_memory(rigs, header):
    """A header that announces more than the limit is an error at once; nothing is allocated."""
    rig = rigs("redis")
    before = rig.proxy.rss()
    conns = [rig.client() for _ in range(20)]
    for c in conns:
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + header + b"\r\nsome")
        assert c.line().startswith(b"-ERR")
    assert rig.proxy.rss() - before < 16 << 20
    assert not [x for x in rig.executed() if b'"k"' in x]
    rig.calm()


def test_row_24_huge_bulk_in_a_reply(world):
    """The same from a server: its connection ends, the client gets an error."""
    rig = rig_with_fake(world, "redis", first_only(b"$99999999999\r\nxxxx"))
    before = rig.proxy.rss()
    with rig.proxy.raw("bad") as c:
        assert c.resp("GET", "k").startswith(b"-ERR")
        wait_for(lambda: c.resp("GET", "k") == b"$-1\r\n", 5, "service to resume")
    assert rig.proxy.rss() - before < 16 << 20
    rig.calm()


@pytest.mark.parametrize("text", [
    b"-LOADING Redis is loading the dataset in memory\r\n",
    b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    b"-READONLY You can't write against a read only replica.\r\n",
    b"-MISCONF Redis is configured to save RDB snapshots\r\n", b"-BUSY Redis is busy\r\n"])
def test_row_25_errors_of_the_server_are_forwarded(world, text):
    """With their own text, on open connections on both sides (twemproxy closes and rewrites)."""
    rig = rig_with_fake(world, "redis", lambda conn, a: text if a[-1] == b"sick" else None,
                        server_failure_limit=100)
    with rig.proxy.raw("bad") as c:
        c.send(command("SET", "a", "v") + command("SET", "b", "sick") + command("GET", "c"))
        assert [c.resp_raw() for _ in range(3)] == [b"+OK\r\n", text, b"$-1\r\n"]
    assert sum(1 for x in rig.fake.conns) <= 2  # at most one per worker
    rig.calm()


def test_row_26_maxclients(world):
    """A Redis that takes no more clients: an error, and service once it does."""
    server, = world.redis(1, options=["--maxclients", "40"])
    rig = Rig(world, "redis", n=1, pools={
        "full": pool("redis", [server], server_retry_timeout_ms=200)})
    hogs = []
    while True:
        h = server.raw()
        if h.resp("PING") != b"+PONG\r\n":
            break
        hogs.append(h)
    with rig.proxy.raw("full") as c:
        assert c.resp("GET", "k").startswith(b"-")
        for h in hogs:
            h.close()
        wait_for(lambda: c.resp("SET", "k", "v") == b"+OK\r\n", 10, "service to resume")
    rig.calm()


# --- from clients ---------------------------------------------------------------------------------

def test_row_27_keys(world):
    """250 bytes and UTF-8 are keys; 251 bytes and control bytes (0x7f is one) are one error, and
    nothing of them reaches a server."""
    rig = Rig(world, "memcached")
    with rig.client() as c:
        for key in (b"k" * 250, "schlüssel".encode(), b"\xff\x80"):
            assert c.mc_set(key, b"v") == b"STORED\r\n" and c.mc_get(key) == b"v"
            assert c.mc(b"delete %s\r\n" % key) == b"DELETED\r\n"
    rig.executed()
    bad = [K251] + [b"bad%cbad" % b for b in (*range(0x20), 0x7f) if b != 0x0a]
    for key in bad:
        for request in (b"get %s\r\n", b"delete %s\r\n", b"incr %s 1\r\n", b"touch %s 0\r\n",
                        b"get good %s good\r\n"):
            rig.one_error(request % key)
        rig.one_error(storage(key=key))
    new = rig.executed()
    assert not [x for x in new if b"bad" in x or b"kkk" in x or b"smuggled" in x], new
    rig.calm()


FINDING_6 = {
    "key-251": storage(key=K251), "key-251-add": storage(verb=b"add", key=K251),
    "key-missing": b"set  0 0 14\r\nget smuggled\r\n\r\n",
    "flags-text": storage(flags=b"abc"), "flags-negative": storage(flags=b"-1"),
    "flags-too-big": storage(flags=b"4294967296"), "exptime-text": storage(exptime=b"1x"),
    "exptime-too-big": storage(exptime=b"99999999999999999999"),
    "length-negative": storage(size=b"-1"), "length-text": storage(size=b"1e1"),
    "length-plus": storage(size=b"+14x"), "length-hex": storage(size=b"0xe"),
    "length-overflow": storage(size=b"18446744073709551630"), "length-int-overflow": storage(size=b"4294967310"),
    "length-max": storage(size=b"2147483647"),
    "cas-missing": storage(verb=b"cas"), "cas-text": storage(verb=b"cas", tail=b"abc"),
    "cas-negative": storage(verb=b"cas", tail=b"-1"),
    "cas-overflow": storage(verb=b"cas", tail=b"18446744073709551616"),
    "too-many-words": storage(tail=b"noreply extra words"),
    "noreply-misspelt": storage(tail=b"noreplyx"), "key-251-noreply": storage(key=K251, tail=b"noreply"),
    "nul-in-line": b"set k\0 0 0 14\r\nget smuggled\r\n\r\n",
    "cr-in-line": b"set k\r 0 0 14\r\nget smuggled\r\n\r\n",
    "cr-in-key": b"set k\rget\rsmuggled 0 0 14\r\nget smuggled\r\n\r\n",
    "value-too-large": storage(size=b"3000000", body=b"get smuggled\r\n" * 214285 + b"1234567890"),
    "meta-set": b"ms k 14 b\r\nget smuggled\r\n\r\n", "meta-bad-length": b"ms k abc\r\nget smuggled\r\n\r\n",
    "meta-key": b"ms %s 14\r\nget smuggled\r\n\r\n" % K251,
}


@pytest.mark.parametrize("name", FINDING_6)
def test_row_28_a_refused_body_is_not_a_command(rigs, name):
    """memcached executes the body of a `set` that it rejects (finding 6); through the proxy nobody
    ever sees it as a command, whether the request was sent whole or in two pieces."""
    rig = rigs("memcached")
    request = FINDING_6[name]
    for cut in (None, request.index(b"\n") + 1, len(request) - 1):
        with rig.client() as c:
            c.send(request[:cut])
            if cut:
                time.sleep(0.02)  # let the proxy read the first piece on its own
                try:
                    c.send(request[cut:])
                except (BrokenPipeError, ConnectionResetError):
                    pass
            # Well-formed storage requests with odd blanks may be stored; everything else is an
            # error. Either way there is nothing that answers "get smuggled".
            try:
                c.send(b"get the-end\r\n")
                got = c.until(b"END\r\n")
                assert got.count(b"END") == 1, got
            except (EOFError, ConnectionError):
                got = bytes(c.buf)
            assert b"VALUE" not in got and got.count(b"\r\n") <= 3, got
    seen = rig.executed()
    assert not [x for x in seen if b"smuggled" in x], seen
    rig.calm()


@pytest.mark.parametrize("size", [b"99999999999", b"4294967295", b"2147483648"])
def test_row_29_absurd_length(rigs, size):
    """memcached itself stays silent for ever; the proxy says what is wrong."""
    rig = rigs("memcached")
    with rig.client(timeout=5) as c:
        c.send(b"set k 0 0 %s\r\n" % size)
        assert c.line().startswith((b"CLIENT_ERROR", b"SERVER_ERROR"))
    assert not [x for x in rig.executed() if b" k" in x or b"key=k " in x]
    rig.calm()


@pytest.mark.parametrize("request_bytes", [
    b"set k 0 0 3\r\nabcdef\r\n", b"set k 0 0 3\r\nabcget smuggled\r\n",
    b"set k 0 0 20\r\nabc\r\nget smuggled\r\n", b"set k 0 0 3\r\nabc\rx\r\n", b"set k 0 0 3\r\nabcXY",
    b"set k 0 0 0\r\nget smuggled\r\n", b"cas k 0 0 3 1\r\nabcget smuggled\r\n",
    b"set k 0 0 3 noreply\r\nabcget smuggled\r\n"])
def test_row_30_body_of_the_wrong_length(rigs, request_bytes):
    """One error, nothing stored, nothing smuggled; then in sync, or closed."""
    rig = rigs("memcached")
    with rig.client() as c:
        assert c.mc_set(b"k", b"before") == b"STORED\r\n"
        c.send(request_bytes)
        c.half_close()
        got = c.to_eof()
        lines = got.split(b"\r\n")[:-1]
        assert len(lines) <= 2 and all(x.startswith(ERRORS) for x in lines), got
    with rig.client() as c:
        assert c.mc_get(b"k") == b"before"
    assert not [x for x in rig.executed() if b"smuggled" in x]
    rig.calm()


def test_row_31_noreply_flood_with_errors(world):
    """Thousands of noreply requests that fail: not one stray reply."""
    rig = Rig(world, "memcached", n=3)
    with rig.client() as c:
        assert c.mc_set(b"text", b"abc") == b"STORED\r\n"
        flood = b"".join(b"incr text 1 noreply\r\nincr none%d 1 noreply\r\ndelete none%d noreply\r\n"
                         b"add text 0 0 1 noreply\r\nx\r\nreplace none%d 0 0 1 noreply\r\nx\r\n"
                         b"cas text 0 0 1 99 noreply\r\nx\r\ntouch none%d 1 noreply\r\n" % (i, i, i, i)
                         for i in range(1500))
        c.send(flood)
        assert c.mc(b"get text\r\n") == b"VALUE text 0 3\r\nabc\r\nEND\r\n"
        rig.in_sync(c)
    rig.calm()


def test_row_32_get_of_10000_keys(world):
    """Correct, with duplicates; and one with a control byte in its 400th key is one error."""
    rig = Rig(world, "memcached", n=3)
    keys = [b"many%05d" % i for i in range(10000)]
    with rig.client() as c:
        for i in range(0, 10000, 500):
            c.send(b"".join(b"set %s 0 0 9\r\n%s\r\n" % (k, k) for k in keys[i:i + 500:2]))
            assert [c.mc() for _ in range(250)] == [b"STORED\r\n"] * 250
        asked = keys + keys[:100]
        got = c.mc(b"get %s\r\n" % b" ".join(asked))
        if not got.startswith(ERRORS):
            assert got == b"".join(b"VALUE %s 0 9\r\n%s\r\n" % (k, k) for k in asked
                                   if int(k[4:]) % 2 == 0) + b"END\r\n"
    rig.executed()
    bad = [b"x%d" % i for i in range(1000)]
    bad[400] = b"x\x01x"
    rig.one_error(b"get %s\r\n" % b" ".join(bad))
    assert not [x for x in rig.executed() if b"x399" in x or b"x\x01x" in x]
    rig.calm()


@pytest.mark.parametrize("line", [b"get ", b"get", b"", b"gets", b"gets   ", b"gat", b"   "])
def test_row_33_empty_get(rigs, line):
    """twemproxy #357 crashed on these."""
    rig = rigs("memcached")
    assert rig.one_error(line + b"\r\n", may_close=False) == b"ERROR\r\n"
    rig.calm()


@pytest.mark.parametrize("head", [
    b"*-1\r\n", b"*0\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$04\r\nPING\r\n", b"*+1\r\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPINGX\r\n", b"*1\r\n$4\r\nPING\rX", b"*01\r\n$4\r\nPING\r\n", b"*1 \r\n$4\r\nPING\r\n",
    b"*1\r\n$+4\r\nPING\r\n", b"*1\r\n:4\r\n", b"*1\r\n*1\r\n$4\r\nPING\r\n", b"*x\r\n", b"*1\n$4\nPING\n",
    b"*2147483648\r\n", b"*99999999999999999999\r\n", b"*-5\r\n$4\r\nPING\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-1\r\n", b"*2\r\n$3\r\nGET\r\n$5000000000\r\n"],
    ids=lambda b: repr(b)[2:-1])
def test_row_34_strict_resp(rigs, head):
    """Redis accepts some of these and executes what follows; the proxy either answers with an
    error (and closes), or ignores what Redis ignores, and nothing of it reaches a server."""
    rig = rigs("redis")
    with rig.client(timeout=5) as c:
        c.send(head + command("SET", "smuggled", "1"))
        try:
            got = c.resp_raw()
        except (EOFError, ConnectionError):
            got = b"-closed"
        if head in (b"*-1\r\n", b"*0\r\n", b"*-5\r\n$4\r\nPING\r\n"):
            pass  # Redis ignores an empty request; so what follows is a request of its own
        else:
            assert got.startswith(b"-"), got
            c.half_close()
            c.to_eof()
            seen = [x for x in rig.executed() if b"smuggled" in x]
            assert not seen, seen
    rig.calm()


@pytest.mark.parametrize("answer", [b"*1\r\n" * 100000 + b":1\r\n", b"*100000\r\n" * 5,
                                    b"%1\r\n:1\r\n" * 100000],
                         ids=["arrays", "wide", "maps"])
def test_row_35_deep_replies(world, answer):
    """A reply nested 100,000 deep is bounded: an error, no crash, no memory."""
    rig = rig_with_fake(world, "redis", first_only(answer))
    before = rig.proxy.rss()
    with rig.proxy.raw("bad") as c:
        assert c.resp("LRANGE", "k", "0", "-1").startswith(b"-ERR")
        wait_for(lambda: c.resp("GET", "k") == b"$-1\r\n", 5, "service to resume")
    assert rig.proxy.rss() - before < 32 << 20
    rig.calm()


def test_row_36_mset_of_odd_and_many_arguments(world):
    """Odd: an error. 100,000: works, or an error; and a second hundred of them costs no memory."""
    rig = Rig(world, "redis", n=3)
    many = command("MSET", *[x for i in range(50000) for x in (f"m{i}", "v")])
    odd = command("MSET", *["x"] * 99999)
    dels = command("DEL", *[f"m{i}" for i in range(50000)])
    with rig.client(timeout=30) as c:
        for request in (b"MSET a\r\n", b"MSET a 1 b\r\n", odd):
            c.send(request)
            got = c.resp_raw()
            assert got == b"-ERR wrong number of arguments for 'mset' command\r\n", got
        warm = None
        for i in range(9):
            c.send(many)
            got = c.resp_raw()
            assert got == b"+OK\r\n" or got.startswith(b"-ERR"), got
            c.send(dels)
            assert c.resp_raw() == (b":50000\r\n" if got == b"+OK\r\n" else got) or i == 0
            warm = warm or (rig.proxy.rss() if i == 2 else None)
        assert rig.proxy.rss() - warm < 24 << 20
    rig.calm()


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
@pytest.mark.parametrize("verb", [b"GET", b"POST"])
def test_row_37_http(rigs, protocol, verb):
    """A browser that is led to the port (cross-protocol scripting) gets nowhere."""
    rig = rigs(protocol)
    body = b"set smuggled 0 0 1\r\nx\r\n" if protocol == "memcached" else b"SET smuggled x\r\n"
    with rig.client(timeout=5) as c:
        c.send(verb + b" /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % len(body)
               + body)
        c.to_eof()  # raises unless the proxy closes
    assert not [x for x in rig.executed() if b"smuggled" in x]
    rig.calm()


@pytest.mark.parametrize("protocol,line", [
    *[("memcached", x) for x in (b"flush_all\r\n", b"flush_all 0\r\n", b"shutdown\r\n",
                                 b"shutdown graceful\r\n", b"cache_memlimit 64\r\n",
                                 b"slabs reassign 1 2\r\n", b"lru tune 1 2 3\r\n",
                                 b"lru_crawler metadump all\r\n", b"watch fetchers\r\n", b"debugtime p\r\n",
                                 b"refresh_certs\r\n", b"extstore x\r\n", b"misbehave\r\n")],
    *[("redis", command(*x.split())) for x in (
        "FLUSHALL", "FLUSHDB", "CONFIG SET maxmemory 1", "SHUTDOWN NOSAVE", "DEBUG SLEEP 1",
        "REPLICAOF 127.0.0.1 1", "SLAVEOF NO ONE", "SAVE", "BGREWRITEAOF", "MONITOR", "SYNC", "PSYNC ? -1",
        "CLUSTER RESET", "ACL SETUSER x on", "MODULE LOAD /x", "SWAPDB 0 1",
        "CLIENT KILL TYPE normal", "CLIENT PAUSE 10000", "FAILOVER", "SUBSCRIBE x", "KEYS *")]],
    ids=lambda b: b if isinstance(b, str) else b[:40].decode().replace("\r\n", " ").strip())
def test_row_38_admin_commands(rigs, protocol, line):
    """Refused with a reason, counted, the connection open, the servers untouched. (A few may be
    answered by the proxy itself, where that harms nobody.)"""
    rig = rigs(protocol)
    before = rig.stat("p", "client_protocol_err")
    harmless = (b"KEYS", b"CLIENT", b"ACL", b"CLUSTER")
    with rig.client() as c:
        c.send(line)
        got = c.mc() if protocol == "memcached" else c.resp_raw()
        assert got.startswith(ERRORS), got
        rig.in_sync(c)
    verb = line.split(b"\r\n")[2 if protocol == "redis" else 0].split(b" ")[0]
    assert not [x for x in rig.executed() if verb.lower() in x.lower()]
    assert all(s.alive() for s in rig.servers)
    if verb not in harmless:
        wait_for(lambda: rig.stat("p", "client_protocol_err") > before, 5, "the refusal to be counted")
    rig.calm()


# --- one client must not disturb another ------------------------------------------------------------

HALVES = {"memcached": [b"set half 0 0 100\r\nabc", b"ge", b"set half 0 0 3\r\nabc\r", b"get " + b"k" * 200,
                        b"get half half half", b"set half 0 0 900000\r\n" + b"x" * 500000],
          "redis": [b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$100\r\nabc", b"*2\r\n$3", b"*", b"SET half",
                    command("SET", "half", "x" * 900000)[:500000], b"*1000\r\n" + b"$1\r\nx\r\n" * 10]}


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_half_a_request_then_silence(world, protocol):
    """Dozens of clients stop in the middle of a request; nobody waits for them."""
    rig = Rig(world, protocol, n=3)
    conns = [rig.client() for _ in range(60)]
    for i, c in enumerate(conns):
        c.send(HALVES[protocol][i % 6])
    done = rig.checker.ops
    wait_for(lambda: rig.checker.ops > done + 100, 20, "the checking client to go on")
    assert not [x for x in rig.executed() if b"half" in x]
    rig.calm()
    for c in conns:
        c.close()


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_close_in_the_middle_of_a_request(world, protocol, how):
    """Half requests, and whole ones whose replies nobody waits for: the shared server connections
    survive it, and nothing of a half request is executed."""
    rig = Rig(world, protocol, n=3)
    rng = random.Random(world.seed)
    whole = b"set whole 0 0 1\r\nx\r\nget whole\r\n" if protocol == "memcached" else \
        command("SET", "whole", "x") + command("GET", "whole")
    opened = sum(p["server_connections"] for p in rig.proxy.stats()["p"].values()
                 if isinstance(p, dict))
    for i in range(300):
        c = rig.client()
        c.send(whole * rng.randrange(0, 50) + HALVES[protocol][i % 6][:rng.randrange(1, 5000)])
        c.reset() if how == "reset" else c.close()
    rig.calm()
    assert not [x for x in rig.executed() if b"half" in x]
    assert rig.stat("p", "desync") == 0
    now = rig.stat("p", "server_connections")
    assert now <= 2 * 3 and now >= opened - 6
    wait_for(lambda: rig.stat("p", "client_connections") <= 1, 5, "dead clients to be gone")


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_garbage(world, protocol):
    """Random bytes, bytes of the other protocol, mutated requests: no harm to anybody else."""
    rig = Rig(world, protocol, n=3)
    rng = random.Random(world.seed)
    seeds = [b"set g 0 0 3\r\nabc\r\n", b"get g g1 g2\r\n", command("SET", "g", "abc"),
             command("MGET", "g", "g1"), b"incr g 1\r\n", command("EVAL", "return 1", "1", "g")]
    for i in range(200):
        if i % 2:
            data = bytearray(b"".join(rng.choices(seeds, k=20)))
            for _ in range(rng.randrange(1, 10)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        else:
            data = rng.randbytes(rng.randrange(1, 20000))
        with rig.client(timeout=0.05) as c:
            try:
                c.send(bytes(data))
                c.fill()
            except (EOFError, OSError):
                pass
    assert rig.proxy.alive()
    rig.calm()


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_oversized(world, protocol):
    """Values and keys beyond every limit, by many clients at once, beside the checking one."""
    rig = Rig(world, protocol, n=3)
    big = b"x" * 3000000
    request = storage(key=b"huge", size=b"3000000", body=big) if protocol == "memcached" else \
        b"*3\r\n$3\r\nSET\r\n$%d\r\n" % (600 << 20) + big
    for _ in range(5):
        conns = [rig.client() for _ in range(4)]
        for c in conns:
            try:
                c.send(request)
                assert c.line().startswith(ERRORS)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused while it was still being sent
            c.close()
    long_line = b"get " + b"k" * 3000000 if protocol == "memcached" else b"GET " + b"k" * 3000000
    with rig.client() as c:
        try:
            c.send(long_line + b"\r\n")
            assert c.line().startswith(ERRORS + (b"$-1",))
        except (BrokenPipeError, ConnectionResetError, socket.timeout):
            pass
    rig.calm()
