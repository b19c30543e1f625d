"""A history as tests/e2e/c/load writes it: read, judged, and put into figures."""

import re
import struct
from array import array
from collections import Counter

from .env import ROOT
from .judge import INF, Op, judge_key, judge_sum

RECORD = struct.Struct("<QQQQIHBB")


def _numbered(macro):
    text = (ROOT / "tests/e2e/c/load_ops.def").read_text()
    return re.findall(rf"^{macro}\((\w+),", text, re.M)


CLASSES, OPS, RESULTS = (_numbered(m) for m in ("LOAD_CLASS", "LOAD_OP", "LOAD_RESULT"))
LETTERS = dict(zip(CLASSES, re.findall(r"^LOAD_CLASS\(\w+, '(.)'",
                                       (ROOT / "tests/e2e/c/load_ops.def").read_text(), re.M)))
TOKENS = OPS.index("TOKENS")
READS = {"GET", "GETS"}


class History:
    """keys: {(class, number): [Op]}."""

    def __init__(self, data=b""):
        self.keys = {}
        last = None
        for begin, end, value, aux, key, conn, op, result in RECORD.iter_unpack(data):
            if op == TOKENS:
                last.tokens.extend(t for t in (begin, end, value, aux) if t)
                continue
            last = Op(begin, end or INF, OPS[op], RESULTS[result], value, aux, conn, [])
            self.keys.setdefault((CLASSES[key >> 24], key & 0xffffff), []).append(last)

    @classmethod
    def read(cls, path):
        with open(path, "rb") as f:
            return cls(f.read())

    def ops(self):
        for ops in self.keys.values():
            yield from ops

    def add(self, kind, number, op):
        """What the test itself has seen, as of the servers at the end."""
        self.keys.setdefault((kind, number), []).append(op)

    def judge(self, terms):
        found = []
        for (kind, number), ops in self.keys.items():
            found += judge_key(kind, number, ops, terms)
        return found

    def judge_sums(self, terms, finals):
        """finals: {(class, number): the number that the server holds}."""
        found = []
        for key, final in finals.items():
            found += judge_sum(*key, self.keys.get(key, []), terms, final)
        return found

    # --- figures -----------------------------------------------------------------------------

    def hit_ratio(self, begin, end):
        """Of reads of registers that began in [begin, end), in percent; None without any."""
        hits = total = 0
        for (kind, _), ops in self.keys.items():
            if kind != "REGISTER":
                continue
            for o in ops:
                if o.op in READS and o.result == "OK" and begin <= o.begin < end:
                    total += 1
                    hits += bool(o.value)
        return 100 * hits / total if total else None

    def seconds(self, width_s=1.0):
        """[(when, operations, hit ratio in percent, errors)] of each stretch of time."""
        width = int(width_s * 1e9)
        ops, hits, reads, errors = Counter(), Counter(), Counter(), Counter()
        for (kind, _), many in self.keys.items():
            for o in many:
                at = o.begin // width
                ops[at] += 1
                if o.result in ("ERROR", "TRYAGAIN", "LOST"):
                    errors[at] += 1
                elif kind == "REGISTER" and o.op in READS and o.result == "OK":
                    reads[at] += 1
                    hits[at] += bool(o.value)
        return [(at * width, ops[at], 100 * hits[at] / reads[at] if reads[at] else None, errors[at])
                for at in sorted(ops)]

    def errors(self, begin=0, end=INF):
        """{(operation, result): how many} of what clients saw fail."""
        return Counter((o.op, o.result) for o in self.ops()
                       if o.result in ("ERROR", "TRYAGAIN", "LOST", "CORRUPT")
                       and begin <= o.begin < end)

    def latency_ms(self, begin=0, end=INF):
        """{p50, p99, p999, max} of what was answered and began in [begin, end)."""
        took = array("Q", (o.end - o.begin for o in self.ops()
                           if o.end != INF and begin <= o.begin < end))
        if not took:
            return {}
        took = sorted(took)

        def at(share):
            return round(took[min(len(took) - 1, int(len(took) * share))] / 1e6, 3)
        return {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999), "max": at(1.0)}

    def longest_silence_ms(self, begin=0, end=INF):
        """The longest time in which nobody was answered."""
        ends = sorted(o.end for o in self.ops() if o.end != INF and begin <= o.begin < end)
        return max((b - a for a, b in zip(ends, ends[1:])), default=0) / 1e6

    def describe_key(self, kind, number, limit=60):
        """The last operations on a key, for the report of a violation."""
        ops = sorted(self.keys.get((kind, number), []))
        t0 = ops[0].begin if ops else 0
        return "\n".join(f"  {(o.begin - t0) / 1e6:10.3f} .. {(o.end - t0) / 1e6:10.3f} ms  "
                         f"conn {o.conn:3} {o.op:8} {o.result:8} {o.value} {o.aux or ''} "
                         f"{o.tokens[:8] or ''}" for o in ops[-limit:])
