"""Cross-validation by patient: every sign of every case read by networks that have not seen the patient.

Training is sequential. Networks learn signs and nothing else; their held-out evidence is calibrated; and the diagnosis
is fitted to the calibrated signs. What is reported for a fold comes from a calibration and head of other folds.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from spinefx.documents import read_json
from spinefx.errors import InputError, ModelError
from spinefx.files import canonical_json, digest_of, write_bytes, write_text
from spinefx.learning.card import WEIGHTS_FILE
from spinefx.learning.folds import Fold
from spinefx.processes.pool import share_out
from spinefx.signs.appearance import MILD, STRONG
from spinefx.signs.calibration import SignCalibration
from spinefx.signs.diagnosis import BayesHead, LogisticHead, choose_head
from spinefx.signs.fitting import MEMBERS, SignLessons, SignTeaching, fit_signs
from spinefx.signs.inference import COUNTERS, SEEN_SIGNS, SKIP, SignNetworks
from spinefx.signs.network import SignNetwork
from spinefx.signs.views import SignViews
from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS

__all__ = [
    "Refinement",
    "SignCases",
    "SignCrossValidation",
    "concluded",
    "cross_validate_signs",
    "describe_teaching",
    "member_weights",
    "read_members",
    "with_vertebrae",
]

Refinement = Literal["frozen", "last", "all"]
"""What of a starter's networks a group's own cases change: nothing, the last layers, or all."""

SEEN = np.array([SIGN_IDENTIFIERS.index(sign) for sign in SEEN_SIGNS])
EVIDENCE_FILE = "evidence.json"
# Fewer cases than this teach, with a warning.
FEW_CASES = 40
FEWEST_CASES = 20


@dataclass(frozen=True, eq=False)
class SignCases:
    """Cases to learn from, in one order.

    Parameters
    ----------
    views : tuple of SignViews
    signs : ndarray of float64, shape (case, 15)
        1, 0, or NaN where a sign was not assessed.
    malignant : ndarray of bool, shape (case,)
    skips : ndarray of float64, shape (case,)
        Log-odds that another vertebra holds a focus; NaN where none could be read.

    Raises
    ------
    InputError
        When lengths differ, cases are too few, or all are of one class.
    """

    views: tuple[SignViews, ...]
    signs: NDArray[np.float64]
    malignant: NDArray[np.bool_]
    skips: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.views)
        if self.signs.shape != (count, len(SIGNS)) or len(self.malignant) != count or len(self.skips) != count:
            raise InputError(f"{count} cases with signs, diagnoses or skips of another number")
        if count < FEWEST_CASES:
            raise InputError(
                f"{count} cases with signs",
                allowed=f"{FEWEST_CASES} or more",
                remedy="Score the signs of more cases, or use the model that comes with spinefx as it is.",
            )
        if not 0 < self.malignant.sum() < count:
            raise InputError("cases of one diagnosis", allowed="benign and malignant cases")

    @property
    def cautions(self) -> tuple[str, ...]:
        """What must accompany every figure of these cases."""
        found = []
        if len(self.views) < FEW_CASES:
            found.append(f"Only {len(self.views)} cases have signs: every figure is very uncertain.")
        for place, sign in enumerate(SIGNS):
            shown = self.signs[:, place]
            if np.nansum(shown) == 0:
                found.append(f"{sign.label!r} is left out: no case shows it.")
            elif np.nanmin(shown) == 1:
                found.append(f"{sign.label!r} is left out: every case shows it.")
        return tuple(found)


@dataclass(frozen=True, eq=False)
class SignCrossValidation:
    """A finished cross-validation of the signs.

    Parameters
    ----------
    folds : tuple of Fold
    evidence : ndarray of float64, shape (case, 15)
        Log-odds of each sign from networks that had not seen the patient, not calibrated.
    calibrated : ndarray of float64, shape (case, 15)
        By a calibration that had not seen the fold.
    log_odds : ndarray of float64, shape (case,)
        Of malignancy, by a head that had not seen the fold.
    calibration : SignCalibration
        Fitted to all cases.
    head : LogisticHead or BayesHead
        Fitted to all cases.
    head_losses : mapping of str to float
    """

    folds: tuple[Fold, ...]
    evidence: NDArray[np.float64]
    calibrated: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    calibration: SignCalibration
    head: LogisticHead | BayesHead
    head_losses: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class _SignTraining:
    """Everything that a fold needs, sent once to each worker."""

    cases: SignCases
    teaching: SignTeaching
    folder: Path
    start: Mapping[str, SignNetwork] | None
    refinement: Refinement
    identity: str

    @cached_property
    def lessons(self) -> SignLessons:
        return SignLessons(self.cases.views, self.cases.signs[:, SEEN])

    def run_fold(self, fold: Fold, report: Callable[..., None]) -> None:
        """Teach both members of a fold, and read the fold's own cases."""
        torch.set_num_threads(1)
        weights = self.teach(self._places(fold.training), lambda *seen: report(fold.label, *seen))
        networks = SignNetworks({name: value.numpy() for name, value in safetensors.torch.load(weights).items()})
        held = self._places(fold.test)
        rows = [networks.read(self.cases.views[place]).logits.tolist() for place in held]
        folder = self.folder / fold.label
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / WEIGHTS_FILE, weights)
        evidence = {"identity": self.identity, "cases": [self.cases.views[place].case_id for place in held]}
        write_text(folder / EVIDENCE_FILE, json.dumps(evidence | {"log_odds": rows}) + "\n")

    def teach(self, members: NDArray[np.int64], progress: Callable[[int, int], None]) -> bytes:
        """Teach one network of each appearance, and return the weights of both."""
        networks = {}
        for number, appearance in enumerate(MEMBERS):
            start = None if self.start is None else copy.deepcopy(self.start[appearance.name])
            if start is not None and self.refinement != "all":
                _hold(start, last_may_change=self.refinement == "last")
            if start is not None and self.refinement == "frozen":
                networks[appearance.name] = start
                continue
            networks[appearance.name] = fit_signs(
                self.lessons,
                members,
                self.teaching,
                appearance,
                start=start,
                progress=partial(_tell, progress, number * self.teaching.epochs, len(MEMBERS) * self.teaching.epochs),
            )
        return member_weights(networks)

    def finished(self, fold: Fold) -> bool:
        """Return whether a fold was finished in this very way."""
        path = self.folder / fold.label / EVIDENCE_FILE
        return path.is_file() and read_json(path, ModelError).get("identity") == self.identity

    def evidence(self, fold: Fold) -> list[list[float]]:
        rows: list[list[float]] = read_json(self.folder / fold.label / EVIDENCE_FILE, ModelError)["log_odds"]
        return rows

    def _places(self, participants: Sequence[str]) -> NDArray[np.int64]:
        wanted = set(participants)
        return np.array([n for n, one in enumerate(self.cases.views) if one.participant_id in wanted], np.int64)


def cross_validate_signs(
    cases: SignCases,
    folds: tuple[Fold, ...],
    teaching: SignTeaching,
    folder: Path,
    *,
    data_digest: str,
    start: Mapping[str, SignNetwork] | None = None,
    refinement: Refinement = "all",
    workers: int = 1,
    progress: Callable[[str, int, int], None] = lambda label, epoch, epochs: None,
) -> tuple[SignCrossValidation, bytes]:
    """Cross-validate, and teach the networks that answer for new patients on all cases.

    Parameters
    ----------
    cases : SignCases
    folds : tuple of Fold
        Every participant is tested in exactly one; no participant chooses an epoch.
    teaching : SignTeaching
    folder : Path
        Keeps each finished fold; another call with the same arguments goes on from there.
    data_digest : str
        Of images, boxes and signs; folds of other data are taught again.
    start : mapping of str to SignNetwork, optional
        By member; where every fold starts. Random weights by default.
    refinement : {'frozen', 'last', 'all'}
        What the cases change of ``start``.
    workers : int
    progress : callable, optional
        Called with the label of the fold, the epoch and the number of epochs.

    Returns
    -------
    SignCrossValidation
    bytes
        The safetensors file of the networks that were taught with all cases.

    Raises
    ------
    InputError
        When nothing can be learned from the cases.
    """
    started = None if start is None else digest_of(member_weights(start))
    content = {"teaching": asdict(teaching), "data": data_digest, "start": started, "refinement": refinement}
    identity = digest_of(canonical_json(content | {"folds": [list(fold.test) for fold in folds]}))
    experiment = _SignTraining(cases, teaching, folder, start, refinement, identity)
    everyone = tuple(sorted({one.participant_id for one in cases.views}))
    whole = Fold(0, everyone, (), ())
    todo = [fold for fold in (*folds, whole) if not experiment.finished(fold)]
    share_out(experiment.run_fold, todo, workers=workers, report=progress)
    evidence, numbers = np.full(cases.signs.shape, np.nan), np.zeros(len(cases.views), np.int64)
    for fold in folds:
        held = experiment._places(fold.test)
        evidence[np.ix_(held, SEEN)] = experiment.evidence(fold)
        numbers[held] = fold.number
    evidence[:, SIGN_IDENTIFIERS.index(SKIP)] = cases.skips
    return concluded(cases, folds, evidence, numbers), (folder / whole.label / WEIGHTS_FILE).read_bytes()


def concluded(
    cases: SignCases, folds: tuple[Fold, ...], evidence: NDArray[np.float64], numbers: NDArray[np.int64]
) -> SignCrossValidation:
    """Calibrate held-out evidence and diagnose through it, each fold by what the other folds teach.

    Parameters
    ----------
    cases : SignCases
    folds : tuple of Fold
    evidence : ndarray of float64, shape (case, 15)
    numbers : ndarray of int, shape (case,)
        The fold in which each case was held out.

    Returns
    -------
    SignCrossValidation
    """
    calibrated, log_odds = np.full_like(evidence, np.nan), np.full(len(evidence), np.nan)
    _, patients = np.unique([one.participant_id for one in cases.views], return_inverse=True)
    for number in np.unique(numbers):
        out = numbers == number
        line = SignCalibration.fit(evidence[~out], cases.signs[~out])
        head, _ = choose_head(line.apply(evidence[~out]), cases.malignant[~out], patients[~out])
        calibrated[out] = line.apply(evidence[out])
        parts, start = head.contributions(calibrated[out])
        log_odds[out] = parts.sum(axis=1) + start
    line = SignCalibration.fit(evidence, cases.signs)
    head, losses = choose_head(line.apply(evidence), cases.malignant, patients)
    return SignCrossValidation(folds, evidence, calibrated, log_odds, line, head, losses)


def member_weights(networks: Mapping[str, nn.Module]) -> bytes:
    """Return the safetensors file of some networks.

    Parameters
    ----------
    networks : mapping of str to Module
        By member: the names of :data:`spinefx.signs.fitting.MEMBERS`, and ``vertebra``.

    Returns
    -------
    bytes
    """
    tensors = {
        f"{member}.{name}": value.detach().contiguous()
        for member, network in networks.items()
        for name, value in network.state_dict().items()
        if not name.endswith(COUNTERS)
    }
    return safetensors.torch.save(tensors)


def with_vertebrae(weights: bytes, starter: Path) -> bytes:
    """Return the weights of a model with the starter's network for unmarked vertebrae.

    Parameters
    ----------
    weights : bytes
        A safetensors file of :func:`member_weights`.
    starter : Path
        The safetensors file of the model that comes with spinefx.

    Returns
    -------
    bytes
        A cohort's scores say whether another vertebra holds a focus, but not which, and cannot teach this network.
    """
    others = {k: v for k, v in safetensors.torch.load_file(starter).items() if k.startswith("vertebra.")}
    return safetensors.torch.save({**safetensors.torch.load(weights), **others})


def read_members(weights: Path) -> dict[str, SignNetwork]:
    """Read the members of a signs model as networks that can be taught further.

    Parameters
    ----------
    weights : Path
        The safetensors file of a signs model, after :func:`spinefx.signs.model.load_sign_model` has checked it.

    Returns
    -------
    dict of str to SignNetwork

    Raises
    ------
    ModelError
        When its tensors are not those of the networks.
    """
    tensors = safetensors.torch.load_file(weights)
    networks = {}
    for appearance in (MILD, STRONG):
        network, head = SignNetwork(), f"{appearance.name}."
        own = {name.removeprefix(head): value for name, value in tensors.items() if name.startswith(head)}
        try:
            network.load_state_dict({**network.state_dict(), **own})
        except RuntimeError as error:
            raise ModelError("weights of another network", where=WEIGHTS_FILE) from error
        networks[appearance.name] = network
    return networks


def _tell(progress: Callable[[int, int], None], before: int, total: int, epoch: int, epochs: int, loss: float) -> None:
    """Report an epoch of one member as one of all members' epochs."""
    progress(before + epoch, total)


def _hold(network: SignNetwork, *, last_may_change: bool) -> None:
    """Keep the weights of a network from changing, the last layers of both views apart."""
    for one in network.parameters():
        one.requires_grad_(False)
    if last_may_change:
        for one in (*network.body[-1].parameters(), *network.surroundings[-1].parameters(), network.sharpness):
            one.requires_grad_(True)


def describe_teaching(teaching: SignTeaching, cases: SignCases) -> dict[str, Any]:
    """Return what a card records about a way of teaching.

    Parameters
    ----------
    teaching : SignTeaching
    cases : SignCases

    Returns
    -------
    dict
    """
    counts = {sign.identifier: int(np.nansum(cases.signs[:, place])) for place, sign in enumerate(SIGNS)}
    return {**asdict(teaching), "cases": len(cases.views), "malignant": int(cases.malignant.sum()), "signs": counts}
