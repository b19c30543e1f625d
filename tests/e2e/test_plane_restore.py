"""Row 60: the ensemble forgets, or remembers an older time. Proxies serve on with what is in force, the
alarm is everywhere where somebody may look, and an operator brings the tree back by one command."""

import http.server
import json
import shutil
import subprocess
import threading

import pytest

from harness import agent as agents
from harness.agent import Plane, spec
from harness.checker import Checker
from harness.env import wait_for
from harness.zookeeper import Ensemble

CTL = agents.AGENT.with_name("twinringctl")
pytestmark = pytest.mark.skipif(agents.MISSING or not CTL.exists(),
                                reason="twinring-agent is not built")


class Hook:
    """Takes webhooks, and remembers them."""

    def __init__(self):
        self.seen = []
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def told(self, event):
        return [e for e in list(self.seen) if e["event"] == event]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Site:
    """One ZooKeeper server of its own, an agent with webhooks, a proxy under load."""

    def __init__(self, world):
        self.world = world
        self.ensemble = world.add(Ensemble(world.dir, "zk")).launch()
        self.plane = Plane(world, self.ensemble)
        self.servers = world.memcached(3)
        self.hook = world.add(Hook())
        self.edit(0)
        self.agent = self.plane.agent(session_timeout_ms=1000, webhooks=[{"url": self.hook.url}])
        self.proxy = self.plane.proxy(self.agent)
        self.plane.wait_status("ok")
        self.checker = world.add(Checker(self.proxy.addr(), "memcached",
                                         [b"chk%d" % i for i in range(30)], seed=world.seed)).go()

    def edit(self, n):
        self.plane.set_spec(spec("memcached", self.servers, timeout_ms=3000 + n))

    def serves(self, n, seconds=15):
        wait_for(lambda: self.proxy.shown()["pools"]["p"]["timeout_ms"] == 3000 + n, seconds,
                 "the proxy to follow")

    def stop_zookeeper(self):
        self.plane.stop()  # our own session, which would be long in ending without a server
        self.ensemble.kill()
        wait_for(lambda: self.hook.told("store lost"), 10, "the agent to notice")

    def start_zookeeper(self):
        """The agent has seen later transactions than this server: it needs a new handle."""
        self.ensemble.restart()
        self.plane.zk = self.plane.client()

    def ctl(self, *args, expect=0):
        r = subprocess.run([CTL, "--source", self.plane.source, *args], capture_output=True, text=True,
                           timeout=20)
        assert r.returncode == expect, (r.returncode, r.stdout, r.stderr)
        return r.stdout

    def calm(self):
        done = self.checker.ops
        wait_for(lambda: self.checker.ops > done + 50, 10, "the client to be served")
        self.checker.verdict()


def test_row_60_wiped(world):
    site = Site(world)
    for n in (1, 2):
        site.edit(n)
        site.plane.wait_status("ok")
    site.serves(2)
    epoch, before = site.plane.state()["epoch"], site.proxy.shown()
    site.stop_zookeeper()
    site.ensemble.servers[0].wipe()
    site.start_zookeeper()
    plane, me = site.plane, site.agent.id
    wait_for(lambda: (plane.read(f"agents/{me}") or {}).get("problem"), 20, "the agent to be back")
    wait_for(lambda: site.hook.told("tree refused"), 10, "the webhook")
    assert "the tree is not followed" in site.agent.log()
    problem = plane.read(f"agents/{me}")["problem"]
    assert problem in site.ctl("status")
    # Somebody founds the cluster anew and writes the specs again: nobody follows another lineage.
    site.ctl("init")
    site.edit(3)
    wait_for(lambda: "lineage" in plane.read(f"agents/{me}")["problem"], 10, "the alarm")
    wait_for(lambda: plane.status().get("state") == "broken", 10, "the status")
    assert "lineage" in plane.status()["problem"]["why"]
    wait_for(lambda: plane.decided("state broken") and site.hook.told("state broken"), 5, "the log")
    text = site.ctl("status")
    assert "broken" in text and "lineage" in text, text
    assert site.proxy.shown() == before
    site.ctl("status", "--check", expect=1)
    site.ctl("recover", "--dry-run")
    assert plane.read("cluster")["lineage"] != plane.lineage
    site.ctl("recover")
    site.serves(3)
    assert plane.read("cluster")["lineage"] == plane.lineage
    plane.wait_status("ok")
    assert plane.state()["epoch"] > epoch and plane.state()["lineage"] == plane.lineage
    wait_for(lambda: plane.read(f"agents/{me}")["problem"] is None, 5, "the end of the alarm")
    wait_for(lambda: site.hook.told("tree good"), 5, "the webhook")
    site.ctl("status", "--check")
    site.edit(4)
    site.serves(4)
    site.calm()


def test_row_60_restored_from_an_older_backup(world):
    site = Site(world)
    zk = site.ensemble.servers[0]
    site.edit(1)
    site.plane.wait_status("ok")
    site.stop_zookeeper()
    backup = world.dir / "backup"
    shutil.copytree(zk.data, backup)
    site.start_zookeeper()
    for n in (2, 3, 4):
        site.edit(n)
        site.serves(n, seconds=20)
        site.plane.wait_status("ok")
    epoch, before = site.plane.state()["epoch"], site.proxy.shown()
    del site.hook.seen[:]
    site.stop_zookeeper()
    zk.wipe()
    shutil.copytree(backup, zk.data, dirs_exist_ok=True)
    site.start_zookeeper()
    plane, me = site.plane, site.agent.id
    assert plane.state()["epoch"] < epoch
    wait_for(lambda: "older" in ((plane.read(f"agents/{me}") or {}).get("problem") or ""), 20,
             "the agent to be back")
    wait_for(lambda: plane.status().get("state") == "broken", 10, "the status")
    assert "older" in plane.status()["problem"]["why"]
    wait_for(lambda: site.hook.told("state broken") and site.hook.told("tree refused"), 10,
             "the webhooks")
    text = site.ctl("status")
    assert "broken" in text and "older" in text, text
    assert site.proxy.shown() == before
    # An agent that restarts knows from its disk what it had.
    site.agent.kill()
    site.agent.launch()
    wait_for(lambda: plane.names("live") == [me], 10, "the agent")
    wait_for(lambda: "older" in (plane.read(f"agents/{me}")["problem"] or ""), 10, "the alarm")
    assert site.proxy.shown() == before
    site.ctl("recover")
    site.serves(1)
    plane.wait_status("ok")
    assert plane.state()["epoch"] > epoch
    site.edit(5)
    site.serves(5)
    site.calm()


def test_recover_refuses_what_it_cannot_know(world):
    site = Site(world)
    before = site.plane.read("cluster")
    site.plane.put("agents/stranger", {"lineage": "other", "epoch": 7, "proxies": []})
    site.ctl("recover", expect=3)
    assert site.plane.read("cluster") == before
    site.ctl("recover", "--lineage", "nobody's", expect=3)
    site.ctl("recover", "--lineage", site.plane.lineage)
    assert site.plane.read("cluster")["lineage"] == site.plane.lineage
    site.plane.put("pools/p/state", b"junk")
    wait_for(lambda: site.plane.status().get("state") == "broken", 5, "the alarm")
    site.ctl("recover", "--lineage", site.plane.lineage)
    site.plane.zk.delete("agents/stranger")  # or everybody waits for it
    site.plane.wait_status("ok")
    assert site.plane.state()["epoch"] > 1
    site.calm()
