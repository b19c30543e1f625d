"""Must show 1: what an operator writes into the tree is what every proxy serves, at once and without
one failed request."""

import time

import pytest

from harness import agent as agents
from harness.agent import spec
from harness.env import scaled, wait_for
from test_swap import OrderChecker

pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")


def share(proxy, server, prefix, count=400):
    """How many of so many new keys, written through the proxy, arrive at the server."""
    keys = [b"%s-%d" % (prefix, i) for i in range(count)]
    with proxy.raw() as c, server.raw() as d:
        c.send(b"".join(b"set %s 0 60 1\r\nx\r\n" % k for k in keys))
        for k in keys:
            assert c.mc() == b"STORED\r\n"
        return sum(d.mc_get(k) is not None for k in keys)


def test_server_added_by_plain_set(world, plane):
    servers = world.memcached(4)
    plane.set_spec(spec("memcached", servers[:3]))
    agent = plane.agent()
    proxies = [plane.proxy_unstarted(agent).begin() for _ in range(3)]
    for p in proxies:
        wait_for(lambda p=p: p.ready, 10, "a proxy to be ready")
    checkers = [world.add(OrderChecker(p.addr(), "memcached", i)) for i, p in enumerate(proxies)]
    for c in checkers:
        c.start()
    wait_for(lambda: all(c.ops > 200 for c in checkers), 10, "load")
    assert all(share(p, servers[3], b"before%d" % i) == 0 for i, p in enumerate(proxies))
    began = time.monotonic()
    plane.set_spec(spec("memcached", servers))
    for i, p in enumerate(proxies):
        while share(p, servers[3], b"at%d-%d" % (i, time.monotonic_ns()), 40) == 0:
            assert time.monotonic() - began < scaled(5), "the new server serves nobody"
    took = time.monotonic() - began
    assert took < scaled(1), f"the last proxy used the new server after {took:.2f} s"
    done = sum(c.ops for c in checkers)
    for i, p in enumerate(proxies):
        got = share(p, servers[3], b"after%d" % i)
        assert 40 < got < 180, f"{got} of 400 keys at one of four servers"
    wait_for(lambda: sum(c.ops for c in checkers) > done + 600, 10, "load on the new ring")
    for c in checkers:
        c.stop()
        assert not c.problems, c.problems[:5]
    plane.wait_status("ok")
