"""The signs on the decide page: read by the signs model that comes with spinefx, and overruled by the reader."""

from __future__ import annotations

import secrets
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from spinefx.app.access import Reader
from spinefx.app.contracts.deciding import CannotTell, OpinionRequest, WhyNot
from spinefx.app.contracts.signs import OverruledSigns, SignReply, SignRow, SignsReply, VertebraRow
from spinefx.app.pairs import marked_lesion
from spinefx.errors import SpinefxError
from spinefx.learning.scoring import NOTE
from spinefx.second_opinion.withheld import Withheld
from spinefx.signs.model import SignPredictor, load_sign_model
from spinefx.signs.overruling import SignVerdict
from spinefx.signs.scoring import ScoredSigns, score_signs
from spinefx.vocabulary import SIGNS, Diagnosis

if TYPE_CHECKING:
    from spinefx.app.opened import OpenStudies
    from spinefx.app.state import ServerState

__all__ = ["add_sign_reading"]

SIGNS_READ, SIGNS_OVERRULED = "decide.signs", "decide.overruled"


def add_sign_reading(app: FastAPI, state: ServerState, studies: OpenStudies) -> None:
    """Add the routes of the signs.

    Parameters
    ----------
    app : FastAPI
    state : ServerState
    studies : OpenStudies
        The studies of the decide page.
    """
    model = _Starter()
    in_turn = state.turns.in_turn

    @app.post("/api/decide/signs")
    @in_turn
    def read_signs(wanted: OpinionRequest, user: Reader) -> SignsReply | CannotTell:
        """Read the fifteen signs of a lesion, and diagnose through them."""
        study = studies.find(wanted.study, user.code)
        subject = study.participant_id if study.folder is None else None
        try:
            series = study.volumes
            lesion = marked_lesion(wanted, study.pair.t2w)
            signs = model.get()
            found = score_signs(
                signs,
                lesion,
                series,
                aligned=partial(study.aligned, lesion, signs.card.settings.registration),
                measures=study.opened.measures,
            )
        except SpinefxError as error:
            state.log.append(SIGNS_READ, user.code, subject or "", {"refused": type(error).__name__})
            return CannotTell(cannot_tell=WhyNot(**vars(Withheld.of(error))))
        state.log.append(SIGNS_READ, user.code, subject or "", {"models": [signs.digest]})
        name = secrets.token_urlsafe(12)
        study.keep_signs(name, found)
        return _reply(name, found)

    @app.post("/api/decide/signs/overruled")
    def overrule(wanted: OverruledSigns, user: Reader) -> SignReply:
        """Return the diagnosis after the reader has scored some of the signs."""
        found = studies.signs(wanted.signs, user.code)
        verdict = found.verdict(wanted.answers, wanted.error_rate)
        state.log.append(SIGNS_OVERRULED, user.code, "", {"answers": len(wanted.answers)})
        return SignReply(**_verdict(verdict, found.model.card.threshold, wanted.answers))


class _Starter:
    """The signs model, loaded when it is first asked."""

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._model: SignPredictor | None = None

    def get(self) -> SignPredictor:
        """Return the model."""
        with self._loading:
            self._model = self._model or load_sign_model()
            return self._model


def _reply(name: str, found: ScoredSigns) -> SignsReply:
    card = found.model.card
    labels = {sign.identifier: sign.label for sign in SIGNS}
    return SignsReply(
        **_verdict(found.verdict(), card.threshold, {}),
        name=name,
        vertebrae=[
            VertebraRow(
                level=one.vertebra.level or "",
                centre_mm=[round(value, 2) for value in one.vertebra.centre_mm],
                state=one.state,
                suspicious=one.probabilities[-1],
            )
            for one in found.others
        ],
        flags=list(found.flags),
        taught_with=str(card.taught_with.get("cohort", "")),
        left_out=[labels[sign] for sign in card.calibration.left_out],
        digest=found.model.digest,
        note=NOTE,
    )


def _verdict(found: SignVerdict, threshold: float, answers: Any) -> dict[str, Any]:
    labels = {sign.identifier: sign.label for sign in SIGNS}
    return {
        "probability": found.probability,
        "diagnosis": Diagnosis.MALIGNANT if found.probability >= threshold else Diagnosis.BENIGN,
        "threshold": threshold,
        "log_odds_without_signs": found.start,
        "signs": [
            SignRow(
                identifier=sign,
                label=label,
                probability=found.signs[sign],
                log_odds=found.contributions[sign],
                answer=answers.get(sign),
            )
            for sign, label in labels.items()
        ],
        "check_next": labels.get(found.check_next or "", ""),
    }
