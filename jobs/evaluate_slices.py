"""Evaluate slices: every metric of every slice, for one or more models side by side.

Reads the mask table and prediction tables, joined by key. Writes the metrics table, to which a
run adds its figures once, and an HTML report. Prints slices by metrics, worst first, with their
intervals; + and - mark slices that differ from the rows outside them (corrected p-value), ? those
of too few rows to be tested.

  python -m jobs.evaluate_slices --project conf/spam.yaml
  python -m jobs.evaluate_slices --project conf/spam.yaml --model baseline evaluate_splits=[test]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

import engine
from engine import cli, records, tables
from engine.config import Predictions, Project
from engine.errors import NoPredictionsError, SplitMissingError
from engine.figure_tables import show_comparison, show_figures
from engine.masks.checks import check_columns, check_unique
from engine.masks.reader import MaskTable, read_masks
from engine.masks.table import split_column
from engine.metrics.evaluation import classes_of, measured
from engine.metrics.joined import join_predictions
from engine.metrics.predictions import has_weights, normalised
from engine.metrics.scan import EvaluationSpec
from engine.metrics.uncertainty import Confidence
from engine.report.page import render


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument(
        "--model", action="append", metavar="ID", help="a model to evaluate; all by default"
    )
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Evaluate the models of one project."""
    project = cli.project_of(args)
    spark = cli.session(project, "evaluate_slices")
    masks = tables.read(spark, project.place("masks"), "mask table")
    read = _predictions(spark, project, args.model)
    if project.check_key == "full":
        for model_id, (snapshot, df) in read.items():
            check_unique(df, f"{snapshot.name} (model {model_id!r})", project.join_columns)
    table = read_masks(masks.df)
    rows = _rows(project, masks.name, table)
    spec = EvaluationSpec(
        metrics=project.metric_specs,
        slice_ids=table.ids,
        classes=classes_of(project.metric_specs, (), project.classes),
        positive=project.positive_position,
        split=project.split,
        weighted=any(has_weights(df, {}) for _, df in read.values()),
        models=list(read),
    )
    cli.step(f"evaluating {', '.join(read)} on {len(table.ids):,} slices of {masks.name}")
    joined = join_predictions(rows, {m: df for m, (_, df) in read.items()}, project.join_columns)
    sure = project.certainty
    evaluation = measured(
        joined, spec, {model_id: snapshot.name for model_id, (snapshot, _) in read.items()},
        project.join_columns, project.key,
        sure=Confidence(sure.level, sure.min_support, sure.correction),
        n_replicates=sure.replicates, cluster=sure.cluster, seed=project.seed,
        allow_missing=project.missing_predictions == "count",
    )  # fmt: skip
    result = evaluation.table
    versions = {model_id: snapshot.version for model_id, (snapshot, _) in read.items()}
    run = _run_id(project, masks, versions)
    known = {**masks.facts, "slices": table.fingerprints}
    stored = records.metrics_rows(result, run, masks.version, versions, known)
    written = tables.insert_missing(
        spark.createDataFrame(stored, records.METRICS.schema),
        project.place("metrics"),
        records.METRICS.key,
    )
    order = [project.train_split, project.valid_split]  # what matters most is printed last
    splits = sorted(result["split"].unique(), key=lambda s: (s not in order, str(s)))
    for split in splits:
        show_figures(result, split, list(read), project)
    first, *others = read
    for other in others if sure.replicates else ():
        show_comparison(evaluation.compare(first, other), first, other, sure.level)
    report = project.file("report.html")
    report.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "source": f"{masks.facts.get('source')} version {masks.facts.get('source_version')}",
        "masks": f"{masks.name} version {masks.version}",
        "predictions": ", ".join(f"{m} version {v}" for m, v in versions.items()),
    }
    report.write_text(render(project.name, about, result, list(read), sure.level), encoding="utf-8")
    print(f"wrote {report}")
    print(written)


def _rows(project: Project, name: str, masks: MaskTable) -> DataFrame:
    """Return the mask table's rows that are evaluated, and of its columns those needed."""
    split = [project.split] if project.split else []
    cluster = [project.certainty.cluster] if project.certainty.cluster else []
    named = {"key": project.join_columns, "split": split, "certainty.cluster": cluster}
    check_columns(masks.df, name, named)
    rows = masks.narrowed([*project.join_columns, *split, *cluster]).df
    wanted = project.evaluate_splits
    if not (project.split and wanted):
        return rows
    at = split_column(project.split)
    known = {str(r[0]) for r in rows.select(at).distinct().collect()}
    for one in wanted:
        if one not in known:
            raise SplitMissingError(name, one, known)
    return rows.where(at.isin(*wanted))


def _predictions(
    spark: SparkSession, project: Project, wanted: Sequence[str] | None
) -> dict[str, tuple[tables.Snapshot, DataFrame]]:
    """Read the prediction tables; those not asked for by name may be missing."""
    found: dict[str, tuple[tables.Snapshot, DataFrame]] = {}
    for model_id in wanted or project.predictions:
        given = project.predictions.get(model_id, Predictions())
        place = project.prediction_table(model_id)
        own = given.table is None and given.format is None
        if own and not wanted and not tables.exists(spark, place):
            cli.log.info("no predictions of %s yet (%s): left out", model_id, place)
            continue
        if own:
            snapshot = tables.read(spark, place, "prediction table")
        else:
            snapshot = tables.read_source(spark, place, given.format)
        df = normalised(
            snapshot.df, snapshot.name, model_id, project.join_columns, given.columns,
            classes_of(project.metric_specs, (), project.classes),
        )  # fmt: skip
        found[model_id] = (snapshot, _with_late_labels(spark, project, df, given))
    if not found:
        raise NoPredictionsError([project.prediction_table(m) for m in project.predictions])
    return found


def _with_late_labels(
    spark: SparkSession, project: Project, df: DataFrame, given: Predictions
) -> DataFrame:
    if given.label is None:
        return df
    late = tables.read_source(spark, given.label.table, given.label.format)
    columns = [*project.join_columns, given.label.column]
    check_columns(late.df, late.name, {"label": columns})
    labels = late.df.select(*(F.col(f"`{c}`") for c in columns))
    check_unique(labels, late.name, project.join_columns)
    renamed = labels.withColumnRenamed(given.label.column, "_late")
    joined = df.join(renamed, project.join_columns, "left")
    return joined.withColumn("label", F.col("_late")).drop("_late")


def _run_id(project: Project, masks: tables.Snapshot, versions: Mapping[str, str]) -> str:
    return records.run_id(
        {
            "engine_version": engine.__version__,
            "source": [masks.facts.get("source"), masks.facts.get("source_version")],
            "masks": [masks.name, masks.version],
            "predictions": sorted((project.prediction_table(m), v) for m, v in versions.items()),
            "slices": read_masks(masks.df).fingerprints,
            "metrics": project.metrics,
            "certainty": project.certainty.model_dump(),
            "classes": [str(c) for c in project.classes],
            "positive": project.positive_position,
            "splits": project.evaluate_splits,
            "seed": project.seed,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
