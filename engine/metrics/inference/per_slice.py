"""What has no state: each slice's rows brought together, for functions and two models' rankings.

A row travels once for each slice that it is in, and once for all rows, which are one group; that
is what such a metric costs, and why one with a state is better.

How areas under the ROC curve differ is DeLong, DeLong and Clarke-Pearson's (1988): the variance of
a difference is that of the rows' placements' differences, positives and negatives apart. Placements
come from midranks, as Sun and Xu (2014) have it, so that n rows take n log n steps and not n².
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame

from engine.masks.splits import ALL, Split, in_split
from engine.metrics.custom import RAISED, CustomMetric, problem
from engine.metrics.formulas.outputs import Outputs
from engine.metrics.inference.figures import Figures, with_statuses
from engine.metrics.scan.beside import Beside, joined_by_workers
from engine.metrics.scan.chunks import Chunk, chunks
from engine.metrics.scan.form import EvaluationSpec, Form, Scan
from engine.metrics.scan.joined import form_of, narrowed
from engine.metrics.scan.task import outputs_of
from engine.plain import plain
from engine.run.ship import Parcel
from engine.words import unpacked
from engine.workers import begin

_KEY = ("split", "model", "slice")
_SCORES = "split string, slice int, positive boolean, a double, b double"
_ROWS = 2**12  # at a time, since each travels once a slice
Of = Callable[[Chunk, Form], Iterator[pa.RecordBatch]]
Chunked = Callable[[Iterable[Any]], Iterable[Chunk | None]]
_OF_MODEL = ("code", "weight", "prob", "number_label", "number_pred")


def per_slice(
    joined: DataFrame, spec: EvaluationSpec, functions: Sequence[CustomMetric], counts: Scan
) -> dict[tuple[str, Split, str], Figures]:
    """Compute functions of every slice, split and model.

    Parameters
    ----------
    joined, spec
        As for :func:`engine.metrics.scan.scan.scan`.
    functions
        Metrics that are plain functions.
    counts
        What the scan found, for slices without a row.

    Returns
    -------
    dict
        Model, split and metric to its figures.
    """
    form = form_of(joined, spec)
    narrow, chunked = narrowed(joined, form), partial(chunks, words=form.words, rows=_ROWS)
    kinds = {f.name.rpartition("_")[0]: f.dataType.simpleString() for f in narrow.schema.fields}
    names = [name for name in _OF_MODEL if name in kinds]
    columns = "".join(f", {name}_0 {kinds[name]}" for name in names)
    key = "split string, model int, slice int"
    rows = narrow.mapInArrow(
        _in_task(form, partial(_rows_of_models, names), chunked), key + columns
    )
    schema = f"{key}, metric int, value double, support long, problem string"
    table = rows.groupBy(*_KEY).applyInArrow(_applying(spec, tuple(functions)), schema).toPandas()
    size = 1 + len(spec.slice_ids)
    figures = {}
    for (model, split), part in counts.parts.items():
        here = table[in_split(table["split"], split) & (table["model"] == spec.models.index(model))]
        n = part.state.rows["rows"][:, 0]
        for j, function in enumerate(functions):
            own = here[here["metric"] == j]
            value, support = np.full(size, np.nan), np.zeros(size, np.int64)
            value[own["slice"]], support[own["slice"]] = own["value"], own["support"]
            wrong = own[own["problem"].notna()].sort_values("slice")
            problems = dict(zip(wrong["slice"].tolist(), wrong["problem"], strict=True))
            figures[model, split, function.name] = with_statuses(value, support, n, problems)
    return figures


def paired_areas(
    joined: DataFrame,
    spec: EvaluationSpec,
    models: tuple[int, int],
    beside: Beside | None = None,
) -> pd.DataFrame:
    """Compare two models' areas under the ROC curve on every slice and split.

    Parameters
    ----------
    joined, spec
        As for :func:`per_slice`.
    models
        Positions of the two.
    beside
        The tables that were joined, as for the scan.

    Returns
    -------
    pd.DataFrame
        ``split``, ``slice`` (its position, 0 of all rows) and what :class:`.Paired` has.
    """
    form, of = form_of(joined, spec), partial(_scores_of, models)
    if beside is not None:
        areas: pd.DataFrame | None = joined_by_workers(
            beside, form, None, _ROWS,
            lambda reader: _areas(*reader.chunks(joined.sparkSession), form, of),
        )  # fmt: skip
        if areas is not None:
            return areas
    chunked = partial(chunks, words=form.words, rows=_ROWS)
    return _areas(narrowed(joined, form), chunked, form, of)


def _areas(rows: DataFrame, chunked: Chunked, form: Form, of: Of) -> pd.DataFrame:
    rows = rows.mapInArrow(_in_task(form, of, chunked), _SCORES)
    schema = (
        "split string, slice int, positives long, negatives long, first double, second double, "
        "of_positives double, of_negatives double"
    )
    return rows.groupBy("split", "slice").applyInArrow(_compared, schema).toPandas()


def _in_task(form: Form, of: Of, chunked: Chunked) -> Callable[[Iterable[Any]], Iterable[Any]]:
    plainly, parcel = plain(), Parcel(form)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        form = parcel.unpack()
        for chunk in chunked(batches):
            if chunk is not None:
                yield from of(chunk, form)

    return run


def _spread(chunk: Chunk, rows: np.ndarray, form: Form) -> tuple[np.ndarray, pa.Array, pa.Array]:
    """Return rows once for all rows and once for each slice, their splits and slices' positions."""
    row, at = unpacked(chunk.words[:, rows].T)[:, np.array(form.bits, np.int64)].nonzero()
    each = rows[np.concatenate([np.arange(len(rows)), row])]
    slices = np.concatenate([np.zeros(len(rows), int), at + 1])
    split = (
        chunk.columns.column("split").take(pa.array(each))
        if form.spec.split is not None
        else pa.repeat(pa.scalar(ALL), len(each))
    )
    return each, split, pa.array(slices, pa.int32())


def _rows_of_models(names: Sequence[str], chunk: Chunk, form: Form) -> Iterator[pa.RecordBatch]:
    """Yield each model's rows once for each slice."""
    rows, split, slices = _spread(chunk, np.arange(chunk.columns.num_rows), form)
    for i in range(len(form.spec.models)):
        model = pa.repeat(pa.scalar(i, pa.int32()), len(rows))
        columns = [chunk.columns.column(f"{name}_{i}").take(pa.array(rows)) for name in names]
        yield pa.record_batch(
            [split, model, slices, *columns], [*_KEY, *(f"{name}_0" for name in names)]
        )


def _scores_of(models: tuple[int, int], chunk: Chunk, form: Form) -> Iterator[pa.RecordBatch]:
    """Yield two models' scores once for each slice."""
    a, b = (outputs_of(chunk.columns, i, chunk.numbers(f"code_{i}"), form.spec, {}) for i in models)
    scored = np.flatnonzero((a.label >= 0) & ~np.isnan(a.score) & ~np.isnan(b.score))
    rows, split, slices = _spread(chunk, scored, form)
    columns = {
        "split": split, "slice": slices, "positive": a.label[rows] == form.spec.positive,
        "a": pa.array(a.score[rows], pa.float64()), "b": pa.array(b.score[rows], pa.float64()),
    }  # fmt: skip
    yield pa.record_batch(columns)


def _compared(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
    positive, a, b = (table.column(c).to_numpy() for c in ("positive", "a", "b"))
    columns = [pa.array([k.as_py()], k.type) for k in key]
    columns += [pa.array([v]) for v in paired_in_order(positive.astype(bool), a, b)]
    return pa.table(columns, names=["split", "slice", *Paired._fields])


def figure_of(function: CustomMetric, outputs: Outputs) -> tuple[float, int, str | None]:
    """Return a function's figure of some rows, of how many it is, and what went wrong."""
    scored = np.flatnonzero(function.scored(outputs))
    if not len(scored):
        return float("nan"), 0, None
    try:
        return function(*function.arrays_of(outputs.take(scored))), len(scored), None
    except RAISED as error:
        return float("nan"), len(scored), problem(error)


def _applying(
    spec: EvaluationSpec, functions: tuple[CustomMetric, ...]
) -> Callable[[tuple[pa.Scalar, ...], pa.Table], pa.Table]:
    parcel = Parcel((spec, functions))

    def run(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
        spec, functions = parcel.unpack()
        batch = pa.RecordBatch.from_arrays(
            [c.combine_chunks() for c in table.columns], table.schema.names
        )
        code = batch.column("code_0").to_numpy(zero_copy_only=False)
        outputs = outputs_of(batch, 0, code, spec, {})
        rows = [(j, *figure_of(f, outputs)) for j, f in enumerate(functions)]
        metric, value, support, problems = zip(*rows, strict=True)
        return pa.table(
            [
                *(pa.repeat(k, len(rows)) for k in key),
                pa.array(metric, pa.int32()),
                pa.array(value, pa.float64()),
                pa.array(support, pa.int64()),
                pa.array(problems, pa.string()),
            ],
            names=[*_KEY, "metric", "value", "support", "problem"],
        )

    return run


class Paired(NamedTuple):
    """Two areas under the ROC curve of the same rows.

    Attributes
    ----------
    positives, negatives
        How many rows there are of each class.
    first, second
        The areas; NaN without rows of either class.
    of_positives, of_negatives
        Variances of the placements' differences. The variance of the areas' difference is the
        first by the number of positives and the second by that of negatives; NaN of a single row.
    """

    positives: int
    negatives: int
    first: float
    second: float
    of_positives: float
    of_negatives: float

    @property
    def variance(self) -> float:
        """The variance of the difference of the areas."""
        return self.of_positives / self.positives + self.of_negatives / self.negatives


def paired(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two models' scores of the same rows.

    Parameters
    ----------
    positive
        ``[n]`` whether the label is positive.
    first, second
        ``[n]`` scores.

    Examples
    --------
    >>> labels = np.array([False, False, True, True])
    >>> found = paired(labels, np.array([0.1, 0.4, 0.3, 0.8]), np.array([0.1, 0.2, 0.3, 0.4]))
    >>> found.first, found.second, found.variance
    (0.75, 1.0, 0.125)
    """
    m, n = int(positive.sum()), int((~positive).sum())
    if not (m and n):
        return Paired(m, n, *[float("nan")] * 4)
    above, below, areas = [], [], []
    for scores in (first, second):
        whole = _midranks(scores)
        above.append((whole[positive] - _midranks(scores[positive])) / n)
        below.append(1 - (whole[~positive] - _midranks(scores[~positive])) / m)
        areas.append(float(above[-1].mean()))
    spread = [float((b - a).var(ddof=1)) if len(a) > 1 else float("nan") for a, b in (above, below)]
    return Paired(m, n, areas[0], areas[1], spread[0], spread[1])


def paired_in_order(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare as :func:`paired`, in an order of rows that doesn't depend on how they came."""
    order = np.lexsort((second, first, positive))
    return paired(positive[order], first[order], second[order])


def _midranks(scores: np.ndarray) -> np.ndarray:
    """Return ranks from 1, of equal scores their mean."""
    _, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[at])
