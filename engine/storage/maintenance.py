"""Keep a table's files few: small ones are rewritten as larger ones, those of old versions go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import ArgumentError
from engine.sql import name_sql
from engine.storage import tables
from engine.storage.delta_log import detail, table_sql
from engine.storage.jvm import folder_bytes
from engine.storage.place import Place
from engine.storage.session import settings

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

LEAST_HOURS = 24  # that files of old versions are kept: runs that read them may still go on
_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"


@dataclass(frozen=True)
class Size:
    """A table's files: those of its newest version, and the bytes of all that its folder holds."""

    files: int
    bytes: int
    bytes_of_all: int


@dataclass(frozen=True)
class Maintenance:
    """What was done to a table: its size before and after."""

    place: Place
    before: Size
    after: Size


def size(spark: SparkSession, place: Place) -> Size:
    """Return the size of a table."""
    return _size(spark, detail(spark, place))


def _size(spark: SparkSession, about: Row) -> Size:
    every = folder_bytes(spark, str(about["location"]))
    return Size(int(about["numFiles"]), int(about["sizeInBytes"]), every)


def check_hours(hours: float) -> float:
    """Check how long files of old versions are kept.

    Raises
    ------
    ArgumentError
        If that is too short for runs that go on.

    Examples
    --------
    >>> check_hours(168)
    168
    """
    if hours < LEAST_HOURS:
        wanted = f"at least {LEAST_HOURS}, for runs may go on that read older versions"
        raise ArgumentError("maintain", "--keep-hours", wanted, hours)
    return hours


def maintain(
    spark: SparkSession, place: Place, hours: float, cluster_by: Sequence[str] = ()
) -> Maintenance:
    """Rewrite a table's small files, and remove files that only old versions have.

    Parameters
    ----------
    spark
        The session.
    place
        The table.
    hours
        How long files of old versions are kept.
    cluster_by
        Columns whose near values come into the same files; none leaves rows where they are.
    """
    about, name = detail(spark, place), table_sql(spark, place)
    before = _size(spark, about)
    there = set(tables.read(spark, place).df.columns) - set(about["partitionColumns"])
    columns = [name_sql(c) for c in cluster_by if c in there]
    spark.sql(f"OPTIMIZE {name}" + (f" ZORDER BY ({', '.join(columns)})" if columns else ""))
    with settings(spark, {_CHECK: "false"}):
        spark.sql(f"VACUUM {name} RETAIN {hours:g} HOURS")
    return Maintenance(place, before, size(spark, place))
