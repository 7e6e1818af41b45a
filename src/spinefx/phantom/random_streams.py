"""All that is random about one synthetic patient, drawn before anything is rendered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from spinefx.errors import RecipeError
from spinefx.phantom.appearance import settings_of_patient, vary_habitus, vary_protocols
from spinefx.phantom.habitus import Habitus
from spinefx.phantom.lesion import LesionDraw, draw_lesion
from spinefx.phantom.protocols import draw_field, draw_protocols, with_random_contrast
from spinefx.phantom.scanner import Coil, Protocol
from spinefx.phantom.settings import PhantomSettings, Stream, case_name, patient_id
from spinefx.phantom.sign_assignment import assign_signs
from spinefx.phantom.spine import TARGET_LEVELS
from spinefx.phantom.variation import Variation, draw_variation
from spinefx.phantom.varied_deformity import draw_varied_healed
from spinefx.phantom.varied_lesion import vary_lesion
from spinefx.phantom.vendors import VENDORS
from spinefx.phantom.vertebra import Deformity
from spinefx.phantom.vertebral_bodies import FocalChange
from spinefx.vocabulary import Diagnosis

__all__ = ["CaseDraw", "PhantomSettings", "Stream", "draw_case"]

_BODIES = [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]


@dataclass(frozen=True)
class CaseDraw:
    """All that is random about one patient, drawn before anything is rendered.

    Parameters
    ----------
    settings : PhantomSettings
    number : int
        1 to the number of patients.
    diagnosis : Diagnosis
    age : int
        Years.
    sex : str
        ``M`` or ``F``.
    level : str
        Level of the lesion.
    lesion : LesionDraw
    habitus : Habitus
    irradiated : bool
        Whether irradiation has turned marrow to fat; ``spots`` lists where.
    spots : tuple of FocalChange
        Focal marrow changes beside the lesion: distractors, skip lesions, irradiated marrow.
    healed : dict of str to Deformity
        Healed fractures of other levels.
    vendor : str
        Scanner preset, a key of :data:`spinefx.phantom.vendors.VENDORS`.
    coil : Coil
    t1w, t2w, stir, localizer : Protocol
    table_mm : tuple of float, length 3
        Scanner coordinates of the lesion vertebra's centre during T2W.
    field_mm : dict of str to tuple of float
        Centre of each series' field of view relative to ``table_mm``.
    oblique_deg : dict of str to tuple of float
        Rotation of each series' planes from the sagittal, degrees.
    motion_mm, motion_deg : tuple of float, length 3
        How the patient moved from T2W to T1W: translation and rotation vector about the lesion vertebra's centre.
    study_date : str
        ``YYYYMMDD``.
    variation : Variation or None
        Anatomical variation; None for the usual spine.
    field_centre : str
        What the fields of view are centred on, as the dial of that name lists it.
    sampling_weight : float
        Weight that restores the margins of Table 1 where the dial ``oversample`` deals signs more often; otherwise 1.
    """

    settings: PhantomSettings
    number: int
    diagnosis: Diagnosis
    age: int
    sex: str
    level: str
    lesion: LesionDraw
    habitus: Habitus
    irradiated: bool
    spots: tuple[FocalChange, ...]
    healed: dict[str, Deformity]
    vendor: str
    coil: Coil
    t1w: Protocol
    t2w: Protocol
    stir: Protocol
    localizer: Protocol
    table_mm: tuple[float, float, float]
    field_mm: dict[str, tuple[float, float, float]]
    oblique_deg: dict[str, tuple[float, float, float]]
    motion_mm: tuple[float, float, float]
    motion_deg: tuple[float, float, float]
    study_date: str
    variation: Variation | None = None
    field_centre: str = "lesion"
    sampling_weight: float = 1.0

    @property
    def name(self) -> str:
        """Return the case identifier, such as ``phantom-001``."""
        return case_name(self.number)

    @property
    def patient_id(self) -> str:
        """Return the DICOM PatientID, such as ``PHANTOM001``."""
        return patient_id(self.number)

    @property
    def t2w_to_t1w(self) -> NDArray[np.float64]:
        """Return the map from T2W to T1W millimetres that the patient's motion causes, shape (4, 4)."""
        centre = np.array(self.table_mm)
        turn = Rotation.from_rotvec(np.deg2rad(self.motion_deg)).as_matrix()
        matrix = np.eye(4)
        matrix[:3, :3] = turn
        matrix[:3, 3] = centre + np.array(self.motion_mm) - turn @ centre
        return matrix

    def uid(self, *parts: object) -> str:
        """Return a reproducible DICOM unique identifier for one part of this case."""
        text = "/".join(str(part) for part in ("spinefx-phantom", self.settings.fingerprint, self.number, *parts))
        return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def draw_case(settings: PhantomSettings, number: int) -> CaseDraw:
    """Draw one patient.

    Parameters
    ----------
    settings : PhantomSettings
    number : int
        1 to ``settings.patients``.

    Returns
    -------
    CaseDraw
        The same for the same settings and number, whichever patients were drawn before.

    Raises
    ------
    RecipeError
        For a number outside the cohort.
    """
    if not 1 <= number <= settings.patients:
        raise RecipeError(
            f"patient {number} is not in this cohort", where="phantom", allowed=f"1 to {settings.patients}"
        )
    assignment = assign_signs(settings, number)
    confounders = settings.generator(number, Stream.CONFOUNDERS)
    own = settings_of_patient(settings, assignment.diagnosis, confounders)
    patient = settings.generator(number, Stream.PATIENT)
    age = int(np.clip(round(patient.normal(own.age_years.of(assignment.diagnosis), 11)), 35, 92))
    sex = "F" if patient.random() < 0.6 else "M"
    weights = np.array(list(TARGET_LEVELS.values()), float)
    level = str(patient.choice(list(TARGET_LEVELS), p=weights / weights.sum()))
    habitus = _draw_habitus(age, sex, patient)
    lesion = draw_lesion(assignment, settings.difficulty, settings.generator(number, Stream.LESION))
    if settings.shapes == "varied":
        lesion = vary_lesion(lesion, settings.generator(number, Stream.SHAPES))
    spots, healed = _draw_other_levels(level, lesion, settings, settings.generator(number, Stream.SPOTS))
    if assignment.irradiated:
        spots = (*_draw_irradiation(level, settings.generator(number, Stream.IRRADIATION)), *spots)
    scan = settings.generator(number, Stream.SCAN)
    any_vendor = str(scan.choice(list(VENDORS)))
    vendor = any_vendor if own.vendor == "any" else own.vendor
    protocols = draw_protocols(own, VENDORS[vendor], scan)
    if settings.appearance == "varied":
        looks = settings.generator(number, Stream.APPEARANCE)
        habitus, protocols = vary_habitus(habitus, looks), vary_protocols(own, protocols, looks)
    if settings.contrast == "random":
        protocols = with_random_contrast(protocols, settings.generator(number, Stream.CONTRAST))
    taken = {level, *healed, *(spot.level for spot in spots)}
    variation = draw_variation(settings, taken, settings.generator(number, Stream.VARIATION))
    protocols, field_centre = draw_field(own, protocols, settings.generator(number, Stream.FIELD))
    day = int(scan.integers(0, 2000))
    return CaseDraw(
        settings=settings,
        number=number,
        diagnosis=assignment.diagnosis,
        age=age,
        sex=sex,
        level=level,
        lesion=lesion,
        habitus=habitus,
        irradiated=assignment.irradiated,
        spots=spots,
        healed=healed,
        vendor=vendor,
        coil=protocols.coil,
        t1w=protocols.t1w,
        t2w=protocols.t2w,
        stir=protocols.stir,
        localizer=protocols.localizer,
        study_date=str(np.datetime64("2012-01-02") + day).replace("-", ""),
        variation=variation,
        field_centre=field_centre,
        sampling_weight=assignment.weight,
        **_draw_places(settings.motion, scan),
    )


def _triple(values: NDArray[Any]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _draw_habitus(age: int, sex: str, rng: np.random.Generator) -> Habitus:
    years = [25, 35, 45, 55, 65, 75]
    # Proton density fat fraction of L1-L4 by age and sex (Baum 2018).
    women, men = [0.27, 0.27, 0.35, 0.41, 0.49, 0.51], [0.32, 0.35, 0.36, 0.42, 0.40, 0.44]
    fat = np.interp(age, years, women if sex == "F" else men)
    return Habitus(
        marrow_fat=float(np.clip(fat + 0.075 * rng.standard_normal(), 0.18, 0.72)),
        marrow_texture=float(rng.uniform(0.045, 0.10)),
        muscle_fat=float(np.clip(0.10 + 0.006 * (age - 40) + 0.08 * rng.standard_normal(), 0.02, 0.5)),
        skin_mm=float(rng.uniform(56, 80)),
        subcutaneous_mm=float(rng.uniform(6, 22)),
        epidural_fat=float(rng.uniform(0.1, 1.0)),
        front_mm=float(rng.uniform(75, 150)),
    )


def _draw_other_levels(
    level: str, lesion: LesionDraw, settings: PhantomSettings, rng: np.random.Generator
) -> tuple[tuple[FocalChange, ...], dict[str, Deformity]]:
    here = _BODIES.index(level)
    others = [name for name in _BODIES if name != level and abs(_BODIES.index(name) - here) <= 6]
    distance = np.array([abs(_BODIES.index(name) - here) for name in others], float)
    weights = np.exp(-distance / 4)
    malignant = lesion.diagnosis is Diagnosis.MALIGNANT
    varied = settings.shapes == "varied"
    spots = []

    def spot(where: str, kind: str, low_mm: float, high_mm: float, fat: float) -> FocalChange:
        centre = rng.uniform([-0.4, -0.55, -0.5], [0.4, 0.55, 0.5])
        return FocalChange(
            where, kind, _triple(centre), float(rng.uniform(low_mm, high_mm)), float(np.clip(fat, 0.0, 0.6))
        )

    skips = rng.choice(others, size=lesion.skips, replace=False, p=weights / weights.sum())
    if (
        varied
        and lesion.skips
        and not set(skips) & {name for name, away in zip(others, distance, strict=True) if away <= 2}
    ):
        skips[0] = rng.choice(np.array(others)[distance <= 2])  # the field of view shows at least one of them
    for where in skips:
        fat = rng.normal(0.04 + 0.06 * settings.difficulty, 0.03)
        kind = ("metastasis" if rng.random() < 0.7 else "replacement") if malignant else "focus"
        spots.append(spot(str(where), kind, *((3.0, 13.0) if varied else (4.5, 9.5)), fat))
    free = [name for name in others if name not in {item.level for item in spots}]
    if rng.random() < 0.28 and free:
        spots.append(spot(str(rng.choice(free)), "haemangioma", 4.0, 9.0, rng.uniform(0, 0.5)))
    for name in free:
        if rng.random() < 0.16:
            kind = str(rng.choice(["modic1", "modic2", "modic3", "schmorl"], p=[0.2, 0.4, 0.15, 0.25]))
            plate = spot(name, kind, 4.0, 9.0, rng.uniform(0.1, 0.3))
            side = 1.0 if rng.random() < 0.5 else -1.0
            spots.append(replace(plate, centre=(plate.centre[0], plate.centre[1], side)))
    healed = {}
    count = int(rng.binomial(4, settings.healed.of(lesion.diagnosis)))
    for where in rng.choice(free, size=min(count, len(free)), replace=False):  # skip lesions may leave few free levels
        healed[str(where)] = (
            draw_varied_healed(rng)
            if varied
            else Deformity(
                anterior=float(rng.uniform(0.15, 0.40)),
                posterior=float(rng.uniform(0, 0.12)),
                central=float(rng.uniform(0, 0.2)),
                upper_share=float(rng.uniform(0.65, 1)),
            )
        )
    return tuple(spots), healed


def _draw_irradiation(level: str, rng: np.random.Generator) -> list[FocalChange]:
    """Draw a radiation field: fatty marrow from within a body above the lesion to within one below it."""
    here = _BODIES.index(level)
    top, bottom = here - int(rng.integers(1, 4)), here + int(rng.integers(1, 4))
    fat = float(rng.uniform(0.85, 0.95))
    reach_mm = rng.uniform(6, 14, 2)
    spots = []
    for index in range(max(top, 0), min(bottom, len(_BODIES) - 1) + 1):
        # An end body is irradiated from its far end plate to the edge of the field; those between, throughout.
        height, radius = {top: (-1.0, reach_mm[0]), bottom: (1.0, reach_mm[1])}.get(index, (0.0, 60.0))
        spots.append(FocalChange(_BODIES[index], "irradiated", (0.0, 0.0, height), float(radius), fat))
    return spots


def _draw_places(motion: float, rng: np.random.Generator) -> dict[str, Any]:
    """Draw table position, fields of view, oblique planes, and the motion between T2W and T1W."""
    spread = rng.choice([0.0, 1.0, 2.0], p=[0.55, 0.35, 0.10])  # most patients lie still
    share = spread / 2 if spread else 0.0
    step = motion * np.array([0.35 + 0.85 * share, 0.9 + 2.2 * share, 1.1 + 2.5 * share]) * rng.standard_normal(3)
    turn = motion * (0.7 + 1.7 * share) * np.array([1.0, 0.35, 0.35]) * rng.standard_normal(3)
    step, turn = np.clip(step, -8, 8), np.clip(turn, -6, 6)
    middle = np.array([rng.uniform(-4, 4), rng.uniform(-14, 6), rng.uniform(-55, 55)])
    moved = middle + rng.normal(0, [1.0, 8.0, 12.0]) * (rng.random() < 0.2) + [rng.uniform(-2.2, 2.2), 0, 0]
    oblique = rng.normal(0, 2.5, 3) * [0.3, 1.0, 1.0]
    other = oblique + rng.normal(0, 0.5, 3)
    return {
        "table_mm": _triple(rng.uniform([-15, -40, -60], [15, 10, 60])),
        "field_mm": {"t2w": _triple(middle), "stir": _triple(middle), "t1w": _triple(moved)},
        "oblique_deg": {"t2w": _triple(oblique), "stir": _triple(oblique), "t1w": _triple(other)},
        "motion_mm": _triple(step),
        "motion_deg": _triple(turn),
    }
