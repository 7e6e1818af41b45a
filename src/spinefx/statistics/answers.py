"""Readings sorted by reader: the one place where a reader gets the name that tables and figures show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spinefx.cases.reading import Reading
from spinefx.statistics.frames import readings_from, truth_from
from spinefx.vocabulary import Arm, Diagnosis

__all__ = ["answers_by_reader", "answers_from", "answers_of", "confidences_of", "readings_by_reader"]


def readings_by_reader(readings: object, truth: object = None) -> dict[str, tuple[Reading, ...]]:
    """Sort readings by reader, a reader's aided ones apart.

    Parameters
    ----------
    readings : table, or iterable of Reading
        Of people and of models; see :func:`spinefx.statistics.frames.readings_from`.
    truth : table, or mapping of str to Diagnosis, optional
        By case; readings of other cases are left out.

    Returns
    -------
    dict of str to tuple of Reading
        By reader, in the order of their first reading; ``, aided`` is added to the name of a reader who had the model's
        help.
    """
    sorted_out: dict[str, list[Reading]] = {}
    known = None if truth is None else truth_from(truth)
    for reading in readings_from(readings):
        if known is None or reading.case_id in known:
            label = reading.reader_id if reading.arm == Arm.UNAIDED else f"{reading.reader_id}, aided"
            sorted_out.setdefault(label, []).append(reading)
    return {label: tuple(mine) for label, mine in sorted_out.items()}


def answers_by_reader(readings: object, truth: object = None) -> dict[str, dict[str, Diagnosis]]:
    """Sort diagnoses by reader.

    Parameters
    ----------
    readings : table, or iterable of Reading
    truth : table, or mapping of str to Diagnosis, optional
        By case; readings of other cases are left out.

    Returns
    -------
    dict of str to dict
        Answers by case, by reader, named and ordered as by :func:`readings_by_reader`.
    """
    return {label: answers_of(mine) for label, mine in readings_by_reader(readings, truth).items()}


def answers_from(answers: object, truth: object = None) -> dict[str, dict[str, Diagnosis]]:
    """Take answers by reader and case as they stand, or sort a table of readings into them.

    Parameters
    ----------
    answers : mapping of str to mapping, table, or iterable of Reading
    truth : table, or mapping of str to Diagnosis, optional
        By case; readings of other cases are left out, answers in a mapping are kept.

    Returns
    -------
    dict of str to dict
        Answers by case, by reader.
    """
    if isinstance(answers, Mapping) and all(isinstance(mine, Mapping) for mine in answers.values()):
        return {str(label): dict(mine) for label, mine in answers.items()}
    return answers_by_reader(answers, truth)


def answers_of(readings: Iterable[Reading]) -> dict[str, Diagnosis]:
    """Take the diagnoses of one reader.

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
    """Take the confidences of one reader, where they were given.

    Parameters
    ----------
    readings : iterable of Reading

    Returns
    -------
    dict of str to float
        By case, 0 to 100, higher meaning more likely malignant.
    """
    return {reading.case_id: reading.confidence for reading in readings if reading.confidence is not None}
