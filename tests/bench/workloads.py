"""What is asked: workloads, the data they need, and which contenders meet on which."""

from procs import ANY_CPU, OTHER_CPU, PROXY_CPU

LARGE = ["--value-size", "524288", "--keys", "32"]  # 16 MiB on each server
P16, P128 = ["--depth", "16"], ["--depth", "128"]
ALL = "memcached redis"

WORKLOADS = {  # name: (protocols, arguments of lg)
    "get": (ALL, []),
    "set": (ALL, ["--workload", "set"]),
    "mix1k": (ALL, ["--workload", "mix", "--value-size", "1024"]),
    "mget10": (ALL, ["--workload", "mget", "--keys-per", "10"]),
    "mget100": (ALL, ["--workload", "mget", "--keys-per", "100"]),
    "mset10": ("redis", ["--workload", "mset", "--keys-per", "10"]),
    "get512k": ("memcached", [*LARGE, "--connections", "10"]),
    "get-p16": (ALL, P16),
    "get-p128": ("redis", P128),
    "get-c1": (ALL, ["--connections", "1"]),
    "get-c500": (ALL, ["--connections", "500"]),
    "get-10k": (ALL, ["--rate", "10000"]),
    "get-30k": (ALL, ["--rate", "30000"]),
    "get-stay": (ALL, []),  # only keys that stay in a transition from three servers to four
    "set-stay": (ALL, ["--workload", "set"]),
}
STAYING = ("get-stay", "set-stay")

DATA_SETS = {  # what is preloaded: one set of keys per value size
    "memcached": [[], ["--value-size", "1024"], LARGE],
    "redis": [[], ["--value-size", "1024"]],
}


class Group:
    """Contenders that take turns on the same workloads; ratios are to `bases`.

    servers_cpu: where the servers are meanwhile. The generator never moves."""

    def __init__(self, title, contenders, bases, workloads, quick, servers_cpu=OTHER_CPU):
        self.title, self.contenders, self.bases = title, contenders, bases
        self.workloads, self.quick, self.servers_cpu = workloads, quick, servers_cpu


PEERS = ["nutcracker", "nutcracker-v4", "twinring", "floor", "direct"]
PACED = ["nutcracker", "twinring", "twinring-unmoderated", "floor", "floor-unmoderated", "direct"]
MAIN = ["get", "set", "mix1k", "mget10", "mget100", "mset10", "get512k", "get-p16", "get-p128"]

GROUPS = {
    "main": Group("one worker, 50 connections", PEERS, ["nutcracker", "nutcracker-v4", "floor"],
                  MAIN, ["get", "set", "get-p16"]),
    "connections": Group("1 and 500 connections", PEERS, ["nutcracker", "nutcracker-v4", "floor"],
                         ["get-c1", "get-c500"], ["get-c500"]),
    "paced": Group("paced load, the proxy alone on its CPU", PACED,
                   ["nutcracker", "direct", "twinring-unmoderated"],
                   ["get-10k", "get-30k"], ["get-30k"]),
    "apart": Group("paced load, the clients alone on their CPU", PACED, ["nutcracker", "direct"],
                   ["get-10k", "get-30k"], ["get-30k"], servers_cpu=PROXY_CPU),
    "rings": Group("size of the ring",
                   ["twinring-ring3", "twinring-ring50", "twinring-ring1000", "twinring-spread50",
                    "twinring-spread1000"], ["twinring-ring3"], ["get", "get-p16"], ["get"]),
    "routes": Group("route trees", ["twinring-quiet", "twinring-route", "twinring-deep"],
                    ["twinring-quiet"], ["get"], ["get"]),
    "metrics": Group("metrics scraped", ["twinring-quiet", "twinring-metrics"],
                     ["twinring-quiet"], ["get", "get-p16"], ["get"]),
    "transition": Group("a pool in transition, keys that stay",
                        ["twinring-still", "twinring-dual"], ["twinring-still"],
                        ["get-stay", "set-stay"], ["get-stay"]),
    "workers": Group("two workers, on any CPU", ["twinring-1w", "twinring-2w"], ["twinring-1w"],
                     ["get", "get-p16", "get-c500"], ["get"]),
    "fifths": Group("workers that get a fifth of a CPU each", ["twinring-1w-fifth",
                                                               "twinring-2w-fifth"],
                    ["twinring-1w-fifth"], ["get", "get-c500"], ["get-c500"],
                    servers_cpu=ANY_CPU),
}
