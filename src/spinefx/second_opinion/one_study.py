"""Answer one marked vertebra of one study with models that are loaded, or refuse it by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from spinefx.cases.lesion import Lesion
from spinefx.files import write_bytes
from spinefx.imaging.selection import SeriesPair, choose_pair
from spinefx.imaging.study import open_study
from spinefx.imaging.volume import Slices
from spinefx.learning.model import TrainedModel
from spinefx.learning.scoring import score

__all__ = ["answer_study"]


def answer_study(
    models: tuple[TrainedModel, ...],
    study: Path,
    place: Callable[[Slices], Lesion],
    *,
    t1w_series: str | None = None,
    t2w_series: str | None = None,
    sheet: Path | None = None,
) -> dict[str, Any]:
    """Score one marked vertebra with models that are loaded already.

    Parameters
    ----------
    models : tuple of TrainedModel
        As :func:`load_models` gives them.
    study : Path
    place : callable
        Gives the lesion on the T2W slices; it is checked here that it lies inside.
    t1w_series, t2w_series, sheet
        As for :func:`predict`.

    Returns
    -------
    dict
        As :func:`predict` gives it.

    Raises
    ------
    SpinefxError
        By name, when the input is outside what the model accepts.
    """
    pair = choose_pair(open_study(study), t1w_uid=t1w_series, t2w_uid=t2w_series)
    t1w, t2w = pair.t1w.slices(), pair.t2w.slices()
    scored = score(models, place(t2w), t1w, t2w)
    if sheet is not None:
        from spinefx.cases.sheet import contact_sheet  # deferred: most answers draw nothing

        write_bytes(sheet, contact_sheet(scored.lesion, t1w, t2w, scored.alignment, scored.stack))
    return scored.to_json() | {"series": _series(pair)}


def _series(pair: SeriesPair) -> dict[str, Any]:
    refused = [{"series": one.label, "reason": one.reason} for one in pair.refused]
    return {"t1w": pair.t1w.label, "t2w": pair.t2w.label, "refused": refused}
