"""twinringctl: every command, on a directory of files and on a real ZooKeeper."""

import json
import os
import signal
import subprocess

import pytest
from kazoo.exceptions import NoNodeError

from harness import env
from harness.env import scaled, wait_for
from harness.proxy import pool
from harness.zookeeper import Ensemble

CTL = env.ROOT / "build" / env.BUILD / "twinringctl"

OK, FAILED, USAGE, REFUSED, CONFLICT, AWAY = range(6)

SPEC = """\
# alpha: sessions
protocol: memcached   # text
servers:
  - 10.0.0.1:11211:1 s1   # rack a
  - 10.0.0.2:11211:1 s2
  # the new box
  - 10.0.0.3:11211:1 s3
timeout_ms: 200
"""


class Tree:
    """The tool and a tree, which the tests also write to behind its back."""

    def __init__(self, world, source):
        self.world, self.source = world, source
        self.run_dir = world.dir / "run"
        self.run_dir.mkdir(exist_ok=True)

    def command(self, *args):
        return [CTL, "--source", self.source, "--run-dir", self.run_dir, *args]

    def __call__(self, *args, expect=OK, stdin=None):
        done = subprocess.run([str(a) for a in self.command(*args)], input=stdin, text=True,
                              capture_output=True, timeout=scaled(60), cwd=self.world.dir)
        assert done.returncode == expect, (args, done.returncode, done.stdout, done.stderr)
        assert "Sanitizer" not in done.stderr
        return done

    def out(self, *args, **kw):
        return self(*args, **kw).stdout

    def err(self, *args, **kw):
        return self(*args, **kw).stderr

    def json(self, *args, **kw):
        return json.loads(self(*args, "--json", **kw).stdout)

    def file(self, name, text):
        path = self.world.dir / name
        path.write_text(text)
        return path

    def alpha(self):
        self("init")
        self("pool", "add", "alpha", "--from", self.file("alpha.yml", SPEC))

    def apply(self, name, epoch=1, ejected=(), **options):
        """What a coordinator would do: the spec's ring and a state."""
        shown = self.json("pool", "show", name)
        path = self.file(f"{name}.spec", shown["text"])
        ring = self.json("ring", name, path)
        self.write(f"pools/{name}/rings/{ring['ring']}", ring["body"])
        lineage = json.loads(self.read("cluster"))["lineage"]
        [pool_status] = self.json("status", name)["pools"]
        version = pool_status["spec_version"]
        state = {"lineage": lineage, "epoch": epoch, "step": 0, "ring": ring["ring"],
                 "ejected": [{"server": s, "since": 1700000000000, "why": "dead"} for s in ejected],
                 "spec_version": version, "lease_ms": 60000, "goal": None, **options}
        self.write(f"pools/{name}/state", json.dumps(state))
        self.write(f"pools/{name}/status", json.dumps({
            "spec_version": version, "state": "ok", "rejected": None, "blocked_on": [],
            "epoch": epoch, "step": 0, "since": 1700000000000}))


class FileTree(Tree):
    def __init__(self, world):
        self.root = world.dir / "tree"
        super().__init__(world, f"file:{self.root}")

    def write(self, path, text):
        to = self.root / path
        to.parent.mkdir(parents=True, exist_ok=True)
        new = to.with_name(f"#{to.name}")
        new.write_text(text)
        new.rename(to)

    def read(self, path):
        return (self.root / path).read_text()

    def exists(self, path):
        return (self.root / path).exists()


class ZooKeeperTree(Tree):
    count = 0

    def __init__(self, world, ensemble, client):
        ZooKeeperTree.count += 1
        self.client, self.chroot = client, f"/ctl/{os.getpid()}-{ZooKeeperTree.count}"
        super().__init__(world, ensemble.source(self.chroot))

    def write(self, path, text):
        path = f"{self.chroot}/{path}"
        try:
            self.client.set(path, text.encode())
        except NoNodeError:
            self.client.create(path, text.encode(), makepath=True)

    def read(self, path):
        return self.client.get(f"{self.chroot}/{path}")[0].decode()

    def exists(self, path):
        return self.client.exists(f"{self.chroot}/{path}") is not None


@pytest.fixture(scope="module")
def zookeeper(module_world):
    ensemble = module_world.add(Ensemble(module_world.dir, "zk")).launch()
    with ensemble.client() as client:
        yield ensemble, client


@pytest.fixture(params=["file", "zookeeper"])
def tree(request, world):
    if request.param == "file":
        return FileTree(world)
    return ZooKeeperTree(world, *request.getfixturevalue("zookeeper"))


@pytest.fixture
def files(world):
    return FileTree(world)


# --- the command line --------------------------------------------------------------------------

COMMANDS = [line[2:].split("  ")[0].strip() for line in subprocess.run(
    [CTL, "--help"], capture_output=True, text=True).stdout.split("\n\n")[1].splitlines()[1:]
] if CTL.exists() else []


def words_of(command):
    return [w for w in command.split() if w.islower() and "[" not in w and ":" not in w]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(files, command):
    out = files.out(*words_of(command), "--help")
    assert out.startswith(f"usage: twinringctl {' '.join(words_of(command))}")
    assert "--source" in out


@pytest.mark.parametrize("args", [
    [], ["nonsense"], ["pool"], ["pool", "nonsense"], ["pool", "add"], ["--nonsense"],
    ["pool", "list", "extra"], ["pool", "list", "--dry-run"], ["status", "--timeout", "soon"],
    ["status", "--json=yes"], ["server", "reweight", "p", "s", "0"], ["log", "-n", "-3"],
    ["pool", "set", "p", "auth.password=x"], ["pool", "set", "p"], ["export", "--format", "x"]])
def test_wrong_usage_exits_with_2(files, args):
    files.alpha()
    args = ["alpha" if a == "p" else "s1" if a == "s" else a for a in args]
    assert "twinringctl: " in files.err(*args, expect=USAGE)


def test_the_source_comes_from_the_environment_too(world):
    plain = [str(CTL), "pool", "list"]
    environment = {k: v for k, v in os.environ.items() if k != "TWINRING_SOURCE"}
    done = subprocess.run(plain, env=environment, capture_output=True, text=True)
    assert done.returncode == USAGE and "--source" in done.stderr
    environment["TWINRING_SOURCE"] = f"file:{world.dir}/tree"
    done = subprocess.run(plain, env=environment, capture_output=True, text=True)
    assert done.returncode == OK and done.stdout == "no pools\n"


def test_a_source_that_is_away_exits_with_5(world):
    for source, code in (("zk:127.0.0.1:1", AWAY), ("http:x", USAGE), ("zk:nonsense", USAGE)):
        done = subprocess.run([CTL, "--source", source, "--timeout", "1", "pool", "list"],
                              capture_output=True, text=True, timeout=scaled(30))
        assert done.returncode == code, done


def test_a_digest_file_that_others_may_read_is_refused(files):
    path = files.file("digest", "ops:secret\n")
    for mode, code in ((0o644, USAGE), (0o640, USAGE), (0o600, OK), (0o400, OK)):
        path.chmod(mode)
        files("--digest-file", path, "pool", "list", expect=code)
    path.chmod(0o600)
    path.write_text("nonsense")
    files("--digest-file", path, "pool", "list", expect=USAGE)
    files("--digest-file", path.parent / "none", "pool", "list", expect=USAGE)


# --- init --------------------------------------------------------------------------------------

def test_init_makes_the_tree_once(tree):
    assert tree.json("init", "--dry-run")["new"] is True
    assert not tree.exists("cluster")
    first = tree.json("init")
    assert first["new"] is True and first["nodes_made"] > 0
    body = json.loads(tree.read("cluster"))
    assert body == {"format": 1, "lineage": first["lineage"]}
    again = tree.json("init")
    assert again == {"lineage": first["lineage"], "new": False, "nodes_made": 0}
    tree.write("cluster", '{"format": 2, "lineage": "x"}')
    tree("init", expect=REFUSED)


def test_with_a_digest_nobody_else_may_read_or_write(world, zookeeper):
    ensemble, client = zookeeper
    tree = ZooKeeperTree(world, ensemble, client)
    digest = tree.file("digest", "ops:secret\n")
    digest.chmod(0o600)
    tree("--digest-file", digest, "init")
    tree("--digest-file", digest, "pool", "add", "alpha", "--from", tree.file("a.yml", SPEC))
    assert "s1" in tree.out("--digest-file", digest, "pool", "show", "alpha")
    tree("pool", "show", "alpha", expect=FAILED)
    tree("pool", "remove", "alpha", "--yes", expect=FAILED)
    with ensemble.client() as own:
        own.add_auth("digest", "ops:secret")
        for path in ("cluster", "pools", "live", "pools/alpha", "pools/alpha/spec"):
            acls = own.get_acls(f"{tree.chroot}/{path}")[0]
            assert [a.id.scheme for a in acls] == ["digest"]


# --- pools -------------------------------------------------------------------------------------

def test_a_pool_is_added_shown_listed_and_removed(tree):
    tree.alpha()
    assert tree.out("pool", "show", "alpha") == SPEC == tree.read("pools/alpha/spec")
    shown = tree.json("pool", "show", "alpha")
    assert shown["version"] == 0 and shown["spec"]["timeout_ms"] == 200 and shown["issues"] == []
    effective = json.loads(tree.out("pool", "show", "alpha", "--effective"))
    assert effective["health"]["fall"] == 3 and len(effective["servers"]) == 3
    tree("pool", "add", "alpha", "--from", tree.file("a.yml", SPEC), expect=REFUSED)
    tree("pool", "add", "beta", "--from", "-", "protocol=redis", stdin=SPEC)
    assert [(p["pool"], p["protocol"], p["servers"]) for p in tree.json("pool", "list")] == [
        ("alpha", "memcached", 3), ("beta", "redis", 3)]
    assert tree.out("pool", "list").splitlines()[1].split() == [
        "alpha", "memcached", "cache", "3", "0", "new"]

    tree.apply("alpha")
    tree("pool", "remove", "alpha", expect=REFUSED)
    tree("pool", "remove", "alpha", "--yes", "--dry-run")
    assert tree.exists("pools/alpha/spec") and not tree.exists("removed/alpha")
    tree("pool", "remove", "alpha", "--yes")
    assert not tree.exists("pools/alpha") and tree.exists("removed/alpha")
    tree("pool", "remove", "alpha", "--yes", expect=REFUSED)
    tree("pool", "show", "alpha", expect=REFUSED)
    tree.alpha()
    assert tree.exists("pools/alpha/spec") and not tree.exists("removed/alpha")


@pytest.mark.parametrize("name", ["", "a/b", ".a", "#a", "a~", "a\nb", "x" * 256])
def test_names_that_no_pool_can_have(files, name):
    files("pool", "add", name, "--from", files.file("a.yml", SPEC), expect=REFUSED)


def test_nothing_invalid_is_written(tree):
    tree.alpha()
    cases = [
        (["pool", "set", "alpha", "timeout_ms=soon"], "pools/alpha/spec:8:"),
        (["pool", "set", "alpha", "tiemout_ms=1"], "did you mean 'timeout_ms'"),
        (["pool", "set", "alpha", "failover=pool:none"], "'none'"),
        (["pool", "set", "alpha", 'servers=["h:1:1 s1"]'], "confirm_shrink_to: 1"),
        (["pool", "set", "alpha", "transition=three_ring"], "three_ring"),
        (["server", "add", "alpha", "nonsense", "s4"], "nonsense"),
        (["server", "add", "alpha", "10.0.0.1:11211", "s9"], ""),
        (["server", "remove", "alpha", "s9"], "no server 's9'"),
        (["server", "eject", "alpha", "s9"], "no server 's9'"),
    ]
    for args, why in cases[:6]:
        assert why in tree.err(*args, expect=REFUSED)
    for args, why in cases[7:]:
        assert why in tree.err(*args, expect=REFUSED)
    bad = tree.file("bad.yml", "servers:\n  - h:1\n  - [\nx: 1\n")
    assert "bad.yml:" in tree.err("pool", "set", "alpha", "--from", bad, expect=REFUSED)
    assert "bad.yml:" in tree.err("pool", "add", "beta", "--from", bad, expect=REFUSED)
    assert tree.read("pools/alpha/spec") == SPEC
    assert not tree.exists("pools/beta")


def test_edits_keep_comments(tree):
    tree.alpha()
    tree("pool", "set", "alpha", "timeout_ms=300", "health.fall=5", "hash_tag={}")
    tree("server", "add", "alpha", "10.0.0.4:11211:2", "s4")
    tree("server", "reweight", "alpha", "s1", "3")
    tree("server", "move", "alpha", "s2", "[::1]:11212")
    tree("server", "eject", "alpha", "s3")
    tree("server", "pin", "alpha", "s1")
    assert tree.out("pool", "show", "alpha") == """\
# alpha: sessions
protocol: memcached   # text
servers:
  - 10.0.0.1:11211:3 s1   # rack a
  - "[::1]:11212:1 s2"
  # the new box
  - 10.0.0.3:11211:1 s3
  - 10.0.0.4:11211:2 s4
timeout_ms: 300
health:
  fall: 5
hash_tag: "{}"
pins:
  s3: out
  s1: in
"""
    tree("server", "restore", "alpha", "s3")
    tree("server", "remove", "alpha", "s1")
    tree("pool", "set", "alpha", "health.fall=", "hash_tag=", "timeout_ms=")
    text = tree.out("pool", "show", "alpha")
    assert "pins" not in text and "timeout_ms" not in text and "# the new box" in text
    spec = tree.json("pool", "show", "alpha")["spec"]
    assert [s["name"] for s in spec["servers"]] == ["s2", "s3", "s4"]
    assert spec["health"]["fall"] == 3 and spec["pins"] == {}


def test_a_text_that_must_be_written_anew_is_announced(files):
    files("pool", "add", "alpha", "--from", "-",
          stdin="# note\nservers: [a:1, b:1]\nhealth:\ntimeout_ms: 5\n", expect=REFUSED)
    files("pool", "add", "alpha", "--from", "-", stdin="# note\nservers: [a:1, {host: b, port: 1}]\n")
    assert "nothing to change" in files.out("pool", "set", "alpha", "servers=" + json.dumps(
        ["a:1", {"host": "b", "port": 1}]))
    err = files.err("pool", "add", "beta", "--from", "-", "health.fall=2",
                    stdin="# note\nhealth:\nservers: [a:1]\n")
    assert "written anew" in err
    assert files.json("pool", "show", "beta")["spec"]["health"]["fall"] == 2


def test_a_server_keeps_its_keys_when_its_derived_name_would_change(files):
    files("init")
    files("pool", "add", "p", "--from", "-", stdin="servers: ['10.0.0.1:11211', '10.0.0.2:7']\n")
    files("server", "move", "p", "10.0.0.1", "10.9.9.9:1")
    files("server", "move", "p", "10.0.0.2:7", "/tmp/x.sock")
    servers = files.json("pool", "show", "p")["spec"]["servers"]
    assert [(s["name"], s["host"]) for s in servers] == [
        ("10.0.0.1", "10.9.9.9"), ("10.0.0.2:7", "/tmp/x.sock")]


def test_dry_runs_write_nothing(tree):
    tree.alpha()
    for args in (["pool", "set", "alpha", "timeout_ms=1"], ["server", "eject", "alpha", "s1"],
                 ["server", "add", "alpha", "h:1", "s9"], ["server", "remove", "alpha", "s1"]):
        out = tree.json(*args, "--dry-run")
        assert out["path"] == "pools/alpha/spec" and out["written"] is False
        assert out["text"] != SPEC
    assert tree.read("pools/alpha/spec") == SPEC
    assert "would write pools/beta/spec" in tree.err(
        "pool", "add", "beta", "--dry-run", "--from", tree.file("b.yml", SPEC))
    assert not tree.exists("pools/beta")


def test_edits_of_two_operators_both_count(tree):
    """Compare-and-set with a new reading: 12 edits at once, each in the end, or told of a conflict."""
    tree.alpha()
    running = [subprocess.Popen([str(a) for a in tree.command(
        "server", "add", "alpha", f"10.0.1.{i}:11211", f"x{i}")], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True) for i in range(12)]
    added = set()
    for i, p in enumerate(running):
        text = p.communicate(timeout=scaled(60))[0]
        assert p.returncode in (OK, CONFLICT), text
        if p.returncode == OK:
            added.add(f"x{i}")
    names = {s["name"] for s in tree.json("pool", "show", "alpha")["spec"]["servers"]}
    assert names == {"s1", "s2", "s3"} | added and added


def test_a_whole_new_spec_may_name_the_version_it_replaces(tree):
    tree.alpha()
    new = tree.file("new.yml", SPEC.replace("200", "250"))
    tree("pool", "set", "alpha", "timeout_ms=222")
    tree("pool", "set", "alpha", "--from", new, "--if-version", "0", expect=CONFLICT)
    assert "222" in tree.read("pools/alpha/spec")
    tree("pool", "set", "alpha", "--from", new, "--if-version", "1")
    assert "250" in tree.read("pools/alpha/spec")


def test_failover_among_pools(tree):
    tree.alpha()
    tree("pool", "add", "gutter", 'servers=["g:1:1 g1"]')
    tree("pool", "set", "alpha", "failover=pool:gutter")
    assert "fails over" in tree.err("pool", "remove", "gutter", "--yes", expect=REFUSED)
    tree("pool", "set", "gutter", "failover=pool:alpha", expect=REFUSED)
    tree("pool", "set", "gutter", "protocol=redis", expect=REFUSED)
    tree("pool", "set", "alpha", "failover=")
    tree("pool", "remove", "gutter", "--yes")


def test_a_shrink_that_is_meant(tree):
    tree.alpha()
    tree.apply("alpha")
    tree("server", "remove", "alpha", "s1")
    # against what is in force, not against what was written last
    assert "confirm_shrink_to: 1" in tree.err("server", "remove", "alpha", "s2", expect=REFUSED)
    tree("pool", "set", "alpha", "confirm_shrink_to=1", 'servers=["10.0.0.3:11211:1 s3"]')


def test_an_invalid_spec_can_be_replaced(tree):
    tree("init")
    tree.write("pools/alpha/spec", "servers: [\n")
    assert tree.json("pool", "list")[0]["state"] == "invalid"
    tree("server", "eject", "alpha", "s1", expect=REFUSED)
    tree("pool", "show", "alpha", "--effective", expect=REFUSED)
    assert "pools/alpha/spec:" in tree.err("validate", "alpha", expect=REFUSED)
    tree("pool", "set", "alpha", "--from", tree.file("a.yml", SPEC))
    tree("validate", "alpha")


# --- reading -----------------------------------------------------------------------------------

def test_validate_reports_every_problem_with_its_place(files):
    bad = files.file("bad.yml", "servers: [h:0, h:1]\ntimeout_ms: x\nhealth: {fall: 0}\nfoo: 1\n")
    got = files.json("validate", bad, expect=REFUSED)
    places = [i["where"].rsplit("/", 1)[1] for i in got["issues"]]
    assert got["valid"] is False and places == [
        "bad.yml:1:11", "bad.yml:2:13", "bad.yml:3:16", "bad.yml:4:1"]
    good = files.file("good.yml", SPEC)
    assert files.json("validate", good) == {"valid": True, "issues": []}
    files.alpha()
    files.file("shrunk.yml", "servers: ['10.0.0.1:11211:1 s1']\n")
    files("validate", "shrunk.yml", expect=OK)
    files("validate", "shrunk.yml", "--pool", "alpha", expect=REFUSED)
    files("validate", "-", stdin=SPEC)
    files("validate", "none.yml", expect=REFUSED)
    files("validate", "./none.yml", expect=FAILED)
    config = files.file("nutcracker.yml", "a:\n  listen: 127.0.0.1:1\n  servers:\n   - h:1:1 x\n")
    files("validate", config)
    config.write_text("a:\n  listen: 127.0.0.1:1\n  severs:\n   - h:1:1 x\n")
    assert "nutcracker.yml:3:3" in files.err("validate", config, expect=REFUSED)


def test_diff_says_what_would_change(tree):
    tree.alpha()
    first = tree.json("diff", "alpha")
    assert [s["server"] for s in first["added"]] == ["s1", "s2", "s3"] and first["keys"] is None
    tree.apply("alpha")
    assert tree.json("diff", "alpha")["differs"] is False
    assert "no difference" in tree.out("diff", "alpha")
    tree("server", "add", "alpha", "10.0.0.4:11211", "s4")
    tree("server", "move", "alpha", "s1", "10.9.9.9:1")
    tree("pool", "set", "alpha", "timeout_ms=7")
    got = tree.json("diff", "alpha")
    assert [s["server"] for s in got["added"]] == ["s4"] and got["removed"] == []
    assert got["moved"] == [{"server": "s1", "from": "10.0.0.1:11211", "to": "10.9.9.9:1"}]
    assert got["options"] == {"timeout_ms": {"from": 200, "to": 7}}
    # the fourth of four servers takes about a quarter
    assert 15 < got["keys"]["percent"] < 35 and got["keys"]["sampled"] == 100000
    text = tree.out("diff", "alpha")
    assert "+ s4 10.0.0.4:11211 weight 1" in text and "% of the keys move" in text
    other = tree.file("other.yml", SPEC.replace(":1 s1", ":5 s1"))
    got = tree.json("diff", "alpha", other)
    assert got["reweighted"] == [{"server": "s1", "from": 1, "to": 5}] and got["added"] == []


def test_diff_and_show_hide_no_more_and_no_less_than_passwords(files):
    files("init")
    spec = "protocol: redis\nauth: {password: hunter2}\nservers: [h:1]\n"
    files("pool", "add", "r", "--from", "-", stdin=spec)
    files.apply("r")
    other = files.file("o.yml", spec.replace("hunter2", "hunter3"))
    out = files.out("diff", "r", other)
    assert "hunter" not in out and "another" in out


def test_trace_follows_rings_verdicts_and_failover(tree):
    tree.alpha()
    assert tree.json("trace", "alpha", "k")["current"] is None
    tree.apply("alpha")
    home = {f"k{i}": tree.json("trace", "alpha", f"k{i}")["current"]["server"] for i in range(6)}
    key = "k0"
    got = tree.json("trace", "alpha", key)
    assert got["spec"] is None and got["current"]["rule"] == "ring"
    tree.apply("alpha", epoch=2, ejected=[home[key]])
    got = tree.json("trace", "alpha", key)["current"]
    assert got["home"] == home[key] and got["server"] != home[key] and "failover: ring" in got["rule"]
    assert f"home: {home[key]}" in tree.out("trace", "alpha", key)

    tree("pool", "add", "gutter", 'servers=["g:1:1 g1"]')
    tree.apply("gutter")
    for failover, server in (("error", None), ("pool:gutter", "g1")):
        tree("pool", "set", "alpha", f"failover={failover}")
        tree.apply("alpha", epoch=3, ejected=[home[key]])
        got = tree.json("trace", "alpha", key)["current"]
        assert got["server"] == server and got["rule"] == f"ejected, failover: {failover}"
    tree("server", "remove", "alpha", home[key])
    got = tree.json("trace", "alpha", key)
    assert got["spec"]["server"] not in (None, home[key])
    tree("trace", "none", key, expect=REFUSED)


def test_trace_asks_the_proxies_of_this_host(world, files):
    mc = world.memcached(2)
    files("init")
    files("pool", "add", "p", "--from", "-", stdin=json.dumps(pool("memcached", mc)))
    files.apply("p")
    proxy = world.proxy({"p": pool("memcached", mc)})
    os.symlink(proxy.control_path, files.run_dir / "one.sock")
    (files.run_dir / "dead.sock").touch()
    got = files.json("trace", "p", "some-key")
    one = [p for p in got["proxies"] if p["proxy"] == "one"][0]
    dead = [p for p in got["proxies"] if p["proxy"] == "dead"][0]
    assert one["server"] == got["current"]["server"] and one["error"] is None
    assert dead["error"]
    assert "proxy one" in files.out("trace", "p", "some-key")


def test_status_shows_it_all(tree):
    tree.alpha()
    assert tree.json("status")["pools"][0]["state"] == "new"
    tree.apply("alpha", ejected=["s2"])
    tree.write("pools/alpha/votes/s2/n1", '{"why": "timeout", "since": 1}')
    tree.write("pools/alpha/suspects/s2/a1", '{"since": 1}')
    tree.write("lock/coordinator/n-0000000001", '{"id": "a1"}')
    tree.write("lock/nanny/n1", '{"abstains": null}')
    tree.write("lock/nanny/n2", '{"abstains": "sees nobody"}')
    tree.write("live/a1", '{"pid": 1}')
    version = tree.json("status")["version"]
    assert version > 0
    proxies = [{"name": "p1", "pid": 5, "version": version, "state": "drained", "error": None},
               {"name": "p2", "pid": 6, "version": version - 1, "state": "refused",
                "error": "bad\u001b[31m news"}]
    tree.write("agents/a1", json.dumps({"host": "h1", "rack": "r", "version": "1",
                                        "boot": "b", "proxies": proxies}))
    tree.write("agents/a2", json.dumps({"host": "h2", "proxies": []}))
    got = tree.json("status")
    alpha = got["pools"][0]
    assert alpha["state"] == "ok" and alpha["epoch"] == 1 and alpha["servers"] == 3
    assert [e["server"] for e in alpha["ejected"]] == ["s2"]
    assert [(v["server"], v["agent"], v["why"]) for v in alpha["votes"]] == [("s2", "n1", "timeout")]
    assert [(v["server"], v["agent"]) for v in alpha["suspects"]] == [("s2", "a1")]
    assert got["coordinator"] == "a1"
    assert got["nannies"] == [{"agent": "n1", "abstains": None},
                              {"agent": "n2", "abstains": "sees nobody"}]
    agents = {a["agent"]: a for a in got["agents"]}
    assert agents["a1"]["live"] and not agents["a2"]["live"]
    assert [p["lag"] for p in agents["a1"]["proxies"]] == [0, 1]
    text = tree.out("status")
    assert "s2 ejected since" in text and "votes against s2: timeout" in text
    assert "\x1b" not in text and "bad?[31m news" in text and "n2, abstains: sees nobody" in text
    tree("status", "--check", expect=FAILED)
    assert tree.json("proxy", "list") == got["agents"]
    assert tree.json("status", "alpha")["pools"] == [alpha]
    tree("status", "none", expect=REFUSED)


def test_status_says_why_a_spec_is_rejected_or_a_state_broken(tree):
    tree.alpha()
    tree.apply("alpha")
    tree("status", "--check")
    tree("pool", "set", "alpha", "timeout_ms=1")
    assert tree.json("status")["pools"][0]["state"] == "pending"
    tree.write("pools/alpha/spec", "nonsense: 1\n")
    got = tree.json("status")["pools"][0]
    assert got["state"] == "rejected" and got["rejected"]["where"] == "pools/alpha/spec:1:1"
    version = got["spec_version"]
    tree.write("pools/alpha/status", json.dumps({
        "spec_version": version, "state": "rejected", "blocked_on": ["a9"],
        "rejected": {"where": "7:7", "why": "told so"}}))
    got = tree.json("status")["pools"][0]
    assert got["rejected"] == {"where": "7:7", "why": "told so"} and got["blocked_on"] == ["a9"]
    assert "waits for agent a9" in tree.out("status")
    tree.write("pools/alpha/spec", SPEC)
    tree.write("pools/alpha/state", "{")
    got = tree.json("status")["pools"][0]
    assert got["state"] == "broken" and got["problem"]["where"] == "state"
    tree.write("pools/alpha/state", "")
    assert tree.json("status")["pools"][0]["state"] == "broken"


def test_forget_a_dead_host_only(tree):
    tree("init")
    tree.write("agents/a1", '{"host": "h"}')
    tree.write("live/a1", "{}")
    tree("proxy", "forget", "a1", expect=REFUSED)
    if isinstance(tree, FileTree):
        (tree.root / "live/a1").unlink()
    else:
        tree.client.delete(f"{tree.chroot}/live/a1")
    tree("proxy", "forget", "a1", "--dry-run")
    assert tree.exists("agents/a1")
    tree("proxy", "forget", "a1")
    assert not tree.exists("agents/a1")
    tree("proxy", "forget", "a1", expect=REFUSED)
    assert tree.out("proxy", "list") == "no agents\n"


def test_log_prints_the_latest(tree):
    tree("init")
    for i in range(30):
        tree.write(f"log/n-{i:010}", json.dumps({"time": 1700000000000 + i, "agent": "a",
                                                 "pool": "p", "what": f"what{i}", "why": "so"}))
    lines = tree.out("log").splitlines()
    assert len(lines) == 20 and lines[-1].endswith("  a  p: what29: so")
    assert [json.loads(x)["what"] for x in tree.out("log", "-n", "2", "--json").splitlines()] == [
        "what28", "what29"]


# --- following ---------------------------------------------------------------------------------

class Following:
    """A command that goes on until it is told to stop."""

    def __init__(self, tree, *args):
        self.path = tree.world.dir / "following.out"
        self.popen = subprocess.Popen([str(a) for a in tree.command(*args)],
                                      stdout=open(self.path, "w"), stderr=subprocess.STDOUT)

    def text(self):
        return self.path.read_text()

    def until(self, word, times=1, seconds=10):
        wait_for(lambda: self.text().count(word) >= times, seconds, f"{word!r} in {self.text()!r}")

    def stop(self):
        self.popen.send_signal(signal.SIGINT)
        return self.popen.wait(scaled(10))


def test_log_follows(tree):
    tree("init")
    f = Following(tree, "log", "-f", "-n", "1")
    try:
        for i in range(3):
            tree.write(f"log/n-{i:010}", json.dumps({"time": 1, "agent": "a", "what": f"w{i}."}))
            f.until(f"w{i}.")
    finally:
        assert f.stop() == OK
    assert [f.text().count(f"w{i}.") for i in range(3)] == [1, 1, 1]


def test_following_outlives_a_zookeeper_that_is_away(world):
    ensemble = world.add(Ensemble(world.dir, "zk")).launch()
    with ensemble.client() as client:
        tree = ZooKeeperTree(world, ensemble, client)
        tree.alpha()
        f = Following(tree, "watch")
        try:
            f.until("alpha  spec: version 0")
            ensemble.kill()
            f.until("no connection")
            ensemble.restart()
            wait_for(lambda: client.connected, 20, "kazoo's session")
            tree("pool", "set", "alpha", "timeout_ms=9")
            f.until("alpha  spec: version 1", seconds=30)
        finally:
            assert f.stop() == OK


def test_an_interrupted_removal_is_finished(tree):
    tree.alpha()
    tree.write("pools/alpha/rings/x", "left")
    if isinstance(tree, FileTree):
        (tree.root / "pools/alpha/spec").unlink()
    else:
        tree.client.delete(f"{tree.chroot}/pools/alpha/spec")
    tree("pool", "remove", "alpha", "--yes")
    assert not tree.exists("pools/alpha") and tree.exists("removed/alpha")


def test_watch_prints_changes_as_they_happen(tree):
    tree.alpha()
    f = Following(tree, "watch", "--json")
    try:
        f.until('"spec"')
        tree.apply("alpha")
        f.until('"what":"state"')
        tree.apply("alpha", epoch=2)
        f.until('"epoch":2')
        tree("server", "eject", "alpha", "s1")
        f.until('"spec"', 2)
        tree("pool", "remove", "alpha", "--yes")
        f.until('"what":"pool"')
    finally:
        assert f.stop() == OK
    for line in f.text().splitlines():
        assert {"time", "pool", "what", "old", "new"} <= set(json.loads(line))


# --- import and export -------------------------------------------------------------------------

NUTCRACKER = """\
alpha:
  listen: 127.0.0.1:22121
  hash: fnv1a_64
  distribution: ketama
  auto_eject_hosts: true
  redis: true
  redis_auth: secret
  server_retry_timeout: 2000
  servers:
   - 10.0.0.1:6379:1 a
   - 10.0.0.2:6379:2
beta:
  listen: 127.0.0.1:22122
  hash: fnv1a_64
  hash_tag: "{}"
  distribution: modula
  timeout: 400
  servers:
   - 10.0.1.1:11211:1
   - /tmp/sock:1 local
"""


def test_import_keeps_names_and_meaning(tree):
    tree("init")
    path = tree.file("nutcracker.yml", NUTCRACKER)
    assert [p["pool"] for p in tree.json("import", path, "--dry-run")] == ["alpha", "beta"]
    assert not tree.exists("pools/alpha")
    done = tree("import", path, "--prefix", "x-")
    assert "listening at 127.0.0.1:22121" in done.stderr
    alpha = tree.json("pool", "show", "x-alpha")["spec"]
    assert alpha["protocol"] == "redis" and alpha["timeout_ms"] == 0
    assert alpha["auth"]["password"] == "secret" and alpha["auto_eject_hosts"] is True
    tree("import", path, "--prefix", "x-")  # once more: there already
    changed = tree.file("n2.yml", NUTCRACKER.replace("400", "500") + NUTCRACKER.split("beta")[0]
                        .replace("alpha", "aaa").replace("22121", "22129"))
    tree("import", changed, "--prefix", "x-", expect=REFUSED)
    assert not tree.exists("pools/x-aaa")
    tree.apply("x-alpha")
    tree.apply("x-beta")
    exported = tree.out("export", "--format", "nutcracker")
    again = tree.file("again.yml", exported)
    tree("import", again, "--prefix", "y-")
    for name in ("alpha", "beta"):
        one = tree.json("pool", "show", f"x-{name}")["spec"]
        two = tree.json("pool", "show", f"y-x-{name}")["spec"]
        assert one == two


def test_an_import_of_nonsense_changes_nothing(files):
    files("init")
    path = files.file("n.yml", NUTCRACKER.replace("modula", "modulo"))
    assert "n.yml:16:17" in files.err("import", path, expect=REFUSED)
    files("import", "none.yml", expect=FAILED)
    assert files.json("pool", "list") == []


def test_export_native_and_ketama(tree):
    tree.alpha()
    tree("export", expect=REFUSED)
    tree("pool", "add", "k", "--from", "-",
         stdin="distribution: ketama_rj\nservers: ['10.0.0.1:11211:600', '10.0.0.2:11211:300']\n")
    tree.apply("alpha", ejected=["s2"])
    tree.apply("k")
    native = tree.file("native.yml", tree.out("export"))
    tree("validate", native)
    exported = tree.json("export", "alpha")["pools"]["alpha"]
    assert [s for s in exported["servers"] if isinstance(s, dict)][0]["ejected"] is True
    done = tree("export", "k", "--format", "ketama")
    assert done.stdout == "10.0.0.1:11211\t600\n10.0.0.2:11211\t300\n" and done.stderr == ""
    assert "warning" in tree.err("export", "alpha", "--format", "ketama")
    tree("export", "--format", "ketama", expect=USAGE)
    nutcracker = tree.out("export", "alpha", "--format", "nutcracker")
    assert "s2" not in nutcracker and "s3" in nutcracker


# --- completion --------------------------------------------------------------------------------

def complete(line, source):
    script = f"""
        source {env.ROOT}/deploy/twinringctl.completion.bash
        PATH={CTL.parent}:$PATH
        COMP_WORDS=({line}"${{2-}}"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _twinringctl; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    words = line.rpartition(" ")
    script = script.replace('({line}', f"({line}")
    done = subprocess.run(["bash", "-c", script, "x", "x", words[2]], capture_output=True,
                          text=True, env={**os.environ, "TWINRING_SOURCE": source})
    assert done.stderr == ""
    return set(done.stdout.split())


def test_the_completion_is_the_one_that_the_program_prints(files):
    committed = (env.ROOT / "deploy/twinringctl.completion.bash").read_text()
    assert files.out("completion", "bash") == committed


def test_completion_knows_commands_pools_and_options(files):
    files.alpha()
    assert {"pool", "server", "status", "--json"} <= complete("twinringctl ", files.source)
    assert {"add", "remove", "list"} <= complete("twinringctl pool ", files.source)
    assert "alpha" in complete("twinringctl trace ", files.source)
    assert "alpha" in complete(f"twinringctl --source {files.source} pool show ", "file:/none")
    assert "--if-version" in complete("twinringctl pool set alpha ", files.source)
    assert "alpha" not in complete("twinringctl trace alpha ", files.source)
