"""Must show 2: nutcracker and our proxy, in front of the same four servers with the same file, put
10,000 random keys on the same servers. A key that moved would be a cold cache on the day of the
migration, so this is the promise that makes the proxy a drop-in replacement."""

import random
import subprocess

import pytest

from harness import env
from harness.checker import present
from harness.servers import nutcracker_yaml
from harness.wire import Raw, command

KEYS = 10000
NAMES = ["alpha", "b", "cache-three", "d4"]
# pool name: options. One file holds them all, as twemproxy's users have it.
POOLS = {
    "ketama-default": {},
    "ketama-md5": {"hash": "md5"},
    "ketama-murmur": {"hash": "murmur"},
    "ketama-hsieh-weights": {"hash": "hsieh", "weights": [1, 2, 3, 10]},
    "ketama-crc32": {"hash": "crc32"},
    "ketama-jenkins-unnamed": {"hash": "jenkins", "names": None},
    "ketama-fnv1-32": {"hash": "fnv1_32"},
    "ketama-tag": {"hash": "fnv1a_64", "hash_tag": "{}", "tagged": True},
    "ketama-tag-same": {"hash": "md5", "hash_tag": "$$", "tagged": True},
    "modula-default": {"distribution": "modula"},
    "modula-md5": {"distribution": "modula", "hash": "md5"},
    "modula-murmur-weights": {"distribution": "modula", "hash": "murmur", "weights": [3, 1, 2, 1]},
    "modula-crc16-tag": {"distribution": "modula", "hash": "crc16", "hash_tag": "{}",
                         "tagged": True},
    "modula-one-at-a-time": {"distribution": "modula", "hash": "one_at_a_time"},
    "modula-crc32a": {"distribution": "modula", "hash": "crc32a"},
    "modula-fnv1-64": {"distribution": "modula", "hash": "fnv1_64"},
    "modula-fnv1a-32": {"distribution": "modula", "hash": "fnv1a_32"},
    "random": {"distribution": "random"},
}


def make_keys(rng, protocol, tagged):
    """Unique random keys: ASCII, non-ASCII bytes (sign extension!), short, 250 bytes, tags."""
    alphabet = bytes(range(0x21, 0x7f))
    # memcached allows all but control bytes and blanks; Redis everything (but --where reads lines)
    wild = bytes(range(0x80, 0x100)) + alphabet
    if protocol == "redis":
        wild += b" \t\0\r"
    keys = set()
    while len(keys) < KEYS:
        size = 250 if rng.random() < 0.01 else rng.randrange(1, 60)
        key = bytes(rng.choices(wild if rng.random() < 0.25 else alphabet, k=size))
        if tagged and rng.random() < 0.8:
            key = rng.choice([b"{%d}%s", b"x{%d}y%s", b"{}{%d}%s", b"$%d$%s", b"a{b%d%s", b"}{%d%s",
                              b"a$%d%s"]) % (rng.randrange(1000), key[:200])
        keys.add(key)
    return sorted(keys)


def write_all(addr, protocol, keys):
    """Set every key through a proxy, pipelined."""
    with Raw(addr) as c:
        for i in range(0, len(keys), 250):
            part = keys[i:i + 250]
            if protocol == "memcached":
                c.send(b"".join(b"set %s 0 0 1\r\nx\r\n" % k for k in part))
                replies = [c.mc() for _ in part]
                assert replies == [b"STORED\r\n"] * len(part)
            else:
                c.send(b"".join(command("SET", k, "x") for k in part))
                assert [c.resp_raw() for _ in part] == [b"+OK\r\n"] * len(part)


def placement(addr, protocol, servers, keys):
    """{key: index of its server} after writing through `addr`; each key must be on exactly one."""
    for s in servers:
        s.flush()
    write_all(addr, protocol, keys)
    out = {}
    for i, s in enumerate(servers):
        for k in present(protocol, s, keys, batch=500):
            assert k not in out, f"{k!r} is on two servers"
            out[k] = i
    assert len(out) == len(keys), f"{len(keys) - len(out)} keys are nowhere"
    return out


class Site:
    """Four servers, one nutcracker.yml, nutcracker and the proxy started with it."""

    def __init__(self, world, protocol):
        self.protocol = protocol
        self.servers = world.servers(protocol, 4)
        self.file = world.dir / f"nutcracker-{protocol}.yml"
        # nutcracker ignores nothing in its file, so the two read the same bytes but for the ports
        ours = world.dir / f"ours-{protocol}.yml"
        self.ports = self._write(self.file)
        self.our_ports = self._write(ours)
        world.nutcracker(self.file, [("127.0.0.1", p) for p in self.ports.values()])
        self.proxy = world.proxy(config_path=ours)

    def _write(self, path):
        pools, ports = {}, {}
        for name, options in POOLS.items():
            options = {"names": NAMES, **options}
            options.pop("tagged", None)
            weights = options.pop("weights", [1, 1, 1, 1])
            names = options.pop("names") or [""] * 4
            ports[name] = env.free_port()
            pools[name] = {"listen": f"127.0.0.1:{ports[name]}", "redis": self.protocol == "redis",
                           "timeout": 10000, **options,
                           "servers": [f"{s.text}:{w} {n}".strip()
                                       for s, w, n in zip(self.servers, weights, names)]}
        path.write_text(nutcracker_yaml(pools))
        return ports

    def ring_names(self, pool_name):
        if POOLS[pool_name].get("names", NAMES):
            return NAMES
        return [s.text for s in self.servers]


@pytest.fixture(scope="module")
def sites(module_world):
    made = {}

    def get(protocol):
        if protocol not in made:
            made[protocol] = Site(module_world, protocol)
        return made[protocol]
    return get


@pytest.mark.parametrize("pool_name", [p for p in POOLS if p != "random"])
@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_same_placement_as_nutcracker(sites, seed, protocol, pool_name):
    """Write through one, look on the servers; the same for the other; and --where agrees."""
    site = sites(protocol)
    keys = make_keys(random.Random(seed), protocol, POOLS[pool_name].get("tagged"))
    theirs = placement(("127.0.0.1", site.ports[pool_name]), protocol, site.servers, keys)
    ours = placement(("127.0.0.1", site.our_ports[pool_name]), protocol, site.servers, keys)
    moved = [k for k in keys if ours[k] != theirs[k]]
    assert not moved, f"{len(moved)} of {len(keys)} keys moved (seed {seed}), e.g. {moved[:3]}"
    if env.UNDER_TEST == "twinring":
        names = site.ring_names(pool_name)
        where = site.proxy.where(pool_name, [k for k in keys if b"\r" not in k and b"\0" not in k
                                             and b"\t" not in k])
        wrong = [k for k, name in where.items() if names[theirs[k]] != name.decode()]
        assert len(where) > KEYS * 0.8 and not wrong, f"--where differs for {wrong[:3]}"


@pytest.mark.parametrize("protocol", ["memcached", "redis"])
def test_random_spreads(sites, seed, protocol):
    """`random` has nothing to compare but that every server gets its share of the writes."""
    site = sites(protocol)
    keys = make_keys(random.Random(seed), protocol, False)
    got = placement(("127.0.0.1", site.our_ports["random"]), protocol, site.servers, keys)
    for i in range(4):
        share = sum(1 for v in got.values() if v == i) / len(keys)
        assert 0.2 < share < 0.3, f"server {i} has {share:.3f} of the keys"


def test_where_takes_keys_as_arguments(sites):
    """`--where POOL KEY...`: one line per key, in order; an unknown pool is an error that says so."""
    site = sites("memcached")
    keys = ["one", "two", "three", "{a}b"]
    cmd = [str(env.PROXY), "-c", str(site.proxy.config_path), "--where", "ketama-md5"]
    r = subprocess.run([*cmd, *keys], capture_output=True, text=True, timeout=30,
                       stdin=subprocess.DEVNULL)
    assert r.returncode == 0, r.stderr
    assert [line.split("\t")[0] for line in r.stdout.splitlines()] == keys
    assert all(line.split("\t")[1] in NAMES for line in r.stdout.splitlines())
    r = subprocess.run([*cmd[:-1], "no-such-pool", "k"], capture_output=True, text=True, timeout=30)
    assert r.returncode != 0 and "no-such-pool" in r.stderr
