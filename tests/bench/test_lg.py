#!/usr/bin/python3
"""Does the load generator notice wrong answers? A fake server lies to it in every way we know.

    /usr/bin/python3 tests/bench/test_lg.py build/release/tests/bench/lg
"""

import json
import socket
import subprocess
import sys
import threading

REQUESTS = 20  # the lie is told once, in the middle
KEYS_PER = 5


def read_request(stream, proto):
    """-> list of words, or None at the end."""
    line = stream.readline()
    if not line:
        return None
    if proto == "redis":
        words = []
        for _ in range(int(line[1:])):
            size = int(stream.readline()[1:])
            words.append(stream.read(size + 2)[:-2])
        return words
    words = line.split()
    if words[0] == b"set":
        words.append(stream.read(int(words[4]) + 2)[:-2])
    return words


class Liar(threading.Thread):
    """Stores and answers honestly, except for reply number `when`, which lie(parts) rewrites.

    parts: the reply's pieces: one per value, and memcached's END last."""

    def __init__(self, proto, lie, chunk):
        super().__init__(daemon=True)
        self.proto, self.lie, self.chunk = proto, lie, chunk
        self.store, self.reads = {}, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.serve(conn)
            except OSError:
                pass
            conn.close()

    def serve(self, conn):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = conn.makefile("rb")
        while words := read_request(stream, self.proto):
            reply = b"".join(self.answer(words))
            size = self.chunk or len(reply)
            for i in range(0, len(reply), size):
                conn.sendall(reply[i:i + size])

    def answer(self, words):
        if words[0].lower() == b"set":
            self.store[words[1]] = words[-1]
            return [b"+OK\r\n" if self.proto == "redis" else b"STORED\r\n"]
        values = [(k, self.store[k]) for k in words[1:]]
        if self.proto == "redis":
            parts = [b"$%d\r\n%s\r\n" % (len(v), v) for _, v in values]
            if words[0] == b"MGET":
                parts.insert(0, b"*%d\r\n" % len(values))
        else:
            parts = [b"VALUE %s 0 %d\r\n%s\r\n" % (k, len(v), v) for k, v in values]
            parts.append(b"END\r\n")
        self.reads += 1
        return self.lie(parts) if self.reads == REQUESTS // 2 else parts


def flip(part, at):
    return part[:at] + bytes([part[at] ^ 1]) + part[at + 1:]


# (name, protocol, workload, value size, lie, the lie must be noticed)
CASES = [
    ("honest", "memcached", "mget", 32, lambda p: p, False),
    ("values in another order", "memcached", "mget", 32, lambda p: p[-2::-1] + p[-1:], False),
    ("honest, large", "memcached", "get", 70000, lambda p: p, False),
    ("bit flipped in a value", "memcached", "get", 32, lambda p: [flip(p[0], -5)] + p[1:], True),
    ("a key's first byte", "memcached", "get", 32, lambda p: [flip(p[0], 6)] + p[1:], True),
    ("other flags", "memcached", "get", 32,
     lambda p: [p[0].replace(b" 0 ", b" 1 ", 1), p[1]], True),
    ("a value missing", "memcached", "mget", 32, lambda p: p[1:], True),
    ("a value twice", "memcached", "mget", 32, lambda p: p[:1] + p, True),
    ("a value twice, another missing", "memcached", "mget", 32,
     lambda p: p[:1] + p[:-2] + p[-1:], True),
    ("a miss", "memcached", "get", 32, lambda p: p[1:], True),
    ("no END", "memcached", "get", 32, lambda p: p[:-1], True),
    ("END twice", "memcached", "get", 32, lambda p: p + p[-1:], True),
    ("an error", "memcached", "get", 32, lambda p: [b"SERVER_ERROR no\r\n"], True),
    ("bare LF", "memcached", "get", 32, lambda p: [p[0], b"END\n"], True),
    ("one byte less", "memcached", "get", 32, lambda p: [p[0][:-3] + b"\r\n", p[1]], True),
    ("one byte more", "memcached", "get", 32, lambda p: [p[0][:-2] + b"x\r\n", p[1]], True),
    ("large: a KiB doubled, one lost", "memcached", "get", 70000,
     lambda p: [p[0][:9000] + p[0][7976:9000] + p[0][10024:], p[1]], True),
    ("large: two KiB swapped", "memcached", "get", 70000,
     lambda p: [p[0][:8192] + p[0][9216:10240] + p[0][8192:9216] + p[0][10240:], p[1]], True),
    ("honest", "redis", "get", 32, lambda p: p, False),
    ("honest", "redis", "mget", 32, lambda p: p, False),
    ("values in another order", "redis", "mget", 32, lambda p: p[:1] + p[:0:-1], True),
    ("bit flipped in a value", "redis", "get", 32, lambda p: [flip(p[0], -5)], True),
    ("a shorter array", "redis", "mget", 32, lambda p: [b"*4\r\n"] + p[1:-1], True),
    ("one element nil", "redis", "mget", 32, lambda p: p[:-1] + [b"$-1\r\n"], True),
    ("one element an error", "redis", "mget", 32, lambda p: p[:-1] + [b"-ERR\r\n"], True),
    ("all an error", "redis", "mget", 32, lambda p: [b"-ERR no\r\n"], True),
    ("nil", "redis", "get", 32, lambda p: [b"$-1\r\n"], True),
    ("a reply too many", "redis", "get", 32, lambda p: p + p, True),
]


def run_case(lg, case, chunk):
    name, proto, workload, size, lie, noticed = case
    liar = Liar(proto, lie, chunk)
    liar.start()
    argv = [lg, "--addr", f"127.0.0.1:{liar.port}", "--proto", proto, "--keys", "50",
            "--value-size", str(size)]
    subprocess.run(argv + ["--preload"], check=True, capture_output=True, timeout=30)
    done = subprocess.run(
        argv + ["--workload", workload, "--keys-per", str(KEYS_PER), "--connections", "1",
                "--requests", str(REQUESTS)],
        capture_output=True, text=True, check=False, timeout=30)
    liar.listener.close()
    result = json.loads(done.stdout)
    ok = (result["errors"] > 0) == noticed and (done.returncode != 0) == noticed
    if not noticed:
        ok = ok and result["requests"] == REQUESTS
    print(f"{'ok' if ok else 'FAILED':6} {proto} {workload} {size} {name}, "
          f"in pieces of {chunk or 'any'}: {result['first_error'] or 'no error'}")
    return ok


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    # Every reply whole, then a byte at a time: each split point of the small ones.
    results = [run_case(sys.argv[1], case, chunk)
               for case in CASES for chunk in (0, 1) if not (chunk and case[3] > 1000)]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
