"""Evaluate slices: every metric of every slice, for one or more models side by side.

Reads the mask table and prediction tables, joined by key. Writes the metrics table, to which a
run adds its figures once, and an HTML report. Prints slices by metrics, worst first, with their
intervals; + marks slices that are better than the rows outside them, - those that are worse
(corrected p-value), ~ what differs where neither way is better, ? too few rows to be tested.

  python -m jobs.evaluate_slices --project conf/spam.yaml
  python -m jobs.evaluate_slices --project conf/spam.yaml --model baseline evaluate_splits=[test]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

import engine
from engine.errors import NoPredictionsError, SplitMissingError, StaleRowsError
from engine.masks.checks import check_columns, check_unique, quoted
from engine.masks.coverage import coverage
from engine.masks.reader import MaskTable, read_masks
from engine.masks.splits import Split, in_split, is_split, split_sql
from engine.metrics.custom import CustomMetric
from engine.metrics.evaluation import Evaluation, measured
from engine.metrics.inference.uncertainty import Confidence, how_sure, needs_replicates
from engine.metrics.predictions import has_weights, normalised
from engine.metrics.request import check_summed, classes_of, sendable
from engine.metrics.scan.joined import join_predictions
from engine.metrics.scan.scan import EvaluationSpec
from engine.plain import SENTENCE, plain
from engine.project import cli, records
from engine.project.audit import RowColumns, row_columns, sections_of, trend_of
from engine.project.config import Predictions, Project
from engine.report import sections
from engine.report.page import render
from engine.report.sections import Section
from engine.storage import tables
from engine.storage.lineage import READ, deciding, readings, stale_rows
from engine.storage.snapshot import Snapshot

_LATE = "@late"  # named as no column of a prediction table is


# Model id to its predictions as they are stored and as they are read, and to late labels.
Read = dict[str, tuple[Snapshot, DataFrame, Snapshot | None]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument(
        "--model", action="append", metavar="ID", help="a model to evaluate; all by default"
    )
    parser.add_argument(
        "--explain", action="store_true", help="say what each metric costs and rests on, and stop"
    )
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Evaluate the models of one project."""
    project = cli.project_of(args)
    own = sendable(project.own_metrics(cli.module_folders(args)))
    spark = cli.session(project, "evaluate_slices")
    masks = tables.read(spark, project.place("masks"), "mask table")
    classes = classes_of(project.metric_specs, own, project.classes)
    read = _predictions(spark, project, args.model, classes)
    if project.check_key == "full" and not args.explain:
        for model_id, (snapshot, df, _) in read.items():
            check_unique(df, f"{snapshot.name} (model {model_id!r})", project.join_columns)
    table = read_masks(masks.df)
    columns = row_columns(spark, project, masks.df)
    rows = _rows(project, masks.name, table, columns)
    spec = EvaluationSpec(
        metrics=project.metric_specs,
        slice_ids=table.ids,
        classes=classes,
        positive=project.positive_position if classes else 0,
        split=project.split,
        weighted=any(has_weights(df, {}) for _, df, _ in read.values()),
        models=list(read),
        custom=[m for m in own if m.function is None],
    )
    functions = [m for m in own if m.function is not None]
    if args.explain:
        print(_explanation(project, masks, spec, functions))
        return
    if other := columns.other_version(readings(masks.facts)):
        cli.log.warning("%s", other)
    stale = _stale(project, rows, masks, {m: snapshot for m, (snapshot, *_) in read.items()})
    cli.step(f"evaluating {', '.join(read)} on {len(table.ids):,} slices of {masks.name}")
    joined = join_predictions(rows, {m: df for m, (_, df, _) in read.items()}, project.join_columns)
    sure = project.certainty
    evaluation = measured(
        joined, spec, {model_id: snapshot.name for model_id, (snapshot, *_) in read.items()},
        project.join_columns, project.key,
        sure=Confidence(sure.level, sure.min_support, sure.correction),
        n_replicates=sure.replicates, cluster=sure.cluster, seed=project.seed,
        allow_missing=project.missing_predictions == "count", functions=functions,
        sources={masks.name: rows}
        | {f"{s.name} (model {m!r})": df for m, (s, df, _) in read.items()},
    )  # fmt: skip
    result = evaluation.table
    versions = {model_id: snapshot.version for model_id, (snapshot, *_) in read.items()}
    run = _run_id(project, masks, read, own, result)
    known = {**masks.facts, "slices": table.fingerprints}
    counts = {model_id: n for model_id, (n, _) in stale.items()}
    stored = records.metrics_rows(result, run, masks.version, versions, known, counts)
    written = tables.insert_missing(
        spark.createDataFrame(stored, records.METRICS.schema),
        project.place("metrics"),
        records.METRICS.key,
    )
    last = [project.train_split, project.valid_split]
    # What matters most is printed last: rows that no model was fitted to.
    splits = sorted(result["split"].unique(), key=lambda s: (s not in last, s is not None, s or ""))
    shown = [s for split in splits for s in _figures(evaluation, split, sure.level)]
    for section in shown:
        cli.tell(section)
    around = []
    for section in sections_of(spark, project, evaluation, rows, columns, splits[-1]):
        cli.tell(section)
        around.append(section)
    if project.audit.trend:
        moved = trend_of(project, evaluation, tables.read(spark, project.place("metrics")).df)
        cli.tell(moved)
        around.append(moved)
    report = project.file("report.html")
    report.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "source": f"{masks.facts.get('source')} version {masks.facts.get('source_version')}",
        "masks": f"{masks.name} version {masks.version}",
        "predictions": ", ".join(f"{m} version {v}" for m, v in versions.items()),
    }
    about |= {f"stale ({m})": told for m, (_, told) in stale.items() if told}
    page = render(project.name, about, result, list(read), evaluation.better, around, sure.level)
    report.write_text(page, encoding="utf-8")
    print(f"wrote {report}")
    cli.tell_again(written, () if written.changed else _unsure(read, own))
    print(written)


def _stale(
    project: Project,
    rows: DataFrame,
    masks: Snapshot,
    predictions: Mapping[str, Snapshot],
) -> dict[str, tuple[int | None, str]]:
    """Compare what masks and predictions were made from.

    Returns
    -------
    dict
        Model id to how many rows are of two versions, None where that isn't known, and a sentence
        where there are any.

    Raises
    ------
    StaleRowsError
        If there are some and the project refuses them.
    """
    found: dict[str, tuple[int | None, str]] = {}
    labelled = readings(masks.facts)
    for model_id, snapshot in predictions.items():
        scored = readings(snapshot.facts)
        if not (labelled and scored):
            of = masks.name if scored else f"{snapshot.name} (model {model_id!r})"
            cli.step(f"{of} doesn't say which version of the source it is of: none is compared")
            found[model_id] = None, ""
            continue
        stale = stale_rows(rows, labelled, scored, project.partition_by)
        if stale is None:
            why = next((r.unknown for r in (*labelled, *scored) if r.unknown), None)
            told = why and f"{why}, so {masks.name} and {snapshot.name} may be of other rows"
            found[model_id] = (None if why else 0), told or ""
            if told:
                cli.log.warning("%s: label and score again first", told)
            continue
        first = f"{masks.name} was labelled from version {stale.ours} of {labelled[-1].source}"
        other = stale.other(scored[-1].source)
        second = f"{snapshot.name} (model {model_id!r}) was scored from {other}"
        scores = "train_baseline" if model_id == project.baseline.model_id else "score_table"
        if project.on_stale == "refuse":
            partly = stale.rows < stale.all_rows
            raise StaleRowsError(first, second, str(stale), ["label_slices", scores], partly)
        found[model_id] = stale.rows, f"{first}, and {second}: this is so on {stale}"
        cli.log.warning("%s", found[model_id][1])
    return found


def _figures(evaluation: Evaluation, split: Split, level: float) -> Iterator[Section]:
    """Yield a split's slices by metrics, worst first, then the figures that differ."""
    part = evaluation.table[in_split(evaluation.table["split"], split)]
    metric = str(part["metric"].iloc[0])
    order = sections.worst_first(part, metric, evaluation.better(metric))
    better = evaluation.better
    yield sections.figures(part, order, evaluation.spec.models, split, level, better)
    yield sections.differences(part, split, level, better)


def _explanation(
    project: Project,
    masks: Snapshot,
    spec: EvaluationSpec,
    functions: Sequence[CustomMetric],
) -> str:
    """Return what each metric needs, adds up and rests on, and what functions cost."""
    sure = project.certainty
    clustered = sure.cluster is not None
    lines = [
        f"{masks.name} version {masks.version}: one scan for {len(spec.metrics) + len(spec.custom)}"
        f" metrics, {len(spec.slice_ids):,} slices and models {', '.join(spec.models)}"
    ]
    shared = replace(spec, metrics=[]).work().numbers  # the rows, which are counted once
    for m in spec.metrics:
        held = max(1, replace(spec, metrics=[m]).work().numbers - shared)
        rests = how_sure(m, spec, clustered)
        lines.append(f"  {m}: {held:,} numbers per slice, split and model; interval: {rests}")
    lines += [f"  {c.name}: your state, merged as arrays; no interval" for c in spec.custom]
    if functions:
        counts = coverage(masks.df, spec.slice_ids, None)
        rows = counts[0].rows
        times = 1 + sum(c.n_in for c in counts) / max(rows, 1)
        lines += [
            f"  {f.name}: a plain function, a shuffle of its own: each of {rows:,} rows travels "
            f"{times:.1f} times per model, once for each slice that it is in; no interval "
            "(a class with state, merge and compute would be in the scan)"
            for f in functions
        ]
    drawn = sure.replicates and needs_replicates(spec, clustered)
    several = sure.replicates and len(spec.models) > 1
    if drawn or several:
        lines.append(f"  {sure.replicates} bootstrap replicates are drawn in the same scan")
    lines += [SENTENCE] if plain() else []
    return "\n".join(lines)


def _rows(project: Project, name: str, masks: MaskTable, columns: RowColumns) -> DataFrame:
    """Return the mask table's rows that are evaluated, and of its columns those needed."""
    split = [project.split] if project.split else []
    cluster = [project.certainty.cluster] if project.certainty.cluster else []
    named = {"key": project.join_columns, "split": split, "certainty.cluster": cluster}
    check_columns(masks.df, name, named)
    held = [m.parameter("column") for m in project.metric_specs if m.needs == "column"]
    check_columns(masks.df, name, {"metrics": held})
    check_summed(masks.df.schema, name, project.metric_specs)
    rows = masks.narrowed([*project.join_columns, *split, *cluster, *held, *columns.carried]).df
    wanted = project.evaluate_splits
    if not (project.split and wanted):
        return rows
    at = split_sql(project.split)
    known = {r[0] for r in rows.selectExpr(at).distinct().collect()}
    for one in wanted:
        if one not in known:
            raise SplitMissingError(name, one, known)
    return rows.where(is_split(at, wanted))


def _predictions(
    spark: SparkSession, project: Project, wanted: Sequence[str] | None, classes: Sequence[Any]
) -> Read:
    """Read the prediction tables and late labels; those not asked for by name may be missing."""
    found: Read = {}
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
            snapshot = cli.told(tables.read_source(spark, place, given.format))
        df = normalised(
            snapshot.df, snapshot.name, model_id, project.join_columns, given.columns, classes
        )
        found[model_id] = (snapshot, *_with_late_labels(spark, project, df, given))
    if not found:
        raise NoPredictionsError([str(project.prediction_table(m)) for m in project.predictions])
    return found


def _with_late_labels(
    spark: SparkSession, project: Project, df: DataFrame, given: Predictions
) -> tuple[DataFrame, Snapshot | None]:
    if given.label is None:
        return df, None
    late = cli.told(tables.read_source(spark, given.label.table, given.label.format))
    columns = [*project.join_columns, given.label.column]
    check_columns(late.df, late.name, {"label": columns})
    labels = late.df.select(*map(quoted, columns))
    check_unique(labels, late.name, project.join_columns)
    renamed = labels.withColumnRenamed(given.label.column, _LATE)
    joined = df.join(renamed, project.join_columns, "left")
    return joined.withColumn("label", F.col(_LATE)).drop(_LATE), late


def _unsure(read: Read, own: Sequence[CustomMetric]) -> list[str]:
    """Return why figures may be others though all inputs seem the same, a sentence each."""
    inputs = [s for one, _, late in read.values() for s in (one, late) if s is not None]
    of_tables = [s.unknown for s in inputs if s.unknown]
    return [*of_tables, *(f"metric {m.name!r} {why}" for m in own for why in m.unknowns)]


def _input(project: Project, model_id: str, read: Read) -> list[Any]:
    """Return what decides a model's predictions: where they and late labels are, and how read."""
    given = project.predictions.get(model_id, Predictions()).model_dump(mode="json")
    one, _, late = read[model_id]
    identities = [one.identity, late.identity if late else None]
    return [model_id, str(project.prediction_table(model_id)), given, identities]


def _run_id(
    project: Project,
    masks: Snapshot,
    read: Read,
    own: Sequence[CustomMetric],
    figures: pd.DataFrame,
) -> str:
    return records.run_id(
        {
            "engine_version": engine.__version__,
            "source": [masks.facts.get("source"), deciding(masks.facts.get(READ))],
            "masks": [masks.name, masks.identity],
            "predictions": [_input(project, m, read) for m in sorted(read)],
            "accepted": [project.missing_predictions, project.check_key],
            # What isn't known to be the same is told apart by the figures that it gives.
            "figures": records.figures_digest(figures) if _unsure(read, own) else "",
            "slices": read_masks(masks.df).fingerprints,
            "metrics": project.metrics,
            "own_metrics": [m.fingerprint for m in own],
            "certainty": project.certainty.model_dump(),
            "classes": [str(c) for c in project.classes],
            "positive": project.positive_position,
            "splits": [project.split, *project.evaluate_splits],
            "seed": project.seed,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
