"""What is refused of a data set before anything is trained on it, by row and column."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from engine.classifier.data.dataset import DictDataset
from engine.classifier.data.labels import INACTIVE
from engine.classifier.data.sparse import SparseRows
from engine.errors import DatasetError

_SHOWN = 5  # rows that a message names

_SUMS_TO_ONE = 1e-3  # how far soft labels' sum may be from 1: float16 probabilities still pass


def check_labels(dataset: DictDataset, task: str, n_classes: int) -> None:
    """Check that a task's labels are classes, or probabilities of the classes.

    Raises
    ------
    DatasetError
        When a label is neither a class nor -1.
        When soft labels are not one non-negative number per class that sum to 1, or all -1.
    """
    labels = dataset.Y_dict[task]
    if labels.dim() == 1:
        whole = labels.long()
        wrong = ((whole != labels) | (whole < INACTIVE) | (whole >= n_classes)).nonzero()
        if len(wrong):
            row = int(wrong[0])
            (called,) = dataset.called([row])
            raise DatasetError(
                f"label {task!r} of data set {dataset.name!r} is {labels[row].item():g} at "
                f"{called}; labels are 0 to {n_classes - 1} (n_classes={n_classes}), or -1 for none"
            )
        return
    if tuple(labels.shape) != (len(dataset), n_classes) or not labels.is_floating_point():
        raise DatasetError(
            f"label {task!r} of data set {dataset.name!r} is {list(labels.shape)} of "
            f"{labels.dtype}; soft labels are one probability per row and class, "
            f"{[len(dataset), n_classes]} floats"
        )
    shares = (labels >= 0).all(1) & ((labels.sum(1) - 1).abs() < _SUMS_TO_ONE)
    wrong = (~(shares | (labels == INACTIVE).all(1))).nonzero()
    if len(wrong):
        row = int(wrong[0])
        (called,) = dataset.called([row])
        numbers = ", ".join(f"{value:g}" for value in labels[row].tolist())
        raise DatasetError(
            f"label {task!r} of data set {dataset.name!r} is [{numbers}] at {called}; a soft label "
            "is probabilities that sum to 1, or all -1 for none"
        )


def check_features(dataset: DictDataset) -> None:
    """Check that no feature is NaN or infinite, which turns weights into NaN at the first step.

    Raises
    ------
    DatasetError
        Naming the field and the rows.
    """
    for field, values in dataset.X_dict.items():
        if rows := _not_numbers(values):
            called = map(_with_column, repeat(values), rows[:_SHOWN], dataset.called(rows[:_SHOWN]))
            n = len(rows)
            count = "1 row" if n == 1 else f"{n:,} rows"
            more = f" and {n - _SHOWN:,} more" if n > _SHOWN else ""
            raise DatasetError(
                f"field {field!r} of data set {dataset.name!r} is NaN or infinite in {count}: "
                f"{', '.join(called)}{more}; fill them, or leave these rows out"
            )


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
