"""The load of tests/e2e/c, run beside whatever a test does to the pool, and its verdict."""

import json
import os
import subprocess
import time
from pathlib import Path

from . import env
from .history import LETTERS, History
from .judge import Terms
from .process import Process

PROGRAM = Path(os.environ.get("TWINRING_LOAD", env.ROOT / "build" / env.BUILD / "tests/e2e/load"))

# Shares of the operations by class.
MIX = {"memcached": {"REGISTER": 88, "COUNTER": 4, "LOCK": 4, "APPEND": 4},
       "redis": {"REGISTER": 60, "COUNTER": 8, "LOCK": 2, "APPEND": 4, "LIST": 6, "SET": 5,
                 "ZSET": 5, "STREAM": 4, "HASH": 6}}


def build():
    """The program, made when it is not there."""
    if not PROGRAM.exists():
        subprocess.run(["make", "-s", f"MODE={env.BUILD}", f"build/{env.BUILD}/tests/e2e/load"],
                       cwd=env.ROOT, check=True, timeout=300)
    return PROGRAM


def now():
    """The clock of histories."""
    return time.monotonic_ns()


class Load(Process):
    """proxies: objects with addr(). keys: {class: how many}; options: of the program, in its
    spelling with _ for -."""

    def __init__(self, world, protocol, proxies, keys, mix=None, storage=False, **options):
        self.protocol, self.proxies, self.key_counts = protocol, list(proxies), keys
        self.storage = storage
        self.path = world.dir / f"{world.name('history')}.bin"
        self.seconds, self.preload, self.done, self.history = [], None, None, None
        mix = mix or {c: n for c, n in MIX[protocol].items() if keys.get(c)}
        self.ttls = int(options.get("ttls", 0))

        def by_class(numbers):
            return ",".join(f"{LETTERS[c]}={n}" for c, n in numbers.items())
        argv = [build(), "--protocol", protocol, "--keys", by_class(keys), "--mix", by_class(mix),
                "--history", self.path, "--seed", world.seed]
        for p in self.proxies:
            argv += ["--proxy", "%s:%d" % p.addr()]
        for name, value in {"preload": True, **options}.items():
            if value is not False:
                argv += ["--" + name.replace("_", "-")] + ([] if value is True else [value])
        super().__init__(world.dir, world.name("load"), argv)
        self.stdin = True
        world.add(self)

    def go(self, seconds=60):
        """Start, and return when the preload is done."""
        self.on_line = self._line
        self.start()
        env.wait_for(self._loaded, seconds, "the preload", every=0.02)
        return self

    def _loaded(self):
        if not self.alive():
            raise RuntimeError(self.describe())
        return self.preload

    def _line(self, line):
        said = json.loads(line)
        if "preload" in said:
            self.preload = said["preload"]
        elif "done" in said:
            self.done = said
        else:
            self.seconds.append(said)

    def say(self, text):
        self.popen.stdin.write(text.encode() + b"\n")
        self.popen.stdin.flush()

    def moved(self, i):
        """The proxy has another address now."""
        self.say("proxy %d %s:%d" % (i, *self.proxies[i].addr()))

    def finish(self, seconds=30):
        """No more requests; what is under way ends; the history is whole."""
        if self.done is None:
            self.say("stop")
            env.wait_for(lambda: self.done, seconds, "the load to end")
        self.popen.wait(10)
        return self

    def wait_seconds(self, n):
        """Until it has reported so many seconds in all."""
        env.wait_for(lambda: len(self.seconds) >= n, 10 + n, f"{n} seconds of load")

    def hit_ratio(self, last=3):
        """Of the last seconds, while it runs."""
        part = self.seconds[-last:]
        reads = sum(s["hits"] + s["misses"] for s in part)
        return 100 * sum(s["hits"] for s in part) / reads if reads else None

    def terms(self, **kw):
        loaded = tuple(self.preload)
        return Terms(storage=self.storage, preload=loaded,
                     preload_ttl_ms=3600000 if self.ttls else 0,
                     slack_s=env.scaled(2.5 if self.protocol == "memcached" else 1.0), **kw)

    def read(self):
        if self.history is None:
            self.history = History.read(self.path)
        return self.history

    def figures(self, begin=0, end=float("inf")):
        """For the report of a run."""
        h = self.read()
        return {"ops": self.done["ops"],
                "ops_per_s": round(self.done["ops"] / (self.done["ended"] - self.done["began"])
                                   * 1e9),
                "errors": {f"{o} {r}": n for (o, r), n in h.errors(begin, end).items()},
                "latency_ms": h.latency_ms(begin, end),
                "silence_ms": round(h.longest_silence_ms(begin, end), 1)}

    def verdict(self, at_least=1000, **kw):
        """Fail on any violation, with the history of the key."""
        self.finish()
        h = self.read()
        found = h.judge(self.terms(**kw))
        self.raise_for(found)
        assert not self.done["corrupt"], self.describe()
        assert self.done["ops"] >= at_least, f"only {self.done['ops']} operations"
        return self

    def raise_for(self, found):
        if not found:
            return
        v = found[0]
        kind, _, number = v.key.partition(":")
        raise AssertionError(f"{len(found)} violations; " + "; ".join(
            f"{x.rule} {x.key}: {x.text}" for x in found[:5]) + f"\n{v.op}\n"
            + self.read().describe_key(kind, int(number)))
