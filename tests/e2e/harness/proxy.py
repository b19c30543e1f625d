"""twinring-proxy under test, its configuration and its control socket."""

import json
import re
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path

import yaml

from . import env
from .process import LaunchFailed, Process
from .servers import nutcracker_yaml, read_stats
from .wire import Raw

# native key -> nutcracker's, for runs of the harness against nutcracker itself
_COMPAT = {"distribution": "distribution", "hash": "hash", "hash_tag": "hash_tag",
           "timeout_ms": "timeout", "server_connections": "server_connections",
           "preconnect": "preconnect", "auto_eject_hosts": "auto_eject_hosts",
           "server_retry_timeout_ms": "server_retry_timeout",
           "server_failure_limit": "server_failure_limit", "redis_db": "redis_db"}


def servers_of(servers, weights=None, names=None):
    """Lines of a pool's `servers`: "host:port:weight name"."""
    out = []
    for i, s in enumerate(servers):
        text = s if isinstance(s, str) else s.text
        weight = weights[i] if weights else 1
        name = f" {names[i]}" if names else f" s{i}"
        out.append(f"{text}:{weight}{name}")
    return out


def pool(protocol, servers, weights=None, names=None, **options):
    """A pool in the native spelling; `servers` are Server objects or "host:port" texts. The hash is
    one that spreads numbered keys: with fnv1a_64 key1, key2, key3 ... share a server."""
    return {"protocol": protocol, "distribution": "ketama", "hash": "md5",
            "timeout_ms": int(env.scaled(2000)), **options,
            "servers": servers_of(servers, weights, names)}


class Control:
    """A connection to the control socket: JSON lines."""

    def __init__(self, path):
        self.raw = Raw(path)
        self.id = 0
        self.events = []

    def message(self):
        return json.loads(self.raw.until(b"\n"))

    def call(self, method, **params):
        """The result; an error of the proxy's is raised as ControlError."""
        self.id += 1
        self.raw.send(json.dumps({"id": self.id, "method": method, "params": params}).encode()
                      + b"\n")
        while True:
            m = self.message()
            if "event" in m:
                self.events.append(m)
                continue
            assert m.get("id") == self.id, m
            if "error" in m:
                raise ControlError(m["error"])
            return m["result"]

    def wait_event(self, name, **match):
        """The next event of that name whose fields match."""
        def fits(m):
            return m.get("event") == name and all(m.get(k) == v for k, v in match.items())
        for i, m in enumerate(self.events):
            if fits(m):
                return self.events.pop(i)
        while True:
            m = self.message()
            if fits(m):
                return m
            self.events.append(m)

    def close(self):
        self.raw.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class ControlError(Exception):
    """The proxy refused a control request."""


class Proxy(Process):
    """The proxy. Configured by native pools, or by a nutcracker.yml that is passed unchanged."""

    def __init__(self, workdir, name, pools=None, threads=2, config_path=None, argv=None,
                 listener_options=None, proxy_options=None, nofile=None, environ=None, ready_at=()):
        """ready_at: addresses that accept when it is ready, for a proxy that prints no ready line
        because it was called as nutcracker."""
        self.ready_at = ready_at
        self.pools = pools or {}
        self.threads_wanted = threads
        self.listener_options = listener_options or {}
        self.proxy_options = proxy_options or {}
        self.config_path = Path(config_path or Path(workdir) / f"{name}.yml")
        self.own_config = config_path is None
        self.ready = None
        self.compat_ports = {}
        # A small quarantine, or bounds on memory would measure it. A finding ends the process with
        # this code, so that stop() can see it.
        self.san_log = Path(workdir) / f"{name}.san"
        san = {"ASAN_OPTIONS": f"exitcode=77:log_path={self.san_log}:detect_leaks=1:"
                               "quarantine_size_mb=4:thread_local_quarantine_size_kb=64",
               "UBSAN_OPTIONS": f"exitcode=77:print_stacktrace=1:log_path={self.san_log}",
               "TSAN_OPTIONS": f"exitcode=77:log_path={self.san_log}"}
        super().__init__(workdir, name, argv or [env.PROXY, "-c", self.config_path],
                         {**san, **(environ or {})}, nofile)

    # --- configuration ---------------------------------------------------------------------

    def listen_text(self, pool_name):
        """Each pool listens on a loopback address of its own, so that the texts differ."""
        return f"127.0.0.{1 + list(self.pools).index(pool_name)}:0"

    @property
    def control_path(self):
        return self.workdir / f"{self.name}.sock"

    def native(self):
        return {
            "proxy": {"threads": self.threads_wanted, "control": str(self.control_path),
                      "stats": "127.0.0.1:0", "metrics": "127.0.0.1:0", "stats_interval_ms": 10,
                      **self.proxy_options},
            "listeners": [{"listen": self.listen_text(p), "pool": p, **self.listener_options}
                          for p in self.pools],
            "pools": self.pools,
        }

    def write_config(self, pools=None):
        """Write the file again, with other pools; HUP makes the proxy read it."""
        if pools is not None:
            self.pools = pools
        if env.UNDER_TEST == "nutcracker":
            text = nutcracker_yaml(self._compat())
        else:
            text = yaml.safe_dump(self.native(), default_flow_style=False, sort_keys=False)
        tmp = self.config_path.with_suffix(".tmp")
        tmp.write_text(text)
        tmp.rename(self.config_path)

    def _compat(self):
        out = {}
        for name, p in self.pools.items():
            port = self.compat_ports.setdefault(name, env.free_port())
            out[name] = {"listen": f"127.0.0.1:{port}", "redis": p["protocol"] == "redis",
                         **{_COMPAT[k]: v for k, v in p.items() if k in _COMPAT},
                         "servers": p["servers"]}
        return out

    # --- life ------------------------------------------------------------------------------

    def launch(self):
        if self.own_config:
            self.write_config()
        if env.UNDER_TEST == "direct":
            self.ready = {"listeners": {n: p["servers"][0].split()[0].rpartition(":")[0]
                                        for n, p in self.pools.items()}}
            return self
        if env.UNDER_TEST == "nutcracker":
            return self._launch_nutcracker()
        if not shutil.which(self.argv[0]):
            raise LaunchFailed(f"{self.argv[0]} is not built: run make MODE={env.BUILD}")
        self.ready = None
        self.on_line = self._stdout_line
        self.start()

        def up():
            if not self.alive():
                raise LaunchFailed(self.describe())
            for addr in self.ready_at:
                Raw(addr).close()
            return self.ready_at or self.ready
        env.wait_for(up, 15, "the proxy to be ready")
        return self

    def _launch_nutcracker(self):
        self.argv = [env.program("nutcracker"), "-c", self.config_path, "-s",
                     str(env.free_port()), "-a", "127.0.0.1"]
        self.start()
        ports = self.compat_ports or {
            n: int(p["listen"].rpartition(":")[2])
            for n, p in yaml.safe_load(self.config_path.read_text()).items()}
        for port in ports.values():
            env.wait_for(lambda p=port: not socket.create_connection(("127.0.0.1", p), 2).close(),
                         10, "nutcracker")
        self.ready = {"listeners": {n: f"127.0.0.1:{p}" for n, p in ports.items()}}
        return self

    def _stdout_line(self, line):
        if line.startswith("ready "):
            self.ready = json.loads(line[len("ready "):])

    def stop(self):
        """Also the place where a sanitizer's findings become a failure."""
        super().stop()
        reports = sorted(self.workdir.glob(self.san_log.name + ".*"))
        assert not reports, "sanitizer report:\n" + "\n".join(
            r.read_text(errors="replace")[:8000] for r in reports)

    # --- addresses -------------------------------------------------------------------------

    def addr(self, pool_name=None):
        """(host, port) of the pool's listener, or of the only one."""
        listeners = self.ready["listeners"]
        if env.UNDER_TEST != "twinring":
            text = listeners[pool_name or next(iter(listeners))]
        elif pool_name is None:
            text = next(iter(listeners.values()))
        else:
            text = listeners[self.listen_text(pool_name)]
        return parse_addr(text)

    def raw(self, pool_name=None, **kw):
        return Raw(self.addr(pool_name), **kw)

    # --- windows into it -------------------------------------------------------------------

    def control(self):
        return Control(self.ready["control"])

    def stats(self):
        return read_stats(parse_addr(self.ready["stats"]))

    def http(self, path):
        """(status, body) of the metrics port."""
        try:
            with urllib.request.urlopen(f"http://{self.ready['metrics']}{path}",
                                        timeout=env.scaled(10)) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metrics(self):
        """{name{labels}: value} of /metrics."""
        out = {}
        for line in self.http("/metrics")[1].splitlines():
            m = re.match(r"([a-zA-Z_:][\w:]*(?:\{.*\})?) ([^ ]+)$", line)
            if m:
                out[m[1]] = float(m[2])
        return out

    def metric(self, name, **labels):
        """Sum of every sample of `name` whose labels match."""
        total = 0.0
        for k, v in self.metrics().items():
            if k.partition("{")[0] == name and all(f'{a}="{b}"' in k for a, b in labels.items()):
                total += v
        return total

    def where(self, pool_name, keys):
        """{key: ring name} from `twinring-proxy -c FILE --where POOL`, keys on standard input."""
        r = subprocess.run([str(env.PROXY), "-c", str(self.config_path), "--where", pool_name],
                           input=b"\n".join(keys) + b"\n", capture_output=True, timeout=60)
        assert r.returncode == 0, r.stderr.decode()
        return dict(line.split(b"\t") for line in r.stdout.splitlines())

    def describe(self):
        text = super().describe()
        if self.config_path.exists():
            text = f"--- {self.config_path.name}\n{self.config_path.read_text()}\n{text}"
        for r in sorted(self.workdir.glob(self.san_log.name + ".*")):
            text += "\n" + r.read_text(errors="replace")[:6000]
        return text


def parse_addr(text):
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port))
