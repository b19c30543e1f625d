"""Many quiet connections: what they cost in memory, opened, used once, and all at once."""

import json
import resource
import select
import signal
import subprocess
import time

import procs
from procs import OTHER_CPU

CONNECTIONS = 8000
RATE = "4000"


def measure(rig, name):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(CONNECTIONS, hard - 256)
    run = {"proto": rig.proto, "workload": "idle", "proxy": name, "connections": count,
           "error": "", "rss_kib": {}, "cpu_us": {}}
    with rig.proxy(rig.contenders[name]) as (proc, start):
        lg = None
        try:
            run["rss_kib"]["start"] = procs.rss_kib(proc.pid)
            lg = rig.procs.spawn(
                [rig.lg, "--addr", f"127.0.0.1:{start.port}", "--proto", rig.proto, "--idle",
                 "--connections", str(count), "--rate", RATE, "--watch", str(proc.pid)],
                OTHER_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            phases(lg, proc, run)
        except (RuntimeError, OSError) as e:
            run["error"] = str(e)
        finally:
            if lg:
                rig.procs.stop(lg)
            proc.send_signal(signal.SIGCONT)
    return run


def phases(lg, proc, run):
    phase(lg, proc, "opened", run)
    go(lg)
    phase(lg, proc, "trickle", run)
    # Every request of the burst waits in a socket before the proxy may read the first: how much it
    # then holds at once depends on the proxy, not on who was scheduled when.
    proc.send_signal(signal.SIGSTOP)
    go(lg)
    time.sleep(0.5)
    proc.send_signal(signal.SIGCONT)
    phase(lg, proc, "burst", run)
    time.sleep(3)
    run["rss_kib"]["settled"] = procs.rss_kib(proc.pid)
    go(lg)


def go(lg):
    lg.stdin.write(b"\n")
    lg.stdin.flush()


def phase(lg, proc, name, run):
    if not select.select([lg.stdout], [], [], 60)[0]:
        raise RuntimeError(f"{name}: no answer for 60 s")
    text = lg.stdout.readline()
    if not text:
        raise RuntimeError(f"{name}: the generator gave up")
    line = json.loads(text)
    if line["errors"]:
        raise RuntimeError(f"{name}: {line['errors']} errors, first: {line['first_error']}")
    time.sleep(0.3)  # the proxy may have work of its own to finish
    run["rss_kib"][name] = procs.rss_kib(proc.pid)
    run["cpu_us"][name] = line["watch"][0]["run_us"] / max(1, line["requests"])
