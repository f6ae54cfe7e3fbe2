"""Run the whole flow once: source, masks, baseline, evaluation, classifier, scores, comparison.

What `make demo` runs: each job below with the same project file, in one Spark session. The line
before each job is the command that runs it alone.

  python -m jobs.demo --project conf/spam.yaml
  python -m jobs.demo --project conf/youtube_spam.yaml --data path/to/youtube-spam
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from importlib import import_module

from engine.errors import EngineError
from engine.project import cli

FLOW: tuple[tuple[str, ...], ...] = (
    ("label_slices",),
    ("train_baseline",),
    ("evaluate_slices", "--model", "baseline"),
    ("train_classifier",),
    ("score_table",),
    ("evaluate_slices",),
)


@cli.job(
    __doc__,
    data={"metavar": "FOLDER", "help": "the folder of the five CSV files"},
)
def main(args: argparse.Namespace) -> None:
    """Run all jobs."""
    start = time.monotonic()
    project = cli.project_of(args)
    spark = cli.session(project, "demo")  # the jobs find it active
    data = ("--data", args.data) if args.data else ()
    for name, *options in (("make_source", *data), *FLOW):
        arguments = ["--project", args.project, *options, *args.overrides]
        print(f"\n$ python -m jobs.{name} {shlex.join(arguments)}", flush=True)
        if import_module(f"jobs.{name}").main(arguments):
            raise EngineError(f"jobs.{name} failed, see above; the jobs before it are done")
    spark.stop()
    print(f"\nThe whole flow took {time.monotonic() - start:.0f} s. Delta tables are in:")
    places = [project.place(name) for name in ("masks", "slices", "coverage", "metrics")]
    places += [project.prediction_table(model) for model in project.predictions]
    for place in (project.source.table, *places):
        print(f"  {place}")
    print(f"The report is {project.file('report.html')}")


if __name__ == "__main__":
    sys.exit(main())
