"""Where a marked vertebra of the T2W series lies in the T1W series."""

from __future__ import annotations

from typing import Any

from spinefx.cases.lesion import Lesion
from spinefx.imaging.registration import Alignment, align
from spinefx.imaging.volume import Slices

__all__ = ["align_lesion", "alignment_record"]


def align_lesion(lesion: Lesion, t2w: Slices, t1w: Slices, *, method: str) -> Alignment:
    """Find where a lesion of the T2W series lies in the T1W series.

    Parameters
    ----------
    lesion : Lesion
        Inside ``t2w``.
    t2w, t1w : Slices
    method : str
        As :func:`spinefx.imaging.registration.align` takes it.

    Returns
    -------
    Alignment

    Raises
    ------
    RegistrationError
    """
    return align(
        t2w,
        t1w,
        centre_mm=lesion.box.centre_mm,
        side_mm=lesion.box.side_mm,
        method=method,
        lesion_slices=(lesion.first_slice, lesion.last_slice),
    )


def alignment_record(alignment: Alignment) -> dict[str, Any]:
    """Describe an alignment for JSON.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    dict
    """
    record = {name: value for name, value in vars(alignment).items() if name != "matrix"}
    return record | {"t2w_mm_to_t1w_mm": [[round(float(value), 9) for value in row] for row in alignment.matrix]}
