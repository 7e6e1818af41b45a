"""Located spines as files: JSON, 3D Slicer markups, a BIDS-like table, and label maps with their lookup table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinefx.documents import check_keys, read_json
from spinefx.errors import FileError, InputError
from spinefx.files import write_text
from spinefx.imaging.nifti import is_nifti_name, stem_of, write_nifti
from spinefx.imaging.volume import Slices, Volume
from spinefx.localisation.instances import divide_bodies, divide_discs
from spinefx.localisation.labels import CodeTable, TissueClass
from spinefx.localisation.spine import Anomaly, Convention, LocatedSpine, LocatedVertebra
from spinefx.tables.writing import tsv_text
from spinefx.vocabulary import LEVELS, RESEARCH_USE_ONLY, Weighting

__all__ = [
    "centres_of_labels",
    "label_codes",
    "name_to_json",
    "read_markups",
    "read_spine",
    "spine_from_json",
    "spine_to_json",
    "write_label_map",
    "write_markups",
    "write_spine",
    "write_spine_table",
]

SLICER_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.0.json#"
)
COORDINATES = (
    "centre_mm is left, posterior, superior (LPS), in millimetres, in the DICOM patient frame of the series. Slices "
    "are counted from 0 by position, from the patient's left; first and last are both included. box_side_mm is the "
    "side of a square in the plane of the slices."
)
COLUMNS = {
    "level": "Vertebral level; n/a where the vertebra has no name",
    "named": "Whether the vertebra has a name",
    "confidence": "Probability that the name is right; without a name, that there is a vertebra",
    "left_mm": "Centre of the body, LPS: towards the patient's left, millimetres",
    "posterior_mm": "Centre of the body, LPS: towards the patient's back, millimetres",
    "superior_mm": "Centre of the body, LPS: towards the patient's head, millimetres",
    "box_side_mm": "Side of the square around the body in the plane of the slices, millimetres",
    "first_slice": "First slice that shows the body, counted from 0 by position from the patient's left",
    "last_slice": "Last slice that shows the body",
}
_KEYS = (
    *("series", "vertebrae", "convention", "names", "anomalies", "notes", "coordinates", "note"),
    *("most_abnormal", "ranking"),
)
_VERTEBRA_KEYS = ("level", "named", "confidence", "centre_mm", "box_side_mm", "first_slice", "last_slice")

# TPTBox and SPINEPS (Hendrik-code/TPTBox, core/vert_constants.py): instances of vertebrae, 100 more for the disc below
# each, and codes of sub-regions for what is not divided by level.
_LEVEL_CODES = {level: code for code, level in enumerate((one for one in LEVELS if one[0] != "S" and one != "T13"), 1)}
_LEVEL_CODES |= {"S1": 26, "T13": 28, "S2": 29, "S3": 30, "S4": 31, "S5": 32}
_DISC, _POSTERIOR, _CANAL, _SACRUM, _UNNAMED = 100, 41, 61, 29, 300
_MOST_UNNAMED = 30


def spine_to_json(spine: LocatedSpine, series: str) -> dict[str, Any]:
    """Return a located spine as JSON values.

    Parameters
    ----------
    spine : LocatedSpine
    series : str
        What the vertebrae were found in: :attr:`spinefx.imaging.series.Series.label`, which holds the number, plane and
        timing of the series and no text from its header, or a pseudonymous key. Never a name, UID, path or date.

    Returns
    -------
    dict
    """
    return {
        "series": series,
        "vertebrae": [_vertebra_to_json(vertebra) for vertebra in spine.vertebrae],
        "convention": spine.convention.value,
        "names": spine.convention.sentence if spine.vertebrae else "The series shows no vertebra.",
        "anomalies": [anomaly.value for anomaly in spine.anomalies],
        "notes": list(spine.notes),
        "coordinates": COORDINATES,
        "note": RESEARCH_USE_ONLY,
    }


def name_to_json(spine: LocatedSpine, level: str) -> dict[str, Any]:
    """Return what the name of one vertebra rests on, as JSON values.

    Parameters
    ----------
    spine : LocatedSpine
    level : str
        One of the spine's levels.

    Returns
    -------
    dict
        Level, confidence, convention, anomalies and notes.

    Raises
    ------
    LevelError
        When the spine has no such vertebra.
    """
    values = spine_to_json(spine, "")
    shown = {key: values[key] for key in ("convention", "names", "anomalies", "notes")}
    return {"level": level, "confidence": round(spine.at_level(level).confidence, 4)} | shown


def spine_from_json(value: Mapping[str, Any], *, where: str) -> LocatedSpine:
    """Return the located spine of JSON values.

    Parameters
    ----------
    value : mapping
        As :func:`spine_to_json` returns it.
    where : str
        What the values are called in errors.

    Returns
    -------
    LocatedSpine

    Raises
    ------
    FileError
        For unknown, missing or ill-typed values.
    LevelError, BoxError
        For an impossible spine.
    """
    check_keys(value, _KEYS, FileError, where=where, needed=("vertebrae", "convention"))
    try:
        vertebrae = tuple(_vertebra_from_json(one, where) for one in value["vertebrae"])
        convention = Convention(value["convention"])
        anomalies = tuple(Anomaly(one) for one in value.get("anomalies", ()))
        notes = tuple(str(one) for one in value.get("notes", ()))
    except (TypeError, ValueError, KeyError, AttributeError):
        raise FileError(
            "holds values of another kind than a located spine", where=where, allowed="what spinefx locate writes"
        ) from None
    return LocatedSpine(vertebrae, convention, anomalies, notes)


def write_spine(path: Path, spine: LocatedSpine, series: str, *, further: Mapping[str, Any] | None = None) -> None:
    """Write a located spine as JSON, markups or a table, whichever the name asks for.

    Parameters
    ----------
    path : Path
        ``.mrk.json`` for 3D Slicer, ``.tsv`` for a table with its sidecar, any other ``.json`` for the values of
        :func:`spine_to_json`.
    spine : LocatedSpine
    series : str
        As in :func:`spine_to_json`.
    further : mapping, optional
        JSON values that are written beside those of the spine, to ``.json`` alone.

    Raises
    ------
    InputError
        For another ending.
    InterruptedWrite
        When a file cannot be written.
    """
    name = path.name.casefold()
    if name.endswith(".mrk.json"):
        write_markups(path, spine)
    elif name.endswith(".json"):
        values = spine_to_json(spine, series) | dict(further or {})
        write_text(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    elif name.endswith(".tsv"):
        write_spine_table(path, spine, series)
    else:
        raise InputError("the file to write has another ending", allowed=".json, .mrk.json or .tsv")


def read_spine(path: Path) -> LocatedSpine:
    """Read a located spine from the JSON that :func:`write_spine` writes.

    Parameters
    ----------
    path : Path

    Returns
    -------
    LocatedSpine

    Raises
    ------
    FileError, LevelError, BoxError
        As :func:`spine_from_json`.
    """
    return spine_from_json(read_json(path, FileError), where=path.name)


def write_markups(path: Path, spine: LocatedSpine) -> None:
    """Write the centres as a point list of 3D Slicer.

    Parameters
    ----------
    path : Path
        Ends in ``.mrk.json``, by which 3D Slicer recognises it.
    spine : LocatedSpine

    Raises
    ------
    InterruptedWrite

    Notes
    -----
    The file declares its coordinate system, LPS: 3D Slicer shows RAS and turns the points itself.
    """
    points = [
        {
            "id": str(number),
            "label": _label(vertebra, number),
            "description": f"confidence {vertebra.confidence:.2f}",
            "position": list(vertebra.centre_mm),
            "positionStatus": "defined",
        }
        for number, vertebra in enumerate(spine.vertebrae, start=1)
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "labelFormat": "%N-%d",
        "controlPoints": points,
    }
    write_text(path, json.dumps({"@schema": SLICER_SCHEMA, "markups": [markup]}, indent=2) + "\n")


def read_markups(path: Path) -> tuple[tuple[str, tuple[float, float, float]], ...]:
    """Read the point lists of a 3D Slicer markups file.

    Parameters
    ----------
    path : Path
        Points of undefined position are left out.

    Returns
    -------
    tuple of (str, tuple of float)
        Label and place of each point, LPS, millimetres, whichever coordinate system the file declares.

    Raises
    ------
    FileError
        When the file holds no markups, or declares another coordinate system or unit.
    """
    value = read_json(path, FileError)
    try:
        return tuple(point for markup in value["markups"] for point in _points(markup, path.name))
    except (TypeError, ValueError, KeyError, AttributeError):
        raise FileError("is no markups file of 3D Slicer", where=path.name) from None


def write_spine_table(path: Path, spine: LocatedSpine, series: str) -> None:
    """Write a located spine as a TSV with a JSON sidecar that describes its columns, as BIDS has it.

    Parameters
    ----------
    path : Path
    spine : LocatedSpine
    series : str
        As in :func:`spine_to_json`.

    Raises
    ------
    InterruptedWrite
    """
    rows = [
        (
            *(vertebra.level, str(vertebra.named).lower(), f"{vertebra.confidence:.4f}"),
            *(f"{place:.3f}" for place in vertebra.centre_mm),
            *(f"{vertebra.box_side_mm:.3f}", vertebra.first_slice, vertebra.last_slice),
        )
        for vertebra in spine.vertebrae
    ]
    write_text(path, tsv_text(path.name, tuple(COLUMNS), rows))
    about = {key: value for key, value in spine_to_json(spine, series).items() if key != "vertebrae"}
    sidecar = {name: {"Description": meaning} for name, meaning in COLUMNS.items()} | {"SpineFx": about}
    write_text(path.with_suffix(".json"), json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n")


def label_codes() -> CodeTable:
    """Return the codes of :func:`write_label_map` as teaching reads them.

    Returns
    -------
    CodeTable
        Bodies without a name are vertebrae of their own.
    """
    bodies = {code: level for level, code in _LEVEL_CODES.items() if level not in ("S2", "S3", "S4", "S5")}
    unnamed = {_UNNAMED + number: f"vertebra {number}" for number in range(1, _MOST_UNNAMED + 1)}
    discs = dict.fromkeys([_DISC, *(_DISC + code for code in bodies)], TissueClass.DISC)
    sacrum = {_LEVEL_CODES[level]: TissueClass.SACRUM for level in ("S2", "S3", "S4", "S5")}
    return CodeTable(bodies | unnamed, discs | sacrum | {_POSTERIOR: TissueClass.POSTERIOR, _CANAL: TissueClass.CANAL})


def centres_of_labels(labels: Volume, table: CodeTable) -> dict[str, NDArray[np.float64]]:
    """Return the centre of every vertebral body of a label map.

    Parameters
    ----------
    labels : Volume
    table : CodeTable

    Returns
    -------
    dict of str to ndarray of float64, shape (3,)
        Mean place of the voxels by level, LPS millimetres; without the sacrum below S1.
    """
    numbers = table.levels_of(labels.array)
    return {
        level: labels.to_mm(np.argwhere(numbers == number).mean(axis=0))
        for number, level in enumerate(table.levels, start=1)
        if (numbers == number).any()
    }


def write_label_map(path: Path, classes: NDArray[np.integer], grid: Slices, spine: LocatedSpine) -> None:
    """Write the masks as a label map (``dseg``) with its lookup table and sidecar.

    Parameters
    ----------
    path : Path
        Ends in ``.nii`` or ``.nii.gz``. The lookup table (TSV) and the sidecar (JSON) get the same stem.
    classes : ndarray of int, shape (slice, row, column)
        Values of :class:`spinefx.localisation.labels.TissueClass`.
    grid : Slices
        Where they lie in the patient.
    spine : LocatedSpine

    Raises
    ------
    FileError
        When the name is no NIfTI name.
    GeometryError
        When the masks have another shape than the grid.
    InterruptedWrite

    Notes
    -----
    The codes are those of TPTBox and SPINEPS: 1 to 7 C1 to C7, 8 to 19 T1 to T12, 20 to 25 L1 to L6, 26 S1, 28 T13;
    100 more for the disc below a vertebra, and 100 for a disc of no named vertebra; 41 posterior elements and 61 spinal
    canal with cord, not divided by level. 29, there S2, is S2 to S5 undivided. Vertebrae without a name have 301, 302
    and so on.
    """
    if not is_nifti_name(path.name):
        raise FileError("is not named as a NIfTI file", where="the file for the masks", allowed=".nii or .nii.gz")
    codes = np.zeros(classes.shape, np.int16)
    names = {0: "background"}
    whole = {
        TissueClass.POSTERIOR: (_POSTERIOR, "posterior elements"),
        TissueClass.CANAL: (_CANAL, "spinal canal with cord"),
        TissueClass.SACRUM: (_SACRUM, "S2 to S5, not divided"),
    }
    for kind, (code, name) in whole.items():
        codes[classes == kind] = code
        names[code] = name
    bodies, discs = divide_bodies(classes, grid, spine), divide_discs(classes, grid, spine)
    for number, vertebra in enumerate(spine.vertebrae, start=1):
        code = _UNNAMED + number if vertebra.level is None else _LEVEL_CODES[vertebra.level]
        disc = _DISC if vertebra.level is None else _DISC + code
        codes[bodies == number], codes[discs == number] = code, disc
        label = _label(vertebra, number)
        names |= {code: f"vertebral body {label}", disc: f"disc below {label}" if vertebra.named else "disc"}
    codes[discs < 0] = _DISC
    names.setdefault(_DISC, "disc")
    present = sorted(set(np.unique(codes).tolist()) | {0})
    rows = [(code, names[code]) for code in present]
    sidecar = {
        "Description": f"Vertebral bodies, discs, canal and posterior elements. {RESEARCH_USE_ONLY}",
        "Codes": "TPTBox and SPINEPS; 29 is S2 to S5 undivided, 301 and more are vertebrae without a name",
        "Manual": False,
        "Convention": spine.convention.sentence,
    }
    frame = grid.frame_of_reference
    write_text(path.with_name(f"{stem_of(path.name)}.tsv"), tsv_text(path.name, ("index", "name"), rows))
    write_nifti(path, Volume(codes.astype(np.float32), grid.affine, frame, Weighting.OTHER), sidecar)


def _label(vertebra: LocatedVertebra, number: int) -> str:
    return vertebra.level or f"vertebra {number}"


def _vertebra_to_json(vertebra: LocatedVertebra) -> dict[str, Any]:
    return {
        "level": vertebra.level,
        "named": vertebra.named,
        "confidence": round(vertebra.confidence, 4),
        "centre_mm": [round(place, 3) for place in vertebra.centre_mm],
        "box_side_mm": round(vertebra.box_side_mm, 3),
        "first_slice": vertebra.first_slice,
        "last_slice": vertebra.last_slice,
    }


def _vertebra_from_json(value: Any, where: str) -> LocatedVertebra:
    check_keys(value, _VERTEBRA_KEYS, FileError, where=where, needed=_VERTEBRA_KEYS)
    left, posterior, superior = value["centre_mm"]
    slices = value["first_slice"], value["last_slice"]
    if not all(type(one) is int for one in slices) or type(value["named"]) is not bool:
        raise TypeError
    return LocatedVertebra(
        value["level"],
        value["named"],
        float(value["confidence"]),
        (float(left), float(posterior), float(superior)),
        float(value["box_side_mm"]),
        *slices,
    )


def _points(markup: Mapping[str, Any], where: str) -> Iterator[tuple[str, tuple[float, float, float]]]:
    system, unit = markup["coordinateSystem"], markup.get("coordinateUnits", "mm")
    if system not in {"LPS", "RAS"} or unit != "mm":
        raise FileError("coordinates in another system or unit", where=where, allowed="LPS or RAS, in mm")
    sign = 1.0 if system == "LPS" else -1.0
    for point in markup["controlPoints"]:
        if point.get("positionStatus", "defined") == "defined":
            first, second, superior = (float(place) for place in point["position"])
            yield str(point["label"]), (sign * first, sign * second, superior)
