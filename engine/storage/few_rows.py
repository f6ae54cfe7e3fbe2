"""Rows of small tables, which the driver reads itself, as a Spark job takes longer than that."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from engine.sql import name_sql
from engine.storage.files import SCALARS, Files, batches, files_of

_MOST_FILES = 100  # of which one may have a row that is wanted


def small_rows(df: DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a small table; no Spark job runs where its files are here.

    Times have a zone then, and otherwise are in the machine's.
    """
    try:
        files = files_of(df, df.columns)
        if files is not None:
            return [row for batch in _all(files) for row in batch.to_pylist()]
    except OSError:
        pass  # Spark reads it, or says what is wrong
    return [row.asDict(recursive=True) for row in df.collect()]


def rows_with(
    df: DataFrame, columns: Sequence[str], values: Mapping[str, Any]
) -> list[tuple[Any, ...]]:
    """Return columns of the rows of a table that have some values, as Spark's ``collect`` does.

    No Spark job runs where few files may have such rows, and these are here.

    Parameters
    ----------
    df
        The table.
    columns
        Which of its columns.
    values
        Column to its value.
    """
    wanted, kinds = list(dict.fromkeys([*columns, *values])), dict(df.dtypes)
    try:
        scalar = all(kinds[c] in SCALARS for c in wanted)
        files = files_of(df, wanted, values) if scalar else None
        if files is not None and sum(map(len, files.tasks)) <= _MOST_FILES:
            rows = (row for batch in _all(files) for row in batch.to_pylist())
            there = ({c: _as_spark(value) for c, value in row.items()} for row in rows)
            same = (row for row in there if all(row[c] == v for c, v in values.items()))
            return [tuple(row[c] for c in columns) for row in same]
    except OSError:
        pass  # as above
    for column, value in values.items():
        df = df.where(F.col(name_sql(column)).eqNullSafe(F.lit(value)))
    return [tuple(row) for row in df.select(*map(name_sql, columns)).collect()]


def _all(files: Files) -> Iterator[pa.RecordBatch]:
    for task in range(len(files.tasks)):
        yield from batches(files, task, 2**10)


def _as_spark(value: Any) -> Any:
    """Return a value as Spark hands it to Python: a time in the machine's zone, without it."""
    has_zone = isinstance(value, dt.datetime) and value.tzinfo is not None
    return value.astimezone().replace(tzinfo=None) if has_zone else value
