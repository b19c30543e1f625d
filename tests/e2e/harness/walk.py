"""A transition led by hand: phases pushed to proxies through their control sockets, by a test in the
agents' and the coordinator's place. What the proxies do is theirs; what the rules ask of the agents
(scrub, epoch marks, mover, barrier) is done here, or for once left undone."""

import contextlib
import time

from .env import scaled, wait_for
from .oracle import owners
from .proxy import Control
from .wire import Raw, command

FORWARD = ["prepare", "hold", "dual", "drain"]
BACK = ["hold-r", "dual-r", "drain-r"]
EPOCH_KEY = b"twinring:epoch"


def is_back(phase):
    return phase.endswith("-r")


class Walk:
    """proxies: of pool `name`, which is `ring` now and is to become `target`; both as pool() makes
    them. keys: all that will ever be used, for scrub and mover. servers: all of both rings."""

    def __init__(self, proxies, ring, target, servers, keys, storage=False, promote=True, lease_ms=0,
                 name="p", version=0, **rules):
        self.proxies, self.ring, self.target, self.name = list(proxies), ring, target, name
        self.servers, self.keys = {s.text: s for s in servers}, list(keys)
        self.protocol, self.lease_ms = ring["protocol"], lease_ms
        self.rules = {"mode": "storage" if storage else "cache", "promote": promote, **rules}
        self.version, self.epoch = version, 1
        self.phase, self.mark = "stable", ""
        self.dual_entered = False
        self.slices = None  # a phase for each sixteenth of the keys, instead of self.phase
        self.look()

    def look(self):
        """Who owns what by both rings; call it after another target was set."""
        self.before = owners(self.ring, self.keys)
        self.after = owners(self.target, self.keys)
        self.moving = [k for k in self.keys if self.before[k] != self.after[k]]

    # --- topologies --------------------------------------------------------------------------

    def document(self):
        doc = {"lineage": "", "epoch": self.epoch, "step": self.version, "version": self.version,
               "pools": {self.name: self.ring}}
        if self.phase != "stable":
            phase = {"slices": self.slices} if self.slices else {"phase": self.phase}
            doc["transitions"] = {self.name: {
                **phase, "mark": self.mark, "lease_ms": self.lease_ms, "next": self.target,
                **self.rules}}
        if self.lease_ms:
            doc["lease_ms"] = self.lease_ms
        return doc

    def apply(self, proxy):
        """One proxy takes the topology; returns its connection, on which "drained" will come, and
        whether that need not be waited for."""
        control = Control(proxy.ready["control"])
        return control, control.call("topology.apply", **self.document()).get("drained")

    def publish(self, proxies=None, barrier=True, stagger=0):
        """All of them take it, `stagger` seconds after each other, and when they have drained it
        returns."""
        self.version += 1
        with contextlib.ExitStack() as stack:
            waiting = []
            for p in proxies or self.proxies:
                control, drained = self.apply(p)
                stack.enter_context(control)
                if not drained:
                    waiting.append(control)
                time.sleep(stagger)
            if barrier:
                for control in waiting:
                    control.wait_event("drained", version=self.version)

    def to(self, phase, duties=True, **kw):
        """Into the next phase, with what has to be done before it."""
        if duties:
            self.duties(phase)
        self.phase = phase
        self.dual_entered |= phase == "dual"
        self.publish(**kw)
        return self

    def duties(self, phase):
        if phase == "hold" and self.phase == "prepare":
            self.scrub()
        elif phase in ("dual", "dual-r") and self.protocol == "redis":
            self.new_mark()
        elif phase in ("drain", "drain-r"):
            self.move()

    def finish(self, **kw):
        """Out of DRAIN to the new ring, or out of DRAIN-R or PREPARE to the old one."""
        if self.phase == "drain":
            self.ring, self.target = self.target, self.ring
            self.before, self.after = self.after, self.before
        self.phase, self.mark, self.dual_entered = "stable", "", False
        self.publish(**kw)
        self.epoch += 1
        return self

    def forward(self, dwell=lambda phase: None, **kw):
        """All the way. dwell(phase) is called in each phase."""
        for phase in FORWARD:
            self.to(phase, **kw)
            dwell(phase)
        self.finish()
        dwell("stable")
        return self

    def back(self, dwell=lambda phase: None):
        """Abort, from whatever phase of the way forward."""
        if self.phase == "drain":
            self.to("dual", duties=False)
        if self.phase == "dual":
            self.to("hold")
        if self.phase == "hold" and not self.dual_entered:
            self.to("prepare")
        if self.phase != "prepare":
            for phase in BACK:
                self.to(phase)
                dwell(phase)
        return self.finish()

    # --- the agents' part --------------------------------------------------------------------

    def roles(self):
        """(owners of authority, owners of the source) in this phase."""
        return (self.before, self.after) if is_back(self.phase) else (self.after, self.before)

    def by_server(self, keys, owner):
        out = {}
        for k in keys:
            out.setdefault(owner[k], []).append(k)
        return [(self.servers[text], ks) for text, ks in out.items()]

    def ask(self, server, requests, reply):
        """Pipelined, in batches; the replies."""
        out = []
        with server.raw(timeout=scaled(30)) as c:
            for i in range(0, len(requests), 500):
                part = requests[i:i + 500]
                c.send(b"".join(part))
                out += [reply(c) for _ in part]
        return out

    def delete(self, server, keys):
        if self.protocol == "redis":
            self.ask(server, [command("UNLINK", k) for k in keys], Raw.resp_raw)
        else:
            self.ask(server, [b"delete %s\r\n" % k for k in keys], Raw.mc)

    def scrub(self):
        """No target has a copy of what it is about to get."""
        for server, keys in self.by_server(self.moving, self.after):
            self.delete(server, keys)

    def new_mark(self):
        self.mark = f"{self.epoch}.{self.version + 1}"
        for server in self.servers.values():
            with server.raw() as c:
                assert c.resp("SET", EPOCH_KEY, self.mark) == b"+OK\r\n"

    def move(self):
        """Every moving key is asked for through a proxy, which imports or promotes it; for Redis
        until no source has any."""
        source = self.roles()[1]
        with self.proxies[0].raw(self.name, timeout=scaled(60)) as c:
            for i in range(0, len(self.moving), 200):
                part = self.moving[i:i + 200]
                if self.protocol == "redis":
                    c.send(b"".join(command("TYPE", k) for k in part))
                    for _ in part:
                        c.resp_raw()
                else:
                    c.send(b"".join(b"get %s\r\n" % k for k in part))
                    for _ in part:
                        c.mc()
        if self.protocol == "redis":
            wait_for(lambda: not self.left(source), 20, "the sources to be empty")

    def left(self, source):
        """Moving keys that a Redis source still has."""
        out = []
        for server, keys in self.by_server(self.moving, source):
            got = self.ask(server, [command("EXISTS", k) for k in keys], Raw.resp_raw)
            out += [k for k, r in zip(keys, got) if r != b":0\r\n"]
        return out
