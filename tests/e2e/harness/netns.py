"""A network namespace with nothing but a loopback: whoever runs in it reaches what is relayed into it,
and the relays can be cut. Needs root, but leaves no name, interface or rule behind: the namespace is
gone with its last descriptor."""

import ctypes
import fcntl
import os
import socket
import struct
import threading

from .relay import ChaosRelay

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def _check(rc):
    if rc:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def _in_thread(work):
    """What work() returns, from a thread that ends with it: a namespace is a thread's."""
    got = {}

    def run():
        try:
            got["value"] = work()
        except OSError as e:
            got["error"] = e
    t = threading.Thread(target=run)
    t.start()
    t.join()
    if "error" in got:
        raise got["error"]
    return got["value"]


class Namespace:
    """`run` goes before the argv of what shall live in it."""

    def __init__(self):
        self.fd = _in_thread(self._make)
        self.run = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}", "--"]

    @staticmethod
    def _make():
        _check(_libc.unshare(CLONE_NEWNET))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            name = struct.pack("16sH14s", b"lo", 0, b"")
            flags = struct.unpack("16sH14s", fcntl.ioctl(s, SIOCGIFFLAGS, name))[1]
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | IFF_UP, b""))
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def socket(self):
        """A TCP socket that lives there."""
        def make():
            _check(_libc.setns(self.fd, CLONE_NEWNET))
            return socket.socket()
        return _in_thread(make)

    def close(self):
        os.close(self.fd)


class Window(ChaosRelay):
    """`target` of our network at the same address in the namespace."""

    def __init__(self, namespace, target):
        self.namespace = namespace
        super().__init__(target, target[1])

    def listener(self):
        return self.namespace.socket()

    def cut(self):
        """Connects are refused, and what was connected is reset."""
        self.refuse()
        self.drop_all("reset")


def available():
    """Whether this kernel and this user can make namespaces."""
    try:
        Namespace().close()
        return True
    except OSError:
        return False
