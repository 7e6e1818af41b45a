"""The networks: evidence maps of fourteen signs from two views, and the state of any other vertebra."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spinefx.signs.inference import SEEN_SIGNS, STATES
from spinefx.signs.views import BODY

__all__ = ["Encoder", "SignNetwork", "VertebraNetwork", "pooled"]

_WIDTHS = ((24, 2), (48, 2), (48, 1), (80, 2), (80, 1), (80, 1))


class Encoder(nn.Sequential):
    """Six convolutions that shrink a view eightfold, and one map for each answer.

    Parameters
    ----------
    answers : int
    """

    def __init__(self, answers: int) -> None:
        layers: list[nn.Module] = []
        inputs = len(BODY.channels)
        for width, step in _WIDTHS:
            layers += [nn.Conv2d(inputs, width, 3, step, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        super().__init__(*layers, nn.Dropout2d(0.2), nn.Conv2d(inputs, answers, 1))


class SignNetwork(nn.Module):
    """Evidence for each sign, in log-odds: from the body, from the surroundings, added.

    Notes
    -----
    Every position of every slice votes. How votes are pooled is learned for each sign: between their mean, for signs
    that fill the body, and their maximum, for signs that a few pixels show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body, self.surroundings = Encoder(len(SEEN_SIGNS)), Encoder(len(SEEN_SIGNS))
        self.sharpness = nn.Parameter(torch.zeros(2, len(SEEN_SIGNS)))

    def forward(self, body: Tensor, surroundings: Tensor) -> Tensor:
        """Compute the log-odds of each sign.

        Parameters
        ----------
        body : Tensor, shape (case, slice, channel, 64, 64)
        surroundings : Tensor, shape (case, slice, channel, 96, 96)

        Returns
        -------
        Tensor, shape (case, sign)
            In the order of :data:`SEEN_SIGNS`.
        """
        total = pooled(_by_case(self.body, body), self.sharpness[0])
        return total + pooled(_by_case(self.surroundings, surroundings), self.sharpness[1])


class VertebraNetwork(nn.Module):
    """The state of a vertebra, as logits of :data:`STATES`."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Encoder(len(STATES))
        self.sharpness = nn.Parameter(torch.zeros(1, len(STATES)))

    def forward(self, slices: Tensor) -> Tensor:
        """Compute the logits of each state.

        Parameters
        ----------
        slices : Tensor, shape (vertebra, slice, channel, 64, 64)

        Returns
        -------
        Tensor, shape (vertebra, state)
        """
        return pooled(_by_case(self.body, slices), self.sharpness[0])


def _by_case(encoder: nn.Module, slices: Tensor) -> Tensor:
    """Return all votes of a case, shape (case, answer, vote)."""
    maps: Tensor = encoder(slices.flatten(0, 1))
    joined = maps.reshape(*slices.shape[:2], maps.shape[1], -1).transpose(1, 2)
    return joined.flatten(2)


def pooled(votes: Tensor, sharpness: Tensor) -> Tensor:
    """Pool votes: their mean where the sharpness is far below zero, nearly their maximum where it is far above.

    Parameters
    ----------
    votes : Tensor, shape (case, answer, vote)
    sharpness : Tensor, shape (answer,)

    Returns
    -------
    Tensor, shape (case, answer)
    """
    scale = functional.softplus(sharpness).clamp(min=1e-3)[:, None]
    counted = torch.log(torch.tensor(float(votes.shape[-1])))
    return (torch.logsumexp(votes.float() * scale, -1) - counted) / scale[:, 0]
