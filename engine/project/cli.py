"""What every job shares: arguments, log lines, tables on the terminal, errors as one sentence.

Functions import what they need, so that a job answers ``--help`` at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from engine.errors import ConfigError
from engine.plain import SENTENCE, plain
from engine.project.failures import STATUSES, ended
from engine.redaction import Readable
from engine.storage.lineage import Snapshot, Written, changes
from engine.storage.place import Place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from engine.project.run import Run
    from engine.project.settings import Project
    from engine.report.sections import Section

log = logging.getLogger("engine")

# A job's JVM is a new one, and compiles its own code while it works. Of code that runs a few
# thousand times, as that which plans queries, the second compiler took more time than it saved:
# half of all that a small job took. What runs for each of many rows is compiled by it as ever.
_SECOND_COMPILER = {
    "Tier4InvocationThreshold": 500_000, "Tier4MinInvocationThreshold": 60_000,
    "Tier4CompileThreshold": 1_500_000, "Tier4BackEdgeThreshold": 4_000_000,
}  # fmt: skip
_COLD = {
    "spark.driver.extraJavaOptions": " ".join(
        ["-XX:+IgnoreUnrecognizedVMOptions"]
        + [f"-XX:{name}={n}" for name, n in _SECOND_COMPILER.items()]
    )
}

_OVERRIDES = (
    "key=value pairs after the options change settings of the project file, dots between levels: "
    "classifier.n_epochs=5 root=/tmp/audit"
)


Work = Callable[[argparse.Namespace], int | None]


def job(
    about: str | None, statuses: str = STATUSES, **options: Mapping[str, Any]
) -> Callable[[Work], Callable[..., int]]:
    """Make a command of a function: it takes the command line, and returns the exit status.

    Parameters
    ----------
    about
        What ``--help`` says first.
    statuses
        What it says of exit statuses; the work may return one.
    options
        The job's own, as ``ArgumentParser.add_argument`` takes them; ``keep_hours`` is
        ``--keep-hours``.
    """

    def command(work: Work) -> Callable[..., int]:
        def main(argv: Sequence[str] | None = None) -> int:
            return run(work, parser(about, options, statuses).parse_intermixed_args(argv))

        return main

    return command


def parser(
    about: str | None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    statuses: str = STATUSES,
) -> argparse.ArgumentParser:
    """Return a job's argument parser: what all jobs take, then the job's own options."""
    arguments = argparse.ArgumentParser(
        description=about,
        epilog=f"{statuses}\n\n{_OVERRIDES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arguments.add_argument(
        "--project", required=True, metavar="FILE", help="the project file (YAML)"
    )
    arguments.add_argument("--verbose", action="store_true", help="log more")
    arguments.add_argument(
        "--debug", action="store_true", help="show the traces of Python and Java where a job fails"
    )
    arguments.add_argument("overrides", nargs="*", metavar="key=value", help="change a setting")
    for name, how in (options or {}).items():
        arguments.add_argument(f"--{name.replace('_', '-')}", **how)
    return arguments


def project_of(args: argparse.Namespace) -> Project:
    """Load the project that the arguments name."""
    from engine.project.load import load_project

    return load_project(args.project, args.overrides)


def needed(project: Project, **settings: str | None) -> tuple[str, ...]:
    """Return settings that a job can't do without.

    Raises
    ------
    ConfigError
        If one is not in the project file.
    """
    for name, value in settings.items():
        if value is None:
            raise ConfigError(project.name, f"this job needs the setting {name!r}")
    return tuple(str(value) for value in settings.values())


def session(project: Project, job: str) -> SparkSession:
    """Open the job's Spark session."""
    from engine.storage.session import open_session

    conf = {**_COLD, **project.spark}
    return open_session(f"{job} {project.name}", conf, catalog=project.uses_catalog)


def run_of(project: Project, spark: SparkSession, job: str, *outputs: Place | Path) -> Run:
    """Begin a run of a job, which may write some tables and folders."""
    from engine.project.run import Run

    return Run.of(project, spark, job, *outputs)


def run_job(name: str, arguments: Sequence[str]) -> int:
    """Run one of the jobs in this process; return its exit status."""
    return int(import_module(f"jobs.{name}").main(list(arguments)))


def module_folders(args: argparse.Namespace) -> list[Path]:
    """Return where users' modules are looked for: here, and beside the project file."""
    return [Path.cwd(), Path(args.project).resolve().parent]


def run(job: Work, args: argparse.Namespace) -> int:
    """Run a job; what stops it becomes one sentence on stderr and an exit status."""
    with redirect_stdout(_people(sys.stdout)), redirect_stderr(_people(sys.stderr)):
        return _run(job, args)


def _people(stream: TextIO | None) -> Any:
    """Return a stream without secrets and terminals' commands; a process may have no stream."""
    return Readable(stream) if stream is not None else open(os.devnull, "w", encoding="utf-8")


def _run(job: Work, args: argparse.Namespace) -> int:
    lines = logging.StreamHandler(sys.stderr)
    lines.addFilter(lambda record: args.debug or "py4j" not in record.pathname)  # traces of its own
    logging.basicConfig(
        handlers=[lines], level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    for noisy in ("py4j", "SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    if plain():
        log.warning(SENTENCE)
    _leave_in_order()
    return ended(lambda: job(args), args.debug or args.verbose)


def _leave_in_order() -> None:
    """Let a scheduler's SIGTERM end a job like Ctrl-C, which gives its tables back first."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def source(project: Project, spark: SparkSession) -> Snapshot:
    """Read the project's source; say how its files are known."""
    from engine.storage.tables import read_source

    place = project.source
    snapshot = read_source(spark, place.table, place.format, place.options)
    tell_files(snapshot)
    return snapshot


def tell_files(snapshot: Snapshot) -> None:
    """Say how a table's files are known, if it is made of files that aren't Delta's."""
    if snapshot.known_by:
        print(f"{snapshot.name}: {snapshot.known_by}")


def tell_again(written: Written, unknown: Sequence[str]) -> None:
    """Say why a run computed again what seems unchanged, and whether its rows differ."""
    came = "got other rows" if written.changed else "has the same rows"
    for why in unknown:
        print(f"{why}: looked at again, and {written.place} {came}")


def tell_changes(name: str, stored: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Say which facts of a stored table or model changed, if any did."""
    if names := changes(stored, facts):
        print(f"{name} is brought up to date, for this changed: {', '.join(names)}")


def tell(section: Section) -> None:
    """Print a section of a report to stdout, and a line that parts it from the next."""
    show(section)
    print()


def show(section: Section) -> None:
    """Print a section to stdout, as wide as the terminal is; COLUMNS says how wide a log is."""
    from engine.report.terminal import lines

    for line in lines(section, _width()):
        print(line)


def _width() -> int | None:
    """Return the columns of the terminal; None where stdout is a log, which has no width."""
    has_width = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return shutil.get_terminal_size().columns if has_width else None
