"""The cases of a workspace with their truth, and the digest that identifies them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property

from spinefx.cases.lesion import Lesion
from spinefx.errors import InputError
from spinefx.files import canonical_json, digest_of
from spinefx.vocabulary import Diagnosis, TruthSource

__all__ = ["Case", "Cohort"]


@dataclass(frozen=True)
class Case:
    """One patient's marked vertebra with its truth.

    Parameters
    ----------
    case_id, participant_id : str
        One participant may have several cases; folds divide participants, not cases.
    lesion : Lesion
    diagnosis : Diagnosis
    truth_source : TruthSource
        How the diagnosis was established.
    images_digest : str
        Digest of the participant's images.
    """

    case_id: str
    participant_id: str
    lesion: Lesion
    diagnosis: Diagnosis
    truth_source: TruthSource
    images_digest: str = ""


@dataclass(frozen=True)
class Cohort:
    """The cases of one workspace, ordered by their identifiers.

    Parameters
    ----------
    cases : tuple of Case
        Each ``case_id`` occurs once, and each participant has one diagnosis.

    Raises
    ------
    InputError
        For a case that occurs twice, and for a participant with two diagnoses.
    """

    cases: tuple[Case, ...]

    def __post_init__(self) -> None:
        times = Counter(case.case_id for case in self.cases)
        repeated = [case_id for case_id, count in times.items() if count > 1]
        if repeated:
            found = f"case_id {repeated[0]} occurs {times[repeated[0]]} times"
            raise InputError(found, allowed="each case once")
        truths: dict[str, Diagnosis] = {}
        for case in self.cases:
            if truths.setdefault(case.participant_id, case.diagnosis) != case.diagnosis:
                raise InputError(
                    "two different diagnoses", where=case.participant_id, allowed="one diagnosis per participant"
                )
        object.__setattr__(self, "cases", tuple(sorted(self.cases, key=lambda case: case.case_id)))

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def count(self, diagnosis: Diagnosis) -> int:
        """Return the number of participants with a diagnosis.

        Parameters
        ----------
        diagnosis : Diagnosis

        Returns
        -------
        int
        """
        return len({case.participant_id for case in self.cases if case.diagnosis == diagnosis})

    @property
    def truth(self) -> dict[str, Diagnosis]:
        """Diagnosis of each case, by ``case_id``."""
        return {case.case_id: case.diagnosis for case in self.cases}

    @cached_property
    def digest(self) -> str:
        """SHA-256 over every case: participant, lesion, truth and the digest of its images."""
        return digest_of(canonical_json([asdict(case) for case in self.cases]))
