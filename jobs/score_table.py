"""Score a table with the slice-aware classifier: executors load the checkpoint once each.

Reads the checkpoint and the source. Writes a prediction table: key, label, predicted class and
the probability of each class. The checkpoint must be at a path that every executor can read.

  python -m jobs.score_table --project conf/spam.yaml
  python -m jobs.score_table --project conf/events.yaml --where "ds = '2024-05-01'"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import engine
from engine import cli, tables
from engine.masks.checks import check_columns, check_rows, check_unique
from engine.scoring import checkpoint_predictor, identity_of, with_predictions


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument(
        "--where", metavar="PREDICATE", help="score only these partitions (over partition_by)"
    )
    parser.add_argument("--force", action="store_true", help="score again though nothing changed")
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Score one project's source."""
    project = cli.project_of(args)
    (text,) = cli.needed(project, text=project.text)
    folder = project.file(f"models/{project.classifier.model_id}").resolve()
    identity = identity_of(folder)
    spark = cli.session(project, "score_table")
    source = tables.read_source(
        spark, project.source.table, project.source.format, project.source.options
    )
    optional = {"label": project.label, "weight": project.weight}
    roles = {"key": project.join_columns, "text": [text]}
    roles |= {role: [column] for role, column in optional.items() if column}
    check_columns(source.df, source.name, roles)
    place = project.prediction_table(project.classifier.model_id)
    facts = {
        "engine_version": engine.__version__,
        "checkpoint": identity,
        "source": source.name,
        "source_version": source.version,
        "where": args.where,
        "columns": [project.key, project.partition_by, text, *optional.values()],
        "classes": list(project.classes),
    }
    stored = tables.find(spark, place)
    if stored is not None and stored.facts == facts and not args.force:
        print(tables.unchanged(stored))
        return
    df = source.df
    if args.where:
        df = tables.where_partitions(df, args.where, project.partition_by)
    rows = check_rows(df, source.name, project.join_columns, {text: ["text"]}, args.where)
    if project.check_key == "full":
        check_unique(df, source.name, project.join_columns)
    cli.step(f"scoring {rows:,} rows of {source.name} on executors")
    predictions = with_predictions(
        df,
        keep=project.join_columns,
        text=text,
        label=project.label,
        weight=project.weight,
        model_id=project.classifier.model_id,
        classes=project.classes,
        identity=identity,
        load=partial(checkpoint_predictor, str(folder)),
    )
    written = tables.overwrite(
        predictions, place, facts=facts, partition_by=project.partition_by, where=args.where
    )
    print(written)


if __name__ == "__main__":
    sys.exit(main())
