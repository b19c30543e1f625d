"""A client that goes on asking and checks every reply: what must not be disturbed."""

import random
import statistics
import threading
import time

from .env import scaled
from .wire import Raw, bulk, command


class Checker(threading.Thread):
    """Sets and gets its own keys on one connection, in batches of `depth` pipelined requests.

    Every reply is checked against what this client wrote. An error reply, a lost value, a value
    of another key or another time and a closed connection are all recorded; `verdict()` raises
    when there is any. With `tolerant`, error replies and misses are counted instead (its server is
    being tormented), but a wrong value or a closed connection never is.
    """

    def __init__(self, addr, protocol, keys, depth=1, pause=0.002, tolerant=False, seed=0,
                 timeout=15.0, name="checker", value_max=400):
        super().__init__(daemon=True, name=name)
        self.addr, self.protocol = addr, protocol
        self.keys = list(keys)
        self.depth, self.pause, self.tolerant = depth, pause, tolerant
        self.random = random.Random(seed)
        self.timeout = timeout
        self.value_max = value_max
        self.tried = {k: [None] for k in self.keys}  # values that may be there; the last is newest
        self.counter = 0
        self.ops = 0
        self.errors = 0
        self.error_texts = {}
        self.problems = []
        self.samples = []  # (when, seconds a batch took)
        self.longest_error = 0.0
        self.halt = threading.Event()
        self.running = threading.Event()

    # --- one batch --------------------------------------------------------------------------

    def _request(self):
        key = self.random.choice(self.keys)
        newest = self.tried[key][-1]
        what = self.random.random()
        if newest is None or what < 0.3:
            self.counter += 1
            size = self.random.randrange(self.value_max)
            value = b"%s=%d=" % (key, self.counter) + b"v" * size
            return ("set", key, value)
        if what < 0.45:
            return ("mget", self.random.choices(self.keys, k=self.random.randrange(2, 6)), None)
        return ("get", key, None)

    def _bytes(self, op):
        kind, key, value = op
        if self.protocol == "memcached":
            if kind == "set":
                return b"set %s 7 0 %d\r\n%s\r\n" % (key, len(value), value)
            return b"get %s\r\n" % (b" ".join(key) if kind == "mget" else key)
        if kind == "set":
            return command("SET", key, value)
        return command("MGET", *key) if kind == "mget" else command("GET", key)

    def _check_value(self, key, value):
        """`value` was read from `key`: None is a miss."""
        tried = self.tried[key]
        if value is None and (self.tolerant or tried[-1] is None):
            return
        if value == tried[-1] or (self.tolerant and value in tried):
            return
        self.problems.append(f"{key!r}: read {value and value[:80]!r}, "
                             f"wrote {tried[-1] and tried[-1][:80]!r}")

    def _error(self, text, took):
        self.errors += 1
        self.error_texts[text] = self.error_texts.get(text, 0) + 1
        self.longest_error = max(self.longest_error, took)
        if not self.tolerant:
            self.problems.append(f"error reply {text!r}")

    def _reply(self, conn, op, began):
        kind, key, value = op
        if self.protocol == "memcached":
            got = conn.mc()
            failed = b"ERROR" in got.split(b"\r\n", 1)[0] or got.endswith(b"ERROR\r\n")
        else:
            got = conn.resp_raw()
            failed = got[:1] == b"-"
        if not failed and self.protocol == "memcached" and kind != "set" \
                and not got.endswith(b"END\r\n"):
            failed = True  # VALUE blocks and then an error line
        if failed:
            self._error(got[:160].decode(errors="replace"), time.monotonic() - began)
            return
        if kind == "set":
            ok = b"STORED\r\n" if self.protocol == "memcached" else b"+OK\r\n"
            if got != ok:
                self.problems.append(f"set {key!r}: {got[:160]!r}")
            elif not self.tolerant:
                self.tried[key] = [value]
            return
        keys = key if kind == "mget" else [key]
        if self.protocol == "memcached":
            self._check_mc(keys, got)
        else:
            self._check_redis(kind, keys, got)

    def _check_mc(self, keys, got):
        """VALUE blocks in the order of the keys, misses left out, one END."""
        at, values = 0, []
        while got[at:at + 6] == b"VALUE ":
            end = got.index(b"\r\n", at)
            _, name, flags, size = got[at:end].split()
            values.append((name, got[end + 2:end + 2 + int(size)]))
            if flags != b"7":
                self.problems.append(f"{name!r}: flags {flags!r}")
            at = end + 4 + int(size)
        if got[at:] != b"END\r\n":
            self.problems.append(f"get {keys!r}: {got[at:at + 160]!r}")
        i = 0
        for k in keys:
            if i < len(values) and values[i][0] == k:
                self._check_value(k, values[i][1])
                i += 1
            else:
                self._check_value(k, None)
        if i != len(values):
            self.problems.append(f"get {keys!r}: unexpected {values[i][0]!r}")

    def _check_redis(self, kind, keys, got):
        conn = _Bytes(got)
        if kind == "mget":
            head = conn.line()
            if head != b"*%d\r\n" % len(keys):
                self.problems.append(f"mget {keys!r}: {got[:160]!r}")
                return
        for k in keys:
            line = conn.line()
            n = int(line[1:]) if line[:1] == b"$" else None
            if n is None:
                self.problems.append(f"get {k!r}: {line[:160]!r}")
                return
            self._check_value(k, None if n < 0 else conn.exactly(n + 2)[:-2])

    # --- life -------------------------------------------------------------------------------

    def run(self):
        try:
            with Raw(self.addr, timeout=self.timeout) as conn:
                while not self.halt.is_set():
                    self._batch(conn)
                    if self.problems and len(self.problems) > 20:
                        return
                    self.running.set()
                    if self.pause:
                        self.halt.wait(self.pause)
        except Exception as e:  # a closed connection, a timeout or nonsense: all are findings
            self.problems.append(f"connection: {type(e).__name__}: {e}")
        finally:
            self.running.set()

    def _batch(self, conn):
        ops = []
        for _ in range(self.depth):
            op = self._request()
            if op[0] == "set":
                # A set is in doubt from here; when its reply says so it becomes the only value.
                self.tried[op[1]].append(op[2])
                del self.tried[op[1]][1:-2000]
            ops.append(op)
        began = time.monotonic()
        conn.send(b"".join(map(self._bytes, ops)))
        if self.depth > 1 and not self.tolerant:
            # Within a batch a get may come before a later set of the same key: check in order.
            self._batch_replies(conn, ops, began)
        else:
            for op in ops:
                self._reply(conn, op, began)
        self.samples.append((began, time.monotonic() - began))
        self.ops += len(ops)

    def _batch_replies(self, conn, ops, began):
        pending = {}
        for op in ops:
            if op[0] == "set":
                pending.setdefault(op[1], []).append(op[2])
        for k, values in pending.items():
            del self.tried[k][-len(values):]
            self.tried[k] = self.tried[k] or [None]
        for op in ops:
            if op[0] == "set":
                self.tried[op[1]].append(op[2])
            self._reply(conn, op, began)

    def go(self):
        """Start, and return when the first batch is done."""
        self.start()
        assert self.running.wait(scaled(20)), "checker did not start"
        return self

    def stop(self):
        self.halt.set()
        if self.is_alive():
            self.join(scaled(self.timeout) + 5)

    def median(self, since=0.0, until=float("inf")):
        """Median seconds of the batches that began in [since, until)."""
        return statistics.median(self.times(since, until))

    def times(self, since=0.0, until=float("inf")):
        return [s for t, s in self.samples if since <= t < until]

    def verdict(self, at_least=10):
        """Stop, and fail when anything was wrong or hardly anything was asked."""
        self.stop()
        assert not self.is_alive(), f"{self.name}: hangs after {self.ops} requests"
        assert not self.problems, (f"{self.name}: {len(self.problems)} problems after {self.ops} "
                                   "requests: " + "; ".join(self.problems[:5]))
        assert self.ops >= at_least, f"{self.name}: only {self.ops} requests"
        return self


class _Bytes(Raw):
    """Parse a reply that is already here."""

    def __init__(self, data):
        self.buf = bytearray(data)

    def fill(self):
        raise EOFError("short reply")


def by_server(protocol, proxy_addr, servers, count, prefix=b"key"):
    """{server: [keys]} with at least `count` keys each, found by writing through the proxy and
    looking for them on the servers."""
    out = {s: [] for s in servers}
    n = 0
    with Raw(proxy_addr) as c:
        while any(len(v) < count for v in out.values()):
            assert n < 200 * count * len(servers), f"uneven: { {s.name: len(v) for s, v in out.items()} }"
            keys = [b"%s-%d" % (prefix, i) for i in range(n, n + 50)]
            n += 50
            if protocol == "memcached":
                c.send(b"".join(b"set %s 0 0 1\r\nx\r\n" % k for k in keys))
                for k in keys:
                    assert c.mc() == b"STORED\r\n"
            else:
                c.send(b"".join(command("SET", k, "x") for k in keys))
                for k in keys:
                    assert c.resp_raw() == b"+OK\r\n"
            for s in servers:
                for k in present(protocol, s, keys):
                    out[s].append(k)
    return out


def present(protocol, server, keys, batch=200):
    """Those of `keys` that `server` has, asked directly."""
    found = []
    with server.raw() as c:
        for i in range(0, len(keys), batch):
            part = keys[i:i + batch]
            if protocol == "memcached":
                c.send(b"".join(b"get %s\r\n" % k for k in part))
                found += [k for k in part if c.mc() != b"END\r\n"]
            else:
                c.send(b"".join(command("EXISTS", k) for k in part))
                found += [k for k in part if c.resp_raw() == b":1\r\n"]
    return found


__all__ = ["Checker", "bulk", "by_server", "present"]
