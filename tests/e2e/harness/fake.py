"""A server whose every byte a test decides."""

import socket
import threading

from .env import free_port
from .wire import Raw


class FakeConn(Raw):
    """The server's side of one connection. `number` counts connections from 0."""

    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.buf = bytearray()
        sock.settimeout(120)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def mc_request(self):
        """(words, body) of one memcached request; body is None for those that have none."""
        words = self.line()[:-2].split(b" ")
        body = None
        if words[0] in (b"set", b"add", b"replace", b"append", b"prepend", b"cas"):
            body = self.exactly(int(words[4]) + 2)[:-2]
        return words, body

    def redis_request(self):
        """Arguments of one command."""
        line = self.line()
        assert line[:1] == b"*", line
        args = []
        for _ in range(int(line[1:])):
            n = int(self.line()[1:])
            args.append(self.exactly(n + 2)[:-2])
        return args


class FakeServer:
    """Accepts on a loopback port; each connection runs handler(FakeConn) on its own thread.

    A handler that returns closes its connection; EOF and resets inside it are not errors.
    """

    def __init__(self, handler, port=None):
        self.handler = handler
        self.conns = []
        self.errors = []
        self.closing = False
        self.sock = None
        self.port = port or free_port()
        self.listen()

    @property
    def addr(self):
        return ("127.0.0.1", self.port)

    @property
    def text(self):
        return f"127.0.0.1:{self.port}"

    def listen(self):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(self.addr)
        self.sock.listen(512)
        threading.Thread(target=self._accept, args=(self.sock,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            conn = FakeConn(sock, len(self.conns))
            self.conns.append(conn)
            threading.Thread(target=self._run, args=(conn,), daemon=True).start()

    def _run(self, conn):
        try:
            self.handler(conn)
        except (EOFError, OSError):
            pass
        except Exception as e:  # shown when the test ends
            if not self.closing:
                self.errors.append(repr(e))
        finally:
            conn.close()

    def refuse(self):
        """Stop listening: connects are refused from now on."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # wakes accept()
        except OSError:
            pass
        self.sock.close()

    def close(self):
        self.closing = True
        self.refuse()
        for c in self.conns:
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            c.close()
        assert not self.errors, self.errors


def memcached_like(reply):
    """A handler that answers like an empty memcached, but for what `reply` says.

    reply(conn, words, body) returns the bytes to send, or None for the default answer.
    """
    def handler(conn):
        while True:
            words, body = conn.mc_request()
            out = reply(conn, words, body)
            if out is None:
                if words[0] == b"version":
                    out = b"VERSION 1.6.18\r\n"
                elif words[0] in (b"get", b"gets", b"gat", b"gats"):
                    out = b"END\r\n"
                elif body is not None:
                    out = b"STORED\r\n"
                elif words[0] == b"mn":
                    out = b"MN\r\n"
                else:
                    out = b"NOT_FOUND\r\n"
            conn.send(out)
    return handler


def redis_like(reply):
    """The same for an empty Redis; reply(conn, args)."""
    def handler(conn):
        while True:
            args = conn.redis_request()
            out = reply(conn, args)
            if out is None:
                verb = args[0].upper()
                if verb == b"PING":
                    out = b"+PONG\r\n"
                elif verb in (b"SET", b"AUTH", b"SELECT", b"MSET", b"CLIENT"):
                    out = b"+OK\r\n"
                elif verb == b"MGET":
                    out = b"*%d\r\n" % (len(args) - 1) + b"$-1\r\n" * (len(args) - 1)
                elif verb == b"HELLO":
                    out = (b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n"
                           b"$5\r\nproto\r\n:3\r\n")
                else:
                    out = b"$-1\r\n"
            conn.send(out)
    return handler


def silent(conn):
    """Accepts, reads, and never replies."""
    while True:
        conn.fill()
        conn.take(len(conn.buf))
