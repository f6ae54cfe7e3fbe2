"""The families of metrics by name, and what is added up for many metrics at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas.classification import PROPORTIONS, Confusion
from engine.metrics.formulas.columns import ROWS, ColumnMean, Nulls, Predicted, Rows
from engine.metrics.formulas.outputs import Classes
from engine.metrics.formulas.probability import Calibration, Hits, MeanLoss
from engine.metrics.formulas.ranking import Ranking, Top
from engine.metrics.formulas.regression import Regression, Undefined
from engine.metrics.formulas.states import Addend, Count, Family, State, Sum, Values

FAMILIES: Mapping[str, type[Family]] = {
    "confusion": Confusion,
    "scores": Ranking,
    "top": Top,
    "probability": MeanLoss,
    "calibration": Calibration,
    "hits": Hits,
    "regression": Regression,
    "undefined": Undefined,
    "predictions": Predicted,
    "nulls": Nulls,
    "column": ColumnMean,
    "rows": Rows,
}


def family(metric: MetricSpec, classes: Classes) -> Family:
    """Return a metric as its family makes it."""
    return FAMILIES[metric.family](metric, classes)


def is_share(metric: MetricSpec) -> bool:
    """Tell whether a metric is a share of rows, so that its interval and test have formulas.

    Examples
    --------
    >>> from engine.metrics.catalog import parse_metric
    >>> [is_share(parse_metric(m)) for m in ("recall@top=0.1", "f1", "top_k_accuracy", "mae")]
    [True, False, True, False]
    """
    if metric.kind.family == "confusion":
        return metric.name in PROPORTIONS
    return metric.family in ("hits", "predictions", "nulls")


def compute(metric: MetricSpec, state: State, classes: Classes, whole: State) -> Values:
    """Compute a metric of a state; ``whole`` is the state of all rows."""
    return family(metric, classes).compute(state, whole)


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
    by_name: dict[str, Addend] = {ROWS.name: ROWS}
    for metric in metrics:
        for addend in family(metric, classes).addends():
            by_name.setdefault(addend.name, addend)
    counts = tuple(a for a in by_name.values() if isinstance(a, Count))
    return counts, tuple(a for a in by_name.values() if isinstance(a, Sum))
