"""The protocol as one value: every number of an experiment, read from one flat TOML file.

Nothing here needs torch, so that a recipe can be read, checked and shown where none is installed.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator

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


class Recipe(BaseModel):
    """Every number of one experiment; frozen, complete, and refused where a value is out of range.

    Each field stands in the TOML file; ``Recipe.model_fields[name].description`` says what it means.

    Raises
    ------
    RecipeError
        For an unknown or missing key (with the nearest name) and for values out of range.

    Notes
    -----
    ``protocol row`` in a description is the row of the settled protocol of Yeh 2022.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(
        min_length=1, max_length=40, pattern=r"^[a-z0-9_-]+$", description="What results call this recipe."
    )
    folds: int = Field(
        ge=2, le=50, description="Folds of the cross-validation, dealt by patient and diagnosis (row 2)."
    )
    seed: int = Field(ge=0, le=2**31 - 1, description="Where every random draw starts (row 23).")
    repeats: int = Field(
        ge=1, le=50, description="Repeats of the whole cross-validation, each with the next seed (row 23)."
    )
    early_stopping_on: Literal["inner_split", "test_fold", "none"] = Field(
        description="Patients whose loss chooses the epoch that is kept; 'none' keeps the last (row 1)."
    )
    inner_fraction: float = Field(
        ge=0.02, le=0.5, description="Share of the training patients of each class in the inner split (row 1)."
    )
    patience: int = Field(
        ge=0, le=1000, description="Epochs without a lower loss before training stops; 0 runs all epochs (row 16)."
    )
    copies_benign: int = Field(ge=1, le=200, description="Augmented draws of a benign slice in one epoch (row 4).")
    copies_malignant: int = Field(
        ge=1, le=200, description="Augmented draws of a malignant slice in one epoch (row 4)."
    )
    keep_original: bool = Field(description="Whether the unchanged slice is trained on beside its draws (row 4).")
    fresh_draws: bool = Field(
        description="Whether every epoch draws anew; otherwise the first epoch's draws return (row 4)."
    )
    shift_fraction: float = Field(ge=0.0, le=0.1, description="Largest shift, in sides of the box (row 5).")
    scale_low: float = Field(ge=0.9, le=1.1, description="Smallest scale (row 5).")
    scale_high: float = Field(ge=0.9, le=1.1, description="Largest scale (row 5).")
    rotation_deg: float = Field(ge=0.0, le=15.0, description="Largest rotation, degrees (row 5).")
    mixup_alpha: float = Field(
        ge=0.0, le=2.0, description="Blends training patches and their answers by Beta(alpha, alpha); 0 does not."
    )
    contrast_jitter: float = Field(
        ge=0.0,
        le=0.5,
        description="Largest change of a series' contrast, curve and brightness in a training patch, in standard "
        "deviations; 0 changes none.",
    )
    registration: Literal["rigid", "affine", "geometry"] = Field(description="How T1W is brought to T2W (row 9).")
    margin_percent: float = Field(ge=0.0, le=100.0, description="Added to the side of the vertebra's box (row 8).")
    patch_size: int = Field(ge=32, le=256, description="Pixels along each side of a patch (row 10).")
    normalisation: Literal["z_score"] = Field(description="Each channel of each patch to mean 0, deviation 1 (row 10).")
    network: Literal["resnet50", "small_resnet"] = Field(
        description="The network; 'small_resnet' is for demonstrations."
    )
    mixing_channels: int = Field(ge=1, le=6, description="Channels that the 1x1 layer makes of the six (row 11).")
    mixing_bias: bool = Field(description="Whether that layer has a bias (row 11).")
    stem: Literal["3x3_stride_2", "7x7_stride_2", "3x3_stride_1"] = Field(description="First convolution (row 12).")
    dropout: float = Field(ge=0.0, le=0.9, description="Share of features dropped before the last layer (row 14).")
    initialisation: Literal["imagenet", "random"] = Field(
        description="Where weights start; 'imagenet' needs a local file, else random is used and said (row 17)."
    )
    learning_rate: float = Field(ge=1e-7, le=1.0, description="Adam's step (row 16).")
    learning_rate_schedule: Literal["constant", "one_cycle"] = Field(
        description="Constant, or a rise over the first fifth of all steps and a cosine fall to zero (row 16)."
    )
    beta1: float = Field(ge=0.0, le=0.999, description="Adam's momentum (row 16).")
    beta2: float = Field(ge=0.5, le=0.99999, description="Adam's memory of squared gradients (row 16).")
    weight_decay: float = Field(ge=0.0, le=1.0, description="L2 penalty, coupled as in classic Adam (row 15).")
    batch_size: int = Field(ge=2, le=1024, description="Patches in one step (row 16).")
    epochs: int = Field(ge=1, le=1000, description="Passes over the training patients' draws (row 16).")
    patient_score: Literal["max", "mean", "noisy_or"] = Field(description="From slices to the patient (row 18).")
    threshold: float = Field(
        ge=0.01, le=0.99, description="Probability from which a patient is called malignant (row 6)."
    )
    threshold_on: Literal["raw", "corrected"] = Field(
        description="The probability that the threshold applies to (row 6)."
    )
    dtype: Literal["float32", "bfloat16"] = Field(description="Arithmetic of training; scoring is always float32.")

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_by_name(cls, values: Any, build: ModelWrapValidatorHandler[Self]) -> Self:
        if isinstance(values, Mapping):
            _refuse_keys(values, tuple(cls.model_fields))
        try:
            recipe = build(values)
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else ""
            raise RecipeError(
                f"{key} = {first['input']!r}", where="recipe", allowed=cls.allowed(key) if key else first["msg"]
            ) from None
        recipe._refuse_contradictions()
        return recipe

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
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(
                "the recipe file cannot be read as text",
                where=path.name,
                remedy=f"Give a TOML file, or one of {', '.join(PRESETS)}.",
            ) from error
        return cls.parse(text)

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
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"no TOML ({error})", where="recipe") from None
        return cls.model_validate(values)

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
        return type(self).model_validate({**self.model_dump(), **changes})

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
        for key, field in type(self).model_fields.items():
            lines += [
                f"# {field.description} Allowed: {self.allowed(key)}.",
                f"{key} = {_toml(getattr(self, key))}",
                "",
            ]
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
        field = cls.model_fields[key]
        choices = getattr(field.annotation, "__args__", ())
        if choices:
            return ", ".join(f"'{choice}'" for choice in choices)
        low = next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)
        high = next((limit.le for limit in field.metadata if isinstance(limit, Le)), None)
        if field.annotation is bool:
            return "true, false"
        if field.annotation is str:
            return "1 to 40 of a-z, 0-9, - and _"
        kind = "whole numbers" if field.annotation is int else "numbers"
        return f"{kind} from {low:g} to {high:g}" if kind == "numbers" else f"{kind} from {low} to {high}"

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe in canonical JSON."""
        return digest_of(canonical_json(self.model_dump()))

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


def _refuse_keys(values: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise RecipeError(f"unknown key {key!r}{hint}", where="recipe", allowed=", ".join(known))
    missing = [key for key in known if key not in values]
    if missing:
        raise RecipeError(
            f"keys missing: {', '.join(missing)}",
            where="recipe",
            remedy="A recipe writes every field; start from a copy of a preset.",
        )


def _toml(value: str | bool | float) -> str:
    """One TOML value; JSON writes strings, numbers and booleans the same way, but for exponents without a point."""
    text = json.dumps(value)
    return text.replace("e", ".0e", 1) if isinstance(value, float) and "e" in text and "." not in text else text
