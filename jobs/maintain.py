"""Keep a project's tables small: rewrite small files, remove files that only old versions have.

Each run of a job adds files. This job rewrites small ones as larger ones (OPTIMIZE), in the order
of the key or the split where --cluster-by says so, and removes files that no version of the last
--keep-hours has (VACUUM). It holds the tables meanwhile, and what runs that died left is set right
first. Rows and figures stay as they are: runs after it find all unchanged.

  python -m jobs.maintain --project conf/spam.yaml
  python -m jobs.maintain --project conf/spam.yaml --cluster-by split --keep-hours 24
"""

from __future__ import annotations

import argparse
import sys

from engine.project import cli

_COLUMNS = ("table", "files", "after", "MB", "after", "MB of all versions", "after")


@cli.job(
    __doc__,
    keep_hours={
        "type": float,
        "default": 168.0,
        "metavar": "HOURS",
        "help": "how long files of old versions are kept, 24 at least (168)",
    },
    cluster_by={
        "choices": ("key", "split"),
        "help": "bring near keys, or rows of a split, into the same files",
    },
)
def main(args: argparse.Namespace) -> None:
    """Maintain the tables of one project."""
    from engine.project.job_tables import own_tables
    from engine.report.sections import Section
    from engine.storage import tables
    from engine.storage.maintenance import check_hours, maintain

    hours = check_hours(args.keep_hours)
    project = cli.project_of(args)
    by = {"key": project.join_columns, "split": [project.split] if project.split else []}
    spark = cli.session(project, "maintain")
    places = own_tables(project)
    run = cli.run_of(project, spark, "maintain", *places)
    lines = []
    with run:
        run.hold()
        for place in places:
            run.own(place)
        for place in [p for p in (*places, project.place("runs")) if tables.exists(spark, p)]:
            cli.log.info("maintaining %s", place)
            done = maintain(spark, place, hours, by.get(args.cluster_by, []))
            sizes = (done.before, done.after)
            files = [s.files for s in sizes]
            mb = [s.bytes / 2**20 for s in sizes] + [s.bytes_of_all / 2**20 for s in sizes]
            lines.append([str(place), *files, *mb])
            if place in places and (stored := run.runs.find(place)):
                run.writes(tables.unchanged(stored))
    cli.show(Section(f"Tables of {project.name}", _COLUMNS, lines))


if __name__ == "__main__":
    sys.exit(main())
