"""A TCP relay that misbehaves on command: the network between the proxy and a server."""

import queue
import socket
import threading
import time

from .env import free_port


class Direction:
    """What happens to the bytes of one direction. May be changed while they flow."""

    def __init__(self):
        self.delay = 0.0        # seconds added, without limiting throughput
        self.split = False      # send byte by byte
        self.mutate = None      # bytes -> bytes
        self.cut_after = None   # so many more bytes, then `cut`
        self.cut = "close"      # close, reset or stall
        self.flowing = threading.Event()
        self.flowing.set()

    def stall(self):
        self.flowing.clear()

    def flow(self):
        self.flowing.set()


class ChaosRelay:
    """Listens on a loopback port and relays to target. `up`: to the server; `down`: from it."""

    def __init__(self, target, port=None, host="127.0.0.1"):
        self.target = target
        self.host = host
        self.port = port or free_port()
        self.up, self.down = Direction(), Direction()
        self.pairs = []
        self.lock = threading.Lock()
        self.closing = False
        self.accepted = 0
        self.sock = None
        self.listen()

    @property
    def addr(self):
        return (self.host, self.port)

    @property
    def text(self):
        return f"{self.host}:{self.port}"

    def listener(self):
        """Where connections arrive; subclasses have it elsewhere."""
        return socket.socket()

    def listen(self):
        """Accept (again)."""
        self.sock = self.listener()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(self.addr)
        self.sock.listen(512)
        threading.Thread(target=self._accept, args=(self.sock,), daemon=True).start()

    def refuse(self):
        """Connects are refused from now on; existing connections go on."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def drop_all(self, how="close"):
        """End every connection, on both sides, by FIN or RST."""
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for pair in pairs:
            for s in pair:
                _end(s, how)

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self.target, 5)
            except OSError:
                _end(client, "reset")
                continue
            server.settimeout(None)
            self.accepted += 1
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.pairs.append((client, server))
            self._pump(client, server, self.up)
            self._pump(server, client, self.down)

    def _pump(self, src, dst, way):
        """Two threads: one stamps what arrives, the other sends it when it is due."""
        waiting = queue.Queue()

        def read():
            try:
                while True:
                    data = src.recv(1 << 16)
                    waiting.put((time.monotonic() + way.delay, data))
                    if not data:
                        return
            except OSError:
                waiting.put((0, b""))

        def write():
            try:
                while True:
                    due, data = waiting.get()
                    time.sleep(max(0.0, due - time.monotonic()))
                    if not self._wait_flow(way):
                        return
                    if not data:
                        dst.shutdown(socket.SHUT_WR)
                        return
                    if way.mutate:
                        data = way.mutate(data)
                    if not self._send(src, dst, data, way):
                        return
            except OSError:
                _end(src, "close")
        for f in (read, write):
            threading.Thread(target=f, daemon=True).start()

    def _wait_flow(self, way):
        while not way.flowing.wait(0.2):
            if self.closing:
                return False
        return True

    def _send(self, src, dst, data, way):
        """false when the connection was cut."""
        cut = way.cut_after is not None and len(data) >= way.cut_after
        if way.cut_after is not None:
            data = data[:way.cut_after]
            way.cut_after -= len(data)
        if way.split:
            for i in range(len(data)):
                dst.sendall(data[i:i + 1])
        elif data:
            dst.sendall(data)
        if not cut:
            return True
        way.cut_after = None
        if way.cut == "stall":
            way.stall()
            return True
        _end(src, way.cut)
        _end(dst, way.cut)
        return False

    def close(self):
        self.closing = True
        self.up.flow()
        self.down.flow()
        self.refuse()
        self.drop_all()


def _end(s, how):
    try:
        if how == "reset":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            s.shutdown(socket.SHUT_RDWR)  # wakes the pumps; close() alone would not
    except OSError:
        pass
    s.close()
