"""A Delta table's commits: whose they are, their facts, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from delta.exceptions import DeltaConcurrentModificationException
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException

from engine.errors import MeanwhileError
from engine.storage.jvm import qualified
from engine.storage.place import Place

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

ATTEMPT = "attempt"  # which write a commit is of, among the facts
_EXISTS = {"DELTA_PATH_EXISTS", "DELTA_TABLE_ALREADY_EXISTS", "TABLE_OR_VIEW_ALREADY_EXISTS"}


def facts_of(metadata: str | None) -> Mapping[str, Any]:
    """Return the facts in a commit's metadata; none where its writer isn't ours."""
    try:
        facts = json.loads(metadata or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def attempt_of(commit: Row) -> str:
    """Return the attempt whose commit it is; empty where its writer isn't ours."""
    return str(facts_of(commit["userMetadata"]).get(ATTEMPT, ""))


def table_sql(spark: SparkSession, place: Place) -> str:
    """Return a Delta table for a statement in SQL, which takes no relative paths."""
    return Place.of(qualified(spark, place.text)).sql if place.is_relative else place.sql


def newest_commits(spark: SparkSession, place: Place, most: int) -> list[Row]:
    """Return a table's last commits, the newest first."""
    return spark.sql(f"DESCRIBE HISTORY {table_sql(spark, place)} LIMIT {most}").collect()


def newest_version(spark: SparkSession, place: Place) -> int:
    """Return the version of a table's last commit."""
    return int(newest_commits(spark, place, 1)[0]["version"])


def restore(spark: SparkSession, place: Place, version: int) -> None:
    """Make a table's rows those of a version, by a commit of its own."""
    spark.sql(f"RESTORE TABLE {table_sql(spark, place)} TO VERSION AS OF {version}")


def is_concurrent(error: Exception) -> bool:
    """Tell whether Delta refused a commit because of another one, converted or not."""
    if isinstance(error, Py4JJavaError):
        return str(error.java_exception.getClass().getName()).startswith("io.delta.exceptions.")
    return isinstance(error, DeltaConcurrentModificationException)


@contextmanager
def alone(place: Place, new: bool) -> Iterator[None]:
    """Turn Delta's errors about a concurrent write into a sentence.

    Raises
    ------
    MeanwhileError
        If somebody else wrote the table meanwhile.
    """
    try:
        yield
    except (AnalysisException, Py4JJavaError, DeltaConcurrentModificationException) as error:
        exists = isinstance(error, AnalysisException) and error.getCondition() in _EXISTS
        if is_concurrent(error) or (new and exists):
            raise MeanwhileError(str(place), new) from None
        raise
