"""Multi-reader, multi-case analysis of any design by U-statistics (Gallas), readers and cases random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from spinefx.errors import InputError
from spinefx.statistics.effect import NIL_VARIANCE, Effect, Scale, check_scale, effect_table, infer
from spinefx.statistics.mrmc.covariance import pair_moments, structural_components
from spinefx.statistics.mrmc.scores import Design, Endpoint, ReaderStudy, StudyCounts
from spinefx.statistics.table import ResultTable

__all__ = ["MomentComponents", "UstatResult", "ustat_mrmc"]

Estimator = Literal["centred", "unbiased", "mle"]
Floats = NDArray[np.float64]

# Sums over different cases and readers from sums over all pairs: benign and malignant, then readers (Gallas 2009).
APART = np.array([[1, 0, 0, 0], [-1, 1, 0, 0], [-1, 0, 1, 0], [1, -1, -1, 1]], float)
TO_DIFFERENT = np.block([[APART, np.zeros((4, 4))], [-APART, APART]])
# Variance components from moments (equation 19 there), and their coefficients from those of the moments.
TO_COMPONENTS = np.array(
    [
        [0, 0, 0, 0, 0, 0, 1, -1],
        [0, 0, 0, 0, 0, 1, 0, -1],
        [0, 0, 0, 0, 1, -1, -1, 1],
        [0, 0, 0, 1, 0, 0, 0, -1],
        [0, 0, 1, -1, 0, 0, -1, 1],
        [0, 1, 0, -1, 0, -1, 0, 1],
        [1, -1, -1, 1, -1, 1, 1, -1],
    ],
    float,
)
TO_COEFFICIENTS = np.array(
    [
        [1, 0, 1, 0, 1, 0, 1, 0],
        [1, 1, 0, 0, 1, 1, 0, 0],
        [1, 0, 0, 0, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0],
    ],
    float,
)
# How an estimator departs from iMRMC, whose own is `unbiased`.
DEPARTURES = {
    "centred": "Variances by the centred estimator: those of iMRMC where every reader read every case, other ones "
    'otherwise; estimator="unbiased" is that of iMRMC.',
    "mle": 'Variances from the empirical distribution, biased upwards; estimator="unbiased" is that of iMRMC.',
}
# Above this many degrees of freedom iMRMC uses the normal distribution.
NORMAL_FROM = 50


@dataclass(frozen=True, eq=False)
class MomentComponents:
    """Decomposition of the variance of one modality or of the covariance of two.

    Parameters
    ----------
    modalities : tuple of str
        The two modalities, equal for a variance.
    value, value_mle : float
        Covariance of the mean areas over readers: unbiased, and from the empirical distribution.
    moments, moment_coefficients : ndarray of float64, shape (8,)
        M1 to M8 of Gallas 2006 (BDG). A moment for which the design has no data is NaN with coefficient 0. For the
        centred estimator they are moments of wins minus the mean of the modality.
    components, component_coefficients : ndarray of float64, shape (7,)
        Benign cases, malignant cases, both, readers, readers by benign, by malignant, and by both (BCK); the sum of
        their products is ``value``.
    components_mle : ndarray of float64, shape (7,)
        The components from the empirical distribution.
    """

    modalities: tuple[str, str]
    value: float
    value_mle: float
    moments: Floats
    moment_coefficients: Floats
    components: Floats
    component_coefficients: Floats
    components_mle: Floats


@dataclass(frozen=True, eq=False)
class UstatResult:
    """Result of a U-statistic analysis, readers and cases random.

    Parameters
    ----------
    endpoint : {'auc', 'sensitivity', 'specificity'}
    threshold : float or None
    estimator : {'centred', 'unbiased', 'mle'}
    design : Design
    counts : StudyCounts
    means : tuple of Effect
        Mean over readers of each modality; areas are tested against 0.5.
    differences : tuple of Effect
        Every pair of modalities, first minus second.
    components : tuple of MomentComponents
        Of each modality, then of each pair.
    notes : tuple of str
        Remarks needed to interpret the results.
    """

    endpoint: Endpoint
    threshold: float | None
    estimator: Estimator
    design: Design
    counts: StudyCounts
    means: tuple[Effect, ...]
    differences: tuple[Effect, ...]
    components: tuple[MomentComponents, ...]
    notes: tuple[str, ...]

    @property
    def table(self) -> ResultTable:
        """Means and differences as a table."""
        title = f"{self.endpoint}: {self.counts}"
        note = " ".join((f"Design: {self.design}.", *self.notes))
        return effect_table("ustat_mrmc", title, (*self.means, *self.differences), note)


def ustat_mrmc(
    study: ReaderStudy,
    *,
    endpoint: Endpoint = "auc",
    threshold: float | None = None,
    estimator: Estimator = "centred",
    df: Literal["bdg", "normal"] = "bdg",
    scale: Scale = "logit",
    confidence: float = 0.95,
) -> UstatResult:
    """Compare modalities in a study of any design: split-plot, missing readings, readers with different cases.

    Parameters
    ----------
    study : ReaderStudy
    endpoint : {'auc', 'sensitivity', 'specificity'}
    threshold : float or None
        Only for sensitivity and specificity: a score at or above it counts as malignant.
    estimator : {'centred', 'unbiased', 'mle'}
        Estimator of the variances. ``unbiased`` is that of iMRMC, U-statistics of wins. ``centred`` first subtracts the
        mean of the modality from each win: it is identical in crossed designs and more stable otherwise, as the means
        then cancel (if a reader lacks one modality, ``unbiased`` has no positive variance in a third of studies, see
        benchmarks/mrmc_coverage.py). ``mle`` uses the empirical distribution and is biased upwards.
    df : {'bdg', 'normal'}
        Satterthwaite degrees of freedom (Gallas), rounded down for the t distribution and normal above 50, as in iMRMC;
        or the normal distribution.
    scale : {'logit', 'plain'}
        Scale of the intervals of means, as for :func:`spinefx.statistics.mrmc.anova.mrmc`; ``plain`` is that of iMRMC.
    confidence : float

    Returns
    -------
    UstatResult
        The mean of a modality weights readers by the number of pairs of cases that they read.

    Raises
    ------
    InputError
        If a modality has a single reader, a reader lacks cases of a class, a class has a single case, or an option is
        unknown.

    Notes
    -----
    Gallas BD. Acad Radiol 2006;13:353-362; Gallas BD, Bandos A, Samuelson FW, Wagner RF. Commun Stat Theory Methods
    2009;38:2586-2603. iMRMC 2.1 computes the same.
    """
    if estimator not in ("centred", "unbiased", "mle"):
        raise InputError(f"estimator {estimator!r}", allowed="centred, unbiased, mle")
    check_scale(scale)
    scores, read = _as_areas(study, endpoint, threshold), study.cells
    modality, reader = np.nonzero(read)
    if np.bincount(modality).min() < 2:
        raise InputError(
            "a single random reader",
            allowed="two or more readers per modality",
            remedy="Use mrmc with fixed readers (FRRC).",
        )
    names = [f"{study.readers[j]}, {study.modalities[i]}" for i, j in zip(modality, reader, strict=True)]
    parts = structural_components(scores[read], study.malignant, names=names)
    if min(int(part.shape[1]) for part in parts.parts) < 2:
        raise InputError("a single case of a class", allowed="two or more malignant and two or more benign cases")
    own = [modality == number for number in range(len(study.modalities))]
    pairs = np.isfinite(parts.malignant).sum(axis=1) * np.isfinite(parts.benign).sum(axis=1)
    values = np.array([np.average(parts.values[mine], weights=pairs[mine]) for mine in own])
    raw = pair_moments(parts, values[modality] if estimator == "centred" else 0.0)
    same_reader = reader[:, None] == reader
    parts_of = {
        (a, b): _decompose(
            raw.sums, raw.counts, np.outer(own[a], own[b]), same_reader, (study.modalities[a], study.modalities[b])
        )
        for a in range(len(own))
        for b in range(a, len(own))
    }
    null = 0.5 if endpoint == "auc" else None
    means = tuple(
        _effect(study.modalities[a], values[a], (parts_of[a, a],), estimator, df, null, confidence, scale)
        for a in range(len(own))
    )
    differences = tuple(
        _effect(
            f"{study.modalities[a]} - {study.modalities[b]}",
            values[a] - values[b],
            (parts_of[a, a], parts_of[b, b], parts_of[a, b]),
            estimator,
            df,
            0.0,
            confidence,
        )
        for a, b in combinations(range(len(own)), 2)
    )
    notes = [DEPARTURES[estimator]] if estimator in DEPARTURES else []
    notes += [
        f"The estimated variance of {effect.label} is zero or negative, so there is no interval."
        for effect in (*means, *differences)
        if np.isnan(effect.estimate.low)
    ]
    ordered = tuple(parts_of[pair] for pair in sorted(parts_of, key=lambda pair: (pair[0] != pair[1], pair)))
    return UstatResult(
        endpoint, threshold, estimator, study.design, study.counts, means, differences, ordered, tuple(notes)
    )


def _as_areas(study: ReaderStudy, endpoint: Endpoint, threshold: float | None) -> Floats:
    """Return scores whose area is the endpoint: calls of one class against a constant for the other."""
    structural_components(np.zeros((1, 2)), [False, True], endpoint=endpoint, threshold=threshold)
    if threshold is None:
        return study.scores
    if study.malignant.all() or not study.malignant.any():
        raise InputError("cases of one class", allowed="cases of both, as U-statistics count pairs", remedy="Use mrmc.")
    called = np.where(np.isnan(study.scores), np.nan, study.scores >= threshold)
    constant = ~study.malignant if endpoint == "sensitivity" else study.malignant
    return np.where(constant & np.isfinite(called), 0.5, called)


def _decompose(
    sums: Floats, counts: Floats, pair: NDArray[np.bool_], same_reader: NDArray[np.bool_], names: tuple[str, str]
) -> MomentComponents:
    """Aggregate the sums of reader pairs into the eight moments and the seven components."""
    over = [pair & same_reader, pair]
    numerator, denominator = (np.concatenate([array[:, mask].sum(axis=1) for mask in over]) for array in (sums, counts))
    different, how_many = TO_DIFFERENT @ numerator, TO_DIFFERENT @ denominator
    moments = np.divide(different, how_many, out=np.full(8, np.nan), where=how_many != 0)
    biased = np.divide(numerator, denominator, out=np.full(8, np.nan), where=denominator != 0)
    coefficients = how_many / denominator[7]
    coefficients[7] -= 1
    return MomentComponents(
        names,
        value=float(coefficients @ np.nan_to_num(moments)),
        value_mle=float(coefficients @ np.nan_to_num(biased)),
        moments=moments,
        moment_coefficients=coefficients,
        components=_components(moments),
        component_coefficients=TO_COEFFICIENTS @ coefficients,
        components_mle=_components(biased),
    )


def _components(moments: Floats) -> Floats:
    """Return the variance components; 0 if the design lacks a moment, as without a reader of both modalities."""
    held = np.where(np.isnan(moments), 0.0, moments)
    known = ~((TO_COMPONENTS != 0) & np.isnan(moments)).any(axis=1)
    return np.where(known, TO_COMPONENTS @ held, 0.0)


def _effect(
    label: str,
    value: float,
    parts: tuple[MomentComponents, ...],
    estimator: Estimator,
    df: str,
    null: float | None,
    confidence: float,
    scale: Scale = "plain",
) -> Effect:
    """Return the effect of a mean (one part) or a difference (two variances and their covariance)."""
    signs = np.array([1.0, 1.0, -2.0])[: len(parts)]
    variances = [part.value_mle if estimator == "mle" else part.value for part in parts]
    variance = float(signs @ variances)
    options: dict[str, Any] = {"null": null, "scale": scale, "confidence": confidence}
    if df == "normal" or not variance > NIL_VARIANCE:
        return infer(label, value, variance, "U-statistic z", **options)
    spread = signs @ np.array([part.components_mle for part in parts])
    of_factor = [np.round(1 / part.component_coefficients[[0, 1, 3]] - 1) for part in parts[:2]]
    # Very unequal readers count like fewer than two; there is at least one degree of freedom.
    free = np.maximum(np.min(of_factor, axis=0), 1)
    noise = float((spread[[0, 1, 3]] ** 2 / free**3).sum())
    degrees = max(variance**2 / noise, float(free.min())) if noise > 0 else np.inf
    used = np.floor(degrees) if degrees <= NORMAL_FROM else np.inf
    effect = infer(label, value, variance, "U-statistic t, BDG degrees of freedom", df=used, **options)
    return replace(effect, df=degrees)
