"""Figures on the terminal: what a person reads at once of one evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from engine import cli
from engine.config import Project
from engine.metrics.figures import OVERALL, by_slice
from engine.metrics.significance import mark
from engine.metrics.uncertainty import INSUFFICIENT

_MOST_SHOWN = 20  # differences; the table has all


def show_figures(result: pd.DataFrame, split: str, models: Sequence[str], project: Project) -> None:
    """Print a split's slices by metrics, worst first, then the figures that differ."""
    part = result[result["split"] == split]
    level = project.certainty.level
    order = by_slice(part, project.metrics[0], split).index
    cells_ = {(r["slice"], r["metric"], r["model_id"]): r for r in part.to_dict("records")}
    first = part.drop_duplicates("slice").set_index("slice")
    columns = [(m, model) for m in project.metrics for model in models]
    rows = [
        [s, int(first.loc[s, "support"]), int(first.loc[s, "n_null"])]
        + [_figure(cells_[s, m, model], level) for m, model in columns]
        for s in order
    ]
    names = [f"{m}\n{model}" for m, model in columns]
    title = (
        f"Split {split}: worst first, with {level:.0%} intervals; + and - differ from the rows "
        "outside the slice, ? are too few rows to tell"
    )
    cli.show(title, ["slice", "support", "undecided", *names], rows)
    _show_differences(part, split, level)


def _figure(row: Mapping[Any, Any], level: float) -> str:
    """Format a figure with its interval and mark."""
    if pd.isna(row["value"]):
        return "-"
    interval = _interval(row)
    few = "?" if row["status"] == INSUFFICIENT else ""
    return f"{row['value']:.4f}{interval and ' ' + interval} {few}{mark(row, level)}".rstrip()


def _interval(row: Mapping[Any, Any]) -> str:
    return "" if pd.isna(row["ci_low"]) else f"[{row['ci_low']:.2f} {row['ci_high']:.2f}]"


def _show_differences(part: pd.DataFrame, split: str, level: float) -> None:
    """Print the figures that differ from those of the rows outside the slice."""
    overall = part[part["slice"] == OVERALL].set_index(["model_id", "metric"])["value"]
    differ = part[part["p_adjusted"] <= 1 - level].sort_values("p_adjusted", kind="stable")
    if differ.empty:
        print(f"Split {split}: no slice differs from the rows outside it (corrected p-values)\n")
        return
    rows = [
        [
            r["slice"],
            int(r["support"]),
            r["metric"],
            r["model_id"],
            _figure(r, level),
            float(r["value"] - overall[r["model_id"], r["metric"]]),
            float(r["effect"]),
            f"{r['p_adjusted']:.2g}",
        ]
        for r in differ.head(_MOST_SHOWN).to_dict("records")
    ]
    title = f"Split {split}: different from the rows outside the slice"
    more = len(differ) - len(rows)
    cli.show(
        f"{title} ({more:,} more in the table)" if more else title,
        ["slice", "support", "metric", "model", "figure", "to overall", "to the rest", "p"],
        rows,
    )


def show_comparison(found: pd.DataFrame, first: str, second: str, level: float) -> None:
    """Print where one model is better than another: all rows, then slices that tell them apart."""
    told = (found["p_adjusted"] <= 1 - level) | (found["slice"] == OVERALL)
    rows = [
        [
            *(r[c] for c in ("split", "slice", "metric")),
            int(r["support"]),
            float(r["difference"]),
            _interval(r),
            "-" if pd.isna(r["p_adjusted"]) else f"{r['p_adjusted']:.2g}",
        ]
        for r in found[told].to_dict("records")
    ]
    cli.show(
        f"{second} less {first}, on the same rows; slices are those that tell them apart",
        ["split", "slice", "metric", "support", "difference", "interval", "p"],
        rows,
    )
