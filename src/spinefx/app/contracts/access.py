"""Signing in, and who is signed in."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from spinefx.app.contracts.base import RequestBody, ResponseBody
from spinefx.app.users import Role

__all__ = ["CurrentUser", "SignInRequest", "SignedIn"]


class SignInRequest(RequestBody):
    """The token that an editor handed out."""

    model_config = ConfigDict(strict=True)
    token: str = Field(min_length=1, max_length=200)


class SignedIn(ResponseBody):
    """The code of the user who has just signed in; never a name."""

    code: str


class CurrentUser(ResponseBody):
    """Who is signed in, and what they are looking at.

    Parameters
    ----------
    code : str
        Never a name.
    roles : list of Role
    signed_in : bool
        Whether the user came with a token, and so can sign out.
    workspace : str
        Name of the workspace's folder.
    phantom : bool
        Whether every case of the workspace is a phantom.
    version : str
        Of spinefx.
    notice : str
        What every page must say of itself.
    """

    code: str
    roles: list[Role]
    signed_in: bool
    workspace: str
    phantom: bool
    version: str
    notice: str
