"""spinefx locate: find and name the vertebrae of a study."""

from __future__ import annotations

import json
from pathlib import Path

from spinefx.cli.shell import app
from spinefx.cli.terminal import say

__all__: list[str] = []


@app.command
def locate(
    study: Path,
    *,
    out: Path | None = None,
    picture: Path | None = None,
    masks: Path | None = None,
    series: str | None = None,
    weights: Path | None = None,
) -> None:
    """Find and name the vertebrae of a study, and rank the most abnormal ones (JSON, on standard output or in --out).

    Parameters
    ----------
    study
        Folder, file, ZIP, DICOMDIR or NIfTI of one patient: a sagittal series, or several.
    out
        File for the vertebrae: .json, .mrk.json (3D Slicer) or .tsv; LPS millimetres in all.
    picture
        File for a picture (PNG) with the squares and names.
    masks
        File for the label map (.nii or .nii.gz) of bodies, discs, canal and posterior elements; its lookup table (.tsv)
        and sidecar (.json) are written beside it.
    series
        UID of a series to search instead of the automatic choice.
    weights
        Folder of a localiser that train-localiser wrote; by default the one that comes with spinefx is used.
    """
    from spinefx.commands.locate import locate as run

    found = run(study, out=out, picture=picture, masks=masks, series=series, weights=weights)
    if out is None:
        print(json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
        return
    for note in found.spine.notes:
        say(note, error=True)
    many = len(found.spine.vertebrae)
    named = f": {found.spine.levels[0]} to {found.spine.levels[-1]}" if found.spine.levels else ""
    say(f"{many} vertebra{'e' * (many != 1)}{named}. Written to {out}")
