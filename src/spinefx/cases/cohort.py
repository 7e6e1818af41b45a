"""Who is in the study: cases with their truth, and the digest that names the whole."""

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
        One participant may give several cases; the participant is the unit that folds divide.
    lesion : Lesion
    diagnosis : Diagnosis
    truth_source : TruthSource
        How the diagnosis was established.
    images_digest : str
        Digest of the T1W and T2W files.
    """

    case_id: str
    participant_id: str
    lesion: Lesion
    diagnosis: Diagnosis
    truth_source: TruthSource
    images_digest: str = ""


@dataclass(frozen=True)
class Cohort:
    """Cases of one study, ordered by their identifiers.

    Parameters
    ----------
    cases : tuple of Case
        Unique ``case_id``; one diagnosis a participant.

    Raises
    ------
    InputError
        For a doubled case or a participant with two diagnoses.
    """

    cases: tuple[Case, ...]

    def __post_init__(self) -> None:
        doubled = [case_id for case_id, times in Counter(case.case_id for case in self.cases).items() if times > 1]
        if doubled:
            raise InputError(f"case {doubled[0]} stands {len(doubled) + 1} times or more", allowed="each case once")
        truths: dict[str, Diagnosis] = {}
        for case in self.cases:
            if truths.setdefault(case.participant_id, case.diagnosis) != case.diagnosis:
                raise InputError("two different diagnoses", where=case.participant_id, allowed="one a participant")
        object.__setattr__(self, "cases", tuple(sorted(self.cases, key=lambda case: case.case_id)))

    def __iter__(self) -> Iterator[Case]:
        return iter(self.cases)

    def __len__(self) -> int:
        return len(self.cases)

    def count(self, diagnosis: Diagnosis) -> int:
        """Number of participants with a diagnosis.

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
        """SHA-256 of the manifest: who, where the lesion is, the truth, and the images' own digests."""
        return digest_of(canonical_json([asdict(case) for case in self.cases]))
