"""Sign masks: where in the T2W series each of the fifteen signs lies, to test a model's evidence maps against.

One integer per voxel holds all masks: bit n - 1 is set where sign n of :data:`spinefx.vocabulary.SIGN_IDENTIFIERS`
lies. Signs of shape lie along the end plates that have sunk, or at the wall that protrudes; absent collapse and
homogeneous marrow are the whole body; all others are where they were painted.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.imaging.nifti import read_nifti, write_nifti
from spinefx.imaging.volume import Volume
from spinefx.phantom.canvas import Canvas, Region, Texture
from spinefx.phantom.case import spine_frame, spine_of, truth_of
from spinefx.phantom.lesion import LesionDraw
from spinefx.phantom.lesion_extension import paint_lesion_extension
from spinefx.phantom.random_streams import CaseDraw, Stream
from spinefx.phantom.scanner import acquisition_grid
from spinefx.phantom.spine import Spine
from spinefx.phantom.tissue import TissueSignals
from spinefx.phantom.vertebra import Deformity
from spinefx.phantom.vertebral_bodies import inside_body, paint_bodies
from spinefx.vocabulary import SIGN_IDENTIFIERS, Weighting

__all__ = ["read_sign_masks", "render_sign_masks", "sign_mask_path", "write_sign_masks"]

_THIN = 3  # thin slices for each slice; a sign lies where most of them show it
_RIM_MM = 3.0  # a sunken end plate is seen in the marrow below it, too
_SUNK_MM = 1.2  # smaller changes of an outline cannot be seen
_BIT = {sign: np.int16(1 << index) for index, sign in enumerate(SIGN_IDENTIFIERS)}


class _SignCanvas(Canvas):
    """A canvas that keeps where signs lie instead of signals."""

    def __init__(self, shape: tuple[int, int, int], affine: NDArray[np.float64]) -> None:
        super().__init__(shape, affine, _THIN)
        self.bits = np.zeros(shape, np.int16)

    def blend(self, region: Region, alpha: Any, water: Any, fat: Any) -> None:
        """Do nothing: a mask has no signals."""

    def mark_sign(self, region: Region, alpha: NDArray[Any], sign: str) -> None:
        """Set the bit of the sign in voxels of which more than half is covered."""
        part = self.bits[region.block]
        np.bitwise_or(part, _BIT[sign], out=part, where=alpha > 0.5)

    def majority(self) -> NDArray[np.int16]:
        """Return the bits that most thin slices of a slice have set."""
        thin = self.bits.reshape(-1, self.thin, *self.bits.shape[1:])
        result = np.zeros((len(thin), *thin.shape[2:]), np.int16)
        for bit in _BIT.values():
            votes = np.count_nonzero(thin & bit, axis=1)
            result |= np.where(2 * votes > self.thin, bit, np.int16(0))
        return result


def render_sign_masks(draw: CaseDraw) -> dict[str, NDArray[np.bool_]]:
    """Render the mask of every sign on the grid of the T2W series.

    Parameters
    ----------
    draw : CaseDraw

    Returns
    -------
    dict of str to ndarray of bool, shape (slices, rows, columns)
        By sign, in the order of the vocabulary; all False for a sign that the patient does not have.
    """
    return _masks(_render(draw).array)


def _render(draw: CaseDraw) -> Volume:
    affine = truth_of(draw).affines["t2w"]
    spine = spine_of(draw)
    fine = replace(draw.t2w, thin=_THIN, painted=draw.t2w.matrix)
    canvas = _SignCanvas(*acquisition_grid(fine, spine_frame(draw, affine, np.eye(4))))
    texture = Texture(draw.settings.generator(draw.number, Stream.TEXTURE))
    signals = TissueSignals(draw.t2w.sequence)
    paint_bodies(canvas, spine, draw.habitus, texture, signals, draw.lesion, draw.spots)
    paint_lesion_extension(canvas, spine, texture, signals, draw.lesion)
    _mark_shape(canvas, spine, draw.lesion)
    return Volume(canvas.majority().astype(np.float32), affine, draw.uid("frame"), Weighting.OTHER)


def _mark_shape(canvas: Canvas, spine: Spine, lesion: LesionDraw) -> None:
    """Mark the signs that a body shows as a whole, by its end plates, or by a wall."""
    item = spine.lesion_vertebra
    change = item.deformity
    intact = replace(item, deformity=Deformity())
    half_depth, half_height = item.depth_mm / 2 + change.bulge_mm + 5, item.height_mm * 0.56 + 3
    half_width = item.width_mm / 2 + 2
    region = canvas.box(item, (-half_width, -half_depth, -half_height), (half_width, half_depth, half_height))
    if region is None:
        return
    place = region.local(item)
    side, depth, height = place
    inside = inside_body(item, place)
    for sign in ("absence_of_collapse", "homogeneous_marrow"):
        if lesion.signs[sign]:
            canvas.mark_sign(region, inside > 0, sign)
    front, back = item.walls(side, height)
    between = (depth > front) & (depth < back) & (np.abs(side) < item.width_mm / 2)
    flat = replace(item, deformity=replace(change, central=0.0))
    plates = {name: body.end_plates(side, depth) for name, body in (("now", item), ("flat", flat), ("whole", intact))}
    for sign, low, high in (
        ("anterior_wedge", "flat", "whole"),
        ("entire_body_compression", "flat", "whole"),
        ("central_concave", "now", "flat"),
    ):
        if lesion.signs[sign]:
            lower, upper = plates["now"]
            sunk = plates[high][1] - plates[low][1] > _SUNK_MM, plates[low][0] - plates[high][0] > _SUNK_MM
            above = sunk[0] & (height > upper - _RIM_MM) & (height < plates[high][1])
            below = sunk[1] & (height < lower + _RIM_MM) & (height > plates[high][0])
            canvas.mark_sign(region, between & (above | below), sign)
    if lesion.signs["ap_protrusion"]:
        usual_front, usual_back = intact.walls(side, height)
        behind = (back - usual_back > _SUNK_MM) & (depth > usual_back - 1) & (depth < back + 0.5)
        ahead = (usual_front - front > _SUNK_MM) & (depth < usual_front + 1) & (depth > front - 0.5)
        lower, upper = plates["now"]
        canvas.mark_sign(region, (behind | ahead) & (height > lower) & (height < upper), "ap_protrusion")


def _masks(bits: NDArray[Any]) -> dict[str, NDArray[np.bool_]]:
    whole = bits.astype(np.int16)
    return {sign: (whole & bit) > 0 for sign, bit in _BIT.items()}


def sign_mask_path(folder: Path, patient_id: str) -> Path:
    """Return the path of a patient's sign masks in a cohort's folder.

    Parameters
    ----------
    folder : Path
    patient_id : str

    Returns
    -------
    Path
        Such as ``labels/<patient>_T2w_signs.nii.gz``.
    """
    return folder / "labels" / f"{patient_id}_T2w_signs.nii.gz"


def write_sign_masks(folder: Path, draw: CaseDraw) -> Path:
    """Write a patient's sign masks as one NIfTI volume with a JSON sidecar.

    Parameters
    ----------
    folder : Path
        Folder of the cohort; the files go to its subfolder ``labels``.
    draw : CaseDraw

    Returns
    -------
    Path
        At :func:`sign_mask_path`; :func:`read_sign_masks` reads it.

    Raises
    ------
    InterruptedWrite
        When a file cannot be written.
    """
    path = sign_mask_path(folder, draw.patient_id)
    sidecar = {
        "Description": "Where each sign lies in a digital phantom, no patient; each sign has one bit of the value",
        "Signs": {sign: int(bit) for sign, bit in _BIT.items()},
        "Manual": False,
    }
    write_nifti(path, _render(draw), sidecar)
    return path


def read_sign_masks(path: Path) -> dict[str, NDArray[np.bool_]]:
    """Read sign masks that :func:`write_sign_masks` wrote.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to ndarray of bool, shape (slices, rows, columns)
        By sign.

    Raises
    ------
    FileError
        When the file cannot be read.
    """
    return _masks(read_nifti(path).array)
