"""The settings of features, bases, models and training, each with its rule.

Nothing here loads torch, so that the project file is checked by the same rules.
"""
# ruff: noqa: RUF009  (setting() gives a dataclass field)

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from engine.classifier.rules import (
    FIELD_NAMES,
    FLAG,
    PAIR_OF_LENGTHS,
    PATH,
    REGEX,
    TEXT,
    WEIGHTS,
    Rule,
    names,
    number,
    one_of,
    optional,
    plain,
    whole,
)
from engine.errors import SettingError, brief, listed, near
from engine.metrics.catalog import OVERALL

# The keys of train.OPTIMIZERS and heads.ATTENTIONS, which load torch.
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
TOKEN = r"(?u)\b\w\w+\b"  # scikit-learn's

SEED = whole(0, 2**32 - 1)  # what numpy takes
_POSITIVE = number(lambda v: v > 0, "be above 0")
_NOT_NEGATIVE = number(lambda v: v >= 0, "not be below 0")

# How a model weighs its experts, and heads, classes and rows in the loss.
WEIGHING: Mapping[str, Rule] = {
    "temperature": _POSITIVE,
    "attention": one_of(ATTENTION_NAMES),
    "indicator_loss_weight": _NOT_NEGATIVE,
    "slice_weights": WEIGHTS,
    "class_weights": Rule(()),  # depends on n_classes: the model checks it
    "row_weights": optional(TEXT),
}
# All of a model's settings, in the order in which a checkpoint has them.
MODEL: Mapping[str, Rule] = {
    "head_dim": whole(1),
    "slice_names": names("slice names"),
    "input_data_key": FIELD_NAMES,
    "task_name": TEXT,
    "n_classes": whole(2),
    **WEIGHING,
}


def setting(default: Any, rule: Rule) -> Any:
    """Give a dataclass's field its default and the rule of its values."""
    return field(default=default, metadata={"rule": rule})


def rules_of(settings: type) -> dict[str, Rule]:
    """Return the rules of a dataclass's fields.

    Examples
    --------
    >>> list(rules_of(MlpSpec))
    ['layers', 'width']
    """
    return {one.name: one.metadata["rule"] for one in fields(settings) if one.metadata}


def _check(spec: Any, error: Callable[[str], Exception]) -> None:
    """Check each setting by its rule; lists become tuples, so that specs are equal by value."""
    for name, rule in rules_of(type(spec)).items():
        value = getattr(spec, name)
        if end := rule.broken(value):
            raise error(f"{name} is {brief(value)}{end}")
        if not isinstance(value, str) and hasattr(value, "__len__"):
            object.__setattr__(spec, name, tuple(value))


class _BaseSpec:
    def __post_init__(self) -> None:
        _check(self, wrong_base)


def wrong_base(problem: str) -> SettingError:
    """Return the error of a base architecture that can't be built."""
    return SettingError(f"base architecture: {problem}")


class _FeatureSpec:
    def __post_init__(self) -> None:
        _check(self, wrong_features)


def wrong_features(problem: str) -> SettingError:
    """Return the error of features that can't be built."""
    return SettingError(f"features: {problem}")


@dataclass(frozen=True)
class MlpSpec(_BaseSpec):
    """Linear layers, each followed by a ReLU.

    Parameters
    ----------
    layers
        How many, at least 1.
    width
        Width of each; None takes the input's.
    """

    layers: int = setting(2, whole(1))
    width: int | None = setting(None, optional(whole(1)))
    kind: Literal["mlp"] = "mlp"


@dataclass(frozen=True)
class TabularMlpSpec(_BaseSpec):
    """Linear layers, each followed by layer normalisation, a ReLU and dropout.

    Normalising keeps rare one-hot features and wide numbers on one scale; it works row by row, so
    that a row's prediction doesn't depend on its batch.

    Parameters
    ----------
    layers
        How many, at least 1.
    width
        Width of each.
    dropout
        Share of each layer's outputs that training drops.
    """

    layers: int = setting(2, whole(1))
    width: int = setting(64, whole(1))
    dropout: float = setting(0.1, number(lambda v: 0 <= v < 1, "be from 0 to below 1"))
    kind: Literal["tabular_mlp"] = "tabular_mlp"


@dataclass(frozen=True)
class _TextSpec(_FeatureSpec):
    ngram_range: Sequence[int] = setting((1, 1), PAIR_OF_LENGTHS)
    lowercase: bool = setting(True, FLAG)
    token_pattern: str = setting(TOKEN, REGEX)
    max_words: int | None = setting(None, optional(whole(1)))
    column: str = setting("text", TEXT)

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [self.column]


@dataclass(frozen=True)
class BagOfWordsSpec(_TextSpec):
    """Token counts; the settings are those of ``BagOfWords.fit``."""

    kind: Literal["bag_of_words"] = "bag_of_words"


@dataclass(frozen=True)
class TfIdfSpec(_TextSpec):
    """Weighted token counts; the settings are those of ``TfIdf.fit``."""

    sublinear_tf: bool = setting(False, FLAG)
    kind: Literal["tfidf"] = "tfidf"


@dataclass(frozen=True)
class TabularSpec(_FeatureSpec):
    """Columns of numbers and categories; the settings are those of ``Tabular.fit``."""

    numeric: Sequence[str] = setting((), names("columns"))
    category: Sequence[str] = setting((), names("columns"))
    max_levels: int = setting(100, whole(1))
    key: Sequence[str] = setting((), names("columns"))
    kind: Literal["tabular"] = "tabular"

    @property
    def columns(self) -> list[str]:
        """The columns that it reads."""
        return [*self.numeric, *self.category]

    def check_columns(self) -> None:
        """Check that it reads a column.

        Raises
        ------
        SettingError
        """
        if not self.columns:
            raise wrong_features("tabular reads no column: name some in numeric or category")


BaseSpec = MlpSpec | TabularMlpSpec
FeatureSpec = BagOfWordsSpec | TfIdfSpec | TabularSpec
Spec = TypeVar("Spec", bound=BaseSpec | FeatureSpec)
BASES: Mapping[str, type[BaseSpec]] = {"mlp": MlpSpec, "tabular_mlp": TabularMlpSpec}
FEATURES: Mapping[str, type[FeatureSpec]] = {
    "bag_of_words": BagOfWordsSpec,
    "tfidf": TfIdfSpec,
    "tabular": TabularSpec,
}


def check_spec(
    spec: Any, kinds: Mapping[str, type[Spec]], error: Callable[[str], Exception]
) -> Spec:
    """Return the typed settings that a spec describes.

    Parameters
    ----------
    spec
        ``kind`` and some of that kind's settings, as JSON has them; or typed settings.
    kinds
        :data:`BASES` or :data:`FEATURES`.
    error
        Makes of a problem what is raised.

    Examples
    --------
    >>> check_spec({"kind": "mlp", "layers": 3}, BASES, ValueError)
    MlpSpec(layers=3, width=None, kind='mlp')
    """
    if isinstance(spec, tuple(kinds.values())):
        return cast("Spec", spec)
    if not isinstance(spec, Mapping):
        example = f"{{'kind': {min(kinds)!r}}}"
        raise error(f"it is {brief(spec)}, and must be settings: {example}, say")
    settings = dict(spec)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        named = isinstance(kind, str) and kind
        end = near(str(kind), kinds) if named else f"; known: {listed(sorted(kinds))}"
        raise error(f"there is no kind {brief(kind)}{end}")
    rules = rules_of(kinds[kind])
    for name in settings:
        if name not in rules:
            raise error(f"{kind} has no setting {brief(name)}{near(str(name), rules)}")
    return kinds[kind](**settings)


def base_spec(spec: Any) -> BaseSpec:
    """Return the typed settings of a base.

    Raises
    ------
    SettingError
        When the kind, a setting or its value is not known.
    """
    return check_spec(spec, BASES, wrong_base)


def feature_spec(spec: Any, text: str | None = None, key: Sequence[str] = ()) -> FeatureSpec:
    """Return the typed settings of features, which read one column at least.

    Parameters
    ----------
    spec
        ``kind`` and some of that kind's settings, as JSON has them; or typed settings.
    text
        The text column of a spec that doesn't name one.
    key
        Columns that name a row in messages, of a spec that doesn't name some.

    Raises
    ------
    SettingError
        When the kind or a setting is not known, or there is no column to read.

    Examples
    --------
    >>> feature_spec({"kind": "tfidf"}, text="body").column
    'body'
    """
    settings = check_spec(spec, FEATURES, wrong_features)
    named = spec if isinstance(spec, Mapping) else vars(settings)
    if isinstance(settings, TabularSpec):
        settings.check_columns()
        return replace(settings, key=named.get("key", key))
    if not (column := named.get("column", text)):
        raise wrong_features(f"{settings.kind} reads a text: set text, or column here")
    return replace(settings, column=column)


def default_metrics(n_classes: int) -> list[str]:
    """Return the metrics that a model is scored by when none are named."""
    return ["accuracy", "f1" if n_classes == 2 else "f1_macro"]  # noqa: PLR2004


def training_metrics(n_classes: int, monitor: str | None) -> list[str]:
    """Return the metrics of a training job's epochs: the usual ones, and log loss to monitor it.

    >>> training_metrics(2, "overall/log_loss"), training_metrics(3, None)
    (['accuracy', 'f1', 'log_loss'], ['accuracy', 'f1_macro'])
    """
    loss = "log_loss"
    more = [loss] if monitor is not None and monitor.rpartition("/")[2] == loss else []
    return [*default_metrics(n_classes), *more]


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
    SettingError
        If there is no such slice or metric.

    Examples
    --------
    >>> monitored("short/f1", ["short"], ["accuracy", "f1"])
    ('short', 'f1')
    """
    slice_name, _, metric = name.rpartition("/")
    known = [OVERALL, *(slices or ())]
    if not slice_name or (slices is not None and slice_name not in known):
        raise unusable_monitor(name, f"there is no slice {slice_name!r}{near(slice_name, known)}")
    if metric not in metrics:
        end = near(metric, metrics)
        raise unusable_monitor(name, f"the model's scorer has no metric {metric!r}{end}")
    return slice_name, metric


def unusable_monitor(monitor: str, problem: str) -> SettingError:
    """Return the error of a monitor that can't be computed."""
    return SettingError(
        f"monitor {monitor!r} can't be computed: {problem}; it is '<slice>/<metric>' or "
        "'overall/<metric>' on the valid split"
    )


@dataclass(frozen=True)
class TrainerConfig:
    """The settings of a ``Trainer``.

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
    SettingError
        When a value is out of range or not in its table.
    """

    n_epochs: int = setting(1, whole(1))
    lr: float = setting(0.01, _POSITIVE)
    l2: float = setting(0.0, _NOT_NEGATIVE)
    grad_clip: float | None = setting(1.0, optional(_NOT_NEGATIVE))
    optimizer: str = setting("adam", one_of(OPTIMIZER_NAMES))
    lr_scheduler: str = setting("constant", one_of(LR_SCHEDULERS))
    warmup_steps: int = setting(0, whole(0))
    progress_bar: bool = setting(True, FLAG)
    seed: int | None = setting(None, optional(SEED))
    train_split: str = setting("train", TEXT)
    valid_split: str = setting("valid", TEXT)
    test_split: str = setting("test", TEXT)
    log: str | os.PathLike[str] | None = setting(None, optional(PATH))
    n_steps: int | None = setting(None, optional(whole(1)))
    monitor: str | None = setting(None, optional(TEXT))
    patience: int | None = setting(None, optional(whole(1)))
    device: str = setting("auto", TEXT)
    precision: str = setting("float32", one_of(PRECISIONS))
    threads: int | None = setting(None, optional(whole(1)))
    folder: str | os.PathLike[str] | None = setting(None, optional(PATH))
    resume: bool = setting(True, FLAG)
    tensorboard: str | os.PathLike[str] | None = setting(None, optional(PATH))
    metric_weights: str | None = setting(None, optional(TEXT))

    def __post_init__(self) -> None:
        for name, rule in rules_of(type(self)).items():
            value = plain(getattr(self, name))
            object.__setattr__(self, name, value)
            if end := rule.broken(value):
                raise trainer_setting(name, value, end)
        if self.patience is not None and self.monitor is None:
            raise trainer_setting("patience", self.patience, ", and needs a monitor")


def trainer_setting(setting: str, value: object, wanted: str) -> SettingError:
    """Return the error of a trainer's setting with a value that it can't have."""
    text = repr(str(value)) if isinstance(value, Path) else brief(value)  # a path is whole
    return SettingError(f"Trainer: {setting} is {text}{wanted}")


TRAINER: Mapping[str, Rule] = rules_of(TrainerConfig)


def lr_factor(config: TrainerConfig, steps: int) -> Callable[[int], float]:
    """Give what the learning rate is multiplied with, from the number of steps done."""
    decay, warmup = LR_SCHEDULERS[config.lr_scheduler], config.warmup_steps

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        return decay(step - warmup, max(steps - warmup, 1))

    return factor
