#!/usr/bin/python3
"""Compare twinring-proxy with nutcracker (twemproxy) side by side; see README.md here."""

import argparse
import fcntl
import json
import os
import platform
import re
import resource
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import procs
import report
from procs import OTHER_CPU, PROXY_CPU, Procs, StartError

SERVERS = 3
LARGE_KEYS = 32  # 512 KiB each, on each of the three servers: 16 MiB per server
IDLE_CONNECTIONS = 8000
WARMUP_S = 0.15
SYSCALL_RUN_S = 0.25

LARGE = ["--value-size", "524288", "--keys", str(LARGE_KEYS), "--connections", "10"]
WORKLOADS = {  # name: (protocols, arguments of lg)
    "get": ("memcached redis", []),
    "get-p16": ("memcached redis", ["--depth", "16"]),
    "set": ("memcached redis", ["--workload", "set"]),
    "mix1k": ("memcached redis", ["--workload", "mix", "--value-size", "1024"]),
    "mget10": ("redis", ["--workload", "mget", "--keys-per", "10"]),
    "mget100": ("memcached redis", ["--workload", "mget", "--keys-per", "100"]),
    "mset10": ("redis", ["--workload", "mset", "--keys-per", "10"]),
    "get512k": ("memcached", LARGE),
    "get-30k": ("memcached redis", ["--rate", "30000"]),
    "idle": ("memcached redis", []),  # handled by Bench.idle
}
DATA_SETS = {  # what is preloaded: one set of keys per value size
    "memcached": [[], ["--value-size", "1024"], LARGE[:4]],
    "redis": [[], ["--value-size", "1024"]],
}


class Proxy:
    """How to start one contender; argv(conf) -> command line."""

    def __init__(self, name, argv):
        self.name, self.argv = name, argv


def nutcracker_argv(program, workdir, *extra):
    # The package's default log is in /var/log, the default statistics port is one for all.
    return lambda conf: [program, "-c", conf, "-o", os.path.join(workdir, "nutcracker.log"),
                         "-a", "127.0.0.1", "-s", str(procs.free_port()), *extra]


def contenders(args, workdir):
    """{name: Proxy} of what can be started here; None stands for no proxy at all."""
    found = {"direct": None}
    nutcracker = procs.find_program(args.nutcracker)
    if nutcracker:
        found["nutcracker"] = Proxy("nutcracker", nutcracker_argv(nutcracker, workdir))
        found["nutcracker-v4"] = Proxy("nutcracker-v4",
                                       nutcracker_argv(nutcracker, workdir, "-v", "4"))
    twinring = os.path.abspath(os.path.join(args.build, "twinring-proxy"))
    if os.access(twinring, os.X_OK):
        extra = shlex.split(args.twinring_args)
        found["twinring"] = Proxy("twinring",
                                  lambda conf: [twinring, "-c", conf, "--threads", "1", *extra])
    for variant in args.variant:
        name, _, command = variant.partition("=")
        words = shlex.split(command)
        found[name] = Proxy(name, lambda conf, words=words: words + ["-c", conf])
    return found


class Bench:
    def __init__(self, args, processes):
        self.args, self.procs = args, processes
        self.lg = os.path.abspath(os.path.join(args.build, "tests/bench/lg"))
        self.servers = {}  # proto: [(process, port)]
        self.runs, self.idles, self.syscalls = [], [], []
        self.counter = None  # how to count system calls; found out on first use

    # --- servers and proxies ---------------------------------------------------------------------

    def server_argv(self, proto):
        if proto == "memcached":
            program = procs.find_program(self.args.memcached)
            argv = [program, "-l", "127.0.0.1", "-U", "0", "-t", "1", "-m", "256", "-I", "2m"]
            argv += ["-u", "root"] if os.geteuid() == 0 else []
            return lambda port: argv + ["-p", str(port)]
        program = procs.find_program(self.args.redis_server)
        argv = [program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", self.procs.workdir]
        return lambda port: argv + ["--port", str(port)]

    def start_servers(self, proto):
        make_argv = self.server_argv(proto)
        if make_argv(0)[0] is None:
            raise StartError(f"no {proto} server is installed")
        self.servers[proto] = [self.procs.serve(make_argv, OTHER_CPU) for _ in range(SERVERS)]
        addrs = self.server_addrs(proto)
        for data in DATA_SETS[proto]:
            status, out = self.procs.run(
                [self.lg, "--addr", addrs, "--proto", proto, "--preload", "--depth", "4"] + data,
                OTHER_CPU, timeout=60)
            if status != 0:
                raise StartError(f"preload of {proto} failed: {out}")

    def server_addrs(self, proto):
        return ",".join(f"127.0.0.1:{port}" for _, port in self.servers[proto])

    def stop_servers(self, proto):
        for proc, _ in self.servers.pop(proto):
            self.procs.stop(proc)

    def start_proxy(self, proxy, proto):
        def make_argv(port):
            lines = ["bench:", f"  listen: 127.0.0.1:{port}", "  hash: fnv1a_64",
                     "  distribution: ketama", f"  redis: {str(proto == 'redis').lower()}",
                     "  servers:"]
            lines += [f"   - 127.0.0.1:{p}:1 server{i}"
                      for i, (_, p) in enumerate(self.servers[proto])]
            conf = os.path.join(self.procs.workdir, f"{proxy.name}.yml")
            with open(conf, "w") as f:
                f.write("\n".join(lines) + "\n")
            return proxy.argv(conf)

        return self.procs.serve(make_argv, PROXY_CPU)

    # --- one run ---------------------------------------------------------------------------------

    def lg_argv(self, proto, workload, addrs, *extra):
        return [self.lg, "--addr", addrs, "--proto", proto, *WORKLOADS[workload][1], *extra]

    def run_once(self, proxy, name, proto, workload, rep):
        run = {"proto": proto, "workload": workload, "proxy": name, "rep": rep, "error": ""}
        run.update(dict.fromkeys(report.FIGURES))
        watch = [p.pid for p, _ in self.servers[proto]]
        addrs, proc = self.server_addrs(proto), None
        try:
            if proxy:
                proc, port = self.start_proxy(proxy, proto)
                addrs = f"127.0.0.1:{port}"
                watch.insert(0, proc.pid)
            argv = self.lg_argv(proto, workload, addrs, "--seconds", str(self.args.seconds),
                                "--warmup", str(WARMUP_S))
            for pid in watch:
                argv += ["--watch", str(pid)]
            _, out = self.procs.run(argv, OTHER_CPU, timeout=self.args.seconds + 30)
            self.digest(run, proxy, out)
            if proc and proc.poll() is not None:
                run["error"] = f"the proxy ended with status {proc.returncode}"
            elif proc:
                run["rss_mib"] = procs.rss_kib(proc.pid) / 1024
        except (StartError, OSError, subprocess.TimeoutExpired) as e:
            run["error"] = str(e)
        finally:
            if proc:
                self.procs.stop(proc)
        return run

    @staticmethod
    def digest(run, proxy, out):
        lines = out.splitlines()
        if not lines:
            run["error"] = "the generator printed nothing (see its message above)"
            return
        lg = run["lg"] = json.loads(lines[-1])
        if lg["errors"] or not lg["requests"]:
            run["error"] = f"{lg['errors']} wrong replies, first: {lg['first_error']}"
            return
        n, watch = lg["requests"], lg["watch"]
        for figure in ("req_s", "p50_us", "p99_us", "p999_us"):
            run[figure] = lg[figure]
        run["lg_us"] = lg["lg_cpu_s"] * 1e6 / n
        run["backend_us"] = sum(w["run_us"] for w in watch[-SERVERS:]) / n
        if proxy:
            me = watch[0]
            ticks = me["user_ticks"] + me["sys_ticks"]
            run["cpu_us"] = me["run_us"] / n
            # The sum is exact; the split is the kernel's sampling at 4 ms.
            run["user_us"] = run["cpu_us"] * (me["user_ticks"] / ticks if ticks else 0)
            run["sys_us"] = run["cpu_us"] - run["user_us"]
            run["util"] = me["run_us"] / 1e6 / lg["seconds"]
            run["wait_share"] = me["wait_us"] / 1e6 / lg["seconds"]

    # --- system calls, in runs of their own ------------------------------------------------------

    def find_counter(self):
        perf = procs.find_program("perf")
        if perf:
            probe = subprocess.run([perf, "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"],
                                   capture_output=True, text=True, check=False)
            if probe.returncode == 0 and re.search(r"^\d+,", probe.stderr, re.M):
                return "perf"
        return "strace" if procs.find_program("strace") else "none"

    def count_syscalls(self, proxy, proto, workload, req_s):
        self.counter = self.counter or self.find_counter()
        if self.counter == "none":
            return None
        requests = max(500, int(req_s * SYSCALL_RUN_S))
        if self.counter == "strace":
            requests = max(200, requests // 20)  # each call costs two context switches more
        proc, port = self.start_proxy(proxy, proto)
        path = os.path.join(self.procs.workdir, "syscalls.txt")
        argv = self.lg_argv(proto, workload, f"127.0.0.1:{port}", "--requests", str(requests))
        try:
            if self.counter == "perf":
                total = self.count_with_perf(proc.pid, argv, path)
            else:
                total = self.count_with_strace(proc.pid, argv, path)
            return total / requests if total else None
        finally:
            self.procs.stop(proc)

    def count_with_perf(self, pid, argv, path):
        self.procs.run([procs.find_program("perf"), "stat", "-x,", "-o", path, "-e",
                        "raw_syscalls:sys_enter", "-p", str(pid), "--"] + argv, OTHER_CPU, 60)
        with open(path) as f:
            found = re.search(r"^(\d+),", f.read(), re.M)
        return int(found.group(1)) if found else None

    def count_with_strace(self, pid, argv, path):
        tracer = self.procs.spawn([procs.find_program("strace"), "-c", "-f", "-o", path, "-p",
                                   str(pid)], OTHER_CPU, stderr=subprocess.DEVNULL)
        time.sleep(0.3)  # strace says that it is attached only in words
        try:
            self.procs.run(argv, OTHER_CPU, 60)
        finally:
            self.procs.stop(tracer, signal.SIGINT)
        with open(path) as f:
            found = re.search(r"^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s.*total$", f.read(), re.M)
        return int(found.group(1)) if found else None

    # --- idle connections ------------------------------------------------------------------------

    def idle(self, proxy, name, proto):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        count = min(IDLE_CONNECTIONS, hard - 256)
        run = {"proto": proto, "workload": "idle", "proxy": name, "connections": count,
               "error": "", "rss_kib": {}, "cpu_us": {}}
        proc, port = self.start_proxy(proxy, proto)
        lg = None
        try:
            run["rss_kib"]["start"] = procs.rss_kib(proc.pid)
            lg = self.procs.spawn(
                [self.lg, "--addr", f"127.0.0.1:{port}", "--proto", proto, "--idle",
                 "--connections", str(count), "--rate", "4000", "--watch", str(proc.pid)],
                OTHER_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.idle_phase(lg, proc, "opened", run)
            self.idle_go(lg)
            self.idle_phase(lg, proc, "trickle", run)
            # Every request of the burst waits in a socket before the proxy may read the first: how
            # much it then holds at once depends on the proxy, not on who was scheduled when.
            proc.send_signal(signal.SIGSTOP)
            self.idle_go(lg)
            time.sleep(0.5)
            proc.send_signal(signal.SIGCONT)
            self.idle_phase(lg, proc, "burst", run)
            time.sleep(3)
            run["rss_kib"]["settled"] = procs.rss_kib(proc.pid)
            self.idle_go(lg)
        except (RuntimeError, OSError) as e:
            run["error"] = str(e)
        finally:
            if lg:
                self.procs.stop(lg)
            proc.send_signal(signal.SIGCONT)
            self.procs.stop(proc)
        return run

    @staticmethod
    def idle_go(lg):
        lg.stdin.write(b"\n")
        lg.stdin.flush()

    @staticmethod
    def idle_phase(lg, proc, phase, run):
        if not select.select([lg.stdout], [], [], 60)[0]:
            raise RuntimeError(f"{phase}: no answer for 60 s")
        text = lg.stdout.readline()
        if not text:
            raise RuntimeError(f"{phase}: the generator gave up")
        line = json.loads(text)
        if line["errors"]:
            raise RuntimeError(f"{phase}: {line['errors']} errors, first: {line['first_error']}")
        time.sleep(0.3)  # the proxy may have work of its own to finish
        run["rss_kib"][phase] = procs.rss_kib(proc.pid)
        run["cpu_us"][phase] = line["watch"][0]["run_us"] / max(1, line["requests"])

    # --- all of it -------------------------------------------------------------------------------

    def run_protocol(self, proto, workloads, proxies):
        self.start_servers(proto)
        for workload in workloads:
            if proto not in WORKLOADS[workload][0].split():
                continue
            say(f"{proto} {workload}")
            if workload == "idle":
                self.idles += [self.idle(p, name, proto) for name, p in proxies.items() if p]
            else:
                self.run_workload(proto, workload, proxies)
        self.stop_servers(proto)

    def run_workload(self, proto, workload, proxies):
        names = list(proxies)
        mine = []
        for rep in range(self.args.reps):
            # Another one goes first each time, so that a drift of the machine favours nobody.
            turn = rep % len(names)
            for name in names[turn:] + names[:turn]:
                mine.append(self.run_once(proxies[name], name, proto, workload, rep))
                if mine[-1]["error"]:
                    say(f"  {name}: {mine[-1]['error']}")
        self.runs += sorted(mine, key=lambda r: names.index(r["proxy"]))
        if self.args.no_syscalls:
            return
        for name, proxy in proxies.items():
            rates = [r["req_s"] for r in mine if r["proxy"] == name and not r["error"]]
            if proxy and rates:
                count = self.count_syscalls(proxy, proto, workload, min(rates))
                self.syscalls.append({"proto": proto, "workload": workload, "proxy": name,
                                      "per_request": count, "by": self.counter})


def say(text):
    print(text, file=sys.stderr, flush=True)


def one_at_a_time():
    """Two benchmarks at once would measure each other."""
    lock = open(os.path.join(tempfile.gettempdir(), "twinring-bench.lock"), "a")
    for attempt in range(900):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if attempt == 0:
                say("another benchmark runs here: waiting, 15 minutes at most")
            time.sleep(1)
    sys.exit("another benchmark still runs here")


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo") as f:
        found = re.search(r"^model name\s*:\s*(.*)$", f.read(), re.M)
    return {"cpu": found.group(1) if found else model, "cpus": os.cpu_count(),
            "kernel": platform.release()}


def commit():
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                         text=True, check=False)
    return git.stdout.strip() or "unknown"


def chosen(text, known, what):
    names = text.split(",")
    for name in names:
        if name not in known:
            sys.exit(f"run.py: unknown {what} {name!r}; known: {', '.join(known)}")
    return names


def parse_args():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build/release", help="where twinring-proxy and lg are")
    p.add_argument("--only", default=",".join(WORKLOADS), help="workloads, default all")
    p.add_argument("--proto", default="memcached,redis")
    p.add_argument("--proxies", help="default: nutcracker,nutcracker-v4,twinring,direct "
                   "and every --variant")
    p.add_argument("--variant", action="append", default=[], metavar="NAME=COMMAND",
                   help="one more contender; '-c FILE' (a nutcracker.yml) is appended")
    p.add_argument("--twinring-args", default="", metavar="ARGS")
    p.add_argument("--quick", action="store_true", help="3 x 0.3 s instead of 5 x 0.6 s")
    p.add_argument("--reps", type=int)
    p.add_argument("--seconds", type=float, help="length of one timed run")
    p.add_argument("--no-pin", action="store_true", help="leave CPU placement to the kernel")
    p.add_argument("--rt", action="store_true",
                   help="run all under SCHED_RR 1, ahead of every neighbour (needs root)")
    p.add_argument("--no-syscalls", action="store_true")
    p.add_argument("--nutcracker", default="nutcracker")
    p.add_argument("--memcached", default="memcached")
    p.add_argument("--redis-server", default="redis-server")
    p.add_argument("--out", default="build/bench", help="folder of the results")
    args = p.parse_args()
    args.reps = args.reps or (3 if args.quick else 5)
    args.seconds = args.seconds or (0.3 if args.quick else 0.6)
    return args


def choose_proxies(args, workdir):
    found = contenders(args, workdir)
    if args.proxies:
        return {name: found[name] for name in chosen(args.proxies, found, "or missing proxy")}
    for name in ("nutcracker", "twinring"):
        if name not in found:
            say(f"{name}: not found, left out")
    order = ["nutcracker", "nutcracker-v4", "twinring"]
    order += [n for n in found if n not in order and n != "direct"] + ["direct"]
    return {name: found[name] for name in order if name in found}


def save(args, result):
    os.makedirs(args.out, exist_ok=True)
    stamp = result["when"].replace(":", "").replace(" ", "-")
    text = report.markdown(result)
    for name in (stamp, "latest"):
        with open(os.path.join(args.out, f"{name}.json"), "w") as f:
            json.dump(result, f, indent=1)
        with open(os.path.join(args.out, f"{name}.md"), "w") as f:
            f.write(text + "\n")
    print(text)
    say(f"written: {args.out}/{stamp}.json and .md, also as latest")


def bench(args, workdir):
    workloads = chosen(args.only, WORKLOADS, "workload")
    protos = chosen(args.proto, DATA_SETS, "protocol")
    proxies = choose_proxies(args, workdir)
    processes = Procs(workdir, pin=not args.no_pin, realtime=args.rt)
    b = Bench(args, processes)
    if not os.access(b.lg, os.X_OK):
        sys.exit(f"{b.lg} is missing: make {os.path.join(args.build, 'tests/bench/lg')}")
    try:
        for proto in protos:
            b.run_protocol(proto, workloads, proxies)
    except StartError as e:
        sys.exit(f"run.py: {e}")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut this short
        processes.close()
    result = {"when": time.strftime("%Y-%m-%d %H:%M:%S"), "commit": commit(),
              "machine": machine(), "reps": args.reps, "seconds": args.seconds,
              "pinned": processes.pin, "realtime": args.rt, "protos": protos,
              "summary": report.summarise(b.runs), "runs": b.runs, "syscalls": b.syscalls,
              "idle": b.idles}
    save(args, result)
    return 1 if any(r["error"] for r in b.runs + b.idles) else 0


def main():
    args = parse_args()
    # Explicitly: a shell starts background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda s, _frame: sys.exit(128 + s))
    lock = one_at_a_time()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    workdir = tempfile.mkdtemp(prefix="twinring-bench-")
    try:
        return bench(args, workdir)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(workdir, ignore_errors=True)
        lock.close()


if __name__ == "__main__":
    sys.exit(main())
