"""Gates that are asked every night and cry wolf seldom: evidence against a rule, over new rows.

A rule on a share of rows says that each row's score is 0 or more on average: of accuracy >= c a
right row scores 1 - c and a wrong one -c; of F1 >= c a true positive scores 2·(1 - c), a false
positive or negative -c. Who bets on the scores being below 0 can't hope to win while the rule
holds: the bets' wealth is an e-process, and that it ever grows A-fold has a probability of at most
1/A (Ville 1939; Waudby-Smith and Ramdas 2023), however often one looks.

Wealth that was lost in good months would hide a bad week. So a stake is put in each day and all
wealth decays, over a year, as in e-detectors (Shin, Ramdas and Rinaldo 2023). At any time a wealth
of at most a half is expected, and a year puts in no more than another half. Therefore a year has a
false alarm, of all rules and slices together, with a probability of at most 5 %.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from engine.gate.evidence import Figure, Rows, share_rows
from engine.gate.rules import Rule
from engine.metrics.catalog import KINDS, MetricSpec, parse_metric
from engine.metrics.formulas.families import is_share

YEARLY = 0.05  # the chance of a false alarm in a year, of all series together
YEAR = 365.0  # days
# What is bet on: so much lower are the odds of a row's being good than at the bound.
SHIFTS = (0.1, 0.2, 0.4, 0.8, 1.6)
_HALF = 0.5
_MOST = 1e300  # wealth, beyond which nothing is known better
_F = ("f1", "fbeta")


@dataclass(frozen=True)
class Bets:
    """The bets against one rule.

    Attributes
    ----------
    gains
        ``[C, B]``: what a row of each cell adds to the logarithm of each bet's wealth.
    """

    gains: np.ndarray

    @classmethod
    def against(cls, rule: Rule) -> Bets | None:
        """Return the bets against a rule; None where its metric is no mean of bounded scores.

        Examples
        --------
        >>> from engine.gate.rules import parse_rule
        >>> rules = ["accuracy >= .9", "f1 >= .8", "mae <= 2", "accuracy >= complement"]
        >>> [Bets.against(parse_rule(rule)) is not None for rule in rules]
        [True, True, False, False]
        """
        scores = scores_of(rule)
        if scores is None:
            return None
        lost = -scores.min()
        odds = logit(lost / (lost + scores.max()))  # of a good row, where the rule just holds
        shares = 1 - expit(odds - np.array(SHIFTS)) / expit(odds)
        # Of a row that scores most, a bet loses this share of its wealth; so none loses all.
        return cls(np.log1p(-np.outer(scores, shares / scores.max())))

    @property
    def start(self) -> np.ndarray:
        """The wealth ``[B]`` of bets that begin."""
        n = self.gains.shape[1]
        return np.full(n, _HALF / n)

    def grown(self, wealth: np.ndarray, rows: np.ndarray, days: float = 1.0) -> np.ndarray:
        """Return what wealth has become by some rows.

        Parameters
        ----------
        wealth
            ``[..., B]``.
        rows
            ``[..., C]`` rows of each cell, none of which was counted before.
        days
            Since the last rows.

        Examples
        --------
        >>> from engine.gate.rules import parse_rule
        >>> bets = Bets.against(parse_rule("accuracy >= .9"))
        >>> nights = (bets.grown(bets.start, np.array(rows)) for rows in ([90, 10], [80, 20]))
        >>> [round(float(wealth.sum()), 2) for wealth in nights]
        [0.23, 11.82]
        """
        left = np.exp(-max(days, 0.0) / YEAR)
        with np.errstate(over="ignore"):
            gain = np.exp(np.minimum(rows @ self.gains, np.log(_MOST)))
            return np.asarray(np.minimum((left * wealth + (1 - left) * self.start) * gain, _MOST))


def scores_of(rule: Rule) -> np.ndarray | None:
    """Return the scores of a row by its cell, whose mean is 0 or more where the rule holds.

    Cells are, of a share, rows that count and those that don't; of F measures true positives, false
    negatives and false positives. None where there are no such scores.

    Examples
    --------
    >>> from engine.gate.rules import parse_rule
    >>> scores_of(parse_rule("recall >= .75")).tolist()
    [0.25, -0.75]
    >>> scores_of(parse_rule("false_positive_rate <= .25")).tolist()
    [-0.75, 0.25]
    """
    name, c = rule.metric.partition("@")[0], rule.number
    if rule.against is not None or rule.plain or name not in KINDS or not 0 < c < 1:
        return None
    metric = parse_metric(rule.metric)
    if metric.family == "top":  # which rows count hangs on all the others
        return None
    if name in _F:
        beta = 1.0 if name == "f1" else float(metric.parameter("beta"))
        scores = np.array([(1 + beta**2) * (1 - c), -(beta**2) * c, -c])
    elif is_share(metric):
        scores = np.array([1 - c, -c])
    else:
        return None
    return scores if rule.at_least else -scores


def cells_of(rule: Rule, figures: Mapping[str, Figure], level: float) -> Sequence[int] | str:
    """Return the rows of each cell that :func:`scores_of` has a score of, or why nobody knows them.

    Parameters
    ----------
    rule
        One that there are bets against.
    figures
        Metric to its figure, all of one model, split and slice.
    level
        Of their intervals.

    Examples
    --------
    >>> from engine.gate.rules import parse_rule
    >>> counts = {"recall": Rows(40, 50), "precision": Rows(40, 45)}
    >>> of = {name: Figure.share(rows, 0.95) for name, rows in counts.items()}
    >>> cells_of(parse_rule("f1 >= .8"), of, 0.95), cells_of(parse_rule("recall >= .8"), of, 0.95)
    ((40, 10, 5), (40, 10))
    """
    metric = parse_metric(rule.metric)
    names = [rule.metric]
    if metric.name in _F:
        same = tuple(p for p in metric.parameters if p[0] != "beta")
        names = [str(MetricSpec(name, same)) for name in ("recall", "precision")]
    absent = [name for name in names if name not in figures]
    if absent:
        return f"rows are counted by {' and '.join(names)}: add {' and '.join(absent)} to metrics"
    shares = [_rows(name, figures[name], level) for name in names]
    if any(rows is None for rows in shares):
        return f"the interval of {names[0]} doesn't say of how many rows it is"
    first, *others = (rows for rows in shares if rows is not None)
    return (first.k, first.n - first.k, *(rows.n - rows.k for rows in others))


def _rows(metric: str, figure: Figure, level: float) -> Rows | None:
    """Return a share's rows, none of them where it is 0/0."""
    nothing = np.isnan(figure.low) and (figure.value == 0 or np.isnan(figure.value))
    return Rows(0, 0) if nothing else share_rows(metric, figure, level)


@dataclass(frozen=True)
class Series:
    """The evidence against one rule on one slice, from night to night.

    Attributes
    ----------
    rows
        All rows that were counted, by cell.
    wealth
        Of each bet.
    day
        On which rows were counted last.
    """

    rows: Sequence[int]
    wealth: Sequence[float]
    day: dt.date


@dataclass(frozen=True)
class Night:
    """What one night says of one rule on one slice.

    Attributes
    ----------
    series
        The evidence; None where there never was any.
    new
        How many rows were counted tonight.
    why
        Why there is no new evidence.
    """

    series: Series | None
    new: int = 0
    why: str = ""

    @property
    def evidence(self) -> float:
        """The wealth of all bets."""
        return float(sum(self.series.wealth)) if self.series else _HALF

    def alarms(self, series: int) -> bool:
        """Tell whether it is enough, of so many series that are watched."""
        return self.evidence >= needed(series)


def needed(series: int) -> float:
    """Return how large the evidence must be, where so many rules and slices are watched.

    Examples
    --------
    >>> needed(200)
    4000.0
    """
    return max(series, 1) / YEARLY


def night_of(
    rule: Rule, before: Series | None, rows: Sequence[int], day: dt.date, why: str = ""
) -> Night:
    """Return what a night says.

    Parameters
    ----------
    rule
        One that there are bets against.
    before
        The evidence until now; None of a rule or slice that is new: all its rows are new rows.
    rows
        All rows until now, by cell, those that were counted among them.
    day
        The night.
    why
        Why it isn't known which of the rows are new. Then none is counted, those that come from now
        on will be, and what evidence there is of rows that may have changed is left.

    Examples
    --------
    >>> from engine.gate.rules import parse_rule
    >>> rule, days = parse_rule("accuracy >= .9"), [dt.date(2024, 5, n) for n in (1, 2, 3)]
    >>> first = night_of(rule, None, (900, 100), days[0])
    >>> again = night_of(rule, first.series, (900, 100), days[1])
    >>> worse = night_of(rule, again.series, (1300, 300), days[2])
    >>> [(n.new, n.why, n.alarms(200)) for n in (first, again, worse)]
    [(1000, '', False), (0, 'no new row', False), (600, '', True)]
    """
    bets = Bets.against(rule)
    assert bets is not None, rule
    if before is None:
        wealth, days, since = bets.start, 0, np.zeros(len(rows), np.int64)
    else:
        wealth, days = np.array(before.wealth), (day - before.day).days
        since = np.array(before.rows, np.int64)
    new = np.array(rows, np.int64) - since
    if before is not None and not why and (new < 0).any():
        why = "rows that were counted are gone"
    if before is not None and why:
        left = tuple(map(float, np.minimum(wealth, bets.start)))
        return Night(Series(tuple(map(int, rows)), left, before.day), why=why)
    if not new.any():
        return Night(before, why="no new row")
    grown = bets.grown(wealth, new, days)
    later = day if before is None else max(day, before.day)
    return Night(Series(tuple(map(int, rows)), tuple(map(float, grown)), later), int(new.sum()))
