#!/usr/bin/python3
"""Compare twinring-proxy with nutcracker (twemproxy) and a floor, in turns; see README.md."""

import argparse
import fcntl
import json
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import burst
import contenders
import exact
import idle
import plots
import procs
import report
import swap
import syscalls
import timed
import verdict
from control import ControlError
from procs import Procs, StartError
from rig import Rig
from workloads import DATA_SETS, GROUPS, WORKLOADS

PARTS = {  # name: what it measures
    "timed": "CPU, throughput, latency, RSS, in turns",
    "syscalls": "system calls per request, by perf or strace",
    "exact": "instructions and calls per request, in lockstep",
    "idle": "8,000 connections",
    "burst": "memory after 512 KiB values",
    "swap": "a ring of 1,000 servers, changed under load",
}
MEMORY_OF = ["nutcracker", "twinring"]
LOAD_AT_START = os.getloadavg()[0]


class Bench:
    def __init__(self, args, processes):
        self.args, self.procs = args, processes
        self.contenders = contenders.find(args)
        self.counter = syscalls.find_counter()
        self.result = {"runs": [], "syscalls": [], "exact": [], "idle": [], "burst": [],
                       "swap": []}

    def present(self, names):
        """Those of them that can be started here, or what --proxies names."""
        names = self.args.proxies.split(",") if self.args.proxies else names
        return [n for n in names if n in self.contenders]

    def protocol(self, proto):
        with Rig(self.args, self.procs, self.contenders, proto) as rig:
            for name in self.args.groups.split(","):
                self.group(rig, name, GROUPS[name])
            if "exact" in self.args.parts:
                self.exact(rig)
            for part, module in (("idle", idle), ("burst", burst)):
                if part in self.args.parts and (part == "idle" or proto == "memcached"):
                    say(f"{proto} {part}")
                    self.result[part] += [module.measure(rig, name)
                                          for name in self.present(MEMORY_OF)]
            if "swap" in self.args.parts and "twinring-swap" in self.contenders:
                say(f"{proto} swap")
                self.result["swap"] += swap.measure(rig)

    def group(self, rig, name, group):
        names = self.present(group.contenders + self.args.extra)
        only = self.args.only.split(",") if self.args.only else None
        for workload in group.quick if self.args.quick and not only else group.workloads:
            if rig.proto not in WORKLOADS[workload][0].split() or only and workload not in only:
                continue
            if "timed" in self.args.parts:
                say(f"{rig.proto} {name}: {workload}")
                with rig.servers.on(group.servers_cpu):
                    self.result["runs"] += timed.group_runs(rig, name, group, workload, names, say)
            if "syscalls" in self.args.parts and name in ("main", "connections"):
                self.syscalls(rig, names, workload)

    def syscalls(self, rig, names, workload):
        for name in names:
            rates = [r["req_s"] for r in self.result["runs"]
                     if (r["proto"], r["workload"], r["proxy"]) == (rig.proto, workload, name)
                     and not r["error"]]
            if self.contenders[name] is None or self.counter == "none":
                continue
            count = syscalls.per_request(rig, name, workload, min(rates, default=20000),
                                         self.counter)
            self.result["syscalls"].append({"proto": rig.proto, "workload": workload,
                                            "proxy": name, "per_request": count,
                                            "by": self.counter})

    def exact(self, rig):
        say(f"{rig.proto} exact")
        if not procs.find_program("valgrind"):
            say("  valgrind is not installed: no instruction counts")
        workloads = exact.VARIANTS_ON if self.args.quick else list(exact.WORKLOADS)
        if self.args.only:
            workloads = [w for w in exact.WORKLOADS if w in self.args.only.split(",")]
        names = exact.CONTENDERS[:3] if self.args.quick else exact.CONTENDERS
        self.result["exact"] += exact.measure(rig, self.present(names + self.args.extra),
                                              workloads, say)


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
            "kernel": platform.release(), "load": LOAD_AT_START}


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
    p.add_argument("--build", default="build/release", help="where the programs are")
    p.add_argument("--parts", default=",".join(PARTS),
                   help="; ".join(f"{k}: {v}" for k, v in PARTS.items()))
    p.add_argument("--groups", default=",".join(GROUPS), help="of contenders: " + ", ".join(GROUPS))
    p.add_argument("--only", help="workloads: " + ", ".join(dict.fromkeys(
        list(WORKLOADS) + list(exact.WORKLOADS))))
    p.add_argument("--proto", default="memcached,redis")
    p.add_argument("--proxies", help="these contenders in every group; see README.md")
    p.add_argument("--variant", action="append", default=[], metavar="NAME=COMMAND",
                   help="one more contender; '-c FILE' (a nutcracker.yml) is appended")
    p.add_argument("--twinring-args", default="", metavar="ARGS")
    p.add_argument("--quick", action="store_true",
                   help="3 x 0.2 s of few workloads instead of 7 x 0.6 s of all")
    p.add_argument("--reps", type=int)
    p.add_argument("--seconds", type=float, help="length of one timed run")
    p.add_argument("--no-pin", action="store_true", help="leave CPU placement to the kernel")
    p.add_argument("--rt", action="store_true",
                   help="run all under SCHED_RR 1, ahead of every neighbour (needs root)")
    p.add_argument("--nutcracker", default="nutcracker")
    p.add_argument("--memcached", default="memcached")
    p.add_argument("--redis-server", default="redis-server")
    p.add_argument("--out", default="build/bench", help="folder of the results")
    args = p.parse_args()
    args.reps = args.reps or (3 if args.quick else 7)
    args.seconds = args.seconds or (0.2 if args.quick else 0.6)
    args.extra = [v.partition("=")[0] for v in args.variant]
    args.parts = chosen(args.parts, PARTS, "part")
    chosen(args.groups, GROUPS, "group")
    chosen(args.proto, DATA_SETS, "protocol")
    if args.only:
        chosen(args.only, {**WORKLOADS, **exact.WORKLOADS}, "workload")
    return args


def save(args, result):
    os.makedirs(args.out, exist_ok=True)
    stamp = result["when"].replace(":", "").replace(" ", "-")
    text = report.markdown(result) + "\n" + verdict.markdown(result)
    drawn = plots.draw(result)
    for name in (stamp, "latest"):
        with open(os.path.join(args.out, f"{name}.json"), "w") as f:
            json.dump(result, f, indent=1)
        with open(os.path.join(args.out, f"{name}.md"), "w") as f:
            f.write(text + "\n")
    for name, svg in drawn.items():
        with open(os.path.join(args.out, f"{name}.svg"), "w") as f:
            f.write(svg)
    print(text)
    say(f"written: {args.out}/{stamp}.json and .md, also as latest, and {len(drawn)} plots")


def bench(args, workdir):
    processes = Procs(workdir, pin=not args.no_pin, realtime=args.rt)
    b = Bench(args, processes)
    for name in ("nutcracker", "twinring", "floor"):
        if name not in b.contenders:
            say(f"{name}: not found, left out")
    if args.proxies:
        chosen(args.proxies, b.contenders, "or missing proxy")
    lg = os.path.join(args.build, "tests/bench/lg")
    if not os.access(lg, os.X_OK):
        sys.exit(f"{lg} is missing: make bench-tools")
    try:
        for proto in args.proto.split(","):
            b.protocol(proto)
    except (StartError, ControlError) as e:
        sys.exit(f"run.py: {e}")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut this short
        processes.close()
    result = {"when": time.strftime("%Y-%m-%d %H:%M:%S"), "commit": commit(),
              "machine": machine(), "reps": args.reps, "seconds": args.seconds,
              "pinned": processes.pin, "realtime": args.rt, "protos": args.proto.split(","),
              **b.result}
    result["summary"] = report.summarise(result)
    save(args, result)
    parts = [row for part in b.result.values() for row in part]
    return 1 if any(row.get("error") for row in parts) else 0


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
