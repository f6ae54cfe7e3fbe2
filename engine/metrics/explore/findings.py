"""What to look at first: where a slice is worse than the rows outside it, and by how much at least.

A finding is ranked by the bound of its effect's interval that is nearer to no effect, so that few
rows, and luck, don't lead: what is that bad at least. Intervals are corrected for the choice
(:func:`engine.metrics.inference.significance.level_of_selected`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from engine.arguments import number, pandas_table, whole
from engine.errors import ArgumentError, missing_column
from engine.masks.pairs import Overlap
from engine.masks.splits import split_name
from engine.metrics.catalog import OVERALL, better, is_biased, parse_metric
from engine.metrics.formulas.families import is_share
from engine.metrics.formulas.states import SINGLE_CLASS, STATUSES

FINDING = (
    "model_id",
    "split",
    "slice",
    "metric",
    "value",
    "outside",
    "at_least",
    "n_decisive",
    "severity",
    "harm",
    "also",
)
NEEDED = (
    "model_id", "split", "slice", "metric", "value", "support", "status",
    "p_adjusted", "effect", "effect_low", "effect_high", "n_decisive",
)  # fmt: skip
MOST_HARM, MOST_SEVERE = "most harm", "most severe"
ALIKE = 0.9  # Jaccard index from which two slices are one finding, by whichever metric
WITHIN = 0.9  # share of a slice's rows in another one, from which one metric of both is one finding
WORSE_WITHIN = 1.25  # times as far from the rows outside: a slice within another is a finding
HALF = 0.5  # Jaccard index from which it is, too
NOTHING = "no slice is worse than the rows outside it"
_ALSO = 3  # metrics, and slices, that a sentence names besides
_RANKS = {MOST_HARM: "harm", MOST_SEVERE: "severity"}
# Bounded by 1 on the side of worse; a loss has no such unit and is ranked by its part that is more.
_LOSSES = ("log_loss", "brier", "mae", "mse", "rmse", "mape")
# What the rows are that decide a figure, where these aren't all rows of the slice.
_ROWS = {
    **dict.fromkeys(("recall", "false_negative_rate"), "{:,} positive rows"),
    **dict.fromkeys(("specificity", "false_positive_rate"), "{:,} negative rows"),
    "precision": "{:,} rows predicted positive",
    **dict.fromkeys(("f1", "fbeta"), "{:,} rows positive or predicted so"),
    **dict.fromkeys(("roc_auc", "pr_auc"), "{:,} rows of the rarer class"),
}
_Near = Callable[[str, str], tuple[float, float]]


@dataclass(frozen=True)
class Findings:
    """The findings of an evaluation.

    Attributes
    ----------
    most_harm, most_severe
        Columns ``FINDING``, the first to look at first. ``value`` is the slice's and ``outside``
        that of the other rows; the slice is worse by ``at_least`` so much, the near bound of the
        corrected interval. ``severity`` is the same from 0 to 1: of a loss, which has no unit, the
        part of the slice's that is more than outside. ``harm`` is ``severity`` times
        ``n_decisive``, the rows that decide the figure: for a share of rows the rows that went
        wrong at least. ``also`` has (slice, metric, model) of what is the same finding.
    notes
        What was left out, and why.
    named
        Which of ``model_id`` and ``split`` sentences say, since the figures are of several.
    """

    most_harm: pd.DataFrame
    most_severe: pd.DataFrame
    notes: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    def sentences(self, ranking: str = MOST_SEVERE) -> list[str]:
        """Return a ranking, ``most harm`` or ``most severe``, as a sentence per finding."""
        rows = {MOST_HARM: self.most_harm, MOST_SEVERE: self.most_severe}[ranking]
        return [_sentence(row, self.named) for row in rows.to_dict("records")]

    def __str__(self) -> str:
        lines: list[str] = []
        for ranking in _RANKS:
            sentences = [f"  {i}. {s}" for i, s in enumerate(self.sentences(ranking), 1)]
            lines += [f"{ranking}:", *(sentences or [f"  {NOTHING}"])]
        return "\n".join([*lines, *self.notes])


def findings(
    figures: pd.DataFrame,
    overlap: Overlap | None = None,
    *,
    n: int = 5,
    min_support: int = 0,
    level: float = 0.95,
    better: Callable[[str], str] = better,
) -> Findings:
    """Rank where slices are worse than the rows outside, by harm and by severity.

    Parameters
    ----------
    figures
        ``Evaluation.table``, or a run's rows of the metrics table. Splits are ranked apart.
    overlap
        The rows that slices share, by which slices that are nested or nearly the same are one
        finding; without it those are, whose figures are all the same.
    n
        How many findings of each ranking, at most.
    min_support
        Leave out figures that fewer rows decide.
    level
        1 less the corrected p-value that is significant.
    better
        Of a metric's name: ``high``, ``low``, or nothing, which is left out.

    Raises
    ------
    ArgumentError, ColumnError
        If these are no figures, or a number is out of its range.

    Examples
    --------
    >>> rows = pd.DataFrame({"model_id": "m", "split": "test", "slice": ["overall", "a", "b"],
    ...     "metric": "recall", "value": [0.6, 0.25, 0.7], "support": [900, 90, 90],
    ...     "status": "ok", "p_adjusted": [float("nan"), 0.001, 0.2],
    ...     "effect": [float("nan"), -0.4, 0.1], "effect_low": [float("nan"), -0.6, -0.1],
    ...     "effect_high": [float("nan"), -0.2, 0.3], "n_decisive": [300, 40, 30]})
    >>> print(findings(rows).sentences()[0])
    recall is 0.25 on a (40 positive rows), 0.65 outside: at least 0.20 lower, which is 8 rows
    """
    pandas_table("findings", "figures", figures, "give Evaluation.table")
    for column in NEEDED:
        if column not in figures.columns:
            raise missing_column("findings", column, map(str, figures.columns))
    if not isinstance(overlap, Overlap | None):
        raise ArgumentError("findings", "overlap", "an Overlap, or None", overlap)
    if not callable(better):
        raise ArgumentError("findings", "better", "a function of a metric's name", better)
    n, least = whole("findings", "n", n, 1), whole("findings", "min_support", min_support, 0)
    level = number("findings", "level", level, 0, 1)
    rows = _worse(figures[figures["slice"] != OVERALL], level, better)
    rows = rows[rows["n_decisive"] >= least]
    near = _near(figures, overlap)
    splits = [part for _, part in rows.groupby("split", sort=False, dropna=False)]
    harm, severe = (
        pd.DataFrame(
            [one for part in splits for one in _merged(part, rank, near, n)], columns=list(FINDING)
        )
        for rank in _RANKS.values()
    )
    several = (c for c in ("model_id", "split") if figures[c].nunique(dropna=False) > 1)
    return Findings(harm, severe, tuple(_notes(figures, better)), tuple(several))


def candidate_slices(
    figures: pd.DataFrame, level: float, better: Callable[[str], str], most: int = 200
) -> list[str]:
    """Return the slices that may be findings, the worst first, of which what they share matters."""
    rows = _worse(figures[figures["slice"] != OVERALL], level, better)
    ranks = rows[["harm", "severity"]].rank(ascending=False).min(axis=1)
    return list(dict.fromkeys(rows.loc[ranks.sort_values(kind="stable").index, "slice"]))[:most]


def _worse(rows: pd.DataFrame, level: float, better: Callable[[str], str]) -> pd.DataFrame:
    """Return the figures that are worse than outside, with how much at least, and what that is."""
    ways = {m: better(m) for m in rows["metric"].unique() if not is_biased(m)}
    way = rows["metric"].map(ways)
    at_least = np.where(way == "high", -rows["effect_high"], rows["effect_low"])
    sure = way.isin(["high", "low"]) & (rows["p_adjusted"] <= 1 - level) & (at_least > 0)
    rows = rows.assign(at_least=at_least, outside=rows["value"] - rows["effect"])[sure]
    severity = np.array([_severity(row) for row in rows.to_dict("records")], np.float64)
    return rows.assign(severity=severity, harm=severity * rows["n_decisive"])


def _severity(row: Mapping[Any, Any]) -> float:
    """Return how much worse a figure is at least, from 0 to 1."""
    gap, name = float(row["at_least"]), str(row["metric"]).partition("@")[0]
    if name in _LOSSES:
        return gap / (abs(float(row["outside"])) + gap)
    if name == "r2":  # 1 less it is a loss
        return gap / (abs(1 - float(row["outside"])) + gap)
    return min(gap, 1.0)


@dataclass
class _Finding:
    """A figure that leads, and what is the same finding."""

    row: Mapping[Any, Any]
    effects: dict[str, float]  # by metric, of the slice or one that is alike
    also: list[tuple[str, str, str]] = field(default_factory=list)

    def takes(self, row: Mapping[Any, Any], near: _Near) -> bool:
        """Tell whether a figure is the same finding, and remember it."""
        jaccard, within = near(row["slice"], self.row["slice"])
        if jaccard >= ALIKE:
            self.effects.setdefault(row["metric"], row["effect"])
        else:
            effect = self.effects.get(row["metric"])
            if effect is None or (within < WITHIN and jaccard < HALF):
                return False
            if jaccard < HALF and abs(row["effect"]) > WORSE_WITHIN * abs(effect):
                return False
        self.also.append((row["slice"], row["metric"], row["model_id"]))
        return True


def _merged(rows: pd.DataFrame, rank: str, near: _Near, n: int) -> Iterator[tuple[Any, ...]]:
    """Yield the first n findings of a ranking, a row of ``FINDING`` each."""
    leading: list[_Finding] = []
    ordered = rows.sort_values([rank, "effect"], ascending=[False, True], kind="stable")
    for row in ordered.to_dict("records"):
        taken_by = (one for one in leading if one.takes(row, near))
        if next(taken_by, None) is None and len(leading) < n:
            leading.append(_Finding(row, {row["metric"]: row["effect"]}))
    for one in leading:
        yield tuple({**one.row, "also": tuple(one.also)}[column] for column in FINDING)


def _near(figures: pd.DataFrame, overlap: Overlap | None) -> _Near:
    """Return what tells two slices' Jaccard index, and the share of the first's rows in the other.

    Where nobody counted what slices share, those whose figures are all the same are one.
    """
    known: dict[str, int] = {}
    jaccard = containment = np.zeros((0, 0))
    if overlap is not None:
        known = {s: i for i, s in enumerate(overlap.ids)}
        jaccard, containment = overlap.jaccard().to_numpy(), overlap.containment().to_numpy()
    shown = figures.sort_values(["model_id", "split", "metric"], kind="stable")
    each = shown.groupby("slice")[["support", "value", "n_decisive"]]
    prints = {s: part.to_numpy(np.float64).tobytes() for s, part in each}

    def near(a: str, b: str) -> tuple[float, float]:
        if a == b:
            return 1.0, 1.0
        if a in known and b in known:
            i, j = known[a], known[b]
            return float(jaccard[i, j]), float(containment[i, j])
        alike = float(prints[a] == prints[b])
        return alike, alike

    return near


def _notes(figures: pd.DataFrame, better: Callable[[str], str]) -> Iterator[str]:
    """Say which figures aren't ranked, and why."""
    slices = figures[figures["slice"] != OVERALL]
    alone = slices[(slices["status"] == STATUSES[SINGLE_CLASS]) & slices["value"].notna()]
    for metric, part in alone.groupby("metric", sort=False):
        names = [*map(str, part["slice"].unique())]
        yield (
            f"{metric} isn't compared on {_listed(names)}: all labels there are of one class, "
            "and these decide it, not the model"
        )
    metrics = slices["metric"].unique()
    if neutral := [m for m in metrics if not better(m)]:
        yield f"not ranked, for neither high nor low is better: {', '.join(neutral)}"
    if biased := [m for m in metrics if is_biased(m)]:
        yield f"not ranked, for few rows alone make it worse: {', '.join(biased)}"
    tested = set(slices.loc[slices["p_value"].notna(), "metric"]) if "p_value" in slices else None
    directed = [m for m in metrics if better(m) and not is_biased(m)]
    if tested is not None and (none := [m for m in directed if m not in tested]):
        yield f"not ranked, for no slice could be tested: {', '.join(none)}"


def _sentence(row: Mapping[Any, Any], named: Sequence[str]) -> str:
    """Return a finding in plain English."""
    metric = str(row["metric"])
    model = f" of {row['model_id']}" if "model_id" in named else ""
    split = f", split {split_name(row['split'])}" if "split" in named else ""
    rows = _ROWS.get(metric.partition("@")[0], "{:,} rows").format(int(row["n_decisive"]))
    way = "lower" if row["value"] < row["outside"] else "higher"
    harm = math.floor(row["harm"]) if is_share(parse_metric(metric)) else 0
    lost = f", which is {harm:,} row{'' if harm == 1 else 's'}" if harm else ""
    return (
        f"{metric}{model} is {_number(row['value'])} on {row['slice']}{split} ({rows}), "
        f"{_number(row['outside'])} outside: at least {_number(row['at_least'])} {way}{lost}"
        f"{_others(row)}"
    )


def _others(row: Mapping[Any, Any]) -> str:
    """Say what is the same finding: other metrics and models of the slice, then other slices."""
    metrics = dict.fromkeys(
        metric if model == row["model_id"] else f"{metric} of {model}"
        for slice_id, metric, model in row["also"]
        if slice_id == row["slice"]
    )
    slices = dict.fromkeys(s for s, _, _ in row["also"] if s != row["slice"])
    parts = [_listed([*metrics])] if metrics else []
    parts += [f"on {_listed([*slices])}"] if slices else []
    return f"; also {'; '.join(parts)}" if parts else ""


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _ALSO
    return ", ".join(names[:_ALSO]) + (f" and {more:,} more" if more > 0 else "")


def _number(value: float) -> str:
    return f"{value:.2f}" if 0.1 <= abs(value) < 1e6 or value == 0 else f"{value:.2g}"  # noqa: PLR2004
