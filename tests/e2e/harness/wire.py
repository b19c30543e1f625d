"""Raw sockets and just enough of both protocols to find where a reply ends."""

import socket

from .env import scaled


class Raw:
    """A blocking client that sends exactly the bytes it is given."""

    def __init__(self, addr, timeout=10.0, source=None):
        """addr: (host, port), or the path of a unix socket."""
        if isinstance(addr, tuple):
            self.sock = socket.create_connection(addr, scaled(timeout), source)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(scaled(timeout))
            self.sock.connect(str(addr))
        self.sock.settimeout(scaled(timeout))
        self.buf = bytearray()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data):
        self.sock.sendall(data)
        return self

    def fill(self):
        """One recv. EOFError at the end of the stream."""
        got = self.sock.recv(1 << 18)
        if not got:
            raise EOFError(f"closed by peer; unread: {bytes(self.buf[-200:])!r}")
        self.buf += got

    def take(self, n):
        out = bytes(self.buf[:n])
        del self.buf[:n]
        return out

    def exactly(self, n):
        while len(self.buf) < n:
            self.fill()
        return self.take(n)

    def until(self, end):
        """Bytes up to and including `end`."""
        start = 0
        while True:
            at = self.buf.find(end, start)
            if at >= 0:
                return self.take(at + len(end))
            start = max(0, len(self.buf) - len(end) + 1)
            self.fill()

    def line(self):
        return self.until(b"\r\n")

    def to_eof(self):
        """Everything until the peer closes, by FIN or RST."""
        try:
            while True:
                self.fill()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            return self.take(len(self.buf))

    def closed(self):
        """Wait for the peer to close; false when it has not within the socket's timeout."""
        try:
            self.to_eof()
            return True
        except socket.timeout:
            return False

    # --- memcached ---------------------------------------------------------------------------

    def mc(self, request=None):
        """Send, and return one whole reply: a line, or VALUE blocks (or STATs) up to END."""
        if request is not None:
            self.send(request)
        out = bytearray()
        while True:
            line = self.line()
            out += line
            if line.startswith(b"VALUE "):
                out += self.exactly(int(line.split()[3]) + 2)
            elif not line.startswith((b"STAT ", b"ITEM ")):
                return bytes(out)

    def mc_get(self, key):
        """The value, or None. Anything but a hit or a miss is an AssertionError."""
        got = self.mc(b"get %s\r\n" % key)
        if got == b"END\r\n":
            return None
        head, _, rest = got.partition(b"\r\n")
        assert head.startswith(b"VALUE %s " % key) and got.endswith(b"\r\nEND\r\n"), got[:300]
        return rest[:int(head.split()[3])]

    def mc_set(self, key, value, flags=0, exptime=0):
        return self.mc(b"set %s %d %d %d\r\n%s\r\n" % (key, flags, exptime, len(value), value))

    # --- Redis -------------------------------------------------------------------------------

    def resp_raw(self):
        """One whole reply, as bytes: RESP2 and RESP3."""
        line = self.line()
        kind, rest = line[:1], line[1:-2]
        if kind in b"+-:_#,(":
            return line
        if kind in b"$=!":
            n = int(rest)
            return line if n < 0 else line + self.exactly(n + 2)
        if kind in b"*~>":
            return line + b"".join(self.resp_raw() for _ in range(int(rest)))
        if kind in b"%|":
            pairs = b"".join(self.resp_raw() for _ in range(2 * int(rest)))
            return line + pairs + (self.resp_raw() if kind == b"|" else b"")
        raise AssertionError(f"not a RESP reply: {line[:200]!r}")

    def resp(self, *args):
        """Send one command and return its whole reply as bytes."""
        return self.send(command(*args)).resp_raw()


def command(*args):
    """A RESP array of bulk strings."""
    out = [b"*%d\r\n" % len(args)]
    for a in args:
        if isinstance(a, str):
            a = a.encode()
        elif isinstance(a, int):
            a = b"%d" % a
        out.append(b"$%d\r\n%s\r\n" % (len(a), a))
    return b"".join(out)


def bulk(data):
    return b"$-1\r\n" if data is None else b"$%d\r\n%s\r\n" % (len(data), data)
