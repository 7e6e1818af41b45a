"""Multi-reader, multi-case analysis of variance by Obuchowski and Rockette, with Hillis' degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.effect import NIL_VARIANCE, Effect, Scale, check_scale, effect_table, infer
from spinefx.statistics.mrmc.components import VarianceComponents
from spinefx.statistics.mrmc.covariance import CovarianceMethod, covariance_matrix, structural_components
from spinefx.statistics.mrmc.scores import Design, Endpoint, ReaderStudy, StudyCounts
from spinefx.statistics.table import ResultTable

__all__ = ["Analysis", "GlobalTest", "MrmcResult", "check_analysis", "mrmc"]

Analysis = Literal["RRRC", "FRRC", "RRFC"]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GlobalTest:
    """Test of the null hypothesis that all modalities are equal.

    Parameters
    ----------
    name : str
    statistic, df1, df2, p_value : float
        F, or chi-squared with an infinite ``df2``.
    ms_modality, ms_error, error_term : float
        Mean squares of modalities and of their interaction with readers, and the denominator of the test.
    df_error : float
        Degrees of freedom of ``ms_error``.
    """

    name: str
    statistic: float
    df1: float
    df2: float
    p_value: float
    ms_modality: float
    ms_error: float
    df_error: float
    error_term: float


@dataclass(frozen=True)
class MrmcResult:
    """Result of an Obuchowski-Rockette analysis.

    Parameters
    ----------
    endpoint : {'auc', 'sensitivity', 'specificity'}
    threshold : float or None
    analysis : {'RRRC', 'FRRC', 'RRFC'}
        Random or fixed readers, then random or fixed cases.
    covariance : str
        Estimator of the covariances over cases; ``none`` for fixed cases.
    design : Design
    counts : StudyCounts
    test : GlobalTest or None
        None if there is only one modality.
    means : tuple of Effect
        Mean over readers of each modality.
    differences : tuple of Effect
        Every pair of modalities, first minus second; p-values are not adjusted for the number of pairs.
    cells : tuple of Effect
        Every reader with every modality, cases random.
    reader_differences : tuple of Effect
        Differences between modalities within each reader, cases random.
    components : VarianceComponents or None
        None for fixed cases.
    notes : tuple of str
        Remarks needed to interpret the results.
    """

    endpoint: Endpoint
    threshold: float | None
    analysis: Analysis
    covariance: str
    design: Design
    counts: StudyCounts
    test: GlobalTest | None
    means: tuple[Effect, ...]
    differences: tuple[Effect, ...]
    cells: tuple[Effect, ...]
    reader_differences: tuple[Effect, ...]
    components: VarianceComponents | None
    notes: tuple[str, ...]

    @property
    def table(self) -> ResultTable:
        """Means and differences of modalities, followed by the individual readers, as one table."""
        rows = (*self.means, *self.differences, *self.cells, *self.reader_differences)
        title = f"{self.endpoint}: {self.counts}"
        return effect_table("mrmc", title, rows, " ".join((f"Design: {self.design}.", *self.notes)))


def mrmc(
    study: ReaderStudy,
    *,
    endpoint: Endpoint = "auc",
    threshold: float | None = None,
    analysis: Analysis = "RRRC",
    covariance: CovarianceMethod = "jackknife",
    floor: bool = True,
    scale: Scale = "logit",
    confidence: float = 0.95,
) -> MrmcResult:
    """Compare modalities read by several readers.

    Parameters
    ----------
    study : ReaderStudy
        Factorial, with cases nested in readers or in modalities, split-plot (blocks of readers with their own cases),
        or with readers nested in modalities; the design is recognised from the data.
    endpoint : {'auc', 'sensitivity', 'specificity'}
    threshold : float or None
        Only for sensitivity and specificity: a score at or above it counts as malignant.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
        Population to which the conclusion extends: similar readers and cases, these readers only, or these cases only.
    covariance : {'jackknife', 'delong', 'unbiased'}
        Estimator of the covariances over cases.
    floor : bool
        Whether, with fixed readers, a negative Cov2 - Cov3 counts as 0 in the test of modalities, as in the textbook
        and OR-DBM MRMC; False follows MRMCaov 0.3. With random readers it always counts as 0 (Hillis 2007).
    scale : {'logit', 'plain'}
        Scale of the intervals of means and cells; differences are always plain. Other programs print plain intervals,
        which cover the mean in 92.4% of 2,000 simulated studies; logit intervals stay within 0 and 1 and cover it in
        94.2%.
    confidence : float

    Returns
    -------
    MrmcResult

    Raises
    ------
    InputError
        If the design is arbitrary, a single reader is taken as random, a reader lacks cases of a class that the
        endpoint needs, or an option is unknown.

    Notes
    -----
    Obuchowski NA, Rockette HE. Commun Stat Simul 1995;24:285-308. Hillis SL. Stat Med 2007;26:596-619 (degrees of
    freedom) and 2014;33:330-360 (marginal means; nested and split-plot designs).
    """
    check_analysis(analysis)
    check_scale(scale)
    design = study.design
    read = study.cells
    _check_design(study, design, analysis)
    names = [f"{reader}, {modality}" for modality, reader in _cells(study, read)]
    scores = study.scores[read]
    parts = structural_components(scores, study.malignant, endpoint=endpoint, threshold=threshold, names=names)
    fixed_cases = analysis == "RRFC"
    matrix = np.full((len(names),) * 2, np.nan) if fixed_cases else covariance_matrix(parts, covariance)
    variance = _Variance.of(study, design, parts.values, matrix)
    cases = parts.malignant.shape[1] + parts.benign.shape[1]
    components = None if fixed_cases else variance.components(cases)
    means = tuple(
        _mean(variance, number, name, analysis, scale, confidence) for number, name in enumerate(study.modalities)
    )
    differences = tuple(
        _difference(variance, pair, study.modalities, analysis, floor, confidence) for pair in variance.pairs
    )
    cells, reader_differences = _by_reader(study, read, parts.values, matrix, scale, confidence)
    test = _global_test(variance, analysis, floor)
    return MrmcResult(
        endpoint=endpoint,
        threshold=threshold,
        analysis=analysis,
        covariance="none" if fixed_cases else covariance,
        design=design,
        counts=study.counts,
        test=test,
        means=means,
        differences=differences,
        cells=cells,
        reader_differences=reader_differences,
        components=components,
        notes=_notes(study, design, components, test, (*means, *differences, *cells)),
    )


def check_analysis(analysis: str) -> None:
    """Check the name of an analysis.

    Parameters
    ----------
    analysis : str

    Raises
    ------
    InputError
        If the analysis is unknown.
    """
    if analysis not in get_args(Analysis):
        raise InputError(f"analysis {analysis!r}", allowed="RRRC, FRRC, RRFC (Random or Fixed Readers and Cases)")


@dataclass(frozen=True, eq=False)
class _Variance:
    """Mean squares and averaged covariances of the values of readers and modalities, for any design."""

    values: Floats  # shape (modality, reader); NaN if not read
    nested_readers: bool
    ms_reader: float
    ms_error: float
    df_error: int
    within: Floats  # mean square of readers, by modality
    df_within: Floats
    error: float
    covs: tuple[float, float, float]
    error_of: Floats  # variance over cases, by modality
    cov2_of: Floats
    peers: float  # mean number of readers who share their cases, each reader counted with its peers

    @classmethod
    def of(cls, study: ReaderStudy, design: Design, flat: Floats, matrix: Floats) -> _Variance:
        read = study.cells
        values = np.full(read.shape, np.nan)
        values[read] = flat
        modality, reader = np.nonzero(read)
        blocks = study.reader_blocks if design == Design.SPLIT_PLOT else np.zeros(len(study.readers), np.intp)
        nested = design == Design.READERS_IN_MODALITIES
        squares = _nested_squares(values) if nested else _crossed_squares(values, blocks)
        same_modality = modality[:, None] == modality
        same_reader = reader[:, None] == reader
        peers = blocks[reader][:, None] == blocks[reader]
        covs = (
            _mean_where(matrix, ~same_modality & same_reader),
            _mean_where(matrix, same_modality & ~same_reader & peers),
            _mean_where(matrix, ~same_modality & ~same_reader & peers),
        )
        own = [modality == number for number in range(len(values))]
        cov2_of = [_mean_where(matrix, np.outer(mine, mine) & ~same_reader & peers) for mine in own]
        error_of = [float(np.diag(matrix)[mine].mean()) for mine in own]
        sizes = np.bincount(blocks)
        return cls(
            values,
            nested,
            *squares,
            error=float(np.diag(matrix).mean()),
            covs=covs,
            error_of=np.array(error_of),
            cov2_of=np.array(cov2_of),
            peers=float((sizes**2).sum() / sizes.sum()),
        )

    @property
    def means(self) -> Floats:
        return np.asarray(np.nanmean(self.values, axis=1))

    @property
    def readers_of(self) -> Floats:
        return np.asarray(np.isfinite(self.values).sum(axis=1), float)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(combinations(range(len(self.values)), 2))

    def error_term(self, analysis: Analysis, floor: bool, readers: float) -> tuple[float, float]:
        """Return the denominator of the test of modalities and its degrees of freedom.

        ``readers`` is the number of readers per modality, or its harmonic mean.
        """
        if analysis == "RRFC":
            return self.ms_error, self.df_error
        peers = readers if self.nested_readers else self.peers
        cov1, cov2, cov3 = np.nan_to_num(self.covs)
        shared = cov2 - cov3
        if analysis == "FRRC":
            shared = max(shared, 0.0) if floor else shared
            # If readers are nested in modalities, no two modalities share a reader.
            return self.error - (cov3 if self.nested_readers else cov1) + (peers - 1) * shared, np.inf
        term = self.ms_error + peers * max(shared, 0.0)
        return term, _hillis(term, self.ms_error, self.df_error)

    def components(self, cases: int) -> VarianceComponents:
        cov1, cov2, cov3 = np.nan_to_num(self.covs)
        if self.nested_readers or len(self.values) == 1:
            mean_square = self.ms_error if self.nested_readers else self.within[0]
            return VarianceComponents(mean_square - self.error + cov2, np.nan, self.error, *self.covs, cases)
        reader = (self.ms_reader - self.ms_error) / len(self.values) - cov1 + cov3
        interaction = self.ms_error - self.error + cov1 + (cov2 - cov3)
        return VarianceComponents(float(reader), float(interaction), self.error, *self.covs, cases)


def _crossed_squares(values: Floats, blocks: NDArray[np.intp]) -> tuple[float, float, int, Floats, Floats]:
    """Return mean squares of readers, of the interaction, and of readers within modality, within blocks of readers."""
    modalities, readers = values.shape
    free = readers - int(blocks.max()) - 1
    reader_sum, error_sum, within = 0.0, 0.0, np.zeros(modalities)
    for block in range(blocks.max() + 1):
        own = values[:, blocks == block]
        of_reader, of_modality = own.mean(axis=0), own.mean(axis=1, keepdims=True)
        reader_sum += modalities * float(((of_reader - own.mean()) ** 2).sum())
        error_sum += float(((own - of_reader - of_modality + own.mean()) ** 2).sum())
        within += ((own - of_modality) ** 2).sum(axis=1)
    df_error = (modalities - 1) * free
    by_modality = within / free if free else np.full(modalities, np.nan)
    ms_reader = reader_sum / free if free else np.nan
    return ms_reader, error_sum / df_error if df_error else np.nan, df_error, by_modality, np.full(modalities, free)


def _nested_squares(values: Floats) -> tuple[float, float, int, Floats, Floats]:
    free = np.isfinite(values).sum(axis=1) - 1
    within = np.nansum((values - np.nanmean(values, axis=1, keepdims=True)) ** 2, axis=1)
    df_error = int(free.sum())
    pooled = float(within.sum() / df_error) if df_error else np.nan
    return np.nan, pooled, df_error, within / np.where(free, free, np.nan), free


def _hillis(term: float, mean_square: float, df: float) -> float:
    """Return Hillis' (2007) degrees of freedom of a mean square plus a covariance; infinite if readers do not vary."""
    if not df:
        return np.nan
    return df * (term / mean_square) ** 2 if mean_square > NIL_VARIANCE else np.inf


def _mean_where(matrix: Floats, mask: NDArray[np.bool_]) -> float:
    return float(matrix[mask].mean()) if mask.any() else np.nan


def _mean(variance: _Variance, number: int, label: str, analysis: Analysis, scale: Scale, confidence: float) -> Effect:
    readers, value = variance.readers_of[number], variance.means[number]
    peers = readers if variance.nested_readers else variance.peers
    shared = max(float(np.nan_to_num(variance.cov2_of[number])), 0.0)
    square, free = variance.within[number], float(variance.df_within[number])
    if analysis == "FRRC":
        term, df, test = variance.error_of[number] + (peers - 1) * shared, np.inf, "normal interval, these readers"
    elif analysis == "RRFC":
        term, df, test = square, free, "t interval, these cases"
    else:
        term, test = square + peers * shared, "t interval, Hillis degrees of freedom"
        df = _hillis(term, square, free)
    return infer(label, value, term / readers, test, df=df, scale=scale, confidence=confidence)


def _difference(
    variance: _Variance,
    pair: tuple[int, int],
    names: tuple[str, ...],
    analysis: Analysis,
    floor: bool,
    confidence: float,
) -> Effect:
    first, second = pair
    harmonic = stats.hmean(variance.readers_of[[first, second]])
    term, df = variance.error_term(analysis, floor, harmonic)
    value = variance.means[first] - variance.means[second]
    kinds = {
        "RRRC": "Obuchowski-Rockette t, Hillis degrees of freedom",
        "FRRC": "z, these readers",
        "RRFC": "t, these cases",
    }
    label = f"{names[first]} - {names[second]}"
    return infer(label, value, 2 / harmonic * term, kinds[analysis], df=df, null=0.0, confidence=confidence)


def _global_test(variance: _Variance, analysis: Analysis, floor: bool) -> GlobalTest | None:
    df1 = len(variance.values) - 1
    if df1 == 0:
        return None
    harmonic = float(stats.hmean(variance.readers_of))
    ms_modality = harmonic * float(variance.means.var(ddof=1))
    term, df2 = variance.error_term(analysis, floor, harmonic)
    statistic = float(ms_modality / term) if term > NIL_VARIANCE else np.nan
    squares = (ms_modality, variance.ms_error, variance.df_error, float(term))
    if analysis == "FRRC":
        name = "Obuchowski-Rockette chi-squared, fixed readers, random cases"
        return GlobalTest(name, statistic * df1, df1, np.inf, float(stats.chi2.sf(statistic * df1, df1)), *squares)
    p_value = float(stats.f.sf(statistic, df1, df2) if np.isfinite(df2) else stats.chi2.sf(statistic * df1, df1))
    cases = "random cases, Hillis degrees of freedom" if analysis == "RRRC" else "fixed cases"
    return GlobalTest(f"Obuchowski-Rockette F, random readers, {cases}", statistic, df1, float(df2), p_value, *squares)


def _cells(study: ReaderStudy, read: NDArray[np.bool_]) -> list[tuple[str, str]]:
    return [(study.modalities[i], study.readers[j]) for i, j in zip(*np.nonzero(read), strict=True)]


def _by_reader(
    study: ReaderStudy, read: NDArray[np.bool_], values: Floats, matrix: Floats, scale: Scale, confidence: float
) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
    """Return the value of each reader with each modality, and the differences between modalities within readers."""
    labels, spread, differences = _cells(study, read), np.diag(matrix), []
    place = {label: number for number, label in enumerate(labels)}
    cells = [
        infer(f"{reader}, {modality}", value, own, "normal interval", scale=scale, confidence=confidence)
        for (modality, reader), value, own in zip(labels, values, spread, strict=True)
    ]
    for reader in study.readers:
        own = [modality for modality in study.modalities if (modality, reader) in place]
        for first, second in combinations(own, 2):
            a, b = place[first, reader], place[second, reader]
            of_difference = spread[a] + spread[b] - 2 * matrix[a, b]
            label = f"{reader}, {first} - {second}"
            value = values[a] - values[b]
            differences.append(infer(label, value, of_difference, "z, one reader", null=0.0, confidence=confidence))
    return tuple(cells), tuple(differences)


def _check_design(study: ReaderStudy, design: Design, analysis: Analysis) -> None:
    if design == Design.ARBITRARY:
        raise InputError(
            "an arbitrary design, in which some readers used only some of the modalities",
            allowed="readers who all used every modality, or one modality each",
            remedy=(
                "Leave out the models, which read in one modality only: study.only(readers=[...]). For readers who "
                "used only some of the modalities use ustat_mrmc, which averages all readers of a modality."
            ),
        )
    read = study.cells.sum(axis=1)
    if analysis != "FRRC" and read.min() < 2:
        raise InputError(
            "a single random reader",
            allowed="two or more readers per modality",
            remedy="Take the reader as fixed (FRRC); to compare a model with readers use ai_vs_readers.",
        )


def _notes(
    study: ReaderStudy,
    design: Design,
    components: VarianceComponents | None,
    test: GlobalTest | None,
    effects: tuple[Effect, ...],
) -> tuple[str, ...]:
    notes = []
    if test is None:
        notes.append("There is only one modality, so there is nothing to compare.")
    missing = study.counts.missing
    if missing and design == Design.FACTORIAL:
        notes.append(f"{missing} readings are missing, so the readers' values are based on different cases.")
    if components is not None:
        for name, value in (("readers", components.reader), ("modality by reader", components.modality_reader)):
            if value < -NIL_VARIANCE:
                notes.append(f"The estimated variance of {name} is negative ({value:.3g}) and is reported unchanged.")
    constant = [effect.label for effect in effects if not effect.standard_error**2 > NIL_VARIANCE]
    if constant and components is not None:
        notes.append(f"Without variance, and hence without an interval: {', '.join(constant)}.")
    return tuple(notes)
