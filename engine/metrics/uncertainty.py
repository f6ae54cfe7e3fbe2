"""Intervals, tests and supports of all figures: what is news, and what is a small slice's noise.

A slice is tested against its complement, the rows of the split outside it. Cells add up, so the
complement's are those of all rows less the slice's, and its replicates are so too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine.metrics.bootstrap import Replicates
from engine.metrics.classification import OK, PROPORTIONS, UNDEFINED, proportion, values
from engine.metrics.evaluate import SURE_COLUMNS, EvaluationSpec, confusions, histograms
from engine.metrics.intervals import (
    Interval,
    auc_interval,
    auc_variance,
    average_precision_interval,
    bootstrap_interval,
    rough,
    wilson,
)
from engine.metrics.ranking import average_precision
from engine.metrics.significance import (
    MIN_SUPPORT,
    Method,
    adjusted,
    auc_test,
    fisher,
    replicate_test,
    row_variance,
    sufficient,
)
from engine.metrics.spec import MetricSpec

INSUFFICIENT, ROUGH = "insufficient", "rough"
_RATES = ("f1", "fbeta")  # rest on rows that are positive or predicted so
_SLICES = 64  # whose histograms are held at a time


@dataclass(frozen=True)
class Confidence:
    """How sure figures must be.

    Attributes
    ----------
    level
        Confidence level of intervals.
    min_support
        A figure that rests on fewer rows has status "insufficient" and no test.
    correction
        ``bh``, ``by`` or ``none``: how p-values are corrected for the number of slices.
    clustered
        Whether replicates draw clusters of rows; then every interval is theirs.
    """

    level: float = 0.95
    min_support: int = MIN_SUPPORT
    correction: Method = "bh"
    clustered: bool = False


@dataclass(frozen=True)
class _Found:
    """One metric of all slices: the figure's interval, and how it differs from the complement's."""

    interval: Interval
    effect: np.ndarray
    p: np.ndarray
    rests_on: np.ndarray  # rows, or clusters: a share's denominator, a class of an area
    rough: np.ndarray | bool = False  # where the interval may cover less than it says


def needs_replicates(spec: EvaluationSpec, clustered: bool) -> bool:
    """Tell whether a metric's interval comes from replicates."""
    no_formula = spec.weighted or clustered
    return any(no_formula or m.name not in PROPORTIONS for m in spec.confusions)


def with_uncertainty(
    figures: pd.DataFrame,
    cells: pd.DataFrame,
    spec: EvaluationSpec,
    sure: Confidence,
    drawn: Replicates | None = None,
) -> pd.DataFrame:
    """Add to figures their intervals, differences to the complement and p-values.

    Parameters
    ----------
    figures
        What :func:`engine.metrics.evaluate.figures` returned for these cells.
    cells, spec
        The cells and what was evaluated.
    sure
        How sure figures must be.
    drawn
        Replicates; without them only proportions and roc_auc have intervals.

    Returns
    -------
    pd.DataFrame
        The figures with ``ci_low, ci_high, p_value, p_adjusted, effect``, NaN where there is
        none; ``effect`` is the slice's value less its complement's, which ``p_value`` is the test
        of; ``p_adjusted`` corrects for all slices of a model, split and metric. The status of a
        figure is "insufficient" where it rests on too few rows, and "rough" where its interval
        may cover less than it says.
    """
    shape = (1 + len(spec.slice_ids), len(spec.metrics))
    parts = []
    for (model, split), part in cells.groupby(["model_id", "split"], sort=True):
        at = (figures["model_id"] == model) & (figures["split"] == split)
        rows = figures[at].copy()
        reps = None if drawn is None else replicates_of(drawn, str(model), str(split))
        columns = {name: np.full(shape, np.nan) for name in SURE_COLUMNS}
        support = rows["support"].to_numpy().reshape(shape)
        exists = rows["status"].isin([OK, UNDEFINED]).to_numpy().reshape(shape)
        status = rows["status"].to_numpy(object).reshape(shape)
        for i, metric in enumerate(spec.metrics):
            found = _FIND[metric.kind.needs](part, metric, spec, sure, reps, support[:, i])
            enough = sufficient(found.rests_on, sure.min_support)
            status[exists[:, i] & found.rough, i] = ROUGH
            status[exists[:, i] & ~enough, i] = INSUFFICIENT
            p = np.where(exists[:, i] & enough, found.p, np.nan)
            p[0] = np.nan  # all rows have no complement
            columns["ci_low"][:, i] = np.where(exists[:, i], found.interval.low, np.nan)
            columns["ci_high"][:, i] = np.where(exists[:, i], found.interval.high, np.nan)
            columns["effect"][1:, i] = np.where(exists[1:, i], found.effect[1:], np.nan)
            columns["p_value"][:, i] = p
            columns["p_adjusted"][:, i] = adjusted(p, sure.correction)
        for name, values_ in columns.items():
            rows[name] = values_.ravel()
        rows["status"] = status.ravel()
        parts.append(rows)
    return pd.concat(parts)


def replicates_of(drawn: Replicates, model: str, split: str) -> Replicates:
    """Return the replicates of one model and split."""
    at = (drawn.groups["model_id"] == model) & (drawn.groups["split"] == split)
    clusters = None if drawn.clusters is None else {(model, split): drawn.clusters[model, split]}
    return Replicates(drawn.groups[at].reset_index(drop=True), drawn.drawn[at.to_numpy()], clusters)


def units_of(drawn: Replicates, rows: np.ndarray) -> np.ndarray:
    """Return how many rows, or clusters of them, one model and split had to draw of each slice."""
    if drawn.clusters is None:
        return rows
    (clusters,) = drawn.clusters.values()
    return clusters


def counts_of(part: pd.DataFrame, spec: EvaluationSpec, weighted: bool | None = None) -> np.ndarray:
    """Return cells' counts ``[cells, 1 + slices]``: of weights where there are any, or of rows."""
    weighted = spec.weighted if weighted is None else weighted
    letter = "w" if weighted else "n"
    names = [f"{letter}_{j}" for j in range(1 + len(spec.slice_ids))]
    return part[names].to_numpy(np.int64)


def _confusion(
    part: pd.DataFrame,
    metric: MetricSpec,
    spec: EvaluationSpec,
    sure: Confidence,
    drawn: Replicates | None,
    support: np.ndarray,
) -> _Found:
    all_of, _ = confusions(part, counts_of(part, spec), metric, spec)
    rest = all_of[0] - all_of
    value, value_rest = (values(metric, m, spec.positive) for m in (all_of, rest))
    effect = value - value_rest
    rows, _ = confusions(part, counts_of(part, spec, False), metric, spec)
    rests_on = _rests_on(metric, rows, spec.positive, support)
    share = proportion(metric, all_of, spec.positive)
    if share is not None and not (spec.weighted or sure.clustered):
        k, n = share
        p = fisher(k, n, k[0] - k, n[0] - n)
        return _Found(wilson(k, n, sure.level), effect, p, rests_on, rough(k, n))
    if drawn is None:
        return _nothing(effect, rests_on)
    rests_on = units_of(drawn, rests_on)
    each, _ = confusions(drawn.groups, drawn.drawn, metric, spec)
    replicates = values(metric, each, spec.positive)
    outside = values(metric, each[0] - each, spec.positive)
    # If the slice's rows were like all rows; a lucky slice has too small a spread of its own.
    with np.errstate(all="ignore"):
        # A cluster may be in the slice and outside it, so none are known to be others.
        others = np.inf if sure.clustered else rests_on[0] - rests_on
        floor = row_variance(replicates[0], rests_on[0]) * (1 / rests_on + 1 / others)
        smaller = np.minimum(rests_on, others)
    return _Found(
        bootstrap_interval(value, replicates, rests_on, sure.level),
        effect,
        replicate_test(effect, replicates - outside, smaller, floor),
        rests_on,
    )


def _rests_on(
    metric: MetricSpec, rows: np.ndarray, positive: int, support: np.ndarray
) -> np.ndarray:
    """Return how many rows a figure of confusions ``[slices, C, C]`` rests on."""
    share = proportion(metric, rows, positive)
    if share is not None:
        return share[1]
    if metric.name in _RATES:
        either = rows[..., positive, :].sum(axis=-1) + rows[..., :, positive].sum(axis=-1)
        return np.asarray(either - rows[..., positive, positive])
    return support


def _scores(
    part: pd.DataFrame,
    metric: MetricSpec,
    spec: EvaluationSpec,
    sure: Confidence,
    _: Replicates | None,
    support: np.ndarray,
) -> _Found:
    counts = counts_of(part, spec)
    columns = [np.full(len(support), np.nan) for _ in range(4)]
    sides = histograms(part, counts_of(part, spec, False), metric, spec)[0]
    rests_on = sides.sum(axis=-1).min(axis=0)
    whole = histograms(part, counts[:, :1], metric, spec)[0]
    for start in range(0, len(support), _SLICES):
        block = slice(start, start + _SLICES)
        own = histograms(part, counts[:, block], metric, spec)[0]
        found = _RANKED[metric.name](own, whole, sure.level)
        for column, values_ in zip(columns, found, strict=True):
            column[block] = values_
    low, high, effect, p = columns
    if spec.weighted or sure.clustered:
        return _nothing(effect, rests_on)
    return _Found(Interval(low, high), effect, p, rests_on)


_Ranked = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _roc(own: np.ndarray, whole: np.ndarray, level: float) -> _Ranked:
    """Return ends, effect and p of areas of histograms ``[2, slices, bins]``."""
    area, outside = (auc_variance(h[0], h[1]) for h in (own, whole - own))
    p = auc_test(area, outside, auc_variance(whole[0], whole[1]).value)
    return *auc_interval(own[0], own[1], level), area.value - outside.value, p


def _precision_recall(own: np.ndarray, whole: np.ndarray, level: float) -> _Ranked:
    value, outside = (
        np.array([average_precision(n, p).value for n, p in zip(*h, strict=True)], np.float64)
        for h in (own, whole - own)
    )
    low, high = average_precision_interval(value, own[1].sum(axis=-1), level)
    return low, high, value - outside, np.full(len(value), np.nan)


_RANKED: Mapping[str, Callable[[np.ndarray, np.ndarray, float], _Ranked]] = {
    "roc_auc": _roc,
    "pr_auc": _precision_recall,
}


def _predictions(
    part: pd.DataFrame,
    _: MetricSpec,
    spec: EvaluationSpec,
    sure: Confidence,
    __: Replicates | None,
    ___: np.ndarray,
) -> _Found:
    counts = counts_of(part, spec)
    n = counts.sum(axis=0)
    k = counts[part["pred"].to_numpy() >= 0].sum(axis=0)
    with np.errstate(all="ignore"):
        effect = k / n - (k[0] - k) / (n[0] - n)
    if spec.weighted or sure.clustered:
        return _nothing(effect, n)
    p = fisher(k, n, k[0] - k, n[0] - n)
    return _Found(wilson(k, n, sure.level), effect, p, n, rough(k, n))


def _nothing(effect: np.ndarray, rests_on: np.ndarray) -> _Found:
    none = np.full(len(effect), np.nan)
    return _Found(Interval(none, none), effect, none, rests_on)


_FIND: Mapping[str, Callable[..., _Found]] = {
    "confusion": _confusion,
    "scores": _scores,
    "predictions": _predictions,
}
