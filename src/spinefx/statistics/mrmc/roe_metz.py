"""Simulated reader studies with known truth by the model of Roe and Metz, for planning, teaching and testing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from spinefx.errors import InputError
from spinefx.statistics.mrmc.scores import ReaderStudy

__all__ = ["RoeMetz", "separation_of"]


@dataclass(frozen=True)
class RoeMetz:
    """Scores as sums of normal effects of readers, cases and modalities, independent between the classes.

    Parameters
    ----------
    separations : tuple of float
        Difference between the mean scores of malignant and benign cases, by modality.
    reader, modality_reader : float
        Variances of readers, and of the interaction of readers and modalities.
    case, modality_case, reader_case, error : float
        Variances of cases, of their interactions, and of the residual; by convention they sum to 1.

    Raises
    ------
    InputError
        If there is no modality or a variance is negative.

    Notes
    -----
    Roe CA, Metz CE. Acad Radiol 1997;4:298-303. The defaults are their structure HL: high correlation between scores of
    a case, low variance between readers.
    """

    separations: tuple[float, ...]
    reader: float = 0.0055
    modality_reader: float = 0.0055
    case: float = 0.3
    modality_case: float = 0.3
    reader_case: float = 0.2
    error: float = 0.2

    def __post_init__(self) -> None:
        variances = (self.reader, self.modality_reader, self.case, self.modality_case, self.reader_case, self.error)
        if not self.separations or min(variances) < 0:
            found = f"separations {self.separations} and variances {variances}"
            raise InputError(found, allowed="one modality or more, and no variance below 0")

    @property
    def areas(self) -> tuple[float, ...]:
        """True area under the curve of each modality, averaged over the population of readers."""
        within = self.case + self.modality_case + self.reader_case + self.error
        spread = np.sqrt(2 * (self.reader + self.modality_reader + within))
        return tuple(float(stats.norm.cdf(separation / spread)) for separation in self.separations)

    def draw(self, rng: np.random.Generator, *, readers: int, malignant: int, benign: int) -> ReaderStudy:
        """Draw a factorial study.

        Parameters
        ----------
        rng : numpy.random.Generator
        readers, malignant, benign : int

        Returns
        -------
        ReaderStudy
            Modalities are called ``A``, ``B`` and so on, readers ``reader 1`` and so on; malignant cases come first.
        """
        return self._drawn(rng, readers, malignant, benign)

    def draw_panel(
        self, rng: np.random.Generator, *, model: float, readers: int, malignant: int, benign: int
    ) -> ReaderStudy:
        """Draw a study of one modality with several readers and one model.

        Parameters
        ----------
        rng : numpy.random.Generator
        model : float
            Separation of the model. Its true area is Phi(``model / sqrt(2 * within)``), where ``within`` is the sum of
            the four case variances. It shares the case effects with the readers and has no reader variance.
        readers, malignant, benign : int

        Returns
        -------
        ReaderStudy
            Of the first modality; ``model`` comes before the readers.
        """
        study = RoeMetz(
            (self.separations[0],),
            self.reader + self.modality_reader,
            0.0,
            self.case + self.modality_case,
            0.0,
            self.reader_case + self.error,
            0.0,
        )
        return study._drawn(rng, readers, malignant, benign, model)

    def _drawn(
        self, rng: np.random.Generator, readers: int, malignant: int, benign: int, model: float | None = None
    ) -> ReaderStudy:
        truth = np.arange(malignant + benign) < malignant
        modalities, cases = len(self.separations), truth.size

        def normal(variance: float, *shape: int) -> NDArray[np.float64]:
            return np.asarray(np.sqrt(variance) * rng.standard_normal(shape))

        by_class = normal(self.reader, 1, readers, 2) + normal(self.modality_reader, modalities, readers, 2)
        of_case = normal(self.case, cases) + normal(self.modality_case, modalities, 1, cases)
        scores = (
            np.array(self.separations)[:, None, None] * truth
            + by_class[..., truth.astype(int)]
            + of_case
            + normal(self.reader_case, 1, readers, cases)
            + normal(self.error, modalities, readers, cases)
        )
        names = tuple(f"reader {number + 1}" for number in range(readers))
        if model is not None:
            own = model * truth + of_case[:, 0] + normal(self.reader_case + self.error, cases)
            scores, names = np.concatenate([own[:, None], scores], axis=1), ("model", *names)
        return ReaderStudy(
            scores,
            truth,
            tuple(chr(ord("A") + number) for number in range(modalities)),
            names,
            tuple(f"case {number + 1}" for number in range(cases)),
        )


def separation_of(area: float, variance: float) -> float:
    """Return the difference between the mean scores of two classes that gives a true area under the curve.

    Parameters
    ----------
    area : float
        Area between 0 and 1.
    variance : float
        Variance of the scores within each class.

    Returns
    -------
    float
    """
    return float(stats.norm.ppf(area) * np.sqrt(2 * variance))
