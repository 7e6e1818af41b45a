"""Why no probability is given, and what to do: the same words in JSON, in a table, on the page and in Python."""

from __future__ import annotations

from dataclasses import dataclass

from spinefx.errors import SpinefxError

__all__ = ["Withheld", "with_remedy"]

# Why no number is given, in plain words.
WORDS = {
    "SelectionError": "Without every series that the model reads there is nothing to score.",
    "RegistrationError": "The series could not be aligned, so the model would see two different places.",
    "LevelError": "No vertebra of that name was found, so there is no box to score.",
    "BoxError": "The box or its slices do not lie on the image.",
    "PatchError": "In one of the series the box shows nothing that could be scored.",
    "MissedVertebraError": "Compared with the boxes of the training cases, this one does not seem to hold a vertebra "
    "in its middle.",
    "UnlikeTrainingError": "The images or the box differ too much from everything that the model was trained on.",
    "LeakError": "The model may have been trained on this very patient.",
    "ModelError": "The model cannot be trusted: its files are incomplete or were altered.",
    "MissingPackage": "A package that is needed to answer is not installed.",
    "WorkspaceError": "There is no model here.",
    "InputError": "The images cannot be read as a study that the model could score.",
}
# What to do where the error itself names no step.
REMEDIES = {
    "SelectionError": "Export the study with the missing series, or name the series to use.",
    "RegistrationError": "Check that the series are of one visit and show the same vertebra, or name another series.",
    "LevelError": "Mark the vertebra by a box instead.",
    "BoxError": "Mark the box and its slices on the T2W series again.",
    "PatchError": "Check that the box lies on tissue in every series.",
    "UnlikeTrainingError": "Use images like those of the training cases, or a model trained on images like these.",
    "LeakError": "Use a model that was not trained on this patient.",
    "ModelError": "Copy the model from its source again, or train it again.",
    "WorkspaceError": "Give the folder of a model or of an experiment.",
    "InputError": "Export the study from its archive again, and give its folder, ZIP or NIfTI files.",
}
LAST_WORDS = "The input cannot be scored."
LAST_REMEDY = "Correct what the reason names, and try again."


@dataclass(frozen=True)
class Withheld:
    """An answer that is withheld.

    Parameters
    ----------
    kind : str
        Name of the error.
    words : str
        Why there is no number, in plain words.
    reason : str
        What was found, and what was expected.
    remedy : str
        What to do next; never empty.
    """

    kind: str
    words: str
    reason: str
    remedy: str

    @classmethod
    def of(cls, error: SpinefxError) -> Withheld:
        """Explain an error.

        Parameters
        ----------
        error : SpinefxError

        Returns
        -------
        Withheld
        """
        kinds = [kind.__name__ for kind in type(error).__mro__]
        found = str(type(error)(error.found, where=error.where, allowed=error.allowed))
        return cls(
            type(error).__name__,
            next((WORDS[kind] for kind in kinds if kind in WORDS), LAST_WORDS),
            found[:1].upper() + found[1:],
            error.remedy or next((REMEDIES[kind] for kind in kinds if kind in REMEDIES), LAST_REMEDY),
        )


def with_remedy(error: SpinefxError) -> SpinefxError:
    """Return an error that names what to do next.

    Parameters
    ----------
    error : SpinefxError

    Returns
    -------
    SpinefxError
        The same, or one of the same kind with a remedy.
    """
    if error.remedy:
        return error
    return type(error)(error.found, where=error.where, allowed=error.allowed, remedy=Withheld.of(error).remedy)
