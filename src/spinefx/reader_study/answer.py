"""One answer of a reader: complete, or refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spinefx.cases.reading import SignScores
from spinefx.errors import InputError
from spinefx.files import canonical_json, digest_of
from spinefx.vocabulary import Diagnosis, Score

__all__ = ["Answer"]

LONGEST_COMMENT = 200


@dataclass(frozen=True)
class Answer:
    """What a reader says of one case.

    Parameters
    ----------
    diagnosis : Diagnosis
    confidence : int
        That the fracture is malignant, 0 to 100.
    signs : mapping of str to Score, or None
        All fifteen, or None where they were not asked for.
    comment : str
        Short and plain, on one line, beginning with a letter or digit; may be empty.

    Raises
    ------
    InputError
        Naming what is missing or out of range; never the case.
    """

    diagnosis: Diagnosis
    confidence: int
    signs: Mapping[str, Score] | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 100:
            raise InputError(f"a confidence of {self.confidence}", allowed="0 to 100")
        if self.signs is not None:
            SignScores("this case", "", self.signs)
        is_plain = self.comment.isprintable() and (not self.comment or self.comment[0].isalnum())
        if not is_plain or len(self.comment) > LONGEST_COMMENT:
            raise InputError(
                "a comment that is not plain",
                allowed=f"one line of up to {LONGEST_COMMENT} characters, beginning with a letter or digit",
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the answer in canonical JSON: the seal."""
        return digest_of(canonical_json(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Give plain values.

        Returns
        -------
        dict
        """
        signs = None if self.signs is None else {name: str(score) for name, score in self.signs.items()}
        return {
            "diagnosis": str(self.diagnosis),
            "confidence": self.confidence,
            "signs": signs,
            "comment": self.comment,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Answer:
        """Make an answer of plain values.

        Parameters
        ----------
        values : mapping
            As :meth:`to_json` gives them.

        Returns
        -------
        Answer

        Raises
        ------
        InputError
        """
        try:
            signs = values["signs"]
            return cls(
                Diagnosis(values["diagnosis"]),
                int(values["confidence"]),
                None if signs is None else {name: Score(score) for name, score in signs.items()},
                values["comment"],
            )
        except (KeyError, ValueError):
            raise InputError(
                "an answer that is not complete", allowed="diagnosis, confidence, signs, comment"
            ) from None
