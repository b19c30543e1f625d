"""callgrind's output files -> instructions by function, and by address."""

import re
from collections import Counter

NAME = re.compile(r"^(c?)(fn|ob|fi|fe|fl|cfi|cfl)=\((\d+)\)(?: (.*))?$")


class Profile:
    """by_function: self instructions by function name. by_address: (object, address) -> times it
    ran, of a file that was written with --dump-instr=yes. All of it is differences that count:
    two runs of unequal length, the shorter taken from the longer."""

    def __init__(self, path):
        self.by_function, self.by_address = Counter(), Counter()
        self.names = {}  # (kind, number) -> text: each name is written out once
        self.instr = False
        with open(path, errors="replace") as f:
            self.read(f)
        self.total = sum(self.by_function.values())

    def name(self, kind, number, text):
        kind = {"fn": "fn", "ob": "ob"}.get(kind, "file")
        if text is not None:
            self.names[kind, number] = text
        return self.names.get((kind, number), "?")

    def read(self, lines):
        function = obj = "?"
        address, skip = 0, False
        for line in lines:
            if line[0] in "0123456789+-*":
                words = line.split()
                if self.instr:
                    address = self.position(words[0], address)
                # The line after "calls=" is what the callee cost: it is in the callee's own lines.
                if not skip:
                    cost = int(words[-1]) if len(words) > (2 if self.instr else 1) else 0
                    self.by_function[function] += cost
                    if self.instr:
                        self.by_address[obj, address] += cost
                skip = False
            elif line.startswith("calls="):
                skip = True
            elif line.startswith("positions:"):
                self.instr = "instr" in line
            else:
                found = NAME.match(line)
                if found:
                    called, kind, number, text = found.groups()
                    name = self.name(kind, number, text)
                    if not called and kind == "fn":
                        function = name
                    elif not called and kind == "ob":
                        obj = name

    @staticmethod
    def position(word, before):
        if word == "*":
            return before
        if word[0] in "+-":
            return before + int(word, 0)
        return int(word, 0)


def difference(longer, shorter):
    """Counter of what the longer run did more."""
    return Counter({k: n - shorter[k] for k, n in longer.items() if n != shorter[k]})


def short_name(function):
    """Without callgrind's marks of recursion and versions."""
    return re.sub(r"('\d+|@@?[A-Z_0-9.]+|\.constprop\.\d+|\.part\.\d+|\.isra\.\d+|\.cold)+$", "",
                  function)
