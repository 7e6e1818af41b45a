"""Teach the localiser further on a workspace's own boxes or label maps, cross-validated by participant."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import GeometryError, InputError, MissingPackage
from spinefx.files import digest_of
from spinefx.imaging.nifti import read_nifti
from spinefx.imaging.volume import Volume
from spinefx.localisation.formats import centres_of_labels, label_codes
from spinefx.localisation.inference import CARD_FILE, shipped_weights
from spinefx.localisation.searching import Localiser, localiser_of
from spinefx.localisation.spine import LocatedSpine
from spinefx.statistics.table import ResultTable
from spinefx.tables.writing import write_tsv
from spinefx.vocabulary import MARKED
from spinefx.workspace.layout import Workspace, write_json
from spinefx.workspace.records import read_lesions
from spinefx.workspace.volumes import read_image

try:
    from spinefx.localisation.fitting import Teaching, fit
    from spinefx.localisation.network import LocaliserNetwork
    from spinefx.localisation.samples import TeachingStack, known_centres, labelled_stack
    from spinefx.localisation.storage import read_network, write_localiser
except ModuleNotFoundError as error:
    raise MissingPackage.for_training(error.name or "torch") from error

__all__ = ["COLUMNS", "SHIPPED", "HeldOut", "TaughtLocaliser", "train_localiser"]

SHIPPED = "shipped"
TABLE_FILE = "crossvalidation.tsv"
FEWEST = 2
# A vertebra that is found further away than this is another one.
FARTHEST_MM = 12.0
# Low, because a group's boxes are few, and what the network knows of everything else should stay.
LEARNING_RATE = 3e-4
MEANINGS = {
    "participant_id": {"Description": "Participant, held out of the teaching of the fold's localiser"},
    "fold": {"Description": "Fold whose localiser was taught without the participant"},
    "truth": {"Description": "What is known", "Levels": {"box": "the centre of a box", "labels": "a label map"}},
    "vertebrae": {"Description": "Number of vertebrae whose centre is known"},
    "before_mm": {"Description": "Median distance in plane to the centres found by the first localiser", "Units": "mm"},
    "after_mm": {"Description": "The same for the localiser that was taught further", "Units": "mm"},
    "missed_before": {"Description": f"Vertebrae with no found centre within {FARTHEST_MM:g} mm, before"},
    "missed_after": {"Description": "The same, after"},
    "found_before": {"Description": "Number of vertebrae found in the whole series, before"},
    "found_after": {"Description": "The same, after; many more or fewer say that teaching did harm elsewhere"},
}

COLUMNS = tuple(MEANINGS)


@dataclass(frozen=True)
class HeldOut:
    """How far the centres of one participant were missed, before and after teaching on the others.

    Parameters
    ----------
    participant_id : str
    fold : int
        Counted from 1.
    truth : {'box', 'labels'}
    before_mm, after_mm : tuple of float
        Distance in plane from each known centre to the nearest one that was found; infinite where none lies within
        :data:`FARTHEST_MM`.
    found : (int, int)
        How many vertebrae were found in the whole series, before and after.
    """

    participant_id: str
    fold: int
    truth: str
    before_mm: tuple[float, ...]
    after_mm: tuple[float, ...]
    found: tuple[int, int]

    @property
    def row(self) -> tuple[object, ...]:
        """The participant's row of ``crossvalidation.tsv``."""
        medians = (_median_mm(self.before_mm), _median_mm(self.after_mm))
        missed = (_missed_of(self.before_mm), _missed_of(self.after_mm))
        shown = [None if one is None else f"{one:.2f}" for one in medians]
        return (self.participant_id, self.fold, self.truth, len(self.before_mm), *shown, *missed, *self.found)


@dataclass(frozen=True)
class TaughtLocaliser:
    """A localiser that was taught further, and how well that went.

    Parameters
    ----------
    folder : Path
        For ``spinefx locate --weights``.
    held_out : tuple of HeldOut
        One for each participant, in their order.
    """

    folder: Path
    held_out: tuple[HeldOut, ...]

    @property
    def sentence(self) -> str:
        """The cross-validation in words."""
        before = [mm for one in self.held_out for mm in one.before_mm]
        after = [mm for one in self.held_out for mm in one.after_mm]
        return (
            f"{len(before)} centres of {len(self.held_out)} held-out participants: before, {_in_words(before)}; "
            f"after, {_in_words(after)}"
        )

    @property
    def table(self) -> ResultTable:
        """The cross-validation by participant."""
        rows = tuple(one.row for one in self.held_out)
        return ResultTable("crossvalidation", "Distance to the known centres, mm in plane", COLUMNS, rows)


@dataclass(frozen=True, eq=False)
class _Known:
    participant_id: str
    truth: str
    volume: Volume
    centres_mm: Mapping[str, NDArray[np.float64]]
    stack: TeachingStack


def train_localiser(
    root: Path,
    *,
    start: str | Path = SHIPPED,
    labels: Path | None = None,
    out: Path | None = None,
    folds: int = 5,
    steps: int = 150,
    seed: int = 15,
    progress: Callable[[str, int, int], None] | None = None,
) -> TaughtLocaliser:
    """Teach a localiser further on the T2W series of a workspace.

    Parameters
    ----------
    root : Path
        Workspace whose participants have marked boxes, or label maps in ``labels``.
    start : str or Path
        ``shipped``, or the folder of another localiser.
    labels : Path, optional
        Folder with label maps, ``<participant>_dseg.nii.gz`` on the grid of the T2W series, coded as ``spinefx locate
        --masks`` writes them. A participant without one teaches by the centres of their boxes alone.
    out : Path, optional
        Folder to create for the localiser and the table of the cross-validation; by default ``localiser`` in the
        workspace.
    folds : int
        Parts into which the participants are divided; each is held out once.
    steps : int
        Steps of the optimiser for each fold, and for the final localiser, which learns from all participants.
    seed : int
        Everything that is drawn follows from it.
    progress : callable, optional
        Called with ("teaching", done, total).

    Returns
    -------
    TaughtLocaliser

    Raises
    ------
    InputError
        For fewer than two participants with a known centre, a number out of range, or a folder that holds a localiser.
    GeometryError
        When a label map lies on another grid than its image.
    ModelError
        When the first localiser cannot be read.
    SpinefxError
        When an image cannot be read, or a file cannot be written.
    """
    workspace = Workspace.open(root)
    first = shipped_weights() if str(start) == SHIPPED else Path(start)
    folder = out or workspace.root / "localiser"
    if (folder / CARD_FILE).exists():
        raise InputError("the folder holds a localiser already", where=folder.name, remedy="Give another --out.")
    if folds < FEWEST:
        raise InputError(f"{folds} folds", allowed="2 or more")
    known = _known_of(workspace, labels)
    if len(known) < FEWEST:
        raise InputError(
            f"{len(known)} participants with a known centre",
            allowed=f"{FEWEST} or more",
            remedy="Mark boxes on the page Annotate, or give label maps.",
        )
    teaching = Teaching(steps=steps, learning_rate=LEARNING_RATE, seed=seed)
    before, parts = localiser_of(first), min(folds, len(known))
    held_out: dict[str, HeldOut] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for fold in range(parts):
            out_of_fold = known[fold::parts]
            rest = [one for one in known if one not in out_of_fold]
            weights = Path(scratch) / f"fold-{fold + 1}"
            write_localiser(_taught(rest, first, teaching, weights), weights, {})
            after = localiser_of(weights)
            held_out |= {one.participant_id: _compare(one, fold + 1, before, after) for one in out_of_fold}
            if progress is not None:
                progress("teaching", fold + 1, parts + 1)
        network = _taught(known, first, teaching, Path(scratch) / "whole")
    taught = TaughtLocaliser(folder, tuple(held_out[one.participant_id] for one in known))
    write_tsv(folder / TABLE_FILE, COLUMNS, [one.row for one in taught.held_out])
    write_json(folder / TABLE_FILE.replace(".tsv", ".json"), MEANINGS)
    write_localiser(network, folder, _taught_with(known, first, teaching, taught))
    if progress is not None:
        progress("teaching", parts + 1, parts + 1)
    return taught


def _taught(known: Sequence[_Known], first: Path, teaching: Teaching, checkpoints: Path) -> LocaliserNetwork:
    return fit([one.stack for one in known], teaching, checkpoints, start=read_network(first))


def _known_of(workspace: Workspace, labels: Path | None) -> tuple[_Known, ...]:
    """Read what is known of every participant: a label map, or else the centres of the boxes."""
    boxes: dict[str, dict[str, NDArray[np.float64]]] = {}
    for record in read_lesions(workspace):
        centres = boxes.setdefault(record.participant_id, {})
        # Only S1 and C2 teach more than that there is a body; a second box of a level is a vertebra of its own.
        level = record.lesion.level
        name = level if level and level not in centres else f"box {len(centres) + 1}"
        centres[name] = np.array(record.lesion.box.centre_mm)
    known = []
    for participant in (one.name for one in workspace.participant_folders()):
        path = None if labels is None else labels / f"{participant}_dseg.nii.gz"
        if path is not None and path.is_file():
            volume, codes = read_image(workspace, participant, MARKED), read_nifti(path)
            if codes.shape != volume.shape or not np.allclose(codes.affine, volume.affine, atol=1e-3):
                raise GeometryError("a label map on another grid than its T2W image", where=path.name)
            table = label_codes()
            centres = centres_of_labels(codes, table)
            stack = labelled_stack(volume, codes, table, centres)
            known += [_Known(participant, "labels", volume, centres, stack)] if centres else []
        elif participant in boxes:
            volume, centres = read_image(workspace, participant, MARKED), boxes[participant]
            known.append(_Known(participant, "box", volume, centres, known_centres(volume, centres)))
    return tuple(known)


def _compare(one: _Known, fold: int, before: Localiser, after: Localiser) -> HeldOut:
    spines = [localiser(one.volume)[0] for localiser in (before, after)]
    old, new = (_distances_mm(one, spine) for spine in spines)
    found = len(spines[0].vertebrae), len(spines[1].vertebrae)
    return HeldOut(one.participant_id, fold, one.truth, old, new, found)


def _distances_mm(one: _Known, spine: LocatedSpine) -> tuple[float, ...]:
    """Return the distance in plane from each known centre to the nearest that was found; infinite beyond reach."""
    plane = one.volume.directions[:, 1:]
    found = np.array([vertebra.centre_mm for vertebra in spine.vertebrae]).reshape(-1, 3) @ plane
    nearest = [
        float(np.linalg.norm(found - centre @ plane, axis=1).min(initial=np.inf)) for centre in one.centres_mm.values()
    ]
    return tuple(mm if mm <= FARTHEST_MM else np.inf for mm in nearest)


def _median_mm(distances_mm: Sequence[float]) -> float | None:
    """Return the median of the distances that are finite; None where there is none."""
    found = [mm for mm in distances_mm if np.isfinite(mm)]
    return float(np.median(found)) if found else None


def _missed_of(distances_mm: Sequence[float]) -> int:
    """Return how many distances are infinite."""
    return sum(not np.isfinite(mm) for mm in distances_mm)


def _in_words(distances_mm: Sequence[float]) -> str:
    median = _median_mm(distances_mm)
    return f"{'no median' if median is None else f'median {median:.2f} mm'}, {_missed_of(distances_mm)} missed"


def _taught_with(
    known: Sequence[_Known], first: Path, teaching: Teaching, taught: TaughtLocaliser
) -> dict[str, object]:
    return {
        "images": f"T2W series of {len(known)} participants of a workspace",
        "label_maps": sum(one.truth == "labels" for one in known),
        "start": digest_of((first / CARD_FILE).read_bytes()),
        "teaching": asdict(teaching),
        "crossvalidation": taught.sentence,
    }
