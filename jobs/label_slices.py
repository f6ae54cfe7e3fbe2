"""Label slices: run every slicing function over the source, write the mask table.

Reads the source and the slicing functions that the project file names. Writes the mask table
(key, split, carried columns, and the masks: a BOOLEAN column per slice, or packed, 64 slices in a
BIGINT column), the slice catalogue and the run's coverage. A run whose inputs did not change
writes nothing.

  python -m jobs.label_slices --project conf/spam.yaml --explain --profile
  python -m jobs.label_slices --project conf/spam.yaml
  python -m jobs.label_slices --project conf/spam.yaml --view > masks.sql
  python -m jobs.label_slices --project conf/events.yaml --stream forever
  python -m jobs.label_slices --project conf/events.yaml --where "ds = '2024-05-01'"
"""

from __future__ import annotations

import argparse
import sys

from engine.project import cli


@cli.job(
    __doc__,
    explain={"action": "store_true", "help": "say where each slice runs and why, and stop"},
    profile={
        "action": "store_true",
        "help": "with --explain: measure what each slice takes, on the first 10,000 rows",
    },
    view={
        "action": "store_true",
        "help": "print the SELECT that shows each slice of the mask table as a BOOLEAN column, "
        "and stop",
    },
    where={"metavar": "PREDICATE", "help": "label only these partitions (over partition_by)"},
    stream={
        "choices": ("forever", "once"),
        "help": "label and evaluate whenever rows arrive in the source, a Delta table; once: until "
        "all that are there were labelled",
    },
    force={"action": "store_true", "help": "label again though nothing changed"},
    repin={
        "action": "store_true",
        "help": "look for new values of slices by value, and add them",
    },
)
def main(args: argparse.Namespace) -> None:
    """Label the slices of one project."""
    from engine.errors import InputError
    from engine.masks.reader import read_masks, view_select
    from engine.project import slices, sql_texts
    from engine.project.job_tables import check_roles
    from engine.project.label_job import label, label_stream
    from engine.project.labelling import OUTPUTS, Labelling

    if args.profile and not args.explain:
        raise InputError("--profile needs --explain: it measures what that expects")
    project = cli.project_of(args)
    if args.stream:
        arguments = ["--project", args.project, *args.overrides]
        label_stream(project, cli.run_job, arguments, args.stream == "once")
        return
    if args.view:
        spark = cli.session(project, "label_slices")
        packed = cli.run_of(project, spark, "label_slices").runs.read(
            project.place("masks"), "mask table"
        )
        print(view_select(read_masks(packed.df), packed.place))
        return
    where = sql_texts.partitions(project, args.where)
    own = slices.load(project, cli.module_folders(args))
    spark = cli.session(project, "label_slices")
    source = cli.source(project, spark)
    roles = check_roles(
        source,
        {
            "key": project.key,
            "split": [project.split],
            "partition": project.partition_by,
            "carried": project.carry,
        },
    )
    run = cli.run_of(project, spark, "label_slices", *map(project.place, OUTPUTS))
    resolved = slices.resolve(project, source, own, run.runs, args.repin)
    for line in resolved.notes:
        print(line)
    labelling = Labelling(project, source, resolved, roles)
    if args.explain:
        print(labelling.explain())
        if args.profile:
            print(labelling.profile())
        return
    label(run, labelling, where, args.force)


if __name__ == "__main__":
    sys.exit(main())
