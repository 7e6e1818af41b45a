"""Why a series cannot be read as a plain sagittal one, and whether that is certain or only likely."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from spinefx.imaging.contrast_words import Trait, traits_of
from spinefx.imaging.series import Series
from spinefx.vocabulary import MARKED, Plane, Weighting

__all__ = [
    "COARSEST_PIXEL_MM",
    "COARSEST_STEP_MM",
    "Objection",
    "contradicts",
    "kinds_beside",
    "objection_to",
    "search_objection",
    "shows",
]

FEWEST_SLICES = 3
# A sagittal spine series covers 40 to 100 mm from side to side; a head or a trunk needs more.
WIDEST_SLAB_MM = 130.0
# Protocols of the spine use slices of 3 to 5 mm and pixels of 0.4 to 1.2 mm (Yeh 2022: 4 mm with 0.4 mm between).
# Beyond these limits a vertebral body is a few voxels, and no model may answer, whatever it was trained on.
COARSEST_STEP_MM, COARSEST_PIXEL_MM = 7.5, 4.0
PROJECTIONS = frozenset(
    {"PROJECTION IMAGE", "MIP", "MINIP", "MAX_IP", "MIN_IP", "MPR", "REFORMATTED", "CSA MPR", "SUBTRACTION"}
)
MAPS = frozenset({"ADC", "FA", "TRACEW", "T1 MAP", "T2 MAP", "PHASE MAP", "P", "SUB"})
DIXON_PARTS = (Trait.FAT, Trait.WATER, Trait.OPPOSED)
# Reasons that name a kind of image which readers hang beside the chosen series.
BESIDE = re.compile(r"fat-suppressed|contrast-enhanced|(axial|coronal), not")


@dataclass(frozen=True)
class Objection:
    """What speaks against a series.

    Parameters
    ----------
    reason : str
        One sentence; empty where nothing speaks against it.
    known : str
        Where the series is known to be something else, so that nobody may name it: what it is known by. Empty where
        the rules only doubt it.
    """

    reason: str = ""
    known: str = ""


def objection_to(series: Series, wanted: Sequence[Weighting]) -> Objection:
    """Return why a series cannot be chosen.

    Parameters
    ----------
    series : Series
    wanted : sequence of Weighting
        What is looked for.

    Returns
    -------
    Objection
    """
    found = [
        _by_kind(series),
        _by_plane(series),
        _by_place(series),
        _by_contrast(series, wanted),
        _by_voxels(series),
        _by_weighting(series, wanted),
    ]
    return Objection(
        next((one.reason for one in found if one.reason), ""), next((one.known for one in found if one.known), "")
    )


def search_objection(series: Series) -> str:
    """Return why no vertebra is looked for in a series, whatever its contrast.

    Parameters
    ----------
    series : Series

    Returns
    -------
    str
        One sentence: another kind of image, another plane, another part of the body, or voxels too coarse. Empty where
        nothing speaks against it.
    """
    found = (_by_kind(series), _by_plane(series), _by_place(series), _by_voxels(series))
    return next((one.reason for one in found if one.reason), "")


def contradicts(series: Series, weighting: Weighting) -> bool:
    """Return whether a series is known to be of another weighting than the one that it is named as.

    Parameters
    ----------
    series : Series
    weighting : Weighting

    Returns
    -------
    bool
    """
    unsure = {weighting, Weighting.OTHER, Weighting.UNKNOWN}
    return series.weighting not in unsure


def kinds_beside(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds of image that a study holds beside the chosen series, by why they were refused.

    Parameters
    ----------
    reasons : iterable of str
        Of `RefusedSeries`.

    Returns
    -------
    tuple of str
        Each once, sorted, such as ``fat-suppressed (STIR)``. Localizers, maps, and second series of the chosen kinds
        are left out: they do not change how the images are hung.
    """
    return tuple(sorted({reason.partition(",")[0] for reason in reasons if BESIDE.match(reason)}))


def shows(series: Series, place_mm: Sequence[float]) -> bool:
    """Return whether a place lies inside the voxels of a series.

    Parameters
    ----------
    series : Series
    place_mm : sequence of float
        Left, posterior, superior; millimetres.

    Returns
    -------
    bool
        Half a voxel beyond the outermost centres counts as inside.
    """
    if series.fault:
        return False
    index = np.linalg.solve(series.affine, [*place_mm, 1.0])[:3]
    sides = np.array([series.number_of_slices, *series.shape])
    return bool(((index >= -0.5) & (index <= sides - 0.5)).all())


def _known(reason: str) -> Objection:
    return Objection(reason, reason)


def _by_kind(series: Series) -> Objection:
    types, traits = set(series.image_type), series.contrast.traits
    if series.modality == "SEG":
        return _known("a label map, not an image")
    if series.modality != "MR":
        return _known("not MR")
    if "LOCALIZER" in types or (Trait.LOCALIZER in traits and series.number_of_slices < 2 * FEWEST_SLICES):
        return Objection("a localizer")
    if types & PROJECTIONS:
        return _known("a projection or reformat, not an acquired stack")
    if types & MAPS:
        return _known("a map or a derived image, not a plain one")
    if Trait.PROJECTION in traits:
        return _known("a projection or reformat, not an acquired stack, by its name")
    return _known("a map or a derived image, not a plain one") if Trait.MAP in traits else Objection()


def _by_plane(series: Series) -> Objection:
    if series.plane is Plane.MIXED:
        return _known("several planes in one series, as a localizer has")
    if series.plane is not Plane.SAGITTAL:
        return _known(f"{series.plane}, not sagittal")
    if series.number_of_slices < FEWEST_SLICES:
        return Objection(f"too few slices ({series.number_of_slices}, at least {FEWEST_SLICES} are needed)")
    return _known(series.fault)


def _by_place(series: Series) -> Objection:
    part = traits_of(series.body_part)
    if Trait.HEAD in part and Trait.SPINE not in part:
        return Objection("of the head, by its body part")
    if Trait.ELSEWHERE in part:
        return Objection("not of the spine, by its body part")
    for name in series.description.split("\n"):
        places = traits_of(name) & {Trait.HEAD, Trait.ELSEWHERE, Trait.SPINE}
        if Trait.SPINE not in places and Trait.HEAD in places:
            return Objection("of the head, by its name")
        if Trait.SPINE not in places and Trait.ELSEWHERE in places:
            return Objection("not of the spine, by its name")
        if places:
            break  # the series' own description comes before the protocol's name
    width = series.spacing_mm[0] * series.number_of_slices
    if width > WIDEST_SLAB_MM:
        return Objection(
            f"{width:.0f} mm from side to side, as of a head or a trunk (a spine needs up to {WIDEST_SLAB_MM:.0f} mm)"
        )
    return Objection()


def _by_contrast(series: Series, wanted: Sequence[Weighting]) -> Objection:
    traits = series.contrast.traits
    for part in DIXON_PARTS:
        if part in traits:
            return _known(f"{part.value}, not a plain image")
    if series.gradient_echo:
        return _known("a gradient echo or echo planar series, not a spin echo")
    if series.fat_suppressed and not (series.weighting in wanted and series.weighting.suppresses_fat):
        return _known("fat-suppressed (STIR)" if Trait.STIR in traits else "fat-suppressed")
    if Trait.ENHANCED in traits:
        reason = "contrast-enhanced" if series.contrast_agent else "contrast-enhanced, by its name"
        # An agent brightens T1W. T2W hardly changes: a person may judge that.
        return Objection(reason) if series.weighting is MARKED else _known(reason)
    if Trait.DIXON in traits and Trait.IN_PHASE not in traits:
        return Objection("a Dixon series that does not say which part it is")
    return Objection()


def _by_voxels(series: Series) -> Objection:
    step, pixel = series.spacing_mm[0], max(series.spacing_mm[1:])
    if step <= COARSEST_STEP_MM and pixel <= COARSEST_PIXEL_MM:
        return Objection()
    return _known(
        f"voxels of {step:.1f} x {series.spacing_mm[1]:.1f} x {series.spacing_mm[2]:.1f} mm, coarser than a model can "
        f"read (slice step up to {COARSEST_STEP_MM} mm, pixels up to {COARSEST_PIXEL_MM} mm)"
    )


def _by_weighting(series: Series, wanted: Sequence[Weighting]) -> Objection:
    if series.weighting is Weighting.UNKNOWN:
        return Objection("its timing (TR, TE) is unknown and its name does not say")
    if series.weighting is Weighting.OTHER:
        if series.repetition_time_ms is None or series.echo_time_ms is None:
            return _known(f"neither {' nor '.join(one.label for one in wanted)}: {series.kind}")
        timing = f"TR {series.repetition_time_ms:.4g} ms, TE {series.echo_time_ms:.4g} ms"
        return Objection(f"neither {' nor '.join(one.label for one in wanted)} by its timing ({timing})")
    return Objection() if series.weighting in wanted else Objection(f"{series.weighting.label}, which is not needed")
