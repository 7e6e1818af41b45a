"""Scanner presets: invented ones in the manner of three vendors, drawn independently of the class."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["VENDORS", "Vendor"]


@dataclass(frozen=True)
class Vendor:
    """Preset of one vendor's scanner.

    Parameters
    ----------
    manufacturer, model : str
        As the headers state them, marked as synthetic.
    t1w_samples, t2w_samples, stir_samples : tuple of int, length 2
        Acquired samples along frequency and phase.
    t1w_hz, t2w_hz, stir_hz : tuple of float, length 2
        Range of the bandwidth per pixel along frequency, at that number of samples.
    train_length : int
        Echo train length of the T2W series.
    echo_spacing_ms : float
        Echo spacing of the T2W series.
    spacing_mm : float
        Distance between the centres of slices of 4 mm: thickness plus gap.
    filter_edge, filter_width : float
        Radius at which the Fermi filter of k-space halves the signal, and its width, as shares of the sampled radius.
    corrected : float
        Share of patients whose images are corrected for the coil's fall-off.
    t1w_reconstructed : float
        Side of the reconstructed T1W image over that of the T2W image.
    """

    manufacturer: str
    model: str
    t1w_samples: tuple[int, int]
    t2w_samples: tuple[int, int]
    stir_samples: tuple[int, int]
    t1w_hz: tuple[float, float]
    t2w_hz: tuple[float, float]
    stir_hz: tuple[float, float]
    train_length: int
    echo_spacing_ms: float
    spacing_mm: float
    filter_edge: float
    filter_width: float
    corrected: float
    t1w_reconstructed: float


# Bandwidths and matrices of the first preset are those of the scanner in Yeh 2022; all else is a design choice.
VENDORS: MappingProxyType[str, Vendor] = MappingProxyType(
    {
        "ge": Vendor(
            manufacturer="SPINEFX (GE-like)",
            model="DIGITAL PHANTOM G",
            t1w_samples=(320, 192),
            t2w_samples=(448, 224),
            stir_samples=(256, 192),
            t1w_hz=(97.7, 162.8),
            t2w_hz=(93.0, 186.0),
            stir_hz=(120.0, 200.0),
            train_length=16,
            echo_spacing_ms=10.5,
            spacing_mm=4.4,
            filter_edge=0.92,
            filter_width=0.09,
            corrected=0.6,
            t1w_reconstructed=1.0,
        ),
        "siemens": Vendor(
            manufacturer="SPINEFX (Siemens-like)",
            model="DIGITAL PHANTOM S",
            t1w_samples=(320, 224),
            t2w_samples=(384, 268),
            stir_samples=(256, 192),
            t1w_hz=(120.0, 180.0),
            t2w_hz=(130.0, 210.0),
            stir_hz=(150.0, 220.0),
            train_length=15,
            echo_spacing_ms=11.0,
            spacing_mm=4.4,
            filter_edge=0.96,
            filter_width=0.05,
            corrected=0.7,
            t1w_reconstructed=0.75,
        ),
        "philips": Vendor(
            manufacturer="SPINEFX (Philips-like)",
            model="DIGITAL PHANTOM P",
            t1w_samples=(300, 216),
            t2w_samples=(352, 256),
            stir_samples=(240, 180),
            t1w_hz=(130.0, 200.0),
            t2w_hz=(140.0, 220.0),
            stir_hz=(150.0, 240.0),
            train_length=20,
            echo_spacing_ms=8.5,
            spacing_mm=4.8,
            filter_edge=0.88,
            filter_width=0.1,
            corrected=0.5,
            t1w_reconstructed=1.0,
        ),
    }
)
"""Presets by name."""
