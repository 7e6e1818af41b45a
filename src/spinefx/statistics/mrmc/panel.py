"""Comparison of a single model, which has no reader variance, with a panel of readers on the same cases."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from spinefx.errors import InputError
from spinefx.statistics.effect import Effect, Scale, effect_table, infer
from spinefx.statistics.mrmc.anova import Analysis, check_analysis, mrmc
from spinefx.statistics.mrmc.covariance import CovarianceMethod, covariance_matrix, structural_components
from spinefx.statistics.mrmc.scores import Design, Endpoint, ReaderStudy, StudyCounts
from spinefx.statistics.table import ResultTable

__all__ = ["PanelComponents", "PanelResult", "ai_vs_readers"]


@dataclass(frozen=True)
class PanelComponents:
    """Variance components of the readers' differences from a model.

    Parameters
    ----------
    reader : float
        Variance of readers apart from that over cases; a negative estimate is reported unchanged.
    error, cov2 : float
        Variance over cases of a reader's difference from the model, and covariance of the differences of two readers.
    cases : int
        Number of cases behind ``error`` and ``cov2``; for sensitivity and specificity, of the class concerned.
    """

    reader: float
    error: float
    cov2: float
    cases: int


@dataclass(frozen=True)
class PanelResult:
    """Result of comparing a model with a panel of readers.

    Parameters
    ----------
    endpoint : {'auc', 'sensitivity', 'specificity'}
    threshold : float or None
    analysis : {'RRRC', 'FRRC', 'RRFC'}
    design : Design
    counts : StudyCounts
        The model is not counted among the readers.
    model, panel : Effect
        Value of the model, and mean of the readers.
    difference : Effect
        Panel minus model; above 0 the readers are better.
    readers : tuple of Effect
        Each reader minus the model, cases random.
    reader_variance : float
        Sample variance of the readers' values.
    error, cov2 : float
        Variance over cases of a reader's difference from the model, and covariance of the differences of two readers,
        both averaged over readers.
    cases : int
        Number of cases behind them; for sensitivity and specificity, of the class concerned.
    notes : tuple of str
        Remarks needed to interpret the results.
    """

    endpoint: Endpoint
    threshold: float | None
    analysis: Analysis
    design: Design
    counts: StudyCounts
    model: Effect
    panel: Effect
    difference: Effect
    readers: tuple[Effect, ...]
    reader_variance: float
    error: float
    cov2: float
    cases: int
    notes: tuple[str, ...]

    @property
    def components(self) -> PanelComponents:
        """Components for planning a study, from a factorial pilot with two or more readers."""
        return PanelComponents(self.reader_variance - self.error + self.cov2, self.error, self.cov2, self.cases)

    @property
    def table(self) -> ResultTable:
        """Model, panel, their difference and each reader as a table."""
        title = f"{self.endpoint}: {self.counts}"
        rows = (self.model, self.panel, self.difference, *self.readers)
        return effect_table("panel", title, rows, " ".join(self.notes))


def ai_vs_readers(
    study: ReaderStudy,
    model: str,
    *,
    endpoint: Endpoint = "auc",
    threshold: float | None = None,
    analysis: Analysis = "RRRC",
    covariance: CovarianceMethod = "jackknife",
    scale: Scale = "logit",
    confidence: float = 0.95,
) -> PanelResult:
    """Compare a model with the mean of a panel of readers.

    Parameters
    ----------
    study : ReaderStudy
        A study of one modality, with the model among the readers.
    model : str
        Name of the model among the readers.
    endpoint : {'auc', 'sensitivity', 'specificity'}
    threshold : float or None
        Only for sensitivity and specificity: a score at or above it counts as malignant, for all readers. To use each
        reader's own threshold, pass diagnoses as 0 and 1.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
        Random readers and cases (1T-RRRC), these readers only, or these cases only (1T-RRFC). Fixed cases ignore the
        uncertainty of the model, so a small p-value then applies to these cases only.
    covariance : {'jackknife', 'delong', 'unbiased'}
        Estimator of the covariances over cases.
    scale : {'logit', 'plain'}
        Scale of the intervals of the model and of the panel's mean, as for
        :func:`spinefx.statistics.mrmc.anova.mrmc`; differences are always plain.
    confidence : float

    Returns
    -------
    PanelResult

    Raises
    ------
    InputError
        If the model is not among the readers, there is no other reader or more than one modality, a single reader is
        taken as random, or a reader lacks cases of a class that the endpoint needs.

    Notes
    -----
    Single-treatment analysis (Hillis SL. Stat Med 2007;26:596-619, section 5.3) of the readers' differences from the
    model (Hupse 2013, Eur Radiol 23:93; Chakraborty 2017, Observer Performance Methods).
    """
    check_analysis(analysis)
    panel = tuple(name for name in study.readers if name != model)
    if model not in study.readers or not panel:
        raise InputError(f"no {model!r} beside other readers", allowed=f"one of {', '.join(study.readers)}")
    if len(study.modalities) > 1:
        remedy = "Choose one: study.only(modalities=[...])."
        raise InputError(f"{len(study.modalities)} modalities", allowed="one", remedy=remedy)
    alone = study.only(readers=panel)
    settings = {
        "endpoint": endpoint,
        "threshold": threshold,
        "analysis": analysis,
        "covariance": covariance,
        "scale": scale,
    }
    readers = mrmc(alone, **settings, confidence=confidence)  # type: ignore[arg-type]
    scores = study.only(readers=(model, *panel))
    parts = structural_components(
        scores.scores[0], scores.malignant, endpoint=endpoint, threshold=threshold, names=scores.readers
    )
    matrix = covariance_matrix(parts, covariance)
    values = parts.values[1:] - parts.values[0]
    contrast = np.hstack([-np.ones((len(panel), 1)), np.eye(len(panel))])
    spread = contrast @ matrix @ contrast.T
    off = ~np.eye(len(panel), dtype=bool)
    cov2 = float(spread[off].mean()) if off.any() else np.nan
    kind = "normal interval" if analysis != "RRFC" else "cases fixed: no interval"
    own = float(matrix[0, 0]) if analysis != "RRFC" else np.nan
    return PanelResult(
        endpoint=endpoint,
        threshold=threshold,
        analysis=analysis,
        design=study.design,
        counts=alone.counts,
        model=infer(model, parts.values[0], own, kind, scale=scale, confidence=confidence),
        panel=replace(readers.means[0], label="readers"),
        difference=_difference(f"readers - {model}", values, spread, cov2, analysis, confidence),
        readers=tuple(
            infer(f"{name} - {model}", value, variance, "z, one reader", null=0.0, confidence=confidence)
            for name, value, variance in zip(panel, values, np.diag(spread), strict=True)
        ),
        reader_variance=float(values.var(ddof=1)) if len(panel) > 1 else np.nan,
        error=float(np.diag(spread).mean()),
        cov2=cov2,
        cases=parts.malignant.shape[1] + parts.benign.shape[1],
        notes=_notes(scores, analysis),
    )


def _difference(
    label: str, values: np.ndarray, spread: np.ndarray, cov2: float, analysis: Analysis, confidence: float
) -> Effect:
    readers, value = len(values), float(values.mean())
    if analysis == "FRRC":
        return infer(label, value, float(spread.mean()), "z, these readers", null=0.0, confidence=confidence)
    square = float(values.var(ddof=1))
    if analysis == "RRFC":
        test = "t of readers against a constant (1T-RRFC)"
        return infer(label, value, square / readers, test, df=readers - 1, null=0.0, confidence=confidence)
    term = square + readers * max(cov2, 0.0)
    df = (readers - 1) * (term / square) ** 2 if square > 0 else np.inf
    test = "single-treatment Obuchowski-Rockette t, Hillis degrees of freedom (1T-RRRC)"
    return infer(label, value, term / readers, test, df=df, null=0.0, confidence=confidence)


def _notes(study: ReaderStudy, analysis: Analysis) -> tuple[str, ...]:
    notes = []
    if analysis == "RRFC":
        notes.append("The cases are fixed, so the conclusion applies to these cases only.")
    if study.counts.missing:
        notes.append(f"{study.counts.missing} readings are missing, so the values are based on different cases.")
    return tuple(notes)
