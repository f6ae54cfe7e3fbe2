"""An HTML page of slice figures: one file, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from engine.masks.splits import split_name
from engine.metrics.inference.significance import mark
from engine.redaction import readable
from engine.report.sections import Line, Section, cell, ends, worst_first

_STATUS = {
    "empty": "no rows",
    "unscored": "no scored rows",
    "single_class": "one class only",
    "weightless": "weights are all 0",
    "overflow": "too large",
    "underflow": "too small",
    "undefined": "undefined",
    "failed": "failed",
    "quarantined": "in quarantine",
    "insufficient": "few rows",
    "rough": "rough",
    "ok": "",
}
# The style of a figure, by its mark.
_DIFFERS = {"-": "worse", "+": "better", "~": "differs"}
_COLOURS = ("--a", "--b", "--c", "--d")


def render(
    name: str,
    about: Mapping[str, str],
    figures: pd.DataFrame,
    models: Sequence[str],
    better: Callable[[str], str],
    sections: Sequence[Section] = (),
    level: float = 0.95,
    warnings: Sequence[str] = (),
) -> str:
    """Return the page for one evaluation.

    Parameters
    ----------
    name
        The project's name.
    about
        What was read: label to text.
    figures
        Columns model_id, split, slice, metric, value, support, n_null, status, and where there
        are any, ci_low, ci_high, p_adjusted, effect.
    models
        Model ids, in the order they are shown.
    better
        Of a metric's name: whether ``high`` or ``low`` values are better, or nothing.
    sections
        What follows the figures.
    level
        The confidence level that marks figures.
    warnings
        What a reader should know before the figures, a sentence each.

    Examples
    --------
    >>> rows = pd.DataFrame([("m", "test", "overall", "f1", 0.5, 10, 0, "ok")], columns=[
    ...     "model_id", "split", "slice", "metric", "value", "support", "n_null", "status"])
    >>> "0.5000" in render("spam", {}, rows, ["m"], lambda metric: "high")
    True
    """
    pages = Environment(
        loader=PackageLoader("engine.report"), autoescape=True, undefined=StrictUndefined,
        keep_trailing_newline=True, finalize=_shown,
    )  # fmt: skip
    splits = figures.groupby("split", sort=False, dropna=False)
    return pages.get_template("page.html.jinja").render(
        name=name,
        about=about,
        legend={model: _colour(i) for i, model in enumerate(models)},
        splits={
            split_name(split): _split_table(part, models, better, level) for split, part in splits
        },
        sections=sections,
        warnings=warnings,
        text_of=cell,
        points=_points,
    )


def _shown(value: Any) -> Any:
    """Return what the page shows of a value: a text without secrets and control characters."""
    return readable(value) if type(value) is str else value


def _split_table(
    part: pd.DataFrame, models: Sequence[str], better: Callable[[str], str], level: float
) -> dict[str, Any]:
    """Return a split's metrics, and its slices: name, rows, undecided rows, figures by metric."""
    metrics = list(part["metric"].unique())
    # A share's bar is of 1; what may be larger has bars of the largest.
    longest = part.groupby("metric")["value"].max().clip(lower=1.0)
    cells = {(r["slice"], r["metric"], r["model_id"]): r for r in part.to_dict("records")}
    first = {r["slice"]: r for r in part.drop_duplicates("slice").to_dict("records")}

    def figures(slice_id: str, metric: str) -> list[dict[str, Any]]:
        rows = (cells[slice_id, metric, model] for model in models)
        end, way = float(longest[metric]), better(metric)
        return [_figure(row, i, end, way, level) for i, row in enumerate(rows)]

    rows = [
        (s, first[s]["support"], first[s]["n_null"], [figures(s, metric) for metric in metrics])
        for s in worst_first(part, metrics[0], better(metrics[0]))
    ]
    return {"metrics": metrics, "rows": rows}


def _figure(
    row: Mapping[Hashable, Any], i: int, longest: float, better: str, level: float
) -> dict[str, Any]:
    """Return one model's figure: its number, bar in percent, style, and what stands under it."""
    if pd.isna(row["value"]):
        return {"number": None, "about": _STATUS[row["status"]]}
    value, kind = float(row["value"]), _DIFFERS.get(mark(row, level, better), "")
    interval = (
        "" if pd.isna(row.get("ci_low")) else " to ".join(ends(row["ci_low"], row["ci_high"], 3))
    )
    about = (interval, _STATUS[row["status"]], f"p {row['p_adjusted']:.2g}" if kind else "")
    return {
        "number": cell(value),
        "about": ", ".join(filter(None, about)),
        "width": 100 * min(max(value / longest, 0.0), 1.0),
        "kind": kind,
        "colour": _colour(i),
    }


def _points(line: Line) -> list[tuple[float, float]]:
    """Place a figure's values, run after run, in 100 by 20 pixels; gaps are runs without one."""
    heights = line.heights()
    step = 96 / max(1, len(heights) - 1)
    return [(2 + i * step, 18 - 16 * h) for i, h in enumerate(heights) if h is not None]


def _colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]
