"""Label maps: the structure and the level of every voxel, rendered by the functions that render the images.

A label is 100 times the code of the structure plus the code of the level (C1 1, C2 2, T1 8, L1 20, S1 25); 0 is
background:

===== ========================================================
code  structure
===== ========================================================
1     vertebral body with its cortex (C2 with the dens)
2     disc below the level
3     thecal sac behind the level's body and the disc below it, without the cord
4     spinal cord behind the level's body and the disc below it
5     posterior elements: pedicles, articular processes, laminae, spinous process
6     changed marrow of the lesion: oedema, replacement, nodules, dark line or patch, cleft
7     tumour or haematoma outside the body: epidural, paraspinal, or in the posterior elements
===== ========================================================
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.files import write_text
from spinefx.imaging.nifti import stem_of, write_nifti
from spinefx.imaging.volume import Volume
from spinefx.phantom.canvas import Canvas, Region, Texture
from spinefx.phantom.case import paint_spine, spine_frame, spine_of, truth_of
from spinefx.phantom.label_codes import Structure, label_names, label_value
from spinefx.phantom.random_streams import CaseDraw, Stream
from spinefx.phantom.scanner import acquisition_grid
from spinefx.phantom.tissue import TissueSignals
from spinefx.vocabulary import Weighting

__all__ = ["LABEL_SERIES", "label_path", "render_labels", "write_labels"]

_THIN = 5  # thin slices for each slice; a voxel's label is what most of them hold


class _LabelCanvas(Canvas):
    """A canvas that keeps labels instead of signals."""

    def __init__(self, shape: tuple[int, int, int], affine: NDArray[np.float64], levels: tuple[str, ...]) -> None:
        super().__init__(shape, affine, _THIN)
        self.labels = np.zeros(shape, np.int16)
        self._values = {kind: np.array([label_value(kind, level) for level in levels], np.int16) for kind in Structure}

    def blend(self, region: Region, alpha: Any, water: Any, fat: Any) -> None:
        """Do nothing: a label map has no signals."""

    def mark(self, region: Region, alpha: NDArray[Any], kind: int, owner: Any = 0) -> None:
        """Label the voxels of which more than half is covered."""
        named = np.broadcast_to(self._values[Structure(kind)][owner], region.shape)
        part = self.labels[region.block]
        np.copyto(part, named, where=alpha > 0.5)

    def majority(self) -> NDArray[np.int16]:
        """Return the label that most thin slices of a slice hold; the middle one's where all differ."""
        thin = self.labels.reshape(-1, self.thin, *self.labels.shape[1:])
        best = thin[:, self.thin // 2].copy()
        votes = (thin == best[:, None]).sum(axis=1, dtype=np.int8)
        for index in range(self.thin):
            other = thin[:, index]
            count = (thin == other[:, None]).sum(axis=1, dtype=np.int8)
            more = count > votes
            best[more], votes[more] = other[more], count[more]
        return best


def render_labels(draw: CaseDraw, series: str = "t2w") -> Volume:
    """Label every voxel of a series by the structure that covers most of it.

    Parameters
    ----------
    draw : CaseDraw
    series : str
        ``t2w``, ``t1w`` or ``stir``.

    Returns
    -------
    Volume
        On the grid of the series; integers as this module's docstring lists them.

    Notes
    -----
    Labels lie where the tissue lies, which is where the image shows its water. The image shows fat displaced by
    ``PhantomCase.fat_shift_mm``.
    """
    truth = truth_of(draw)
    protocol = getattr(draw, series)
    spine = spine_of(draw)
    moved = draw.t2w_to_t1w if series == "t1w" else np.eye(4)
    fine = replace(protocol, thin=_THIN, painted=protocol.matrix)
    shape, grid = acquisition_grid(fine, spine_frame(draw, truth.affines[series], moved))
    canvas = _LabelCanvas(shape, grid, tuple(item.level for item in spine.vertebrae))
    texture = Texture(draw.settings.generator(draw.number, Stream.TEXTURE))
    paint_spine(canvas, draw, spine, texture, TissueSignals(protocol.sequence))
    return Volume(canvas.majority().astype(np.float32), truth.affines[series], draw.uid("frame"), Weighting.OTHER)


LABEL_SERIES = {"t2w": "T2w", "t1w": "T1w", "stir": "STIR"}
"""Series that label maps can be written for, with their names in file names."""


def label_path(folder: Path, patient_id: str, series: str = "t2w") -> Path:
    """Return the path of a patient's label map in a cohort's folder.

    Parameters
    ----------
    folder : Path
    patient_id : str
    series : str
        A key of :data:`LABEL_SERIES`.

    Returns
    -------
    Path
        Such as ``labels/<patient>_T2w_dseg.nii.gz``.
    """
    return folder / "labels" / f"{patient_id}_{LABEL_SERIES[series]}_dseg.nii.gz"


def write_labels(folder: Path, draw: CaseDraw, series: str = "t2w") -> Path:
    """Write a patient's label map on the grid of one series, in the layout of BIDS derivatives.

    Parameters
    ----------
    folder : Path
        Folder of the cohort; the files go to its subfolder ``labels``.
    draw : CaseDraw
    series : str
        A key of :data:`LABEL_SERIES`.

    Returns
    -------
    Path
        The label map, at :func:`label_path`. Beside it lie a JSON sidecar, and a TSV with ``index`` and ``name`` of
        every label that occurs.

    Raises
    ------
    InterruptedWrite
        When a file cannot be written.
    """
    path = label_path(folder, draw.patient_id, series)
    volume = render_labels(draw, series)
    names = {value: name for value, name in label_names().items() if value in set(np.unique(volume.array).tolist())}
    sidecar = {
        "Description": "Labels of a digital phantom, no patient: 100 x kind + level (C1 1, T1 8, L1 20, S1 25)",
        "Kinds": {str(int(kind)): kind.name.lower() for kind in Structure},
        "Manual": False,
    }
    rows = ["index\tname", *(f"{value}\t{name}" for value, name in names.items())]
    write_text(path.with_name(f"{stem_of(path.name)}.tsv"), "\n".join(rows) + "\n")
    write_nifti(path, volume, sidecar)
    return path
