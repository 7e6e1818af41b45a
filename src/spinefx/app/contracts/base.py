"""The two bases of every contract, and the shape of an error."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Acknowledgement", "ErrorMessage", "RequestBody", "ResponseBody"]


class RequestBody(BaseModel):
    """JSON that a page sends: no unknown fields, and no number that is not finite."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ResponseBody(BaseModel):
    """JSON that the server returns: exactly the fields that its contract names, so that nothing else can slip out."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Acknowledgement(ResponseBody):
    """The request was carried out, and there is nothing to return."""


class ErrorMessage(ResponseBody):
    """Why a request was refused.

    Parameters
    ----------
    error : str
        Name of the error, such as ``BoxError``; see :mod:`spinefx.errors`.
    message : str
        What was found, what was expected, and what to do next.
    """

    error: str
    message: str
