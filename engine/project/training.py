"""One training of a project's classifier: from a sample's Arrow tables to the checkpoint."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import repeat
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from pyarrow import feather
from torch.utils.data import WeightedRandomSampler

import engine
from engine.arrow.rows import Rows, row_names
from engine.classifier import defaults
from engine.classifier.bases import build_base
from engine.classifier.checkpoint import save
from engine.classifier.data.dataset import DictDataLoader, DictDataset
from engine.classifier.distributed import Trained, train_together
from engine.classifier.features.kinds import Features, fit_features
from engine.classifier.hardware import check_device
from engine.classifier.model import SlicingClassifier
from engine.classifier.monitor import EpochLog, first_better, slice_figures
from engine.classifier.settings import TrainerConfig, monitored, training_metrics
from engine.classifier.train import Trainer, set_seed
from engine.hashing import unit_interval
from engine.metrics.inference.useless import outcome_of, sentences
from engine.metrics.scorer import Scorer
from engine.project.group_settings import Classifier
from engine.project.sample import mask_column
from engine.project.settings import Project
from engine.report.sections import Section
from engine.sampling import LABEL, P
from engine.storage.digest import digest
from engine.storage.lineage import READ, Snapshot, deciding, reading

# Facts of a checkpoint that training adds.
METRICS, SAMPLE, CHOSEN, WARNINGS = "metrics", "sample_digest", "chosen", "warnings"
TASK = "task"
WEIGHT = "sample_weight"  # the field that holds 1/p, next to the model's input
_SHOWN = 20  # slices in the table at the end; the log has all
_log = logging.getLogger(__name__)
Setup = tuple[SlicingClassifier, Sequence[DictDataLoader], Trainer]


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
        "rules": defaults.VERSION,
        "sample": project.sample.model_dump(mode="json"),
        "columns": [project.key, project.text, project.label, project.split],
        "splits": project.training_splits,
        "classes": list(project.classes),
        "seed": project.seed,
    }


def deciding_facts(facts: Mapping[str, Any]) -> Any:
    """Return the facts that decide the weights, without those that training adds."""
    added = (METRICS, SAMPLE, CHOSEN, WARNINGS)
    return deciding({k: v for k, v in facts.items() if k not in added})


def with_valid(project: Project, sample: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return a sample with ``valid`` rows where an epoch is chosen on them, and it has none.

    Training rows are held out then by the hash of their key, or group:
    :func:`engine.classifier.defaults.held_out_share` of them.
    """
    settings, train = project.classifier, sample["train"]
    chosen = defaults.stops_early(dict(settings)) and settings.monitor is None
    if _rows_in(sample, "valid") or not chosen:
        return dict(sample)
    keys = zip(*(train.column(c).to_pylist() for c in project.key), strict=True)
    group = project.sample.group
    groups = train.column(group).to_pylist() if group else repeat(None, train.num_rows)
    units = [k if of is None else of for k, of in zip(keys, groups, strict=True)]
    # By another seed than the sample's, which has drawn these rows by the hash of their keys.
    out = unit_interval(units, project.seed + 1) < defaults.held_out_share(len(units))
    if out.all() or not out.any():
        return dict(sample)
    _log.info(
        "there is no valid split: %s of %s training rows are held out to choose the epoch",
        f"{int(out.sum()):,}",
        f"{len(units):,}",
    )
    return {"train": train.filter(pa.array(~out)), "valid": train.filter(pa.array(out))}


def by_rule(project: Project, sample: Mapping[str, Rows], slices: int) -> dict[str, Any]:
    """Return the classifier's settings that the project leaves out, as rules choose them.

    Parameters
    ----------
    project
        The project, with its inputs.
    sample
        What :func:`with_valid` returned.
    slices
        How many slices get heads.
    """
    settings = dict(project.classifier)
    values = defaults.chosen(settings, _rows_in(sample, "train"), slices)
    if _rows_in(sample, "valid") or settings["monitor"] is not None:
        return values
    return {k: v for k, v in values.items() if k not in ("monitor", "patience")}  # too few rows


def _rows_in(sample: Mapping[str, Rows], split: str) -> int:
    return int(sample[split].num_rows) if split in sample else 0


def mask_array(table: Rows, columns: Mapping[str, str]) -> np.recarray[Any, Any]:
    """Return a table's BOOLEAN columns as 1, 0 and, where null, -1; a field per slice.

    Parameters
    ----------
    table
        The sample.
    columns
        Slice id to the column with its mask.

    Examples
    --------
    >>> import pyarrow as pa
    >>> mask_array(pa.table({"in_a": [True, False, None]}), {"a": "in_a"}).a.tolist()
    [1, 0, -1]
    """
    masks = np.recarray(table.num_rows, dtype=[(s, np.int8) for s in columns])
    for s, column in columns.items():
        masks[s] = table.column(column).cast("int8").fill_null(-1).to_numpy()
    return masks


def oversampling_weights(
    masks: Sequence[np.ndarray[Any, Any]],
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return weights for torch's ``WeightedRandomSampler`` by which slices are oversampled.

    Drawing by them is drawing a slice first, "all rows" being one of them, each as likely as the
    others, and then one of its rows.

    Parameters
    ----------
    masks
        Whether each row is in a slice, ``[n]`` for each slice: 1 or True if so.

    Returns
    -------
    ndarray
        ``[n]``, summing to 1.

    Examples
    --------
    >>> oversampling_weights([np.array([True, False, False, False])]).tolist()
    [0.625, 0.125, 0.125, 0.125]
    """
    inside = [np.ones(len(masks[0]), bool), *(mask == 1 for mask in masks)]
    drawn = [mask / mask.sum() for mask in inside if mask.any()]
    weights: np.ndarray[Any, np.dtype[np.float64]] = np.mean(drawn, axis=0)
    return weights


@dataclass(frozen=True)
class Recipe:
    """How a sample becomes what is trained; plain values, so that it travels to processes.

    Parameters
    ----------
    project
        The project, of whose classifier all is chosen.
    slices
        The slices, in the order of the model's heads.
    files
        Where the trainer writes: ``log``, ``folder``, ``tensorboard``.
    """

    project: Project
    slices: Sequence[str]
    files: Mapping[str, str]

    def build(self, sample: Mapping[str, Rows]) -> tuple[Features, Setup]:
        """Fit the features, draw the model's first weights, make loaders and trainer.

        Parameters
        ----------
        sample
            ``train`` and, if there is one, ``valid``: the features' columns, masks, label and p.
        """
        project, settings = self.project, self.project.classifier
        set_seed(settings.seed)  # weights are drawn from here on; the trainer seeds shuffles
        features = fit_features(settings.features or {}, sample["train"], project.text, project.key)
        base = build_base(settings.base or {}, features.width)
        model = SlicingClassifier(
            base.module,
            base.width,
            list(self.slices),
            task_name=TASK,
            n_classes=len(project.classes),
            scorer=Scorer(training_metrics(len(project.classes), settings.monitor)),
            row_weights=WEIGHT if settings.sample_weights else None,
            **settings.for_model,
        )
        loaders = [
            self._loader(model, table, features, split)
            for split, table in sample.items()
            if table.num_rows
        ]
        trainer = Trainer(**settings.for_trainer, metric_weights=WEIGHT, **self.files)
        return features, (model, loaders, trainer)

    def _loader(
        self, model: SlicingClassifier, table: Rows, features: Features, split: str
    ) -> DictDataLoader:
        project = self.project
        labels = torch.from_numpy(table.column(LABEL).to_numpy().astype(np.int64))
        one_over_p = torch.from_numpy((1 / table.column(P).to_numpy()).astype(np.float32))
        inputs = {"input_data": features.field(table), WEIGHT: one_over_p}
        data = DictDataset(
            project.name, split, inputs, {TASK: labels}, row_names(table, project.key)
        )
        masks = mask_array(table, {s: mask_column(s) for s in self.slices})
        order: dict[str, Any] = {"shuffle": True} if split == "train" else {}
        if split == "train" and project.sample.kind == "oversample":
            weights = oversampling_weights([masks[s] for s in self.slices])
            order = {"sampler": WeightedRandomSampler(weights.tolist(), len(weights))}
        return model.make_slice_dataloader(
            data, masks, batch_size=project.classifier.batch_size, **order
        )


def check_setup(settings: Classifier, slices: Sequence[str], n_classes: int) -> None:
    """Check before a sample is drawn whether training on it can start.

    Parameters
    ----------
    settings
        The project file's ``classifier``.
    slices
        The slices that get heads.
    n_classes
        How many classes there are.

    Raises
    ------
    InputError
        If there is no such slice, device or setting.

    Examples
    --------
    >>> settings = Classifier(monitor="short/f1", features={"kind": "tfidf"})
    >>> check_setup(settings, ["short", "link"], 2)
    """
    settings = settings.model_copy(update=defaults.chosen(dict(settings), 1, len(slices)))
    config = TrainerConfig(**settings.for_trainer)
    with torch.device("meta"):
        base = build_base(settings.base or {}, 1)
        model = SlicingClassifier(
            base.module,
            base.width,
            slices,
            n_classes=n_classes,
            scorer=Scorer(training_metrics(n_classes, settings.monitor)),
            device="meta",
            **settings.for_model,
        )
    if config.monitor is not None:
        monitored(config.monitor, model.head_names, list(model.scorer.metrics))
    check_device(config.device)


def train(
    project: Project,
    sample: Mapping[str, pa.Table],
    slices: Mapping[str, str],
    facts: Mapping[str, Any],
    folder: Path,
) -> tuple[list[Section], list[str]]:
    """Train on a sample, write the checkpoint and the log; return what there is to say of it.

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

    Returns
    -------
    tuple
        Each epoch's losses and speed, the slices on the valid rows by the epoch whose weights the
        model has; and a sentence on each file.
    """
    start, sample = time.monotonic(), with_valid(project, sample)
    chosen = by_rule(project, sample, len(slices))
    settings = project.classifier.model_copy(update=chosen)
    project = project.model_copy(update={"classifier": settings})
    if chosen:
        _log.info("chosen by rule: %s", ", ".join(f"{k} {v}" for k, v in chosen.items()))
    log, states = project.file("training_log.jsonl"), folder.with_name(f"{folder.name}.state")
    log.parent.mkdir(parents=True, exist_ok=True)
    # Resumed by the same run only.
    state = states / digest(json.dumps(deciding_facts(facts), sort_keys=True))
    files = {"log": str(log), "folder": str(state)}
    if settings.tensorboard:
        files["tensorboard"] = str(project.file("tensorboard"))
    recipe = Recipe(project, list(slices), files)
    features, (model, loaders, trainer) = recipe.build(sample)
    n = sum(p.numel() for p in model.parameters())
    _log.info(
        "training on %s rows, %s features, %s slices, %s parameters",
        f"{sample['train'].num_rows:,}",
        f"{features.width:,}",
        len(slices),
        f"{n:,}",
    )
    trained: Trainer | Trained = trainer
    if settings.processes == 1:
        trainer.fit(model, loaders)
    else:
        trained = _train_in_processes(settings.processes, recipe, sample)
        trained.into(model)
    history, counts = trained.history, trained.slices
    epoch = history[(trained.best_epoch or len(history)) - 1]
    warnings = _warnings(project, model, loaders, history)
    for sentence in warnings:
        _log.warning("%s", sentence)
    save(
        folder,
        model,
        features=features,
        base=settings.base or {},
        classes=project.classes,
        slices=slices,
        facts={
            **facts,
            METRICS: {k: None if isnan(v) else v for k, v in epoch.metrics.items()},
            CHOSEN: chosen,
            **({WARNINGS: warnings} if warnings else {}),
        },
    )
    shutil.rmtree(state, ignore_errors=True)
    with suppress(OSError):  # another run's state is there
        states.rmdir()
    columns, lines = slice_figures(epoch, counts, TASK, first_better(model))
    more = f", {_SHOWN} of {len(counts):,} slices" if len(counts) > _SHOWN else ""
    title = f"Epoch {epoch.epoch}, whose weights are kept, on the valid rows: worst first{more}"
    epochs = [
        [e.epoch, e.step, e.loss, e.task_losses.get(TASK), round(e.rows_per_second), e.seconds]
        for e in history
    ]
    names = ["epoch", "step", "loss, all tasks", "loss, task", "rows/s", "seconds"]
    seconds = time.monotonic() - start
    return [Section("Training", names, epochs), Section(title, columns, lines[: _SHOWN + 1])], [
        f"wrote {folder}: {len(slices)} slices, {n:,} parameters, in {seconds:.1f} s",
        f"wrote {log}: {len(history)} epochs",
    ]


def _warnings(
    project: Project,
    model: SlicingClassifier,
    loaders: Sequence[DictDataLoader],
    history: Sequence[EpochLog],
) -> list[str]:
    """Say what shows on the valid rows, or else on the training rows, that a model is of no use."""
    loader = loaders[-1]
    results = model.predict(loader)
    outcome = outcome_of(
        project.classifier.model_id,
        results["golds"][TASK].numpy(),
        results["probs"][TASK].numpy(),
        rows=f"of the {loader.dataset.split} split",
        classes=project.classes,
        losses=[e.task_losses[TASK] for e in history if TASK in e.task_losses],
    )
    return sentences(outcome)


def _train_in_processes(n: int, recipe: Recipe, sample: Mapping[str, pa.Table]) -> Trained:
    from pyspark.ml.torch.distributor import TorchDistributor  # heavy, and rarely used

    gpu = recipe.project.classifier.device != "cpu" and torch.cuda.is_available()
    with TemporaryDirectory() as folder:
        files = {split: Path(folder, f"{split}.arrow") for split in sample}
        for split, table in sample.items():
            feather.write_feather(table, files[split], compression="uncompressed")
        distributor = TorchDistributor(num_processes=n, local_mode=True, use_gpu=gpu)
        trained = distributor.run(train_together, partial(_from_files, recipe, files))
    return cast("Trained", trained)


def _from_files(recipe: Recipe, files: Mapping[str, Path]) -> Setup:
    """Build in a process of its own what ``train_together`` takes."""
    return recipe.build({split: feather.read_table(file) for split, file in files.items()})[1]
