"""A signs model on disk: a card that says what it may be used for, and the weights of its networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import onnxruntime

from spinefx.errors import ModelError
from spinefx.files import canonical_json, digest_of, write_bytes, write_text
from spinefx.learning.card import MODEL_FILE, WEIGHTS_FILE, read_json_object
from spinefx.learning.guards import Guards
from spinefx.learning.weights import read_weights
from spinefx.signs.calibration import SignCalibration
from spinefx.signs.diagnosis import BayesHead, LogisticHead, head_from_json
from spinefx.signs.inference import SignNetworks
from spinefx.signs.views import BODY
from spinefx.vocabulary import RESEARCH_USE_ONLY

__all__ = [
    "SCHEMA",
    "STARTER",
    "SignCard",
    "SignPredictor",
    "is_sign_model",
    "is_starter",
    "load_sign_model",
    "weights_of",
    "write_sign_model",
]

SCHEMA = "spinefx signs model 1"
STARTER = "starter"
"""The word that stands for the model that comes with spinefx, wherever a model folder is asked for."""


@dataclass(frozen=True, eq=False)
class SignCard:
    """What a signs model was taught with, and how its evidence becomes probabilities.

    Parameters
    ----------
    taught_with : mapping of str to object
        Plain values: the cohort, the way of teaching, the versions of the software.
    calibration : SignCalibration
    head : LogisticHead or BayesHead
    head_losses : mapping of str to float
        Mean log-loss of each head on held-out cases; the better one was kept.
    guards : Guards
        What the training cases looked like.
    weights_digest : str
        SHA-256 of the weights file.
    trained_on : frozenset of str
        Digests of the slices that taught it, see :mod:`spinefx.learning.training_slices`; empty for the starter, which
        phantoms taught.
    threshold : float
        Probability from which the diagnosis is malignant.
    """

    taught_with: Mapping[str, Any]
    calibration: SignCalibration
    head: LogisticHead | BayesHead
    head_losses: Mapping[str, float]
    guards: Guards
    weights_digest: str
    trained_on: frozenset[str] = frozenset()
    threshold: float = 0.5
    settings = BODY
    """How the patches of the body must have been cut."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the whole card, weights included."""
        return digest_of(canonical_json(self._content()))

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``model.json``.

        Returns
        -------
        dict
        """
        return self._content() | {"digest": self.digest}

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "intended_use": RESEARCH_USE_ONLY,
            "taught_with": dict(self.taught_with),
            "calibration": self.calibration.to_json(),
            "head": self.head.to_json(),
            "head_losses": dict(self.head_losses),
            "guards": self.guards.to_json(),
            "trained_on": sorted(self.trained_on),
            "threshold": self.threshold,
            "weights_digest": self.weights_digest,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SignCard:
        """Read and check what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        SignCard

        Raises
        ------
        ModelError
            For another schema, missing keys, or a content that does not match its digest.
        """
        if values.get("schema") != SCHEMA:
            raise ModelError(f"schema {values.get('schema')!r}", where=MODEL_FILE, allowed=repr(SCHEMA))
        try:
            card = cls(
                taught_with=values["taught_with"],
                calibration=SignCalibration.from_json(values["calibration"]),
                head=head_from_json(values["head"]),
                head_losses=values["head_losses"],
                guards=Guards.from_json(values["guards"]),
                weights_digest=values["weights_digest"],
                trained_on=frozenset(map(str, values["trained_on"])),
                threshold=values["threshold"],
            )
            unchanged = card.to_json() == dict(values)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError("an incomplete card of a signs model", where=MODEL_FILE) from error
        if not unchanged:
            raise ModelError(
                "the model card was changed after training: it does not match its digest",
                where=MODEL_FILE,
                remedy="Copy the model from its source again.",
            )
        return card


@dataclass(frozen=True, eq=False)
class SignPredictor:
    """A signs model that is ready to answer.

    Parameters
    ----------
    card : SignCard
    networks : SignNetworks
    """

    card: SignCard
    networks: SignNetworks

    @property
    def digest(self) -> str:
        """Digest of the card, which covers the weights."""
        return self.card.digest

    @property
    def engine(self) -> dict[str, str]:
        """Name and version of what computes the networks."""
        return {"name": "onnxruntime", "version": onnxruntime.__version__}


def is_starter(folder: Path) -> bool:
    """Return whether a path is the word ``starter``, and no folder of that name stands in its way.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    return str(folder) == STARTER and not folder.exists()


def is_sign_model(folder: Path) -> bool:
    """Return whether a path names a signs model: the word ``starter``, or a folder with the card of one.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    bool
    """
    if is_starter(folder):
        return True
    path = folder / MODEL_FILE
    return path.is_file() and read_json_object(path, remedy="").get("schema") == SCHEMA


def load_sign_model(folder: Path = Path(STARTER)) -> SignPredictor:
    """Load a signs model, after its files have been checked.

    Parameters
    ----------
    folder : Path, optional
        A folder that ``spinefx train --recipe signs`` wrote, or ``starter``: the one that comes with spinefx.

    Returns
    -------
    SignPredictor

    Raises
    ------
    ModelError
        When a file is missing or was changed, or the weights are not those of these networks.
    """
    where = weights_of(folder).parent
    card = SignCard.from_json(read_json_object(where / MODEL_FILE, remedy="Train the model again."))
    return SignPredictor(card, SignNetworks(read_weights(where, card.weights_digest)))


def weights_of(folder: Path) -> Path:
    """Return the path of a signs model's weights.

    Parameters
    ----------
    folder : Path
        As :func:`load_sign_model` takes it.

    Returns
    -------
    Path
    """
    where = Path(str(resources.files("spinefx.signs") / "weights")) if is_starter(folder) else folder
    return where / WEIGHTS_FILE


def write_sign_model(folder: Path, card: SignCard, weights: bytes) -> None:
    """Write a signs model; the card comes last, so that a folder without it is unfinished.

    Parameters
    ----------
    folder : Path
        Created where missing.
    card : SignCard
    weights : bytes
        The safetensors file whose digest the card holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / WEIGHTS_FILE, weights)
    write_text(folder / MODEL_FILE, json.dumps(card.to_json(), indent=1, ensure_ascii=False) + "\n")
