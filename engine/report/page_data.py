"""The figures of a page as one JSON: its script draws tables and charts of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from engine.masks.splits import Split, in_split, split_name
from engine.metrics.catalog import OVERALL
from engine.metrics.inference.significance import mark
from engine.redaction import readable
from engine.report.sections import worst_first

STATUS_TEXTS: Mapping[str, str] = {
    "ok": "",
    "empty": "no rows",
    "unscored": "no scored rows",
    "single_class": "one class only",
    "weightless": "weights are all 0",
    "overflow": "too large",
    "underflow": "too small",
    "undefined": "0/0",
    "failed": "failed",
    "quarantined": "in quarantine",
    "insufficient": "few rows",
    "rough": "rough",
}
_STATUSES = [*STATUS_TEXTS]
_NUMBERS = ("value", "ci_low", "ci_high", "p_adjusted", "effect")
_DECISIVE = "n_decisive"  # rows that decide a figure: of recall the positive ones
_DIGITS = 9  # of a number: what is drawn needs four
# What would end a script's element, or a line of it.
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class SliceText:
    """What a page says of a slice besides its figures.

    Attributes
    ----------
    name, description
        As its author wrote them.
    kind
        How it is written: ``row``, ``sql`` and so on.
    source
        Its SQL, or the function's lines; empty where they aren't at hand.
    """

    name: str
    description: str = ""
    kind: str = ""
    source: str = ""


@dataclass(frozen=True)
class Cells:
    """The counts behind figures of one slice, split and model.

    Attributes
    ----------
    split, slice_id, model
        Which.
    confusion
        ``[label][prediction]``, rows; empty where there is none.
    calibration
        Of each bin of confidence: rows, mean confidence and share right.
    """

    split: Split
    slice_id: str
    model: str
    confusion: Sequence[Sequence[int]] = ()
    calibration: Sequence[tuple[float, float, float]] = ()


def complete(figures: pd.DataFrame) -> pd.DataFrame:
    """Return figures with all the columns that a page reads; those that weren't there are NaN."""
    missing = [c for c in _NUMBERS if c not in figures]
    decisive = figures.get(_DECISIVE, figures["support"]).fillna(figures["support"])
    return figures.assign(**dict.fromkeys(missing, np.nan), **{_DECISIVE: decisive})


def page_data(
    figures: pd.DataFrame,
    splits: Sequence[Split],
    models: Sequence[str],
    better: Callable[[str], str],
    level: float,
    texts: Mapping[str, SliceText],
    classes: Sequence[Any] = (),
    cells: Sequence[Cells] = (),
) -> dict[str, Any]:
    """Return the figures by split; arrays of slices by metrics by models, the last the fastest.

    Parameters
    ----------
    figures
        As for :func:`engine.report.page.render`, with all columns.
    splits, models
        In the order in which they are shown.
    better
        Of a metric's name: ``high``, ``low`` or nothing.
    level
        The confidence level that marks figures.
    texts
        Slice id to what is said of it.
    classes
        Label values in class order, of confusions.
    cells
        Counts behind figures.
    """
    metrics = list(figures["metric"].unique())
    slices: list[str] = [OVERALL, *(s for s in figures["slice"].unique() if s != OVERALL)]
    about = {s: texts.get(s, SliceText(s)) for s in slices}
    return {
        "level": level,
        "models": list(models),
        "metrics": [{"name": m, "better": better(m)} for m in metrics],
        "statuses": [STATUS_TEXTS[s] for s in _STATUSES],
        "classes": [str(c) for c in classes],
        "slices": [{"id": s, **asdict(about[s])} for s in slices],
        "splits": [
            {
                **_split(figures[in_split(figures["split"], split)], slices, metrics, models,
                         better, level),
                "name": split_name(split),
                "cells": [
                    [slices.index(c.slice_id), models.index(c.model),
                     [[int(n) for n in row] for row in c.confusion],
                     [[*map(_number, one)] for one in c.calibration]]
                    for c in cells if c.split == split and c.slice_id in about
                ],
            }
            for split in splits
        ],
    }  # fmt: skip


def _split(
    part: pd.DataFrame,
    slices: list[str],
    metrics: list[str],
    models: Sequence[str],
    better: Callable[[str], str],
    level: float,
) -> dict[str, Any]:
    """Return one split's figures; a slice that the split hasn't is not in its order."""
    every = pd.MultiIndex.from_product([slices, metrics, models])
    of = part.set_index(["slice", "metric", "model_id"])
    rows = of.reindex(every)
    numbers = {name: rows[name].to_numpy(np.float64, na_value=np.nan) for name in _NUMBERS}
    records = zip(
        every.get_level_values(1), numbers["p_adjusted"], numbers["effect"], strict=True
    )  # what a mark reads
    ways = {m: better(m) for m in metrics}
    marks = [
        mark({"p_adjusted": p, "effect": effect}, level, ways[m]) or " " for m, p, effect in records
    ]
    first = part.drop_duplicates("slice").set_index("slice").reindex(slices)
    support = rows[_DECISIVE].fillna(0).astype(np.int64).to_numpy()
    of_slices = first["support"].fillna(0).astype(np.int64).to_numpy()
    own = np.flatnonzero(
        support != np.repeat(of_slices, len(metrics) * len(models))
    )  # of metrics that rest on fewer rows
    at = {s: i for i, s in enumerate(slices)}
    order = worst_first(part, metrics[0], better(metrics[0])) if len(part) else []
    marked = [i for i, sign in enumerate(marks) if sign != " "]
    return {
        "order": [at[s] for s in order],
        "rows": of_slices.tolist(),
        "undecided": first["n_null"].fillna(0).astype(np.int64).tolist(),
        "support": {int(i): int(support[i]) for i in own},
        "value": _numbers(numbers["value"]),
        "low": _numbers(numbers["ci_low"]),
        "high": _numbers(numbers["ci_high"]),
        "status": [_STATUSES.index(s) for s in rows["status"].fillna("empty")],
        "marks": "".join(marks),
        "p": {i: _number(numbers["p_adjusted"][i]) for i in marked},
        "effect": {i: _number(numbers["effect"][i]) for i in marked},
    }


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(v) for v in values.tolist()]


def _number(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def script_json(value: Any) -> Markup:
    r"""Return a value as JSON that a page's script element may hold, its texts made readable.

    Examples
    --------
    >>> str(script_json({"name": "</script>\x1b[31m", "n": 1}))
    '{"name":"\\u003c/script\\u003e","n":1}'
    """
    text = json.dumps(_readable(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_ESCAPES))


def _readable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _readable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return value if value and isinstance(value[0], int | float) else [*map(_readable, value)]
    return readable(value) if isinstance(value, str) else value
