"""MERGE of rows into a Delta table by their key; null equals null."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame

from engine.sql import name_sql
from engine.storage.delta_log import table_sql
from engine.storage.place import Place
from engine.storage.session import settings

_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


def merge_into(
    df: DataFrame, place: Place, on: Sequence[str], actions: str, metadata: str, evolves: bool
) -> None:
    """Merge rows, ``new`` in SQL, into a table, ``old`` in SQL, in one commit.

    Parameters
    ----------
    df, place
        The rows and the table.
    on
        The columns that name a row.
    actions
        What is done with rows that match and that don't, in SQL.
    metadata
        What the commit says of itself.
    evolves
        Whether the table gets columns that only the rows have.
    """
    spark = df.sparkSession
    how = "MERGE WITH SCHEMA EVOLUTION INTO" if evolves else "MERGE INTO"
    same = " AND ".join(map(equal, on))
    parts = f"{how} {table_sql(spark, place)} AS old USING ", f" AS new ON {same} {actions}"
    with settings(spark, {_METADATA: metadata}):
        spark.sql("{rows}".join(map(_unformatted, parts)), rows=df)


def equal(column: str) -> str:
    """Compare a column of both in SQL.

    >>> equal("id")
    'old.`id` <=> new.`id`'
    """
    name = name_sql(column)
    return f"old.{name} <=> new.{name}"


def _unformatted(sql: str) -> str:
    """Return SQL that Spark formats, and that stays what it is."""
    return sql.replace("{", "{{").replace("}", "}}")
