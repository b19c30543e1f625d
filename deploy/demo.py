#!/usr/bin/python3
"""demo.py - three memcached, three redis, one proxy in front, and what happens to real clients.

demo.sh runs it. Every claim it prints is checked; one that does not hold is marked, and makes the
exit status 1. Everything it starts dies with it, whatever ends it.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request

import redis
from pymemcache.client.base import Client as Memcache
from pymemcache.exceptions import MemcacheError

from stage import (HOST, KEEP, Server, Wrong, check, find_program, perform, run, say, title,
                   wait_for, wait_for_enter)

KEYS = 300


# --- the proxy ------------------------------------------------------------------------------------

class Proxy:
    def __init__(self, processes, binary, caches, stores):
        self.processes, self.binary = processes, os.path.abspath(binary)
        self.config = os.path.join(processes.workdir, "twinring.yml")
        self.log = os.path.join(processes.workdir, "proxy.log")
        with open(self.config, "w", encoding="ascii") as f:
            f.write(self.describe(caches, stores))
        status, text = run([self.binary, "-t", "-c", self.config])
        if status != 0:
            raise Wrong(f"the proxy refuses the configuration: {text}")
        self.proc = processes.start([self.binary, "-c", self.config], "proxy.log",
                                    stdout=subprocess.PIPE, text=True)
        line = self.proc.stdout.readline()
        if not line.startswith("ready "):
            raise Wrong(f"the proxy did not start: {self.log}")
        ready = json.loads(line[len("ready "):])
        at = {name: int(bound.rpartition(":")[2])
              for name, bound in ready["listeners"].items()}
        self.mc_host, self.mc_port = HOST, at[f"{HOST}:0"]
        self.redis_host, self.redis_port = "127.0.0.2", at["127.0.0.2:0"]
        self.stats_port = int(ready["stats"].rpartition(":")[2])
        self.metrics_port = int(ready["metrics"].rpartition(":")[2])
        self.control_path = ready["control"]

    def describe(self, caches, stores):
        def listed(servers):
            return "".join(f"\n      - {s.line}" for s in servers)

        return textwrap.dedent("""\
            proxy:
              control: {dir}/proxy.sock
              stats: 127.0.0.1:0
              metrics: 127.0.0.1:0
              stats_interval_ms: 100
            listeners:                  # port 0: any; the ready line says which
              - {{listen: "127.0.0.1:0", pool: cache}}
              - {{listen: "127.0.0.2:0", pool: store}}
            pools:
              cache:
                protocol: memcached
                distribution: ketama
                hash: md5               # spreads even keys that differ only at their end
                timeout_ms: 1000
                server_retry_timeout_ms: 200
                servers:{caches}
              store:
                protocol: redis
                hash: md5
                servers:{stores}
            """).format(dir=self.processes.workdir, caches=listed(caches), stores=listed(stores))

    def where(self, pool, keys):
        """key -> name of its server, as `twinring-proxy --where` says."""
        status, out = run([self.binary, "-c", self.config, "--where", pool],
                          stdin="".join(k + "\n" for k in keys))
        if status != 0:
            raise Wrong(f"--where: {out}")
        return dict(line.split("\t") for line in out.splitlines())

    def control(self, *calls):
        """Several (method, params) over the control socket; their results."""
        with socket.socket(socket.AF_UNIX) as s, s.makefile("r", encoding="utf-8") as replies:
            s.settimeout(10)
            s.connect(self.control_path)
            results = []
            for number, (method, params) in enumerate(calls):
                call = {"id": number, "method": method, "params": params}
                s.sendall(json.dumps(call).encode() + b"\n")
                reply = json.loads(replies.readline())
                if "result" not in reply:
                    raise Wrong(f"{method}: {reply}")
                results.append(reply["result"])
            return results

    def trace(self, pool, keys):
        """key -> name of its server, as route.trace says, in the topology in force."""
        calls = [("route.trace", {"pool": pool, "key": k}) for k in keys]
        return {k: r["server"] for k, r in zip(keys, self.control(*calls))}

    def stats(self):
        with socket.create_connection((HOST, self.stats_port), 5) as s:
            return json.loads(b"".join(iter(lambda: s.recv(65536), b"")))

    def http(self, path):
        url = f"http://{HOST}:{self.metrics_port}{path}"
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status, reply.read().decode()


def tally(owners, names):
    return {n: sum(1 for o in owners.values() if o == n) for n in names}


# --- the acts -------------------------------------------------------------------------------------

def act_keys(proxy, caches, mc):
    title(f"{KEYS} keys, written by pymemcache: where did they go?")
    keys = [f"user:{i}" for i in range(KEYS)]
    for k in keys:
        mc.set(k, "profile of " + k)
    owners = proxy.where("cache", keys)
    counts = tally(owners, [s.name for s in caches])
    for server in caches:
        direct = Memcache((HOST, server.port), timeout=5)
        there = set(direct.get_many(keys))
        direct.close()
        expected = {k for k in keys if owners[k] == server.name}
        check(there == expected and there, f"{server.name} holds {len(there):3} keys; "
              f"--where names it for {counts[server.name]:3}: the same ones")
    say(f"$ twinring-proxy -c twinring.yml --where cache user:7   ->   user:7\t{owners['user:7']}")
    return keys, owners


def act_multi(proxy, keys, owners, mc):
    title("One multi-get over three servers, merged in the client's order")
    asked = [next(k for k in keys if owners[k] == n) for n in sorted(set(owners.values()))]
    asked = [asked[2], "nobody", asked[0], asked[1]]
    with socket.create_connection((proxy.mc_host, proxy.mc_port), 5) as s:
        s.sendall(b"get " + " ".join(asked).encode() + b"\r\n")
        reply = b""
        while not reply.endswith(b"END\r\n"):
            got = s.recv(65536)
            if not got:
                break
            reply += got
    say("> get " + " ".join(asked))
    for line in reply.decode().splitlines():
        say("< " + line + (f"      ({owners[line.split()[1]]})" if line[:5] == "VALUE" else ""))
    present = [k for k in asked if k != "nobody"]
    want = "".join(f"VALUE {k} 0 {len('profile of ' + k)}\r\nprofile of {k}\r\n" for k in present)
    check(reply.decode() == want + "END\r\n", "byte for byte what one server would have sent")
    found = mc.get_many(keys)
    check(len(found) == len(keys), f"pymemcache get_many of {len(keys)} keys found {len(found)}")


def act_tools(proxy, mc):
    title("memcached's own tools, and redis-cli")
    servers = f"--servers={proxy.mc_host}:{proxy.mc_port}"
    mc.set("greeting", "hello from memccat")
    status, out = run([find_program("memccat"), servers, "greeting"])
    check(status == 0 and "hello from memccat" in out, f"memccat greeting -> {out.strip()!r}")
    cli = ["redis-cli", "-h", proxy.redis_host, "-p", str(proxy.redis_port)]
    for command, want in (("set visits 41", "OK"), ("incr visits", "42"),
                          ("mset a 1 b 2 c 3 d 4", "OK"), ("mget a b c d none", "1\n2\n3\n4\n"),
                          ("del a b c d none", "4")):
        _, out = run(cli + command.split())
        check(out.strip() == want.strip(), f"redis-cli {command} -> "
              + " ".join(repr(x) for x in out.rstrip("\n").split("\n")))


def act_redis(proxy, stores):
    title("Redis: a pipeline of 300 commands from redis-py, over three servers")
    client = redis.Redis(proxy.redis_host, proxy.redis_port, decode_responses=True)
    pipe = client.pipeline(transaction=False)
    for i in range(100):
        pipe.set(f"item:{i}", i).incr(f"item:{i}").rpush(f"list:{i}", "x", "y")
    replies = pipe.execute()
    check(replies == [x for i in range(100) for x in (True, i + 1, 2)],
          "300 replies, each in its place")
    owners = proxy.where("store", [f"item:{i}" for i in range(100)])
    for server in stores:
        direct = redis.Redis(HOST, server.port, decode_responses=True)
        there = set(direct.keys("item:*"))
        direct.close()
        check(there == {k for k, o in owners.items() if o == server.name} and there,
              f"{server.name} holds {len(there):2} of the items, as --where says")
    try:
        client.eval("return 1", 2, *different_servers(owners))
        check(False, "a script over keys of two servers was refused")
    except redis.RedisError as e:
        check(True, f"a script over keys of two servers is refused: {e}")
    check(client.get("item:7") == "8", "and the connection stays open")
    client.close()


def different_servers(owners):
    first = next(iter(owners))
    return first, next(k for k in owners if owners[k] != owners[first])


class OneConnection:
    """A memcached client that never reconnects, so that it would notice a close."""

    def __init__(self, proxy):
        self.sock = socket.create_connection((proxy.mc_host, proxy.mc_port), 5)
        self.lines = self.sock.makefile("rb")

    def get(self, key):
        """(value or None, error or None)"""
        self.sock.sendall(b"get " + key.encode() + b"\r\n")
        value = None
        while True:
            line = self.lines.readline().decode().rstrip("\r\n")
            if line == "END":
                return value, None
            if line[:6] != "VALUE ":
                return None, line or "connection closed"
            value = self.lines.readline().rstrip(b"\r\n")

    def close(self):
        self.lines.close()
        self.sock.close()


def act_failure(processes, proxy, keys, owners, caches, mc):
    victim = caches[1]
    title(f"kill -9 {victim.name}: who notices?")
    client = OneConnection(proxy)
    client.get(keys[0])
    processes.stop(victim.proc, signal.SIGKILL)
    lost, good, bad, texts, slowest = 0, 0, 0, {}, 0.0
    for k in keys:
        start = time.monotonic()
        value, error = client.get(k)
        if owners[k] == victim.name:
            lost += str(error).startswith("SERVER_ERROR ")
            texts[error] = texts.get(error, 0) + 1
        else:
            good += value is not None
            bad += error is not None
            slowest = max(slowest, time.monotonic() - start)
    theirs = tally(owners, [victim.name])[victim.name]
    for text, n in sorted(texts.items(), key=lambda x: -x[1]):
        say(f"{n:3} x {text}")
    check(lost == theirs, f"all {theirs} keys of {victim.name} get a clear error, at once")
    check(good == KEYS - theirs and bad == 0,
          f"the {good} keys of the others are served; the slowest took {slowest * 1000:.1f} ms")
    check("connection closed" not in texts, "all on one client connection, which stays open")
    if not victim.start():
        raise Wrong(f"{victim.name} does not come back")
    began = time.monotonic()
    key = next(k for k in keys if owners[k] == victim.name)
    wait_for(lambda: client.get(key)[1] is None, 10, f"service of {victim.name} resumes")
    check(True, f"{victim.name} is back (empty), and served again after "
          f"{(time.monotonic() - began) * 1000:.0f} ms, by itself")
    client.close()
    for k in keys:
        mc.set(k, "profile of " + k)


class Reader(threading.Thread):
    """A client that goes on reading while we change things under it."""

    def __init__(self, proxy, keys):
        super().__init__(daemon=True)
        self.proxy, self.keys = proxy, keys
        self.reads, self.errors, self.halt = 0, [], threading.Event()

    def run(self):
        mc = Memcache((self.proxy.mc_host, self.proxy.mc_port), timeout=5)
        rng = random.Random(1)
        while not self.halt.is_set():
            try:
                mc.get_many(rng.sample(self.keys, 5))
                self.reads += 1
            except (MemcacheError, OSError) as e:
                self.errors.append(repr(e))
        mc.close()


def act_topology(processes, proxy, keys):
    title("A fourth memcached joins through the control socket, under traffic")
    before = proxy.trace("cache", keys)
    extra = Server(processes, "memcached", "cache4")
    reader = Reader(proxy, keys)
    reader.start()
    try:
        wait_for(lambda: reader.reads > 20, 10, "a client reads")
        [topology] = proxy.control(("topology.show", {}))
        topology["version"] += 1
        topology["pools"]["cache"]["servers"].append(
            {"host": HOST, "port": extra.port, "weight": 1, "name": extra.name})
        [applied] = proxy.control(("topology.apply", topology))
        at_swap = reader.reads
        wait_for(lambda: reader.reads > at_swap + 20, 10, "a client reads on")
    finally:
        reader.halt.set()
        reader.join(10)
    say(f"> topology.apply version {topology['version']}: now 4 servers")
    say(f"< state {applied['state']}, version {applied['version']}")
    after = proxy.trace("cache", keys)
    moved = [k for k in keys if before[k] != after[k]]
    if moved:
        say(f"route.trace {moved[0]}: before {before[moved[0]]}, after {after[moved[0]]}")
    check(moved and all(after[k] == extra.name for k in moved) and len(moved) < KEYS / 2,
          f"{len(moved)} of {KEYS} keys moved (a quarter is {KEYS // 4}), all of them to "
          f"{extra.name}")
    check(not reader.errors, f"a client made {reader.reads} multi-gets meanwhile: "
          f"{len(reader.errors)} errors")


def act_numbers(proxy):
    title("What the proxy knows")
    wait_for(lambda: "cache4" in proxy.stats().get("cache", {}), 5, "statistics of cache4")
    stats = proxy.stats()
    say(f"stats port {proxy.stats_port}: twemproxy's JSON, and more")
    cache = stats["cache"]
    say(f"  cache: client_requests {cache['client_requests']}, fragments {cache['fragments']}, "
        f"hits {cache['hits']}, misses {cache['misses']}, "
        f"p99 {cache['latency_p99_us']} us")
    for name in ("cache1", "cache2", "cache3", "cache4"):
        s = cache[name]
        say(f"  {name}: requests {s['requests']}, responses {s['responses']}, "
            f"server_eof {s['server_eof']}, connect_err {s['connect_err']}")
    check(cache["fragments"] > 0 and cache["hits"] > KEYS, "splits and hits were counted")
    check(cache["cache2"]["server_eof"] + cache["cache2"]["server_err"] > 0,
          "so was the death of cache2")
    status, text = proxy.http("/metrics")
    for line in text.splitlines():
        if line.startswith(("twinring_server_up{", "twinring_client_connections{")):
            say("  " + line)
    check(status == 200 and 'twinring_server_up{pool="cache",server="cache1"} 1' in text,
          f"/metrics on port {proxy.metrics_port}: {len(text.splitlines())} lines for Prometheus")
    check(proxy.http("/healthz")[0] == 200 and proxy.http("/readyz")[0] == 200,
          "/healthz and /readyz say 200")


def more(proxy):
    title("Try it yourself" + ("" if KEEP else " (make demo KEEP=1 leaves all this running)"))
    say(f"telnet {proxy.mc_host} {proxy.mc_port}             # then: set k 0 0 2, hi, get k, stats")
    say(f"redis-cli -h {proxy.redis_host} -p {proxy.redis_port}")
    say(f"redis-benchmark -h {proxy.redis_host} -p {proxy.redis_port} -q -P 16 -t set,get")
    say(f"curl -s http://{HOST}:{proxy.metrics_port}/metrics")
    say(f"socat - TCP:{HOST}:{proxy.stats_port}")
    trace = '{"id":1,"method":"route.trace","params":{"pool":"cache","key":"user:7"}}'
    say(f"echo '{trace}' | socat -t1 - UNIX:{proxy.control_path}")
    say(f"edit {proxy.config}, then: kill -HUP {proxy.proc.pid}")
    say(f"the log: {proxy.log}")


def act_end(processes, proxy):
    title("SIGTERM")
    status = processes.stop(proxy.proc, patience=15)
    check(status == 0, f"the proxy drained and ended with status {status}")


def play(processes, binary):
    title("Three memcached, three redis, one proxy")
    caches = [Server(processes, "memcached", f"cache{i}") for i in (1, 2, 3)]
    stores = [Server(processes, "redis-server", f"store{i}") for i in (1, 2, 3)]
    proxy = Proxy(processes, binary, caches, stores)
    for server in caches + stores:
        say(f"{server.name}: {os.path.basename(server.program)} on port {server.port}, "
            f"pid {server.proc.pid}")
    say(f"proxy:  memcached on {proxy.mc_host}:{proxy.mc_port}, Redis on "
        f"{proxy.redis_host}:{proxy.redis_port}, pid {proxy.proc.pid}")
    say(f"config: {proxy.config}")
    mc = Memcache((proxy.mc_host, proxy.mc_port), timeout=5, default_noreply=False)
    keys, owners = act_keys(proxy, caches, mc)
    act_multi(proxy, keys, owners, mc)
    act_tools(proxy, mc)
    act_redis(proxy, stores)
    act_failure(processes, proxy, keys, owners, caches, mc)
    act_topology(processes, proxy, keys)
    act_numbers(proxy)
    more(proxy)
    if KEEP:
        wait_for_enter()
    mc.close()
    act_end(processes, proxy)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: demo.py PATH-OF-twinring-proxy")
    perform(lambda processes: play(processes, sys.argv[1]), ["proxy.log"])
