"""How many cases and readers a study needs, said in plain words. The rooms are imported when asked, as in the shell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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
SEED, PILOTS, PILOT_READERS, PILOT_CASES = 1, 40, 6, 200


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What is supposed of a study that is planned.

    Parameters
    ----------
    first : float, optional
        Share read rightly by the first reader or model, 0 to 1; for modalities and panel the area under its ROC curve.
    second : float, optional
        The same of the second reader; the second modality; the model beside the panel.
    dependence : float
        How far the two readers' errors are shared: 0 not at all, 1 as far as can be.
    margin : float, optional
        Largest loss accepted, first against second.
    share : float, optional
        Share of recruits who are of the class in question (malignant, for sensitivity); for modalities and panel, of
        malignant cases (default 0.5).
    cases : int, optional
        Cases at hand (of the class in question for a difference): then the power is given, or the readers needed.
    readers : int, optional
        Readers at hand, a model not counted: then the cases needed are given.
    analysis : {'RRRC', 'FRRC', 'RRFC'}
        Random or Fixed Readers and Cases.
    spread : float
        Variance of readers' skill, and of its change between modalities, on Roe and Metz's scale; 0.0055 is low.
    pilot : Path, optional
        Readings of a pilot (CSV or TSV, as ``readings.tsv``), in place of ``first`` and ``second``.
    truth : Path, optional
        The pilot's ``case_id`` and ``diagnosis``.
    model : str, optional
        The model's reader_id in the pilot.
    difference : float, optional
        True difference to be found; without it, that of ``first`` and ``second``.
    power : float
        To be reached.
    alpha : float
        Level of the two-sided test; half of it counts for non-inferiority.
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
    """The answer to a planner's question.

    Parameters
    ----------
    lines : tuple of str
        In words: the answer, then what it rests on.
    numbers : dict
        The same for a program.
    """

    lines: tuple[str, ...]
    numbers: dict[str, object]


def plan(question: Question, options: PlanOptions) -> Plan:
    """Answer how many cases or readers a study needs, or what power it has.

    Parameters
    ----------
    question : {'difference', 'non-inferiority', 'modalities', 'panel'}
        Two readers of the same cases, different or not worse; two modalities read by several readers; one model against
        several readers.
    options : PlanOptions

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        For what is missing or impossible.
    """
    if question in ("difference", "non-inferiority"):
        return _paired(options, non_inferior=question == "non-inferiority")
    if question in ("modalities", "panel"):
        return _readers(options, panel=question == "panel")
    raise InputError(f"the question {question!r}", allowed="difference, non-inferiority, modalities, panel")


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
        aim = f"to show {first:g} not worse than {second:g} by {margin:g} or more (Tango's test, one-sided {alpha:g})"
    else:
        cases = options.cases
        if cases is None:
            cases = sample_size.mcnemar_sample_size(*shares, power=options.power, alpha=options.alpha)
        power = sample_size.mcnemar_power(*shares, cases, alpha=options.alpha)
        aim = f"to tell {first:g} from {second:g} (McNemar's exact test, two-sided {options.alpha:g})"
    lines = [f"{cases} cases of the class in question have a power of {power:.2f} {aim}."]
    numbers: dict[str, object] = {"cases": cases, "power": power, "first_only": shares[0], "second_only": shares[1]}
    if options.share is not None:
        if not 0 < options.share <= 1:
            raise InputError(f"a share of {options.share:g}", where="--share", allowed="above 0, 1 at most")
        numbers["recruits"] = math.ceil(cases / options.share)
        lines.append(f"That is some {numbers['recruits']} recruits where {100 * options.share:g}% are of that class.")
    only = (
        f"{100 * shares[0]:.1f}% of cases read rightly by the first alone, {100 * shares[1]:.1f}% by the second alone"
    )
    lines.append(f"Supposed: {only} (dependence {options.dependence:g}).")
    return Plan(tuple(lines), numbers)


def _readers(options: PlanOptions, *, panel: bool) -> Plan:
    from spinefx.statistics.mrmc.panel import PanelComponents
    from spinefx.statistics.mrmc.power import mrmc_power, mrmc_sample_size, panel_power, panel_sample_size

    readers, cases = options.readers, options.cases
    if readers is None and cases is None:
        raise InputError("neither readers nor cases given", allowed="--readers, --cases or both")
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
    source = "the pilot" if options.pilot else "a simulated pilot (--spread says how far readers vary)"
    lines = (
        f"{found.readers} readers and {found.cases} cases have a power of {found.power:.2f} to tell {what} at a true "
        f"difference of {difference:g} ({options.analysis}, two-sided {options.alpha:g}).",
        f"Variances of {source}: {pilot}.",
    )
    numbers = {"readers": found.readers, "cases": found.cases, "power": found.power, "df2": _finite(found.df2)}
    return Plan(lines, {**numbers, "difference": difference, "pilot": {k: _finite(v) for k, v in vars(pilot).items()}})


def _pilot(options: PlanOptions, panel: bool) -> VarianceComponents | PanelComponents:
    from spinefx.statistics.evaluation import Evaluation

    if options.truth is None or (panel and options.model is None):
        missing = "--truth" if options.truth is None else "--model"
        raise InputError(
            f"a pilot without {missing}", allowed="--pilot READINGS --truth TRUTH, and --model for a panel"
        )
    evaluation = Evaluation.of(options.pilot, options.truth)
    if panel:
        return evaluation.panel(options.model or "").components
    components = evaluation.mrmc(analysis="FRRC" if options.analysis == "FRRC" else "RRRC").components
    if components is None:
        raise InputError("a pilot without variance components", where="--pilot")
    return components


def _supposed(options: PlanOptions, panel: bool) -> VarianceComponents | PanelComponents:
    """Mean variances of simulated pilots: readers of the supposed areas, after Roe and Metz."""
    import numpy as np

    from spinefx.statistics.mrmc.anova import mrmc
    from spinefx.statistics.mrmc.components import VarianceComponents
    from spinefx.statistics.mrmc.panel import PanelComponents, ai_vs_readers
    from spinefx.statistics.mrmc.roe_metz import RoeMetz, separation_of

    areas = _given(options.first, "--first"), _given(options.second, "--second")
    share = 0.5 if options.share is None else options.share
    malignant = round(PILOT_CASES * share)
    if not all(0.5 <= area < 1 for area in areas) or not 2 <= malignant <= PILOT_CASES - 2:
        raise InputError(f"areas of {areas} and {malignant} of {PILOT_CASES} malignant", allowed="areas of 0.5 to 1")
    if not 0 <= options.spread < 1:
        raise InputError(f"a spread of {options.spread:g}", where="--spread", allowed="0 to 1")
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
        raise InputError(f"no {flag}", where="plan", allowed="see spinefx plan --help")
    return value


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
