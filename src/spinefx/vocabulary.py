"""The words of the problem: diagnoses, weightings, planes, levels, and the fifteen imaging signs.

Identifiers are those of the tables on disk; labels are those of Yeh 2022, Table 1.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "BOX_SIGNS",
    "LEVELS",
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
]

# The key of an image's sidecar that records the digest of its voxels, from ingest on.
VOXEL_DIGEST = "VoxelSha256"


class Diagnosis(StrEnum):
    """The answer sought for one patient."""

    BENIGN = "benign"
    MALIGNANT = "malignant"


class TruthSource(StrEnum):
    """How the diagnosis of a case was established (protocol row 24)."""

    BIOPSY = "biopsy"
    PROGRESSION = "progression"
    FOLLOW_UP = "follow_up"
    PHANTOM = "phantom"


class Weighting(StrEnum):
    """Contrast of an MR series, as far as timing tells it."""

    T1W = "T1w"
    T2W = "T2w"
    OTHER = "other"
    UNKNOWN = "unknown"


class Plane(StrEnum):
    """Anatomical plane nearest to a slice; ``mixed`` where one series holds several."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"
    MIXED = "mixed"


class Arm(StrEnum):
    """How a reading was made: without or with the model."""

    UNAIDED = "unaided"
    AIDED = "aided"


class Score(StrEnum):
    """One reader's answer on one sign."""

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
        Table 1's wording.
    in_box : bool
        Whether it lies inside a box round the vertebral body.
    definition : str
        When to score it, in plain words of our own: the paper prints the labels alone.
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
BOX_SIGNS: tuple[str, ...] = tuple(sign.identifier for sign in SIGNS if sign.in_box)

# Cranial to caudal. T13, L6 and the missing T12 or L5 of some people are anomalies: kept, and flagged.
LEVELS: tuple[str, ...] = (
    *(f"C{number}" for number in range(1, 8)),
    *(f"T{number}" for number in range(1, 14)),
    *(f"L{number}" for number in range(1, 7)),
    *(f"S{number}" for number in range(1, 6)),
)


def is_anomalous_level(level: str) -> bool:
    """Tell whether a level exists only in a numbering variant.

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
