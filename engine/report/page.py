"""An HTML page of slice figures: one file, no script, nothing fetched."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from engine.masks.splits import split_name
from engine.metrics.inference.significance import mark
from engine.report.sections import Line, Section, cell, ends, worst_first

_STYLE = """
:root { --ink: #1d2733; --soft: #5d6b7a; --line: #dfe5eb; --ground: #fbfcfd;
        --a: #3a6ea5; --b: #c9732b; --c: #4d8f6b; --d: #7d5ba6; }
* { box-sizing: border-box }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--ground);
       margin: 2rem auto; max-width: 76rem; padding: 0 1.25rem }
h1 { font-size: 1.5rem; margin: 0 0 .25rem } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .9rem; color: var(--soft) }
dd { margin: 0; overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
         vertical-align: top; white-space: nowrap }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
         background: var(--ground); white-space: normal; overflow-wrap: anywhere;
         min-width: 8rem; max-width: 22rem }
thead th { font-weight: 600; border-bottom: 2px solid var(--line) }
tr.overall td { font-weight: 600; background: #f1f5f9 }
.figure { display: grid; grid-template-columns: 5.5rem minmax(3.6rem, auto); gap: .5rem;
          align-items: center; justify-content: end }
.track { height: .55rem; background: #e9eef3; border-radius: 3px; overflow: hidden }
.bar { height: 100% }
.interval { color: var(--soft); font-size: .8rem; grid-column: 1 / -1;
            justify-self: end; font-weight: 400; white-space: normal; max-width: 9.6rem }
.worse .number { color: #a8321a; font-weight: 600 }
.better .number { color: #1f6b3b; font-weight: 600 }
.differs .number { font-weight: 700; text-decoration: underline }
.text { white-space: pre-wrap; text-align: left; max-width: 40rem; overflow-wrap: anywhere }
svg.line { vertical-align: middle }
.status { color: var(--soft); grid-column: 1 / -1 }
.legend span { display: inline-block; margin-right: 1.2rem }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px;
            margin-right: .35rem; vertical-align: -1px }
"""
_STATUS = {
    "empty": "no rows",
    "unscored": "no scored rows",
    "single_class": "one class only",
    "weightless": "weights are all 0",
    "overflow": "too large",
    "underflow": "too small",
    "undefined": "undefined",
    "failed": "failed",
    "insufficient": "few rows",
    "rough": "rough",
    "ok": "",
}
_READ = (
    "Under a figure is its confidence interval. Red figures are worse, green ones better than "
    "those of the rows outside the slice, by a test whose p-value is corrected for the number of "
    "slices; underlined ones differ, where neither is better. Figures of few rows are not tested. "
    "Bars are of 1, or of the column's largest figure; worst slices come first."
)
# The style of a figure, by its mark.
_DIFFERS = {"-": "worse", "+": "better", "~": "differs"}
_TEXT = " class='text'"
_COLOURS = ("--a", "--b", "--c", "--d")


def render(
    name: str,
    about: Mapping[str, str],
    figures: pd.DataFrame,
    models: Sequence[str],
    better: Callable[[str], str],
    sections: Sequence[Section] = (),
    level: float = 0.95,
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

    Examples
    --------
    >>> rows = pd.DataFrame([("m", "test", "overall", "f1", 0.5, 10, 0, "ok")], columns=[
    ...     "model_id", "split", "slice", "metric", "value", "support", "n_null", "status"])
    >>> "0.5000" in render("spam", {}, rows, ["m"], lambda metric: "high")
    True
    """
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in about.items())
    legend = "".join(
        f"<span><i style='background:var({_colour(i)})'></i>{escape(m)}</span>"
        for i, m in enumerate(models)
    )
    splits = "".join(
        f"<h2>Split {escape(split_name(split))}</h2>{_table(part, models, better, level)}"
        for split, part in figures.groupby("split", sort=False, dropna=False)
    )
    around = "".join(map(_section, sections))
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(name)}: slices</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(name)}: figures per slice</h1><dl>{facts}</dl>"
        f"<p class='legend'>{legend}</p><p class='status'>{_READ}</p>"
        f"{splits}{around}</body></html>\n"
    )


def _table(
    part: pd.DataFrame, models: Sequence[str], better: Callable[[str], str], level: float
) -> str:
    metrics = list(part["metric"].unique())
    # A share's bar is of 1; what may be larger has bars of the largest.
    longest = part.groupby("metric")["value"].max().clip(lower=1.0)
    cells = {(r["slice"], r["metric"], r["model_id"]): r for r in part.to_dict("records")}
    first = part.drop_duplicates("slice").set_index("slice")
    head = "".join(f"<th>{escape(m)}</th>" for m in ("slice", "rows", "undecided", *metrics))
    rows = []
    for name in worst_first(part, metrics[0], better(metrics[0])):
        drawn = "".join(
            "<td>"
            + "".join(
                _figure(cells[name, metric, m], i, float(longest[metric]), better(metric), level)
                for i, m in enumerate(models)
            )
            + "</td>"
            for metric in metrics
        )
        about = first.loc[name]
        rows.append(
            f"<tr class='{'overall' if name == 'overall' else ''}'><td>{escape(name)}</td>"
            f"<td>{about['support']:,}</td><td>{about['n_null']:,}</td>{drawn}</tr>"
        )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class='wide'>{table}</div>"


def _figure(of: Mapping[Hashable, Any], i: int, longest: float, better: str, level: float) -> str:
    if pd.isna(of["value"]):
        return f"<div class='figure'><span class='status'>{_STATUS[of['status']]}</span></div>"
    width = 100 * min(max(float(of["value"]) / longest, 0.0), 1.0)
    number = f"<span class='number'>{cell(float(of['value']))}</span>"
    bar = f"<div class='bar' style='width:{width:.1f}%;background:var({_colour(i)})'></div>"
    kind = _DIFFERS.get(mark(of, level, better), "")
    about = _about(of, bool(kind))
    return f"<div class='figure {kind}'><div class='track'>{bar}</div>{number}{about}</div>"


def _about(of: Mapping[Hashable, Any], differs: bool) -> str:
    """Return the line under a figure: its interval, what is to be thought of it, its p-value."""
    said = []
    if not pd.isna(of.get("ci_low")):
        said.append(" to ".join(ends(of["ci_low"], of["ci_high"], 3)))
    if _STATUS[of["status"]]:
        said.append(_STATUS[of["status"]])
    if differs:
        said.append(f"p {of['p_adjusted']:.2g}")
    return f"<span class='interval'>{', '.join(said)}</span>" if said else ""


def _section(section: Section) -> str:
    texts = [isinstance(v, str) for v in next(iter(section.rows), ())]
    head = "".join(
        f"<th{_TEXT if text else ''}>{escape(c)}</th>"
        for c, text in zip(section.columns, texts, strict=False)
    )
    rows = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in section.rows)
    table = f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
    shown = f"<div class='wide'><table>{table}</table></div>" if section.rows else ""
    note = f"<p class='status'>{escape(section.note)}</p>" if section.note else ""
    return f"<h2>{escape(section.title)}</h2>{note}{shown}"


def _cell(value: Any) -> str:
    if isinstance(value, Line):
        return f"<td>{_line(value)}</td>"
    kind = _TEXT if isinstance(value, str) else ""
    return f"<td{kind}>{escape(cell(value))}</td>"


def _line(line: Line) -> str:
    """Draw a figure's values, run after run, in 100 by 20 pixels; gaps are runs without one."""
    heights = line.heights()
    step = 96 / max(1, len(heights) - 1)
    points = [(2 + i * step, 18 - 16 * h) for i, h in enumerate(heights) if h is not None]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    last = "".join(f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2'/>" for x, y in points[-1:])
    return (
        f"<svg class='line' width='100' height='20' role='img' aria-label='{escape(str(line))}'>"
        f"<polyline points='{path}' fill='none' stroke='currentColor'/>{last}</svg>"
    )


def _colour(i: int) -> str:
    return _COLOURS[i % len(_COLOURS)]
