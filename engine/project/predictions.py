"""The prediction tables of one project: as they are stored, as they are read, and late labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import TableError, listed
from engine.masks.checks import check_columns, check_unique, quoted
from engine.metrics.predictions import normalised
from engine.project.group_settings import LateLabel, Predictions
from engine.project.settings import Project
from engine.storage import tables
from engine.storage.snapshot import Snapshot

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
    models: dict[str, ModelTable] = {}
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
        key = project.join_columns
        df = normalised(stored.df, stored.name, model_id, key, settings.columns, classes)
        late = _late_labels(spark, settings.label, key)
        if late is not None and settings.label is not None:
            df = _with_labels(df, late, settings.label.column, key)
        models[model_id] = ModelTable(stored, df, late)
    if not models:
        raise TableError(
            "there is no prediction table yet, looked at "
            f"{listed([str(project.prediction_table(m)) for m in project.predictions])}; run "
            "`python -m jobs.train_baseline` first, or name one under predictions"
        )
    return models


def _late_labels(
    spark: SparkSession, label: LateLabel | None, key: Sequence[str]
) -> Snapshot | None:
    if label is None:
        return None
    late = tables.read_source(spark, label.table, label.format)
    check_columns(late.df, late.name, {"label": [*key, label.column]})
    check_unique(late.df.select(*map(quoted, [*key, label.column])), late.name, key)
    return late


def _with_labels(df: DataFrame, late: Snapshot, column: str, key: Sequence[str]) -> DataFrame:
    labels = late.df.select(*map(quoted, [*key, column])).withColumnRenamed(column, _LATE)
    return df.join(labels, list(key), "left").withColumn("label", F.col(_LATE)).drop(_LATE)
