"""Medians, paired ratios and Markdown tables from the raw runs."""

from statistics import median

BASELINES = ("nutcracker", "nutcracker-v4")

FIGURES = ("cpu_us", "user_us", "sys_us", "req_s", "p50_us", "p99_us", "p999_us", "rss_mib",
           "backend_us", "lg_us", "util", "wait_share")


def good(runs):
    return [r for r in runs if not r["error"]]


def paired(runs, base_runs, figure):
    """Median over repetitions of this figure / the baseline's in the same repetition."""
    base = {r["rep"]: r for r in good(base_runs)}
    ratios = [r[figure] / base[r["rep"]][figure] for r in good(runs)
              if r["rep"] in base and r[figure] is not None and base[r["rep"]][figure]]
    return median(ratios) if ratios else None


def summarise(runs):
    """[run] -> {proto: {workload: {proxy: {figure: median, ..., 'ratio': {baseline: {...}}}}}}"""
    groups = {}
    for r in runs:
        cell = groups.setdefault(r["proto"], {}).setdefault(r["workload"], {})
        cell.setdefault(r["proxy"], []).append(r)
    return {proto: {w: {p: summarise_cell(rs, by_proxy) for p, rs in by_proxy.items()}
                    for w, by_proxy in by_workload.items()}
            for proto, by_workload in groups.items()}


def summarise_cell(runs, by_proxy):
    cell = {"runs": len(runs), "errors": [r["error"] for r in runs if r["error"]]}
    for figure in FIGURES:
        values = [r[figure] for r in good(runs) if r[figure] is not None]
        cell[figure] = median(values) if values else None
        if figure == "cpu_us" and values and median(values):
            cell["cpu_half_spread"] = (max(values) - min(values)) / 2 / median(values)
    cell["ratio"] = {base: {f: paired(runs, by_proxy[base], f) for f in ("cpu_us", "req_s")}
                     for base in BASELINES if base in by_proxy}
    return cell


def number(v):
    if v is None:
        return "-"
    return f"{v:.0f}" if v >= 1000 else f"{v:.1f}" if v >= 100 else f"{v:.2f}"


def with_ratios(figure, scale=1):
    def text(cell):
        if cell[figure] is None:
            return "-"
        ratios = [cell["ratio"][b][figure] for b in BASELINES if b in cell["ratio"]]
        inside = " / ".join("-" if r is None else f"{r:.2f}" for r in ratios)
        return number(cell[figure] / scale) + (f" ({inside})" if inside else "")
    return text


def joined(*figures, digits=0):
    def text(cell):
        if cell[figures[0]] is None:
            return "-"
        return "/".join(f"{cell[f]:.{digits}f}" for f in figures)
    return text


def percent(cell):
    if cell["cpu_us"] is None:
        return "-"
    return (f"±{100 * cell.get('cpu_half_spread', 0):.0f} "
            f"{100 * cell['wait_share']:.0f} {cell['util']:.2f}")


def ratio_note(summary):
    names = [b for b in BASELINES
             if any(b in by_proxy for by_proxy in summary.values())]
    return f" (ratio to {' / to '.join(names)})" if names else ""


def tables(summary, syscalls):
    """One protocol's summary -> Markdown."""
    note = ratio_note(summary)
    views = [
        ("proxy CPU, us/request" + note, with_ratios("cpu_us"), False),
        ("of which user/system, us/request (±10 %)", joined("user_us", "sys_us", digits=2), False),
        ("thousand requests/s" + note, with_ratios("req_s", 1000), True),
        ("latency p50/p99/p99.9, us", joined("p50_us", "p99_us", "p999_us"), True),
        ("system calls per request", lambda cell: number(cell.get("syscalls")), False),
        ("RSS after the run, MiB", lambda cell: number(cell["rss_mib"]), False),
        ("all three servers' CPU, us/request", lambda cell: number(cell["backend_us"]), True),
        ("quality: ± half spread of CPU %, time runnable but not run %, proxy utilisation",
         percent, False),
    ]
    for workload, by_proxy in summary.items():
        for proxy, cell in by_proxy.items():
            cell["syscalls"] = syscalls.get((workload, proxy))
    workloads = list(summary)
    proxies = list(dict.fromkeys(p for by_proxy in summary.values() for p in by_proxy))
    out = []
    for title, text, direct_too in views:
        rows = [p for p in proxies if direct_too or p != "direct"]
        if not rows:
            continue
        out += [f"**{title}**", "", "| proxy | " + " | ".join(workloads) + " |",
                "|---|" + "---|" * len(workloads)]
        for p in rows:
            cells = [table_cell(summary[w].get(p), text) for w in workloads]
            out.append(f"| {p} | " + " | ".join(cells) + " |")
        out.append("")
    return out


def table_cell(cell, text):
    if cell is None:
        return ""
    if len(cell["errors"]) == cell["runs"]:
        return "errors"
    return text(cell) + (f" ({len(cell['errors'])} runs failed)" if cell["errors"] else "")


def idle_table(rows):
    out = ["| proxy | conns | RSS at start, MiB | opened, B/conn | after one request each, B/conn "
           "| CPU us/request | after a burst of all, MiB | B/conn | CPU us/request "
           "| 3 s later, MiB |",
           "|---|---|---|---|---|---|---|---|---|---|"]
    for r in rows:
        if r["error"]:
            out.append(f"| {r['proxy']} | errors: {r['error']} |" + " |" * 8)
            continue
        start, n = r["rss_kib"]["start"], r["connections"]
        each = {k: (v - start) * 1024 / n for k, v in r["rss_kib"].items()}
        mib = {k: v / 1024 for k, v in r["rss_kib"].items()}
        out.append(f"| {r['proxy']} | {n} | {mib['start']:.1f} | {each['opened']:.0f} | "
                   f"{each['trickle']:.0f} | {r['cpu_us']['trickle']:.1f} | {mib['burst']:.1f} | "
                   f"{each['burst']:.0f} | {r['cpu_us']['burst']:.1f} | {mib['settled']:.1f} |")
    return out + [""]


def markdown(result):
    m = result["machine"]
    out = [f"# Benchmark of {result['when']}", "",
           f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}, commit {result['commit']}; "
           f"{result['reps']} x {result['seconds']} s per cell; "
           f"{'pinned' if result['pinned'] else 'not pinned'}, "
           f"{'SCHED_RR' if result['realtime'] else 'ordinary scheduling'}.", ""]
    for proto in result["protos"]:
        summary = result["summary"].get(proto)
        if summary:
            syscalls = {(s["workload"], s["proxy"]): s["per_request"]
                        for s in result["syscalls"] if s["proto"] == proto}
            out += [f"## {proto}", ""] + tables(summary, syscalls)
        idle = [r for r in result["idle"] if r["proto"] == proto]
        if idle:
            out += [f"## {proto}, idle connections", ""] + idle_table(idle)
    bad = [r for r in result["runs"] + result["idle"] if r["error"]]
    if bad:
        out += ["## Errors", ""]
        out += [f"- {r['proto']} {r['workload']} {r['proxy']}: {r['error']}" for r in bad] + [""]
    return "\n".join(out)
