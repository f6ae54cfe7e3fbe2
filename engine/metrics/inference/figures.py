"""Figures of all models, splits, slices and metrics, from what the scan added up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from engine.masks.splits import Split, by_split
from engine.metrics.catalog import OVERALL, MetricSpec
from engine.metrics.custom import RAISED, failed, problem
from engine.metrics.formulas.families import family
from engine.metrics.formulas.ranking import RANKINGS, bound, histogram_of
from engine.metrics.formulas.states import FAILED, SINGLE_CLASS, STATUSES, WEIGHTLESS
from engine.metrics.scan.form import EvaluationSpec, Part, Scan

OK, UNDEFINED, EMPTY, UNSCORED = "ok", "undefined", "empty", "unscored"

ROW_COLUMNS = (
    "model_id",
    "split",
    "slice",
    "metric",
    "class",
    "value",
    "support",
    "n_null",
    "n_missing",
    "status",
    "bound",
)
# with_uncertainty's
SURE_COLUMNS = ("ci_low", "ci_high", "p_value", "p_adjusted", "effect", "effect_low", "effect_high")


class Figures(NamedTuple):
    """One metric's figures of all rows and all slices, ``[1 + S]`` each."""

    value: np.ndarray
    support: np.ndarray
    status: np.ndarray
    bound: np.ndarray
    problems: Mapping[int, str] = {}  # position among slices to what went wrong


class Problem(NamedTuple):
    """A figure that a metric of the user's own failed to give, and what went wrong."""

    model_id: str
    split: Split
    slice: str
    metric: str
    problem: str


def figures_and_problems(
    counts: Scan,
    spec: EvaluationSpec,
    own: Mapping[tuple[str, Split, str], Figures] | None = None,
) -> tuple[pd.DataFrame, list[Problem]]:
    """Compute all metrics of all slices, and say which of the user's own failed; pure.

    Parameters
    ----------
    counts, spec
        What was added up, and what was evaluated.
    own
        Model, split and metric to the figures of metrics that are plain functions.

    Returns
    -------
    tuple
        A DataFrame with columns ``ROW_COLUMNS``, one row per model, split, slice (overall first)
        and metric, in that order, empty slices' too; and the problems.
    """
    names = [OVERALL, *spec.slice_ids]
    functions = list(dict.fromkeys(name for _, _, name in own or ()))
    others = [*(c.name for c in spec.custom), *functions]
    metrics = [*map(str, spec.metrics), *others]
    positive = str(spec.classes[spec.positive]) if spec.classes else None
    classes = [positive if m.kind.binary else None for m in spec.metrics] + [None] * len(others)
    tables: list[pd.DataFrame] = []
    problems: list[Problem] = []
    for (model, split), part in by_split(counts.parts):
        each = [figures_of(part, m, spec) for m in spec.metrics]
        each += [custom_figures(part, c.name, spec) for c in spec.custom]
        each += [own[model, split, name] for name in functions] if own else []
        n = part.state.rows["rows"][:, 0]
        problems += [
            Problem(model, split, names[at], metric, text)
            for metric, of in zip(metrics, each, strict=True)
            for at, text in of.problems.items()
        ]
        value, support, status, bounds = (
            np.stack(c, axis=1) for c in zip(*(of[:4] for of in each), strict=True)
        )
        shape = value.shape
        columns = (
            np.full(shape, model, object),
            np.full(shape, split, object),
            np.broadcast_to(np.array(names, object)[:, None], shape),
            np.broadcast_to(np.array(metrics, object), shape),
            np.broadcast_to(np.array(classes, object), shape),
            value,
            support,
            np.broadcast_to(counts.nulls[split][:, None], shape),
            n[:, None] - support,
            status,
            bounds,
        )
        flat = {name: np.ravel(c) for name, c in zip(ROW_COLUMNS, columns, strict=True)}
        tables.append(pd.DataFrame(flat))
    if not tables:
        return pd.DataFrame(columns=list(ROW_COLUMNS)), []
    objects = dict.fromkeys(["split", "class", "status"], object)
    return pd.concat(tables, ignore_index=True).astype(objects), problems


def figures_of(part: Part, metric: MetricSpec, spec: EvaluationSpec) -> Figures:
    """Compute one metric of one model and split."""
    state, of = part.state, family(metric, spec.labels)
    value, status = map(np.array, of.compute(state, state.at(0)))
    support = of.support(state)
    bounds = np.full(len(value), np.nan)
    if metric.family == "scores":
        bounds = bound(metric, state)
        for at, (score, positive, weight) in part.scores.items():
            weights = weight if spec.weighted else None
            value[at] = RANKINGS[metric.name](*histogram_of(positive, score, weights))
            status[at] = SINGLE_CLASS if np.isnan(value[at]) and weight.any() else 0
            bounds[at] = np.nan if np.isnan(value[at]) else 0.0
    n = state.rows["rows"][:, 0]
    texts = np.array(STATUSES, object)[status]
    texts[np.isnan(value) & (texts == OK)] = STATUSES[WEIGHTLESS]  # rows, and all of the weight 0
    none = support == 0
    texts[none] = np.where(n[none] > 0, UNSCORED, EMPTY)
    value[none & (metric.family != "rows")] = np.nan
    return Figures(value, support, texts, bounds)


def custom_figures(part: Part, name: str, spec: EvaluationSpec) -> Figures:
    """Compute one metric of the user's own; its support is what it was given."""
    metric = next(c for c in spec.custom if c.name == name)
    n = part.state.rows["rows"][:, 0]
    value, problems = np.full(len(n), np.nan), {}
    for at, states in ((at, states) for (one, at), states in part.custom.items() if one == name):
        if message := failed(states):
            problems[at] = message
            continue
        try:
            value[at] = metric.figure(states)
        except RAISED as error:
            problems[at] = problem(error)
    return with_statuses(value, part.scored[name], n, problems)


def with_statuses(
    value: np.ndarray, support: np.ndarray, n: np.ndarray, problems: Mapping[int, str] = {}
) -> Figures:
    """Return figures with their statuses: NaN is "undefined", no row "empty".

    Parameters
    ----------
    value, support
        The figures ``[1 + S]`` and how many rows they are of.
    n
        Rows of each slice.
    problems
        Position among slices to what went wrong there, which is "failed".
    """
    texts = np.where(np.isnan(value), UNDEFINED, OK).astype(object)
    texts[support == 0] = np.where(n[support == 0] > 0, UNSCORED, EMPTY)
    texts[list(problems)] = FAILED
    return Figures(value, support, texts, np.full(len(n), np.nan), problems)
