"""The control socket of a twinring-proxy: JSON lines."""

import json
import socket
import time

TRIES, PAUSE_S = 100, 0.05


class ControlError(Exception):
    pass


def connect(path):
    """A proxy that takes clients already may not have come to its control socket yet."""
    for left in range(TRIES, -1, -1):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
            return sock
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if not left:
                raise
        time.sleep(PAUSE_S)


class Control:
    def __init__(self, path):
        self.sock = connect(path)
        self.sock.settimeout(30)
        self.stream = self.sock.makefile("rb")
        self.id = 0

    def call(self, method, **params):
        return self.ask(self.request(method, **params))

    def calls(self, requests):
        """Many at once: [(method, params)] -> [result]."""
        written = [self.request(method, **params) for method, params in requests]
        self.sock.sendall(b"".join(line for _, line in written))
        return [self.answer(number) for number, _ in written]

    def request(self, method, **params):
        """(its number, its line), to be sent later by ask()."""
        self.id += 1
        line = json.dumps({"id": self.id, "method": method, "params": params})
        return self.id, line.encode() + b"\n"

    def ask(self, request):
        self.sock.sendall(request[1])
        return self.answer(request[0])

    def answer(self, expected):
        while True:
            line = self.stream.readline()
            if not line:
                raise ControlError("the proxy closed its control socket")
            m = json.loads(line)
            if "event" in m:
                continue
            if m.get("id") != expected or "error" in m:
                raise ControlError(line.decode().strip())
            return m["result"]

    def close(self):
        self.stream.close()
        self.sock.close()
