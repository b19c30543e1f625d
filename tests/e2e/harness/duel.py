"""Two proxies and two servers, with a gate on each way between them: races that a load would have to
wait for are made to happen. Each proxy has relays of its own, by topologies that differ in nothing but
the addresses."""

import time

from .env import scaled, wait_for
from .proxy import Control, pool
from .walk import EPOCH_KEY

OLD, NEW = 0, 1


class RuleBroken(AssertionError):
    """What no client may see has been seen."""


def must(ok, what):
    if not ok:
        raise RuleBroken(what)


class Duel:
    """Every key moves from server OLD to server NEW. P and Q are the proxies, p and q clients of
    theirs. gate(i, s): the relay between proxy i and server s, whose `up` and `down` can be stalled."""

    def __init__(self, world, protocol, storage=False, bug=None, lease_ms=0):
        self.world, self.protocol, self.lease_ms = world, protocol, lease_ms
        self.servers = world.servers(protocol, 2)
        self.relays = [[world.relay(s.addr) for s in self.servers] for _ in range(2)]
        self.rules = {"mode": "storage" if storage else "cache", "promote": True,
                      "hold_park_ms": 3000}
        environ = {"TWINRING_BUG": bug} if bug else None
        self.proxies = [world.proxy({"p": self._pool(i, OLD)}, threads=1, environ=environ)
                        for i in range(2)]
        self.version, self.mark = 0, ""
        self.phases = ["stable", "stable"]
        self.p, self.q = (world.add(x.raw(timeout=scaled(10))) for x in self.proxies)
        self.old, self.new = (world.add(s.raw(timeout=scaled(10))) for s in self.servers)

    def gate(self, i, server):
        return self.relays[i][server]

    def _pool(self, i, server):
        return pool(self.protocol, [self.relays[i][server]], names=[f"s{server}"],
                    timeout_ms=int(scaled(8000)),
                    **({"cas_tags": True} if self.protocol == "memcached" else {}))

    def _document(self, i, phase):
        doc = {"lineage": "", "epoch": 1, "step": self.version, "version": self.version,
               "pools": {"p": self._pool(i, OLD)}}
        if phase != "stable":
            doc["transitions"] = {"p": {"phase": phase, "mark": self.mark,
                                        "lease_ms": self.lease_ms, "next": self._pool(i, NEW),
                                        **self.rules}}
        if self.lease_ms:
            doc["lease_ms"] = self.lease_ms
        return doc

    def to(self, phase, who=(0, 1), drained=True):
        """Into the phase; false when somebody has not drained after a while, if that is asked."""
        self.version += 1
        if phase in ("dual", "dual-r") and self.protocol == "redis":
            if phase not in self.phases:
                self.mark = f"1.{self.version}"
            for c in (self.old, self.new):
                assert c.resp("SET", EPOCH_KEY, self.mark) == b"+OK\r\n"
        for i in who:
            self.phases[i] = phase
            with Control(self.proxies[i].ready["control"]) as c:
                c.call("topology.apply", **self._document(i, phase))
        return not drained or self.drained(who)

    def drained(self, who=(0, 1), seconds=1.0):
        def all_have():
            for i in who:
                with Control(self.proxies[i].ready["control"]) as c:
                    if not c.call("hello")["topology"]["drained"]:
                        return False
            return True
        try:
            return wait_for(all_have, seconds, "drained")
        except AssertionError:
            return False

    def walk(self, *phases):
        for phase in phases:
            assert self.to(phase), phase
        return self

    # --- what clients say ----------------------------------------------------------------------

    def set_text(self, key, value):
        if self.protocol == "redis":
            return b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(key), key, len(value),
                                                                    value)
        return b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value)

    def get_text(self, key):
        if self.protocol == "redis":
            return b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key)
        return b"get %s\r\n" % key

    def delete_text(self, key):
        if self.protocol == "redis":
            return b"*2\r\n$3\r\nDEL\r\n$%d\r\n%s\r\n" % (len(key), key)
        return b"delete %s\r\n" % key

    def reply(self, c):
        return c.resp_raw() if self.protocol == "redis" else c.mc()

    def ask(self, c, text):
        c.send(text)
        return self.reply(c)

    def set(self, c, key, value):
        got = self.ask(c, self.set_text(key, value))
        return got in (b"STORED\r\n", b"+OK\r\n")

    def get(self, c, key):
        """The value, None for none; an error is returned as it came."""
        got = self.ask(c, self.get_text(key))
        if got in (b"END\r\n", b"$-1\r\n"):
            return None
        lines = got.split(b"\r\n")
        return lines[1] if got[:1] in (b"V", b"$") else got

    def delete(self, c, key):
        got = self.ask(c, self.delete_text(key))
        return got in (b"DELETED\r\n", b"NOT_FOUND\r\n", b":0\r\n", b":1\r\n")
