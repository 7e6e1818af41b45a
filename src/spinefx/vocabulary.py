"""The vocabulary: diagnoses, weightings, planes, vertebral levels, and the fifteen imaging signs.

Identifiers are those used in tables on disk; labels are those of Yeh 2022, Table 1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from spinefx.errors import InputError

__all__ = [
    "LEVELS",
    "MARKED",
    "RESEARCH_USE_ONLY",
    "SEQUENCES",
    "SIGNS",
    "SIGN_IDENTIFIERS",
    "VOXEL_DIGEST",
    "Arm",
    "Diagnosis",
    "Plane",
    "Score",
    "Sign",
    "TruthSource",
    "Weighting",
    "is_anomalous_level",
    "sequence_named",
    "sequences_of",
]

# The one source of this sentence: every page, report, model card and command shows it from here.
RESEARCH_USE_ONLY = "Research use only, not a medical device."

# The key of an image's sidecar that records the digest of its voxels, from ingest on.
VOXEL_DIGEST = "VoxelSha256"


class Diagnosis(StrEnum):
    """The diagnosis of a fracture."""

    BENIGN = "benign"
    MALIGNANT = "malignant"


class TruthSource(StrEnum):
    """How the diagnosis of a case was established (docs/protocol.md#row-24)."""

    BIOPSY = "biopsy"
    PROGRESSION = "progression"
    FOLLOW_UP = "follow_up"
    PHANTOM = "phantom"


class Weighting(StrEnum):
    """Contrast of an MR series.

    Models may read the members that :data:`SEQUENCES` lists. To add a sequence, add it here and there, and implement
    in :mod:`spinefx.imaging.contrast` how its series are recognised; images on disk, patches, recipes and models then
    accept it by name.
    """

    T1W = "T1w"
    T2W = "T2w"
    STIR = "STIR"
    OTHER = "other"
    UNKNOWN = "unknown"

    @property
    def label(self) -> str:
        """The name in messages and channels: ``T1W``, ``T2W``, ``STIR``."""
        return self.value.upper()

    @property
    def key(self) -> str:
        """The name in arrays, columns and JSON: ``t1w``, ``t2w``, ``stir``."""
        return self.value.lower()

    @property
    def bids_ending(self) -> str:
        """How BIDS names a sagittal image: acquisition label and suffix, without extension.

        BIDS has no suffix for STIR: it is a T2-weighted image whose acquisition label says how fat was suppressed.
        """
        return "acq-STIR_T2w" if self is Weighting.STIR else f"acq-sag_{self.value}"

    @property
    def suppresses_fat(self) -> bool:
        """Whether fat is dark in a proper series of this contrast."""
        return self is Weighting.STIR


# Boxes and lesion slices are marked on the series of this weighting; every other series is registered to it.
MARKED = Weighting.T2W
SEQUENCES: tuple[Weighting, ...] = (Weighting.T1W, Weighting.T2W, Weighting.STIR)


def sequence_named(name: str) -> Weighting:
    """Return the sequence that a name stands for.

    Parameters
    ----------
    name : str
        A value of :data:`SEQUENCES`, upper or lower case.

    Returns
    -------
    Weighting

    Raises
    ------
    InputError
        For an unknown name.
    """
    for sequence in SEQUENCES:
        if sequence.key == name.strip().lower():
            return sequence
    raise InputError(f"unknown sequence {name[:20]!r}", allowed=", ".join(SEQUENCES))


def sequences_of(names: Iterable[str]) -> tuple[Weighting, ...]:
    """Return the sequences that a model reads, from their names.

    Parameters
    ----------
    names : iterable of str
        As :func:`sequence_named` takes them, each once, :data:`MARKED` among them.

    Returns
    -------
    tuple of Weighting
        In the order of the names.

    Raises
    ------
    InputError
        For an unknown or repeated name, and for a set without the marked series.
    """
    found = tuple(sequence_named(name) for name in names)
    if len(set(found)) != len(found) or MARKED not in found:
        allowed = f"{', '.join(SEQUENCES)}: each at most once, {MARKED} always"
        raise InputError(f"sequences {', '.join(found) or 'none'}", allowed=allowed)
    return found


class Plane(StrEnum):
    """Anatomical plane nearest to a slice; ``mixed`` where one series has several."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"
    MIXED = "mixed"


class Arm(StrEnum):
    """Whether a reading was made without the model, with it, or with its answer flipped on purpose."""

    UNAIDED = "unaided"
    AIDED = "aided"
    PERTURBED = "perturbed"


class Score(StrEnum):
    """Score of one sign by one reader."""

    YES = "y"
    NO = "n"
    NOT_ASSESSABLE = "u"


@dataclass(frozen=True)
class Sign:
    """One qualitative imaging sign of Yeh 2022, Table 1.

    Parameters
    ----------
    identifier : str
        Column name in tables.
    label : str
        Wording of Table 1.
    in_box : bool
        Whether it can be seen inside a box around the vertebral body.
    definition : str
        When to score it, in our own words: the paper prints only the labels.
    """

    identifier: str
    label: str
    in_box: bool
    definition: str


SIGNS: tuple[Sign, ...] = (
    Sign(
        "absence_of_collapse",
        "Absence of collapse",
        True,
        "The body keeps its height: front, middle and back are as tall as in intact neighbours. Signal may change.",
    ),
    Sign(
        "anterior_wedge",
        "Anterior wedge deformity (preserved posterior vertebral height)",
        True,
        "The front of the body has lost height while the back wall is as tall as that of its neighbours.",
    ),
    Sign(
        "entire_body_compression",
        "Compression of entire body",
        True,
        "Front, middle and back have all lost height, the back wall included.",
    ),
    Sign(
        "central_concave",
        "Central concave deformity",
        True,
        "The middle of one or both end plates is pushed in, deeper than front and back.",
    ),
    Sign(
        "homogeneous_marrow",
        "Homogeneous marrow signal (no marrow edema or infiltration)",
        True,
        "The marrow is as even and as bright as in intact neighbours, on T1W and T2W: no oedema, no infiltration.",
    ),
    Sign(
        "dark_line_band",
        "Intravertebral dark line, band",
        True,
        "A thin line or band inside the body, dark on T1W and T2W, often along the broken end plate: impacted bone.",
    ),
    Sign(
        "band_pattern_oedema",
        "Band pattern bone marrow edema",
        True,
        "Oedema (dark on T1W, brighter on T2W) in a band along an end plate; the rest keeps its fatty marrow.",
    ),
    Sign(
        "dark_patch",
        "Intravertebral dark patch",
        True,
        "A patch inside the body that is dark on T1W and T2W and is no line: sclerosis or cement.",
    ),
    Sign(
        "fluid_necrotic_cleft",
        "Fluid or necrotic cleft",
        True,
        "A sharply bounded cleft inside the body, as bright as spinal fluid on T2W (or black where it holds gas).",
    ),
    Sign(
        "diffuse_signal_change",
        "Diffuse signal change (marrow edema or replacement) of vertebral body > 3/4",
        True,
        "Oedema or replacement of the marrow in more than three quarters of the body.",
    ),
    Sign(
        "nodular_lesion",
        "Intravertebral mass-like or nodular lesion",
        True,
        "A rounded or lobulated lesion with a border inside the body, darker than marrow on T1W.",
    ),
    Sign(
        "ap_protrusion",
        "Anterior/posterior protrusion of vertebral body",
        True,
        "The front or back wall bulges, or a corner is pushed, beyond the line that joins the neighbours' walls.",
    ),
    Sign(
        "epidural_paraspinal_mass",
        "Epidural/paraspinal soft tissue mass",
        False,
        "Soft tissue outside the bone: in the spinal canal or beside the body.",
    ),
    Sign(
        "pedicle_posterior_element",
        "Pedicle and posterior element involvement",
        False,
        "The signal change reaches a pedicle, lamina, joint or spinous process.",
    ),
    Sign(
        "skip_lesions",
        "Skipped nodular lesion or mass-like marrow replacement in other vertebra",
        False,
        "A nodule, or marrow replaced like a mass, in another vertebra than the marked one.",
    ),
)
SIGN_IDENTIFIERS: tuple[str, ...] = tuple(sign.identifier for sign in SIGNS)

# Cranial to caudal. T13 and L6 are numbering variants: allowed, and flagged.
LEVELS: tuple[str, ...] = (
    *(f"C{number}" for number in range(1, 8)),
    *(f"T{number}" for number in range(1, 14)),
    *(f"L{number}" for number in range(1, 7)),
    *(f"S{number}" for number in range(1, 6)),
)


def is_anomalous_level(level: str) -> bool:
    """Return whether a level exists only in a numbering variant.

    Parameters
    ----------
    level : str
        One of :data:`LEVELS`.

    Returns
    -------
    bool
        True for T13 and L6.
    """
    return level in {"T13", "L6"}
