"""Find the run at which a slice's figure fell, from the figures that runs left; reads no row.

The metrics table has the figures of every run, and of which versions of source, masks and
predictions they are. This job shows one figure run by run and names the two between which it got
worse: the first whose intervals don't meet, else those that differ by the most.

  python -m jobs.bisect_slice --project conf/spam.yaml --slice short_link --metric f1
  python -m jobs.bisect_slice --project conf/spam.yaml --slice overall --metric f1 --model baseline
"""

from __future__ import annotations

import argparse
import sys

from engine.project import cli


@cli.job(
    __doc__,
    slice={"required": True, "metavar": "ID", "help": "the slice; overall for all rows"},
    metric={"required": True, "metavar": "NAME", "help": "the metric"},
    model={"metavar": "ID", "help": "the model; needed where there are several"},
    split={"metavar": "NAME", "help": "the split; needed where there are several"},
)
def main(args: argparse.Namespace) -> None:
    """Show one figure of a project run by run."""
    from engine.project.history import fall_section

    project = cli.project_of(args)
    spark = cli.session(project, "bisect_slice")
    runs = cli.run_of(project, spark, "bisect_slice").runs
    section, sentence = fall_section(
        runs.read(project.place("metrics")), args.slice, args.metric, args.model, args.split
    )
    cli.show(section)
    print(sentence)


if __name__ == "__main__":
    sys.exit(main())
