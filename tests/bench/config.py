"""Configuration files of the proxies that are compared."""

import json

RING_HASH = "murmur"  # spreads lg's numbered keys evenly, whatever the ring
HEAVY = 100000  # beside it, a server of weight 1 gets not one point of the ring


def server_lines(ports):
    return [f"127.0.0.1:{p}:1 server{i}" for i, p in enumerate(ports)]


def ring_lines(ports, names):
    """A ring of `names` servers and as many points as belong to it, of which len(ports) own all:
    what a large ring costs, and not what many connections cost."""
    return [f"127.0.0.1:{ports[i % len(ports)]}:{HEAVY if i < len(ports) else 1} server{i}"
            for i in range(names)]


def spread_lines(ports, names):
    """A ring of `names` servers that share len(ports) ports, each with a connection of its own."""
    return [f"127.0.0.1:{ports[i % len(ports)]}:1 server{i}" for i in range(names)]


def nutcracker(port, proto, servers):
    """What both nutcracker and twinring read."""
    lines = ["bench:", f"  listen: 127.0.0.1:{port}", "  hash: fnv1a_64",
             "  distribution: ketama", f"  redis: {str(proto == 'redis').lower()}", "  servers:"]
    return "\n".join(lines + [f"   - {s}" for s in servers]) + "\n"


def pool(proto, servers, **options):
    return {"protocol": proto, "distribution": "ketama", "hash": RING_HASH, "servers": servers,
            **options}


def native(port, pools, proxy, **more):
    """twinring's own form; JSON is YAML. The listener leads to pool "bench" unless `more` has
    another."""
    return json.dumps({"proxy": {"threads": 1, **proxy}, "pools": pools,
                       "listeners": [{"listen": f"127.0.0.1:{port}", "pool": "bench"}], **more})


def deep_pools(proto, servers, depth=8):
    """A pool that fails over to another, which fails over to another..."""
    pools = {}
    for i in range(depth):
        name = "bench" if i == 0 else f"bench{i}"
        more = {"failover": f"pool:bench{i + 1}"} if i + 1 < depth else {}
        pools[name] = pool(proto, servers, **more)
    return pools
