"""The drop-in promise: called as nutcracker, with nutcracker's command line and file, the proxy
behaves as that program does (and better where the original has documented bugs)."""

import os
import re
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from harness import env
from harness.checker import by_server, present
from harness.env import free_port, program, wait_for
from harness.proxy import Proxy
from harness.servers import nutcracker_yaml, read_stats
from harness.wire import Raw

CORPUS = env.ROOT / "tests/data/nutcracker_yml"


@pytest.fixture
def as_nutcracker(world):
    """Path of a link to the proxy that is called nutcracker."""
    link = world.dir / "bin" / "nutcracker"
    link.parent.mkdir()
    link.symlink_to(env.PROXY)
    return link


def run(argv, **kw):
    return subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=30, **kw)


def write(world, pools, name="nutcracker.yml"):
    path = world.dir / name
    path.write_text(nutcracker_yaml(pools))
    return path


def simple(servers, redis=False, **options):
    """One pool, with the address it listens on."""
    port = free_port()
    return ("127.0.0.1", port), {"alpha": {
        "listen": f"127.0.0.1:{port}", "redis": redis, **options,
        "servers": [f"{s.text}:1 s{i}" for i, s in enumerate(servers)]}}


class Daemon:
    """A process that has left us: known by its pid file, stopped by its pid."""

    def __init__(self, pid_file):
        self.pid_file = Path(pid_file)
        self.pid = None

    def wait_pid(self):
        def read():
            text = self.pid_file.read_text().strip() if self.pid_file.exists() else ""
            return int(text) if text else None
        self.pid = wait_for(read, 10, "the pid file")
        return self.pid

    def alive(self):
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    def stop(self):
        if self.pid and self.alive():
            os.kill(self.pid, signal.SIGKILL)


def start_as(world, exe, file, addr, *options, stats=None):
    """The proxy, called as nutcracker, in the foreground."""
    return world.proxy(config_path=file, ready_at=[addr], argv=[
        exe, "-c", file, "-s", stats or free_port(), "-a", "127.0.0.1", "-i", "100", *options])


# --- command line ---------------------------------------------------------------------------------

def test_help_version_describe(as_nutcracker):
    theirs = program("nutcracker")
    for flag in ("-h", "--help", "-V", "--version", "-D", "--describe-stats"):
        a, b = run([theirs, flag]), run([as_nutcracker, flag])
        assert a.returncode == b.returncode == 0, (flag, b)
        assert bool(a.stdout) == bool(b.stdout) and bool(a.stderr) == bool(b.stderr), (flag, b)
    listed = run([as_nutcracker, "-h"]).stderr
    for letter in "hVtdDvocsaipm":
        assert f"-{letter}, --" in listed
    assert "This is nutcracker-0.5.0" in run([as_nutcracker, "-V"]).stderr
    names = re.findall(r"^  (\w+) ", run([theirs, "-D"]).stderr, re.M)
    ours = run([as_nutcracker, "-D"]).stderr
    assert len(names) > 15 and all(n in ours for n in names)


def test_bad_options(as_nutcracker, world):
    """The same exit code as the original, and a reason."""
    file = write(world, simple([])[1] | {"alpha": {"listen": "127.0.0.1:1", "servers":
                                                   ["127.0.0.1:2:1"]}})
    for options in (["-x"], ["--nope"], ["-v", "12"], ["-v", "abc"], ["-v", "-1"], ["-m", "1"],
                    ["-m", "x"], ["-m", "99999999"], ["-s", "0"], ["-s", "99999"], ["-s", "x"],
                    ["-i", "0"], ["-i", "x"], ["-c"], ["-o"], ["-p"],
                    ["-m", "512"], ["-m", "16777216"], ["-v", "0"], ["-v", "11"], ["-s", "65535"]):
        a = run([program("nutcracker"), "-t", "-c", file, *options])
        b = run([as_nutcracker, "-t", "-c", file, *options])
        assert a.returncode == b.returncode, (options, a, b)
        if b.returncode:
            assert b.stderr.strip(), options


def test_test_conf(as_nutcracker, world):
    """-t prints what the original prints; and when it refuses, the reason, which the original
    does not."""
    good = write(world, simple([])[1] | {"alpha": {"listen": "127.0.0.1:1", "servers":
                                                   ["127.0.0.1:2:1"]}})
    a, b = (run([p, "-t", "-c", good]) for p in (program("nutcracker"), as_nutcracker))
    assert (a.returncode, a.stderr) == (b.returncode, b.stderr) == (
        0, f"nutcracker: configuration file '{good}' syntax is ok\n")
    bad = world.dir / "bad.yml"
    bad.write_text(good.read_text() + "  hash: no_such_hash\n")
    b = run([as_nutcracker, "-t", "-c", bad])
    assert b.returncode == 1 and "syntax is invalid" in b.stderr
    assert re.search(r"bad\.yml:\d+:\d+", b.stderr) and "no_such_hash" in b.stderr
    assert run([as_nutcracker, "-t", "-c", world.dir / "missing.yml"]).returncode == 1


@pytest.mark.parametrize("folder,theirs,ours", [("accept", 0, 0), ("refuse", 1, 1),
                                                ("lenient", 1, 0), ("strict", 0, 1)])
def test_corpus_of_files(as_nutcracker, world, folder, theirs, ours):
    """Every file of the corpus: nutcracker's live verdict and ours. `lenient` are files that only
    we accept, `strict` those that only we refuse, each for a reason written in it."""
    files = sorted((CORPUS / folder).glob("*.yml"))
    assert files
    wrong = []
    for f in files:
        a = run([program("nutcracker"), "-t", "-c", f], cwd=world.dir).returncode
        b = run([as_nutcracker, "-t", "-c", f], cwd=world.dir)
        if (a != 0, b.returncode != 0) != (theirs != 0, ours != 0):
            wrong.append(f"{f.name}: nutcracker {a}, ours {b.returncode} {b.stderr.strip()[:200]}")
        if b.returncode not in (0, 1):
            wrong.append(f"{f.name}: exit {b.returncode}")
    assert not wrong, "\n".join(wrong)


# --- life -----------------------------------------------------------------------------------------

def test_daemon_pid_file_log_and_signals(as_nutcracker, world):
    """-d -p -o -v -s -a -i; TTIN, TTOU, HUP, USR1, USR2; TERM drains and exits, the pid file goes."""
    addr, pools = simple(world.memcached(2))
    file = write(world, pools)
    log, pid_file, stats = world.dir / "n.log", world.dir / "n.pid", free_port()
    d = world.add(Daemon(pid_file))
    r = run([as_nutcracker, "-d", "-c", file, "-p", pid_file, "-o", log, "-v", "6", "-s", stats,
             "-a", "127.0.0.1", "-i", "100"])
    assert r.returncode == 0, r.stderr
    pid = d.wait_pid()
    wait_for(lambda: Raw(addr).close() is None, 10, "the daemon to listen")
    assert os.getsid(pid) == pid or os.getsid(pid) != os.getsid(0), "not in a session of its own"
    assert log.exists()
    with Raw(addr) as c:
        assert c.mc_set(b"k", b"v") == b"STORED\r\n"
        for number in (signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1,
                       signal.SIGUSR2, signal.SIGPIPE):
            os.kill(pid, number)
        assert c.mc_get(b"k") == b"v"
        moved = world.dir / "n.log.1"
        log.rename(moved)
        os.kill(pid, signal.SIGHUP)
        wait_for(log.exists, 10, "the log file to be opened again")
        assert c.mc_get(b"k") == b"v"
        assert read_stats(("127.0.0.1", stats))["alpha"]["client_connections"] == 1
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not d.alive(), 15, "TERM to end it")
    assert not pid_file.exists(), "the pid file was left behind"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_exit_0(as_nutcracker, world, number):
    """twemproxy's INT exits 1 at once and TERM kills it; ours drain and exit 0."""
    addr, pools = simple(world.memcached(1))
    p = start_as(world, as_nutcracker, write(world, pools), addr)
    with Raw(addr) as c:
        assert c.mc_set(b"k", b"v") == b"STORED\r\n"
        p.signal(number)
        assert p.wait(15) == 0
        c.to_eof()


def test_verbosity_by_signals(as_nutcracker, world):
    """TTIN up, TTOU down: at the top a request leaves lines in the log, at 0 nothing does."""
    addr, pools = simple(world.memcached(1))
    log = world.dir / "v.log"
    p = start_as(world, as_nutcracker, write(world, pools), addr, "-o", log, "-v", "5")

    def lines_of_a_refused_request():
        before = len(log.read_bytes())
        with Raw(addr) as c:
            c.send(b"no-such-command\r\n").line()
        time.sleep(0.2)  # the log is written by another thread
        return log.read_bytes()[before:]
    for _ in range(6):
        p.signal(signal.SIGTTIN)
        time.sleep(0.02)  # signals of one kind merge
    assert wait_for(lines_of_a_refused_request, 5, "a line in the log")
    for _ in range(14):
        p.signal(signal.SIGTTOU)
        time.sleep(0.02)
    time.sleep(0.1)
    assert not lines_of_a_refused_request()


def test_busy_port_and_bad_file_exit_1(as_nutcracker, world):
    addr, pools = simple(world.memcached(1))
    file = write(world, pools)
    start_as(world, as_nutcracker, file, addr)
    r = run([as_nutcracker, "-c", file, "-s", free_port(), "-a", "127.0.0.1"])
    assert r.returncode == 1 and str(addr[1]) in r.stderr
    r = run([as_nutcracker, "-c", world.dir / "none.yml"])
    assert r.returncode == 1 and "none.yml" in r.stderr


# --- statistics -----------------------------------------------------------------------------------

def shape(value):
    """Names and types, recursively."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    return type(value).__name__


def contains(ours, theirs, path=""):
    """Everything in `theirs` that `ours` lacks or has otherwise."""
    out = []
    for k, v in theirs.items():
        if k not in ours:
            out.append(f"{path}.{k} is missing")
        elif isinstance(v, dict):
            out += contains(ours[k], v, f"{path}.{k}") if isinstance(ours[k], dict) else \
                [f"{path}.{k} is no object"]
        elif ours[k] != v:
            out.append(f"{path}.{k} is {ours[k]}, not {v}")
    return out


@pytest.mark.parametrize("redis", [False, True], ids=["memcached", "redis"])
def test_stats_schema_and_values(as_nutcracker, world, redis):
    """Every name that nutcracker's JSON has, of the same type; and the same traffic gives the same
    requests, responses and bytes per server."""
    servers = world.servers("redis" if redis else "memcached", 3)
    addr, pools = simple(servers, redis)
    theirs = world.nutcracker(write(world, pools, "theirs.yml"), [addr])
    our_addr, pools = simple(servers, redis)
    port = free_port()
    start_as(world, as_nutcracker, write(world, pools), our_addr, stats=port)
    for a in (addr, our_addr):
        with Raw(a) as c:
            for i in range(40):
                if redis:
                    assert c.resp("SET", f"k{i}", "value") == b"+OK\r\n"
                    assert c.resp("GET", f"k{i}") == b"$5\r\nvalue\r\n"
                else:
                    assert c.mc_set(b"k%d" % i, b"value") == b"STORED\r\n"
                    assert c.mc_get(b"k%d" % i) == b"value"
    time.sleep(0.5)
    a, b = theirs.stats(), read_stats(("127.0.0.1", port))
    problems = contains(shape(b), shape(a))
    assert not problems, problems
    assert b["service"] == "nutcracker" and b["source"] == a["source"]
    for s in ("s0", "s1", "s2"):
        for name in ("requests", "responses", "request_bytes", "response_bytes", "server_err",
                     "server_timedout", "server_eof", "in_queue", "out_queue"):
            assert a["alpha"][s][name] == b["alpha"][s][name], (s, name, a["alpha"][s], b["alpha"][s])
    # It speaks to whoever connects, in one line, and closes: collectd, Datadog, nc.
    with Raw(("127.0.0.1", port)) as c:
        c.send(b"GET / HTTP/1.0\r\n\r\n")
        assert c.to_eof().count(b"\n") <= 1


# --- options of the file --------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["0600", "0660", "0777"])
def test_unix_sockets(as_nutcracker, world, mode):
    """Listen on a unix socket with a mode, forward to servers on unix sockets."""
    from harness.servers import Memcached
    path, server_path = world.dir / "p.sock", world.dir / "m.sock"

    class UnixMemcached(Memcached):
        def arguments(self):
            return [program("memcached"), "-s", server_path, "-u", "root", "-t", 1]

        def answers(self):
            with Raw(server_path) as c:
                return c.mc(b"version\r\n").startswith(b"VERSION")
    world.add(UnixMemcached(world.dir, "unix")).launch()
    file = write(world, {"alpha": {"listen": f"{path} {mode}", "servers": [f"{server_path}:1"]}})
    p = start_as(world, as_nutcracker, file, path)
    assert stat.S_IMODE(path.stat().st_mode) == int(mode, 8)
    with Raw(path) as c:
        assert c.mc_set(b"k", b"v") == b"STORED\r\n" and c.mc_get(b"k") == b"v"
    p.signal(signal.SIGTERM)
    assert p.wait(15) == 0
    assert not path.exists(), "the socket was left behind"


def test_redis_auth_and_db(as_nutcracker, world):
    """AUTH goes before SELECT (twemproxy #491: the data lands in database 0)."""
    servers = world.redis(2, password="pw")
    addr, pools = simple(servers, True, redis_auth="pw", redis_db=5)
    file = write(world, pools)
    start_as(world, as_nutcracker, file, addr)
    with Raw(addr) as c:
        assert c.resp("GET", "k").startswith(b"-NOAUTH Authentication required")
        assert c.resp("AUTH", "nope").startswith((b"-ERR invalid password", b"-WRONGPASS "))
        assert c.resp("AUTH", "pw") == b"+OK\r\n"
        for i in range(20):
            assert c.resp("SET", f"k{i}", "v") == b"+OK\r\n"
    for s in servers:
        with s.client() as d:
            assert d.resp("DBSIZE") == b":0\r\n"
            assert d.resp("SELECT", 5) == b"+OK\r\n"
            assert d.resp("DBSIZE") != b":0\r\n"


def test_client_connections_is_enforced(as_nutcracker, world):
    """twemproxy parses it and ignores it (#477)."""
    addr, pools = simple(world.memcached(1), client_connections=5)
    file = write(world, pools)
    port = free_port()
    start_as(world, as_nutcracker, file, addr, stats=port)

    def is_alone():
        pool = read_stats(("127.0.0.1", port))["alpha"]
        return pool["client_accepted"] > 0 and pool["client_connections"] == 0
    wait_for(is_alone, 5, "the first connection, which saw it ready, to be gone")
    conns = [Raw(addr) for _ in range(5)]
    for c in conns:
        assert c.mc(b"get k\r\n") == b"END\r\n"
    with Raw(addr, timeout=5) as extra:
        try:
            extra.send(b"get k\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert b"END" not in extra.to_eof()
    for c in conns:
        assert c.mc(b"get k\r\n") == b"END\r\n"
    conns[0].close()

    def served():
        with Raw(addr) as c:
            return c.mc(b"get k\r\n") == b"END\r\n"
    wait_for(served, 5, "the freed place to be given")


def test_auto_eject_as_twemproxy_spells_it(as_nutcracker, world):
    servers = world.memcached(3)
    addr, pools = simple(servers, auto_eject_hosts=True, server_failure_limit=1,
                         server_retry_timeout=1000, timeout=400)
    file = write(world, pools)
    start_as(world, as_nutcracker, file, addr)
    keys = by_server("memcached", addr, servers, 5)[servers[1]]
    servers[1].kill()
    with Raw(addr) as c:
        wait_for(lambda: all(c.mc_set(k, b"y") == b"STORED\r\n" for k in keys), 10, "the ejection")
        found = set(present("memcached", servers[0], keys)) | set(present("memcached", servers[2],
                                                                          keys))
        assert found == set(keys)
        servers[1].restart()

        def back():
            for k in keys:
                c.mc_set(k, b"z")
            return set(present("memcached", servers[1], keys)) == set(keys)
        wait_for(back, 10, "the server to return", every=0.1)


def test_preconnect_keepalive_reuseport_backlog(as_nutcracker, world):
    """All accepted, and real."""
    servers = world.memcached(2)
    addr, pools = simple(servers, preconnect=True, tcpkeepalive=True, reuseport=True, backlog=64)
    file = write(world, pools)
    proxies = [start_as(world, as_nutcracker, file, addr) for _ in range(2)]
    for s in servers:
        wait_for(lambda s=s: int(s.stats()["curr_connections"]) >= 3, 10, "preconnect")
    with Raw(addr) as c:
        assert c.mc(b"get k\r\n") == b"END\r\n"
        out = subprocess.run(["ss", "-tnoH", "state", "established", f"( sport = :{addr[1]} )"],
                             capture_output=True, text=True).stdout
        assert "timer:(keepalive" in out, out
    assert all(p.alive() for p in proxies)


def test_names_resolve_without_blocking(as_nutcracker, world):
    """`localhost` works as a server, and its text is the ring's name, as in twemproxy."""
    server, = world.memcached(1)
    port = free_port()
    file = write(world, {"alpha": {"listen": f"127.0.0.1:{port}",
                                   "servers": [f"localhost:{server.port}:1"]}})
    p = world.add(Proxy(world.dir, "proxy-localhost", config_path=file)).launch()
    with Raw(("127.0.0.1", port)) as c:
        assert c.mc_set(b"k", b"v") == b"STORED\r\n"
    assert p.where("alpha", [b"k"]) == {b"k": b"localhost:%d" % server.port}
