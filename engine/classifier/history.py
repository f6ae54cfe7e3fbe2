"""What each epoch of training showed, and the file that it goes to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


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
    lines = []
    for epoch in history:
        metrics = {key: None if math.isnan(v) else v for key, v in epoch.metrics.items()}
        monitored = epoch.monitored
        if monitored is not None and math.isnan(monitored):
            monitored = None
        fixed = asdict(epoch) | {"metrics": metrics, "monitored": monitored}
        lines.append(json.dumps(fixed) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")
