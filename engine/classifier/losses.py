"""Cross entropies of many tasks at once, as sums that merge over parts of a batch.

Each function gives, per task: the sum over its active rows, what to divide it by for the mean, and
the number of active rows; all [T], from logits [B, T, K] and labels [B, T].
"""
# ruff: noqa: N812  (F is torch's name for it)

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.classifier.data.labels import INACTIVE
from engine.classifier.heads import BINARY, log_odds
from engine.plain import plain

Sums = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class TaskLosses:
    """The losses of one batch, in the order of the model's ``label_names``.

    Parameters
    ----------
    total
        Their sum, each times its task's weight, a scalar.
    losses
        Mean cross entropy over a task's active rows, [tasks]; 0 where none is active. With
        weights of classes or rows it is the weighted mean.
    counts
        Active rows per task, [tasks].
    """

    total: Tensor
    losses: Tensor
    counts: Tensor


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    row_weights: Tensor | None = None,
) -> Sums:
    """Take labels [B, T] as classes; -1 is inactive. Weights of classes [K] and of rows [B]."""
    active = labels != INACTIVE  # [B, T]
    counts = active.sum(0)  # [T]
    if logits.shape[-1] == BINARY and not plain():
        # log(1 + exp(other - own)): a softmax over two classes costs several times as much.
        other_over_own = log_odds(logits) * (1 - 2 * labels)  # [B, T]
        per_row = torch.where(active, F.softplus(other_over_own, threshold=40.0), 0.0)
    else:
        flat = F.cross_entropy(  # [B * T]
            logits.flatten(0, 1), labels.flatten(), ignore_index=INACTIVE, reduction="none"
        )
        per_row = flat.view(labels.shape)  # [B, T]
    if class_weights is None and row_weights is None:
        return per_row.sum(0), counts.to(per_row), counts
    weights = active.to(per_row)  # [B, T]
    if class_weights is not None:
        weights = class_weights[labels.clamp(min=0)] * weights
    if row_weights is not None:
        weights = row_weights[:, None] * weights
    return (weights * per_row).sum(0), weights.sum(0), counts


def soft_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    soft: Tensor,
    class_weights: Tensor | None = None,
    row_weights: Tensor | None = None,
) -> Sums:
    """Take from labels which rows are active, and from soft [B, C] the classes' shares."""
    active = (labels != INACTIVE).to(soft)  # [B, T]
    shares = soft if class_weights is None else soft * class_weights  # [B, C]
    shares = shares if row_weights is None else shares * row_weights[:, None]
    sums = -torch.einsum("bt,bc,btc->t", active, shares, logits.log_softmax(-1))  # [T]
    return sums, shares.sum(-1) @ active, active.sum(0).long()


def at_least_single(values: Tensor) -> Tensor:
    """Turn half precision into float32: a mean over many rows needs its digits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
