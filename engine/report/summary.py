"""What matters of an evaluation, in sentences: a verdict, and the worst of what is worse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engine.masks.splits import Split, split_name
from engine.metrics.catalog import OVERALL, quality
from engine.report.page_data import SliceText
from engine.report.sections import Section, decimal, ends, figure

MOST_SENTENCES = 5
_FEW = "insufficient"


def verdict(part: pd.DataFrame, split: Split, level: float, better: Callable[[str], str]) -> str:
    """Say of how many slices of a split a figure is worse, or better, than outside them.

    Parameters
    ----------
    part
        Figures of one split.
    split
        The split.
    level
        1 less the corrected p-value that tells.
    better
        Of a metric's name: ``high``, ``low`` or nothing.

    Examples
    --------
    >>> rows = pd.DataFrame({"slice": ["overall", "a", "b"], "metric": "f1", "status": "ok",
    ...     "p_adjusted": [np.nan, 0.01, 0.4], "effect": [np.nan, -0.2, 0.1]})
    >>> verdict(rows, "test", 0.95, lambda _: "high")
    'Split test: of 2 slices, 1 is worse than the rows outside it in some metric, none is better.'
    """
    slices = part[part["slice"] != OVERALL]
    n = slices["slice"].nunique()
    of = f"Split {split_name(split)}: of {n:,} slice{'s' if n != 1 else ''}"
    counts = {q: slices.loc[_are(slices, q, level, better), "slice"].nunique() for q in _QUALITIES}
    worse, good = counts["worse"], counts["better"]
    untested = slices["p_adjusted"].isna().groupby(slices["slice"]).all()
    few = int((untested & slices["status"].eq(_FEW).groupby(slices["slice"]).any()).sum())
    end = f"; {few:,} {_be(few)} too small to tell" if few else ""
    them = "it" if worse == 1 else "them"
    return (
        f"{of}, {worse or 'none'} {_be(worse)} worse than the rows outside {them} in some metric, "
        f"{good or 'none'} {_be(good)} better{end}."
    )


_QUALITIES = ("worse", "better")


def _be(n: int) -> str:
    return "are" if n > 1 else "is"


def _are(rows: pd.DataFrame, which: str, level: float, better: Callable[[str], str]) -> np.ndarray:
    """Tell which figures are worse, or better, by their corrected p-values."""
    ways = {m: better(m) for m in rows["metric"].unique()}
    sure = np.asarray(rows["p_adjusted"], np.float64) <= 1 - level
    kinds = [
        quality(effect, ways[m]) for m, effect in zip(rows["metric"], rows["effect"], strict=True)
    ]
    return np.asarray(sure & np.array([kind == which for kind in kinds], bool))


def worst(
    part: pd.DataFrame,
    level: float,
    better: Callable[[str], str],
    texts: Mapping[str, SliceText],
) -> list[tuple[str, str]]:
    """Return the slices of a split that are worse, largest effect first: a name, a sentence each.

    Effects of one metric are compared with each other by how much of all slices' spread they are,
    for a second of one metric is a thousandth of another.
    """
    rows = part[part["slice"] != OVERALL]
    rows = rows[_are(rows, "worse", level, better)]
    if rows.empty:
        return []
    spread = part.groupby("metric")["value"].agg(lambda v: float(v.max() - v.min()))
    size = rows["effect"].abs() / rows["metric"].map(spread).replace(0.0, np.nan)
    ranked = rows.loc[size.sort_values(ascending=False, kind="stable").index]
    first = ranked.drop_duplicates("slice").head(MOST_SENTENCES)
    return [
        (texts.get(r["slice"], SliceText(r["slice"])).name, _sentence(r, better(r["metric"])))
        for r in first.to_dict("records")
    ]


def _sentence(row: Mapping[Any, Any], better: str) -> str:
    where = "below" if better == "high" else "above"
    at = (
        ""
        if pd.isna(row["ci_low"])
        else f" ({' to '.join(ends(row['ci_low'], row['ci_high'], 3))})"
    )
    return (
        f"{row['metric']} of {row['model_id']} is {decimal(row['value'])}{at}, "
        f"{decimal(abs(row['effect']))} {where} that of the rows outside; "
        f"{int(row['support']):,} rows, p {row['p_adjusted']:.2g}."
    )


def overall(
    part: pd.DataFrame, models: Sequence[str], level: float, better: Callable[[str], str]
) -> Section:
    """Arrange the figures of all rows of a split: metrics by models."""
    rows = part[part["slice"] == OVERALL]
    cells = {(r["metric"], r["model_id"]): r for r in rows.to_dict("records")}
    lines = [
        [m, *(figure(cells[m, model], level, better(m)) for model in models)]
        for m in rows["metric"].unique()
    ]
    return Section("All rows", ["metric", *models], lines)
