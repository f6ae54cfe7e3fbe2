"""Tables that people read of an evaluation: the same on the terminal and on the page.

All are arranged here, from frames of figures, so that terminal and page say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from engine.masks.splits import split_name
from engine.metrics.catalog import OVERALL, badness, quality
from engine.metrics.explore.findings import MOST_HARM, MOST_SEVERE, NOTHING, Findings
from engine.metrics.formulas.states import (
    FAILED,
    INSUFFICIENT,
    QUARANTINED,
    SINGLE_CLASS,
    STATUSES,
    UNDEFINED,
)
from engine.metrics.inference.significance import mark

# What stands behind a figure, and what it means.
_LEGEND = {
    " + ": "+ better than the rows outside the slice (corrected p-values)",
    " - ": "- worse than the rows outside the slice (corrected p-values)",
    " ~ ": "~ differs from the rows outside the slice, and neither is better",
    " ? ": "? too few rows to tell",
    " (one class)": "(one class) labels of one class, not compared",
    " (0/0)": "(0/0) no row to tell",
    " n=": "n= the rows that decide the figure: of recall the positive ones",
}
MOST_SHOWN = 20  # rows of a section; the tables have all
_MOST_DIGITS = 17  # of a float
_BARS = "▁▂▃▄▅▆▇█"
_UNDEFINED = STATUSES[UNDEFINED]
# What stands for a missing figure where the numbers of rows don't say why.
_NONE = {
    FAILED: "failed",
    QUARANTINED: "quarantine",
    "overflow": "too large",
    "underflow": "too small",
    "weightless": "no weight",
    "single_class": "one class",
}
_WITHOUT_MARK = {INSUFFICIENT: "?", _UNDEFINED: "(0/0)", STATUSES[SINGLE_CLASS]: "(one class)"}


@dataclass(frozen=True)
class Line:
    """The values of one figure, run after run, as a small line.

    Examples
    --------
    >>> str(Line((0.5, 0.75, float("nan"), 1.0)))
    '▁▅ █'
    """

    values: tuple[float, ...]

    def __str__(self) -> str:
        heights = self.heights()
        return "".join(" " if h is None else _BARS[round(h * (len(_BARS) - 1))] for h in heights)

    def heights(self) -> list[float | None]:
        """Return each value's height from 0 to 1, None where there is no value."""
        finite = [v for v in self.values if np.isfinite(v)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
        spread = high - low
        return [
            None if not np.isfinite(v) else (v - low) / spread if spread else 0.5
            for v in self.values
        ]


@dataclass(frozen=True)
class Section:
    """A titled table.

    Attributes
    ----------
    title
        What the table shows.
    columns, rows
        Its names and values.
    note
        What a reader should know first; also where there are no rows.
    first
        Whether a page shows it before all figures, as that which matters most; where the name of
        its first column is empty, as a list of the sentences in the second.
    rows_of
        The slice of which it shows single rows of the data; None of a table of figures.
    """

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    note: str = ""
    first: bool = False
    rows_of: str | None = None


def worst_first(part: pd.DataFrame, metric: str, better: str = "high") -> list[str]:
    """Order a split's slices by one metric, its worst model's figure first; overall leads.

    Parameters
    ----------
    part
        Figures of one split.
    metric
        Which decides.
    better
        Which of its values are: ``high``, ``low``, or nothing; then those come first that are
        farthest from the figure of all rows.

    Examples
    --------
    >>> rows = pd.DataFrame({"slice": ["overall", "a", "b"], "metric": "f1",
    ...                      "value": [0.8, 0.9, 0.5]})
    >>> worst_first(rows, "f1"), worst_first(rows, "f1", "low")
    (['overall', 'b', 'a'], ['overall', 'a', 'b'])
    """
    rows = part[part["metric"] == metric]
    if "status" in rows:  # 0/0 is given as 0, and isn't the worst that there is
        rows = rows.assign(value=rows["value"].mask(rows["status"] == _UNDEFINED))
    usual = rows.loc[rows["slice"] == OVERALL, "value"].mean()
    degrees = badness(rows["value"].astype(float), better, usual)
    worst = degrees.groupby(rows["slice"], sort=False).max()
    order = worst.sort_values(kind="stable", na_position="last", ascending=False).index
    return [s for s in order if s == OVERALL] + [s for s in order if s != OVERALL]


def cell(value: Any) -> str:
    """Format one value for a table.

    Examples
    --------
    >>> cell(0.5), cell(1957), cell(None), cell(float("nan")), cell(np.array([0.25, 0.75]))
    ('0.5000', '1,957', '-', '-', '0.2500 0.7500')
    """
    if isinstance(value, list | tuple | np.ndarray):
        return " ".join(map(cell, value))
    if value is None or value is pd.NaT or value != value:  # noqa: PLR0124 - NaN
        return "-"
    if isinstance(value, float | np.floating):
        return decimal(float(value))
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return f"{value:,}" if whole else str(value)


def decimal(value: float, places: int = 4) -> str:
    """Format a number with some decimals, or, where these would say nothing, with its digits.

    Examples
    --------
    >>> [decimal(v) for v in (0.0, 0.5, 1234.5, 4.3e-12, 2.5e9, 1e300)]
    ['0.0000', '0.5000', '1234.5000', '4.3e-12', '2,500,000,000', '1e+300']
    """
    size = abs(value)
    if size == 0 or 10.0 ** (1 - places) <= size < 1e6:  # noqa: PLR2004
        return f"{value:.{places}f}"
    return f"{value:,.0f}" if 1 < size < 1e15 else f"{value:.{places}g}"  # noqa: PLR2004


def ends(low: float, high: float, places: int) -> tuple[str, str]:
    """Format an interval's ends with as many digits as show that they differ.

    Examples
    --------
    >>> ends(0.41, 0.59, 2), ends(0.9861, 0.9889, 2), ends(1.5e-12, 2.5e-12, 2)
    (('0.41', '0.59'), ('0.986', '0.989'), ('1.5e-12', '2.5e-12'))
    """
    texts = decimal(low, places), decimal(high, places)
    digits = places
    while texts[0] == texts[1] and low != high and digits < _MOST_DIGITS:
        digits += 1
        texts = f"{low:.{digits}g}", f"{high:.{digits}g}"
    return texts


def figure(row: Mapping[Any, Any], level: float, better: str = "high") -> str:
    """Format a figure with its interval and mark.

    Examples
    --------
    >>> row = {"value": 0.5, "ci_low": 0.41, "ci_high": 0.59, "status": "ok",
    ...        "p_adjusted": 0.01, "effect": -0.2}
    >>> figure(row, 0.95)
    '0.5000 [0.41 0.59] -'
    """
    if pd.isna(row["value"]):
        return _NONE.get(row["status"], "-")
    parts = (decimal(row["value"]), interval(row), _decisive(row), _about(row, level, better))
    return " ".join(filter(None, parts))


def _decisive(row: Mapping[Any, Any]) -> str:
    """Return how many rows decide a figure, where these aren't all that it is of."""
    n = row.get("n_decisive")
    return "" if n is None or pd.isna(n) or n == row["support"] else f"n={int(n):,}"


def _about(row: Mapping[Any, Any], level: float, better: str) -> str:
    """Return a figure's mark; without one, what there is to know of it."""
    return mark(row, level, better) or _WITHOUT_MARK.get(row["status"], "")


def interval(row: Mapping[Any, Any]) -> str:
    """Format an interval; nothing where there is none."""
    there = not pd.isna(row["ci_low"])
    return f"[{' '.join(ends(row['ci_low'], row['ci_high'], 2))}]" if there else ""


def _p(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.2g}"


def _left_out(n: int, shown: int) -> str:
    return f" ({n - shown:,} more in the table)" if n > shown else ""


def figures(
    part: pd.DataFrame,
    order: Sequence[str],
    models: Sequence[str],
    split: str | None,
    level: float,
    better: Callable[[str], str],
) -> Section:
    """Arrange a split's slices, in this order, by metrics and models.

    ``better`` says of a metric's name which values are: ``high``, ``low``, or nothing.
    """
    cells = {(r["slice"], r["metric"], r["model_id"]): r for r in part.to_dict("records")}
    first = {r["slice"]: r for r in part.drop_duplicates("slice").to_dict("records")}
    columns = [(m, model) for m in part["metric"].unique() for model in models]
    rows = [
        [s, int(first[s]["support"]), int(first[s]["n_null"])]
        + [figure(cells[s, m, model], level, better(m)) for m, model in columns]
        for s in order
    ]
    title = f"Split {split_name(split)}: worst first, with {level:.0%} intervals"
    names = [f"{m}\n{model}" for m, model in columns]
    return Section(title, ["slice", "support", "undecided", *names], rows, _legend(rows))


def _legend(rows: Sequence[Sequence[Any]]) -> str:
    """Say what the signs behind figures mean, of those that are there."""
    shown = " ".join(f"{value} " for row in rows for value in row[1:])
    return "; ".join(meaning for sign, meaning in _LEGEND.items() if sign in shown)


def differences(
    part: pd.DataFrame, split: str | None, level: float, better: Callable[[str], str]
) -> Section:
    """Arrange the figures of a split that differ from those of the rows outside the slice."""
    overall = part[part["slice"] == OVERALL].set_index(["model_id", "metric"])["value"]
    differ = part[part["p_adjusted"] <= 1 - level].sort_values("p_adjusted", kind="stable")
    if differ.empty:
        return Section(
            f"Split {split_name(split)}: no slice differs from the rows outside it "
            "(corrected p-values)"
        )
    rows = [
        [
            r["slice"],
            r["metric"],
            r["model_id"],
            int(r["support"]),
            figure(r, level, better(r["metric"])),
            float(r["value"] - overall[r["model_id"], r["metric"]]),
            float(r["effect"]),
            _p(r["p_adjusted"]),
        ]
        for r in differ.head(MOST_SHOWN).to_dict("records")
    ]
    title = f"Split {split_name(split)}: different from the rows outside the slice"
    return Section(
        title + _left_out(len(differ), len(rows)),
        ["slice", "metric", "model", "support", "figure", "to overall", "to the rest", "p"],
        rows,
    )


def comparison(
    differences: pd.DataFrame, first: str, second: str, level: float, better: Callable[[str], str]
) -> Section:
    """Arrange where one model is better: all rows, then slices that tell the models apart."""
    telling = _telling(differences, level)
    rows = [
        [
            split_name(r["split"]),
            *(r[c] for c in ("slice", "metric")),
            int(r["support"]),
            float(r["difference"]),
            interval(r),
            _p(r["p_adjusted"]),
            (quality(r["difference"], better(r["metric"])) or "different")
            if r["p_adjusted"] <= 1 - level
            else "",
        ]
        for r in telling.head(MOST_SHOWN).to_dict("records")
    ]
    return Section(
        f"{second} less {first}, on the same rows; slices are those that tell them apart"
        + _left_out(len(telling), len(rows)),
        ["split", "slice", "metric", "support", "difference", "interval", "p", "so"],
        rows,
    )


def flips(counts: pd.DataFrame, first: str, second: str, level: float) -> Section:
    """Arrange the rows that one model wins and loses: of all, then of slices that tell."""
    telling = _telling(counts, level)
    rows = [
        [
            split_name(r["split"]),
            r["slice"],
            *(int(r[c]) for c in ("support", "won", "lost", "net")),
            _p(r["p_adjusted"]),
        ]
        for r in telling.head(MOST_SHOWN).to_dict("records")
    ]
    return Section(
        f"Rows that {second} alone has right (won) and wrong (lost), against {first}"
        + _left_out(len(telling), len(rows)),
        ["split", "slice", "support", "won", "lost", "net", "p"],
        rows,
    )


def _telling(lines: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return all rows' lines, then those of slices whose p-value tells, smallest first."""
    overall = lines[lines["slice"] == OVERALL]
    sure = lines[(lines["p_adjusted"] <= 1 - level) & (lines["slice"] != OVERALL)]
    return pd.concat([overall, sure.sort_values("p_adjusted", kind="stable")])


def rows_of(title: str, rows: pd.DataFrame, slice_id: str) -> Section:
    """Arrange rows of a table as they are: whole numbers may be keys, which people paste."""
    values = rows.astype(object).to_numpy().tolist()
    shown = [[_pasteable(v) for v in row] for row in values]
    return Section(title, list(rows.columns), shown, rows_of=slice_id)


def _pasteable(value: Any) -> Any:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)
    return str(value) if whole else value


def findings(of: Findings, split: str | None) -> list[Section]:
    """Arrange where slices are worse than the rows outside, as sentences; the first matter most."""
    where = f"Split {split_name(split)}"
    note = "\n".join(of.notes)
    if of.most_severe.empty:
        return [Section(f"{where}: {NOTHING} (corrected p-values)", note=note, first=True)]
    rankings = dict(_RANKINGS)
    if of.sentences(MOST_HARM) == of.sentences(MOST_SEVERE):
        rankings = {MOST_SEVERE: _BOTH}
    ranked = [
        Section(
            f"{where}: {what}", ["", "finding"], [*enumerate(of.sentences(ranking), 1)], first=True
        )
        for ranking, what in rankings.items()
    ]
    return [*ranked[:-1], replace(ranked[-1], note=note)]


_RANKINGS = {
    MOST_HARM: "where slices do most harm, by the rows that this is at least",
    MOST_SEVERE: "where slices are most severe, by how much worse they are at least",
}
_BOTH = "where slices are worse, most harm and most severe first"


def quarantine(causes: Mapping[str, str]) -> Section:
    """Arrange slices that failed as a whole, with what they did."""
    rows: list[list[Any]] = [[s, cause] for s, cause in causes.items()]
    note = "Their masks are null on all rows, or on all of the partitions named."
    return Section("Slices in quarantine", ["slice", "why"], rows, note)


def warnings(sentences: Sequence[str]) -> Section:
    """Arrange what shows that models are of no use, a line each."""
    title = "Read this first: models that learned nothing, or the wrong way round"
    return Section(title, note="\n".join(sentences))


def overlap(near: pd.DataFrame, rows: int, uncovered: int, at_least: float) -> Section:
    """Arrange slices that are nearly the same, and tell how many rows no slice has."""
    note = f"{uncovered:,} of {rows:,} rows ({uncovered / max(rows, 1):.1%}) are in no slice."
    if near.empty:
        return Section(f"No two slices are nearly the same (Jaccard {at_least:g})", note=note)
    columns = ["slice_a", "slice_b", "n_a", "n_b", "n_both", "jaccard"]
    names = ["slice", "nearly the same", "rows", "its rows", "in both", "Jaccard"]
    shown = near.head(MOST_SHOWN)[columns].astype(object).to_numpy().tolist()
    title = "Slices that are nearly the same" + _left_out(len(near), len(shown))
    return Section(title, names, shown, note)


def trend(figures: pd.DataFrame, better: Callable[[str], str]) -> Section:
    """Arrange how figures moved since the run before the last, the largest changes first.

    Parameters
    ----------
    figures
        What :func:`engine.metrics.explore.trend.trend` returned.
    better
        Of a metric's name: ``high``, ``low`` or nothing.
    """
    series = ["model_id", "split", "slice", "metric"]
    figures = figures.assign(split=[split_name(s) for s in figures["split"]])
    runs = figures[["run_id", "run_ts"]].drop_duplicates().sort_values("run_ts")
    n = len(runs)
    if n < 2:  # noqa: PLR2004
        return Section("This is the first run: there is none to compare it with")
    last = figures[figures["run_id"] == runs["run_id"].iloc[-1]]
    moved = last[last["apart"] | (last["slice_changed"] & (last["change"] != 0))]
    before = f"the run of {pd.Timestamp(runs['run_ts'].iloc[-2]):%Y-%m-%d %H:%M}"
    if moved.empty:
        return Section(f"No figure's interval left that of {before}; {n} runs were looked at")
    moved = moved.reindex(moved["change"].abs().sort_values(ascending=False, kind="stable").index)
    lines = {k: tuple(g["value"]) for k, g in figures.groupby(series, sort=False)}
    rows = [
        [
            *(r[c] for c in ("split", "slice", "metric", "model_id")),
            float(r["value"] - r["change"]),
            float(r["value"]),
            float(r["change"]),
            "the slice changed"
            if r["slice_changed"]
            else quality(r["change"], better(r["metric"])),
            Line(lines[tuple(r[c] for c in series)]),
        ]
        for r in moved.head(MOST_SHOWN).to_dict("records")
    ]
    return Section(
        f"Moved since {before}: intervals that don't meet" + _left_out(len(moved), len(rows)),
        ["split", "slice", "metric", "model", "then", "now", "change", "so", f"last {n} runs"],
        rows,
    )
