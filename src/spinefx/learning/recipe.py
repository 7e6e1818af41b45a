"""The protocol as one value: every number of an experiment, read from one flat TOML file.

Nothing here needs torch, so that a recipe can be read, checked and shown where torch is not installed.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from spinefx.documents import check_keys, parse_toml, read_toml
from spinefx.errors import RecipeError
from spinefx.files import canonical_json, digest_of
from spinefx.learning.networks import NETWORKS
from spinefx.learning.recipe_field import Field
from spinefx.vocabulary import MARKED, SEQUENCES, Weighting, sequences_of

if TYPE_CHECKING:
    from spinefx.cases.patch import PatchSettings

__all__ = ["PRESETS", "Recipe"]

PRESETS = ("honest", "paper", "pretrained", "quick")

# Every result of such a recipe repeats this sentence.
TEST_FOLD_SENTENCE = (
    "the fold that is reported also chose the epoch whose weights are kept (early_stopping_on = 'test_fold'), "
    "as in Yeh 2022, so the scores are better than new patients would see"
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every number of one experiment; frozen, complete, and refused where a value is out of range.

    The TOML file holds every field; :meth:`meanings` returns what each means, :meth:`allowed` what it accepts.

    Raises
    ------
    RecipeError
        For an unknown or missing key (with the nearest name) and for values out of range.

    Notes
    -----
    ``row`` in a description is the row of the protocol, see ``docs/protocol.md``.
    """

    name: Annotated[str, Field("What results call this recipe.")]
    folds: Annotated[int, Field("Folds of the cross-validation, dealt by patient and diagnosis (row 2).", 2, 50)]
    seed: Annotated[int, Field("Where every random draw starts (row 23).", 0, 2**31 - 1)]
    repeats: Annotated[int, Field("Repeats of the whole cross-validation, each with the next seed (row 23).", 1, 50)]
    early_stopping_on: Annotated[
        Literal["inner_split", "test_fold", "none"],
        Field("Patients whose loss chooses the epoch that is kept; 'none' keeps the last (row 1)."),
    ]
    inner_fraction: Annotated[
        float, Field("Share of the training patients of each class in the inner split (row 1).", 0.02, 0.5)
    ]
    patience: Annotated[
        int, Field("Epochs without a lower loss before training stops; 0 runs all epochs (row 16).", 0, 1000)
    ]
    copies_benign: Annotated[int, Field("Augmented draws of a benign slice in one epoch (row 4).", 1, 200)]
    copies_malignant: Annotated[int, Field("Augmented draws of a malignant slice in one epoch (row 4).", 1, 200)]
    keep_original: Annotated[bool, Field("Whether the unchanged slice is trained on beside its draws (row 4).")]
    fresh_draws: Annotated[
        bool, Field("Whether every epoch draws anew; otherwise the first epoch's draws return (row 4).")
    ]
    shift_fraction: Annotated[float, Field("Largest shift, in sides of the box (row 5).", 0.0, 0.1)]
    scale_low: Annotated[float, Field("Smallest scale (row 5).", 0.9, 1.1)]
    scale_high: Annotated[float, Field("Largest scale (row 5).", 0.9, 1.1)]
    rotation_deg: Annotated[float, Field("Largest rotation, degrees (row 5).", 0.0, 15.0)]
    mixup_alpha: Annotated[
        float, Field("Blends training patches and their answers by Beta(alpha, alpha); 0 does not.", 0.0, 2.0)
    ]
    contrast_jitter: Annotated[
        float,
        Field(
            "Largest change of a series' contrast, curve and brightness in a training patch, in standard "
            "deviations; 0 changes none.",
            0.0,
            0.5,
        ),
    ]
    sequences: Annotated[
        tuple[str, ...],
        Field(
            "Series that a patch is cut from, in the order of its channels (row 7).",
            allowed=f"a list of {', '.join(repr(str(one)) for one in SEQUENCES)}, each at most once, '{MARKED}' always",
        ),
    ] = (Weighting.T1W.value, Weighting.T2W.value)
    neighbours: Annotated[
        int, Field("Slices on either side of the lesion slice that are channels too (row 7).", 0, 3)
    ] = 1
    registration: Annotated[
        Literal["rigid", "affine", "geometry", "simpleitk"], Field("How T1W is brought to T2W (row 9).")
    ]
    margin_percent: Annotated[float, Field("Added to the side of the vertebra's box (row 8).", 0.0, 100.0)]
    patch_size: Annotated[int, Field("Pixels along each side of a patch (row 10).", 32, 256)]
    normalisation: Annotated[Literal["z_score"], Field("Each channel of each patch to mean 0, deviation 1 (row 10).")]
    network: Annotated[
        str,
        Field(
            "The network; 'small_resnet' is for demonstrations.",
            allowed=f"{', '.join(repr(name) for name in NETWORKS)}, or the name of a network that your code passes",
        ),
    ]
    mixing_channels: Annotated[
        int,
        Field(
            "Channels that the 1x1 layer makes of the patch's (row 11).",
            1,
            21,
            "whole numbers from 1 to the number of channels, 6 by default",
        ),
    ]
    mixing_bias: Annotated[bool, Field("Whether that layer has a bias (row 11).")]
    stem: Annotated[Literal["3x3_stride_2", "7x7_stride_2", "3x3_stride_1"], Field("First convolution (row 12).")]
    dropout: Annotated[float, Field("Share of features dropped before the last layer (row 14).", 0.0, 0.9)]
    initialisation: Annotated[
        Literal["imagenet", "random"],
        Field("Where weights start; 'imagenet' needs a local file, else random is used and said (row 17)."),
    ]
    learning_rate: Annotated[float, Field("Adam's step (row 16).", 1e-07, 1.0)]
    learning_rate_schedule: Annotated[
        Literal["constant", "one_cycle"],
        Field("Constant, or a rise over the first fifth of all steps and a cosine fall to zero (row 16)."),
    ]
    beta1: Annotated[float, Field("Adam's momentum (row 16).", 0.0, 0.999)]
    beta2: Annotated[float, Field("Adam's memory of squared gradients (row 16).", 0.5, 0.99999)]
    weight_decay: Annotated[float, Field("L2 penalty, coupled as in classic Adam (row 15).", 0.0, 1.0)]
    batch_size: Annotated[int, Field("Patches in one step (row 16).", 2, 1024)]
    epochs: Annotated[int, Field("Passes over the training patients' draws (row 16).", 1, 1000)]
    patient_score: Annotated[Literal["max", "mean", "noisy_or"], Field("From slices to the patient (row 18).")]
    threshold: Annotated[float, Field("Probability from which a patient is called malignant (row 6).", 0.01, 0.99)]
    threshold_on: Annotated[
        Literal["raw", "corrected"], Field("The probability that the threshold applies to (row 6).")
    ]
    dtype: Annotated[Literal["float32", "bfloat16"], Field("Arithmetic of training; scoring is always float32.")]

    def __post_init__(self) -> None:
        for key, (kind, field) in _fields().items():
            value = field.plain(getattr(self, key), kind)
            object.__setattr__(self, key, value)
            if not field.accepts(value, kind):
                raise RecipeError(f"{key} = {value!r}", where="recipe", allowed=self.allowed(key))
        self._refuse_contradictions()

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Make a recipe from plain values, as a file holds them.

        Parameters
        ----------
        values : mapping
            One value for each field, by its name. Fields with a default may be missing: files that were written before
            these fields existed stand for the default.

        Returns
        -------
        Recipe

        Raises
        ------
        RecipeError
            For an unknown or missing key, or a value that its field does not accept.
        """
        if not isinstance(values, Mapping):
            raise RecipeError(
                f"a {type(values).__name__} where a recipe belongs", allowed="one value for each field, by name"
            )
        needed = [key for key in _fields() if key not in _defaults()]
        check_keys(values, _fields(), RecipeError, where="recipe", needed=needed)
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values by field name, in the order of the file.

        Returns
        -------
        dict
            ``Recipe.from_mapping(recipe.to_mapping()) == recipe``. A field with a default is left out where it holds
            it, so that recipes, patches and models that were written before the field existed keep their digests.
        """
        values = {key: getattr(self, key) for key in _fields()}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if key not in _defaults() or value != _defaults()[key]
        }

    @classmethod
    def meanings(cls) -> dict[str, str]:
        """Return what each field means.

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
        known = NETWORKS.get(self.network)
        if known is not None and not known.pretrained and self.initialisation == "imagenet":
            able = ", ".join(f"'{network.name}'" for network in NETWORKS.values() if network.pretrained)
            raise RecipeError(
                f"initialisation = 'imagenet' for {self.network}",
                where="recipe",
                allowed=f"'random', or network = {able}",
            )
        if self.mixing_channels > self.channels:
            raise RecipeError(
                f"mixing_channels = {self.mixing_channels}", where="recipe", allowed=f"1 to {self.channels}"
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
        """Read a recipe by the name that a user gives: a preset, or a TOML file.

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
            When the file is missing, not TOML, or not a complete recipe.
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
        """Return the recipe of one repeat of the whole cross-validation (protocol row 23).

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
        """Return the recipe as TOML, each field below its meaning and range.

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
        """Return what one field accepts.

        Parameters
        ----------
        key : str
            Field name.

        Returns
        -------
        str
        """
        kind, field = _fields()[key]
        return field.described(kind)

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe in canonical JSON."""
        return digest_of(canonical_json(self.to_mapping()))

    @property
    def optimistic(self) -> str:
        """Why results of this recipe are better than new patients would see; empty where the recipe allows no leak."""
        return TEST_FOLD_SENTENCE if self.early_stopping_on == "test_fold" else ""

    @property
    def inflation(self) -> float:
        """How many times the training copies multiply the odds of malignancy (protocol row 6)."""
        original = int(self.keep_original)
        return (self.copies_malignant + original) / (self.copies_benign + original)

    @property
    def channels(self) -> int:
        """Number of channels of a patch."""
        return len(self.sequences) * (2 * self.neighbours + 1)

    @functools.cached_property
    def patch_settings(self) -> PatchSettings:
        """How the patches of this recipe are cut."""
        # Deferred: it needs NumPy, and recipes are listed where nothing is computed.
        from spinefx.cases.patch import PatchSettings

        sequences = sequences_of(self.sequences)
        return PatchSettings(self.registration, self.margin_percent, self.patch_size, sequences, self.neighbours)


@functools.cache
def _fields() -> dict[str, tuple[Any, Field]]:
    """Return the type and meaning of every field, by its name."""
    hints = typing.get_type_hints(Recipe, include_extras=True)
    return {key: typing.get_args(hint) for key, hint in hints.items()}


@functools.cache
def _defaults() -> dict[str, Any]:
    """Return the defaults of the fields that were added after recipes had been written."""
    return {
        field.name: field.default for field in dataclasses.fields(Recipe) if field.default is not dataclasses.MISSING
    }


def _is_sequences(value: object) -> bool:
    if not isinstance(value, tuple) or not all(isinstance(name, str) and name in SEQUENCES for name in value):
        return False
    return len(set(value)) == len(value) and MARKED in value


def _toml(value: str | bool | float | tuple[str, ...]) -> str:
    """Write one TOML value as JSON writes it, which differs only in exponents without a point."""
    text = json.dumps(value)
    return text.replace("e", ".0e", 1) if isinstance(value, float) and "e" in text and "." not in text else text
