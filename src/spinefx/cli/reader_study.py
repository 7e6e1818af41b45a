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
    """Register a reader study from its design, or let a registered one grow by cases or readers.

    Parameters
    ----------
    workspace
        Study folder.
    design
        TOML file.
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
    """Write a reader study's answers for iMRMC, MRMCaov and RJafroc, and lay them into the study's own tables.

    Parameters
    ----------
    workspace
        Study folder.
    name
        Of the reader study, as its design says.
    folder
        Where to write; new or empty.
    database
        As for serve.
    key
        File of a secret, mode 600, that signs the export; kept away from the study, it tells later that this is it.
    """
    from spinefx.commands.reader_study import export

    written = export(workspace, name, folder, database=database, key_file=key)
    left = f", {written.missing} still to come" if written.missing else ""
    print(f"{written.readings} readings and {written.signs} sign scores in {written.folder}{left}")


@reader_studies.command(name="check")
def check_reader_study(
    folder: Path, workspace: Path | None = None, *, database: str = "", key: Path | None = None
) -> None:
    """Check that an export is as it was written: by its digests, by its signature, by the study's log.

    Parameters
    ----------
    folder
        What `spinefx reader-study export` wrote.
    workspace
        Study folder, to compare with its log, and to check the log.
    database
        As for serve.
    key
        File of the secret that signed it.
    """
    from spinefx.commands.reader_study import check

    entries = check(folder, workspace, database=database, key_file=key)
    said = ["its files are those that study.json names"]
    said += ["study.json is as it was signed"] if key else []
    said += [f"the log gave it out, and its {entries} entries are as they were written"] if entries is not None else []
    print("; ".join(said))
    if key is None and entries is None:
        print("Whether study.json itself was changed, only --key or the study folder tells.")
