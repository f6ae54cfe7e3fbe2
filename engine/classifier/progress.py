"""What a person sees while training: a bar, a table per epoch, TensorBoard curves."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.classifier.settings import TrainerConfig

if TYPE_CHECKING:
    from rich.console import RenderableType


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
    console = Console(stderr=True)
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
        for key, value in epoch.metrics.items():
            label, metric = key.rsplit("/", 1)
            points[f"{metric}/{label}"] = value
        for tag, value in points.items():
            if not math.isnan(value):
                self._writer.add_scalar(tag, value, epoch.step)
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()
