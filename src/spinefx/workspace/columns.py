"""The columns of a workspace's tables, and the dictionaries that explain them."""

from __future__ import annotations

from typing import Any

from spinefx.vocabulary import SIGN_IDENTIFIERS, SIGNS, TruthSource

__all__ = [
    "BOX_COLUMNS",
    "COLUMN_MEANINGS",
    "IMAGE_COLUMNS",
    "LESION_COLUMNS",
    "PARTICIPANT_COLUMNS",
    "READING_COLUMNS",
    "SIGN_COLUMNS",
]

PARTICIPANT_COLUMNS = ("participant_id", "age", "sex", "diagnosis", "truth_source", "primary_tumor")
BOX_COLUMNS = ("centre_l_mm", "centre_p_mm", "centre_s_mm", "side_mm", "first_slice", "last_slice")
LESION_COLUMNS = ("case_id", "participant_id", "level", *BOX_COLUMNS, "annotator")
READING_COLUMNS = ("case_id", "reader_id", "arm", "diagnosis", "confidence", "seconds")
IMAGE_COLUMNS = ("participant_id", "series", "voxel_sha256")
SIGN_COLUMNS = ("case_id", "reader_id", *SIGN_IDENTIFIERS)
COLUMN_MEANINGS: dict[str, dict[str, Any]] = {
    "participants": {
        "participant_id": {"Description": "Pseudonym assigned at ingest; its number carries no information"},
        "age": {"Description": "Age at the examination; 90 means 90 and above", "Units": "years"},
        "sex": {
            "Description": "From the table of cases, or else from the header of the images",
            "Levels": {"F": "female", "M": "male", "O": "other"},
        },
        "diagnosis": {"Description": "Established diagnosis", "Levels": {"benign": "benign", "malignant": "malignant"}},
        "truth_source": {
            "Description": "How the diagnosis was established",
            "Levels": {s.value: s.value for s in TruthSource},
        },
        "primary_tumor": {"Description": "Known primary tumour"},
    },
    "lesions": {
        "level": {"Description": "Vertebral level, C1 to S5"},
        "centre_l_mm": {"Description": "Centre of the box, to the patient's left (DICOM)", "Units": "mm"},
        "centre_p_mm": {"Description": "Centre of the box, to the back (DICOM)", "Units": "mm"},
        "centre_s_mm": {"Description": "Centre of the box, to the head (DICOM)", "Units": "mm"},
        "side_mm": {"Description": "Side of the square box in the plane of the T2W slices", "Units": "mm"},
        "first_slice": {"Description": "First T2W slice of the lesion, counted from 0 along the stack as stored"},
        "last_slice": {"Description": "Last T2W slice of the lesion, inclusive"},
        "annotator": {"Description": "Code of the person who marked the box"},
    },
    "readings": {
        "reader_id": {"Description": "Code of the reader"},
        "arm": {
            "Description": "Without the model, with it, or with its answer flipped on purpose",
            "Levels": {"unaided": "without", "aided": "with", "perturbed": "with a flipped answer"},
        },
        "diagnosis": {"Description": "The reader's answer"},
        "confidence": {"Description": "Confidence that the fracture is malignant", "Units": "percent"},
        "seconds": {"Description": "Reading time", "Units": "s"},
    },
    "signs": {
        sign.identifier: {"Description": sign.label, "Levels": {"y": "yes", "n": "no", "u": "not assessable"}}
        for sign in SIGNS
    },
}
