"""Must show 7: a hundred topology swaps in a row under load. Zero errors, zero lost or reordered
replies, no memory growth, and clients undisturbed; through the control socket and by HUP.

Swapping moves keys between servers, so values come and go as misses: the checking clients here ask
in a way whose replies do not depend on where a key lives. Errors, replies that belong to another
request, and closed connections are what they look for."""

import signal
import threading

import pytest

from harness import env
from harness.env import scaled, wait_for
from harness.proxy import ControlError, pool
from harness.rig import Rig
from harness.wire import Raw, command

SWAPS = 100


class OrderChecker(threading.Thread):
    """Pipelines requests whose replies name their request, whichever server answers them."""

    def __init__(self, addr, protocol, number):
        super().__init__(daemon=True)
        self.addr, self.protocol, self.number = addr, protocol, number
        self.halt = threading.Event()
        self.problems, self.ops, self.round = [], 0, 0

    def run(self):
        try:
            with Raw(self.addr, timeout=20) as c:
                while not self.halt.is_set() and len(self.problems) < 10:
                    self.batch(c)
                    self.halt.wait(0.002)
        except Exception as e:  # a closed connection or a missing reply is the finding
            self.problems.append(f"{type(e).__name__}: {e}")

    def batch(self, c):
        self.round += 1
        keys = [b"o%d-%d-%d" % (self.number, self.round, i) for i in range(20)]
        # A reply of the right kind, and where there is a value, of the right key.
        if self.protocol == "memcached":
            c.send(b"".join(b"set %s 0 60 %d\r\n%s\r\nget %s\r\nget %s %s\r\n" % (
                k, len(k), k, k, k, keys[0]) for k in keys))
            for k in keys:
                self.expect(c.mc(), [b"STORED\r\n"])
                hit = b"VALUE %s 0 %d\r\n%s\r\n" % (k, len(k), k)
                first = b"VALUE %s 0 %d\r\n%s\r\n" % (keys[0], len(keys[0]), keys[0])
                self.expect(c.mc(), [hit + b"END\r\n", b"END\r\n"])
                self.expect(c.mc(), [hit + first + b"END\r\n", hit + b"END\r\n", first + b"END\r\n",
                                     b"END\r\n"])
        else:
            c.send(b"".join(command("SET", k, k, "EX", 60) + command("GET", k)
                            + command("MGET", k, keys[0]) for k in keys))
            for k in keys:
                self.expect(c.resp_raw(), [b"+OK\r\n"])
                hit, first = b"$%d\r\n%s\r\n" % (len(k), k), b"$%d\r\n%s\r\n" % (len(keys[0]), keys[0])
                miss = b"$-1\r\n"
                self.expect(c.resp_raw(), [hit, miss])
                self.expect(c.resp_raw(), [b"*2\r\n" + a + b for a in (hit, miss)
                                           for b in (first, miss)])
        self.ops += 60

    def expect(self, got, allowed):
        if got not in allowed:
            self.problems.append(f"round {self.round}: got {got[:200]!r}, expected one of "
                                 f"{[a[:80] for a in allowed]!r}")

    def stop(self):
        self.halt.set()
        if self.is_alive():
            self.join(30)


def topologies(servers, protocol):
    """A cycle of what operators do: add, remove, reweight, replace, rename, other distribution."""
    a, b, c, d = servers
    return [pool(protocol, [a, b, c]), pool(protocol, [a, b, c, d]),
            pool(protocol, [a, b, c, d], weights=[1, 2, 3, 10]), pool(protocol, [a, b, d]),
            pool(protocol, [b, c], names=["s1", "s2"]), pool(protocol, [a, b, c], names=["x", "y", "z"]),
            pool(protocol, [a, b, c, d], distribution="modula"), pool(protocol, [d]),
            pool(protocol, [d, c, b, a], hash="fnv1a_64"), pool(protocol, [a, b, c], weights=[5, 5, 1])]


def apply(control, version, pools):
    return control.call("topology.apply", lineage="", epoch=1, step=version, version=version,
                        pools=pools)


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["memcached", "redis"])
@pytest.mark.parametrize("by", ["control", "hup"])
def test_a_hundred_swaps(world, protocol, by):
    servers = world.servers(protocol, 4)
    cycle = topologies(servers, protocol)
    proxy = world.proxy({"p": cycle[0]})
    checkers = [world.add(OrderChecker(proxy.addr(), protocol, i)) for i in range(4)]
    for c in checkers:
        c.start()
    rss, done = [], 0
    control = world.add(proxy.control())
    rounds = 3 if env.LONG else 1
    for i in range(SWAPS * rounds):
        next_pool = cycle[(i + 1) % len(cycle)]
        if by == "control":
            got = apply(control, i + 1, {"p": next_pool})
            assert got is not None
        else:
            version = control.call("topology.show")["version"]
            proxy.write_config({"p": next_pool})
            proxy.signal(signal.SIGHUP)
            wait_for(lambda: control.call("topology.show")["version"] != version, 10, "the reload")
        # Load on every topology: swapping faster than anybody asks would test nothing.
        wait_for(lambda: sum(c.ops for c in checkers) >= done + 120, 20, "load on the new topology")
        done = sum(c.ops for c in checkers)
        if i % 10 == 9:
            rss.append(proxy.rss())
    if by == "control":
        control.wait_event("drained", version=SWAPS * rounds)
    for c in checkers:
        c.stop()
        assert not c.problems, c.problems[:5]
        assert c.ops > SWAPS
    assert proxy.stats()["p"]["client_connections"] <= len(checkers)
    # After a warm-up of three turns through all topologies there is nothing left to grow.
    growth = rss[-1] - rss[2]
    assert growth < (1 << 20) * (1 if env.BUILD == "release" else 40), f"RSS grew: {rss}"
    # Connections to servers that left the topology are gone.
    wait_for(lambda: proxy.metric("twinring_server_connections") <= 2 * 4, 10, "old connections to go")


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_values_stay_where_nothing_moved(world, protocol):
    """A swap that only renews the same servers moves no key and loses no value: the strict
    checking client stays happy through a hundred of them."""
    rig = Rig(world, protocol, n=3)
    same_pool = rig.proxy.pools["p"]
    with rig.proxy.control() as control:
        for i in range(SWAPS):
            changed = {**same_pool, "timeout_ms": 2000 + i}
            apply(control, i + 1, {"p": changed})
        shown = control.call("topology.show")
        assert shown["version"] == SWAPS
        assert shown["pools"]["p"]["timeout_ms"] == 2000 + SWAPS - 1
    rig.calm()
    # Destinations that exist in both keep their connections.
    assert rig.stat("p", "connects") <= 2 * 3


def test_versions_only_increase(world):
    """An equal (epoch, step) is acknowledged again, a lower one refused; a bad topology is refused
    with its reason and changes nothing."""
    servers = world.memcached(2)
    proxy = world.proxy({"p": pool("memcached", servers[:1])})
    good = {"p": pool("memcached", servers)}
    with proxy.control() as control:
        apply(control, 10, good)
        apply(control, 10, good)
        shown = control.call("topology.show")
        with pytest.raises(ControlError):
            apply(control, 9, good)
        bad = [{"p": {**good["p"], "hash": "no-such-hash"}}, {"p": {**good["p"], "servers": []}},
               {"p": {**good["p"], "unknown_key": 1}}, {"p": {**good["p"], "timeout_ms": "soon"}},
               {"p": {**good["p"], "servers": ["127.0.0.1:0:1 a"]}},
               {"p": {**good["p"], "servers": good["p"]["servers"] * 2}}]
        for i, pools in enumerate(bad):
            with pytest.raises(ControlError) as e:
                apply(control, 11 + i, pools)
            assert len(str(e.value)) > 10
        assert control.call("topology.show") == shown
    with proxy.raw() as c:
        assert c.mc_set(b"k", b"v") == b"STORED\r\n"


def test_route_trace_agrees(world):
    """"Where would key K go?" is answered by the topology that serves."""
    servers = world.memcached(3)
    proxy = world.proxy({"p": pool("memcached", servers)})
    with proxy.control() as control, proxy.raw() as c:
        for i in range(50):
            key = b"trace%d" % i
            assert c.mc_set(key, b"v") == b"STORED\r\n"
            name = control.call("route.trace", pool="p", key=key.decode())["server"]
            with servers[int(name[1:])].raw() as d:
                assert d.mc_get(key) == b"v"
        with pytest.raises(ControlError):
            control.call("route.trace", pool="nope", key="k")
        with pytest.raises(ControlError):
            control.call("no.such.method")


def test_hup_with_a_bad_file_keeps_the_old(world):
    """The old configuration serves on, and the failure is visible."""
    servers = world.memcached(2)
    proxy = world.proxy({"p": pool("memcached", servers)})
    with proxy.raw() as c:
        assert c.mc_set(b"k", b"v") == b"STORED\r\n"
        good = proxy.config_path.read_text()
        for text in ("", "not: [valid", good.replace("md5", "nope"), good + "\nextra: 1\n"):
            failures = proxy.metric("twinring_config_failures_total")
            proxy.config_path.write_text(text)
            proxy.signal(signal.SIGHUP)
            wait_for(lambda: proxy.metric("twinring_config_failures_total") > failures, 10,
                     "the refusal")
            assert c.mc_get(b"k") == b"v"
        proxy.write_config({"p": pool("memcached", servers[:1])})
        proxy.signal(signal.SIGHUP)
        with proxy.control() as control:
            wait_for(lambda: len(control.call("topology.show")["pools"]["p"]["servers"]) == 1, 10,
                     "the good file")
        assert c.mc_set(b"k", b"v2") == b"STORED\r\n"


def test_control_socket_bounds(world):
    """Row 74: garbage, a huge line, half a line, many connections: refused, and nothing else."""
    rig = Rig(world, "memcached")
    path = rig.proxy.ready["control"]
    for data in (b"\0\xff garbage\n", b"{}\n", b"[]\n", b'{"id":1}\n', b'{"id":1,"method":5}\n',
                 b'{"id":1,"method":"topology.apply","params":[]}\n', b"{" * 100000 + b"\n"):
        with Raw(path, timeout=10) as c:
            c.send(data)
            try:
                assert b"error" in c.until(b"\n")
            except (EOFError, ConnectionError):
                pass
    with Raw(path, timeout=10) as c:
        try:
            for _ in range(80):
                c.send(b"x" * 65536)
            got = c.to_eof()
        except (BrokenPipeError, ConnectionResetError):
            got = b""
        assert b"result" not in got
    half = Raw(path, timeout=scaled(15))
    half.send(b'{"id":1,')
    many = []
    for _ in range(200):
        try:
            many.append(Raw(path, timeout=5))
        except (ConnectionError, OSError):
            break
    assert half.closed(), "half a line is waited for without end"
    for c in many:
        c.close()

    def talks():
        with rig.proxy.control() as control:
            return control.call("hello")["pid"] == rig.proxy.pid
    assert wait_for(talks, 10, "the control socket to serve again")
    rig.calm()


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_pool_removed_and_added(world, protocol):
    """A pool that a listener serves goes and comes back: requests in between get a clear error on
    connections that stay open."""
    servers = world.servers(protocol, 2)
    pools = {"a": pool(protocol, servers), "b": pool(protocol, servers)}
    proxy = world.proxy(pools)
    with proxy.control() as control, proxy.raw("b") as c:
        def ask():
            return c.mc(b"get k\r\n") if protocol == "memcached" else c.resp("GET", "k")
        assert ask() in (b"END\r\n", b"$-1\r\n")
        apply(control, 1, {"a": pools["a"]})
        wait_for(lambda: b"ERR" in ask(), 5, "an error")
        apply(control, 2, pools)
        wait_for(lambda: ask() in (b"END\r\n", b"$-1\r\n"), 5, "service to resume")
