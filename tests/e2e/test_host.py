"""What the host does to a proxy: ports run out, strangers at its control socket, a clock that jumps,
names that resolve elsewhere. Rows 46, 74, 80 and 82 of the fault catalogue."""

import ctypes
import json
import os
import socket
import subprocess
import threading
import time

import pytest

from harness import agent as agents
from harness import env, mounts, netns
from harness.agent import spec
from harness.checker import Checker
from harness.clock import Clock
from harness.env import scaled, wait_for
from harness.mounts import Mounts
from harness.netns import CLONE_NEWNET, Namespace, Window
from harness.proxy import Proxy, pool
from harness.wire import Raw

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not netns.available() or not mounts.available(),
                                reason="needs root")
HOUR = 3600


class ProxyIn(Proxy):
    """A proxy behind `run`, which listens on a unix socket: its network may not be ours."""

    def __init__(self, world, run, pools, **options):
        super().__init__(world.dir, world.name("proxy"), pools, **options)
        self.argv = [*run, *self.argv]

    def listen_text(self, pool_name):
        return str(self.workdir / f"{self.name}.{pool_name}")

    def addr(self, pool_name=None):
        return self.listen_text(pool_name or "p")


# --- 46 ------------------------------------------------------------------------------------------

def ports(namespace, first, last):
    """The ephemeral ports of a namespace."""
    def write():
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.setns(namespace.fd, CLONE_NEWNET) == 0
        with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
            f.write(f"{first} {last}")
    t = threading.Thread(target=write)
    t.start()
    t.join()


@needs_root
@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_row_46_ephemeral_ports_exhausted(world, protocol):
    """Connections to the server beyond the ports fail their own requests only; with more ports all are
    served again, by the same process."""
    server = world.servers(protocol, 1)[0]
    ns = world.add(Namespace())
    world.add(Window(ns, server.addr))
    ports(ns, 40000, 40001)
    proxy = world.add(ProxyIn(world, ns.run, {"p": pool(protocol, [server], server_connections=6)}))
    proxy.launch()
    clients = [world.add(proxy.raw()) for _ in range(24)]

    def ask(c):
        return c.mc(b"get k\r\n") if protocol == "memcached" else c.resp("GET", "k")
    good = {"memcached": b"END\r\n", "redis": b"$-1\r\n"}[protocol]
    refused = {"memcached": b"SERVER_ERROR ", "redis": b"-ERR "}[protocol]
    got = [ask(c) for c in clients]
    failed = [g for g in got if g != good]
    assert failed and all(g.startswith(refused) for g in failed), got
    cpu = proxy.cpu_seconds()
    for _ in range(20):
        for c in clients:
            g = ask(c)
            assert g == good or g.startswith(refused), g
    assert proxy.cpu_seconds() - cpu < scaled(2), "it spins"
    ports(ns, 40000, 49999)
    wait_for(lambda: all(ask(c) == good for c in clients), 10, "all to be served again")


# --- 74 ------------------------------------------------------------------------------------------

STRANGER = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(10)
try:
    s.connect(sys.argv[1])
    try:
        s.sendall(b'{"id":1,"method":"shutdown"}\\n')
    except BrokenPipeError:
        pass  # refused before we asked; why can still be read
    print(s.recv(4096).decode())
except PermissionError:
    print("no permission")
except OSError as e:
    print("closed", e)
"""


def as_nobody(path):
    """What a process of another user gets at this control socket."""
    r = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                        "/usr/bin/python3", "-c", STRANGER, str(path)], capture_output=True, timeout=30)
    return r.stdout.decode().strip()


class Steady:
    """An agent's part: a connection that is open all the time and asks now and then."""

    def __init__(self, proxy):
        self.control = proxy.control()
        self.shown = self.control.call("topology.show")

    def undisturbed(self):
        assert self.control.call("topology.show") == self.shown

    def close(self):
        self.control.close()


@pytest.fixture
def watched(world):
    """A proxy and somebody who is served by its control socket throughout."""
    proxy = world.proxy({"p": pool("memcached", world.memcached(2))})
    return proxy, world.add(Steady(proxy))


def test_row_74_garbage_and_endless_lines(watched):
    proxy, steady = watched
    for data in (b"\0\xff\n", b"{" * 100_000 + b"\n", b'{"id":1}\n', b"GET / HTTP/1.1\r\n\r\n",
                 b'{"id":1,"method":"topology.apply","params":{"version":9}}\n',
                 b'{"id":1,"method":"topology.apply","params":{"pools":{"p":0}}}\n'):
        with Raw(proxy.ready["control"]) as c:
            answer = json.loads(c.send(data).until(b"\n"))
            assert "error" in answer and "result" not in answer, answer
    with Raw(proxy.ready["control"]) as c:  # 5 MiB, the bound is 4
        try:
            for _ in range(80):
                c.send(b"x" * 65536)
            got = c.to_eof()
        except (BrokenPipeError, ConnectionResetError):
            got = b""
        assert not got or b"too long" in got, got
    steady.undisturbed()


def test_row_74_half_a_line(watched):
    proxy, steady = watched
    began = time.monotonic()
    with Raw(proxy.ready["control"], timeout=15) as c:
        c.send(b'{"id":1,"method":"topology.show"')
        steady.undisturbed()
        assert b"TIMEOUT" in c.to_eof()
    assert 4 < time.monotonic() - began < scaled(8)
    steady.undisturbed()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_row_74_another_user(watched):
    proxy, steady = watched
    path = proxy.ready["control"]
    assert as_nobody(path) == "no permission"
    os.chmod(path, 0o666)  # as by a careless operator: the process asks the kernel who it is
    assert "FORBIDDEN" in as_nobody(path)
    assert proxy.alive()
    steady.undisturbed()


def test_row_74_a_thousand_connects(world, watched):
    """They do nothing, and stay. Who is served stays served; who comes now and says something is, too."""
    proxy, steady = watched
    mute = []
    try:
        for _ in range(1000):
            s = socket.socket(socket.AF_UNIX)
            s.connect(proxy.ready["control"])
            mute.append(s)
        steady.undisturbed()

        def served():
            with proxy.control() as control:
                return control.call("hello")["pid"] == proxy.pid
        assert wait_for(served, 5, "somebody new to be served")
        assert proxy.fds() < 200, "it keeps them all"
        steady.undisturbed()
    finally:
        for s in mute:
            s.close()


# --- 80 ------------------------------------------------------------------------------------------

@pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")
@pytest.mark.skipif(env.BUILD != "release", reason="the sanitizers want to be loaded first")
def test_row_80_clock_steps(world, zookeeper):
    """The wall clock of agent and proxy jumps an hour and a second, forth and back, together and apart:
    leases, sessions, edits and traffic do not notice."""
    plane = agents.Plane(world, zookeeper)
    servers = world.memcached(3)
    plane.set_spec(spec("memcached", servers))
    clocks = []
    for kind in ("agent", "proxy"):
        place = world.dir / f"clock-{kind}"
        place.mkdir()
        clocks.append(Clock(place))
    agent = plane.agent_unstarted(nanny=True)
    agent.env.update(clocks[0].environ)
    agent.launch()
    proxy = plane.proxy_unstarted(agent, environ=clocks[1].environ).launch()
    plane.wait_status("ok")
    checker = world.add(Checker(proxy.addr(), "memcached", [b"chk%d" % i for i in range(30)],
                                seed=world.seed)).go()
    wait_for(lambda: proxy.hello()["topology"]["lease_ms"], 5, "a lease")
    owner = plane.zk.exists(f"live/{agent.id}").ephemeralOwner

    def figures():
        # The shift is seen at all: the proxy's own clock, and what the agent writes.
        return proxy.stats()["timestamp"] - time.time()
    for n, (both, by) in enumerate((b, s) for b in (True, False)
                                   for s in (HOUR, -HOUR, -1, 0)):
        clocks[1].shift(by)
        if both:
            clocks[0].shift(by)
        wait_for(lambda by=by: abs(figures() - by) < 2, 5, "the proxy to see it")
        assert 30_000 < proxy.hello()["topology"]["lease_ms"] <= 60_000
        done = checker.ops
        plane.set_spec(spec("memcached", servers, timeout_ms=3000 + n))
        wait_for(lambda n=n: proxy.shown()["pools"]["p"]["timeout_ms"] == 3000 + n, 10, "the edit")
        status = plane.wait_status("ok")
        if both:
            assert abs(status["since"] / 1000 - time.time() - by) < 10, "the agent does not see it"
        wait_for(lambda done=done: checker.ops > done + 50 or not checker.is_alive(), 10, "traffic")
    assert plane.zk.exists(f"live/{agent.id}").ephemeralOwner == owner, "another session"
    assert not plane.ejected() and proxy.ring() == {"s0", "s1", "s2"}
    assert not plane.names("pools/p/votes/s0")
    checker.verdict()


# --- 82 ------------------------------------------------------------------------------------------

@needs_root
@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_row_82_name_resolves_elsewhere(world, protocol):
    """The ring is made of the servers' labels: what their names resolve to moves no key. An address that
    is known stays while the name does not resolve."""
    first, second, other = world.servers(protocol, 3)
    hosts, conf = world.dir / "hosts", world.dir / "resolv.conf"
    relay = world.relay(second.addr, port=first.port, host="127.0.0.2")
    conf.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")

    def names(**what):
        hosts.write_text("".join(f"{a} {n}.test\n" for n, a in what.items()))
    names(moving="127.0.0.1")
    ns = world.add(Mounts([("/etc/hosts", hosts), ("/etc/resolv.conf", conf)]))
    pools = {"p": pool(protocol, [f"moving.test:{first.port}", other], names=["a", "b"])}
    proxy = world.add(ProxyIn(world, ns.run, pools, proxy_options={"resolve_interval_ms": 100}))
    proxy.launch()

    def address():
        with proxy.control() as c:
            return c.call("server.show", pool="p", server="a")["address"]

    def owners():
        with proxy.control() as c:
            return [c.call("route.trace", pool="p", key=f"key{i}")["server"] for i in range(200)]

    def put(n):
        with proxy.raw() as c:
            for i in range(40):
                key = b"key%d" % i
                if protocol == "memcached":
                    assert c.mc_set(key, b"%d" % n) == b"STORED\r\n"
                else:
                    assert c.resp("SET", key, b"%d" % n) == b"+OK\r\n"

    def held(server):
        with server.raw() as c:
            if protocol == "redis":
                return [i for i in range(40) if c.resp("GET", "key%d" % i) != b"$-1\r\n"]
            return [i for i in range(40) if c.mc_get(b"key%d" % i) is not None]
    before = owners()
    assert set(before) == {"a", "b"}
    put(1)
    mine = held(first)
    assert mine == [i for i in range(40) if before[i] == "a"]
    # It fails: nothing changes.
    names()
    wait_for(lambda: "its last address stays" in proxy.log(), 10, "a failed lookup")
    assert address() == f"127.0.0.1:{first.port}" and owners() == before
    put(2)
    # Another address as well: the one that is known stays.
    names(moving="127.0.0.1")
    wait_for(lambda: "resolved again" in proxy.log(), 15, "the name to be back")
    hosts.write_text("127.0.0.2 moving.test\n127.0.0.1 moving.test\n")
    at = proxy.log().count("\n")
    done = time.monotonic() + 0.5
    wait_for(lambda: time.monotonic() > done, 5, "some lookups")
    assert address() == f"127.0.0.1:{first.port}" and "moved to" not in "\n".join(
        proxy.log().split("\n")[at:])
    assert not held(second)
    # Another address alone: the label, its keys and its place in the ring stay, the box is another.
    names(moving="127.0.0.2")
    wait_for(lambda: address() == f"127.0.0.2:{first.port}", 10, "the address to be followed")
    assert owners() == before
    wait_for(lambda: put(3) or held(second) == mine, 5, "the same keys at the other box")
    assert relay.accepted
    # And it fails again: the address of now stays.
    failed = proxy.log().count("its last address stays")
    names()
    wait_for(lambda: proxy.log().count("its last address stays") > failed, 10, "a failed lookup")
    assert address() == f"127.0.0.2:{first.port}" and owners() == before
    put(4)
