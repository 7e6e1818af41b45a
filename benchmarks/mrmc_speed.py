"""Time of the analyses of a large reader study: 10,000 cases, 20 readers, 2 modalities, no missing readings.

Run as ``python benchmarks/mrmc_speed.py``, with ``OMP_NUM_THREADS=1`` to measure one core.
"""

from __future__ import annotations

import time

import numpy as np

from record import record
from spinefx.statistics.clustered import clustered_auc
from spinefx.statistics.mrmc.anova import mrmc
from spinefx.statistics.mrmc.panel import ai_vs_readers
from spinefx.statistics.mrmc.roe_metz import RoeMetz
from spinefx.statistics.mrmc.scores import ReaderStudy
from spinefx.statistics.mrmc.ustatistic import ustat_mrmc


def main() -> None:
    """Time each analysis once, and record the table."""
    study = RoeMetz((1.5, 1.7)).draw(np.random.default_rng(0), readers=20, malignant=5000, benign=5000)
    modality, reader, case = (axis.ravel() for axis in np.indices(study.scores.shape))
    columns = {"reader": reader, "modality": modality, "case": case, "score": study.scores.ravel()}
    one, patient = study.only(modalities=["A"]), np.arange(10_000) // 4
    rows = []
    for name, analysis in (
        (
            "table of 400,000 rows to array",
            lambda: ReaderStudy.from_columns(malignant=study.malignant[case], **columns),
        ),
        ("RRRC, jackknife", lambda: mrmc(study)),
        ("RRRC, DeLong", lambda: mrmc(study, covariance="delong")),
        ("RRRC, unbiased (all pairs of cases)", lambda: mrmc(study, covariance="unbiased")),
        ("sensitivity, jackknife", lambda: mrmc(study, endpoint="sensitivity", threshold=1.0)),
        ("U-statistics (all pairs of cases)", lambda: ustat_mrmc(study)),
        ("model v panel of 19", lambda: ai_vs_readers(one, "reader 1")),
        ("clustered AUC, one reader", lambda: clustered_auc(study.scores[0, 0], study.malignant, patient)),
    ):
        began = time.process_time()
        analysis()
        rows.append((name, f"{time.process_time() - began:.2f} s"))
    title = "Reader study of 10,000 cases, 20 readers, 2 modalities (simulated)"
    record("mrmc_speed", title, ("analysis", "CPU time"), rows, "On one core (`OMP_NUM_THREADS=1`).")


if __name__ == "__main__":
    main()
