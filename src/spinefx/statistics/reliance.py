"""How far readers rely on the model: what they do with its answer where it is right, and where it is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import InputError
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.table import ResultTable

__all__ = ["MEASURES", "RelianceResult", "reliance"]

Floats = NDArray[np.float64]
Rates = Callable[[Floats, Floats, Floats, Floats], tuple[Floats, Floats]]
SEED, DRAWS = 1, 1000


@dataclass(frozen=True)
class RelianceResult:
    """How far readers rely on the model.

    Parameters
    ----------
    measures : dict of str to Estimate
        By the names of :data:`MEASURES`, over all readers; an interval from a bootstrap of readers and cases.
    by_reader : dict of str to dict
        The same for each reader, from a bootstrap of cases.
    cases : int
        Number of cases.
    """

    measures: dict[str, Estimate]
    by_reader: dict[str, dict[str, Estimate]]
    cases: int

    @property
    def table(self) -> ResultTable:
        """The measures of all readers, and of each, as a table."""
        names = list(self.by_reader)
        rows = tuple(
            (name, self.measures[name], *(self.by_reader[reader][name] for reader in names), meaning)
            for name, meaning in MEASURES.items()
        )
        note = f"{self.cases} cases, {len(names)} readers; 95% percentile intervals, readers and cases resampled."
        return ResultTable("reliance", "Reliance on the model", ("measure", "readers", *names, "meaning"), rows, note)


# Each as a numerator and a denominator, given whether first, final and advice are right, and the weight of a reading.
_RATES: dict[str, tuple[str, Rates]] = {
    "RAIR": (
        "of readings wrong at first with right advice: advice taken",
        lambda first, final, advice, w: (w * (1 - first) * advice * final, w * (1 - first) * advice),
    ),
    "RSR": (
        "of readings right at first with wrong advice: own answer kept",
        lambda first, final, advice, w: (w * first * (1 - advice) * final, w * first * (1 - advice)),
    ),
    "over-reliance": (
        "of readings right at first with wrong advice: advice taken (1 - RSR)",
        lambda first, final, advice, w: (w * first * (1 - advice) * (1 - final), w * first * (1 - advice)),
    ),
    "under-reliance": (
        "of readings wrong at first with right advice: own answer kept (1 - RAIR)",
        lambda first, final, advice, w: (w * (1 - first) * advice * (1 - final), w * (1 - first) * advice),
    ),
    "follow, advice right": (
        "of readings with right advice: final answer agrees with it",
        lambda first, final, advice, w: (w * advice * final, w * advice),
    ),
    "follow, advice wrong": (
        "of readings with wrong advice: final answer agrees with it",
        lambda first, final, advice, w: (w * (1 - advice) * (1 - final), w * (1 - advice)),
    ),
    "helpful switches": (
        "of all readings: from wrong to right",
        lambda first, final, advice, w: (w * (1 - first) * final, w),
    ),
    "harmful switches": (
        "of all readings: from right to wrong",
        lambda first, final, advice, w: (w * first * (1 - final), w),
    ),
    "automation-bias rate": (
        "of all readings: from right to wrong towards wrong advice",
        lambda first, final, advice, w: (w * first * (1 - advice) * (1 - final), w),
    ),
    "agreement before": (
        "of all readings: first answer agrees with the advice",
        lambda first, final, advice, w: (w * (first == advice), w),
    ),
    "agreement after": (
        "of all readings: final answer agrees with the advice",
        lambda first, final, advice, w: (w * (final == advice), w),
    ),
}
COMPLEMENTARITY = "complementarity"
MEASURES: dict[str, str] = {name: meaning for name, (meaning, _) in _RATES.items()} | {
    COMPLEMENTARITY: "accuracy with advice minus the better of the readers' and the advice's own"
}


def reliance(
    first: object,
    final: object,
    advice: object,
    truth: object,
    *,
    readers: Sequence[str] | None = None,
    draws: int = DRAWS,
    confidence: float = 0.95,
) -> RelianceResult:
    """Estimate how far readers rely on a model.

    Parameters
    ----------
    first, final : array_like, shape (reader, case)
        Whether a reader called a case malignant, before and after the advice: 1, 0, or NaN if not read.
    advice : array_like, shape (case,) or (reader, case)
        What the readers were shown: 1 for malignant; by reader where answers were flipped for some of them.
    truth : array_like of bool, shape (case,)
    readers : sequence of str, optional
        Names; by default ``reader 1`` and so on.
    draws : int
        Number of bootstrap samples of readers and cases.
    confidence : float

    Returns
    -------
    RelianceResult
        A measure whose denominator has no reading is NaN, with a note.

    Raises
    ------
    InputError
        If the shapes disagree, a value is not 0, 1 or NaN, or no case was read before and after the advice.

    Notes
    -----
    RAIR and RSR: Schemmer M et al., arXiv 2302.02187. Rates pool all readings, so readers weigh by the number of their
    readings that count. Readers and cases are resampled together (Owen AB. Ann Appl Stat 2007;1:386-411), which is
    conservative.
    """
    before, after, shown, malignant = _checked(first, final, advice, truth)
    names = tuple(readers) if readers is not None else tuple(f"reader {n + 1}" for n in range(len(before)))
    if len(names) != len(before):
        raise InputError(f"{len(names)} names of readers", where="reliance", allowed=f"{len(before)}")
    read = (~np.isnan(before) & ~np.isnan(after) & ~np.isnan(shown)).astype(float)
    if not read.any():
        raise InputError("no case read before and after the advice", where="reliance", allowed="one or more")
    right = [np.where(read > 0, values == malignant, False).astype(float) for values in (before, after, shown)]
    terms = _terms(right, read)
    rng = np.random.default_rng(SEED)
    by_case = rng.multinomial(read.shape[1], np.full(read.shape[1], 1 / read.shape[1]), draws).astype(float)
    by_reader = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws).astype(float)
    alone = np.ones((draws, 1))
    return RelianceResult(
        _estimates(terms, by_reader, by_case, confidence),
        {
            name: _estimates({key: part[:, [n]] for key, part in terms.items()}, alone, by_case, confidence)
            for n, name in enumerate(names)
        },
        int(read.any(axis=0).sum()),
    )


def _checked(first: object, final: object, advice: object, truth: object) -> tuple[Floats, Floats, Floats, Floats]:
    before, after = (np.atleast_2d(np.asarray(values, float)) for values in (first, final))
    malignant = np.asarray(truth, float)
    shown = np.asarray(advice, float)
    shape = before.shape
    if after.shape != shape or malignant.shape != shape[1:] or shown.shape not in (shape, shape[1:]):
        found = f"answers of shapes {before.shape} and {after.shape}, {malignant.size} truths"
        raise InputError(found, where="reliance", allowed="(reader, case) for both, and a truth and an advice per case")
    for values in (before, after, shown):
        if not np.isin(values[~np.isnan(values)], (0, 1)).all():
            raise InputError("an answer that is not binary", where="reliance", allowed="1, 0, or NaN if not read")
    if not np.isin(malignant, (0, 1)).all():
        raise InputError("a truth that is not binary", where="reliance", allowed="1 or 0")
    return before, after, np.broadcast_to(shown, shape), malignant


def _terms(right: list[Floats], read: Floats) -> dict[str, Floats]:
    """Return numerator and denominator of each rate and accuracy, shape (2, reader, case)."""
    first, final, advice = right
    terms = {name: np.stack(rate(first, final, advice, read)) for name, (_, rate) in _RATES.items()}
    for name, values in zip(("first", "final", "advice"), right, strict=True):
        terms[name] = np.stack([read * values, read])
    return terms


def _estimates(terms: dict[str, Floats], by_reader: Floats, by_case: Floats, confidence: float) -> dict[str, Estimate]:
    once = np.ones((1, by_reader.shape[1])), np.ones((1, by_case.shape[1]))
    values, samples = (
        {name: _ratios(part, *weights) for name, part in terms.items()} for weights in (once, (by_reader, by_case))
    )
    for found in (values, samples):
        found[COMPLEMENTARITY] = found["final"] - np.maximum(found["first"], found["advice"])
    return {name: _estimate(float(values[name][0]), samples[name], confidence) for name in MEASURES}


def _ratios(part: Floats, by_reader: Floats, by_case: Floats) -> Floats:
    above, below = (np.einsum("dr,rc,dc->d", by_reader, one, by_case, optimize=True) for one in part)
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


def _estimate(value: float, samples: Floats, confidence: float) -> Estimate:
    if np.isnan(value):
        return Estimate(np.nan, np.nan, np.nan, note="no reading of this kind")
    kept = samples[~np.isnan(samples)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(kept, [tail, 1 - tail])
    return Estimate(value, float(min(low, value)), float(max(high, value)))
