"""Everything that can go wrong, by name.

::

    SpinefxError
    ├── InputError              something that was given cannot be used
    │   ├── FileError           a file: unreadable, truncated, not an image, not a known format
    │   ├── ArchiveError        a ZIP or DICOMDIR: bomb, traversal, broken
    │   ├── GeometryError       voxels whose place in the patient is impossible or unknown
    │   ├── SeriesError         slices that make no stack: gaps, duplicates, mixed
    │   ├── SelectionError      no usable sagittal series of a kind that is needed
    │   ├── BoxError            a box or lesion that does not fit its image
    │   ├── PatchError          a patch that cannot be scored: flat, not finite
    │   ├── UnlikeTrainingError an input too far from all that a model was trained on
    │   │   └── MissedVertebraError a box that does not seem to hold a vertebra in its middle
    │   ├── TableError          a row or column of a table
    │   ├── RecipeError         a recipe: unknown key, value out of range
    │   └── DesignError         a reader study's design: unknown key, value out of range
    ├── RegistrationError       two series that cannot be brought together
    ├── ModelError              a model folder: missing, tampered, other inputs
    ├── MissingPackage          a verb needs a package that only an extra installs
    ├── LeakError               training data and test data met
    ├── AccessError             somebody asks for what is not theirs, or not yet
    │   └── SignInError         somebody who has not signed in
    ├── LogError                a study's log that is not as it was written
    ├── WorkerError             a process that was given work ended by itself
    └── WorkspaceError          a study folder: missing, of another schema, inconsistent
        ├── StaleError          a change to what somebody else changed meanwhile
        ├── UnavailableError    a database that does not answer for now
        └── InterruptedWrite    a file could not be written whole; the old one stands
"""

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
]


class SpinefxError(Exception):
    """Base of all named errors; its text is one line that a user can act on.

    Parameters
    ----------
    found : str
        What was found.
    where : str, optional
        File and row, series or case. Never a patient's name, date or hospital identifier.
    allowed : str, optional
        What would have been accepted.
    remedy : str, optional
        What to do next.
    """

    def __init__(self, found: str, *, where: str = "", allowed: str = "", remedy: str = "") -> None:
        self.found, self.where, self.allowed, self.remedy = found, where, allowed, remedy
        text = f"{where}: {found}" if where else found
        text += f"; allowed: {allowed}" if allowed else ""
        text += f". {remedy}" if remedy else ""
        super().__init__(" ".join(text.split()))

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only fields survive the way back from a worker process.
        return _rebuild, (type(self), self.found, self.where, self.allowed, self.remedy)


def _rebuild(kind: type[SpinefxError], found: str, where: str, allowed: str, remedy: str) -> SpinefxError:
    return kind(found, where=where, allowed=allowed, remedy=remedy)


class InputError(SpinefxError):
    """Something that was given cannot be used."""


class FileError(InputError):
    """A file is unreadable, truncated, not an image, or of an unknown format."""


class ArchiveError(InputError):
    """A ZIP archive or DICOMDIR is broken, hostile or too large."""


class GeometryError(InputError):
    """Voxels whose place in the patient is impossible or unknown."""


class SeriesError(InputError):
    """Slices that make no stack: gaps, duplicates, mixed orientations."""


class SelectionError(InputError):
    """A study without a usable sagittal series of a kind that is needed."""


class BoxError(InputError):
    """A box or lesion that does not fit its image."""


class PatchError(InputError):
    """A patch that cannot be scored: a flat channel, values that are not finite."""


class UnlikeTrainingError(InputError):
    """An input lies so far from all that a model was trained on that its answer would mean nothing."""


class MissedVertebraError(UnlikeTrainingError):
    """A box does not seem to hold a vertebra in its middle."""


class TableError(InputError):
    """A row or a column of a table is missing, doubled or out of range."""


class RecipeError(InputError):
    """A recipe with an unknown key or a value out of range."""


class DesignError(InputError):
    """A reader study's design with an unknown key or a value out of range."""


class RegistrationError(SpinefxError):
    """Two series that cannot be brought together."""


class ModelError(SpinefxError):
    """A model folder is missing, tampered with, or made for other inputs."""


class MissingPackage(SpinefxError):
    """What was asked needs a package that only an extra of spinefx installs."""

    @classmethod
    def for_training(cls, name: str) -> "MissingPackage":
        """Make the error for a package of the extra ``train``.

        Parameters
        ----------
        name : str
            What could not be imported.

        Returns
        -------
        MissingPackage
        """
        return cls(f"{name} is not installed", remedy="Install what training needs: pip install 'spinefx[train]'")


class LeakError(SpinefxError):
    """Training data and test data met."""


class AccessError(SpinefxError):
    """Somebody asks for what is not theirs, or not yet."""


class SignInError(AccessError):
    """Somebody who has not signed in asks for more than the entrance."""


class LogError(SpinefxError):
    """A study's log is not as it was written."""


class WorkerError(SpinefxError):
    """A process that was given work ended by itself, or was ended."""


class WorkspaceError(SpinefxError):
    """A study folder is missing, of another schema, or inconsistent."""


class StaleError(WorkspaceError):
    """A change is based on what somebody else has changed meanwhile; nothing was stored."""


class UnavailableError(WorkspaceError):
    """A database does not answer for now: it is stopped, starting, or too busy. What was asked may be asked again."""


class InterruptedWrite(WorkspaceError):
    """A file could not be written whole; what stood there before still stands."""
