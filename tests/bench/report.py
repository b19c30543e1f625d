"""Medians, paired ratios and Markdown tables from the raw runs."""

from statistics import median

import report_exact
import report_memory
from workloads import GROUPS

FIGURES = ("cpu_us", "user_us", "sys_us", "req_s", "p50_us", "p99_us", "p999_us", "rss_mib",
           "backend_us", "lg_us", "util", "wait_share")
RATIO_FIGURES = ("cpu_us", "req_s", "p50_us", "p99_us", "p999_us")
BASES_SHOWN = 2


def good(runs):
    return [r for r in runs if not r["error"]]


def paired(runs, base_runs, figure):
    """Median over repetitions of this figure / the base's in the same repetition."""
    base = {r["rep"]: r for r in good(base_runs)}
    ratios = [r[figure] / base[r["rep"]][figure] for r in good(runs)
              if r["rep"] in base and r[figure] is not None and base[r["rep"]][figure]]
    return median(ratios) if ratios else None


def summarise(result):
    """-> {proto: {group: {workload: {proxy: cell}}}}; cell: {figure: median, ...,
    "ratio": {base: {figure: ...}}}"""
    runs = {}
    for r in result["runs"]:
        cell = runs.setdefault(r["proto"], {}).setdefault(r["group"], {})
        cell.setdefault(r["workload"], {}).setdefault(r["proxy"], []).append(r)
    calls = {(s["proto"], s["workload"], s["proxy"]): s["per_request"]
             for s in result["syscalls"]}
    return {proto: {group: {w: {p: {**summarise_cell(rs, by_proxy, GROUPS[group].bases),
                                    "syscalls": calls.get((proto, w, p))}
                                for p, rs in by_proxy.items()}
                            for w, by_proxy in by_workload.items()}
                    for group, by_workload in groups.items()}
            for proto, groups in runs.items()}


def summarise_cell(runs, by_proxy, bases):
    cell = {"runs": len(runs), "errors": [r["error"] for r in runs if r["error"]]}
    for figure in FIGURES:
        values = [r[figure] for r in good(runs) if r[figure] is not None]
        cell[figure] = median(values) if values else None
        if figure == "cpu_us" and values and median(values):
            cell["cpu_half_spread"] = (max(values) - min(values)) / 2 / median(values)
    cell["ratio"] = {base: {f: paired(runs, by_proxy[base], f) for f in RATIO_FIGURES}
                     for base in bases if base in by_proxy}
    return cell


def number(v):
    if v is None:
        return "-"
    return f"{v:.0f}" if v >= 1000 else f"{v:.1f}" if v >= 100 else f"{v:.2f}"


def with_ratios(figure, bases, scale=1):
    def text(cell):
        if cell[figure] is None:
            return "-"
        ratios = [cell["ratio"].get(b, {}).get(figure) for b in bases]
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


def tables(summary, bases):
    """One group's {workload: {proxy: cell}} -> Markdown."""
    proxies = list(dict.fromkeys(p for by_proxy in summary.values() for p in by_proxy))
    bases = [b for b in bases if b in proxies][:BASES_SHOWN]
    note = f" (ratio to {' / to '.join(bases)})" if bases else ""
    views = [
        ("proxy CPU, us/request" + note, with_ratios("cpu_us", bases), False),
        ("of which user/system, us/request (±10 %)", joined("user_us", "sys_us", digits=2), False),
        ("thousand requests/s" + note, with_ratios("req_s", bases, 1000), True),
        ("latency p50/p99/p99.9, us", joined("p50_us", "p99_us", "p999_us"), True),
        ("system calls per request", lambda cell: number(cell["syscalls"]), False),
        ("RSS after the run, MiB", lambda cell: number(cell["rss_mib"]), False),
        ("all three servers' CPU, us/request", lambda cell: number(cell["backend_us"]), True),
        ("quality: ± half spread of CPU %, time runnable but not run %, proxy utilisation",
         percent, False),
    ]
    workloads = list(summary)
    out = []
    for title, text, direct_too in views:
        rows = [p for p in proxies if direct_too or p != "direct"]
        cells = {p: [table_cell(summary[w].get(p), text) for w in workloads] for p in rows}
        if all(c in ("", "-") for row in cells.values() for c in row):
            continue
        out += [f"**{title}**", "", "| proxy | " + " | ".join(workloads) + " |",
                "|---|" + "---|" * len(workloads)]
        out += [f"| {p} | " + " | ".join(cells[p]) + " |" for p in rows] + [""]
    return out


def table_cell(cell, text):
    if cell is None:
        return ""
    if len(cell["errors"]) == cell["runs"]:
        return "errors"
    return text(cell) + (f" ({len(cell['errors'])} runs failed)" if cell["errors"] else "")


def heading(result):
    m = result["machine"]
    return [f"# Benchmark of {result['when']}", "",
            f"{m['cpu']}, {m['cpus']} CPUs, Linux {m['kernel']}, commit {result['commit']}; "
            f"{result['reps']} x {result['seconds']} s per cell; "
            f"{'pinned' if result['pinned'] else 'not pinned'}, "
            f"{'SCHED_RR' if result['realtime'] else 'ordinary scheduling'}; "
            f"load average {m['load']:.1f} at the start.", ""]


def markdown(result):
    out = heading(result)
    for proto, groups in result["summary"].items():
        for name, by_workload in groups.items():
            out += [f"## {proto}: {GROUPS[name].title}", ""]
            out += tables(by_workload, GROUPS[name].bases)
    out += report_memory.tables(result) + report_exact.tables(result["exact"])
    bad = [r for part in ("runs", "idle", "burst", "swap", "exact") for r in result[part]
           if r["error"]]
    if bad:
        out += ["## Errors", ""]
        out += [f"- {r['proto']} {r['workload']} {r['proxy']}: {r['error']}" for r in bad] + [""]
    return "\n".join(out)
