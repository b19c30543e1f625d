"""Tables of instructions, calls and functions per request."""

TOP = 15
CALLS = ["reads", "writes", "waits", "epoll_ctls", "clocks", "peer_names", "pauses",
         "allocations", "frees", "locks", "large_copies"]


def per_request(n):
    return f"{n:.0f}" if n >= 10 else f"{n:.3g}"


def instructions(rows, workloads, proxies):
    cells = {(r["proxy"], r["workload"]): r for r in rows}
    out = ["**user instructions per request**", "", "| proxy | " + " | ".join(workloads) + " |",
           "|---|" + "---|" * len(workloads)]

    def text(row, figure):
        if not row or "instructions" not in row:
            return ""
        return f"{figure(row):.1f}"

    for p in proxies:
        row = [text(cells.get((p, w)), lambda r: r["instructions"]["per_request"])
               for w in workloads]
        out.append(f"| {p} | " + " | ".join(row) + " |")
    again = [r for r in rows if "again" in r]
    if again:
        row = [text(next((r for r in again if r["workload"] == w), None), lambda r: r["again"])
               for w in workloads]
        out.append("| (twinring, run again) | " + " | ".join(row) + " |")
    return out + [""]


def calls(rows):
    out = ["**calls per request (lockstep: everything is ready at once)**", "",
           "| workload | proxy | " + " | ".join(CALLS) + " |", "|---|---|" + "---|" * len(CALLS)]
    for r in rows:
        if "calls" in r:
            out.append(f"| {r['workload']} | {r['proxy']} | "
                       + " | ".join(per_request(r["calls"][c]) for c in CALLS) + " |")
    out.append("")
    for r in rows:
        if "atomics" in r:
            a = r["atomics"]
            where = ", ".join(f"{k} {n:.3g}" for k, n in a["where"])
            out += [f"Atomic instructions per {r['workload']} in {r['proxy']}: "
                    f"{a['per_request']:.3g}, and {a['libc_per_request']:.3g} in libc"
                    + (f" ({where})" if where else ""), ""]
    return out


def functions(row):
    total = row["instructions"]["per_request"]
    out = [f"**{row['proto']} {row['workload']}, {row['proxy']}: {total:.0f} instructions**", "",
           "| function | instructions | % |", "|---|---|---|"]
    for name, n in row["instructions"]["top"][:TOP]:
        out.append(f"| `{name}` | {n:.1f} | {100 * n / total:.1f} |")
    return out + [""]


def tables(rows):
    out = []
    for proto in dict.fromkeys(r["proto"] for r in rows):
        mine = [r for r in rows if r["proto"] == proto and not r["error"]]
        workloads = list(dict.fromkeys(r["workload"] for r in mine))
        proxies = list(dict.fromkeys(r["proxy"] for r in mine))
        out += [f"## {proto}: what a request executes", ""]
        out += instructions(mine, workloads, proxies) + calls(mine)
        for r in mine:
            if r["proxy"] == "twinring" and "instructions" in r:
                out += functions(r)
    return out
