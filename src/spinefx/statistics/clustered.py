"""Areas and proportions of clustered findings, such as slices or vertebrae within patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.effect import NIL_VARIANCE, Effect, Scale, check_scale, effect_table, infer
from spinefx.statistics.estimate import Estimate
from spinefx.statistics.mrmc.covariance import structural_components
from spinefx.statistics.ratings import finite_ratings
from spinefx.statistics.table import ResultTable

__all__ = [
    "ClusteredResult",
    "Distribution",
    "clustered_auc",
    "clustered_auc_difference",
    "clustered_proportion",
    "clustered_proportion_difference",
    "clustered_sensitivity",
    "clustered_specificity",
]

Floats = NDArray[np.float64]
Distribution = Literal["t", "normal"]
# With fewer clusters than this the between-cluster variance itself is uncertain.
FEW_CLUSTERS = 20
NO_VARIANCE = "No variance between clusters, so no interval."


@dataclass(frozen=True)
class ClusteredResult:
    """An estimate from clustered findings.

    Parameters
    ----------
    effect : Effect
    findings, clusters : int
        Numbers of findings and clusters that were analysed.
    malignant_clusters, benign_clusters : int or None
        Clusters with at least one finding of the class; a cluster may count in both. None if no truth was given.
    notes : tuple of str
        Warnings, such as too few clusters.
    """

    effect: Effect
    findings: int
    clusters: int
    malignant_clusters: int | None
    benign_clusters: int | None
    notes: tuple[str, ...]

    @property
    def table(self) -> ResultTable:
        """The estimate as a table of one row."""
        title = f"{self.findings} findings in {self.clusters} clusters"
        return effect_table("clustered", title, (self.effect,), " ".join(self.notes))


def clustered_auc(
    scores: ArrayLike,
    malignant: ArrayLike,
    cluster: Sequence[object],
    *,
    scale: Scale = "logit",
    confidence: float = 0.95,
) -> ClusteredResult:
    """Estimate the area under the ROC curve of clustered findings.

    Parameters
    ----------
    scores : array_like, shape (finding,)
        Higher means more likely malignant; findings without a score (NaN) are left out, and
        minus infinity is the lowest score.
    malignant : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
        The patient, for example; a cluster may hold malignant and benign findings.
    scale : {'logit', 'plain'}
        ``plain`` is the published normal interval, which covers too seldom with tens of clusters or an area near 1.
        ``logit`` uses the logit scale and Student's t with one degree of freedom less than the rarer class has clusters
        (benchmarks/mrmc_coverage.py). The standard error is the same.
    confidence : float

    Returns
    -------
    ClusteredResult
        Without an interval after perfect separation.

    Raises
    ------
    InputError
        If a class is missing or has a single cluster, or the scale is unknown.

    Notes
    -----
    Obuchowski NA. Biometrics 1997;53:567-578. With one finding per cluster the variance is DeLong's.
    """
    check_scale(scale)
    area, covariance, shape, notes = _contributions(np.atleast_2d(np.asarray(scores, float)), malignant, cluster)
    value, variance = float(area[0]), float(covariance[0, 0])
    if not variance > NIL_VARIANCE:
        notes = (*notes, NO_VARIANCE)
    test, df = ("normal interval", np.inf) if scale == "plain" else ("t interval", min(shape[2:]) - 1)
    effect = infer("AUC", value, variance, f"Obuchowski 1997, {test}", df=df, scale=scale, confidence=confidence)
    return ClusteredResult(effect, *shape, notes)


def clustered_auc_difference(
    first: ArrayLike,
    second: ArrayLike,
    malignant: ArrayLike,
    cluster: Sequence[object],
    confidence: float = 0.95,
    *,
    distribution: Distribution = "t",
) -> ClusteredResult:
    """Test the difference of two areas over the same clustered findings.

    Parameters
    ----------
    first, second : array_like, shape (finding,)
        Scores by the two readers or models; findings that lack either are left out.
    malignant : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    confidence : float
    distribution : {'t', 'normal'}
        Student's t with one degree of freedom less than the rarer class has clusters; ``normal`` is the published test,
        which rejects too often with tens of clusters (benchmarks/clustered_coverage.py).

    Returns
    -------
    ClusteredResult
        Of the difference, first minus second.

    Raises
    ------
    InputError
        If a class is missing or has a single cluster, or the distribution is unknown.

    Notes
    -----
    Obuchowski NA. Biometrics 1997;53:567-578.
    """
    both = np.stack([np.asarray(first, float), np.asarray(second, float)])
    area, covariance, shape, notes = _contributions(both, malignant, cluster)
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    value = float(area[0] - area[1])
    df, kind = _degrees_of_freedom(distribution, min(shape[2:]))
    if not variance > NIL_VARIANCE:
        notes = (*notes, NO_VARIANCE)
    test = f"Obuchowski 1997, {kind}"
    effect = infer("AUC, first - second", value, variance, test, df=df, null=0.0, confidence=confidence)
    return ClusteredResult(effect, *shape, notes)


def clustered_sensitivity(
    called: ArrayLike, malignant: ArrayLike, cluster: Sequence[object], confidence: float = 0.95
) -> ClusteredResult:
    """Estimate the sensitivity over clustered findings: the proportion of malignant ones called malignant.

    Parameters
    ----------
    called : array_like of bool, shape (finding,)
        Whether the finding was called malignant.
    malignant : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    confidence : float

    Returns
    -------
    ClusteredResult

    Raises
    ------
    InputError
        If fewer than two clusters have malignant findings.
    """
    return _of_class(np.asarray(called, bool), np.asarray(malignant, bool), cluster, "sensitivity", confidence)


def clustered_specificity(
    called: ArrayLike, malignant: ArrayLike, cluster: Sequence[object], confidence: float = 0.95
) -> ClusteredResult:
    """Estimate the specificity over clustered findings: the proportion of benign ones called benign.

    Parameters
    ----------
    called : array_like of bool, shape (finding,)
        Whether the finding was called malignant.
    malignant : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    confidence : float

    Returns
    -------
    ClusteredResult

    Raises
    ------
    InputError
        If fewer than two clusters have benign findings.
    """
    return _of_class(np.asarray(called, bool), np.asarray(malignant, bool), cluster, "specificity", confidence)


def clustered_proportion(
    successes: ArrayLike,
    cluster: Sequence[object],
    label: str = "proportion",
    confidence: float = 0.95,
    *,
    distribution: Distribution = "t",
) -> ClusteredResult:
    """Estimate a proportion of clustered findings.

    Parameters
    ----------
    successes : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    label : str
        What the proportion is.
    confidence : float
    distribution : {'t', 'normal'}
        Student's t with one degree of freedom less than there are clusters (Korn EL, Graubard BI. Surv Methodol
        1998;24:193); ``normal`` is Rao and Scott's interval, which is too short with few clusters.

    Returns
    -------
    ClusteredResult
        The standard error is that of the ratio estimator; the interval is Wilson's with the number of findings divided
        by the design effect.

    Raises
    ------
    InputError
        If there are no findings or there is a single cluster, or the distribution is unknown.

    Notes
    -----
    Rao JNK, Scott AJ. Biometrics 1992;48:577-585. If all findings are successes, or none is, the design effect cannot
    be estimated and each cluster counts once.
    """
    right = np.asarray(successes, float)
    value, variance, clusters = _ratio(right, cluster)
    independent = value * (1 - value) / right.size
    effective = independent / variance * right.size if min(variance, independent) > NIL_VARIANCE else float(clusters)
    df, _ = _degrees_of_freedom(distribution, clusters)
    z = float(stats.t.ppf((1 + confidence) / 2, df))
    middle = (value + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * np.sqrt(value * (1 - value) / effective + z**2 / (4 * effective**2))
    low, high = float(max(0.0, middle - half)), float(min(1.0, middle + half))
    estimate = Estimate(value, low, high, int(right.sum()), right.size)
    test = "ratio estimator, Wilson interval with Rao and Scott's design effect"
    effect = Effect(label, estimate, float(np.sqrt(variance)), df, test)
    return ClusteredResult(effect, right.size, clusters, None, None, _few_clusters_notes({"clusters": clusters}))


def clustered_proportion_difference(
    first: ArrayLike,
    second: ArrayLike,
    cluster: Sequence[object],
    label: str = "first - second",
    confidence: float = 0.95,
    *,
    distribution: Distribution = "t",
) -> ClusteredResult:
    """Test the difference of two proportions over the same clustered findings, such as two readers' sensitivities.

    Parameters
    ----------
    first, second : array_like of bool, shape (finding,)
    cluster : sequence, shape (finding,)
    label : str
        What the difference is of.
    confidence : float
    distribution : {'t', 'normal'}
        Student's t with one degree of freedom less than there are clusters; ``normal`` is the published test, which
        rejects too often with tens of clusters.

    Returns
    -------
    ClusteredResult
        Without an interval, and with a note, if no two clusters differ.

    Raises
    ------
    InputError
        If there are no findings or there is a single cluster, or the distribution is unknown.

    Notes
    -----
    Obuchowski NA. Stat Med 1998;17:1495-1507, with the variance estimated from the observed differences.
    """
    differences = np.asarray(first, float) - np.asarray(second, float)
    value, variance, clusters = _ratio(differences, cluster)
    df, kind = _degrees_of_freedom(distribution, clusters)
    notes = _few_clusters_notes({"clusters": clusters})
    if not variance > NIL_VARIANCE:
        notes = (*notes, NO_VARIANCE)
    test = f"ratio estimator of paired differences, {kind}"
    effect = infer(label, value, variance, test, df=df, null=0.0, confidence=confidence)
    return ClusteredResult(effect, differences.size, clusters, None, None, notes)


def _of_class(
    called: NDArray[np.bool_], malignant: NDArray[np.bool_], cluster: Sequence[object], label: str, confidence: float
) -> ClusteredResult:
    member = _cluster_numbers(cluster)
    counted = malignant if label == "sensitivity" else ~malignant
    result = clustered_proportion((called == malignant)[counted], member[counted].tolist(), label, confidence)
    by_class = (int(np.unique(member[of_class]).size) for of_class in (malignant, ~malignant))
    return replace(result, malignant_clusters=next(by_class), benign_clusters=next(by_class))


def _contributions(
    scores: Floats, malignant: ArrayLike, cluster: Sequence[object]
) -> tuple[Floats, Floats, tuple[int, int, int, int], tuple[str, ...]]:
    """Return areas, their covariances, the numbers of findings and clusters, and warnings."""
    scored = ~(np.isnan(scores) | np.isposinf(scores)).any(axis=0)
    scores = np.array([finite_ratings(row) for row in scores])
    scores, truth, member = scores[:, scored], np.asarray(malignant, bool)[scored], _cluster_numbers(cluster)[scored]
    if not truth.any() or truth.all():
        raise InputError("findings of one class", allowed="at least one malignant and one benign finding")
    parts = structural_components(scores, truth)
    _, member = np.unique(member, return_inverse=True)
    total = int(member.max()) + 1
    sums, cluster_counts = [], []
    for part, of_class in zip(parts.parts, (truth, ~truth), strict=True):
        where = member[of_class]
        sums.append(np.stack([np.bincount(where, row, total) for row in part]))
        cluster_counts.append(int(np.unique(where).size))
    if min(cluster_counts) < 2:
        found = "a class with a single cluster, which leaves no variance between clusters"
        raise InputError(found, allowed="two or more clusters per class")
    (of_malignant, of_benign), (i10, i01) = sums, cluster_counts
    m, n = int(truth.sum()), int((~truth).sum())
    crossed = of_malignant @ of_benign.T
    covariance = (
        i10 / (i10 - 1) * (of_malignant @ of_malignant.T) / m**2
        + i01 / (i01 - 1) * (of_benign @ of_benign.T) / n**2
        + total / (total - 1) * (crossed + crossed.T) / (m * n)
    )
    notes = _few_clusters_notes({"clusters with malignant findings": i10, "clusters with benign findings": i01})
    return parts.values, covariance, (truth.size, total, i10, i01), notes


def _ratio(values: Floats, cluster: Sequence[object]) -> tuple[float, float, int]:
    """Return the mean over findings, its between-cluster variance and the number of clusters."""
    if not values.size:
        raise InputError("no findings", allowed="at least one in each of two clusters")
    member = _cluster_numbers(cluster)
    clusters = int(member.max()) + 1
    if clusters < 2:
        raise InputError("a single cluster, which leaves no variance between clusters", allowed="two or more")
    mean = float(values.mean())
    residuals = np.bincount(member, values - mean, clusters)
    return mean, clusters / (clusters - 1) * float(residuals @ residuals) / values.size**2, clusters


def _cluster_numbers(cluster: Sequence[object]) -> NDArray[np.intp]:
    return np.asarray(np.unique([str(name) for name in cluster], return_inverse=True)[1], np.intp)


def _degrees_of_freedom(distribution: str, clusters: int) -> tuple[float, str]:
    """Return the degrees of freedom and the name of the test statistic."""
    if distribution not in get_args(Distribution):
        raise InputError(f"distribution {distribution!r}", allowed=", ".join(get_args(Distribution)))
    return (clusters - 1, "t") if distribution == "t" else (np.inf, "z")


def _few_clusters_notes(counts: dict[str, int]) -> tuple[str, ...]:
    return tuple(
        f"Only {number} {kind}: with fewer than {FEW_CLUSTERS} the standard error itself is uncertain."
        for kind, number in counts.items()
        if number < FEW_CLUSTERS
    )
