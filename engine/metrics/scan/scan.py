"""The one scan: all states of all slices, splits and models, added up from Arrow by Spark's tasks.

Each task turns its rows into words and outputs, adds them up with
:mod:`engine.metrics.scan.kernel`, and sends its sums once, in rows of up to 64 slices; Spark adds
these up as integers. So neither partitioning nor order nor a retry changes a bit of any figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyarrow as pa
from pyspark.errors import PythonException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.hashing import KeyHash
from engine.metrics.scan.beside import Beside, JoinReader, joined_by_workers
from engine.metrics.scan.chunks import CHUNK, Chunk, Own, chunks, reader_of
from engine.metrics.scan.form import EvaluationSpec, Form, Scan
from engine.metrics.scan.joined import form_of, narrowed
from engine.metrics.scan.sums import (
    COLUMNS,
    REPEATED,
    arranged,
    grouped,
    repeated,
    without_keys,
)
from engine.metrics.scan.task import Task
from engine.plain import plain
from engine.run.ship import Parcel
from engine.storage.files import unread
from engine.storage.session import settings
from engine.workers import begin

# Before each row Spark asks all columns for their bytes, unless there is no limit to a batch's. A
# row has some hundred bytes here, so that the limit to its rows is enough.
_NARROW = {"spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1)}
_WIDE = {"spark.sql.execution.arrow.maxBytesPerBatch": str(2**26)}
_GATHERED = 2**24  # sums that the driver adds up itself


@dataclass(frozen=True)
class Sums:
    """What all rows add up to.

    Attributes
    ----------
    table
        A row per split, sum, replicate and block of slices; what doesn't add up is bytes.
    form
        How it is arranged.
    repeats
        Whether a key seems to be null, or to name more than one row.
    """

    table: pa.Table
    form: Form
    repeats: bool

    @property
    def scan(self) -> Scan:
        """The sums by model, split and slice."""
        return replace(arranged(self.table, self.form), repeats=self.repeats)


def sums_of(
    joined: DataFrame,
    spec: EvaluationSpec,
    hashed: KeyHash | None = None,
    replicates: int = 0,
    own: Own | None = None,
    key: Sequence[str] = (),
    beside: Beside | None = None,
) -> Sums:
    """Scan joined rows once.

    Parameters
    ----------
    joined
        Mask rows with predictions, from :func:`engine.metrics.scan.joined.join_predictions`.
    spec
        What is evaluated.
    hashed
        The hash that decides how often replicates draw a row: of its key, or of its cluster.
    replicates
        How many there are.
    own
        The rows before ``joined`` was made of them, if they have predictions of their own: their
        files may be read without Spark.
    key
        The columns by which rows were joined, which must name one row each.
    beside
        The tables that were joined: workers may read and join their files without Spark.
    """
    form = replace(form_of(joined, spec, hashed, replicates), key=tuple(key))
    rows = form.rows_at_once(CHUNK)
    if beside is not None:
        alone = replace(form, key=())
        sums = joined_by_workers(
            beside, alone, hashed, rows, partial(_added_by_workers, joined.sparkSession)
        )
        if sums is not None:
            return sums
    if own is not None and (reader := reader_of(own, form, hashed, rows)) is not None:
        n = len(reader.files.tasks)
        tasks = joined.sparkSession.range(0, n, 1, n)
        try:
            return _added_up(tasks, reader.chunks, form, gathered=n * form.sent <= _GATHERED)
        except PythonException as error:
            if not unread(error):
                raise
    with settings(joined.sparkSession, _NARROW if rows == CHUNK else _WIDE):
        chunked = partial(chunks, words=form.words, rows=rows)
        return _added_up(narrowed(joined, form, hashed), chunked, form)


def _added_by_workers(spark: SparkSession, reader: JoinReader) -> Sums:
    """Add up rows that workers join."""
    rows, take = reader.chunks(spark)
    gathered = reader.parts * reader.form.sent <= _GATHERED
    return _added_up(rows, take, reader.form, gathered=gathered)


def _added_up(
    rows: DataFrame,
    chunked: Callable[[Iterable[Any]], Iterable[Chunk | None]],
    form: Form,
    *,
    gathered: bool = False,
) -> Sums:
    """Add up all rows.

    Parameters
    ----------
    rows
        What Spark gives to tasks.
    chunked
        Makes of it what they take, and None where it sees that a key is null or repeats.
    form
        What is added up.
    gathered
        Whether the driver adds up the tasks' sums, which spares Spark another stage.
    """
    sums = ", ".join(f"{c} long" for c in form.sums)
    schema = f"split string, row long, rep int, block int, {sums}, payload binary"
    totals = [f"sum({c}) AS {c}" for c in form.sums]
    if form.key:
        schema += ", keys array<long>"
        totals.append(f"{REPEATED} AS repeated")
    if form.spec.ranked or form.spec.custom:
        few = f"sum({form.sums[0]}) <= {form.spec.exact_rows}"
        totals.append(f"IF({few}, collect_list(payload), NULL) AS payload")
    plainly, parcel = plain(), Parcel(form)

    def add_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        task = Task(parcel.unpack())
        repeats = False
        for chunk in chunked(batches):
            if chunk is None:
                repeats = True
            else:
                task.take(chunk)
        yield from task.sums()
        if repeats:
            yield repeated(form)

    parts = rows.mapInArrow(add_up, schema)
    if gathered:
        table = grouped(parts.toArrow(), form)
    else:
        table = parts.groupBy(*COLUMNS).agg(*map(F.expr, totals)).toArrow()
    return Sums(*without_keys(table, form))
