"""What to compute: metric names with their parameters, in one canonical spelling."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.errors import MetricError, near

OVERALL = "overall"  # all rows, among slices


@dataclass(frozen=True)
class Kind:
    """One metric: the family it is of and which parameters it takes.

    Attributes
    ----------
    family
        The family, which decides its state and formula (:mod:`engine.metrics.formulas.families`).
    binary
        True where it has a positive class.
    parameters
        Parameter names with their defaults; None means "not given".
    needs
        ``pred``, ``prob``, ``numbers`` (label and prediction as such), ``column`` or ``rows``.
    better
        ``high``, ``low``, or nothing where neither is.
    """

    family: str
    binary: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    needs: str = "pred"
    better: str = "high"


_CHOICE = {"threshold": None, "top": None}
_BINARY = Kind("confusion", True, _CHOICE)
_CLASSES = Kind("confusion", False, {"threshold": None})
_LOSS = Kind("probability", needs="prob", better="low")
_ERROR = Kind("regression", needs="numbers", better="low")

KINDS: Mapping[str, Kind] = {
    "accuracy": replace(_CLASSES, parameters=_CHOICE),
    "precision": _BINARY,
    "recall": _BINARY,
    "f1": _BINARY,
    "fbeta": replace(_BINARY, parameters={"beta": 1.0, **_CHOICE}),
    "specificity": _BINARY,
    "false_positive_rate": replace(_BINARY, better="low"),
    "false_negative_rate": replace(_BINARY, better="low"),
    "selection_rate": replace(_BINARY, better=""),
    "balanced_accuracy": replace(_CLASSES, parameters=_CHOICE),
    "f1_micro": _CLASSES,
    "f1_macro": _CLASSES,
    "f1_weighted": _CLASSES,
    "precision_micro": _CLASSES,
    "precision_macro": _CLASSES,
    "precision_weighted": _CLASSES,
    "recall_micro": _CLASSES,
    "recall_macro": _CLASSES,
    "recall_weighted": _CLASSES,
    "matthews_corrcoef": replace(_CLASSES, parameters=_CHOICE),
    "cohen_kappa": replace(_CLASSES, parameters=_CHOICE),
    "roc_auc": Kind("scores", True, {"bins": 4096.0}, "prob"),
    "pr_auc": Kind("scores", True, {"bins": 4096.0}, "prob"),
    "log_loss": _LOSS,
    "brier": _LOSS,
    "ece": Kind("calibration", False, {"bins": 15.0}, "prob", "low"),
    "top_k_accuracy": Kind("hits", False, {"k": 2.0}, "prob"),
    "mae": _ERROR,
    "rmse": _ERROR,
    "mse": _ERROR,
    "r2": replace(_ERROR, better="high"),
    "bias": replace(_ERROR, better=""),
    "mape": _ERROR,
    "mape_undefined": Kind("undefined", needs="numbers", better=""),
    "coverage": Kind("predictions"),
    "count": Kind("rows", needs="rows", better=""),
    "mean": Kind("column", False, {"column": None}, "column", ""),
    "null_rate": Kind("nulls", False, {"column": None}, "column", ""),
}


_RANGES = {"threshold": (0, 1), "top": (0, 1), "beta": (0, 1e6), "bins": (2, 65536), "k": (1, 1000)}
_WHOLE = ("bins", "k")


@dataclass(frozen=True)
class MetricSpec:
    """A metric and its parameters.

    Examples
    --------
    >>> str(parse_metric("precision@threshold=0.70"))
    'precision@threshold=0.7'
    >>> parse_metric("accuracy").family, parse_metric("accuracy@top=0.1").family
    ('confusion', 'top')
    """

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()

    @property
    def kind(self) -> Kind:
        """What the metric is."""
        return KINDS[self.name]

    @property
    def family(self) -> str:
        """The family whose state and formula it has."""
        return "top" if self.parameter("top") is not None else self.kind.family

    @property
    def needs(self) -> str:
        """What it is computed from: ``prob`` for a prediction by a threshold too."""
        chosen = (self.parameter("threshold"), self.parameter("top"))
        return "prob" if any(c is not None for c in chosen) else self.kind.needs

    def parameter(self, name: str) -> Any:
        """Return a parameter's value, given or default."""
        return dict(self.parameters).get(name, self.kind.parameters.get(name))

    def __str__(self) -> str:
        parameters = ",".join(f"{k}={_shown(v)}" for k, v in self.parameters)
        return f"{self.name}@{parameters}" if parameters else self.name


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value).removesuffix(".0")


def parse_metric(text: str) -> MetricSpec:
    """Read ``name`` or ``name@parameter=value,…``.

    Raises
    ------
    MetricError
        If there is no such metric.
        If it doesn't take the parameter, lacks one, or the value isn't a number in its range.

    Examples
    --------
    >>> parse_metric("mean@column=price")
    MetricSpec(name='mean', parameters=(('column', 'price'),))
    """
    name, _, rest = str(text).strip().partition("@")
    if name not in KINDS:
        raise unknown_metric(name, KINDS)
    known = KINDS[name].parameters
    values: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = (side.strip() for side in part.partition("="))
        if key in values:
            raise _wrong(text, key, "it is given twice")
        values[key] = value if key == "column" and key in known else _number(text, key, value)
        if key not in known:
            raise _wrong(text, key, f"it takes {', '.join(known) or 'none'}")
    if "threshold" in values and "top" in values:
        raise _wrong(text, "top", "give a threshold or a top share, not both")
    if "column" in known and not values.get("column"):
        raise _wrong(text, "column", f"write {name}@column=NAME")
    return MetricSpec(name, tuple(sorted(values.items())))


def unknown_metric(name: str, known: Iterable[str]) -> MetricError:
    """Return the error of a metric that isn't there."""
    return MetricError(f"unknown metric {name!r}{near(name, known)}")


def better(metric: str) -> str:
    """Return which values of a metric are better: ``high``, ``low``, or nothing.

    Whatever orders figures, marks them, stops at one or picks the best asks this.

    Parameters
    ----------
    metric
        A metric's name, with its parameters or without; one that isn't the engine's is better
        where it is high.

    Examples
    --------
    >>> better("recall"), better("log_loss"), better("count"), better("ece@bins=10")
    ('high', 'low', '', 'low')
    """
    kind = KINDS.get(metric.partition("@")[0].strip())
    return "high" if kind is None else kind.better


def is_biased(metric: str) -> bool:
    """Tell whether few rows alone make a metric worse, so that a slice can't be held to the rest.

    Examples
    --------
    >>> is_biased("ece@bins=10"), is_biased("brier")
    (True, False)
    """
    kind = KINDS.get(metric.partition("@")[0].strip())
    return kind is not None and kind.family == "calibration"


def badness(value: Any, better: str, usual: Any = 0.0) -> Any:
    """Return numbers that are the larger the worse values are, NaN where these are.

    Parameters
    ----------
    value
        A value, or an array of them.
    better
        ``high``, ``low``, or nothing where neither is: the farther from the usual, the worse.
    usual
        The value of all rows.

    Examples
    --------
    >>> [badness(0.25, better, 0.75) for better in ("high", "low", "")]
    [-0.25, 0.25, 0.5]
    """
    if not better:
        return abs(value - usual)
    return value if better == "low" else -value


def quality(change: float, better: str) -> str:
    """Say what a change of a metric is: ``better``, ``worse``, or nothing where neither is.

    Examples
    --------
    >>> quality(0.1, "high"), quality(0.1, "low"), quality(0.1, ""), quality(0.0, "high")
    ('better', 'worse', '', '')
    """
    if not better or change == 0 or change != change:  # noqa: PLR0124 - NaN
        return ""
    return "better" if (change > 0) == (better == "high") else "worse"


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise _wrong(text, key, f"the value {value!r} is not a number") from None
    low, high = _RANGES.get(key, (number, number))
    if key in _RANGES and not low <= number <= high:
        raise _wrong(text, key, f"it must be in {low:g} to {high:g}")
    if key in _WHOLE and not number.is_integer():
        raise _wrong(text, key, "it must be a whole number")
    return number


def _wrong(text: str, key: str, problem: str) -> MetricError:
    return MetricError(f"metric {text!r}: parameter {key!r}: {problem}")


def not_binary(metric: str, hint: str) -> MetricError:
    """Return the error of a metric of two classes that meets others."""
    return MetricError(f"metric {metric!r} is for binary problems: {hint}")
