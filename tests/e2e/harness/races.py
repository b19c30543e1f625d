"""Races that the rules of a transition exist for, one for each rule: a function that makes it happen,
and raises RuleBroken when a client sees what the rule forbids."""

import shlex
import threading
import time

from .duel import NEW, OLD, Duel, must
from .env import scaled
from .servers import Monitor

K = b"key"
MC, STORE = ("memcached", False), ("redis", True)


def lease(world, **kw):
    """A promotion that was on its way while the key was deleted does not bring it back."""
    d = Duel(world, *MC, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare", "hold", "dual")
    d.gate(0, OLD).down.stall()
    d.p.send(d.get_text(K))
    time.sleep(scaled(0.2))
    assert d.delete(d.q, K)
    d.gate(0, OLD).down.flow()
    d.reply(d.p)
    must(d.get(d.q, K) is None, "a deleted value was promoted")


def set_order(world, **kw):
    """Who has seen the new value never sees the old one again, though the new owner evicts it."""
    d = Duel(world, *MC, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare", "hold", "dual")
    d.gate(0, OLD).up.stall()
    d.p.send(d.set_text(K, b"v2"))
    time.sleep(scaled(0.2))
    seen = d.get(d.q, K)
    d.new.mc(b"delete %s\r\n" % K)  # evicted
    again = d.get(d.q, K)
    d.gate(0, OLD).up.flow()
    d.reply(d.p)
    must(not (seen == b"v2" and again == b"v1"), "the old value after the new one")


def delete_order(world, **kw):
    """A value that is read while it is being deleted is not promoted for good."""
    d = Duel(world, *MC, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare", "hold", "dual")
    d.gate(0, OLD).up.stall()
    d.p.send(d.delete_text(K))
    time.sleep(scaled(0.2))
    d.get(d.q, K)
    d.gate(0, OLD).up.flow()
    d.reply(d.p)
    must(d.get(d.q, K) is None, "deleted, and back again")


def hold_order(world, **kw):
    """The same, by a proxy in HOLD beside one in DUAL."""
    d = Duel(world, *MC, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare", "hold")
    d.to("dual", who=[1])
    d.gate(0, OLD).up.stall()
    d.p.send(d.delete_text(K))
    time.sleep(scaled(0.2))
    d.get(d.q, K)
    d.gate(0, OLD).up.flow()
    d.reply(d.p)
    must(d.get(d.q, K) is None, "deleted, and back again")


def hold(world, kind=MC, **kw):
    """Between two authorities there is a time in which nobody writes."""
    d = Duel(world, *kind, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare")
    if kind is STORE:
        d.to("dual", who=[])  # a mark, as the next phase would find it
    d.to("hold", who=[1])
    d.get(d.q, K)  # must not promote yet
    assert d.set(d.p, K, b"v2")  # by the old ring: P is still in PREPARE
    assert d.to("hold", who=[0])
    d.walk("dual")
    must(d.get(d.q, K) == b"v2", "an acknowledged write is not seen")


def cas_tag(world, **kw):
    """A token of the old owner's is nothing to the new one, though the numbers are equal."""
    d = Duel(world, *MC, **kw)
    for i in range(40):
        d.old.mc(b"set other%d 0 0 1\r\nx\r\n" % i)
    assert d.set(d.p, K, b"v1")
    token = d.ask(d.p, b"gets %s\r\n" % K).split(b"\r\n")[0].split()[4]
    number = int(d.old.mc(b"gets %s\r\n" % K).split(b"\r\n")[0].split()[4])
    d.walk("prepare", "hold", "dual")
    while True:  # until the next item of the new owner gets that very number
        d.new.mc(b"set other 0 0 1\r\nx\r\n")
        if int(d.new.mc(b"gets other\r\n").split(b"\r\n")[0].split()[4]) == number - 1:
            break
    assert d.set(d.q, K, b"v2")
    assert int(d.new.mc(b"gets %s\r\n" % K).split(b"\r\n")[0].split()[4]) == number
    got = d.ask(d.p, b"cas %s 0 0 2 %s\r\nv3\r\n" % (K, token))
    must(got != b"STORED\r\n", "a cas over a newer value")


def drain(world, kind=MC, **kw):
    """A write that is still on its way to the old owner holds back the barrier."""
    d = Duel(world, *kind, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare")
    d.gate(0, OLD).up.stall()
    d.p.send(d.set_text(K, b"v2"))
    time.sleep(scaled(0.2))
    if not d.to("hold"):
        d.gate(0, OLD).up.flow()
        assert d.drained()
    d.walk("dual")
    d.get(d.q, K)
    d.gate(0, OLD).up.flow()
    d.reply(d.p)
    must(d.get(d.q, K) == b"v2", "an acknowledged write is not seen")


def fence(world, kind=MC, **kw):
    """A proxy that nobody has told anything for the time of its lease leaves moving keys alone."""
    lease_ms = 600
    d = Duel(world, *kind, lease_ms=lease_ms, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare")
    time.sleep(lease_ms / 1000 * 1.2)  # P is cut off from here on, and passed over
    d.to("hold", who=[1])
    d.to("dual", who=[1])
    d.get(d.q, K)
    if d.set(d.p, K, b"v2"):
        must(d.get(d.q, K) == b"v2", "an acknowledged write is not seen")
    d.to("hold", who=[0], drained=False)  # and back in touch
    assert d.to("dual") and d.set(d.p, K, b"v3") and d.get(d.q, K) == b"v3"


def target_first(world, **kw):
    """A copy that a dead proxy left behind with the old owner is not read again on the way back."""
    d = Duel(world, *STORE, **kw)
    never = threading.Event()
    assert d.set(d.p, K, b"v1")
    d.walk("prepare", "hold", "dual")

    def without_unlink(data):
        if b"UNLINK" in data.upper():
            never.wait(60)
        return data
    d.gate(0, OLD).up.mutate = without_unlink
    d.p.send(d.get_text(K))  # restored at the new owner; the proxy dies before it tells the old one
    time.sleep(scaled(0.2))
    d.proxies[0].kill()
    assert d.set(d.q, K, b"v2")
    for phase in ("hold", "hold-r"):
        assert d.to(phase, who=[1])
        must(d.get(d.q, K) == b"v2", f"an older value in {phase}")


def mark(world, **kw):
    """A value that was dumped before the key was imported by another, and deleted, stays dead."""
    d = Duel(world, *STORE, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare", "hold", "dual")
    d.gate(0, NEW).up.stall()
    d.p.send(d.get_text(K))
    time.sleep(scaled(0.2))
    assert d.get(d.q, K) == b"v1"
    assert d.delete(d.q, K)
    d.gate(0, NEW).up.flow()
    d.reply(d.p)
    must(d.get(d.q, K) is None, "deleted, and back again")


def read_order(world, **kw):
    """A key that is imported between the two questions of a read in HOLD is found by one of them."""
    d = Duel(world, *STORE, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare", "hold")
    must(d.get(d.p, K) == b"v1", "not found where it is")
    d.to("dual", who=[1])
    # Whatever P asks first, its answer is late.
    d.gate(0, NEW).down.stall()
    d.p.send(d.get_text(K))
    time.sleep(scaled(0.2))
    assert d.get(d.q, K) == b"v1"
    d.gate(0, NEW).down.flow()
    must(d.reply(d.p) == b"$2\r\nv1\r\n", "a key that is there was not found")


def epoch(world, **kw):
    """What a dead proxy had sent to a stalled server, and happens after the way back, does nothing."""
    d = Duel(world, *STORE, **kw)
    assert d.set(d.p, K, b"v1")
    d.walk("prepare", "hold", "dual")
    monitor = world.add(Monitor(d.servers[OLD]))
    assert d.get(d.p, K) == b"v1"
    late = [line for line in monitor.lines() if line.startswith('"EVAL"')]
    assert late, "no import was seen"
    d.walk("hold", "hold-r", "dual-r", "drain-r", "stable")
    assert d.set(d.q, K, b"v3")
    for line in late:
        d.old.resp(*_words(line))
    must(d.get(d.q, K) == b"v3", "lost by a command of an earlier epoch")


def _words(line):
    """The arguments of a MONITOR line."""
    return [w.encode().decode("unicode_escape") for w in
            shlex.split(line.replace("\\n", "\\\\n").replace("\\r", "\\\\r"))]


# rule: [(race, its options)]; a race that needs the rule must fail without it.
RACES = {
    "NOHOLD": [(hold, {}), (hold, {"kind": STORE})],
    "HOLDORDER": [(hold_order, {})],
    "SETORDER": [(set_order, {})],
    "DELORDER": [(delete_order, {})],
    "NOLEASE": [(lease, {})],
    "CASTAG": [(cas_tag, {})],
    "TARGETFIRST": [(target_first, {})],
    "READORDER": [(read_order, {})],
    "NOMARK": [(mark, {})],
    "NOEPOCH": [(epoch, {})],
    "NODRAIN": [(drain, {}), (drain, {"kind": STORE})],
    "NOFENCE": [(fence, {}), (fence, {"kind": STORE})],
}
