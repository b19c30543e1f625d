"""Bar charts (SVG) of the results, without any library."""

from xml.sax.saxutils import escape

from workloads import GROUPS

COLOURS = ["#4878a8", "#9ab8d8", "#d06020", "#808080", "#58a060", "#a878b0", "#c0a030", "#60b0b0",
           "#b05070"]
WIDTH, HEIGHT = 900, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 10, 40, 60


class Chart:
    """Groups of bars: values[group][series], None where there is none."""

    def __init__(self, title, unit, groups, series, values):
        self.title, self.unit, self.groups, self.series = title, unit, groups, series
        self.values = values
        highest = max((v for g in groups for v in values[g].values() if v is not None), default=0)
        self.step = nice_step(highest / 5)
        self.top = self.step * (int(highest / self.step) + 1) if self.step else 1

    def y(self, v):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * v / self.top

    def axis(self):
        v = 0
        while self.step and v <= self.top * 1.0001:
            y = self.y(v)
            yield (f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
                   'stroke="#ddd"/>')
            yield f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{v:g}</text>'
            v = round(v + self.step, 9)

    def bars(self):
        room = (WIDTH - LEFT - RIGHT) / max(1, len(self.groups))
        width = room * 0.85 / max(1, len(self.series))
        for i, g in enumerate(self.groups):
            x0 = LEFT + room * (i + 0.075)
            yield (f'<text x="{LEFT + room * (i + 0.5):.1f}" y="{HEIGHT - BOTTOM + 16}" '
                   f'text-anchor="middle">{escape(g)}</text>')
            for j, s in enumerate(self.series):
                v = self.values[g].get(s)
                if v is None:
                    continue
                y = self.y(v)
                yield (f'<rect x="{x0 + j * width:.1f}" y="{y:.1f}" width="{width * 0.92:.1f}" '
                       f'height="{HEIGHT - BOTTOM - y:.1f}" fill="{COLOURS[j % len(COLOURS)]}">'
                       f'<title>{escape(s)}, {escape(g)}: {v:.3g}</title></rect>')

    def legend(self):
        x = LEFT
        for j, s in enumerate(self.series):
            y = HEIGHT - 18
            yield (f'<rect x="{x}" y="{y - 9}" width="10" height="10" '
                   f'fill="{COLOURS[j % len(COLOURS)]}"/>')
            yield f'<text x="{x + 14}" y="{y}">{escape(s)}</text>'
            x += 24 + 7 * len(s)

    def svg(self):
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
                 f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">',
                 f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
                 f'<text x="{LEFT}" y="20" font-size="14">{escape(self.title)}</text>',
                 f'<text x="{LEFT}" y="34" fill="#666">{escape(self.unit)}</text>',
                 *self.axis(), *self.bars(), *self.legend(), "</svg>"]
        return "\n".join(parts) + "\n"


def nice_step(least):
    """1, 2 or 5 times a power of ten, not below `least`."""
    if least <= 0:
        return 0
    power = 10.0 ** -9
    while True:
        for m in (1, 2, 5):
            if m * power >= least:
                return m * power
        power *= 10


def chart(title, unit, summary, figure):
    """summary: {workload: {proxy: cell}}; figure(cell) -> number or None."""
    values = {w: {p: figure(c) for p, c in by_proxy.items()} for w, by_proxy in summary.items()}
    series = list(dict.fromkeys(p for by in values.values() for p in by
                                if any(v.get(p) is not None for v in values.values())))
    return Chart(title, unit, list(values), series, values).svg() if series else None


def base_ratio(base):
    return lambda cell: cell["ratio"].get(base, {}).get("cpu_us")


def of_groups(proto, groups):
    for name, summary in groups.items():
        title, base = f"{proto}: {GROUPS[name].title}", GROUPS[name].bases[0]
        yield f"{proto}-{name}-cpu", chart(f"{title}: CPU per request", f"ratio to {base}",
                                           summary, base_ratio(base))
        yield f"{proto}-{name}-p99", chart(f"{title}: p99", "us", summary,
                                           lambda c: c["p99_us"])
        yield f"{proto}-{name}-throughput", chart(f"{title}: throughput", "thousand requests/s",
                                                  summary,
                                                  lambda c: c["req_s"] and c["req_s"] / 1000)


def of_exact(rows):
    for proto in dict.fromkeys(r["proto"] for r in rows):
        summary = {}
        for r in rows:
            if r["proto"] == proto and "instructions" in r:
                summary.setdefault(r["workload"], {})[r["proxy"]] = r
        base = {w: by.get("nutcracker") for w, by in summary.items()}
        for w, by in summary.items():
            for r in by.values():
                r["relative"] = (r["instructions"]["per_request"]
                                 / base[w]["instructions"]["per_request"]) if base[w] else None
        yield f"{proto}-instructions", chart(f"{proto}: user instructions per request",
                                             "ratio to nutcracker", summary,
                                             lambda r: r["relative"])


def draw(result):
    """-> {file name without ending: SVG}"""
    made = {}
    for proto, groups in result["summary"].items():
        made.update(of_groups(proto, groups))
    made.update(of_exact(result["exact"]))
    return {name: svg for name, svg in made.items() if svg}
