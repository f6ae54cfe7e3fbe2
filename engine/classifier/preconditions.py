"""What is checked before the first step: splits, rows, labels, and places to write to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.classifier.data.dataset import DictDataLoader, DictDataset, SparseRows
from engine.classifier.data.labels import INACTIVE, classes_of
from engine.classifier.network import no_row_weights
from engine.classifier.settings import TrainerConfig, trainer_setting
from engine.errors import DatasetError, listed

_SHOWN = 5  # rows that a message names
_SUMS_TO_ONE = 1e-3  # how far soft labels' sum may be from 1: float16 probabilities still pass


def by_split(
    dataloaders: Sequence[DictDataLoader], config: TrainerConfig
) -> tuple[list[DictDataLoader], list[DictDataLoader]]:
    """Return the loaders to train on, and those to validate on.

    Raises
    ------
    DatasetError
        When a loader's split is not known, or none is the train split.
    """
    splits = (config.train_split, config.valid_split, config.test_split)
    for loader in dataloaders:
        if loader.dataset.split not in splits:
            raise DatasetError(
                f"data set {loader.dataset.name!r} is of split {loader.dataset.split!r}, and the "
                f"Trainer knows {listed(splits)}: name the split so, or set train_split, "
                "valid_split or test_split"
            )
    train, valid, _ = ([d for d in dataloaders if d.dataset.split == s] for s in splits)
    if not train:
        raise DatasetError(
            f"no loader is of the train split {config.train_split!r}; the splits given are "
            f"{listed(sorted({d.dataset.split for d in dataloaders})) or 'none'}"
        )
    return train, valid


def check_row_weights(loaders: Sequence[DictDataLoader], name: str | None) -> None:
    """Check that loaders have the field that says what a row counts.

    Raises
    ------
    DatasetError
    """
    for loader in loaders if name is not None else ():
        if name not in loader.dataset.X_dict:
            raise no_row_weights(str(name), list(loader.dataset.X_dict))


def check_rows(train: Sequence[DictDataLoader]) -> None:
    """Check that there is a batch to learn from.

    Raises
    ------
    DatasetError
    """
    if not any(len(loader) for loader in train):
        dropped = any(len(loader.dataset) for loader in train)
        few = (
            "it has fewer rows than a batch, and drop_last is set" if dropped else "it has no rows"
        )
        names = listed([repr(loader.dataset.name) for loader in train], 5)
        raise DatasetError(f"nothing can be learned from data set {names}: {few}")


def unlearnable(train: Sequence[DictDataLoader], task: str) -> str | None:
    """Say that the labels of all rows leave nothing to tell apart; None where they don't."""
    labels = (d.dataset.Y_dict[task] for d in train if task in d.dataset.Y_dict)
    classes = {c for one in labels for c in torch.unique(classes_of(one)).tolist()} - {INACTIVE}
    if not classes:
        return f"no training row has a label of {task!r}: its head learns nothing"
    if len(classes) == 1:
        (only,) = classes
        return f"all training labels of {task!r} are {only}: there is nothing to tell apart"
    return None


def check_places(config: TrainerConfig) -> None:
    """Check that files can be written to their places, and make the folders.

    Raises
    ------
    SettingError
    """
    for name, of_file in (("log", True), ("folder", False), ("tensorboard", False)):
        value = getattr(config, name)
        if value is None:
            continue
        place = Path(value)
        if place.exists() and place.is_dir() is of_file:
            is_one = "which is a folder, and must be a file" if of_file else "which is a file"
            raise trainer_setting(name, place, f", {is_one}")
        try:
            (place.parent if of_file else place).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            end = f", which can't be made: {e.strerror}"
            raise trainer_setting(name, place, end) from e


def check_labels(dataset: DictDataset, task: str, n_classes: int) -> None:
    """Check that a task's labels are classes, or probabilities of the classes.

    Raises
    ------
    DatasetError
        When a label is neither a class nor -1.
        When soft labels are not one non-negative number per class that sum to 1, or all -1.
    """
    labels, soft = dataset.Y_dict[task], dataset.Y_dict[task].dim() > 1
    if not soft:
        whole = labels.long()
        wrong = (whole != labels) | (whole < INACTIVE) | (whole >= n_classes)
    elif tuple(labels.shape) == (len(dataset), n_classes) and labels.is_floating_point():
        shares = (labels >= 0).all(1) & ((labels.sum(1) - 1).abs() < _SUMS_TO_ONE)
        wrong = ~(shares | (labels == INACTIVE).all(1))
    else:
        raise DatasetError(
            f"label {task!r} of data set {dataset.name!r} is {list(labels.shape)} of "
            f"{labels.dtype}; soft labels are one probability per row and class, "
            f"{[len(dataset), n_classes]} floats"
        )
    for row in wrong.nonzero().flatten()[:1].tolist():
        (called,) = dataset.called([row])
        numbers = ", ".join(f"{value:g}" for value in labels[row].flatten().tolist())
        start = f"label {task!r} of data set {dataset.name!r} is"
        if soft:
            raise DatasetError(
                f"{start} [{numbers}] at {called}; a soft label is probabilities that sum to 1, or "
                "all -1 for none"
            )
        raise DatasetError(
            f"{start} {numbers} at {called}; labels are 0 to {n_classes - 1} "
            f"(n_classes={n_classes}), or -1 for none"
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
