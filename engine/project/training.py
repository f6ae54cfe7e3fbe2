"""One training of a project's classifier: what decides its weights, and the checkpoint."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pyarrow as pa
import torch
from pyspark.ml.torch.distributor import TorchDistributor

import engine
from engine.classifier.checkpoint import save
from engine.classifier.distributed import Trained, train_together
from engine.classifier.monitor import EpochLog, first_better, slice_figures
from engine.project.fitting import TASK, Recipe, from_files, write_sample
from engine.project.records import run_id
from engine.project.sample import mask_column
from engine.project.settings import Project
from engine.report.sections import Section
from engine.sampling import LABEL, P
from engine.storage.lineage import READ, deciding, reading
from engine.storage.snapshot import Snapshot

METRICS, SAMPLE = "metrics", "sample_digest"  # facts of a checkpoint that training adds
_SHOWN = 20  # slices in the table at the end; the log has all
_log = logging.getLogger(__name__)


def facts_of(project: Project, masks: Snapshot, source: Snapshot, stale: int) -> dict[str, Any]:
    """Return everything that decides the weights; a run with the same facts is not repeated.

    Parameters
    ----------
    project, masks, source
        What is trained on.
    stale
        How many rows the masks and the source have of different versions.
    """
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


def deciding_facts(facts: Mapping[str, Any]) -> Any:
    """Return the facts that decide the weights, without those that training adds."""
    return deciding({k: v for k, v in facts.items() if k not in (METRICS, SAMPLE)})


@dataclass(frozen=True)
class Training:
    """What a training left.

    Attributes
    ----------
    folder, log
        Where the checkpoint is, and the log.
    parameters
        How many the model has.
    history
        An entry per epoch.
    worst
        Slices on the valid rows by the epoch whose weights the model has.
    """

    folder: Path
    log: Path
    parameters: int
    history: Sequence[EpochLog]
    worst: Section

    @property
    def epochs(self) -> Section:
        """The losses and the speed of each epoch."""
        columns = ["epoch", "step", "loss, all tasks", "loss, task", "rows/s", "seconds"]
        rows = [
            [e.epoch, e.step, e.loss, e.task_losses.get(TASK), round(e.rows_per_second), e.seconds]
            for e in self.history
        ]
        return Section("Training", columns, rows)


def train(
    project: Project,
    sample: Mapping[str, pa.Table],
    slices: Mapping[str, str],
    facts: Mapping[str, Any],
    folder: Path,
) -> Training:
    """Train on a sample, write the checkpoint and the log.

    Parameters
    ----------
    project
        The project.
    sample
        A table each for ``train`` and ``valid``.
    slices
        Slice id to fingerprint.
    facts
        What :func:`facts_of` returned, with the sample's digest.
    folder
        The checkpoint's.
    """
    settings = project.classifier
    log, states = project.file("training_log.jsonl"), folder.with_name(f"{folder.name}.state")
    log.parent.mkdir(parents=True, exist_ok=True)
    state = states / run_id(deciding_facts(facts))  # resumed by the same run only
    recipe = _recipe(project, list(slices), log, state)
    setup = recipe.build(sample)
    model, trainer = setup.model, setup.trainer
    n = sum(p.numel() for p in model.parameters())
    _log.info(
        "training on %s rows, %s features, %s slices, %s parameters",
        f"{sample['train'].num_rows:,}",
        f"{setup.features.width:,}",
        len(slices),
        f"{n:,}",
    )
    if settings.processes == 1:
        trainer.fit(model, setup.loaders)
        history, best, counts = trainer.history, trainer.best_epoch, trainer.slices
    else:
        trained = _train_in_processes(settings.processes, recipe, sample)
        trained.into(model)
        history, best, counts = trained.history, trained.best_epoch, trained.slices
    epoch = history[(best or len(history)) - 1]
    save(
        folder,
        model,
        features=setup.features,
        base=settings.base.model_dump(),
        classes=project.classes,
        slices=slices,
        facts={**facts, METRICS: {k: None if isnan(v) else v for k, v in epoch.metrics.items()}},
    )
    shutil.rmtree(state, ignore_errors=True)
    with suppress(OSError):  # another run's state is there
        states.rmdir()
    columns, lines = slice_figures(epoch, counts, TASK, first_better(model))
    more = f", {_SHOWN} of {len(counts):,} slices" if len(counts) > _SHOWN else ""
    title = f"Epoch {epoch.epoch}, whose weights are kept, on the valid rows: worst first{more}"
    return Training(folder, log, n, history, Section(title, columns, lines[: _SHOWN + 1]))


def _recipe(project: Project, slices: Sequence[str], log: Path, state: Path) -> Recipe:
    settings, files = project.classifier, {"log": str(log), "folder": str(state)}
    if settings.tensorboard:
        files["tensorboard"] = str(project.file("tensorboard"))
    return Recipe(
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


def _train_in_processes(n: int, recipe: Recipe, sample: Mapping[str, pa.Table]) -> Trained:
    gpu = recipe.settings.device != "cpu" and torch.cuda.is_available()
    with TemporaryDirectory() as folder:
        write_sample(sample, Path(folder))
        distributor = TorchDistributor(num_processes=n, local_mode=True, use_gpu=gpu)
        trained = distributor.run(train_together, partial(from_files, recipe, Path(folder)))
    return cast("Trained", trained)
