"""What a cross-validation is made of: checked before training, and named by digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.cases.patch import PatchStack
from spinefx.errors import FileError, InputError, WorkspaceError
from spinefx.files import canonical_json, digest_of, write_text
from spinefx.learning.duplicates import TWIN_CORRELATION, find_twins
from spinefx.learning.folds import Fold
from spinefx.learning.leaks import AuditCheck
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import Diagnosis

__all__ = ["check_inputs", "check_pixels", "claim_folder", "diagnosis_by_participant", "digest_of_data"]

SCHEMA = "spinefx cross-validation 1"
IDENTITY_FILE = "crossvalidation.json"
START_AFRESH = "Give the new experiment another name, or remove the old one."


def check_inputs(
    stacks: Sequence[PatchStack], truth: Mapping[str, Diagnosis], recipe: Recipe, weights: Path | None
) -> None:
    """Refuse data that a recipe cannot be trained on.

    Parameters
    ----------
    stacks : sequence of PatchStack
    truth : mapping of str to Diagnosis
        By case.
    recipe : Recipe
    weights : Path or None
        Local ImageNet file.

    Raises
    ------
    InputError
        When cases repeat, truth is missing, patches were cut with other settings, or the recipe has no use for the
        file.
    """
    case_ids = [stack.case_id for stack in stacks]
    doubled = sorted({case for case in case_ids if case_ids.count(case) > 1})
    if doubled:
        raise InputError("patches of one case twice", where=doubled[0], allowed="each case once")
    missing = [case for case in case_ids if case not in truth]
    if missing:
        raise InputError(
            f"no diagnosis for {len(missing)} cases (first: {missing[0]})",
            remedy="Add their diagnoses, or leave them out.",
        )
    for stack in stacks:
        if stack.settings != recipe.patch_settings:
            raise InputError(
                f"patches cut with {stack.settings.to_json()}",
                where=stack.case_id,
                allowed=f"{recipe.patch_settings.to_json()}, as the recipe says",
                remedy="Run `spinefx patch` with this recipe.",
            )
    if weights is not None and recipe.initialisation == "random":
        raise InputError(
            "an ImageNet file for a recipe with initialisation = 'random'",
            allowed="no file, or initialisation = 'imagenet'",
        )


def diagnosis_by_participant(stacks: Sequence[PatchStack], truth: Mapping[str, Diagnosis]) -> dict[str, Diagnosis]:
    """Return one diagnosis for each participant: malignant where any of their cases is.

    Parameters
    ----------
    stacks : sequence of PatchStack
    truth : mapping of str to Diagnosis
        By case.

    Returns
    -------
    dict of str to Diagnosis
        By participant.
    """
    diagnoses: dict[str, Diagnosis] = {}
    for stack in stacks:
        if diagnoses.get(stack.participant_id) != Diagnosis.MALIGNANT:
            diagnoses[stack.participant_id] = truth[stack.case_id]
    return diagnoses


def digest_of_data(stacks: Sequence[PatchStack], truth: Mapping[str, Diagnosis]) -> str:
    """Return a digest of all voxels, their places and the truth.

    Parameters
    ----------
    stacks : sequence of PatchStack
        In a fixed order.
    truth : mapping of str to Diagnosis
        By case.

    Returns
    -------
    str
    """
    found = hashlib.sha256()
    for stack in stacks:
        found.update(canonical_json([stack.case_id, stack.participant_id, stack.slices, truth[stack.case_id]]).encode())
        arrays: list[NDArray[Any]] = [source.voxels for source in stack.sources]
        for array in (*arrays, stack.matrices):
            found.update(canonical_json([str(array.dtype), array.shape]).encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return f"sha256:{found.hexdigest()}"


def claim_folder(folder: Path, recipe: Recipe, cohort_digest: str, data_digest: str, weights: Path | None) -> None:
    """Record what an experiment is, or refuse a folder that holds another.

    Parameters
    ----------
    folder : Path
    recipe : Recipe
    cohort_digest, data_digest : str
    weights : Path or None
        Local ImageNet file.

    Raises
    ------
    WorkspaceError
        Saying what differs.
    FileError
        When the weights file cannot be read.
    """
    path = folder / IDENTITY_FILE
    identity = {
        "schema": SCHEMA,
        "recipe": recipe.to_mapping(),
        "cohort_digest": cohort_digest,
        "data_digest": data_digest,
        "imagenet_digest": "" if weights is None else _file_digest(weights),
    }
    try:
        before = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        write_text(path, json.dumps(identity, indent=2, ensure_ascii=False) + "\n")
        return
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"an unreadable {IDENTITY_FILE}", where=folder.name, remedy=START_AFRESH) from error
    changed = [key for key in identity if before.get(key) != identity[key] and key != "recipe"]
    was, now = before.get("recipe", {}), identity["recipe"]
    assert isinstance(now, dict)
    keys = [*now, *(key for key in was if key not in now)]
    changed += [f"{key} (was {was.get(key)!r}, now {now.get(key)!r})" for key in keys if was.get(key) != now.get(key)]
    if changed:
        raise WorkspaceError(
            f"an experiment that differs in {', '.join(changed)}", where=folder.name, remedy=START_AFRESH
        )


def _file_digest(path: Path) -> str:
    try:
        return digest_of(path.read_bytes())
    except OSError as error:
        raise FileError("the weights file cannot be read", where=path.name) from error


def check_pixels(stacks: Sequence[PatchStack], folds: Sequence[Fold]) -> AuditCheck:
    """Search for one patient under two names on two sides of any fold.

    Parameters
    ----------
    stacks : sequence of PatchStack
    folds : sequence of Fold

    Returns
    -------
    AuditCheck
    """
    twins = find_twins(stacks)
    findings = [
        f"{twin.first} and {twin.second} show the same pixels (correlation {twin.correlation:.4f}, "
        f"above {TWIN_CORRELATION}) on two sides of a fold"
        for twin in twins
        if twin.is_copy
        and any(fold.side_of(twin.first_participant) != fold.side_of(twin.second_participant) for fold in folds)
    ]
    slices = sum(len(stack.slices) for stack in stacks)
    worst = max((twin.correlation for twin in twins), default=None)
    return AuditCheck("near-duplicate pixels across folds", slices * (slices - 1) // 2, tuple(findings), worst=worst)
