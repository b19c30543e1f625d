"""A wall clock that the test moves, for processes that are started with `environ`."""

import struct
import subprocess
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "c/clock_shift.c"


class Clock:
    def __init__(self, workdir):
        self.file = Path(workdir) / "clock"
        self.library = Path(workdir) / "clock_shift.so"
        self.shift(0)
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", self.library, SOURCE, "-ldl"],
                       check=True, timeout=60)
        self.environ = {"LD_PRELOAD": str(self.library), "CLOCK_SHIFT_FILE": str(self.file)}

    def shift(self, seconds):
        """From now on the clock is so far off the real one. In one write of one word."""
        with open(self.file, "r+b" if self.file.exists() else "w+b", buffering=0) as f:
            f.write(struct.pack("=q", int(seconds * 1_000_000)))
