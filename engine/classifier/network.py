"""The network: a base, an expert per slice, attention over them, a master head, and its loss."""
# ruff: noqa: N803, N806  (X_dict and Y_dict, as Snorkel's users know them)

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from engine.arguments import is_number
from engine.classifier.data.dataset import DictDataset
from engine.classifier.data.labels import (
    INACTIVE,
    Labels,
    SliceLabels,
    classes_of,
    ind_label,
    moved,
    pred_label,
)
from engine.classifier.heads import ATTENTIONS, Kind, SliceOutputs, StackedLinear, per_head
from engine.classifier.losses import (
    TaskLosses,
    at_least_single,
    cross_entropy,
    soft_cross_entropy,
)
from engine.classifier.rules import plain as python_value
from engine.classifier.settings import BASE, MODEL, default_metrics
from engine.errors import DatasetError, EngineError, SettingError, brief, listed, near
from engine.metrics.scorer import Scorer
from engine.plain import plain


class SliceNetwork(nn.Module):
    """What a ``SlicingClassifier`` computes; its arguments are described there."""

    head_dim: int
    slice_names: list[str]
    input_data_key: str | Sequence[str]
    task_name: str
    n_classes: int
    temperature: float
    attention: str
    indicator_loss_weight: float
    slice_weights: dict[str, float]
    class_weights: list[float] | None
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
        settings = {
            "head_dim": head_dim, "slice_names": slice_names, "input_data_key": input_data_key,
            "task_name": task_name, "n_classes": n_classes, "temperature": temperature,
            "attention": attention, "indicator_loss_weight": indicator_loss_weight,
            "slice_weights": {} if slice_weights is None else slice_weights,
            "class_weights": _as_list(class_weights), "row_weights": row_weights,
        }  # fmt: skip
        for name, rule in MODEL.items():
            if end := rule.broken(settings[name]):
                raise SettingError(f"SlicingClassifier: {name} is {brief(settings[name])}{end}")
            setattr(self, name, python_value(settings[name]))
        self.slice_names, self.slice_weights = list(slice_names), dict(slice_weights or {})
        self.scorer = Scorer(default_metrics(n_classes)) if scorer is None else scorer
        heads = _with_base(slice_names)
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

    def _check_settings(self, heads: Sequence[str], base: Any, device: Any) -> None:
        """Check what the rules can't: settings that depend on others, and objects."""
        weights = self.class_weights
        by_class = weights is None or (
            isinstance(weights, list)
            and len(weights) == self.n_classes
            and all(is_number(w) and w >= 0 for w in weights)
            and any(weights)
        )
        of_class = f"{self.n_classes} numbers, none below 0 and not all 0"
        unknown = next((name for name in self.slice_weights if name not in heads), None)
        hint = "" if unknown is None else near(unknown, heads)
        checks = (
            ("class_weights", weights, by_class, f", and must be {of_class}"),
            ("slice_weights", self.slice_weights, unknown is None, hint),
            ("base_architecture", base, isinstance(base, nn.Module),
             ", and must be a torch.nn.Module"),
            ("scorer", self.scorer, isinstance(self.scorer, Scorer), ", and must be a Scorer"),
        )  # fmt: skip
        for name, value, holds, end in checks:
            if not holds:
                raise SettingError(f"SlicingClassifier: {name} is {brief(value)}{end}")
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, TypeError, ValueError) as e:
            end = ", and torch has no such device here: use 'cpu'"
            raise SettingError(f"SlicingClassifier: device is {brief(str(device))}{end}") from e

    def _name_heads(self, heads: tuple[str, ...]) -> None:
        """Map each label to its kind of head and its row there, and weigh its loss."""
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

        indicators = per_head(hidden, self.indicator.weight, self.indicator.bias)  # [B, S, 2]
        predictors, readings = self._read_experts(hidden).chunk(2, -1)  # both [B, S, C]
        predictors = predictors + self.predictor.bias  # [B, S, C]

        scores = ATTENTIONS[self.attention](indicators, predictors)  # [B, S]
        attention = (scores / self.temperature).softmax(-1)  # [B, S]

        # The master head is linear: weighting what it reads from every expert equals reading the
        # weighted sum of the experts.
        logits = (attention[..., None] * readings).sum(1) + self.master.bias  # [B, C]
        return SliceOutputs(logits, indicators, predictors, attention)

    def _hidden(self, X_dict: Mapping[str, Any]) -> Tensor:
        """Run the base and check that its output is [batch, head_dim]."""
        one = self.input_data_key if isinstance(self.input_data_key, str) else None
        keys = self.input_data_key if one is None else [one]
        if missing := [key for key in keys if key not in X_dict]:
            raise DatasetError(
                f"the base reads {listed([repr(name) for name in missing])}, which the rows do not "
                f"have; their fields are {listed(list(X_dict)) or 'none'}: rename them, or set "
                "input_data_key"
            )
        fields = {
            key: _as(self.master.weight.dtype, moved(X_dict[key], self.device)) for key in keys
        }
        hidden: Any = self.base_architecture(fields if one is None else fields[one])
        if not isinstance(hidden, Tensor):
            gives = f"a {type(hidden).__name__}, not a tensor"
        elif hidden.dim() != 2:  # noqa: PLR2004 - [batch, width]
            gives = f"an output of {hidden.dim()} dimensions, {list(hidden.shape)}"
        elif hidden.shape[1] != self.head_dim:
            gives = f"an output {hidden.shape[1]} wide"
        else:
            return hidden
        raise SettingError(
            f"base_architecture gives {gives}, and head_dim is {self.head_dim}: the output must be "
            f"[batch, {self.head_dim}]; change head_dim, or the base's last layer"
        )

    def _read_experts(self, hidden: Tensor) -> Tensor:
        """Apply predictor and master weights to every expert's representation, [B, S, 2C].

        Both are (hidden W + b) Q for a weight Q [D, 2C]: with few classes W Q first costs a
        fraction of hidden W, with many classes the other way round does.
        """
        read = torch.cat([self.predictor.weight, self.master.weight])  # [2C, D]
        weight, bias = self.transform.weight, self.transform.bias  # [S, D, D], [S, D]
        if plain() or len(read) > len(hidden):
            experts = torch.einsum("bi,soi->bso", hidden, weight) + bias  # [B, S, D]
            return experts @ read.T  # [B, S, 2C]
        folded = torch.bmm(read.expand(len(weight), -1, -1), weight)  # [S, 2C, D]
        return per_head(hidden, folded, bias @ read.T)  # [B, S, 2C]

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
        outputs, device = self(X_dict), self.device
        if isinstance(Y_dict, SliceLabels):
            Y_dict = Y_dict.to(device)
        labels, in_slice = self._stacked_labels(Y_dict)  # [B, 1 + S], [B, S]
        logits = torch.cat([outputs.logits[:, None], outputs.predictors], dim=1)  # [B, 1 + S, C]
        logits, weights, rows = at_least_single(logits), None, None
        if self.class_weights is not None:
            weights = moved(torch.tensor(self.class_weights, dtype=logits.dtype), device)  # [C]
        if self.row_weights is not None:
            rows = moved(weights_of(X_dict, self.row_weights), device).to(logits)  # [B]
        soft = Y_dict.get(self.task_name)
        if soft is not None and soft.dim() > 1:
            soft = moved(soft, device).to(logits)  # [B, C]
            of_classes = soft_cross_entropy(logits, labels, soft, weights, rows)
        else:
            of_classes = cross_entropy(logits, labels, weights, rows)
        of_slices = cross_entropy(at_least_single(outputs.indicators), in_slice, None, rows)
        # each [1 + 2S]
        sums, norms, counts = (torch.cat(pair) for pair in zip(of_classes, of_slices, strict=True))
        if over_processes is not None:
            norms, summed = over_processes(torch.stack([norms, counts.to(norms)]))
            counts = summed.long()
        losses = sums / torch.where(norms > 0, norms, torch.ones_like(norms))
        if self._task_weights is None:
            return TaskLosses(losses.sum(), losses, counts)
        by_task = moved(self._task_weights.to(losses.dtype), device)
        return TaskLosses(losses @ by_task, losses, counts)

    def _stacked_labels(self, Y_dict: Labels) -> tuple[Tensor, Tensor]:
        """Give the labels of the classes' heads, [B, 1 + S], and of the indicators, [B, S]."""
        n_slices = len(self.head_names)
        if isinstance(Y_dict, SliceLabels) and Y_dict.names[:n_slices] == self.head_names:
            task = classes_of(Y_dict[self.task_name])[:, None]  # [B, 1]
            labels = torch.cat([task, Y_dict.predictors[:, :n_slices]], dim=1)  # [B, 1 + S]
            return labels, Y_dict.indicators[:, :n_slices]
        absent = torch.full((len(next(iter(Y_dict.values()))),), INACTIVE)
        columns = [classes_of(Y_dict.get(label, absent)) for label in self.label_names]
        stacked = moved(torch.stack(columns, dim=1), self.device)  # [B, 1 + 2S]
        return stacked[:, : 1 + n_slices], stacked[:, 1 + n_slices :]

    def dry_run(self, dataset: DictDataset) -> None:
        """Run the first two rows through, to find now what would fail in training.

        Raises
        ------
        SettingError
            When the base's output is not [batch, head_dim].
            When the base fails on them.
        DatasetError
            When the data set lacks a field that the base reads.
        """
        if n := min(2, len(dataset)):
            with torch.random.fork_rng(devices=[]), evaluating(self):
                outputs = self.outputs(dataset.__getitems__(range(n))[0])
            if len(outputs.logits) != n:
                raise SettingError(
                    f"base_architecture gives {len(outputs.logits)} rows for a batch of {n}: it "
                    "must give one row for each, in their order"
                )

    def outputs(self, X_dict: Mapping[str, Any]) -> SliceOutputs:
        """Run a batch through; an error names the fields that the base can't read.

        Raises
        ------
        SettingError
            When the base fails on it.
        """
        try:
            outputs: SliceOutputs = self(X_dict)
        except (EngineError, torch.OutOfMemoryError):
            raise
        except Exception as e:
            fields = [
                f"{name} {list(v.shape)} {str(v.dtype).removeprefix('torch.')}"
                if isinstance(v, Tensor)
                else f"{name} a {type(v).__name__}"
                for name, v in X_dict.items()
            ]
            first = str(e).partition("\n")[0]
            raise SettingError(
                f"base_architecture can't read a batch whose fields are {listed(fields, 5)}: "
                f"{type(e).__name__}: {first}; change its first layer, the fields, or "
                "input_data_key"
            ) from e
        return outputs

    def add_slices(self, names: Sequence[str]) -> None:
        """Give further slices heads with fresh weights; the other heads keep theirs bit for bit.

        Parameters
        ----------
        names
            The new slices. ``base`` stays where it was among the heads, the last by default.

        Raises
        ------
        SettingError
            When a slice has a head already, or is named twice.

        Examples
        --------
        >>> network = SliceNetwork(nn.Identity(), 4, ["short"])
        >>> network.add_slices(["link"])
        >>> network.head_names
        ('short', 'link', 'base')
        """
        _check_names("names", names)
        old, slice_names = self.head_names, [*self.slice_names, *names]
        heads = _with_base(slice_names)
        # Each head's row among the old ones with the new ones behind them.
        row = {name: i for i, name in enumerate((*old, *names))}
        order = torch.tensor([row[name] for name in heads], device=self.device)
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
        """Train the own heads of some slices alone.

        The base, the master head, the shared predictor head and all other slices' heads keep
        their values to the last bit, whatever the optimizer.

        Parameters
        ----------
        names
            The slices; None trains everything again.

        Raises
        ------
        SettingError
            When the model has no such slice.
        """
        if names is not None:
            _check_names("train_only", names)
        for name in names or ():
            if name not in self.head_names:
                raise SettingError(
                    f"SlicingClassifier: train_only is {brief(names)}{near(name, self.head_names)}"
                )
        own = {id(p) for stack in (self.indicator, self.transform) for p in stack.parameters()}
        for p in self.parameters():
            p.requires_grad_(names is None or id(p) in own)
        self._trained_heads = (
            None if names is None else torch.tensor([name in names for name in self.head_names])
        )

    def frozen_weights(self) -> list[tuple[nn.Parameter, Tensor]]:
        """Give the stacked weights of which ``train_only`` freezes some rows, with their mask."""
        if self._trained_heads is None:
            return []
        mask = ~self._trained_heads.to(self.device)  # [S]
        return [(p, mask) for stack in (self.indicator, self.transform) for p in stack.parameters()]


def weights_of(X_dict: Mapping[str, Any], name: str) -> Tensor:
    """Return the field that says what each row counts, [B].

    Raises
    ------
    DatasetError
        When there is no such field, or it isn't a tensor.
    """
    if name not in X_dict:
        raise no_row_weights(name, list(X_dict))
    weights = X_dict[name]
    if not isinstance(weights, Tensor):
        raise DatasetError(
            f"row_weights or metric_weights names the field {name!r}, which is a "
            f"{type(weights).__name__}, and must be a torch.Tensor of a number per row"
        )
    return weights


def no_row_weights(field: str, fields: Sequence[str]) -> DatasetError:
    """Return the error of rows without the field that says what each counts."""
    return DatasetError(
        f"row_weights or metric_weights names the field {field!r}, which the rows do not have; "
        f"their fields are {listed(fields) or 'none'}"
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout and gradients off, and back afterwards to how they were."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def _as_list(values: Any) -> Any:
    """Return a sequence, an array or a tensor as a list; a check refuses other values."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return list(values) if isinstance(values, Sequence) and not isinstance(values, str) else values


def _check_names(what: str, names: Any) -> None:
    if end := MODEL["slice_names"].broken(names):
        raise SettingError(f"SlicingClassifier: {what} is {brief(names)}{end}")


def _as(dtype: torch.dtype, values: Any) -> Any:
    """Give floats as the model computes with: numpy's are float64, its weights float32."""
    if isinstance(values, Tensor) and values.is_floating_point() and values.dtype != dtype:
        return values.to(dtype)
    return values


def _with_base(slice_names: Sequence[str]) -> tuple[str, ...]:
    heads = tuple(slice_names) if BASE in slice_names else (*slice_names, BASE)
    if twice := [name for name in heads if heads.count(name) > 1]:
        raise SettingError(f"slice_names has {twice[0]!r} twice; each slice has one head")
    return heads
