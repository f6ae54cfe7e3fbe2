"""What only the data can show, checked before any table is written."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import (
    ArgumentError,
    ColumnError,
    InputError,
    TableError,
    duplicate_column,
    listed,
    missing_column,
)
from engine.hashing import check_key_type
from engine.masks.file_counts import counts_in_files
from engine.sql import name_sql, text_sql

if TYPE_CHECKING:
    from pyspark.sql import Column

EXAMPLES = 3
_FOLDER = 255  # bytes of a folder's name


def spark_table(call: str, argument: str, value: Any, *, stream: bool = False) -> DataFrame:
    """Return a value that must be a Spark DataFrame.

    Parameters
    ----------
    call, argument
        What the user called, and with which argument.
    value
        The argument's value.
    stream
        Whether it may be one whose rows are still to come.

    Raises
    ------
    ArgumentError
        If it is something else; the message says how a pandas or pyarrow table becomes one.

    Examples
    --------
    >>> spark_table("overlap", "masks", {})
    Traceback (most recent call last):
    engine.errors.ArgumentError: overlap: masks must be a Spark DataFrame, found {}
    """
    if isinstance(value, DataFrame):
        if value.isStreaming and not stream:
            hint = "; call it on each batch, in writeStream.foreachBatch"
            raise ArgumentError(call, argument, "a Spark DataFrame that is no stream", value, hint)
        return value
    local = hasattr(value, "columns") or hasattr(value, "dtype")
    hint = "; make it one with spark.createDataFrame(...)" if local else ""
    raise ArgumentError(call, argument, "a Spark DataFrame", value, hint)


def check_columns(df: DataFrame, table: str, roles: Mapping[str, Sequence[str]]) -> None:
    """Check that named columns exist and that key columns can be keys; runs nothing on Spark.

    Parameters
    ----------
    df
        The table.
    table
        Its name, for messages.
    roles
        Role ("key", "split", …) to column names.

    Raises
    ------
    ColumnError
    """
    names = df.columns
    for role, columns in roles.items():
        for column in columns:
            if column not in names:
                raise missing_column(f"{role} of {table}", column, names)
            if names.count(column) > 1:
                raise duplicate_column(column, names.count(column))
            if len(twins := [c for c in names if c.lower() == column.lower()]) > 1:
                other = next(c for c in twins if c != column)
                if df.sparkSession.conf.get("spark.sql.caseSensitive", "false") != "true":
                    raise ColumnError(
                        f"column {column!r} of {table} can't be told from {other!r}, as Spark "
                        "looks at no case: rename one in the source, or set "
                        "spark.sql.caseSensitive under spark"
                    )
            if role in {"key", "partition"}:
                check_key_type(column, df.schema[column].dataType)


def check_rows(
    df: DataFrame,
    table: str,
    key: Sequence[str],
    readers: Mapping[str, Sequence[str]],
    where: str | None = None,
    partition_by: Sequence[str] = (),
    unique: bool = False,
) -> int:
    """Check that there are rows, that keys aren't null and that read columns have values.

    One scan of the named columns. No shuffle but for keys that must be unique: then of their
    hashes alone, eight bytes a row. Keys whose hashes are alike are compared in a scan of their
    own.

    Parameters
    ----------
    df
        The rows.
    table
        Their table's name.
    key
        Key columns.
    readers
        Column to the names of what reads it.
    where
        The predicate that chose the rows, for the message.
    partition_by
        Columns by which rows will be partitioned: their texts must be ones that Delta keeps.
    unique
        Whether each key must name one row.

    Returns
    -------
    int
        The number of rows.

    Notes
    -----
    Where workers can read the table's files, they do: of columns that only need a value, their
    statistics.

    Raises
    ------
    TableError
        Of one problem.
        Of more.
        If a key names more than one row; see :func:`check_unique`.
    """
    columns = list(dict.fromkeys([*key, *readers]))
    texts = [c for c in partition_by if df.schema[c].dataType.typeName() == "string"]
    lost = [(c, *one) for c in texts for one in _no_partition(c)]
    counted = None if lost else counts_in_files(df, key, columns, unique)
    if counted is None:
        counts = [F.count(quoted(c)).alias(f"n_{i}") for i, c in enumerate(columns)]
        sqls = [F.count_if(F.expr(sql)) for _, sql, *_ in lost]
        counts += [count.alias(f"lost_{i}") for i, count in enumerate(sqls)]
        counts = [F.count(F.lit(1)).alias("rows"), *counts]
        counted = _observed(df, key, counts) if unique else (False, _aggregates(df, counts))
    repeats, n = counted
    rows = int(n["rows"])
    if not rows:
        raise no_rows(table, where)
    wrong: list[InputError] = []
    for i, column in enumerate(columns):
        filled = int(n[f"n_{i}"])
        if column in key and filled < rows:
            wrong.append(null_key(table, column, rows - filled, rows))
        elif not filled:
            wrong.append(
                TableError(
                    f"column {column!r} of {table} is null on all {rows:,} rows, and is read by "
                    f"{listed(readers[column], 5)}; check the source, or leave them out"
                )
            )
    for i, (column, sql, problem, cause) in enumerate(lost):
        if n_lost := int(n[f"lost_{i}"]):
            order = [*map(quoted, key)]
            first = df.where(sql).select(*order).orderBy(*order).limit(1).collect()[0]
            name = shorten(key_text(first.asDict(), key), 200, placeholder=" …")
            wrong.append(
                TableError(
                    f"partition column {column!r} of {table} {problem} on {n_lost:,} of {rows:,} "
                    f"rows, the first is {name}: {cause}; give it another value in the source, or "
                    "leave the column out of partition_by"
                )
            )
    if wrong:
        raise wrong[0] if len(wrong) == 1 else TableError("; besides, ".join(map(str, wrong)))
    if repeats:
        check_unique(df, table, key)
    return rows


def _aggregates(df: DataFrame, counts: Sequence[Column]) -> Mapping[str, Any]:
    return df.agg(*counts).collect()[0].asDict()


def _observed(
    df: DataFrame, key: Sequence[str], counts: Sequence[Column]
) -> tuple[bool, Mapping[str, Any]]:
    """Tell whether two rows' keys hash alike, and count rows on the way."""
    observation = Observation("rows")
    hashes = df.observe(observation, *counts).select(F.xxhash64(*map(quoted, key)).alias("hash"))
    twice = hashes.groupBy("hash").agg(F.count(F.lit(1)).alias("n")).where("n > 1")
    # Of an order and a limit Spark makes one job, of a limit alone as many as it takes.
    first = twice.orderBy("hash").limit(1).collect()
    try:
        counted = observation.get
    except Py4JJavaError:  # Spark leaves out what observes no row
        counted = {}
    return bool(first), counted or _aggregates(df, counts)


def null_key(table: str, column: str, n: int, rows: int) -> TableError:
    """Return the error of rows whose key is null."""
    return TableError(
        f"key column {column!r} of {table} is null on {n:,} of {rows:,} rows; every row needs a key"
    )


def no_rows(table: str, where: str | None = None) -> TableError:
    """Return the error of a table without rows."""
    chosen = f" where {where}" if where else ""
    return TableError(f"{table} has no rows{chosen}; nothing was written")


def _no_partition(column: str) -> Iterator[tuple[str, str, str]]:
    """Yield which texts can't be a partition's, in SQL, and in words what they are and why."""
    name = name_sql(column)
    for text in ("", "__HIVE_DEFAULT_PARTITION__"):
        cause = "Delta writes that as null, and joins would lose these rows"
        yield f"{name} = {text_sql(text)}", f"is {text!r}", cause
    cause, most = "no folder can be named so", _FOLDER - len(f"{column}=".encode())
    yield f"octet_length({name}) > {most}", f"is longer than {most} bytes", cause
    yield f"instr({name}, CAST(X'00' AS STRING)) > 0", "has a NUL character", cause


def check_no_null_keys(tables: Mapping[str, DataFrame], key: Sequence[str]) -> None:
    """Check that no row of some tables has a key that is null; one job for all of them.

    Raises
    ------
    TableError
        With the first table and column, and how many rows.
    """
    null = {c: f"{name_sql(c)} IS NULL" for c in key}
    some = [
        df.where(" OR ".join(null.values())).limit(1).selectExpr(f"{i} AS at")
        for i, df in enumerate(tables.values())
        if any(df.schema[c].nullable for c in key)
    ]
    if not some:
        return
    for row in functools.reduce(lambda a, b: a.unionAll(b), some).collect()[:1]:
        table, df = list(tables.items())[row["at"]]
        counts = (F.count_if(F.expr(sql)).alias(f"n_{i}") for i, sql in enumerate(null.values()))
        rows, *n = df.agg(F.count(F.lit(1)), *counts).collect()[0]
        column, n_null = next((c, int(m)) for c, m in zip(key, n, strict=True) if m)
        raise null_key(table, column, n_null, int(rows))


def check_unique(df: DataFrame, table: str, key: Sequence[str]) -> None:
    """Check that no key names two rows; this is a shuffle.

    Raises
    ------
    TableError
        With the first duplicates.
    """
    quoted_key = [quoted(k) for k in key]
    twice = df.groupBy(*quoted_key).agg(F.count(F.lit(1)).alias("@n")).where("`@n` > 1")
    first = twice.orderBy(*quoted_key).limit(EXAMPLES).collect()
    if first:
        examples = [f"{key_text(r.asDict(), key)} ({r['@n']} rows)" for r in first]
        raise duplicate_key(table, key, twice.count(), examples)


def duplicate_key(table: str, key: Sequence[str], n: int, examples: Sequence[str]) -> TableError:
    """Return the error of a key that names more than one row."""
    return TableError(
        f"the key ({', '.join(key)}) of {table} is not unique: {n:,} keys name more than one row, "
        f"the first are {'; '.join(examples)}"
    )


def key_text(values: Mapping[str, object], key: Sequence[str]) -> str:
    """Show a key in a message.

    Examples
    --------
    >>> key_text({"ds": "2024-05-01", "id": 7}, ["ds", "id"])
    "ds='2024-05-01', id=7"
    """
    return ", ".join(f"{k}={values[k]!r}" for k in key)


def quoted(name: str) -> Column:
    """Return a column by its exact name, dots included."""
    return F.col(name_sql(name))
