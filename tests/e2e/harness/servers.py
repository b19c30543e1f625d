"""Real cache servers, and the peer: Debian's nutcracker."""

import json
import os
import socket

import yaml

from .env import free_port, program, wait_for
from .process import LaunchFailed, Process
from .wire import Raw, command

TRIES = 5


class Server(Process):
    """A process that listens on one loopback port, which it keeps over restarts."""

    host = "127.0.0.1"
    port = None

    @property
    def addr(self):
        return (self.host, self.port)

    @property
    def text(self):
        return f"{self.host}:{self.port}"

    def raw(self, **kw):
        return Raw(self.addr, **kw)

    def launch(self):
        """Start on a free port; another one when somebody was quicker."""
        for attempt in range(TRIES):
            self.port = free_port(self.host)
            self.argv = self.arguments()
            try:
                return self.restart()
            except LaunchFailed:
                if attempt == TRIES - 1:
                    raise

    def restart(self):
        """Start (again) on the same port, and wait until it answers."""
        self.start()
        return self.wait_up()

    def wait_up(self):
        try:
            wait_for(self._up, 10, f"{self.name} to answer")
        except AssertionError as e:
            self.stop()
            raise LaunchFailed(f"{e}\n{self.describe()}") from None
        return self

    def _up(self):
        if not self.alive():
            raise LaunchFailed(self.describe())
        return self.answers()

    def answers(self):
        raise NotImplementedError

    def arguments(self):
        raise NotImplementedError


class Memcached(Server):
    """memcached with one thread. With verbose=True its log shows every command it executes."""

    def __init__(self, workdir, name, verbose=False, options=()):
        self.verbose, self.options = verbose, list(options)
        super().__init__(workdir, name, ["memcached"])

    def arguments(self):
        # A change of user would undo the kernel's promise to end it with the test runner.
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return [program("memcached"), "-l", self.host, "-p", self.port, "-U", 0, "-t", 1, "-m", 64,
                "-c", 4096, *user, *(["-vv"] if self.verbose else []), *self.options]

    def answers(self):
        with self.raw(timeout=2) as c:
            return c.mc(b"version\r\n").startswith(b"VERSION")

    def stats(self):
        with self.raw() as c:
            lines = c.mc(b"stats\r\n").decode().split("\r\n")
        return dict(line.split(" ", 2)[1:] for line in lines if line.startswith("STAT "))

    def flush(self):
        with self.raw() as c:
            assert c.mc(b"flush_all\r\n") == b"OK\r\n"

    def stop(self):
        """It takes a second to end cleanly, and has nothing to say."""
        if self.popen:
            self.kill()

    def commands(self):
        """Every request that any client had it execute, from its -vv log: list of bytes lines."""
        out = []
        for line in self.log_path.read_bytes().split(b"\n"):
            if line.startswith(b"<") and line[1:3].strip().isdigit():
                fd, _, rest = line[1:].partition(b" ")
                if fd.isdigit() and not rest.startswith((b"new auto-neg", b"connection closed",
                                                         b"server listening")):
                    out.append(rest)
        return out


class Redis(Server):
    """redis-server without persistence."""

    def __init__(self, workdir, name, options=(), password=None, user=None):
        self.options, self.password, self.user = list(options), password, user
        super().__init__(workdir, name, ["redis-server"])

    def arguments(self):
        auth = ["--requirepass", self.password] if self.password else []
        return [program("redis-server"), "--bind", self.host, "--port", self.port, "--save", "",
                "--appendonly", "no", "--dir", self.workdir, "--daemonize", "no",
                "--appenddirname", f"{self.name}.aof", "--tcp-backlog", "128", *auth, *self.options]

    def answers(self):
        with self.raw(timeout=2) as c:
            return c.resp("PING") in (b"+PONG\r\n", b"-NOAUTH Authentication required.\r\n")

    def client(self, **kw):
        """A raw connection that has authenticated."""
        c = self.raw(**kw)
        if self.password:
            assert c.resp("AUTH", self.password) == b"+OK\r\n"
        return c

    def call(self, *args):
        with self.client() as c:
            return c.resp(*args)

    def flush(self):
        assert self.call("FLUSHALL") == b"+OK\r\n"


class Monitor:
    """Everything a Redis server executes, as its MONITOR stream tells it."""

    def __init__(self, server):
        self.conn = server.client()
        assert self.conn.resp("MONITOR") == b"+OK\r\n"
        self.server = server
        self.mark = 0

    def lines(self):
        """The commands executed up to now: the server is asked to execute a last one, and then
        everything before that has been reported."""
        self.mark += 1
        mark = f"monitor-mark-{id(self)}-{self.mark}"
        self.server.call("ECHO", mark)
        out = []
        while True:
            line = self.conn.line().decode("utf-8", "backslashreplace").rstrip("\r\n")
            if mark in line:
                return out
            # +1700000000.000000 [0 127.0.0.1:5000] "get" "k"
            text = line.split("] ", 1)[1]
            if not text.lower().startswith(('"auth"', '"ping"', '"select"', '"hello"')):
                out.append(text)

    def close(self):
        self.conn.close()


class Watch:
    """What memcached's own `watch` log says was fetched and stored."""

    STREAMS = b"watch fetchers mutations\r\n"

    def __init__(self, server):
        self.server = server
        self.conn = server.raw()
        assert self.conn.mc(self.STREAMS) == b"OK\r\n"
        self.mark = 0
        self.lost = 0

    def events(self):
        """Log lines up to now, without our own; a last event of ours is waited for."""
        self.mark += 1
        mark = b"watch-mark-%d-%d" % (id(self), self.mark)
        with self.server.raw() as c:
            c.mc(b"get %s\r\n" % mark)
        out = []
        while True:
            line = self.conn.until(b"\n").rstrip(b"\r\n")
            if mark in line:
                return [x for x in out if b"watch-mark-" not in x]
            out.append(line)

    def close(self):
        self.conn.close()


def nutcracker_yaml(pools):
    """nutcracker.yml of {pool: {...}} with nutcracker's own keys; block style only."""
    return yaml.safe_dump(pools, default_flow_style=False, sort_keys=False)


class Nutcracker(Process):
    """Debian's nutcracker, in the foreground."""

    def __init__(self, workdir, name, config_path, options=(), exe=None):
        self.config_path = config_path
        self.stats_port = free_port()
        super().__init__(workdir, name, [exe or program("nutcracker"), "-c", config_path, "-s",
                                         self.stats_port, "-a", "127.0.0.1", "-i", 100,
                                         "-o", os.path.join(workdir, f"{name}.out"), *options])

    def launch(self, addrs):
        """Start, and wait until every (host, port) of `addrs` accepts."""
        self.start()

        def up():
            if not self.alive():
                raise LaunchFailed(self.describe())
            for a in addrs:
                socket.create_connection(a, 2).close()
            return True
        wait_for(up, 10, f"{self.name} to listen")
        return self

    def stats(self):
        return read_stats(("127.0.0.1", self.stats_port))

    def log(self):
        out = os.path.join(self.workdir, f"{self.name}.out")
        return super().log() + (open(out, errors="replace").read() if os.path.exists(out) else "")


def read_stats(addr):
    """twemproxy's stats port: connect, read one JSON object, closed by the peer."""
    with Raw(addr) as c:
        return json.loads(c.to_eof())


def start_all(servers):
    """Launch several servers at once: most of their start is waiting."""
    for s in servers:
        s.port = free_port(s.host)
        s.argv = s.arguments()
        s.start()
    for s in servers:
        try:
            s.wait_up()
        except LaunchFailed:
            s.launch()
    return servers


__all__ = ["LaunchFailed", "Memcached", "Monitor", "Nutcracker", "Redis", "Server", "Watch",
           "command", "nutcracker_yaml", "read_stats", "start_all"]
