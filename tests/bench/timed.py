"""Timed runs: contenders take turns, another one first in each repetition."""

import json
import subprocess

import procs
import report
from control import ControlError
from procs import StartError
from servers import SERVERS

WARMUP_S = 0.15


def group_runs(rig, group_name, group, workload, names, say):
    """Every repetition of one workload; the contenders are names of rig.contenders."""
    runs = []
    for rep in range(rig.args.reps):
        turn = rep % len(names)
        for name in names[turn:] + names[:turn]:
            run = run_once(rig, name, workload)
            run.update(group=group_name, rep=rep)
            runs.append(run)
            if run["error"]:
                say(f"  {name}: {run['error']}")
    return sorted(runs, key=lambda r: names.index(r["proxy"]))


def run_once(rig, name, workload):
    run = {"proto": rig.proto, "workload": workload, "proxy": name, "error": ""}
    run.update(dict.fromkeys(report.FIGURES))
    contender = rig.contenders[name]
    try:
        if contender is None:
            measure(rig, run, rig.servers.addrs(), [])
            return run
        with rig.proxy(contender) as (proc, start):
            measure(rig, run, f"127.0.0.1:{start.port}", [proc.pid])
            if proc.poll() is not None:
                run["error"] = f"the proxy ended with status {proc.returncode}"
            else:
                run["rss_mib"] = procs.rss_kib(proc.pid) / 1024
    except (StartError, ControlError, OSError, subprocess.TimeoutExpired) as e:
        run["error"] = str(e)
    return run


def measure(rig, run, addrs, proxies):
    argv = rig.lg_argv(run["workload"], addrs, "--seconds", str(rig.args.seconds),
                       "--warmup", str(WARMUP_S))
    for pid in proxies + rig.servers.pids():
        argv += ["--watch", str(pid)]
    digest(run, rig.run_lg(argv, rig.args.seconds + 30), bool(proxies))


def digest(run, out, has_proxy):
    lines = out.splitlines()
    if not lines:
        run["error"] = "the generator printed nothing (see its message above)"
        return
    lg = run["lg"] = json.loads(lines[-1])
    if not lg["requests"] and not lg["errors"]:
        run["error"] = "not one reply within the timed window: the machine is too busy"
        return
    if lg["errors"]:
        run["error"] = f"{lg['errors']} wrong replies, first: {lg['first_error']}"
        return
    n, watch = lg["requests"], lg["watch"]
    for figure in ("req_s", "p50_us", "p99_us", "p999_us"):
        run[figure] = lg[figure]
    run["lg_us"] = lg["lg_cpu_s"] * 1e6 / n
    run["backend_us"] = sum(w["run_us"] for w in watch[-SERVERS:]) / n
    if has_proxy:
        me = watch[0]
        ticks = me["user_ticks"] + me["sys_ticks"]
        run["cpu_us"] = me["run_us"] / n
        # The sum is exact; the split is the kernel's sampling at 4 ms.
        run["user_us"] = run["cpu_us"] * (me["user_ticks"] / ticks if ticks else 0)
        run["sys_us"] = run["cpu_us"] - run["user_us"]
        run["util"] = me["run_us"] / 1e6 / lg["seconds"]
        run["wait_share"] = me["wait_us"] / 1e6 / lg["seconds"]
