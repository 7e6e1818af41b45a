"""spinefx ingest: images and tables into a new workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from spinefx.cli.shell import Workers, app, count
from spinefx.cli.terminal import progress_bars, say

__all__: list[str] = []


@app.command
def ingest(
    workspace: Path,
    export: Path,
    *,
    table: Path,
    signs: Path | None = None,
    readings: Path | None = None,
    key: Path | None = None,
    sequences: str = "T1w,T2w",
    show_paths: Annotated[bool, Parameter(negative="")] = False,
    locate: Annotated[bool, Parameter(negative="")] = False,
    sheet: Path | None = None,
    workers: Workers = None,
) -> None:
    """Ingest DICOM or NIfTI images and a spreadsheet of diagnoses into a new workspace.

    Parameters
    ----------
    workspace
        Workspace folder to create.
    export
        Folder, ZIP, DICOMDIR or NIfTI files.
    table
        cases.csv (or .tsv, .xlsx): patient, diagnosis, truth_source and, where known, the box.
    signs
        signs.csv: patient, reader_id and the fifteen signs.
    readings
        readings.csv: patient, reader_id, arm, diagnosis, confidence, seconds.
    key
        File to write which participant is which patient; only its owner may read it. By default none is written.
    sequences
        Series to keep, such as T1w,T2w,STIR; those beyond T1w and T2w where a participant has them.
    show_paths
        Name rejected files by path, which may contain patients' names, instead of by hash.
    locate
        Find the vertebrae: propose a box, to be confirmed on the page Annotate, where a row has a level but no box, and
        report boxes that lie elsewhere than their level.
    sheet
        Folder for a picture of each box (contact sheet).
    """
    from spinefx.commands.ingest import ingest as run

    with progress_bars() as steps:
        report = run(
            workspace,
            export,
            table=table,
            signs=signs,
            readings=readings,
            key=key,
            sequences=sequences.split(","),
            workers=count(workers),
            show_paths=show_paths,
            locate=locate,
            sheet=sheet,
            progress=steps,
        )
    for note in report.notes:
        say(note, error=True)
    for reason in sorted(set(report.refused_series)):
        say(f"{report.refused_series.count(reason)} series not used: {reason}")
    plural = "s" * (report.participants != 1)
    say(f"{report.participants} participant{plural}, {report.lesions} with a marked vertebra, in {workspace}")
