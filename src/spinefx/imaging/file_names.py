"""Whose images NIfTI files are: by identifiers in their sidecars, else by what their names say beside the sequence."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from spinefx.imaging.contrast_words import names_a_sequence

__all__ = ["VolumeName", "people_of", "stem_of_person"]

# Sidecar keys that tell patients or visits apart, the surest first.
IDENTIFIERS = ("PatientID", "StudyInstanceUID")
# Words of image files that name neither person nor sequence.
OTHER_WORDS = frozenset(
    [
        "image",
        "img",
        "mri",
        "mr",
        "scan",
        "series",
        "ser",
        "run",
        "raw",
        "orig",
        "original",
        "reg",
        "registered",
        "resampled",
        "crop",
        "cropped",
        "iso",
        "n4",
        "bias",
        "corr",
        "corrected",
        "norm",
        "defaced",
        "nii",
        "gz",
        "seg",
        "label",
        "labels",
        "labeled",
        "mask",
        "msk",
        "roi",
        "manual",
        "rec",
        "desc",
        "ph",
        "real",
        "imaginary",
        "eq",
        "lr",
        "ap",
        "sm",
        "dicom",
    ]
)
SUFFIX = re.compile(r"e\d|i\d{5}|roi\d+|[a-z]", re.I)
ENTITY = re.compile(
    r"(?<![^_])(acq|run|rec|desc|echo|part|ce|dir|space|label|seg|mod|inv|res|den|chunk|task)-[^_]+(?=_|$)", re.I
)
# A person and a sequence that are run together: P1T1w, T2P1.
RUN_TOGETHER = re.compile(r"(?:t[12]w?)?(?P<person>.+?)(?:t[12]w?)?", re.I)
WORD = re.compile(r"(?:sub|ses)-[^\W_]+|[^\W_]+", re.I)
# A date and time, as converters write it into names; numbers after it are those of series.
LONG_NUMBER = re.compile(r"\d{8,}")


@dataclass(frozen=True)
class VolumeName:
    """A NIfTI file, as far as its owner goes.

    Parameters
    ----------
    stem : str
        Name without folders and extension.
    sidecar : mapping
    is_label_map : bool
    """

    stem: str
    sidecar: Mapping[str, object]
    is_label_map: bool


def people_of(volumes: Sequence[VolumeName]) -> list[str]:
    """Tell the persons apart whose volumes lie in one folder.

    Parameters
    ----------
    volumes : sequence of VolumeName

    Returns
    -------
    list of str
        One key for each volume, equal for volumes of one person: an identifier of the sidecar where every image has
        one, else what the names say beside the sequence (``P1`` of ``P1_T1w``). Label maps go with the only person.
    """
    images = [volume for volume in volumes if not volume.is_label_map]
    for key in IDENTIFIERS:
        values = [volume.sidecar.get(key) for volume in images]
        if images and all(isinstance(value, str) and value.strip() for value in values):
            break
    else:
        key = ""
    found = [
        str(volume.sidecar.get(key, "")).strip() if key else stem_of_person(volume).casefold() for volume in volumes
    ]
    persons = {person for person, volume in zip(found, volumes, strict=True) if not volume.is_label_map}
    if len(persons) <= 1:
        return [next(iter(persons), "")] * len(volumes)
    return found


def stem_of_person(volume: VolumeName) -> str:
    """Return what a file's name says beside the sequence, the series and the processing.

    Parameters
    ----------
    volume : VolumeName

    Returns
    -------
    str
        As written, such as ``P1`` of ``P1_T1w`` and of ``T1_TSE_SAG_P1``; empty where nothing is left.
    """
    name = unicodedata.normalize("NFC", volume.stem)
    text = ENTITY.sub(lambda match: " " * len(match.group()), name)
    kept = [word for word in WORD.finditer(text) if not _says_no_person(word.group())]
    number = str(volume.sidecar.get("SeriesNumber", ""))
    if kept and kept[-1].group().lstrip("0") == number:
        kept = kept[:-1]
    dated = next((place for place, word in enumerate(kept) if LONG_NUMBER.fullmatch(word.group())), len(kept))
    kept = [word for place, word in enumerate(kept) if place <= dated or not word.group().isdigit()]
    if not kept:
        return ""
    person = name[kept[0].start() : kept[-1].end()]
    if len(WORD.findall(person)) > len(kept):  # sequence words stand between
        person = "_".join(word.group() for word in kept)
    alone = RUN_TOGETHER.fullmatch(person) if len(kept) == 1 else None
    return alone["person"] if alone else person


def _says_no_person(word: str) -> bool:
    if re.match(r"(sub|ses)-", word, re.I):
        return False
    return word.casefold() in OTHER_WORDS or names_a_sequence(word) or (len(word) > 1 and bool(SUFFIX.fullmatch(word)))
