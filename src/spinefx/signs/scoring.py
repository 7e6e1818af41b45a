"""Read the signs of one marked vertebra, and diagnose through them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx import __version__
from spinefx.cases.alignment import AlignedSeries, alignment_record
from spinefx.cases.cutting import cut_patches
from spinefx.cases.lesion import Lesion
from spinefx.cases.patch import PatchStack
from spinefx.errors import InputError
from spinefx.imaging.volume import Slices
from spinefx.learning.box_check import BoxPlace
from spinefx.learning.scoring import NOTE, admit
from spinefx.learning.training_slices import Familiarity, familiarity, familiarity_flag
from spinefx.localisation.box_place import place_of_box
from spinefx.localisation.searching import shipped_localiser
from spinefx.localisation.spine import LocatedSpine, LocatedVertebra
from spinefx.signs.calibration import noisy_or
from spinefx.signs.inference import SEEN_SIGNS, SKIP, STATES, SignReading
from spinefx.signs.model import SignPredictor
from spinefx.signs.overruling import SignVerdict, overruled, verdict
from spinefx.signs.views import BODY, SURROUNDINGS, SignViews, cut_other_vertebrae
from spinefx.vocabulary import MARKED, SIGN_IDENTIFIERS, SIGNS, Diagnosis, Score, Weighting

__all__ = ["OtherVertebra", "ScoredSigns", "other_vertebrae", "score_signs"]

# A located vertebra whose centre is nearer to that of the box than this share of its side is the marked one.
SAME_VERTEBRA = 0.5
NO_OTHERS = (
    "Skip lesions were not looked for: the localiser found no other vertebra in this series. The diagnosis does "
    "without that sign."
)


@dataclass(frozen=True)
class OtherVertebra:
    """A vertebra that nobody marked, as the whole stack shows it.

    Parameters
    ----------
    vertebra : LocatedVertebra
    probabilities : tuple of float, length 3
        Of :data:`spinefx.signs.inference.STATES`; not calibrated.
    """

    vertebra: LocatedVertebra
    probabilities: tuple[float, float, float]

    @property
    def state(self) -> str:
        """The most probable state."""
        return STATES[int(np.argmax(self.probabilities))]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON.

        Returns
        -------
        dict
        """
        return {
            "level": self.vertebra.level,
            "centre_mm": [round(value, 2) for value in self.vertebra.centre_mm],
            "state": self.state,
            "probabilities": {name: round(value, 4) for name, value in zip(STATES, self.probabilities, strict=True)},
        }


@dataclass(frozen=True, eq=False)
class ScoredSigns:
    """A lesion with its signs and the diagnosis that follows from them.

    Parameters
    ----------
    model : SignPredictor
    lesion : Lesion
    series : tuple of AlignedSeries
    stack : PatchStack
        Of the body.
    reading : SignReading
        What the networks saw, with evidence maps.
    logits : ndarray of float64, shape (15,)
        Calibrated; NaN for a sign that was not assessed.
    others : tuple of OtherVertebra
    measures : mapping of str to float
        What was compared with the training cases.
    flags : tuple of str
    place : BoxPlace or None
        Where the box lies among the vertebrae that were found; None where that was not asked.
    training_case : Familiarity
        Whether this case taught the model.
    """

    model: SignPredictor
    lesion: Lesion
    series: tuple[AlignedSeries, ...]
    stack: PatchStack
    reading: SignReading
    logits: NDArray[np.float64]
    others: tuple[OtherVertebra, ...]
    measures: Mapping[str, float]
    flags: tuple[str, ...]
    place: BoxPlace | None = None
    training_case: Familiarity = Familiarity.NEW

    def verdict(self, answers: Mapping[str, Score] | None = None, error_rate: float = 0.0) -> SignVerdict:
        """Return signs and diagnosis, after a reader has scored some of the signs.

        Parameters
        ----------
        answers : mapping of str to Score, optional
        error_rate : float
            See :func:`spinefx.signs.overruling.overruled`.

        Returns
        -------
        SignVerdict
        """
        changed = overruled(self.logits, answers or {}, error_rate)
        return verdict(self.model.card.head, changed, answers)

    def to_json(self) -> dict[str, Any]:
        """Return the answer as plain values.

        Returns
        -------
        dict
            Ready for JSON; no identifier of the patient in it. Keys are those of a box model's answer, and ``signs``.
        """
        card, found = self.model.card, self.verdict()
        registered = {one.weighting.key: alignment_record(one) for one in self.series if one.alignment is not None}
        malignant = found.probability >= card.threshold
        lesion = self.lesion
        return {
            "spinefx": __version__,
            "note": NOTE,
            "patient": {
                "probability": found.probability,
                "corrected_probability": found.probability,
                "diagnosis": str(Diagnosis.MALIGNANT if malignant else Diagnosis.BENIGN),
                "threshold": card.threshold,
                "rule": f"{card.head.name} model of the signs",
                "log_odds_without_signs": found.start,
                "check_next": found.check_next,
            },
            "signs": {
                sign.identifier: {
                    "label": sign.label,
                    "probability": found.signs[sign.identifier],
                    "log_odds": found.contributions[sign.identifier],
                }
                for sign in SIGNS
            },
            "vertebrae": [one.to_json() for one in self.others],
            "slices": [{"slice": index} for index in self.stack.slices],
            "lesion": asdict(lesion.box) | {"first_slice": lesion.first_slice, "last_slice": lesion.last_slice},
            "flags": list(self.flags),
            "quality": card.guards.quality(self.measures),
            "not_checked": card.guards.unavailable(self.measures, self.place),
            "training_case": str(self.training_case),
            "registration": next(iter(registered.values()), None),
            "model": {
                "digests": [self.model.digest],
                "engine": self.model.engine,
                "recipe": "signs",
                "taught_with": dict(card.taught_with),
                "left_out": list(card.calibration.left_out),
            },
        }


def score_signs(
    model: SignPredictor,
    lesion: Lesion,
    series: Mapping[Weighting, Slices],
    *,
    aligned: Callable[[], Sequence[AlignedSeries]] | None = None,
    measures: Mapping[str, float] | None = None,
    find_spine: Callable[[], LocatedSpine] | None = None,
) -> ScoredSigns:
    """Read the signs of one lesion and of every other vertebra, or refuse it where training cases looked different.

    Parameters
    ----------
    model : SignPredictor
    lesion : Lesion
        Marked on the T2W series.
    series : mapping of Weighting to Slices
        T1W and T2W.
    aligned, measures
        As for :func:`spinefx.learning.scoring.score`.
    find_spine : callable, optional
        Returns the vertebrae of the T2W series; by default the shipped localiser looks for them.

    Returns
    -------
    ScoredSigns

    Raises
    ------
    BoxError, RegistrationError, PatchError, UnlikeTrainingError, MissedVertebraError
        As :func:`spinefx.learning.scoring.score` raises them.
    """
    card, marked = model.card, series[MARKED]

    @cache
    def spine() -> LocatedSpine | None:
        try:
            return find_spine() if find_spine else shipped_localiser()(marked.whole())[0]
        except InputError:  # a stack that cannot be searched, or what was found cannot be a spine: a flag says so
            return None

    def find_place() -> BoxPlace | None:
        found = spine()
        return None if found is None else place_of_box(found, lesion.box, marked)

    let_in = admit(BODY, card.guards, lesion, series, aligned=aligned, measures=measures, find_place=find_place)
    names = {"case_id": "case", "participant_id": "case"}
    surroundings = cut_patches(lesion, let_in.series, settings=SURROUNDINGS, **names)
    reading = model.networks.read(SignViews(let_in.stack, surroundings))
    others = _read_others(model, lesion, let_in.series, spine)
    raw = np.full(len(SIGN_IDENTIFIERS), np.nan)
    raw[[SIGN_IDENTIFIERS.index(sign) for sign in SEEN_SIGNS]] = reading.logits
    raw[SIGN_IDENTIFIERS.index(SKIP)] = noisy_or(np.array([one.probabilities[-1] for one in others]))
    trained = familiarity_flag([card.trained_on], let_in.shown)
    flags = [*filter(None, [trained]), *let_in.stack.flags, *card.guards.flags(let_in.measures), *let_in.cautions]
    flags += [] if others else [NO_OTHERS]
    return ScoredSigns(
        model,
        lesion,
        let_in.series,
        let_in.stack,
        reading,
        card.calibration.apply(raw[None])[0],
        others,
        let_in.measures,
        tuple(dict.fromkeys(flags)),
        let_in.place,
        familiarity([card.trained_on], let_in.shown),
    )


def _read_others(
    model: SignPredictor,
    lesion: Lesion,
    series: Sequence[AlignedSeries],
    spine: Callable[[], LocatedSpine | None],
) -> tuple[OtherVertebra, ...]:
    """Return the state of every vertebra but the marked one."""
    found = spine() if model.networks.reads_other_vertebrae else None
    if found is None:
        return ()
    vertebrae = other_vertebrae(found, lesion)
    places, patches = cut_other_vertebrae([one.box for one in vertebrae], series)
    states = model.networks.states_of(patches)
    return tuple(
        OtherVertebra(vertebrae[place], (float(row[0]), float(row[1]), float(row[2])))
        for place, row in zip(places, states, strict=True)
    )


def other_vertebrae(spine: LocatedSpine, lesion: Lesion) -> list[LocatedVertebra]:
    """Return the vertebrae of a spine but the marked one and the sacrum.

    Parameters
    ----------
    spine : LocatedSpine
    lesion : Lesion

    Returns
    -------
    list of LocatedVertebra
    """
    centre = np.array(lesion.box.centre_mm)
    near = SAME_VERTEBRA * lesion.box.side_mm
    return [
        one
        for one in spine.vertebrae
        # In the plane of the slices: boxes are drawn on one slice, centres lie in the middle of the body.
        if float(np.hypot(*(np.array(one.centre_mm) - centre)[1:])) > near and (one.level or "")[:1] != "S"
    ]
