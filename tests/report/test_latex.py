"""The LaTeX tables of a report are complete and compile."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from spinefx.statistics.estimate import Estimate
from spinefx.statistics.table import ResultTable

Rendered = Callable[[str], dict[str, bytes]]

SPECIAL = (
    "~ ^ \\ & % $ # _ { } < > | ` \" ' [1] * -- ± − ≤ κ Σ é ß ł 王 Þ \u2028 \x00\x0b\ud800\ufffe <w:p/> ]]> \\input{x}"
)
TABLE = ResultTable(
    "t_1",
    f"A {SPECIAL}",
    ("reader", f"c {SPECIAL}", "sensitivity"),
    ((f"[{SPECIAL}", f"*{SPECIAL}\n\n{SPECIAL}", Estimate(0.5, 0.2, 0.8, 1, 2)), ("b" * 90, "", None)),
    f"Note {SPECIAL}",
)
PREAMBLE = r"\documentclass[a4paper]{article}\usepackage{array,booktabs,longtable,lscape}\begin{document}"


def test_every_row_has_as_many_cells_as_the_header(rendered: Rendered) -> None:
    files = rendered("plain")
    tex = [name for name in files if name.endswith(".tex")]
    assert len(tex) > 12
    for name in tex:
        text = files[name].decode()
        assert r"(phantom)}\label" in text
        lines = [line.replace(r"\&", "") for line in text.splitlines() if r" \\" in line]
        assert len({line.count("&") for line in lines}) == 1
        # The header is there twice, for the first page and for those that follow.
        assert len(lines) == files[name.replace(".tex", ".tsv")].count(b"\n") + 1


def test_tables_compile_and_fit_the_page(rendered: Rendered, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    files = rendered("plain")
    tables = [TABLE.to_latex(), *(data.decode() for name, data in sorted(files.items()) if name.endswith(".tex"))]
    (tmp_path / "all.tex").write_text("\n".join((PREAMBLE, *tables, r"\end{document}")), encoding="utf-8")
    run = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, timeout=300, check=False)
    log = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, log[-2000:]
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
    assert not re.findall(r"^(?:!|Overfull|Missing character).*", log, flags=re.M)
