"""System calls per request, in runs of their own: tracing would disturb the timed ones."""

import os
import re
import signal
import statistics
import subprocess
import time

import procs
from procs import OTHER_CPU

RUN_S = 0.25
RUNS_MAX = 5  # how many requests a turn finds differs from run to run


def find_counter():
    perf = procs.find_program("perf")
    if perf:
        probe = subprocess.run([perf, "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"],
                               capture_output=True, text=True, check=False)
        if probe.returncode == 0 and re.search(r"^\d+,", probe.stderr, re.M):
            return "perf"
    return "strace" if procs.find_program("strace") else "none"


def per_request(rig, name, workload, req_s, counter):
    """Calls per request, the median of some runs, or None. Accepting the connections counts, too."""
    requests = max(500, int(req_s * RUN_S))
    if counter == "strace":
        requests = max(200, requests // 20)  # each call costs two context switches more
    path = os.path.join(rig.procs.workdir, "syscalls.txt")
    count = with_perf if counter == "perf" else with_strace
    totals = []
    for _ in range(min(rig.args.reps, RUNS_MAX)):
        with rig.proxy(rig.contenders[name]) as (proc, start):
            argv = rig.lg_argv(workload, f"127.0.0.1:{start.port}", "--requests", str(requests))
            totals.append(count(rig, proc.pid, argv, path))
    return statistics.median(totals) / requests if all(totals) else None


def with_perf(rig, pid, argv, path):
    rig.procs.run([procs.find_program("perf"), "stat", "-x,", "-o", path, "-e",
                   "raw_syscalls:sys_enter", "-p", str(pid), "--"] + argv, OTHER_CPU, 60)
    with open(path) as f:
        found = re.search(r"^(\d+),", f.read(), re.M)
    return int(found.group(1)) if found else None


def with_strace(rig, pid, argv, path):
    tracer = rig.procs.spawn([procs.find_program("strace"), "-c", "-f", "-o", path, "-p",
                              str(pid)], OTHER_CPU, stderr=subprocess.DEVNULL)
    time.sleep(0.3)  # strace says that it is attached only in words
    try:
        rig.procs.run(argv, OTHER_CPU, 60)
    finally:
        rig.procs.stop(tracer, signal.SIGINT)
    with open(path) as f:
        found = re.search(r"^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)\s.*total$", f.read(), re.M)
    return int(found.group(1)) if found else None
