"""How one patient is scanned: the coil, and the acquisition of each series, drawn from a scanner's preset."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spinefx.phantom.scanner import FAT_OFFSET_HZ_PER_T, Coil, Protocol
from spinefx.phantom.settings import PhantomSettings
from spinefx.phantom.tissue import Sequence, draw_random_contrast
from spinefx.phantom.vendors import Vendor

__all__ = ["NOISE_AT_3_T", "Protocols", "draw_field", "draw_protocols", "with_random_contrast"]

FIELD_OF_VIEW_MM = 300.0
_CENTRES = ("lesion", "cervical", "thoracic", "thoracolumbar", "lumbar", "whole_spine")
NOISE_AT_3_T = 0.6
"""Noise at 3 T over that at 1.5 T: a design choice between half, as theory has it, and what is traded for speed."""


@dataclass(frozen=True)
class Protocols:
    """The acquisition of every series of one patient.

    Parameters
    ----------
    t1w, t2w, stir, localizer : Protocol
    coil : Coil
    """

    t1w: Protocol
    t2w: Protocol
    stir: Protocol
    localizer: Protocol
    coil: Coil


@dataclass(frozen=True)
class _Examination:
    """What all series of one examination share."""

    saturation: float
    saturation_mm: float
    gain: float
    noise: float


def draw_protocols(settings: PhantomSettings, vendor: Vendor, rng: np.random.Generator) -> Protocols:
    """Draw the coil and the protocol of every series.

    Parameters
    ----------
    settings : PhantomSettings
    vendor : Vendor
        Preset of the scanner.
    rng : numpy.random.Generator

    Returns
    -------
    Protocols
    """
    off = set(settings.without)
    coil = _draw_coil(vendor, rng)
    saturated, residue, start = rng.random() < 0.75, rng.uniform(0.1, 0.35), rng.uniform(24, 36)
    examination = _Examination(
        saturation=float(residue) if saturated and "saturation_band" not in off else 1.0,
        saturation_mm=float(start),
        gain=float(rng.uniform(280, 520)),
        noise=settings.noise * (NOISE_AT_3_T if settings.field_t > 2 else 1.0),
    )

    def protocol(
        sequence: Sequence, name: str, samples: tuple[int, int], matrix: int, bandwidth_hz: tuple[float, float]
    ) -> Protocol:
        return _draw_protocol(settings, vendor, examination, sequence, name, samples, matrix, bandwidth_hz, rng)

    t1 = Sequence("se", float(rng.uniform(380, 460)), float(rng.uniform(11, 16)))
    train = vendor.train_length, vendor.echo_spacing_ms
    t2 = Sequence("fse", float(rng.uniform(3000, 3600)), float(rng.uniform(84, 100)), 0, *train)
    inversion = Sequence("stir", float(rng.uniform(3400, 4200)), float(rng.uniform(36, 48)), 150.0, 10, 9.0)
    scout = Sequence("gre", 8.0, 2.4, flip_deg=30.0)
    small = max(64, settings.matrix // 2)
    t1w_matrix = max(64, int(settings.matrix * vendor.t1w_reconstructed) // 2 * 2)
    t1w = protocol(t1, "SAG T1", vendor.t1w_samples, t1w_matrix, vendor.t1w_hz)
    t2w = protocol(t2, "SAG T2", vendor.t2w_samples, settings.matrix, vendor.t2w_hz)
    stir = protocol(inversion, "SAG STIR", vendor.stir_samples, small, vendor.stir_hz)
    localizer = protocol(scout, "LOC", (192, 128), small, (300.0, 400.0))
    return Protocols(
        t1w=t1w,
        t2w=t2w,
        stir=replace(stir, slices=13, thin=1, painted=min(stir.samples[0], 192)),
        localizer=replace(localizer, slices=1, spacing_mm=10.0, thickness_mm=8.0, fov_mm=380.0, ghost=0.0, thin=1),
        coil=Coil.uniform() if "coil" in off else coil,
    )


def _draw_coil(vendor: Vendor, rng: np.random.Generator) -> Coil:
    correction = float(rng.uniform(0.6, 0.85))
    return Coil(
        depth_mm=float(rng.uniform(75, 140)),
        length_mm=float(rng.uniform(170, 220)),
        ripple=float(rng.uniform(0, 0.10)),
        ripple_phase=float(rng.uniform(0, 6.28)),
        correction=correction if rng.random() < vendor.corrected else 0.0,
    )


def _draw_protocol(
    settings: PhantomSettings,
    vendor: Vendor,
    examination: _Examination,
    sequence: Sequence,
    description: str,
    vendor_samples: tuple[int, int],
    matrix: int,
    bandwidth_hz: tuple[float, float],
    rng: np.random.Generator,
) -> Protocol:
    off = set(settings.without)
    samples = min(vendor_samples[0], matrix) // 2 * 2, min(vendor_samples[1], matrix) // 2 * 2
    if "zero_fill" in off:
        samples = matrix, matrix
    ghost = float(rng.uniform(0.01, 0.08))
    return Protocol(
        sequence=replace(sequence, field_t=settings.field_t),
        description=description,
        samples=samples,
        matrix=matrix,
        fov_mm=FIELD_OF_VIEW_MM,
        slices=int(rng.choice([13, 14, 15], p=[0.25, 0.25, 0.5])),
        spacing_mm=vendor.spacing_mm,
        thickness_mm=4.0,
        # Another number of samples over the same field changes the bandwidth per pixel, not the fat shift in mm.
        bandwidth_hz=float(rng.uniform(*bandwidth_hz)) * vendor_samples[0] / samples[0],
        fat_offset_hz=0.0 if "chemical_shift" in off else FAT_OFFSET_HZ_PER_T * settings.field_t,
        frequency_axis="SI" if rng.random() < 0.6 else "AP",
        polarity=1 if rng.random() < 0.5 else -1,
        noise=examination.noise / float(rng.uniform(22, 44)),
        saturation=examination.saturation,
        saturation_mm=examination.saturation_mm,
        ghost=0.0 if "ghosts" in off else ghost,
        ghost_shift=float(rng.uniform(0.08, 0.35)),
        gain=examination.gain * float(rng.uniform(0.85, 1.2)),
        thin=1 if "partial_volume" in off else 3,
        painted=min(samples[0], 352),
        filter_edge=vendor.filter_edge,
        filter_width=vendor.filter_width,
        reverse=bool(rng.random() < 0.5),
    )


def draw_field(settings: PhantomSettings, protocols: Protocols, rng: np.random.Generator) -> tuple[Protocols, str]:
    """Draw the field of view, what it is centred on, and the distance between slices.

    Parameters
    ----------
    settings : PhantomSettings
    protocols : Protocols
        With the usual field.
    rng : numpy.random.Generator

    Returns
    -------
    protocols : Protocols
        With the drawn field and slices; the coil is as long as the field needs.
    centre : str
        As the dial ``field_centre`` lists it, except ``any``.
    """
    side = float(rng.uniform(settings.field_of_view_mm.low, settings.field_of_view_mm.high))
    spacing = settings.slice_spacing_mm
    drawn_mm = float(rng.uniform(spacing.low, spacing.high)) if spacing else float(rng.random())
    centre = str(rng.choice(_CENTRES)) if settings.field_centre == "any" else settings.field_centre

    def changed(protocol: Protocol) -> Protocol:
        if spacing is None:
            return replace(protocol, fov_mm=side)
        # A slice and its gap keep their proportion.
        return replace(protocol, fov_mm=side, spacing_mm=drawn_mm, thickness_mm=round(0.9 * drawn_mm, 2))

    return (
        Protocols(
            t1w=changed(protocols.t1w),
            t2w=changed(protocols.t2w),
            stir=changed(protocols.stir),
            localizer=replace(protocols.localizer, fov_mm=max(protocols.localizer.fov_mm, side)),
            coil=replace(protocols.coil, length_mm=protocols.coil.length_mm * (side / FIELD_OF_VIEW_MM)),
        ),
        centre,
    )


def with_random_contrast(protocols: Protocols, rng: np.random.Generator) -> Protocols:
    """Replace the physics of every series by random tissue intensities.

    Parameters
    ----------
    protocols : Protocols
    rng : numpy.random.Generator

    Returns
    -------
    Protocols
        The same acquisitions of other contrast.
    """

    def changed(protocol: Protocol) -> Protocol:
        return replace(protocol, sequence=replace(protocol.sequence, brightness=draw_random_contrast(rng)))

    t1w, t2w, stir, localizer = map(changed, (protocols.t1w, protocols.t2w, protocols.stir, protocols.localizer))
    return Protocols(t1w, t2w, stir, localizer, protocols.coil)
