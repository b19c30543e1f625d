"""The targets, each with its figure, and whether it is met."""

from statistics import median

OURS = "twinring"
PAIRS_WANTED = 7
NONE = 0.001  # per request: timers and other threads do something now and then


class Line:
    """One target. figure(result) -> number, or None: not measured in this run."""

    def __init__(self, number, text, figure, limit, digits=2, beside=None, at_least=False):
        self.number, self.text, self.figure, self.limit = number, text, figure, limit
        self.digits, self.beside, self.at_least = digits, beside, at_least

    def row(self, result):
        value = self.figure(result)
        sign = "≥" if self.at_least else "≤"
        target = f"{sign} {self.limit:.{self.digits}f}"
        if value is None:
            return [self.number, self.text, "-", target, "not measured", ""]
        met = value >= self.limit if self.at_least else value <= self.limit
        beside = self.beside(result) if self.beside else ""
        return [self.number, self.text, f"{value:.{self.digits}f}", target,
                "met" if met else "NOT met", beside]


# --- where figures come from ----------------------------------------------------------------------

def cell(result, proto, group, workload, proxy):
    return (result["summary"].get(proto, {}).get(group, {}).get(workload, {}).get(proxy))


def ratio(proto, group, workload, proxy, base, figure="cpu_us"):
    def get(result):
        c = cell(result, proto, group, workload, proxy)
        return c["ratio"].get(base, {}).get(figure) if c else None
    return get


def value(proto, group, workload, proxy, figure):
    def get(result):
        c = cell(result, proto, group, workload, proxy)
        return c[figure] if c else None
    return get


def minus(a, b):
    def get(result):
        x, y = a(result), b(result)
        return None if x is None or y is None else x - y
    return get


def text(label, figure, digits=2):
    def get(result):
        v = figure(result)
        return "" if v is None else f"{label} {v:.{digits}f}"
    return get


def several(*texts):
    return lambda result: "; ".join(t for t in (get(result) for get in texts) if t)


def exact(proto, workload, proxy, *path):
    def get(result):
        for row in result["exact"]:
            if (row["proto"], row["workload"], row["proxy"]) == (proto, workload, proxy):
                at = row
                for key in path:
                    at = at.get(key) if isinstance(at, dict) else None
                return at
        return None
    return get


def exact_ratio(proto, workload, proxy, base):
    def get(result):
        a = exact(proto, workload, proxy, "instructions", "per_request")(result)
        b = exact(proto, workload, base, "instructions", "per_request")(result)
        return a / b if a and b else None
    return get


def idle_bytes(proto):
    def get(result):
        for r in result["idle"]:
            if (r["proto"], r["proxy"]) == (proto, OURS) and not r["error"]:
                return (r["rss_kib"]["opened"] - r["rss_kib"]["start"]) * 1024 / r["connections"]
        return None
    return get


def burst_kept(result):
    for r in result["burst"]:
        if r["proxy"] == OURS and not r["error"]:
            return (r["rss_kib"]["settled"] - r["rss_kib"]["before"]) / 1024
    return None


def swap_ratio(proto):
    def get(result):
        rows = [r for r in result["swap"] if r["proto"] == proto and not r["error"]]
        by = {name: {r["rep"]: r["p999_us"] for r in rows if r["proxy"] == name}
              for name in ("still", "swapped")}
        pairs = [by["swapped"][rep] / p for rep, p in by["still"].items() if rep in by["swapped"]]
        return median(pairs) if pairs else None
    return get


# --- the list -------------------------------------------------------------------------------------

CPU_TARGETS = {
    "memcached": {"get": 0.75, "get-p16": 0.35, "mix1k": 0.80, "set": 0.78, "mget100": 0.55,
                  "get512k": 0.80},
    "redis": {"get": 0.76, "get-p16": 0.25, "set": 0.80, "mget10": 0.75, "mget100": 0.60,
              "mset10": 0.80},
}
FLOOR_TARGETS = {"get": 1.10, "get-p16": 1.50}
MODERATION_NOISE = {"p50_us": 1.05, "p99_us": 1.15}
PLAIN = ("get", "set", "get-p16")


def cpu_lines():
    for proto, targets in CPU_TARGETS.items():
        for w, limit in targets.items():
            beside = several(
                text("the floor's", ratio(proto, "main", w, "floor", "nutcracker")),
                text("beside -v 4", ratio(proto, "main", w, OURS, "nutcracker-v4")))
            yield Line("1", f"{proto} {w}: CPU / nutcracker's",
                       ratio(proto, "main", w, OURS, "nutcracker"), limit, beside=beside)
    for proto in CPU_TARGETS:
        for w, limit in FLOOR_TARGETS.items():
            yield Line("2", f"{proto} {w}: CPU / the floor's",
                       ratio(proto, "main", w, OURS, "floor"), limit)


def call_lines():
    for proto in CPU_TARGETS:
        yield Line("3", f"{proto} get: system calls per request",
                   value(proto, "main", "get", OURS, "syscalls"), 2.6,
                   beside=several(
                       text("nutcracker", value(proto, "main", "get", "nutcracker", "syscalls")),
                       text("floor", value(proto, "main", "get", "floor", "syscalls"))))
        for call in ("epoll_ctls", "peer_names"):
            yield Line("3", f"{proto} get: {call} per request",
                       exact(proto, "get", OURS, "calls", call), NONE, digits=3)


def latency_lines():
    for proto in CPU_TARGETS:
        yield Line("4", f"{proto} get-30k, clients apart: p50 over direct, us",
                   added_p50(proto, "apart", OURS), 20, digits=0,
                   beside=several(text("the floor", added_p50(proto, "apart", "floor"), 0),
                                  text("proxy alone on its CPU",
                                       added_p50(proto, "paced", OURS), 0),
                                  text("the floor there", added_p50(proto, "paced", "floor"), 0)))
        yield Line("4", f"{proto} get-30k, clients apart: p99 / nutcracker's",
                   ratio(proto, "apart", "get-30k", OURS, "nutcracker", "p99_us"), 1,
                   beside=several(
                       text("the floor's", ratio(proto, "apart", "get-30k", "floor",
                                                 "nutcracker", "p99_us")),
                       text("proxy alone on its CPU", ratio(proto, "paced", "get-30k", OURS,
                                                            "nutcracker", "p99_us"))))
        for w in ("get-10k", "get-30k"):
            for figure in ("p50_us", "p99_us"):
                yield moderation_line(proto, w, figure)


def added_p50(proto, group, proxy):
    return minus(value(proto, group, "get-30k", proxy, "p50_us"),
                 value(proto, group, "get-30k", "direct", "p50_us"))


def moderation_line(proto, workload, figure):
    """Whether it costs latency: beyond the spread of medians, that is."""
    name = figure.removesuffix("_us")
    return Line("10", f"{proto} {workload}: {name} with / without moderation",
                ratio(proto, "paced", workload, OURS, "twinring-unmoderated", figure),
                MODERATION_NOISE[figure],
                beside=several(text("us with", value(proto, "paced", workload, OURS, figure), 0),
                               text("without", value(proto, "paced", workload,
                                                     "twinring-unmoderated", figure), 0)))


def memory_lines():
    for proto in CPU_TARGETS:
        yield Line("5", f"{proto}: bytes per idle connection", idle_bytes(proto), 1024, digits=0)
        yield Line("5", f"{proto} get-p16: RSS, MiB", value(proto, "main", "get-p16", OURS,
                                                            "rss_mib"), 6, digits=1,
                   beside=text("nutcracker", value(proto, "main", "get-p16", "nutcracker",
                                                   "rss_mib"), 1))
    yield Line("5", "MiB kept after a burst of 512 KiB values", burst_kept, 4, digits=1)


def cost_lines():
    for proto in CPU_TARGETS:
        yield Line("6", f"{proto} get: CPU with a ring of 1,000 / of 3",
                   ratio(proto, "rings", "get", "twinring-ring1000", "twinring-ring3"), 1.02,
                   beside=text("instructions",
                               exact_ratio(proto, "get", "twinring-ring1000", "twinring-ring3"),
                               3))
        yield Line("6", f"{proto}: p99.9 with a ring of 1,000 swapped / still",
                   swap_ratio(proto), 1.10)
        yield Line("7", f"{proto} get: CPU with metrics scraped / off",
                   ratio(proto, "metrics", "get", "twinring-metrics", "twinring-quiet"), 1.02)
        yield Line("7, issue 4", f"{proto} get-stay: CPU in a transition / before",
                   ratio(proto, "transition", "get-stay", "twinring-dual", "twinring-still"),
                   1.03)
        for figure, limit, at_least in (("req_s", 1, True), ("cpu_us", 1.10, False)):
            yield workers_line(proto, figure, limit, at_least)


def workers_line(proto, figure, limit, at_least):
    name = {"req_s": "throughput", "cpu_us": "CPU per request"}[figure]

    def two_of_one(group, workload, suffix=""):
        return ratio(proto, group, workload, f"twinring-2w{suffix}", f"twinring-1w{suffix}", figure)

    return Line("8", f"{proto} get-c500, a fifth of a CPU per worker: {name}, two / one",
                two_of_one("fifths", "get-c500", "-fifth"), limit, at_least=at_least,
                beside=several(text("50 clients", two_of_one("fifths", "get", "-fifth")),
                               text("whole CPUs, no room", two_of_one("workers", "get-c500")),
                               text("instructions, P16",
                                    exact_ratio(proto, "get-p16", "twinring-2w", OURS), 3)))


def plain_path_lines():
    for proto in CPU_TARGETS:
        for call in ("allocations", "locks"):
            for w in PLAIN:
                yield Line("9", f"{proto} {w}: {call} per request",
                           exact(proto, w, OURS, "calls", call), NONE, digits=3)
        for w in ("get2k", "get4k", "set4k"):
            yield Line("9", f"{proto} {w}: copies over 1 KiB per request",
                       exact(proto, w, OURS, "calls", "large_copies"), NONE, digits=3)
        yield Line("9", f"{proto} get: atomic instructions per request",
                   exact(proto, "get", OURS, "atomics", "per_request"), NONE, digits=3,
                   beside=text("around libc's system calls",
                               exact(proto, "get", OURS, "atomics", "libc_per_request")))


def rows(result):
    lines = [*cpu_lines(), *call_lines(), *latency_lines(), *memory_lines(), *cost_lines(),
             *plain_path_lines()]
    lines.sort(key=lambda line: int(line.number.split(",")[0]))
    return [line.row(result) for line in lines]


def markdown(result):
    table = rows(result)
    measured = [r for r in table if r[4] != "not measured"]
    met = sum(r[4] == "met" for r in measured)
    out = ["## Must show", "",
           f"{met} of {len(measured)} measured targets met; {len(table) - len(measured)} not "
           "measured in this run."]
    if result["reps"] < PAIRS_WANTED:
        out.append(f"Medians of {result['reps']} pairs: too few for a verdict.")
    if result["machine"]["load"] > 1:
        out.append(f"The machine was busy (load {result['machine']['load']:.1f}): times are not "
                   "to be trusted; counts are.")
    out += ["", "| line | what | figure | target | | beside it |", "|---|---|---|---|---|---|"]
    out += ["| " + " | ".join(r) + " |" for r in table]
    return "\n".join(out) + "\n"
