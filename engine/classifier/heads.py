"""Heads of all slices as a few stacked tensors, what they give for a batch, and who is in charge.

The softmax of all experts' scores weighs them for a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from engine.plain import plain

Kind = Literal["master", "predictor", "indicator"]
BINARY = 2


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


def log_odds(logits: Tensor) -> Tensor:
    """By how much the second of two classes leads, [...] of [..., 2] logits.

    Taken apart in one operation, whose gradient is one too; two indices have a gradient of five.
    """
    first, second = logits.unbind(-1)
    return second - first


def _second_of_two(logits: Tensor) -> Tensor:
    """P(class 1) of [..., 2] logits; a softmax over two costs several times as much."""
    return logits.softmax(-1)[..., 1] if plain() else log_odds(logits).sigmoid()


def _probability_times_confidence(indicators: Tensor, predictors: Tensor) -> Tensor:
    binary = predictors.shape[-1] == BINARY
    confidence = _second_of_two(predictors) if binary else predictors.softmax(-1).amax(-1)
    return _second_of_two(indicators) * confidence


def _margin(predictors: Tensor) -> Tensor:
    """By how much the best class leads the next: the paper's |P| when there are two."""
    best = predictors.topk(2, dim=-1).values
    return best[..., 0] - best[..., 1]


# (indicator logits [B, S, 2], predictor logits [B, S, C]) -> scores [B, S], of which the softmax
# is the attention. "snorkel" is that of Snorkel 0.10's SliceCombinerModule for two classes; for
# more it takes the largest probability, as Snorkel did before it refused them. "paper" is
# softmax(Q + |P|) of Chen et al. 2019, where Q is the log-odds of being in the slice; the rest are
# its two parts alone and neither of them.
ATTENTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "snorkel": _probability_times_confidence,
    "paper": lambda indicators, predictors: log_odds(indicators) + _margin(predictors),
    "indicator": lambda indicators, predictors: log_odds(indicators),
    "confidence": lambda indicators, predictors: _margin(predictors),
    "uniform": lambda indicators, predictors: torch.zeros_like(indicators[..., 0]),
}
