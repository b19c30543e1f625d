"""Must show 5: whatever an operator writes, proxies serve on, and the status says what is wrong with it
and where; putting it right clears that."""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from kazoo.exceptions import BadVersionError

from harness import agent as agents
from harness.agent import spec
from harness.env import scaled, wait_for

pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")


def bad_specs(good, rnd):
    """{what is wrong: content}, of a spec that is right."""
    text = json.dumps(good)
    servers = good["servers"]

    def changed(**keys):
        return json.dumps({**good, **keys}).encode()
    return {
        "empty": b"",
        "blank": b"  \n\n ",
        "bad JSON": b'{"protocol": "memcached", "servers": [',
        "cut in the middle": text[:len(text) // 2].encode(),
        "junk after it": (text + " }").encode(),
        "a list": b"[1, 2, 3]",
        "a number": b"42",
        "a text": b'"memcached"',
        "null": b"null",
        "binary": rnd.randbytes(4096),
        "zeros": bytes(1000),
        "not UTF-8": text.replace("s0", "\xff\xfe").encode("latin-1"),
        "1 MB of junk": b"junk " * 200000,
        "1 MB of good": changed(servers=servers + [f"10.0.0.1:{1 + i % 60000} n{i}"
                                                   for i in range(40000)]),
        "1 MB of brackets": b"[" * 1000000,
        "a tab of YAML": b"protocol:\n\t- memcached\n",
        "YAML that explodes": b"a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\n"
                              b"servers: [*b, *b, *b, *b]\n",
        "no servers": json.dumps({k: v for k, v in good.items() if k != "servers"}).encode(),
        "zero servers": changed(servers=[]),
        "servers is a mapping": changed(servers={"s0": servers[0]}),
        "server is a number": changed(servers=[11211]),
        "server without a port": changed(servers=["127.0.0.1"]),
        "port 0": changed(servers=["127.0.0.1:0:1 s0", *servers[1:]]),
        "port too large": changed(servers=["127.0.0.1:65536:1 s0", *servers[1:]]),
        "weight 0": changed(servers=[servers[0].replace(":1 ", ":0 "), *servers[1:]]),
        "negative weight": changed(servers=[servers[0].replace(":1 ", ":-1 "), *servers[1:]]),
        "the same name twice": changed(servers=[*servers, "127.0.0.1:1:1 s0"]),
        "the same key twice": text.replace('"hash": "md5"', '"hash": "md5", "hash": "md5"').encode(),
        "unknown key": changed(serverz=servers),
        "unknown hash": changed(hash="sha3"),
        "unknown distribution": changed(distribution="fair"),
        "unknown protocol": changed(protocol="http"),
        "unknown mode": changed(mode="cash"),
        "a transition that is not there": changed(transition="three_ring"),
        "a text for a number": changed(timeout_ms="soon"),
        "a negative number": changed(timeout_ms=-1),
        "a fraction": changed(timeout_ms=1.5),
        "a huge number": changed(timeout_ms=10 ** 30),
        "failover to nowhere": changed(failover="pool:nope"),
        "failover to itself": changed(failover="pool:p"),
        "storage of memcached": changed(mode="storage"),
        "pin of a stranger": changed(pins={"stranger": "out"}),
        "unknown pin": changed(pins={"s0": "maybe"}),
        "health that knows everything": changed(health={"probe": "telepathy"}),
        "a timeout longer than the interval": changed(health={"interval_ms": 100, "timeout_ms": 200}),
        "a script by path": changed(health={"probe": "script", "script": "../../bin/sh"}),
        "a cap over 100": changed(ejection={"cap_percent": 101}),
        "losing most servers": changed(servers=servers[:1]),
        "Redis options for memcached": changed(redis_db=3),
    }


def test_row_61_every_bad_spec_is_refused(world, plane):
    servers = world.memcached(4)
    good = spec("memcached", servers)
    plane.set_spec(good)
    agent = plane.agent()
    proxy = plane.proxy(agent)
    plane.wait_status("ok")
    bad = bad_specs(good, world.random)
    assert len(bad) >= 30
    client = world.add(proxy.raw())
    slowest, wrong = 0.0, []
    for n, (what, content) in enumerate(bad.items()):
        before, state = proxy.shown(), plane.raw("pools/p/state")
        plane.set_spec(content)
        began = time.monotonic()
        try:
            status = plane.wait_status("rejected", seconds=2)
        except AssertionError as e:
            wrong.append(f"{what}: {e}")
            plane.set_spec(good)
            continue
        slowest = max(slowest, time.monotonic() - began)
        at = status["rejected"]
        if not (at["where"] and len(at["why"]) > 5 and len(json.dumps(at)) < 2000):
            wrong.append(f"{what}: says {at}")
        assert client.mc_set(b"k%d" % n, b"v") == b"STORED\r\n", what
        assert plane.raw("pools/p/state") == state and proxy.shown() == before, what
        if n % 8 == 0:
            plane.set_spec({**good, "timeout_ms": 4000 + n})
            assert plane.wait_status("ok", seconds=2)["rejected"] is None
            wait_for(lambda n=n: proxy.shown()["pools"]["p"]["timeout_ms"] == 4000 + n, 5,
                     "the spec that is right again")
    assert not wrong, "\n".join(wrong)
    plane.set_spec({**good, "timeout_ms": 4999})
    assert plane.wait_status("ok", seconds=2)["rejected"] is None
    assert agent.alive()


def test_losing_most_servers_needs_a_word(world, plane):
    servers = world.memcached(4)
    good = spec("memcached", servers)
    plane.set_spec(good)
    proxy = plane.proxy(plane.agent())
    few = spec("memcached", servers[:1])
    plane.set_spec(few)
    plane.wait_status("rejected")
    assert len(proxy.ring()) == 4
    plane.set_spec({**few, "confirm_shrink_to": 2})
    plane.wait_status("rejected")
    plane.set_spec({**few, "confirm_shrink_to": 1})
    wait_for(lambda: proxy.ring() == {"s0"}, 5, "the shrunk ring")


def test_ctl_status_says_why(world, plane):
    """The operators' tool shows the reason and the place too."""
    ctl = agents.AGENT.with_name("twinringctl")
    if not ctl.exists():
        pytest.skip("twinringctl is not built")
    servers = world.memcached(2)
    plane.set_spec(spec("memcached", servers))
    proxy = plane.proxy(plane.agent())
    plane.wait_status("ok")
    plane.set_spec(spec("memcached", servers, hash="sha3"))

    def status():
        r = subprocess.run([ctl, "--source", plane.source, "status"], capture_output=True, text=True,
                           timeout=10)
        assert "sha3" in r.stdout and "pools/p/spec:1:" in r.stdout, (r.returncode, r.stdout, r.stderr)
        return r.stdout
    text = wait_for(status, 2, "twinringctl status to say why")
    assert proxy.name in text


BROKEN_STATES = {
    "deleted": None, "empty": b"", "junk": b"\0\1\2", "bad JSON": b'{"lineage":', "a list": b"[]",
    "no such ring": lambda s: {**s, "epoch": s["epoch"] + 1, "ring": "0" * 64},
    "another lineage": lambda s: {**s, "epoch": s["epoch"] + 1, "lineage": "somebody-else"},
    "an older epoch": lambda s: {**s, "epoch": s["epoch"] - 1, "ejected": [{"server": "s0"}]},
    "too large": b" " * 3000, "1 MB": b"x" * 1000000,
}


def says_broken(plane):
    """The status, the log and the operators' tool say that nobody follows the state, and why."""
    status = wait_for(lambda: (s := plane.status())["state"] == "broken" and s, 10, "the status")
    assert status["problem"]["where"].startswith("state") and len(status["problem"]["why"]) > 5
    wait_for(lambda: plane.decided("state broken"), 5, "the log")
    r = subprocess.run([agents.AGENT.with_name("twinringctl"), "--source", plane.source, "status",
                        "--check"], capture_output=True, text=True, timeout=10)
    assert r.returncode == 1, r
    assert "broken" in r.stdout and status["problem"]["why"][:60] in r.stdout, r.stdout


@pytest.mark.parametrize("what", BROKEN_STATES)
def test_row_62_state_broken_by_an_operator(world, plane, what):
    """The last good one stays, also through a restart of the agent, and agents/ID says why. What the
    coordinator makes of the next spec is followed again."""
    servers = world.memcached(3)
    plane.set_spec(spec("memcached", servers[:2]))
    agent = plane.agent()
    proxy = plane.proxy(agent)
    plane.wait_status("ok")
    plane.set_spec(spec("memcached", servers[:2], timeout_ms=3000))
    plane.wait_status("ok")
    wait_for(lambda: proxy.shown()["pools"]["p"]["timeout_ms"] == 3000, 5, "the second ring")
    version, client = proxy.hello()["topology"]["version"], world.add(proxy.raw())
    bad = BROKEN_STATES[what]
    if bad is None:
        plane.zk.delete("pools/p/state")
    else:
        plane.put("pools/p/state", bad(plane.state()) if callable(bad) else bad)
    # Either an agent says that it keeps the last good one, or the coordinator has repaired it.
    def seen():
        report = plane.read(f"agents/{agent.id}")
        return report["problem"] or proxy.hello()["topology"]["version"] > version
    wait_for(seen, 5, "a word about it")
    # Without a state, and with ejections that no vote is behind, the coordinator has something to write.
    if what not in ("deleted", "an older epoch"):
        says_broken(plane)
    assert client.mc_set(b"k", b"v") == b"STORED\r\n"
    assert proxy.ring() == {"s0", "s1"}
    agent.kill()
    agent.launch()
    wait_for(lambda: plane.names("live") == [agent.id], 10, "the agent")
    assert proxy.ring() == {"s0", "s1"} and client.mc_set(b"k", b"v") == b"STORED\r\n"
    # An operator puts right what is not repaired by itself: without a state, the spec makes a new one.
    if plane.read(f"agents/{agent.id}")["problem"] and plane.raw("pools/p/state") is not None:
        plane.zk.delete("pools/p/state")
    plane.set_spec(spec("memcached", servers))
    wait_for(lambda: proxy.ring() == {"s0", "s1", "s2"}, 10, "the next spec")
    assert proxy.hello()["topology"]["version"] > version
    assert plane.wait_status("ok", seconds=5)["problem"] is None


def test_row_63_many_edits_are_coalesced(world, plane):
    """A thousand edits as fast as they can be written: the last one wins, in few steps."""
    servers = world.memcached(2)
    plane.set_spec(spec("memcached", servers))
    agent = plane.agent()
    proxy = plane.proxy(agent)
    plane.wait_status("ok")
    contents = [json.dumps(spec("memcached", servers, timeout_ms=5000 + i)).encode()
                for i in range(1000)]
    pending = [plane.zk.set_async("pools/p/spec", c) for c in contents]
    for p in pending:
        p.get(timeout=20)
    wait_for(lambda: proxy.shown()["pools"]["p"]["timeout_ms"] == 5999, 10, "the last edit")
    plane.wait_status("ok")
    assert proxy.shown()["pools"]["p"]["timeout_ms"] == 5999
    steps = plane.state()["epoch"]
    assert steps < 500, f"{steps} steps for 1000 edits"
    assert len(plane.names("log")) <= 520
    assert len(plane.names("pools/p/rings")) < 500


def test_row_64_two_operators(world, plane):
    """Compare-and-set: who comes second is told so."""
    servers = world.memcached(3)
    plane.set_spec(spec("memcached", servers[:2]))
    proxy = plane.proxy(plane.agent())
    plane.wait_status("ok")
    version = plane.zk.exists("pools/p/spec").version
    first = json.dumps(spec("memcached", servers)).encode()
    second = json.dumps(spec("memcached", servers[1:])).encode()

    def write(content):
        try:
            plane.zk.set("pools/p/spec", content, version=version)
            return True
        except BadVersionError:
            return False
    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(write, [first, second]))
    assert sorted(won) == [False, True]
    names = {"s0", "s1", "s2"} if won[0] else {"s0", "s1"}
    wait_for(lambda: proxy.ring() == names and plane.status()["state"] == "ok", 5, "the winner")


def test_removed_pool_needs_its_tombstone(world, plane):
    """A pool whose nodes are deleted stays; one whose removal is said goes."""
    a, b = world.memcached(2)
    plane.set_spec(spec("memcached", [a]))
    plane.set_spec(spec("memcached", [b]), "q")
    agent = plane.agent()
    proxy = plane.proxy(agent, ("p",))
    plane.wait_status("ok", "q")
    wait_for(lambda: set(proxy.shown()["pools"]) == {"p", "q"}, 5, "both pools")
    plane.delete_tree("pools/q")
    plane.set_spec(spec("memcached", [a], timeout_ms=3000))
    wait_for(lambda: proxy.shown()["pools"]["p"]["timeout_ms"] == 3000, 5, "the edit")
    assert set(proxy.shown()["pools"]) == {"p", "q"}, "a deleted node removed a pool"
    plane.put("removed/q", {})
    wait_for(lambda: set(proxy.shown()["pools"]) == {"p"}, scaled(10), "the removal")
