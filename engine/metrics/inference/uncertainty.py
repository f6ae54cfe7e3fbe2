"""Intervals, tests and supports of all figures: what is news, and what is a small slice's noise.

A slice is tested against its complement, the rows of the split outside it. States add up, so the
complement's is that of all rows less the slice's, and its replicates are so too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
import pandas as pd

from engine.arguments import choice, flag, number, whole
from engine.errors import ArgumentError
from engine.masks.splits import by_split
from engine.metrics.catalog import MetricSpec
from engine.metrics.formulas.families import family, is_share
from engine.metrics.formulas.ranking import average_precision, histogram_of, histograms
from engine.metrics.formulas.states import INSUFFICIENT, ROUGH, Family, Pair
from engine.metrics.inference.figures import OK, SURE_COLUMNS, UNDEFINED
from engine.metrics.inference.intervals import (
    Interval,
    auc_interval,
    auc_variance,
    average_precision_interval,
    bootstrap_interval,
    rough,
    wilson,
)
from engine.metrics.inference.significance import (
    MIN_SUPPORT,
    Method,
    adjusted,
    auc_test,
    fisher,
    replicate_test,
    row_variance,
    sufficient,
    unit_of,
)
from engine.metrics.scan.form import EvaluationSpec, Part, Scan

_COUNTED = ("rows", "undefined")
_SLICES = 64  # whose histograms are held at a time


@dataclass(frozen=True)
class Confidence:
    """How sure figures must be.

    Attributes
    ----------
    level
        Confidence level of intervals.
    min_support
        A figure that fewer rows decide has status "insufficient" and no test.
    correction
        ``bh``, ``by`` or ``none``: how p-values are corrected for the number of slices.
    clustered
        Whether replicates draw clusters of rows; then every interval is theirs.
    budget_mb
        How many 2**20 bytes the scores of small slices, and replicates, may take on the driver,
        of each split: see :mod:`engine.metrics.inference.budget`.
    """

    level: float = 0.95
    min_support: int = MIN_SUPPORT
    correction: Method = "bh"
    clustered: bool = False
    budget_mb: int = 512

    def __post_init__(self) -> None:
        level = self.level
        percent = isinstance(level, int | float) and 1 < level < 100  # noqa: PLR2004
        hint = f"; write level={level / 100:g} for {level:g} %" if percent else ""
        number("Confidence", "level", level, 0, 1, hint)
        if level in (0, 1):
            raise ArgumentError("Confidence", "level", "between 0 and 1", level)
        whole("Confidence", "min_support", self.min_support, 0)
        choice("Confidence", "correction", self.correction, get_args(Method))
        flag("Confidence", "clustered", self.clustered)
        whole("Confidence", "budget_mb", self.budget_mb, 0)


@dataclass(frozen=True)
class _Inference:
    """One metric of all slices: the figure's interval, and how it differs from the complement's."""

    interval: Interval
    effect: np.ndarray
    p: np.ndarray
    decisive: np.ndarray  # rows, or clusters: a share's denominator, a class of an area
    rough: np.ndarray | bool = False  # where the interval may cover less than it says


def needs_replicates(spec: EvaluationSpec, clustered: bool) -> bool:
    """Tell whether a metric's interval comes from replicates."""
    no_formula = spec.weighted or clustered
    return any(no_formula or not is_share(m) for m in spec.replicable)


def interval_source(metric: MetricSpec, spec: EvaluationSpec, clustered: bool) -> str:
    """Say where a metric's interval comes from.

    Examples
    --------
    >>> spec = EvaluationSpec([], [], (0, 1), 1)
    >>> [interval_source(MetricSpec(m), spec, False) for m in ("recall", "f1", "roc_auc", "count")]
    ['Wilson', 'replicates', 'DeLong', 'none']
    """
    no_formula = spec.weighted or clustered
    if metric.kind.family == "scores":
        return "none" if no_formula else _INTERVALS[metric.name]
    if is_share(metric) and not no_formula:
        return "Wilson"
    return "replicates" if metric in replace(spec, metrics=[metric]).replicable else "none"


def with_uncertainty(
    figures: pd.DataFrame, counts: Scan, spec: EvaluationSpec, confidence: Confidence
) -> pd.DataFrame:
    """Add to figures their intervals, differences to the complement and p-values.

    Parameters
    ----------
    figures
        What :func:`engine.metrics.inference.figures.figures_and_problems` returned.
    counts, spec
        What was added up, and what was evaluated.
    confidence
        How sure figures must be.

    Returns
    -------
    pd.DataFrame
        The figures with ``ci_low, ci_high, p_value, p_adjusted, effect``, NaN where there is
        none; ``effect`` is the slice's value less its complement's, which ``p_value`` is the test
        of; ``p_adjusted`` corrects for all slices of a model, split and metric. The status of a
        figure is "insufficient" where too few rows decide it, and "rough" where its interval
        may cover less than it says.
    """
    if figures.empty:
        return figures.reindex(columns=[*figures.columns, *SURE_COLUMNS])
    each, size = len(figures) // len(counts.parts), 1 + len(spec.slice_ids)
    shape = (size, each // size)
    tables = []
    for k, (_, part) in enumerate(by_split(counts.parts)):
        rows = figures.iloc[k * each : (k + 1) * each].copy()
        columns = {name: np.full(shape, np.nan) for name in SURE_COLUMNS}
        value, status = (rows[c].to_numpy().reshape(shape) for c in ("value", "status"))
        status = status.astype(object)
        exists = np.isin(status, [OK, UNDEFINED])
        for i, metric in enumerate(spec.metrics):
            of = _FIND.get(metric.family, _of_states)(part, metric, spec, confidence, value[:, i])
            here = exists[:, i]
            status[here & of.rough, i] = ROUGH
            enough = sufficient(of.decisive, confidence.min_support)
            status[here & ~enough & (metric.family not in _COUNTED), i] = INSUFFICIENT
            p = np.where(here & enough, of.p, np.nan)
            p[0] = np.nan  # all rows have no complement
            columns["ci_low"][:, i] = np.where(here, of.interval.low, np.nan)
            columns["ci_high"][:, i] = np.where(here, of.interval.high, np.nan)
            columns["effect"][1:, i] = np.where(here[1:], of.effect[1:], np.nan)
            columns["p_value"][:, i] = p
            columns["p_adjusted"][:, i] = adjusted(p, confidence.correction)
        # The user's own metrics have neither interval nor test, but few rows are few.
        own = slice(len(spec.metrics), None)
        few = rows["support"].to_numpy().reshape(shape) < confidence.min_support
        status[:, own][exists[:, own] & few[:, own]] = INSUFFICIENT
        for name, values in columns.items():
            rows[name] = values.ravel()
        rows["status"] = status.ravel()
        tables.append(rows)
    return pd.concat(tables)


def units_of(part: Part, rows: np.ndarray) -> np.ndarray:
    """Return how many rows, or clusters of them, there were to draw of each slice."""
    return rows if part.clusters is None else part.clusters


def decisive_rows(of: Family, part: Part) -> np.ndarray:
    """Return how many rows decide a figure of each slice, ``[1 + S]``: a share's denominator."""
    share = of.share(part.state.rows, part.state.at(0))
    return of.decisive(part.state) if share is None else share[1]


def _of_states(
    part: Part, metric: MetricSpec, spec: EvaluationSpec, confidence: Confidence, value: np.ndarray
) -> _Inference:
    of, whole = family(metric, spec.labels), part.state.at(0)
    rows = decisive_rows(of, part)
    share = of.share(part.state.weights, whole)
    names = [addend.name for addend in of.addends()]
    own = part.state.only(*names)
    outside = own.less(own.at(0))
    if share is not None:
        k, n = share
        others = of.share(outside.weights, whole)
        assert others is not None
        with np.errstate(all="ignore"):
            effect = k / n - others[0] / others[1]
        if not (spec.weighted or confidence.clustered):
            p = fisher(k, n, k[0] - k, n[0] - n)
            return _Inference(wilson(k, n, confidence.level), effect, p, rows, rough(k, n))
    else:
        effect = value - of.compute(outside, whole).defined
    if part.replicates is None or metric not in spec.replicable:
        return _nothing(effect, rows)
    drawn = part.replicates.only(*names)
    all_drawn = drawn.at(0)
    replicates = of.compute(drawn, all_drawn).defined
    rest = of.compute(drawn.less(all_drawn), all_drawn).defined
    rows = units_of(part, rows)
    unit = unit_of(effect, replicates)
    # If the slice's rows were like all rows; a lucky slice has too small a spread of its own.
    with np.errstate(all="ignore"):
        # A cluster may be in the slice and outside it, so none are known to be others.
        rows_outside = np.inf if confidence.clustered else rows[0] - rows
        floor = row_variance(replicates[0] / unit, rows[0]) * (1 / rows + 1 / rows_outside)
        smaller = np.minimum(rows, rows_outside)
    return _Inference(
        bootstrap_interval(value, replicates, rows, confidence.level),
        effect,
        replicate_test(effect / unit, (replicates - rest) / unit, smaller, floor),
        rows,
    )


def _scores(
    part: Part, metric: MetricSpec, spec: EvaluationSpec, confidence: Confidence, value: np.ndarray
) -> _Inference:
    negatives, positives = histograms(metric, part.state.weights)
    rows = np.minimum(*(h.sum(axis=-1) for h in histograms(metric, part.state.rows)))
    columns = [np.full(len(value), np.nan) for _ in range(4)]
    whole = np.stack([negatives[:1], positives[:1]])
    for start in range(0, len(value), _SLICES):
        block = slice(start, start + _SLICES)
        own = np.stack([negatives[block], positives[block]])
        of_block = *_ends(metric, own, confidence.level), *_against_others(metric, own, whole)
        for column, values in zip(columns, of_block, strict=True):
            column[block] = values
    low, high, outside, p = columns
    for at, (score, positive, _) in part.scores.items():  # a small slice's is of the scores
        sides = np.stack(histogram_of(positive, score))[:, None]
        low[at], high[at] = (end[0] for end in _ends(metric, sides, confidence.level))
    if spec.weighted or confidence.clustered:
        return _nothing(value - outside, rows)
    return _Inference(Interval(low, high), value - outside, p, rows)


def _ends(metric: MetricSpec, own: np.ndarray, level: float) -> Interval:
    """Return the intervals of areas of histograms ``[2, slices, bins]``."""
    if metric.name == "roc_auc":
        return auc_interval(own[0], own[1], level)
    return average_precision_interval(average_precision(*own), own[1].sum(axis=-1), level)


def _against_others(metric: MetricSpec, own: np.ndarray, whole: np.ndarray) -> Pair:
    """Return the complements' areas, and p; none of areas under the precision-recall curve."""
    if metric.name == "pr_auc":
        return average_precision(*(whole - own)), np.full(own.shape[1], np.nan)
    area, outside = (auc_variance(h[0], h[1]) for h in (own, whole - own))
    return outside.value, auc_test(area, outside, auc_variance(whole[0], whole[1]).value)


_INTERVALS = {"roc_auc": "DeLong", "pr_auc": "Boyd"}


def _counted(
    part: Part, metric: MetricSpec, spec: EvaluationSpec, confidence: Confidence, value: np.ndarray
) -> _Inference:
    """Find nothing: a count of rows is what it is."""
    return _nothing(np.full(len(value), np.nan), value)


def _nothing(effect: np.ndarray, rows: np.ndarray) -> _Inference:
    none = np.full(len(effect), np.nan)
    return _Inference(Interval(none, none), effect, none, rows)


_FIND: Mapping[
    str, Callable[[Part, MetricSpec, EvaluationSpec, Confidence, np.ndarray], _Inference]
] = {
    "scores": _scores,
    "rows": _counted,
    "undefined": _counted,
}
