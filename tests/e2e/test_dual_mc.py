"""memcached keys on the move: what a client gets for each command, classic and meta, is what one
server would have said. And meta commands and cas tokens through a proxy at rest."""

import re

import pytest

from harness.diff import Target, same
from harness.proxy import pool
from test_transition_proxy import Walk

K251 = b"k" * 251


def s(key, value=b"v", verb=b"set", flags=0, exptime=0, tail=b""):
    return b"%s %s %d %d %d%s\r\n%s\r\n" % (verb, key, flags, exptime, len(value), tail, value)


def ms(key, value, tail=b""):
    return b"ms %s %d%s\r\n%s\r\n" % (key, len(value), tail, value)


# --- meta commands at rest --------------------------------------------------------------------------

META = {
    "miss": b"mg a v\r\nmg a\r\nmg a v k O1 q\r\nmg a k O77 v t\r\nme a\r\n",
    "get": ms(b"b", b"abc", b" F5 T90") + b"mg b\r\nmg b v\r\nmg b s v f t k O9\r\nmg b q v\r\n",
    "base64": ms(b"Y2Fm", b"x", b" b k") + b"get caf\r\nmg Y2Fm b k v\r\nmg caf v\r\nmd Y2Fm b k\r\n",
    "base64-binary": ms(b"ASAg/w==", b"x", b" b k O1") + b"mg ASAg/w== b k v\r\nmd ASAg/w== b q\r\n",
    "base64-bad": b"mg YQ= b v\r\nmg ### b\r\n" + ms(b"xyz", b"get a", b" b") + b"mn\r\n",
    "modes": b"".join(ms(b"m", b"%d" % i, b" M" + bytes([c])) + b"mg m v\r\n"
                      for i, c in enumerate(b"RESAPRSeaX")) + ms(b"m", b"q", b" MAA") + b"mn\r\n",
    "quiet": ms(b"q1", b"x", b" q") + b"mg q1 v q k\r\nmg q2 v q\r\n" + ms(b"q1", b"y", b" ME q")
    + b"md q1 q\r\nmd q1 q\r\nma q1 q\r\n" + s(b"q3", b"5") + b"ma q3 q\r\nma q3 q v\r\nmn\r\n",
    "count": b"ma c1\r\nma c1 N0 J13 v\r\nma c1 v D5\r\nma c1 MD D20 v\r\nma c1 M- v\r\nma c1 Mi t v\r\n"
    b"ma c1 C999999\r\nma c1 D-1\r\nma c1 Mx\r\nma c1 C5 k O1\r\n" + s(b"c2", b"x") + b"ma c2\r\n",
    "cas": ms(b"k", b"x", b" C99") + ms(b"k", b"x", b" c") + ms(b"k", b"y", b" C1 k O5")
    + b"mg k v\r\nmd k C1\r\nmd k\r\nmd k k O3\r\n",
    "touch": ms(b"t", b"x") + b"mg t t\r\nmg t T100 t v\r\nmg t t\r\nmg t T-1\r\nmg t v\r\n",
    "vivify": b"mg n N30 v t\r\nmg n N30 v t k\r\nmg n v\r\n" + ms(b"n", b"x", b" MA N60")
    + b"mg n v\r\nmg new N30 c\r\n",
    "stale": ms(b"st", b"x") + b"md st I T30\r\nmg st v t k\r\nmg st v\r\nget st\r\n",
    "recache": ms(b"re", b"x", b" T20") + b"mg re R30 v\r\nmg re R30 v\r\nmg re R5 v\r\n",
    "bad-lines": b"mg\r\nms\r\nmd\r\nma\r\nme\r\nms k\r\nmg %s v\r\nmg k x\r\nmg k v v\r\nmd k x\r\n"
    b"ma k Z\r\nmg k Oaaaaaaaaaabbbbbbbbbbccccccccccddddd\r\nmg   k   v  \r\nmn\r\nmn x\r\n" % K251,
    "bad-set": ms(b"k", b"get k", b" Z") + ms(b"k", b"get k", b" q q") + ms(b"k", b"get k", b" Tx")
    + ms(b"k", b"get k", b" FX") + ms(b"k", b"get k", b" MZ") + b"mn\r\n",
    "empty-and-binary": ms(b"e", b"") + b"mg e v s\r\n" + ms(b"e", bytes(range(256))) + b"mg e v\r\n",
    "large": ms(b"l", b"x" * 300000) + b"mg l v s\r\nmg l s\r\n",
}


@pytest.fixture(name="at_rest", scope="module")
def _at_rest(module_world):
    direct, behind = module_world.memcached(2)
    proxy = module_world.proxy({"p": pool("memcached", [behind], meta_commands=True)})
    return [Target("memcached", direct.addr, "memcached"),
            Target("proxy", proxy.addr("p"), "memcached")]


def no_cas(answer):
    """Without what two servers number differently."""
    answer = re.sub(rb"( c)[1-9]\d*(?=[ \r])", rb"\1N", answer)
    answer = re.sub(rb"(cas=)\d+", rb"\1N", answer)
    return re.sub(rb"(VALUE \S+ \d+ \d+) \d+\r", rb"\1 N\r", answer)


@pytest.mark.parametrize("name", META)
def test_meta_commands_as_one_server(at_rest, name):
    same(at_rest, META[name], normal=no_cas)


def test_a_bad_length_is_answered_and_closed(at_rest):
    """memcached takes what follows for commands: nobody can say how much of it is a value."""
    proxy = at_rest[1]
    got = proxy.ask(b"ms k x\r\nset smuggled 0 0 1\r\nx\r\n")
    assert got == b"CLIENT_ERROR bad command line format\r\n<closed>"
    assert proxy.ask(b"get smuggled\r\n") == b"END\r\n"


# --- on the move ------------------------------------------------------------------------------------

# What a key was before, and what is asked of it; KEY stands for the key.
BEFORE = {
    "nothing": b"",
    "number": b"set KEY 3 0 2\r\n10\r\n",
    "text": b"set KEY 4294967295 100 4\r\ntext\r\n",
    "large": b"set KEY 1 0 100000\r\n" + b"x" * 100000 + b"\r\n",
}
CLASSIC = [
    b"get KEY\r\n", b"gets KEY\r\n", b"gat 50 KEY\r\n", b"gats 0 KEY\r\n", b"touch KEY 50\r\n",
    b"get KEY other KEY\r\n", b"set KEY 1 0 1\r\na\r\n", b"add KEY 1 0 1\r\na\r\n",
    b"replace KEY 7 0 1\r\na\r\n", b"append KEY 7 0 1\r\na\r\n", b"prepend KEY 7 0 2\r\nab\r\n",
    b"incr KEY 5\r\n", b"decr KEY 100\r\n", b"delete KEY\r\n", b"cas KEY 0 0 1 999999\r\nx\r\n",
    b"set KEY 0 0 1 noreply\r\na\r\nget KEY\r\n", b"incr KEY 1 noreply\r\nget KEY\r\n",
    b"delete KEY noreply\r\nadd KEY 0 0 1\r\nx\r\n",
]
MOVING_META = [
    b"mg KEY v\r\n", b"mg KEY\r\n", b"mg KEY k v f s O7 h\r\n", b"mg KEY q v\r\n", b"mg KEY v T50 s\r\n",
    b"ms KEY 1 F9 k\r\na\r\n", b"ms KEY 1 ME k O1\r\na\r\n", b"ms KEY 1 MA\r\na\r\n",
    b"ms KEY 1 MP q\r\na\r\n", b"ms KEY 1 MR F2\r\na\r\n", b"ms KEY 1 MA N60\r\na\r\n", b"md KEY k O9\r\n",
    b"md KEY q\r\n", b"ma KEY v\r\n", b"ma KEY MD D3 v k\r\n", b"ma KEY N0 J7 v k\r\n",
    b"ma KEY D2 q\r\n", b"mg KEY N30 v k\r\n",
]
AFTER = b"get KEY\r\n"


class Moving(Walk):
    """A key that moves for each question, and a server that has never heard of rings."""

    def __init__(self, world, promote=True):
        super().__init__(world, "memcached", meta_commands=True, cas_tags=True)
        self.promote = promote
        self.one = Target("memcached", world.servers("memcached", 1)[0].addr, "memcached")
        self.moving = Target("proxy", self.proxy.addr("p"), "memcached")
        self.push("prepare")

    def push(self, phase, **more):
        return super().push(phase, **{"promote": self.promote, **more})

    def all(self, phases, questions):
        # A token that nobody gave is EXISTS, be there a value or not.
        asked = [(b, q) for b in BEFORE.values() for q in questions if b or b"cas" not in q]
        keys = self.keys(True, len(asked))
        both = [self.one, self.moving]
        for key, (before, _) in zip(keys, asked):
            if before:
                same(both, before.replace(b"KEY", key))
        for phase in phases:
            self.push(phase)
        for key, (_, question) in zip(keys, asked):
            # A lease of the client's is an empty value to one server's get; here it is a miss.
            for text in (question,) if b"N30" in question else (question, AFTER):
                same(both, text.replace(b"KEY", key), normal=no_cas)
        return [k for k, (_, question) in zip(keys, asked) if b"N30" not in question]


@pytest.mark.parametrize("questions", [CLASSIC, MOVING_META], ids=["classic", "meta"])
def test_replies_while_values_are_promoted(world, questions):
    """Each value is still where it was when it is asked for; some are then asked for in DRAIN."""
    moving = Moving(world)
    keys = moving.all(["hold", "dual"], questions)
    moving.push("drain")
    for key in keys:
        same([moving.one, moving.moving], AFTER.replace(b"KEY", key))


def test_replies_on_the_way_back(world):
    Moving(world).all(["hold", "dual", "hold", "hold-r", "dual-r"], CLASSIC)


def test_cas_tokens_of_two_owners_and_of_a_restarted_one(world):
    moving = Moving(world)
    key = moving.keys(True, 1)[0]
    with moving.proxy.raw() as c:

        def token():
            return int(c.send(b"gets %s\r\n" % key).until(b"END\r\n").split()[4])

        def cas(n):
            return c.send(b"cas %s 0 0 1 %d\r\nc\r\n" % (key, n)).line()

        c.mc_set(key, b"v")
        before = token()
        assert cas(before) == b"STORED\r\n"
        old = token()
        moving.push("hold")
        moving.push("dual")
        assert cas(old) == b"EXISTS\r\n"
        new = token()
        assert new >> 48 != old >> 48 and new >> 48
        assert cas(new) == b"STORED\r\n"
        last = token()
        # The numbers of the new process begin again; no token of the old one is good at it.
        owner = moving.servers[3]
        owner.stop()
        owner.restart()
        for _ in range(100):
            if c.mc_set(key, b"again") == b"STORED\r\n":
                break
        assert token() >> 48 != last >> 48
        for number in range(last & 0xffff):
            assert cas(last - number) == b"EXISTS\r\n"
