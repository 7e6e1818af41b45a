"""How well and how fast T1W is brought onto T2W: phantom pairs of known motion.

Run as ``python benchmarks/registration.py [patients]``; prints one line a patient, then the summary. Errors are mean
distances at the corners of the box, against where the *fat* of the T2W image lies in the T1W image: bright in both, it
is what mutual information aligns, and its chemical shift differs between the series by 0.2 to 1.4 mm.
"""

from __future__ import annotations

import sys
import time
from itertools import product

import numpy as np
from numpy.typing import NDArray

from record import record
from spinefx.imaging.registration import align
from spinefx.phantom.case import PhantomCase, render_case
from spinefx.phantom.draws import PhantomSettings, draw_case

SETTINGS = PhantomSettings(patients=190, seed=20, motion=2.0)


def corners_mm(truth: PhantomCase) -> NDArray[np.float64]:
    """Corners of the box within its slice, T2W frame, shape (4, 3)."""
    axes = truth.affines["t2w"][:3, 1:3]
    axes = axes / np.linalg.norm(axes, axis=0)
    signs = np.array(list(product((-0.5, 0.5), repeat=2)))
    return truth.box_centre_mm + truth.box_side_mm * signs @ axes.T


def true_places_mm(truth: PhantomCase, places_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the fat seen at places of the T2W image is seen in the T1W image."""
    still = places_mm - truth.fat_shift_mm["t2w"]
    return still @ truth.t2w_to_t1w[:3, :3].T + truth.t2w_to_t1w[:3, 3] + truth.fat_shift_mm["t1w"]


def main(patients: int) -> None:
    """Align every patient and print the table."""
    print("patient      geometry    rigid    time  result")
    rows = []
    for number in range(1, patients + 1):
        draw = draw_case(SETTINGS, number)
        case = render_case(draw)
        truth = case.truth
        wild = np.linalg.norm(draw.motion_mm) > 8 or np.linalg.norm(draw.motion_deg) > 6
        began = time.process_time()
        alignment = align(case.t2w, case.t1w, centre_mm=truth.box_centre_mm, side_mm=truth.box_side_mm)
        seconds = time.process_time() - began
        corners = corners_mm(truth)
        wanted = true_places_mm(truth, corners)
        before, after = (
            float(np.linalg.norm(places - wanted, axis=1).mean()) for places in (corners, alignment.apply(corners))
        )
        rows.append((before, after, seconds, not wild))
        mark = "*" if wild else " "
        print(f"{truth.name}{mark} {before:5.2f} mm {after:5.2f} mm {seconds:5.2f} s  {alignment.reason}", flush=True)
    before_mm, after_mm, spent_s, within = np.array(rows).T
    tame = within > 0
    table = []
    for name, errors in (("geometry alone", before_mm), ("rigid", after_mm)):
        inside = f"{np.sum(errors[tame] < 1)} of {tame.sum()}"
        loss = "0 mm" if name != "rigid" else f"{max(0.0, float(np.max(after_mm - before_mm))):.2f} mm"
        seconds = "0 s" if name != "rigid" else f"{np.median(spent_s):.2f} s ({spent_s.max():.2f} s)"
        table.append([name, f"{np.median(errors):.2f} mm", f"{errors[tame].max():.2f} mm", inside, loss, seconds])
    record(
        "registration",
        f"T1W onto T2W on {patients} phantom pairs, 512 x 512, known motion doubled (phantom)",
        ("method", "median error", "largest", "below 1 mm", "worst loss to geometry", "CPU time, median (largest)"),
        table,
        "Mean distance at the box's corners, the differential chemical shift counted. Pairs that moved more than 8 mm "
        f"or 6 degrees ({patients - tame.sum()}) are left out of `largest` and `below 1 mm`.",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
