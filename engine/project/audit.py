"""What one project's audit shows around the figures: models, rows, overlap, and earlier runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
from pyspark.sql import functions as F  # noqa: N812

from engine.masks.checks import check_columns, quoted
from engine.masks.overlap import overlap
from engine.masks.splits import Split, in_split, split_name
from engine.metrics.catalog import OVERALL
from engine.metrics.explore.trend import trend
from engine.report import sections
from engine.report.sections import Section
from engine.storage import tables
from engine.storage.lineage import Reading, reading, versions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from engine.metrics.evaluation import Evaluation
    from engine.project.config import Project

MOST_PAIRED = 200  # slices whose pairs are all counted unless the project says otherwise
NEARLY = 0.95  # Jaccard index from which two slices are nearly the same
_WORST_SLICES = 3


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


def row_columns(spark: SparkSession, project: Project, masks: DataFrame) -> RowColumns:
    """Find the columns that ``audit.columns`` names, in the mask table or else in the source.

    Raises
    ------
    MissingColumnError
        If neither has one.
    """
    audit = project.audit
    if not (audit.worst_rows or audit.flips):
        return RowColumns((), (), None)
    carried = tuple(c for c in audit.columns if c in masks.columns)
    others = tuple(c for c in audit.columns if c not in carried)
    if not others:
        return RowColumns(carried, (), None)
    given = project.source
    source = tables.read_source(spark, given.table, given.format, given.options)
    named = {"key": project.join_columns, "audit.columns": others}
    check_columns(source.df, source.name, named)
    return RowColumns(carried, others, source.df, reading(source))


def sections_of(
    spark: SparkSession,
    project: Project,
    evaluation: Evaluation,
    masks: DataFrame,
    columns: RowColumns,
    split: Split,
) -> Iterator[Section]:
    """Yield what is shown around the figures, but for the trend.

    Parameters
    ----------
    spark, project, evaluation
        What was evaluated.
    masks
        The mask table's rows that were.
    columns
        What rows are shown with.
    split
        The split whose rows are shown.
    """
    audit, level, shown = project.audit, project.certainty.level, split_name(split)
    first, *others = evaluation.spec.models
    for other in others:
        if project.certainty.replicates:
            compared = evaluation.compare(first, other)
            yield sections.comparison(compared, first, other, level, evaluation.better)
        flips = evaluation.flips(first, other)
        if not flips.empty:
            yield sections.flips(flips, first, other, level)
        if audit.flips and not flips.empty:
            here = flips[in_split(flips["split"], split) & (flips["p_adjusted"] <= 1 - level)]
            telling = here.sort_values("p_adjusted", kind="stable")["slice"]
            at = str(next(iter(telling), OVERALL))
            rows = evaluation.flipped_rows(
                first, other, at, audit.flips, [*project.partition_by, *columns.carried], split
            )
            title = (
                f"Rows that {other} wins and loses against {first}: {at}, split {split_name(split)}"
            )
            yield sections.rows_of(title, _with_source(spark, project, rows, columns))
    if audit.worst_rows:
        worst = evaluation.worst(_WORST_SLICES, model=first, split=split)
        for at in worst["slice"]:
            rows = evaluation.worst_rows(
                at, audit.worst_rows, first, [*project.partition_by, *columns.carried], split
            )
            title = f"Rows of the largest loss of {first}: {at}, split {shown}"
            yield sections.rows_of(title, _with_source(spark, project, rows, columns))
    wanted = audit.overlap
    if wanted or (wanted is None and len(evaluation.spec.slice_ids) <= MOST_PAIRED):
        found = overlap(masks, evaluation.spec.slice_ids)
        near = found.near_duplicates(NEARLY)
        yield sections.overlap(near, found.rows, found.uncovered, NEARLY)


def trend_of(project: Project, evaluation: Evaluation, metrics: DataFrame) -> Section:
    """Return how figures moved over the last runs in the metrics table, this one among them."""
    models, names = list(evaluation.spec.models), list(evaluation.table["metric"].unique())
    ours = metrics.where(F.col("model_id").isin(models) & F.col("metric").isin(names))
    runs = ours.select("run_id", "run_ts").distinct().orderBy(F.desc("run_ts"), "run_id")
    last = [r["run_id"] for r in runs.limit(1 + project.audit.trend).collect()]
    found = trend(ours.where(F.col("run_id").isin(last)).toPandas())
    return sections.trend(found, evaluation.better)


def _with_source(
    spark: SparkSession, project: Project, rows: pd.DataFrame, columns: RowColumns
) -> pd.DataFrame:
    """Add columns of the source to a few rows."""
    if columns.source is None or rows.empty:
        return rows
    key = project.join_columns
    narrow = columns.source.select(*map(quoted, [*key, *columns.looked_up]))
    keys = spark.createDataFrame(
        list(rows[key].drop_duplicates().itertuples(index=False, name=None)),
        narrow.select(*map(quoted, key)).schema,
    )
    held = narrow.join(F.broadcast(keys), key).toPandas()
    return rows.merge(held, on=key, how="left", validate="many_to_one")
