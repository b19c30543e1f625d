#!/usr/bin/python3
"""layers.py - every #include goes down the layers of layers.txt, or stays in its family."""

import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<(event2/[^>]+)>)', re.M)


def read_table(path):
    """(families: [(folder, layer, number, name, is_exact)], {(file, header)}, {file})"""
    families, up, event2, folder, number = [], set(), set(), None, 0
    for line in open(path, encoding="utf-8"):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "up":
            up.add((words[1], words[2]))
        elif words[0] == "event2":
            event2.update(words[1:])
        elif len(words) == 1:
            folder = words[0]
        else:
            for family in words[1:]:
                number += 1
                for name in family.split("+"):
                    families.append((folder, int(words[0]), number, name))
    # The longest name fits best: codec_mc before codec.
    return sorted(families, key=lambda f: -len(f[3])), up, event2


def place(path, families):
    """(folder, layer, family) of a file, or None"""
    for folder, layer, number, name in families:
        if not path.startswith(folder + "/"):
            continue
        base = os.path.splitext(path[len(folder) + 1:])[0]
        if name.endswith("/"):
            fits = base.startswith(name)
        elif name.endswith("."):
            fits = base == name[:-1]
        else:
            fits = base == name or base.startswith(name + "_")
        if fits:
            return folder, layer, number
    return None


def complaints(path, families, up, event2):
    me = place(path, families)
    if not me:
        yield f"{path}: not in tests/lint/layers.txt"
        return
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for header, libevent in INCLUDE.findall(text):
        if libevent:
            if not path.startswith("common/io.") and path not in event2:
                yield f"{path}: includes <{libevent}>: only common/io may"
            continue
        other = place(header, families)
        if not other:
            yield f"{path}: includes {header}, which is in no layer"
        elif other[0] not in ("common", me[0]):
            yield f"{path}: includes {header}: {me[0]}/ may not know {other[0]}/"
        elif other[1] >= me[1] and other[2] != me[2] and (path, header) not in up:
            yield (f"{path} (layer {me[1]}) includes {header} (layer {other[1]}): "
                   "only lower ones, or its own family")


def main():
    os.chdir(os.path.join(HERE, "..", ".."))
    families, up, event2 = read_table(os.path.join(HERE, "layers.txt"))
    folders = sorted({f[0] for f in families})
    files = sorted(p for d in folders for p in glob.glob(d + "/**/*.[ch]", recursive=True))
    found = [c for p in files for c in complaints(p, families, up, event2)]
    for path, header in sorted(up):
        if not os.path.exists(path) or f'"{header}"' not in open(path, encoding="utf-8").read():
            found.append(f"tests/lint/layers.txt: {path} no longer includes {header}")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
