"""The protocol as one value: every number of an experiment, read from one flat TOML file.

Nothing here needs torch, so that a recipe can be read, checked and shown where none is installed.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from spinefx.documents import check_keys, parse_toml, read_toml
from spinefx.errors import RecipeError
from spinefx.files import canonical_json, digest_of

if TYPE_CHECKING:
    from spinefx.cases.patch import PatchSettings

__all__ = ["PRESETS", "Recipe"]

PRESETS = ("honest", "paper", "quick")

# A reader of a result is told in one sentence what each of these lets through.
TEST_FOLD_SENTENCE = (
    "the fold that is reported also chose the epoch whose weights are kept (early_stopping_on = 'test_fold'), "
    "as in Yeh 2022, so the scores are better than new patients would see"
)


@dataclass(frozen=True)
class _Field:
    """What one field of a recipe means, and the range of a number."""

    meaning: str
    low: float = 0
    high: float = 0

    def accepts(self, value: object, kind: Any) -> bool:
        """Tell whether a value is of this kind, exactly, and in range; nothing is converted."""
        choices = typing.get_args(kind)
        if choices:
            return isinstance(value, str) and value in choices
        if kind is str:
            return isinstance(value, str) and re.fullmatch("[a-z0-9_-]{1,40}", value) is not None
        if kind is bool:
            return isinstance(value, bool)
        # A boolean is an int to Python, not to a reader; a comparison with NaN is false.
        is_number = isinstance(value, int if kind is int else float) and not isinstance(value, bool)
        return is_number and self.low <= float(typing.cast("float", value)) <= self.high


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every number of one experiment; frozen, complete, and refused where a value is out of range.

    Each field stands in the TOML file; :meth:`meanings` says what it means, :meth:`allowed` what it accepts.

    Raises
    ------
    RecipeError
        For an unknown or missing key (with the nearest name) and for values out of range.

    Notes
    -----
    ``protocol row`` in a description is the row of the settled protocol of Yeh 2022.
    """

    name: Annotated[str, _Field("What results call this recipe.")]
    folds: Annotated[int, _Field("Folds of the cross-validation, dealt by patient and diagnosis (row 2).", 2, 50)]
    seed: Annotated[int, _Field("Where every random draw starts (row 23).", 0, 2**31 - 1)]
    repeats: Annotated[int, _Field("Repeats of the whole cross-validation, each with the next seed (row 23).", 1, 50)]
    early_stopping_on: Annotated[
        Literal["inner_split", "test_fold", "none"],
        _Field("Patients whose loss chooses the epoch that is kept; 'none' keeps the last (row 1)."),
    ]
    inner_fraction: Annotated[
        float, _Field("Share of the training patients of each class in the inner split (row 1).", 0.02, 0.5)
    ]
    patience: Annotated[
        int, _Field("Epochs without a lower loss before training stops; 0 runs all epochs (row 16).", 0, 1000)
    ]
    copies_benign: Annotated[int, _Field("Augmented draws of a benign slice in one epoch (row 4).", 1, 200)]
    copies_malignant: Annotated[int, _Field("Augmented draws of a malignant slice in one epoch (row 4).", 1, 200)]
    keep_original: Annotated[bool, _Field("Whether the unchanged slice is trained on beside its draws (row 4).")]
    fresh_draws: Annotated[
        bool, _Field("Whether every epoch draws anew; otherwise the first epoch's draws return (row 4).")
    ]
    shift_fraction: Annotated[float, _Field("Largest shift, in sides of the box (row 5).", 0.0, 0.1)]
    scale_low: Annotated[float, _Field("Smallest scale (row 5).", 0.9, 1.1)]
    scale_high: Annotated[float, _Field("Largest scale (row 5).", 0.9, 1.1)]
    rotation_deg: Annotated[float, _Field("Largest rotation, degrees (row 5).", 0.0, 15.0)]
    mixup_alpha: Annotated[
        float, _Field("Blends training patches and their answers by Beta(alpha, alpha); 0 does not.", 0.0, 2.0)
    ]
    contrast_jitter: Annotated[
        float,
        _Field(
            "Largest change of a series' contrast, curve and brightness in a training patch, in standard "
            "deviations; 0 changes none.",
            0.0,
            0.5,
        ),
    ]
    registration: Annotated[
        Literal["rigid", "affine", "geometry", "simpleitk"], _Field("How T1W is brought to T2W (row 9).")
    ]
    margin_percent: Annotated[float, _Field("Added to the side of the vertebra's box (row 8).", 0.0, 100.0)]
    patch_size: Annotated[int, _Field("Pixels along each side of a patch (row 10).", 32, 256)]
    normalisation: Annotated[Literal["z_score"], _Field("Each channel of each patch to mean 0, deviation 1 (row 10).")]
    network: Annotated[
        Literal["resnet50", "small_resnet"], _Field("The network; 'small_resnet' is for demonstrations.")
    ]
    mixing_channels: Annotated[int, _Field("Channels that the 1x1 layer makes of the six (row 11).", 1, 6)]
    mixing_bias: Annotated[bool, _Field("Whether that layer has a bias (row 11).")]
    stem: Annotated[Literal["3x3_stride_2", "7x7_stride_2", "3x3_stride_1"], _Field("First convolution (row 12).")]
    dropout: Annotated[float, _Field("Share of features dropped before the last layer (row 14).", 0.0, 0.9)]
    initialisation: Annotated[
        Literal["imagenet", "random"],
        _Field("Where weights start; 'imagenet' needs a local file, else random is used and said (row 17)."),
    ]
    learning_rate: Annotated[float, _Field("Adam's step (row 16).", 1e-07, 1.0)]
    learning_rate_schedule: Annotated[
        Literal["constant", "one_cycle"],
        _Field("Constant, or a rise over the first fifth of all steps and a cosine fall to zero (row 16)."),
    ]
    beta1: Annotated[float, _Field("Adam's momentum (row 16).", 0.0, 0.999)]
    beta2: Annotated[float, _Field("Adam's memory of squared gradients (row 16).", 0.5, 0.99999)]
    weight_decay: Annotated[float, _Field("L2 penalty, coupled as in classic Adam (row 15).", 0.0, 1.0)]
    batch_size: Annotated[int, _Field("Patches in one step (row 16).", 2, 1024)]
    epochs: Annotated[int, _Field("Passes over the training patients' draws (row 16).", 1, 1000)]
    patient_score: Annotated[Literal["max", "mean", "noisy_or"], _Field("From slices to the patient (row 18).")]
    threshold: Annotated[float, _Field("Probability from which a patient is called malignant (row 6).", 0.01, 0.99)]
    threshold_on: Annotated[
        Literal["raw", "corrected"], _Field("The probability that the threshold applies to (row 6).")
    ]
    dtype: Annotated[Literal["float32", "bfloat16"], _Field("Arithmetic of training; scoring is always float32.")]

    def __post_init__(self) -> None:
        for key, (kind, field) in _fields().items():
            value = getattr(self, key)
            if kind is float and type(value) is int:
                value = float(value)  # so that 0 and 0.0 are one recipe with one digest
                object.__setattr__(self, key, value)
            if not field.accepts(value, kind):
                raise RecipeError(f"{key} = {value!r}", where="recipe", allowed=self.allowed(key))
        self._refuse_contradictions()

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Make a recipe of plain values, as a file holds them.

        Parameters
        ----------
        values : mapping
            One value a field, by its name.

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
            For an unknown or missing key, or a value that its field does not accept.
        """
        if not isinstance(values, Mapping):
            raise RecipeError(f"a {type(values).__name__} where a recipe belongs", allowed="one value a field, by name")
        check_keys(values, _fields(), RecipeError, where="recipe", needed=_fields())
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """Give plain values by field name, in the order of the file.

        Returns
        -------
        dict
            ``Recipe.from_mapping(recipe.to_mapping()) == recipe``.
        """
        return {key: getattr(self, key) for key in _fields()}

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """Say what each field means.

        Returns
        -------
        dict of str to str
            By field name, in the order of the file.
        """
        return {key: field.meaning for key, (_, field) in _fields().items()}

    def _refuse_contradictions(self) -> None:
        if self.scale_low > self.scale_high:
            raise RecipeError(f"scale_low = {self.scale_low} above scale_high = {self.scale_high}", where="recipe")
        if self.early_stopping_on == "none" and self.patience:
            raise RecipeError(
                f"patience = {self.patience} with early_stopping_on = 'none'",
                where="recipe",
                allowed="patience = 0, or a split whose loss is watched",
            )
        if self.network == "small_resnet" and self.initialisation == "imagenet":
            raise RecipeError(
                "initialisation = 'imagenet' for small_resnet",
                where="recipe",
                allowed="'random', or network = 'resnet50'",
            )

    @classmethod
    def preset(cls, name: str) -> Self:
        """Read one of the recipes that come with spinefx.

        Parameters
        ----------
        name : {'honest', 'paper', 'quick'}

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
            For another name.
        """
        if name not in PRESETS:
            near = difflib.get_close_matches(name, PRESETS, 1)
            raise RecipeError(
                f"no recipe {name!r}" + (f", did you mean {near[0]!r}?" if near else ""), allowed=", ".join(PRESETS)
            )
        return cls.parse((resources.files("spinefx.learning") / "recipes" / f"{name}.toml").read_text("utf-8"))

    @classmethod
    def named(cls, name: str) -> Self:
        """Read a recipe as a command line names it: a preset, or a TOML file.

        Parameters
        ----------
        name : str
            What ends in ``.toml`` or holds a path separator is a file.

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
        """
        is_file = name.endswith(".toml") or Path(name).name != name
        return cls.load(Path(name)) if is_file else cls.preset(name)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe from a TOML file.

        Parameters
        ----------
        path : Path

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
            When the file is missing, no TOML, or no complete recipe.
        """
        remedy = f"Give a TOML file, or one of {', '.join(PRESETS)}."
        return cls.from_mapping(read_toml(path, RecipeError, remedy=remedy))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a recipe from TOML text.

        Parameters
        ----------
        text : str

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
        """
        return cls.from_mapping(parse_toml(text, RecipeError, where="recipe"))

    def changed(self, **changes: Any) -> Self:
        """Make a recipe that differs in some fields.

        Parameters
        ----------
        **changes
            New values by field name.

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
            As for a new recipe.
        """
        return self.from_mapping({**self.to_mapping(), **changes})

    def repetition(self, number: int) -> Self:
        """Give the recipe of one repeat of the whole cross-validation (protocol row 23).

        Parameters
        ----------
        number : int
            From 1 to ``repeats``; the first is the recipe's own seed.

        Returns
        -------
        Recipe
            With ``repeats = 1`` and the seed moved on.
        """
        if not 1 <= number <= self.repeats:
            raise RecipeError(f"repeat {number}", where="recipe", allowed=f"1 to {self.repeats}")
        return self.changed(seed=self.seed + number - 1, repeats=1)

    def dump(self) -> str:
        """Write the recipe as TOML, each field under its meaning and range.

        Returns
        -------
        str
            ``Recipe.parse(recipe.dump()) == recipe``.
        """
        lines: list[str] = []
        for key, meaning in self.meanings().items():
            lines += [f"# {meaning} Allowed: {self.allowed(key)}.", f"{key} = {_toml(getattr(self, key))}", ""]
        return "\n".join(lines[:-1]) + "\n"

    @classmethod
    def allowed(cls, key: str) -> str:
        """Say what one field accepts.

        Parameters
        ----------
        key : str
            Field name.

        Returns
        -------
        str
        """
        kind, field = _fields()[key]
        choices = typing.get_args(kind)
        if choices:
            return ", ".join(f"'{choice}'" for choice in choices)
        if kind is bool:
            return "true, false"
        if kind is str:
            return "1 to 40 of a-z, 0-9, - and _"
        if kind is int:
            return f"whole numbers from {field.low} to {field.high}"
        return f"numbers from {field.low:g} to {field.high:g}"

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe in canonical JSON."""
        return digest_of(canonical_json(self.to_mapping()))

    @property
    def optimistic(self) -> str:
        """Why results of this recipe are better than new patients would see; empty where no leak is allowed."""
        return TEST_FOLD_SENTENCE if self.early_stopping_on == "test_fold" else ""

    @property
    def inflation(self) -> float:
        """How many times the training copies multiply the odds of malignancy (protocol row 6)."""
        original = int(self.keep_original)
        return (self.copies_malignant + original) / (self.copies_benign + original)

    @property
    def patch_settings(self) -> PatchSettings:
        """How the patches of this recipe are cut."""
        # Deferred, for this name alone brings the imaging libraries.
        from spinefx.cases.patch import PatchSettings

        return PatchSettings(self.registration, self.margin_percent, self.patch_size)


@functools.cache
def _fields() -> dict[str, tuple[Any, _Field]]:
    """Type and meaning of every field, by its name."""
    hints = typing.get_type_hints(Recipe, include_extras=True)
    return {key: typing.get_args(hint) for key, hint in hints.items()}


def _toml(value: str | bool | float) -> str:
    """One TOML value; JSON writes strings, numbers and booleans the same way, but for exponents without a point."""
    text = json.dumps(value)
    return text.replace("e", ".0e", 1) if isinstance(value, float) and "e" in text and "." not in text else text
