"""Areas and proportions of findings that come in clusters: slices or vertebrae within patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.effect import NIL_VARIANCE, Effect, Scale, check_scale, judge
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.mrmc.covariance import structural_components

__all__ = [
    "ClusteredResult",
    "Reach",
    "clustered_auc",
    "clustered_auc_difference",
    "clustered_proportion",
    "clustered_proportion_difference",
    "clustered_sensitivity",
    "clustered_specificity",
]

Floats = NDArray[np.float64]
Reach = Literal["t", "normal"]
# Fewer clusters than this make a normal interval from a between-cluster variance unreliable.
FEW_CLUSTERS = 20


@dataclass(frozen=True)
class ClusteredResult:
    """An estimate from clustered findings.

    Parameters
    ----------
    effect : Effect
    findings, clusters : int
        All that were counted.
    malignant_clusters, benign_clusters : int or None
        Clusters with at least one finding of the class; a cluster may count in both. None where no truth was given.
    notes : tuple of str
        Warnings, such as of few clusters.
    """

    effect: Effect
    findings: int
    clusters: int
    malignant_clusters: int | None
    benign_clusters: int | None
    notes: tuple[str, ...]


def clustered_auc(
    scores: ArrayLike,
    malignant: ArrayLike,
    cluster: Sequence[object],
    *,
    scale: Scale = "logit",
    confidence: float = 0.95,
) -> ClusteredResult:
    """Area under the curve of clustered findings.

    Parameters
    ----------
    scores : array_like, shape (finding,)
        Higher means more likely malignant; a finding without a score (NaN) is left out.
    malignant : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
        Patient, say; malignant and benign findings may share one.
    scale : {'logit', 'plain'}
        ``plain`` is the published normal interval; with tens of clusters, or an area near 1, it holds the truth too
        seldom. ``logit`` works on the logit scale with Student's t on one degree less than the rarer class has
        clusters (benchmarks/mrmc_coverage.py). The standard error is the same.
    confidence : float

    Returns
    -------
    ClusteredResult
        No interval for perfect separation.

    Raises
    ------
    InputError
        For a class missing or with a single cluster, or an unknown scale.

    Notes
    -----
    Obuchowski NA. Biometrics 1997;53:567-578. With one finding a cluster it is DeLong's variance.
    """
    check_scale(scale)
    area, moved, shape, notes = _contributions(np.atleast_2d(np.asarray(scores, float)), malignant, cluster)
    value, variance = float(area[0]), float(moved[0, 0])
    if not variance > NIL_VARIANCE:
        notes = (*notes, "No variance between clusters, so no interval.")
    test, df = ("normal interval", np.inf) if scale == "plain" else ("t interval", min(shape[2:]) - 1)
    effect = judge("AUC", value, variance, f"Obuchowski 1997, {test}", df=df, scale=scale, confidence=confidence)
    return ClusteredResult(effect, *shape, notes)


def clustered_auc_difference(
    first: ArrayLike,
    second: ArrayLike,
    malignant: ArrayLike,
    cluster: Sequence[object],
    confidence: float = 0.95,
    *,
    reach: Reach = "t",
) -> ClusteredResult:
    """Difference of two areas on the same clustered findings.

    Parameters
    ----------
    first, second : array_like, shape (finding,)
        A finding that lacks either score is left out.
    malignant : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    confidence : float
    reach : {'t', 'normal'}
        Student's t on one degree less than the rarer class has clusters; ``normal`` is the published test, too bold
        with tens of clusters (benchmarks/clustered_coverage.py).

    Returns
    -------
    ClusteredResult
        First minus second.

    Raises
    ------
    InputError
        For a class missing, or with a single cluster; or an unknown reach.

    Notes
    -----
    Obuchowski NA. Biometrics 1997;53:567-578.
    """
    both = np.stack([np.asarray(first, float), np.asarray(second, float)])
    area, moved, shape, notes = _contributions(both, malignant, cluster)
    variance = float(moved[0, 0] + moved[1, 1] - 2 * moved[0, 1])
    value = float(area[0] - area[1])
    df, kind = _degrees(reach, min(shape[2:]))
    if not variance > NIL_VARIANCE:
        notes = (*notes, "No variance between clusters, so no interval.")
    test = f"Obuchowski 1997, {kind}"
    effect = judge("AUC, first - second", value, variance, test, df=df, null=0.0, confidence=confidence)
    return ClusteredResult(effect, *shape, notes)


def clustered_sensitivity(
    called: ArrayLike, malignant: ArrayLike, cluster: Sequence[object], confidence: float = 0.95
) -> ClusteredResult:
    """Share of malignant findings called malignant, findings clustered.

    Parameters
    ----------
    called : array_like of bool, shape (finding,)
        Called malignant.
    malignant : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    confidence : float

    Returns
    -------
    ClusteredResult

    Raises
    ------
    InputError
        For fewer than two clusters with malignant findings.
    """
    return _of_class(np.asarray(called, bool), np.asarray(malignant, bool), cluster, "sensitivity", confidence)


def clustered_specificity(
    called: ArrayLike, malignant: ArrayLike, cluster: Sequence[object], confidence: float = 0.95
) -> ClusteredResult:
    """Share of benign findings called benign, findings clustered.

    Parameters
    ----------
    called : array_like of bool, shape (finding,)
        Called malignant.
    malignant : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    confidence : float

    Returns
    -------
    ClusteredResult

    Raises
    ------
    InputError
        For fewer than two clusters with benign findings.
    """
    return _of_class(np.asarray(called, bool), np.asarray(malignant, bool), cluster, "specificity", confidence)


def clustered_proportion(
    successes: ArrayLike,
    cluster: Sequence[object],
    label: str = "proportion",
    confidence: float = 0.95,
    *,
    reach: Reach = "t",
) -> ClusteredResult:
    """Proportion of clustered findings.

    Parameters
    ----------
    successes : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    label : str
    confidence : float
    reach : {'t', 'normal'}
        Student's t on one degree less than there are clusters, as many as the variance between them has (Korn EL,
        Graubard BI. Surv Methodol 1998;24:193); ``normal`` is Rao and Scott's, too short with few clusters.

    Returns
    -------
    ClusteredResult
        The standard error is the ratio estimator's; the interval is Wilson's, findings divided by the design effect.

    Raises
    ------
    InputError
        For no findings, or a single cluster; or an unknown reach.

    Notes
    -----
    Rao JNK, Scott AJ. Biometrics 1992;48:577-585. Where all findings are right (or wrong) they show no design effect,
    and each cluster counts once.
    """
    right = np.asarray(successes, float)
    value, variance, clusters = _ratio(right, cluster)
    independent = value * (1 - value) / right.size
    effective = independent / variance * right.size if min(variance, independent) > NIL_VARIANCE else float(clusters)
    df, _ = _degrees(reach, clusters)
    z = float(stats.t.ppf((1 + confidence) / 2, df))
    middle = (value + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * np.sqrt(value * (1 - value) / effective + z**2 / (4 * effective**2))
    low, high = float(max(0.0, middle - half)), float(min(1.0, middle + half))
    estimate = Estimate(value, low, high, int(right.sum()), right.size)
    test = "ratio estimator, Wilson interval with Rao and Scott's design effect"
    effect = Effect(label, estimate, float(np.sqrt(variance)), df, test)
    return ClusteredResult(effect, right.size, clusters, None, None, _few({"clusters": clusters}))


def clustered_proportion_difference(
    first: ArrayLike,
    second: ArrayLike,
    cluster: Sequence[object],
    label: str = "first - second",
    confidence: float = 0.95,
    *,
    reach: Reach = "t",
) -> ClusteredResult:
    """Difference of two proportions on the same clustered findings, two readers' sensitivities say.

    Parameters
    ----------
    first, second : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    label : str
    confidence : float
    reach : {'t', 'normal'}
        Student's t on one degree less than there are clusters; ``normal`` is the published test, too bold with tens of
        clusters.

    Returns
    -------
    ClusteredResult
        No interval, and a note, where no two clusters differ.

    Raises
    ------
    InputError
        For no findings, or a single cluster; or an unknown reach.

    Notes
    -----
    Obuchowski NA. Stat Med 1998;17:1495-1507, with the variance of the difference as observed.
    """
    apart = np.asarray(first, float) - np.asarray(second, float)
    value, variance, clusters = _ratio(apart, cluster)
    df, kind = _degrees(reach, clusters)
    notes = _few({"clusters": clusters})
    if not variance > NIL_VARIANCE:
        notes = (*notes, "No variance between clusters, so no interval.")
    test = f"ratio estimator of paired differences, {kind}"
    effect = judge(label, value, variance, test, df=df, null=0.0, confidence=confidence)
    return ClusteredResult(effect, apart.size, clusters, None, None, notes)


def _of_class(
    called: NDArray[np.bool_], malignant: NDArray[np.bool_], cluster: Sequence[object], label: str, confidence: float
) -> ClusteredResult:
    member = _numbered(cluster)
    counted = malignant if label == "sensitivity" else ~malignant
    result = clustered_proportion((called == malignant)[counted], member[counted].tolist(), label, confidence)
    by_class = (int(np.unique(member[of_class]).size) for of_class in (malignant, ~malignant))
    return replace(result, malignant_clusters=next(by_class), benign_clusters=next(by_class))


def _contributions(
    scores: Floats, malignant: ArrayLike, cluster: Sequence[object]
) -> tuple[Floats, Floats, tuple[int, int, int, int], tuple[str, ...]]:
    """Areas, their covariances, how many findings and clusters, and warnings."""
    scored = np.isfinite(scores).all(axis=0)
    scores, truth, member = scores[:, scored], np.asarray(malignant, bool)[scored], _numbered(cluster)[scored]
    if not truth.any() or truth.all():
        raise InputError("an area needs malignant and benign findings", allowed="at least one of each")
    parts = structural_components(scores, truth)
    _, member = np.unique(member, return_inverse=True)
    total = int(member.max()) + 1
    sums, holding = [], []
    for part, of_class in zip(parts.parts, (truth, ~truth), strict=True):
        where = member[of_class]
        sums.append(np.stack([np.bincount(where, row, total) for row in part]))
        holding.append(int(np.unique(where).size))
    if min(holding) < 2:
        raise InputError("a class with a single cluster: no variance between clusters", allowed="two or more a class")
    (of_malignant, of_benign), (i10, i01) = sums, holding
    m, n = int(truth.sum()), int((~truth).sum())
    crossed = of_malignant @ of_benign.T
    moved = (
        i10 / (i10 - 1) * (of_malignant @ of_malignant.T) / m**2
        + i01 / (i01 - 1) * (of_benign @ of_benign.T) / n**2
        + total / (total - 1) * (crossed + crossed.T) / (m * n)
    )
    notes = _few({"clusters with malignant findings": i10, "clusters with benign findings": i01})
    return parts.values, moved, (truth.size, total, i10, i01), notes


def _ratio(values: Floats, cluster: Sequence[object]) -> tuple[float, float, int]:
    """Mean over findings, its between-cluster variance, and the number of clusters."""
    if not values.size:
        raise InputError("no findings to count", allowed="at least one in each of two clusters")
    member = _numbered(cluster)
    clusters = int(member.max()) + 1
    if clusters < 2:
        raise InputError("a single cluster: no variance between clusters", allowed="two or more")
    mean = float(values.mean())
    residuals = np.bincount(member, values - mean, clusters)
    return mean, clusters / (clusters - 1) * float(residuals @ residuals) / values.size**2, clusters


def _numbered(cluster: Sequence[object]) -> NDArray[np.intp]:
    return np.asarray(np.unique([str(name) for name in cluster], return_inverse=True)[1], np.intp)


def _degrees(reach: str, clusters: int) -> tuple[float, str]:
    """Degrees of freedom, and what the test is called."""
    if reach not in get_args(Reach):
        raise InputError(f"the reach {reach!r}", allowed=", ".join(get_args(Reach)))
    return (clusters - 1, "t") if reach == "t" else (np.inf, "z")


def _few(counts: dict[str, int]) -> tuple[str, ...]:
    return tuple(
        f"Only {number} {kind}: below {FEW_CLUSTERS} the standard error itself is uncertain."
        for kind, number in counts.items()
        if number < FEW_CLUSTERS
    )
