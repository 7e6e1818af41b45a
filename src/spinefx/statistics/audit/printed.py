"""Numbers as papers print them: decimal commas, raised points, thousands, counts with percentages and intervals."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["PrintedShare", "is_not_significant", "plain_count", "plain_number", "split_share"]

# Spaces that typesetters put inside numbers, and the marks of footnotes.
THIN_SPACES, FOOTNOTES = re.compile(r"(?<=\d)[\u00a0\u2009\u202f](?=\d{3})"), re.compile(r"[*†‡§¶#]+$")
THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
POWER_OF_TEN = re.compile(r"\s*[×x·]\s*10\s*\^?\s*([-+]?\d+)")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻−–", "0123456789---")
NOT_SIGNIFICANT = re.compile(r"p?[=:]?(n\.?s\.?|not ?significant|non-?significant)", re.IGNORECASE)
COUNTED = re.compile(r"(\?|\d+)/(\d+)")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
SHARE = re.compile(
    rf"(?P<value>{NUMBER}%?)?(?:[(\[](?:95%?CI:?)?(?P<low>{NUMBER})%?(?:,|;|-|to)(?P<high>{NUMBER})%?[)\]])?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class PrintedShare:
    """The parts of a printed share.

    Parameters
    ----------
    value : str
        The proportion or percentage; empty if only counts are printed.
    count : tuple of int, or None
        Count and total, if they are printed with it.
    limits : tuple of str, or None
        Limits of the interval, if one is printed with it.
    """

    value: str
    count: tuple[int, int] | None = None
    limits: tuple[str, str] | None = None


def plain_number(text: str) -> str:
    """Return a printed number in the notation of programs.

    Parameters
    ----------
    text : str
        For example ``94,0%``, ``0·045``, ``1,234.5`` or ``1.2 × 10⁻⁵``.

    Returns
    -------
    str
        ``94.0%``, ``0.045``, ``1234.5``, ``1.2e-5``; without spaces. A comma before exactly three digits separates
        thousands, unless a 0 stands before it; any other comma is a decimal comma.
    """
    bare = POWER_OF_TEN.sub(r"e\1", text.translate(SUPERSCRIPTS))
    bare = FOOTNOTES.sub("", re.sub(r"\s", "", THIN_SPACES.sub("", bare))).replace("·", ".").replace("\u2027", ".")
    bare = THOUSANDS.sub(lambda match: match[0].replace(",", ""), bare)
    return re.sub(r"(?<=\d),(?=\d)", ".", bare)


def plain_count(text: str) -> str:
    """Return a printed count without the separators of thousands.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    return THOUSANDS.sub(lambda match: match[0].replace(",", ""), THIN_SPACES.sub("", text))


def is_not_significant(text: str) -> bool:
    """Return whether a printed p-value is a word for not significant, such as ``NS``.

    Parameters
    ----------
    text : str

    Returns
    -------
    bool
    """
    return NOT_SIGNIFICANT.fullmatch(re.sub(r"\s", "", text)) is not None or text.strip().lower() == "not significant"


def split_share(text: str) -> PrintedShare | None:
    """Split a printed share into its value, its counts and its interval.

    Parameters
    ----------
    text : str
        For example ``70.0% (55.4, 82.1)``, ``47/50 (94%)``, ``94% (47/50)``, ``47 of 50 (94,0%)`` or ``94``.

    Returns
    -------
    PrintedShare or None
        None if it is written in another way.
    """
    bare = re.sub(r"\bof\b|\bout of\b", "/", plain_count(text), flags=re.IGNORECASE)
    # A comma with a space behind it separates the limits of an interval; one without may be a decimal comma.
    bare = re.sub(r"(\d\.\d+%?),(?=\d+\.\d)", r"\1;", re.sub(r",\s+", ";", bare))
    bare = plain_number(bare)
    count = None
    found = COUNTED.search(bare)
    if found is not None and found[1] != "?":
        count = int(found[1]), int(found[2])
        bare = (bare[: found.start()] + bare[found.end() :]).replace("()", "").replace("(,", "(").strip(",;")
        inner = re.fullmatch(rf"\(({NUMBER}%?)[,;]?\)", bare)
        bare = inner[1] if inner else bare
    match = SHARE.fullmatch(bare)
    if match is None or (match["value"] is None and count is None):
        return None
    limits = (match["low"], match["high"]) if match["low"] else None
    return PrintedShare(match["value"] or "", count, limits)
