"""An HTML page of slice figures: one file, nothing fetched; its own script and style alone run."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from engine.masks.splits import Split, in_split
from engine.redaction import readable
from engine.report import summary
from engine.report.definitions import Definition, definition
from engine.report.page_data import Cells, SliceText, complete, page_data, script_json
from engine.report.sections import Line, Section, cell, worst_first
from engine.report.sections import figures as figures_section

_MOST_STATIC = 50  # slices of a split that are shown where no script runs


def render(
    name: str,
    about: Mapping[str, str],
    figures: pd.DataFrame,
    models: Sequence[str],
    better: Callable[[str], str],
    sections: Sequence[Section] = (),
    level: float = 0.95,
    warnings: Sequence[str] = (),
    *,
    splits: Sequence[Split] | None = None,
    slices: Mapping[str, SliceText] | None = None,
    definitions: Sequence[Definition] | None = None,
    classes: Sequence[Any] = (),
    cells: Sequence[Cells] = (),
) -> str:
    """Return the page for one evaluation.

    Parameters
    ----------
    name
        The project's name.
    about
        What was read, when and by which run: label to text.
    figures
        Columns model_id, split, slice, metric, value, support, n_null, status, and where there
        are any, ci_low, ci_high, p_adjusted, effect, n_decisive.
    models
        Model ids, in the order they are shown.
    better
        Of a metric's name: whether ``high`` or ``low`` values are better, or nothing.
    sections
        What stands around the figures; those with ``first`` stand before them.
    level
        The confidence level that marks figures.
    warnings
        What a reader should know before the figures, a sentence each.
    splits
        In the order in which they are shown, the most important first; by default that of figures.
    slices
        Slice id to its name, description and source.
    definitions
        How each metric is computed; by default without its interval.
    classes
        Label values in class order.
    cells
        Counts behind figures, of the slices that have them at hand.

    Examples
    --------
    >>> rows = pd.DataFrame([("m", "test", "overall", "f1", 0.5, 10, 0, "ok")], columns=[
    ...     "model_id", "split", "slice", "metric", "value", "support", "n_null", "status"])
    >>> "0.5000" in render("spam", {}, rows, ["m"], lambda metric: "high")
    True
    """
    figures, texts = complete(figures), slices or {}
    metrics = list(figures["metric"].unique())
    order = list(figures["split"].unique()) if splits is None else list(splits)
    parts = [figures[in_split(figures["split"], split)] for split in order]
    first, rest = ([s for s in sections if s.first is way] for way in (True, False))
    return _page(
        "page.html.jinja",
        name=name,
        about=about,
        warnings=warnings,
        verdict=summary.verdict(parts[0], order[0], level, better),
        first=first,
        worst=[] if first else summary.worst(parts[0], level, better, texts),
        overall=summary.overall(parts[0], models, level, better),
        static=[
            _static(part, split, models, better, level)
            for part, split in zip(parts, order, strict=True)
        ],
        most_static=_MOST_STATIC,
        sections=rest,
        definitions=definitions or [definition(m, better(m)) for m in metrics],
        has_cells=bool(cells),
        level=level,
        data=script_json(page_data(figures, order, models, better, level, texts, classes, cells)),
    )


def render_index(name: str, reports: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """Return the page that lists a project's reports.

    Parameters
    ----------
    name
        The project's name.
    reports
        Of each its file's name, and what it is about; the newest first.

    Examples
    --------
    >>> page = render_index("spam", [("a.html", {"date": "2024-05-01", "models": "m"})])
    >>> "<a href='a.html'>2024-05-01</a>" in page
    True
    """
    return _page("index.html.jinja", name=name, reports=reports)


def _page(template: str, **contents: Any) -> str:
    pages = Environment(
        loader=PackageLoader("engine.report"), autoescape=True, undefined=StrictUndefined,
        keep_trailing_newline=True, finalize=_shown,
    )  # fmt: skip
    assert pages.loader is not None
    style, script = (pages.loader.get_source(pages, f)[0] for f in ("page.css", "page.js"))
    return pages.get_template(template).render(
        **contents,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
        text_of=cell,
        points=_points,
    )


def _policy(style: str, script: str) -> str:
    """Return what browsers may do with the page: run these two texts, and fetch nothing."""
    own = {"style-src": style, "script-src": script}
    allowed = "".join(f"{what} '{_hash(text)}'; " for what, text in own.items())
    return f"default-src 'none'; {allowed}base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _shown(value: Any) -> Any:
    """Return what the page shows of a value: a text without secrets and control characters."""
    return readable(value) if type(value) is str else value


def _static(
    part: pd.DataFrame,
    split: Split,
    models: Sequence[str],
    better: Callable[[str], str],
    level: float,
) -> Section:
    """Return a split's worst slices, as they are shown where no script runs."""
    metric = str(part["metric"].iloc[0])
    order = worst_first(part, metric, better(metric))[:_MOST_STATIC]
    few = part[part["slice"].isin(order)]
    return figures_section(few, order, models, split, level, better)


def _points(line: Line) -> list[tuple[float, float]]:
    """Place a figure's values, run after run, in 100 by 20 pixels; gaps are runs without one."""
    heights = line.heights()
    step = 96 / max(1, len(heights) - 1)
    return [(2 + i * step, 18 - 16 * h) for i, h in enumerate(heights) if h is not None]
