"""Metrics that are plain functions: each slice's rows brought together, and handed to Python.

A row travels once for each slice that it is in, and once for all rows, which are one group; that
is what such a metric costs, and why one with a state is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from engine.masks.splits import ALL, Split, in_split
from engine.metrics.custom import RAISED, CustomMetric, problem
from engine.metrics.formulas.outputs import Outputs
from engine.metrics.inference.figures import Figures, with_statuses
from engine.metrics.scan.chunks import chunks
from engine.metrics.scan.form import EvaluationSpec, Form, Scan
from engine.metrics.scan.joined import form_of, narrowed
from engine.metrics.scan.task import outputs_of
from engine.plain import plain
from engine.run.ship import Parcel
from engine.words import unpacked
from engine.workers import begin

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_KEY = ("split", "model", "slice")
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
    narrow = narrowed(joined, form)
    kinds = {f.name.rpartition("_")[0]: f.dataType.simpleString() for f in narrow.schema.fields}
    names = [name for name in _OF_MODEL if name in kinds]
    columns = "".join(f", {name}_0 {kinds[name]}" for name in names)
    rows = narrow.mapInArrow(_spread(form, names), f"split string, model int, slice int{columns}")
    schema = "split string, model int, slice int, metric int, value double, support long, "
    schema += "problem string"
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


def _spread(form: Form, names: Sequence[str]) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """Return each model's rows once for each slice, with the slice's position."""
    bits, plainly, parcel = np.array(form.bits, dtype=np.int64), plain(), Parcel(form)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        form = parcel.unpack()
        for chunk in chunks(batches, form.words, 2**12):
            row, at = unpacked(chunk.words.T)[:, bits].nonzero()
            rows = pa.array(np.concatenate([np.arange(chunk.columns.num_rows), row]))
            slices = pa.array(
                np.concatenate([np.zeros(chunk.columns.num_rows, int), at + 1]), pa.int32()
            )
            split = (
                chunk.columns.column("split").take(rows)
                if form.spec.split is not None
                else pa.repeat(pa.scalar(ALL), len(rows))
            )
            for i in range(len(form.spec.models)):
                model = pa.repeat(pa.scalar(i, pa.int32()), len(rows))
                columns = [chunk.columns.column(f"{name}_{i}").take(rows) for name in names]
                yield pa.record_batch(
                    [split, model, slices, *columns], [*_KEY, *(f"{name}_0" for name in names)]
                )

    return run


def figure_of(
    function: CustomMetric, outputs: Outputs, weight: np.ndarray | None
) -> tuple[float, int, str | None]:
    """Return a function's figure of some rows, of how many it is, and what went wrong."""
    scored = np.flatnonzero(function.scored(outputs))
    if not len(scored):
        return float("nan"), 0, None
    try:
        return function(*function.arrays_of(outputs, scored, weight)), len(scored), None
    except RAISED as error:
        return float("nan"), len(scored), problem(error)


def _applying(
    spec: EvaluationSpec, functions: tuple[CustomMetric, ...]
) -> Callable[[tuple[pa.Scalar, ...], pa.Table], pa.Table]:
    parcel = Parcel((spec, functions))

    def run(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
        spec, functions = parcel.unpack()
        whole = table.combine_chunks()
        batch = pa.RecordBatch.from_arrays(
            [c.combine_chunks() if c.num_chunks != 1 else c.chunk(0) for c in whole.columns],
            whole.schema.names,
        )
        code = batch.column("code_0").to_numpy(zero_copy_only=False)
        outputs = outputs_of(batch, 0, code, spec, {})
        weight = batch.column("weight_0").to_numpy(zero_copy_only=False) if spec.weighted else None
        rows = [(j, *figure_of(f, outputs, weight)) for j, f in enumerate(functions)]
        metric, value, support, problems = zip(*rows, strict=True)
        same = [pa.repeat(k, len(rows)) for k in key]
        return pa.table(
            [
                *same,
                pa.array(metric, pa.int32()),
                pa.array(value, pa.float64()),
                pa.array(support, pa.int64()),
                pa.array(problems, pa.string()),
            ],
            names=[*_KEY, "metric", "value", "support", "problem"],
        )

    return run
