"""Heads of all slices as a few stacked tensors, and what they give for a batch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

Kind = Literal["master", "predictor", "indicator"]


@dataclass(frozen=True)
class SliceOutputs:
    """What a forward pass gives for B rows, S slices (``base`` included) and C classes.

    Parameters
    ----------
    logits
        The master head's, [B, C]: the prediction.
    indicators
        Logits of being out of and in each slice, [B, S, 2].
    predictors
        Logits of each slice's expert, [B, S, C].
    attention
        How much each slice's expert weighs for a row, [B, S], summing to 1.
    """

    logits: Tensor
    indicators: Tensor
    predictors: Tensor
    attention: Tensor

    def stacked(self, kind: Kind) -> Tensor:
        """Logits of one kind of head, [B, heads, classes]."""
        stacks = {
            "master": self.logits[:, None],
            "predictor": self.predictors,
            "indicator": self.indicators,
        }
        return stacks[kind]


class StackedLinear(nn.Module):
    """The weights of n linear layers of one shape, drawn one after the other as ``nn.Linear`` does.

    Examples
    --------
    >>> layers = StackedLinear(3, 5, 2)
    >>> layers.weight.shape, layers.bias.shape
    (torch.Size([3, 2, 5]), torch.Size([3, 2]))
    """

    def __init__(self, n: int, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, width_out, width_in))
        self.bias = nn.Parameter(torch.empty(n, width_out))
        for weight, bias in zip(self.weight, self.bias, strict=True):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
            nn.init.uniform_(bias, -1 / math.sqrt(width_in), 1 / math.sqrt(width_in))


def per_head(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply S linear layers at once: [B, D], [S, K, D], [S, K] to [B, S, K]."""
    flat = linear(hidden, weight.flatten(0, 1), bias.flatten())  # [B, S * K]
    return flat.view(len(hidden), *bias.shape)  # [B, S, K]
