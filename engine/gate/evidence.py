"""How sure a figure is on one side of a bound: p-values from what the metrics table has of it.

The table has a figure, its interval and, of shares, thereby its rows: an interval of Wilson's
belongs to one number of rows, so a test of a share is exact at any size. Of other figures the
interval is taken for normal, on the log odds' scale where the metric is one from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logit, ndtr, ndtri
from scipy.stats import binom

from engine.metrics.catalog import KINDS, parse_metric
from engine.metrics.formulas.families import is_share
from engine.metrics.formulas.states import INSUFFICIENT, ROUGH
from engine.metrics.inference.intervals import wilson
from engine.metrics.inference.significance import fisher

_SIGNED = ("matthews_corrcoef", "cohen_kappa")
_UNIT = ("confusion", "scores", "calibration", "hits", "predictions", "nulls")
_FARTHEST, _HALVINGS = 8.0, 50  # standard errors, farther than which float64 has no level
_NEAR = 1e-9  # of a number of rows, relative
_VALUED = ("ok", ROUGH, INSUFFICIENT)  # statuses of figures that are numbers


class Rows(NamedTuple):
    """Of how many rows a share is, and how many of them count."""

    k: int
    n: int


@dataclass(frozen=True)
class Figure:
    """A figure as the metrics table has it.

    Attributes
    ----------
    value, low, high
        The figure and its interval; NaN where there is none.
    support
        Rows.
    status
        Why there is none, or how sure it is.
    p_value, effect
        The test against the rows outside the slice, and the difference from them.
    """

    value: float
    low: float
    high: float
    support: int
    status: str
    p_value: float = np.nan
    effect: float = np.nan

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Figure:
        """Return a figure of a row of the metrics table."""
        value, low, high, p_value, effect = (
            np.nan if row[c] is None else float(row[c])
            for c in ("value", "ci_low", "ci_high", "p_value", "effect")
        )
        return cls(value, low, high, int(row["support"]), str(row["status"]), p_value, effect)

    @classmethod
    def share(cls, rows: Rows, level: float) -> Figure:
        """Return a share of rows with Wilson's interval."""
        k, n = rows
        low, high = (float(end) for end in wilson(np.array(k), np.array(n), level))
        return cls(k / n, low, high, n, "ok")

    @property
    def is_number(self) -> bool:
        """Whether there is a figure: 0/0, which is given as 0, is none."""
        return self.status in _VALUED and bool(np.isfinite(self.value))


def rows_of(figure: Figure, level: float) -> Rows | None:
    """Return the rows that a Wilson interval is of; None where it is another.

    Parameters
    ----------
    figure
        A share of rows.
    level
        Of its interval.

    Examples
    --------
    >>> rows_of(Figure.share(Rows(45, 50), 0.95), 0.95)
    Rows(k=45, n=50)
    """
    p, half, z = figure.value, (figure.high - figure.low) / 2, _z(level)
    if not 0 < half < 0.5:  # noqa: PLR2004 - half of all there is
        return None
    # Wilson 1927: half²·(1 + u)² = u·p·(1 - p) + u²/4 with u = z²/n, of which one root is positive.
    a, b, c = half**2 - 0.25, 2 * half**2 - p * (1 - p), half**2
    n = z**2 * 2 * a / (-b - np.sqrt(b**2 - 4 * a * c))
    rows = Rows(round(p * n), round(n))
    near = _NEAR * n + 1e-6
    if rows.n < 1 or abs(rows.n - n) > near or abs(rows.k - p * n) > near:
        return None
    low, high = wilson(np.array(rows.k), np.array(rows.n), level)
    same = abs(low - figure.low) < _NEAR and abs(high - figure.high) < _NEAR
    return rows if same else None


def share_rows(metric: str, figure: Figure, level: float) -> Rows | None:
    """Return the rows of a figure that is a share; None where it is none, or isn't known."""
    name = metric.partition("@")[0]
    return rows_of(figure, level) if name in KINDS and is_share(parse_metric(metric)) else None


def p_of_bound(metric: str, figure: Figure, bound: float, level: float) -> float:
    """Return the two-sided p-value of a figure that should be a number; NaN where there is none.

    Parameters
    ----------
    metric, figure
        What was measured.
    bound
        The number.
    level
        Of the figure's interval.

    Examples
    --------
    >>> f"{p_of_bound('accuracy', Figure.share(Rows(0, 17), 0.95), 0.86, 0.95):.0e}"
    '6e-15'
    """
    rows = share_rows(metric, figure, level)
    if rows is not None:
        tail = (
            binom.cdf(rows.k, rows.n, bound)
            if figure.value < bound
            else binom.sf(rows.k - 1, rows.n, bound)
        )
        return 1.0 if figure.value == bound else min(1.0, 2 * float(tail))
    if figure.status == INSUFFICIENT:
        return np.nan
    end = figure.low if figure.value > bound else figure.high
    if _is_unit(metric) and 0 < figure.value < 1 and 0 < end < 1:
        figures = np.clip([figure.value, bound, end], 0, 1)
        value, at, last = logit(figures)
        return _p(value - at, value - last, level)
    return _p(figure.value - bound, figure.value - end, level)


def p_of_difference(
    metric: str, figure: Figure, other: Figure, factor: float, number: float, level: float
) -> float:
    """Return the two-sided p-value that a figure is another one times a factor plus a number.

    Both are taken for independent, which is cautious where they share rows. Two shares that should
    be the same are tested exactly (Fisher 1935); that one is so much more than the other by
    Wilson's limits of both (Newcombe 1998, method 10), at any number of rows. Of other figures the
    difference's variance on either side comes from both intervals' ends (Zou and Donner 2008).

    Examples
    --------
    >>> a, b = (Figure(v, v - 0.05, v + 0.05, 400, "ok") for v in (0.7, 0.8))
    >>> round(p_of_difference("f1", a, b, 1.0, 0.0, 0.95), 4)
    0.0056
    """
    off = figure.value - factor * other.value - number
    own, others = share_rows(metric, figure, level), share_rows(metric, other, level)
    if own is not None and others is not None and off != 0:
        if factor == 1 and number == 0:
            return float(fisher(*(np.array(n) for n in (*own, *others))))
        return _newcombe(own, others, factor, off)
    if INSUFFICIENT in (figure.status, other.status):
        return np.nan
    end = _end(figure, other, factor, off)
    return _p(off, end, level)


def _end(figure: Figure, other: Figure, factor: float, off: float) -> float:
    """Return how far a difference's limit is from it, towards 0, given both intervals."""
    below, above = (figure.value - figure.low, other.high - other.value)
    if off < 0:
        below, above = (figure.high - figure.value, other.value - other.low)
    return float(np.hypot(below, factor * above))


def _newcombe(own: Rows, others: Rows, factor: float, off: float) -> float:
    """Return the level at which a difference's limit is 0, by halving."""
    low, high = 0.0, _FARTHEST
    for _ in range(_HALVINGS):
        z = (low + high) / 2
        one, other = (Figure.share(rows, float(2 * ndtr(z) - 1)) for rows in (own, others))
        low, high = (z, high) if _end(one, other, factor, off) < abs(off) else (low, z)
    return float(2 * ndtr(-low))


def complement(metric: str, figure: Figure, overall: Figure, level: float) -> Figure:
    """Return the figure of the rows outside a slice, from those of the slice and of all rows.

    A share's is exact; of others the interval is that of all rows, widened for being of fewer.

    Examples
    --------
    >>> counts = [Rows(40, 50), Rows(130, 150), Rows(90, 100)]
    >>> part, whole, rest = (Figure.share(rows, 0.95) for rows in counts)
    >>> complement("accuracy", replace(part, effect=-0.1), whole, 0.95) == rest
    True
    """
    part, whole = share_rows(metric, figure, level), share_rows(metric, overall, level)
    n = overall.support - figure.support
    if part is not None and whole is not None and 0 <= whole.k - part.k <= whole.n - part.n > 0:
        rest = Rows(whole.k - part.k, whole.n - part.n)
        return replace(Figure.share(rest, level), support=n)
    value = figure.value - figure.effect
    wider = np.sqrt(overall.support / n) if n > 0 else np.nan
    low, high = ((end - overall.value) * wider + value for end in (overall.low, overall.high))
    return Figure(value, low, high, n, overall.status)


def rows_to_settle(p: float, alpha: float, rows: int) -> int | None:
    """Return about how many rows would settle a check, if they are like those that there are.

    Distances from a bound in standard errors grow as the root of the rows. None where the figure is
    at its bound, or billions would be needed.

    Parameters
    ----------
    p
        The p-value of the rows that there are.
    alpha
        What it must be at most.
    rows
        How many there are.

    Examples
    --------
    >>> rows_to_settle(0.3173, 0.05, 1_000), rows_to_settle(1.0, 0.05, 1_000)
    (3842, None)
    """
    now, needed = -float(ndtri(p / 2)), -float(ndtri(alpha / 2))
    most = 1e10
    wanted = rows * (needed / now) ** 2 if now > 0 else np.inf
    return int(np.ceil(wanted)) if wanted < most else None


def share_rows_to_settle(figure: Figure, rows: Rows, bound: float, alpha: float) -> int | None:
    """Return about how many rows of a slice would settle that a share isn't at a bound.

    An exact test of few rows is cautious, and knows too little of what many would do: here the
    share is taken for normal.

    Parameters
    ----------
    figure, rows
        The share, and the rows that decide it.
    bound, alpha
        The bound, and what the p-value must be at most.

    Examples
    --------
    >>> share_rows_to_settle(Figure.share(Rows(45, 50), 0.95), Rows(45, 50), 0.87, 0.05)
    483
    """
    errors = abs(figure.value - bound) / np.sqrt(bound * (1 - bound) / rows.n)
    return rows_to_settle(float(2 * ndtr(-errors)), alpha, figure.support)


def _is_unit(metric: str) -> bool:
    name = metric.partition("@")[0]
    return name == "brier" or (
        name in KINDS and KINDS[name].family in _UNIT and name not in _SIGNED
    )


def _p(off: float, end: float, level: float) -> float:
    """Return the p-value of a distance, given that of the interval's end; NaN without an end."""
    if np.isnan(off) or np.isnan(end):
        return np.nan
    if off == 0:
        return 1.0
    if end == 0:
        return np.nan
    return float(2 * ndtr(-_z(level) * abs(off / end)))


def _z(level: float) -> float:
    return float(ndtri((1 + level) / 2))
