"""Find and name the vertebrae of a study, and write them for other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spinefx.errors import InputError, SpinefxError
from spinefx.files import write_bytes
from spinefx.imaging.nifti import is_nifti_name, sidecar_name, stem_of
from spinefx.imaging.rejection import search_objection
from spinefx.imaging.study import Study, open_study
from spinefx.imaging.volume import Volume
from spinefx.localisation.formats import spine_to_json, write_label_map, write_spine
from spinefx.localisation.index_lesion import LesionProposal, propose_lesions
from spinefx.localisation.searching import FoundSpine, Localiser, localiser_of, search_study, shipped_localiser
from spinefx.localisation.spine import LocatedSpine
from spinefx.vocabulary import Weighting

__all__ = ["LocatedStudy", "locate"]

MOST_PROPOSED = 3
RANKED = (
    "most_abnormal ranks the vertebrae by shape and signal, with weights learned on phantoms. It is a proposal for a "
    "reader, who decides whether any of them is a lesion."
)


@dataclass(frozen=True)
class LocatedStudy:
    """The vertebrae of a study.

    Parameters
    ----------
    spine : LocatedSpine
    series : str
        Name of the series that was searched, without identifiers; empty where none was.
    proposals : tuple of LesionProposal
        All vertebral bodies that could be measured, the most abnormal first.
    """

    spine: LocatedSpine
    series: str
    proposals: tuple[LesionProposal, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values.

        Returns
        -------
        dict
            Ready for JSON; no identifier of the patient in it.
        """
        values = spine_to_json(self.spine, self.series)
        if not self.proposals:
            return values
        return values | {"most_abnormal": [_proposal(one) for one in self.proposals[:MOST_PROPOSED]], "ranking": RANKED}


def locate(
    study: Path,
    *,
    out: Path | None = None,
    picture: Path | None = None,
    masks: Path | None = None,
    series: str | None = None,
    weights: Path | None = None,
    localiser: Localiser | None = None,
) -> LocatedStudy:
    """Find and name the vertebrae of a study.

    Parameters
    ----------
    study : Path
        Folder, file, ZIP, DICOMDIR or NIfTI of one patient. T2W is searched where there is one, else T1W or STIR.
    out : Path, optional
        Where to write the vertebrae: ``.json``, ``.mrk.json`` for 3D Slicer, or ``.tsv``.
    picture : Path, optional
        Where to write a picture (PNG) with squares and names.
    masks : Path, optional
        Where to write the label map (``.nii`` or ``.nii.gz``), with its lookup table and sidecar beside it.
    series : str, optional
        UID of a series to search instead of the automatic choice.
    weights : Path, optional
        Folder of a localiser that was taught further; by default the one that comes with spinefx is used.
    localiser : callable, optional
        What finds the vertebrae of a volume, instead of either.

    Returns
    -------
    LocatedStudy
        Without vertebrae, and with the reason in the notes, where the study shows no sagittal spine.

    Raises
    ------
    SpinefxError
        When the study cannot be read, the series named cannot be searched, or a file cannot be written.
    """
    _check_files(out, picture, masks)
    opened = open_study(study)
    if localiser is None:
        localiser = shipped_localiser() if weights is None else localiser_of(weights)
    found = search_study(opened, localiser, uid=series)
    proposals: tuple[LesionProposal, ...] = ()
    if found.volume is not None and found.classes is not None and found.spine.vertebrae:
        proposals = propose_lesions(found.classes, found.volume, found.spine, _volumes(opened, found))
    located = LocatedStudy(found.spine, found.label, proposals)
    _write(located, found, out, picture, masks)
    return located


def _volumes(study: Study, found: FoundSpine) -> Mapping[Weighting, Volume]:
    """Return the series that was searched and, in the same patient frame, one of the other weighting of T1W and T2W."""
    assert found.series is not None
    assert found.volume is not None
    volumes = {found.series.weighting: found.volume}
    frame = found.series.frame_of_reference
    for weighting in (Weighting.T1W, Weighting.T2W):
        partners = [
            one
            for one in study.series
            if one.weighting is weighting and frame and one.frame_of_reference == frame and not one.fat_suppressed
            if not search_objection(one) and not one.contrast_agent
        ]
        if weighting not in volumes and partners:
            try:
                volumes[weighting] = max(partners, key=lambda one: one.number_of_slices).load()
            except SpinefxError:
                continue  # the spine is found without it; only the ranking knows less
    return {weighting: volume for weighting, volume in volumes.items() if weighting in (Weighting.T1W, Weighting.T2W)}


def _check_files(out: Path | None, picture: Path | None, masks: Path | None) -> None:
    """Refuse files that would overwrite each other, before anything is read."""
    if masks is not None and not is_nifti_name(masks.name):
        raise InputError("the file for the masks has another ending", allowed=".nii or .nii.gz")
    written = [path for path in (out, picture) if path is not None]
    if out is not None and out.suffix.casefold() == ".tsv":
        written.append(out.with_suffix(".json"))
    if masks is not None:
        written += [masks, masks.with_name(sidecar_name(masks.name)), masks.with_name(f"{stem_of(masks.name)}.tsv")]
    twice = [path.name for path, many in Counter(path.resolve() for path in written).items() if many > 1]
    if twice:
        raise InputError(
            f"two of the files to write have the same name, {twice[0]}",
            remedy="The masks and the table have files with other endings beside them: give them another name.",
        )


def _write(
    located: LocatedStudy, found: FoundSpine, out: Path | None, picture: Path | None, masks: Path | None
) -> None:
    if out is not None:
        write_spine(out, located.spine, located.series, further=located.to_json())
    if found.volume is None:
        return
    if masks is not None:
        classes = np.zeros(found.volume.shape, np.int8) if found.classes is None else found.classes
        write_label_map(masks, classes, found.volume, located.spine)
    if picture is not None:
        from spinefx.localisation.picture import spine_picture  # deferred: most calls draw nothing

        first = located.proposals[0] if located.proposals else None
        marked = first.measures.position if first is not None and first.abnormal else None
        write_bytes(
            picture, spine_picture(found.volume, located.spine, found.classes, series=located.series, marked=marked)
        )


def _proposal(one: LesionProposal) -> dict[str, Any]:
    shape = one.measures.shape
    return {
        "rank": one.rank,
        "level": one.measures.level,
        "vertebra": one.measures.position,
        "score": one.score,
        "abnormal": one.abnormal,
        "reasons": list(one.reasons),
        "genant": shape.genant,
        "heights_mm": [round(side, 1) for side in (shape.anterior_mm, shape.middle_mm, shape.posterior_mm)],
        "first_slice": one.lesion.first_slice,
        "last_slice": one.lesion.last_slice,
    }
