"""What one DICOM header says about the contrast of its images, wherever the standard or a converter puts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from spinefx.imaging.contrast_words import says_nothing
from spinefx.imaging.dicom_values import first_item, read_text, read_texts, read_time_ms, tag_of

__all__ = ["CONTRAST_TAGS", "SequenceWords", "Timing", "read_sequence_words", "read_timing"]

CONTRAST_TAGS = frozenset(
    {0x00080008, 0x00089208, 0x00089209, 0x00180010, 0x00180012, 0x00180020, 0x00180021, 0x00180022, 0x00180024}
    | {0x00180080, 0x00180081, 0x00180082, 0x00180086, 0x00181030, 0x00181048, 0x00189005, 0x00189008, 0x00189009}
    | {0x00189018, 0x00189025, 0x00189026, 0x00189079, 0x00189082, 0x00209170, 0x00209171}
)
# Functional groups that speak of contrast. A Legacy Converted Enhanced file keeps the classic elements of its source in
# the unassigned ones (PS3.3 C.7.6.16.2.25).
GROUPS = (
    "MRModifierSequence",
    "MRImagingModifierSequence",
    "MRTimingAndRelatedParametersSequence",
    "MREchoSequence",
    "MRImageFrameTypeSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
    "UnassignedSharedConvertedAttributesSequence",
)
SUPPRESSED = {"FAT": "FS", "FAT_AND_WATER": "FS", "SILICON_FAT": "FS", "WATER": "FAT", "SILICON_WATER": "FAT"}
EXCITED = {"WATER": "FS", "FAT": "FAT"}


@dataclass(frozen=True)
class Timing:
    """Times of one image, milliseconds; None where nothing states them.

    Parameters
    ----------
    repetition_time_ms, echo_time_ms, inversion_time_ms : float or None
    """

    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None


@dataclass(frozen=True)
class SequenceWords:
    """The words of one header that speak of contrast, those of Enhanced MR made classic.

    Parameters
    ----------
    scanning_sequence, sequence_variant, options : tuple of str
        Upper case.
    name : str
        Sequence names and acquisition contrast.
    description, protocol : str
        Series Description and Protocol Name, as written.
    contrast_agent : bool
        Whether an agent is named; words such as ``NONE`` and ``0`` name none.
    """

    scanning_sequence: tuple[str, ...]
    sequence_variant: tuple[str, ...]
    options: tuple[str, ...]
    name: str = field(repr=False)
    description: str = field(repr=False)
    protocol: str = field(repr=False)
    contrast_agent: bool


def read_timing(dataset: Dataset, shared: Dataset, own: Dataset | None = None) -> Timing:
    """Read the times of one image.

    Parameters
    ----------
    dataset, shared, own : pydicom Dataset
        The file's, its shared functional groups, and those of the frame.

    Returns
    -------
    Timing
        From the frame's groups where they state them, else the shared ones, else the top level.
    """
    if own is None:
        return Timing(
            read_time_ms(dataset, "RepetitionTime"),
            read_time_ms(dataset, "EchoTime"),
            read_time_ms(dataset, "InversionTime") or read_time_ms(dataset, "InversionTimes"),
        )
    places = [*_groups(own), *_groups(shared), *_groups(dataset), dataset]

    def first(*keywords: str) -> float | None:
        found = (read_time_ms(place, keyword) for place in places for keyword in keywords)
        return next((value for value in found if value), None)

    return Timing(
        first("RepetitionTime"), first("EffectiveEchoTime", "EchoTime"), first("InversionTimes", "InversionTime")
    )


def read_sequence_words(dataset: Dataset, shared: Dataset, own: Dataset | None = None) -> SequenceWords:
    """Collect the words of a header that speak of contrast.

    Parameters
    ----------
    dataset, shared, own : pydicom Dataset
        The file's, its shared functional groups, and those of its first frame.

    Returns
    -------
    SequenceWords
    """
    places = [dataset]
    if own is not None:
        places += [*_groups(dataset), *_groups(shared), *_groups(own)]

    # Most of these elements are absent: looking before reading halves the cost.
    present = [(place, frozenset(place.keys())) for place in places]

    def every(keyword: str) -> list[str]:
        tag = tag_of(keyword)
        return [word.upper() for place, tags in present if tag in tags for word in read_texts(place, keyword)]

    scanning, options = every("ScanningSequence"), every("ScanOptions")
    for echo in every("EchoPulseSequence"):
        scanning += {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(echo, [])
    scanning += ["EP"] if "YES" in every("EchoPlanarPulseSequence") else []
    scanning += ["IR"] if "YES" in every("InversionRecovery") else []
    options += [SUPPRESSED[word] for word in every("SpectrallySelectedSuppression") if word in SUPPRESSED]
    options += [EXCITED[word] for word in every("SpectrallySelectedExcitation") if word in EXCITED]
    # The numbers of a component or contrast are words of the standard: PHASE, STIR, DIFFUSION, T2_STAR.
    names = every("SequenceName") + every("PulseSequenceName") + every("AcquisitionContrast")
    component = ["PHASE_MAP"] if "PHASE" in every("ComplexImageComponent") else []
    return SequenceWords(
        scanning_sequence=tuple(dict.fromkeys(word for word in scanning if not says_nothing(word))),
        sequence_variant=tuple(dict.fromkeys(every("SequenceVariant"))),
        options=tuple(dict.fromkeys(word for word in options if not says_nothing(word))),
        name=" ".join(dict.fromkeys(names + component)),
        description=read_text(dataset, "SeriesDescription"),
        protocol=read_text(dataset, "ProtocolName"),
        contrast_agent=any(_names_agent(place) for place in places),
    )


def _names_agent(place: Dataset) -> bool:
    texts = [
        text for keyword in ("ContrastBolusAgent", "ContrastBolusIngredient") for text in read_texts(place, keyword)
    ]
    for item in (place.get("ContrastBolusAgentSequence") or []) if "ContrastBolusAgentSequence" in place else []:
        texts.append(read_text(item, "CodeMeaning") or "an agent")
    return any(not says_nothing(text) for text in texts)


def _groups(place: Dataset) -> Iterator[Dataset]:
    for keyword in GROUPS:
        if keyword in place:
            yield first_item(place, keyword)
