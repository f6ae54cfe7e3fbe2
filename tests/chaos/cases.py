"""The small project that dies a thousand deaths, and the jobs that it dies in."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import yaml
from pyspark.sql import SparkSession

SLICES = [
    {"name": "short", "where": "length(text) < 9"},
    {"name": "link", "where": "text LIKE '%http%'"},
]
MORE = [*SLICES, {"name": "shout", "where": "upper(text) = text"}]
_HEAD = "from engine import slicing_function\n\n\n"
MODULES = {
    "tolerant": "@slicing_function()\ndef whole(x):\n    return int(x.text.split()[-1]) > 3\n",
    "python": "@slicing_function()\ndef few(x):\n    return len(x.text) < 5\n\n\n"
    "@slicing_function()\ndef odd(x):\n    return x.id % 2 == 1\n",
    "python-edited": "@slicing_function()\ndef few(x):\n    return len(x.text) < 6\n\n\n"
    "@slicing_function()\ndef odd(x):\n    return x.id % 2 == 1\n",
}
WORDS = ("buy", "http://x.y", "HELLO", "nice", "song", "free", "money", "love", "WIN")


@dataclass(frozen=True)
class Case:
    """A job on a project as some jobs before it left it.

    Attributes
    ----------
    name
        The case's.
    before
        The jobs that ran before, with their settings.
    job, settings, arguments
        The job that is hit.
    start
        The folder that the project starts as, if any.
    """

    name: str
    before: Sequence[tuple[str, str]]
    job: str
    settings: str = "first"
    arguments: Sequence[str] = ()
    start: str = ""


_LABEL, _BASELINE = ("label_slices", "first"), ("train_baseline", "first")
_TRAIN = ("train_classifier", "first")
EARLY = "early"  # a project over a table to which rows were added later
CASES = (
    Case("label", (), "label_slices"),
    Case("label-edit", (_LABEL,), "label_slices", "edited"),
    Case("label-tolerant", (_LABEL,), "label_slices", "tolerant"),
    Case("baseline", (_LABEL,), "train_baseline"),
    Case("baseline-again", (_LABEL, _BASELINE), "train_baseline", "edited"),
    Case("evaluate", (_LABEL, _BASELINE), "evaluate_slices"),
    Case("evaluate-again", (_LABEL, _BASELINE, ("evaluate_slices", "first")), "evaluate_slices",
         "edited-metrics"),
    Case("train", (_LABEL,), "train_classifier"),
    Case("train-again", (_LABEL, _TRAIN), "train_classifier", "edited"),
    Case("score", (_LABEL, _TRAIN), "score_table"),
    Case("stream", (), "label_slices", "streamed", ("--stream", "once")),
    Case("appended", (), "label_slices", "grown", start=EARLY),
    Case("appended-edited", (), "label_slices", "grown-edited", start=EARLY),
    Case("by-workers", (), "label_slices", "python"),
    Case("by-workers-edit", (("label_slices", "python"),), "label_slices", "python-edited"),
    Case("appended-evaluated", (("label_slices", "grown"),), "evaluate_slices", "grown",
         start=EARLY),
)  # fmt: skip


def write_source(folder: Path, spark: SparkSession) -> None:
    """Write the rows that all trials read: as text, and as a table to which some were added."""
    lines = ["id,text,y,split"]
    for i in range(60):
        text = f"{WORDS[i % 9]} {WORDS[(i * 7) % 9]} {'' if i % 3 else i}".strip()
        lines.append(
            f"{i},{text},{int(i % 9 in (0, 1, 5, 6))},{'valid' if i % 4 == 0 else 'train'}"
        )
    (folder / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text(_HEAD + text, encoding="utf-8")
    if not (folder / f"{EARLY}.done").exists():
        _grow(folder, spark, range(40))
        for job in ("label_slices", "evaluate_slices"):
            case = Case(EARLY, (), job, "grown")
            assert run_job(project_file(folder, folder / EARLY, "grown"), case) == 0
        _grow(folder, spark, range(40, 60))
        (folder / f"{EARLY}.done").touch()


def _grow(folder: Path, spark: SparkSession, ids: range) -> None:
    rows = [(i, WORDS[i % 9], i % 2, i % 5 % 2, "train") for i in ids]
    df = spark.createDataFrame(rows, "id int, text string, y int, pred int, split string")
    df.coalesce(1).write.format("delta").mode("append").save(str(folder / "growing"))


def project_file(folder: Path, root: Path, settings: str) -> Path:
    """Write a project file for a trial; return its path."""
    edited = settings in ("edited", "grown-edited")
    project = {
        "name": "chaos", "root": str(root), "key": "id", "text": "text", "label": "y",
        "split": "split", "source": {"table": str(folder / "rows.csv")}, "verify": 0,
        "slices": MORE if edited else SLICES,
        "metrics": ["accuracy", "f1", "recall"] if settings == "edited-metrics" else ["accuracy"],
        "baseline": {"c": 2.0 if edited else 1.0},
        "certainty": {"replicates": 0},
        "classifier": {"n_epochs": 2 if edited else 1, "batch_size": 16, "processes": 1,
                       "base": {"kind": "mlp", "layers": 1, "width": 4}},
        "runs": {"wait_seconds": 120, "silence_seconds": 5},
    }  # fmt: skip
    if settings == "tolerant":
        project |= {"sf_modules": [str(folder / "tolerant.py")], "on_error": "null",
                    "max_error_rate": 1.0}  # fmt: skip
    if settings.startswith("python"):
        project |= {"sf_modules": [str(folder / f"{settings}.py")], "slices": [], "tier": "arrow"}
    if settings in ("grown", "grown-edited", "streamed", "python", "python-edited"):
        project["source"] = {"table": str(folder / "growing")}
    if settings.startswith("grown"):
        predictions = {"table": str(folder / "growing"), "columns": {"label": "y"}}
        project["predictions"] = {"m": predictions}
    file = root.parent / f"{root.name}.{settings}.yaml"
    file.write_text(yaml.safe_dump(project), encoding="utf-8")
    return file


def run_job(file: Path, case: Case) -> int:
    """Run a case's job in this process; return its exit status."""
    return int(import_module(f"jobs.{case.job}").main(["--project", str(file), *case.arguments]))


def prepared(folder: Path, case: Case) -> Path:
    """Return the project as the jobs before a case leave it; it is made once."""
    root = folder / f"before-{case.name}"
    if not (root.parent / f"{root.name}.done").exists():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(folder / case.start, root) if case.start else root.mkdir()
        for job, settings in case.before:
            before = Case(case.name, (), job, settings)
            assert run_job(project_file(folder, root, settings), before) == 0
        (root.parent / f"{root.name}.done").touch()
    return root


def trial_root(folder: Path, case: Case, name: str) -> Path:
    """Copy a case's project for a trial, to a path of its own, for Delta remembers paths."""
    root = folder / f"trial-{case.name}-{name}"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(prepared(folder, case), root)
    return root
