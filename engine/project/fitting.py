"""From a sample's Arrow tables to a model, its features, loaders and trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyarrow import feather
from torch.utils.data import WeightedRandomSampler

from engine.classifier.bases import build_base
from engine.classifier.data.dataset import DictDataLoader, DictDataset
from engine.classifier.features.columns import Rows, row_names
from engine.classifier.features.kinds import Features, fit_features
from engine.classifier.hardware import check_device
from engine.classifier.model import SlicingClassifier
from engine.classifier.settings import TrainerConfig, monitored
from engine.classifier.train import Trainer, set_seed
from engine.project.model_settings import Classifier

TASK = "task"
WEIGHT = "sample_weight"  # the field that holds 1/p, next to the model's input


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
class Setup:
    """What training takes, ready."""

    model: SlicingClassifier
    features: Features
    loaders: Sequence[DictDataLoader]
    trainer: Trainer


@dataclass(frozen=True)
class Recipe:
    """How a sample becomes a :class:`Setup`; plain values, so that it travels to processes.

    Parameters
    ----------
    settings
        The project file's ``classifier``.
    name
        What reports call the data.
    masks
        Slice id to the sample's column with its mask, in the order of the model's heads.
    n_classes
        How many classes there are.
    label, p
        The sample's columns of class positions, and of the probability by which a row was drawn.
    text
        The text column of features that don't name one.
    key
        Columns that name a row in messages.
    oversample
        Whether training draws slices' rows more often.
    files
        Where the trainer writes: ``log``, ``folder``, ``tensorboard``.
    """

    settings: Classifier
    name: str
    masks: Mapping[str, str]
    n_classes: int
    label: str
    p: str
    text: str | None = None
    key: Sequence[str] = ()
    oversample: bool = False
    files: Mapping[str, str] | None = None

    def build(self, sample: Mapping[str, Rows]) -> Setup:
        """Fit the features, draw the model's first weights, make loaders and trainer.

        Parameters
        ----------
        sample
            ``train`` and, if there is one, ``valid``: the features' columns, masks, label and p.
        """
        set_seed(self.settings.seed)  # weights are drawn from here on; the trainer seeds shuffles
        features = fit_features(
            self.settings.features.model_dump(), sample["train"], self.text, self.key
        )
        base = build_base(self.settings.base.model_dump(), features.width)
        model = SlicingClassifier(
            base.module,
            base.width,
            list(self.masks),
            task_name=TASK,
            n_classes=self.n_classes,
            row_weights=WEIGHT if self.settings.sample_weights else None,
            **self.settings.for_model,
        )
        loaders = [
            self._loader(model, table, features, split)
            for split, table in sample.items()
            if table.num_rows
        ]
        trainer = Trainer(**self.settings.for_trainer, metric_weights=WEIGHT, **(self.files or {}))
        return Setup(model, features, loaders, trainer)

    def _loader(
        self, model: SlicingClassifier, table: Rows, features: Features, split: str
    ) -> DictDataLoader:
        labels = torch.from_numpy(table.column(self.label).to_numpy().astype(np.int64))
        one_over_p = torch.from_numpy((1 / table.column(self.p).to_numpy()).astype(np.float32))
        inputs = {"input_data": features.field(table), WEIGHT: one_over_p}
        names = row_names(table, self.key)
        data = DictDataset(self.name, split, inputs, {TASK: labels}, names)
        masks, size = mask_array(table, self.masks), self.settings.batch_size
        if split != "train":
            return model.make_slice_dataloader(data, masks, batch_size=size)
        if not self.oversample:
            return model.make_slice_dataloader(data, masks, batch_size=size, shuffle=True)
        weights = oversampling_weights([masks[s] for s in self.masks])
        sampler = WeightedRandomSampler(weights.tolist(), len(weights))
        return model.make_slice_dataloader(data, masks, batch_size=size, sampler=sampler)


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
    >>> check_setup(Classifier(monitor="short/f1"), ["short", "link"], 2)
    """
    config = TrainerConfig(**settings.for_trainer)
    with torch.device("meta"):
        base = build_base(settings.base.model_dump(), 1)
        model = SlicingClassifier(
            base.module,
            base.width,
            slices,
            n_classes=n_classes,
            device="meta",
            **settings.for_model,
        )
    if config.monitor is not None:
        monitored(config.monitor, model.head_names, list(model.scorer.metrics))
    check_device(config.device)


def write_sample(sample: Mapping[str, Rows], folder: Path) -> None:
    """Write a sample's tables to files, for processes to read."""
    for split, table in sample.items():
        feather.write_feather(table, folder / f"{split}.arrow", compression="uncompressed")


def from_files(
    recipe: Recipe, folder: Path
) -> tuple[SlicingClassifier, Sequence[DictDataLoader], Trainer]:
    """Build in a process of its own what ``train_together`` takes."""
    splits = [s for s in ("train", "valid") if (folder / f"{s}.arrow").exists()]
    setup = recipe.build({s: feather.read_table(folder / f"{s}.arrow") for s in splits})
    return setup.model, setup.loaders, setup.trainer
