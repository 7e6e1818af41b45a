"""Responses that are files, by their media type."""

from __future__ import annotations

from fastapi import Response

__all__ = ["CssResponse", "PdfResponse", "PixelsResponse", "PngResponse", "ZipResponse"]


class PixelsResponse(Response):
    """Stored numbers of one slice, row by row, as 16-bit little-endian integers."""

    media_type = "application/octet-stream"


class PngResponse(Response):
    """A picture."""

    media_type = "image/png"


class CssResponse(Response):
    """A style sheet."""

    media_type = "text/css"


class PdfResponse(Response):
    """A document."""

    media_type = "application/pdf"


class ZipResponse(Response):
    """An archive."""

    media_type = "application/zip"
