"""spinefx predict: one study, or those of a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from spinefx.cli.shell import Workers, app, count, fail
from spinefx.cli.terminal import progress_bars, say
from spinefx.errors import InputError, SpinefxError
from spinefx.vocabulary import RESEARCH_USE_ONLY, SEQUENCES, Weighting, sequence_named

__all__: list[str] = []


@app.command
def predict(
    model: Path,
    study: Path,
    *,
    slices: str | None = None,
    box: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    box_pixels: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    level: str | None = None,
    whole_spine: Annotated[bool, Parameter(negative="")] = False,
    series: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    sheet: Path | None = None,
    engine: Literal["onnxruntime", "torch"] | None = None,
    out: Path | None = None,
    shard: str | None = None,
    shard_size: int = 256,
    workers: Workers = None,
    on: str = "local",
) -> None:
    """Score one marked vertebra of one study (JSON on standard output), or those of a manifest (a table in --out).

    Parameters
    ----------
    model
        Model folder, or experiment folder (then the mean of its folds' models answers), or starter: the model that
        comes with spinefx and reads the fifteen signs.
    study
        Folder, file, ZIP, DICOMDIR or NIfTI of one patient; or many studies: a manifest (.tsv), a folder with
        manifest.tsv, or a workspace with boxes.
    slices
        One study: T2W slices of the lesion, counted from 0 at the patient's left, such as 6-8 or 7. With --level, by
        default the middle of the vertebra.
    box
        One study: centre and side in millimetres, LPS: left,posterior,superior,side.
    box_pixels
        One study: edges in pixels of the middle lesion slice, pixel centres at integers: left,top,right,bottom.
    level
        One study: name of the vertebra, such as L1, instead of a box. The answer says what the name rests on.
    whole_spine
        One study, signs model: read every vertebra, and diagnose the most abnormal one; needs no box. --sheet draws the
        spine with the state of each vertebra.
    series
        One study: a series to use instead of the automatic choice: T1w=UID, T2w=UID or STIR=UID; once for each.
    sheet
        Picture of each box (contact sheet): a PNG file for one study, a folder for many.
    engine
        Library that computes; by default ONNX Runtime where the model has an ONNX file.
    out
        Many studies: folder for the tables; existing tables are kept.
    shard
        Many studies: i/n, the i-th of n jobs of an array; the last job to finish joins the tables.
    shard_size
        Many studies: approximate number of studies per table.
    on
        Many studies: local, ray (the cluster in which this process runs), or ray://host:port.
    """
    from spinefx.second_opinion.manifest import Manifest

    one: dict[str, Any] = {"slices": slices, "box": box, "box_pixels": box_pixels, "level": level}
    one |= {"whole_spine": whole_spine}
    one |= {"series": _named_series(series)}
    if out is None and not Manifest.is_at(study):
        _predict_one(model, study, one | {"engine": engine, "sheet": sheet})
        return
    if out is None or any(one.values()):
        allowed = "MODEL MANIFEST --out FOLDER, or MODEL STUDY with a box and --slices, or with --level"
        raise InputError("Many studies need --out, and no flags of a single study", allowed=allowed)
    from spinefx.commands.predict import predict_many

    share: dict[str, Any] = {"shard": shard, "shard_size": shard_size, "on": on, "engine": engine, "sheet": sheet}
    with progress_bars() as steps:
        done = predict_many(model, study, out, workers=count(workers), progress=steps, **share)
    if done.notes:
        fail("\n".join(("some shards failed; run the same command again to repeat them", *done.notes)))
    say(f"{done.sentence}: {out}")
    if done.caution:
        say(done.caution)


def _named_series(texts: tuple[str, ...]) -> dict[Weighting, str]:
    found: dict[Weighting, str] = {}
    for text in texts:
        name, _, uid = text.partition("=")
        weighting = sequence_named(name)
        if not uid or weighting in found:
            names = ", ".join(f"{one}=UID" for one in SEQUENCES)
            raise InputError(f"--series {name}", allowed=f"{names}, each at most once")
        found[weighting] = uid
    return found


def _predict_one(model: Path, study: Path, options: dict[str, Any]) -> None:
    from spinefx.commands.predict import predict as run

    try:
        answer = run(model, study, **options)
    except SpinefxError as error:
        from spinefx.second_opinion.withheld import Withheld

        why = Withheld.of(error)
        refusal = {"refused": why.kind, "words": why.words, "reason": str(error), "remedy": why.remedy}
        refusal |= {"note": RESEARCH_USE_ONLY}
        print(json.dumps(refusal, indent=2, ensure_ascii=False))
        raise
    print(json.dumps(answer, indent=2, ensure_ascii=False, allow_nan=False))
