"""Rows as tensors: data sets of fields and labels, and loaders that cut them into batches."""
# ruff: noqa: N803  (arguments are named and ordered as Snorkel's users know them)

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import signature
from itertools import chain, repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from engine.arguments import is_whole
from engine.classifier.data.sparse import SparseRows
from engine.errors import (
    ArgumentTypeError,
    FieldLengthsError,
    LabelRangeError,
    LabelTypeError,
    LoaderSettingError,
    MaskLengthError,
    NotANumberFeatureError,
    SliceMasksMissingError,
    SoftLabelShapeError,
    SoftLabelValueError,
    TaskLabelsMissingError,
    brief,
    near,
)
from engine.masks.codes import codes_of

# Gradients as large as the weights are allocated anew at every step; without huge pages the
# page faults cost more than the arithmetic (385 against 100 ms a step at 90 M weights). torch
# reads this at its first allocation, so it works when engine is imported before one is made.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

Labels = Mapping[str, Tensor]
Batch = tuple[dict[str, Any], Labels]

INACTIVE = -1
_SHOWN = 5  # rows that a message names
_SUMS_TO_ONE = 1e-3  # how far soft labels' sum may be from 1: float16 probabilities still pass


def ind_label(task: str, name: str) -> str:
    """Name the label that says whether a row is in a slice.

    >>> ind_label("task", "short")
    'task_slice:short_ind'
    """
    return f"{task}_slice:{name}_ind"


def pred_label(task: str, name: str) -> str:
    """Name the label that holds a task's label inside a slice only.

    >>> pred_label("task", "short")
    'task_slice:short_pred'
    """
    return f"{task}_slice:{name}_pred"


def is_pred_label(task: str, label: str) -> bool:
    """Say whether a label is some slice's prediction label; only its two ends count.

    >>> is_pred_label("task", "task_slice:indoor_pred"), is_pred_label("task", "indoor_pred")
    (True, False)
    """
    return label.startswith(f"{task}_slice:") and label.endswith("_pred")


def hard(labels: Tensor) -> Tensor:
    """Give classes [n] int64: labels as they are, of soft ones [n, C] the likeliest class.

    >>> hard(torch.tensor([[0.2, 0.8], [-1.0, -1.0]])).tolist()
    [1, -1]
    """
    if labels.dim() == 1:
        return labels.long()
    return torch.where(labels[:, 0] < 0, INACTIVE, labels.argmax(-1))


def check_is(name: str, value: object, kind: type, hint: str = "") -> None:
    """See that an argument is of its type.

    Raises
    ------
    ArgumentTypeError
    """
    if not isinstance(value, kind):
        wanted = {"Mapping": "a dict", "str": "text"}.get(kind.__name__, f"a {kind.__name__}")
        raise ArgumentTypeError(name, value, wanted, hint)


def check_loaders(loaders: object) -> None:
    """See that an argument is a list of loaders.

    Raises
    ------
    ArgumentTypeError
    """
    hint = ": write [dataloader]" if isinstance(loaders, DictDataLoader) else ""
    if hint or not isinstance(loaders, Iterable) or isinstance(loaders, str | Mapping):
        raise ArgumentTypeError("dataloaders", loaders, "a list of DictDataLoaders", hint)
    for i, loader in enumerate(loaders):
        check_is(f"dataloaders[{i}]", loader, DictDataLoader)


@dataclass(frozen=True, eq=False)
class SliceLabels(Mapping[str, Tensor]):
    """A task's labels and its slices' masks, seen as one label per slice head.

    The masks stay one tensor, so that cutting a batch costs the same for 6 and for 6,000 slices;
    the labels ``task_slice:<name>_ind`` and ``task_slice:<name>_pred`` are columns made when
    asked for.

    Parameters
    ----------
    given
        The data set's own labels, each of n rows, the task's among them.
    task
        The task's name.
    names
        Slice names, one per column of ``masks``.
    masks
        [n, slices] int8: 1 is in the slice, 0 is out, -1 could not be decided.
    rows
        [n] positions in the data set that the rows were cut from, where known.

    Examples
    --------
    >>> masks = torch.tensor([[1], [0], [-1]], dtype=torch.int8)
    >>> labels = SliceLabels({"task": torch.tensor([1, 0, 1])}, "task", ("short",), masks)
    >>> labels["task_slice:short_pred"].tolist()
    [1, -1, -1]
    """

    given: Labels
    task: str
    names: tuple[str, ...]
    masks: Tensor
    rows: Tensor | None = None

    @property
    def indicators(self) -> Tensor:
        """Whether each row is in each slice, [n, slices] int64, -1 where undecided."""
        return self.masks.long()

    @property
    def predictors(self) -> Tensor:
        """The task's class where the row is in the slice, else -1, [n, slices] int64."""
        return torch.where(self.masks == 1, hard(self.given[self.task])[:, None], INACTIVE)

    def to(self, device: torch.device) -> SliceLabels:
        """Give them on another device: one byte per mask travels, not two whole numbers."""
        given = {label: moved(values, device) for label, values in self.given.items()}
        return replace(self, given=given, masks=moved(self.masks, device))

    def __getitem__(self, label: str) -> Tensor:
        if label in self.given:
            return self.given[label]
        kind, column = self._columns[label]
        of_slice = SliceLabels(self.given, self.task, (), self.masks[:, column, None])
        return (of_slice.indicators if kind == "ind" else of_slice.predictors)[:, 0]

    def __iter__(self) -> Iterator[str]:
        return chain(self.given, self._columns)

    def __len__(self) -> int:
        return len(self.given) + len(self._columns)

    @cached_property
    def _columns(self) -> dict[str, tuple[str, int]]:
        ind = {ind_label(self.task, name): ("ind", c) for c, name in enumerate(self.names)}
        return ind | {pred_label(self.task, n): ("pred", c) for c, n in enumerate(self.names)}


def moved(values: Any, device: torch.device) -> Any:
    """Put a tensor on a device without waiting for it; what is no tensor stays as it is.

    A GPU takes over what is pinned while the host goes on. The other way nothing says when the
    values have come, so that the host waits.
    """
    if not isinstance(values, Tensor) or values.device == device:
        return values
    to_gpu = device.type == "cuda"
    if to_gpu and values.device.type == "cpu" and values.layout == torch.strided:
        values = values.pin_memory()
    return values.to(device, non_blocking=to_gpu)


def take(labels: Labels, rows: Tensor) -> Labels:
    """Cut some rows out of every label, by an index tensor [k]."""
    if isinstance(labels, SliceLabels):
        came_from = None if labels.rows is None else labels.rows[rows]
        given = take(labels.given, rows)
        return SliceLabels(given, labels.task, labels.names, labels.masks[rows], came_from)
    return {label: values[rows] for label, values in labels.items()}


def concatenate(parts: Sequence[Labels]) -> Labels:
    """Put the labels of consecutive batches together again."""
    first = parts[0]
    if isinstance(first, SliceLabels):
        of_slices = [part for part in parts if isinstance(part, SliceLabels)]
        given = concatenate([part.given for part in of_slices])
        masks = torch.cat([part.masks for part in of_slices])
        rows = [part.rows for part in of_slices if part.rows is not None]
        came_from = torch.cat(rows) if len(rows) == len(of_slices) else None
        return SliceLabels(given, first.task, first.names, masks, came_from)
    return {label: torch.cat([part[label] for part in parts]) for label in first}


class DictDataset(Dataset[Batch]):
    """Named fields and named labels of the same rows.

    Parameters
    ----------
    name
        What reports call the data set.
    split
        ``train``, ``valid``, ``test`` or the like; the ``Trainer`` picks its loaders by it.
    X_dict
        Field name to n values: a tensor, numpy's numbers, ``SparseRows``, or any sequence.
    Y_dict
        Label name to a tensor of n labels, classes [n] or class probabilities [n, C]; -1 is no
        label.
    keys
        What to call each row in messages; its position where there are none.

    Raises
    ------
    LabelTypeError
        When a label is not a tensor.
    FieldLengthsError
        When fields and labels differ in length.

    Examples
    --------
    >>> data = DictDataset.from_tensors(torch.eye(3), torch.tensor([0, 1, 1]), "train")
    >>> len(data), data
    (3, DictDataset(name=SliceDataset, X_keys=['input_data'], Y_keys=['task']))
    """

    def __init__(
        self,
        name: str,
        split: str,
        X_dict: Mapping[str, Any],
        Y_dict: Labels,
        keys: Sequence[Any] | None = None,
    ) -> None:
        check_is("name", name, str)
        check_is("split", split, str)
        check_is("X_dict", X_dict, Mapping, ": name the fields, {'input_data': values}")
        check_is("Y_dict", Y_dict, Mapping, ": name the labels, {'task': labels}")
        self.name = name
        self.split = split
        self.keys = keys
        self.X_dict = {field: _as_tensor(values) for field, values in X_dict.items()}
        self.Y_dict = Y_dict if isinstance(Y_dict, SliceLabels) else dict(Y_dict)
        given = Y_dict.given if isinstance(Y_dict, SliceLabels) else self.Y_dict
        for label, values in given.items():
            if not isinstance(values, Tensor):
                raise LabelTypeError(label, type(values))
        fields = chain(self.X_dict.items(), given.items())
        lengths = {key: _length(key, values) for key, values in fields}
        if keys is not None:
            lengths["keys"] = _length("keys", keys)
        if len(set(lengths.values())) > 1:
            raise FieldLengthsError(name, lengths)
        self._rows = next(iter(lengths.values()), 0)

    @classmethod
    def from_tensors(
        cls,
        X_tensor: Tensor,
        Y_tensor: Tensor,
        split: str,
        input_data_key: str = "input_data",
        task_name: str = "task",
        dataset_name: str = "SliceDataset",
        keys: Sequence[Any] | None = None,
    ) -> DictDataset:
        """Make a data set of one field and one label.

        Parameters
        ----------
        X_tensor
            Input, [n, ...].
        Y_tensor
            Labels, [n].
        split
            The split's name.
        input_data_key
            The field's name.
        task_name
            The label's name.
        dataset_name
            The data set's name.
        keys
            What to call each row in messages.
        """
        check_is("X_tensor", X_tensor, Tensor, ": wrap it with torch.as_tensor")
        return cls(dataset_name, split, {input_data_key: X_tensor}, {task_name: Y_tensor}, keys)

    def called(self, rows: Iterable[int]) -> list[str]:
        """Name rows for a message: by key where the data set has keys, else by position."""
        return [f"row {row}" if self.keys is None else str(self.keys[row]) for row in rows]

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, index: int) -> Batch:
        fields = {key: values[index] for key, values in self.X_dict.items()}
        return fields, {label: values[index] for label, values in self.Y_dict.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Give a whole batch at once, which is what a ``DataLoader`` asks for first."""
        rows = torch.as_tensor(indices)
        fields = {key: _rows(values, rows) for key, values in self.X_dict.items()}
        return fields, take(self.Y_dict, rows)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name}, X_keys={list(self.X_dict)}, "
            f"Y_keys={list(self.Y_dict)})"
        )


class DictDataLoader(DataLoader[Batch]):
    """A torch ``DataLoader`` of a ``DictDataset``: yields ``(X_dict, Y_dict)`` per batch.

    A batch is cut by one index tensor per field, not put together row by row. Fields that are
    no tensors come as lists; lists of tensors are padded with zeros to the longest.

    Parameters
    ----------
    dataset
        The rows.
    **settings
        What ``torch.utils.data.DataLoader`` takes: batch_size, shuffle, num_workers, drop_last,
        generator and so on, but no collate_fn. ``pin_memory`` is taken and not needed: the model
        pins what it moves to a GPU.

    Examples
    --------
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
        except (TypeError, ValueError) as e:  # what goes with what is torch's to say
            raise LoaderSettingError(dataset.name, str(e).partition("\n")[0]) from e


def with_masks(
    dataset: DictDataset, task: str, S: np.recarray[Any, Any], known: Sequence[str]
) -> DictDataset:
    """Give a copy of a data set whose labels include those of slices.

    Parameters
    ----------
    dataset
        Rows with the task's labels; it stays as it is.
    task
        The task's name.
    S
        One field per slice, n values each: 1 or True is in, 0 or False is out, -1 or null is
        undecided.
        The slice ``base``, where absent, holds every row.
    known
        The slices whose columns come first, in this order.

    Raises
    ------
    TaskLabelsMissingError
        When the data set has no labels for the task.
    MaskLengthError
        When S is not as long as the data set.
    SliceMasksMissingError
        When S lacks a known slice.
    MaskValueError
        When a mask holds another value.
    """
    if getattr(getattr(S, "dtype", None), "names", None) is None:
        how = ": PandasSFApplier(sfs).apply(df) gives one, df.to_records(index=False) too"
        raise ArgumentTypeError("S", S, "a numpy record array with a mask per slice", how)
    if task not in dataset.Y_dict:
        raise TaskLabelsMissingError(task, dataset.name, list(dataset.Y_dict))
    if len(S) != len(dataset):
        raise MaskLengthError(len(S), dataset.name, len(dataset))
    columns = {name: codes_of(name, S[name]) for name in S.dtype.names or ()}
    columns.setdefault("base", np.ones(len(S), np.int8))
    if missing := [name for name in known if name not in columns]:
        raise SliceMasksMissingError(missing, list(columns))
    names = tuple(dict.fromkeys(chain(known, columns)))
    masks = torch.from_numpy(np.stack([columns[name] for name in names], axis=1))
    labels = dataset.Y_dict
    given = labels.given if isinstance(labels, SliceLabels) else labels
    # Masks and labels are compared, so they are kept on one device; fields are where they were.
    on_host = {label: values.cpu() for label, values in given.items()}
    sliced = SliceLabels(on_host, task, names, masks, torch.arange(len(dataset)))
    return DictDataset(dataset.name, dataset.split, dataset.X_dict, sliced, dataset.keys)


def check_labels(dataset: DictDataset, task: str, n_classes: int) -> None:
    """See that a task's labels are classes, or probabilities of the classes.

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
    """See that no feature is NaN or infinite, which turns weights into NaN at the first step.

    Raises
    ------
    NotANumberFeatureError
        Naming the field and the rows.
    """
    for field, values in dataset.X_dict.items():
        if rows := _not_numbers(values):
            called = map(_with_column, repeat(values), rows[:_SHOWN], dataset.called(rows[:_SHOWN]))
            raise NotANumberFeatureError(field, dataset.name, len(rows), list(called))


def _check_loader(dataset: DictDataset, settings: dict[str, Any]) -> None:
    """See what torch says in a trace, or not at all."""
    known = [name for name in signature(DataLoader.__init__).parameters if name not in _OURS]
    for name in settings:
        if name == "collate_fn":
            raise LoaderSettingError(dataset.name, "it makes its batches itself: no collate_fn")
        if name not in known:
            raise LoaderSettingError(dataset.name, f"no setting {name!r}{near(name, known)}")
    for name, least in (("batch_size", 1), ("num_workers", 0)):
        value = settings.get(name, least)
        if (not is_whole(value) or value < least) and not (name == "batch_size" and value is None):
            end = f"and must be a whole number of at least {least}"
            raise LoaderSettingError(dataset.name, f"{name} is {brief(value)}, {end}")
    for name in ("shuffle", "drop_last", "persistent_workers"):
        value = settings.get(name)
        if not (value is None or isinstance(value, bool | np.bool_)):
            end = "and must be True or False"
            raise LoaderSettingError(dataset.name, f"{name} is {brief(value)}, {end}")
    if settings.get("batch_size", 1) is None and settings.get("batch_sampler") is None:
        raise LoaderSettingError(dataset.name, "batch_size is None, and rows come in batches")
    if not len(dataset):  # torch can't shuffle no rows
        settings["shuffle"] = None


_OURS = ("self", "dataset", "collate_fn")


def _as_tensor(values: Any) -> Any:
    """Give numbers of numpy as a tensor, which batches are cut from at once."""
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf" or not values.ndim:
        return values
    return torch.from_numpy(np.require(values, requirements="W"))


def _length(field: str, values: Any) -> int:
    """Return how many rows a field has."""
    try:
        return len(values)
    except TypeError:
        raise ArgumentTypeError(f"field {field!r}", values, "one value per row") from None


def _with_column(values: Any, row: int, called: str) -> str:
    """Name a row with the first of its columns that holds no number, and what it holds."""
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
    found: list[int] = suspects[~flat[suspects].isfinite().all(1)].tolist()
    return found


def _rows(values: Any, rows: Tensor) -> Any:
    if isinstance(values, Tensor):
        return values[rows]
    if isinstance(values, SparseRows):
        return values.take(rows)
    items = [values[row] for row in rows.tolist()]
    if not isinstance(items[0], Tensor):
        return items
    if items[0].dim() == 0:
        return torch.stack(items)
    return torch.nn.utils.rnn.pad_sequence(items, batch_first=True)


def _as_is(batch: Any) -> Any:
    return batch
