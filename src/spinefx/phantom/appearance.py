"""Appearance beyond the usual scanner and the usual marrow, and confounders that are tied to the class.

A model that is to hold on other scanners must be taught and tested on other appearances. Nothing here depends on the
class, except what the dial ``tied`` ties to it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from spinefx.phantom.habitus import Habitus
from spinefx.phantom.protocols import NOISE_AT_3_T, Protocols
from spinefx.phantom.scanner import Coil, Protocol
from spinefx.phantom.settings import ByClass, PhantomSettings, Range
from spinefx.phantom.tissue import Sequence
from spinefx.vocabulary import Diagnosis

__all__ = ["VariedHabitus", "settings_of_patient", "vary_habitus", "vary_protocols"]

# What a confounder is tied to: the first value goes with malignant, the second with benign, at a positive strength.
_TIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "vendor": ({"vendor": "siemens"}, {"vendor": "ge"}),
    "field_t": ({"field_t": 3.0}, {"field_t": 1.5}),
    "field_of_view": ({"field_of_view_mm": Range(380.0, 380.0)}, {"field_of_view_mm": Range(260.0, 260.0)}),
    "age": ({"age_years": ByClass(78.0, 78.0)}, {"age_years": ByClass(56.0, 56.0)}),
}


@dataclass(frozen=True)
class VariedHabitus(Habitus):
    """Soft tissues and marrow, with another grain of the marrow.

    Parameters
    ----------
    marrow_grain : float
        Factor on the correlation lengths of the marrow's texture.
    """

    marrow_grain: float

    @property
    def grain(self) -> float:
        """Return the factor on the correlation lengths of the marrow's texture."""
        return self.marrow_grain


def settings_of_patient(settings: PhantomSettings, diagnosis: Diagnosis, rng: np.random.Generator) -> PhantomSettings:
    """Return the settings by which one patient is drawn and scanned.

    Parameters
    ----------
    settings : PhantomSettings
        Those of the cohort.
    diagnosis : Diagnosis
    rng : numpy.random.Generator

    Returns
    -------
    PhantomSettings
        With the patient's own field strength, and with the values that confounders are tied to.
    """
    # Every value is drawn whatever the dials, so that one dial does not change what another one draws.
    stronger, *tied = rng.random(1 + len(_TIES))
    changes: dict[str, Any] = {"field_t": 3.0} if stronger < settings.share_at_3_t else {}
    usual = (diagnosis is Diagnosis.MALIGNANT) == (settings.tie_strength > 0)
    for place, (name, values) in zip(tied, _TIES.items(), strict=True):
        if name in settings.tied and place < abs(settings.tie_strength):
            changes |= values[0 if usual else 1]
    return replace(settings, **changes) if changes else settings


def vary_habitus(habitus: Habitus, rng: np.random.Generator) -> VariedHabitus:
    """Draw marrow of a wider range of fat, unevenness and grain.

    Parameters
    ----------
    habitus : Habitus
    rng : numpy.random.Generator

    Returns
    -------
    VariedHabitus
    """
    known = {item.name: getattr(habitus, item.name) for item in fields(Habitus)}
    known |= {
        "marrow_fat": float(np.clip(habitus.marrow_fat + 0.07 * rng.standard_normal(), 0.15, 0.78)),
        "marrow_texture": float(rng.uniform(0.02, 0.12)),
        "muscle_fat": float(np.clip(habitus.muscle_fat + 0.12 * rng.random(), 0.02, 0.6)),
        "subcutaneous_mm": float(rng.uniform(4, 34)),
        "marrow_grain": float(np.exp(rng.uniform(np.log(0.6), np.log(1.9)))),
    }
    return VariedHabitus(**known)


def vary_protocols(settings: PhantomSettings, protocols: Protocols, rng: np.random.Generator) -> Protocols:
    """Draw the acquisition of every series over the clinical range, instead of by a scanner's preset.

    Parameters
    ----------
    settings : PhantomSettings
    protocols : Protocols
        By the preset; series that are not diagnostic stay as they are, apart from their slices.
    rng : numpy.random.Generator

    Returns
    -------
    Protocols
    """
    thickness = float(rng.uniform(3.0, 5.0))
    spacing = round(thickness * float(rng.uniform(1.0, 1.25)), 2)
    slices = int(np.clip(round(rng.uniform(52, 74) / spacing), 11, 19))
    stack = {"thickness_mm": round(thickness, 2), "spacing_mm": spacing, "slices": slices}
    t1w, t2w = _t1w(protocols.t1w.sequence, rng), _t2w(protocols.t2w.sequence, rng)
    return Protocols(
        t1w=_varied(settings, replace(protocols.t1w, sequence=t1w), stack, rng),
        t2w=_varied(settings, replace(protocols.t2w, sequence=t2w), stack, rng),
        stir=replace(protocols.stir, thickness_mm=stack["thickness_mm"], spacing_mm=spacing),
        localizer=protocols.localizer,
        coil=_coil(settings, rng),
    )


def _t1w(sequence: Sequence, rng: np.random.Generator) -> Sequence:
    fast = rng.random() < 0.4
    repetition, echo = float(rng.uniform(380, 800)), float(rng.uniform(8, 18))
    train = int(rng.integers(2, 5))
    changed = replace(sequence, repetition_ms=repetition, echo_ms=echo)
    return replace(changed, kind="fse", train_length=train, echo_spacing_ms=9.0) if fast else changed


def _t2w(sequence: Sequence, rng: np.random.Generator) -> Sequence:
    return replace(
        sequence,
        repetition_ms=float(rng.uniform(2200, 5500)),
        echo_ms=float(rng.uniform(74, 125)),
        train_length=int(rng.integers(8, 29)),
        echo_spacing_ms=float(rng.uniform(7, 12)),
    )


def _coil(settings: PhantomSettings, rng: np.random.Generator) -> Coil:
    coil = Coil(
        depth_mm=float(np.exp(rng.uniform(np.log(55), np.log(230)))),
        length_mm=float(rng.uniform(150, 300)),
        ripple=float(rng.uniform(0, 0.18)),
        ripple_phase=float(rng.uniform(0, 6.28)),
        correction=float(rng.uniform(0.4, 1.0) if rng.random() < 0.6 else 0.0),
    )
    return Coil.uniform() if "coil" in settings.without else coil


def _varied(settings: PhantomSettings, protocol: Protocol, stack: dict[str, Any], rng: np.random.Generator) -> Protocol:
    # 192 to 640 pixels a side at the usual 512.
    matrix = max(64, round(settings.matrix * float(np.exp(rng.uniform(np.log(0.375), np.log(1.25)))) / 2) * 2)
    frequency, share = float(np.exp(rng.uniform(np.log(224), np.log(512)))), float(rng.uniform(0.55, 1.0))
    samples = min(round(frequency / 2) * 2, matrix), min(round(frequency * share / 2) * 2, matrix)
    hertz = float(rng.uniform(100, 300)) * (1.5 if settings.field_t > 2 else 1.0)
    noise, ghost = float(np.exp(rng.uniform(np.log(13), np.log(60)))), float(rng.uniform(0, 0.12))
    edge, width, gain = float(rng.uniform(0.8, 1.0)), float(rng.uniform(0.03, 0.14)), float(rng.uniform(0.3, 2.5))
    if "zero_fill" in settings.without:
        samples = matrix, matrix
    return replace(
        protocol,
        **stack,
        matrix=matrix,
        samples=samples,
        painted=min(samples[0], 352),
        bandwidth_hz=hertz,
        noise=settings.noise / noise * (NOISE_AT_3_T if settings.field_t > 2 else 1.0),
        ghost=0.0 if "ghosts" in settings.without else ghost,
        filter_edge=edge,
        filter_width=width,
        gain=protocol.gain * gain,
        frequency_axis="SI" if rng.random() < 0.5 else "AP",
    )
