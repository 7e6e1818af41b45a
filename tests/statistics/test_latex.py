"""LaTeX prints text from the data literally."""

from __future__ import annotations

import pytest

from spinefx.statistics.latex import escape


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50% & x_1 #2 $3", r"50\% \& x\_1 \#2 \$3"),
        ("{y} a\\b", r"\{y\} a\textbackslash{}b"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("a < b > c | d", r"a \textless{} b \textgreater{} c \textbar{} d"),
        ("[1] *", r"{[}1{]} {*}"),
        ("a--b---c ''", r"a-{}-b-{}-{}-c '{}'"),
        ('1–2 "q" `', r"1--2 ''q'' \textasciigrave{}"),
        ("0.5 ± 0.1, −2 ≤ κ", r"0.5 \ensuremath{\pm} 0.1, \ensuremath{-}2 \ensuremath{\leq} \ensuremath{\kappa}"),
        ("ΑΩ λ", r"A\ensuremath{\Omega} \ensuremath{\lambda}"),
        ("é ü ł", "é ü ł"),
        ("王", r"\ifdefined\Umathchar 王\else U+738B\fi{}"),
        ("a\tb\r\n\r\nc\x00", r"a b c" + r"\ifdefined\Umathchar " + "\ufffd" + r"\else U+FFFD\fi{}"),
        ("abcdefghijklmnopq", r"abcd\allowbreak efgh\allowbreak ijkl\allowbreak mnop\allowbreak q"),
    ],
)
def test_text_is_escaped(text: str, escaped: str) -> None:
    assert escape(text) == escaped
