"""A trained model that knows what it accepts, where it comes from, and whether its files are still its own."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from spinefx import __version__
from spinefx.cases.patch import CHANNELS, PatchSettings, PatchStack
from spinefx.cases.reading import Prediction, correct_prior
from spinefx.errors import ModelError, RecipeError
from spinefx.files import canonical_json, digest_of, write_bytes, write_text
from spinefx.learning.network import FractureNetwork, in_channel_order
from spinefx.learning.pretrained import Initialisation
from spinefx.learning.recipe import Recipe

__all__ = ["MODEL_FILE", "WEIGHTS_FILE", "Classifier", "ModelCard", "software_versions"]

SCHEMA = "spinefx model 1"
INTENDED_USE = "Research use only, not a medical device."
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"


def software_versions() -> dict[str, str]:
    """Name the software that bits depend on.

    Returns
    -------
    dict of str to str
    """
    versions = {"spinefx": __version__, "torch": str(torch.__version__), "numpy": np.__version__}
    return versions | {"python": platform.python_version(), "machine": platform.machine()}


@dataclass(frozen=True)
class ModelCard:
    """Where a model comes from and what it accepts: the text beside its weights.

    Parameters
    ----------
    recipe : Recipe
        Complete.
    cohort_digest : str
        Of the cohort that it was trained within.
    fold : int
        From 1; 0 outside cross-validation.
    initialisation : Initialisation
    weights_digest : str
        SHA-256 of the weights file.
    software : mapping of str to str
        Versions at training.
    """

    recipe: Recipe
    cohort_digest: str
    fold: int
    initialisation: Initialisation
    weights_digest: str
    software: Mapping[str, str] = field(default_factory=software_versions)

    @property
    def settings(self) -> PatchSettings:
        """How patches must have been cut."""
        return self.recipe.patch_settings

    @property
    def digest(self) -> str:
        """SHA-256 over everything the card says: recipe, cohort and weights in one chain."""
        return digest_of(canonical_json(self._content()))

    def to_json(self) -> dict[str, Any]:
        """Give plain values for ``model.json``.

        Returns
        -------
        dict
        """
        return self._content() | {"digest": self.digest}

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "intended_use": INTENDED_USE,
            "optimistic": self.recipe.optimistic,
            "answer": "log-odds of malignancy of one lesion slice, as trained",
            "inputs": {
                "channels": list(CHANNELS),
                "patch_size": self.settings.size,
                "field_of_view": f"box round the vertebra, side + {self.settings.margin_percent:g}%",
                "mm_per_pixel": f"side_mm / {self.settings.size}",
                "weightings": ["T1w", "T2w"],
                "plane": "sagittal",
                "registration": self.settings.registration,
                "normalisation": self.recipe.normalisation,
                "settings": asdict(self.settings),
                "settings_digest": self.settings.digest,
            },
            "prior_inflation": self.recipe.inflation,
            "recipe": self.recipe.to_mapping(),
            "recipe_digest": self.recipe.digest,
            "cohort_digest": self.cohort_digest,
            "weights_digest": self.weights_digest,
            "fold": self.fold,
            "seed": self.recipe.seed,
            "initialisation": self.initialisation.to_json(),
            "software": dict(self.software),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelCard:
        """Read and check what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        ModelCard

        Raises
        ------
        ModelError
            For another schema, missing keys, or a text that its digest does not name.
        """
        if values.get("schema") != SCHEMA:
            raise ModelError(f"schema {values.get('schema')!r}", where=MODEL_FILE, allowed=repr(SCHEMA))
        try:
            card = cls(
                recipe=Recipe.from_mapping(values["recipe"]),
                cohort_digest=values["cohort_digest"],
                fold=values["fold"],
                initialisation=Initialisation.from_json(values["initialisation"]),
                weights_digest=values["weights_digest"],
                software=values["software"],
            )
        except (KeyError, TypeError, RecipeError) as error:
            raise ModelError(f"an incomplete model card ({error})", where=MODEL_FILE) from error
        if card.to_json() != dict(values):
            raise ModelError(
                "the model card was changed after training: it does not match its digest",
                where=MODEL_FILE,
                remedy="Take the model from its source again.",
            )
        return card


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network with its card.

    Parameters
    ----------
    network : torch.nn.Module
        Maps patches of shape (n, 6, size, size) to n log-odds; put into evaluation mode.
    card : ModelCard
    """

    network: nn.Module
    card: ModelCard

    def __post_init__(self) -> None:
        self.network.eval()

    @classmethod
    def of(
        cls,
        network: FractureNetwork,
        recipe: Recipe,
        *,
        cohort_digest: str,
        fold: int,
        initialisation: Initialisation,
    ) -> Classifier:
        """Make a classifier of a network that has just been trained.

        Parameters
        ----------
        network : FractureNetwork
        recipe : Recipe
        cohort_digest : str
        fold : int
        initialisation : Initialisation

        Returns
        -------
        Classifier
        """
        card = ModelCard(recipe, cohort_digest, fold, initialisation, digest_of(_serialised(network)))
        return cls(network, card)

    @property
    def digest(self) -> str:
        """Digest of the card, which names recipe, cohort and weights."""
        return self.card.digest

    def probabilities(self, patches: torch.Tensor | NDArray[np.float32]) -> NDArray[np.float64]:
        """Score patches.

        Parameters
        ----------
        patches : Tensor or ndarray of float32, shape (n, 6, size, size)
            Mean 0 and standard deviation 1 in each channel.

        Returns
        -------
        ndarray of float64, shape (n,)
            Raw probability of malignancy.

        Raises
        ------
        ModelError
            For another shape.
        """
        inputs = torch.as_tensor(patches, dtype=torch.float32)
        size = self.card.settings.size
        if inputs.ndim != 4 or inputs.shape[1:] != (len(CHANNELS), size, size):
            raise ModelError(
                f"patches of shape {tuple(inputs.shape)}",
                where="model",
                allowed=f"(n, {len(CHANNELS)}, {size}, {size})",
            )
        with torch.inference_mode():
            logits = self.network(inputs.contiguous(memory_format=torch.channels_last))
        scores: NDArray[np.float64] = torch.sigmoid(logits.to(torch.float64)).numpy()
        return scores

    def predict(self, stack: PatchStack) -> tuple[Prediction, ...]:
        """Score every lesion slice of a case.

        Parameters
        ----------
        stack : PatchStack
            Cut with the settings that the model was trained on.

        Returns
        -------
        tuple of Prediction

        Raises
        ------
        ModelError
            For patches of other settings.
        PatchError
            When a channel holds one grey level only.
        """
        self.refuse_other_settings(stack)
        patches = np.stack([stack.cut(position).array for position in range(len(stack.slices))])
        return self.predictions(stack, patches)

    def predictions(self, stack: PatchStack, patches: torch.Tensor | NDArray[np.float32]) -> tuple[Prediction, ...]:
        """Score the patches of a case that were cut already.

        Parameters
        ----------
        stack : PatchStack
        patches : Tensor or ndarray of float32, shape (len(stack.slices), 6, size, size)

        Returns
        -------
        tuple of Prediction
        """
        raw = self.probabilities(patches)
        corrected = correct_prior(raw, self.card.recipe.inflation)
        digest = self.digest
        return tuple(
            Prediction(stack.case_id, stack.participant_id, index, float(p), float(q), self.card.fold, digest)
            for index, p, q in zip(stack.slices, raw, corrected, strict=True)
        )

    def refuse_other_settings(self, stack: PatchStack) -> None:
        """Check that a case was cut as the model needs.

        Parameters
        ----------
        stack : PatchStack

        Raises
        ------
        ModelError
            Saying which setting differs.
        """
        given, wanted = asdict(stack.settings), asdict(self.card.settings)
        other = [key for key in wanted if given.get(key) != wanted[key]]
        if other:
            found = ", ".join(f"{key} = {given.get(key)}" for key in other)
            allowed = ", ".join(f"{key} = {wanted[key]}" for key in other)
            raise ModelError(
                f"patches cut with {found}", where=stack.case_id, allowed=allowed, remedy="Cut them again."
            )

    def save(self, folder: Path) -> None:
        """Write ``weights.safetensors`` and ``model.json``, each whole or not at all; the card last.

        Parameters
        ----------
        folder : Path
            Created where missing.

        Raises
        ------
        InterruptedWrite
        """
        write_bytes(folder / WEIGHTS_FILE, _serialised(self.network))
        write_text(folder / MODEL_FILE, json.dumps(self.card.to_json(), indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Classifier:
        """Read a model, and check every link of its chain of digests.

        Parameters
        ----------
        folder : Path
            With ``weights.safetensors`` and ``model.json``.

        Returns
        -------
        Classifier

        Raises
        ------
        ModelError
            When a file is missing, was altered, or does not fit the other.
        """
        try:
            values = json.loads((folder / MODEL_FILE).read_text("utf-8"))
            data = (folder / WEIGHTS_FILE).read_bytes()
        except (OSError, ValueError) as error:
            raise ModelError(
                f"no readable {MODEL_FILE} and {WEIGHTS_FILE}",
                where="model folder",
                remedy="Give a folder that `spinefx train` wrote, such as fold-01.",
            ) from error
        if not isinstance(values, dict):
            raise ModelError("a model card that is no JSON object", where=MODEL_FILE)
        card = ModelCard.from_json(values)
        if digest_of(data) != card.weights_digest:
            raise ModelError(
                "the weights are not those that the card names (SHA-256 differs)",
                where=WEIGHTS_FILE,
                remedy="Take the model from its source again.",
            )
        return cls(_network_of(data, card.recipe), card)


def _serialised(network: nn.Module) -> bytes:
    return safetensors.torch.save({key: value.contiguous() for key, value in network.state_dict().items()})


def _network_of(data: bytes, recipe: Recipe) -> FractureNetwork:
    with torch.random.fork_rng(devices=[]):  # its random weights are replaced; torch's generator is not ours to move
        network = FractureNetwork(recipe)
    own = network.state_dict()
    try:
        given = safetensors.torch.load(data)
    except SafetensorError as error:
        raise ModelError("weights that are no safetensors file", where=WEIGHTS_FILE) from error
    other = sorted(set(own) ^ set(given)) or [key for key in own if own[key].shape != given[key].shape]
    if other:
        raise ModelError(
            f"tensors that do not fit the recipe's network ({other[0]} first of {len(other)})", where=WEIGHTS_FILE
        )
    network.load_state_dict(given)
    return in_channel_order(network)
