"""Label slices: run every slicing function over the source, write the mask table.

Reads the source and the slicing functions that the project file names. Writes the mask table
(key, split, carried columns, and the masks: a BOOLEAN column per slice, or packed, 64 slices in a
BIGINT column), the slice catalogue and the run's coverage. A run whose inputs did not change
writes nothing.

  python -m jobs.label_slices --project conf/spam.yaml --explain --profile
  python -m jobs.label_slices --project conf/spam.yaml
  python -m jobs.label_slices --project conf/spam.yaml --view > masks.sql
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
    from engine.project.labelling import (
        OUTPUTS,
        Labelling,
        coverage_section,
        view_note,
        write_counts,
    )
    from engine.storage import tables

    if args.profile and not args.explain:
        raise InputError("--profile needs --explain: it measures what that expects")
    project = cli.project_of(args)
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
    with run:
        run.reads(source)
        output = labelling.output(run.runs, where)
        if output.same(args.force) is None or labelling.unknown:
            output = labelling.own(run, output)
        same = output.same(args.force)
        if same is not None and labelling.has_masks(output, same):
            written = run.writes(tables.unchanged(same))
        else:
            cli.tell_changes(str(output.place), output.stored_facts, output.facts)
            part = labelling.increment(output, same)
            if output.stored:
                print(part)
            written = labelling.label(run, output, same, part)
        if same is not None:
            cli.tell_again(written, labelling.unknown)
        facts = output.facts if written.changed else output.stored_facts
        masks = run.runs.read(written.place)
        counts, records = write_counts(run, labelling, masks, facts)
        cli.show(coverage_section(labelling.plan, counts))
    for commit in (written, *records):
        print(commit)
    if note := view_note(project, masks):
        print(note)


if __name__ == "__main__":
    sys.exit(main())
