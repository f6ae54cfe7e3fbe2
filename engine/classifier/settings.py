"""What training can be told: tables of optimizers and schedules, and the settings themselves."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import SGD, Adam, Adamax, AdamW, Optimizer

from engine.errors import TrainerSettingError, near
from engine.plain import plain

Parameters = Iterable[torch.nn.Parameter]

# (parameters, learning rate, weight decay) -> optimizer. The fused ones do a step in one pass
# over the weights: 51 ms for 90 M of them on two cores, where the loop takes 364 and foreach 650.
OPTIMIZERS: dict[str, Callable[[Parameters, float, float], Optimizer]] = {
    "sgd": lambda p, lr, l2: SGD(p, lr=lr, weight_decay=l2, momentum=0.9, fused=not plain()),
    "adam": lambda p, lr, l2: Adam(p, lr=lr, weight_decay=l2, fused=not plain()),
    "adamax": lambda p, lr, l2: Adamax(p, lr=lr, weight_decay=l2),
    "adamw": lambda p, lr, l2: AdamW(p, lr=lr, weight_decay=l2, fused=not plain()),
}

# (steps done, steps in all) -> what the learning rate is multiplied with.
LR_SCHEDULERS: dict[str, Callable[[int, int], float]] = {
    "constant": lambda step, steps: 1.0,
    "linear": lambda step, steps: 1 - step / steps,
    "exponential": lambda step, steps: 0.9**step,
    "step": lambda step, steps: 0.9 ** (step // 5),
    "cosine": lambda step, steps: (1 + math.cos(math.pi * step / steps)) / 2,
}

PRECISIONS = ("float32", "bf16", "auto")

_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("n_epochs", lambda v: v >= 1, ", and must be at least 1"),
    ("n_steps", lambda v: v is None or v >= 1, ", and must be at least 1, or None for n_epochs"),
    ("patience", lambda v: v is None or v >= 1, ", and must be at least 1, or None"),
    ("threads", lambda v: v is None or v >= 1, ", and must be at least 1, or None"),
    ("lr", lambda v: v > 0, ", and must be above 0"),
    ("l2", lambda v: v >= 0, ", and must not be below 0"),
    ("grad_clip", lambda v: not v or v > 0, ", and must be above 0, or None for no clipping"),
    ("warmup_steps", lambda v: v >= 0, ", and must not be below 0"),
)


@dataclass(frozen=True)
class TrainerConfig:
    """What a ``Trainer`` can be told.

    Parameters
    ----------
    n_epochs
        Passes over the training rows.
    n_steps
        Steps to train for instead; the last epoch may be a part of one.
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
    monitor
        ``<slice>/<metric>`` or ``overall/<metric>``: the weights of the epoch at which it was
        highest on the valid split are those that the model has in the end.
    patience
        Stop when ``monitor`` was not beaten for this many epochs.
    device
        ``auto`` leaves a model that is on a GPU where it is, and takes one that is not to a GPU if
        there is one; otherwise a device's name.
    precision
        ``float32``, ``bf16`` (mixed: weights stay float32), or ``auto``: bf16 on a GPU that has it.
    threads
        CPU threads while training; None takes torch's number, but no more than the cores that
        this process may use, and one where a step is too little work to share.
    metric_weights
        The field that says what each row of the valid split counts in metrics, such as 1/p of a
        sample; None counts all alike.
    folder
        Where the state of training is kept after each epoch; None keeps none.
    resume
        Go on from the state in ``folder``, where there is one. The result is then that of a run
        that was not interrupted, to the last bit on a CPU.
    tensorboard
        A folder for TensorBoard curves.

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
    n_steps: int | None = None
    monitor: str | None = None
    patience: int | None = None
    device: str = "auto"
    precision: str = "float32"
    threads: int | None = None
    folder: str | os.PathLike[str] | None = None
    resume: bool = True
    tensorboard: str | os.PathLike[str] | None = None
    metric_weights: str | None = None

    def __post_init__(self) -> None:
        for setting, holds, wanted in _RULES:
            if not holds(value := getattr(self, setting)):
                raise TrainerSettingError(setting, value, wanted)
        tables = (
            ("optimizer", OPTIMIZERS),
            ("lr_scheduler", LR_SCHEDULERS),
            ("precision", PRECISIONS),
        )
        for setting, table in tables:
            if (value := getattr(self, setting)) not in table:
                raise TrainerSettingError(setting, value, near(str(value), table))
        if self.patience is not None and self.monitor is None:
            raise TrainerSettingError("patience", self.patience, ", and needs a monitor")


def lr_factor(config: TrainerConfig, steps: int) -> Callable[[int], float]:
    """Give what the learning rate is multiplied with, from the number of steps done."""
    decay, warmup = LR_SCHEDULERS[config.lr_scheduler], config.warmup_steps

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return decay(step - warmup, max(steps - warmup, 1))

    return factor
