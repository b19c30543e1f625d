"""stage.py - what the acts of the demo (demo.py, demo_plane.py) share: saying and checking claims,
starting programs that end with us, the frame around an act.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HOST = "127.0.0.1"
KEEP = os.environ.get("KEEP", "") not in ("", "0")
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1


class Stopped(Exception):
    """A signal asked us to end."""


class Wrong(Exception):
    """The demo cannot go on."""


# --- what is said ---------------------------------------------------------------------------------

BOLD, RED, PLAIN = ("\033[1m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
wrong = []


def title(text):
    print(f"\n{BOLD}== {text}{PLAIN}", flush=True)


def say(text):
    print(f"   {text}", flush=True)


def check(holds, text):
    """Print a claim; remember it when it does not hold."""
    if holds:
        print(f"   ok: {text}", flush=True)
    else:
        print(f"   {RED}WRONG: {text}{PLAIN}", flush=True)
        wrong.append(text)


def wait_for(what, seconds, text, every=0.01):
    """The first true result of what(), or Wrong."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        result = what()
        if result:
            return result
        time.sleep(every)
    raise Wrong(f"{text}: not within {seconds} s")


def run(argv, stdin=""):
    """(exit status, output of both kinds)"""
    done = subprocess.run(argv, input=stdin, text=True, timeout=60, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


# --- processes ------------------------------------------------------------------------------------

def find_program(name):
    """Daemons live in sbin, which is not in every user's PATH."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise Wrong(f"{name} is not installed: run deploy/install-deps.sh")
    return path


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


def answers(port):
    try:
        socket.create_connection((HOST, port), 1).close()
        return True
    except OSError:
        return False


class Processes:
    """Everything we start, so that close() ends it, by pid."""

    def __init__(self, workdir):
        self.workdir = workdir
        self.live = []

    def start(self, argv, log, **kwargs):
        parent = os.getpid()

        def child():
            # Should we be killed outright, the children go too.
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

        with open(os.path.join(self.workdir, log), "ab") as out:
            # A session of their own: Ctrl-C reaches only us, and we stop them in order.
            proc = subprocess.Popen(argv, preexec_fn=child, start_new_session=True,
                                    stdin=subprocess.DEVNULL, cwd=self.workdir,
                                    **{"stdout": out, "stderr": out, **kwargs})
        self.live.append(proc)
        return proc

    def stop(self, proc, sig=signal.SIGTERM, patience=5):
        if proc.poll() is None:
            proc.send_signal(sig)
            try:
                proc.wait(patience)
            except subprocess.TimeoutExpired:
                proc.kill()
                proc.wait()
        if proc in self.live:
            self.live.remove(proc)
        return proc.returncode

    def close(self):
        for proc in self.live:
            proc.terminate()
        for proc in self.live[:]:
            self.stop(proc, patience=2)


class Server:
    """One memcached or redis-server on a port of its own, which it keeps when it returns."""

    def __init__(self, processes, program, name):
        self.processes, self.program, self.name = processes, find_program(program), name
        self.proc, self.port = None, None
        for _ in range(5):
            self.port = free_port()  # somebody else may take it before the server does
            if self.start():
                return
        raise Wrong(f"{program} does not start: see {processes.workdir}/{name}.log")

    def start(self):
        if self.program.endswith("memcached"):
            argv = [self.program, "-l", HOST, "-p", str(self.port), "-U", "0", "-t", "1",
                    "-m", "64"]
            if os.geteuid() == 0:
                argv += ["-u", "root"]
        else:
            argv = [self.program, "--bind", HOST, "--port", str(self.port), "--save", "",
                    "--appendonly", "no", "--daemonize", "no"]
        self.proc = self.processes.start(argv, self.name + ".log")
        with contextlib.suppress(Wrong):
            wait_for(lambda: self.proc.poll() is not None or answers(self.port), 5, self.name)
        # A port that answers may be another program's, and ours gone.
        time.sleep(0.05)
        return self.proc.poll() is None and answers(self.port)

    @property
    def line(self):
        return f"{HOST}:{self.port}:1 {self.name}"


# --- the frame around an act ----------------------------------------------------------------------

def signals(handler):
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, handler)


def on_signal(number, frame):
    raise Stopped(signal.Signals(number).name)


def wait_for_enter():
    """For KEEP=1: until Enter or a signal."""
    print("\nEnter (or Ctrl-C) ends it all. ", end="", flush=True)
    with contextlib.suppress(Stopped):
        if not sys.stdin.readline():
            signal.pause()  # no terminal: until a signal


def perform(act, logs):
    """Run act(processes) in a directory of its own; end what it left; exit with 0 if all held.

    `logs` are files whose ends explain a failure.
    """
    began = time.monotonic()
    workdir = tempfile.mkdtemp(prefix="twinring-demo.")
    processes = Processes(workdir)
    signals(on_signal)
    status = 1
    try:
        try:
            act(processes)
        finally:
            signals(signal.SIG_IGN)
            processes.close()
        status = 1 if wrong else 0
        print(f"\n{len(wrong)} claims did not hold" if wrong else
              f"\nAll as it should be ({time.monotonic() - began:.1f} s). Everything is stopped.")
    except Stopped as e:
        print(f"\nStopped by {e}.")
        status = 130
    except Exception as e:  # whatever it is, say it in one line, with what the programs said
        print(f"\n{RED}demo failed: {type(e).__name__}: {e}{PLAIN}")
    finally:
        if status == 1:
            for name in logs:
                with contextlib.suppress(OSError), open(os.path.join(workdir, name),
                                                        encoding="utf-8", errors="replace") as f:
                    print(f"--- {name}\n" + "".join(f.readlines()[-10:]))
        shutil.rmtree(workdir, ignore_errors=True)
    sys.exit(status)
