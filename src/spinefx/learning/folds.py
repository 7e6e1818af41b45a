"""Assign patients to the folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spinefx.errors import RecipeError
from spinefx.learning.random_streams import Purpose, stream
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import Diagnosis

__all__ = ["Fold", "split_folds"]


@dataclass(frozen=True)
class Fold:
    """The participants on each side of one fold.

    Parameters
    ----------
    number : int
        From 1.
    training : tuple of str
        Participants whose slices change the weights.
    inner : tuple of str
        Participants whose loss chooses the epoch; empty where the recipe has no inner split.
    test : tuple of str
        Participants whose slices are reported.
    """

    number: int
    training: tuple[str, ...]
    inner: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name of the fold in folders and messages."""
        return f"fold-{self.number:02d}"

    def side_of(self, participant_id: str) -> str:
        """Return the side that a participant is on.

        Parameters
        ----------
        participant_id : str

        Returns
        -------
        str
            ``training``, ``inner``, ``test``, or empty for someone else.
        """
        sides = {"training": self.training, "inner": self.inner, "test": self.test}
        return next((name for name, members in sides.items() if participant_id in members), "")


def split_folds(truth: Mapping[str, Diagnosis], recipe: Recipe) -> tuple[Fold, ...]:
    """Assign participants to folds, stratified by diagnosis (protocol rows 1 and 2).

    Parameters
    ----------
    truth : mapping of str to Diagnosis
        By participant, in any order.
    recipe : Recipe

    Returns
    -------
    tuple of Fold
        Every participant is on the test side of exactly one.

    Raises
    ------
    RecipeError
        When a diagnosis has fewer participants than there are folds, or too few for an inner split.
    """
    tests = _deal(truth, recipe)
    folds = []
    for number, test in enumerate(tests, start=1):
        rest = {participant: truth[participant] for participant in truth if participant not in test}
        inner = _inner_split(rest, recipe, number) if recipe.early_stopping_on == "inner_split" else set()
        training = sorted(set(rest) - inner)
        folds.append(Fold(number, tuple(training), tuple(sorted(inner)), tuple(sorted(test))))
    return tuple(folds)


def _deal(truth: Mapping[str, Diagnosis], recipe: Recipe) -> list[set[str]]:
    rng = stream(recipe.seed, Purpose.FOLDS)
    tests: list[set[str]] = [set() for _ in range(recipe.folds)]
    for diagnosis in (Diagnosis.MALIGNANT, Diagnosis.BENIGN):
        members = _members(truth, diagnosis)
        if len(members) < recipe.folds:
            raise RecipeError(
                f"folds = {recipe.folds} for {len(members)} {diagnosis} patients",
                where="recipe",
                allowed=f"2 to {len(members)} folds here"
                if len(members) > 1
                else "two or more patients of each diagnosis",
                remedy="Lower folds in the recipe, or add patients.",
            )
        shuffled = [members[place] for place in rng.permutation(len(members))]
        # The second class is dealt from the last fold backwards, so that remainders do not all go to the first folds.
        order = range(recipe.folds) if diagnosis == Diagnosis.MALIGNANT else range(recipe.folds - 1, -1, -1)
        for start, fold in enumerate(order):
            tests[fold].update(shuffled[start :: recipe.folds])
    return tests


def _inner_split(rest: Mapping[str, Diagnosis], recipe: Recipe, fold: int) -> set[str]:
    rng = stream(recipe.seed, Purpose.INNER_SPLIT, fold=fold)
    inner: set[str] = set()
    for diagnosis in (Diagnosis.MALIGNANT, Diagnosis.BENIGN):
        members = _members(rest, diagnosis)
        count = max(1, round(len(members) * recipe.inner_fraction))
        if count >= len(members):
            raise RecipeError(
                f"an inner split of {len(members)} {diagnosis} training patients",
                where="recipe",
                allowed="two or more patients of each diagnosis beside the test fold",
                remedy="Lower folds, set early_stopping_on = 'none', or add patients.",
            )
        inner.update(members[place] for place in rng.permutation(len(members))[:count])
    return inner


def _members(truth: Mapping[str, Diagnosis], diagnosis: Diagnosis) -> Sequence[str]:
    return sorted(participant for participant, answer in truth.items() if answer == diagnosis)
