"""Tables of what is measured once or in pairs: idle connections, bursts, swaps."""

from statistics import median


def idle(rows):
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


def burst(rows):
    out = ["| proxy | RSS before, MiB | after 512 KiB values on 50 connections | 10 s later |",
           "|---|---|---|---|"]
    for r in rows:
        mib = {k: v / 1024 for k, v in r["rss_kib"].items()}
        out.append(f"| {r['proxy']} | {mib['before']:.1f} | {mib['after']:.1f} | "
                   f"{mib['settled']:.1f} |")
    return out + [""]


def swap(rows):
    out = ["| ring | runs | topologies applied | p50 us | p99 | p99.9 | slowest |",
           "|---|---|---|---|---|---|---|"]
    for name in ("still", "swapped"):
        mine = [r for r in rows if r["proxy"] == name and not r["error"]]
        if not mine:
            continue
        figures = [median(r[f] for r in mine) for f in ("p50_us", "p99_us", "p999_us", "max_us")]
        out.append(f"| {name} | {len(mine)} | {sum(r['swaps'] for r in mine)} | "
                   + " | ".join(f"{f:.0f}" for f in figures) + " |")
    return out + [""]


PARTS = [("idle", "idle connections", idle), ("burst", "memory after large values", burst),
         ("swap", "a ring of 1,000 servers changed under load (medians)", swap)]


def tables(result):
    out = []
    for proto in result["protos"]:
        for part, title, table in PARTS:
            rows = [r for r in result[part] if r["proto"] == proto]
            if rows:
                out += [f"## {proto}: {title}", ""] + table(rows)
    return out
