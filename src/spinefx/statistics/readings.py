"""Readings grouped by reader, under the name that tables and figures show for each reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spinefx.cases.reading import Reading
from spinefx.statistics.inputs import readings_from, truth_from
from spinefx.vocabulary import Arm, Diagnosis

__all__ = [
    "benefit_readings",
    "confidences_of",
    "diagnoses_by_reader",
    "diagnoses_from",
    "diagnoses_of",
    "readings_by_reader",
]


def readings_by_reader(readings: object, truth: object = None) -> dict[str, tuple[Reading, ...]]:
    """Group readings by reader, keeping aided and unaided readings apart.

    Parameters
    ----------
    readings : table, or iterable of Reading
        Of readers and models; see :func:`spinefx.statistics.inputs.readings_from`.
    truth : table, or mapping of str to Diagnosis, optional
        By case. If given, readings of other cases are left out.

    Returns
    -------
    dict of str to tuple of Reading
        By reader, in the order of their first reading. Readings made with the model's assistance are listed under the
        reader's name followed by ``, aided``; those made with its answer flipped on purpose, by ``, perturbed``.
    """
    grouped: dict[str, list[Reading]] = {}
    known = None if truth is None else truth_from(truth)
    for reading in readings_from(readings):
        if known is None or reading.case_id in known:
            reader = reading.reader_id if reading.arm == Arm.UNAIDED else f"{reading.reader_id}, {reading.arm}"
            grouped.setdefault(reader, []).append(reading)
    return {reader: tuple(own) for reader, own in grouped.items()}


def benefit_readings(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """Return the readings that measure the benefit of the model: unaided and aided ones of the same cases.

    Parameters
    ----------
    readings : iterable of Reading

    Returns
    -------
    tuple of Reading
        Without perturbed readings, which measure reliance on an answer that was flipped on purpose, and without the
        unaided reading of a case that the same reader read perturbed and not aided.
    """
    listed = tuple(readings)
    read = {arm: {(one.reader_id, one.case_id) for one in listed if one.arm == arm} for arm in Arm}
    dropped = read[Arm.PERTURBED] - read[Arm.AIDED]
    return tuple(one for one in listed if one.arm != Arm.PERTURBED and (one.reader_id, one.case_id) not in dropped)


def diagnoses_by_reader(readings: object, truth: object = None) -> dict[str, dict[str, Diagnosis]]:
    """Group diagnoses by reader.

    Parameters
    ----------
    readings : table, or iterable of Reading
        Of readers and models.
    truth : table, or mapping of str to Diagnosis, optional
        By case. If given, readings of other cases are left out.

    Returns
    -------
    dict of str to dict
        Diagnoses by case, by reader; names and order as from :func:`readings_by_reader`.
    """
    return {reader: diagnoses_of(own) for reader, own in readings_by_reader(readings, truth).items()}


def diagnoses_from(diagnoses: object, truth: object = None) -> dict[str, dict[str, Diagnosis]]:
    """Return diagnoses by reader and case, from a mapping or from a table of readings.

    Parameters
    ----------
    diagnoses : mapping of str to mapping, table, or iterable of Reading
        Either diagnoses by case, by reader, which are returned as they are; or readings, which are grouped.
    truth : table, or mapping of str to Diagnosis, optional
        By case. If given, readings of other cases are left out; a mapping is not filtered.

    Returns
    -------
    dict of str to dict
        Diagnoses by case, by reader.
    """
    if isinstance(diagnoses, Mapping) and all(isinstance(own, Mapping) for own in diagnoses.values()):
        return {str(reader): dict(own) for reader, own in diagnoses.items()}
    return diagnoses_by_reader(diagnoses, truth)


def diagnoses_of(readings: Iterable[Reading]) -> dict[str, Diagnosis]:
    """Return the diagnoses of one reader.

    Parameters
    ----------
    readings : iterable of Reading

    Returns
    -------
    dict of str to Diagnosis
        By case.
    """
    return {reading.case_id: reading.diagnosis for reading in readings}


def confidences_of(readings: Iterable[Reading]) -> dict[str, float]:
    """Return the confidences of one reader, for the cases that have one.

    Parameters
    ----------
    readings : iterable of Reading

    Returns
    -------
    dict of str to float
        By case, 0 to 100; higher means more likely malignant.
    """
    return {reading.case_id: reading.confidence for reading in readings if reading.confidence is not None}
