"""One command for all jobs: from a table to figures per slice in two lines.

  slice-engine init comments.csv                         describe a table in a project file
  slice-engine run --project comments.yaml               label, fit a baseline, evaluate, report
  slice-engine evaluate --project comments.yaml --help   what a command takes

`python -m jobs` is the same. Each command but the first two is a script of its own for
spark-submit: jobs/label_slices.py and so on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

JOBS = {
    "label": "label_slices", "evaluate": "evaluate_slices", "gate": "gate_slices",
    "train-baseline": "train_baseline", "train": "train_classifier", "score": "score_table",
    "bisect": "bisect_slice", "maintain": "maintain",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    command, *rest = [*(sys.argv[1:] if argv is None else argv)] or ["--help"]
    if command in JOBS:
        return _job(JOBS[command], rest)
    if command in COMMANDS:
        return COMMANDS[command](rest)
    if command in ("-h", "--help"):
        print(f"{__doc__}\ncommands:\n{_commands()}")
        return 0
    from engine.errors import near

    names = [*COMMANDS, *JOBS]
    print(f"error: there is no command {command!r}{near(command, names)}", file=sys.stderr)
    return 2


def _commands() -> str:
    about = {name: import_module(f"jobs.{job}").__doc__ for name, job in JOBS.items()}
    about |= {name: command.__doc__ for name, command in COMMANDS.items()}
    lines = {name: (text or "").partition("\n")[0] for name, text in about.items()}
    return "\n".join(f"  {name:<15} {lines[name]}" for name in (*COMMANDS, *JOBS))


def _job(name: str, arguments: Sequence[str]) -> int:
    return int(import_module(f"jobs.{name}").main(arguments))


def _init(arguments: Sequence[str]) -> int:
    """Look at a CSV or Parquet file, and write a project file with suggested slices."""
    takes = argparse.ArgumentParser(prog="slice-engine init", description=_init.__doc__)
    takes.add_argument("table", help="the rows, .csv or .parquet")
    takes.add_argument("--predictions", metavar="FILE", help="a model's: the key, pred, prob")
    takes.add_argument("--label", metavar="COLUMN", help="the classes; guessed by default")
    takes.add_argument("--key", metavar="COLUMN", help="names a row; guessed, or added")
    takes.add_argument("--out", metavar="FOLDER", default=".", help="where files go; here")
    args = takes.parse_args(arguments)
    from engine.errors import EngineError
    from engine.project.new_project import new_project

    try:
        new_project(args.table, args.out, args.label, args.key, args.predictions)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(arguments: Sequence[str]) -> int:
    """Label, fit a baseline where there are no predictions, and evaluate, in one session."""
    takes = argparse.ArgumentParser(prog="slice-engine run", description=_run.__doc__)
    takes.add_argument("--project", required=True, metavar="FILE", help="the project file")
    takes.add_argument("overrides", nargs="*", metavar="key=value", help="change a setting")
    args = takes.parse_args(arguments)
    from engine.errors import EngineError
    from engine.project.load import load_project

    try:
        project = load_project(args.project, args.overrides)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    own = "baseline" in project.predictions and project.label is not None
    options = ["--project", args.project, *args.overrides]
    for job in ("label_slices", *(["train_baseline"] if own else []), "evaluate_slices"):
        if status := _job(job, options):
            return status
    return 0


def _doctor(arguments: Sequence[str]) -> int:
    """Say what this machine lacks for a run, each with its fix."""
    takes = argparse.ArgumentParser(prog="slice-engine doctor", description=_doctor.__doc__)
    takes.add_argument("--root", metavar="FOLDER", help="where a project's tables go")
    args = takes.parse_args(arguments)
    from engine.project.doctor import examined

    findings = examined(args.root)
    print(*findings, sep="\n")
    return 2 if any(f.fix and f.needed for f in findings) else 0


COMMANDS = {"init": _init, "run": _run, "doctor": _doctor}

if __name__ == "__main__":
    sys.exit(main())
