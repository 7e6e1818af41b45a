"""The sagittal T1W and T2W series of a study, chosen by physics, with a sentence for every series that was not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import PairError
from spinefx.imaging.contrast import weighting_from_name
from spinefx.imaging.series import Series
from spinefx.imaging.study import Study
from spinefx.vocabulary import Plane, Weighting

__all__ = ["RefusedSeries", "SeriesPair", "choose_pair", "kinds_beside"]

FEWEST_SLICES = 3
# A sagittal spine series covers 40 to 100 mm from side to side; a head or a trunk needs more.
WIDEST_SLAB_MM = 130.0
LEAST_OVERLAP = 0.1
# Reasons that name a kind of image which people read beside the pair.
BESIDE = re.compile(r"fat-suppressed|contrast-enhanced|(axial|coronal), not")
# Overlaps and voxel sizes that differ by less than a tenth do not decide.
COARSE = 0.1

HEAD = re.compile(r"\b(head|brain|skull|cranium|orbit|orbits|face|pituitary|hypophysis|iac|kopf|schaedel|hirn)\b")
ELSEWHERE = re.compile(
    r"\b(knee|hip|ankle|foot|hand|wrist|elbow|shoulder|breast|heart|cardiac|extremity|leg|arm|prostate|liver|uterus|tmj)\b"
)
SPINE = re.compile(r"spine|spinal|verteb|lumb|thorac|cervic|sacr|\b(ls|ws|[clt]sp|lws|bws|hws|neck)\b")
LOCALIZER = re.compile(r"\b(localizer|localiser|loc|scout|survey|pilot|plan scan|3 ?plane)\b")
CONTRAST = re.compile(
    r"\+ ?(c|gd|km)\b|\bc\+"
    r"|(?<!no )(?<!non )(?<!without )\b(post(?! ?op)|gd|gad|gado|km|contrast|dotarem|gadovist|magnevist|ce)\b"
)
PROJECTIONS = {"PROJECTION IMAGE", "MIP", "MINIP", "MAX_IP", "MIN_IP", "MPR", "REFORMATTED", "CSA MPR", "SUBTRACTION"}
MAPS = {"ADC", "FA", "TRACEW", "T1 MAP", "T2 MAP", "PHASE MAP", "P", "SUB", "FAT", "F", "OPP_PHASE", "OP", "OUT_PHASE"}


@dataclass(frozen=True)
class RefusedSeries:
    """A series that was not chosen.

    Parameters
    ----------
    label : str
        Number, plane, timing; no identifier.
    uid : str
        For an override by the user; not shown.
    reason : str
        One sentence.
    """

    label: str
    uid: str = field(repr=False)
    reason: str


@dataclass(frozen=True)
class SeriesPair:
    """The two series that the method reads.

    Parameters
    ----------
    t1w, t2w : Series
    refused : tuple of RefusedSeries
        Every other series of the study, with its reason.
    overrides : tuple of str
        Sentences on what the user chose against the rules; empty where the rules chose.
    """

    t1w: Series
    t2w: Series
    refused: tuple[RefusedSeries, ...]
    overrides: tuple[str, ...] = ()


def choose_pair(study: Study, *, t1w_uid: str | None = None, t2w_uid: str | None = None) -> SeriesPair:
    """Choose the sagittal T1W and T2W series without fat saturation.

    Parameters
    ----------
    study : Study
    t1w_uid, t2w_uid : str, optional
        Series that the user names; taken even where a rule refuses it, unless it is not MR or cannot be stacked.

    Returns
    -------
    SeriesPair

    Raises
    ------
    PairError
        When one of the two is missing: one line that says which, and why each series was refused.

    Notes
    -----
    Timing decides (Yeh 2022: SE TR 400, TE 15 ms; FSE TR 3200, TE 90 ms), then orientation, echo type, fat suppression,
    contrast agent and geometry. The description is heard only where the headers are silent, and on ties.
    """
    reasons = {series.uid: _refusal(series) for series in study.series}
    overrides: list[str] = []
    named = {
        Weighting.T1W: _named(study, t1w_uid, Weighting.T1W, reasons, overrides),
        Weighting.T2W: _named(study, t2w_uid, Weighting.T2W, reasons, overrides),
    }
    if named[Weighting.T1W] is not None and named[Weighting.T1W] is named[Weighting.T2W]:
        raise PairError("one series was named as T1W and as T2W", remedy="Name two series.")
    candidates: dict[Weighting, list[Series]] = {}
    for weighting, series in named.items():
        other = named[Weighting.T2W if weighting is Weighting.T1W else Weighting.T1W]
        usable = [each for each in study.series if not reasons[each.uid] and each.weighting is weighting]
        candidates[weighting] = [series] if series else [each for each in usable if each is not other]
    missing = [f"{weighting}" for weighting, found in candidates.items() if not found]
    if missing:
        raise PairError(_without(" and no ".join(missing), study, reasons))
    pairs = list(product(candidates[Weighting.T1W], candidates[Weighting.T2W]))
    t1w, t2w = max(pairs, key=lambda pair: _merit(*pair))
    if _same_frame(t1w, t2w) and _overlap(t1w, t2w) < LEAST_OVERLAP and not overrides:
        raise PairError(f"no T1w and T2w series of the same region: {t1w.label} and {t2w.label} do not overlap")
    chosen = {Weighting.T1W: t1w, Weighting.T2W: t2w}
    refused = tuple(
        RefusedSeries(each.label, each.uid, reasons[each.uid] or _why_not(each, chosen, named))
        for each in study.series
        if each is not t1w and each is not t2w
    )
    return SeriesPair(t1w, t2w, refused, tuple(overrides))


def kinds_beside(reasons: Iterable[str]) -> tuple[str, ...]:
    """Name the kinds of image that a study offers beside its pair, by why they were refused.

    Parameters
    ----------
    reasons : iterable of str
        Of `RefusedSeries`.

    Returns
    -------
    tuple of str
        Each once, sorted, such as ``fat-suppressed (STIR)``. Localizers, maps, and second series of the pair's own
        kinds are left out: no image hangs otherwise for them.
    """
    return tuple(sorted({reason.partition(",")[0] for reason in reasons if BESIDE.match(reason)}))


def _named(
    study: Study, uid: str | None, weighting: Weighting, reasons: dict[str, str], overrides: list[str]
) -> Series | None:
    """Find the series that the user named; note it where a rule speaks against it."""
    if uid is None:
        return None
    wanted = uid.strip()
    found = [series for series in study.series if series.uid == wanted or series.uid.startswith(f"{wanted}#")]
    if len(found) > 1:
        usable = [series for series in found if not reasons[series.uid]]
        found = usable if len(usable) == 1 else found
    if len(found) != 1:
        told = (
            f"{len(found)} stacks in the series that was named as {weighting}"
            if found
            else f"no series named as {weighting}"
        )
        raise PairError(told, allowed="one series of the study", remedy="Give the UID as the study lists it.")
    series, reason = found[0], reasons[found[0].uid]
    if series.modality != "MR" or series.fault:
        raise PairError(f"the series named as {weighting} cannot be used: {reason}", where=series.label)
    if reason or series.weighting is not weighting:
        against = reason or f"its timing says {series.weighting}"
        overrides.append(f"{series.label} is taken as {weighting} because it was named, although: {against}")
    return series


def _without(missing: str, study: Study, reasons: dict[str, str]) -> str:
    listed = "; ".join(f"{each.label}: {reasons[each.uid] or f'usable as {each.weighting}'}" for each in study.series)
    return (
        f"no {missing} series among {len(study.series)}: {listed}"
        if listed
        else f"no {missing} series: the study is empty"
    )


def _refusal(series: Series) -> str:
    """Say why a series cannot be one of the pair; empty where no rule speaks against it."""
    for rule in (_by_kind, _by_plane, _by_place, _by_contrast, _by_timing):
        if reason := rule(series):
            return reason
    return ""


def _by_kind(series: Series) -> str:
    name, types = _words(series.description), set(series.image_type)
    if series.modality == "SEG":
        return "a label map, not an image"
    if series.modality != "MR":
        return "not MR"
    if "LOCALIZER" in types or (LOCALIZER.search(name) and series.number_of_slices < 2 * FEWEST_SLICES):
        return "a localizer"
    if types & PROJECTIONS:
        return "a projection or reformat, not an acquired stack"
    if types & MAPS:
        return "a map or a derived image, not a plain one"
    return ""


def _by_plane(series: Series) -> str:
    if series.plane is Plane.MIXED:
        return "several planes in one series, as a localizer has"
    if series.plane is not Plane.SAGITTAL:
        return f"{series.plane}, not sagittal"
    if series.number_of_slices < FEWEST_SLICES:
        return f"too few slices ({series.number_of_slices}, at least {FEWEST_SLICES} are needed)"
    return series.fault


def _by_place(series: Series) -> str:
    part, name = _words(series.body_part), _words(series.description)
    if HEAD.search(part) and not SPINE.search(part):
        return "of the head, by its body part"
    if ELSEWHERE.search(part):
        return "not of the spine, by its body part"
    if not part and not SPINE.search(name):
        if HEAD.search(name):
            return "of the head, by its name"
        if ELSEWHERE.search(name):
            return "not of the spine, by its name"
    width = series.spacing_mm[0] * series.number_of_slices
    if width > WIDEST_SLAB_MM:
        return (
            f"{width:.0f} mm from side to side, as of a head or a trunk (a spine needs up to {WIDEST_SLAB_MM:.0f} mm)"
        )
    return ""


def _by_contrast(series: Series) -> str:
    if series.gradient_echo:
        return "a gradient echo or echo planar series, not a spin echo"
    if series.fat_suppressed:
        short = series.inversion_time_ms is not None and series.inversion_time_ms <= 300
        return "fat-suppressed (STIR)" if short else "fat-suppressed"
    if series.contrast_agent:
        return "contrast-enhanced"
    if CONTRAST.search(_words(series.description)):
        return "contrast-enhanced, by its name"
    return ""


def _by_timing(series: Series) -> str:
    if series.weighting is Weighting.UNKNOWN:
        return "its timing (TR, TE) is not known and its name does not tell"
    if series.weighting is Weighting.OTHER:
        timing = f"TR {series.repetition_time_ms:.4g} ms, TE {series.echo_time_ms:.4g} ms"
        return f"neither T1W nor T2W by its timing ({timing})"
    return ""


def _merit(t1w: Series, t2w: Series) -> tuple[object, ...]:
    """Rank a pair; greater is better. What makes the channels fit together comes first, the names last."""
    pair = (t1w, t2w)
    return (
        _same_frame(*pair),
        round(_overlap(*pair) / COARSE),
        sum("DERIVED" not in series.image_type for series in pair),
        sum(not series.weighting_is_named for series in pair),
        sum(series.number_of_slices for series in pair),
        -round(sum(_coarseness(series) for series in pair) / COARSE),
        sum(weighting_from_name(series.description) is series.weighting for series in pair),
        # The later of two equal series is the repeat that the technologist was content with.
        tuple(series.number or 0 for series in pair),
        tuple(series.uid for series in pair),
    )


def _why_not(series: Series, chosen: dict[Weighting, Series], named: dict[Weighting, Series | None]) -> str:
    """Say what made another series the better one."""
    winner = chosen[series.weighting]
    if named[series.weighting] is not None:
        return f"{winner.label} was named"
    partner = chosen[Weighting.T2W if series.weighting is Weighting.T1W else Weighting.T1W]
    shared, won = _overlap(series, partner), _overlap(winner, partner)
    if _same_frame(winner, partner) and not _same_frame(series, partner):
        why = f"shares its frame of reference with {partner.label}"
    elif round(won / COARSE) > round(shared / COARSE):
        why = f"covers more of {partner.label} ({won:.0%}, this one {shared:.0%})"
    elif ("DERIVED" in series.image_type) != ("DERIVED" in winner.image_type):
        why = "is an original, this one is derived"
    elif winner.weighting_is_named != series.weighting_is_named:
        why = "tells its weighting by timing, this one by name"
    elif winner.number_of_slices != series.number_of_slices:
        why = f"has more slices ({winner.number_of_slices}, this one {series.number_of_slices})"
    elif _coarseness(winner) < _coarseness(series):
        why = f"is finer ({_coarseness(winner):.2f} mm, this one {_coarseness(series):.2f} mm)"
    else:
        why = "was acquired later or is named more clearly"
    return f"{winner.label} is preferred: it {why}"


def _same_frame(first: Series, second: Series) -> bool:
    return bool(first.frame_of_reference) and first.frame_of_reference == second.frame_of_reference


def _coarseness(series: Series) -> float:
    return float(np.sqrt(series.spacing_mm[1] * series.spacing_mm[2]))


def _overlap(first: Series, second: Series) -> float:
    """Share of the smaller series' bounding box that lies in the other's, 0 to 1."""
    (low, high), (other_low, other_high) = _bounds(first), _bounds(second)
    common = np.prod(np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None))
    smaller = min(float(np.prod(high - low)), float(np.prod(other_high - other_low)))
    return float(common) / smaller if smaller > 0 else 0.0


def _bounds(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner of a series' voxels, LPS millimetres."""
    sides = (series.number_of_slices, *series.shape)
    corners = np.array([[*corner, 1.0] for corner in product(*((-0.5, side - 0.5) for side in sides))])
    places = (series.affine @ corners.T)[:3]
    return places.min(axis=1), places.max(axis=1)


def _words(text: str) -> str:
    return re.sub(r"[_\-./,;:()]+", " ", text).casefold()
