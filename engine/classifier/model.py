"""The slice-aware classifier: every slice an expert, all of them in a few stacked tensors."""
# ruff: noqa: N803, N806, N812  (arguments as Snorkel's users know them, F as torch's)

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.arguments import is_number
from engine.classifier.attention import ATTENTIONS
from engine.classifier.data.dataset import (
    INACTIVE,
    DictDataLoader,
    DictDataset,
    Labels,
    SliceLabels,
    check_is,
    check_labels,
    check_loaders,
    concatenate,
    hard,
    ind_label,
    is_pred_label,
    moved,
    pred_label,
    take,
    with_masks,
)
from engine.classifier.losses import at_least_single, cross_entropy, soft_cross_entropy
from engine.classifier.rules import is_names
from engine.classifier.rules import plain as python_value
from engine.classifier.settings import MODEL, default_metrics
from engine.errors import (
    BaseRunError,
    BaseWidthError,
    DuplicateHeadError,
    EngineError,
    FieldMissingError,
    ModelSettingError,
    RowWeightsMissingError,
    RowWeightsTypeError,
    TaskUnknownError,
    near,
)
from engine.metrics.scorer import Scorer
from engine.plain import plain

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["master", "predictor", "indicator"]


@dataclass(frozen=True)
class SliceOutputs:
    """What a forward pass gives for B rows, S slices (``base`` included) and C classes.

    Parameters
    ----------
    logits
        The master head's, [B, C]: the prediction.
    indicators
        Logits of being out of and in each slice, [B, S, 2].
    predictors
        Logits of each slice's expert, [B, S, C].
    attention
        How much each slice's expert weighs for a row, [B, S], summing to 1.
    """

    logits: Tensor
    indicators: Tensor
    predictors: Tensor
    attention: Tensor

    def stacked(self, kind: Kind) -> Tensor:
        """Logits of one kind of head, [B, heads, classes]."""
        stacks = {
            "master": self.logits[:, None],
            "predictor": self.predictors,
            "indicator": self.indicators,
        }
        return stacks[kind]


@dataclass(frozen=True)
class TaskLosses:
    """The losses of one batch, in the order of the model's ``label_names``.

    Parameters
    ----------
    total
        Their sum, each times its task's weight, a scalar.
    losses
        Mean cross entropy over a task's active rows, [tasks]; 0 where none is active. With
        weights of classes or rows it is the weighted mean.
    counts
        Active rows per task, [tasks].
    """

    total: Tensor
    losses: Tensor
    counts: Tensor


class StackedLinear(nn.Module):
    """The weights of n linear layers of one shape, drawn one after the other as ``nn.Linear`` does.

    Examples
    --------
    >>> layers = StackedLinear(3, 5, 2)
    >>> layers.weight.shape, layers.bias.shape
    (torch.Size([3, 2, 5]), torch.Size([3, 2]))
    """

    def __init__(self, n: int, width_in: int, width_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, width_out, width_in))
        self.bias = nn.Parameter(torch.empty(n, width_out))
        for weight, bias in zip(self.weight, self.bias, strict=True):
            nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
            nn.init.uniform_(bias, -1 / math.sqrt(width_in), 1 / math.sqrt(width_in))


class SlicingClassifier(nn.Module):
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
    DuplicateHeadError
        When a slice is named twice.
    ModelSettingError
        When a setting's value can't be.

    References
    ----------
    Chen et al., Slice-based Learning: A Programming Model for Residual Learning in Critical Data
    Slices, NeurIPS 2019, and the ``SliceAwareClassifier`` of Snorkel 0.10, which it computes.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> model = SlicingClassifier(nn.Linear(5, 4), 4, ["short", "link"])
    >>> outputs = model({"input_data": torch.ones(2, 5)})
    >>> outputs.logits.shape, outputs.attention.shape
    (torch.Size([2, 2]), torch.Size([2, 3]))
    """

    head_dim: int
    task_name: str
    n_classes: int
    temperature: float
    attention: str
    indicator_loss_weight: float
    row_weights: str | None

    def __init__(
        self,
        base_architecture: nn.Module,
        head_dim: int,
        slice_names: Sequence[str],
        input_data_key: str = "input_data",
        task_name: str = "task",
        scorer: Scorer | None = None,
        n_classes: int = 2,
        temperature: float = 1.0,
        device: str | torch.device = "cpu",
        *,
        attention: str = "snorkel",
        indicator_loss_weight: float = 1.0,
        slice_weights: Mapping[str, float] | None = None,
        class_weights: Sequence[float] | None = None,
        row_weights: str | None = None,
    ) -> None:
        super().__init__()
        given = {
            "head_dim": head_dim, "slice_names": slice_names, "task_name": task_name,
            "n_classes": n_classes, "temperature": temperature, "attention": attention,
            "indicator_loss_weight": indicator_loss_weight, "row_weights": row_weights,
            "slice_weights": {} if slice_weights is None else slice_weights,
        }  # fmt: skip
        for name, value in given.items():
            if end := MODEL[name].broken(value):
                raise ModelSettingError(name, value, end)
            setattr(self, name, python_value(value))
        self.slice_names, heads = list(slice_names), _with_base(slice_names)
        self.slice_weights = dict(slice_weights or {})
        self.class_weights = None if class_weights is None else _listed(class_weights)
        self.input_data_key = input_data_key
        self.scorer = Scorer(default_metrics(n_classes)) if scorer is None else scorer
        self._check_settings(heads, base_architecture, device)

        self.base_architecture = base_architecture
        # In Snorkel's order, so that the same seed draws the same weights.
        self.master = nn.Linear(head_dim, n_classes)
        self.indicator = StackedLinear(len(heads), head_dim, 2)
        self.predictor = nn.Linear(head_dim, n_classes)
        self.transform = StackedLinear(len(heads), head_dim, head_dim)
        self.to(device)
        self._name_heads(heads)
        self._trained_heads: Tensor | None = None
        self._scorers: dict[Kind, Scorer] = {
            "master": self.scorer,
            "predictor": self.scorer,
            # Most rows are out of most slices, which accuracy would not show.
            "indicator": Scorer(metrics=["f1"]),
        }

    def _check_settings(self, heads: Sequence[str], base: Any, device: Any) -> None:
        """See what :data:`MODEL` can't: settings that depend on others, and objects."""

        def refuse(name: str, value: object, holds: bool, end: str) -> None:
            if not holds:
                raise ModelSettingError(name, value, end)

        keys: Any = self.input_data_key
        weights = self.class_weights
        some = (isinstance(keys, str) or is_names(keys)) and len(keys) > 0
        refuse("input_data_key", keys, some, ", and must be a field's name, or a list of them")
        of_class = f"{self.n_classes} numbers, none below 0 and not all 0"
        known = weights is None or (
            isinstance(weights, list)
            and len(weights) == self.n_classes
            and all(is_number(w) and w >= 0 for w in weights)
            and any(weights)
        )
        refuse("class_weights", weights, known, f", and must be {of_class}")
        for name in self.slice_weights:
            refuse("slice_weights", self.slice_weights, name in heads, near(name, heads))
        a_module = isinstance(base, nn.Module)
        refuse("base_architecture", base, a_module, ", and must be a torch.nn.Module")
        refuse("scorer", self.scorer, isinstance(self.scorer, Scorer), ", and must be a Scorer")
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, TypeError, ValueError) as e:
            end = ", and torch has no such device here: use 'cpu'"
            raise ModelSettingError("device", str(device), end) from e

    def _name_heads(self, heads: tuple[str, ...]) -> None:
        """Say which label belongs to which row of which stack, and what its loss counts."""
        task = self.task_name
        self.head_names = heads
        self._heads: dict[str, tuple[Kind, int]] = {task: ("master", 0)}
        self._heads |= {pred_label(task, n): ("predictor", i) for i, n in enumerate(heads)}
        self._heads |= {ind_label(task, n): ("indicator", i) for i, n in enumerate(heads)}
        by_slice = [self.slice_weights.get(name, 1.0) for name in heads]
        weights = [1.0, *by_slice, *(self.indicator_loss_weight * w for w in by_slice)]
        # On the CPU also where a checkpoint is built on the meta device.
        self._task_weights = (
            torch.tensor(weights, dtype=torch.float64, device="cpu")
            if any(w != 1 for w in weights)
            else None
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that have a head: the task, then each slice's ``_pred``, then ``_ind``."""
        return tuple(self._heads)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.master.weight.device

    def forward(self, X_dict: Mapping[str, Any]) -> SliceOutputs:
        """Compute every head's logits for a batch."""
        hidden = self._hidden(X_dict)  # [B, D]

        indicators = _per_head(hidden, self.indicator.weight, self.indicator.bias)  # [B, S, 2]
        predictors, readings = self._read_experts(hidden).chunk(2, -1)  # both [B, S, C]
        predictors = predictors + self.predictor.bias

        scores = ATTENTIONS[self.attention](indicators, predictors)  # [B, S]
        attention = (scores / self.temperature).softmax(-1)  # [B, S]

        # The master head is linear: weighting what it reads from every expert equals reading the
        # weighted sum of the experts.
        logits = (attention[..., None] * readings).sum(1) + self.master.bias  # [B, C]
        return SliceOutputs(logits, indicators, predictors, attention)

    def _hidden(self, X_dict: Mapping[str, Any]) -> Tensor:
        """Run the base and see that what it gives is [batch, head_dim]."""
        one = isinstance(self.input_data_key, str)
        keys = [self.input_data_key] if one else self.input_data_key
        if missing := [key for key in keys if key not in X_dict]:
            raise FieldMissingError(missing, list(X_dict))
        dtype = self.master.weight.dtype
        fields = {key: _as(dtype, moved(X_dict[key], self.device)) for key in keys}
        hidden: Tensor = self.base_architecture(fields[keys[0]] if one else fields)
        found = tuple(hidden.shape) if isinstance(hidden, Tensor) else type(hidden).__name__
        if not isinstance(found, tuple) or len(found) != 2 or found[1] != self.head_dim:  # noqa: PLR2004
            raise BaseWidthError(found, self.head_dim)
        return hidden

    def dry_run(self, dataset: DictDataset) -> None:
        """Run the first two rows through, to find now what would fail in training.

        Raises
        ------
        BaseWidthError
            When the base's output is not [batch, head_dim].
        BaseRunError
            When the base fails on them.
        FieldMissingError
            When the data set lacks a field that the base reads.
        """
        if len(dataset):
            fields = dataset.__getitems__(range(min(2, len(dataset))))[0]
            with torch.random.fork_rng(devices=[]), _evaluating(self):
                outputs = self._read(fields)
            if len(outputs.logits) != (n := min(2, len(dataset))):
                raise BaseWidthError((len(outputs.logits), self.head_dim), self.head_dim, rows=n)

    def _read(self, X_dict: Mapping[str, Any]) -> SliceOutputs:
        """Run a batch through; an error names the fields that the base can't read."""
        try:
            outputs: SliceOutputs = self(X_dict)
        except (EngineError, torch.OutOfMemoryError):
            raise
        except Exception as e:
            raise BaseRunError(_shapes(X_dict), e) from e
        return outputs

    def _read_experts(self, hidden: Tensor) -> Tensor:
        """Apply predictor and master weights to every expert's representation, [B, S, 2C].

        Both are (hidden W + b) Q for a weight Q [D, 2C]: with few classes W Q first costs a
        fraction of hidden W, with many classes the other way round does.
        """
        read = torch.cat([self.predictor.weight, self.master.weight])  # [2C, D]
        weight, bias = self.transform.weight, self.transform.bias  # [S, D, D], [S, D]
        if plain() or len(read) > len(hidden):
            experts = torch.einsum("bi,soi->bso", hidden, weight) + bias  # [B, S, D]
            return experts @ read.T
        folded = torch.bmm(read.expand(len(weight), -1, -1), weight)  # [S, 2C, D]
        return _per_head(hidden, folded, bias @ read.T)

    def loss(
        self,
        X_dict: Mapping[str, Any],
        Y_dict: Labels,
        over_processes: Callable[[Tensor], Tensor] | None = None,
    ) -> TaskLosses:
        """Compute every task's loss in a few operations, however many slices there are.

        Each is the mean cross entropy over the rows whose label is not -1. Labels that
        ``Y_dict`` lacks count as -1. Soft labels are class probabilities, [B, C] floats.

        Parameters
        ----------
        X_dict, Y_dict
            A batch.
        over_processes
            Sums a tensor over all processes that hold a part of the batch. The losses are then
            this part's share of the whole batch's, and the counts the whole batch's.
        """
        outputs = self(X_dict)
        device = self.device
        if isinstance(Y_dict, SliceLabels):
            Y_dict = Y_dict.to(device)
        labels, in_slice = self._stacked_labels(Y_dict)  # [B, 1 + S], [B, S]
        # [B, 1 + S, C]
        logits = at_least_single(torch.cat([outputs.logits[:, None], outputs.predictors], dim=1))
        weights, rows = None, None
        if self.class_weights is not None:
            weights = moved(torch.tensor(self.class_weights, dtype=logits.dtype), device)
        if self.row_weights is not None:
            rows = moved(_weights_of(X_dict, self.row_weights), device).to(logits)
        soft = Y_dict.get(self.task_name)
        if soft is not None and soft.dim() > 1:
            soft = moved(soft, device).to(logits)
            parts = soft_cross_entropy(logits, labels, soft, weights, rows)
        else:
            parts = cross_entropy(logits, labels, weights, rows)
        in_parts = cross_entropy(at_least_single(outputs.indicators), in_slice, None, rows)
        sums, norms, counts = (torch.cat(pair) for pair in zip(parts, in_parts, strict=True))
        if over_processes is not None:
            norms, summed = over_processes(torch.stack([norms, counts.to(norms)]))
            counts = summed.long()
        losses = sums / torch.where(norms > 0, norms, torch.ones_like(norms))
        if self._task_weights is None:
            return TaskLosses(losses.sum(), losses, counts)
        by_task = moved(self._task_weights.to(losses.dtype), device)
        return TaskLosses(losses @ by_task, losses, counts)

    def _stacked_labels(self, Y_dict: Labels) -> tuple[Tensor, Tensor]:
        n_slices = len(self.head_names)
        if isinstance(Y_dict, SliceLabels) and Y_dict.names[:n_slices] == self.head_names:
            task = hard(Y_dict[self.task_name])[:, None]
            labels = torch.cat([task, Y_dict.predictors[:, :n_slices]], dim=1)
            return labels, Y_dict.indicators[:, :n_slices]
        n = len(next(iter(Y_dict.values())))
        absent = torch.full((n,), INACTIVE)
        columns = [hard(Y_dict.get(label, absent)) for label in self.label_names]
        stacked = moved(torch.stack(columns, dim=1), self.device)
        return stacked[:, : 1 + n_slices], stacked[:, 1 + n_slices :]

    def add_slices(self, names: Sequence[str]) -> None:
        """Give further slices heads, drawn anew; those that are there keep theirs bit for bit.

        Parameters
        ----------
        names
            The new slices. ``base`` stays where it was among the heads, the last by default.

        Raises
        ------
        DuplicateHeadError
            When a slice has a head already, or is named twice.

        Examples
        --------
        >>> model = SlicingClassifier(nn.Identity(), 4, ["short"])
        >>> model.add_slices(["link"])
        >>> model.head_names
        ('short', 'link', 'base')
        """
        _check_names("names", names)
        old, slice_names = self.head_names, [*self.slice_names, *names]
        heads = _with_base(slice_names)
        # Where each head's weights are among the old ones with the new ones behind them.
        at = {name: i for i, name in enumerate((*old, *names))}
        order = torch.tensor([at[name] for name in heads], device=self.device)
        with torch.no_grad():
            for stack in (self.indicator, self.transform):
                width_out, width_in = stack.weight.shape[1:]
                fresh = StackedLinear(len(names), width_in, width_out).to(stack.weight)
                stack.weight = nn.Parameter(torch.cat([stack.weight, fresh.weight])[order])
                stack.bias = nn.Parameter(torch.cat([stack.bias, fresh.bias])[order])
        self.slice_names = slice_names
        self._trained_heads = None
        self._name_heads(heads)

    def train_only(self, names: Sequence[str] | None) -> None:
        """Leave every weight as it is in training but those of some slices' own heads.

        The base, the master head, the shared predictor head and all other slices' heads keep
        their values to the last bit, whatever the optimizer.

        Parameters
        ----------
        names
            The slices; None trains everything again.

        Raises
        ------
        ModelSettingError
            When the model has no such slice.
        """
        if names is not None:
            _check_names("train_only", names)
        for name in names or ():
            if name not in self.head_names:
                raise ModelSettingError("train_only", names, near(name, self.head_names))
        own = {id(p) for stack in (self.indicator, self.transform) for p in stack.parameters()}
        for p in self.parameters():
            p.requires_grad_(names is None or id(p) in own)
        self._trained_heads = (
            None if names is None else torch.tensor([name in names for name in self.head_names])
        )

    def held_weights(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Give the stacked weights of which ``train_only`` holds a part, with the part's mask."""
        if self._trained_heads is None:
            return []
        held = ~self._trained_heads.to(self.device)
        return [(p, held) for stack in (self.indicator, self.transform) for p in stack.parameters()]

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
        TaskLabelsMissingError, MaskLengthError, SliceMasksMissingError, MaskValueError
            When the data set lacks the task's labels, or S another length, lacks a slice of the
            model, or holds another value.
        LabelRangeError, SoftLabelShapeError, SoftLabelValueError
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
        BaseRunError
            When the base fails on it.
        """
        check_is("X_dict", X_dict, Mapping)
        with _evaluating(self):
            probs: np.ndarray[Any, np.dtype[np.float32]]
            probs = self._read(X_dict).logits.softmax(-1).cpu().numpy()
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
        TaskUnknownError
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
            import pandas as pd

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
        labels, probs, counted = self._run(
            dataloader, {kind for kind, _ in heads.values()}, row_weights
        )
        weights = None if counted is None else counted.numpy()
        arrays = {kind: stacked.numpy() for kind, stacked in probs.items()}
        preds = {kind: stacked.argmax(-1) for kind, stacked in arrays.items()}
        scores = {}
        for label, (kind, column) in heads.items():
            scorer, golds = self._scorers[kind], hard(labels[label]).cpu().numpy()
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
                raise TaskUnknownError(label, task, self._heads)
        return {label: self._heads[task] for label, task in tasks.items() if task in self._heads}

    def _run(
        self, dataloader: DictDataLoader, kinds: set[Kind], row_weights: str | None = None
    ) -> tuple[Labels, dict[Kind, Tensor], Tensor | None]:
        """Run once over a loader: labels, probabilities [n, heads, classes] per kind, weights."""
        # A part of no rows first, so that a loader of no rows needs no case of its own.
        labels = [take(dataloader.dataset.Y_dict, torch.arange(0))]
        weights = [torch.empty(0)]
        probs = {kind: [torch.empty(0, *self._shape(kind))] for kind in kinds}
        with _evaluating(self):
            for X_dict, Y_dict in dataloader:
                labels.append(Y_dict)
                if row_weights is not None:
                    weights.append(_weights_of(X_dict, row_weights).cpu())
                outputs = self._read(X_dict)
                for kind, parts in probs.items():
                    parts.append(outputs.stacked(kind).softmax(-1).cpu())
        stacked = {kind: torch.cat(parts) for kind, parts in probs.items()}
        return concatenate(labels), stacked, torch.cat(weights) if row_weights else None

    def _shape(self, kind: Kind) -> tuple[int, int]:
        shapes = {
            "master": (1, self.n_classes),
            "predictor": (len(self.head_names), self.n_classes),
            "indicator": (len(self.head_names), 2),
        }
        return shapes[kind]


SliceAwareClassifier = SlicingClassifier


def _per_head(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply S linear layers at once: [B, D], [S, K, D], [S, K] to [B, S, K]."""
    flat = F.linear(hidden, weight.flatten(0, 1), bias.flatten())
    return flat.view(len(hidden), *bias.shape)


def _shapes(fields: Mapping[str, Any]) -> dict[str, str]:
    """Say of what kind a batch's fields are."""
    return {
        name: f"{list(v.shape)} {str(v.dtype).removeprefix('torch.')}"
        if isinstance(v, Tensor)
        else f"a {type(v).__name__}"
        for name, v in fields.items()
    }


def _listed(values: Any) -> Any:
    """Return an array's or a tensor's values as a list; what is none stays for the rules."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str) else values


def _weights_of(X_dict: Mapping[str, Any], name: str) -> Any:
    if name not in X_dict:
        raise RowWeightsMissingError(name, list(X_dict))
    if not isinstance(X_dict[name], Tensor):
        raise RowWeightsTypeError(name, type(X_dict[name]).__name__)
    return X_dict[name]


def _check_names(what: str, names: Any) -> None:
    if end := MODEL["slice_names"].broken(names):
        raise ModelSettingError(what, names, end)


def _as(dtype: torch.dtype, values: Any) -> Any:
    """Give floats as the model computes with: numpy's are float64, its weights float32."""
    if isinstance(values, Tensor) and values.is_floating_point() and values.dtype != dtype:
        return values.to(dtype)
    return values


def _with_base(slice_names: Sequence[str]) -> tuple[str, ...]:
    heads = tuple(slice_names) if "base" in slice_names else (*slice_names, "base")
    if len(set(heads)) < len(heads):
        raise DuplicateHeadError(next(name for name in heads if heads.count(name) > 1))
    return heads


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and gradients off, and back afterwards to how they were."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)
