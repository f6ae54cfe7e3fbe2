"""What only the data can show, checked before any table is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from engine.errors import (
    AllNullColumnError,
    DuplicateKeyError,
    EmptyTableError,
    MissingColumnError,
    NullKeyError,
)
from engine.hashing import check_key_type
from engine.sql import name_sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

EXAMPLES = 3


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
    MissingColumnError, KeyTypeError
    """
    for role, columns in roles.items():
        for column in columns:
            if column not in df.columns:
                raise MissingColumnError(f"{role} of {table}", column, df.columns)
            if role == "key":
                check_key_type(column, df.schema[column].dataType)


def check_rows(
    df: DataFrame,
    table: str,
    key: Sequence[str],
    readers: Mapping[str, Sequence[str]],
    where: str | None = None,
) -> int:
    """Check that there are rows, that keys aren't null and that read columns have values.

    One scan of the named columns, no shuffle.

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

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    EmptyTableError, NullKeyError, AllNullColumnError
    """
    columns = list(dict.fromkeys([*key, *readers]))
    counts = [F.count(quoted(c)).alias(f"n_{i}") for i, c in enumerate(columns)]
    found = df.agg(F.count(F.lit(1)).alias("rows"), *counts).collect()[0]
    rows = int(found["rows"])
    if not rows:
        raise EmptyTableError(table, where)
    for i, column in enumerate(columns):
        filled = int(found[f"n_{i}"])
        if column in key and filled < rows:
            raise NullKeyError(table, column, rows - filled, rows)
        if not filled:
            raise AllNullColumnError(table, column, rows, readers[column])
    return rows


def check_unique(df: DataFrame, table: str, key: Sequence[str]) -> None:
    """Check that no key names two rows; this is a shuffle.

    Raises
    ------
    DuplicateKeyError
        With the first duplicates.
    """
    quoted_key = [quoted(k) for k in key]
    twice = df.groupBy(*quoted_key).agg(F.count(F.lit(1)).alias("_n")).where("_n > 1")
    first = twice.orderBy(*quoted_key).limit(EXAMPLES).collect()
    if first:
        examples = [f"{key_text(r.asDict(), key)} ({r['_n']} rows)" for r in first]
        raise DuplicateKeyError(table, key, twice.count(), examples)


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
