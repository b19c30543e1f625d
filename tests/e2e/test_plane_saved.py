"""What is kept on disk for a start without ZooKeeper, and what may be made of it. Rows 52, 53, 54 and
73 of the fault catalogue: full disks, damaged and foreign files, old ones, and programs of another
version."""

import json
import os
import subprocess
import time
import zlib

import pytest

from harness import agent as agents
from harness import env, mounts
from harness.agent import FollowingProxy, spec
from harness.checker import Checker
from harness.env import wait_for
from harness.mounts import Mounts
from harness.proxy import Control, ControlError, pool

pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")
needs_root = pytest.mark.skipif(os.geteuid() != 0 or not mounts.available(), reason="needs root")
CTL = os.environ.get("TWINRING_CTL", str(env.ROOT / "build" / env.BUILD / "twinringctl"))
HOURS_2 = 7200


def follows(proxy, timeout_ms, seconds=10):
    wait_for(lambda: proxy.shown()["pools"]["p"]["timeout_ms"] == timeout_ms, seconds,
             "the proxy to follow")


def problem(plane, agent):
    return (plane.read(f"agents/{agent.id}") or {}).get("problem") or ""


def errors(plane, agent):
    """What the proxies of this agent have to say, as operators see it."""
    return " ".join(p["error"] for p in (plane.read(f"agents/{agent.id}") or {})["proxies"])


def status(plane):
    r = subprocess.run([CTL, "-s", plane.source, "status"], capture_output=True, timeout=30)
    return r.stdout.decode() + r.stderr.decode()


def age(path, seconds):
    """As if this file, and the one before it, had been written so long ago."""
    for p in (path, path.with_name(path.name + ".old")):
        if p.exists():
            os.utime(p, (time.time() - seconds,) * 2)


def saved(body):
    """A file of our own making, whole."""
    data = json.dumps(body).encode()
    return b"twinring-saved 1 %08lx %d\n" % (zlib.crc32(data), len(data)) + data


def body_of(path):
    return json.loads(path.read_bytes().partition(b"\n")[2])


DAMAGE = {
    "truncated": lambda data: data[:len(data) // 2],
    "flipped": lambda data: data[:90] + bytes([data[90] ^ 4]) + data[91:],
    "empty": lambda data: b"",
    "nonsense": lambda data: saved({"pools": {"p": {"servers": 7}}, "version": 1 << 40}),
}


class Site:
    """A cluster on a directory of files: an agent, a proxy, two edits, so that both have two
    generations on disk."""

    def __init__(self, world, plane, **options):
        self.world, self.plane = world, plane
        self.servers = world.memcached(3)
        self.edit(1)
        self.agent = plane.agent(**options)
        self.proxy = plane.proxy(self.agent)
        follows(self.proxy, 3001)
        self.edit(2)
        follows(self.proxy, 3002)
        wait_for(lambda: self.proxy.hello()["topology"]["lease_ms"], 5, "a lease")
        self.topology = self.proxy.control_path.with_name(self.proxy.control_path.name
                                                          + ".topology")
        self.tree = self.agent.state_dir / "tree.json"
        wait_for(lambda: timeouts(self.tree) == 3002, 5, "the cache")

    def edit(self, n):
        self.plane.set_spec(spec("memcached", self.servers, timeout_ms=3000 + n))

    def down(self):
        """Both die."""
        self.agent.kill()
        self.proxy.kill()

    def away(self):
        """The agent's next start finds no ZooKeeper."""
        self.agent.options["source"] = f"zk:127.0.0.1:{env.free_port()}/t"


def timeouts(tree):
    return json.loads(body_of(tree)["pools"]["p"]["ring"])["pool"]["timeout_ms"]


def fenced(proxy):
    """Nothing is served: reads miss, all else fails, and the world can see why."""
    with proxy.raw() as c:
        assert c.mc(b"get k\r\n") == b"END\r\n"
        assert c.mc(b"get k l m n o p q\r\n") == b"END\r\n"
        for request in (b"set k 0 0 1\r\nx\r\n", b"add k 0 0 1\r\nx\r\n", b"delete k\r\n",
                        b"incr k 1\r\n", b"touch k 0\r\n"):
            got = c.mc(request)
            assert got == b"SERVER_ERROR the topology is too old to serve by\r\n", got
    assert proxy.hello()["topology"]["fenced"] and proxy.stats()["topology_fenced"]
    assert proxy.http("/readyz")[0] == 503 and proxy.metric("twinring_topology_fenced") == 1
    return True


def serves(proxy):
    with proxy.raw() as c:
        assert c.mc_set(b"k", b"v") == b"STORED\r\n" and c.mc_get(b"k") == b"v"
    assert not proxy.hello()["topology"]["fenced"] and proxy.http("/readyz")[0] == 200
    return True


# --- 52 ------------------------------------------------------------------------------------------

@needs_root
def test_row_52_full_disks(world, plane):
    """Neither the agent's cache nor the proxy's saved topology can be written: both go on, say so, try
    again, and stop saying so once they could."""
    agent = plane.agent_unstarted(metrics="127.0.0.1:0")
    agent.write_config()
    place = world.dir / "saved"
    place.mkdir()
    disks = world.add(Mounts(disks=[(agent.state_dir, 65536), (place, 65536)]))
    agent.argv = [*disks.run, *agent.argv]
    servers = world.memcached(3)
    plane.set_spec(spec("memcached", servers, timeout_ms=3001))
    agent.launch()
    proxy = plane.proxy_unstarted(agent, proxy_options={"saved_topology": str(place / "t")})
    proxy.argv = [*disks.run, *proxy.argv]
    proxy.launch()
    plane.wait_status("ok")
    inside = [disks.path(agent.state_dir), disks.path(place)]
    wait_for(lambda: all(os.listdir(d) for d in inside), 5, "both to be kept")
    checker = world.add(Checker(proxy.addr(), "memcached", [b"chk%d" % i for i in range(20)],
                                seed=world.seed)).go()

    def fill():
        for d in inside:
            with open(f"{d}/filler", "wb", buffering=0) as f:
                try:
                    while f.write(b"x" * 4096):
                        pass
                except OSError:
                    pass
    fill()
    plane.set_spec(spec("memcached", servers, timeout_ms=3002))
    follows(proxy, 3002)
    plane.wait_status("ok")
    wait_for(lambda: "not cached" in problem(plane, agent), 5, "the agent's report")
    wait_for(lambda: "not saved" in errors(plane, agent), 5, "the proxy's report")
    assert "not saved" in status(plane)
    assert proxy.metric("twinring_topology_unsaved") == 1 and proxy.stats()["topology_unsaved"]
    assert "\ntwinring_agent_cache_failed 1" in agent.http("/metrics")
    for p, text in ((agent, "the tree is not cached"), (proxy, "the topology is not saved")):
        assert p.log().count(text) == 1, "said more than once"
    # What was kept before is whole, and is what a start would find.
    assert timeouts_at(inside[0]) == 3001
    for d in inside:
        os.unlink(f"{d}/filler")
    wait_for(lambda: timeouts_at(inside[0]) == 3002, 10, "the agent's next try")
    wait_for(lambda: not proxy.stats()["topology_unsaved"], 10, "the proxy's next try")
    wait_for(lambda: not problem(plane, agent) and not errors(plane, agent), 5, "no complaint")
    done = checker.ops
    wait_for(lambda: checker.ops > done + 50 or not checker.is_alive(), 10, "traffic")
    checker.verdict()


def timeouts_at(state_dir):
    with open(f"{state_dir}/tree.json", "rb") as f:
        body = json.loads(f.read().partition(b"\n")[2])
    return json.loads(body["pools"]["p"]["ring"])["pool"]["timeout_ms"]


# --- 53 ------------------------------------------------------------------------------------------

def test_row_53_damaged_files(world, plane):
    """Of the proxy's and the agent's, the newest is damaged: the one before serves, until ZooKeeper is
    heard. Both are: there is nothing to serve by, and nobody invents anything."""
    site = Site(world, plane)
    source = site.agent.options["source"]
    whole = {p: p.read_bytes() for f in (site.topology, site.tree)
             for p in (f, f.with_name(f.name + ".old"))}
    assert len(whole) == 4
    for how, damage in DAMAGE.items():
        site.down()
        for p, data in whole.items():
            p.write_bytes(data)
        site.topology.write_bytes(damage(whole[site.topology]))
        site.proxy.launch()  # without an agent
        follows(site.proxy, 3001)
        assert serves(site.proxy)
        assert "saved topology: " in site.proxy.log()
        site.proxy.kill()
        # The agent alone knows, and only from its own older copy.
        for p in whole:
            p.unlink(missing_ok=True)
        site.tree.write_bytes(damage(whole[site.tree]))
        old = site.tree.with_name(site.tree.name + ".old")
        old.write_bytes(whole[old])
        site.away()
        site.agent.launch()
        site.proxy.launch()
        follows(site.proxy, 3001)
        assert serves(site.proxy), how
        # Now both generations of both.
        site.down()
        for p, data in whole.items():
            p.write_bytes(damage(data))
        site.agent.launch()
        site.proxy.begin()
        wait_for(lambda: "waiting for the agent" in site.proxy.log()[-400:], 10, "the proxy to wait")
        assert site.proxy.alive() and not site.proxy.ready
        site.agent.kill()
        site.agent.options["source"] = source
        site.agent.launch()
        wait_for(lambda: site.proxy.ready, 10, "the tree itself")
        follows(site.proxy, 3002)
        assert serves(site.proxy)


def test_row_53_damaged_cache_beside_a_running_proxy(world, plane):
    """The agent has only the generation before: what the proxy runs is further on, and stays."""
    site = Site(world, plane)
    source = site.agent.options["source"]
    checker = world.add(Checker(site.proxy.addr(), "memcached", [b"chk%d" % i for i in range(20)],
                                seed=world.seed)).go()
    for damage in DAMAGE.values():
        old = site.tree.with_name(site.tree.name + ".old")
        site.agent.kill()
        newest, before = site.tree.read_bytes(), old.read_bytes()
        assert timeouts(old) == 3001
        site.tree.write_bytes(damage(newest))
        site.away()
        refused = site.proxy.log().count("lower than that of the topology in force")
        site.agent.launch()
        wait_for(lambda: site.proxy.log().count("lower than that") > refused, 5, "the refusal")
        assert site.proxy.shown()["pools"]["p"]["timeout_ms"] == 3002
        site.agent.kill()
        site.tree.write_bytes(newest)
        old.write_bytes(before)
    site.agent.options["source"] = source
    site.agent.launch()
    site.edit(3)
    follows(site.proxy, 3003)
    plane.wait_status("ok")
    checker.verdict()


def test_row_53_older_generation_put_back(world, plane):
    """Somebody restores yesterday's file: what is beside it is further on, and counts."""
    site = Site(world, plane)
    site.down()
    for f in (site.topology, site.tree):
        old = f.with_name(f.name + ".old")
        newest, before = f.read_bytes(), old.read_bytes()
        f.write_bytes(before)
        old.write_bytes(newest)
    site.proxy.launch()
    follows(site.proxy, 3002)
    assert "older than the one before" in site.proxy.log()
    site.proxy.kill()
    site.topology.unlink()
    site.topology.with_name(site.topology.name + ".old").unlink()
    site.away()
    site.agent.launch()
    assert "older than the one before" in site.agent.log()
    site.proxy.launch()
    assert timeouts(site.tree) == 3001
    follows(site.proxy, 3002)
    assert serves(site.proxy)


def foreign(topology):
    """The saved topology of another cluster, further on than ours."""
    body = body_of(topology)
    body["lineage"], body["version"] = "another", body["version"] + 1000
    body["pools"]["p"]["timeout_ms"] = 7777
    return saved(body)


def test_row_53_another_lineage(world, plane):
    """The proxy's file is another cluster's: it gives way to the agent's word at once, though its version
    is higher. A stale agent's word is not enough for that: then nothing is served by either."""
    site = Site(world, plane)
    site.proxy.kill()
    site.topology.write_bytes(foreign(site.topology))
    site.proxy.launch()
    follows(site.proxy, 3002)
    assert "of another lineage" in site.proxy.log()
    assert serves(site.proxy)
    wait_for(lambda: body_of(site.topology)["lineage"] == plane.lineage, 5, "the file to be ours")
    # A process that serves, and whose topology was confirmed, does not change sides.
    with site.proxy.control() as c:
        with pytest.raises(ControlError, match="lineage"):
            c.call("topology.apply", **{**body_of(site.topology), "lineage": "another"})
    # Both from the disk, and neither confirmed.
    site.down()
    site.topology.write_bytes(foreign(site.topology))
    age(site.topology, HOURS_2)
    age(site.tree, HOURS_2)
    site.away()
    site.agent.launch()
    site.proxy.launch()
    wait_for(lambda: "refused a topology: $.lineage" in site.proxy.log(), 10, "the refusal")
    assert fenced(site.proxy)


def test_row_53_cache_of_another_lineage(world, plane):
    """The agent's cache is not of this tree: it says so, and confirms nothing, so that a proxy that starts
    is fenced once that has lasted."""
    site = Site(world, plane, cache_max_age_ms=3_600_000)
    site.down()
    body = body_of(site.tree)
    for p in body["pools"].values():
        state = json.loads(p["state"])
        state["lineage"] = "another"
        p["state"] = json.dumps(state)
    site.tree.write_bytes(saved(body))
    site.tree.with_name(site.tree.name + ".old").unlink()
    age(site.tree, HOURS_2)
    for f in (site.topology, site.topology.with_name(site.topology.name + ".old")):
        f.unlink()
    site.agent.launch()
    wait_for(lambda: "lineage" in problem(plane, site.agent), 10, "the alarm")
    site.proxy.launch()
    assert fenced(site.proxy)
    assert not site.proxy.hello()["topology"]["lease_ms"]
    assert body_of(site.tree) == body and time.time() - site.tree.stat().st_mtime > HOURS_2 - 100, \
        "the file was made to look current"


# --- 54 ------------------------------------------------------------------------------------------

def test_row_54_two_hours_old(world, plane):
    """Both start from what was confirmed two hours ago, and ZooKeeper is away: fenced, until it is heard;
    or served all the same, if both were told to."""
    site = Site(world, plane)
    source = site.agent.options["source"]
    site.down()
    site.away()
    for alone in (True, False):  # without and with an agent
        age(site.topology, HOURS_2)
        age(site.tree, HOURS_2)
        if not alone:
            site.agent.launch()
        site.proxy.launch()
        assert "saved_max_age_ms" in site.proxy.log()
        assert fenced(site.proxy)
        if not alone:
            wait_for(lambda: "was in force already" in site.proxy.log(), 5, "the agent's word")
            assert fenced(site.proxy), "the word of a stale agent unfences"
        site.proxy.kill()
    # A proxy with nothing of its own gets it from the agent, and does not serve by it.
    kept = site.topology.read_bytes()
    for f in (site.topology, site.topology.with_name(site.topology.name + ".old")):
        f.unlink()
    site.proxy.launch()
    assert fenced(site.proxy)
    assert "cache_max_age_ms" in site.agent.log()
    # ZooKeeper is back.
    site.agent.kill()
    site.agent.options["source"] = source
    site.agent.launch()
    wait_for(lambda: not site.proxy.hello()["topology"]["fenced"], 5, "the fence to go")
    assert serves(site.proxy)
    assert time.time() - site.topology.stat().st_mtime < 60
    # The override, of each alone.
    for which in ("proxy", "agent"):
        site.down()
        site.away()
        site.topology.write_bytes(kept)
        age(site.topology, HOURS_2)
        age(site.tree, HOURS_2)
        site.proxy.proxy_options = {"saved_max_age_ms": 0} if which == "proxy" else {}
        site.agent.options["cache_max_age_ms"] = 0 if which == "agent" else 3_600_000
        site.agent.launch()
        site.proxy.launch()
        wait_for(lambda: not site.proxy.hello()["topology"]["fenced"], 5, "the override")
        assert serves(site.proxy)


def test_row_54_a_running_proxy_is_never_fenced(world, plane):
    """Age concerns the start alone: who serves goes on, whatever a stale agent pushes."""
    site = Site(world, plane)
    site.agent.kill()
    age(site.topology, HOURS_2)
    age(site.tree, HOURS_2)
    site.away()
    site.agent.launch()
    wait_for(lambda: "was in force already" in site.proxy.log(), 5, "the agent's word")
    assert serves(site.proxy)
    with site.proxy.control() as c:
        t = c.call("topology.show")
        c.call("topology.apply", **{**t, "version": t["version"] + 1, "stale": True})
    assert serves(site.proxy)


def test_row_54_redis_is_told_to_try_again(world):
    """What clients of a fenced Redis pool get: one error that says so, for reads, too."""
    servers = world.redis(2)
    topology = {"lineage": "l", "epoch": 0, "step": 0, "version": 5,
                "pools": {"p": pool("redis", servers)}}
    run_dir = world.dir / "run"
    run_dir.mkdir()
    proxy = world.add(FollowingProxy(world.dir, "fp", run_dir, ["p"])).begin()
    wait_for(lambda: proxy.control_path.exists(), 5, "the control socket")
    with Control(proxy.control_path) as c:
        c.call("topology.apply", **topology, stale=True)
        wait_for(lambda: proxy.ready, 5, "the proxy")
        with proxy.raw() as r:
            said = b"-TRYAGAIN the topology is too old to serve by\r\n"
            for request in (("GET", "k"), ("SET", "k", "v"), ("MGET", "a", "b", "c"),
                            ("DEL", "a", "b"), ("DBSIZE",)):
                assert r.resp(*request) == said, request
            assert r.resp("PING") == b"+PONG\r\n"
            c.call("lease.renew", lease_ms=60000)
            wait_for(lambda: r.resp("SET", "k", "v") == b"+OK\r\n", 5, "the fence to go")


# --- 73 ------------------------------------------------------------------------------------------

class Versions:
    """A proxy of another version, as far as the agent can tell: it has the lock, the socket and the
    greeting."""

    def __init__(self, run_dir, name, **hello):
        script = PEER.format(run_dir=str(run_dir), name=name, hello=json.dumps(hello))
        self.popen = subprocess.Popen(["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE)
        assert self.popen.stdout.readline() == b"ready\n"

    def asked(self):
        """What it was asked for, so far; ends it."""
        self.popen.terminate()
        out = self.popen.stdout.read().decode().splitlines()
        self.popen.wait(10)
        self.popen.stdout.close()
        return [json.loads(line) for line in out]

    def close(self):
        if self.popen.poll() is None:
            self.asked()


# Another process, because the lock says who holds it.
PEER = """
import fcntl, json, os, socket, threading
run, name, hello = {run_dir!r}, {name!r}, json.loads({hello!r})
lock = open(f"{{run}}/{{name}}.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(str(os.getpid())); lock.flush()
s = socket.socket(socket.AF_UNIX)
s.bind(f"{{run}}/{{name}}.sock")
s.listen(8)
print("ready", flush=True)
def serve(c):
    f = c.makefile("w")  # not "rw": what is read ahead is lost in a write
    for line in c.makefile("r"):
        m = json.loads(line)
        print(json.dumps(m), flush=True)
        p = m.get("params", {{}})
        if m["method"] == "hello":
            r = {{"service": "twinring-proxy", "version": "9.9", "pid": os.getpid(), **hello}}
        elif m["method"] == "topology.apply":
            r = {{**{{k: p[k] for k in ("lineage", "epoch", "step", "version")}},
                 "drained": True, "state": "applied"}}
        else:
            r = {{}}
        f.write(json.dumps({{"id": m["id"], "result": r}}) + "\\n"); f.flush()
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""


def entry(plane, agent, name):
    return next((p for p in (plane.read(f"agents/{agent.id}") or {"proxies": []})["proxies"]
                 if p["name"] == name), {})


def test_row_73_proxies_of_other_versions(world, plane):
    """Older and newer ones that speak our version, too, follow; one that does not is left alone, shown to
    operators with the reason, and holds up its barrier. The others are served as ever."""
    servers = world.memcached(2)
    plane.set_spec(spec("memcached", servers, timeout_ms=3001))
    agent = plane.agent()
    proxy = plane.proxy(agent)
    follows(proxy, 3001)
    peers = {"old": Versions(agent.run_dir, "old"),  # from before versions were said
             "new": Versions(agent.run_dir, "new", protocol=[1, 7], colour="unknown"),
             "far": Versions(agent.run_dir, "far", protocol=[6, 7]),
             "odd": Versions(agent.run_dir, "odd", protocol={"x": 1})}
    for p in peers.values():
        world.add(p)
    for name in ("old", "new"):
        wait_for(lambda n=name: entry(plane, agent, n).get("state") == "drained", 10, name)
    for name, why in (("far", "speaks versions 6 to 7 of the control protocol, we 1 to 1"),
                      ("odd", "not [LOWEST, HIGHEST]")):
        wait_for(lambda n=name: entry(plane, agent, n).get("state") == "refused", 10, name)
        assert why in entry(plane, agent, name)["error"]
        assert why[:30] in status(plane)
    plane.set_spec(spec("memcached", servers, timeout_ms=3002))
    follows(proxy, 3002)
    wait_for(lambda: plane.wait_status("waiting")["blocked_on"] == [agent.id], 10, "its barrier to wait")
    for name in ("far", "odd"):
        assert entry(plane, agent, name)["state"] == "refused"
        assert {m["method"] for m in peers[name].asked()} == {"hello"}
    methods = [m["method"] for m in peers["new"].asked()]
    assert methods.count("topology.apply") >= 2
    peers["old"].asked()
    plane.wait_status("ok")
    assert agent.alive() and proxy.alive()


def test_row_73_agents_of_other_versions(world):
    """The proxy greets who speaks its version, and refuses who does not, with a reason; nothing else
    changes."""
    proxy = world.proxy({"p": pool("memcached", world.memcached(1))})
    with proxy.control() as c:
        assert c.call("hello")["protocol"] == [1, 1]  # an old one says nothing
        assert c.call("hello", protocol=[1, 4], colour="unknown")["protocol"] == [1, 1]
        shown = c.call("topology.show")
        for protocol, why in (([2, 4], "speaks versions 2 to 4"), ([0, 1], "LOWEST"), ("1", "LOWEST"),
                              ([1], "LOWEST"), ([3, 2], "LOWEST")):
            with pytest.raises(ControlError, match=why):
                c.call("hello", protocol=protocol)
        assert c.call("topology.show") == shown
    with proxy.raw() as r:
        assert r.mc_set(b"k", b"v") == b"STORED\r\n"


def test_row_73_a_proxy_that_refuses_the_agent(world, plane):
    """A newer proxy that does not speak our version any more says so in its answer to our greeting."""
    plane.set_spec(spec("memcached", world.memcached(2)))
    agent = plane.agent()
    world.add(Refuser(agent.run_dir, "newer"))
    wait_for(lambda: "upgrade the agent" in entry(plane, agent, "newer").get("error", ""), 10,
             "the reason")
    assert entry(plane, agent, "newer")["state"] == "silent"
    assert "upgrade the agent" in status(plane)
    assert agent.alive()


class Refuser(Versions):
    def __init__(self, run_dir, name):
        global PEER
        before = PEER
        PEER = PEER.replace('"result": r', '"error": {{"code": "INVALID", "message": '
                                           '"upgrade the agent"}}')
        try:
            super().__init__(run_dir, name)
        finally:
            PEER = before
