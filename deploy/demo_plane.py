#!/usr/bin/python3
"""demo_plane.py - the whole system: ZooKeeper, agent, proxy, caches; operators edit, caches die.

demo.sh runs it after demo.py. The proxy knows only where to listen: its pool comes from a znode.
One client goes on reading through everything; every claim is checked, and one that does not hold
makes the exit status 1. Everything that is started here dies with us, whatever ends us.

TWINRING_AGENT, TWINRING_PROXY and TWINRINGCTL name other programs than those of the build.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

from kazoo.client import KazooClient
from pymemcache.client.base import Client as Memcache
from pymemcache.exceptions import MemcacheError

from stage import (HOST, KEEP, Server, Wrong, check, free_port, perform, run, say, title, wait_for,
                   wait_for_enter)

POOL = "sessions"
SPEC = f"/pools/{POOL}/spec"
CHROOT = "/twinring"
KEYS = 400
INTERVAL_MS, FALL, RISE = 300, 3, 3
BACKOFF_MS = 2000
JAVA_SMALL = ["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
JARS = "/usr/share/java"
# Of all in that folder, what a server needs: it starts three times as fast.
SERVER_CLASSES = ":".join(f"{JARS}/{name}.jar" for name in (
    "zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "netty-all", "commons-io"))


# --- who plays ------------------------------------------------------------------------------------

class ZooKeeper:
    """Debian's, one server; start() after a kill keeps its port and data."""

    def __init__(self, processes):
        self.processes = processes
        if not shutil.which("java") or not os.path.exists(f"{JARS}/zookeeper.jar"):
            raise Wrong("ZooKeeper is not installed: run deploy/install-deps.sh")
        for _ in range(5):
            self.port = free_port()  # somebody else may take it before the server does
            if self.start():
                return
        raise Wrong("ZooKeeper does not start")

    def start(self):
        workdir = self.processes.workdir
        config = os.path.join(workdir, "zoo.cfg")
        with open(config, "w", encoding="ascii") as f:
            f.write(textwrap.dedent(f"""\
                tickTime=500
                dataDir={workdir}/zookeeper
                clientPort={self.port}
                clientPortAddress={HOST}
                admin.enableServer=false
                4lw.commands.whitelist=srvr
                """))
        self.proc = self.processes.start(
            ["java", *JAVA_SMALL, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
             "-cp", SERVER_CLASSES, "org.apache.zookeeper.server.quorum.QuorumPeerMain", config],
            "zookeeper.log")
        wait_for(lambda: self.proc.poll() is not None or self.serves(), 30, "ZooKeeper")
        return self.proc.poll() is None

    def serves(self):
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1) as s:
            s.sendall(b"srvr")
            return s.recv(100).startswith(b"Zookeeper version")
        return False

    def set(self, path, text):
        """Write a znode with ZooKeeper's own client; a running process."""
        cli = "/usr/share/zookeeper/bin/zkCli.sh"
        client = [cli] if os.path.exists(cli) else [
            "java", *JAVA_SMALL, "-cp", f"{JARS}/*", "org.apache.zookeeper.ZooKeeperMain"]
        return self.processes.start([*client, "-server", f"{HOST}:{self.port}{CHROOT}",
                                     "set", path, text], "zkCli.log",
                                    env={**os.environ, "JVMFLAGS": " ".join(JAVA_SMALL)})

    def written_at(self, path):
        """When the znode was last written: seconds since 1970, of this machine's clock."""
        client = KazooClient(f"{HOST}:{self.port}{CHROOT}")
        client.start(timeout=10)
        try:
            return client.exists(path).mtime / 1000
        finally:
            client.stop()
            client.close()


class Plane:
    """The agent, the proxy and the operator's tool of one host."""

    def __init__(self, processes, zookeeper, build):
        self.processes, self.zookeeper = processes, zookeeper
        self.binary = {name: os.path.abspath(os.environ.get(variable, os.path.join(build, name)))
                       for name, variable in (("twinring-proxy", "TWINRING_PROXY"),
                                              ("twinring-agent", "TWINRING_AGENT"),
                                              ("twinringctl", "TWINRINGCTL"))}
        self.source = f"zk:{HOST}:{zookeeper.port}{CHROOT}"
        self.run_dir = self.folder("run")
        self.agent, self.proxy, self.port, self.control_path = None, None, None, None

    def folder(self, name):
        path = os.path.join(self.processes.workdir, name)
        os.mkdir(path, 0o750)
        return path

    def file(self, name, text):
        path = os.path.join(self.processes.workdir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def launch(self, program, config):
        """Start it and wait for its ready line; (process, what that line says)."""
        proc = self.processes.start([self.binary[program], "-c", config], f"{program}.log",
                                    stdout=subprocess.PIPE, text=True)
        line = proc.stdout.readline()
        if not line.startswith("ready "):
            raise Wrong(f"{program} did not start")
        return proc, json.loads(line[len("ready "):])

    def start_agent(self):
        config = self.file("agent.yml", textwrap.dedent(f"""\
            source: {self.source}
            id: host1
            nanny: true                 # probes the caches, and votes
            session_timeout_ms: 4000
            confirm_ms: 1000
            run_dir: {self.run_dir}
            state_dir: {self.folder("state")}
            log_level: info
            """))
        self.agent, _ = self.launch("twinring-agent", config)
        return config

    def start_proxy(self):
        config = self.file("proxy.yml", textwrap.dedent(f"""\
            proxy:
              control: {self.run_dir}/proxy1.sock     # where the agent finds it
              stats: 127.0.0.1:0
              stats_interval_ms: 50
            listeners:
              - {{listen: "127.0.0.1:0", pool: {POOL}}}   # and no pools: they come from the agent
            """))
        self.proxy, ready = self.launch("twinring-proxy", config)
        self.port = int(ready["listeners"][f"{HOST}:0"].rpartition(":")[2])
        self.stats_port = int(ready["stats"].rpartition(":")[2])
        self.control_path = ready["control"]
        return config

    def ctl(self, *args, show=True, expect=0):
        """twinringctl; its output, which the audience sees as well."""
        status, out = run([self.binary["twinringctl"], "--source", self.source, "--run-dir",
                           self.run_dir, *args])
        if show:
            say("$ twinringctl " + " ".join(args))
            for line in out.splitlines():
                say("  " + line.rstrip())
        if status != expect:
            raise Wrong(f"twinringctl {' '.join(args)}: exit status {status}: {out}")
        return out

    def status(self):
        return json.loads(self.ctl("status", "--json", POOL, show=False))

    def pool_status(self, state):
        """The pool as `twinringctl status` has it, once it is in that state; else None."""
        [pool] = self.status()["pools"]
        return pool if pool["state"] == state else None

    def wait_ok(self):
        wait_for(lambda: self.pool_status("ok"), 10, "the pool's state ok", every=0.1)

    def wait_vote(self):
        """A nanny that has reason to doubt itself, like a long pause, abstains for a while."""
        wait_for(lambda: all(n["abstains"] is None for n in self.status()["nannies"]), 30,
                 "the nanny's vote", every=0.3)

    def call(self, method, **params):
        """One question over the proxy's control socket."""
        with socket.socket(socket.AF_UNIX) as s, s.makefile("r", encoding="utf-8") as replies:
            s.settimeout(10)
            s.connect(self.control_path)
            s.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
            reply = json.loads(replies.readline())
        if "result" not in reply:
            raise Wrong(f"{method}: {reply}")
        return reply["result"]

    def topology(self):
        """What the proxy serves by now."""
        return self.call("topology.show")

    def owner(self, key):
        """Which server the proxy asks for it now."""
        return self.call("route.trace", pool=POOL, key=key)["server"]

    def stats(self):
        with socket.create_connection((HOST, self.stats_port), 5) as s:
            return json.loads(b"".join(iter(lambda: s.recv(65536), b"")))

    def client(self):
        return Memcache((HOST, self.port), timeout=5, default_noreply=False)


def spec_of(servers, extra=()):
    lines = [f"  - {s.line}" for s in servers] + [f"  - {line}" for line in extra]
    return "\n".join([
        "# what the demo's operators want",
        "protocol: memcached",
        "hash: md5                 # spreads even keys that differ only at their end",
        "timeout_ms: 3000",
        "server_failure_limit: 2   # then a proxy asks that server no more (TKO), but by probes",
        "server_retry_timeout_ms: 200",
        "servers:", *lines,
        f"health: {{interval_ms: {INTERVAL_MS}, timeout_ms: 250, fall: {FALL}, rise: {RISE}}}",
        f"ejection: {{cap_percent: 50, min_interval_ms: 100, backoff_ms: {BACKOFF_MS}}}", ""])


class Reader(threading.Thread):
    """A client that reads on, one key after the other, whatever happens."""

    def __init__(self, plane, keys):
        super().__init__(daemon=True)
        self.plane, self.keys = plane, keys
        self.reads, self.failed = 0, []  # failed: (monotonic time, key, error)
        self.misses = 0
        self.halt = threading.Event()

    def run(self):
        rng = random.Random(1)
        client = self.plane.client()
        while not self.halt.is_set():
            key = rng.choice(self.keys)
            try:
                self.misses += client.get(key) is None
                self.reads += 1
            except (MemcacheError, OSError) as e:
                self.failed.append((time.monotonic(), key, str(e)))
            time.sleep(0.001)
        client.close()

    def go_on(self, n=100):
        """Wait until it has made n more reads."""
        want = self.reads + n
        wait_for(lambda: self.reads >= want, 10, f"{n} reads")

    def mark(self):
        return self.reads, len(self.failed)

    def undisturbed(self, mark, text):
        """Claim that nothing has failed since."""
        reads, failed = self.reads - mark[0], self.failed[mark[1]:]
        check(not failed and reads > 0, f"{text}: {reads} reads, {len(failed)} failed"
              + (f", first: {failed[0][1:]}" if failed else ""))


def direct(server):
    return Memcache((HOST, server.port), timeout=5, default_noreply=False)


def counter(server, name):
    client = direct(server)
    try:
        return int(client.stats()[name.encode()])
    finally:
        client.close()


# --- the acts -------------------------------------------------------------------------------------

def act_begin(processes, build):
    title("ZooKeeper, an agent, a proxy without pools, three memcached")
    zookeeper = ZooKeeper(processes)
    say(f"ZooKeeper on {HOST}:{zookeeper.port}, pid {zookeeper.proc.pid}")
    caches = [Server(processes, "memcached", f"cache{i}") for i in (1, 2, 3)]
    for server in caches:
        say(f"{server.name}: memcached on port {server.port}, pid {server.proc.pid}")
    plane = Plane(processes, zookeeper, build)
    client = KazooClient(f"{HOST}:{zookeeper.port}")
    client.start(timeout=10)
    client.ensure_path(CHROOT)
    client.stop()
    client.close()
    plane.ctl("init")
    plane.ctl("pool", "add", POOL, "--from=" + plane.file("spec.yml", spec_of(caches)))
    plane.start_agent()
    say(f"agent: pid {plane.agent.pid}, also nanny and coordinator")
    began = time.monotonic()
    plane.start_proxy()
    say(f"proxy: pid {plane.proxy.pid}, memcached on {HOST}:{plane.port}")
    check(plane.owner("user:1").startswith("cache"), "it has its pool from the agent, "
          f"{(time.monotonic() - began) * 1000:.0f} ms after its start")
    plane.wait_ok()
    plane.ctl("status")
    return plane, caches


def act_add(plane, caches, reader):
    title("A fourth memcached: an operator edits the znode with zkCli.sh")
    extra = Server(plane.processes, "memcached", "cache4")
    mark = reader.mark()
    say(f"$ zkCli.sh -server {HOST}:{plane.zookeeper.port}{CHROOT} set {SPEC} ..."
        f"   # with {extra.line}")
    edit = plane.zookeeper.set(SPEC, spec_of(caches + [extra]))
    wait_for(lambda: counter(extra, "cmd_get") > 0, 20, "cache4 serves")
    served = time.time()
    if edit.wait(10) != 0:
        raise Wrong("zkCli.sh failed")
    took = served - plane.zookeeper.written_at(SPEC)
    check(took < 1, f"{extra.name} serves its first key {took * 1000:.0f} ms after the write")
    reader.go_on()
    client, there = plane.client(), direct(extra)
    for key in reader.keys:
        client.set(key, "profile of " + key)
    share = len(there.get_many(reader.keys))
    client.close()
    there.close()
    check(KEYS / 8 < share < KEYS / 2,
          f"of {KEYS} keys written now, {share} are in {extra.name} (a quarter is {KEYS // 4})")
    wait_for(lambda: "transitions" not in plane.topology(), 40, "the transition's end")
    reader.undisturbed(mark, "a client read on meanwhile")
    check(reader.misses == 0, "and found every key: what moved was carried along, step by step")
    plane.ctl("log")
    caches.append(extra)
    plane.ctl("trace", POOL, "user:1")


def act_bad(plane, caches, reader):
    title("A bad edit: two servers of one name")
    mark = reader.mark()
    before = plane.topology()["version"]
    again = f"{HOST}:{caches[0].port + 1}:1 {caches[0].name}"
    say(f"$ zkCli.sh ... set {SPEC} ...   # with {again}")
    if plane.zookeeper.set(SPEC, spec_of(caches, [again])).wait(20) != 0:
        raise Wrong("zkCli.sh failed")
    pool = wait_for(lambda: plane.pool_status("rejected"), 5, "the refusal", every=0.1)
    plane.ctl("status", POOL)
    refused = pool["rejected"]
    check(refused["where"] and caches[0].name in refused["why"],
          f"refused, with its place: {refused['where']}: {refused['why']}")
    reader.go_on()
    check(plane.topology()["version"] == before, "no proxy has heard of it")
    reader.undisturbed(mark, "traffic goes on")
    plane.ctl("pool", "set", POOL, "--from=" + plane.file("spec.yml", spec_of(caches)))
    plane.wait_ok()
    check(True, "the right spec again: the refusal is gone")


def act_kill(plane, caches, reader):
    victim = caches[1]
    title(f"kill -9 {victim.name}: marked down, ejected, and back")
    plane.wait_vote()
    owners = {k: plane.owner(k) for k in reader.keys}
    key = next(k for k in reader.keys if owners[k] == victim.name)
    mark = reader.mark()
    killed = time.monotonic()
    plane.processes.stop(victim.proc, signal.SIGKILL)

    # The proxy's own finding, at once; then the coordinator's verdict.
    wait_for(lambda: plane.stats()[POOL][victim.name]["tko"] > 0, 5, "TKO")
    check(True, f"after {(time.monotonic() - killed) * 1000:4.0f} ms the proxy has it marked down "
          "(TKO): its keys fail at once, nothing waits for it")
    limit = FALL * INTERVAL_MS / 1000 + 1
    wait_for(lambda: plane.owner(key) != victim.name, 10, "the ejection")
    took = time.monotonic() - killed
    check(took <= limit, f"after {took * 1000:4.0f} ms it is ejected (fall x interval + 1 s = "
          f"{limit * 1000:.0f}): {key} is now {plane.owner(key)}'s")
    ejected = time.monotonic()
    reader.go_on()
    failed = reader.failed[mark[1]:]
    late = [f for f in failed if f[0] > ejected + 0.25]
    others = [f for f in failed if owners[f[1]] != victim.name]
    check(failed and not late and not others, f"{len(failed)} reads failed, all of its keys and "
          f"before the ejection: {failed[0][2] if failed else ''}")
    plane.ctl("status", POOL)
    plane.ctl("trace", POOL, key)

    mark = reader.mark()
    if not victim.start():
        raise Wrong(f"{victim.name} does not come back")
    began = time.monotonic()
    stale = direct(victim)
    stale.set(key, "from before")
    wait_for(lambda: plane.owner(key) == victim.name, 20, "the return")
    check(True, f"restarted: back in the ring after {time.monotonic() - began:.1f} s ({RISE} good "
          f"probes, back-off {BACKOFF_MS / 1000:g} s)")
    check(stale.get(key) != b"from before" and counter(victim, "cmd_flush") > 0,
          "what it held was flushed before it served")
    stale.close()
    reader.go_on()
    reader.undisturbed(mark, "no client noticed the return")


def act_away(plane, caches, reader):
    title("kill -9 ZooKeeper")
    zookeeper = plane.zookeeper
    mark = reader.mark()
    version = plane.topology()["version"]
    plane.processes.stop(zookeeper.proc, signal.SIGKILL)
    time.sleep(2)
    plane.ctl("--timeout=1", "status", expect=5)
    reader.undisturbed(mark, "two seconds later, traffic goes on at the last good topology")
    check(plane.topology()["version"] == version, f"version {version}")
    if not zookeeper.start():
        raise Wrong("ZooKeeper does not come back")
    say("ZooKeeper is started again")
    removed = caches.pop()
    plane.ctl("server", "remove", POOL, removed.name)
    wait_for(lambda: len(plane.topology()["pools"][POOL]["servers"]) == len(caches), 40,
             "the next topology")
    owners = {plane.owner(k) for k in reader.keys}
    check(owners == {c.name for c in caches},
          f"the agent is back by itself: the proxy serves without {removed.name}")
    plane.wait_vote()
    check(True, "and the nanny, no longer in doubt, votes again")
    reader.undisturbed(mark, "all this time")


def act_end(plane):
    title("What was decided")
    log = plane.ctl("log")
    check("cache2 ejected" in log and "cache2 returned" in log,
          "the log knows of the ejection and the return")
    plane.wait_ok()
    plane.ctl("status", "--check")
    check(True, "everything is as it should be, says twinringctl status --check")


def more(plane):
    title("Try it yourself" + ("" if KEEP else " (make demo KEEP=1 leaves all this running)"))
    say(f"export TWINRING_SOURCE={plane.source}")
    say(f"{plane.binary['twinringctl']} --run-dir={plane.run_dir} watch")
    say(f"{plane.binary['twinringctl']} pool set {POOL} timeout_ms=200")
    say(f"telnet {HOST} {plane.port}             # then: set k 0 0 2, hi, get k, stats")


def play(processes, build):
    plane, caches = act_begin(processes, build)
    client = plane.client()
    keys = [f"user:{i}" for i in range(KEYS)]
    for key in keys:
        client.set(key, "profile of " + key)
    client.close()
    reader = Reader(plane, keys)
    reader.start()
    try:
        reader.go_on()
        act_add(plane, caches, reader)
        act_bad(plane, caches, reader)
        act_kill(plane, caches, reader)
        act_away(plane, caches, reader)
        act_end(plane)
        more(plane)
        if KEEP:
            wait_for_enter()
    finally:
        reader.halt.set()
        reader.join(10)
    title("SIGTERM")
    for name, proc in (("agent", plane.agent), ("proxy", plane.proxy)):
        status = processes.stop(proc, patience=15)
        check(status == 0, f"the {name} ended with status {status}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: demo_plane.py FOLDER-OF-PROGRAMS")
    perform(lambda processes: play(processes, sys.argv[1]),
            ["twinring-agent.log", "twinring-proxy.log", "zookeeper.log", "zkCli.log"])
