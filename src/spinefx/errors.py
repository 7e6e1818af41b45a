"""Everything that can go wrong, by name.

::

    SpinefxError
    ├── InputError              an input cannot be used
    │   ├── FileError           a file is unreadable, truncated, or of an unknown format
    │   ├── ArchiveError        a ZIP archive or DICOMDIR is broken, hostile or too large
    │   ├── GeometryError       the position of voxels in the patient is unknown or impossible
    │   ├── SeriesError         slices form no stack: gaps, duplicates, mixed orientations
    │   ├── SelectionError      a study has no usable sagittal series of a kind that is needed
    │   ├── BoxError            a box or lesion does not fit its image
    │   ├── LevelError          a vertebra cannot be found, named or renamed as asked
    │   ├── PatchError          a patch cannot be scored: a flat channel, values that are not finite
    │   ├── UnlikeTrainingError an input is too far from everything the model was trained on
    │   │   └── MissedVertebraError a box does not seem to hold a vertebra at its centre
    │   ├── TableError          a row or column of a table is missing, duplicated or out of range
    │   ├── RecipeError         a recipe has an unknown key or a value out of range
    │   └── DesignError         the design of a reader study has an unknown key or a value out of range
    ├── RegistrationError       two series cannot be aligned
    ├── ModelError              a model folder is missing, altered, or made for other inputs
    ├── MissingPackage          a command needs a package that only an optional extra installs
    ├── LeakError               training data and test data overlap
    ├── AccessError             a user asks for something that is hidden from them, or hidden until later
    │   └── SignInError         a request comes from someone who has not signed in
    ├── LogError                the log of a workspace has been altered or damaged
    ├── WorkerError             a worker process died
    └── WorkspaceError          a workspace is missing, inconsistent, or of another schema
        ├── StaleError          edit conflict: the data changed after the user loaded them
        ├── UnavailableError    a database does not answer for the moment
        └── InterruptedWrite    a file could not be written; the previous version is intact
"""

import unicodedata

__all__ = [
    "AccessError",
    "ArchiveError",
    "BoxError",
    "DesignError",
    "FileError",
    "GeometryError",
    "InputError",
    "InterruptedWrite",
    "LeakError",
    "LevelError",
    "LogError",
    "MissedVertebraError",
    "MissingPackage",
    "ModelError",
    "PatchError",
    "RecipeError",
    "RegistrationError",
    "SelectionError",
    "SeriesError",
    "SignInError",
    "SpinefxError",
    "StaleError",
    "TableError",
    "UnavailableError",
    "UnlikeTrainingError",
    "WorkerError",
    "WorkspaceError",
    "one_line",
]

# Control, format (among them bidirectional overrides), surrogate and private characters.
HIDDEN = {"Cc", "Cf", "Cs", "Co"}


def one_line(text: str) -> str:
    """Return a text as one line that is safe on a terminal.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        White space collapsed; control characters and characters that change the direction of text replaced by U+FFFD.
    """
    kept = (
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign) in HIDDEN else sign for sign in " ".join(text.split())
    )
    return "".join(kept)


class SpinefxError(Exception):
    """Base of all named errors; its text is one line that a user can act on.

    The text reads ``WHERE: FOUND. Expected: ALLOWED. REMEDY``, without the parts that are not given. Control characters
    and characters that change the direction of text never reach it.

    Parameters
    ----------
    found : str
        What is wrong.
    where : str, optional
        File and row, series or case. Never a patient's name, date or hospital identifier.
    allowed : str, optional
        What would have been accepted.
    remedy : str, optional
        What to do next.
    """

    def __init__(self, found: str, *, where: str = "", allowed: str = "", remedy: str = "") -> None:
        self.found, self.where, self.allowed, self.remedy = found, where, allowed, remedy
        parts = [f"{where}: {found}" if where else found, f"Expected: {allowed}" if allowed else "", remedy]
        sentences = [
            text if text.endswith((".", "!", "?")) else f"{text}." for part in parts if (text := one_line(part))
        ]
        super().__init__(" ".join(sentences))

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only fields survive the way back from a worker process.
        return _rebuild, (type(self), self.found, self.where, self.allowed, self.remedy)


def _rebuild(kind: type[SpinefxError], found: str, where: str, allowed: str, remedy: str) -> SpinefxError:
    return kind(found, where=where, allowed=allowed, remedy=remedy)


class InputError(SpinefxError):
    """An input cannot be used."""


class FileError(InputError):
    """A file is unreadable, truncated, not an image, or of an unknown format."""


class ArchiveError(InputError):
    """A ZIP archive or DICOMDIR is broken, hostile or too large."""


class GeometryError(InputError):
    """The position of voxels in the patient is unknown or impossible."""


class SeriesError(InputError):
    """Slices form no stack: gaps, duplicates, mixed orientations."""


class SelectionError(InputError):
    """A study has no usable sagittal series of a kind that is needed."""


class BoxError(InputError):
    """A box or lesion does not fit its image."""


class LevelError(InputError):
    """A vertebra cannot be found, named or renamed as asked."""


class PatchError(InputError):
    """A patch cannot be scored: a flat channel, values that are not finite."""


class UnlikeTrainingError(InputError):
    """An input is so far from everything the model was trained on that its answer would mean nothing."""


class MissedVertebraError(UnlikeTrainingError):
    """A box does not seem to hold a vertebra at its centre."""


class TableError(InputError):
    """A row or column of a table is missing, duplicated or out of range."""


class RecipeError(InputError):
    """A recipe has an unknown key or a value out of range."""


class DesignError(InputError):
    """The design of a reader study has an unknown key or a value out of range."""


class RegistrationError(SpinefxError):
    """Two series cannot be aligned."""


class ModelError(SpinefxError):
    """A model folder is missing, altered, or made for other inputs."""


class MissingPackage(SpinefxError):
    """A command needs a package that only an optional extra of spinefx installs."""

    @classmethod
    def for_training(cls, name: str) -> "MissingPackage":
        """Return the error for a package of the extra ``train``.

        Parameters
        ----------
        name : str
            The module that could not be imported.

        Returns
        -------
        MissingPackage
        """
        return cls(f"{name} is not installed", remedy="Install it with pip install 'spinefx[train]'.")


class LeakError(SpinefxError):
    """Training data and test data overlap."""


class AccessError(SpinefxError):
    """A user asks for something that is hidden from them, or hidden until later."""


class SignInError(AccessError):
    """A request comes from someone who has not signed in."""


class LogError(SpinefxError):
    """The log of a workspace has been altered or damaged."""


class WorkerError(SpinefxError):
    """A worker process died."""


class WorkspaceError(SpinefxError):
    """A workspace is missing, inconsistent, or of another schema."""


class StaleError(WorkspaceError):
    """Edit conflict: the data changed after the user loaded them; nothing was stored."""


class UnavailableError(WorkspaceError):
    """A database does not answer for the moment: it is stopped, starting, or too busy. The request may be repeated."""


class InterruptedWrite(WorkspaceError):
    """A file could not be written; the previous version is intact."""
