"""twinring-agent under test, proxies that follow it, and the tree that operators edit."""

import json
import os
import re
import urllib.request
import uuid
from pathlib import Path

import yaml
from kazoo.client import KazooClient
from kazoo.exceptions import NodeExistsError, NoNodeError, NotEmptyError, SessionExpiredError

from . import env
from .process import LaunchFailed, Process
from .proxy import Control, Proxy, pool

AGENT = Path(os.environ.get("TWINRING_AGENT", env.ROOT / "build" / env.BUILD / "twinring-agent"))
MISSING = not AGENT.exists()

# Quick enough for a test, and still what `fall` and `rise` mean.
HEALTH = {"interval_ms": 200, "timeout_ms": 200, "fall": 3, "rise": 3}
EJECTION = {"cap_percent": 50, "min_interval_ms": 100, "backoff_ms": 1000, "backoff_max_ms": 30000,
            "quarantine_after": 3}


def spec(protocol, servers, **options):
    """What an operator writes to pools/P/spec; `options` of the pool and of the spec alike. Rings
    change at once: tests of transitions ask for transition="two_ring"."""
    return {**pool(protocol, servers), "transition": "instant", "health": HEALTH,
            "ejection": EJECTION, **options}


class Agent(Process):
    """The agent. Keeps its directories, its id and its configuration over restarts."""

    def __init__(self, workdir, name, source, run=(), **options):
        """run: what goes before the program, as of a Namespace."""
        super().__init__(workdir, name, [*run, AGENT, "-c", Path(workdir) / f"{name}.yml"])
        self.run_dir = self.workdir / f"{name}.run"
        self.state_dir = self.workdir / f"{name}.state"
        self.config_path = self.workdir / f"{name}.yml"
        self.options = {"source": source, "id": name, "host": name, "session_timeout_ms": 2000,
                        "run_dir": str(self.run_dir), "state_dir": str(self.state_dir),
                        "confirm_ms": 500, "log_level": "info", **options}
        self.id = self.options["id"]
        self.ready = None

    def write_config(self):
        self.run_dir.mkdir(mode=0o750, exist_ok=True)
        self.state_dir.mkdir(mode=0o750, exist_ok=True)
        self.config_path.write_text(yaml.safe_dump(self.options, sort_keys=False))

    def begin(self):
        """Start without waiting."""
        self.write_config()
        self.ready = None
        self.on_line = self._stdout_line
        return self.start()

    def wait_ready(self):
        def up():
            if not self.alive():
                raise LaunchFailed(self.describe())
            return self.ready
        env.wait_for(up, 15, f"{self.name} to be ready")
        return self

    def launch(self):
        return self.begin().wait_ready()

    def _stdout_line(self, line):
        if line.startswith("ready "):
            self.ready = json.loads(line[len("ready "):])

    def http(self, path):
        """The body of a page of the metrics port, for an agent with `metrics`."""
        with urllib.request.urlopen(f"http://{self.ready['metrics']}{path}", timeout=5) as r:
            return r.read().decode()


class FollowingProxy(Proxy):
    """A proxy whose pools come from its agent: it knows nothing but its listeners."""

    def __init__(self, workdir, name, run_dir, pool_names, **kw):
        self.run_dir = run_dir
        self.seen = []
        super().__init__(workdir, name, {p: None for p in pool_names}, **kw)

    @property
    def control_path(self):
        return self.run_dir / f"{self.name}.sock"

    def native(self):
        doc = super().native()
        del doc["pools"]
        return doc

    def begin(self):
        """Start without waiting: it becomes ready when its agent has spoken."""
        self.write_config()
        self.ready = None
        self.on_line = self._stdout_line
        return self.start()

    def hello(self):
        """Who it is and what it runs now."""
        with Control(self.control_path) as c:
            return c.call("hello")

    def shown(self):
        """The topology that serves."""
        with Control(self.control_path) as c:
            return c.call("topology.show")

    def ring(self, pool_name="p"):
        """{names of servers that have their arcs} in the topology that serves: an ejected one keeps
        them until nobody asks it any more."""
        servers = self.shown()["pools"][pool_name]["servers"]
        return {server_name(s) for s in servers if not is_ejected(s)}


def server_name(s):
    return s["name"] if isinstance(s, dict) else s.split()[-1]


def is_ejected(s):
    return isinstance(s, dict) and bool(s.get("ejected")) and not s.get("held")


class Plane:
    """One cluster: a chroot of a ZooKeeper ensemble, edited by kazoo, the client that is not ours.
    Its agents and proxies belong to the test's world."""

    def __init__(self, world, ensemble, init=True):
        self.world, self.ensemble = world, ensemble
        self.chroot = f"/t{uuid.uuid4().hex[:12]}"
        self.zk = self.client("")
        self.zk.create(self.chroot)
        self.zk.chroot = self.chroot
        self.lineage = str(uuid.uuid4())
        if init:
            self.put("cluster", {"format": 1, "lineage": self.lineage})
        world.add(self)

    @property
    def source(self):
        return self.ensemble.source(self.chroot)

    def client(self, chroot=None):
        """Another session, connected."""
        zk = KazooClient(self.ensemble.hosts, timeout=30,
                         connection_retry={"max_tries": -1, "delay": 0.05, "max_delay": 0.3},
                         command_retry={"max_tries": 3, "delay": 0.05, "max_delay": 0.3})
        zk.start(timeout=15)
        zk.chroot = self.chroot if chroot is None else chroot
        zk.ensure_path("/")
        return zk

    # --- the tree ----------------------------------------------------------------------------

    def put(self, path, content):
        """Create or set, with no condition, as a person at zkCli would."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        try:
            self.zk.create(path, data, makepath=True)
        except NodeExistsError:
            self.zk.set(path, data)

    def answers(self):
        """Can the tree be read? Our own session may be dead; kazoo makes another."""
        try:
            return self.zk.exists("cluster")
        except SessionExpiredError:
            return None

    def delete_tree(self, path):
        """All below it, too, while the coordinator may still be writing there."""
        def gone():
            try:
                self.zk.delete(path, recursive=True)
            except NotEmptyError:
                return False
            return True
        env.wait_for(gone, 5, f"{path} to be gone")

    def raw(self, path):
        """The bytes, or None where there is no node."""
        try:
            return self.zk.get(path)[0]
        except NoNodeError:
            return None

    def read(self, path):
        data = self.raw(path)
        return json.loads(data) if data else None

    def names(self, path):
        try:
            return sorted(self.zk.get_children(path))
        except NoNodeError:
            return []

    def set_spec(self, content, pool_name="p"):
        self.put(f"pools/{pool_name}/spec", content)

    def state(self, pool_name="p"):
        return self.read(f"pools/{pool_name}/state")

    def status(self, pool_name="p"):
        return self.read(f"pools/{pool_name}/status") or {}

    def ejected(self, pool_name="p"):
        """{names} that the state has out of the ring."""
        return {e["server"] for e in (self.state(pool_name) or {"ejected": []})["ejected"]}

    def log(self):
        """The decision log, oldest first."""
        return [self.read(f"log/{n}") or {} for n in self.names("log")]

    def decided(self, what, server=None):
        """Entries of the log that say so."""
        return [e for e in self.log() if e.get("what") == what
                and (server is None or e.get("server") == server)]

    def wait_status(self, state, pool_name="p", seconds=10):
        """Until the status is of this spec and says `state`."""
        def there():
            zxid = self.zk.exists(f"pools/{pool_name}/spec").mzxid
            s = self.status(pool_name)
            assert s.get("spec_version") == zxid and s.get("state") == state, s
            return s
        return env.wait_for(there, seconds, f"status {state}")

    # --- processes ---------------------------------------------------------------------------

    def agent_unstarted(self, **options):
        return self.world.add(Agent(self.world.dir, self.world.name("agent"), self.source,
                                    **options))

    def agent(self, **options):
        return self.agent_unstarted(**options).launch()

    def agents(self, n, **options):
        """n agents, started at once."""
        made = [self.agent_unstarted(**options).begin() for _ in range(n)]
        return [a.wait_ready() for a in made]

    def proxy_unstarted(self, agent, pool_names=("p",), **kw):
        return self.world.add(FollowingProxy(self.world.dir, self.world.name("proxy"),
                                             agent.run_dir, pool_names, **kw))

    def proxy(self, agent, pool_names=("p",), **kw):
        return self.proxy_unstarted(agent, pool_names, **kw).launch()

    def stop(self):
        self.zk.stop()
        self.zk.close()

    def describe(self):
        """The tree, for the report of a failed test."""
        out = []

        def walk(path):
            data = self.raw(path) or b""
            out.append(f"{path}: {data[:600]!r}")
            for name in self.names(path)[:30]:
                walk(f"{path}/{name}".replace("//", "/"))
        try:
            walk("/")
        except Exception as e:  # ZooKeeper may be what the test has killed
            out.append(repr(e))
        return "\n".join(out)


def mntr(server):
    """The counters of one ZooKeeper server as {name: number}."""
    out = {}
    for line in server.four_letters("mntr").splitlines():
        m = re.match(r"(zk_\w+)\s+(-?\d+)(?:\.\d+)?$", line)
        if m:
            out[m[1]] = int(m[2])
    return out
