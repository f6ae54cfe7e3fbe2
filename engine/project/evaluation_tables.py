"""What an evaluation reads beside masks: prediction tables, late labels, columns shown of rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import TableError, listed
from engine.masks.checks import check_columns, check_unique, quoted
from engine.metrics.predictions import normalised
from engine.project.group_settings import LateLabel, Predictions
from engine.project.settings import Project
from engine.storage import tables
from engine.storage.lineage import Reading, Snapshot, versions

_log = logging.getLogger(__name__)
_LATE = "@late"  # named as no column of a prediction table is


@dataclass(frozen=True)
class ModelTable:
    """One model's predictions.

    Attributes
    ----------
    stored
        The table as it is stored.
    df
        Its rows in our columns, with late labels.
    late
        The table of late labels, if the model has one.
    """

    stored: Snapshot
    df: DataFrame
    late: Snapshot | None

    @property
    def snapshots(self) -> list[Snapshot]:
        """The tables that were read."""
        return [self.stored, *([self.late] if self.late else [])]


def read_predictions(
    spark: SparkSession, project: Project, model_ids: Sequence[str] | None, classes: Sequence[Any]
) -> dict[str, ModelTable]:
    """Read the prediction tables; of all models, a table of ours may be missing.

    Parameters
    ----------
    spark, project
        Where they are.
    model_ids
        The models; all of the project by default.
    classes
        Label values in class order.

    Raises
    ------
    TableError
        If no model has a table.
    """
    models, key = {}, project.join_columns
    for model_id in model_ids or project.predictions:
        settings = project.predictions.get(model_id, Predictions())
        place = project.prediction_table(model_id)
        ours = settings.table is None and settings.format is None
        if ours and not model_ids and not tables.exists(spark, place):
            _log.info("no predictions of %s yet (%s): left out", model_id, place)
            continue
        stored = (
            tables.read(spark, place, "prediction table")
            if ours
            else tables.read_source(spark, place, settings.format)
        )
        df = normalised(stored.df, stored.name, model_id, key, settings.columns, classes)
        models[model_id] = (
            _with_late_labels(stored, df, settings.label, key)
            if settings.label
            else ModelTable(stored, df, None)
        )
    if not models:
        raise TableError(
            "there is no prediction table yet, looked at "
            f"{listed([str(project.prediction_table(m)) for m in project.predictions])}; run "
            "`python -m jobs.train_baseline` first, or name one under predictions"
        )
    return models


def _with_late_labels(
    stored: Snapshot, df: DataFrame, label: LateLabel, key: Sequence[str]
) -> ModelTable:
    late = tables.read_source(df.sparkSession, label.table, label.format)
    check_columns(late.df, late.name, {"label": [*key, label.column]})
    labels = late.df.select(*map(quoted, [*key, label.column]))
    check_unique(labels, late.name, key)
    labelled = df.join(labels.withColumnRenamed(label.column, _LATE), list(key), "left")
    return ModelTable(stored, labelled.withColumn("label", F.col(_LATE)).drop(_LATE), late)


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
        The source; None where nothing is looked up.
    """

    carried: Sequence[str] = ()
    looked_up: Sequence[str] = ()
    source: Snapshot | None = None

    def other_version(self, labelled: Sequence[Reading]) -> str | None:
        """Say that what is looked up is of another version than the masks are; None if it isn't."""
        source = self.source
        if source is None or all(r.identity == source.identity for r in labelled):
            return None
        return (
            f"{', '.join(self.looked_up)} of the rows that are shown come from version "
            f"{source.version} of {source.name}, and masks from version {versions(labelled)}"
        )

    def added_to(self, rows: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
        """Add the columns that are looked up to a few rows."""
        if self.source is None or rows.empty:
            return rows
        narrow = self.source.df.select(*map(quoted, [*key, *self.looked_up]))
        keys = narrow.sparkSession.createDataFrame(
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
    audit, place = project.audit, project.source
    wanted = audit.columns if audit.worst_rows or audit.flips else []
    carried = [c for c in wanted if c in masks.columns]
    others = [c for c in wanted if c not in carried]
    if not others:
        return RowColumns(carried)
    source = tables.read_source(spark, place.table, place.format, place.options)
    roles = {"key": project.join_columns, "audit.columns": others}
    check_columns(source.df, source.name, roles)
    return RowColumns(carried, others, source)
