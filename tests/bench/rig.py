"""One protocol's servers, and proxies started over them one at a time."""

import contextlib
import os

import transition
from contenders import Start
from procs import OTHER_CPU
from servers import Servers
from workloads import STAYING, WORKLOADS

KEYS = 10000  # lg's default


class Rig:
    def __init__(self, args, processes, contenders, proto):
        self.args, self.procs, self.contenders, self.proto = args, processes, contenders, proto
        self.lg = os.path.abspath(os.path.join(args.build, "tests/bench/lg"))
        self.servers = Servers(args, processes, self.lg, proto)
        self.key_list = None  # of keys that stay, once it was needed

    def __enter__(self):
        self.servers.start()
        return self

    def __exit__(self, *exc):
        self.servers.stop()

    def launch(self, contender, ports=None, wrap=lambda argv: argv, **kwargs):
        """-> (process, Start). `wrap` changes the command line."""
        seen = {}

        def make_argv(port):
            seen["start"] = Start(self.procs.workdir, self.proto, ports or self.servers.ports(),
                                  port)
            return wrap(contender.argv(seen["start"]))

        proc, _ = self.procs.serve(make_argv, contender.cpu, **kwargs)
        seen["start"].pid = proc.pid
        if contender.entered:
            contender.entered(seen["start"])
        return proc, seen["start"]

    @contextlib.contextmanager
    def proxy(self, contender):
        proc, start = self.launch(contender)
        end = contender.during(start) if contender.during else lambda: None
        try:
            yield proc, start
        finally:
            end()
            self.procs.stop(proc)

    def lg_argv(self, workload, addrs, *extra):
        argv = [self.lg, "--addr", addrs, "--proto", self.proto, *WORKLOADS[workload][1], *extra]
        return argv + (["--key-list", self.staying_keys()] if workload in STAYING else [])

    def staying_keys(self):
        """A file with the numbers of lg's keys that stay in the transition."""
        if self.key_list is None:
            texts = [f"{32:06x}{k:010d}" for k in range(KEYS)]
            proc, start = self.launch(self.contenders["twinring-still"])
            try:
                control = transition.enter(start.socket, self.proto, start.ports, ["prepare"])
                stay = transition.staying(control, texts)
                control.close()
            finally:
                self.procs.stop(proc)
            self.key_list = os.path.join(self.procs.workdir, f"staying-{self.proto}")
            with open(self.key_list, "w") as f:
                f.writelines(f"{k}\n" for k, stays in enumerate(stay) if stays)
        return self.key_list

    def run_lg(self, argv, timeout):
        return self.procs.run(argv, OTHER_CPU, timeout=timeout)[1]
