"""Kill a writer of the log at random moments and count the answers it had promised; run by test_log.py.

``python kill_points.py ADDRESS...`` kills twenty writers of each log and prints JSON. The writer is forked, so that
Python starts once for all points.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import numpy as np

from spinefx.reader_study.log import Log

POINTS_A_LOG = 20


def write_on(address: str, promises: int, point: int) -> None:
    """Append answers without end; print the name of each only after the log has stored it."""
    log = Log(address)
    for number in range(10**6):
        name = f"{point}-{number}"
        log.append("answer.sealed", "R1", "pilot/R1", {"name": name, "filler": "x" * (number * 37 % 900)})
        os.write(promises, f"{name}\n".encode())


def main(addresses: list[str]) -> dict[str, int]:
    """Kill at the given number of points, and count."""
    rng, promised, lost, doubled = np.random.default_rng(11), 0, 0, 0
    points = [address for address in addresses for _ in range(POINTS_A_LOG)]
    for point, address in enumerate(points):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            write_on(address, writing, point)
        os.close(writing)
        with os.fdopen(reading) as told:
            first = told.readline()
            time.sleep(float(rng.uniform(0, 0.03)))
            os.kill(child, signal.SIGKILL)
            names = [first, *told]
        os.waitpid(child, 0)
        said = {name.strip() for name in names if name.endswith("\n")}
        log = Log(address)
        log.verify()
        kept = [entry.content["name"] for entry in log.entries()]
        log.close()
        promised += len(said)
        lost += len(said - {*kept})
        doubled += len(kept) - len({*kept})
    return {"points": len(points), "promised": promised, "lost": lost, "doubled": doubled}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1:])))
