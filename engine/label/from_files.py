"""Rows that workers read from a table's files, labelled where they were read.

What comes out is what :meth:`Comparison.with_faults` gives over the same rows, but for columns that
nobody reads afterwards: so texts never pass the JVM.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import BooleanType, StructField, StructType

from engine.compile.tiers import Tier
from engine.hashing import KeyHash
from engine.label.placement import PYTHON as IN_PYTHON
from engine.label.verify import PYTHON, SAMPLED, Comparison
from engine.plain import plain
from engine.run.udf import FAULTS, fused_run, fused_type, sampled_run, sampled_type
from engine.storage.files import UNREADABLE, Files, batches, files_of
from engine.workers import begin

ROWS = 2**16  # that a worker labels at a time
# Keys whose hash, which decides the rows that are compared, is the same in Arrow as in Spark.
_HASHED = frozenset(("tinyint", "smallint", "int", "bigint", "boolean", "string"))
log = logging.getLogger("engine")


def labelled_from_files(
    comparison: Comparison, df: DataFrame, columns: Sequence[str]
) -> DataFrame | None:
    """Return labelled rows that workers read themselves; None where Spark has to read them.

    Spark has to where it runs slices itself, and where :func:`.files_of` says so.

    Parameters
    ----------
    comparison
        The compiled slices, and which of their rows are compared with Python.
    df
        The rows.
    columns
        The columns that are carried beside the masks.
    """
    plan, key, kinds = comparison.plan, comparison.key, dict(df.dtypes)
    alone = set(plan.tiers.values()) <= {*IN_PYTHON, Tier.MASKS} and not plan.native_faults
    hashed = not comparison.slices or all(kinds.get(c) in _HASHED for c in key)
    wanted = list(dict.fromkeys([*columns, *key, *plan.crossing]))
    if not (alone and hashed and plan.python_sfs and set(wanted) <= kinds.keys()) or plan.decoders:
        return None
    if len(set(df.columns)) < len(df.columns) or (files := files_of(df, wanted)) is None:
        return None
    carried = list(dict.fromkeys([*columns, *key]))
    schema = StructType([StructField(c, df.schema[c].dataType, True, df.schema[c].metadata)
                         for c in carried])  # fmt: skip
    schema = schema.add(FAULTS, fused_type(comparison.bits_of_udf))
    if comparison.slices:
        bits = comparison.bits_of_slices
        schema = schema.add(SAMPLED, BooleanType()).add(PYTHON, sampled_type(bits))
    n = len(files.tasks)
    tasks = df.sparkSession.range(0, n, 1, n)
    masked = tasks.mapInArrow(_labelling(comparison, files, carried), schema)
    return comparison.checked(masked) if comparison.slices else masked


def _labelling(
    comparison: Comparison, files: Files, carried: Sequence[str]
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a task does: of its number it makes labelled rows."""
    plan, plainly = comparison.plan, plain()
    crossing, inputs = plan.crossing, [*plan.crossing] or [carried[0]]
    run = fused_run(plan.kernel, crossing, comparison.bits_of_udf, plan.limits)
    compare = _comparing(comparison) if comparison.slices else None

    def label(tasks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        for numbers in tasks:
            for task in numbers.column(0).to_pylist():
                for batch in batches(files, task, ROWS):
                    columns = {c: batch.column(c) for c in carried}
                    columns[FAULTS] = run(*(batch.column(c) for c in inputs))
                    if compare is not None:
                        columns |= compare(batch)
                    yield pa.record_batch(columns)

    return label


def _comparing(comparison: Comparison) -> Callable[[pa.RecordBatch], dict[str, pa.Array]]:
    """Return what says which rows of a batch are compared, and what Python says of them."""
    python = comparison.plan.only(comparison.slices).as_python()
    crossing, key, share = python.crossing, comparison.key, comparison.share
    run = sampled_run(python.kernel, crossing, comparison.bits_of_slices, python.limits)
    hashed = KeyHash(key, comparison.seed)

    def compare(batch: pa.RecordBatch) -> dict[str, pa.Array]:
        hashes = hashed.of([batch.column(c) for c in key])
        drawn = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share
        flag = pa.array(drawn)
        return {SAMPLED: flag, PYTHON: run(flag, *(batch.column(c) for c in crossing))}

    return compare


def not_read(error: Exception) -> bool:
    """Tell whether a worker couldn't read a file, and warn that Spark reads the table then."""
    _, there, cause = str(error).partition(UNREADABLE)
    if there:
        cause = cause.partition("\n")[0]
        log.warning("%s%s; Spark reads the table instead", UNREADABLE, cause)
    return bool(there)
