"""Processes of a benchmark: start, pin, inspect, and always stop, by pid."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time

PR_SET_PDEATHSIG = 1
SYS_SCHED_SETATTR, SCHED_DEADLINE = {"x86_64": 314, "aarch64": 274}.get(os.uname().machine), 6
PERIOD_NS = 1000000
PROXY_CPU, OTHER_CPU, ANY_CPU = 0, 1, None
LIBC = ctypes.CDLL(None, use_errno=True)


class StartError(Exception):
    """A program is missing, ended at once, or never listened."""


def find_program(name):
    """Daemons live in sbin, which is not in every user's PATH."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    return shutil.which(name, path=path)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


class SchedAttr(ctypes.Structure):
    """sched_setattr(2)"""
    _fields_ = [("size", ctypes.c_uint32), ("policy", ctypes.c_uint32), ("flags", ctypes.c_uint64),
                ("nice", ctypes.c_int32), ("priority", ctypes.c_uint32),
                ("runtime", ctypes.c_uint64), ("deadline", ctypes.c_uint64),
                ("period", ctypes.c_uint64)]


def threads(pid):
    return [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]


def thread_name(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/comm") as f:
        return f.read().strip()


def limit_threads(pid, prefix, count, share):
    """Give each of `count` threads of that name at most this share of a CPU, in slices of a
    millisecond.

    A constant bandwidth server of the kernel's (sched(7), SCHED_DEADLINE): needs root.
    """
    for _ in range(100):  # a thread names itself, when it runs for the first time
        found = [tid for tid in threads(pid) if thread_name(pid, tid).startswith(prefix)]
        if len(found) == count:
            break
        time.sleep(0.01)
    else:
        raise StartError(f"{len(found)} threads are named {prefix}..., not {count}")
    attr = SchedAttr(ctypes.sizeof(SchedAttr), SCHED_DEADLINE, runtime=int(share * PERIOD_NS),
                     deadline=PERIOD_NS, period=PERIOD_NS)
    for tid in found:
        if LIBC.syscall(SYS_SCHED_SETATTR, tid, ctypes.byref(attr), 0) != 0:
            raise OSError(ctypes.get_errno(), "sched_setattr")


def can_limit():
    return SYS_SCHED_SETATTR is not None and os.geteuid() == 0


class Procs:
    """Every process that a benchmark starts goes through here, so that close() ends them all."""

    def __init__(self, workdir, pin=True, realtime=False):
        self.workdir = workdir
        self.pin = pin and (os.cpu_count() or 1) >= 2
        self.realtime = realtime
        self.live = []

    def spawn(self, argv, cpu, **kwargs):
        parent = os.getpid()

        def child():
            # Should we be killed outright, the children go too.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            if self.pin and cpu is not ANY_CPU:
                os.sched_setaffinity(0, {cpu})
            if self.realtime:
                os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

        # A session of their own: the terminal's Ctrl-C reaches only us, and we stop them in order.
        proc = subprocess.Popen(argv, preexec_fn=child, start_new_session=True,
                                cwd=self.workdir, **kwargs)
        self.live.append(proc)
        return proc

    def move(self, pid, cpu):
        """Put a running process on another CPU, or on any."""
        if self.pin:
            for tid in threads(pid):
                os.sched_setaffinity(tid, range(os.cpu_count()) if cpu is ANY_CPU else {cpu})

    def stop(self, proc, sig=signal.SIGTERM, patience=3):
        if proc.poll() is None:
            proc.send_signal(sig)
            try:
                proc.wait(patience)
            except subprocess.TimeoutExpired:
                proc.kill()
                proc.wait()
        for stream in (proc.stdin, proc.stdout, proc.stderr):
            if stream:
                stream.close()
        if proc in self.live:
            self.live.remove(proc)

    def close(self):
        for proc in reversed(self.live[:]):
            self.stop(proc, patience=1)

    def serve(self, make_argv, cpu, **kwargs):
        """Start a server on a free port. make_argv(port) -> argv. Returns (process, port).

        Another program may take the port between our choice and its bind: then try again.
        """
        log_path = os.path.join(self.workdir, "servers.log")
        for _ in range(3):
            port = free_port()
            argv = make_argv(port)
            with open(log_path, "ab") as log:
                proc = self.spawn(argv, cpu, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  **kwargs)
            if self.listening(proc, port):
                return proc, port
            self.stop(proc)
        with open(log_path, errors="replace") as log:
            tail = "".join(log.readlines()[-5:])
        raise StartError(f"{' '.join(argv)}\ndid not start:\n{tail}")

    @staticmethod
    def listening(proc, port):
        for _ in range(3000):  # under callgrind, on a busy machine, a start takes seconds
            if proc.poll() is not None:
                return False
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                time.sleep(0.01)
        return False

    def run(self, argv, cpu, timeout, **kwargs):
        """Run to the end; returns (exit status, stdout text)."""
        proc = self.spawn(argv, cpu, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          text=True, **kwargs)
        try:
            out, _ = proc.communicate(timeout=timeout)
            return proc.returncode, out
        finally:
            self.stop(proc, signal.SIGKILL)
