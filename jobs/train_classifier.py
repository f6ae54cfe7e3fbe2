"""Train the slice-aware classifier on a sample of slice-labelled rows.

Reads the mask table and the source. Spark draws a seeded sample, in which every slice has its
quota of rows in expectation; the driver trains a SlicingClassifier on it. Writes a checkpoint
(safetensors and JSON) and a training log (JSON lines).

  python -m jobs.train_classifier --project conf/spam.yaml
  python -m jobs.train_classifier --project conf/spam.yaml classifier.n_epochs=5
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

import engine
from engine import cli, tables
from engine.classifier.bases import build_base
from engine.classifier.checkpoint import save, stored_facts
from engine.classifier.data import DictDataset
from engine.classifier.features import BagOfWords
from engine.classifier.model import SlicingClassifier
from engine.classifier.train import Trainer, set_seed
from engine.config import Project
from engine.errors import EmptyTableError, StaleMasksError
from engine.masks.checks import check_columns
from engine.masks.table import ALL, coverage, slices_of
from engine.metrics.evaluate import class_position
from engine.sampling import P, Quota, draw

TASK = "task"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job."""
    parser = cli.parser(__doc__ or "")
    parser.add_argument("--force", action="store_true", help="train again though nothing changed")
    return cli.run(job, parser.parse_intermixed_args(argv))


def job(args: argparse.Namespace) -> None:
    """Train the classifier of one project."""
    project = cli.project_of(args)
    text, label = cli.needed(project, text=project.text, label=project.label)
    spark = cli.session(project, "train_classifier")
    masks = tables.read(spark, project.place("masks"), "mask table")
    source = tables.read_source(
        spark, project.source.table, project.source.format, project.source.options
    )
    check_columns(source.df, source.name, {"text": [text], "label": [label]})
    labelled = masks.facts.get("source_version")
    if labelled != source.version:
        raise StaleMasksError(masks.name, source.name, str(labelled), source.version)
    folder = project.file(f"models/{project.classifier.model_id}")
    slices, facts = slices_of(masks.df.schema), _facts(project, masks)
    if stored_facts(folder) == facts and not args.force:
        print(f"unchanged {folder}: checkpoint of {len(slices)} slices")
        return
    frames = {
        name: _sample(project, masks.df, source.df, list(slices), split)
        for name, split in _splits(project).items()
    }
    if frames["train"].empty:
        raise EmptyTableError(masks.name, f"{project.split} is {project.train_split}")
    _train(project, frames, slices, facts, folder)


def _sample(
    project: Project, masks: DataFrame, source: DataFrame, ids: list[str], split: str
) -> pd.DataFrame:
    """Draw one split's sample and bring it to the driver, sorted by key."""
    part = masks.where(F.col(f"`{project.split}`") == split) if project.split else masks
    covered = coverage(part, ids, None)
    counts, rows = {c.slice_id: c.n_in for c in covered}, covered[0].rows if covered else 0
    quota = Quota(project.sample.per_slice, project.sample.overall)
    drawn = draw(part, project.key, counts, rows, quota, project.seed)
    cli.step(f"sampling {split}: about {quota.expected(counts, rows):,} of {rows:,} rows")
    on = project.join_columns
    read = source.select(
        *(F.col(f"`{c}`") for c in on),
        F.col(f"`{project.text}`").alias("_text"),
        class_position(F.col(f"`{project.label}`"), project.classes).alias("_label"),
    )
    joined = drawn.select(*on, *ids, P).join(read, on).where("_label >= 0").orderBy(*on)
    return joined.toPandas()


def _train(
    project: Project,
    frames: dict[str, pd.DataFrame],
    slices: dict[str, str],
    facts: dict[str, Any],
    folder: Path,
) -> None:
    settings = project.classifier
    set_seed(settings.seed)  # weights and shuffles are drawn from here on
    start = time.monotonic()
    features = BagOfWords.fit(frames["train"]["_text"], ngram_range=settings.ngram_range)
    base = build_base(settings.base, features.width)
    model = SlicingClassifier(
        base.module,
        base.width,
        list(slices),
        task_name=TASK,
        n_classes=len(project.classes),
        temperature=settings.temperature,
    )
    n = sum(p.numel() for p in model.parameters())
    cli.step(
        f"training on {len(frames['train']):,} rows, {features.width:,} words, {len(slices)} "
        f"slices, {n:,} parameters"
    )
    loaders = [
        model.make_slice_dataloader(
            _dataset(project, frame, features, name),
            _slice_matrix(frame, slices),
            batch_size=settings.batch_size,
            shuffle=name == "train",
        )
        for name, frame in frames.items()
        if len(frame)
    ]
    log = project.file("training_log.jsonl")
    log.parent.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        n_epochs=settings.n_epochs,
        lr=settings.lr,
        l2=settings.l2,
        optimizer=settings.optimizer,
        lr_scheduler=settings.lr_scheduler,
        log=log,
    )
    trainer.fit(model, loaders)
    save(
        folder,
        model,
        features=features,
        base=settings.base,
        classes=project.classes,
        slices=slices,
        facts=facts,
    )
    rows = [
        [e.epoch, e.step, e.loss, e.task_losses.get(TASK), e.rows_per_second, e.seconds]
        for e in trainer.history
    ]
    columns = ["epoch", "step", "loss, all tasks", "loss, task", "rows/s", "seconds"]
    cli.show("Training", columns, rows)
    seconds = time.monotonic() - start
    print(f"wrote {folder}: {len(slices)} slices, {n:,} parameters, in {seconds:.1f} s")
    print(f"wrote {log}: {len(rows)} epochs")


def _dataset(
    project: Project, frame: pd.DataFrame, features: BagOfWords, split: str
) -> DictDataset:
    y = torch.tensor(frame["_label"].to_numpy(np.int64))
    return DictDataset.from_tensors(
        features.transform(frame["_text"]), y, split, task_name=TASK, dataset_name=project.name
    )


def _slice_matrix(frame: pd.DataFrame, slices: dict[str, str]) -> np.recarray:
    S = np.recarray(len(frame), dtype=[(s, np.int64) for s in slices])  # noqa: N806
    for s in slices:
        S[s] = frame[s].astype("boolean").astype("Int64").fillna(-1).to_numpy(np.int64)
    return S


def _splits(project: Project) -> dict[str, str]:
    if not project.split:
        return {"train": ALL}
    return {"train": project.train_split, "valid": project.valid_split}


def _facts(project: Project, masks: tables.Snapshot) -> dict[str, Any]:
    """Return everything that decides the weights; a run with the same facts is not repeated."""
    return {
        "engine_version": engine.__version__,
        "torch": torch.__version__,
        "masks": masks.name,
        "mask_version": masks.version,
        "source": masks.facts.get("source"),
        "source_version": masks.facts.get("source_version"),
        "settings": project.classifier.model_dump(mode="json"),
        "sample": project.sample.model_dump(mode="json"),
        "columns": [project.key, project.text, project.label, project.split],
        "splits": _splits(project),
        "classes": list(project.classes),
        "seed": project.seed,
    }


if __name__ == "__main__":
    sys.exit(main())
