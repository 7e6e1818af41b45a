"""What an MR series shows, told from its physics: weighting, fat suppression, gradient echo."""

from __future__ import annotations

import re
from collections.abc import Collection

from spinefx.vocabulary import Weighting

__all__ = ["fat_suppressed", "gradient_echo", "weighting_from_name", "weighting_from_timing"]

# Spin echo T1W of the spine runs at TR 300 to 900 ms; 1200 takes in 3 T with many slices.
T1W_LONGEST_REPETITION_MS = 1200.0
T1W_LONGEST_ECHO_MS = 35.0
# Inversion-prepared T1W (T1 FLAIR, 3 T): CSF nulled at a middle inversion time.
T1W_INVERSION_MS = (500.0, 1300.0)
T2W_SHORTEST_REPETITION_MS = 1500.0
T2W_SHORTEST_ECHO_MS = 60.0
T2W_LONGEST_ECHO_MS = 400.0
# Fat is nulled near 0.69 times its T1: 100 ms at 0.2 T to 250 ms at 3 T.
FAT_NULL_MS = (80.0, 300.0)

# A map of relaxation times and T2* are no weighted image.
T1_NAME = re.compile(r"(?<![a-z0-9])t1(?![0-9*]|rho|map|-map)", re.I)
T2_NAME = re.compile(r"(?<![a-z0-9])t2(?![0-9*]|star|map|-map)", re.I)


def weighting_from_timing(
    repetition_time_ms: float | None, echo_time_ms: float | None, inversion_time_ms: float | None
) -> Weighting:
    """Name the weighting of a spin echo series from its timing.

    Parameters
    ----------
    repetition_time_ms, echo_time_ms, inversion_time_ms : float or None
        None where not known; without inversion pulse None.

    Returns
    -------
    Weighting
        T1w for TR up to 1200 ms and TE up to 35 ms, or with an inversion time of 500 to 1300 ms; T2w for TR from
        1500 ms and TE from 60 ms; unknown where TR or TE is missing; else other.
    """
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
    """Name the weighting from a file's suffix or a series' description, where no timing is known.

    Parameters
    ----------
    name : str

    Returns
    -------
    Weighting
        Unknown where the name says nothing, or both.
    """
    words = name.replace("_", " ")
    first, second = T1_NAME.search(words), T2_NAME.search(words)
    if bool(first) == bool(second):
        return Weighting.UNKNOWN
    return Weighting.T1W if first else Weighting.T2W


def gradient_echo(scanning_sequence: Collection[str]) -> bool | None:
    """Tell whether a series is a gradient echo or echo planar one.

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
    """Tell whether fat is dark on purpose: by a spectral pulse, a short inversion time, or a water-only image.

    Parameters
    ----------
    scan_options, scanning_sequence, image_type : collection of str
        Values of (0018,0022), (0018,0020) and (0008,0008), upper case.
    scan_options_known : bool
        Whether the header speaks of fat suppression at all.
    inversion_time_ms : float or None
    name : str
        The series' description: asked only about what the header leaves open.

    Returns
    -------
    bool or None
        None where nothing tells.
    """
    options = set(scan_options)
    if options & {"FS", "FATSAT", "FAT_SAT", "SPIR", "SPAIR"} or {"WATER", "W"} & set(image_type):
        return True
    if inversion_time_ms is not None and FAT_NULL_MS[0] <= inversion_time_ms <= FAT_NULL_MS[1]:
        return True
    stir_open = not scanning_sequence or ("IR" in scanning_sequence and inversion_time_ms is None)
    if stir_open and re.search(r"(?<![a-z])(stir|tirm)(?![a-z])", name.replace("_", " "), re.I):
        return True
    words = re.compile(r"(?<![a-z])(fs|fatsat|fat sat|spair|spir|dixon w|water)(?![a-z])", re.I)
    if not scan_options_known and words.search(name.replace("_", " ")):
        return True
    return False if scan_options_known or scanning_sequence else None
