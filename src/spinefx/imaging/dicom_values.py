"""Read single values of a DICOM header, and check each."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from spinefx.errors import FileError

__all__ = [
    "code_word",
    "first_item",
    "read_in_other_character_sets",
    "read_number",
    "read_numbers",
    "read_text",
    "read_texts",
    "read_time_ms",
    "read_whole",
    "tag_numbered",
    "tag_of",
    "written_step",
]

MAX_TEXT_CHARACTERS, MAX_VALUES = 1024, 100
# Philips writes 7.23e75 for an unknown number.
LARGEST_NUMBER = 1e9
NOTHING = Dataset()  # shared, because creating one costs more than reading a value
# Character sets in which hospitals write without declaring it (PS3.3 C.12.1.1.2).
CHARACTER_SETS = ("utf-8", "latin-1", "cp1252", "cp1251", "shift_jis", "gb18030", "euc_kr", "iso2022_jp")
TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UT"})


@cache
def tag_numbered(number: int) -> BaseTag:
    """Return the one object of a tag: a dictionary finds the same object without comparing, which pydicom does slowly.

    Parameters
    ----------
    number : int

    Returns
    -------
    pydicom BaseTag
    """
    return BaseTag(number)


@cache
def tag_of(keyword: str) -> BaseTag:
    """Return the tag of a keyword, remembered: pydicom looks it up each time.

    Parameters
    ----------
    keyword : str

    Returns
    -------
    pydicom BaseTag
    """
    return tag_numbered(int(Tag(keyword)))


def first_item(dataset: Dataset, keyword: str) -> Dataset:
    """Read the first item of a sequence.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str

    Returns
    -------
    pydicom Dataset
        Empty where there is no item.
    """
    items = dataset.get(keyword) if tag_of(keyword) in dataset else None
    return items[0] if items else NOTHING


def read_texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Read the values of an element as texts.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str

    Returns
    -------
    tuple of str
        Stripped, at most 100 of at most 1024 characters; empty where the element is absent or empty.
    """
    tag = tag_of(keyword)
    raw: Any = dataset.get_item(tag)
    if raw is None:
        return ()
    if type(raw.value) is bytes:
        # Most values are ASCII text or single shorts. Bypassing pydicom's conversion halves the cost of a scan.
        kind = raw.VR or dictionary_VR(tag)
        if kind in TEXT_VRS and raw.value.isascii():
            text = raw.value.decode("ascii").strip("\0 ")
            parts = text.split("\\", MAX_VALUES)[:MAX_VALUES]
            return tuple(part.strip()[:MAX_TEXT_CHARACTERS] for part in parts) if text else ()
        if kind == "US" and len(raw.value) == 2:
            return (str(int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")),)
    value: Any = dataset.get(keyword)
    if value is None or value == "":
        return ()
    values = [value] if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__") else list(value)
    return tuple(str(item).strip()[:MAX_TEXT_CHARACTERS] for item in values[:MAX_VALUES])


def read_text(dataset: Dataset, keyword: str) -> str:
    """Read an element as one text.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str

    Returns
    -------
    str
        Several values joined by a backslash; empty where the element is absent.
    """
    return "\\".join(read_texts(dataset, keyword)).strip("\0 ")


def code_word(text: str) -> str:
    """Return a code string unchanged if it is one, so that no free text is ever shown in its place.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        The text, up to 16 letters; ``unknown`` for anything else; empty for an empty text.
    """
    return text if text.isascii() and text.isalpha() and len(text) <= 16 else "unknown" if text else ""


def read_numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Read an element that must hold a given number of finite numbers.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str
    count : int

    Returns
    -------
    tuple of float or None
        None where the element is absent or empty.

    Raises
    ------
    FileError
        When it holds another count, a value that is not a number, or an implausibly large number.
    """
    found = read_texts(dataset, keyword)
    if not found:
        return None
    try:
        values = tuple(float(text) for text in found)
    except ValueError:
        raise FileError(f"has a {keyword} that is not a number") from None
    if len(values) != count or not all(math.isfinite(value) and abs(value) < LARGEST_NUMBER for value in values):
        raise FileError(f"has an impossible {keyword}")
    return values


def read_number(dataset: Dataset, keyword: str) -> float | None:
    """Read an element that must hold one finite number.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str

    Returns
    -------
    float or None
        None where the element is absent or empty.

    Raises
    ------
    FileError
        As for :func:`read_numbers`.
    """
    values = read_numbers(dataset, keyword, 1)
    return values[0] if values else None


def read_time_ms(dataset: Dataset, keyword: str) -> float | None:
    """Read a time in milliseconds.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str

    Returns
    -------
    float or None
        None where it is absent, not a number, or not positive, which means unknown.
    """
    found = read_texts(dataset, keyword)
    try:
        value = float(found[0]) if found else 0.0
    except ValueError:
        return None
    return value if 0 < value < LARGEST_NUMBER else None


def read_whole(dataset: Dataset, keyword: str) -> int | None:
    """Read a whole number.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str

    Returns
    -------
    int or None
        None where it is absent or not a whole number.
    """
    found = read_texts(dataset, keyword)
    try:
        return int(found[0]) if found else None
    except ValueError:
        return None


def written_step(dataset: Dataset, keyword: str) -> float:
    """Return how finely the numbers of an element are written.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str
        Of an element of decimal strings.

    Returns
    -------
    float
        Unit of the last decimal place of the most precise number: 0.1 for ``1.5\\-20.0\\3``, 1 for whole numbers.
    """
    places = 0
    for text in read_texts(dataset, keyword):
        mantissa, _, exponent = text.lower().partition("e")
        decimals = len(mantissa.partition(".")[2]) - (int(exponent) if exponent.lstrip("+-").isdigit() else 0)
        places = max(places, decimals)
    return float(10.0 ** -min(places, 12))


def read_in_other_character_sets(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Read a text in the character sets that its file may have been written in without declaring so.

    Parameters
    ----------
    dataset : pydicom Dataset
    keyword : str

    Returns
    -------
    tuple of str
        Empty for ASCII, and where the file declares a character set (0008,0005).
    """
    raw: Any = dataset.get_item(tag_of(keyword))
    data = None if raw is None else raw.value
    if not isinstance(data, bytes) or data.isascii() or any(read_texts(dataset, "SpecificCharacterSet")):
        return ()
    found = []
    for name in CHARACTER_SETS:
        try:
            found.append(data.decode(name).strip("\0 "))
        except UnicodeDecodeError:
            continue
    return tuple(dict.fromkeys(found))
