"""Kill a writer of the log at random moments, and count what it had promised: run by test_log.py.

``python kill_points.py FOLDER POINTS`` prints JSON. The writer is forked, so that Python starts once for all points.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from spinefx.trial.log import Log

POINTS_A_FILE = 20


def write_on(path: Path, promises: int, point: int) -> None:
    """Append answers without an end; say each one's name only once the log has taken it."""
    log = Log.beside(path)
    for number in range(10**6):
        name = f"{point}-{number}"
        log.append("answer.sealed", "R1", "pilot/R1", {"name": name, "filler": "x" * (number * 37 % 900)})
        os.write(promises, f"{name}\n".encode())


def main(folder: Path, points: int) -> dict[str, int]:
    """Kill at so many points, and count."""
    rng, promised, lost = np.random.default_rng(11), 0, 0
    for point in range(points):
        path = folder / f"log{point // POINTS_A_FILE}.sqlite"
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            write_on(path, writing, point)
        os.close(writing)
        with os.fdopen(reading) as told:
            first = told.readline()
            time.sleep(float(rng.uniform(0, 0.03)))
            os.kill(child, signal.SIGKILL)
            names = [first, *told]
        os.waitpid(child, 0)
        said = {name.strip() for name in names if name.endswith("\n")}
        log = Log.beside(path)
        log.verify()
        kept = {entry.content["name"] for entry in log.entries()}
        log.close()
        promised += len(said)
        lost += len(said - kept)
    return {"points": points, "promised": promised, "lost": lost}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
