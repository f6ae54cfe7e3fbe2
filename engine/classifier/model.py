"""The slice-aware classifier as Snorkel has it: the network, and what is predicted and scored."""
# ruff: noqa: N803, N806  (X_dict and Y_dict, as Snorkel's users know them)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from engine.classifier.data.dataset import DictDataLoader, DictDataset, check_loaders, with_masks
from engine.classifier.data.labels import (
    INACTIVE,
    Labels,
    classes_of,
    concatenate,
    is_pred_label,
    take,
)
from engine.classifier.heads import Kind
from engine.classifier.network import SliceNetwork, evaluating, weights_of
from engine.classifier.preconditions import check_labels
from engine.classifier.rules import check_is
from engine.errors import SettingError, near
from engine.metrics.scorer import Scorer

# Most rows are out of most slices, which accuracy would not show.
_OF_INDICATORS = Scorer(metrics=["f1"])


class SlicingClassifier(SliceNetwork):
    """A classifier with an expert per slice, weighted by who is sure to be in charge.

    Each slice, and ``base`` for all rows, has an indicator head (is the row in the slice?) and an
    expert: a linear transform of the base's output under a predictor head that all share. The
    experts' representations are summed with the weights softmax(scores / temperature), and a
    master head predicts from the sum. By default a score is P(in slice) * confidence, where
    confidence is P(class 1) when there are two classes, else the largest probability.

    Parameters
    ----------
    base_architecture
        Any module whose output is [batch, head_dim].
    head_dim
        Width of that output.
    slice_names
        The slices that get heads; ``base`` is added where it is missing.
    input_data_key
        The field that the base reads; when it is several, the base gets a dict of them.
    task_name
        The label that the master head predicts.
    scorer
        What ``score`` and ``score_slices`` compute; by default accuracy and F1 (its mean over
        classes when there are more than two).
    n_classes
        Labels are 0 to n_classes - 1.
    temperature
        Divides the attention's scores: above 1 evens the experts out, below 1 sharpens.
    device
        Where the weights are kept; batches are moved there.
    attention
        A key of ``ATTENTIONS``: how an expert's score is made.
    indicator_loss_weight
        What the indicators' losses count in the sum of all losses.
    slice_weights
        Slice to what its two losses count; 1 for those not named.
    class_weights
        What a row of each class counts in its tasks' losses, one number per class.
    row_weights
        The field that says what each row counts in all losses, [n] numbers; None counts all alike.

    Raises
    ------
    SettingError
        When a slice is named twice.
        When a setting's value can't be.

    References
    ----------
    Chen et al., Slice-based Learning: A Programming Model for Residual Learning in Critical Data
    Slices, NeurIPS 2019, and the ``SliceAwareClassifier`` of Snorkel 0.10, which it computes.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model = SlicingClassifier(torch.nn.Linear(5, 4), 4, ["short", "link"])
    >>> outputs = model({"input_data": torch.ones(2, 5)})
    >>> outputs.logits.shape, outputs.attention.shape
    (torch.Size([2, 2]), torch.Size([2, 3]))
    """

    def calculate_loss(
        self, X_dict: Mapping[str, Any], Y_dict: Labels
    ) -> tuple[dict[str, Tensor], dict[str, int]]:
        """Give each task's loss and its number of active rows by label name.

        Tasks without an active row are left out. ``loss`` gives the same as two vectors, which
        is quicker with many slices.
        """
        tasks = self.loss(X_dict, Y_dict)
        counts = dict(zip(self.label_names, tasks.counts.tolist(), strict=True))
        losses = dict(zip(self.label_names, tasks.losses.unbind(), strict=True))
        active = [name for name, count in counts.items() if count]
        return {name: losses[name] for name in active}, {name: counts[name] for name in active}

    def make_slice_dataloader(
        self, dataset: DictDataset, S: np.recarray[Any, Any], **dataloader_kwargs: Any
    ) -> DictDataLoader:
        """Make a loader of a data set with the labels that the slice heads learn from.

        Parameters
        ----------
        dataset
            Rows with labels for the task; it stays as it is.
        S
            One field per slice, a value per row: 1 or True is in, 0 or False is out, -1 is
            undecided, which makes both labels of that row inactive. Slices that the model
            doesn't have are scored, not learned.
        **dataloader_kwargs
            batch_size, shuffle and whatever else ``DictDataLoader`` takes.

        Raises
        ------
        DatasetError, MaskError
            When the data set lacks the task's labels, or S another length, lacks a slice of the
            model, or holds another value.
        DatasetError
            When a label is not one of the classes, or soft labels are not class probabilities.
        """
        check_is("dataset", dataset, DictDataset)
        if self.task_name in dataset.Y_dict:
            check_labels(dataset, self.task_name, self.n_classes)
        masked = with_masks(dataset, self.task_name, S, self.head_names)
        return DictDataLoader(masked, **dataloader_kwargs)

    def predict_proba(self, X_dict: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Give the master head's probabilities of a batch, [B, C].

        Raises
        ------
        SettingError
            When the base fails on it.
        """
        check_is("X_dict", X_dict, Mapping)
        with evaluating(self):
            probs: np.ndarray[Any, np.dtype[np.float32]]
            probs = self.outputs(X_dict).logits.softmax(-1).cpu().numpy()
        return probs

    def predict(
        self,
        dataloader: DictDataLoader,
        return_preds: bool = False,
        remap_labels: Mapping[str, str | None] | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """Give labels, probabilities and, on request, predictions for each label with a head.

        Parameters
        ----------
        dataloader
            Rows to predict for; results are in the order in which it gives them.
        return_preds
            Whether to add the classes of largest probability.
        remap_labels
            Label to the task that predicts it, or to None to leave it out.

        Returns
        -------
        dict
            ``golds`` (label to [n]), ``probs`` (label to [n, classes]) and ``preds``.

        Raises
        ------
        SettingError
            When a label is remapped to a task that the model doesn't have.
        """
        check_is("dataloader", dataloader, DictDataLoader)
        heads = self._heads_of(dataloader.dataset.Y_dict, remap_labels or {})
        labels, probs, _ = self._run(dataloader, {kind for kind, _ in heads.values()})
        results = {
            "golds": {label: labels[label] for label in heads},
            "probs": {label: probs[kind][:, column] for label, (kind, column) in heads.items()},
        }
        if return_preds:
            results["preds"] = {label: p.argmax(-1) for label, p in results["probs"].items()}
        return results

    def score(
        self,
        dataloaders: Sequence[DictDataLoader],
        remap_labels: Mapping[str, str | None] | None = None,
        as_dataframe: bool = False,
        row_weights: str | None = None,
    ) -> dict[str, float] | pd.DataFrame:
        """Score each label with a head over its active rows.

        Parameters
        ----------
        dataloaders
            Labelled rows.
        remap_labels
            Label to the task that predicts it, or to None to leave it out.
        as_dataframe
            Whether to give a table with the columns label, dataset, split, metric and score.
        row_weights
            The field that says what each row counts in the scorer's metrics, such as 1/p of a
            sample, by which they estimate the table's; None counts all alike.

        Returns
        -------
        dict or DataFrame
            ``label/dataset/split/metric`` to its score; NaN where no row is active.
        """
        check_loaders(dataloaders)
        rows = [
            (label, loader.dataset.name, loader.dataset.split, metric, value)
            for loader in dataloaders
            for label, scores in self._scores(loader, remap_labels or {}, row_weights).items()
            for metric, value in scores.items()
        ]
        if as_dataframe:
            return pd.DataFrame(rows, columns=["label", "dataset", "split", "metric", "score"])
        return {"/".join(row[:4]): row[4] for row in rows}

    def score_slices(
        self,
        dataloaders: Sequence[DictDataLoader],
        as_dataframe: bool = False,
        row_weights: str | None = None,
    ) -> dict[str, float] | pd.DataFrame:
        """Score the master head's predictions overall and inside each slice.

        The labels are the task and every ``<task>_slice:<name>_pred``; an empty slice scores NaN.

        Parameters
        ----------
        dataloaders
            Loaders with slice labels, from ``make_slice_dataloader``.
        as_dataframe, row_weights
            As :meth:`score` takes them.
        """
        check_loaders(dataloaders)
        labels = {label for loader in dataloaders for label in loader.dataset.Y_dict}
        on_master = {
            label: self.task_name if is_pred_label(self.task_name, label) else None
            for label in labels - {self.task_name}
        }
        return self.score(dataloaders, on_master, as_dataframe, row_weights)

    def _scores(
        self,
        dataloader: DictDataLoader,
        remap_labels: Mapping[str, str | None],
        row_weights: str | None,
    ) -> dict[str, dict[str, float]]:
        heads = self._heads_of(dataloader.dataset.Y_dict, remap_labels)
        kinds = {kind for kind, _ in heads.values()}
        labels, probs, counted = self._run(dataloader, kinds, row_weights)
        weights = None if counted is None else counted.numpy()  # [n]
        arrays = {kind: stacked.numpy() for kind, stacked in probs.items()}  # [n, heads, classes]
        preds = {kind: stacked.argmax(-1) for kind, stacked in arrays.items()}  # [n, heads]
        scores = {}
        for label, (kind, column) in heads.items():
            scorer = _OF_INDICATORS if kind == "indicator" else self.scorer
            golds = classes_of(labels[label]).cpu().numpy()  # [n]
            active = np.flatnonzero(golds != INACTIVE)
            scores[label] = (
                scorer.score(
                    golds[active],
                    preds[kind][active, column],
                    arrays[kind][active, column],
                    None if weights is None else weights[active],
                )
                if len(active)
                else dict.fromkeys(scorer.metrics, float("nan"))
            )
        return scores

    def _heads_of(
        self, labels: Labels, remap_labels: Mapping[str, str | None]
    ) -> dict[str, tuple[Kind, int]]:
        check_is("remap_labels", remap_labels, Mapping)
        tasks = {label: remap_labels.get(label, label) for label in labels}
        for label, task in tasks.items():
            if label in remap_labels and task is not None and task not in self._heads:
                raise SettingError(
                    f"remap_labels sends label {label!r} to task {task!r}, which the model does "
                    f"not have{near(task, self._heads)}"
                )
        return {label: self._heads[task] for label, task in tasks.items() if task in self._heads}

    def _run(
        self, dataloader: DictDataLoader, kinds: set[Kind], row_weights: str | None = None
    ) -> tuple[Labels, dict[Kind, Tensor], Tensor | None]:
        """Run once over a loader: labels, probabilities [n, heads, classes] per kind, weights."""
        n_slices = len(self.head_names)
        shapes: dict[Kind, tuple[int, int]] = {
            "master": (1, self.n_classes),
            "predictor": (n_slices, self.n_classes),
            "indicator": (n_slices, 2),
        }
        # A part of no rows first, so that a loader of no rows needs no case of its own.
        labels = [take(dataloader.dataset.Y_dict, torch.arange(0))]
        weights = [torch.empty(0)]
        probs = {kind: [torch.empty(0, *shapes[kind])] for kind in kinds}
        with evaluating(self):
            for X_dict, Y_dict in dataloader:
                labels.append(Y_dict)
                if row_weights is not None:
                    weights.append(weights_of(X_dict, row_weights).cpu())
                outputs = self.outputs(X_dict)
                logits = {
                    "master": outputs.logits[:, None],
                    "predictor": outputs.predictors,
                    "indicator": outputs.indicators,
                }
                for kind, parts in probs.items():
                    parts.append(logits[kind].softmax(-1).cpu())
        stacked = {kind: torch.cat(parts) for kind, parts in probs.items()}
        return concatenate(labels), stacked, torch.cat(weights) if row_weights else None


SliceAwareClassifier = SlicingClassifier
