"""The truth at the end of a run, from the servers themselves: who has which key, with which value."""

import os
import subprocess
import tempfile
import urllib.parse

import redis as redis_py
import yaml

from . import env
from .history import CLASSES, LETTERS
from .judge import OK, PRELOADED, Op, Violation
from .load import now

ORACLE = 65535  # the connection that final reads are said to be from
KINDS = {letter: name for name, letter in LETTERS.items()}


def owners(pool, keys):
    """{key: "host:port"} of a pool(), as `twinring-proxy --where` has it."""
    address = {s.split()[-1]: s.split()[0].rpartition(":")[0] for s in pool["servers"]}
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as f:
        yaml.safe_dump({"listeners": [{"listen": "127.0.0.1:0", "pool": "p"}],
                        "pools": {"p": pool}}, f, sort_keys=False)
        f.flush()
        r = subprocess.run([str(env.PROXY), "-c", f.name, "--where", "p"],
                           input=b"\n".join(keys) + b"\n", capture_output=True, timeout=300)
    assert r.returncode == 0, r.stderr.decode()
    names = dict(line.rsplit(b"\t", 1) for line in r.stdout.splitlines())
    return {k: address[os.fsdecode(name)] for k, name in names.items()}


def load_keys(counts):
    """Every key that a load with so many keys may use."""
    return [b"%s:%d" % (LETTERS[c].encode(), i) for c in CLASSES for i in range(counts.get(c, 0))]


def parse_key(key):
    """(class, number), or None for a key that no load uses."""
    letter, _, number = key.partition(b":")
    kind = KINDS.get(letter.decode("latin-1"))
    return (kind, int(number)) if kind and number.isdigit() else None


# --- what is there -----------------------------------------------------------------------------

def names(server, protocol):
    """Every key of a server."""
    if protocol == "redis":
        r = redis_py.Redis(port=server.port)
        return [k for k in r.scan_iter(count=5000) if not k.startswith(b"twinring:")]
    out = []
    with server.raw(timeout=env.scaled(60)) as c:
        c.send(b"lru_crawler metadump all\r\n")
        while True:
            line = c.until(b"\n")  # these have no \r
            if line.startswith((b"END", b"ERROR", b"BUSY")):
                return out
            out.append(urllib.parse.unquote_to_bytes(line.split()[0][len(b"key="):]))


def _value(text):
    """The number in "KEY=ID=...", or in a counter."""
    return int(text.split(b"=")[1]) if b"=" in text else int(text)


def _tokens(items):
    return [int(t[1:]) for t in items if t[:1] == b"t" and t[1:].isdigit()]


READ = {
    "REGISTER": lambda p, k: p.get(k), "LOCK": lambda p, k: p.get(k),
    "COUNTER": lambda p, k: p.get(k), "APPEND": lambda p, k: p.get(k),
    "HASH": lambda p, k: p.hget(k, "n"), "LIST": lambda p, k: p.lrange(k, 0, -1),
    "SET": lambda p, k: p.smembers(k), "ZSET": lambda p, k: p.zrange(k, 0, -1),
    "STREAM": lambda p, k: p.xrange(k),
}


def _final(kind, got):
    """An Op that says what was read."""
    at = now()
    tokens, value, what = [], 0, "GET"
    if kind == "APPEND":
        what = "READALL"
        tokens = [int(t) for t in got.split(b"=", 2)[2].split(b",") if t] if got else []
    elif kind == "STREAM":
        what, tokens = "READALL", _tokens(f[b"t"] for _, f in got)
    elif kind in ("LIST", "SET", "ZSET"):
        what, tokens = "READALL", _tokens(got)
    elif got is not None:
        value = _value(got)
    if what == "READALL":
        value = len(tokens)
    return Op(at, at, what, OK, value, int(got is not None and got != []), ORACLE, tokens)


def read_redis(server, keys):
    """{key: (Op, remaining ms to live: -1 for ever)}."""
    out = {}
    r = redis_py.Redis(port=server.port)
    for i in range(0, len(keys), 1000):
        part = keys[i:i + 1000]
        pipe = r.pipeline(transaction=False)
        for k in part:
            READ[parse_key(k)[0]](pipe, k)
            pipe.pttl(k)
        got = pipe.execute()
        for k, value, ttl in zip(part, got[::2], got[1::2]):
            out[k] = (_final(parse_key(k)[0], value), ttl)
    return out


def read_memcached(server, keys):
    """The same; only of keys that are there. What is left of a promotion (a placeholder) is not."""
    out = {}
    with server.raw(timeout=env.scaled(60)) as c:
        for i in range(0, len(keys), 500):
            part = keys[i:i + 500]
            c.send(b"".join(b"mg %s v t\r\n" % k for k in part))
            for k in part:
                head = c.line()
                if not head.startswith(b"VA "):
                    continue
                fields = head.split()
                value = c.exactly(int(fields[1]) + 2)[:-2]
                ttl = next(int(f[1:]) for f in fields[2:] if f[:1] == b"t")
                if value:
                    out[k] = (_final(parse_key(k)[0], value), ttl * 1000 if ttl > 0 else ttl)
    return out


# --- what should be there ----------------------------------------------------------------------

def _ttl_problem(ops, final, ttl_ms, terms, number):
    """The time to live of a register's final value is what its write demands."""
    if any(o.op == "TOUCH" for o in ops) or not final.value:
        return None
    if final.value == PRELOADED:
        when, asked = terms.preload, terms.preload_ttl_ms if number % 10 == 0 else 0
    else:
        write = next((o for o in ops if o.value == final.value and o.op in ("SET", "CAS", "ADD")),
                     None)
        if write is None:
            return None  # a GHOST, and found as such
        when, asked = (write.begin, write.end), write.aux if write.op == "SET" else 0
    if not asked:
        return None if ttl_ms == -1 else f"{ttl_ms} ms to live, asked for ever"
    if ttl_ms == -1:
        return f"for ever, asked {asked} ms"
    ends = final.begin + ttl_ms * 1e6
    low, high = when[0] + asked * 1e6 - terms.slack, when[1] + asked * 1e6 + terms.slack
    return None if low <= ends <= high else f"{ttl_ms} ms to live, {asked} asked at {when}"


def inspect(load, pool, servers, sample=None):
    """Add to the load's history what the servers have at the end, and return the violations that
    only they show: a key in the wrong place or twice (storage), a wrong time to live.

    sample: of the keys that nobody used, look into so many values at most; which keys there are is
    always seen for all."""
    h, terms, found = load.read(), load.terms(), []
    owner = owners(pool, load_keys(load.key_counts))
    seen = {}
    for s in servers:
        here = names(s, load.protocol)
        mine = [k for k in here if owner.get(k) == s.text]
        if load.storage:
            found += [Violation("MISPLACED", _name(k), f"on {s.text}, belongs on {owner.get(k)}",
                                None) for k in here if k in owner and owner[k] != s.text]
        for k in mine:
            seen[k] = s
        used = [k for k in mine if parse_key(k) in h.keys]
        idle = [k for k in mine if parse_key(k) not in h.keys][:sample]
        read = read_redis if load.protocol == "redis" else read_memcached
        for k, (final, ttl) in read(s, used + idle).items():
            kind, number = parse_key(k)
            ops = h.keys.get((kind, number), [])
            if kind == "REGISTER":
                why = _ttl_problem(ops, final, ttl, terms, number)
                if why:
                    found.append(Violation("TTL", _name(k), why, final))
            h.add(kind, number, final)
    if load.storage:
        _missing(h, owner, seen)
    return found


def _name(key):
    return "{}:{}".format(*(parse_key(key) or ("", key)))


def _missing(h, owner, seen):
    """What is nowhere is read as nothing: judged like any other read."""
    at = now()
    for k in owner.keys() - seen.keys():
        kind, number = parse_key(k)
        what = "READALL" if kind in ("APPEND", "LIST", "SET", "ZSET", "STREAM") else "GET"
        h.add(kind, number, Op(at, at, what, OK, 0, 0, ORACLE, []))


def sums(load, servers):
    """Counters of a storage pool against the increments that were asked for."""
    h = load.read()
    finals = {}
    for (kind, number), ops in h.keys.items():
        if kind in ("COUNTER", "HASH"):
            last = [o.value for o in ops if o.conn == ORACLE]
            if last:
                finals[kind, number] = last[-1]
    return h.judge_sums(load.terms(), finals)


def prove(load, pool, servers, sample=20000, **kw):
    """After the load: every rule, with what the servers have at the end."""
    load.finish()
    found = inspect(load, pool, servers, sample)
    found += load.read().judge(load.terms(**kw))
    if load.storage:
        found += sums(load, servers)
    load.raise_for(found)
    assert not load.done["corrupt"], load.describe()
    return load


__all__ = ["inspect", "load_keys", "names", "owners", "prove"]
