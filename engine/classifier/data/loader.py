"""Loaders that cut data sets into batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from engine.arguments import is_whole
from engine.classifier.data.dataset import Batch, DictDataset
from engine.classifier.rules import check_is, wrong_argument
from engine.errors import SettingError, brief, near

_OURS = ("self", "dataset", "collate_fn")


class DictDataLoader(DataLoader[Batch]):
    """A torch ``DataLoader`` of a ``DictDataset``: yields ``(X_dict, Y_dict)`` per batch.

    A batch is cut by one index tensor per field, not put together row by row. Other fields
    than tensors come as lists; lists of tensors are padded with zeros to the longest.

    Parameters
    ----------
    dataset
        The rows.
    **settings
        What ``torch.utils.data.DataLoader`` takes: batch_size, shuffle, num_workers, drop_last,
        generator and so on, but no collate_fn. ``pin_memory`` is ignored: the model pins what it
        moves to a GPU.

    Examples
    --------
    >>> import torch
    >>> data = DictDataset.from_tensors(torch.eye(3), torch.tensor([0, 1, 1]), "train")
    >>> [labels["task"].tolist() for _, labels in DictDataLoader(data, batch_size=2)]
    [[0, 1], [1]]
    """

    dataset: DictDataset

    def __init__(self, dataset: DictDataset, **settings: Any) -> None:
        check_is("dataset", dataset, DictDataset)
        _check_loader(dataset, settings)
        try:
            # torch would pin slice labels one by one, two for every slice.
            super().__init__(dataset, collate_fn=_as_is, **settings | {"pin_memory": False})
        except (TypeError, ValueError) as e:  # torch knows which settings exclude each other
            problem = str(e).partition("\n")[0]
            raise SettingError(f"the loader of data set {dataset.name!r}: {problem}") from e


def check_loaders(loaders: object) -> None:
    """Check that an argument is a list of loaders.

    Raises
    ------
    InputError
    """
    hint = ": write [dataloader]" if isinstance(loaders, DictDataLoader) else ""
    if hint or not isinstance(loaders, Iterable) or isinstance(loaders, str | Mapping):
        raise wrong_argument("dataloaders", loaders, "a list of DictDataLoaders", hint)
    for i, loader in enumerate(loaders):
        check_is(f"dataloaders[{i}]", loader, DictDataLoader)


def _check_loader(dataset: DictDataset, settings: dict[str, Any]) -> None:
    """Check what torch refuses with a trace, or not at all."""
    known = [name for name in signature(DataLoader.__init__).parameters if name not in _OURS]
    for name in settings:
        if name == "collate_fn":
            raise SettingError(
                f"the loader of data set {dataset.name!r}: it makes its batches itself: no "
                "collate_fn"
            )
        if name not in known:
            raise SettingError(
                f"the loader of data set {dataset.name!r}: no setting {name!r}{near(name, known)}"
            )
    for name, least in (("batch_size", 1), ("num_workers", 0)):
        value = settings.get(name, least)
        if (not is_whole(value) or value < least) and not (name == "batch_size" and value is None):
            end = f"and must be a whole number of at least {least}"
            raise SettingError(
                f"the loader of data set {dataset.name!r}: {name} is {brief(value)}, {end}"
            )
    for name in ("shuffle", "drop_last", "persistent_workers"):
        value = settings.get(name)
        if not (value is None or isinstance(value, bool | np.bool_)):
            end = "and must be True or False"
            raise SettingError(
                f"the loader of data set {dataset.name!r}: {name} is {brief(value)}, {end}"
            )
    if settings.get("batch_size", 1) is None and settings.get("batch_sampler") is None:
        raise SettingError(
            f"the loader of data set {dataset.name!r}: batch_size is None, and rows come in batches"
        )
    if not len(dataset):  # torch can't shuffle an empty data set
        settings["shuffle"] = None


def _as_is(batch: Any) -> Any:
    return batch
