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

# heading, model, flags
PARTS = [
    ("memcached", "cache", ["OPS_CAS", "GETS_RELEASES", "OPS_LOCK", "ADD_DELETES",
                            "FENCED_EITHER"]),
    ("memcached/nolocks", "cache", ["FENCED_EITHER"]),
    ("memcached/lost", "cache", ["LOST", "FENCED_EITHER"]),
    ("memcached/relaxed", "cache", ["RELAXED", "FENCED_EITHER"]),
    ("redis", "storage", ["READ_IMPORTS"]),
]

CONTENTS = ("absent", "value", "lease", "down")
RINGS = ("old", "new")
HEAD = """\
# What a proxy does at which node, drawn from the models by tests/model/check. Do not edit.
"""


def names():
    """What the numbers of a ROW mean."""
    with open(os.path.join(HERE, "trace.pml"), encoding="utf-8") as f:
        return {int(n): name.lower() for name, n in
                re.findall(r"^#define N_(\w+) +(\d+)", f.read(), re.M)}


class Row:
    """One operation, or one move of the coordinator, in one situation, and what was done."""

    def __init__(self, fields, name):
        self.step, self.number, told, *was, tag, said = fields[:7]
        self.op = name[self.number]
        actions = list(zip(fields[7:7 + 2 * said:2], fields[8:8 + 2 * said:2]))
        if self.op == "move":
            self.to = told - next(n for n in name if name[n] == "step")
            self.situation = {"target": "written" if tag == 1 else "clean"}
            node, answer = RINGS, ""
        else:
            node = "ab" if STEPS[self.step][1] == "old" else "ba"
            # Only a cas has a token that could matter.
            self.situation = {"token": node[tag]} if self.op == "cas" else {}
            answer = f" -> {name[told]}"
        self.situation.update((node[i], CONTENTS[was[i]]) for i in (0, 1))
        self.outcome = ("; ".join(f"{name[what]} {node[at]}" for what, at in actions)
                        or "nothing") + answer


def cover(found):
    """[(conditions, outcome)] from [(situation, outcome)]: what decides the outcome, in as few
    lines as may be."""
    asking = list(found[0][0])
    return min((split(found, order) for order in (asking, asking[:-2] + asking[:-3:-1])), key=len)


def split(found, asking):
    """cover, asking one thing after the other. Where one situation has several outcomes, any of
    them is right."""
    outcomes = sorted({outcome for _, outcome in found})
    if len(outcomes) == 1 or not asking:
        return [({}, " | ".join(outcomes))]
    by_answer = {}
    for answer in ("a", "b", "clean", "written", *CONTENTS):
        some = [pair for pair in found if pair[0][asking[0]] == answer]
        if some:
            key = tuple((tuple(conditions.items()), outcome)
                        for conditions, outcome in split(some, asking[1:]))
            by_answer.setdefault(key, []).append(answer)
    if len(by_answer) == 1:
        return [(dict(conditions), outcome) for conditions, outcome in next(iter(by_answer))]
    return [({asking[0]: "|".join(answers), **dict(conditions)}, outcome)
            for key, answers in by_answer.items() for conditions, outcome in key]


def line(start, conditions, outcome):
    asked = " ".join(f"{what}={answer}" for what, answer in conditions.items())
    return f"{start}{f' [{asked}]' if asked else ''}: {outcome}"


def lines_of_operations(heading, rows):
    ops = dict.fromkeys(row.op for row in sorted(rows, key=lambda row: row.number))
    for step, (name, _, _) in STEPS.items():
        for op in ops:
            found = [(row.situation, row.outcome) for row in rows
                     if row.step == step and row.op == op]
            for conditions, outcome in cover(found) if found else ():
                yield line(f"{heading} {name} {op}", conditions, outcome)


def lines_of_moves(heading, rows):
    for step, (name, _, _) in STEPS.items():
        here = [row for row in rows if row.step == step]
        for to in sorted({row.to for row in here} - {step}):
            # In every situation of this step: gone to, and with what, or not at all.
            found = [(row.situation, row.outcome if row.to == to else "") for row in here]
            gone = [situation for situation, outcome in found if outcome]
            found = [pair for pair in found if pair[1] or pair[0] not in gone]
            for conditions, outcome in cover(found):
                if outcome:
                    yield line(f"{heading} move {name} {STEPS[to][0]}", conditions, outcome)


def draw_table(trace):
    """The whole table. trace(model, flags) gives the ROWs of one run, as tuples of numbers."""
    name = names()
    lines = [f"step {number} {step} a={a} b={b}" for number, (step, a, b) in STEPS.items()]
    for heading, model, flags in PARTS:
        rows = [Row(fields, name) for fields in sorted(trace(model, flags))]
        moves = [row for row in rows if row.op == "move"]
        # Pools without locks differ from the others in the moves alone.
        if heading != "memcached/nolocks":
            lines += ["", *lines_of_operations(heading, [row for row in rows if row not in moves])]
        lines += ["", *lines_of_moves(heading, moves)]
    return HEAD + "\n".join(lines) + "\n"
