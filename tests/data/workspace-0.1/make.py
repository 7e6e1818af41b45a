"""Write `workspace-0.1`: a small workspace as spinefx 0.1.0 of commit ab99942 wrote it, before its rooms were renamed.

Run with that version: ``python make_workspace.py FOLDER``. Voxels are drawn, not imaged.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
from spinefx.trial.aid import model_answers
from spinefx.trial.answer import Answer
from spinefx.trial.clock import Clock
from spinefx.trial.log import Log
from spinefx.trial.session import Phase, Sitting
from spinefx.trial.study import find_trial
from spinefx.verbs.patching import patch
from spinefx.verbs.reporting import report
from spinefx.verbs.training import train
from spinefx.verbs.trials import export, register

from spinefx.app.access import invite
from spinefx.cases.lesion import Box, Lesion
from spinefx.cases.reading import Reading, SignScores
from spinefx.imaging.nifti import write_nifti
from spinefx.imaging.volume import Volume
from spinefx.learning.recipe import Recipe
from spinefx.vocabulary import SIGN_IDENTIFIERS, Arm, Diagnosis, Score, TruthSource
from spinefx.workspace.layout import Workspace
from spinefx.workspace.records import (
    LesionRecord,
    Participant,
    write_lesions,
    write_participants,
    write_readings,
    write_refused_series,
    write_signs,
)

DESIGN = """\
name = "pilot"
design = "second_read"
readers = ["r1", "r2"]
experiment = "tiny"
seed = 5
"""
CASES, MALIGNANT = 6, 2
SHAPE, SPACING = (6, 14, 14), (4.0, 4.0, 4.0)
AFFINE = np.array([[-4.0, 0, 0, 10], [0, 0, 4, -26], [0, -4, 0, 26], [0, 0, 0, 1]])


def draw(workspace: Workspace) -> None:
    rng = np.random.default_rng(1)
    participants, lesions = [], []
    for number in range(1, CASES + 1):
        name, is_malignant = f"sub-{number:03d}", number <= MALIGNANT
        middle = np.linalg.norm(np.indices(SHAPE) - np.array([2.5, 6.5, 6.5])[:, None, None, None], axis=0) < 3
        for weighting, bright in (("T1w", 60), ("T2w", 140)):
            array = 100 + 40 * np.cos(np.indices(SHAPE)[1] * 1.1) + rng.normal(0, 8, SHAPE)
            array = np.where(middle & is_malignant, bright, array)
            volume = Volume(np.round(array).astype(np.float32), AFFINE, frame_of_reference="drawn")
            write_nifti(workspace.image(name, weighting), volume, {"VoxelSha256": volume.voxel_digest})
        diagnosis = Diagnosis.MALIGNANT if is_malignant else Diagnosis.BENIGN
        participants.append(Participant(name, diagnosis, TruthSource.PHANTOM, 60.0 + number, "F", "n/a"[:0]))
        lesions.append(LesionRecord(name, name, Lesion(Box((0.0, 0.0, 0.0), 30.0), 2, 3, "L1"), "a1"))
    write_participants(workspace, participants)
    write_lesions(workspace, lesions)
    write_refused_series(workspace, [("sub-001", "series 3, coronal", "not sagittal")])
    readings = [
        Reading(
            f"sub-{n:03d}",
            "senior",
            Arm.UNAIDED,
            Diagnosis.MALIGNANT if n in (1, 3) else Diagnosis.BENIGN,
            10.0 * n,
            5.0,
        )
        for n in range(1, CASES + 1)
    ]
    write_readings(workspace, readings)
    signs = [
        SignScores(
            f"sub-{n:03d}",
            "senior",
            {s: Score.YES if (n + k) % 3 else Score.NO for k, s in enumerate(SIGN_IDENTIFIERS)},
        )
        for n in range(1, CASES + 1)
    ]
    write_signs(workspace, signs)


def read(workspace: Workspace) -> None:
    """Reader r1 finishes two cases and opens a third."""
    log = Log.beside(workspace.log_file)
    study = find_trial(log, "pilot")
    answers = model_answers(workspace, study.model)
    sitting = Sitting(log, study, "r1", 1, Clock())
    signs = dict.fromkeys(SIGN_IDENTIFIERS, Score.NO)
    for number in range(2):
        handle = sitting.current().task.handle
        sitting.open(handle)
        sitting.save_draft(handle, {"confidence": "40"})
        sitting.seal(handle, Phase.FIRST, f"key{number}", Answer(Diagnosis.BENIGN, 40, signs, "first look"))
        sitting.reveal(handle, lambda case: answers[case])
        sitting.seal(handle, Phase.REVISED, f"rev{number}", Answer(Diagnosis.MALIGNANT, 60))
    sitting.open(sitting.current().task.handle)
    log.close()


root = Path(sys.argv[1])
workspace = Workspace.create(root)
draw(workspace)
recipe = Recipe.preset("quick").changed(
    name="tiny", folds=2, epochs=1, copies_benign=1, copies_malignant=1, registration="geometry"
)
patch(root, recipe.patch_settings)
train(root, recipe, device="cpu")
design = root.parent / "pilot.toml"
design.write_text(DESIGN)
register(root, design)
invite(root, "r1", ("reader",))
read(workspace)
export(root, "pilot", root.parent / "export")
report(root)
# What is rebuilt from the rest, and large.
shutil.rmtree(root / "derivatives")
shutil.rmtree(root / "experiments" / "tiny" / "models")
(root / "experiments" / "tiny" / "report").rename(root.parent / "report")
