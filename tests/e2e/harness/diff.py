"""The same bytes to one real server and to proxies; the replies must be the same bytes."""

import socket

from .wire import Raw, command


class Target:
    """Something that speaks a protocol: a real server, or a pool of a proxy."""

    def __init__(self, label, addr, protocol):
        self.label, self.addr, self.protocol = label, addr, protocol

    def ask(self, request, chunks=None, hello=None):
        """All that comes back for `request`, up to the reply to a last request of our own, or
        until the peer closes (then the answer ends in b"<closed>"). `chunks`: sizes of the pieces
        it is sent in. `hello`: sent first, its one reply ignored."""
        with Raw(self.addr) as c:
            if hello:
                c.send(hello).resp_raw()
            if self.protocol == "memcached":
                end = b"VALUE the-end 0 4\r\nlast\r\nEND\r\n"
                assert c.mc_set(b"the-end", b"last") == b"STORED\r\n"
                request = request + b"get the-end\r\n"
            else:
                end = b"$11\r\nthe-end-tag\r\n"
                request = request + command("ECHO", "the-end-tag")
            try:
                if chunks:
                    at = 0
                    for n in chunks:
                        c.send(request[at:at + n])
                        at += n
                    request = request[at:]
                c.send(request)
                return c.until(end)[:-len(end)]
            except (EOFError, ConnectionResetError, BrokenPipeError):
                return bytes(c.buf) + b"<closed>"
            except socket.timeout:
                raise AssertionError(f"{self.label}: no end of replies; got {bytes(c.buf[:600])!r} "
                                     f"for {request[:300]!r}") from None


def same(targets, request, normal=lambda b: b, **kw):
    """Every target answers as the first one does; returns that answer."""
    answers = [normal(t.ask(request, **kw)) for t in targets]
    for t, got in zip(targets[1:], answers[1:]):
        if got != answers[0]:
            at = next((i for i, (x, y) in enumerate(zip(got, answers[0])) if x != y),
                      min(len(got), len(answers[0])))
            lo = max(0, at - 40)
            raise AssertionError(
                f"request {request[:400]!r}\n{targets[0].label}: {answers[0][lo:at + 200]!r}\n"
                f"{t.label}: {got[lo:at + 200]!r}\n(first difference at byte {at}; "
                f"lengths {len(answers[0])} and {len(got)})")
    return answers[0]
