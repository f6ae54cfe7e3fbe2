"""How an expert's score is made; the softmax of all experts' scores weighs them for a row."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.plain import plain

BINARY = 2


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
