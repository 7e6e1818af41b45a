"""Located spines and masks with a known truth: what a perfect localiser would find in a phantom."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from spinefx.imaging.volume import Volume
from spinefx.localisation.labels import TissueClass
from spinefx.localisation.spine import Anomaly, Convention, LocatedSpine, LocatedVertebra, numbering_anomalies
from spinefx.phantom.case import PhantomCase, truth_of
from spinefx.phantom.label_codes import Structure, label_value
from spinefx.phantom.labels import render_labels
from spinefx.phantom.levels import LEVEL_NAMES
from spinefx.phantom.random_streams import CaseDraw, draw_case
from spinefx.phantom.settings import PhantomSettings, Range

CLASSES = {
    Structure.DISC: TissueClass.DISC,
    Structure.CANAL: TissueClass.CANAL,
    Structure.CORD: TissueClass.CANAL,
    Structure.POSTERIOR: TissueClass.POSTERIOR,
}
OF_LEVEL = {"S1": TissueClass.S1, "C2": TissueClass.C2} | dict.fromkeys(("S2", "S3", "S4", "S5"), TissueClass.SACRUM)


@dataclass(frozen=True, eq=False)
class KnownSpine:
    """A phantom's label map, its classes, and the spine that lies in them."""

    draw: CaseDraw
    truth: PhantomCase
    labels: Volume
    classes: NDArray[np.int8]
    spine: LocatedSpine

    def mask(self, level: str) -> NDArray[np.bool_]:
        values = [label_value(kind, level) for kind in (Structure.BODY, Structure.LESION)]
        return np.asarray(np.isin(self.labels.array, values))


def classes_of(labels: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return the classes of a phantom's label map."""
    codes = labels.astype(int)
    classes = np.zeros(codes.shape, np.int8)
    for level in (*LEVEL_NAMES, "T13", "L6"):
        for kind in (Structure.BODY, Structure.LESION):
            classes[codes == label_value(kind, level)] = OF_LEVEL.get(level, TissueClass.BODY)
        for kind, tissue in CLASSES.items():
            classes[codes == label_value(kind, level)] = tissue
    return classes


def spine_in(labels: Volume, truth: PhantomCase, *, named: bool = True) -> LocatedSpine:
    """Return the vertebrae down to S1 whose bodies lie inside a label map, with their true names."""
    codes = labels.array.astype(int)
    vertebrae = []
    for level, centre in truth.vertebrae_mm.items():
        slices = np.flatnonzero(
            np.isin(codes, [label_value(kind, level) for kind in (Structure.BODY, Structure.LESION)]).any(axis=(1, 2))
        )
        if level not in ("S2", "S3", "S4", "S5") and len(slices) and labels.contains(centre):
            vertebrae.append(
                LocatedVertebra(
                    level if named else None,
                    named,
                    0.9,
                    (float(centre[0]), float(centre[1]), float(centre[2])),
                    1.2 * max(truth.extents_mm[level].depth_mm, 15.0),
                    int(slices[0]),
                    int(slices[-1]),
                )
            )
    anomalies: tuple[Anomaly, ...] = numbering_anomalies(one.level or "" for one in vertebrae) if named else ()
    convention = Convention.SACRUM if named else Convention.UNNAMED
    return LocatedSpine(tuple(vertebrae), convention, anomalies)


def label_spine(draw: CaseDraw) -> KnownSpine:
    """Return a patient's label map, its classes, and the spine that lies in them."""
    labels, truth = render_labels(draw), truth_of(draw)
    return KnownSpine(draw, truth, labels, classes_of(labels.array), spine_in(labels, truth))


@pytest.fixture(scope="session")
def lumbar() -> KnownSpine:
    """A lumbar spine with the sacrum in view."""
    settings = PhantomSettings(
        patients=2, seed=11, matrix=192, field_centre="lumbar", field_of_view_mm=Range(300.0, 300.0)
    )
    return label_spine(draw_case(settings, 1))
