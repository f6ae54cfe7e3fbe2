"""The families of metrics: which state each has, and the formula that makes figures of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas import classification, columns, probability, ranking, regression
from engine.metrics.formulas.outputs import Classes
from engine.metrics.formulas.states import Addend, Count, State, Sum, Values

Pair = tuple[np.ndarray, np.ndarray]


def _no_share(
    _: MetricSpec, __: Mapping[str, np.ndarray], ___: Classes, ____: State
) -> Pair | None:
    return None


@dataclass(frozen=True)
class Family:
    """How metrics of one family are made.

    Attributes
    ----------
    addends
        What is added up.
    compute
        The formula, of states with any leading axes; the last argument is the state of all rows.
    support
        How many rows a figure is of.
    share
        Numerator and denominator of a figure that is a share of rows; None for others.
    rests_on
        How many rows decide a figure that is no share; the support unless given.
    replicated
        Whether intervals of what is no share come from bootstrap replicates.
    """

    addends: Callable[[MetricSpec, Classes], tuple[Addend, ...]]
    compute: Callable[[MetricSpec, State, Classes, State], Values]
    support: Callable[[MetricSpec, State, Classes], np.ndarray]
    share: Callable[[MetricSpec, Mapping[str, np.ndarray], Classes, State], Pair | None] = _no_share
    rests_on: Callable[[MetricSpec, State, Classes], np.ndarray] | None = None
    replicated: bool = True


FAMILIES: Mapping[str, Family] = {
    "confusion": Family(
        classification.addends,
        classification.of_state,
        classification.support,
        classification.share,
        classification.rests_on,
    ),
    "scores": Family(ranking.addends, ranking.of_state, ranking.support, replicated=False),
    "top": Family(
        ranking.addends, ranking.of_chosen, ranking.support, ranking.chosen_share, replicated=False
    ),
    "probability": Family(probability.addends, probability.of_state, probability.support),
    "calibration": Family(
        probability.calibration_addends,
        probability.calibration_error,
        probability.calibration_support,
    ),
    "hits": Family(
        probability.hits_addends, probability.hits, probability.hits_support, probability.hits_share
    ),
    "regression": Family(regression.addends, regression.of_state, regression.support),
    "undefined": Family(
        regression.addends, regression.of_state, regression.support, replicated=False
    ),
    "predictions": Family(
        columns.predicted_addends, columns.of_share, columns.share_support, columns.share
    ),
    "nulls": Family(columns.null_addends, columns.of_share, columns.share_support, columns.share),
    "column": Family(columns.mean_addends, columns.mean, columns.mean_support),
    "rows": Family(columns.rows_addends, columns.rows, columns.rows_support, replicated=False),
}


def family(metric: MetricSpec) -> Family:
    """Return a metric's family."""
    return FAMILIES[metric.family]


def is_share(metric: MetricSpec) -> bool:
    """Tell whether a metric is a share of rows, so that its interval and test have formulas.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> [is_share(parse_metric(m)) for m in ("recall@top=0.1", "f1", "top_k_accuracy", "mae")]
    [True, False, True, False]
    """
    if metric.kind.family == "confusion":
        return metric.name in classification.PROPORTIONS
    return metric.family in ("hits", "predictions", "nulls")


def compute(metric: MetricSpec, state: State, classes: Classes, whole: State) -> Values:
    """Compute a metric of a state; ``whole`` is the state of all rows."""
    return family(metric).compute(metric, state, classes, whole)


def addends_of(
    metrics: Iterable[MetricSpec], classes: Classes
) -> tuple[tuple[Count, ...], tuple[Sum, ...]]:
    """Return the counts and sums that metrics are made of, each once; all rows are the first.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> counts, sums = addends_of(map(parse_metric, ["f1", "recall", "mae"]), Classes((0, 1), 1))
    >>> [c.name for c in counts], [s.name for s in sums]
    (['rows', 'confusion', 'paired'], ['absolute_error'])
    """
    made_of = (a for m in metrics for a in family(m).addends(m, classes))
    found: dict[str, Addend] = {columns.ROWS.name: columns.ROWS}
    for addend in made_of:
        found.setdefault(addend.name, addend)
    counts = tuple(a for a in found.values() if isinstance(a, Count))
    return counts, tuple(a for a in found.values() if isinstance(a, Sum))
