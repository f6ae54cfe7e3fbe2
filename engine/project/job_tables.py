"""The tables of a job: the source, the predictions and labels that it reads; what it writes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import TableError, listed
from engine.masks.checks import check_columns, check_rows, check_unique, quoted
from engine.metrics.classes import INTEGERS
from engine.metrics.predictions import normalised
from engine.project.group_settings import LateLabel, Predictions
from engine.project.settings import Project
from engine.storage import tables
from engine.storage.lineage import Reading, Snapshot, versions
from engine.storage.place import Place
from engine.storage.runs import Runs

_log = logging.getLogger(__name__)
_OUTPUTS = ("label", "pred", "prob", "loss")  # what rows are shown with besides columns
_LATE = "@late"  # named as no column of a prediction table is


def check_roles(source: Snapshot, roles: Mapping[str, Sequence[str | None]]) -> dict[str, str]:
    """Check that a source has the columns of some roles; return each column's role.

    Parameters
    ----------
    source
        The source.
    roles
        Role to its columns; None is ignored, as of a setting that the project leaves out.
    """
    columns = {role: [c for c in columns if c] for role, columns in roles.items()}
    check_columns(source.df, source.name, columns)
    return {column: role for role, names in columns.items() for column in names}


def check_source(
    project: Project,
    df: DataFrame,
    name: str,
    readers: Mapping[str, Sequence[str]],
    where: str | None = None,
) -> int:
    """Check a source's rows, and its key unless the project trusts it; return how many there are.

    Parameters
    ----------
    project
        The project.
    df, name
        The rows, and their table's name.
    readers
        Column to the names of what reads it.
    where
        The predicate that chose the rows, for messages.
    """
    key, unique = project.join_columns, project.check_key == "full"
    return check_rows(df, name, key, readers, where, project.partition_by, unique)


@dataclass(frozen=True)
class Output:
    """A table as one run writes it.

    Attributes
    ----------
    place
        Where it is.
    stored
        The table as it is; None where there is none.
    facts
        What decides its rows.
    """

    place: Place
    stored: Snapshot | None
    facts: Mapping[str, Any]

    @property
    def stored_facts(self) -> Mapping[str, Any]:
        """What decided the rows of the table as it is; empty where there is none."""
        return self.stored.facts if self.stored else {}

    def same(self, force: bool) -> Snapshot | None:
        """Return the stored table if the same facts decided its rows, unless a run is forced."""
        same = not force and self.stored and tables.same(self.stored.facts, self.facts)
        return self.stored if same else None


def own_tables(project: Project) -> list[Place]:
    """Return where the tables are that a project's jobs write, but that of its runs."""
    models = dict.fromkeys([project.baseline.model_id, project.classifier.model_id])
    elsewhere = {m for m, of in project.predictions.items() if of.table}
    scored = [project.prediction_table(m) for m in models if m not in elsewhere]
    names = ("masks", "slices", "coverage", "metrics", "gate")
    return [*map(project.place, names), *scored]


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
    runs: Runs, project: Project, model_ids: Sequence[str] | None, classes: Sequence[Any]
) -> dict[str, ModelTable]:
    """Read the prediction tables; of all models, a table of ours may be missing.

    Parameters
    ----------
    runs, project
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
        stored = runs.find(place) if ours else None
        if ours and not model_ids and stored is None:
            _log.info("no predictions of %s yet (%s): left out", model_id, place)
            continue
        if ours and stored is None:
            raise tables.no_table("prediction table", str(place))
        if stored is None:
            form = settings.format
            stored = tables.read_source(runs.spark, place, form, accepted=runs.acceptance)
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


def has_predictions(runs: Runs, project: Project) -> bool:
    """Tell whether some model of a project has predictions: tables of others always count."""
    return any(
        of.table is not None or runs.find(project.prediction_table(model_id)) is not None
        for model_id, of in project.predictions.items()
    )


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

    def added_to(
        self, frames: Sequence[pd.DataFrame], key: Sequence[str]
    ) -> Sequence[pd.DataFrame]:
        """Add the columns that are looked up to a few rows, in one scan of the source."""
        if self.source is None or all(rows.empty for rows in frames):
            return frames
        narrow = self.source.df.select(*map(quoted, [*key, *self.looked_up]))
        every = pd.concat([rows[[*key]] for rows in frames])
        for column in key:  # by files' statistics Spark skips most of them
            kind = narrow.schema[column].dataType
            texts = (v if isinstance(v, bytes) else str(v) for v in every[column].unique())
            values = (F.lit(text).cast(kind) for text in texts)
            narrow = narrow.where(quoted(column).isin(*values))
        # pandas would make floats of whole numbers among which there is a null.
        kinds = {c: narrow.schema[c].dataType.simpleString() for c in self.looked_up}
        whole = [c for c, kind in kinds.items() if kind in INTEGERS]
        exact = {c: quoted(c).cast("decimal(20,0)") for c in whole}
        columns, on = narrow.withColumns(exact).toPandas(), list(key)
        for c in whole:
            numbers = [None if value is None else int(value) for value in columns[c]]
            columns[c] = pd.Series(numbers, columns.index, dtype=object)
        return [r.merge(columns, on=on, how="left", validate="many_to_one") for r in frames]


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


def check_hidden(spark: SparkSession, project: Project, masks: DataFrame) -> None:
    """Check that ``report.hide`` names columns: a report would show what a typo leaves.

    Raises
    ------
    ColumnError
        If neither the mask table nor the source has one, and rows aren't shown with it.
    """
    known = {*masks.columns, *_OUTPUTS}
    others = [c for c in project.report.hide if c not in known]
    if others:
        place = project.source
        source = tables.read_source(spark, place.table, place.format, place.options)
        check_columns(source.df, source.name, {"report.hide": others})
