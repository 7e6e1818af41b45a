"""The picture of a box before anything is scored: drawn wherever T2W shows the box, aligned or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from spinefx.cases.alignment import align_series
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PatchSettings
from spinefx.cases.sheet import contact_sheet
from spinefx.errors import SpinefxError
from spinefx.imaging.volume import Slices
from spinefx.vocabulary import MARKED, Weighting

__all__ = ["box_sheet"]


def box_sheet(
    lesion: Lesion, series: Mapping[Weighting, Slices], settings: PatchSettings, *, case_id: str, stamp: str = ""
) -> bytes | None:
    """Draw the contact sheet of a box, with as many series as can be brought to T2W.

    Parameters
    ----------
    lesion : Lesion
    series : mapping of Weighting to Slices
        T2W among them.
    settings : PatchSettings
    case_id, stamp : str
        For the title.

    Returns
    -------
    bytes or None
        PNG; None where T2W does not show the box.
    """
    shown = tuple(one for one in settings.sequences if one in series)
    for tried in (
        replace(settings, sequences=shown),
        replace(settings, sequences=shown, registration="geometry"),
        replace(settings, sequences=(MARKED,)),
    ):
        try:
            lesion.check_inside(series[MARKED])
            aligned = align_series(lesion, {one: series[one] for one in tried.sequences}, method=tried.registration)
            stack = cut_patches(lesion, aligned, case_id=case_id, participant_id=case_id, settings=tried)
            return contact_sheet(lesion, aligned, stack, stamp=stamp)
        except SpinefxError:
            continue
    return None
