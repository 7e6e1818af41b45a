"""Every vertebra of a study without a mark: the state of each, and the diagnosis of the most abnormal one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spinefx import __version__
from spinefx.cases.alignment import align_series
from spinefx.errors import LevelError, ModelError
from spinefx.imaging.volume import Slices
from spinefx.learning.scoring import NOTE
from spinefx.localisation.picture import spine_picture
from spinefx.localisation.searching import shipped_localiser
from spinefx.localisation.spine import LocatedSpine
from spinefx.signs.inference import STATES
from spinefx.signs.model import SignPredictor
from spinefx.signs.scoring import OtherVertebra, ScoredSigns, score_signs
from spinefx.signs.views import BODY, cut_other_vertebrae
from spinefx.vocabulary import MARKED, Weighting

__all__ = ["STATE_COLOURS", "ScoredSpine", "score_spine"]

STATE_COLOURS = {"normal": (110, 200, 130), "benign": (255, 196, 60), "suspicious": (255, 96, 88)}
NOTHING_CHANGED = (
    "No vertebra looks changed, so there is no fracture to diagnose. This is no proof that there is none: look at the "
    "picture, and mark the vertebra where you see one."
)
PROPOSED = "The model proposed this vertebra, and no reader marked it. Look at the picture before you use the answer."


@dataclass(frozen=True, eq=False)
class ScoredSpine:
    """The vertebrae of a study, and the signs of the most abnormal one.

    Parameters
    ----------
    spine : LocatedSpine
        Of the T2W series.
    vertebrae : tuple of OtherVertebra
        Those that both series show.
    index : ScoredSigns or None
        Of the most abnormal vertebra; None where all look normal.
    most_abnormal : int or None
        Its place among ``vertebrae``.
    """

    spine: LocatedSpine
    vertebrae: tuple[OtherVertebra, ...]
    index: ScoredSigns | None
    most_abnormal: int | None

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            Ready for JSON; no identifier of the patient in it. ``patient`` is None where no vertebra looks changed.
        """
        vertebrae = [one.to_json() | {"index": place == self.most_abnormal} for place, one in enumerate(self.vertebrae)]
        about = {"convention": str(self.spine.convention), "vertebrae": vertebrae}
        if self.index is None:
            return {"spinefx": __version__, "note": NOTE, "patient": None, "flags": [NOTHING_CHANGED]} | about
        answer = self.index.to_json()
        return answer | about | {"flags": [PROPOSED, *answer["flags"]]}

    def picture(self, volume: Slices, stamp: str = "") -> bytes:
        """Draw the spine with the state of each vertebra.

        Parameters
        ----------
        volume : Slices
            The T2W series.
        stamp : str, optional

        Returns
        -------
        bytes
            PNG.
        """
        states = {one.vertebra.centre_mm: one.state for one in self.vertebrae}
        colours = [
            STATE_COLOURS[states[one.centre_mm]] if one.centre_mm in states else None for one in self.spine.vertebrae
        ]
        legend = "Green: normal. Yellow: benign change. Red: suspicious. Grey: not read."
        return spine_picture(volume, self.spine, colours=colours, legend=legend, stamp=stamp)


def score_spine(
    model: SignPredictor, series: Mapping[Weighting, Slices], *, measures: Mapping[str, float] | None = None
) -> ScoredSpine:
    """Find every vertebra, state what each looks like, and diagnose the most abnormal one through its signs.

    Parameters
    ----------
    model : SignPredictor
    series : mapping of Weighting to Slices
        T1W and T2W.
    measures : mapping of str to float, optional
        As for :func:`spinefx.learning.scoring.score`.

    Returns
    -------
    ScoredSpine

    Raises
    ------
    LevelError
        When no vertebra is found.
    ModelError
        When the model cannot read vertebrae that nobody marked.
    BoxError, RegistrationError, PatchError, UnlikeTrainingError, MissedVertebraError
        As :func:`spinefx.signs.scoring.score_signs` raises them for the most abnormal vertebra.
    """
    if not model.networks.reads_other_vertebrae:
        raise ModelError("a signs model without a network for the whole spine", remedy="Use the model named starter.")
    spine, _ = shipped_localiser()(series[MARKED].whole())
    found = [one for one in spine.vertebrae if (one.level or "")[:1] != "S"]
    if not found:
        raise LevelError("no vertebra was found in the T2W series", remedy="Mark the vertebra by a box instead.")
    middle = found[len(found) // 2].marked_on(series[MARKED])
    placed = align_series(middle, {one: series[one] for one in BODY.sequences}, method=BODY.registration)
    places, patches = cut_other_vertebrae([one.box for one in found], placed)
    rows = model.networks.states_of(patches)
    vertebrae = tuple(
        OtherVertebra(found[place], (float(row[0]), float(row[1]), float(row[2])))
        for place, row in zip(places, rows, strict=True)
    )
    changed = [place for place, one in enumerate(vertebrae) if one.state != STATES[0]]
    if not changed:
        return ScoredSpine(spine, vertebrae, None, None)
    worst = max(changed, key=lambda place: 1 - vertebrae[place].probabilities[0] + vertebrae[place].probabilities[2])
    lesion = vertebrae[worst].vertebra.marked_on(series[MARKED])
    index = score_signs(model, lesion, series, measures=measures, find_spine=lambda: spine)
    return ScoredSpine(spine, vertebrae, index, worst)
