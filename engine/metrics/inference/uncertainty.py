"""Intervals, tests and supports of all figures: what is news, and what is a small slice's noise.

A slice is tested against its complement, the rows of the split outside it. States add up, so the
complement's is that of all rows less the slice's, and its replicates are so too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import get_args

import numpy as np
import pandas as pd

from engine.arguments import choice, flag, number, whole
from engine.errors import ArgumentError
from engine.masks.splits import by_split
from engine.metrics.catalog import MetricSpec, is_biased
from engine.metrics.formulas.families import family, is_share
from engine.metrics.formulas.ranking import average_precision, histogram_of, histograms
from engine.metrics.formulas.states import (
    INSUFFICIENT,
    ROUGH,
    SINGLE_CLASS,
    STATUSES,
    Family,
    Pair,
)
from engine.metrics.inference.figures import OK, SURE_COLUMNS, UNDEFINED
from engine.metrics.inference.intervals import (
    Interval,
    auc_interval,
    auc_variance,
    average_precision_interval,
    bootstrap_interval,
    newcombe,
    rough,
    wilson,
)
from engine.metrics.inference.significance import (
    MIN_SUPPORT,
    Method,
    Spread,
    adjusted,
    area_error,
    fisher,
    least_fisher,
    level_of_selected,
    row_variance,
    spread_of,
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
        A figure that fewer rows decide has status "insufficient", and no test but an exact one.
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
    effect_at: Callable[[float], Interval]  # a level to the effect's intervals
    rough: np.ndarray | bool = False  # where the interval may cover less than it says
    least_p: np.ndarray | None = None  # of an exact test: the least p that there could be

    def tests(self, confidence: Confidence) -> Pair:
        """Return which tests are made, and which of these some outcome makes significant."""
        if self.least_p is None:
            enough = sufficient(self.decisive, confidence.min_support)
            return enough, enough
        return np.isfinite(self.p), self.least_p <= 1 - confidence.level


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
        The figures with ``SURE_COLUMNS``, NaN where there is none. ``effect`` is the slice's value
        less its complement's, which ``p_value`` is the test of; ``p_adjusted`` corrects for all
        slices of a model, split and metric, of which a test could be significant; ``effect_low``
        and ``effect_high`` are the effect's interval, corrected for all that the split's findings
        are chosen from; ``n_decisive`` is how many rows, or clusters, decide the figure. Its status
        is "insufficient" where these are too few, "rough" where its interval may cover less than it
        says, "single_class" where labels of one class decide it, which isn't compared.
    """
    if figures.empty:
        return figures.reindex(columns=[*figures.columns, *SURE_COLUMNS, "n_decisive"])
    each = len(figures) // len(counts.parts)
    parts = [
        _Part.of(part, figures.iloc[k * each : (k + 1) * each].copy(), spec, confidence)
        for k, (_, part) in enumerate(by_split(counts.parts))
    ]
    splits = [split for (_, split), _ in by_split(counts.parts)]
    for split in dict.fromkeys(splits):
        here = [part for part, of in zip(parts, splits, strict=True) if of == split]
        p = np.concatenate([part.choices(spec) for part in here])
        level = level_of_selected(p, confidence.level, confidence.correction)
        for part in here:
            part.bound_effects(level)
    return pd.concat([part.table() for part in parts])


@dataclass(frozen=True)
class _Part:
    """A model's and split's figures, the columns that are added to them, and what these are of."""

    rows: pd.DataFrame
    columns: Mapping[str, np.ndarray]  # [1 + S, metrics] each, those of the user's own last
    inferences: Sequence[_Inference]

    @classmethod
    def of(
        cls, part: Part, rows: pd.DataFrame, spec: EvaluationSpec, confidence: Confidence
    ) -> _Part:
        """Find all but the effects' intervals."""
        size = 1 + len(spec.slice_ids)
        shape = size, len(rows) // size
        value, status, support = (
            rows[c].to_numpy().reshape(shape) for c in ("value", "status", "support")
        )
        status = status.astype(object)
        exists = np.isin(status, [OK, UNDEFINED])
        columns = {name: np.full(shape, np.nan) for name in SURE_COLUMNS}
        columns |= {"status": status, "n_decisive": support.copy()}
        inferences = []
        for i, metric in enumerate(spec.metrics):
            of = _FIND.get(metric.family, _of_states)(part, metric, spec, confidence, value[:, i])
            inferences.append(of)
            here = exists[:, i]
            own, outside = _of_one_class(part, metric, spec)
            status[own & (status[:, i] == OK), i] = STATUSES[SINGLE_CLASS]
            status[here & of.rough, i] = ROUGH
            enough = sufficient(of.decisive, confidence.min_support)
            status[here & ~enough & (metric.family not in _COUNTED), i] = INSUFFICIENT
            tested, telling = of.tests(confidence)
            p = np.where(here & tested & ~own & ~outside, of.p, np.nan)
            p[0] = np.nan  # all rows have no complement
            columns["ci_low"][:, i] = np.where(here, of.interval.low, np.nan)
            columns["ci_high"][:, i] = np.where(here, of.interval.high, np.nan)
            columns["effect"][1:, i] = np.where(here[1:], of.effect[1:], np.nan)
            columns["p_value"][:, i] = p
            of_family = np.where(telling, p, np.nan)
            columns["p_adjusted"][:, i] = adjusted(of_family, confidence.correction)
            columns["n_decisive"][:, i] = np.where(here, of.decisive, 0)
        # The user's own metrics have neither interval nor test, but few rows are few.
        users = slice(len(spec.metrics), None)
        few = support < confidence.min_support
        status[:, users][exists[:, users] & few[:, users]] = INSUFFICIENT
        return cls(rows, columns, inferences)

    def choices(self, spec: EvaluationSpec) -> np.ndarray:
        """Return the p-values of what is better or worse, from which findings are chosen."""
        directed = [
            i for i, m in enumerate(spec.metrics) if m.kind.better and not is_biased(m.name)
        ]
        telling = np.isfinite(self.columns["p_adjusted"][:, directed])
        return np.where(telling, self.columns["p_value"][:, directed], np.nan).ravel()

    def bound_effects(self, level: float) -> None:
        """Add the effects' intervals of a level, of those that are tested."""
        for i, of in enumerate(self.inferences):
            tested = np.isfinite(self.columns["p_value"][:, i])
            for name, ends in zip(("effect_low", "effect_high"), of.effect_at(level), strict=True):
                self.columns[name][:, i] = np.where(tested, ends, np.nan)

    def table(self) -> pd.DataFrame:
        """Return the figures with the columns."""
        return self.rows.assign(**{name: values.ravel() for name, values in self.columns.items()})


def _of_one_class(part: Part, metric: MetricSpec, spec: EvaluationSpec) -> Pair:
    """Return where labels of one class decide a slice's figure, and where its complement's.

    Where all rows are of one class, slice and complement can be compared as any others.
    """
    of, whole = family(metric, spec.labels), part.state.at(0)
    own = part.state.only(*(addend.name for addend in of.addends()))
    alone = of.one_class(own, whole)
    if alone is None or alone[0]:
        none = np.zeros(len(part.state.rows["rows"]), bool)
        return none, none
    outside = of.one_class(own.less(own.at(0)), whole)
    assert outside is not None
    return alone, outside


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
            outer = k[0] - k, n[0] - n
            return _Inference(
                wilson(k, n, confidence.level), effect, fisher(k, n, *outer), rows,
                lambda level: newcombe((k, n), outer, level),
                rough(k, n), least_fisher(n, k[0], n[0]),
            )  # fmt: skip
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
    spread = spread_of((replicates - rest) / unit, smaller, floor)
    return _Inference(
        bootstrap_interval(value, replicates, rows, confidence.level),
        effect,
        spread.test(effect / unit),
        rows,
        lambda level: Interval(*(end * unit for end in spread.interval(effect / unit, level))),
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
    low, high, outside, error = columns
    for at, (score, positive, _) in part.scores.items():  # a small slice's is of the scores
        sides = np.stack(histogram_of(positive, score))[:, None]
        low[at], high[at] = (end[0] for end in _ends(metric, sides, confidence.level))
    if spec.weighted or confidence.clustered:
        return _nothing(value - outside, rows)
    effect, spread = value - outside, Spread(error)
    return _Inference(
        Interval(low, high), effect, spread.test(effect), rows, partial(spread.interval, effect)
    )


def _ends(metric: MetricSpec, own: np.ndarray, level: float) -> Interval:
    """Return the intervals of areas of histograms ``[2, slices, bins]``."""
    if metric.name == "roc_auc":
        return auc_interval(own[0], own[1], level)
    return average_precision_interval(average_precision(*own), own[1].sum(axis=-1), level)


def _against_others(metric: MetricSpec, own: np.ndarray, whole: np.ndarray) -> Pair:
    """Return the complements' areas, and the differences' errors; none of average precisions."""
    if metric.name == "pr_auc":
        return average_precision(*(whole - own)), np.full(own.shape[1], np.nan)
    area, outside = (auc_variance(h[0], h[1]) for h in (own, whole - own))
    return outside.value, area_error(area, outside, auc_variance(whole[0], whole[1]).value)


_INTERVALS = {"roc_auc": "DeLong", "pr_auc": "Boyd"}


def _counted(
    part: Part, metric: MetricSpec, spec: EvaluationSpec, confidence: Confidence, value: np.ndarray
) -> _Inference:
    """Find nothing: a count of rows is what it is."""
    return _nothing(np.full(len(value), np.nan), value)


def _nothing(effect: np.ndarray, rows: np.ndarray) -> _Inference:
    none = np.full(len(effect), np.nan)
    return _Inference(Interval(none, none), effect, none, rows, lambda level: Interval(none, none))


_FIND: Mapping[
    str, Callable[[Part, MetricSpec, EvaluationSpec, Confidence, np.ndarray], _Inference]
] = {
    "scores": _scores,
    "rows": _counted,
    "undefined": _counted,
}
