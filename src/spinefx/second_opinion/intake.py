"""Open a study that a user brings: its series, those chosen from them, and why the others were not chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from spinefx.cases.patch import PROTOCOL_SEQUENCES
from spinefx.errors import InputError, SelectionError
from spinefx.imaging.rejection import objection_to
from spinefx.imaging.selection import SeriesSet, choose_series
from spinefx.imaging.study import Study, only_study, scan
from spinefx.imaging.volume import Volume
from spinefx.learning.measures import image_measures
from spinefx.processes.pool import in_child
from spinefx.vocabulary import MARKED, Weighting

__all__ = ["FoundSeries", "Opened", "open_safely", "open_volumes"]

SECONDS = 60.0
MEMORY_BYTES = 3 * 2**30


@dataclass(frozen=True)
class FoundSeries:
    """One series of a study, as it may be shown.

    Parameters
    ----------
    label : str
        Number, plane and timing; no identifier and no text from a header.
    use : str
        Label of the weighting that it is used as, such as ``T1W``; empty where it is not used.
    reason : str
        Why it was not used, or what is doubtful about the choice; may be empty.
    kind : str
        What it shows, see :attr:`spinefx.imaging.series.Series.kind`.
    """

    label: str
    use: str
    reason: str
    kind: str


@dataclass(frozen=True, eq=False)
class Opened:
    """An opened study.

    Parameters
    ----------
    series : tuple of FoundSeries
        In the order of the study; users refer to them by position.
    refused_files : mapping of str to int
        Number of files that were not used, by reason.
    volumes : mapping of Weighting to Volume
        Volumes of the chosen series; empty where a needed series is missing.
    trouble : str
        Why there are no volumes; otherwise empty.
    measures : mapping of str to float
        See :func:`spinefx.learning.measures.image_measures`.
    kinds : mapping of Weighting to str
        What the chosen series show.
    notes : tuple of str
        Sentences on what was mended in the study.
    alone : Volume or None
        T2W where it is all that can be shown, because another needed series is missing.
    """

    series: tuple[FoundSeries, ...]
    refused_files: Mapping[str, int] = field(default_factory=dict)
    volumes: Mapping[Weighting, Volume] = field(default_factory=dict)
    trouble: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
    kinds: Mapping[Weighting, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    alone: Volume | None = None

    @property
    def marked(self) -> Volume | None:
        """The T2W series; None where a series that is needed is missing."""
        return self.volumes.get(MARKED)


def open_safely(
    folder: Path, sequences: Sequence[Weighting] = PROTOCOL_SEQUENCES, places: Mapping[Weighting, int] | None = None
) -> Opened:
    """Read a study in a process of its own, so that hostile files cannot end or block this one.

    Parameters
    ----------
    folder : Path
        Folder with the files of one patient.
    sequences : sequence of Weighting
        Series that are needed.
    places : mapping of Weighting to int, optional
        Positions of series to use instead of the automatic choice.

    Returns
    -------
    Opened

    Raises
    ------
    InputError
        When there is no study or more than one, or reading exceeds the limits of time and memory.
    """
    return in_child(open_volumes, (folder, sequences, places or {}), seconds=SECONDS, memory_bytes=MEMORY_BYTES)


def open_volumes(wanted: tuple[Path, Sequence[Weighting], Mapping[Weighting, int]]) -> Opened:
    """Read a study in this process.

    Parameters
    ----------
    wanted : (Path, sequence of Weighting, mapping of Weighting to int)
        The folder, the series that are needed, and positions of series to use instead of the automatic choice.

    Returns
    -------
    Opened

    Raises
    ------
    InputError
        When there is no study or more than one.
    """
    folder, sequences, places = wanted
    found = scan(folder)
    study, refused = only_study(found), dict(Counter(item.reason for item in found.refused))
    named = {weighting: _uid(study, place) for weighting, place in places.items()}
    try:
        found_series = choose_series(study, sequences, named=named)
        volumes = found_series.load()
    except InputError as error:
        return _incomplete(study, sequences, named, refused, str(error))
    chosen = found_series.chosen
    kinds = {weighting: one.kind for weighting, one in chosen.items()}
    return Opened(
        _listed(study, found_series),
        refused,
        volumes,
        measures=image_measures(found_series),
        kinds=kinds,
        notes=found_series.notes,
    )


def _incomplete(
    study: Study,
    sequences: Sequence[Weighting],
    named: Mapping[Weighting, str],
    refused: Mapping[str, int],
    trouble: str,
) -> Opened:
    """Return what can be shown of a study without every needed series: T2W alone, and what each series shows."""
    plain = tuple(FoundSeries(one.label, "", "", one.kind) for one in study.series)
    try:
        alone = choose_series(study, (MARKED,), named={one: uid for one, uid in named.items() if one is MARKED})
        volume = alone.marked.load()
    except InputError:
        return Opened(plain, refused, trouble=trouble, notes=study.notes)
    missing = {one.uid: objection_to(one, sequences).reason for one in study.series}
    series = tuple(
        replace(one, reason="" if one.use else missing[series.uid])
        for one, series in zip(_listed(study, alone), study.series, strict=True)
    )
    kinds = {MARKED: alone.marked.kind}
    return Opened(series, refused, trouble=trouble, kinds=kinds, notes=alone.notes, alone=volume)


def _listed(study: Study, found: SeriesSet) -> tuple[FoundSeries, ...]:
    """List every series of a study with its use, or why it is not used."""
    chosen = found.chosen
    reasons = {one.uid: one.reason for one in found.refused}
    uses = {one.uid: weighting.label for weighting, one in chosen.items()}
    overrides = found.overrides
    against = {one.uid: said for one in chosen.values() for said in overrides if said.startswith(one.label)}
    return tuple(
        FoundSeries(one.label, uses.get(one.uid, ""), reasons.get(one.uid, against.get(one.uid, "")), one.kind)
        for one in study.series
    )


def _uid(study: Study, place: int) -> str:
    if not 0 <= place < len(study.series):
        raise SelectionError(
            f"There is no series {place}", allowed=f"0 to {len(study.series) - 1}", remedy="Choose a listed series."
        )
    return study.series[place].uid
