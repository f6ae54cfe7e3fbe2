"""Evaluate slices: every metric of every slice, for one or more models side by side.

Reads the mask table and prediction tables, joined by key. Writes the metrics table, to which a
run adds its figures once, and an HTML report. Prints where slices are worse than the rows outside,
by harm and by severity, as sentences; then slices by metrics, worst first, with their
intervals; + marks slices that are better than the rows outside them, - those that are worse
(corrected p-value), ~ what differs where neither way is better, ? too few rows to be tested.
What was evaluated before is shown again, without reading a row; where rows came or changed, only
these are read and added to what the last run added up.

  python -m jobs.evaluate_slices --project conf/spam.yaml
  python -m jobs.evaluate_slices --project conf/spam.yaml --model baseline evaluate_splits=[test]
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys

from engine.project import cli


@cli.job(
    __doc__,
    model={"action": "append", "metavar": "ID", "help": "a model to evaluate; all by default"},
    explain={"action": "store_true", "help": "say what each metric costs and rests on, and stop"},
    force={"action": "store_true", "help": "evaluate again though nothing changed"},
)
def main(args: argparse.Namespace) -> None:
    """Evaluate the models of one project."""
    from engine.project import audit
    from engine.project.evaluating import evaluation_input, own_metrics
    from engine.project.reports import Reports
    from engine.project.stale import stale_models
    from engine.storage import tables
    from engine.storage.lineage import readings

    project = cli.project_of(args)
    own = own_metrics(project, cli.module_folders(args))
    spark = cli.session(project, "evaluate_slices")
    run = cli.run_of(project, spark, "evaluate_slices", project.place("metrics"))
    data = evaluation_input(run.runs, project, own, args.model)
    for model in data.models.values():
        for snapshot in model.snapshots:
            cli.tell_files(snapshot)
    if args.explain:
        print(data.explain())
        return
    masks, level = data.masks, project.certainty.level
    if other := data.columns.other_version(readings(masks.facts)):
        cli.log.warning("%s", other)
    stale = stale_models(project, data.rows, masks, data.stored)
    if not args.force and (before := data.earlier()):
        with run:
            run.reads(*data.snapshots)
            written = run.writes(tables.unchanged(before.metrics))
        for section in before.sections:
            cli.tell(section)
        print(f"unchanged {Reports(project).show(before.report)}")
        print(written)
        return
    n = len(data.table.ids)
    cli.log.info(f"evaluating {', '.join(data.models)} on {n:,} slices of {masks.name}")
    progress = data.progress(args.force)
    evaluation = data.measure(progress)
    if progress.note:
        print(progress.note)
    with run:
        run.reads(*data.snapshots)
        warnings = data.warnings(evaluation)
        written = data.record(run, evaluation.table, stale, warnings)
    sentences = warnings["warning"].drop_duplicates().tolist()
    splits = audit.splits_shown(project, evaluation)
    first = audit.findings(evaluation, splits[-1]) if splits else []
    figures = [
        *audit.warnings(sentences),
        *(s for split in splits for s in audit.figures(evaluation, split, level)),
    ]
    for section in (*first, *figures):
        cli.tell(section)
    around = list(first)
    for section in audit.around(data, evaluation, splits[-1]):
        cli.tell(section)
        around.append(section)
    now, folders = dt.datetime.now(dt.UTC), cli.module_folders(args)
    report = audit.report(data, evaluation, stale, around, figures, now, folders, sentences)
    print(f"wrote {Reports(project).write(report, now)}")
    data.write_states(progress)
    cli.tell_again(written, () if written.changed else data.unknown)
    print(written)


if __name__ == "__main__":
    sys.exit(main())
