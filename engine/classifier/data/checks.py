"""What is refused of a data set before anything is trained on it, by row and column."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from engine.classifier.data.dataset import DictDataset
from engine.classifier.data.labels import INACTIVE
from engine.classifier.data.sparse import SparseRows
from engine.errors import (
    LabelRangeError,
    NotANumberFeatureError,
    SoftLabelShapeError,
    SoftLabelValueError,
)

_SHOWN = 5  # rows that a message names

_SUMS_TO_ONE = 1e-3  # how far soft labels' sum may be from 1: float16 probabilities still pass


def check_labels(dataset: DictDataset, task: str, n_classes: int) -> None:
    """Check that a task's labels are classes, or probabilities of the classes.

    Raises
    ------
    LabelRangeError
        When a label is neither a class nor -1.
    SoftLabelShapeError, SoftLabelValueError
        When soft labels are not one non-negative number per class that sum to 1, or all -1.
    """
    labels = dataset.Y_dict[task]
    if labels.dim() == 1:
        whole = labels.long()
        wrong = ((whole != labels) | (whole < INACTIVE) | (whole >= n_classes)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            (called,) = dataset.called([row])
            raise LabelRangeError(task, dataset.name, labels[row].item(), called, n_classes)
        return
    if tuple(labels.shape) != (len(dataset), n_classes) or not labels.is_floating_point():
        raise SoftLabelShapeError(
            task, dataset.name, tuple(labels.shape), str(labels.dtype), (len(dataset), n_classes)
        )
    shares = (labels >= 0).all(1) & ((labels.sum(1) - 1).abs() < _SUMS_TO_ONE)
    wrong = (~(shares | (labels == INACTIVE).all(1))).nonzero()
    if len(wrong):
        row = int(wrong[0])
        (called,) = dataset.called([row])
        raise SoftLabelValueError(task, dataset.name, labels[row].tolist(), called)


def check_features(dataset: DictDataset) -> None:
    """Check that no feature is NaN or infinite, which turns weights into NaN at the first step.

    Raises
    ------
    NotANumberFeatureError
        Naming the field and the rows.
    """
    for field, values in dataset.X_dict.items():
        if rows := _not_numbers(values):
            called = map(_with_column, repeat(values), rows[:_SHOWN], dataset.called(rows[:_SHOWN]))
            raise NotANumberFeatureError(field, dataset.name, len(rows), list(called))


def _with_column(values: Any, row: int, called: str) -> str:
    """Name a row with its first column that holds no number, and what is there."""
    cells = values[row].flatten()
    at = int((~cells.isfinite()).nonzero()[0])
    place = f" in column {at}" if len(cells) > 1 else ""
    return f"{called} ({cells[at].item()}{place})"


def _not_numbers(values: Any) -> list[int]:
    if isinstance(values, SparseRows):
        return values.not_numbers()
    dense = isinstance(values, Tensor) and values.layout == torch.strided
    if not dense or not values.is_floating_point() or not len(values):
        return []
    flat = values.reshape(len(values), -1)
    # A sum is not finite if a term isn't: one pass, and no mask as large as the features.
    suspects = (~flat.sum(1).isfinite()).nonzero().flatten()
    rows: list[int] = suspects[~flat[suspects].isfinite().all(1)].tolist()
    return rows
