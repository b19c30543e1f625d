"""Rows 39 to 51 of the fault catalogue: clients that are slow, greedy, rude or too many, and a
process that runs out of descriptors, memory, disk or time. Service goes on for everybody else."""

import random
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import env
from harness.checker import Checker
from harness.env import scaled, wait_for
from harness.proxy import pool
from harness.rig import Rig
from harness.wire import command

MIB = 1 << 20


def growth_bound(mib):
    """Sanitizers keep freed memory for a while."""
    return mib * MIB * (1 if env.BUILD == "release" else 12)


# --- rows 39 to 43: clients -----------------------------------------------------------------------

@pytest.mark.long
def test_row_39_slow_loris(world):
    """Hundreds of clients send a byte now and then of requests that never end: each is closed after
    client_partial_timeout, and nobody else notices."""
    count = 5000 if env.LONG else 300
    rig = Rig(world, "memcached", proxy_options={"client_partial_timeout_ms": int(scaled(1500))},
              nofile=count + 500)
    conns = [rig.client() for _ in range(count)]
    began = time.monotonic()
    alive = list(conns)
    while alive and time.monotonic() < began + scaled(12):
        for c in list(alive):
            try:
                c.sock.send(b"g")
                c.sock.settimeout(0)
                if not c.sock.recv(100):
                    raise EOFError
            except BlockingIOError:
                pass
            except (EOFError, OSError):
                alive.remove(c)
            c.sock.settimeout(5)
        time.sleep(0.2)
    assert not alive, f"{len(alive)} of {count} slow-loris clients are still there"
    assert time.monotonic() - began > scaled(1.0), "closed long before the timeout"
    rig.calm()


def test_idle_timeout(world):
    """An idle client is closed after client_idle_timeout; one that asks is not."""
    rig = Rig(world, "redis", proxy_options={"client_idle_timeout_ms": int(scaled(1000))})
    idle = rig.client(timeout=scaled(8))
    began = time.monotonic()
    assert idle.closed()
    assert time.monotonic() - began > scaled(0.7)
    rig.calm()


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_row_40_client_that_never_reads(world, protocol):
    """100 MB of replies for a client that does not read: it is paused at its limit, memory stays
    bounded, others are served; when it reads at last, everything arrives in order."""
    rig = Rig(world, protocol, n=2)
    value = bytes(range(256)) * 4000  # 1,024,000 bytes
    with rig.client() as c:
        if protocol == "memcached":
            assert c.mc_set(b"big", value) == b"STORED\r\n"
            request, reply = b"get big\r\n", b"VALUE big 0 1024000\r\n%s\r\nEND\r\n" % value
        else:
            assert c.resp("SET", "big", value) == b"+OK\r\n"
            request, reply = command("GET", "big"), b"$1024000\r\n%s\r\n" % value
        c.send(request)
        assert c.exactly(len(reply)) == reply
        rss = rig.proxy.rss()
        c.send(request * 100)
        peak = 0
        until = time.monotonic() + scaled(1.5)
        while time.monotonic() < until:
            peak = max(peak, rig.proxy.rss() - rss)
            time.sleep(0.05)
        assert peak < growth_bound(32), f"{peak / MIB:.0f} MiB for one client that does not read"
        rig.wait_stat("p", "paused")
        for i in range(100):
            assert c.exactly(len(reply)) == reply, f"reply {i}"
    rig.calm()


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_row_41_half_close(world, protocol):
    """A client that has said all it will say still gets its replies."""
    rig = Rig(world, protocol)
    with rig.client() as c:
        n = 200
        if protocol == "memcached":
            c.send(b"".join(b"set h%d 0 0 1\r\nx\r\nget h%d\r\n" % (i, i) for i in range(n)))
            want = b"".join(b"STORED\r\nVALUE h%d 0 1\r\nx\r\nEND\r\n" % i for i in range(n))
        else:
            c.send(b"".join(command("SET", f"h{i}", "x") + command("GET", f"h{i}") for i in range(n)))
            want = b"+OK\r\n$1\r\nx\r\n" * n
        c.half_close()
        assert c.to_eof() == want
    rig.calm()


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_row_42_rst_with_requests_in_flight(world, protocol):
    """Clients reset with 1,000 requests in flight, again and again: descriptors and memory stay."""
    rig = Rig(world, protocol)
    cycles = 3000 if env.LONG else 250
    requests = b"get a b c\r\nset a 0 0 3\r\nabc\r\n" * 500 if protocol == "memcached" else \
        (command("MGET", "a", "b", "c") + command("SET", "a", "abc")) * 500

    def cycle():
        c = rig.client()
        c.send(requests)
        c.reset()
    heap, fds = rig.proxy.metric("twinring_heap_bytes"), rig.proxy.fds()
    for _ in range(5):
        for _ in range(cycles // 5):
            cycle()
        wait_for(lambda: rig.stat("p", "client_connections") <= 1, 30, "dead clients to be gone")
    wait_for(lambda: rig.proxy.fds() <= fds + 4, 10, "their descriptors to be closed")
    # What the burst needed goes back: a leak would not.
    wait_for(lambda: rig.proxy.metric("twinring_heap_bytes") < heap + growth_bound(2), 30,
             "the heap to shrink again", every=0.5)
    rig.calm()


@pytest.mark.long
def test_row_43_connection_storm(world):
    """Connections opened and closed as fast as we can: timers and other clients go on."""
    rig = Rig(world, "memcached")
    until = time.monotonic() + (15 if env.LONG else 3)
    addr, made = rig.proxy.addr("p"), [0] * 3

    def storm(n):
        while time.monotonic() < until:
            try:
                s = socket.create_connection(addr, 5)
                if made[n] % 3 == 0:
                    s.send(b"get x\r\n")
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                s.close()
                made[n] += 1
            except OSError:
                pass
    threads = [threading.Thread(target=storm, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sum(made) > 500
    wait_for(lambda: rig.stat("p", "client_connections") <= 1, 20, "the storm to be over")
    times = sorted(rig.checker.times())
    assert times[int(len(times) * 0.99)] < scaled(0.5)
    rig.calm()


# --- rows 44 to 48: resources ---------------------------------------------------------------------

def test_row_44_few_descriptors(world):
    """With 64 descriptors: those who are in are served, no spin, and places are given again."""
    servers = world.memcached(2)
    proxy = world.proxy({"p": pool("memcached", servers)}, threads=2, nofile=64)
    with proxy.raw() as first:
        assert first.mc(b"get a b c d e f\r\n") == b"END\r\n"
        conns = []
        for _ in range(100):
            try:
                conns.append(proxy.raw(timeout=2))
            except OSError:
                break
        for _ in range(20):
            assert first.mc(b"get a b c d e f\r\n") == b"END\r\n"
        cpu = proxy.cpu_seconds()
        time.sleep(1)
        assert proxy.cpu_seconds() - cpu < scaled(0.3), "spins while it cannot accept"
        for c in conns:
            c.close()

        def new_one():
            with proxy.raw(timeout=2) as c:
                return c.mc(b"get a\r\n") == b"END\r\n"
        wait_for(new_one, 10, "new clients to be served")
    assert proxy.alive()


def test_row_45_no_descriptor_for_a_server(world):
    """Clients hold every descriptor before the first request needs a server: an error or service,
    never a hang, and recovery."""
    servers = world.memcached(4)
    proxy = world.proxy({"p": pool("memcached", servers, timeout_ms=1000,
                                   server_retry_timeout_ms=200)}, threads=2, nofile=48)
    conns = []
    for _ in range(60):
        try:
            conns.append(proxy.raw(timeout=3))
        except OSError:
            break
    answered = 0
    for c in conns[:10]:
        try:
            got = c.mc(b"get a b c d e f g h\r\n")
            assert got == b"END\r\n" or b"SERVER_ERROR" in got, got
            answered += 1
        except (EOFError, ConnectionError, socket.timeout):
            pass
    assert answered, "nobody who was accepted got any answer"
    for c in conns:
        c.close()

    def served():
        with proxy.raw(timeout=3) as c:
            return c.mc(b"get a b c d e f g h\r\n") == b"END\r\n"
    wait_for(served, 15, "service to resume", every=0.1)


def test_row_47_memory_cap(world):
    """Many clients that ask for much and read nothing: the proxy stays below memory_max, and
    serves again when they are gone."""
    cap = 64
    rig = Rig(world, "memcached", n=2, proxy_options={"memory_max": cap * MIB})
    value = b"v" * 900000
    with rig.client() as c:
        assert c.mc_set(b"big", value) == b"STORED\r\n"
    rss = rig.proxy.rss()
    greedy = [rig.client() for _ in range(40)]
    for c in greedy:
        c.send(b"get big\r\n" * 30)
    peak, until = 0, time.monotonic() + scaled(2)
    while time.monotonic() < until:
        peak = max(peak, rig.proxy.rss() - rss)
        time.sleep(0.05)
    assert peak < growth_bound(cap * 1.5), f"{peak / MIB:.0f} MiB, the cap is {cap}"
    assert rig.proxy.alive()
    for c in greedy:
        c.close()

    def served():
        with rig.client() as c:
            return c.mc_get(b"big") == value
    wait_for(served, 10, "service after the greedy ones")


FAILING_MALLOC = r"""
/* LD_PRELOAD: the FAIL_AT-th allocation of the process is refused, and FAIL_RUN - 1 after it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
static long at = -1, run, count;
static int refuse(void)
{
	if (at < 0) {
		const char *s = getenv("FAIL_AT"), *r = getenv("FAIL_RUN");
		run = r ? atol(r) : 1;
		at = s ? atol(s) : 0;
	}
	long n = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
	return at && n >= at && n < at + run;
}
void *malloc(size_t n) { return refuse() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return refuse() ? NULL : __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return refuse() ? NULL : __libc_realloc(p, n); }
"""


@pytest.mark.skipif(env.BUILD != "release", reason="sanitizers have an allocator of their own")
def test_row_48_malloc_fails(world):
    """The Nth allocation fails, for many N: the proxy lives, or ends on purpose; it never crashes
    into memory it does not have."""
    source, lib = world.dir / "failing.c", world.dir / "failing.so"
    source.write_text(FAILING_MALLOC)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", lib, source], check=True)
    servers = world.memcached(2)
    rng = random.Random(world.seed)
    for n in [rng.randrange(1, 4000) for _ in range(25)]:
        proxy = world.proxy_unstarted({"p": pool("memcached", servers)},
                                      environ={"LD_PRELOAD": str(lib), "FAIL_AT": str(n),
                                               "FAIL_RUN": str(rng.choice([1, 1, 5]))})
        proxy.own_config and proxy.write_config()
        proxy.on_line = proxy._stdout_line
        proxy.start()
        wait_for(lambda p=proxy: p.ready or not p.alive(), 15, "ready, or an end")
        for _ in range(10):
            if not proxy.alive():
                break
            try:
                with proxy.raw(timeout=3) as c:
                    c.send(b"set a 0 0 3\r\nabc\r\nget a b c d e f g\r\nget a\r\n")
                    c.mc(), c.mc(), c.mc()
                proxy.stats()
            except (OSError, EOFError, ValueError, AssertionError):
                pass
        proxy.stop()
        code = proxy.popen.returncode
        assert code in (0, 1, -signal.SIGABRT, -signal.SIGTERM), f"FAIL_AT={n}: ended with {code}"


# --- rows 50 and 51: signals ----------------------------------------------------------------------

@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_row_50_sigterm_answers_what_was_asked(world, protocol):
    """Requests that the proxy has accepted are answered before it goes; it exits 0 in time, and
    leaves no socket file behind."""
    server, = world.servers(protocol, 1)
    relay = world.relay(server.addr)
    proxy = world.proxy({"p": pool(protocol, [relay])})
    control = proxy.control_path
    conns = [proxy.raw() for _ in range(10)]
    for c in conns:
        c.send(b"get warm\r\n" if protocol == "memcached" else command("GET", "warm"))
        assert (c.mc() if protocol == "memcached" else c.resp_raw()) in (b"END\r\n", b"$-1\r\n")
    relay.down.delay = scaled(0.5)
    for i, c in enumerate(conns):
        c.send(b"".join(b"get n%d\r\n" % k if protocol == "memcached" else command("GET", f"n{k}")
                        for k in range(50)))
    wait_for(lambda: sum(v["out_queue"] for v in proxy.stats()["p"].values()
                         if isinstance(v, dict)) >= 500, 10, "all to be in flight", every=0.005)
    began = time.monotonic()
    proxy.signal(signal.SIGTERM)
    want = (b"END\r\n" if protocol == "memcached" else b"$-1\r\n") * 50
    for i, c in enumerate(conns):
        assert c.to_eof() == want, f"client {i} lost replies"
    assert proxy.wait(10) == 0
    assert time.monotonic() - began < scaled(5)
    assert not control.exists(), "the control socket was left behind"
    with pytest.raises(OSError):
        proxy.raw()


def test_row_50_sigterm_under_load(world):
    """Clients in full flight see whole replies and then the end of the connection, nothing else."""
    servers = world.memcached(3)
    proxy = world.proxy({"p": pool("memcached", servers)})
    checkers = [world.add(Checker(proxy.addr(), "memcached", [b"t%d-%d" % (n, i) for i in range(20)],
                                  depth=8, pause=0, seed=n)).go() for n in range(4)]
    wait_for(lambda: all(c.ops > 200 for c in checkers), 20, "load")
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(10) == 0
    for c in checkers:
        c.stop()
        wrong = [p for p in c.problems if not p.startswith("connection: ")]
        assert not wrong, wrong
        assert "unread: b''" in c.problems[0] or "Reset" in c.problems[0] or "Pipe" in c.problems[0], \
            f"half a reply: {c.problems}"


def test_second_sigterm_ends_at_once(world):
    """A drain that waits for a stuck server is cut short by a second signal."""
    server, = world.memcached(1)
    proxy = world.proxy({"p": pool("memcached", [server], timeout_ms=60000)})
    with proxy.raw() as c:
        assert c.mc(b"get a\r\n") == b"END\r\n"
        server.pause()
        c.send(b"get a\r\n")
        wait_for(lambda: any(v["out_queue"] for v in proxy.stats()["p"].values()
                             if isinstance(v, dict)), 10, "the request to be sent")
        proxy.signal(signal.SIGTERM)
        wait_for(lambda: proxy.http("/readyz")[0] == 503 or not proxy.alive(), 5, "the drain")
        assert proxy.http("/healthz")[0] == 200
        proxy.signal(signal.SIGTERM)
        proxy.wait(3)


def test_row_51_hup_and_log_rotation(world):
    """Hundreds of HUPs and a log that is rotated under load: nothing is lost."""
    log = world.dir / "proxy-own.log"
    rig = Rig(world, "memcached", proxy_options={"log_file": str(log)})
    rss = None
    for i in range(1000 if env.LONG else 200):
        rig.proxy.signal(signal.SIGHUP)
        if i % 20 == 0:
            rotated = world.dir / f"rotated{i}"
            wait_for(log.exists, 10, "the log file")
            log.rename(rotated)
            rig.proxy.signal(signal.SIGHUP)
            wait_for(log.exists, 10, "the log to be opened again")
        if i == 60:
            rss = rig.proxy.rss()
    assert rig.proxy.rss() - rss < growth_bound(4)
    rig.calm()


def test_row_51_log_disk_full(world):
    """A log that cannot be written is no reason to stop serving."""
    rig = Rig(world, "memcached", proxy_options={"log_file": "/dev/full", "log_level": 11})
    for _ in range(50):
        with rig.client() as c:
            c.send(b"no-such-command\r\n").line()
    rig.calm()


def test_pipeline_max_is_backpressure(world):
    """Far more pipelined requests than pipeline_max: all answered, in order."""
    rig = Rig(world, "redis", n=3, proxy_options={"pipeline_max": 16})
    with rig.client(timeout=30) as c:
        n = 20000
        data = b"".join(command("SET", f"pm{i % 100}", i) + command("ECHO", i) for i in range(n))
        sender = threading.Thread(target=c.send, args=(data,))
        sender.start()
        for i in range(n):
            assert c.resp_raw() == b"+OK\r\n"
            assert c.resp_raw() == b"$%d\r\n%d\r\n" % (len(str(i)), i)
        sender.join()
    rig.calm()


def test_inflight_max(world):
    """A server that does not answer fills its queue: then errors at once, not memory."""
    server, = world.memcached(1)
    proxy = world.proxy({"p": pool("memcached", [server], inflight_max=100, timeout_ms=5000)},
                        threads=1)
    with proxy.raw() as c:
        assert c.mc(b"get warm\r\n") == b"END\r\n"
        server.pause()
        conns = [proxy.raw() for _ in range(5)]
        for d in conns:
            d.send(b"get x\r\n" * 100)
        began = time.monotonic()
        line = wait_any_line(conns)
        assert b"too many requests in flight" in line, line
        assert time.monotonic() - began < scaled(2)
        server.resume()
        wait_for(lambda: proxy.raw().mc(b"get y\r\n") == b"END\r\n", 10, "service to resume")


def wait_any_line(conns):
    """The first line that any of them gets."""
    deadline = time.monotonic() + scaled(4)
    while time.monotonic() < deadline:
        for c in conns:
            c.sock.settimeout(0.01)
            try:
                c.fill()
                return c.line()
            except (BlockingIOError, socket.timeout):
                pass
    raise AssertionError("no line from anybody")
