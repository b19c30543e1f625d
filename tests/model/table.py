"""table.py - the table of node actions, from the ROWs that the models print (trace.pml).

README.md has the form of the lines.
"""

import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))

# number: name, and which ring's owner is a (where the key shall live) and b (the other)
STEPS = {
    0: ("STABLE", "old", "new"), 1: ("PREPARE", "old", "new"), 2: ("HOLD", "new", "old"),
    3: ("DUAL", "new", "old"), 4: ("DRAIN", "new", "old"), 5: ("STABLE'", "new", "old"),
    8: ("HOLD-R", "old", "new"), 6: ("DUAL-R", "old", "new"), 7: ("DRAIN-R", "old", "new"),
    9: ("FENCED", "old", "new"),
}

# heading, model, flags of each run that adds to it
PARTS = [
    ("memcached", "cache", [["OPS_CAS", "GETS_RELEASES", "OPS_LOCK", "ADD_DELETES",
                             "FENCED_EITHER"]]),
    ("memcached/lost", "cache", [["LOST", "FENCED_EITHER"]]),
    ("memcached/relaxed", "cache", [["RELAXED", "FENCED_EITHER"]]),
    ("redis", "storage", [["READ_IMPORTS"]]),
]

CONTENTS = ("absent", "value", "lease", "down")
HEAD = """\
# What a proxy does at which node, drawn from the models by tests/model/check. Do not edit.
"""


def names():
    """What the numbers of a ROW mean."""
    with open(os.path.join(HERE, "trace.pml"), encoding="utf-8") as f:
        return {int(n): name.lower() for name, n in
                re.findall(r"^#define N_(\w+) +(\d+)", f.read(), re.M)}


class Row:
    """One operation in one situation, and what was done."""

    def __init__(self, fields, name):
        self.step, op, told, was0, was1, token, said = fields[:7]
        self.number, self.op = op, name[op]
        nodes = [("old", was0), ("new", was1)]
        self.letter = {0: "a", 1: "b"} if STEPS[self.step][1] == "old" else {0: "b", 1: "a"}
        letters = {self.letter[i]: CONTENTS[was] for i, (_, was) in enumerate(nodes)}
        # A token is asked for by cas alone.
        self.situation = {"token": self.letter[token] if self.op == "cas" else "none", **letters}
        actions = zip(fields[7:7 + 2 * said:2], fields[8:8 + 2 * said:2])
        self.outcome = ("; ".join(f"{name[what]} {self.letter[node]}" for what, node in actions)
                        or "nothing") + " -> " + name[told]


def cover(rows):
    """[(conditions, outcome)]: what decides the outcome, in as few lines as may be."""
    return min((split(rows, asking) for asking in (("token", "a", "b"), ("token", "b", "a"))),
               key=len)


def split(rows, asking):
    """cover, asking one thing after the other. Where one situation has several outcomes, any of
    them is right."""
    outcomes = sorted({row.outcome for row in rows})
    if len(outcomes) == 1 or not asking:
        return [({}, " | ".join(outcomes))]
    by_answer = {}
    for answer in ("a", "b", "none") + CONTENTS:
        some = [row for row in rows if row.situation[asking[0]] == answer]
        if some:
            key = tuple((tuple(conditions.items()), outcome)
                        for conditions, outcome in split(some, asking[1:]))
            by_answer.setdefault(key, []).append(answer)
    if len(by_answer) == 1:
        return [(dict(conditions), outcome) for conditions, outcome in next(iter(by_answer))]
    return [({asking[0]: "|".join(answers), **dict(conditions)}, outcome)
            for key, answers in by_answer.items() for conditions, outcome in key]


def lines_of(heading, rows):
    for step, (step_name, _, _) in STEPS.items():
        for op in dict.fromkeys(row.op for row in sorted(rows, key=lambda row: row.number)):
            some = [row for row in rows if row.step == step and row.op == op]
            for conditions, outcome in cover(some) if some else ():
                asked = " ".join(f"{what}={answer}" for what, answer in conditions.items())
                yield f"{heading} {step_name} {op}{f' [{asked}]' if asked else ''}: {outcome}"


def draw_table(trace):
    """The whole table. trace(model, flags) gives the ROWs of one run, as tuples of numbers."""
    name = names()
    lines = [f"step {number} {step} a={a} b={b}" for number, (step, a, b) in STEPS.items()]
    for heading, model, flags in PARTS:
        rows = [Row(fields, name) for some in flags for fields in sorted(trace(model, some))]
        lines += ["", *lines_of(heading, rows)]
    return HEAD + "\n".join(lines) + "\n"
