"""What training shows: each epoch's log, the rows behind each slice, the monitored metric, figures.

A person sees a bar and a table per epoch, a file a line of JSON, TensorBoard curves.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.classifier.data.dataset import DictDataLoader
from engine.classifier.data.labels import SliceLabels, classes_of, pred_label
from engine.classifier.model import SlicingClassifier
from engine.classifier.settings import TrainerConfig, monitored, unusable_monitor
from engine.errors import listed
from engine.metrics import catalog as spec
from engine.metrics.catalog import OVERALL, MetricSpec, badness
from engine.redaction import terminal

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


@dataclass(frozen=True)
class EpochLog:
    """What one epoch showed.

    Parameters
    ----------
    epoch, step
        Epochs and steps done, from 1.
    seconds, rows_per_second
        Time spent training in the epoch, without evaluation.
    lr
        Learning rate of its last step.
    loss
        The sum of all tasks' losses, mean over its steps.
    task_losses
        Label to its mean loss over the rows where it was active; tasks without one are absent.
    metrics
        ``score_slices`` of the valid split's loaders, if there are any.
    monitored
        The monitor's value, if there is a monitor.
    """

    epoch: int
    step: int
    seconds: float
    rows_per_second: float
    lr: float
    loss: float
    task_losses: dict[str, float]
    metrics: dict[str, float]
    monitored: float | None = None


def write_history(path: str | os.PathLike[str], history: Sequence[EpochLog]) -> None:
    """Write one line of JSON per epoch; a score that is NaN becomes null."""

    def known(value: float | None) -> float | None:
        return None if value is None or math.isnan(value) else value

    lines = []
    for epoch in history:
        metrics = {key: known(value) for key, value in epoch.metrics.items()}
        fixed = asdict(epoch) | {"metrics": metrics, "monitored": known(epoch.monitored)}
        lines.append(json.dumps(fixed) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


@dataclass(frozen=True)
class Screen:
    """What a terminal shows while training.

    Parameters
    ----------
    visible
        Whether there is one.
    advance
        Counts steps on the bar.
    show
        Prints above the bar.
    """

    visible: bool
    advance: Callable[[int], None]
    show: Callable[[RenderableType], None]


@contextmanager
def screen(config: TrainerConfig, steps: int) -> Iterator[Screen]:
    """Show a bar of the steps and a table per epoch on a terminal, nothing elsewhere."""
    from rich.console import Console  # rich is for terminals alone
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(file=terminal(sys.stderr))
    hidden = not (config.progress_bar and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden) as progress:
        advance = partial(progress.advance, progress.add_task("training", total=steps))
        yield Screen(not hidden, (lambda _: None) if hidden else advance, progress.console.print)


class TensorBoardWriter:
    """Writes every task's loss and every slice's metrics as TensorBoard curves, one point an epoch.

    Parameters
    ----------
    folder
        Where the event files go; ``tensorboard --logdir FOLDER`` shows them.
    from_step
        Points from this step on are replaced, as a resumed run needs.
    """

    def __init__(self, folder: str | os.PathLike[str], from_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # slow to load, and only for curves

        self._writer: Any = SummaryWriter(str(folder), purge_step=from_step)

    def write(self, epoch: EpochLog) -> None:
        """Add an epoch: ``loss/<label>``, ``<metric>/<label>/<dataset>/<split>``, speed and lr."""
        points = {"loss": epoch.loss, "lr": epoch.lr, "rows_per_second": epoch.rows_per_second}
        points |= {f"loss/{label}": value for label, value in epoch.task_losses.items()}
        points |= {"/".join(k.rsplit("/", 1)[::-1]): value for k, value in epoch.metrics.items()}
        for tag, value in points.items():
            if not math.isnan(value):
                self._writer.add_scalar(tag, value, epoch.step)
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()


@dataclass(frozen=True)
class SliceRows:
    """How many labelled rows a slice has.

    Parameters
    ----------
    name
        The slice.
    train, valid
        Its rows in each split; valid is None where there is no valid split.

    Examples
    --------
    >>> SliceRows("short", train=0, valid=3).status
    'no row in train'
    """

    name: str
    train: int
    valid: int | None

    @property
    def status(self) -> str:
        """``ok``, or which split has no row of the slice."""
        if not self.train:
            return "no row in train"
        return "no row in valid" if self.valid == 0 else "ok"


def count_rows(
    model: SlicingClassifier, train: Sequence[DictDataLoader], valid: Sequence[DictDataLoader]
) -> list[SliceRows]:
    """Count the labelled rows of each of a model's slices."""
    in_train, in_valid = _counts(model, train), _counts(model, valid)
    return [
        SliceRows(name, in_train[name], in_valid[name] if valid else None)
        for name in model.head_names
    ]


def _counts(model: SlicingClassifier, loaders: Sequence[DictDataLoader]) -> dict[str, int]:
    counts = dict.fromkeys(model.head_names, 0)
    for loader in loaders:
        labels = loader.dataset.Y_dict
        if isinstance(labels, SliceLabels):
            labelled = (classes_of(labels.labels[labels.task]) >= 0)[:, None]  # [n, 1]
            inside = ((labels.masks == 1) & labelled).sum(0).tolist()  # [slices]
            by_slice = dict(zip(labels.names, inside, strict=True))
        else:
            own = {name: labels.get(pred_label(model.task_name, name)) for name in counts}
            by_slice = {s: int((classes_of(v) >= 0).sum()) for s, v in own.items() if v is not None}
        for name in counts.keys() & by_slice.keys():
            counts[name] += by_slice[name]
    return counts


@dataclass(frozen=True)
class Monitor:
    """A metric of a slice, or of all rows, on the valid split.

    Parameters
    ----------
    name
        ``<slice>/<metric>`` or ``overall/<metric>``.
    keys
        Where ``score_slices`` has it, one per valid loader.
    better
        Which values are better, ``high`` or ``low``.
    """

    name: str
    keys: tuple[str, ...]
    better: str = "high"

    def beats(self, value: float, best: float | None) -> bool:
        """Tell whether a value is better than the best so far; NaN never is.

        Examples
        --------
        >>> loss = Monitor("overall/log_loss", ("log_loss",), "low")
        >>> loss.beats(0.4, 0.5), loss.beats(0.5, 0.4), loss.beats(math.nan, None)
        (True, False, False)
        """
        if math.isnan(value):
            return False
        return best is None or badness(value, self.better) < badness(best, self.better)

    def value(self, metrics: Mapping[str, float]) -> float:
        """Give its mean over the valid loaders that have a figure, NaN where none has."""
        values = [metrics[key] for key in self.keys if not math.isnan(metrics[key])]
        return sum(values) / len(values) if values else math.nan


def find_monitor(
    name: str,
    model: SlicingClassifier,
    valid: Sequence[DictDataLoader],
    rows: Sequence[SliceRows],
) -> Monitor:
    """Return the monitor that a name stands for.

    Raises
    ------
    SettingError
        When there is no such slice or metric, no valid split, no row of the slice in it, or
        neither high nor low values of the metric are better.
    """
    head, _, metric = name.rpartition("/")
    spelled = f"{head}/{_as_scored(metric, model)}" if head else name
    slice_name, metric = monitored(spelled, model.head_names, list(model.scorer.metrics))
    if not valid:
        raise unusable_monitor(name, "there is no loader of the valid split to compute it on")
    if slice_name != OVERALL:
        (of_slice,) = (r for r in rows if r.name == slice_name)
        if not of_slice.valid:
            raise unusable_monitor(
                name, f"slice {slice_name!r} has no labelled row in the valid split"
            )
    label = model.task_name if slice_name == OVERALL else pred_label(model.task_name, slice_name)
    keys = [f"{label}/{d.dataset.name}/{d.dataset.split}/{metric}" for d in valid]
    better = better_of(metric, model)
    if not better:
        problem = f"neither high nor low values of {metric!r} are better, so no epoch is the best"
        raise unusable_monitor(name, problem)
    return Monitor(name, tuple(dict.fromkeys(keys)), better)


def better_of(metric: str, model: SlicingClassifier) -> str:
    """Return which values of a metric of a model's scorer are better, as the user's own say."""
    own = model.scorer.metrics.get(metric)
    if own is None or isinstance(own, MetricSpec):
        return spec.better(metric)
    return str(getattr(own, "better", "high"))


def first_better(model: SlicingClassifier) -> str:
    """Return which values of the scorer's first metric are better, by which slices are ordered."""
    return better_of(next(iter(model.scorer.metrics), ""), model)


def _as_scored(metric: str, model: SlicingClassifier) -> str:
    """Return a metric as the scorer spells it: ``fbeta@beta=2.0`` may be ``fbeta@beta=2`` there."""
    if metric in model.scorer.metrics or metric.partition("@")[0] not in spec.KINDS:
        return metric
    same = spec.parse_metric(metric)
    return next((name for name, m in model.scorer.metrics.items() if m == same), metric)


def empty_slices(rows: Sequence[SliceRows]) -> list[str]:
    """Name the slices without rows, in a sentence per split."""
    consequences = {
        "no row in train": "their experts learn nothing",
        "no row in valid": "they have no metrics",
    }
    slices = {status: [r.name for r in rows if r.status == status] for status in consequences}
    return [f"{s}: {listed(names)}; {consequences[s]}" for s, names in slices.items() if names]


def slice_figures(
    epoch: EpochLog, rows: Sequence[SliceRows], task: str, better: str | None = None
) -> tuple[list[str], list[list[Any]]]:
    """Give what an epoch showed per slice: column names, then all rows and the slices, worst first.

    Parameters
    ----------
    epoch
        What it showed.
    rows
        The slices' rows.
    task
        The model's task.
    better
        Which values of the first metric are; by default as the engine has it.
    """
    scores: dict[str, dict[str, float]] = {}
    for key, value in epoch.metrics.items():
        label, *_, metric = key.rsplit("/", 3)
        scores.setdefault(label, {}).setdefault(metric, value)
    metrics = list(dict.fromkeys(metric for by_metric in scores.values() for metric in by_metric))

    def line(name: str, label: str, counts: Sequence[int | None], status: str) -> list[Any]:
        figures = map(scores.get(label, {}).get, metrics)
        return [name, *counts, epoch.task_losses.get(label), *figures, status]

    def worst(of_slice: SliceRows) -> float:
        if not metrics:
            return math.inf
        own, usual = (
            scores.get(label, {}).get(metrics[0], math.nan)
            for label in (pred_label(task, of_slice.name), task)
        )
        value = badness(own, spec.better(metrics[0]) if better is None else better, usual)
        return math.inf if math.isnan(value) else -float(value)

    lines = [line(OVERALL, task, (None, None), "")]
    lines += [
        line(s.name, pred_label(task, s.name), (s.train, s.valid), s.status)
        for s in sorted(rows, key=worst)
    ]
    return ["slice", "train rows", "valid rows", "loss", *metrics, "status"], lines


def slice_table(
    epoch: EpochLog,
    rows: Sequence[SliceRows],
    task: str,
    epochs: int,
    most: int = 20,
    better: str | None = None,
) -> Table:
    """Lay out :func:`slice_figures` for a terminal.

    Parameters
    ----------
    epoch, rows, task, better
        As there.
    epochs
        How many there will be.
    most
        How many slices to show.
    """
    from rich.table import Table  # rich is for terminals alone
    from rich.text import Text  # a name may have brackets, which are rich's markup

    columns, lines = slice_figures(epoch, rows, task, better)
    table = Table(*columns, title=f"epoch {epoch.epoch} of {epochs}, loss {epoch.loss:.4f}")
    for column in table.columns[1:-1]:
        column.justify = "right"
    for line in lines[: most + 1]:
        table.add_row(*map(Text, map(_cell, line)))
    if len(rows) > most:
        table.caption = f"the {most} worst of {len(rows):,} slices"
    return table


def overall_figures(epoch: EpochLog, task: str) -> str:
    """Write the valid split's metrics of all rows as a part of a line of the log."""
    columns, (overall,) = slice_figures(epoch, [], task)
    figures = zip(columns[4:-1], overall[4:-1], strict=True)
    return "".join(f", {name} {_cell(value)}" for name, value in figures)


def _cell(value: Any) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
