"""Tables for LaTeX, in any engine: what data hold is set as it stands and never read as a command."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from spinefx.statistics.columns import LONGEST_WORD, column_widths, fits, is_numeric, printable

__all__ = ["escape", "latex_table"]

COMMANDS = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # Some languages make a shorthand of it.
    '"': "''",
    "–": "--",
    "—": "---",
    # After a line's end these would be read as its argument, or as its star.
    **{letter: f"{{{letter}}}" for letter in "[]*"},
}
SIGNS = dict(zip("±×·≤≥≠≈∞", ("pm", "times", "cdot", "leq", "geq", "neq", "approx", "infty"), strict=True))
SIGNS |= dict(
    zip("←→↑↓√Λλ", ("leftarrow", "rightarrow", "uparrow", "downarrow", "surd", "Lambda", "lambda"), strict=True)
)
# Other capitals look like Latin ones, and LaTeX has no name for them, nor for omicron.
SIGNS |= {letter: unicodedata.name(letter).split()[-1].capitalize() for letter in "ΓΔΘΞΠΣΥΦΨΩ"}
SIGNS |= {letter: unicodedata.name(letter).split()[-1].lower() for letter in "αβγδεζηθικμνξπρστυφχψω"}
COMMANDS |= {sign: rf"\ensuremath{{\{name}}}" for sign, name in SIGNS.items()}
COMMANDS |= {"−": r"\ensuremath{-}", "\xa0": "~"} | dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True))
# What every engine sets in every encoding, beyond ASCII: most of Latin-1 and Latin Extended-A, quotation marks, dots.
PLAIN = {chr(code) for code in range(0xA1, 0x17F)} | set("‘’“”…•‰€™")
PLAIN -= set("\xadÞðþĄąĐđĘęĦħĮįĸĿŀŉŊŋŦŧŲų")
# Two of these in a row would become a dash or a quotation mark.
JOINED = "-',"
# Paper on its side or not, size, and how many characters a line of that size holds on A4 in the standard classes.
SHAPES = ((False, "footnotesize", 72), (True, "footnotesize", 118), (True, "scriptsize", 127), (True, "tiny", 150))
PACKAGES = "% Needs \\usepackage{array,booktabs,longtable,lscape} in the preamble."


def escape(text: str) -> str:
    """Write text so that LaTeX sets it as it stands.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        A letter that pdfLaTeX has no font for is set by XeLaTeX and LuaLaTeX; pdfLaTeX sets its number, ``U+738B``.
    """
    words = re.split("( )", printable(text))
    return "".join(_word(word) for word in words)


def latex_table(name: str, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """Set a table on as many pages as it takes, its header on each; a wide one lies on its side.

    Parameters
    ----------
    name : str
        Becomes its label.
    title : str
        Its caption.
    header : sequence of str
    rows : sequence of sequence of str
    note : str
        Set below it.

    Returns
    -------
    str
        To be read by ``\\input``, in one column of text.
    """
    lines = [list(header), *map(list, rows)]
    sideways, size, room = next((shape for shape in SHAPES if fits(lines, shape[2])), SHAPES[-1])
    shares = column_widths(lines, room)
    whole = max(sum(shares), room)
    columns = "".join(
        rf">{{\{'raggedleft' if is_numeric(rows, place) else 'raggedright'}\arraybackslash}}"
        rf"p{{\dimexpr {share / whole:.4f}\dimexpr\linewidth-{2 * len(header)}\tabcolsep\relax\relax}}"
        for place, share in enumerate(shares)
    )
    top, *body = (" & ".join(map(escape, line)) + r" \\" for line in lines)
    return "\n".join(
        (
            PACKAGES,
            *([r"\begin{landscape}"] if sideways else []),
            rf"\begingroup\{size}\setlength{{\tabcolsep}}{{3pt}}\setlength{{\LTcapwidth}}{{\linewidth}}",
            rf"\begin{{longtable}}{{{columns}}}",
            rf"\caption{{{escape(title)}}}\label{{tab:{re.sub('[^a-z0-9]+', '-', name.lower())}}}\\",
            *(rf"\toprule {top} \midrule {end}" for end in (r"\endfirsthead", r"\endhead")),
            r"\bottomrule \endfoot",
            *body,
            r"\end{longtable}",
            *([rf"\noindent {escape(note)}\par"] if note else []),
            r"\endgroup",
            *([r"\end{landscape}"] if sideways else []),
            "",
        )
    )


def _word(word: str) -> str:
    letters = [
        f"{{}}{letter}" if letter in JOINED and word[place - 1 : place] == letter else _letter(letter)
        for place, letter in enumerate(word)
    ]
    if len(word) > LONGEST_WORD:
        letters[4::4] = [rf"\allowbreak {letter}" for letter in letters[4::4]]
    return "".join(letters)


def _letter(letter: str) -> str:
    if letter in COMMANDS:
        return COMMANDS[letter]
    if letter.isascii() or letter in PLAIN:
        return letter
    # Only these engines know the command, and have fonts for letters of all scripts.
    return rf"\ifdefined\Umathchar {letter}\else U+{ord(letter):04X}\fi{{}}"
