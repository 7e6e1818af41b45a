"""One synthetic patient: the truth about it, and its images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from spinefx.imaging.volume import Volume
from spinefx.phantom.anterior_soft_tissue import paint_anterior_soft_tissue
from spinefx.phantom.canal import paint_canal
from spinefx.phantom.canvas import Canvas, Texture
from spinefx.phantom.discs import paint_discs
from spinefx.phantom.lesion_extension import paint_lesion_extension
from spinefx.phantom.posterior_elements import paint_posterior_elements
from spinefx.phantom.posterior_soft_tissue import paint_posterior_soft_tissue
from spinefx.phantom.random_streams import CaseDraw, Stream
from spinefx.phantom.scanner import Protocol, acquire, acquisition_grid, image_affine
from spinefx.phantom.spine import Spine, build_spine
from spinefx.phantom.tissue import TissueSignals
from spinefx.phantom.vertebra import Extent
from spinefx.phantom.vertebral_bodies import paint_bodies
from spinefx.vocabulary import Diagnosis, Weighting

__all__ = [
    "PhantomCase",
    "RenderedCase",
    "paint_spine",
    "render_case",
    "render_pair",
    "spine_frame",
    "spine_of",
    "truth_of",
]

_SOFT_TISSUE_PIXEL_MM = 2.6
_WEIGHTINGS = {"t1w": Weighting.T1W, "t2w": Weighting.T2W, "stir": Weighting.STIR}
# Planes of the localizer, as rotations of a sagittal stack: sagittal, coronal, axial.
_LOCALIZER_TURNS = (
    np.eye(3),
    np.array([[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]]),
    np.array([[0, 1.0, 0], [0, 0, 1.0], [1.0, 0, 0]]),
)


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """The true diagnosis, signs and geometry of one patient.

    Parameters
    ----------
    name, patient_id : str
    diagnosis : Diagnosis
    age : int
    sex, level : str
    signs : dict of str to bool
        The fifteen signs.
    box_centre_mm : ndarray, shape (3,)
        T2W frame, millimetres.
    box_side_mm : float
        Longer side of the smallest rectangle around the vertebral body.
    box_slice : int
        Index of the T2W slice that the box lies on.
    box_pixels : tuple of float, length 4
        Left, top, right and bottom edge on that slice; pixel centres are whole numbers.
    lesion_slices : tuple of int
        T2W slices that hold the lesion.
    t2w_sop_uids : tuple of str
        SOPInstanceUID of every T2W slice.
    t2w_to_t1w : ndarray, shape (4, 4)
        T2W millimetres -> T1W millimetres.
    vertebrae_mm, canals_mm : dict of str to ndarray, shape (3,)
        Centres of the bodies (for a collapsed body, of its remaining midsagittal section) and of the canal behind each,
        T2W frame, millimetres.
    extents_mm : dict of str to Extent
        Depth, heights and width of every body; C2 without its dens.
    fat_shift_mm : dict of str to ndarray, shape (3,)
        Displacement of fat in each series, millimetres.
    affines : dict of str to ndarray, shape (4, 4)
        Index -> patient millimetres of the T1W, T2W and STIR series.

    Notes
    -----
    Where the field of view is not centred on the lesion, the box may lie outside it: see :meth:`box_in_view`.
    """

    name: str
    patient_id: str
    diagnosis: Diagnosis
    age: int
    sex: str
    level: str
    signs: dict[str, bool]
    box_centre_mm: NDArray[np.float64]
    box_side_mm: float
    box_slice: int
    box_pixels: tuple[float, float, float, float]
    lesion_slices: tuple[int, ...]
    t2w_sop_uids: tuple[str, ...]
    t2w_to_t1w: NDArray[np.float64]
    vertebrae_mm: dict[str, NDArray[np.float64]]
    canals_mm: dict[str, NDArray[np.float64]]
    extents_mm: dict[str, Extent]
    fat_shift_mm: dict[str, NDArray[np.float64]]
    affines: dict[str, NDArray[np.float64]]

    def box_in_view(self, matrix: int) -> bool:
        """Return whether the box lies inside a T2W image of ``matrix`` pixels a side."""
        left, top, right, bottom = self.box_pixels
        return min(left, top) >= 0 and max(right, bottom) <= matrix - 1


@dataclass(frozen=True, eq=False)
class RenderedCase:
    """The images of one patient with their truth.

    Parameters
    ----------
    truth : PhantomCase
    t1w, t2w, stir : Volume
    localizer : tuple of Volume
        One slice each in the sagittal, coronal and axial plane.
    """

    truth: PhantomCase
    t1w: Volume
    t2w: Volume
    stir: Volume
    localizer: tuple[Volume, ...]


def spine_of(draw: CaseDraw) -> Spine:
    """Build the spine of a patient.

    Parameters
    ----------
    draw : CaseDraw

    Returns
    -------
    Spine
        Its origin is the centre of the lesion vertebra.
    """
    deformities = {**draw.healed, draw.level: draw.lesion.deformity}
    rng = draw.settings.generator(draw.number, Stream.ANATOMY)
    return build_spine(draw.level, deformities, draw.age, draw.sex, rng, draw.variation)


_FIELD_LEVELS = {"cervical": "C5", "thoracic": "T7", "thoracolumbar": "T12", "lumbar": "L3"}


def _field_centre(draw: CaseDraw, spine: Spine) -> NDArray[np.float64]:
    """What the fields of view are centred on, apart from ``CaseDraw.field_mm``; spine frame, millimetres."""
    centre = spine.lesion_vertebra.centre_mm
    if draw.field_centre == "whole_spine":
        centre = np.mean([item.centre_mm for item in spine.vertebrae if item.level in {"C2", "S2"}], axis=0)
    elif draw.field_centre != "lesion":
        centre = spine.vertebrae[spine.find(_FIELD_LEVELS[draw.field_centre]) or 0].centre_mm
    if draw.variation is None:
        return centre
    # The stack of a scoliotic spine is centred on the whole of what is in view.
    near = [item.centre_mm[0] for item in spine.vertebrae if abs(item.centre_mm[2] - centre[2]) < draw.t2w.fov_mm / 2]
    return np.array([(min(near) + max(near)) / 2, *centre[1:]])


def _series_affine(draw: CaseDraw, series: str, spine: Spine) -> NDArray[np.float64]:
    protocol: Protocol = getattr(draw, series)
    turn = Rotation.from_euler("xyz", draw.oblique_deg[series], degrees=True).as_matrix()
    middle = np.array(draw.table_mm) + np.array(draw.field_mm[series]) + _field_centre(draw, spine)
    return image_affine(protocol, middle, turn)


def truth_of(draw: CaseDraw) -> PhantomCase:
    """Compute the truth about a patient without rendering any image.

    Parameters
    ----------
    draw : CaseDraw

    Returns
    -------
    PhantomCase
    """
    return _truth(draw, spine_of(draw))


def _truth(draw: CaseDraw, spine: Spine) -> PhantomCase:
    table = np.array(draw.table_mm)
    affines = {series: _series_affine(draw, series, spine) for series in ("t1w", "t2w", "stir")}
    inverse = np.linalg.inv(affines["t2w"])
    outline = (spine.lesion_vertebra.outline() + table) @ inverse[:3, :3].T + inverse[:3, 3]
    middle = inverse[:3, :3] @ table + inverse[:3, 3]
    box_slice = int(np.clip(round(float(middle[0])), 0, draw.t2w.slices - 1))
    top, left = (float(value) for value in outline[:, 1:].min(axis=0))
    bottom, right = (float(value) for value in outline[:, 1:].max(axis=0))
    centre = affines["t2w"] @ [box_slice, (top + bottom) / 2, (left + right) / 2, 1]
    near = tuple(index for index in (box_slice - 1, box_slice, box_slice + 1) if 0 <= index < draw.t2w.slices)
    shifts = {}
    for series, affine in affines.items():
        protocol: Protocol = getattr(draw, series)
        axis = affine[:3, 1] if protocol.frequency_axis == "SI" else affine[:3, 2]
        shifts[series] = protocol.fat_shift_mm * axis / np.linalg.norm(axis)
    return PhantomCase(
        name=draw.name,
        patient_id=draw.patient_id,
        diagnosis=draw.diagnosis,
        age=draw.age,
        sex=draw.sex,
        level=draw.level,
        signs=dict(draw.lesion.signs),
        box_centre_mm=centre[:3],
        box_side_mm=max(bottom - top, right - left) * draw.t2w.fov_mm / draw.t2w.matrix,
        box_slice=box_slice,
        box_pixels=(left, top, right, bottom),
        lesion_slices=near,
        t2w_sop_uids=tuple(draw.uid("t2w", index) for index in range(draw.t2w.slices)),
        t2w_to_t1w=draw.t2w_to_t1w,
        vertebrae_mm={item.level: item.centroid() + table for item in spine.vertebrae},
        canals_mm={
            item.level: item.world(np.array([0.0, (item.depth_mm + item.canal_mm) / 2, 0.0])) + table
            for item in spine.vertebrae
        },
        extents_mm={item.level: item.extent() for item in spine.vertebrae},
        fat_shift_mm=shifts,
        affines=affines,
    )


def render_pair(draw: CaseDraw) -> tuple[PhantomCase, Volume, Volume]:
    """Render the T1W and T2W images of a patient, which is all that the paper's protocol reads.

    Parameters
    ----------
    draw : CaseDraw

    Returns
    -------
    PhantomCase
    Volume
        T1W, voxel for voxel as :func:`render_case` renders it.
    Volume
        T2W, likewise.
    """
    truth, volumes = _render(draw, *_body(draw), draw.settings.generator(draw.number, Stream.NOISE), ("t1w", "t2w"))
    return truth, volumes["t1w"], volumes["t2w"]


def render_case(draw: CaseDraw) -> RenderedCase:
    """Render all images of a patient.

    Parameters
    ----------
    draw : CaseDraw

    Returns
    -------
    RenderedCase
    """
    spine, texture = _body(draw)
    noise = draw.settings.generator(draw.number, Stream.NOISE)
    truth, volumes = _render(draw, spine, texture, noise, ("t1w", "t2w", "stir"))
    still = np.eye(4)
    middle = np.array(draw.table_mm) + np.array(draw.field_mm["t2w"]) + _field_centre(draw, spine)
    scouts = []
    for turn in _LOCALIZER_TURNS:
        affine = image_affine(draw.localizer, middle, turn)
        array = _scan(draw, draw.localizer, affine, still, (spine, texture), noise)
        scouts.append(Volume(array, affine, draw.uid("frame"), Weighting.OTHER))
    return RenderedCase(truth, volumes["t1w"], volumes["t2w"], volumes["stir"], tuple(scouts))


def _body(draw: CaseDraw) -> tuple[Spine, Texture]:
    return spine_of(draw), Texture(draw.settings.generator(draw.number, Stream.TEXTURE))


def _render(
    draw: CaseDraw, spine: Spine, texture: Texture, noise: np.random.Generator, names: tuple[str, ...]
) -> tuple[PhantomCase, dict[str, Volume]]:
    """Render series in the order in which they draw their noise."""
    truth, volumes = _truth(draw, spine), {}
    for name in names:
        moved = draw.t2w_to_t1w if name == "t1w" else np.eye(4)
        array = _scan(draw, getattr(draw, name), truth.affines[name], moved, (spine, texture), noise)
        volumes[name] = Volume(array, truth.affines[name], draw.uid("frame"), _WEIGHTINGS[name])
    return truth, volumes


def _scan(
    draw: CaseDraw,
    protocol: Protocol,
    affine: NDArray[np.float64],
    moved: NDArray[np.float64],
    body: tuple[Spine, Texture],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Render the thin slices of every slice, average them, and acquire the slice."""
    spine, texture = body
    signals = TissueSignals(protocol.sequence)
    shape, grid = acquisition_grid(protocol, spine_frame(draw, affine, moved))
    canvas = Canvas(shape, grid, protocol.thin)
    # Anterior soft tissue is smooth: it is painted on a coarse grid, once for all thin slices of a slice.
    coarse = canvas.coarse(_SOFT_TISSUE_PIXEL_MM)
    paint_anterior_soft_tissue(coarse, spine, draw.habitus, texture, signals)
    canvas.upsample_from(coarse)
    paint_posterior_soft_tissue(canvas, spine, draw.habitus, texture, signals)
    paint_spine(canvas, draw, spine, texture, signals)
    water, fat = canvas.slices()
    _, behind, above = canvas.whole().spine_of_slices()
    if draw.field_centre != "lesion":  # coil and saturation band follow the field
        _, posterior, superior = _field_centre(draw, spine)
        behind, above = behind - np.float32(posterior), above - np.float32(superior)
    images = [acquire(protocol, draw.coil, (water[i], fat[i]), (behind[i], above[i]), rng) for i in range(len(water))]
    return np.stack(images)


def spine_frame(draw: CaseDraw, affine: NDArray[np.float64], moved: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the map from a series' indices to the spine frame.

    Parameters
    ----------
    draw : CaseDraw
    affine : ndarray, shape (4, 4)
        Index -> scanner millimetres.
    moved : ndarray, shape (4, 4)
        Motion of the patient since the T2W series, scanner millimetres.

    Returns
    -------
    ndarray, shape (4, 4)
    """
    to_spine = np.eye(4)
    to_spine[:3, 3] = -np.array(draw.table_mm)
    result: NDArray[np.float64] = to_spine @ np.linalg.inv(moved) @ affine
    return result


def paint_spine(canvas: Canvas, draw: CaseDraw, spine: Spine, texture: Texture, signals: TissueSignals) -> None:
    """Paint the canal, discs, bodies, posterior elements and the lesion's extension, from far to near.

    Parameters
    ----------
    canvas : Canvas
        Painted in place.
    draw : CaseDraw
    spine : Spine
    texture : Texture
    signals : TissueSignals
    """
    paint_canal(canvas, spine, draw.habitus, texture, signals, draw.lesion)
    paint_discs(canvas, spine, texture, signals)
    paint_bodies(canvas, spine, draw.habitus, texture, signals, draw.lesion, draw.spots)
    paint_posterior_elements(canvas, spine, draw.habitus, texture, signals)
    paint_lesion_extension(canvas, spine, texture, signals, draw.lesion)
