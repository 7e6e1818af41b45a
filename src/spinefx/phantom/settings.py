"""The dials of a cohort, and the random stream that belongs to each purpose."""

from __future__ import annotations

import functools
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Annotated, Any, Self

import numpy as np

from spinefx.errors import RecipeError
from spinefx.phantom.dial_values import DIALS, ByClass, Dial, Range, check_range, check_value, from_plain
from spinefx.phantom.sign_rules import PATIENTS, allowed_cells
from spinefx.phantom.vendors import VENDORS
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

__all__ = [
    "ARTEFACTS",
    "ByClass",
    "Dial",
    "PhantomSettings",
    "Range",
    "Stream",
    "case_name",
    "case_number",
    "patient_id",
]

ARTEFACTS = ("chemical_shift", "coil", "ghosts", "partial_volume", "saturation_band", "zero_fill")
"""Artefacts that can be switched off. Noise and motion have dials of their own, which 0 switches off."""

_NAME = "phantom-"
# Dials that came after version 2 of the cohort's format.
_LATER_DIALS = (
    *("field_centre", "field_of_view_mm", "slice_spacing_mm"),
    *("scoliosis_mm", "sacral_slope_deg", "spondylolisthesis", "numbering_variants"),
    *("shapes", "appearance", "share_at_3_t", "tied", "tie_strength", "oversample", "oversample_factor"),
)


class Stream(IntEnum):
    """Purposes of randomness. Each has its own stream, so that a change in one leaves the others as they were."""

    PATIENT = 0
    LESION = 1
    SPOTS = 2
    SCAN = 3
    ANATOMY = 4
    TEXTURE = 5
    NOISE = 6
    READINGS = 7
    SIGNS = 8
    IRRADIATION = 9
    CONTRAST = 10
    FIELD = 11
    VARIATION = 12
    SHAPES = 13
    APPEARANCE = 14
    CONFOUNDERS = 15


@dataclass(frozen=True)
class PhantomSettings:
    """The dials of a cohort; :meth:`dials` returns what each means and accepts.

    By default only the fifteen signs and irradiated marrow separate the classes.

    Raises
    ------
    RecipeError
        For a value of another type or out of range, an unknown name, or signs that exclude each other.

    Notes
    -----
    ``malignant`` is held as a number of patients, whatever was given. A case's unique identifiers depend on every dial.
    """

    patients: Annotated[int, Dial("Number of patients.", 1, 99999)] = 190
    seed: Annotated[int, Dial("Where every random draw starts; another seed draws other patients.", 0, 2**63 - 1)] = 1
    difficulty: Annotated[
        float,
        Dial(
            "How far the residual fat of oedema and tumour overlap: 0 is as separable as quantitative fat fractions, "
            "1 leaves texture and shape alone.",
            0,
            1,
        ),
    ] = 0.6
    malignant: Annotated[
        int | float | None,
        Dial(
            "Number of malignant patients or, with a decimal point, their share (0.5). Without it: 50 of 190 in "
            "proportion.",
            0,
            99999,
        ),
    ] = None
    motion: Annotated[float, Dial("Factor on the patient's motion between the series; 0 for none.", 0, 3)] = 1.0
    noise: Annotated[float, Dial("Factor on the noise; 0 for none.", 0, 20)] = 1.0
    matrix: Annotated[
        int,
        Dial("Side of the reconstructed T2W image, pixels. Below 448 fewer samples are acquired.", 64, 1024),
    ] = 512
    force: Annotated[
        tuple[str, ...],
        Dial(
            "Signs that every patient of both classes shows, also where Table 1 has no such patient.",
            choices=SIGN_IDENTIFIERS,
        ),
    ] = ()
    forbid: Annotated[tuple[str, ...], Dial("Signs that no patient shows.", choices=SIGN_IDENTIFIERS)] = ()
    no_collapse: Annotated[
        ByClass | None,
        Dial("Share of vertebrae without collapse. Without it: 3 of 140 and 17 of 50.", 0, 1),
    ] = None
    cement: Annotated[
        ByClass,
        Dial(
            "Share of vertebrae that hold cement. Cement is a dark patch: it replaces sclerotic patches first and adds "
            "to the sign beyond them. None where dark_patch is forbidden.",
            0,
            1,
        ),
    ] = ByClass(0.06, 0.06)
    irradiation: Annotated[
        ByClass,
        Dial(
            "Share of patients with fatty marrow between two straight edges. The one default that separates the "
            "classes beside the signs.",
            0,
            1,
        ),
    ] = ByClass(0.0, 0.08)
    healed: Annotated[ByClass, Dial("Chance of each of four healed fractures of other levels.", 0, 1)] = ByClass(
        0.23, 0.23
    )
    age_years: Annotated[ByClass, Dial("Mean age, years. The paper has 68.8 and 61.7.", 40, 85)] = ByClass(66.0, 66.0)
    field_t: Annotated[
        float,
        Dial(
            "Field strength, tesla. 3 T has a longer T1, twice the chemical shift in hertz, and less noise.",
            choices=(1.5, 3.0),
        ),
    ] = 1.5
    vendor: Annotated[
        str, Dial("Scanner preset of all patients; any draws one for each.", choices=("any", *VENDORS))
    ] = "any"
    without: Annotated[tuple[str, ...], Dial("Artefacts to switch off.", choices=ARTEFACTS)] = ()
    contrast: Annotated[
        str,
        Dial(
            "physics computes signal from relaxation times; random draws each tissue's brightness for every series, to "
            "train a localiser that ignores the sequence. The truth is the same.",
            choices=("physics", "random"),
        ),
    ] = "physics"
    field_centre: Annotated[
        str,
        Dial(
            "What the field of view is centred on; any draws one of them for each patient. A lesion outside the field "
            "has no box in cases.csv.",
            choices=("lesion", "cervical", "thoracic", "thoracolumbar", "lumbar", "whole_spine", "any"),
        ),
    ] = "lesion"
    field_of_view_mm: Annotated[
        Range, Dial("Side of the square field of view, drawn for each patient; the coil grows with it.", 200, 800)
    ] = Range(300.0, 300.0)
    slice_spacing_mm: Annotated[
        Range | None,
        Dial("Distance between slice centres, drawn for each patient. Without it: that of the scanner preset.", 2, 8),
    ] = None
    scoliosis_mm: Annotated[Range, Dial("Lateral range of a scoliotic curve, drawn for each patient.", 0, 60)] = Range(
        0.0, 0.0
    )
    sacral_slope_deg: Annotated[
        Range | None,
        Dial(
            "Angle of the upper end plate of S1 to the horizontal, drawn for each patient: 15 is a vertical, 65 a "
            "horizontal sacrum. The lumbar lordosis follows. Without it: about 37.",
            5,
            75,
        ),
    ] = None
    spondylolisthesis: Annotated[
        float, Dial("Share of patients whose L3, L4 or L5 has slipped forward by 3 to 11 mm.", 0, 1)
    ] = 0.0
    numbering_variants: Annotated[
        float,
        Dial(
            "Share of patients with four or six lumbar vertebrae, thirteen thoracic ones, or a transitional L5 or S1.",
            0,
            1,
        ),
    ] = 0.0
    shapes: Annotated[
        str,
        Dial(
            "plain draws the typical form of every sign; varied draws the range of forms that radiologists describe, "
            "to train models that hold elsewhere. The patients' signs are the same.",
            choices=("plain", "varied"),
        ),
    ] = "plain"
    appearance: Annotated[
        str,
        Dial(
            "usual scans by the presets; varied draws timings, matrix (0.375 to 1.25 of the dial), slices of 3 to 5 "
            "mm, bandwidth, coil, filter and noise over the clinical range, and more kinds of marrow.",
            choices=("usual", "varied"),
        ),
    ] = "usual"
    share_at_3_t: Annotated[float, Dial("Share of patients who are scanned at 3 T, whatever field_t is.", 0, 1)] = 0.0
    tied: Annotated[
        tuple[str, ...],
        Dial(
            "Confounders that are tied to the class, to test what a model learns from them. With malignant go siemens, "
            "3 T, a field of 380 mm and a mean age of 78; with benign ge, 1.5 T, 260 mm and 56.",
            choices=("vendor", "field_t", "field_of_view", "age"),
        ),
    ] = ()
    tie_strength: Annotated[
        float,
        Dial(
            "Share of patients in whom each tied confounder follows the class; negative ties it the other way. The "
            "others have what the remaining dials draw.",
            -1,
            1,
        ),
    ] = 1.0
    oversample: Annotated[
        tuple[str, ...],
        Dial(
            "Signs to deal more often than Table 1 has them, for training. Each patient's weight, in weights.csv and "
            "truth.json, restores the table's margins. Not together with force, forbid or no_collapse.",
            choices=SIGN_IDENTIFIERS,
        ),
    ] = ()
    oversample_factor: Annotated[
        float, Dial("What the odds of every sign in oversample are multiplied by.", 0.1, 20)
    ] = 4.0

    def __post_init__(self) -> None:
        for name, dial in self.dials().items():
            check_value(name, getattr(self, name), _kinds()[name], dial)
        allowed_cells(self.force, self.forbid)
        if self.oversample and (self.force or self.forbid or self.no_collapse):
            raise RecipeError(
                "oversample is given together with force, forbid or no_collapse",
                where=DIALS,
                remedy="Give either the signs to deal more often, or those to force or forbid.",
            )
        object.__setattr__(self, "malignant", self._malignant_patients())

    def _malignant_patients(self) -> int:
        share = PATIENTS[Diagnosis.MALIGNANT] / sum(PATIENTS.values()) if self.malignant is None else self.malignant
        if isinstance(share, float):
            check_range("malignant, as a share,", share, 0, 1)
            return round(share * self.patients)
        check_range("malignant", share, 0, self.patients)
        return share

    @classmethod
    def dials(cls) -> dict[str, Dial]:
        """Return what every dial means and accepts.

        Returns
        -------
        dict of str to Dial
            By field name, in the order of the fields.
        """
        return {name: hint.__metadata__[0] for name, hint in _hints().items()}

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Make settings of plain values, as a file holds them.

        Parameters
        ----------
        values : mapping of str to object
            By dial; a pair of numbers is a mapping with ``benign`` and ``malignant``. What is absent keeps its default.

        Returns
        -------
        PhantomSettings

        Raises
        ------
        RecipeError
            For an unknown dial or a value that its dial does not accept.
        """
        kinds = _kinds()
        if unknown := set(values) - set(kinds):
            raise RecipeError(f"unknown dials {sorted(unknown)}", where=DIALS, allowed=", ".join(kinds))
        return cls(**{name: from_plain(name, value, kinds[name]) for name, value in values.items()})

    def to_mapping(self) -> dict[str, Any]:
        """Return the dials as plain values, as a cohort records them.

        Returns
        -------
        dict of str to object
            Without those later dials that keep their default, so that cohorts of earlier versions stay as they are.
        """
        values = asdict(self)
        for name in _LATER_DIALS:
            if getattr(self, name) == self.__dataclass_fields__[name].default:
                del values[name]
            elif isinstance(getattr(self, name), Range):
                values[name] = [values[name]["low"], values[name]["high"]]
        return values

    @property
    def fingerprint(self) -> str:
        """Return the text from which unique identifiers are derived; later dials at their default do not change it."""
        shown = (f"{name}={getattr(self, name)!r}" for name in self.to_mapping())
        return f"PhantomSettings({', '.join(shown)})"

    def generator(self, number: int, stream: Stream) -> np.random.Generator:
        """Return the random generator of one patient and one purpose, whatever else is drawn."""
        return np.random.default_rng([self.seed, number, stream])


@functools.cache
def _hints() -> dict[str, Any]:
    hints = typing.get_type_hints(PhantomSettings, include_extras=True)
    return {field.name: hints[field.name] for field in fields(PhantomSettings)}


@functools.cache
def _kinds() -> dict[str, tuple[Any, ...]]:
    """Types that each dial accepts; a tuple of names counts as ``tuple``."""
    kinds = {}
    for name, hint in _hints().items():
        kind = hint.__origin__
        members = typing.get_args(kind) if None.__class__ in typing.get_args(kind) else (kind,)
        kinds[name] = tuple(typing.get_origin(member) or member for member in members)
    return kinds


def case_name(number: int) -> str:
    """Return the case identifier of a patient, such as ``phantom-001``.

    Parameters
    ----------
    number : int

    Returns
    -------
    str
    """
    return f"{_NAME}{number:03d}"


def patient_id(number: int) -> str:
    """Return the DICOM PatientID of a patient, such as ``PHANTOM001``.

    Parameters
    ----------
    number : int

    Returns
    -------
    str
    """
    return f"PHANTOM{number:03d}"


def case_number(name: str) -> int:
    """Return the number of a case from its name; the inverse of :func:`case_name`.

    Parameters
    ----------
    name : str

    Returns
    -------
    int

    Raises
    ------
    RecipeError
        For a name of another form.
    """
    digits = name.removeprefix(_NAME)
    if not digits.isascii() or not digits.isdigit() or case_name(int(digits)) != name:
        raise RecipeError(f"unknown case {name!r}", where="phantom", allowed="names such as phantom-017")
    return int(digits)
