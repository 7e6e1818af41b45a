"""The dials of a cohort, and the randomness that belongs to each purpose."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from spinefx.errors import RecipeError
from spinefx.phantom.rules import PATIENTS, allowed_cells
from spinefx.phantom.vendors import VENDORS
from spinefx.vocabulary import Diagnosis

__all__ = ["ARTEFACTS", "ByClass", "PhantomSettings", "Stream", "case_name", "number_of", "patient_id"]

ARTEFACTS = ("chemical_shift", "coil", "ghosts", "partial_volume", "saturation_band", "zero_fill")
"""What can be switched off; noise and motion have dials of their own, and 0 switches them off."""

_WHERE = "phantom settings"
_NAME = "phantom-"


class Stream(IntEnum):
    """Purposes of randomness: each has its own stream, so that a change in one leaves the others as they were."""

    PATIENT = 0
    LESION = 1
    SPOTS = 2
    SCAN = 3
    ANATOMY = 4
    TEXTURE = 5
    NOISE = 6
    READINGS = 7
    DEAL = 8
    IRRADIATION = 9
    CONTRAST = 10


@dataclass(frozen=True)
class ByClass:
    """One number for each class.

    Parameters
    ----------
    benign, malignant : float
    """

    benign: float
    malignant: float

    def of(self, diagnosis: Diagnosis) -> float:
        """The number of one class."""
        return self.malignant if diagnosis is Diagnosis.MALIGNANT else self.benign


@dataclass(frozen=True)
class PhantomSettings:
    """The dials of a cohort.

    Nothing but the fifteen signs and the irradiation tells the class, unless a dial is turned so.

    Parameters
    ----------
    patients : int
        1 to 99999.
    seed : int
        0 or more.
    difficulty : float
        0 to 1; how far the residual fat of oedema and tumour overlap.
    malignant : int or float, optional
        How many of the patients, or, as a fraction with a point, which share; 50 of 190 in proportion by default.
        Held as a number of patients.
    motion : float
        Multiplies the drawn motion between series; 0 for none.
    noise : float
        Multiplies the noise; 0 for none.
    matrix : int
        Side of the reconstructed T2W image: 64 to 1024. Below 448 fewer samples are acquired.
    force, forbid : tuple of str
        Signs that every patient shows, or none, in both classes, also where Table 1 has no such patient.
    no_collapse : ByClass, optional
        Share without collapse; 3 of 140 and 17 of 50 by default. Vertebrae are dealt among the other shapes as before.
    cement : ByClass
        Share whose vertebra holds cement. Cement is a dark patch: it takes the place of the sclerotic ones first, and
        adds to the sign beyond them. None where dark patches are forbidden.
    irradiation : ByClass
        Share with fatty marrow between straight edges. The one default that tells the class (8 % of malignant).
    healed : ByClass
        Chance of each of four healed fractures elsewhere.
    age_years : ByClass
        Mean age; 68.8 and 61.7 in the paper, alike by default.
    field_t : float
        1.5 or 3 tesla: longer T1, twice the chemical shift, less noise.
    vendor : str
        A preset of :data:`spinefx.phantom.vendors.VENDORS` for all, or ``any``: drawn for each patient.
    without : tuple of str
        :data:`ARTEFACTS` to switch off.
    contrast : str
        ``physics``, or ``random``: every patient's tissues get drawn intensities, to train a localiser whatever the
        sequence. The truth is the same.

    Raises
    ------
    RecipeError
        For a value out of range, an unknown name, or signs that cannot be had together.
    """

    patients: int = 190
    seed: int = 1
    difficulty: float = 0.6
    malignant: int | float | None = None
    motion: float = 1.0
    noise: float = 1.0
    matrix: int = 512
    force: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    no_collapse: ByClass | None = None
    cement: ByClass = ByClass(0.06, 0.06)
    irradiation: ByClass = ByClass(0.0, 0.08)
    healed: ByClass = ByClass(0.23, 0.23)
    age_years: ByClass = ByClass(66.0, 66.0)
    field_t: float = 1.5
    vendor: str = "any"
    without: tuple[str, ...] = ()
    contrast: str = "physics"

    def __post_init__(self) -> None:
        for name, (low, high) in {
            "patients": (1, 99999),
            "seed": (0, 2**63 - 1),
            "difficulty": (0, 1),
            "motion": (0, 3),
            "noise": (0, 20),
            "matrix": (64, 1024),
        }.items():
            _check(name, getattr(self, name), low, high)
        for name in ("no_collapse", "cement", "irradiation", "healed", "age_years"):
            pair: ByClass | None = getattr(self, name)
            for kind in Diagnosis if pair is not None else ():
                limits = (40, 85) if name == "age_years" else (0, 1)
                _check(f"{name} ({kind.value})", pair.of(kind) if pair else 0, *limits)
        for name, allowed in {
            "field_t": (1.5, 3.0),
            "vendor": ("any", *VENDORS),
            "contrast": ("physics", "random"),
        }.items():
            if getattr(self, name) not in allowed:
                listed = ", ".join(str(item) for item in allowed)
                raise RecipeError(f"{name} = {getattr(self, name)}", where=_WHERE, allowed=listed)
        for name in self.without:
            if name not in ARTEFACTS:
                raise RecipeError(f"an artefact {name!r}", where=_WHERE, allowed=", ".join(ARTEFACTS))
        allowed_cells(self.force, self.forbid)
        object.__setattr__(self, "malignant", self._count())

    def _count(self) -> int:
        given = self.malignant
        share = PATIENTS[Diagnosis.MALIGNANT] / sum(PATIENTS.values()) if given is None else given
        if isinstance(share, float):
            _check("malignant", share, 0, 1)
            return round(share * self.patients)
        _check("malignant", share, 0, self.patients)
        return share

    def generator(self, number: int, stream: Stream) -> np.random.Generator:
        """Randomness of one patient and one purpose, whatever else is drawn."""
        return np.random.default_rng([self.seed, number, stream])


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise RecipeError(f"{name} = {value}", where=_WHERE, allowed=f"{low} to {high}")


def case_name(number: int) -> str:
    """Case identifier, ``phantom-001``.

    Parameters
    ----------
    number : int

    Returns
    -------
    str
    """
    return f"{_NAME}{number:03d}"


def patient_id(number: int) -> str:
    """DICOM PatientID, ``PHANTOM001``.

    Parameters
    ----------
    number : int

    Returns
    -------
    str
    """
    return f"PHANTOM{number:03d}"


def number_of(name: str) -> int:
    """Number of a case, from its name; the inverse of :func:`case_name`.

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
        raise RecipeError(f"a case {name!r}", where="phantom", allowed="names such as phantom-017")
    return int(digits)
