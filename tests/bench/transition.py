"""A pool on its way from three servers to four, pushed through the control socket."""

import config
from control import Control

PHASES = ["prepare", "hold", "dual"]
TRACED_AT_ONCE = 200


def rings(proto, ports):
    """The fourth server is the first one's port under another name: keys that stay never go there.
    """
    old = config.pool(proto, config.server_lines(ports))
    new = config.pool(proto, config.server_lines([*ports, ports[0]]))
    return old, new


def topology(proto, ports, phase, version):
    old, new = rings(proto, ports)
    rules = {"phase": phase, "mode": "cache", "promote": True, "lease_ms": 0, "next": new}
    return {"lineage": "bench", "epoch": 1, "step": version, "version": version,
            "pools": {"bench": old}, "transitions": {"bench": rules}}


def enter(path, proto, ports, phases=PHASES):
    """Lead the proxy into the last of `phases`."""
    control = Control(path)
    for i, phase in enumerate(phases, 1):
        control.call("topology.apply", **topology(proto, ports, phase, i))
    return control


def staying(control, keys):
    """[key] -> [whether it stays], by what the proxy says of each."""
    found = []
    for i in range(0, len(keys), TRACED_AT_ONCE):
        part = keys[i:i + TRACED_AT_ONCE]
        answers = control.calls([("route.trace", {"pool": "bench", "key": k}) for k in part])
        found += [not a["route"]["moves"] for a in answers]
    return found
