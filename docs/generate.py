"""Write the pages that are drawn from the code: commands, recipes, errors, the audit. Run after any of them changed.

A test runs this and compares, so that these pages cannot grow stale.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
from pathlib import Path

from rich.console import Console

from spinefx import errors
from spinefx.cli import app
from spinefx.learning.recipe import PRESETS, Recipe
from spinefx.phantom.dials import dials_toml
from spinefx.statistics.audit.claims import KINDS, Verdict
from spinefx.statistics.audit.recompute import audit, audit_table, example_claims

HERE = Path(__file__).resolve().parent
COMMANDS = (
    "demo",
    "phantom",
    "ingest",
    "check",
    "patch",
    "train",
    "report",
    "predict",
    "export",
    "audit",
    "plan",
    "serve",
    "user add",
    "reader-study add",
    "reader-study export",
    "reader-study check",
)


def commands_page() -> str:
    """Every command with its own help."""
    parts = [
        "# Commands\n",
        "Exit codes: 0 done, 1 the data or the answer is bad (said in one line), 2 wrong usage, 130 interrupted.\n",
    ]
    for command in COMMANDS:
        text = io.StringIO()
        console = Console(file=text, width=110, no_color=True, force_terminal=False)
        with contextlib.suppress(SystemExit):
            app([*command.split(), "--help"], console=console)
        body = "\n".join(line.rstrip() for line in text.getvalue().strip().splitlines())
        parts.append(f"## spinefx {command}\n\n```\n{body}\n```\n")
    return "\n".join(parts)


def recipes_page() -> str:
    """Every field of a recipe, with the three presets side by side."""
    presets = {name: Recipe.preset(name) for name in PRESETS}
    lines = [
        "# Recipes and honesty",
        "",
        "A recipe holds every number of an experiment, in one flat TOML file. Three come with spinefx:",
        "",
        "- **`honest`** (the default): the paper's experiment without its leaks. The number that a reader may believe.",
        "- **`paper`**: the text of Yeh et al. 2022 taken literally, optimism included, and stamped so.",
        "- **`quick`**: a small network and few copies for a CPU; said in its name and in every output.",
        "",
        "To change a number, copy a recipe out of any experiment's folder (`recipe.toml`), edit it, and give its path:",
        "`spinefx train w --recipe my.toml`. An unknown key is refused with the nearest name.",
        "",
        "| field | " + " | ".join(PRESETS) + " | meaning |",
        "|---|" + "---|" * len(PRESETS) + "---|",
    ]
    for key, meaning in Recipe.meanings().items():
        if key != "name":
            values = " | ".join(f"`{getattr(recipe, key)}`" for recipe in presets.values())
            lines.append(f"| `{key}` | {values} | {meaning} Allowed: {Recipe.allowed(key)}. |")
    lines += [
        "",
        "Rows are those of the settled protocol; [Decisions](decisions.md) says why the program is as it is.",
        "",
    ]
    return "\n".join(lines)


def errors_page() -> str:
    """The tree of named errors."""
    tree = inspect.getdoc(errors).split("::", 1)[1].strip("\n")  # type: ignore[union-attr]
    lines = [
        "# Errors",
        "",
        "Everything that can go wrong has a name. A message says what was found, where, what is allowed and what to",
        "do next, in one line, and holds no patient's name, date or hospital identifier.",
        "`SPINEFX_TRACEBACK=1` shows the way to it.",
        "",
        "```",
        inspect.cleandoc(tree),
        "```",
        "",
    ]
    return "\n".join(lines)


def benchmarks_page() -> str:
    """Every recorded benchmark with its machine and command."""
    lines = [
        "# Benchmarks",
        "",
        "Each table is one command's, recorded with its machine, versions and commit in `benchmarks/results/`. Times",
        "were taken on a shared machine: read ratios, not seconds. Figures on phantoms test software and say nothing",
        "of patients.",
    ]
    for path in sorted((HERE.parent / "benchmarks" / "results").glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        lines += ["", f"## {found['title']}", "", "| " + " | ".join(found["columns"]) + " |"]
        lines += ["|" + "---|" * len(found["columns"])]
        lines += ["| " + " | ".join(row) + " |" for row in found["rows"]]
        versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        lines += [
            "",
            found["note"],
            "",
            f"`{found['command']}`; {found['machine']}; {versions}; commit {found['commit']}.",
        ]
    return "\n".join(lines) + "\n"


# Goal: what it asks, what is wanted, the peer that it is measured against, and the command that measures it.
GOALS = {
    "G1": ("a study read, registered, cut and scored", ">= 40 x", "SimpleITK, SciPy and eager torch", "study_cpu"),
    "G2": ("registration, at the same error", ">= 50 x", "SimpleITK's mutual information", "registration_peers"),
    "G3": ("an epoch of training", ">= 1.25 x, bfloat16 >= 2 x", "MONAI's loop and ResNet50", "training_cpu"),
    "G4": ("batches prepared for training", ">= 15 x", "MONAI's RandAffined and DataLoader", "training_cpu"),
    "G5": ("a study scored", ">= 2.5 x", "eager torch", "scoring"),
    "G6": ("the start of a new process", ">= 5 x", "torch's", "scoring"),
    "G7": ("10 folds x 100 epochs on one GPU", ">= 8 x", "the eager loop on the same GPU", "gpu_protocol"),
    "G8": ("folds in lockstep equal plain loops", "1e-10 in float64", "our own plain loop", "test_lockstep"),
    "G9": ("bfloat16 changes no answer", "AUC within 0.01", "float32, paired by seed", "short_arithmetic"),
    "G10": ("an archive, shard by shard", "<= 0.25 core-s a study", "none", "shards"),
}
SPEED_OPENING = """\
# Speed

What is wanted of the program's speed, each goal against the strongest peer that we could set up, and what was reached.
A goal counts only where peer and program ran side by side in one run, in CPU seconds of one thread unless it says
otherwise; [Benchmarks](benchmarks.md) holds every table with its machine, versions and commit.

"""
SPEED_CLOSING = """
G8 is no figure of speed but the licence for one, and a test holds it.

## What training does on a CPU

One process of one thread per fold: beside others, several threads on one fold cost several times what they gain.
Channels lie last in memory, Adam runs in one fused pass, ReLU and the sums of shortcuts overwrite what nobody reads
again. Source slices are mixed once per plane in which patches lie, and a batch is sampled within these planes at once:
no direction is interpolated twice. A test holds the losses to a loop written from the formulas, in double precision, to
1e-10.

A recipe may ask for `dtype = "bfloat16"`. On maps of four pixels and fewer across, where the library's bfloat16
convolution is slow, a 1x1 convolution is then computed as one matrix product, and a 3x3 one that gives 2x2 pixels as a
product of gathered pixels: the same function to 1e-10 in double precision, with the same parameters and files. Scoring
is always float32. G9 is shown for the small network alone, so no preset asks for bfloat16.
"""


def speed_page() -> str:
    """The goals of speed, with what the records say of each."""
    records = sorted((HERE.parent / "benchmarks" / "results").glob("*.json"))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in records]
    measured = [(one, record["command"]) for record in found for one in record.get("goals", ())]
    rows = ["| goal | wanted | measured | peer | command |", "|---|---|---|---|---|"]
    for goal, (what, wanted, peer, script) in GOALS.items():
        figures = [
            (f"{one['wanted']} {one['unit']}", one["measured"], command)
            for one, command in measured
            if one["goal"] == goal
        ]
        if script.startswith("test_"):
            path = f"tests/learning/{script}.py"
            is_held = (HERE.parent / path).exists()
            figures = [(wanted, "held by a test" if is_held else "not run yet", f"pytest {path}")]
        for asked, value, command in figures or [(wanted, "not run yet", f"python benchmarks/{script}.py")]:
            rows.append(f"| {goal}: {what} | {asked} | {value} | {peer} | `{command}` |")
    return SPEED_OPENING + "\n".join(rows) + "\n" + SPEED_CLOSING


AUDIT_OPENING = """\
# The audit of printed tables

`spinefx audit FILE` takes what a paper prints, and the counts that it prints beside it, and says what can be true.
No image and no patient is needed. The p-value of a paired test depends on how many errors two readers shared, which
papers seldom print: so every number of shared errors that the counts allow is tried, and the range is given.

```sh
spinefx audit yeh2022
spinefx audit claims.tsv
```

The first is the worked example below. Run it on your own tables before you send them away: exit code 1 means that a
claim cannot stand as it is printed.

## The file

A TSV or CSV with the columns `claim`, `kind`, `printed` and `counts`, or JSON: `{"claims": [{"claim": "...", ...}]}`.
Four more fields may be left out: `family` (tests that are corrected together; `R1 errors/15` where 15 were made and
not all are printed), `shared` (errors that both readers made, where the text says so), `needs` (what would have to be
printed to judge) and `note`.
"""
AUDIT_EXAMPLE = """
## The worked example: Yeh et al. 2022

The claims were typed in from a text copy of [the paper](https://doi.org/10.1007/s00586-022-07121-1) that was made by
optical character recognition. A verdict is of the numbers as they stand in that copy: it cannot tell a slip of the
author from one of the press or of the copy, and it says nothing of how the study was done. Where the paper itself is
at hand, the paper decides. The sensitivities, specificities and accuracies of all four readers agree with their counts.
"""
AUDIT_CLOSING = """
The range of a paired test is over every number of shared errors; *unpaired Fisher* is what comes out when the two
readers are taken for different patients, which they are not. Confirmed claims are listed by the command.
"""


def audit_page() -> str:
    """The worked example of an audit, recomputed."""
    audited = audit(example_claims())
    others = [one for one in audited if one.verdict != Verdict.CONFIRMED]
    table = audit_table(others)
    kinds = ["| kind | counts |", "|---|---|", *(f"| `{kind}` | {meaning} |" for kind, meaning in KINDS.items())]
    verdicts = ["| verdict | meaning |", "|---|---|", *(f"| {verdict} | {VERDICTS[verdict]} |" for verdict in Verdict)]
    rows = ["| " + " | ".join(table.columns) + " |", "|---|---|---|---|---|"]
    rows += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in table.to_text()]
    count = f"{len(audited)} claims, of which {len(audited) - len(others)} are confirmed. The others:"
    parts = (AUDIT_OPENING, *kinds, "", *verdicts, AUDIT_EXAMPLE, count, "", *rows)
    return "\n".join(parts) + "\n" + AUDIT_CLOSING


VERDICTS = {
    Verdict.CONFIRMED: "true for every table that the counts allow",
    Verdict.POSSIBLE: "true for some of them, or of another usual test; the remark says which",
    Verdict.INCOMPLETE: "may be true, but what is needed to judge it is not printed",
    Verdict.NOT_REPRODUCED: "none of the usual tests gives it",
    Verdict.INCONSISTENT: "does not agree with the counts beside it",
    Verdict.CONTRADICTED: "possible by the counts, but not together with what the text says",
    Verdict.IMPOSSIBLE: "true for no table that the counts allow",
}


def dials_page() -> str:
    """Return every dial of a phantom cohort, as the file that the shell prints."""
    return f"""# The dials of a phantom cohort

`spinefx phantom --print-dials > dials.toml` writes this file. Keep the lines that you change, and pass it on:
`spinefx phantom FOLDER --dials dials.toml`. An unknown dial is refused with the nearest name.
[The phantom lab](phantom.md) shows what to do with them.

```toml
{dials_toml().rstrip()}
```
"""


PAGES = {
    "audit.md": audit_page,
    "commands.md": commands_page,
    "recipes.md": recipes_page,
    "errors.md": errors_page,
    "phantom-dials.md": dials_page,
    "benchmarks.md": benchmarks_page,
    "speed.md": speed_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (HERE / name).write_text(page(), encoding="utf-8")
        print(f"wrote docs/{name}")
