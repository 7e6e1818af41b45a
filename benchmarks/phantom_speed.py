"""Cost of a phantom patient: CPU time and memory including DICOM export, singly and as a cohort.

Run as ``python benchmarks/phantom_speed.py FOLDER [--patients 190]``; the folder must be new or empty.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from record import record
from spinefx.phantom.cohort import PhantomSettings, write_cohort
from spinefx.phantom.settings import case_name
from spinefx.processes.pool import default_workers

SINGLE = 12


def main() -> None:
    """Write single patients, a small cohort and a large one, and record what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=190)
    arguments = parser.parse_args()
    settings = PhantomSettings(patients=arguments.patients)
    spent = []
    for number in range(1, SINGLE + 1):
        began = time.process_time()
        write_cohort(arguments.folder / f"single-{number}", settings, only=[case_name(number)])
        spent.append(time.process_time() - began)
    rows = [[f"one patient, median of {SINGLE}", f"{np.median(spent):.2f} s (largest {max(spent):.2f} s)", "", ""]]
    workers = default_workers()
    for patients in (max(workers, arguments.patients // 5), arguments.patients):
        began = time.perf_counter()
        write_cohort(arguments.folder / f"cohort-{patients}", PhantomSettings(patients=patients), workers=workers)
        wall = time.perf_counter() - began
        # Peak memory never falls, so the smaller cohort runs first and the larger one shows its increase.
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        rows.append([f"{patients} patients, {workers} processes", "", f"{wall:.0f} s", f"{peak / 1024:.0f} MiB"])
    record(
        "phantom_speed",
        "What phantom patients cost, 512 x 512, with DICOM and truth written (phantom)",
        ("what", "CPU time a patient", "wall time", "largest process so far"),
        rows,
        "Wanted: at most 3 s of one core a patient, 190 patients in at most 5 minutes on two cores, memory flat in the "
        "number of patients.",
    )


if __name__ == "__main__":
    main()
