"""Plan how many cases and readers a study needs. Modules are imported when needed, as in the shell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from spinefx.errors import InputError

if TYPE_CHECKING:
    from spinefx.statistics.mrmc.components import VarianceComponents
    from spinefx.statistics.mrmc.panel import PanelComponents
    from spinefx.statistics.mrmc.power import Power

__all__ = ["Plan", "PlanOptions", "Question", "plan"]

Question = Literal["difference", "non-inferiority", "modalities", "panel"]
# The options that each question uses besides those of every question.
USED: dict[str, frozenset[str]] = {
    "difference": frozenset({"first", "second", "dependence", "share", "cases"}),
    "non-inferiority": frozenset({"first", "second", "dependence", "margin", "share", "cases"}),
    "modalities": frozenset(
        {"first", "second", "share", "cases", "readers", "analysis", "spread", "pilot", "truth", "model", "difference"}
    ),
    "panel": frozenset(
        {"first", "second", "share", "cases", "readers", "analysis", "spread", "pilot", "truth", "model", "difference"}
    ),
}
# Options of a simulated pilot, which a pilot on disk makes idle, and options of a pilot on disk.
OF_SIMULATION, OF_PILOT = frozenset({"share", "spread"}), frozenset({"truth", "model"})
SEED, PILOTS, PILOT_READERS, PILOT_CASES = 1, 40, 6, 200


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Assumptions about a planned study.

    Parameters
    ----------
    first : float, optional
        Share of cases that the first reader or model reads correctly, 0 to 1; for modalities and panel, the AUC.
    second : float, optional
        The same for the second reader, the second modality, or the model beside the panel.
    dependence : float
        How many errors the two readers share: 0 by chance only, 1 as many as possible.
    margin : float, optional
        Largest acceptable loss of the first against the second.
    share : float, optional
        Share of recruited patients in the class of interest (malignant, for sensitivity); for modalities and panel,
        share of malignant cases (default 0.5).
    cases : int, optional
        Available cases (in the class of interest, for a difference): computes the power, or the readers needed.
    readers : int, optional
        Available readers, without the model: computes the cases needed.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
        Random or fixed readers and cases.
    spread : float
        Variance between readers, and of readers between modalities, on the scale of Roe and Metz; 0.0055 is low.
    pilot : Path, optional
        Readings of a pilot study (a table like ``readings.tsv``), instead of ``first`` and ``second``.
    truth : Path, optional
        Table with ``case_id`` and ``diagnosis`` of the pilot.
    model : str, optional
        reader_id of the model in the pilot: compared with the panel, left out of the readers for modalities.
    difference : float, optional
        True difference to detect; by default that between ``first`` and ``second``.
    power : float
        Required power.
    alpha : float
        Level of the two-sided test; non-inferiority uses half of it.
    """

    first: float | None = None
    second: float | None = None
    dependence: float = 0.0
    margin: float | None = None
    share: float | None = None
    cases: int | None = None
    readers: int | None = None
    analysis: Literal["RRRC", "FRRC", "RRFC"] = "RRRC"
    spread: float = 0.03
    pilot: Path | None = None
    truth: Path | None = None
    model: str | None = None
    difference: float | None = None
    power: float = 0.8
    alpha: float = 0.05


@dataclass(frozen=True)
class Plan:
    """The plan of a study.

    Parameters
    ----------
    lines : tuple of str
        The answer in words, then its assumptions.
    numbers : dict
        The same for a program.
    """

    lines: tuple[str, ...]
    numbers: dict[str, object]


def plan(question: Question, options: PlanOptions) -> Plan:
    """Return how many cases or readers a study needs, or its power.

    Parameters
    ----------
    question : {'difference', 'non-inferiority', 'modalities', 'panel'}
        Two readers of the same cases (difference or non-inferiority); two modalities read by several readers; one
        model against several readers.
    options : PlanOptions

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        For missing or impossible assumptions.
    """
    if question in USED:
        _refuse_unused(question, options)
    if question in ("difference", "non-inferiority"):
        return _paired(options, non_inferior=question == "non-inferiority")
    if question in ("modalities", "panel"):
        return _readers(options, panel=question == "panel")
    raise InputError(f"Unknown question {question!r}", allowed="difference, non-inferiority, modalities, panel")


def _refuse_unused(question: Question, options: PlanOptions) -> None:
    """Refuse options that the design would ignore, by name."""
    used = USED[question] - (OF_PILOT if options.pilot is None else OF_SIMULATION)
    if options.pilot is not None and options.difference is not None:
        used -= {"first", "second"}
    # Where cases, and readers if there are any, are given, the power is the answer.
    is_sized = options.cases is not None and (options.readers is not None or "readers" not in used)
    used |= {"alpha"} if is_sized else {"alpha", "power"}
    given = [one.name for one in fields(PlanOptions) if getattr(options, one.name) != one.default]
    idle = [name for name in given if name not in used]
    if idle:
        pilot = "" if options.pilot is None else " with a pilot"
        raise InputError(
            f"{', '.join(f'--{name}' for name in idle)} given",
            where=f"{question}{pilot}",
            allowed=", ".join(f"--{one.name}" for one in fields(PlanOptions) if one.name in used),
            remedy="Leave it out: this plan does not use it.",
        )


def _paired(options: PlanOptions, *, non_inferior: bool) -> Plan:
    from spinefx.statistics.paired import sample_size

    first, second = _given(options.first, "--first"), _given(options.second, "--second")
    shares = sample_size.discordant_shares(first, second, options.dependence)
    if non_inferior:
        margin, alpha = _given(options.margin, "--margin"), options.alpha / 2
        cases = options.cases
        if cases is None:
            wanted = {"margin": margin, "power": options.power, "alpha": alpha}
            cases = sample_size.non_inferiority_sample_size(*shares, **wanted)
        power = sample_size.non_inferiority_power(*shares, cases, margin=margin, alpha=alpha)
        aim = f"to show that {first:g} is not worse than {second:g} by {margin:g} (Tango's test, one-sided {alpha:g})"
    else:
        cases = options.cases
        if cases is None:
            cases = sample_size.mcnemar_sample_size(*shares, power=options.power, alpha=options.alpha)
        power = sample_size.mcnemar_power(*shares, cases, alpha=options.alpha)
        aim = f"to distinguish {first:g} from {second:g} (McNemar's exact test, two-sided {options.alpha:g})"
    lines = [f"{cases} cases in the class of interest give a power of {power:.2f} {aim}."]
    numbers: dict[str, object] = {"cases": cases, "power": power, "first_only": shares[0], "second_only": shares[1]}
    if options.share is not None:
        if not 0 < options.share <= 1:
            raise InputError(f"the share is {options.share:g}", where="--share", allowed="above 0, up to 1")
        numbers["recruits"] = math.ceil(cases / options.share)
        lines.append(f"With {100 * options.share:g}% of patients in that class, recruit about {numbers['recruits']}.")
    only = f"{100 * shares[0]:.1f}% of cases correctly, the second alone {100 * shares[1]:.1f}%"
    lines.append(f"Assumption: the first alone reads {only} (dependence {options.dependence:g}).")
    return Plan(tuple(lines), numbers)


def _readers(options: PlanOptions, *, panel: bool) -> Plan:
    from spinefx.statistics.mrmc.panel import PanelComponents
    from spinefx.statistics.mrmc.power import mrmc_power, mrmc_sample_size, panel_power, panel_sample_size

    readers, cases = options.readers, options.cases
    if readers is None and cases is None:
        raise InputError("Neither readers nor cases are given", allowed="--readers, --cases or both")
    pilot = _pilot(options, panel) if options.pilot else _supposed(options, panel)
    difference = options.difference
    if difference is None:
        difference = _given(options.first, "--difference, or --first") - _given(options.second, "--second")
    power: Callable[..., Power] = panel_power if isinstance(pilot, PanelComponents) else mrmc_power
    if readers is None or cases is None:
        search = panel_sample_size if isinstance(pilot, PanelComponents) else mrmc_sample_size
        power = partial(search, power=options.power)
    settings = {"difference": difference, "analysis": options.analysis, "alpha": options.alpha}
    found = power(pilot, readers=readers, cases=cases, **settings)
    what = "the readers' mean from the model" if panel else "one modality from the other"
    source = "the pilot" if options.pilot else "a simulated pilot (--spread sets how much readers vary)"
    lines = (
        f"{found.readers} readers and {found.cases} cases give a power of {found.power:.2f} to distinguish {what} "
        f"at a true difference of {difference:g} ({options.analysis}, two-sided {options.alpha:g}).",
        f"Variances from {source}: {pilot}.",
    )
    numbers = {"readers": found.readers, "cases": found.cases, "power": found.power, "df2": _finite(found.df2)}
    return Plan(lines, {**numbers, "difference": difference, "pilot": {k: _finite(v) for k, v in vars(pilot).items()}})


def _pilot(options: PlanOptions, panel: bool) -> VarianceComponents | PanelComponents:
    from spinefx.statistics.evaluation import Evaluation

    if options.truth is None or (panel and options.model is None):
        missing = "--truth" if options.truth is None else "--model"
        raise InputError(
            f"The pilot needs {missing}", allowed="--pilot READINGS --truth TRUTH, and --model for a panel"
        )
    models = [] if options.model is None else [options.model]
    evaluation = Evaluation.of(options.pilot, options.truth, models=models)
    if panel:
        return evaluation.panel(options.model or "").components
    components = evaluation.mrmc(analysis="FRRC" if options.analysis == "FRRC" else "RRRC").components
    if components is None:
        raise InputError("the pilot has no variance components", where="--pilot")
    return components


def _supposed(options: PlanOptions, panel: bool) -> VarianceComponents | PanelComponents:
    """Return the mean variances of simulated pilots with readers of the assumed AUCs, after Roe and Metz."""
    import numpy as np

    from spinefx.statistics.mrmc.anova import mrmc
    from spinefx.statistics.mrmc.components import VarianceComponents
    from spinefx.statistics.mrmc.panel import PanelComponents, ai_vs_readers
    from spinefx.statistics.mrmc.roe_metz import RoeMetz, separation_of

    areas = _given(options.first, "--first"), _given(options.second, "--second")
    share = 0.5 if options.share is None else options.share
    malignant = round(PILOT_CASES * share)
    if not all(0.5 <= area < 1 for area in areas) or not 2 <= malignant <= PILOT_CASES - 2:
        raise InputError(
            f"The AUCs are {areas[0]:g} and {areas[1]:g}, with {malignant} of {PILOT_CASES} cases malignant",
            allowed="AUCs from 0.5 to below 1, and cases of both classes",
        )
    if not 0 <= options.spread < 1:
        raise InputError(f"the spread is {options.spread:g}", where="--spread", allowed="0 to below 1")
    of_readers = 1 + 2 * options.spread
    first = separation_of(areas[0], of_readers)
    second = separation_of(areas[1], 1.0 if panel else of_readers)
    population = RoeMetz((first,) if panel else (first, second), options.spread, options.spread)
    rng, size = np.random.default_rng(SEED), {"malignant": malignant, "benign": PILOT_CASES - malignant}
    kept: list[VarianceComponents | PanelComponents] = []
    for _ in range(PILOTS):
        if panel:
            study = population.draw_panel(rng, model=second, readers=PILOT_READERS, **size)
            kept.append(ai_vs_readers(study, "model", covariance="unbiased").components)
        else:
            found = mrmc(population.draw(rng, readers=PILOT_READERS, **size), covariance="unbiased").components
            kept += [] if found is None else [found]
    names = [name for name in vars(kept[0]) if name != "cases"]
    means = {name: round(float(np.mean([getattr(one, name) for one in kept])), 8) for name in names}
    return PanelComponents(**means, cases=PILOT_CASES) if panel else VarianceComponents(**means, cases=PILOT_CASES)


def _given(value: float | None, flag: str) -> float:
    if value is None:
        raise InputError(f"{flag} is missing", remedy="See spinefx plan --help.")
    return value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
