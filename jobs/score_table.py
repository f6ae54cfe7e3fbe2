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

from engine.project import cli


@cli.job(
    __doc__,
    where={"metavar": "PREDICATE", "help": "score only these partitions (over partition_by)"},
    heads={"action": "store_true", "help": "write each slice's indicator and attention too"},
    send={"action": "store_true", "help": "send the checkpoint to executors with the job"},
    force={"action": "store_true", "help": "score again though nothing changed"},
)
def main(args: argparse.Namespace) -> None:
    """Score one project's source."""
    from engine.project.checkpoint_scores import Scores
    from engine.project.sql_texts import partitions
    from engine.project.stale import compare_slices
    from engine.storage import tables

    project = cli.project_of(args)
    scores = Scores.of(project, args.heads, partitions(project, args.where))
    spark = cli.session(project, "score_table")
    source = cli.source(project, spark)
    table = project.prediction_table(project.classifier.model_id)
    run = cli.run_of(project, spark, "score_table", table)
    scores.check(source)
    compare_slices(project, run.runs, scores.folder, scores.checkpoint.slices, args.heads)
    with run:
        run.reads(source)
        run.leaves(scores.folder, scores.identity)
        output = scores.output(run.runs, source)
        if output.same(args.force) is None or source.unknown:
            facts = output.facts
            run.own(output.place, lambda there: tables.same(there, facts))
            output = scores.output(run.runs, source)
        same = output.same(args.force)
        if same is not None and source.unknown is None:
            print(run.writes(tables.unchanged(same)))
            return
        cli.tell_changes(str(output.place), output.stored_facts, output.facts)
        df, n = scores.rows(source, output)
        cli.log.info(f"scoring {n:,} rows of {source.name} on executors")
        written = scores.write(run, df, output, same, args.send)
    if same is not None and source.unknown:
        cli.tell_again(written, [source.unknown])
    print(written)


if __name__ == "__main__":
    sys.exit(main())
