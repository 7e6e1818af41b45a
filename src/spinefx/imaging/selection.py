"""Which series of a study a model reads, chosen by physics, with one sentence for every series that was not chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import SelectionError
from spinefx.imaging.contrast import weighting_from_name
from spinefx.imaging.series import Series
from spinefx.imaging.study import Study
from spinefx.imaging.volume import Slices, Volume
from spinefx.vocabulary import MARKED, Plane, Weighting, sequence_named, sequences_of

__all__ = ["RefusedSeries", "SeriesSet", "choose_series", "kinds_beside"]

FEWEST_SLICES = 3
# A sagittal spine series covers 40 to 100 mm from side to side; a head or a trunk needs more.
WIDEST_SLAB_MM = 130.0
LEAST_OVERLAP = 0.1
# Reasons that name a kind of image which readers hang beside the chosen series.
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
        Number, plane and timing; no identifier.
    uid : str
        For an override by the user; not shown.
    reason : str
        One sentence.
    """

    label: str
    uid: str = field(repr=False)
    reason: str


@dataclass(frozen=True)
class SeriesSet:
    """The series that a model reads, one of each weighting.

    Parameters
    ----------
    chosen : mapping of Weighting to Series
        The marked series (T2W) is always among them.
    refused : tuple of RefusedSeries
        Every other series of the study, with its reason.
    overrides : tuple of str
        Sentences on what the user chose against the rules; empty where the rules chose.

    Raises
    ------
    SelectionError
        Without the marked series.
    """

    chosen: Mapping[Weighting, Series]
    refused: tuple[RefusedSeries, ...]
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if MARKED not in self.chosen:
            raise SelectionError(f"a set of series without {MARKED}", allowed=f"{MARKED}, on which lesions are marked")

    def __getitem__(self, weighting: Weighting) -> Series:
        return self.chosen[weighting]

    @property
    def marked(self) -> Series:
        """The series that boxes are marked on: T2W."""
        return self.chosen[MARKED]

    def slices(self) -> dict[Weighting, Slices]:
        """Return the slices of every series, each read when it is first asked for.

        Returns
        -------
        dict of Weighting to Slices

        Raises
        ------
        SeriesError, FileError, GeometryError
            As :meth:`spinefx.imaging.series.Series.slices`.
        """
        return {weighting: series.slices() for weighting, series in self.chosen.items()}

    def load(self) -> dict[Weighting, Volume]:
        """Read the voxels of every series.

        Returns
        -------
        dict of Weighting to Volume

        Raises
        ------
        SeriesError, FileError, GeometryError
            As :meth:`spinefx.imaging.series.Series.load`.
        """
        return {weighting: series.load() for weighting, series in self.chosen.items()}


def choose_series(
    study: Study,
    sequences: Iterable[str] = (Weighting.T1W, Weighting.T2W),
    *,
    optional: Iterable[str] = (),
    named: Mapping[Weighting, str] | None = None,
) -> SeriesSet:
    """Choose one sagittal series of each weighting that is needed.

    Parameters
    ----------
    study : Study
    sequences : iterable of str
        Weightings that must be found, as :func:`spinefx.vocabulary.sequences_of` takes them.
    optional : iterable of str
        Further weightings, taken where the study holds a usable series of them. They have no say in the choice of the
        others.
    named : mapping of Weighting to str, optional
        UIDs of series that the user names; they are taken even where a rule refuses them, unless they are not MR or
        cannot be stacked.

    Returns
    -------
    SeriesSet
        In the order of ``sequences`` and ``optional``.

    Raises
    ------
    SelectionError
        When a needed series is missing: one line that says which, and why each series was refused.

    Notes
    -----
    Timing decides (Yeh 2022: SE TR 400, TE 15 ms; FSE TR 3200, TE 90 ms), then orientation, echo type, fat suppression,
    contrast agent and geometry. The description is consulted only where the headers are silent, and on ties.
    """
    needed = sequences_of(sequences)
    further = dict.fromkeys(sequence_named(name) for name in optional)
    wanted = (*needed, *(one for one in further if one not in needed))
    reasons = {series.uid: _refusal(series, wanted) for series in study.series}
    overrides: list[str] = []
    by_user = {
        weighting: _named(study, uid, weighting, reasons, overrides)
        for weighting, uid in (named or {}).items()
        if weighting in wanted
    }
    if len({one.uid for one in by_user.values()}) < len(by_user):
        raise SelectionError("one series was named for two weightings", remedy="Name a series of its own for each.")
    candidates = {weighting: _candidates(study, weighting, by_user, reasons) for weighting in wanted}
    missing = [f"{weighting}" for weighting in needed if not candidates[weighting]]
    if missing:
        raise SelectionError(_without(" and no ".join(missing), study, reasons))
    chosen = _best({weighting: candidates[weighting] for weighting in needed})
    marked = chosen[MARKED]
    for weighting in needed:
        if not _same_region(chosen[weighting], marked) and not overrides:
            raise SelectionError(
                f"no {weighting} and {MARKED} series of the same region: {chosen[weighting].label} and {marked.label} "
                "do not overlap"
            )
    for weighting in wanted[len(needed) :]:
        found = [one for one in candidates[weighting] if _same_region(one, marked) or weighting in by_user]
        if found:
            chosen |= _best({MARKED: [marked], weighting: found})
    refused = tuple(
        RefusedSeries(each.label, each.uid, reasons[each.uid] or _why_not(each, chosen, by_user))
        for each in study.series
        if each.uid not in {one.uid for one in chosen.values()}
    )
    return SeriesSet(chosen, refused, tuple(overrides))


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


def _named(study: Study, uid: str, weighting: Weighting, reasons: Mapping[str, str], overrides: list[str]) -> Series:
    """Return the series that the user named; note it where a rule speaks against it."""
    wanted = uid.strip()
    found = [series for series in study.series if series.uid == wanted or series.uid.startswith(f"{wanted}#")]
    if len(found) > 1:
        usable = [series for series in found if not reasons[series.uid]]
        found = usable if len(usable) == 1 else found
    if len(found) != 1:
        problem = (
            f"{len(found)} stacks in the series that was named as {weighting}"
            if found
            else f"no series named as {weighting}"
        )
        raise SelectionError(problem, allowed="one series of the study", remedy="Give the UID as the study lists it.")
    series, reason = found[0], reasons[found[0].uid]
    if series.modality != "MR" or series.fault:
        raise SelectionError(f"the series named as {weighting} cannot be used: {reason}", where=series.label)
    if reason or series.weighting is not weighting:
        against = reason or f"its timing says {series.weighting}"
        overrides.append(f"{series.label} is taken as {weighting} because it was named, although: {against}")
    return series


def _candidates(
    study: Study, weighting: Weighting, by_user: Mapping[Weighting, Series], reasons: Mapping[str, str]
) -> list[Series]:
    """List the series that may stand for a weighting: the one that the user named, or all that no rule refuses."""
    if weighting in by_user:
        return [by_user[weighting]]
    usable = [each for each in study.series if not reasons[each.uid] and each.weighting is weighting]
    taken = {one.uid for one in by_user.values()}
    return [each for each in usable if each.uid not in taken]


def _best(candidates: Mapping[Weighting, Sequence[Series]]) -> dict[Weighting, Series]:
    """Choose the series that fit together best: for each marked one its best partners, then the best of these sets."""
    sets = []
    for marked in candidates[MARKED]:
        partners = {
            weighting: marked if weighting is MARKED else max(found, key=lambda one: _merit(one, marked))
            for weighting, found in candidates.items()
        }
        merits = [_merit(one, marked) for one in partners.values() if one is not marked] or [_merit(marked, marked)]
        # What weighs most is compared for all partners before what weighs less.
        sets.append((tuple(zip(*merits, strict=True)), partners))
    return max(sets, key=lambda one: one[0])[1]


def _without(missing: str, study: Study, reasons: Mapping[str, str]) -> str:
    listed = "; ".join(f"{each.label}: {reasons[each.uid] or f'usable as {each.weighting}'}" for each in study.series)
    return (
        f"no {missing} series among {len(study.series)}: {listed}"
        if listed
        else f"no {missing} series: the study is empty"
    )


def _refusal(series: Series, wanted: Sequence[Weighting]) -> str:
    """Return why a series cannot be chosen; empty where no rule speaks against it."""
    return (
        _by_kind(series)
        or _by_plane(series)
        or _by_place(series)
        or _by_contrast(series, wanted)
        or _by_weighting(series, wanted)
    )


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


def _by_contrast(series: Series, wanted: Sequence[Weighting]) -> str:
    if series.gradient_echo:
        return "a gradient echo or echo planar series, not a spin echo"
    if series.fat_suppressed and not (series.weighting in wanted and series.weighting.suppresses_fat):
        short = series.inversion_time_ms is not None and series.inversion_time_ms <= 300
        return "fat-suppressed (STIR)" if short else "fat-suppressed"
    if series.contrast_agent:
        return "contrast-enhanced"
    if CONTRAST.search(_words(series.description)):
        return "contrast-enhanced, by its name"
    return ""


def _by_weighting(series: Series, wanted: Sequence[Weighting]) -> str:
    if series.weighting is Weighting.UNKNOWN:
        return "its timing (TR, TE) is unknown and its name does not say"
    if series.weighting is Weighting.OTHER:
        timing = f"TR {series.repetition_time_ms:.4g} ms, TE {series.echo_time_ms:.4g} ms"
        return f"neither {' nor '.join(one.label for one in wanted)} by its timing ({timing})"
    return "" if series.weighting in wanted else f"{series.weighting.label}, which is not needed"


def _merit(series: Series, marked: Series) -> tuple[object, ...]:
    """Rank a series beside the marked one; greater is better. What makes channels fit comes first, names last."""
    pair = (series, marked)
    return (
        _same_frame(*pair),
        round(_overlap(*pair) / COARSE),
        sum("DERIVED" not in one.image_type for one in pair),
        sum(not one.weighting_is_named for one in pair),
        sum(one.number_of_slices for one in pair),
        -round(sum(_coarseness(one) for one in pair) / COARSE),
        sum(weighting_from_name(one.description) is one.weighting for one in pair),
        # The later of two equal series is the repeat that the technologist was content with.
        tuple(one.number or 0 for one in pair),
        tuple(one.uid for one in pair),
    )


def _why_not(series: Series, chosen: Mapping[Weighting, Series], by_user: Mapping[Weighting, Series]) -> str:
    """Return what made another series the better one."""
    marked = chosen[MARKED]
    if series.weighting not in chosen:
        return f"it does not overlap {marked.label}"
    winner = chosen[series.weighting]
    if series.weighting in by_user:
        return f"{winner.label} was named"
    partner = marked if winner is not marked else next((one for one in chosen.values() if one is not marked), marked)
    shared, won = _overlap(series, partner), _overlap(winner, partner)
    if _same_frame(winner, partner) and not _same_frame(series, partner):
        why = f"shares its frame of reference with {partner.label}"
    elif round(won / COARSE) > round(shared / COARSE):
        why = f"covers more of {partner.label} ({won:.0%}, this one {shared:.0%})"
    elif ("DERIVED" in series.image_type) != ("DERIVED" in winner.image_type):
        why = "is an original, this one is derived"
    elif winner.weighting_is_named != series.weighting_is_named:
        why = "has its weighting from timing, this one from its name"
    elif winner.number_of_slices != series.number_of_slices:
        why = f"has more slices ({winner.number_of_slices}, this one {series.number_of_slices})"
    elif _coarseness(winner) < _coarseness(series):
        why = f"is finer ({_coarseness(winner):.2f} mm, this one {_coarseness(series):.2f} mm)"
    else:
        why = "was acquired later or is named more clearly"
    return f"{winner.label} is preferred: it {why}"


def _same_region(series: Series, marked: Series) -> bool:
    """Return whether two series may show the same region: without a shared frame of reference this is not known."""
    return not _same_frame(series, marked) or _overlap(series, marked) >= LEAST_OVERLAP


def _same_frame(first: Series, second: Series) -> bool:
    return bool(first.frame_of_reference) and first.frame_of_reference == second.frame_of_reference


def _coarseness(series: Series) -> float:
    return float(np.sqrt(series.spacing_mm[1] * series.spacing_mm[2]))


def _overlap(first: Series, second: Series) -> float:
    """Return the share of the smaller series' bounding box that lies in the other's, 0 to 1."""
    (low, high), (other_low, other_high) = _bounds(first), _bounds(second)
    common = np.prod(np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None))
    smaller = min(float(np.prod(high - low)), float(np.prod(other_high - other_low)))
    return float(common) / smaller if smaller > 0 else 0.0


def _bounds(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lowest and highest corner of a series' voxels, LPS millimetres."""
    sides = (series.number_of_slices, *series.shape)
    corners = np.array([[*corner, 1.0] for corner in product(*((-0.5, side - 0.5) for side in sides))])
    places = (series.affine @ corners.T)[:3]
    return places.min(axis=1), places.max(axis=1)


def _words(text: str) -> str:
    return re.sub(r"[_\-./,;:()]+", " ", text).casefold()
