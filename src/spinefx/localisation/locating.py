"""Where the vertebrae of a volume are, and what they are called."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import GeometryError
from spinefx.imaging.volume import Volume
from spinefx.localisation.decoding import Candidate, Maps, Naming, find_candidates, join, name_chain
from spinefx.localisation.inference import LocaliserModel, compute_maps, load_localiser
from spinefx.localisation.spine import Anomaly, Convention, LocatedSpine, LocatedVertebra, numbering_anomalies
from spinefx.localisation.working_grid import WorkingGrid
from spinefx.vocabulary import LEVELS, is_anomalous_level

__all__ = ["FEWEST", "locate", "read_maps"]

FEWEST = 3
"""Fewer vertebrae than these are no spine that could be told from other things in a row."""

USUAL = tuple(level for level in LEVELS if not is_anomalous_level(level))[: LEVELS.index("S1") - 1]
# Vertebrae from C2 to the one above S1, in the usual spine.
BETWEEN_ANCHORS = 23
SMALLEST_BOX_MM, LARGEST_BOX_MM = 12.0, 70.0


def locate(volume: Volume, *, model: LocaliserModel | None = None) -> tuple[LocatedSpine, NDArray[np.uint8]]:
    """Find and name the vertebrae of a volume.

    Parameters
    ----------
    volume : Volume
        Sagittal slices of a spine, T1W or T2W, with fat suppressed or not.
    model : LocaliserModel, optional
        The shipped one by default.

    Returns
    -------
    spine : LocatedSpine
        Without vertebrae, and with the reason as a note, where the volume shows no sagittal spine.
    classes : ndarray of uint8, shape (slice, row, column)
        Values of :class:`~spinefx.localisation.labels.TissueClass` on the grid of the volume.
    """
    nothing = np.zeros(volume.shape, np.uint8)
    try:
        grid = WorkingGrid.of(volume)
    except GeometryError as error:
        return LocatedSpine((), Convention.UNNAMED, notes=(f"No vertebrae were looked for: {error}",)), nothing
    maps = compute_maps(model or load_localiser(), grid)
    spine = read_maps(maps, grid, volume)
    if not spine.vertebrae:
        return spine, nothing
    return spine, grid.onto(volume, maps.classes())


def read_maps(maps: Maps, grid: WorkingGrid, volume: Volume) -> LocatedSpine:
    """Turn the network's maps into a spine.

    Parameters
    ----------
    maps : Maps
    grid : WorkingGrid
        On which they were computed.
    volume : Volume
        From which the grid was made; the slices of the spine are counted in it.

    Returns
    -------
    LocatedSpine
    """
    chain = join(find_candidates(maps))
    if len(chain) < FEWEST:
        note = f"Fewer than {FEWEST} vertebrae in a row were found, which is not enough to tell a spine."
        return LocatedSpine((), Convention.UNNAMED, notes=(note,))
    naming = name_chain(chain)
    kept, levels, convention = _names(len(chain), naming)
    vertebrae = tuple(
        _vertebra(chain[number], level, naming.confidences[number], grid, volume)
        for number, level in zip(kept, levels, strict=True)
    )
    anomalies = numbering_anomalies([level for level in levels if level])
    return LocatedSpine(vertebrae, convention, anomalies, _notes(convention, anomalies))


def _names(count: int, naming: Naming) -> tuple[range, tuple[str | None, ...], Convention]:
    """Return which members of a chain are kept, their names, and what the names are counted from."""
    s1, c2 = naming.s1, naming.c2
    if s1 is not None:
        first = max(0, s1 + 1 - len(USUAL))
        names = USUAL[len(USUAL) - 1 - (s1 - first) :]
        if c2 is not None and abs(s1 - c2 - BETWEEN_ANCHORS) == 1:
            names = _variant(s1 - c2 - BETWEEN_ANCHORS)[-(s1 + 1 - first) :]
        return range(first, s1 + 1), names, Convention.SACRUM
    if c2 is not None:
        names = USUAL[USUAL.index("C2") - c2 :][:count]
        return range(len(names)), names, Convention.C2
    return range(count), (None,) * count, Convention.UNNAMED


def _variant(more: int) -> tuple[str, ...]:
    """Return the names of a spine with a sixth lumbar vertebra, or without the fifth.

    A thirteenth thoracic vertebra counts the same; only its ribs would tell them apart.
    """
    above = USUAL[:-1]
    return (*above, "L6", "S1") if more > 0 else (*above[:-1], "S1")


def _vertebra(
    one: Candidate, level: str | None, confidence: float, grid: WorkingGrid, volume: Volume
) -> LocatedVertebra:
    centre = grid.to_mm((one.place, one.row, one.column))
    side = float(np.clip(max(one.height_mm, one.depth_mm), SMALLEST_BOX_MM, LARGEST_BOX_MM))
    ends = [grid.to_mm((place, one.row, one.column)) for place in (one.first_slice, one.last_slice)]
    # In a volume whose slices are sagittal these are its own; otherwise those of its sagittal turn.
    upright = volume.to_sagittal()
    first, last = sorted(round(float(upright.to_index(end)[0])) for end in ends)
    last_slice = upright.shape[0] - 1
    return LocatedVertebra(
        level=level,
        named=level is not None,
        confidence=min(max(one.sureness if level is None else confidence, 0.0), 1.0),
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        box_side_mm=side,
        first_slice=min(max(first, 0), last_slice),
        last_slice=min(max(last, 0), last_slice),
    )


def _notes(convention: Convention, anomalies: tuple[Anomaly, ...]) -> tuple[str, ...]:
    """Say what the names rest on, where a reader could take them for more."""
    if convention in (Convention.SACRUM, Convention.C2) and not anomalies:
        return ("Numbering variants cannot be excluded unless C2 and the sacrum are both in view.",)
    if anomalies:
        return ("The count between C2 and the sacrum is unusual; check the names before they are used.",)
    return ()
