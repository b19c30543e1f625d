"""A child process: launched, logged, stopped by pid, never left behind."""

import ctypes
import os
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

from .env import scaled

_libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


def _child(nofile):
    """Between fork and exec: die with the test runner, even when that is killed.

    The kernel means the *thread* that forks, so processes are started from the main thread only.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if nofile:
        resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))


class LaunchFailed(Exception):
    """The process ended, or never became ready; the message holds its log."""


class Process:
    """Runs argv with output in files under `workdir`. Subclasses know when it is ready."""

    def __init__(self, workdir, name, argv, env=None, nofile=None):
        self.workdir = Path(workdir)
        self.name = name
        self.argv = list(argv)
        self.env = {**os.environ, **(env or {})}
        self.nofile = nofile
        self.log_path = self.workdir / f"{name}.log"
        self.popen = None
        self.on_line = None  # called with each line of stdout, when set before start
        self.stdin = False   # whether popen.stdin shall be a pipe to it

    def start(self):
        self.argv = [str(a) for a in self.argv]
        log = open(self.log_path, "ab")
        out = subprocess.PIPE if self.on_line else log
        self.popen = subprocess.Popen(
            self.argv, stdin=subprocess.PIPE if self.stdin else subprocess.DEVNULL, stdout=out,
            stderr=log, env=self.env, cwd=self.workdir, preexec_fn=lambda: _child(self.nofile))
        if self.on_line:
            threading.Thread(target=self._read_lines, args=(self.popen, log), daemon=True).start()
        else:
            log.close()
        return self

    def _read_lines(self, popen, log):
        with log, popen.stdout:
            for line in popen.stdout:
                log.write(b"[stdout] " + line)
                log.flush()
                self.on_line(line.decode("utf-8", "replace").rstrip("\n"))

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen is not None and self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def pause(self):
        """SIGSTOP, and wait until the kernel says that it is stopped."""
        self.signal(signal.SIGSTOP)
        deadline = time.monotonic() + 5
        while self.state() != "T":
            assert time.monotonic() < deadline, f"{self.name} did not stop"
            time.sleep(0.001)

    def resume(self):
        if self.alive():
            self.signal(signal.SIGCONT)

    def state(self):
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def kill(self):
        """kill -9, reaped."""
        if self.alive():
            self.popen.kill()
        self.popen.wait(10)

    def wait(self, seconds=10.0):
        return self.popen.wait(scaled(seconds))

    def stop(self):
        """Ask, then insist. Safe to call twice and on a stopped (SIGSTOP) process."""
        if not self.alive():
            return
        self.popen.terminate()
        self.resume()
        try:
            self.popen.wait(scaled(3))
        except subprocess.TimeoutExpired:
            self.kill()

    def rss(self):
        """Resident bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def cpu_seconds(self):
        """User and system time used so far."""
        f = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def describe(self):
        """What a failed test prints about this process."""
        text = self.log()
        if len(text) > 6000:
            text = text[:1500] + "\n[...]\n" + text[-4500:]
        status = "running" if self.alive() else f"exit {self.popen.returncode if self.popen else None}"
        return f"$ {' '.join(map(str, self.argv))}   ({status})\n{text}"
