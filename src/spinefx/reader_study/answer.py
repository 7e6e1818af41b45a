"""A reader's answer to one case: complete, or refused with a named error."""

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
    """A reader's answer to one case.

    Parameters
    ----------
    diagnosis : Diagnosis
    confidence : int
        Confidence that the fracture is malignant, percent, 0 to 100.
    signs : mapping of str to Score, or None
        All fifteen signs, or None where the design does not ask for them.
    comment : str
        One short line that begins with a letter or digit; may be empty.

    Raises
    ------
    InputError
        When something is missing or out of range. The message never names the case.
    """

    diagnosis: Diagnosis
    confidence: int
    signs: Mapping[str, Score] | None = None
    comment: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 100:
            raise InputError(f"The confidence is {self.confidence}", allowed="0 to 100")
        if self.signs is not None:
            SignScores("this case", "", self.signs)
        is_plain = self.comment.isprintable() and (not self.comment or self.comment[0].isalnum())
        if not is_plain or len(self.comment) > LONGEST_COMMENT:
            raise InputError(
                "The comment is too long or holds characters that are not allowed",
                allowed=f"one line of up to {LONGEST_COMMENT} characters, beginning with a letter or digit",
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the answer in canonical JSON: the seal."""
        return digest_of(canonical_json(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """Return the answer as JSON values.

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
        """Return the answer that JSON values describe.

        Parameters
        ----------
        values : mapping
            As returned by :meth:`to_json`.

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
            raise InputError("The answer is incomplete", allowed="diagnosis, confidence, signs, comment") from None
