"""What to compute: metric names with their parameters, in one canonical spelling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import MetricParameterError, UnknownMetricError


@dataclass(frozen=True)
class Kind:
    """One metric: what it needs and which parameters it takes.

    Attributes
    ----------
    needs
        ``confusion``, ``scores`` or ``predictions`` (the latter counts abstentions).
    binary
        True where it has a positive class.
    parameters
        Parameter names with their defaults; None means "not given".
    """

    needs: str
    binary: bool
    parameters: Mapping[str, float | None] = field(default_factory=dict)


_THRESHOLD = {"threshold": None}

KINDS: Mapping[str, Kind] = {
    "accuracy": Kind("confusion", False, _THRESHOLD),
    "precision": Kind("confusion", True, _THRESHOLD),
    "recall": Kind("confusion", True, _THRESHOLD),
    "f1": Kind("confusion", True, _THRESHOLD),
    "fbeta": Kind("confusion", True, {"beta": 1.0, **_THRESHOLD}),
    "specificity": Kind("confusion", True, _THRESHOLD),
    "false_positive_rate": Kind("confusion", True, _THRESHOLD),
    "false_negative_rate": Kind("confusion", True, _THRESHOLD),
    "selection_rate": Kind("confusion", True, _THRESHOLD),
    "balanced_accuracy": Kind("confusion", False, _THRESHOLD),
    "f1_micro": Kind("confusion", False, _THRESHOLD),
    "f1_macro": Kind("confusion", False, _THRESHOLD),
    "f1_weighted": Kind("confusion", False, _THRESHOLD),
    "precision_macro": Kind("confusion", False, _THRESHOLD),
    "precision_weighted": Kind("confusion", False, _THRESHOLD),
    "recall_macro": Kind("confusion", False, _THRESHOLD),
    "recall_weighted": Kind("confusion", False, _THRESHOLD),
    "matthews_corrcoef": Kind("confusion", False, _THRESHOLD),
    "roc_auc": Kind("scores", True, {"bins": 4096.0}),
    "pr_auc": Kind("scores", True, {"bins": 4096.0}),
    "coverage": Kind("predictions", False),
}


@dataclass(frozen=True)
class MetricSpec:
    """A metric and its parameters.

    Examples
    --------
    >>> str(parse_metric("precision@threshold=0.70"))
    'precision@threshold=0.7'
    >>> parse_metric("accuracy").kind.needs
    'confusion'
    """

    name: str
    parameters: tuple[tuple[str, float], ...] = ()

    @property
    def kind(self) -> Kind:
        """What the metric needs."""
        return KINDS[self.name]

    def parameter(self, name: str) -> Any:
        """Return a parameter's value, given or default."""
        return dict(self.parameters).get(name, self.kind.parameters.get(name))

    def __str__(self) -> str:
        given = ",".join(f"{k}={repr(v).removesuffix('.0')}" for k, v in self.parameters)
        return f"{self.name}@{given}" if given else self.name


def parse_metric(text: str) -> MetricSpec:
    """Read ``name`` or ``name@parameter=value,…``.

    Raises
    ------
    UnknownMetricError
        If there is no such metric.
    MetricParameterError
        If it doesn't take the parameter, or the value isn't a number in its range.
    """
    name, _, rest = str(text).strip().partition("@")
    if name not in KINDS:
        raise UnknownMetricError(name, KINDS)
    known = KINDS[name].parameters
    given: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        try:
            given[key.strip()] = float(value)
        except ValueError:
            raise MetricParameterError(text, key, f"the value {value!r} is not a number") from None
        if key.strip() not in known:
            raise MetricParameterError(text, key, f"it takes {', '.join(known) or 'none'}")
    for key, (low, high) in {"threshold": (0, 1), "beta": (0, 1e6), "bins": (2, 65536)}.items():
        if key in given and not low <= given[key] <= high:
            raise MetricParameterError(text, key, f"it must be in {low:g} to {high:g}")
    if not given.get("bins", 2.0).is_integer():
        raise MetricParameterError(text, "bins", "it must be a whole number")
    return MetricSpec(name, tuple(sorted(given.items())))
