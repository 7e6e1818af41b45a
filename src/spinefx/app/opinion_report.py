"""The printable report of a second opinion: one page as HTML, and the same page as PDF. Home of Jinja in the pages."""

from __future__ import annotations

import base64
import functools
from importlib.resources import files
from typing import Any

import jinja2

from spinefx.app.opened import Answer, OpenStudy
from spinefx.cases.sheet import centre_picture, contact_sheet
from spinefx.errors import MissingPackage
from spinefx.second_opinion.saliency import GRID

__all__ = ["STYLE", "can_print", "opinion_page", "opinion_pdf"]

TEMPLATES = files("spinefx.app") / "templates"
STYLE = (TEMPLATES / "opinion.css").read_text(encoding="utf-8")


@functools.cache
def can_print() -> bool:
    """Tell whether PDF can be written here.

    Returns
    -------
    bool
    """
    try:
        import weasyprint  # noqa: F401  # deferred: an extra, and slow to start
    except (ImportError, OSError):  # OSError where Pango is missing
        return False
    return True


def opinion_page(study: OpenStudy, answer: Answer) -> str:
    """Set an answer out for print.

    Parameters
    ----------
    study : OpenStudy
    answer : Answer
        With the saliency maps that were asked for so far.

    Returns
    -------
    str
        HTML that takes its style from this server.
    """
    return _render(study, answer, style="")


def opinion_pdf(study: OpenStudy, answer: Answer) -> bytes:
    """Print an answer.

    Parameters
    ----------
    study, answer
        As for :func:`opinion_page`.

    Returns
    -------
    bytes

    Raises
    ------
    MissingPackage
        Where WeasyPrint is not installed.
    """
    if not can_print():
        raise MissingPackage(
            "what writes PDF is not installed",
            remedy="pip install 'spinefx[pdf]' (it needs Pango), or print the HTML page from the browser.",
        )
    import weasyprint

    page: Any = weasyprint.HTML(string=_render(study, answer, style=STYLE), base_url=None)
    # Pictures and style are in the page itself: nothing is fetched.
    printed: bytes = page.write_pdf()
    return printed


def _render(study: OpenStudy, answer: Answer, *, style: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spinefx.app", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["picture"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    opinion, scored = answer.opinion, answer.opinion.scored
    stamp = "phantom" if opinion.content["phantom"] else ""
    return environment.get_template("opinion.html").render(
        told=opinion.content,
        given=answer.given,
        title=study.title,
        series=study.opened.series,
        sheet=contact_sheet(scored.lesion, scored.series, scored.stack, stamp=stamp),
        proven=[
            centre_picture(case.patch, scored.stack.settings) for case in opinion.nearest if case.patch is not None
        ],
        maps=[answer.maps[position].to_json() for position in sorted(answer.maps)],
        grid=GRID,
        style=style,
    )
