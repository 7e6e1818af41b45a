"""The sections of a report in order; one that cannot be made states why and does not affect the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from spinefx.errors import InputError
from spinefx.report.accuracy_sections import (
    comparison_section,
    panel_section,
    performance_section,
    roc_section,
    slice_section,
)
from spinefx.report.checklist import checklist_section
from spinefx.report.content import ReportContent, Section
from spinefx.report.participant_sections import cohort_section, flow_section, subgroup_section
from spinefx.report.probability_sections import calibration_section, decision_section
from spinefx.report.sign_sections import baseline_section, error_section, sign_reading_section, sign_section
from spinefx.statistics.table import ResultTable

__all__ = ["build_sections"]


def build_sections(content: ReportContent) -> Iterator[Section]:
    """Build all sections of a report.

    Parameters
    ----------
    content : ReportContent

    Yields
    ------
    Section
    """
    order: tuple[tuple[str, str, Callable[[ReportContent], Section]], ...] = (
        ("flow", "Flow of participants", flow_section),
        ("cohort", "Cohort", cohort_section),
        ("table1", "Imaging signs", sign_section),
        ("sign_reading", "Signs as read by the model", sign_reading_section),
        ("table2", "Per-patient diagnosis", performance_section),
        ("roc", "ROC curve", roc_section),
        ("comparison", "Readers compared", comparison_section),
        ("panel", "Readers as a panel", panel_section),
        ("calibration", "Calibration", calibration_section),
        ("decision", "Decision curve", decision_section),
        ("errors", "Errors", error_section),
        ("subgroups", "Subgroups", subgroup_section),
        ("baselines", "Baselines", baseline_section),
        ("slices", "Slices and folds", slice_section),
        ("audit", "Leak audit", _audit_section),
        ("checklist", "Reporting checklist (draft)", checklist_section),
        ("provenance", "Provenance", _provenance_section),
    )
    for key, title, build in order:
        if key == "sign_reading" and not content.sign_chances:
            continue  # most models read no signs, and their reports need not say so
        try:
            yield build(content)
        except InputError as refusal:
            reason = str(refusal).rstrip(".")
            yield Section(key, title, absent=f"{reason[:1].upper()}{reason[1:]}.")


def _audit_section(content: ReportContent) -> Section:
    if not content.audit:
        return Section("audit", "Leak audit", absent="This experiment has no leak audit.")
    rows = tuple((one.check, "passed" if one.passed else "declared leak", one.detail) for one in content.audit)
    table = ResultTable("leak_audit", "Leak audit", ("check", "result", "what was compared"), rows)
    return Section("audit", "Leak audit", tables=(table,))


def _provenance_section(content: ReportContent) -> Section:
    if not content.provenance:
        return Section("provenance", "Provenance", absent="No provenance was recorded.")
    table = ResultTable("provenance", "Provenance", ("what", "value"), tuple(content.provenance.items()))
    return Section("provenance", "Provenance", tables=(table,))
