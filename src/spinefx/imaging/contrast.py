"""Which contrast an MR series shows, by its physics: weighting, fat suppression, gradient echo."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from spinefx.vocabulary import Weighting

__all__ = ["Contrast", "contrast_of", "fat_suppressed", "gradient_echo", "weighting_from_name", "weighting_from_timing"]

# Spin echo T1W of the spine uses a TR of 300 to 900 ms; 1200 ms allows for many slices at 3 T.
T1W_LONGEST_REPETITION_MS = 1200.0
T1W_LONGEST_ECHO_MS = 35.0
# Inversion-prepared T1W (T1 FLAIR, 3 T): CSF is nulled at an intermediate inversion time.
T1W_INVERSION_MS = (500.0, 1300.0)
T2W_SHORTEST_REPETITION_MS = 1500.0
T2W_SHORTEST_ECHO_MS = 60.0
T2W_LONGEST_ECHO_MS = 400.0
# Fat is nulled near 0.69 times its T1: from 100 ms at 0.2 T to 250 ms at 3 T.
FAT_NULL_MS = (80.0, 300.0)

# A relaxation map or a T2*-weighted image is not a T1W or T2W image.
T1_NAME = re.compile(r"(?<![a-z0-9])t1(?![0-9*]|rho|map|-map)", re.I)
T2_NAME = re.compile(r"(?<![a-z0-9])t2(?![0-9*]|star|map|-map)", re.I)
STIR_NAME = re.compile(r"(?<![a-z])(stir|tirm)(?![a-z])", re.I)
FAT_SUPPRESSED_NAME = re.compile(r"(?<![a-z])(fs|fatsat|fat sat|spair|spir|dixon w|water)(?![a-z])", re.I)


@dataclass(frozen=True)
class Contrast:
    """What a series shows.

    Parameters
    ----------
    weighting : Weighting
    by_name : bool
        Whether a name, rather than the timing, decided the weighting.
    fat_suppressed, gradient_echo : bool or None
        None where the headers do not say.
    """

    weighting: Weighting
    by_name: bool
    fat_suppressed: bool | None
    gradient_echo: bool | None


def contrast_of(
    *,
    repetition_time_ms: float | None,
    echo_time_ms: float | None,
    inversion_time_ms: float | None,
    scanning_sequence: Collection[str],
    scan_options: Collection[str],
    scan_options_known: bool,
    image_type: Collection[str],
    name: str,
    named: Weighting,
) -> Contrast:
    """Determine the contrast of a series from its headers, and from names where the headers are silent.

    Parameters
    ----------
    repetition_time_ms, echo_time_ms, inversion_time_ms : float or None
        None where unknown.
    scanning_sequence, scan_options, image_type : collection of str
        Values of (0018,0020), (0018,0022) and (0008,0008), upper case.
    scan_options_known : bool
        Whether the header says anything about fat suppression.
    name : str
        The series' description.
    named : Weighting
        What the description or the file name says of the weighting.

    Returns
    -------
    Contrast
    """
    timed = weighting_from_timing(repetition_time_ms, echo_time_ms, inversion_time_ms)
    weighting = named if timed is Weighting.UNKNOWN else timed
    if weighting is not Weighting.STIR and _may_be_stir(scanning_sequence, inversion_time_ms, name):
        weighting = Weighting.STIR
    return Contrast(
        weighting=weighting,
        by_name=weighting is not timed,
        fat_suppressed=fat_suppressed(
            scan_options=scan_options,
            scan_options_known=scan_options_known,
            scanning_sequence=scanning_sequence,
            inversion_time_ms=inversion_time_ms,
            image_type=image_type,
            name=name,
        ),
        gradient_echo=gradient_echo(scanning_sequence),
    )


def weighting_from_timing(
    repetition_time_ms: float | None, echo_time_ms: float | None, inversion_time_ms: float | None
) -> Weighting:
    """Determine the weighting of a spin echo series from its timing.

    Parameters
    ----------
    repetition_time_ms, echo_time_ms, inversion_time_ms : float or None
        None where unknown; the inversion time is None where there is no inversion pulse.

    Returns
    -------
    Weighting
        STIR for an inversion time of 80 to 300 ms; T1w for TR up to 1200 ms and TE up to 35 ms, or for an inversion
        time of 500 to 1300 ms and such a TE; T2w for TR from 1500 ms and TE of 60 to 400 ms; unknown where TR or TE
        is missing; otherwise other.
    """
    if _nulls_fat(inversion_time_ms):
        return Weighting.STIR
    if repetition_time_ms is None or echo_time_ms is None:
        return Weighting.UNKNOWN
    if inversion_time_ms is not None and inversion_time_ms > FAT_NULL_MS[1]:
        prepared = T1W_INVERSION_MS[0] <= inversion_time_ms <= T1W_INVERSION_MS[1]
        return Weighting.T1W if prepared and echo_time_ms <= T1W_LONGEST_ECHO_MS else Weighting.OTHER
    if repetition_time_ms <= T1W_LONGEST_REPETITION_MS and echo_time_ms <= T1W_LONGEST_ECHO_MS:
        return Weighting.T1W
    if repetition_time_ms >= T2W_SHORTEST_REPETITION_MS and T2W_SHORTEST_ECHO_MS <= echo_time_ms <= T2W_LONGEST_ECHO_MS:
        return Weighting.T2W
    return Weighting.OTHER


def weighting_from_name(name: str) -> Weighting:
    """Determine the weighting from a file's suffix or a series' description, where no timing is known.

    Parameters
    ----------
    name : str

    Returns
    -------
    Weighting
        Unknown where the name says nothing, or says both T1 and T2.
    """
    words = name.replace("_", " ")
    if STIR_NAME.search(words):
        return Weighting.STIR
    first, second = T1_NAME.search(words), T2_NAME.search(words)
    if bool(first) == bool(second):
        return Weighting.UNKNOWN
    return Weighting.T1W if first else Weighting.T2W


def gradient_echo(scanning_sequence: Collection[str]) -> bool | None:
    """Return whether a series is a gradient echo or echo planar one.

    Parameters
    ----------
    scanning_sequence : collection of str
        Values of Scanning Sequence (0018,0020), upper case.

    Returns
    -------
    bool or None
        None where the header does not say.
    """
    if not scanning_sequence:
        return None
    return bool({"GR", "EP"} & set(scanning_sequence))


def fat_suppressed(
    *,
    scan_options: Collection[str],
    scan_options_known: bool,
    scanning_sequence: Collection[str],
    inversion_time_ms: float | None,
    image_type: Collection[str],
    name: str,
) -> bool | None:
    """Return whether fat is dark by intent: by a spectral pulse, a short inversion time, or a water-only image.

    Parameters
    ----------
    scan_options, scanning_sequence, image_type : collection of str
        Values of (0018,0022), (0018,0020) and (0008,0008), upper case.
    scan_options_known : bool
        Whether the header says anything about fat suppression.
    inversion_time_ms : float or None
    name : str
        The series' description, which is consulted only about what the header leaves open.

    Returns
    -------
    bool or None
        None where neither header nor name says.
    """
    options = set(scan_options)
    if options & {"FS", "FATSAT", "FAT_SAT", "SPIR", "SPAIR"} or {"WATER", "W"} & set(image_type):
        return True
    if _nulls_fat(inversion_time_ms) or _may_be_stir(scanning_sequence, inversion_time_ms, name):
        return True
    if not scan_options_known and FAT_SUPPRESSED_NAME.search(name.replace("_", " ")):
        return True
    return False if scan_options_known or scanning_sequence else None


def _nulls_fat(inversion_time_ms: float | None) -> bool:
    return inversion_time_ms is not None and FAT_NULL_MS[0] <= inversion_time_ms <= FAT_NULL_MS[1]


def _may_be_stir(scanning_sequence: Collection[str], inversion_time_ms: float | None, name: str) -> bool:
    """Return whether the name says STIR, and the header leaves that open."""
    is_open = not scanning_sequence or ("IR" in scanning_sequence and inversion_time_ms is None)
    return is_open and STIR_NAME.search(name.replace("_", " ")) is not None
