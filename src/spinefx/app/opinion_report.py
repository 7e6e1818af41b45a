"""The printable report of a second opinion: one page as HTML, and the same page as PDF."""

from __future__ import annotations

import base64
import functools
from importlib.resources import files
from typing import Any

import jinja2

from spinefx.app.opened import GivenOpinion, OpenStudy
from spinefx.cases.sheet import centre_picture, contact_sheet
from spinefx.errors import MissingPackage
from spinefx.second_opinion.saliency import GRID
from spinefx.vocabulary import RESEARCH_USE_ONLY

__all__ = ["STYLE", "can_print", "opinion_page", "opinion_pdf"]

TEMPLATES = files("spinefx.app") / "templates"
STYLE = (TEMPLATES / "opinion.css").read_text(encoding="utf-8").replace("{notice}", RESEARCH_USE_ONLY)


@functools.cache
def can_print() -> bool:
    """Return whether this machine can write PDF.

    Returns
    -------
    bool
    """
    try:
        import weasyprint  # noqa: F401  # deferred: an extra, and slow to import
    except (ImportError, OSError):  # OSError: Pango is missing
        return False
    return True


def opinion_page(study: OpenStudy, given: GivenOpinion) -> str:
    """Return the report of an opinion as HTML.

    Parameters
    ----------
    study : OpenStudy
    given : GivenOpinion
        With the saliency maps that were requested so far.

    Returns
    -------
    str
        HTML that loads its style sheet from this server.
    """
    return _render(study, given, style="")


def opinion_pdf(study: OpenStudy, given: GivenOpinion) -> bytes:
    """Return the report of an opinion as PDF.

    Parameters
    ----------
    study, given
        As for :func:`opinion_page`.

    Returns
    -------
    bytes

    Raises
    ------
    MissingPackage
        When WeasyPrint is not installed.
    """
    if not can_print():
        raise MissingPackage(
            "WeasyPrint, which writes PDF, is not installed",
            remedy="Run `pip install 'spinefx[pdf]'` (it needs Pango), or print the HTML page from the browser.",
        )
    import weasyprint

    # Pictures and style are part of the page, so nothing is fetched.
    page: Any = weasyprint.HTML(string=_render(study, given, style=STYLE), base_url=None)
    printed: bytes = page.write_pdf()
    return printed


def _render(study: OpenStudy, given: GivenOpinion, *, style: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spinefx.app", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["picture"] = lambda png: f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
    opinion, scored = given.opinion, given.opinion.scored
    stamp = "phantom" if study.phantom else ""
    return environment.get_template("opinion.html").render(
        opinion=opinion.content,
        given=given.given,
        notice=RESEARCH_USE_ONLY,
        title=study.title,
        phantom=study.phantom,
        series=study.opened.series,
        sheet=contact_sheet(scored.lesion, scored.series, scored.stack, stamp=stamp),
        proven=[
            centre_picture(case.patch, scored.stack.settings) for case in opinion.nearest if case.patch is not None
        ],
        maps=[given.maps[position].to_json() for position in sorted(given.maps)],
        grid=GRID,
        style=style,
    )
