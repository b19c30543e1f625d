"""Memory before, during and after a burst of 512 KiB values."""

import json
import time

import procs

CONNECTIONS = 50
SETTLE_S = 10
SMALL_S, BURST_S = 0.5, 1.0


def load(rig, run, workload, addr, seconds):
    out = rig.run_lg(rig.lg_argv(workload, addr, "--connections", str(CONNECTIONS),
                                 "--seconds", str(seconds)), seconds + 30)
    lines = out.splitlines()
    lg = json.loads(lines[-1]) if lines else {"errors": 1, "first_error": "no output"}
    if lg["errors"]:
        run["error"] = run["error"] or f"{workload}: {lg['first_error']}"


def measure(rig, name):
    run = {"proto": rig.proto, "workload": "burst512k", "proxy": name, "error": "", "rss_kib": {}}
    with rig.proxy(rig.contenders[name]) as (proc, start):
        addr = f"127.0.0.1:{start.port}"
        load(rig, run, "get", addr, SMALL_S)
        run["rss_kib"]["before"] = procs.rss_kib(proc.pid)
        load(rig, run, "get512k", addr, BURST_S)
        run["rss_kib"]["after"] = procs.rss_kib(proc.pid)
        time.sleep(SETTLE_S)
        run["rss_kib"]["settled"] = procs.rss_kib(proc.pid)
    return run
