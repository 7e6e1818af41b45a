"""The state of one fold in training: how it starts or resumes, what an epoch changes, and what it results in."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spinefx.errors import ModelError
from spinefx.learning.arithmetic import Adam
from spinefx.learning.checkpoint import Checkpoint, read_checkpoint, restore, snapshot, write_checkpoint
from spinefx.learning.classifier import Classifier, software_versions
from spinefx.learning.guards import Guards
from spinefx.learning.leaks import FoldFacts, Side
from spinefx.learning.network import FractureNetwork, build_network
from spinefx.learning.networks import Network
from spinefx.learning.pretrained import Initialisation, initialise
from spinefx.learning.recipe import Recipe

__all__ = ["EpochRow", "Fitting", "History", "Run"]

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class EpochRow:
    """One epoch.

    Parameters
    ----------
    epoch : int
        From 1.
    learning_rate : float
        Of its last step.
    training_loss : float
        Mean cross-entropy over its draws while training, nats.
    validation_loss : float or None
        Mean cross-entropy of the watched side's original slices, nats; None where no side is watched.
    """

    epoch: int
    learning_rate: float
    training_loss: float
    validation_loss: float | None


@dataclass(frozen=True)
class History:
    """The epochs of one fold.

    Parameters
    ----------
    rows : tuple of EpochRow
    kept_epoch : int
        The epoch whose weights were kept.
    watched : str
        Side whose loss chose it; empty where the last was kept.
    """

    rows: tuple[EpochRow, ...]
    kept_epoch: int
    watched: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file.

        Returns
        -------
        dict
        """
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> History:
        """Read what :meth:`to_json` wrote.

        Parameters
        ----------
        values : dict

        Returns
        -------
        History
        """
        return cls(tuple(EpochRow(**row) for row in values["rows"]), values["kept_epoch"], values["watched"])


@dataclass(frozen=True)
class Run:
    """What one training belongs to.

    Parameters
    ----------
    recipe : Recipe
    fold : int
        From 1; 0 outside cross-validation.
    cohort_digest : str
    data_digest : str
        Of voxels and truth; training does not resume from a checkpoint of other data.
    folder : Path
        Where the checkpoint is kept.
    weights : Path or None
        Local ImageNet file.
    route : str
        Where and how it is computed; training does not resume from a checkpoint of another route, whose bits differ.
    network : Network or None
        The network that the recipe names, where it is not one of this package.
    guards : Guards or None
        What the training cases look like, for the model's card.
    trained_on : frozenset of str or None
        Digests of the training slices, for the model's card.
    """

    recipe: Recipe
    fold: int
    cohort_digest: str
    data_digest: str
    folder: Path
    weights: Path | None = None
    route: str = "cpu"
    network: Network | None = None
    guards: Guards | None = None
    trained_on: frozenset[str] | None = None

    @property
    def checkpoint_path(self) -> Path:
        """The file from which an interrupted training resumes."""
        return self.folder / CHECKPOINT_FILE

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for training to resume from a checkpoint; other software computes other bits."""
        return {
            "recipe_digest": self.recipe.digest,
            "fold": self.fold,
            "cohort_digest": self.cohort_digest,
            "data_digest": self.data_digest,
            "software": software_versions() | {"route": self.route},
        }

    def may_continue(self, saved: Checkpoint) -> bool:
        """Return whether a checkpoint belongs to this run.

        Parameters
        ----------
        saved : Checkpoint

        Returns
        -------
        bool
        """
        return saved.values.get("identity") == self.identity


@dataclass(eq=False)
class Fitting:
    """The state of one fold in training, alike on every route.

    Use :meth:`begin`.

    Parameters
    ----------
    network : FractureNetwork
    optimiser : torch.optim.Adam
    initialisation : Initialisation
    rows : list of EpochRow
        Epochs done.
    kept_epoch : int
        The epoch with the best weights so far; 0 before the first.
    best : dict of str to Tensor
        The best weights so far.
    """

    network: FractureNetwork
    optimiser: torch.optim.Adam
    initialisation: Initialisation
    rows: list[EpochRow]
    kept_epoch: int
    best: dict[str, Tensor]

    @classmethod
    def begin(cls, training: Side, run: Run, device: str = "cpu") -> Fitting:
        """Start from the recipe's weights, or from the checkpoint of the same run.

        Parameters
        ----------
        training : Side
            Its ledger continues that of the checkpoint; its precision is the network's.
        run : Run
        device : {'cpu', 'cuda'}
            On a GPU the learning rate is a tensor on the device, so that steps can be captured.

        Returns
        -------
        Fitting

        Raises
        ------
        FileError
            For an ImageNet file that does not fit.
        """
        recipe, on_gpu = run.recipe, device == "cuda"
        network = build_network(recipe, fold=run.fold, network=run.network)
        initialisation = initialise(network, recipe, run.weights)
        network.to(device, training.dtype)
        kind = torch.optim.Adam if on_gpu else Adam  # the copy that our own avoids is made on CPUs alone
        optimiser = kind(
            network.parameters(),
            lr=torch.tensor(recipe.learning_rate, device=device) if on_gpu else recipe.learning_rate,
            betas=(recipe.beta1, recipe.beta2),
            weight_decay=recipe.weight_decay,
            fused=True,
            capturable=on_gpu,
        )
        fitting = cls(network, optimiser, initialisation, [], 0, {})
        saved = read_checkpoint(run.checkpoint_path)
        if saved is None or not run.may_continue(saved):
            return fitting
        if saved.values["initialisation"] != initialisation.to_json():
            return fitting
        restore(network, optimiser, saved.tensors)
        history = History.from_json(saved.values["history"])
        fitting.rows, fitting.kept_epoch = list(history.rows), history.kept_epoch
        fitting.best = {k.removeprefix("best."): v for k, v in saved.tensors.items() if k.startswith("best.")}
        training.ledger.restore(FoldFacts.from_json(saved.values["facts"]))
        return fitting

    def is_finished(self, recipe: Recipe) -> bool:
        """Return whether the last epoch is done, or patience is exhausted.

        Parameters
        ----------
        recipe : Recipe

        Returns
        -------
        bool
        """
        done = len(self.rows)
        is_patient = not recipe.patience or done - self.kept_epoch < recipe.patience
        return done >= recipe.epochs or not is_patient

    def close_epoch(self, row: EpochRow, fold: int) -> None:
        """Record an epoch, and keep its weights if they are the best so far.

        Parameters
        ----------
        row : EpochRow
        fold : int

        Raises
        ------
        ModelError
            When a loss is not finite.
        """
        lowest = min((r.validation_loss for r in self.rows if r.validation_loss is not None), default=math.inf)
        self.rows.append(row)
        if row.validation_loss is None or row.validation_loss < lowest:
            self.kept_epoch = row.epoch
            self.best = {key: value.clone() for key, value in self.network.state_dict().items()}
        _refuse_divergence(row, fold)

    def save(self, run: Run, training: Side) -> None:
        """Write everything that the next epoch depends on to disk.

        Parameters
        ----------
        run : Run
        training : Side

        Raises
        ------
        InterruptedWrite
        """
        tensors = snapshot(self.network, self.optimiser) | {f"best.{key}": value for key, value in self.best.items()}
        values = {
            "identity": run.identity,
            "history": History(tuple(self.rows), self.kept_epoch, "").to_json(),
            "initialisation": self.initialisation.to_json(),
            "facts": training.ledger.facts.to_json(),
        }
        write_checkpoint(run.checkpoint_path, Checkpoint(tensors, values))

    def end(self, run: Run, watched: Side | None) -> tuple[Classifier, History]:
        """Make a classifier from the best weights.

        Parameters
        ----------
        run : Run
        watched : Side or None

        Returns
        -------
        Classifier
            On the host, in single precision.
        History
        """
        self.network.load_state_dict(self.best)
        classifier = Classifier.of(
            self.network.to("cpu", torch.float32),
            run.recipe,
            cohort_digest=run.cohort_digest,
            fold=run.fold,
            initialisation=self.initialisation,
            guards=run.guards,
            trained_on=run.trained_on,
        )
        card = replace(classifier.card, software=dict(classifier.card.software) | {"route": run.route})
        history = History(tuple(self.rows), self.kept_epoch, "" if watched is None else watched.name)
        return replace(classifier, card=card), history


def _refuse_divergence(row: EpochRow, fold: int) -> None:
    if not all(math.isfinite(loss) for loss in (row.training_loss, row.validation_loss) if loss is not None):
        raise ModelError(
            f"the loss of epoch {row.epoch} is not finite", where=f"fold {fold}", remedy="Lower learning_rate."
        )
