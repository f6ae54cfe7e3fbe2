"""Score a table with the slice-aware classifier: executors load the checkpoint once each.

Reads the checkpoint and the source. Writes a prediction table: key, label, predicted class and
the probability of each class; with --heads each slice's indicator and attention too. The checkpoint
must be at a path that every executor can read, or goes with the job (--send); executors need torch,
scikit-learn and safetensors.

  python -m jobs.score_table --project conf/spam.yaml
  python -m jobs.score_table --project conf/spam.yaml --heads
  python -m jobs.score_table --project conf/events.yaml --where "ds = '2024-05-01'"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from pyspark.sql import SparkSession

import engine
from engine.classifier.checkpoint import load, stored_facts
from engine.errors import CheckpointMixError, CheckpointSlicesError
from engine.masks.checks import check_columns, check_rows, check_unique
from engine.masks.table import slices_of
from engine.metrics.predictions import check_key_names
from engine.project import cli
from engine.project.config import Project
from engine.scoring import (
    check_finite,
    checkpoint_predictor,
    explained,
    identity_of,
    ship,
    slice_differences,
    with_predictions,
)
from engine.storage import tables
from engine.storage.lineage import READ, read_again, reading

_TRAINED_ON = ("masks", "mask_version", "source", "source_version")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument(
        "--where", metavar="PREDICATE", help="score only these partitions (over partition_by)"
    )
    parser.add_argument(
        "--heads", action="store_true", help="write each slice's indicator and attention too"
    )
    parser.add_argument(
        "--send", action="store_true", help="send the checkpoint to executors with the job"
    )
    parser.add_argument("--force", action="store_true", help="score again though nothing changed")
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Score one project's source."""
    project = cli.project_of(args)
    model_id = project.classifier.model_id
    folder = project.file(f"models/{model_id}").resolve()
    identity, checkpoint = identity_of(folder), load(folder)
    inputs, heads = checkpoint.features.columns, checkpoint.model.head_names if args.heads else ()
    spark = cli.session(project, "score_table")
    source = cli.source(project, spark)
    optional = {"label": project.label, "weight": project.weight}
    roles = {"key": project.join_columns, "input": inputs}
    roles |= {role: [column] for role, column in optional.items() if column}
    check_columns(source.df, source.name, roles)
    check_key_names(source.name, project.join_columns)
    _compare_slices(project, spark, folder, checkpoint.slices, args.heads)
    place = project.prediction_table(model_id)
    facts = {
        "engine_version": engine.__version__,
        "checkpoint": identity,
        "source": source.name,
        "source_version": source.version,
        "trained_on": {k: v for k, v in stored_facts(folder).items() if k in _TRAINED_ON},
        "where": args.where,
        "columns": [project.key, project.partition_by, list(inputs), *optional.values()],
        "classes": list(checkpoint.classes),
        "heads": list(heads),
        "check_key": project.check_key,
    }
    stored = tables.find(spark, place)
    facts[READ] = read_again(stored.facts if stored else None, reading(source, args.where))
    same = stored if stored and tables.same(stored.facts, facts) and not args.force else None
    if same is not None and source.unknown is None:
        print(tables.unchanged(same))
        return
    cli.tell_changes(str(place), stored.facts if stored else {}, facts)
    df = source.df
    if args.where:
        by = stored.facts.get("checkpoint") if stored else None
        if by not in (None, identity):
            raise CheckpointMixError(str(place), str(by), identity)
        df = tables.where_partitions(df, args.where, project.partition_by)
    readers = {column: ["features"] for column in inputs}
    rows = check_rows(
        df, source.name, project.join_columns, readers, args.where, project.partition_by
    )
    if project.check_key == "full":
        check_unique(df, source.name, project.join_columns)
    check_finite(df, source.name, project.join_columns, inputs)
    cli.step(f"scoring {rows:,} rows of {source.name} on executors")
    at = ship(spark, folder, identity) if args.send else str(folder)
    predictions = with_predictions(
        df,
        keep=project.join_columns,
        inputs=inputs,
        label=project.label,
        weight=project.weight,
        model_id=model_id,
        classes=checkpoint.classes,
        identity=identity,
        load=partial(checkpoint_predictor, at, heads=args.heads),
        heads=heads,
    )
    with explained(folder):
        written = tables.overwrite(
            predictions,
            place,
            facts=facts,
            partition_by=project.partition_by,
            where=args.where,
            unless=same,
        )
    if same is not None and source.unknown:
        cli.tell_again(written, [source.unknown])
    print(written)


def _compare_slices(
    project: Project, spark: SparkSession, folder: Path, trained: Mapping[str, str], heads: bool
) -> None:
    """Warn when the checkpoint's slices aren't the mask table's; refuse to write their heads.

    Predictions of such a checkpoint are what they always were; its heads would go by the names of
    slices that are now other ones.
    """
    masks = tables.find(spark, project.place("masks"))
    differences = slice_differences(trained, slices_of(masks.df.schema)) if masks else ""
    if differences and heads:
        raise CheckpointSlicesError(folder, differences, "train it again, or score without --heads")
    if differences:
        cli.log.warning("the checkpoint's slices are not the project's: %s", differences)


if __name__ == "__main__":
    sys.exit(main())
