"""Must show 3: the clients that people use work through the proxy against three real servers."""

import os
import re
import subprocess
import threading
from pathlib import Path

import hiredis
import pylibmc
import pymemcache
import pytest
import redis
from pymemcache.client.base import Client as PymemcacheClient

from harness import env
from harness.proxy import pool
from harness.wire import command

HERE = Path(__file__).parent
NODE = env.ROOT / "build" / "node"


@pytest.fixture(scope="module")
def site(module_world):
    """Three servers of each kind, and the proxy in front of them."""
    caches, stores = module_world.memcached(3), module_world.redis(3)
    proxy = module_world.proxy({"mc": pool("memcached", caches), "rd": pool("redis", stores)})
    proxy.servers = {"mc": caches, "rd": stores}
    return proxy


@pytest.fixture
def mc(site):
    """(host, port) in front of three empty memcached."""
    for s in site.servers["mc"]:
        s.flush()
    return site.addr("mc")


@pytest.fixture
def rd(site):
    """(host, port) in front of three empty Redis."""
    for s in site.servers["rd"]:
        s.flush()
    return site.addr("rd")


def run(argv, data=None, environ=None, timeout=60, code=0):
    """Standard output of a program that must end with that exit code."""
    r = subprocess.run([str(a) for a in argv], input=data, capture_output=True,
                       timeout=env.scaled(timeout), env={**os.environ, **(environ or {})})
    assert r.returncode == code, f"exit {r.returncode}: {argv}\n{r.stdout[-3000:]}\n{r.stderr[-3000:]}"
    return r.stdout.decode(errors="replace")


# --- memcached ------------------------------------------------------------------------------------

def test_pymemcache(mc):
    c = PymemcacheClient(mc, timeout=10, no_delay=True, default_noreply=False)
    assert c.set("py:a", b"v", expire=100)
    assert c.get("py:a") == b"v" and c.get("py:none") is None
    assert c.add("py:a", b"w") is False and c.replace("py:a", b"w") is True
    assert c.append("py:a", b">") and c.prepend("py:a", b"<") and c.get("py:a") == b"<w>"
    values = {f"py:m{i}": b"%d" % i for i in range(200)}
    assert c.set_many(values) == []
    assert c.get_many([*values, "py:none"]) == values
    value, token = c.gets("py:a")
    assert c.cas("py:a", b"x", token) is True and c.cas("py:a", b"y", token) is False
    assert c.cas("py:none", b"y", token) is None
    assert c.set("py:n", b"10") and c.incr("py:n", 5) == 15 and c.decr("py:n", 20) == 0
    assert c.incr("py:none", 1) is None
    assert c.touch("py:a", 50) is True and c.touch("py:none", 50) is False
    with pytest.raises(pymemcache.exceptions.MemcacheError):
        c.set("py:too-big", b"x" * 3000000)
    assert c.get("py:a") == b"x"
    assert c.set("py:expired", b"v", expire=-1) and c.get("py:expired") is None
    assert c.delete("py:a") is True and c.delete("py:a") is False
    assert c.delete_many(list(values)) is True
    assert c.version() and c.stats()[b"pid"]
    c.quit()
    noreply = PymemcacheClient(mc, timeout=10)  # its default: set .. noreply
    noreply.set("py:nr", b"1")
    noreply.delete("py:none")
    assert noreply.get("py:nr") == b"1"
    noreply.close()


def test_pylibmc(mc):
    for behaviors in ({}, {"tcp_nodelay": True, "no_block": True}, {"cas": True},
                      {"ketama": True, "buffer_requests": False}):
        c = pylibmc.Client(["%s:%d" % mc], binary=False, behaviors=behaviors)
        assert c.set("pl:a", {"any": ["object"]}, time=100)
        assert c.get("pl:a") == {"any": ["object"]} and c.get("pl:none") is None
        assert c.add("pl:a", 1) is False and c.replace("pl:a", "text")
        values = {f"pl:m{i}": f"v{i}" for i in range(200)}
        assert c.set_multi(values) == []
        assert c.get_multi([*values, "pl:none"]) == values
        assert c.set("pl:n", 1) and c.incr("pl:n", 10) == 11 and c.decr("pl:n", 1) == 10
        assert c.touch("pl:n", 100)
        if behaviors.get("cas"):
            value, token = c.gets("pl:n")
            assert c.cas("pl:n", 5, token)
            assert not c.cas("pl:n", 6, token)
            assert c.get("pl:n") == 5
        with pytest.raises(pylibmc.Error):
            c.set("pl:big", os.urandom(3000000))
        assert c.get("pl:a") == "text"
        assert c.delete_multi(list(values)) and c.delete("pl:a") and not c.delete("pl:a")
        assert c.get_stats()
        c.disconnect_all()


def test_php_memcached(mc):
    assert run(["php", HERE / "php/memcached.php", *mc]) == "ok\n"


def test_libmemcached_tools(mc, tmp_path):
    """memccp and its family, as packaged."""
    servers = "--servers=%s:%d" % mc
    files = {}
    for name, body in (("tool-a", b"hello\n"), ("tool-b", os.urandom(50000)), ("tool-c", b"")):
        (tmp_path / name).write_bytes(body)
        files[name] = body
    run(["memccp", servers, "--set", *[tmp_path / n for n in files]])
    assert run(["memccat", servers, "tool-a"]).strip() == "hello"
    r = subprocess.run(["memccat", servers, "tool-b"], capture_output=True, timeout=30)
    assert r.stdout.rstrip(b"\n") == files["tool-b"].rstrip(b"\n")
    run(["memcexist", servers, "tool-a"])
    run(["memcexist", servers, "tool-none"], code=1)
    run(["memctouch", servers, "--expire=100", "tool-a"])
    run(["memcrm", servers, "tool-a"])
    run(["memccat", servers, "tool-a"], code=1)
    run(["memcping", servers])
    assert "pid" in run(["memcstat", servers])
    for test in ("set", "get", "mget"):
        out = run(["memcslap", servers, f"--test={test}", "--concurrency=4", "--execute-number=200"])
        assert "Time" in out or "seconds" in out or out == "", out


def test_binary_protocol_is_refused_at_once(mc):
    """dalli 3.0, memjs and php sessions by default speak binary: a silent proxy would make them
    wait for their timeout."""
    from harness.wire import Raw
    with Raw(mc) as c:
        c.send(b"\x80\x0b" + bytes(22))
        c.to_eof()  # raises on timeout


# --- Redis ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("parser", ["python", "hiredis"])
def test_redis_py(rd, parser):
    cls = redis.connection.PythonParser if parser == "python" else redis.connection.HiredisParser
    c = redis.Redis(connection_pool=redis.ConnectionPool(
        host=rd[0], port=rd[1], parser_class=cls, client_name="e2e", socket_timeout=10))
    p = f"rp:{parser}:"
    assert c.ping() and c.set(p + "a", 1) and c.get(p + "a") == b"1" and c.get(p + "none") is None
    assert c.incrby(p + "a", 41) == 42 and c.set(p + "e", "v", ex=100) and c.ttl(p + "e") > 90
    values = {f"{p}m{i}": b"v%d" % i for i in range(200)}
    assert c.mset(values) and c.mget([*values, p + "none"]) == [*values.values(), None]
    assert c.exists(p + "m1", p + "m1", p + "none") == 2
    assert c.hset(p + "h", mapping={"a": 1, "b": 2}) == 2 and c.hgetall(p + "h") == {b"a": b"1",
                                                                                  b"b": b"2"}
    assert c.zadd(p + "z", {"a": 1.5, "b": 2}) == 2
    assert c.zrange(p + "z", 0, -1, withscores=True) == [(b"a", 1.5), (b"b", 2.0)]
    assert c.rpush(p + "l", 1, 2, 3) == 3 and c.lrange(p + "l", 0, -1) == [b"1", b"2", b"3"]
    assert c.sadd(p + "s", "x", "y") == 2 and c.smembers(p + "s") == {b"x", b"y"}
    pipe = c.pipeline(transaction=False)
    got = pipe.set(p + "p", "text").incr(p + "p").get(p + "p").execute(raise_on_error=False)
    assert got[0] is True and isinstance(got[1], redis.ResponseError) and got[2] == b"text"
    with pytest.raises(redis.ResponseError, match="unknown command"):
        c.execute_command("NOSUCHCOMMAND", "x")
    assert c.get(p + "p") == b"text"
    assert c.eval("return redis.call('get', KEYS[1])", 1, p + "p") == b"text"
    assert c.client_getname() == "e2e" and c.echo("x") == b"x" and c.dbsize() > 0
    assert c.info()["redis_version"]
    assert c.delete(*values) == 200 and c.unlink(p + "a", p + "none") == 1
    c.close()


def test_hiredis_python(rd):
    """The bare parser on a bare socket, with replies in odd pieces."""
    import socket
    s = socket.create_connection(rd, 10)
    s.sendall(b"".join(command("SET", f"hp{i}", "v" * i) + command("GET", f"hp{i}")
                       for i in range(300)) + command("MGET", *[f"hp{i}" for i in range(300)]))
    reader, got = hiredis.Reader(), []
    while len(got) < 601:
        reader.feed(s.recv(777))
        while (r := reader.gets()) is not False:
            got.append(r)
    assert got[:600:2] == [b"OK"] * 300 and got[1:600:2] == [b"v" * i for i in range(300)]
    assert got[600] == [b"v" * i for i in range(300)]
    s.close()


def test_hiredis_c(rd, tmp_path):
    exe = tmp_path / "hiredis_client"
    run(["gcc", "-O1", "-o", exe, HERE / "c/hiredis_client.c", "-lhiredis"])
    assert run([exe, *rd]) == "ok\n"


def test_phpredis(rd):
    assert run(["php", HERE / "php/redis.php", *rd]) == "ok\n"


@pytest.fixture(scope="module")
def node_clients():
    """Installed on first use. Where no registry can be reached, the tests fail and say so, unless
    TWINRING_SKIP_NODE=1."""
    if os.environ.get("TWINRING_SKIP_NODE") == "1":
        pytest.skip("TWINRING_SKIP_NODE=1")
    r = subprocess.run([str(HERE / "node/install.sh"), str(NODE)], capture_output=True, text=True,
                       timeout=300)
    if r.returncode:
        pytest.fail("npm could not install the Node clients (TWINRING_SKIP_NODE=1 skips these "
                    f"tests):\n{r.stderr[-3000:]}", pytrace=False)
    return {"NODE_CLIENTS": str(NODE)}


@pytest.mark.parametrize("package", ["ioredis5", "ioredis6"])
def test_ioredis(rd, node_clients, package):
    assert run(["node", HERE / "node/ioredis.js", package, *rd], environ=node_clients) == "ok\n"


@pytest.mark.parametrize("package,resp", [("redis4", ""), ("redis6", "3"), ("redis6", "2")])
def test_node_redis(rd, node_clients, package, resp):
    argv = ["node", HERE / "node/node_redis.js", package, *rd]
    assert run(argv + ([resp] if resp else []), environ=node_clients) == "ok\n"


def test_redis_cli(rd):
    cli = ["redis-cli", "-h", rd[0], "-p", rd[1]]
    assert run([*cli, "SET", "cli:a", "hello world"]) == "OK\n"
    assert run([*cli, "GET", "cli:a"]) == "hello world\n"
    assert run([*cli, "-x", "SET", "cli:x"], data=b"from stdin") == "OK\n"
    assert run([*cli, "GET", "cli:x"]) == "from stdin\n"
    out = run(cli, data=b"SET cli:b 5\nINCR cli:b\nGET cli:b\nNOSUCH\nGET cli:b\n")
    lines = [x for x in out.split("\n") if x]
    assert lines[:3] == ["OK", "6", "6"] and "unknown command" in lines[3] and lines[-1] == "6"
    assert run([*cli, "-3", "HSET", "cli:h", "f", "v"]) == "1\n"
    assert run([*cli, "-3", "--no-raw", "HGETALL", "cli:h"]) == '1# "f" => "v"\n'
    assert run([*cli, "-r", "3", "INCR", "cli:r"]) == "1\n2\n3\n"
    mass = b"".join(command("SET", f"cli:p{i}", i) for i in range(2000))
    assert "errors: 0, replies: 2000" in run([*cli, "--pipe"], data=mass)
    assert run([*cli, "GET", "cli:p1999"]) == "1999\n"


BENCH = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,mset"


@pytest.mark.parametrize("extra", [[], ["-P", "16"], ["-r", "1000", "-3"]], ids=lambda e: "".join(e))
def test_redis_benchmark(rd, extra):
    out = run(["redis-benchmark", "-h", rd[0], "-p", rd[1], "-t", BENCH, "-n", "2000", "-c", "20",
               "--csv", *extra], timeout=120)
    done = re.findall(r'^"([^"]+)",', out, re.M)
    assert len(done) >= 18 and "MSET (10 keys)" in done and not re.search("(?i)error", out), out
    rates = [float(x) for x in re.findall(r'^"[A-Z][^"]*","([0-9.]+)"', out, re.M)]
    assert rates and all(r > 0 for r in rates)


def test_all_clients_at_once(mc, rd, node_clients):
    """Together, they share server connections and do not notice each other."""
    jobs = [lambda: run(["php", HERE / "php/redis.php", *rd]),
            lambda: run(["node", HERE / "node/node_redis.js", "redis6", *rd, "3"],
                        environ=node_clients),
            lambda: run(["node", HERE / "node/ioredis.js", "ioredis5", *rd], environ=node_clients),
            lambda: run(["php", HERE / "php/memcached.php", *mc])]
    failures = []

    def job(f):
        try:
            assert f() == "ok\n"
        except AssertionError as e:
            failures.append(str(e))
    threads = [threading.Thread(target=job, args=(f,)) for f in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
