"""Run the whole flow once: source, masks, baseline, evaluation, classifier, scores, comparison.

What `make demo` runs: each job below with the same project file, in one Spark session. The line
before each job is the command that runs it alone.

  python -m jobs.demo --project conf/spam.yaml
  python -m jobs.demo --project conf/youtube_spam.yaml --data path/to/youtube-spam
"""

from __future__ import annotations

import argparse
import runpy
import shlex
import sys
import time
from collections.abc import Sequence

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument("--data", metavar="FOLDER", help="the folder of the five CSV files")
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Run all jobs."""
    start = time.monotonic()
    project = cli.project_of(args)
    spark = cli.session(project, "demo")  # the jobs find it active
    data = ("--data", args.data) if args.data else ()
    for name, *options in (("make_source", *data), *FLOW):
        _run(name, ["--project", args.project, *options, *args.overrides])
    spark.stop()
    print(f"\nThe whole flow took {time.monotonic() - start:.0f} s. Delta tables are in:")
    places = [project.place(name) for name in ("masks", "slices", "coverage", "metrics")]
    places += [project.prediction_table(model) for model in project.predictions]
    for place in (project.source.table, *places):
        print(f"  {place}")
    print(f"The report is {project.file('report.html')}")


def _run(name: str, arguments: list[str]) -> None:
    """Run one job as `python -m` would, in this process."""
    print(f"\n$ python -m jobs.{name} {shlex.join(arguments)}", flush=True)
    before, sys.argv = sys.argv, [f"jobs/{name}.py", *arguments]
    try:
        runpy.run_module(f"jobs.{name}", run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise JobFailedError(name) from None
    finally:
        sys.argv = before


class JobFailedError(EngineError):
    """A job of the flow failed; it has said why."""

    def __init__(self, name: str) -> None:
        super().__init__(f"jobs.{name} failed, see above; the jobs before it are done")


if __name__ == "__main__":
    sys.exit(main())
