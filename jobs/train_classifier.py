"""Train the slice-aware classifier on a sample of slice-labelled rows.

Reads the mask table and the source. Spark draws a seeded sample, in which every slice has its
quota of rows in expectation; the driver trains a SlicingClassifier on it. Writes a checkpoint
(safetensors and JSON) and a training log (JSON lines).

  python -m jobs.train_classifier --project conf/spam.yaml
  python -m jobs.train_classifier --project conf/spam.yaml classifier.n_epochs=5
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pyarrow as pa
import torch
from pyspark.ml.torch.distributor import TorchDistributor

import engine
from engine.classifier.checkpoint import check_target, save, stored_facts
from engine.classifier.distributed import Trained, train_together
from engine.classifier.monitor import first_better, slice_figures
from engine.classifier.settings import feature_spec
from engine.errors import EmptyTableError, StaleMasksError
from engine.masks.checks import check_columns
from engine.masks.table import slices_of
from engine.project import cli
from engine.project.config import Project
from engine.project.fitting import TASK, Recipe, check_setup, from_files, write_sample
from engine.project.records import run_id
from engine.project.sample import (
    check_sample_names,
    mask_column,
    sample_digest,
    slice_counts,
    training_sample,
)
from engine.sampling import LABEL, P
from engine.storage import tables
from engine.storage.lineage import READ, deciding, reading, readings, stale_rows
from engine.storage.snapshot import Snapshot

METRICS, SAMPLE = "metrics", "sample_digest"  # of a checkpoint's facts, what training found
SHOWN = 20  # slices in the table at the end; the log has all


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument("--force", action="store_true", help="train again though nothing changed")
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Train the classifier of one project."""
    project = cli.project_of(args)
    (label,) = cli.needed(project, label=project.label)
    inputs = feature_spec(project.classifier.features, project.text).columns
    spark = cli.session(project, "train_classifier")
    masks = tables.read(spark, project.place("masks"), "mask table")
    source = cli.source(project, spark)
    group = [project.sample.group] if project.sample.group else []
    check_columns(source.df, source.name, {"input": inputs, "label": [label], "group": group})
    check_sample_names(source.name, [*project.join_columns, *inputs])
    stale = _stale(project, masks, source)
    if source.unknown:
        cli.log.warning("%s, so the masks may be of other rows: label again first", source.unknown)
    folder = project.file(f"models/{project.classifier.model_id}")
    slices, facts = slices_of(masks.df.schema), _facts(project, masks, source, stale)
    check_setup(project.classifier, list(slices), len(project.classes))
    check_target(folder)
    before = stored_facts(folder)
    same = _deciding(before) == _deciding(facts) and not args.force
    if same and source.unknown is None:
        print(f"unchanged {folder}: checkpoint of {len(slices)} slices")
        return
    cli.tell_changes(str(folder), _deciding(before), _deciding(facts))
    coverage = tables.find(spark, project.place("coverage"))
    stored = coverage.df if coverage else None
    counts = slice_counts(project, masks, stored, list(slices))
    train = project.training_splits[0]
    shown = "null" if train is None else repr(train)
    if train not in counts:
        raise EmptyTableError(masks.name, f"{project.split} is {shown}")
    sample = training_sample(project, masks.df, source.df, counts, inputs)
    if not sample["train"].num_rows:
        raise EmptyTableError(source.name, f"the split is {shown} and {label} is not null")
    facts[SAMPLE] = sample_digest(sample)
    as_was = before.get(SAMPLE) == facts[SAMPLE]
    if same:
        came = "the sample is the same" if as_was else "the sample has other rows"
        print(f"{source.unknown}: looked at again, and {came}")
    if same and as_was:
        print(f"unchanged {folder}: checkpoint of {len(slices)} slices")
        return
    _train(project, sample, slices, facts, folder)


def _train(
    project: Project,
    sample: dict[str, pa.Table],
    slices: dict[str, str],
    facts: dict[str, Any],
    folder: Path,
) -> None:
    settings, start = project.classifier, time.monotonic()
    log, state = project.file("training_log.jsonl"), folder.with_name(f"{folder.name}.state")
    log.parent.mkdir(parents=True, exist_ok=True)
    own = state / run_id(_deciding(facts))  # resumed by the same run only
    files = {"log": str(log), "folder": str(own)}
    if settings.tensorboard:
        files["tensorboard"] = str(project.file("tensorboard"))
    recipe = Recipe(
        settings,
        project.name,
        masks={s: mask_column(s) for s in slices},
        n_classes=len(project.classes),
        label=LABEL,
        p=P,
        text=project.text,
        key=project.key,
        oversample=project.sample.kind == "oversample",
        files=files,
    )
    setup = recipe.build(sample)
    model, trainer = setup.model, setup.trainer
    n = sum(p.numel() for p in model.parameters())
    cli.step(
        f"training on {sample['train'].num_rows:,} rows, {setup.features.width:,} features, "
        f"{len(slices)} slices, {n:,} parameters"
    )
    if settings.processes == 1:
        trainer.fit(model, setup.loaders)
        history, best, counts = trainer.history, trainer.best_epoch, trainer.slices
    else:
        trained = _train_in_processes(settings.processes, recipe, sample)
        trained.into(model)
        history, best, counts = trained.history, trained.best_epoch, trained.slices
    kept = history[(best or len(history)) - 1]
    save(
        folder,
        model,
        features=setup.features,
        base=settings.base,
        classes=project.classes,
        slices=slices,
        facts={**facts, METRICS: {k: None if isnan(v) else v for k, v in kept.metrics.items()}},
    )
    shutil.rmtree(own, ignore_errors=True)
    with suppress(OSError):  # another run's state is there
        state.rmdir()
    rows = [
        [e.epoch, e.step, e.loss, e.task_losses.get(TASK), round(e.rows_per_second), e.seconds]
        for e in history
    ]
    shown = ["epoch", "step", "loss, all tasks", "loss, task", "rows/s", "seconds"]
    cli.show("Training", shown, rows)
    columns, lines = slice_figures(kept, counts, TASK, first_better(model))
    more = f", {SHOWN} of {len(counts):,} slices" if len(counts) > SHOWN else ""
    title = f"Epoch {kept.epoch}, whose weights are kept, on the valid rows: worst first{more}"
    cli.show(title, columns, lines[: SHOWN + 1])
    seconds = time.monotonic() - start
    print(f"wrote {folder}: {len(slices)} slices, {n:,} parameters, in {seconds:.1f} s")
    print(f"wrote {log}: {len(rows)} epochs")


def _train_in_processes(n: int, recipe: Recipe, sample: dict[str, pa.Table]) -> Trained:
    gpu = recipe.settings.device != "cpu" and torch.cuda.is_available()
    with TemporaryDirectory() as folder:
        write_sample(sample, Path(folder))
        distributor = TorchDistributor(num_processes=n, local_mode=True, use_gpu=gpu)
        trained = distributor.run(train_together, partial(from_files, recipe, Path(folder)))
    return cast("Trained", trained)


def _stale(project: Project, masks: Snapshot, source: Snapshot) -> int:
    """Compare the source with what was labelled; return how many rows are of another version."""
    labelled, version = readings(masks.facts), str(masks.facts.get("source_version"))
    if not labelled:
        if version != source.version and project.on_stale == "refuse":
            raise StaleMasksError(masks.name, source.name, version, source.version)
        return 0
    found = stale_rows(masks.df, labelled, [reading(source)], project.partition_by)
    if found is None:
        return 0
    if project.on_stale == "refuse":
        rows = str(found) if found.rows < found.all_rows else ""
        raise StaleMasksError(masks.name, source.name, found.ours, source.version, rows)
    told = "%s was labelled from version %s of %s, which is now at version %s, on %s"
    cli.log.warning(told, masks.name, found.ours, source.name, source.version, found)
    return found.rows


def _deciding(facts: Mapping[str, Any]) -> Any:
    """Return the facts that decide the weights, without what training found."""
    return deciding({k: v for k, v in facts.items() if k not in (METRICS, SAMPLE)})


def _facts(project: Project, masks: Snapshot, source: Snapshot, stale: int) -> dict[str, Any]:
    """Return everything that decides the weights; a run with the same facts is not repeated."""
    return {
        "engine_version": engine.__version__,
        "torch": torch.__version__,
        "masks": masks.name,
        "mask_version": masks.version,
        "mask_identity": masks.identity,
        "source": masks.facts.get("source"),
        "source_version": masks.facts.get("source_version"),
        READ: [asdict(reading(source)), masks.facts.get(READ)],
        "n_stale": stale,
        "settings": project.classifier.model_dump(mode="json"),
        "sample": project.sample.model_dump(mode="json"),
        "columns": [project.key, project.text, project.label, project.split],
        "splits": project.training_splits,
        "classes": list(project.classes),
        "seed": project.seed,
    }


if __name__ == "__main__":
    sys.exit(main())
