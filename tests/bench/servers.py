"""The three real servers behind every proxy."""

import contextlib
import os

import procs
from procs import OTHER_CPU, StartError
from workloads import DATA_SETS

SERVERS = 3


class Servers:
    def __init__(self, args, processes, lg, proto):
        self.args, self.procs, self.lg, self.proto = args, processes, lg, proto
        self.running = []

    def argv(self):
        if self.proto == "memcached":
            program = procs.find_program(self.args.memcached)
            argv = [program, "-l", "127.0.0.1", "-U", "0", "-t", "1", "-m", "256", "-I", "2m",
                    "-c", "4096"]
            argv += ["-u", "root"] if os.geteuid() == 0 else []
            return lambda port: argv + ["-p", str(port)]
        program = procs.find_program(self.args.redis_server)
        argv = [program, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                "--dir", self.procs.workdir]
        return lambda port: argv + ["--port", str(port)]

    def start(self):
        make_argv = self.argv()
        if make_argv(0)[0] is None:
            raise StartError(f"no {self.proto} server is installed")
        self.running = [self.procs.serve(make_argv, OTHER_CPU) for _ in range(SERVERS)]
        for data in DATA_SETS[self.proto]:
            status, out = self.procs.run(
                [self.lg, "--addr", self.addrs(), "--proto", self.proto, "--preload",
                 "--depth", "4"] + data, OTHER_CPU, timeout=60)
            if status != 0:
                raise StartError(f"preload of {self.proto} failed: {out}")
        return self

    @contextlib.contextmanager
    def on(self, cpu):
        """For a while on another CPU than the generator's."""
        try:
            for pid in self.pids():
                self.procs.move(pid, cpu)
            yield
        finally:
            for pid in self.pids():
                self.procs.move(pid, OTHER_CPU)

    def stop(self):
        for proc, _ in self.running:
            self.procs.stop(proc)
        self.running = []

    def ports(self):
        return [port for _, port in self.running]

    def pids(self):
        return [proc.pid for proc, _ in self.running]

    def addrs(self):
        return ",".join(f"127.0.0.1:{p}" for p in self.ports())
