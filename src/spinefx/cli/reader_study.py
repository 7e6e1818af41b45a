"""spinefx reader-study: register a design, export the readings, check an export."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from spinefx.cli.shell import app

__all__: list[str] = []

reader_studies = App(
    name="reader-study", help="Reader studies: register a design, export the readings, check an export."
)
app.command(reader_studies)


@reader_studies.command(name="add")
def add_study(workspace: Path, design: Path, *, database: str = "") -> None:
    """Register a reader study from its design, or add cases or readers to a registered one.

    Parameters
    ----------
    workspace
        Workspace folder.
    design
        TOML file of the design.
    database
        As for serve.
    """
    from spinefx.commands.reader_study import register

    found = register(workspace, design, database=database)
    readers, cases = len(found.design.readers), len(found.cases)
    print(f"{found.design.name}: {cases} cases for {readers} readers")
    print(f"Next: spinefx user add, then spinefx serve {workspace}")


@reader_studies.command(name="export")
def export_reader_study(
    workspace: Path, name: str, folder: Path, *, database: str = "", key: Path | None = None
) -> None:
    """Write a reader study's answers for iMRMC, MRMCaov and RJafroc, and add them to the tables of the workspace.

    Parameters
    ----------
    workspace
        Workspace folder.
    name
        Name of the reader study, as in its design.
    folder
        Folder to write to; new or empty.
    database
        As for serve.
    key
        File with a secret key, mode 600, that signs the export; keep it away from the workspace.
    """
    from spinefx.commands.reader_study import export

    written = export(workspace, name, folder, database=database, key_file=key)
    left = f"; {written.missing} readings are still missing" if written.missing else ""
    print(f"{written.readings} readings and {written.signs} sign scores in {written.folder}{left}")


@reader_studies.command(name="check")
def check_reader_study(
    folder: Path, workspace: Path | None = None, *, database: str = "", key: Path | None = None
) -> None:
    """Check that an export is unchanged, by its digests, its signature and the log of the workspace.

    Parameters
    ----------
    folder
        Folder written by `spinefx reader-study export`.
    workspace
        Workspace folder: compares the export with its log, and checks the log.
    database
        As for serve.
    key
        File with the key that signed the export.
    """
    from spinefx.commands.reader_study import check

    entries = check(folder, workspace, database=database, key_file=key)
    said = ["all files match study.json"]
    said += ["study.json matches its signature"] if key else []
    said += [f"study.json was exported from this log; {entries} log entries are intact"] if entries is not None else []
    print("; ".join(said))
    if key is None and entries is None:
        print("Only --key or the workspace can show whether study.json itself was changed.")
