"""What training can be told: the rules of all settings, and the trainer's own.

Nothing here loads torch, so that the project file is checked by the same rules.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from engine.classifier.rules import (
    Rule,
    flag,
    names,
    number,
    one_of,
    optional,
    pair_of_lengths,
    path,
    plain,
    regex,
    text,
    weights,
    whole,
)
from engine.errors import MonitorError, TrainerSettingError, brief, listed, near
from engine.metrics.catalog import OVERALL

# The keys of optimizers.OPTIMIZERS and attention.ATTENTIONS, which load torch.
OPTIMIZER_NAMES = ("sgd", "adam", "adamax", "adamw")
ATTENTION_NAMES = ("snorkel", "paper", "indicator", "confidence", "uniform")

# (steps done, steps in all) -> what the learning rate is multiplied with.
LR_SCHEDULERS: dict[str, Callable[[int, int], float]] = {
    "constant": lambda step, steps: 1.0,
    "linear": lambda step, steps: 1 - step / steps,
    "exponential": lambda step, steps: 0.9**step,
    "step": lambda step, steps: 0.9 ** (step // 5),
    "cosine": lambda step, steps: (1 + math.cos(math.pi * step / steps)) / 2,
}

PRECISIONS = ("float32", "bf16", "auto")
BASE = "base"

SEED = whole(0, 2**32 - 1)  # what numpy takes
_POSITIVE = number(lambda v: v > 0, "be above 0")
_NOT_NEGATIVE = number(lambda v: v >= 0, "not be below 0")

TRAINER: Mapping[str, Rule] = {
    "n_epochs": whole(1),
    "lr": _POSITIVE,
    "l2": _NOT_NEGATIVE,
    "grad_clip": optional(number(lambda v: v >= 0, "not be below 0")),
    "optimizer": one_of(OPTIMIZER_NAMES),
    "lr_scheduler": one_of(LR_SCHEDULERS),
    "warmup_steps": whole(0),
    "progress_bar": flag(),
    "seed": optional(SEED),
    "train_split": text(),
    "valid_split": text(),
    "test_split": text(),
    "log": optional(path()),
    "n_steps": optional(whole(1)),
    "monitor": optional(text()),
    "patience": optional(whole(1)),
    "device": text(),
    "precision": one_of(PRECISIONS),
    "threads": optional(whole(1)),
    "folder": optional(path()),
    "resume": flag(),
    "tensorboard": optional(path()),
    "metric_weights": optional(text()),
}
MODEL: Mapping[str, Rule] = {
    "head_dim": whole(1),
    "slice_names": names("slice names"),
    "task_name": text(),
    "n_classes": whole(2),
    "temperature": _POSITIVE,
    "attention": one_of(ATTENTION_NAMES),
    "indicator_loss_weight": _NOT_NEGATIVE,
    "slice_weights": weights(),
    "row_weights": optional(text()),
}
# Kind of base architecture, and of features, to its settings.
BASES: Mapping[str, Mapping[str, Rule]] = {
    "mlp": {"layers": whole(1), "width": optional(whole(1))},
    "tabular_mlp": {
        "layers": whole(1),
        "width": whole(1),
        "dropout": number(lambda v: 0 <= v < 1, "be from 0 to below 1"),
    },
}
_TEXT_FEATURES: Mapping[str, Rule] = {
    "ngram_range": pair_of_lengths(),
    "lowercase": flag(),
    "token_pattern": regex(),
    "max_words": optional(whole(1)),
    "column": text(),
}
FEATURES: Mapping[str, Mapping[str, Rule]] = {
    "bag_of_words": _TEXT_FEATURES,
    "tfidf": {**_TEXT_FEATURES, "sublinear_tf": flag()},
    "tabular": {
        "numeric": names("columns"),
        "category": names("columns"),
        "max_levels": whole(1),
        "key": names("columns"),
    },
}


def check_spec(
    spec: Any,
    kinds: Mapping[str, Mapping[str, Rule]],
    error: Callable[[str], Exception],
) -> dict[str, Any]:
    """Return the settings of a spec, which has a kind; its settings are known and hold.

    Parameters
    ----------
    spec
        ``kind`` and that kind's settings.
    kinds
        :data:`BASES` or :data:`FEATURES`.
    error
        Makes of a problem what is raised.

    Examples
    --------
    >>> check_spec({"kind": "mlp", "layers": 3}, BASES, ValueError)
    {'layers': 3}
    """
    if not isinstance(spec, Mapping):
        example = f"{{'kind': {min(kinds)!r}}}"
        raise error(f"it is {brief(spec)}, and must be settings: {example}, say")
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        named = isinstance(kind, str) and kind
        end = near(str(kind), kinds) if named else f"; known: {listed(sorted(kinds))}"
        raise error(f"there is no kind {brief(kind)}{end}")
    for name, value in settings.items():
        if name not in kinds[kind]:
            raise error(f"{kind} has no setting {brief(name)}{near(str(name), kinds[kind])}")
        if wrong := kinds[kind][name].broken(value):
            raise error(f"{name} is {brief(value)}{wrong}")
    return settings


def default_metrics(n_classes: int) -> list[str]:
    """Return what a model is scored by unless told otherwise."""
    return ["accuracy", "f1" if n_classes == 2 else "f1_macro"]  # noqa: PLR2004


def monitored(name: str, slices: Collection[str] | None, metrics: Sequence[str]) -> tuple[str, str]:
    """Return the slice and the metric that a monitor's name stands for.

    Parameters
    ----------
    name
        ``<slice>/<metric>`` or ``overall/<metric>``.
    slices
        The model's slices; None where they aren't known yet.
    metrics
        The scorer's metrics.

    Raises
    ------
    MonitorError
        If there is no such slice or metric.

    Examples
    --------
    >>> monitored("short/f1", ["short"], ["accuracy", "f1"])
    ('short', 'f1')
    """
    slice_name, _, metric = name.rpartition("/")
    known = [OVERALL, *(slices or ())]
    if not slice_name or (slices is not None and slice_name not in known):
        raise MonitorError(name, f"there is no slice {slice_name!r}{near(slice_name, known)}")
    if metric not in metrics:
        end = near(metric, metrics)
        raise MonitorError(name, f"the model's scorer has no metric {metric!r}{end}")
    return slice_name, metric


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
        for one in fields(self):
            object.__setattr__(self, one.name, plain(getattr(self, one.name)))
            value = getattr(self, one.name)
            if end := TRAINER[one.name].broken(value):
                raise TrainerSettingError(one.name, value, end)
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
