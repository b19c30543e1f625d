"""Who is compared: how each is configured and started. README.md says what each stands for."""

import os
import shlex
import threading
import urllib.request

import config
import procs
import transition

SCRAPE_FIRST_S, SCRAPE_EVERY_S = 0.3, 0.5
FLOOR_MODERATE_US = 20  # twinring's default
WORKER_SHARE = 0.2  # of a CPU: leaves room for servers and generator on two
PEERS = ["nutcracker", "nutcracker-v4", "twinring", "floor"]


class Start:
    """What a contender is told: a free port, its servers' ports, a folder."""

    def __init__(self, workdir, proto, ports, port):
        self.workdir, self.proto, self.ports, self.port = workdir, proto, ports, port
        self.socket = os.path.join(workdir, f"control-{port}")
        self.pid = None  # once it runs

    def write(self, text):
        path = os.path.join(self.workdir, f"proxy-{self.port}.yml")
        with open(path, "w") as f:
            f.write(text)
        return path


class Contender:
    """argv(start) -> command line. `cpu`: where it runs. entered(start) is called when it listens;
    during(start) runs beside the load and returns a function that ends it."""

    def __init__(self, name, argv, cpu=procs.PROXY_CPU, entered=None, during=None):
        self.name, self.argv, self.cpu = name, argv, cpu
        self.entered, self.during = entered, during


def nutcracker_config(s):
    return s.write(config.nutcracker(s.port, s.proto, config.server_lines(s.ports)))


def nutcracker_argv(program, *extra):
    # The package's default log is in /var/log, the default statistics port is one for all.
    return lambda s: [program, "-c", nutcracker_config(s), "-a", "127.0.0.1", "-s",
                      str(procs.free_port()), "-o", os.path.join(s.workdir, "nutcracker.log"),
                      *extra]


def floor_argv(program, moderate_us):
    return lambda s: [program, "--listen", str(s.port), "--moderate", str(moderate_us),
                      *(["--redis"] if s.proto == "redis" else []), *map(str, s.ports)]


class Native:
    """twinring with a configuration in its own form."""

    def __init__(self, program, extra):
        self.program, self.extra = program, extra

    def argv(self, pools=None, proxy=None, more=None):
        """Each of pools, proxy, more: a function of Start -> that part of the configuration."""
        def build(s):
            made = pools(s) if pools else {"bench": config.pool(s.proto,
                                                                config.server_lines(s.ports))}
            text = config.native(s.port, made, proxy(s) if proxy else {},
                                 **(more(s) if more else {}))
            return [self.program, "-c", s.write(text), *self.extra]
        return build


def ring_pools(lines, names):
    return lambda s: {"bench": config.pool(s.proto, lines(s.ports, names))}


def metrics_options(s):
    s.metrics = procs.free_port()
    return {"metrics": f"127.0.0.1:{s.metrics}", "stats": f"127.0.0.1:{procs.free_port()}"}


def scrape(s):
    """Fetch the metrics as a Prometheus in a hurry would, until told to end."""
    end = threading.Event()
    url = f"http://127.0.0.1:{s.metrics}/metrics"

    def loop():
        pause = SCRAPE_FIRST_S
        while not end.wait(pause):
            with urllib.request.urlopen(url, timeout=10) as answer:
                answer.read()
            pause = SCRAPE_EVERY_S

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()

    def stop():
        end.set()
        thread.join(15)
    return stop


def control_option(s):
    return {"control": s.socket, "saved_topology": os.path.join(s.workdir, f"saved-{s.port}")}


def two_workers(_s):
    return {"threads": 2}


def limit_workers(count):
    return lambda s: procs.limit_threads(s.pid, "worker-", count, WORKER_SHARE)


def twinrings(program, extra):
    native = Native(program, extra)

    def make(name, cpu=procs.PROXY_CPU, entered=None, during=None, **parts):
        return Contender(name, native.argv(**parts), cpu, entered, during)

    def routed(s):
        listener = {"listen": f"127.0.0.1:{s.port}", "route": "first"}
        return {"routes": {"first": "PoolRoute|bench"}, "listeners": [listener]}

    return [
        Contender("twinring", lambda s: [program, "-c", nutcracker_config(s), "--threads", "1",
                                         *extra]),
        make("twinring-ring3", pools=ring_pools(config.ring_lines, 3)),
        make("twinring-ring50", pools=ring_pools(config.ring_lines, 50)),
        make("twinring-ring1000", pools=ring_pools(config.ring_lines, 1000)),
        make("twinring-spread50", pools=ring_pools(config.spread_lines, 50)),
        make("twinring-spread1000", pools=ring_pools(config.spread_lines, 1000)),
        make("twinring-swap", pools=ring_pools(config.ring_lines, 1000), proxy=control_option),
        make("twinring-route", more=routed),
        make("twinring-deep", pools=lambda s: config.deep_pools(s.proto,
                                                                config.server_lines(s.ports))),
        make("twinring-quiet"),
        make("twinring-metrics", proxy=metrics_options, during=scrape),
        make("twinring-unmoderated", proxy=lambda s: {"moderation_us": 0}),
        make("twinring-still", proxy=control_option),
        make("twinring-dual", proxy=control_option,
             entered=lambda s: transition.enter(s.socket, s.proto, s.ports).close()),
        make("twinring-1w", cpu=procs.ANY_CPU),
        make("twinring-2w", proxy=two_workers, cpu=procs.ANY_CPU),
        *([make("twinring-1w-fifth", cpu=procs.ANY_CPU, entered=limit_workers(1)),
           make("twinring-2w-fifth", proxy=two_workers, cpu=procs.ANY_CPU,
                entered=limit_workers(2))]
          if procs.can_limit() else []),
    ]


def variant(text):
    """NAME=COMMAND of the command line; "-c FILE" is appended."""
    name, _, command = text.partition("=")
    words = shlex.split(command)
    return Contender(name, lambda s: [*words, "-c", nutcracker_config(s)])


def find(args):
    """{name: Contender} of what can be started here. None stands for no proxy at all."""
    found = [variant(text) for text in args.variant]
    program = procs.find_program(args.nutcracker)
    if program:
        found += [Contender("nutcracker", nutcracker_argv(program)),
                  Contender("nutcracker-v4", nutcracker_argv(program, "-v", "4"))]
    program = os.path.abspath(os.path.join(args.build, "twinring-proxy"))
    if os.access(program, os.X_OK):
        found += twinrings(program, shlex.split(args.twinring_args))
    program = os.path.abspath(os.path.join(args.build, "tests/bench/floor"))
    if os.access(program, os.X_OK):
        found += [Contender("floor", floor_argv(program, FLOOR_MODERATE_US)),
                  Contender("floor-unmoderated", floor_argv(program, 0))]
    return {"direct": None, **{c.name: c for c in found}}
