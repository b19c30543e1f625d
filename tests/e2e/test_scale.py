"""Must show 4: 8,000 client connections in front of three servers. The proxy holds at most workers
x servers server connections, at most 300 bytes of heap and less than 1 KiB of RSS per idle client,
and all 8,000 get correct replies."""

import os
import resource
import selectors
import socket

import pytest

from harness import env
from harness.env import scaled, wait_for
from harness.proxy import pool
from harness.wire import command

CLIENTS = 8000 if env.LONG or env.BUILD == "release" else 2000
WORKERS = 2
HEAP_PER_CLIENT = 300
RSS_PER_CLIENT = 1024


def established(servers, pid):
    """Server connections of process `pid`, counted by the kernel: ESTABLISHED sockets in
    /proc/net/tcp whose remote port is one of the servers' and whose inode is the process's."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            link = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        if link.startswith("socket:["):
            inodes.add(link[8:-1])
    ports = {"%04X" % s.port for s in servers}
    count = 0
    with open("/proc/net/tcp") as f:
        next(f)
        for line in f:
            w = line.split()
            if w[3] == "01" and w[2].rpartition(":")[2] in ports and w[9] in inodes:
                count += 1
    return count


def connect_all(addr, n):
    """n connections, from several source addresses so that ports never run short."""
    conns = []
    for i in range(n):
        s = socket.socket()
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.bind((f"127.0.1.{1 + i % 4}", 0))
        s.settimeout(scaled(20))
        s.connect(addr)
        conns.append(s)
    return conns


def ask_all(conns, request_of, reply_of):
    """One request on each connection, all before any reply is read; every reply is checked."""
    sel = selectors.DefaultSelector()
    for i, s in enumerate(conns):
        s.sendall(request_of(i))
        sel.register(s, selectors.EVENT_READ, [i, b""])
    left = len(conns)
    while left:
        ready = sel.select(scaled(30))
        assert ready, f"{left} clients got no reply"
        for key, _ in ready:
            i, got = key.data
            data = key.fileobj.recv(65536)
            assert data, f"client {i} was closed"
            key.data[1] = got = got + data
            want = reply_of(i)
            if len(got) >= len(want):
                assert got == want, f"client {i}: {got[:200]!r} instead of {want[:200]!r}"
                sel.unregister(key.fileobj)
                left -= 1
    sel.close()


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_8000_clients(world, protocol):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = CLIENTS + 500
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, max(hard, need)))
    servers = world.servers(protocol, 3)
    proxy = world.proxy({"p": pool(protocol, servers, timeout_ms=int(scaled(20000)))},
                        threads=WORKERS, nofile=CLIENTS + 500,
                        listener_options={"backlog": 4096})
    if protocol == "memcached":
        def put(i): return b"set k%d 0 0 8\r\n%08d\r\n" % (i, i)
        def get(i): return b"get k%d\r\n" % i
        def got(i): return b"VALUE k%d 0 8\r\n%08d\r\nEND\r\n" % (i, i)
        stored = b"STORED\r\n"
    else:
        def put(i): return command("SET", b"k%d" % i, b"%08d" % i)
        def get(i): return command("GET", b"k%d" % i)
        def got(i): return b"$8\r\n%08d\r\n" % i
        stored = b"+OK\r\n"

    # Warm: server connections open, buffers of a burst allocated and given back.
    warm = connect_all(proxy.addr(), 200)
    ask_all(warm, put, lambda i: stored)
    ask_all(warm, get, got)
    for s in warm:
        s.close()
    wait_for(lambda: proxy.stats()["p"]["client_connections"] == 0, 10, "the warm-up to be gone")
    heap, rss = proxy.metric("twinring_heap_bytes"), proxy.rss()
    conns = connect_all(proxy.addr(), CLIENTS)
    try:
        wait_for(lambda: proxy.stats()["p"]["client_connections"] == CLIENTS, 20, "all to be accepted")
        heap_each = (proxy.metric("twinring_heap_bytes") - heap) / CLIENTS
        rss_each = (proxy.rss() - rss) / CLIENTS
        print(f"{CLIENTS} idle clients: {heap_each:.0f} bytes of heap, {rss_each:.0f} of RSS each")
        if env.BUILD == "release":
            assert heap_each <= HEAP_PER_CLIENT, f"{heap_each:.0f} bytes of heap per idle client"
            assert rss_each < RSS_PER_CLIENT, f"{rss_each:.0f} bytes of RSS per idle client"
        ask_all(conns, put, lambda i: stored)
        ask_all(conns, get, got)
        ask_all(conns[::-1], lambda i: get(CLIENTS - 1 - i), lambda i: got(CLIENTS - 1 - i))
        to_servers = established(servers, proxy.pid)
        assert 3 <= to_servers <= WORKERS * len(servers), f"{to_servers} server connections"
        if env.BUILD == "release":
            # Idle again, after each has spoken: their buffers went back.
            def shrunk():
                each = (proxy.metric("twinring_heap_bytes") - heap) / CLIENTS
                return each <= HEAP_PER_CLIENT or not print(f"{each:.0f} bytes each after use")
            wait_for(shrunk, 10, "idle clients to be small again", every=0.5)
    finally:
        for s in conns:
            s.close()
    wait_for(lambda: proxy.stats()["p"]["client_connections"] == 0, 20, "all to be gone")


def test_server_connections_is_per_worker(world):
    """server_connections: n, and preconnect opens them without a request."""
    servers = world.memcached(2)
    proxy = world.proxy({"p": pool("memcached", servers, server_connections=2, preconnect=True)},
                        threads=WORKERS)
    wait_for(lambda: established(servers, proxy.pid) >= WORKERS * 2, 10, "preconnect")
    conns = connect_all(proxy.addr(), 100)
    for _ in range(5):
        ask_all(conns, lambda i: b"get a%d\r\n" % i, lambda i: b"END\r\n")
    assert established(servers, proxy.pid) <= WORKERS * len(servers) * 2
    for s in conns:
        s.close()


def test_clients_are_spread_over_workers(world):
    """Each new connection goes to the worker with the fewest clients."""
    servers = world.memcached(1)
    proxy = world.proxy({"p": pool("memcached", servers)}, threads=4)
    conns = connect_all(proxy.addr(), 40)
    ask_all(conns, lambda i: b"get a\r\n", lambda i: b"END\r\n")
    # Every worker has opened its own server connection, so every worker has clients.
    assert established(servers, proxy.pid) == 4
    for s in conns:
        s.close()
