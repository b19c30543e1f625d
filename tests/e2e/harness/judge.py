"""What a history of operations on a pool may look like, key by key; O(n log n) each.

Times are intervals: an operation took effect somewhere between its begin and its end. An unknown
outcome (an error, a lost connection) has no end: it may take effect at any later time, or never.

FRESH   a read begun after a mutation w was acknowledged returns no value whose write had ended
        before w began (Redis in storage mode: nor nothing, unless a delete explains that)
MONO    the same, with "some read returned w's value" in place of "w was acknowledged"
ORDER   what one connection pipelined took effect in the order of that connection
LOCK    an add begun after an acknowledged add, no delete since, is not stored
CAS     a stored cas was on the newest value (it is a read of the value that its token is of)
COUNT   two increments do not give the same number; at the end acknowledged <= sum <= asked
SET     a collection has every acknowledged token, and none twice
GHOST   nothing is read that was never written, or not yet, or was certainly refused
EXPIRED nothing is read after its time to live
"""

import bisect
from collections import namedtuple

INF = float("inf")
PRELOADED = 1
BASE_SHIFT = 20

Op = namedtuple("Op", "begin end op result value aux conn tokens")
Violation = namedtuple("Violation", "rule key text op")

OK, FAIL, TRYAGAIN, ERROR, LOST, CORRUPT = "OK FAIL TRYAGAIN ERROR LOST CORRUPT".split()
WRITES = {"SET", "ADD", "CAS"}
COUNTERS = {"COUNTER", "HASH"}
COLLECTIONS = {"APPEND", "LIST", "SET", "ZSET", "STREAM"}


class Terms:
    """What the pool promises in this run.

    storage: nothing is lost, so that a read of nothing needs an explanation; preload: (begin, end)
    of the writes of value 1 to every key, or None; ttl_ms: time to live of every tenth of those;
    slack_s: how late something may expire; losses: [(begin, end)] in which servers lost all.
    """

    def __init__(self, storage=False, preload=None, preload_ttl_ms=0, slack_s=2.5, losses=()):
        self.storage, self.preload, self.preload_ttl_ms = storage, preload, preload_ttl_ms
        self.slack = int(slack_s * 1e9)
        self.losses = list(losses)


class Newest:
    """max(value) of all events with time < t, after events have been added in any order."""

    def __init__(self, events):
        self.times, self.best = [], []
        top = -INF
        for t, value in sorted(events):
            top = max(top, value)
            self.times.append(t)
            self.best.append(top)

    def before(self, t):
        i = bisect.bisect_left(self.times, t)
        return self.best[i - 1] if i else -INF

    def until(self, t):
        i = bisect.bisect_right(self.times, t)
        return self.best[i - 1] if i else -INF


class _Strings:
    """One key that is written as a whole, or counted: all but COLLECTIONS."""

    def __init__(self, key, kind, ops, terms, number):
        self.key, self.kind, self.terms = key, kind, terms
        self.ops = ops
        self.found = []
        self.writes = {}      # value -> [begin, end, conn]
        self.refused = set()  # values that were certainly not written
        self.nothing = []     # (begin, end) of what may have left nothing there
        self.acks = []        # (end, begin) of acknowledged mutations
        self.reads = []       # (begin, end, value, op)
        self.ttl = {}         # value -> ms
        self.unknown_incr = []
        self.touched = any(o.op == "TOUCH" for o in ops)
        if terms.preload and kind != "LOCK":
            value = PRELOADED << BASE_SHIFT if kind in COUNTERS else PRELOADED
            self.writes[value] = [*terms.preload, None]
            self.acks.append((terms.preload[1], terms.preload[0]))
            if kind == "REGISTER" and number % 10 == 0 and terms.preload_ttl_ms:
                self._lives(value, terms.preload, terms.preload_ttl_ms)
        else:
            self.nothing.append((-INF, -INF))
        self.nothing += terms.losses

    def bad(self, rule, text, op):
        self.found.append(Violation(rule, self.key, text, op))

    def _lives(self, value, when, ms):
        self.ttl[value] = ms
        begin, end = when
        self.nothing.append((begin + ms * 1e6, end + ms * 1e6 + self.terms.slack))

    def _write(self, op):
        unknown = op.result in (ERROR, LOST)
        if op.result in (FAIL, TRYAGAIN):
            self.refused.add(op.value)
            return
        end = INF if unknown else op.end
        self.writes[op.value] = [op.begin, end, op.conn]
        if op.op == "SET" and op.aux:
            self._lives(op.value, (op.begin, end), op.aux)
        if not unknown:
            self.acks.append((op.end, op.begin))
            if op.op == "CAS":
                self.reads.append((op.begin, op.end, op.aux, op))

    def _incr(self, op):
        if op.result == OK:
            if op.value in self.writes:
                self.bad("COUNT", f"{op.value} twice", op)
            self.writes[op.value] = [op.begin, op.end, op.conn]
            self.acks.append((op.end, op.begin))
            self.reads.append((op.begin, op.end, op.value - 1, op))
        elif op.result in (ERROR, LOST):
            self.unknown_incr.append(op.begin)

    def _collect(self):
        for op in self.ops:
            if op.result == CORRUPT:
                self.bad("CORRUPT", "an impossible reply", op)
            elif op.op in WRITES:
                self._write(op)
            elif op.op == "INCR":
                self._incr(op)
            elif op.op == "DELETE":
                if op.result == OK:
                    self.nothing.append((op.begin, op.end))
                    self.acks.append((op.end, op.begin))
                elif op.result in (ERROR, LOST):
                    self.nothing.append((op.begin, INF))
            elif op.op in ("GET", "GETS") and op.result == OK:
                self.reads.append((op.begin, op.end, op.value, op))

    def _known(self):
        """Each value that was read has a write; what was read has been written by then."""
        invented = 0
        unknown = sorted(self.unknown_incr)
        for begin, end, value, op in self.reads:
            if not value:
                continue
            w = self.writes.get(value)
            if w is None and unknown and unknown[0] <= end:
                invented += 1
                w = self.writes[value] = [unknown[0], INF, None]
            if w is None:
                self.bad("GHOST", f"{value} was {'refused' if value in self.refused else 'never written'}",
                         op)
            elif w[0] > end:
                self.bad("GHOST", f"{value} before its write began", op)
            elif end < w[1]:
                w[1] = max(end, w[0])  # what was read has been written by now
        if invented > len(unknown):
            self.bad("COUNT", f"{invented} numbers from {len(unknown)} unknown increments", None)

    def _fresh(self):
        acked = Newest(self.acks)
        # What a read returned was written by then.
        seen = Newest([(end, self.writes[v][0]) for _, end, v, _ in self.reads
                       if v and v in self.writes])
        gone = Newest([(b, e) for b, e in self.nothing])
        for begin, end, value, op in self.reads:
            if value:
                written = self.writes.get(value)
                if written is None:
                    continue
                last = written[1]
            elif self.terms.storage:
                last = gone.until(end)
            else:
                continue
            rule = "CAS" if op.op == "CAS" else "FRESH"
            what = str(value) if value else "nothing"
            if last < acked.before(begin):
                self.bad(rule, f"{what}, older than what was acknowledged", op)
            elif last < seen.before(begin):
                self.bad("CAS" if rule == "CAS" else "MONO", f"{what}, older than what was read", op)
            self._expired(value, written[1] if value else 0, op)

    def _expired(self, value, written, op):
        ms = self.ttl.get(value)
        if ms and not self.touched and op.begin > written + ms * 1e6 + self.terms.slack:
            self.bad("EXPIRED", f"{value}, with {ms} ms to live", op)

    def _order(self):
        last = {}  # connection -> begin of its last acknowledged mutation
        for op in self.ops:
            if op.op in ("GET", "GETS") and op.result == OK and op.value in self.writes:
                begin, end, conn = self.writes[op.value]
                mine = last.get(op.conn, -INF)
                if end < mine or (conn == op.conn and begin < mine):
                    self.bad("ORDER", f"{op.value}, overwritten before on this connection", op)
                elif conn == op.conn and begin > op.begin:
                    self.bad("ORDER", f"{op.value}, written after on this connection", op)
            elif op.result == OK and op.op in ("SET", "ADD", "CAS", "DELETE", "INCR"):
                last[op.conn] = op.begin

    def _lock(self):
        stored = [o for o in self.ops if o.op == "ADD" and o.result == OK]
        gone = Newest([(o.begin, INF if o.result in (ERROR, LOST) else o.end) for o in self.ops
                       if o.op == "DELETE" and o.result != TRYAGAIN] + self.terms.losses)
        held = Newest([(o.end, o.begin) for o in stored])
        for o in stored:
            since = held.before(o.begin)
            if since > gone.before(o.end):
                self.bad("LOCK", "stored although it was held", o)

    def check(self):
        self._collect()
        self._known()
        self._fresh()
        self._order()
        if self.kind == "LOCK":
            self._lock()
        return self.found


def _tokens(key, ops, terms):
    """One collection: what is in it for certain, what may be."""
    found = []
    asked, known, refused = {}, {}, set()
    if terms.preload:
        asked[PRELOADED], known[PRELOADED] = terms.preload
    for o in ops:
        if o.result == CORRUPT:
            found.append(Violation("CORRUPT", key, "an impossible reply", o))
        elif o.op == "PUSH" and o.result in (FAIL, TRYAGAIN):
            refused.add(o.value)
        elif o.op == "PUSH":
            asked[o.value] = o.begin
            if o.result == OK:
                known[o.value] = o.end
    reads = [o for o in ops if o.op == "READALL" and o.result == OK]
    for o in reads:
        for t in o.tokens:
            known[t] = min(known.get(t, INF), o.end)
    order = sorted((t, token) for token, t in known.items())
    times = [t for t, _ in order]
    for o in reads:
        have = set(o.tokens)
        if len(have) != len(o.tokens):
            found.append(Violation("SET", key, "a token twice", o))
        if not o.aux and not terms.storage:
            continue  # a cache may have lost it
        if "APPEND" in key:
            have.add(PRELOADED)  # is in what the tokens are appended to
        for token in have - asked.keys():
            why = "refused" if token in refused else "never asked"
            found.append(Violation("GHOST", key, f"token {token} was {why}", o))
        early = [t for t in have if asked.get(t, 0) > o.end]
        if early:
            found.append(Violation("GHOST", key, f"tokens {early} before they were asked", o))
        lost = [token for _, token in order[:bisect.bisect_left(times, o.begin)]
                if token not in have]
        if lost:
            found.append(Violation("SET", key, f"without {lost[:5]}, which were in it", o))
    return found


def judge_key(kind, number, ops, terms):
    """The violations of one key's operations."""
    ops = sorted(ops)
    key = f"{kind}:{number}"
    if kind in COLLECTIONS:
        return _tokens(key, ops, terms)
    return _Strings(key, kind, ops, terms, number).check()


def judge_sum(kind, number, ops, terms, final):
    """A counter that is never set again, at the end: acknowledged <= sum <= asked."""
    incrs = [o for o in ops if o.op == "INCR"]
    sure = sum(o.result == OK for o in incrs)
    maybe = sum(o.result in (ERROR, LOST) for o in incrs)
    got = final - (PRELOADED << BASE_SHIFT)
    if sure <= got <= sure + maybe:
        return []
    return [Violation("COUNT", f"{kind}:{number}", f"{got} in the end; {sure} acknowledged, "
                      f"{maybe} unknown", None)]
