"""Training: a loop that reads from top to bottom, and tables of what it can be told."""
# ruff: noqa: N806  (X and Y are the names that Snorkel's users know)

from __future__ import annotations

import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.optim import SGD, Adam, Adamax, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from engine.classifier.data import Batch, DictDataLoader
from engine.classifier.model import SlicingClassifier
from engine.errors import (
    SplitError,
    TrainerKeywordError,
    TrainerSettingError,
    TrainSplitMissingError,
    near,
)

_log = logging.getLogger(__name__)

Parameters = Iterable[torch.nn.Parameter]

# (parameters, learning rate, weight decay) -> optimizer. The fused ones do a step in one pass
# over the weights: 51 ms for 90 M of them on two cores, where the loop takes 364 and foreach 650.
OPTIMIZERS: dict[str, Callable[[Parameters, float, float], Optimizer]] = {
    "sgd": lambda p, lr, l2: SGD(p, lr=lr, weight_decay=l2, momentum=0.9, fused=True),
    "adam": lambda p, lr, l2: Adam(p, lr=lr, weight_decay=l2, fused=True),
    "adamax": lambda p, lr, l2: Adamax(p, lr=lr, weight_decay=l2),
    "adamw": lambda p, lr, l2: AdamW(p, lr=lr, weight_decay=l2, fused=True),
}

# (steps done, steps in all) -> what the learning rate is multiplied with.
LR_SCHEDULERS: dict[str, Callable[[int, int], float]] = {
    "constant": lambda step, steps: 1.0,
    "linear": lambda step, steps: 1 - step / steps,
    "exponential": lambda step, steps: 0.9**step,
    "step": lambda step, steps: 0.9 ** (step // 5),
    "cosine": lambda step, steps: (1 + math.cos(math.pi * step / steps)) / 2,
}

_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("n_epochs", lambda v: v >= 1, ", and must be at least 1"),
    ("lr", lambda v: v > 0, ", and must be above 0"),
    ("l2", lambda v: v >= 0, ", and must not be below 0"),
    ("grad_clip", lambda v: not v or v > 0, ", and must be above 0, or None for no clipping"),
    ("warmup_steps", lambda v: v >= 0, ", and must not be below 0"),
)


def set_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators.

    >>> set_seed(111)
    >>> first = torch.rand(3)
    >>> set_seed(111)
    >>> bool((torch.rand(3) == first).all())
    True
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@dataclass(frozen=True)
class TrainerConfig:
    """What a ``Trainer`` can be told.

    Parameters
    ----------
    n_epochs
        Passes over the training rows.
    lr
        Learning rate.
    l2
        Weight decay.
    grad_clip
        The gradients' norm is cut to this; None or 0 leaves it.
    optimizer
        A key of ``OPTIMIZERS``.
    lr_scheduler
        A key of ``LR_SCHEDULERS``; it acts at every step.
    warmup_steps
        The learning rate rises from 0 over this many steps before the scheduler sets in.
    progress_bar
        Whether to show a bar on a terminal; else an epoch is a line of the log.
    seed
        Set before training; the same seed on a CPU gives the same weights to the last bit.
    train_split, valid_split, test_split
        What loaders' splits are called. Training reads the first, each epoch's metrics the
        second, nothing the third.
    log
        A file that gets one line of JSON per epoch.

    Raises
    ------
    TrainerSettingError
        When a value is out of range or not in its table.
    """

    n_epochs: int = 1
    lr: float = 0.01
    l2: float = 0.0
    grad_clip: float | None = 1.0
    optimizer: str = "adam"
    lr_scheduler: str = "constant"
    warmup_steps: int = 0
    progress_bar: bool = True
    seed: int | None = None
    train_split: str = "train"
    valid_split: str = "valid"
    test_split: str = "test"
    log: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for setting, holds, wanted in _RULES:
            if not holds(value := getattr(self, setting)):
                raise TrainerSettingError(setting, value, wanted)
        for setting, table in (("optimizer", OPTIMIZERS), ("lr_scheduler", LR_SCHEDULERS)):
            if (value := getattr(self, setting)) not in table:
                raise TrainerSettingError(setting, value, near(str(value), table))


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
    """

    epoch: int
    step: int
    seconds: float
    rows_per_second: float
    lr: float
    loss: float
    task_losses: dict[str, float]
    metrics: dict[str, float]


def write_history(path: str | os.PathLike[str], history: Sequence[EpochLog]) -> None:
    """Write one line of JSON per epoch; a score that is NaN becomes null."""
    lines = []
    for epoch in history:
        metrics = {key: None if math.isnan(v) else v for key, v in epoch.metrics.items()}
        lines.append(json.dumps(asdict(epoch) | {"metrics": metrics}) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


class Trainer:
    """Trains a ``SlicingClassifier`` on the sum of its tasks' losses.

    Parameters
    ----------
    name
        What the log calls it.
    **settings
        The fields of ``TrainerConfig``.

    Attributes
    ----------
    config : TrainerConfig
    history : list of EpochLog
        One entry per epoch of the last ``fit``.

    Raises
    ------
    TrainerKeywordError, TrainerSettingError
        When a setting is not known, or its value can't be.

    Examples
    --------
    >>> Trainer(n_epochs=2, lr=1e-4, progress_bar=False).config.optimizer
    'adam'
    """

    def __init__(self, name: str | None = None, **settings: Any) -> None:
        known = [field.name for field in fields(TrainerConfig)]
        for setting in settings:
            if setting not in known:
                raise TrainerKeywordError(setting, known)
        self.name = name or type(self).__name__
        self.config = TrainerConfig(**settings)
        self.history: list[EpochLog] = []

    def fit(self, model: SlicingClassifier, dataloaders: Sequence[DictDataLoader]) -> None:
        """Train a model in place.

        Parameters
        ----------
        model
            What to train.
        dataloaders
            Loaders with slice labels, from ``make_slice_dataloader``; several of the train split
            are mixed batch by batch.

        Raises
        ------
        SplitError, TrainSplitMissingError
            When a loader's split is not known, or none is the train split.
        """
        config = self.config
        train, valid = self._by_split(dataloaders)
        if config.seed is not None:
            set_seed(config.seed)

        steps_per_epoch = sum(len(loader) for loader in train)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = OPTIMIZERS[config.optimizer](trained, config.lr, config.l2)
        scheduler = LambdaLR(optimizer, _lr_factor(config, config.n_epochs * steps_per_epoch))

        self.history = []
        with _progress(config, config.n_epochs * steps_per_epoch) as advance:
            for epoch in range(1, config.n_epochs + 1):
                start, rows, total, lr = time.perf_counter(), 0, 0.0, 0.0
                sums, counts = torch.zeros(2, len(model.label_names), dtype=torch.float64)

                model.train()
                for X_dict, Y_dict in _mixed(train):
                    tasks = model.loss(X_dict, Y_dict)
                    rows += len(next(iter(Y_dict.values())))
                    advance()
                    # Without a label there is nothing to learn, but momentum would still move.
                    if not tasks.counts.any():
                        continue
                    optimizer.zero_grad()
                    torch.autograd.backward(tasks.total)
                    if config.grad_clip:
                        torch.nn.utils.clip_grad_norm_(trained, config.grad_clip)
                    optimizer.step()
                    lr = float(scheduler.get_last_lr()[0])
                    scheduler.step()

                    total += tasks.total.item()
                    sums += (tasks.losses * tasks.counts).detach().cpu()
                    counts += tasks.counts.cpu()

                seconds = time.perf_counter() - start
                means = zip(model.label_names, (sums / counts).tolist(), strict=True)
                self.history.append(
                    EpochLog(
                        epoch=epoch,
                        step=epoch * steps_per_epoch,
                        seconds=seconds,
                        rows_per_second=rows / seconds,
                        lr=lr,
                        loss=total / max(steps_per_epoch, 1),
                        task_losses={name: mean for name, mean in means if not math.isnan(mean)},
                        metrics=cast("dict[str, float]", model.score_slices(valid)),
                    )
                )
                self._report(self.history[-1])

    def _by_split(
        self, dataloaders: Sequence[DictDataLoader]
    ) -> tuple[list[DictDataLoader], list[DictDataLoader]]:
        splits = (self.config.train_split, self.config.valid_split, self.config.test_split)
        for loader in dataloaders:
            if loader.dataset.split not in splits:
                raise SplitError(loader.dataset.name, loader.dataset.split, splits)
        train, valid, _ = ([d for d in dataloaders if d.dataset.split == s] for s in splits)
        if not train:
            raise TrainSplitMissingError(
                self.config.train_split, sorted({d.dataset.split for d in dataloaders})
            )
        return train, valid

    def _report(self, epoch: EpochLog) -> None:
        _log.info(
            "%s: epoch %d of %d, loss %.4f, %.1f s, %.0f rows/s",
            *(self.name, epoch.epoch, self.config.n_epochs),
            *(epoch.loss, epoch.seconds, epoch.rows_per_second),
        )
        if self.config.log is not None:
            write_history(self.config.log, self.history)


def _lr_factor(config: TrainerConfig, steps: int) -> Callable[[int], float]:
    decay, warmup = LR_SCHEDULERS[config.lr_scheduler], config.warmup_steps

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return decay(step - warmup, max(steps - warmup, 1))

    return factor


def _mixed(loaders: Sequence[DictDataLoader]) -> Iterator[Batch]:
    """Give the batches of several loaders in a random order of loaders."""
    order = [i for i, loader in enumerate(loaders) for _ in range(len(loader))]
    random.shuffle(order)
    batches = [iter(loader) for loader in loaders]
    for i in order:
        yield next(batches[i])


@contextmanager
def _progress(config: TrainerConfig, steps: int) -> Iterator[Callable[[], None]]:
    """Show a bar of the steps on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = not (config.progress_bar and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden) as progress:
        bar = progress.add_task("training", total=steps)
        yield lambda: progress.advance(bar)
