"""Labels of rows: classes, or shares of classes, and those that slices' heads learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import torch
from torch import Tensor

Labels = Mapping[str, Tensor]

INACTIVE = -1


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
    """Tell whether a label is some slice's prediction label; only its two ends count.

    >>> is_pred_label("task", "task_slice:indoor_pred"), is_pred_label("task", "indoor_pred")
    (True, False)
    """
    return label.startswith(f"{task}_slice:") and label.endswith("_pred")


def classes_of(labels: Tensor) -> Tensor:
    """Give classes [n] int64: classes as they are, of soft labels [n, C] the likeliest class.

    >>> classes_of(torch.tensor([[0.2, 0.8], [-1.0, -1.0]])).tolist()
    [1, -1]
    """
    if labels.dim() == 1:
        return labels.long()
    return torch.where(labels[:, 0] < 0, INACTIVE, labels.argmax(-1))


@dataclass(frozen=True, eq=False)
class SliceLabels(Mapping[str, Tensor]):
    """A task's labels and its slices' masks, seen as one label per slice head.

    The masks stay one tensor, so that cutting a batch costs the same for 6 and for 6,000 slices;
    the labels ``task_slice:<name>_ind`` and ``task_slice:<name>_pred`` are computed on request.

    Parameters
    ----------
    labels
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

    labels: Labels
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
        return torch.where(self.masks == 1, classes_of(self.labels[self.task])[:, None], INACTIVE)

    def to(self, device: torch.device) -> SliceLabels:
        """Give them on another device: one byte per mask travels, not two whole numbers."""
        labels = {label: moved(values, device) for label, values in self.labels.items()}
        return replace(self, labels=labels, masks=moved(self.masks, device))

    def __getitem__(self, label: str) -> Tensor:
        if label in self.labels:
            return self.labels[label]
        kind, column = self._columns[label]
        of_slice = SliceLabels(self.labels, self.task, (), self.masks[:, column, None])
        return (of_slice.indicators if kind == "ind" else of_slice.predictors)[:, 0]

    def __iter__(self) -> Iterator[str]:
        return chain(self.labels, self._columns)

    def __len__(self) -> int:
        return len(self.labels) + len(self._columns)

    @cached_property
    def _columns(self) -> dict[str, tuple[str, int]]:
        ind = {ind_label(self.task, name): ("ind", c) for c, name in enumerate(self.names)}
        return ind | {pred_label(self.task, n): ("pred", c) for c, n in enumerate(self.names)}


def own_labels(labels: Labels) -> Labels:
    """Give a data set's own labels, without those of slices."""
    return labels.labels if isinstance(labels, SliceLabels) else labels


def moved(values: Any, device: torch.device) -> Any:
    """Put a tensor on a device without waiting for it; other values stay as they are.

    A GPU copies pinned memory while the host goes on. The other way nothing says when the values
    have arrived, so the host waits.
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
        origin = None if labels.rows is None else labels.rows[rows]
        masks = labels.masks[rows]  # [k, slices]
        return replace(labels, labels=take(labels.labels, rows), masks=masks, rows=origin)
    return {label: values[rows] for label, values in labels.items()}


def concatenate(parts: Sequence[Labels]) -> Labels:
    """Put the labels of consecutive batches together again."""
    first = parts[0]
    if isinstance(first, SliceLabels):
        of_slices = [part for part in parts if isinstance(part, SliceLabels)]
        labels = concatenate([part.labels for part in of_slices])
        masks = torch.cat([part.masks for part in of_slices])
        rows = [part.rows for part in of_slices if part.rows is not None]
        origin = torch.cat(rows) if len(rows) == len(of_slices) else None
        return replace(first, labels=labels, masks=masks, rows=origin)
    return {label: torch.cat([part[label] for part in parts]) for label in first}
