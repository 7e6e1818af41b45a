"""LaTeX tables for any engine, with text from the data escaped so that it is never read as a command."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from spinefx.statistics.typesetting import LONGEST_WORD, column_widths, fits, is_numeric, printable

__all__ = ["escape", "latex_table"]

COMMANDS = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Babel makes it a shorthand in some languages.
    '"': "''",
    "–": "--",
    "—": "---",
    # After a row's end these would be read as its optional argument or its star.
    **{letter: f"{{{letter}}}" for letter in "[]*"},
}
SIGNS = dict(zip("±×·≤≥≠≈∞", ("pm", "times", "cdot", "leq", "geq", "neq", "approx", "infty"), strict=True))
SIGNS |= dict(
    zip("←→↑↓√Λλ", ("leftarrow", "rightarrow", "uparrow", "downarrow", "surd", "Lambda", "lambda"), strict=True)
)
# The other capitals look like Latin letters, and LaTeX has no command for them, nor for omicron.
SIGNS |= {letter: unicodedata.name(letter).split()[-1].capitalize() for letter in "ΓΔΘΞΠΣΥΦΨΩ"}
SIGNS |= {letter: unicodedata.name(letter).split()[-1].lower() for letter in "αβγδεζηθικμνξπρστυφχψω"}
COMMANDS |= {sign: rf"\ensuremath{{\{name}}}" for sign, name in SIGNS.items()}
COMMANDS |= {"−": r"\ensuremath{-}", "\xa0": "~"} | dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))
# Beyond ASCII every engine sets these in every encoding: most of Latin-1 and Latin Extended-A, and some punctuation.
PLAIN = {chr(code) for code in range(0xA1, 0x17F)} | set("‘’“”…•‰€™")
PLAIN -= set("\xadÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų")
# Two of these in a row would become a dash or a quotation mark.
JOINED = "-',"
# Landscape or not, font size, and characters per line of that size on A4 paper in the standard classes.
SHAPES = ((False, "footnotesize", 72), (True, "footnotesize", 118), (True, "scriptsize", 127), (True, "tiny", 150))
PACKAGES = "% Needs \\usepackage{array,booktabs,longtable,lscape} in the preamble."


def escape(text: str) -> str:
    """Escape text so that LaTeX prints it literally.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        XeLaTeX and LuaLaTeX print letters for which pdfLaTeX has no font; pdfLaTeX prints their code, ``U+738B``.
    """
    words = re.split("( )", printable(text))
    return "".join(_escape_word(word) for word in words)


def latex_table(name: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """Write a table that runs over as many pages as it needs, with the header on each; wide tables are landscape.

    Parameters
    ----------
    name : str
        Becomes the label.
    title : str
        Becomes the caption.
    header : sequence of str
    rows : sequence of sequence of str
    note : str
        Printed below the table.

    Returns
    -------
    str
        LaTeX source for ``\\input`` in single-column text.
    """
    lines = [list(header), *map(list, rows)]
    landscape, size, width = next((shape for shape in SHAPES if fits(lines, shape[2])), SHAPES[-1])
    shares = column_widths(lines, width)
    whole = max(sum(shares), width)
    columns = "".join(
        rf">{{\{'raggedleft' if is_numeric(rows, place) else 'raggedright'}\arraybackslash}}"
        rf"p{{\dimexpr {share / whole:.4f}\dimexpr\linewidth-{2 * len(header)}\tabcolsep\relax\relax}}"
        for place, share in enumerate(shares)
    )
    top, *body = (" & ".join(map(escape, line)) + r" \\" for line in lines)
    return "\n".join(
        (
            PACKAGES,
            *([r"\begin{landscape}"] if landscape else []),
            rf"\begingroup\{size}\setlength{{\tabcolsep}}{{3pt}}\setlength{{\LTcapwidth}}{{\linewidth}}",
            rf"\begin{{longtable}}{{{columns}}}",
            rf"\caption{{{escape(title)}}}\label{{tab:{re.sub('[^a-z0-9]+', '-', name.lower())}}}\\",
            *(rf"\toprule {top} \midrule {end}" for end in (r"\endfirsthead", r"\endhead")),
            r"\bottomrule \endfoot",
            *body,
            r"\end{longtable}",
            *([rf"\noindent {escape(note)}\par"] if note else []),
            r"\endgroup",
            *([r"\end{landscape}"] if landscape else []),
            "",
        )
    )


def _escape_word(word: str) -> str:
    letters = [
        f"{{}}{letter}" if letter in JOINED and word[place - 1 : place] == letter else _escape_letter(letter)
        for place, letter in enumerate(word)
    ]
    if len(word) > LONGEST_WORD:
        letters[4::4] = [rf"\allowbreak {letter}" for letter in letters[4::4]]
    return "".join(letters)


def _escape_letter(letter: str) -> str:
    if letter in COMMANDS:
        return COMMANDS[letter]
    if letter.isascii() or letter in PLAIN:
        return letter
    # Only XeLaTeX and LuaLaTeX define this command, and they have fonts for letters of all scripts.
    return rf"\ifdefined\Umathchar {letter}\else U+{ord(letter):04X}\fi{{}}"
