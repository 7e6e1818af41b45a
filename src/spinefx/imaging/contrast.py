"""Which contrast an MR series shows: evidence for and against from its timing, its header words and its names."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from spinefx.imaging.contrast_words import Trait, traits_of
from spinefx.vocabulary import Weighting

__all__ = ["Contrast", "SequenceHeader", "contrast_of", "weighting_from_name", "weighting_from_timing"]

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
T1_NAME = re.compile(r"(?<![a-z0-9])s?t1(?![0-9*]|rho|map|-map)", re.I)
T2_NAME = re.compile(r"(?<![a-z0-9])s?t2(?![0-9*]|star|map|-map)", re.I)

# Values of Image Type (0008,0008) and Frame Type (0008,9007) that are too short or too special to be read as words.
IMAGE_TYPES = {
    "W": Trait.WATER,
    "WATER": Trait.WATER,
    "F": Trait.FAT,
    "FAT": Trait.FAT,
    "OP": Trait.OPPOSED,
    "OPP_PHASE": Trait.OPPOSED,
    "OUT_PHASE": Trait.OPPOSED,
    "IP": Trait.IN_PHASE,
    "IN_PHASE": Trait.IN_PHASE,
    "FA": Trait.MAP,
    "P": Trait.MAP,
    "SUB": Trait.MAP,
    "PHASE MAP": Trait.MAP,
    "MAX_IP": Trait.PROJECTION,
    "MIN_IP": Trait.PROJECTION,
}
PLACES = frozenset({Trait.HEAD, Trait.ELSEWHERE, Trait.SPINE})
# What a plain T1W or T2W image never is, in the order in which a series is called by it.
OTHER_KINDS = (Trait.PROJECTION, Trait.MAP, Trait.FAT, Trait.WATER, Trait.OPPOSED)


@dataclass(frozen=True)
class SequenceHeader:
    """What the headers of a series say about its contrast, whatever the format.

    Parameters
    ----------
    repetition_time_ms, echo_time_ms, inversion_time_ms : float or None
        None where unknown; the inversion time also where there is no inversion pulse.
    scanning_sequence, sequence_variant, image_type : collection of str
        Values of (0018,0020), (0018,0021) and (0008,0008), upper case.
    options : collection of str
        Values of Scan Options (0018,0022), and those that stand for the spectral pulses of Enhanced MR.
    sequence_name : str
        Sequence names and the acquisition contrast: (0018,0024), (0018,9005), (0008,9209).
    names : sequence of str
        The series description, then the protocol's name or the file's.
    contrast_agent : bool
        Whether the header names a contrast agent.
    named : Weighting
        What the names say of the weighting.
    """

    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    scanning_sequence: Collection[str] = ()
    sequence_variant: Collection[str] = ()
    image_type: Collection[str] = ()
    options: Collection[str] = ()
    sequence_name: str = ""
    names: Sequence[str] = field(default=(), repr=False)
    contrast_agent: bool = False
    named: Weighting = Weighting.UNKNOWN


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
    traits : frozenset of Trait
        What speaks against a plain T1W or T2W image.
    """

    weighting: Weighting
    by_name: bool
    fat_suppressed: bool | None
    gradient_echo: bool | None
    traits: frozenset[Trait] = frozenset()

    @property
    def kind(self) -> str:
        """The name of such an image for a reader: ``T1W``, ``STIR``, ``T1W, fat-suppressed``, ``Dixon fat``."""
        for trait in OTHER_KINDS:
            if trait in self.traits:
                return trait.value
        known = self.weighting not in (Weighting.OTHER, Weighting.UNKNOWN)
        if Trait.STIR in self.traits:
            words = [Trait.STIR.value]
        elif self.gradient_echo:
            words = [Trait.GRADIENT_ECHO.value]
        else:
            words = [self.weighting.label if known else f"{self.weighting.value} contrast"]
            words += ["fat-suppressed"] if self.fat_suppressed else []
            words += [one.value for one in (Trait.FLAIR,) if one in self.traits and not known]
        words += ["contrast-enhanced"] if Trait.ENHANCED in self.traits else []
        if Trait.IN_PHASE in self.traits:
            words.append(Trait.IN_PHASE.value)
        elif Trait.DIXON in self.traits:
            words.append("Dixon part unknown")
        return ", ".join(words)


def contrast_of(header: SequenceHeader) -> Contrast:
    """Determine the contrast of a series from everything that speaks of it.

    Parameters
    ----------
    header : SequenceHeader

    Returns
    -------
    Contrast

    Notes
    -----
    The timing decides the weighting, and the names only where the timing is unknown. Evidence that a series is
    something else than plain (STIR, fat-suppressed, part of a Dixon, enhanced, a gradient echo, a map) counts from
    whichever element or name it comes: an element that is silent or says otherwise does not cancel it.
    """
    timed = weighting_from_timing(header.repetition_time_ms, header.echo_time_ms, header.inversion_time_ms)
    traits = set(_traits(header))
    if _is_stir(header, timed, traits):
        traits.add(Trait.STIR)
    else:
        traits.discard(Trait.STIR)
    weighting = header.named if timed is Weighting.UNKNOWN else timed
    if Trait.STIR in traits:
        slow = header.repetition_time_ms is None or header.repetition_time_ms >= T2W_SHORTEST_REPETITION_MS
        weighting = Weighting.STIR if slow or timed is Weighting.STIR else Weighting.OTHER
    elif timed is Weighting.T2W and (Trait.FLAIR in traits or _unknown_inversion(header)):
        weighting = Weighting.OTHER
    gradient = _gradient_echo(header, traits)
    suppressed = bool({Trait.STIR, Trait.FAT_SUPPRESSED, Trait.WATER} & traits)
    silent = not header.scanning_sequence and not header.options
    return Contrast(
        weighting=weighting,
        by_name=weighting not in (timed, Weighting.OTHER),
        fat_suppressed=True if suppressed else None if silent else False,
        gradient_echo=gradient,
        traits=frozenset(traits),
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
    if inversion_time_ms is not None and FAT_NULL_MS[0] <= inversion_time_ms <= FAT_NULL_MS[1]:
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
    if Trait.STIR in traits_of(name):
        return Weighting.STIR
    words = name.replace("_", " ")
    first, second = T1_NAME.search(words), T2_NAME.search(words)
    if bool(first) == bool(second):
        return Weighting.UNKNOWN
    return Weighting.T1W if first else Weighting.T2W


def _traits(header: SequenceHeader) -> frozenset[Trait]:
    """Collect what every header element and name says."""
    found: set[Trait] = set()
    for text in (" ".join(header.options), header.sequence_name):
        found |= traits_of(text) - PLACES
    for value in header.image_type:
        found |= {IMAGE_TYPES[value]} if value in IMAGE_TYPES else traits_of(value) - PLACES
    for name in header.names:
        found |= traits_of(name) - PLACES
    return frozenset(found | {Trait.ENHANCED} if header.contrast_agent else found)


def _is_stir(header: SequenceHeader, timed: Weighting, traits: Collection[Trait]) -> bool:
    """Return whether a series is STIR, by its inversion time or by a word."""
    if timed is Weighting.STIR:
        return True
    if Trait.STIR not in traits:
        return False
    # Siemens names T1 FLAIR like STIR (*tir2d1): there, a long inversion time outweighs the sequence's own name.
    long = header.inversion_time_ms is not None and header.inversion_time_ms > FAT_NULL_MS[1]
    return not long or any(Trait.STIR in traits_of(name) for name in header.names)


def _unknown_inversion(header: SequenceHeader) -> bool:
    """Return whether an inversion pulse was used whose time nothing states: with a T2W timing, STIR or FLAIR."""
    return "IR" in header.scanning_sequence and header.inversion_time_ms is None


def _gradient_echo(header: SequenceHeader, traits: Collection[Trait]) -> bool | None:
    """Return whether a series is a gradient echo or echo planar one; None where nothing says."""
    scanning = set(header.scanning_sequence)
    steady = {"SS", "TRSS", "SP"} & set(header.sequence_variant) and "SE" not in scanning
    if {"GR", "EP"} & scanning or Trait.GRADIENT_ECHO in traits or steady:
        return True
    return False if scanning else None
