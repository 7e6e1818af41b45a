"""Variance components of reader studies, in the models of Obuchowski and Rockette and of Dorfman, Berbaum and Metz."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DbmComponents", "VarianceComponents"]


@dataclass(frozen=True)
class DbmComponents:
    """Variance components of the model of Dorfman, Berbaum and Metz, for a single case.

    Parameters
    ----------
    reader, case, modality_reader, modality_case, reader_case, error : float
        ``error`` includes the three-way interaction. Any of them may be negative.
    """

    reader: float
    case: float
    modality_reader: float
    modality_case: float
    reader_case: float
    error: float


@dataclass(frozen=True)
class VarianceComponents:
    """Variance components of the model of Obuchowski and Rockette.

    Parameters
    ----------
    reader, modality_reader : float
        Variances of readers and of their interaction with modalities; negative estimates are reported unchanged. For
        readers nested in modalities ``reader`` is the sum of both.
    error, cov1, cov2, cov3 : float
        Variance over cases, and covariances over cases of two values of the same reader with different modalities, of
        different readers with the same modality, and of different readers with different modalities. NaN if the study
        has no such pair.
    cases : int
        Number of cases behind them; for sensitivity and specificity, of the class concerned.
    """

    reader: float
    modality_reader: float
    error: float
    cov1: float
    cov2: float
    cov3: float
    cases: int

    @property
    def dbm(self) -> DbmComponents:
        """The components in the model of Dorfman, Berbaum and Metz, for factorial studies.

        Hillis SL et al. Stat Med 2005;24:1579-1607.
        """
        return DbmComponents(
            reader=self.reader,
            case=self.cases * self.cov3,
            modality_reader=self.modality_reader,
            modality_case=self.cases * (self.cov2 - self.cov3),
            reader_case=self.cases * (self.cov1 - self.cov3),
            error=self.cases * (self.error - self.cov1 - self.cov2 + self.cov3),
        )
