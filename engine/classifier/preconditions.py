"""What is checked before the first step: splits, rows, labels, and places to write to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from engine.classifier.data.dataset import DictDataLoader
from engine.classifier.data.labels import INACTIVE, classes_of
from engine.classifier.network import no_row_weights
from engine.classifier.settings import TrainerConfig, trainer_setting
from engine.errors import DatasetError, listed


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
    names = [loader.dataset.name for loader in train]
    if not any(len(loader) for loader in train):
        dropped = any(len(loader.dataset) for loader in train)
        few = (
            "it has fewer rows than a batch, and drop_last is set" if dropped else "it has no rows"
        )
        raise DatasetError(
            f"nothing can be learned from data set {listed([repr(d) for d in names], 5)}: {few}"
        )


def unlearnable(train: Sequence[DictDataLoader], task: str) -> str | None:
    """Say that the labels of all rows leave nothing to tell apart; None where they don't."""
    classes: set[int] = set()
    for loader in train:
        labels = loader.dataset.Y_dict
        classes |= set(torch.unique(classes_of(labels[task])).tolist() if task in labels else ())
    classes.discard(INACTIVE)
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
