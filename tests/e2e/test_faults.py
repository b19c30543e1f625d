"""Must show 5: one of three servers is killed, stopped, slow or mad, under load. Requests to the
others see no error and no added latency beyond noise; requests to the bad one get a clear error
within the timeout; it comes back by itself; and the proxy closes no client connection."""

import statistics
import time

import pytest

from harness.checker import Checker, by_server
from harness.env import scaled, wait_for
from harness.fake import memcached_like, silent
from harness.proxy import pool
from harness.wire import command

TIMEOUT = scaled(0.4)  # seconds; the pools' timeout
PROTOCOLS = ["memcached", "redis"]
# What a client is told about a server that fails.
TELLING = ("Connection refused", "Connection timed out", "Connection closed by server",
           "Connection failed", "server is marked down", "Host is down", "protocol error")


class Field:
    """Three servers, the first behind a relay, and a checking client per server that asks only for
    that server's keys; the first one's is tolerant."""

    def __init__(self, world, protocol, threads=2, **options):
        self.world, self.protocol = world, protocol
        self.servers = world.servers(protocol, 3)
        self.bad = self.servers[0]
        self.relay = world.relay(self.bad.addr)
        self.options = {"timeout_ms": int(TIMEOUT * 1000), "server_retry_timeout_ms": 300,
                        "server_failure_limit": 3, **options}
        self.proxy = world.proxy({"p": pool(protocol, [self.relay, *self.servers[1:]],
                                            **self.options)}, threads=threads)
        keys = by_server(protocol, self.proxy.addr(), self.servers, 30)
        for s in self.servers:
            s.flush()
        self.keys = [keys[s][:30] for s in self.servers]
        self.checkers = [world.add(Checker(self.proxy.addr(), protocol, part, name=f"to s{i}",
                                           tolerant=(i == 0), seed=world.seed + i,
                                           depth=depth, pause=0.003))
                         for i in range(3)
                         for depth, part in ((1, self.keys[i][:15]), (8, self.keys[i][15:]))]
        self.to_bad, self.to_good = self.checkers[:2], self.checkers[2:]
        for c in self.checkers:
            c.go()

    def during(self, seconds):
        """Let the load run; returns (began, ended)."""
        began = time.monotonic()
        time.sleep(scaled(seconds))
        return began, time.monotonic()

    def ask_bad(self, conn):
        """One read of a key of the bad server."""
        key = self.keys[0][0]
        return conn.mc(b"get %s\r\n" % key) if self.protocol == "memcached" else conn.resp("GET", key)

    def wait_failing(self):
        """Until the bad server's clients see errors."""
        before = [c.errors for c in self.to_bad]
        wait_for(lambda: all(c.errors > b for c, b in zip(self.to_bad, before)), 10,
                 "requests to the bad server to fail")

    def wait_served(self):
        """Until a read of the bad server's keys works again, on the checkers' own connections."""
        def served():
            if not all(c.is_alive() for c in self.to_bad):
                raise RuntimeError(f"a client is gone: {[c.problems[:3] for c in self.to_bad]}")
            before = [(c.ops, c.errors) for c in self.to_bad]
            wait_for(lambda: all(c.ops > b[0] + 40 for c, b in zip(self.to_bad, before)), 10, "load")
            return all(c.errors == b[1] for c, b in zip(self.to_bad, before))
        wait_for(served, 15, "service to resume", every=0.05)

    def verdict(self, quiet, bad, errors=True, slower=3.0, noise=0.02):
        """`quiet` and `bad` are (began, ended). Nobody lost a connection or saw a wrong value;
        clients of the good servers saw no error, and were not slower than noise explains."""
        for c in self.checkers:
            c.verdict()
        for c in self.to_good:
            before, during = c.median(*quiet), c.median(*bad)
            assert during < before * slower + scaled(noise), (
                f"{c.name}: median {before * 1e3:.2f} ms before, {during * 1e3:.2f} ms during")
            tail = sorted(c.times(*bad))
            assert tail[int(len(tail) * 0.95)] < TIMEOUT / 2 + scaled(0.05), (
                f"{c.name}: p95 {tail[int(len(tail) * 0.95)] * 1e3:.1f} ms, timeout {TIMEOUT * 1e3} ms")
        for c in self.to_bad:
            if errors:
                assert c.errors, "the bad server's clients saw no error: was it bad at all?"
            for text in c.error_texts:
                assert any(t in text for t in TELLING), f"not a clear error: {text!r}"
            assert c.longest_error < TIMEOUT * 1.5 + scaled(0.3), (
                f"an error took {c.longest_error:.2f} s, timeout is {TIMEOUT:.2f} s")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_kill_9_and_restart(world, protocol):
    f = Field(world, protocol)
    quiet = f.during(1)
    f.bad.kill()
    f.wait_failing()
    bad = f.during(1.5)
    f.bad.restart()
    f.wait_served()
    f.verdict(quiet, bad)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_kill_9_direct(world, protocol):
    """The same without the relay in between: the kernel refuses, the proxy says so at once."""
    servers = world.servers(protocol, 3)
    proxy = world.proxy({"p": pool(protocol, servers, timeout_ms=int(TIMEOUT * 1000),
                                   server_retry_timeout_ms=300)})
    keys = by_server(protocol, proxy.addr(), servers, 5)
    servers[0].kill()
    with proxy.raw() as c:
        def ask(i, k):
            return c.mc(b"get %s\r\n" % k) if protocol == "memcached" else c.resp("GET", k)
        took = []
        for _ in range(50):
            began = time.monotonic()
            got = ask(0, keys[servers[0]][0])
            took.append(time.monotonic() - began)
            assert got.startswith((b"SERVER_ERROR", b"-ERR")), got
            assert ask(1, keys[servers[1]][0]) not in (b"END\r\n", b"$-1\r\n")
        assert statistics.median(took) < scaled(0.005), f"median {statistics.median(took) * 1e3} ms"
        cpu = proxy.cpu_seconds()
        time.sleep(0.5)
        assert proxy.cpu_seconds() - cpu < scaled(0.15), "the proxy spins on a refused server"
        servers[0].restart()
        wait_for(lambda: not ask(0, keys[servers[0]][0]).startswith((b"SERVER_ERROR", b"-ERR")), 10,
                 "service to resume")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sigstop_and_sigcont(world, protocol):
    """Rows 4 and 5: time-outs at the timeout, and what was sent to the stopped server executes
    later without anybody seeing its replies."""
    f = Field(world, protocol)
    quiet = f.during(1)
    f.bad.pause()
    f.wait_failing()
    bad = f.during(2.5)
    f.bad.resume()
    f.wait_served()
    f.verdict(quiet, bad)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_row_4_timeout_is_the_timeout(world, protocol):
    """A request to a stopped server is answered at `timeout`, not before and not long after."""
    server, = world.servers(protocol, 1)
    proxy = world.proxy({"p": pool(protocol, [server], timeout_ms=int(TIMEOUT * 1000),
                                   server_failure_limit=1000)})
    with proxy.raw() as c:
        def ask():
            return c.mc(b"get k\r\n") if protocol == "memcached" else c.resp("GET", "k")
        ask()
        server.pause()
        for _ in range(3):
            began = time.monotonic()
            got = ask()
            took = time.monotonic() - began
            assert b"Connection timed out" in got, got
            assert TIMEOUT * 0.85 < took < TIMEOUT * 1.2 + scaled(0.1), f"{took:.3f} s"
        server.resume()
        wait_for(lambda: b"ERR" not in ask(), 10, "service to resume")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_slow_within_the_timeout(world, protocol):
    """Row 9: half the timeout slow is slow, not wrong: no errors at all, the others not slower."""
    f = Field(world, protocol)
    quiet = f.during(1)
    f.relay.down.delay = TIMEOUT / 2
    bad = f.during(2)
    f.relay.down.delay = 0.0
    f.wait_served()
    assert not any(c.errors for c in f.to_bad), [c.error_texts for c in f.to_bad]
    f.verdict(quiet, bad, errors=False)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_slower_than_the_timeout(world, protocol):
    """Late replies are recognised and dropped: nobody gets another's."""
    f = Field(world, protocol, server_failure_limit=1000)
    quiet = f.during(1)
    f.relay.down.delay = TIMEOUT * 1.6
    f.wait_failing()
    bad = f.during(2.5)
    f.relay.down.delay = 0.0
    f.wait_served()
    f.verdict(quiet, bad)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refuse(world, protocol):
    """Row 12: connections are dropped and new ones refused."""
    f = Field(world, protocol)
    quiet = f.during(1)
    f.relay.refuse()
    f.relay.drop_all()
    f.wait_failing()
    bad = f.during(1.5)
    f.relay.listen()
    f.wait_served()
    f.verdict(quiet, bad)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_accepts_but_never_replies(world, protocol):
    """Row 11: the breaker opens after the limit, and from then on errors are immediate."""
    fake = world.fake(silent)
    good = world.servers(protocol, 1)
    proxy = world.proxy({"p": pool(protocol, [fake], timeout_ms=int(TIMEOUT * 1000),
                                   server_failure_limit=3, server_retry_timeout_ms=60000),
                         "good": pool(protocol, good)}, threads=1)
    with proxy.raw("p") as c:
        took = []
        for _ in range(8):
            began = time.monotonic()
            got = c.mc(b"get k\r\n") if protocol == "memcached" else c.resp("GET", "k")
            took.append(time.monotonic() - began)
            assert got.startswith((b"SERVER_ERROR", b"-ERR")), got
        assert sum(t > TIMEOUT * 0.8 for t in took) <= 4, took
        assert max(took[-3:]) < TIMEOUT / 4, took


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_row_16_rst_in_the_middle(world, protocol):
    """Connections reset under load, again and again: errors for that server's requests only."""
    f = Field(world, protocol, server_failure_limit=1000)
    quiet = f.during(1)
    began = time.monotonic()
    for _ in range(15):
        f.relay.drop_all("reset")
        time.sleep(0.1)
    f.wait_served()
    f.verdict(quiet, (began, time.monotonic()), errors=False)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("how", ["close", "reset", "stall"])
@pytest.mark.parametrize("after", [1, 20, 3000])
def test_row_2_cut_inside_a_reply(world, protocol, how, after):
    """The server dies inside a value: the client gets an error and never a short value, and its
    connection stays in sync."""
    server, = world.servers(protocol, 1)
    relay = world.relay(server.addr)
    proxy = world.proxy({"p": pool(protocol, [relay], timeout_ms=int(TIMEOUT * 1000),
                                   server_failure_limit=1000)}, threads=1)
    value = b"0123456789" * 2000
    with proxy.raw() as c:
        if protocol == "memcached":
            assert c.mc_set(b"k", value) == b"STORED\r\n"
            def ask(): return c.mc(b"get k\r\n")
            whole = b"VALUE k 0 20000\r\n%s\r\nEND\r\n" % value
        else:
            assert c.resp("SET", "k", value) == b"+OK\r\n"
            def ask(): return c.resp("GET", "k")
            whole = b"$20000\r\n%s\r\n" % value
        assert ask() == whole
        relay.down.cut, relay.down.cut_after = how, after
        try:
            got = ask()
            assert got.startswith((b"SERVER_ERROR", b"-ERR")), got[:200]
        except EOFError:
            # Where the head of the value was already passed on, closing is the only honest end.
            assert after == 3000
            c = proxy.raw()
        relay.down.flow()

        def again():
            return (c.mc(b"get k\r\n") if protocol == "memcached" else c.resp("GET", "k")) == whole
        wait_for(again, 10, "service to resume")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_row_3_a_thousand_pipelined_requests(world, protocol):
    """kill -9 with 1,000 requests in flight: one reply for each, in order."""
    f_servers = world.servers(protocol, 3)
    proxy = world.proxy({"p": pool(protocol, f_servers, timeout_ms=int(TIMEOUT * 1000))})
    keys = [b"key%04d" % i for i in range(1000)]
    with proxy.raw() as c:
        def ask_all():
            if protocol == "memcached":
                return b"".join(b"get %s\r\n" % k for k in keys)
            return b"".join(command("GET", k) for k in keys)
        for i in range(0, 1000, 100):
            for k in keys[i:i + 100]:
                c.send(b"set %s 0 0 7\r\n%s\r\n" % (k, k) if protocol == "memcached"
                       else command("SET", k, k))
            for _ in range(100):
                assert (c.mc() if protocol == "memcached" else c.resp_raw()) in (b"STORED\r\n",
                                                                                b"+OK\r\n")
        f_servers[1].pause()  # so that its requests are surely in flight when it dies
        c.send(ask_all())
        time.sleep(TIMEOUT / 4)
        f_servers[1].kill()
        errors = 0
        for k in keys:
            got = c.mc() if protocol == "memcached" else c.resp_raw()
            if got.startswith((b"SERVER_ERROR", b"-ERR")):
                errors += 1
            else:
                assert k in got, f"reply of another request: asked {k!r}, got {got!r}"
        assert 30 < errors < 600, errors


def test_row_1_idle_death_costs_one_miss_or_error(world):
    """A server that died while nobody was looking: no client is disconnected."""
    servers = world.memcached(2)
    proxy = world.proxy({"p": pool("memcached", servers, timeout_ms=int(TIMEOUT * 1000))})
    keys = by_server("memcached", proxy.addr(), servers, 3)
    with proxy.raw() as c:
        assert c.mc_get(keys[servers[0]][0]) == b"x"
        servers[0].kill()
        got = c.mc(b"get %s\r\n" % keys[servers[0]][0])
        assert got == b"END\r\n" or got.startswith(b"SERVER_ERROR"), got
        assert c.mc_get(keys[servers[1]][0]) == b"x"


def test_row_8_restart_as_the_other_protocol(world):
    """Its port is now a Redis: it is marked bad and not fed requests."""
    server, = world.memcached(1)
    proxy = world.proxy({"p": pool("memcached", [server], timeout_ms=int(TIMEOUT * 1000),
                                   server_retry_timeout_ms=200, server_failure_limit=1)}, threads=1)
    with proxy.raw() as c:
        assert c.mc_set(b"k", b"v") == b"STORED\r\n"
        server.kill()
        served = []

        def handler(conn):
            while True:
                served.append(conn.line())
                conn.send(b"-ERR unknown command\r\n")
        wait_for(lambda: world.fake(handler, port=server.port), 5, "the port")
        for _ in range(30):
            got = c.mc(b"set k 0 0 1\r\nx\r\n")
            assert got.startswith(b"SERVER_ERROR"), got
            time.sleep(0.02)
        assert sum(x.startswith(b"set") for x in served) <= 3, served


def test_row_10_replies_at_a_byte_at_a_time(world):
    """The timeout counts from the request, however busy the trickle looks."""
    def reply(conn, words, body):
        if words[0] != b"get" or words[1] != b"trickle":
            return None
        conn.send(b"VALUE trickle 0 1000\r\n")
        for _ in range(200):
            conn.send(b"x")
            time.sleep(0.02)
        return b""
    fake = world.fake(memcached_like(reply))
    proxy = world.proxy({"p": pool("memcached", [fake], timeout_ms=int(TIMEOUT * 1000))})
    with proxy.raw() as c:
        began = time.monotonic()
        try:
            got = c.mc(b"get trickle\r\n")
            assert b"Connection timed out" in got, got
        except EOFError:
            pass  # the head had been passed on
        assert time.monotonic() - began < TIMEOUT * 1.5 + scaled(0.3)


def test_row_17_jitter(world):
    """Delays that change with every packet: no desync in thousands of pipelined requests."""
    f = Field(world, "redis", server_failure_limit=1000)
    until = time.monotonic() + scaled(3)
    while time.monotonic() < until:
        f.relay.down.delay = f.world.random.random() * 0.05
        f.relay.up.delay = f.world.random.random() * 0.02
        f.relay.down.split = f.world.random.random() < 0.3
        time.sleep(0.01)
    for c in f.checkers:
        c.verdict(at_least=30)
    assert not any(c.errors for c in f.checkers)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_corrupt_replies(world, protocol):
    """Flipped bytes in the protocol lines of a server: errors, never somebody else's value."""
    f = Field(world, protocol, server_failure_limit=1000)
    rng = f.world.random

    def flip(data):
        # Heads only: inside a value nobody could tell.
        if rng.random() < 0.2 and data[:1] in b"VES$+*-:":
            data = bytes([data[0] ^ 1 << rng.randrange(7)]) + data[1:]
        return data
    f.relay.down.mutate = flip
    f.during(2)
    f.relay.down.mutate = None
    f.wait_served()
    for c in f.checkers:
        # A flipped head can turn STORED into something the checker reports; only the good
        # servers' clients must be untouched.
        if c in f.to_good:
            c.verdict()
    assert f.proxy.alive()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_multi_key_with_a_dead_server(world, protocol):
    """twemproxy closes the client here. An error for the whole, or misses where the pool says so;
    the connection stays."""
    servers = world.servers(protocol, 3)
    common = {"timeout_ms": int(TIMEOUT * 1000), "server_retry_timeout_ms": 60000}
    proxy = world.proxy({"error": pool(protocol, servers, **common),
                         "miss": pool(protocol, servers, on_error="miss", **common)})
    keys = by_server(protocol, proxy.addr("error"), servers, 5)
    order = [k for group in zip(*[v[:5] for v in keys.values()]) for k in group]
    servers[0].kill()
    dead = set(keys[servers[0]])
    with proxy.raw("error") as e, proxy.raw("miss") as m:
        for _ in range(5):
            if protocol == "memcached":
                got = e.mc(b"get %s\r\n" % b" ".join(order))
                assert got.endswith(b"END\r\n") or b"SERVER_ERROR" in got, got
                got = m.mc(b"get %s\r\n" % b" ".join(order))
                assert got == b"".join(b"VALUE %s 0 1\r\nx\r\n" % k for k in order
                                       if k not in dead) + b"END\r\n"
                assert e.mc(b"get %s\r\n" % b" ".join(keys[servers[1]])).count(b"VALUE") >= 5
            else:
                assert e.resp("MGET", *order).startswith((b"-ERR", b"*15"))
                got = m.resp("MGET", *order)
                assert got == b"*15\r\n" + b"".join(b"$-1\r\n" if k in dead else b"$1\r\nx\r\n"
                                                    for k in order)
                assert e.resp("MGET", *keys[servers[1]]).count(b"x") >= 5
                assert e.resp("DEL", *keys[servers[0]], "none").startswith(b"-ERR")
        if protocol == "memcached":
            assert m.mc(b"set %s 0 0 1\r\nx\r\n" % keys[servers[0]][0]).startswith(b"SERVER_ERROR")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_auto_eject_hosts(world, protocol):
    """A failing server leaves the ring after `server_failure_limit` failures, its keys go to the
    others, and it returns after `server_retry_timeout`."""
    servers = world.servers(protocol, 3)
    proxy = world.proxy({"p": pool(protocol, servers, timeout_ms=int(TIMEOUT * 1000),
                                   auto_eject_hosts=True, server_failure_limit=2,
                                   server_retry_timeout_ms=int(scaled(1500)))}, threads=1)
    keys = by_server(protocol, proxy.addr(), servers, 10)
    mine = keys[servers[0]]

    def put(c, k):
        if protocol == "memcached":
            return c.mc_set(k, b"y") == b"STORED\r\n"
        return c.resp("SET", k, "y") == b"+OK\r\n"
    with proxy.raw() as c:
        servers[0].kill()
        assert not put(c, mine[0]), "the dead server's client saw no error at all"
        wait_for(lambda: put(c, mine[0]), 2, "the ejection")
        for k in mine:
            assert put(c, k), "an ejected server's keys belong to the others"
        stats = proxy.stats()["p"]
        assert stats["server_ejects"] == 1, stats
        assert any(isinstance(v, dict) and v["server_ejected_at"] > 0 for v in stats.values())
        servers[0].restart()

        def back():
            for k in mine:
                put(c, k)
            with servers[0].raw() as d:
                return all((d.mc_get(k) == b"y") if protocol == "memcached" else
                           d.resp("GET", k) == b"$1\r\ny\r\n" for k in mine)
        wait_for(back, 10, "the server to return to the ring", every=0.1)


def test_idle_close_by_the_server_is_no_failure(world):
    """twemproxy ejects a server that closes an idle connection; that is a documented bug."""
    servers = world.redis(2)
    proxy = world.proxy({"p": pool("redis", servers, auto_eject_hosts=True, server_failure_limit=1,
                                   server_retry_timeout_ms=60000)})
    keys = by_server("redis", proxy.addr(), servers, 3)
    with proxy.raw() as c:
        for _ in range(5):
            for s in servers:
                s.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(0.05)
            for s in servers:
                assert c.resp("GET", keys[s][0]) == b"$1\r\nx\r\n"
        assert proxy.stats()["p"]["server_ejects"] == 0


def test_all_servers_dead(world):
    """twemproxy #357/#563 crashed: every request is an error at once, and nothing else happens."""
    servers = world.memcached(2)
    proxy = world.proxy({"p": pool("memcached", servers, auto_eject_hosts=True,
                                   server_failure_limit=1, timeout_ms=int(TIMEOUT * 1000),
                                   server_retry_timeout_ms=500)})
    for s in servers:
        s.kill()
    with proxy.raw() as c:
        for i in range(100):
            got = c.mc(b"get a%d b%d c%d\r\n" % (i, i, i))
            assert got.startswith(b"SERVER_ERROR"), got
        for s in servers:
            s.restart()
        wait_for(lambda: c.mc(b"get a b c d e f g h\r\n") == b"END\r\n", 10, "service to resume")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_zombie_write_is_not_seen_as_done(world, protocol):
    """A write that timed out may still execute (finding 7); but its reply goes to nobody, and a
    read after recovery sees a value that was really written."""
    server, = world.servers(protocol, 1)
    proxy = world.proxy({"p": pool(protocol, [server], timeout_ms=int(TIMEOUT * 1000),
                                   server_failure_limit=2, server_retry_timeout_ms=200)})

    def put(c, v):
        return c.mc_set(b"k", v) if protocol == "memcached" else c.resp("SET", "k", v)

    def get(c):
        return c.mc(b"get k\r\n") if protocol == "memcached" else c.resp("GET", "k")
    with proxy.raw() as c:
        put(c, b"before")
        server.pause()
        assert b"ERR" in put(c, b"zombie")
        server.resume()
        wait_for(lambda: b"ERR" not in get(c), 10, "service to resume")
        assert put(c, b"after-1") in (b"STORED\r\n", b"+OK\r\n")
        assert put(c, b"after-2") in (b"STORED\r\n", b"+OK\r\n")
        for _ in range(20):
            assert b"after-2" in get(c)


def test_one_slow_pool_among_twenty(world):
    """Row 49: a pool whose server is stuck does not slow down the others."""
    fake = world.fake(silent)
    good = world.memcached(2)
    pools = {f"good{i}": pool("memcached", good) for i in range(20)}
    pools["stuck"] = pool("memcached", [fake], timeout_ms=int(scaled(5000)))
    proxy = world.proxy(pools, threads=2)
    checkers = [world.add(Checker(proxy.addr(f"good{i}"), "memcached",
                                  [b"p%d-%d" % (i, n) for n in range(5)], pause=0.05))
                for i in range(20)]
    for c in checkers:
        c.go()
    stuck = [proxy.raw("stuck") for _ in range(30)]
    began = time.monotonic()
    for c in stuck:
        c.send(b"".join(b"get k%d\r\n" % i for i in range(100)))
    time.sleep(scaled(1.5))
    for c in checkers:
        c.verdict()
        assert c.median(began) < scaled(0.1)


def test_unresolvable_name(world):
    """Names resolve off the data path: a server whose name does not exist is down, no more."""
    good = world.memcached(1)
    proxy = world.proxy({"p": pool("memcached", ["no-such-host.invalid:11211"], timeout_ms=500),
                         "good": pool("memcached", good)})
    checker = world.add(Checker(proxy.addr("good"), "memcached", [b"a", b"b"])).go()
    with proxy.raw("p") as c:
        for _ in range(5):
            began = time.monotonic()
            assert c.mc(b"get k\r\n").startswith(b"SERVER_ERROR")
            assert time.monotonic() - began < scaled(2)
    wait_for(lambda: checker.ops > 50, 10, "the other pool's client to be served")
    checker.verdict()
