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
from spinefx.imaging.contrast_words import Trait
from spinefx.imaging.rejection import Objection, contradicts, kinds_beside, objection_to, shows
from spinefx.imaging.series import Series
from spinefx.imaging.study import Study
from spinefx.imaging.volume import Slices, Volume
from spinefx.vocabulary import MARKED, Weighting, sequence_named, sequences_of

__all__ = ["RefusedSeries", "SeriesSet", "choose_series", "kinds_beside"]

TIMES = "Times in a sidecar are seconds, as BIDS has them: RepetitionTime 0.4, EchoTime 0.015."
LEAST_OVERLAP = 0.1
# How scanners end the names of a Dixon's parts; T1_W and T2_W are weightings. One letter is a doubt, no knowledge.
PART_SUFFIX = re.compile(r"(?<!t[12])[_ -](w|f|in|opp)$", re.IGNORECASE)
# Overlaps and voxel sizes that differ by less than a tenth do not decide.
COARSE = 0.1


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
    notes : tuple of str
        Sentences on what was mended in the study (copies left out, series joined, studies read as one).

    Raises
    ------
    SelectionError
        Without the marked series.
    """

    chosen: Mapping[Weighting, Series]
    refused: tuple[RefusedSeries, ...]
    overrides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

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
    holding: Sequence[float] | None = None,
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
        UIDs of series that the user names. They are taken where a rule only doubts them, never where the series is
        known to be something else, whoever names it.
    holding : sequence of float, optional
        A place in the patient (left, posterior, superior; millimetres), such as the centre of a box. Where a study
        holds several stations, the series that show this place are taken.

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
    Timing decides the weighting (Yeh 2022: SE TR 400, TE 15 ms; FSE TR 3200, TE 90 ms); names only where it is unknown.
    Evidence that a series is not plain counts from wherever it comes (:mod:`spinefx.imaging.rejection`). Among usable
    series, those that fit together best are taken: a shared frame of reference, then more overlap, then better evidence
    (original, timing known, name agrees, no Dixon part), then more slices, then smaller pixels, then the lower series
    number. A series never wins by being later.
    """
    needed = sequences_of(sequences)
    further = dict.fromkeys(sequence_named(name) for name in optional)
    wanted = (*needed, *(one for one in further if one not in needed))
    found_against = {series.uid: objection_to(series, wanted) for series in study.series}
    reasons = {uid: objection.reason for uid, objection in found_against.items()}
    overrides: list[str] = []
    if len({uid.strip() for uid in (named or {}).values()}) < len(named or {}):
        raise SelectionError("one series was named for two weightings", remedy="Name a series of its own for each.")
    by_user = {
        weighting: _named(study, uid, weighting, found_against, overrides)
        for weighting, uid in (named or {}).items()
        if weighting in wanted
    }
    candidates = {weighting: _candidates(study, weighting, by_user, reasons, holding) for weighting in wanted}
    missing = [f"{weighting}" for weighting in needed if not candidates[weighting]]
    if missing:
        raise SelectionError(_without(" and no ".join(missing), study, reasons), remedy=_remedy(study))
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
        RefusedSeries(each.label, each.uid, reasons[each.uid] or _why_not(each, chosen, by_user, holding))
        for each in study.series
        if each.uid not in {one.uid for one in chosen.values()}
    )
    return SeriesSet(chosen, refused, tuple(overrides), study.notes)


def _named(
    study: Study, uid: str, weighting: Weighting, against: Mapping[str, Objection], overrides: list[str]
) -> Series:
    """Return the series that the user named; note it where a rule doubts it."""
    wanted = uid.strip()
    found = [series for series in study.series if series.uid == wanted or series.uid.startswith(f"{wanted}#")]
    if len(found) > 1:
        usable = [series for series in found if not against[series.uid].reason]
        found = usable if len(usable) == 1 else found
    if len(found) != 1:
        problem = (
            f"{len(found)} stacks in the series that was named as {weighting}"
            if found
            else f"no series named as {weighting}"
        )
        raise SelectionError(problem, allowed="one series of the study", remedy="Give the UID as the study lists it.")
    series, objection = found[0], against[found[0].uid]
    if series.fault or objection.known or contradicts(series, weighting):
        reason = series.fault or objection.known or f"its timing says {series.weighting}"
        raise SelectionError(
            f"the series named as {weighting} cannot be used: {reason}",
            where=series.label,
            remedy=f"It shows: {series.kind}. Name a plain {weighting.label} series.",
        )
    if objection.reason or series.weighting is not weighting:
        reason = objection.reason or f"its timing says {series.weighting}"
        overrides.append(f"{series.label} is taken as {weighting} because it was named, although: {reason}")
    return series


def _candidates(
    study: Study,
    weighting: Weighting,
    by_user: Mapping[Weighting, Series],
    reasons: Mapping[str, str],
    holding: Sequence[float] | None,
) -> list[Series]:
    """List the series that may stand for a weighting: the one that the user named, or all that no rule refuses.

    Where some of them show the place that is to be held, the others are left out.
    """
    if weighting in by_user:
        return [by_user[weighting]]
    usable = [each for each in study.series if not reasons[each.uid] and each.weighting is weighting]
    taken = {one.uid for one in by_user.values()}
    free = [each for each in usable if each.uid not in taken]
    return [each for each in free if holding is not None and shows(each, holding)] or free


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


def _merit(series: Series, marked: Series) -> tuple[object, ...]:
    """Rank a series beside the marked one; greater is better. What makes channels fit comes first, names last."""
    pair = (series, marked)
    return (
        _same_frame(*pair),
        round(_overlap(*pair) / COARSE),
        sum(_evidence(one) for one in pair),
        sum(one.number_of_slices for one in pair),
        -round(sum(_coarseness(one) for one in pair) / COARSE),
        # The order of acquisition, as far as numbers tell: a series never wins by being derived or repeated later.
        tuple(-(one.number or 0) for one in pair),
        tuple(tuple(-ord(letter) for letter in one.uid) for one in pair),
    )


def _evidence(series: Series) -> int:
    """Count what speaks for a series of its weighting."""
    return (
        4 * (Trait.DIXON not in series.contrast.traits and Trait.IN_PHASE not in series.contrast.traits)
        + 4 * ("DERIVED" not in series.image_type)
        + 2 * (not series.weighting_is_named)
        + 2 * (not _ends_like_a_part(series))
        + (weighting_from_name(series.description) is series.weighting)
    )


def _ends_like_a_part(series: Series) -> bool:
    return any(PART_SUFFIX.search(name.strip()) for name in series.description.split("\n"))


def _why_not(
    series: Series,
    chosen: Mapping[Weighting, Series],
    by_user: Mapping[Weighting, Series],
    holding: Sequence[float] | None,
) -> str:
    """Return what made another series the better one."""
    marked = chosen[MARKED]
    if series.weighting not in chosen:
        return f"it does not overlap {marked.label}"
    winner = chosen[series.weighting]
    if series.weighting in by_user:
        return f"{winner.label} was named"
    if holding is not None and shows(winner, holding) and not shows(series, holding):
        return f"{winner.label} is preferred: it shows the box, this one does not"
    partner = marked if winner is not marked else next((one for one in chosen.values() if one is not marked), marked)
    shared, won = _overlap(series, partner), _overlap(winner, partner)
    if _same_frame(winner, partner) and not _same_frame(series, partner):
        why = f"shares its frame of reference with {partner.label}"
    elif round(won / COARSE) > round(shared / COARSE):
        why = f"covers more of {partner.label} ({won:.0%}, this one {shared:.0%})"
    elif _evidence(winner) > _evidence(series):
        why = _better_evidence(winner, series)
    elif winner.number_of_slices != series.number_of_slices:
        why = f"has more slices ({winner.number_of_slices}, this one {series.number_of_slices})"
    elif _coarseness(winner) < _coarseness(series):
        why = f"is finer ({_coarseness(winner):.2f} mm, this one {_coarseness(series):.2f} mm)"
    else:
        why = "has the lower number"
    return f"{winner.label} is preferred: it {why}"


def _better_evidence(winner: Series, series: Series) -> str:
    if Trait.DIXON in series.contrast.traits or Trait.IN_PHASE in series.contrast.traits:
        return "is a plain series, this one is part of a Dixon"
    if "DERIVED" in series.image_type and "DERIVED" not in winner.image_type:
        return "is an original, this one is derived"
    if _ends_like_a_part(series) and not _ends_like_a_part(winner):
        return "has a plain name, this one ends like a part of a Dixon"
    if series.weighting_is_named and not winner.weighting_is_named:
        return "has its weighting from timing, this one from its name"
    return "is named more clearly"


def _remedy(study: Study) -> str:
    """Return what to do about several stacks of which none is whole, or about times in an unlikely unit."""
    return next((TIMES for one in study.series if one.nifti is not None and one.weighting is Weighting.OTHER), "")


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
