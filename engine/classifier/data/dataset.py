"""Data sets, named fields and named labels of the same rows, and loaders that cut batches."""
# ruff: noqa: N803  (arguments are named and ordered as Snorkel's users know them)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from itertools import chain
from typing import Any, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from engine.classifier.data.labels import Labels, SliceLabels, own_labels, take
from engine.classifier.rules import FLAG, check_is, plain, whole, wrong_argument
from engine.errors import DatasetError, SettingError, brief, listed, near
from engine.masks.frames import codes_of

Matrix: TypeAlias = Any  # scipy's csr_matrix, which has no types


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A field of a data set that takes memory for what is not zero; a batch of it is dense.

    Batches are those of the dense tensor, to the last bit. 60,000 texts of 30 words over a
    vocabulary of 50,000 take 14 MB instead of 12 GB.

    Parameters
    ----------
    starts
        Where each row's entries begin, and behind the last one where they end, [n + 1].
    columns, values
        Column and value of each entry; no column twice in a row.
    width
        How many columns there are.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> rows = SparseRows.from_scipy(csr_matrix([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]))
    >>> rows.take(torch.tensor([2, 0])).tolist()
    [[0.0, 0.0], [0.0, 2.0]]
    """

    starts: Tensor
    columns: Tensor
    values: Tensor
    width: int

    @classmethod
    def from_scipy(cls, matrix: Matrix) -> Self:
        """Take over a matrix in CSR form, whose entries are shared where they can be."""
        matrix.sum_duplicates()
        starts, columns, values = map(
            torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data)
        )
        return cls(starts.long(), columns, values, matrix.shape[1])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> Tensor:
        return self.take(torch.tensor([row]))[0]

    def take(self, rows: Tensor) -> Tensor:
        """Give some rows as a dense tensor, [k, width], by an index tensor [k]."""
        rows = torch.where(rows < 0, rows + len(self), rows)
        begin = self.starts[rows]  # [k]
        lengths = self.starts[rows + 1] - begin
        ends = lengths.cumsum(0)
        # An entry's place in the batch, and from there its row and its place among all entries.
        row_of = torch.repeat_interleave(lengths)
        entries = torch.arange(len(row_of)) + (begin - ends + lengths)[row_of]
        dense = self.values.new_zeros(len(rows) * self.width)
        dense[row_of * self.width + self.columns[entries]] = self.values[entries]
        return dense.view(len(rows), self.width)

    def parts(self) -> Mapping[str, Tensor]:
        """Give what it is made of, for a fingerprint."""
        names = ("starts", "columns", "values")
        return {name: getattr(self, name) for name in names} | {"width": torch.tensor(self.width)}

    def not_numbers(self) -> list[int]:
        """Give the rows that hold NaN or infinity."""
        entries = (~self.values.isfinite()).nonzero().flatten()
        rows: list[int] = (torch.searchsorted(self.starts, entries, right=True) - 1).tolist()
        return sorted(set(rows))


Batch = tuple[dict[str, Any], Labels]


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
        Label name to a tensor of n labels, classes [n] or class probabilities [n, C]; -1 stands for
        no label.
    keys
        What to call each row in messages; its position where there are none.

    Raises
    ------
    DatasetError
        When a label is not a tensor.
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
        labels = own_labels(self.Y_dict)
        for label, values in labels.items():
            if not isinstance(values, Tensor):
                raise DatasetError(
                    f"label {label!r} is of type {type(values).__name__}, and must be a "
                    "torch.Tensor: wrap it with torch.as_tensor"
                )
        fields = chain(self.X_dict.items(), labels.items())
        lengths = {key: _length(key, values) for key, values in fields}
        if keys is not None:
            lengths["keys"] = _length("keys", keys)
        if len(set(lengths.values())) > 1:
            each = listed([f"{key} has {length:,}" for key, length in lengths.items()])
            raise DatasetError(
                f"the fields and labels of data set {name!r} differ in length: {each}; "
                "give each one value per row"
            )
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


def with_masks(
    dataset: DictDataset, task: str, S: np.recarray[Any, Any], heads: Sequence[str]
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
    heads
        The model's slices, whose columns come first, in this order.

    Raises
    ------
    DatasetError
        When the data set has no labels for the task.
        When S is not as long as the data set.
        When S lacks a slice of the model.
    MaskError
        When a mask holds another value.
    """
    if getattr(getattr(S, "dtype", None), "names", None) is None:
        how = ": PandasSFApplier(sfs).apply(df) gives one, df.to_records(index=False) too"
        raise wrong_argument("S", S, "a numpy record array with a mask per slice", how)
    if task not in dataset.Y_dict:
        raise DatasetError(
            f"data set {dataset.name!r} has no labels for task {task!r}; its labels are "
            f"{listed(list(dataset.Y_dict)) or 'none'}: name them so in Y_dict, or give the model "
            "their task_name"
        )
    if len(S) != len(dataset):
        raise DatasetError(
            f"S has {len(S):,} rows and data set {dataset.name!r} has {len(dataset):,}: apply the "
            "slicing functions to the rows of this data set"
        )
    columns = {name: codes_of(name, S[name]) for name in S.dtype.names or ()}
    columns.setdefault("base", np.ones(len(S), np.int8))
    if missing := [name for name in heads if name not in columns]:
        raise DatasetError(
            f"S has no mask for {listed([repr(name) for name in missing])}, which the model has; "
            f"its masks are {listed(list(columns))}: apply the slicing functions of the model's "
            "slices"
        )
    names = tuple(dict.fromkeys(chain(heads, columns)))
    masks = torch.from_numpy(np.stack([columns[name] for name in names], axis=1))
    # Masks and labels are compared, so both lie on the host; fields stay where they are.
    labels = {label: values.cpu() for label, values in own_labels(dataset.Y_dict).items()}
    sliced = SliceLabels(labels, task, names, masks, torch.arange(len(dataset)))
    return DictDataset(dataset.name, dataset.split, dataset.X_dict, sliced, dataset.keys)


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
        raise wrong_argument(f"field {field!r}", values, "one value per row") from None


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


_OURS = ("self", "dataset", "collate_fn")
_RULES = {
    "batch_size": whole(1), "num_workers": whole(0),
    "shuffle": FLAG, "drop_last": FLAG, "persistent_workers": FLAG,
}  # fmt: skip


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
        if problem := _problem(settings):
            raise SettingError(f"the loader of data set {dataset.name!r}: {problem}")
        if not len(dataset):  # torch can't shuffle an empty data set
            settings["shuffle"] = None
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


def _problem(settings: Mapping[str, Any]) -> str | None:
    """Say what torch refuses with a trace, or not at all."""
    known = [name for name in signature(DataLoader.__init__).parameters if name not in _OURS]
    for name in settings:
        if name == "collate_fn":
            return "it makes its batches itself: no collate_fn"
        if name not in known:
            return f"no setting {name!r}{near(name, known)}"
    for name, rule in _RULES.items():
        value = settings.get(name, 0 if name == "num_workers" else None)
        if value is None and name != "num_workers":  # torch's default
            continue
        if end := rule.broken(plain(value)):
            return f"{name} is {brief(value)}{end}"
    if settings.get("batch_size", 1) is None and settings.get("batch_sampler") is None:
        return "batch_size is None, and rows come in batches"
    return None


def _as_is(batch: Any) -> Any:
    return batch
