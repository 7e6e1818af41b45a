"""Answer many studies in shards: each is computed by a pure function and stored under the digest of its inputs.

The table of a shard is named by the digest of its rows, its models and the version of this program. A table that exists
is therefore complete, whichever process wrote it: an interrupted run continues when it is started again, the jobs of an
array need no communication, and the last job to finish joins the tables. Memory grows with the number of studies only
by eight bytes per case, one line per shard and the names of the cases that trained the models.
"""

from __future__ import annotations

import hashlib
import re
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from spinefx import __version__
from spinefx.errors import InputError, ModelError, SpinefxError, WorkspaceError
from spinefx.files import canonical_json, digest_of, replacing, write_text
from spinefx.learning.scoring import NOTE
from spinefx.learning.training_slices import Familiarity
from spinefx.processes.cluster import LOCAL, share_of, spread
from spinefx.second_opinion.manifest import Manifest, MarkedStudy, short_digest
from spinefx.second_opinion.models import Models, absolute, load_answering
from spinefx.second_opinion.one_study import answer_study
from spinefx.signs.model import SignPredictor
from spinefx.tables.records import MISSING
from spinefx.tables.writing import tsv_text
from spinefx.vocabulary import SIGN_IDENTIFIERS
from spinefx.workspace.layout import read_json, write_json

__all__ = ["ManyAnswers", "Shard", "ShardTable", "answer_shard", "columns_of", "cut", "predict_many"]

COLUMNS = (
    *(
        "case_id",
        "probability",
        "corrected_probability",
        "diagnosis",
        "threshold",
        "n_slices",
        "training_case",
        "flags",
    ),
    *("registration", "model_digest", "error", "reason", "remedy"),
)
TABLE_VERSION = 3
# What a case's name may hold and a file's name should not.
UNSAFE = re.compile(r"[^\w.-]")
INTERNAL_REMEDY = "This is a fault of spinefx: report it. Score the study alone to see more."
# So many training cases are named on the terminal; the table marks all of them.
NAMED = 10
PREDICTIONS, SUMMARY = "predictions.tsv", "summary.json"


@dataclass(frozen=True)
class Shard:
    """Consecutive rows of a manifest.

    Parameters
    ----------
    studies : tuple of MarkedStudy
    model_digests : tuple of str
        Digests of the models that answer together.
    engine : str
        Library that computes; another one differs in the last digits.
    """

    studies: tuple[MarkedStudy, ...]
    model_digests: tuple[str, ...]
    engine: str

    @property
    def name(self) -> str:
        """``shard-`` and the digest of everything that the table depends on, except the pixels."""
        rows = [study.content() for study in self.studies]
        whole = canonical_json([TABLE_VERSION, __version__, list(self.model_digests), self.engine, rows])
        return f"shard-{digest_of(whole).removeprefix('sha256:')[:32]}"


@dataclass(frozen=True)
class ShardTable:
    """The table of a shard.

    Parameters
    ----------
    text : str
        One row per study in the order of the shard: the same bytes wherever it is computed.
    cpu_seconds : float
        Processor time for the studies, without loading the models.
    """

    text: str
    cpu_seconds: float


@dataclass(frozen=True)
class ManyAnswers:
    """The state of a run.

    Parameters
    ----------
    shards, missing : int
        Numbers of shards in the whole manifest, and of those without a table.
    answered : int
        Number of studies with a probability, once nothing is missing.
    refused : dict of str to int
        Number of studies without one, by the name of the error, once nothing is missing.
    notes : tuple of str
        One line per shard that failed.
    training_cases : tuple of str
        Cases that trained the models, once nothing is missing.
    unknown_cases : int
        Number of answered studies of which the models do not record whether they trained them.
    """

    shards: int
    missing: int
    answered: int
    refused: dict[str, int]
    notes: tuple[str, ...]
    training_cases: tuple[str, ...] = ()
    unknown_cases: int = 0

    @property
    def caution(self) -> str:
        """Which answers are not independent, in words; empty where all are known to be."""
        count, said = len(self.training_cases), ""
        if count:
            named = ", ".join(self.training_cases[:NAMED]) + (f" and {count - NAMED} more" if count > NAMED else "")
            said = (
                f"{count} of {self.answered} answers are on cases that trained the model ({named}): they say nothing "
                f"about new patients. The column training_case marks them; the experiment's own predictions.tsv has "
                f"an independent answer for each"
            )
        if self.unknown_cases:
            said += "; " * bool(said) + (
                f"for {self.unknown_cases} answers it is not known whether the case trained the model, "
                f"which records no training slices"
            )
        return said

    @property
    def sentence(self) -> str:
        """The state in words."""
        if self.missing:
            done = self.shards - self.missing
            return f"{done} of {self.shards} shards are finished; the job that finishes the last one joins them"
        reasons = "".join(f", {times} {error}" for error, times in self.refused.items())
        return f"{self.answered} answered, {sum(self.refused.values())} refused{reasons}"


@dataclass(frozen=True)
class _Plan:
    """The shards of a manifest, cut again for each pass."""

    manifest: Manifest
    model_digests: tuple[str, ...]
    engine: str
    shard_size: int
    out: Path
    columns: tuple[str, ...]

    def shards(self) -> Iterator[Shard]:
        pieces = cut(self.manifest.studies(), self.shard_size)
        return (Shard(studies, self.model_digests, self.engine) for studies in pieces)

    def path(self, shard_name: str) -> Path:
        return self.out / "shards" / f"{shard_name}.tsv"

    def check(self) -> tuple[str, ...]:
        """Read every row once before any work, and return the names of the shards."""
        seen, names = array("Q"), []
        for shard in self.shards():
            seen.extend(short_digest(study.case_id) for study in shard.studies)
            names.append(shard.name)
        if not names:
            raise InputError(
                "no vertebra is marked", where=self.manifest.table.name, allowed="one row per marked vertebra"
            )
        self.manifest.refuse_doubled(seen)
        return tuple(names)


def predict_many(
    model: Path,
    source: Path,
    out: Path,
    *,
    shard: str | None = None,
    shard_size: int = 256,
    workers: int = 1,
    on: str = LOCAL,
    engine: str | None = None,
    sheet: Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> ManyAnswers:
    """Answer every study of a manifest; shards that another run has finished are kept.

    Parameters
    ----------
    model : Path
        Model folder or experiment folder.
    source : Path
        See :meth:`Manifest.open`.
    out : Path
        Receives ``shards/`` and, once every shard is finished, ``predictions.tsv`` and ``summary.json``.
    shard : str, optional
        ``i/n``: every n-th shard, beginning with the i-th.
    shard_size : int
        Approximate number of studies per shard; a killed process loses at most one shard.
    workers : int
        Processes on this machine.
    on : str
        Where to work, see :func:`spinefx.processes.cluster.spread`.
    engine : {'onnxruntime', 'torch'}, optional
        See :func:`spinefx.learning.scoring.load_models`.
    sheet : Path, optional
        Folder for the contact sheets of the studies that are answered now, refused ones among them.
    progress : callable, optional
        Called with ("shards", done, total).

    Returns
    -------
    ManyAnswers

    Raises
    ------
    InputError, TableError
        When the manifest cannot be read; no work has been done then.
    ModelError
        When the model is missing or has been altered.
    InterruptedWrite
    """
    position, number = share_of(shard)
    if shard_size < 1:
        raise InputError(f"--shard-size is {shard_size}", allowed="1 or more")
    models = load_answering(model, engine=engine)
    digests = tuple(one.digest for one in models)
    plan = _Plan(Manifest.open(source), digests, models[0].engine["name"], shard_size, out, columns_of(models))
    names = plan.check()
    _take_back_other(out, names)
    mine = [name for name in names[position::number] if not plan.path(name).exists()]
    wanted, notes = set(mine), []
    pictures = None if sheet is None else sheet.resolve()
    work = partial(answer_shard, absolute(model), plan.manifest.base.resolve(), sheet=pictures)
    todo = (one for one in plan.shards() if one.name in wanted)
    for done, (one, table) in enumerate(spread(work, todo, workers=min(workers, max(1, len(mine))), on=on), 1):
        if isinstance(table, ModelError):
            raise table  # not the fault of a study
        if isinstance(table, SpinefxError):
            notes.append(f"cases {one.studies[0].case_id} to {one.studies[-1].case_id}: {table}")
        else:
            _keep(plan.path(one.name), one, table)
        if progress is not None:
            progress("shards", done, len(mine))
    missing = sum(not plan.path(name).exists() for name in names)
    if missing:
        return ManyAnswers(len(names), missing, 0, {}, tuple(notes))
    return replace(_join(plan, names), notes=tuple(notes))


def cut(studies: Iterator[MarkedStudy], size: int) -> Iterator[tuple[MarkedStudy, ...]]:
    """Cut consecutive rows into shards at positions that depend on the rows themselves.

    A row that is added or removed changes only the shard around it; the other shards keep their tables.

    Parameters
    ----------
    studies : iterator of MarkedStudy
    size : int
        Mean size; no shard has more than twice as many.

    Yields
    ------
    tuple of MarkedStudy
    """
    least = max(1, size // 2)
    held: list[MarkedStudy] = []
    for study in studies:
        held.append(study)
        marked = short_digest(study.case_id) % (size - least + 1) == 0
        if (len(held) >= least and marked) or len(held) == 2 * size:
            yield tuple(held)
            held = []
    if held:
        yield tuple(held)


def answer_shard(model: Path, base: Path, shard: Shard, *, sheet: Path | None = None) -> ShardTable:
    """Answer the studies of a shard; the result depends only on the arguments and the files they name.

    Parameters
    ----------
    model, base : Path
        Folder of the models, and the folder to which paths of studies are relative.
    shard : Shard
    sheet : Path, optional
        Folder for the contact sheets.

    Returns
    -------
    ShardTable

    Raises
    ------
    ModelError
        When the folder holds other models than those of the shard.
    """
    models = _models(model, shard.model_digests, shard.engine)
    began = time.process_time()
    rows = [_row(models, base, study, sheet) for study in shard.studies]
    return ShardTable(tsv_text(shard.name, columns_of(models), rows), time.process_time() - began)


@lru_cache(maxsize=1)
def _models(folder: Path, digests: tuple[str, ...], engine: str) -> Models:
    models = load_answering(folder, engine=engine)
    if tuple(one.digest for one in models) != digests:
        raise ModelError(
            "the models have changed since the run began", where=folder.name, remedy="Start the run again."
        )
    return models


def columns_of(models: Models) -> tuple[str, ...]:
    """Return the columns of the tables of some models.

    Parameters
    ----------
    models : tuple
        As :func:`spinefx.second_opinion.models.load_answering` returns them.

    Returns
    -------
    tuple of str
        With one for each sign where the model reads signs.
    """
    return (*COLUMNS, *SIGN_IDENTIFIERS) if isinstance(models[0], SignPredictor) else COLUMNS


def _row(models: Models, base: Path, study: MarkedStudy, sheet: Path | None) -> tuple[object, ...]:
    signs = len(columns_of(models)) - len(COLUMNS)
    none = [None] * signs
    digests = [one.digest for one in models]
    digest = digests[0] if len(digests) == 1 else digest_of(canonical_json(digests))
    try:
        answer = answer_study(
            models,
            base / study.study,
            lambda t2w: study.lesion,
            holding=study.lesion.box.centre_mm,
            series=study.series,
            sheet=None if sheet is None else sheet / f"{UNSAFE.sub('_', study.case_id)}.png",
        )
    except SpinefxError as error:
        return (study.case_id, *[None] * 8, digest, type(error).__name__, str(error), error.remedy, *none)
    except MemoryError:
        raise  # the fault of the machine, not of the study: another attempt may have more memory
    except Exception as error:
        # One odd file in a million must not stop the rest. The text may quote the file, so only the type is kept.
        return (
            study.case_id,
            *[None] * 8,
            digest,
            "InternalError",
            type(error).__name__,
            INTERNAL_REMEDY,
            *none,
        )
    patient, registration = answer["patient"], answer["registration"]
    said = f"{registration['method']}: {registration['reason']}" if registration else ""
    return (
        study.case_id,
        *(repr(patient[name]) for name in ("probability", "corrected_probability")),
        patient["diagnosis"],
        patient["threshold"],
        len(answer["slices"]),
        answer["training_case"],
        "; ".join((*answer["flags"], *(f"not checked: {one}" for one in answer["not_checked"]))),
        said,
        digest,
        *[None] * 3,
        *(_shown(answer["signs"][sign]["probability"]) for sign in SIGN_IDENTIFIERS[:signs]),
    )


def _shown(probability: float | None) -> str | None:
    return None if probability is None else repr(probability)


def _keep(path: Path, shard: Shard, table: ShardTable) -> None:
    # The table comes last: where it exists, the shard is finished.
    write_json(path.with_suffix(".json"), {"studies": len(shard.studies), "cpu_seconds": round(table.cpu_seconds, 3)})
    write_text(path, table.text)


def _take_back_other(out: Path, names: tuple[str, ...]) -> None:
    """Remove the joined table of another manifest or model."""
    summary = out / SUMMARY
    if summary.is_file() and read_json(summary).get("plan") != _plan_digest(names):
        (out / PREDICTIONS).unlink(missing_ok=True)
        summary.unlink(missing_ok=True)


def _plan_digest(names: tuple[str, ...]) -> str:
    return digest_of("\n".join(names))


def _join(plan: _Plan, names: tuple[str, ...]) -> ManyAnswers:
    """Join the tables of the shards; repeating this yields the same bytes."""
    errors, whole = Counter[str](), hashlib.sha256()
    trained: list[str] = []
    unknown = 0
    with replacing(plan.out / PREDICTIONS) as temporary, temporary.open("wb") as file:
        for line in _joined_lines(plan):
            file.write(line)
            whole.update(line)
            row = dict(zip(COLUMNS, line.decode("utf-8").rstrip("\n").split("\t"), strict=True))
            errors[row["error"]] += 1
            trained += [row["case_id"]] if row["training_case"] == Familiarity.TRAINED else []
            unknown += row["training_case"] == Familiarity.UNKNOWN
    del errors["error"]  # the header's
    answered = errors.pop(MISSING, 0)
    found = dict(sorted(errors.items()))
    costs = [read_json(path).get("cpu_seconds", 0.0) for name in names if (path := _cost_path(plan, name)).is_file()]
    summary: dict[str, Any] = {
        "spinefx": __version__,
        "note": NOTE,
        "plan": _plan_digest(names),
        "model_digests": list(plan.model_digests),
        "engine": plan.engine,
        "studies": answered + sum(found.values()),
        "answered": answered,
        "refused": found,
        "training_cases": trained,
        "training_not_known": unknown,
        "shards": len(names),
        "cpu_seconds": round(sum(costs), 3),
        "predictions_sha256": f"sha256:{whole.hexdigest()}",
    }
    write_json(plan.out / SUMMARY, summary)
    return ManyAnswers(len(names), 0, answered, found, (), tuple(trained), unknown)


def _cost_path(plan: _Plan, name: str) -> Path:
    return plan.path(name).with_suffix(".json")


def _joined_lines(plan: _Plan) -> Iterator[bytes]:
    """Yield the header and every row, checked against the manifest: no study is lost or duplicated."""
    yield "\t".join(plan.columns).encode() + b"\n"
    for shard in plan.shards():
        path = plan.path(shard.name)
        with path.open("rb") as file:
            lines = file.readlines()[1:]
        cases = [line.split(b"\t", 1)[0].decode("utf-8") for line in lines]
        if cases != [study.case_id for study in shard.studies]:
            raise WorkspaceError(
                "the table does not have the cases of its shard", where=path.name, remedy="Delete it, then run again."
            )
        yield from lines
