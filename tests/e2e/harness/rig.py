"""One proxy, servers with witnesses, and a checking client beside whatever a test does to them."""

from .checker import Checker
from .env import wait_for
from .proxy import pool
from .servers import Monitor, Watch
from .wire import command


class Rig:
    """`pools`: more pools of the same proxy. The checker's keys begin with b"chk"."""

    def __init__(self, world, protocol, n=2, pools=None, check_pool="p", checker=True, options=None,
                 **proxy_options):
        self.world, self.protocol = world, protocol
        verbose = {"verbose": True} if protocol == "memcached" else {}
        self.servers = world.servers(protocol, n, **verbose)
        self.witnesses = [world.add(Watch(s) if protocol == "memcached" else Monitor(s))
                          for s in self.servers]
        self.proxy = world.proxy({"p": pool(protocol, self.servers, **(options or {})),
                                  **(pools or {})}, **proxy_options)
        self.check_pool = check_pool
        self.log_at = {}
        self.checks = 0
        self.checker = None
        if checker:
            self.check()

    def check(self):
        """Start a (new) checking client, with keys of its own."""
        if self.checker:
            self.checker.stop()
        self.checks += 1
        self.checker = self.world.add(Checker(self.proxy.addr(self.check_pool), self.protocol,
                                              [b"chk%d-%d" % (self.checks, i)
                                               for i in range(40)],
                                              seed=self.world.seed)).go()
        return self

    def client(self, **kw):
        return self.proxy.raw("p", **kw)

    def executed(self):
        """What the servers executed since the last call, but for the checker and what the proxy
        asks for itself: from memcached's `watch` log and its -vv log, or from MONITOR."""
        out = []
        for s, w in zip(self.servers, self.witnesses):
            if self.protocol == "redis":
                out += [x.encode() for x in w.lines() if '"chk' not in x]
                continue
            out += [e for e in w.events() if b"key=chk" not in e]
            commands = s.commands()
            out += [c for c in commands[self.log_at.get(s, 0):]
                    if b"chk" not in c and b"watch" not in c
                    and c.split(b" ")[0].strip() not in (b"version", b"mn", b"")]
            self.log_at[s] = len(commands)
        return out

    def in_sync(self, conn):
        """The connection still answers: a miss to a get, and nothing before it."""
        if self.protocol == "memcached":
            got = conn.mc(b"get in-sync\r\n")
            assert got == b"END\r\n", f"stray reply {got[:300]!r}"
        else:
            got = conn.resp("ECHO", "in-sync")
            assert got == b"$7\r\nin-sync\r\n", f"stray reply {got[:300]!r}"

    def one_error(self, request, conn=None, may_close=True):
        """Exactly one error reply to `request`; then in sync, or closed. Returns the error."""
        c = conn or self.client()
        try:
            c.send(request)
            line = c.line()
            assert line.startswith((b"ERROR", b"CLIENT_ERROR ", b"SERVER_ERROR ", b"-")), line
            try:
                self.in_sync(c)
            except (EOFError, ConnectionError):
                assert may_close, f"closed after {line!r}"
                assert not c.buf, bytes(c.buf)
            return line
        finally:
            if conn is None:
                c.close()

    def stat(self, pool, name, server=None):
        """One figure of the stats JSON; of all the pool's servers when it is a server's."""
        p = self.proxy.stats()[pool]
        if server:
            return p[server][name]
        if name in p:
            return p[name]
        return sum(v[name] for v in p.values() if isinstance(v, dict))

    def wait_stat(self, pool, name, at_least=1):
        return wait_for(lambda: self.stat(pool, name) >= at_least, 5, f"{name} >= {at_least}")

    def calm(self):
        """The checking client saw nothing at all, and is still being served."""
        done = self.checker.ops
        wait_for(lambda: self.checker.ops > done + 20 or not self.checker.is_alive(), 20,
                 "the checking client to be served")
        self.checker.verdict()


def storage(verb=b"set", key=b"k", flags=b"0", exptime=b"0", size=b"14", tail=b"",
            body=b"get smuggled\r\n"):
    """A storage request whose body would be a command, if anybody took it for one. The default
    is well-formed."""
    return b" ".join(x for x in (verb, key, flags, exptime, size, tail) if x) + b"\r\n" + body + b"\r\n"


__all__ = ["Rig", "command", "storage"]
