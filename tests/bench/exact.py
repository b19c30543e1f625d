"""Instructions by callgrind and calls by counters.so, over the load that lockstep plays."""

import json
import os
import re
import select
import signal
import subprocess
from collections import Counter

import callgrind
import procs
from procs import OTHER_CPU, StartError

CONNECTIONS = 50
WARM_ROUNDS = 10
TOP = 40  # functions kept in the results
START_S, ROUNDS_S = 60, 120

ALL = "memcached redis"
# name: (protocols, arguments of lockstep, rounds counted)
WORKLOADS = {
    "get": (ALL, [], 40),
    "get-p16": (ALL, ["--depth", "16"], 20),
    "set": (ALL, ["--workload", "set"], 40),
    "mix1k": (ALL, ["--workload", "mix", "--value-size", "1024"], 40),
    "get2k": (ALL, ["--value-size", "2048"], 40),
    "get4k": (ALL, ["--value-size", "4096"], 40),
    "set4k": (ALL, ["--workload", "set", "--value-size", "4096"], 40),
    "mget10": (ALL, ["--workload", "mget", "--keys-per", "10"], 40),
    "mget100": (ALL, ["--workload", "mget", "--keys-per", "100"], 20),
    "mset10": ("redis", ["--workload", "mset", "--keys-per", "10"], 40),
    "get-p128": ("redis", ["--depth", "128"], 10),
}
CONTENDERS = ["nutcracker", "twinring", "floor", "twinring-ring3", "twinring-ring50",
              "twinring-ring1000", "twinring-quiet", "twinring-route", "twinring-deep",
              "twinring-2w"]
VARIANTS_ON = ("get", "get-p16")  # workloads of all contenders but the first three


class Stage:
    """lockstep, playing servers and clients around one proxy."""

    def __init__(self, rig, workload, rounds, counters=None):
        self.rig = rig
        self.ports = [procs.free_port() for _ in range(3)]
        argv = [os.path.abspath(os.path.join(rig.args.build, "tests/bench/lockstep")),
                "--servers", ",".join(map(str, self.ports)), "--proto", rig.proto,
                "--connections", str(CONNECTIONS), "--warm-rounds", str(WARM_ROUNDS),
                "--rounds", str(rounds), *WORKLOADS[workload][1]]
        if counters:
            argv += ["--counters", counters]
        self.proc = rig.procs.spawn(argv, OTHER_CPU, stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
        if self.line(START_S) != "listening":
            raise StartError("lockstep does not listen")

    def line(self, seconds):
        if not select.select([self.proc.stdout], [], [], seconds)[0]:
            raise StartError(f"lockstep said nothing for {seconds} s")
        return self.proc.stdout.readline().strip()

    def play(self, port, pid):
        self.proc.stdin.write(f"{port} {pid}\n")
        self.proc.stdin.flush()
        text = self.line(ROUNDS_S)
        if not text:
            raise StartError("lockstep gave up (see its message above)")
        return json.loads(text)


def run(rig, name, workload, rounds, counters=None, **launch):
    """Play `rounds` rounds with a contender; returns lockstep's result."""
    stage = Stage(rig, workload, rounds, counters)
    proc = None
    try:
        proc, start = rig.launch(rig.contenders[name], stage.ports, **launch)
        return stage.play(start.port, proc.pid)
    finally:
        rig.procs.stop(stage.proc)
        if proc:
            proc.send_signal(signal.SIGCONT)  # lockstep may have ended at a bad moment
            rig.procs.stop(proc, patience=20)


def under_callgrind(rig, name, workload, rounds, *options):
    """-> (requests, Profile)"""
    valgrind = procs.find_program("valgrind")
    path = os.path.join(rig.procs.workdir, "callgrind.out")

    def wrap(argv):
        return [valgrind, "--tool=callgrind", f"--callgrind-out-file={path}", *options, *argv]

    result = run(rig, name, workload, rounds, wrap=wrap)
    profile = callgrind.Profile(path)
    os.unlink(path)
    return result["requests"], profile


def both_lengths(rig, name, workload, *options):
    """Two runs -> (requests, Profile, Profile): what the longer has more is `requests` requests,
    and neither start nor end."""
    rounds = WORKLOADS[workload][2]
    short_requests, short = under_callgrind(rig, name, workload, 1, *options)
    long_requests, long = under_callgrind(rig, name, workload, 1 + rounds, *options)
    return long_requests - short_requests, long, short


def instructions(rig, name, workload):
    requests, long, short = both_lengths(rig, name, workload)
    by_function = Counter()
    for function, n in callgrind.difference(long.by_function, short.by_function).items():
        by_function[callgrind.short_name(function)] += n
    return {"per_request": sum(by_function.values()) / requests,
            "top": [[f, n / requests] for f, n in by_function.most_common(TOP)]}


def counts(rig, name, workload):
    """Calls per request of what counters.so knows."""
    path = os.path.join(rig.procs.workdir, "counters")
    library = os.path.abspath(os.path.join(rig.args.build, "tests/bench/counters.so"))
    env = dict(os.environ, LD_PRELOAD=library, BENCH_COUNTERS=path)
    try:
        result = run(rig, name, workload, 10 * WORKLOADS[workload][2], counters=path, env=env)
    finally:
        if os.path.exists(path):
            os.unlink(path)
    return {k: n / result["requests"] for k, n in result["counters"].items()}


LOCKED = re.compile(r"^\s*([0-9a-f]+):\s+(?:[0-9a-f]{2} )*\s*"
                    r"(lock\b.*|xchg\s.*\(.*\).*)$")


def locked_instructions(program):
    """Addresses of instructions that lock the bus, by objdump."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], capture_output=True,
                          text=True, check=False).stdout
    return {int(m.group(1), 16) for m in map(LOCKED.match, text.splitlines()) if m}


LIBC = re.compile(r"^(libc|ld-linux.*)[.-]")


def atomics(rig, name, workload):
    """Atomic instructions executed per request. libc's own stand apart: in a process with threads
    it marks each system call that may be cancelled by one before and one after."""
    requests, long, short = both_lengths(rig, name, workload, "--dump-instr=yes")
    ran = callgrind.difference(long.by_address, short.by_address)
    locked, found = {}, Counter()
    for (obj, address), n in ran.items():
        if obj not in locked:
            locked[obj] = locked_instructions(obj) if os.path.exists(obj) else set()
        if address in locked[obj]:
            found[f"{os.path.basename(obj)}+{address:#x}"] += n
    ours = sum(n for where, n in found.items() if not LIBC.match(where))
    return {"per_request": ours / requests,
            "libc_per_request": (sum(found.values()) - ours) / requests,
            "where": [[k, n / requests] for k, n in found.most_common(10)]}


def measure(rig, names, workloads, say):
    """All of it for one protocol -> [row]."""
    rows = []
    for workload in workloads:
        if rig.proto not in WORKLOADS[workload][0].split():
            continue
        for name in names:
            if name not in CONTENDERS[:3] and workload not in VARIANTS_ON:
                continue
            row = {"proto": rig.proto, "workload": workload, "proxy": name, "error": ""}
            try:
                row["calls"] = counts(rig, name, workload)
                if procs.find_program("valgrind"):
                    row["instructions"] = instructions(rig, name, workload)
                    if name == "twinring":  # once more: the figure repeats, or it is none
                        row["again"] = instructions(rig, name, workload)["per_request"]
                    if name == "twinring" and workload == "get":
                        row["atomics"] = atomics(rig, name, workload)
            except (StartError, OSError) as e:
                row["error"] = str(e)
                say(f"  {name} {workload}: {e}")
            rows.append(row)
    return rows
