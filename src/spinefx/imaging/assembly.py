"""From sorted headers to studies: which images and series belong to one visit of one patient."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from spinefx.imaging import nifti
from spinefx.imaging.archive import Member, MemberReader
from spinefx.imaging.contrast import SequenceHeader, contrast_of, weighting_from_name
from spinefx.imaging.contrast_words import says_nothing
from spinefx.imaging.file_names import VolumeName, people_of, stem_of_person
from spinefx.imaging.grouping import Image, divide, join_single_images, rounding_of_images, without_copied_series
from spinefx.imaging.series import Instance, Series
from spinefx.imaging.stack import fault_of_stack, order_along_normal, plane_of_stack, stack_affine
from spinefx.imaging.volume import plane_of_normal

__all__ = ["Study", "dicom_studies", "nifti_studies", "pseudonym"]

# Ages of one patient on one visit differ by no more, however they were written.
SAME_AGE_YEARS = 1.0
COPIES = "images that are exact copies of others (same place, same pixels, another UID) were left out"


@dataclass(frozen=True)
class Study:
    """One examination of one patient.

    Parameters
    ----------
    uid : str
        Study Instance UID, kept to match tables and never shown.
    patient_key, folder_key : str
        Pseudonyms of the PatientID and of the name of the top folder inside the export; empty where there is none.
    sex : str or None
        ``F``, ``M`` or ``O``.
    age_years : float or None
        Whole years; 90 stands for 90 and above.
    series : tuple of Series
        Sorted by number, then UID.
    folder_keys : tuple of str
        Pseudonyms of what else may name the patient, the most specific first: the part of NIfTI names before the
        sequence, then the folders that hold all images, from the innermost to the top one.
    alias_keys : tuple of str
        Pseudonyms of the PatientID in other character sets, where it has letters beyond ASCII and none is declared.
    notes : tuple of str
        What was mended: copies left out, series joined, studies read as one. No identifiers.
    """

    uid: str = field(repr=False)
    patient_key: str
    folder_key: str
    sex: str | None
    age_years: float | None
    series: tuple[Series, ...]
    folder_keys: tuple[str, ...] = ()
    alias_keys: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """What its series show, each kind once."""
        return tuple(dict.fromkeys(f"{series.plane} {series.kind}" for series in self.series))


def pseudonym(identifier: str) -> str:
    """Return a key that matches a hospital identifier without revealing it.

    Parameters
    ----------
    identifier : str
        Surrounding white space and the form of Unicode (composed or decomposed, as macOS writes it) do not matter.

    Returns
    -------
    str
        The first 16 hexadecimal digits of its SHA-256; empty for an empty identifier.
    """
    text = unicodedata.normalize("NFKC", identifier).strip()
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] if text else ""


def dicom_studies(images: Iterable[Image], reader: MemberReader) -> tuple[list[Study], list[Image]]:
    """Sort DICOM images into studies.

    Parameters
    ----------
    images : iterable of Image
        Without copies.
    reader : MemberReader
        To compare the pixels of series that seem to be copies.

    Returns
    -------
    tuple
        The studies, and the images of series that repeat another one under other UIDs.
    """
    # The patient is part of the key, so that a study UID shared by two patients does not mix them.
    found: dict[tuple[str, str], list[Image]] = {}
    for image in images:
        found.setdefault((image.header.study_uid, image.header.patient_id.strip()), []).append(image)
    studies, copies = [], []
    for group in _visits(list(found.values())):
        study, copied = _study(group, reader)
        studies.append(study)
        copies += copied
    return studies, copies


def nifti_studies(volumes: Sequence[tuple[Member, nifti.NiftiHeader]]) -> list[Study]:
    """Sort NIfTI volumes into studies: one for each person in each folder.

    Parameters
    ----------
    volumes : sequence of (Member, NiftiHeader)

    Returns
    -------
    list of Study
    """
    folders: dict[str, list[tuple[Member, nifti.NiftiHeader]]] = {}
    for member, header in volumes:
        folders.setdefault(_subject_folder(member.name), []).append((member, header))
    studies = []
    for folder, group in folders.items():
        ordered = sorted(group, key=lambda pair: pair[0].name)
        names = [VolumeName(_stem(member), header.sidecar, header.is_label_map) for member, header in ordered]
        people = people_of(names)
        for person in dict.fromkeys(people):
            uid = f"nifti-{pseudonym(folder or 'top')}"
            uid += f"-{pseudonym(person)}" if len(set(people)) > 1 else ""
            own = [place for place, each in enumerate(people) if each == person]
            series = tuple(_nifti_series(uid, number, *ordered[place]) for number, place in enumerate(own, start=1))
            stems = dict.fromkeys(
                stem for place in own if not names[place].is_label_map and (stem := stem_of_person(names[place]))
            )
            paths = [ordered[place][0].name for place in own]
            keys = _folder_keys(paths, tuple(stems))
            studies.append(Study(uid, "", pseudonym(ordered[own[0]][0].top_folder), None, None, series, keys))
    return studies


def _visits(groups: Sequence[list[Image]]) -> list[list[Image]]:
    """Put together what one visit left in several studies: same patient, same frame of reference."""
    visits: list[list[Image]] = []
    for group in groups:
        first = group[0].header
        frames = {image.header.frame_of_reference_uid for image in group} - {""}
        for visit in visits:
            other = visit[0].header
            shared = frames & {image.header.frame_of_reference_uid for image in visit}
            known = first.patient_id.strip() and first.patient_id.strip() == other.patient_id.strip()
            ages = first.age_years, other.age_years
            same_age = None in ages or abs((ages[0] or 0) - (ages[1] or 0)) <= SAME_AGE_YEARS
            if known and shared and same_age and (first.sex == other.sex or not (first.sex and other.sex)):
                visit += group
                break
        else:
            visits.append(list(group))
    return visits


def _study(images: list[Image], reader: MemberReader) -> tuple[Study, list[Image]]:
    first = min(images, key=lambda image: (image.header.study_uid, image.header.sop_uid, image.frame.number))
    found: dict[str, list[Image]] = {}
    for image in images:
        found.setdefault(image.header.series_uid, []).append(image)
    found, joined = join_single_images(found)
    ordered = sorted(found.items(), key=lambda pair: (pair[1][0].header.series_number or 0, pair[0]))
    stacks = [(uid, stack) for uid, group in ordered for stack in _stacks(group)]
    kept, copies = without_copied_series([stack for _, stack in stacks], reader)
    uids = {id(stack): uid for uid, stack in stacks}
    parts: dict[str, list[list[Image]]] = {}
    for stack in kept:
        parts.setdefault(uids[id(stack)], []).append(stack)
    exam_wide = _exam_wide_protocol(found.values())
    made = [
        _one_series(uid if len(own) == 1 else f"{uid}#{part}", order_along_normal(stack), exam_wide)
        for uid, own in parts.items()
        for part, stack in enumerate(own, start=1)
    ]
    ages = {image.header.age_years for image in images} - {None}
    sexes = {image.header.sex for image in images} & {"F", "M", "O"}
    visits = len({image.header.study_uid for image in images})
    dropped = len(copies) + sum(len(image.copies) for image in images)
    notes = [f"{dropped} {COPIES}"] if dropped else []
    notes += [f"{joined} series of one image each were joined: same description and geometry"] if joined else []
    notes += [f"{visits} studies of this patient share a frame of reference and were read as one"] if visits > 1 else []
    study = Study(
        uid=first.header.study_uid,
        patient_key=pseudonym(first.header.patient_id),
        folder_key=pseudonym(min(image.member.top_folder for image in images)),
        sex=sexes.pop() if len(sexes) == 1 else None,
        age_years=first.header.age_years if len(ages) != 1 else ages.pop(),
        series=tuple(sorted(made, key=_series_order)),
        folder_keys=_folder_keys([image.member.name for image in images]),
        alias_keys=tuple(pseudonym(alias) for alias in first.header.patient_aliases),
        notes=tuple(notes),
    )
    return study, copies


def _folder_keys(names: Iterable[str], stems: Sequence[str] = ()) -> tuple[str, ...]:
    """Return pseudonyms of what may name a patient: stems of file names, then the common folders, innermost first."""
    paths = [name.split("/")[:-1] for name in names]
    common = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    texts = [*stems, *(re.sub(r"[\W_]*\d{8,}$", "", stem) for stem in stems), *reversed(common)]
    forms = (form for text in texts for form in (text, re.sub(r"(?i)^sub-", "", text)))
    return tuple(dict.fromkeys(pseudonym(form) for form in forms if form))


def _exam_wide_protocol(groups: Iterable[Sequence[Image]]) -> bool:
    """Return whether one protocol name is on several series of different kinds: it is then the whole exam's."""
    heads = [group[0].header for group in groups if group[0].header.modality == "MR"]
    names = {head.words.protocol for head in heads}
    return len(heads) > 1 and len(names) == 1 and len({head.words.description for head in heads}) > 1


def _series_order(series: Series) -> tuple[bool, int, str]:
    return series.number is None, series.number or 0, series.uid


def _stacks(images: list[Image]) -> list[list[Image]]:
    # A rule settles every tie, never the order of files, so that shuffled files result in the same series.
    stacks = divide(sorted(images, key=lambda image: (image.header.sop_uid, image.frame.number)))
    return sorted(stacks, key=_stack_order)


def _stack_order(stack: list[Image]) -> tuple[float, tuple[str, ...], int, int, str]:
    frame, first = stack[0].frame, stack[0].header.sop_uid
    return (
        frame.echo_time_ms or 0.0,
        frame.image_type,
        frame.acquisition or 0,
        frame.temporal_position or 0,
        first,
    )


def _one_series(uid: str, images: list[Image], exam_wide: bool) -> Series:
    header, frame = images[0].header, images[0].frame
    words = header.words
    image_type = tuple(word.upper() for word in frame.image_type)
    # A protocol that names the whole exam ("L-SPINE W/WO CONTRAST") says nothing about one series of it.
    names = (words.description,) if exam_wide and words.description else (words.description, words.protocol)
    shown = contrast_of(
        SequenceHeader(
            repetition_time_ms=frame.repetition_time_ms,
            echo_time_ms=frame.echo_time_ms,
            inversion_time_ms=frame.inversion_time_ms,
            scanning_sequence=words.scanning_sequence,
            sequence_variant=words.sequence_variant,
            image_type=image_type,
            options=words.options,
            sequence_name=words.name,
            names=names,
            contrast_agent=words.contrast_agent,
            named=weighting_from_name(" ".join(names)),
        )
    )
    rounding = rounding_of_images(images)
    step = np.linalg.norm(stack_affine(images, rounding)[:3, :3], axis=0)
    fault = fault_of_stack(images, rounding)
    thickness = header.slice_thickness_mm if fault or len(images) == 1 else None
    return Series(
        uid=uid,
        study_uid=header.study_uid,
        number=header.series_number,
        contrast=shown,
        plane=plane_of_stack(images),
        repetition_time_ms=frame.repetition_time_ms,
        echo_time_ms=frame.echo_time_ms,
        inversion_time_ms=frame.inversion_time_ms,
        flip_angle_deg=frame.flip_angle_deg,
        contrast_agent=words.contrast_agent,
        modality=header.modality,
        body_part=header.body_part,
        description="\n".join(names),
        image_type=image_type,
        shape=images[0].shape,
        spacing_mm=(float(thickness or step[0]), float(step[1]), float(step[2])),
        frame_of_reference=pseudonym(header.frame_of_reference_uid),
        instances=tuple(_instance(image) for image in images),
        rounding_mm=rounding,
        fault=fault,
    )


def _instance(image: Image) -> Instance:
    header = image.header
    return Instance(
        header.sop_uid, image.frame.number, image.shape, image.affine, image.member, header.pixels, image.copies
    )


def _subject_folder(name: str) -> str:
    """Return the folder that holds a study: that of a BIDS subject and session, else the file's own."""
    bids = re.match(r"(?:.*/)?sub-[^/]+(?:/ses-[^/]+)?(?=/)", name)
    return bids.group() if bids else name.rpartition("/")[0]


def _stem(member: Member) -> str:
    return nifti.stem_of(member.name.rpartition("/")[2])


def _nifti_series(study_uid: str, number: int, member: Member, header: nifti.NiftiHeader) -> Series:
    uid = f"nifti-{pseudonym(member.name)}"
    slices, rows, columns = header.volume_shape
    normal = header.affine[:3, 0] / np.linalg.norm(header.affine[:3, 0])
    instances = []
    for index in range(slices):
        affine = np.column_stack([np.append(normal, 0), *header.affine[:, 1:].T])
        affine[:3, 3] += index * header.affine[:3, 0]
        instances.append(Instance(f"{uid}.{index}", index, (rows, columns), affine, member))
    person = stem_of_person(VolumeName(_stem(member), header.sidecar, header.is_label_map))
    names = (_stem(member).replace(person, " ", 1), header.text("SeriesDescription"), header.text("ProtocolName"))
    agents = (header.text("ContrastBolusIngredient"), header.text("ContrastBolusAgent"))
    agent = any(not says_nothing(text) for text in agents)
    shown = contrast_of(
        SequenceHeader(
            repetition_time_ms=header.repetition_time_ms,
            echo_time_ms=header.echo_time_ms,
            inversion_time_ms=header.inversion_time_ms,
            scanning_sequence=header.words("ScanningSequence"),
            sequence_variant=header.words("SequenceVariant"),
            image_type=header.words("ImageType"),
            options=header.words("ScanOptions"),
            sequence_name=" ".join(header.text(key) for key in SEQUENCE_KEYS),
            names=names,
            contrast_agent=agent,
            named=header.weighting_from_name,
        )
    )
    spacing = np.linalg.norm(header.affine[:3, :3], axis=0)
    return Series(
        uid=uid,
        study_uid=study_uid,
        number=number,
        contrast=shown,
        plane=plane_of_normal(normal),
        repetition_time_ms=header.repetition_time_ms,
        echo_time_ms=header.echo_time_ms,
        inversion_time_ms=header.inversion_time_ms,
        flip_angle_deg=header.flip_angle_deg,
        contrast_agent=agent,
        modality="SEG" if header.is_label_map else header.text("Modality") or "MR",
        body_part=header.text("BodyPartExamined").upper(),
        description="\n".join(names),
        image_type=header.words("ImageType"),
        shape=(rows, columns),
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        frame_of_reference=header.frame_of_reference,
        instances=tuple(instances),
        nifti=header,
    )


SEQUENCE_KEYS = (
    "SequenceName",
    "PulseSequenceName",
    "PulseSequenceDetails",
    "AcquisitionContrast",
    "PulseSequenceType",
)
