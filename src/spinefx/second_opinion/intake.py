"""Open a study that somebody brings along: its series, the pair chosen from them, and why the others were not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spinefx.errors import InputError, PairError
from spinefx.imaging.selection import choose_pair
from spinefx.imaging.study import Study, only_study, scan
from spinefx.imaging.volume import Volume
from spinefx.processes.pool import in_child
from spinefx.second_opinion.reference_cases import image_measures

__all__ = ["FoundSeries", "Opened", "open_safely", "open_volumes"]

SECONDS = 60.0
MEMORY_BYTES = 3 * 2**30


@dataclass(frozen=True)
class FoundSeries:
    """One series of a study, as it may be shown.

    Parameters
    ----------
    label : str
        Number, plane, timing; no identifier, no text from a header.
    use : {'T1W', 'T2W', ''}
    reason : str
        Why it was not used, or what speaks against the choice; empty where nothing does.
    """

    label: str
    use: str
    reason: str


@dataclass(frozen=True, eq=False)
class Opened:
    """A study that was read.

    Parameters
    ----------
    series : tuple of FoundSeries
        In the order of the study; their place in it is how a person names them.
    refused_files : mapping of str to int
        How many files were not used, by reason.
    t1w, t2w : Volume or None
        None where no pair was found.
    trouble : str
        Why there is no pair; empty where there is.
    measures : mapping of str to float
        See :func:`spinefx.second_opinion.reference_cases.image_measures`.
    """

    series: tuple[FoundSeries, ...]
    refused_files: Mapping[str, int] = field(default_factory=dict)
    t1w: Volume | None = None
    t2w: Volume | None = None
    trouble: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)


def open_safely(folder: Path, t1w: int | None = None, t2w: int | None = None) -> Opened:
    """Read a study in a process of its own: hostile files can end or hang that one only.

    Parameters
    ----------
    folder : Path
        Of one patient's files.
    t1w, t2w : int, optional
        Places of series to use whatever the program would choose.

    Returns
    -------
    Opened

    Raises
    ------
    InputError
        When there is no study, or several, or it cannot be read within time and memory.
    """
    return in_child(open_volumes, (folder, t1w, t2w), seconds=SECONDS, memory_bytes=MEMORY_BYTES)


def open_volumes(wanted: tuple[Path, int | None, int | None]) -> Opened:
    """Read a study in this process.

    Parameters
    ----------
    wanted : (Path, int or None, int or None)
        The folder, and places of series to use as T1W and T2W.

    Returns
    -------
    Opened

    Raises
    ------
    InputError
        When there is no study, or several.
    """
    folder, *places = wanted
    found = scan(folder)
    study, refused = only_study(found), dict(Counter(item.reason for item in found.refused))
    uids = [None if place is None else _uid(study, place) for place in places]
    try:
        pair = choose_pair(study, t1w_uid=uids[0], t2w_uid=uids[1])
        volumes = pair.t1w.load(), pair.t2w.load()
    except InputError as error:
        series = tuple(FoundSeries(one.label, "", "") for one in study.series)
        return Opened(series, refused, trouble=str(error))
    reasons = {one.uid: one.reason for one in pair.refused}
    uses = {pair.t1w.uid: "T1W", pair.t2w.uid: "T2W"}
    against = {one.uid: said for one in (pair.t1w, pair.t2w) for said in pair.overrides if said.startswith(one.label)}
    series = tuple(
        FoundSeries(one.label, uses.get(one.uid, ""), reasons.get(one.uid, against.get(one.uid, "")))
        for one in study.series
    )
    return Opened(series, refused, *volumes, measures=image_measures(pair))


def _uid(study: Study, place: int) -> str:
    if not 0 <= place < len(study.series):
        raise PairError(f"series {place} of {len(study.series)}", remedy="Choose one that is listed.")
    return study.series[place].uid
