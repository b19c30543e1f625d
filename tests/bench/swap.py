"""What changing a ring of 1,000 servers under load does to the slowest requests. Both runs of a
pair have the same proxy and load; in one of them a new topology comes again and again."""

import json
import threading

import config
from control import Control, ControlError

NAMES = 1000
RATE = 10000  # requests/s, open loop: a stall is charged to every request that it delays
SECONDS = 2.0
EVERY_S = 0.25


def topologies(proto, ports):
    """Two, which differ in the share of one of those who own the keys."""
    for share in (1, 2):
        lines = config.ring_lines(ports, NAMES)
        lines[0] = lines[0].replace(f":{config.HEAVY} ", f":{share * config.HEAVY} ")
        yield {"pools": {"bench": config.pool(proto, lines)}}


def swapping(start, count):
    """Apply one after the other until told to end. count: a list that receives each."""
    end = threading.Event()
    control = Control(start.socket)
    documents = list(topologies(start.proto, start.ports))
    # Written out beforehand: it takes a CPU longer than the proxy does, and the servers' at that.
    requests = [control.request("topology.apply", lineage="bench", epoch=0, step=0,
                                version=2 + n, **documents[n % 2])
                for n in range(int(2 * SECONDS / EVERY_S))]

    def loop():
        for n, request in enumerate(requests):
            if end.wait(EVERY_S):
                return
            try:
                control.ask(request)
                count.append(n)
            except ControlError as e:
                count.append(str(e))
                return

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()

    def stop():
        end.set()
        thread.join(30)
        control.close()
    return stop


def run_once(rig, with_swaps):
    run = {"proto": rig.proto, "workload": "swap", "proxy": "swapped" if with_swaps else "still",
           "error": "", "swaps": 0}
    with rig.proxy(rig.contenders["twinring-swap"]) as (_, start):
        done = []
        stop = swapping(start, done) if with_swaps else lambda: None
        try:
            out = rig.run_lg(rig.lg_argv("get", f"127.0.0.1:{start.port}", "--rate", str(RATE),
                                         "--warmup", "0.3", "--seconds", str(SECONDS)),
                             SECONDS + 30)
        finally:
            stop()
    lg = json.loads(out.splitlines()[-1])
    run.update({k: lg[k] for k in ("p50_us", "p99_us", "p999_us", "max_us")})
    run["swaps"] = sum(isinstance(d, int) for d in done)
    refused = [d for d in done if isinstance(d, str)]
    run["error"] = lg["first_error"] or (refused[0] if refused else "")
    return run


def measure(rig):
    return [{**run_once(rig, swaps), "rep": rep}
            for rep in range(rig.args.reps)
            for swaps in ((False, True) if rep % 2 == 0 else (True, False))]
