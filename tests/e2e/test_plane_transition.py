"""A pool grows, step by step, led by the coordinator on real ZooKeeper: every phase in its order, nothing
lost, whoever dies meanwhile."""

import json
import re
import subprocess
import time

import pytest

from harness import agent as agents
from harness import env
from harness.agent import spec
from harness.env import scaled, wait_for

pytestmark = pytest.mark.skipif(agents.MISSING, reason="twinring-agent is not built")

FORWARD = ["prepare", "hold", "dual", "drain"]
BACK = ["hold", "hold-r", "dual-r", "drain-r"]
KEYS = 300


def phases(plane):
    """What the log says of the last transition, as [(from, to)]."""
    steps = []
    for e in plane.log():
        if e.get("what") == "transition begun":
            steps = []
        if e.get("what") == "step":
            steps.append(tuple(e["why"].split(":")[0].split(" > ")))
    return steps


class Growth:
    """Redis servers as a store, one of which is to join; agents with a proxy each."""

    def __init__(self, world, plane, n_agents=3, servers=4, agent_options=None, **options):
        self.world, self.plane = world, plane
        self.servers = world.redis(servers)
        self.options = {"mode": "storage", "transition": "two_ring", **options}
        self.old, self.new = self.servers[:-1], self.servers
        self.set(self.old)
        self.agents = plane.agents(n_agents, **(agent_options or {}))
        self.proxies = [plane.proxy_unstarted(a).begin() for a in self.agents]
        for p in self.proxies:
            wait_for(lambda p=p: p.ready, 10, "a proxy to be ready")
        plane.wait_status("ok")
        self.fill()

    def set(self, servers, **options):
        self.plane.set_spec(spec("redis", servers, **{**self.options, **options}))

    def fill(self):
        with self.proxies[0].raw() as c:
            for i in range(KEYS):
                assert c.resp("SET", f"k{i}", f"v{i}") == b"+OK\r\n"

    def check(self):
        """Every key is there, by every living proxy, and at exactly one server."""
        for p in self.proxies:
            if not p.alive():
                continue
            with p.raw() as c:
                for i in range(KEYS):
                    got = c.resp("GET", f"k{i}")
                    assert got == b"$%d\r\nv%d\r\n" % (len(f"v{i}"), i), (i, got)
        there = []
        for s in self.servers:
            with s.raw() as c:
                there += [int(c.resp("EXISTS", f"k{i}").strip(b":\r\n")) for i in range(KEYS)]
        assert sum(there) == KEYS, f"{sum(there)} copies of {KEYS} keys"
        with self.servers[-1].raw() as c:
            return sum(c.resp("EXISTS", f"k{i}") == b":1\r\n" for i in range(KEYS))

    def phase(self):
        t = (self.plane.state() or {}).get("transition")
        return t["phase"] if t and "phase" in t else None

    def stable(self):
        s = self.plane.state()
        return s and not s.get("transition") and s

    def wait_stable(self, seconds=30):
        return wait_for(self.stable, scaled(seconds), "the transition to end", every=0.05)

    def wait_phase(self, phase, seconds=15):
        wait_for(lambda: self.phase() == phase, scaled(seconds), f"phase {phase}")

    def wish(self, what):
        self.plane.put("pools/p/wish", {"epoch": self.plane.state()["epoch"], "wish": what})

    def coordinator(self):
        leader = self.plane.read("lock/coordinator/" + self.plane.names("lock/coordinator")[0])
        return next(a for a in self.agents if a.id == leader["id"])


def test_a_store_grows_through_every_phase(world, plane):
    g = Growth(world, plane)
    before = plane.state()["ring"]
    seen = []
    g.set(g.new)
    began = time.monotonic()

    def ended():
        p = g.phase()
        if p and (not seen or seen[-1] != p):
            seen.append(p)
        return g.stable() and plane.state()["ring"] != before
    wait_for(ended, scaled(20), "the new ring", every=0.002)
    print(f"took {time.monotonic() - began:.2f} s, seen {seen}")
    assert [t for _, t in phases(plane)] == FORWARD[1:]
    plane.wait_status("ok")
    moved = g.check()
    assert KEYS // 8 < moved < KEYS // 2, moved
    wait_for(lambda: len(plane.names("pools/p/barrier")) == 1, 10, "old barriers to be gone")
    for s in g.servers:
        with s.raw() as c:
            assert wait_for(lambda c=c: c.resp("EXISTS", "twinring:epoch") == b":0\r\n", 5, "no marks")
            assert c.resp("KEYS", "twinring:*") == b"*0\r\n"


def test_a_cache_grows_and_drains_for_as_long_as_promises_last(world, plane):
    servers = world.memcached(3)
    plane.set_spec(spec("memcached", servers[:2], transition="two_ring"))
    proxies = [plane.proxy(a) for a in plane.agents(2)]
    plane.wait_status("ok")
    with proxies[0].raw() as c:
        for i in range(KEYS):
            assert c.mc_set(b"k%d" % i, b"v%d" % i) == b"STORED\r\n"
    plane.set_spec(spec("memcached", servers, transition="two_ring"))
    wait_for(lambda: (plane.state().get("transition") or {}).get("phase") == "drain", 10, "drain")
    began = time.monotonic()
    assert plane.state()["transition"]["promote"]
    wait_for(lambda: not plane.state().get("transition"), scaled(20), "the end", every=0.05)
    assert time.monotonic() - began > 4.5
    with proxies[1].raw() as c:
        hits = sum(c.mc_get(b"k%d" % i) == b"v%d" % i for i in range(KEYS))
    assert hits == KEYS, f"{hits} of {KEYS} are still there"
    plane.wait_status("ok")


def test_a_warm_cache_leaves_dual_before_its_mover_is_through(world, plane):
    """What clients ask for has moved by being asked for, and nobody misses the rest."""
    servers = world.memcached(3)
    options = {"transition": "two_ring", "moving": {"keys_per_s": 1}}
    plane.set_spec(spec("memcached", servers[:2], **options))
    proxy = plane.proxy(*plane.agents(1))
    plane.wait_status("ok")
    percents, told = [], set()
    with proxy.raw() as c:
        for i in range(KEYS):
            assert c.mc_set(b"k%d" % i, b"v%d" % i) == b"STORED\r\n"
        plane.set_spec(spec("memcached", servers, **options))
        wait_for(lambda: (plane.state().get("transition") or {}).get("phase") == "dual", 10, "dual")
        began = time.monotonic()

        def drains():
            # A few keys more each time, so that some seconds have reads of both kinds.
            for i in range(min(KEYS, 10 + 10 * len(percents))):
                assert c.mc_get(b"k%d" % i) == b"v%d" % i, i
            percents.append((plane.status().get("transition") or {}).get("hit_percent"))
            told.update(re.findall(r"hits (\d+) %", ctl(plane, "transition", "status", "p")))
            return plane.state()["transition"]["phase"] == "drain"
        wait_for(drains, scaled(40), "the cache to be warm", every=0.1)
    took = time.monotonic() - began
    print(f"in dual for {took:.1f} s, hits {percents}")
    assert took > 7 and any("the targets are warm" in e["why"] for e in plane.log())
    assert percents[0] is None and any(0 <= p < 99 for p in percents if p is not None)
    assert percents[-1] >= 98 and str(percents[-1]) in told, told
    wait_for(lambda: not plane.state().get("transition"), scaled(20), "the end", every=0.05)
    with proxy.raw() as c:
        assert all(c.mc_get(b"k%d" % i) == b"v%d" % i for i in range(KEYS))


def test_slices_roll(world, plane):
    g = Growth(world, plane, n_agents=2, moving={"slices": 16})
    g.set(g.new)
    seen = set()

    def ended():
        t = plane.state().get("transition")
        if t and "slices" in t:
            seen.add(tuple(t["slices"]))
        return not t and len(seen) > 3
    wait_for(ended, scaled(40), "the new ring", every=0.002)
    for slices in seen:
        assert slices.count("hold") <= 1, slices
        assert list(slices) == sorted(slices, key=["dual", "hold", "prepare"].index), slices
    assert [t for _, t in phases(plane)].count("hold") == 16
    g.check()


# --- back ----------------------------------------------------------------------------------------------

def reach(g, phase):
    """Grow, and stay in that phase. Returns what lets it go on."""
    plane, stopped = g.plane, []
    if phase == "prepare":
        plane.put("agents/ghost", {})
    if phase == "hold":
        plane.put("agents/ghost", {})
        g.set(g.new, moving={"hold_max_ms": 30000})
        g.wait_phase("prepare")
        wait_for(lambda: len(plane.names(barrier(plane))) == len(g.agents), 10, "prepare")
        stopped = [g.proxies[1]]
        stopped[0].pause()
        plane.zk.delete("agents/ghost")
        g.wait_phase("hold")
        return stopped
    if phase == "drain":
        g.set(g.new, moving={"keys_per_s": 40})
        g.wait_phase("dual")
        wait_for(lambda: (plane.status().get("transition") or {}).get("job"), 10, "the mover")
        stopped = [g.proxies[1]]
        stopped[0].pause()
        g.wait_phase("drain")
        return stopped
    g.set(g.new, moving={"keys_per_s": 5})
    g.wait_phase(phase)
    return []


def barrier(plane):
    s = plane.state()
    return f"pools/p/barrier/{s['epoch']}.{s['step']}"


@pytest.mark.parametrize("phase", FORWARD)
def test_row_75_aborted_in(world, plane, phase):
    g = Growth(world, plane)
    ring = plane.state()["ring"]
    stopped = reach(g, phase)
    g.wish("abort")
    wait_for(lambda: not plane.state().get("transition") or
             plane.state()["transition"]["back"], 10, "the abort")
    if plane.names("agents")[-1] == "ghost":
        plane.zk.delete("agents/ghost")
    for p in stopped:
        p.resume()
    if phase in ("dual", "drain"):  # the mover is slow, too, on the way back
        g.wait_phase("dual-r")
    state = g.wait_stable(60)
    assert state["ring"] == ring
    assert "transition undone" in [e["what"] for e in plane.log()]
    at = {"prepare": 0, "hold": 1, "dual": 2, "drain": 3}[phase]
    way = [t for f, t in phases(plane) if f != t]
    if phase in ("prepare", "hold"):
        assert set(way) <= {"hold", "prepare"}
    else:
        assert way[-4:] == BACK and way[:at] == FORWARD[1:at + 1], way
    moved = g.check()
    assert moved == 0
    assert plane.wait_status("undone")["transition"] is None
    g.set(g.old)
    plane.wait_status("ok")
    g.set(g.new, moving={"keys_per_s": 0})  # and once more, to the end
    wait_for(lambda: (g.stable() or {"ring": ring})["ring"] != ring, scaled(30), "the new ring")
    assert g.check() > 0


def test_a_pause_lasts_until_it_is_taken_back(world, plane):
    g = Growth(world, plane)
    g.set(g.new, moving={"keys_per_s": 20})
    g.wait_phase("dual")
    g.wish("pause")
    wait_for(lambda: plane.state()["transition"]["paused"], 5, "the pause")
    wait_for(lambda: plane.raw("pools/p/wish") is None, 5, "the wish to be gone")
    wait_for(lambda: "paused" in str((plane.status()["transition"] or {}).get("blocked_on")), 5,
             "a word")
    version = plane.raw("pools/p/state")
    time.sleep(1)
    assert plane.raw("pools/p/state") == version
    g.wish("resume")
    g.wait_stable()
    assert g.check() > 0


def test_edits_meanwhile_wait_and_one_that_restores_aborts(world, plane):
    g = Growth(world, plane)
    ring = plane.state()["ring"]
    g.set(g.new, moving={"keys_per_s": 10})
    g.wait_phase("dual")
    g.set(g.new, timeout_ms=4321, moving={"keys_per_s": 10})
    wait_for(lambda: (plane.status().get("transition") or {}).get("spec_waits"), 5, "a word")
    assert g.phase() == "dual"
    g.set(g.old, timeout_ms=4321)
    wait_for(lambda: g.phase() in BACK, 10, "the way back")
    wait_for(lambda: (g.stable() or {"ring": ring})["ring"] != ring, scaled(40), "the options")
    assert plane.wait_status("ok")
    assert g.proxies[0].shown()["pools"]["p"]["timeout_ms"] == 4321
    assert g.check() == 0


# --- who does not follow -------------------------------------------------------------------------------

def test_hold_is_left_when_somebody_does_not_follow_and_tried_again(world, plane):
    g = Growth(world, plane, moving={"hold_max_ms": 300})
    plane.put("agents/ghost", {})
    g.set(g.new)
    g.wait_phase("prepare")
    wait_for(lambda: len(plane.names(barrier(plane))) == len(g.agents), 10, "prepare")
    g.proxies[2].pause()
    plane.zk.delete("agents/ghost")
    wait_for(lambda: ("hold", "prepare") in phases(plane), 10, "HOLD to be left")
    with g.proxies[0].raw() as c:
        for i in range(KEYS):  # nobody waits for the one that is stuck
            assert c.resp("SET", f"k{i}", f"v{i}") == b"+OK\r\n"
    g.proxies[2].resume()
    g.wait_stable()
    assert g.check() > 0


def test_row_65_a_host_that_never_followed_blocks_prepare_until_it_is_deregistered(world, plane):
    g = Growth(world, plane)
    plane.put("agents/ghost", {"host": "gone"})
    g.set(g.new, lease_ms=1000)
    g.wait_phase("prepare")
    wait_for(lambda: any("agent ghost" in w and "deregister" in w
                         for w in (plane.status().get("transition") or {}).get("blocked_on", [])),
             10, "the host to be named")
    time.sleep(2.5)  # longer than any lease
    assert g.phase() == "prepare"
    plane.zk.delete("agents/ghost")
    g.wait_stable()
    assert g.check() > 0


def test_row_72_an_armed_host_that_dies_is_passed_over_when_its_leases_have_run_out(world, plane):
    """Its proxy lives on and is fenced; back with its agent, it follows."""
    g = Growth(world, plane, lease_ms=3000, timeout_ms=500, moving={"keys_per_s": 30})
    g.set(g.new)
    g.wait_phase("dual")
    lost = next(a for a in g.agents if a is not g.coordinator())
    proxy = g.proxies[g.agents.index(lost)]
    lost.kill()
    began = time.monotonic()
    g.wait_stable(40)
    took = time.monotonic() - began
    assert took > 3.3, f"passed over after {took:.2f} s"
    assert proxy.alive()
    with proxy.raw() as c:
        answers = [c.resp("GET", f"k{i}")[:1] for i in range(KEYS)]
        assert b"-" in answers, "keys that moved must be fenced"
    assert not any(e.get("what") == "transition undone" for e in plane.log())
    lost.launch()
    wait_for(lambda: len(plane.names(barrier(plane))) == len(g.agents), 15, "the host to be back")
    assert g.check() > 0


@pytest.mark.parametrize("phase", ["hold", "dual"])
def test_row_72_proxies_die(world, plane, phase):
    g = Growth(world, plane)
    stopped = reach(g, phase)
    for p in stopped or [g.proxies[1]]:
        p.kill()
    g.wait_stable(40)
    assert g.check() > 0


def test_row_78_a_restarted_server_pauses_it(world, plane):
    g = Growth(world, plane)
    g.set(g.new, moving={"keys_per_s": 5})
    g.wait_phase("dual")
    wait_for(lambda: (plane.status().get("transition") or {}).get("job"), 10, "the mover")
    time.sleep(1)  # for the first look at every server
    target = g.servers[-1]
    target.kill()
    target.restart()
    wait_for(lambda: plane.state()["transition"]["paused"], scaled(15), "the pause")
    assert any(e["what"] == "server restarted" for e in plane.log())
    mark = plane.state()["transition"]["mark"]
    g.wish("resume")
    wait_for(lambda: g.phase() == "dual" and plane.state()["transition"]["mark"] != mark, 10,
             "DUAL under another mark")
    assert phases(plane)[-2:] == [("dual", "hold"), ("hold", "dual")]


# --- the coordinator dies -------------------------------------------------------------------------------

FAILPOINTS = [line.split('"')[1] for line in
              (env.ROOT / "agent" / "failpoint.def").read_text().splitlines()
              if line.startswith("FAILPOINT(")]
ON_THE_WAY_BACK = {"back before", "back after", "return before", "return after", "wish granted"}
# Those that `make check` tries; the rest is for check-long.
FEW = ["start after", "scrub begins", "mark done", "dual before", "mover runs", "finish after",
       "back after"]


def die_and_go_on(g, point, options):
    """The one that leads dies there, and leads again."""
    plane, leader = g.plane, g.agents[0]
    before, grown = plane.state(), g.size == len(g.new)
    leader.stop()
    leader.env["TWINRING_FAILPOINT"] = point
    leader.begin()
    if point != "elected":
        leader.wait_ready()
        back = point in ON_THE_WAY_BACK
        g.set(g.old if grown else g.new, **options(back))
        wait_for(lambda: not leader.alive() or g.phase(), 10, "the options to be applied")
        if back:
            g.wait_phase("dual")
            g.wish("abort")
    wait_for(lambda: not leader.alive(), scaled(20), f"the death at '{point}'")
    del leader.env["TWINRING_FAILPOINT"]
    leader.launch()
    if point == "elected":
        return
    wait_for(lambda: g.stable() and plane.state()["epoch"] > before["epoch"] + 1, scaled(40),
             "the end")
    servers = {s.split(" ")[-1] if isinstance(s, str) else s["name"]
               for s in plane.read(f"pools/p/rings/{plane.state()['ring']}")["pool"]["servers"]}
    assert len(servers) == (g.size if back else len(g.old if grown else g.new))
    if back:
        g.set(g.new if grown else g.old)
    else:
        g.size = len(g.old if grown else g.new)
    plane.wait_status("ok", seconds=20)
    wait_for(lambda: len(plane.names(barrier(plane))) == len(g.agents), 15, "all to follow")
    g.check()
    plane.delete_tree("log")


@pytest.mark.long
def test_row_70_the_coordinator_dies_at(world, plane):
    g = Growth(world, plane, n_agents=1)
    g.size = len(g.old)
    for a in plane.agents(2, coordinator=False):
        g.agents.append(a)
        g.proxies.append(plane.proxy(a))
    for point in FAILPOINTS if env.LONG else FEW:
        began = time.monotonic()
        die_and_go_on(g, point, lambda back: {
            "moving": {"keys_per_s": 20 if back or point == "mover runs" else 1000},
            "timeout_ms": 3000 + len(point) * 10 + g.size})
        print(f"{point}: {time.monotonic() - began:.1f} s")


# --- twinringctl ----------------------------------------------------------------------------------------

def ctl(plane, *args, code=0):
    done = subprocess.run([env.ROOT / "build" / env.BUILD / "twinringctl", "--source", plane.source,
                           *args], capture_output=True, text=True, timeout=scaled(20))
    assert done.returncode == code, (args, done.stdout, done.stderr)
    return done.stdout


def test_twinringctl_grows_pauses_and_aborts(world, plane):
    g = Growth(world, plane, moving={"keys_per_s": 20})
    ctl(plane, "transition", "abort", "p", code=3)
    assert "no pool" in ctl(plane, "transition", "status")
    ctl(plane, "expand", "p", f"127.0.0.1:{g.servers[-1].port}", "s3")
    g.wait_phase("dual")
    wait_for(lambda: "keys to be moved" in ctl(plane, "transition", "status", "p"), 10, "a word",
             every=0.2)
    ctl(plane, "transition", "pause", "p")
    wait_for(lambda: json.loads(ctl(plane, "--json", "transition", "status"))[0]["paused"], 10,
             "the pause", every=0.2)
    ctl(plane, "transition", "resume", "p")
    wait_for(lambda: not plane.state()["transition"]["paused"], 10, "the pause to end")
    ctl(plane, "transition", "abort", "p")
    g.wait_phase("dual-r")
    shown = ctl(plane, "status", "p")
    assert "moving" in shown and "back" in shown
    g.wait_stable(60)
    ctl(plane, "shrink", "p", "s3")
    plane.wait_status("ok")
    assert g.check() == 0
    assert "transition undone" in ctl(plane, "log")
