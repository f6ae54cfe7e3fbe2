"""The columns that rows are shown with: the mask table's, or else looked up in the source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.masks.checks import check_columns, quoted
from engine.project.settings import Project
from engine.storage import tables
from engine.storage.lineage import Reading, reading, versions


@dataclass(frozen=True)
class RowColumns:
    """Columns that rows are shown with, besides their key and their outputs.

    Attributes
    ----------
    carried
        Those in the mask table.
    looked_up
        Those that are looked up in the source, for the rows that are shown alone.
    source
        The source's rows; None where nothing is looked up.
    read
        Which version of it they are of.
    """

    carried: tuple[str, ...]
    looked_up: tuple[str, ...]
    source: DataFrame | None
    read: Reading | None = None

    def other_version(self, labelled: Sequence[Reading]) -> str | None:
        """Say that what is looked up is of another version than the masks are; None if it isn't."""
        read = self.read
        if read is None or all(r.identity == read.identity for r in labelled):
            return None
        return (
            f"{', '.join(self.looked_up)} of the rows that are shown come from version "
            f"{read.version} of {read.source}, and masks from version {versions(labelled)}"
        )

    def added_to(self, rows: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
        """Add the columns that are looked up to a few rows."""
        if self.source is None or rows.empty:
            return rows
        narrow = self.source.select(*map(quoted, [*key, *self.looked_up]))
        keys = self.source.sparkSession.createDataFrame(
            list(rows[[*key]].drop_duplicates().itertuples(index=False, name=None)),
            narrow.select(*map(quoted, key)).schema,
        )
        columns = narrow.join(F.broadcast(keys), list(key)).toPandas()
        return rows.merge(columns, on=list(key), how="left", validate="many_to_one")


def row_columns(spark: SparkSession, project: Project, masks: DataFrame) -> RowColumns:
    """Find the columns that ``audit.columns`` names, in the mask table or else in the source.

    Raises
    ------
    ColumnError
        If neither has one.
    """
    audit = project.audit
    if not (audit.worst_rows or audit.flips):
        return RowColumns((), (), None)
    carried = tuple(c for c in audit.columns if c in masks.columns)
    others = tuple(c for c in audit.columns if c not in carried)
    if not others:
        return RowColumns(carried, (), None)
    place = project.source
    source = tables.read_source(spark, place.table, place.format, place.options)
    roles = {"key": project.join_columns, "audit.columns": others}
    check_columns(source.df, source.name, roles)
    return RowColumns(carried, others, source.df, reading(source))
