"""The card of a model: where it comes from, what it accepts, and the digests that its files must have.

Nothing here needs torch, so that a model can be read and used where torch is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from spinefx.cases.patch import PatchSettings
from spinefx.documents import read_json
from spinefx.errors import ModelError, RecipeError
from spinefx.files import canonical_json, digest_of
from spinefx.learning.graph_plan import GraphPlan
from spinefx.learning.guards import Guards
from spinefx.learning.networks import NETWORKS
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import RESEARCH_USE_ONLY

__all__ = ["MODEL_FILE", "WEIGHTS_FILE", "Initialisation", "ModelCard", "read_card", "read_json_object"]

SCHEMA = "spinefx model 1"
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
# A card takes a few kilobytes, and 22 bytes for each training slice; a longer file is not a card.
LONGEST_CARD_BYTES = 2**23


@dataclass(frozen=True)
class Initialisation:
    """Where a network's weights started.

    Parameters
    ----------
    said : str
        One sentence that every output repeats.
    source_digest : str
        SHA-256 of the file; empty without one.
    loaded, new : tuple of str
        Names of tensors taken from the file, and of those that start at random.
    """

    said: str
    source_digest: str
    loaded: tuple[str, ...]
    new: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file.

        Returns
        -------
        dict
        """
        return asdict(self) | {"loaded": list(self.loaded), "new": list(self.new)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Initialisation:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : mapping

        Returns
        -------
        Initialisation
        """
        return cls(values["said"], values["source_digest"], tuple(values["loaded"]), tuple(values["new"]))


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
        Versions of what bits depend on, at training.
    guards : Guards or None
        What the training cases looked like; None in models that were trained before this was recorded.
    own_plan : GraphPlan, optional
        What the graph must consist of, for a network from outside this package; it is not in the table of networks.
    trained_on : frozenset of str, optional
        Digests of the slices that the model was trained on, see :mod:`spinefx.learning.training_slices`; None where
        they are not recorded.
    """

    recipe: Recipe
    cohort_digest: str
    fold: int
    initialisation: Initialisation
    weights_digest: str
    software: Mapping[str, str]
    guards: Guards | None = None
    own_plan: GraphPlan | None = None
    trained_on: frozenset[str] | None = None

    @property
    def plan(self) -> GraphPlan | None:
        """What the graph of this model must consist of; None where neither this program nor the card says it."""
        known = NETWORKS.get(self.recipe.network)
        return self.own_plan if known is None else known.plans.get(self.recipe.stem)

    @property
    def settings(self) -> PatchSettings:
        """How patches must have been cut."""
        return self.recipe.patch_settings

    @property
    def digest(self) -> str:
        """SHA-256 over the whole card: recipe, cohort and weights in one chain."""
        return digest_of(canonical_json(self._content()))

    def to_json(self) -> dict[str, Any]:
        """Return plain values for ``model.json``.

        Returns
        -------
        dict
        """
        return self._content() | {"digest": self.digest}

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "intended_use": RESEARCH_USE_ONLY,
            "optimistic": self.recipe.optimistic,
            "answer": "log-odds of malignancy of one lesion slice, as trained",
            "inputs": {
                "channels": list(self.settings.channels),
                "patch_size": self.settings.size,
                "field_of_view": f"box round the vertebra, side + {self.settings.margin_percent:g}%",
                "mm_per_pixel": f"side_mm / {self.settings.size}",
                "weightings": [str(sequence) for sequence in self.settings.sequences],
                "plane": "sagittal",
                "registration": self.settings.registration,
                "normalisation": self.recipe.normalisation,
                "settings": self.settings.to_json(),
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
        content |= {} if self.guards is None else {"guards": self.guards.to_json()}
        content |= {} if self.trained_on is None else {"trained_on": sorted(self.trained_on)}
        return content if self.own_plan is None else content | {"graph": self.own_plan.to_json()}

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
            For another schema, missing keys, or a content that does not match its digest.
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
                guards=Guards.from_json(values["guards"]) if "guards" in values else None,
                own_plan=GraphPlan.from_json(values["graph"]) if "graph" in values else None,
                trained_on=frozenset(map(str, values["trained_on"])) if "trained_on" in values else None,
            )
        except (AttributeError, KeyError, TypeError, ValueError, RecipeError) as error:
            raise ModelError(f"an incomplete model card ({error})", where=MODEL_FILE) from error
        if card.to_json() != dict(values):
            raise ModelError(
                "the model card was changed after training: it does not match its digest",
                where=MODEL_FILE,
                remedy="Copy the model from its source again.",
            )
        return card


def read_card(folder: Path) -> ModelCard:
    """Read and check the card of a model folder.

    Parameters
    ----------
    folder : Path
        With ``model.json``.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError
        When it is missing, not a card, or was changed.
    """
    return ModelCard.from_json(
        read_json_object(folder / MODEL_FILE, remedy="Give a folder that `spinefx train` wrote, such as fold-01.")
    )


def read_json_object(path: Path, *, remedy: str) -> dict[str, Any]:
    """Read one of the small JSON files of a model folder.

    Parameters
    ----------
    path : Path
    remedy : str
        What the user should do where it is missing or broken.

    Returns
    -------
    dict

    Raises
    ------
    ModelError
        When it is missing, too long, not JSON, or not an object.
    """
    return read_json(path, ModelError, most_bytes=LONGEST_CARD_BYTES, remedy=remedy)
