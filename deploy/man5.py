#!/usr/bin/python3
"""man5.py - twinring-proxy.yml(5) from settings.md, on standard output: `make man` keeps it.

settings.md itself is made from the proxy's own tables, so that manual and parser cannot disagree.
"""

import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))

HEAD = r""".\" Made by deploy/man5.py from deploy/settings.md; do not edit.
.TH TWINRING\-PROXY.YML 5 "" "Twinring" "File Formats"
.SH NAME
twinring\-proxy.yml \- configuration of twinring\-proxy
.SH DESCRIPTION
.BR twinring\-proxy (8)
reads one file, YAML or JSON: either the form that this page describes, or a
.B nutcracker.yml
as twemproxy reads it. A file is taken for the latter when its top level has pools with
.BR listen " and " servers .
.PP
A file is checked as a whole. An unknown key, a value of the wrong type, or one out of range is an
error with line and column;
.B twinring\-proxy \-t \-c
.I FILE
prints them all. In a nutcracker.yml, keys that the original ignores are warnings.
.PP
Numbers are whole and unquoted; sizes may end in k, m or g (powers of 1024). A wrong value is an
error, never a default. Each option is given with the values that it takes, its default, and its
name in nutcracker.yml where it has one there.
"""

TAIL = r""".SH EXAMPLES
A pool of two memcached, whose failed reads look like misses:
.PP
.nf
.RS
proxy:
  metrics: 127.0.0.1:9150
listeners:
  \- {listen: "127.0.0.1:22121", pool: cache}
pools:
  cache:
    servers:
      \- 10.0.0.1:11211:1 cache1
      \- 10.0.0.2:11211:1 cache2
    timeout_ms: 400
    on_error: miss
.RE
.fi
.PP
The samples show every option.
.SH FILES
.TP
.I /etc/twinring/proxy.yml
read when there is no
.BR \-c .
.SH SEE ALSO
.BR twinring\-proxy (8)
"""


def plain(text):
    """Text as roff shows it literally."""
    text = text.replace("\\|", "|").replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return re.sub(r"^\.", r"\\&.", text)


def styled(markdown):
    """`code` in bold, *names* in italics."""
    parts = re.split(r"(`[^`]*`|\*[^*]+\*)", markdown)
    out = []
    for p in parts:
        if p.startswith("`"):
            out.append(r"\fB" + plain(p[1:-1]) + r"\fR")
        elif len(p) > 2 and p.startswith("*"):
            out.append(r"\fI" + plain(p[1:-1]) + r"\fR")
        else:
            out.append(plain(p))
    text = "".join(out)
    return r"\&" + text if text.startswith((".", "\\(aq")) else text


def cells(row):
    return [c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]]


def option(row):
    name, values, default, nutcracker, meaning = cells(row)
    yield ".TP"
    yield styled(name)
    yield styled(meaning + ".")
    yield ".br"
    facts = "Takes: " + values + "."
    if default not in ("", "none"):
        facts += " Default: " + default + "."
    if nutcracker.strip(", "):
        facts += " In nutcracker.yml: " + nutcracker.lstrip(", ") + "."
    yield styled(facts)


def body(lines):
    for line in lines:
        if line.startswith("## "):
            yield ".SH " + plain(line[3:]).upper().replace("\\E", "\\e")
        elif line.startswith("| `"):
            yield from option(line)
        elif line and not line.startswith(("#", "|")):
            yield styled(line)


def main():
    with open(os.path.join(HERE, "settings.md"), encoding="utf-8") as f:
        lines = f.read().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("## "))
    print(HEAD + "\n".join(body(lines[first:])) + "\n" + TAIL, end="")


if __name__ == "__main__":
    main()
