"""Assignment of signs to a whole cohort at once, so that its counts equal those of Table 1, not only on average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spinefx.phantom.settings import PhantomSettings, Stream
from spinefx.phantom.sign_rules import (
    DRAWN_SIGNS,
    MARROWS,
    PATIENTS,
    SHAPES,
    TABLE_1,
    allowed_cells,
    cell_signs,
    chance,
    joint,
)
from spinefx.phantom.sign_sampling import tilted_draw
from spinefx.vocabulary import SIGN_IDENTIFIERS, Diagnosis

__all__ = ["SignAssignment", "assign_signs"]

_Reals = NDArray[np.float64]
_Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class SignAssignment:
    """The categories and signs that one patient was assigned.

    Parameters
    ----------
    diagnosis : Diagnosis
    shape, marrow : str
        Joint categories, of :data:`spinefx.phantom.sign_rules.SHAPES` and
        :data:`spinefx.phantom.sign_rules.MARROWS`.
    signs : dict of str to bool
        The fifteen signs.
    cement : bool
        Whether the dark patch is cement.
    irradiated : bool
    weight : float
        Sampling weight, which restores the margins of Table 1 where signs are dealt more often; otherwise 1.
    """

    diagnosis: Diagnosis
    shape: str
    marrow: str
    signs: dict[str, bool]
    cement: bool
    irradiated: bool
    weight: float = 1.0


def assign_signs(settings: PhantomSettings, number: int) -> SignAssignment:
    """Return the signs that one patient of a cohort is assigned.

    Parameters
    ----------
    settings : PhantomSettings
    number : int
        1 to ``settings.patients``.

    Returns
    -------
    SignAssignment
        The same for the same settings and number, whichever patients were asked for before.

    Notes
    -----
    Within each class, combinations of shape and marrow are assigned as whole numbers with the margins of Table 1 by
    unbiased controlled rounding (Cox 1987, JASA 82:520); cohorts of other sizes get proportional margins. Every further
    sign is then assigned by systematic sampling: to as many patients as the table has, each with the probability that
    shape, marrow and earlier signs imply. Where signs are forced or forbidden, the others follow those probabilities.
    """
    place, malignant = int(_order(settings.seed, settings.patients)[number - 1]), int(settings.malignant or 0)
    if place < malignant:
        return _class_assignments(settings, Diagnosis.MALIGNANT, malignant).patient(place)
    return _class_assignments(settings, Diagnosis.BENIGN, settings.patients - malignant).patient(place - malignant)


@lru_cache(maxsize=4)
def _order(seed: int, patients: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 0]).permutation(patients)


@dataclass(frozen=True, eq=False)
class _ClassAssignments:
    """The assignments of all patients of one class, as compact arrays: a cohort may hold many thousands."""

    diagnosis: Diagnosis
    cells: NDArray[np.int64]
    signs: _Flags  # patient, sign
    cement: _Flags
    irradiated: _Flags
    weights: _Reals

    def patient(self, place: int) -> SignAssignment:
        row, column = divmod(int(self.cells[place]), len(MARROWS))
        signs = {sign: bool(yes) for sign, yes in zip(SIGN_IDENTIFIERS, self.signs[place], strict=True)}
        return SignAssignment(
            self.diagnosis,
            SHAPES[row],
            MARROWS[column],
            signs,
            bool(self.cement[place]),
            bool(self.irradiated[place]),
            float(self.weights[place]),
        )


@lru_cache(maxsize=4)
def _class_assignments(settings: PhantomSettings, diagnosis: Diagnosis, patients: int) -> _ClassAssignments:
    def rng(purpose: int) -> np.random.Generator:
        # One stream for each purpose, so that forcing a sign does not change signs that do not depend on it.
        kind = list(Diagnosis).index(diagnosis)
        return np.random.default_rng([settings.seed, Stream.SIGNS, kind + 1, purpose + 1])

    if settings.oversample:
        return _oversampled(settings, diagnosis, patients, rng)
    cells = rng(0).permutation(
        np.repeat(np.arange(len(SHAPES) * len(MARROWS)), _cells(settings, diagnosis, patients, rng(1)))
    )
    has = {sign: np.zeros(patients, bool) for sign in SIGN_IDENTIFIERS}
    for cell in np.unique(cells):
        for sign, yes in cell_signs(*_names(int(cell))).items():
            has[sign][cells == cell] = yes
    for purpose, sign in enumerate(DRAWN_SIGNS, start=10):
        if sign in settings.force:
            has[sign][:] = True
        elif sign not in settings.forbid:
            chances = _chances(diagnosis, sign, cells, has)
            restricted = settings.force or settings.forbid or settings.no_collapse
            expected = chances.sum() if restricted else TABLE_1[diagnosis][sign] / PATIENTS[diagnosis] * patients
            has[sign] = _sample(chances, cells, round(float(expected)), rng(purpose))
    cement = np.zeros(patients, bool)
    if "dark_patch" not in settings.forbid:
        # Cement replaces sclerotic patches first.
        first = np.lexsort((rng(2).random(patients), ~has["dark_patch"]))
        cement[first[: round(settings.cement.of(diagnosis) * patients)]] = True
        has["dark_patch"] |= cement
    irradiated = _irradiated(settings, diagnosis, patients, rng(3))
    signs = np.stack([has[sign] for sign in SIGN_IDENTIFIERS], axis=1)
    return _ClassAssignments(diagnosis, cells, signs, cement, irradiated, np.ones(patients))


def _irradiated(settings: PhantomSettings, diagnosis: Diagnosis, patients: int, rng: np.random.Generator) -> _Flags:
    irradiated = np.zeros(patients, bool)
    irradiated[rng.permutation(patients)[: round(settings.irradiation.of(diagnosis) * patients)]] = True
    return irradiated


def _oversampled(
    settings: PhantomSettings, diagnosis: Diagnosis, patients: int, rng: Callable[[int], np.random.Generator]
) -> _ClassAssignments:
    """Deal some signs more often; cement keeps its share among patients with and without a dark patch."""
    cells, has, weights = tilted_draw(diagnosis, settings.oversample, settings.oversample_factor, patients, rng(4))
    column = SIGN_IDENTIFIERS.index("dark_patch")
    share, usual = settings.cement.of(diagnosis), TABLE_1[diagnosis]["dark_patch"] / PATIENTS[diagnosis]
    chances = np.where(has[:, column], min(1.0, share / usual), max(0.0, (share - usual) / (1 - usual)))
    cement: _Flags = rng(2).random(patients) < chances
    has[:, column] |= cement
    return _ClassAssignments(diagnosis, cells, has, cement, _irradiated(settings, diagnosis, patients, rng(3)), weights)


def _names(cell: int) -> tuple[str, str]:
    row, column = divmod(cell, len(MARROWS))
    return SHAPES[row], MARROWS[column]


def _cells(
    settings: PhantomSettings, diagnosis: Diagnosis, patients: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Number of patients of each shape (slowest index) with each marrow."""
    table = joint(diagnosis)
    left = allowed_cells(settings.force, settings.forbid)
    if settings.no_collapse is None and not (table * ~left).any():
        return _controlled(_fitted(table, _shape_counts(table, patients), _rounded(table.sum(axis=0), patients)), rng)
    if settings.no_collapse is not None:
        share, shown = settings.no_collapse.of(diagnosis), table[:1].sum()
        table = np.concatenate([table[:1] * share / shown, table[1:] * (1 - share) / (1 - shown)])
    if not (table * left).any():
        # Table 1 has no such combination: the shapes keep their shares, and every allowed marrow is as likely.
        table = table.sum(axis=1, keepdims=True) * (np.array(MARROWS) != "nodules")
    if not (table * left).any():
        table = np.ones_like(table)
    weights = (table * left).ravel()
    counts = np.zeros(weights.size, np.int64)
    order = rng.permutation(weights.size)
    counts[order] = np.diff(np.floor(_climb(weights[order], patients) + rng.random()), prepend=0)
    return counts


def _climb(weights: _Reals, total: int) -> _Reals:
    """Cumulative sum, scaled to end exactly at a whole total."""
    sums = np.cumsum(weights)
    result: _Reals = sums * (total / sums[-1])
    result[sums == sums[-1]] = total
    return result


def _rounded(shares: _Reals, total: int) -> NDArray[np.int64]:
    """Round proportional shares to whole numbers that add up to a total, by the largest remainder."""
    exact = shares * (total / shares.sum())
    down: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    up = np.argsort(down - exact, kind="stable")[: total - int(down.sum())]
    down[up] += 1
    return down


def _shape_counts(table: _Reals, patients: int) -> NDArray[np.int64]:
    """Number of patients of each shape such that none, wedge, entire and concave all come near their shares."""
    none, wedge, wedge_concave, entire, entire_concave, concave = table.sum(axis=1)
    groups = _rounded(np.array([none, wedge + wedge_concave, entire + entire_concave, concave]), patients)
    both = int(
        np.clip(round(float(wedge_concave + entire_concave + concave) * patients) - groups[3], 0, sum(groups[1:3]))
    )
    of_wedge = round(both * float(wedge_concave / (wedge_concave + entire_concave)))
    of_wedge = int(np.clip(of_wedge, max(0, both - groups[2]), min(both, groups[1])))
    of_entire = both - of_wedge
    return np.array([groups[0], groups[1] - of_wedge, of_wedge, groups[2] - of_entire, of_entire, groups[3]])


def _fitted(table: _Reals, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> _Reals:
    """Scale a table to whole margins without changing its odds ratios."""
    fitted = table.copy()
    for _ in range(2000):
        fitted *= (rows / np.maximum(fitted.sum(axis=1), 1e-300))[:, None]
        fitted *= columns / np.maximum(fitted.sum(axis=0), 1e-300)
        if np.abs(fitted.sum(axis=1) - rows).max() < 1e-9:
            break
    return fitted


def _controlled(table: _Reals, rng: np.random.Generator) -> NDArray[np.int64]:
    """Round a table with whole margins to whole cells, up or down, without bias and without changing the margins.

    Along a cycle of fractional cells, what one cell gains the next loses, until one of them is whole.
    """
    table = table.copy()
    while True:
        part = np.abs(table - np.rint(table)) > 1e-6
        cycle = _cycle(part, rng)
        if not cycle:
            return np.rint(table).astype(np.int64).ravel()
        gains, losses = tuple(np.array(cycle[::2]).T), tuple(np.array(cycle[1::2]).T)
        up = min((np.ceil(table[gains]) - table[gains]).min(), (table[losses] - np.floor(table[losses])).min())
        down = min((table[gains] - np.floor(table[gains])).min(), (np.ceil(table[losses]) - table[losses]).min())
        step = up if rng.random() * (up + down) < down else -down
        table[gains] += step
        table[losses] -= step


def _cycle(part: _Flags, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Find a closed walk over fractional cells that turns at every cell; empty where no cell is fractional."""
    rows = np.flatnonzero(part.any(axis=1))
    if not len(rows):
        return []
    walk: list[tuple[int, int]] = []
    met = {("row", int(rows[0])): 0}
    row = int(rows[0])
    while True:
        column = _other(part[row], walk[-1][1] if walk else -1, rng)
        walk.append((row, column))
        if ("column", column) in met:
            return walk[met["column", column] :]
        met["column", column] = len(walk)
        row = _other(part[:, column], row, rng)
        walk.append((row, column))
        if ("row", row) in met:
            return walk[met["row", row] :]
        met["row", row] = len(walk)


def _other(part: _Flags, last: int, rng: np.random.Generator) -> int:
    found = np.flatnonzero(part)
    return int(rng.choice(found[found != last]))


def _chances(diagnosis: Diagnosis, sign: str, cells: NDArray[np.int64], has: dict[str, _Flags]) -> _Reals:
    earlier = [name for name in DRAWN_SIGNS if name != sign]
    table = np.stack([cells, *(has[name] for name in earlier)], axis=1)
    kinds, which = np.unique(table, axis=0, return_inverse=True)
    values = [
        chance(diagnosis, sign, *_names(int(kind[0])), dict(zip(earlier, (bool(yes) for yes in kind[1:]), strict=True)))
        for kind in kinds
    ]
    result: _Reals = np.array(values, float)[which.ravel()] if len(values) else np.zeros(len(cells))
    return result


def _sample(chances: _Reals, cells: NDArray[np.int64], total: int, rng: np.random.Generator) -> _Flags:
    """Select exactly ``total`` patients by systematic sampling, with probabilities scaled to that total.

    Patients of probability 1 are always selected, those of 0 never. Patients of equal probability, shape and marrow are
    adjacent, in random order, so that each such group gets its share as well.
    """
    picked: _Flags = chances >= 1
    open_places = min(total - int(picked.sum()), int((chances > 0).sum() - picked.sum()))
    if open_places <= 0:
        return picked
    weights = np.where(picked, 0.0, chances)
    for _ in range(len(chances)):
        full = weights >= 1
        scale = (open_places - full.sum()) / weights[~full].sum()
        weights = np.where(full, 1.0, np.minimum(weights * scale, 1.0))
        if abs(weights.sum() - open_places) < 1e-9:
            break
    order = np.lexsort((rng.random(len(chances)), cells, chances))
    rungs = np.floor(_climb(weights[order], open_places) + rng.random())
    picked[order] |= np.diff(rungs, prepend=0) > 0
    return picked
