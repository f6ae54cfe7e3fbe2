"""Training: a loop that reads from top to bottom."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from engine.classifier import resume as state
from engine.classifier.data.dataset import (
    INACTIVE,
    Batch,
    DictDataLoader,
    Labels,
    SliceLabels,
    check_features,
    check_is,
    check_loaders,
    hard,
)
from engine.classifier.history import EpochLog, write_history
from engine.classifier.model import SlicingClassifier
from engine.classifier.monitor import (
    Monitor,
    SliceRows,
    TensorBoardWriter,
    count_rows,
    empty_slices,
    find_monitor,
    first_better,
    overall_figures,
    slice_table,
)
from engine.classifier.optimizers import OPTIMIZERS
from engine.classifier.processes import Processes, processes
from engine.classifier.settings import SEED, TrainerConfig, lr_factor
from engine.errors import (
    EmptyTrainingError,
    NotANumberLossError,
    ResumeError,
    RowWeightsMissingError,
    SharedFolderError,
    SplitError,
    TrainerKeywordError,
    TrainerSettingError,
    TrainSplitMissingError,
)
from engine.plain import plain

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["EpochLog", "Trainer", "TrainerConfig", "set_seed", "usable_cores", "write_history"]

_log = logging.getLogger(__name__)

# Weights times rows of a batch, from which on more threads help. At 14 million two cores take as
# long as one and at 54 million nine tenths; on a busy machine threads wait for each other besides.
_WORTH_SHARING = 2**24

_TWO = 2  # rows of a batch that can be normalised, in each process

# Settings that may differ between a run that was killed and the one that goes on with it.
_CHANGEABLE = ("progress_bar", "log", "folder", "resume", "tensorboard", "device", "threads")


def set_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators.

    >>> set_seed(111)
    >>> first = torch.rand(3)
    >>> set_seed(111)
    >>> bool((torch.rand(3) == first).all())
    True

    Raises
    ------
    TrainerSettingError
        If it is no whole number from 0 to 2^32 - 1.
    """
    if end := SEED.broken(seed):
        raise TrainerSettingError("seed", seed, end)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@dataclass
class Standing:
    """How far training has come.

    Parameters
    ----------
    random
        The random states to begin with, or to go on with.
    epoch, step, updates
        Epochs, steps, and steps that moved weights.
    best_epoch, best_value
        The epoch at which the monitor was best, 0 before there is one, and its value.
    done
        Whether training is over.
    history
        The epochs.
    best_weights
        The weights after the best epoch.
    """

    random: state.RandomState
    epoch: int = 0
    step: int = 0
    updates: int = 0
    best_epoch: int = 0
    best_value: float = -math.inf
    done: bool = False
    history: list[EpochLog] = field(default_factory=list)
    best_weights: state.Tensors = field(default_factory=dict)


_MODEL_SETTINGS = (
    "attention",
    "temperature",
    "indicator_loss_weight",
    "slice_weights",
    "class_weights",
    "row_weights",
)
_STANDING = ("epoch", "step", "updates", "best_epoch", "best_value", "done")


@dataclass(frozen=True)
class _Run:
    """What stays the same through one ``fit``."""

    model: SlicingClassifier
    optimizer: Optimizer
    trained: Sequence[torch.nn.Parameter]
    train: Sequence[DictDataLoader]
    valid: Sequence[DictDataLoader]
    monitor: Monitor | None
    steps: int
    epochs: int
    together: Processes
    random: state.RandomState
    setup: dict[str, Any]
    normalises: bool


class Trainer:
    """Trains a ``SlicingClassifier`` on the sum of its tasks' losses.

    Parameters
    ----------
    name
        What the log calls it.
    **settings
        The fields of ``TrainerConfig``.

    Attributes
    ----------
    config : TrainerConfig
    history : list of EpochLog
        One entry per epoch of the last ``fit``, those before an interruption included.
    slices : list of SliceRows
        Each slice's rows in the train and valid split, and its status.
    best_epoch : int or None
        The epoch whose weights the model has; None without a monitor.

    Raises
    ------
    TrainerKeywordError, TrainerSettingError
        When a setting is not known, or its value can't be.

    Examples
    --------
    >>> Trainer(n_epochs=2, lr=1e-4, progress_bar=False).config.optimizer
    'adam'
    """

    def __init__(self, name: str | None = None, **settings: Any) -> None:
        known = [field.name for field in fields(TrainerConfig)]
        for setting in settings:
            if setting not in known:
                raise TrainerKeywordError(setting, known)
        self.name = name or type(self).__name__
        self.config = TrainerConfig(**settings)
        self.history: list[EpochLog] = []
        self.slices: list[SliceRows] = []
        self.best_epoch: int | None = None

    def fit(self, model: SlicingClassifier, dataloaders: Sequence[DictDataLoader]) -> None:
        """Train a model in place.

        Parameters
        ----------
        model
            What to train.
        dataloaders
            Loaders with slice labels, from ``make_slice_dataloader``; several of the train split
            are mixed batch by batch.

        Raises
        ------
        SplitError, TrainSplitMissingError
            When a loader's split is not known, or none is the train split.
        BaseWidthError, FieldMissingError, RowWeightsMissingError, NotANumberFeatureError
            When the model can't read the rows, or a feature is NaN; before anything is trained.
        MonitorError
            When there is nothing to compute the monitor on.
        ResumeError
            When ``folder`` holds the state of another training.
        NotANumberLossError
            When a loss is not finite; the weights are then those of the step before.
        """
        config = self.config
        run = self._prepared(model, dataloaders)
        standing = self._resumed(run)
        self.history = standing.history

        with (
            _threads(config.threads, _work(run)),
            _screen(config, run.steps) as screen,
            self._curves(standing, run.together) as curves,
        ):
            screen.advance(standing.step)
            # What was imported on the way here may have drawn: rich does, the first time.
            state.restore_random_state(run.train, *standing.random)
            while not standing.done:
                log = self._scored(run, self._epoch(run, standing, screen))
                standing.history.append(log)
                standing.epoch = log.epoch
                _keep_best(standing, log, model, run.monitor)
                waited = log.epoch - standing.best_epoch
                out_of_patience = config.patience is not None and waited >= config.patience
                standing.done = log.epoch >= run.epochs or out_of_patience
                if run.together.first:
                    self._save(run, standing)
                    self._report(log, run)
                    if screen.visible:
                        better = first_better(model)
                        task, epochs = model.task_name, run.epochs
                        screen.show(slice_table(log, self.slices, task, epochs, better=better))
                    if curves is not None:
                        curves.write(log)
        if standing.best_weights:
            model.load_state_dict(standing.best_weights)
        self.best_epoch = standing.best_epoch or None

    def _prepared(self, model: SlicingClassifier, dataloaders: Sequence[DictDataLoader]) -> _Run:
        """Seed, and check all that can be checked before the first step."""
        config, together = self.config, processes()
        check_is("model", model, SlicingClassifier)
        check_loaders(dataloaders)
        train, valid = self._by_split(dataloaders)
        _check_rows(train)
        _check_places(config)
        seed = config.seed
        if seed is None and together.size > 1:  # all must shuffle alike
            seed = int(together.of_first(torch.randint(2**31, (), device=model.device)))
        if seed is not None:
            set_seed(seed)
        drawn = state.random_state(train)
        for loader in (*train, *valid):
            check_features(loader.dataset)
        model.to(_device(config.device, model))
        model.dry_run(train[0].dataset)
        self.slices = count_rows(model, train, valid)
        for loaders, name in ((train, model.row_weights), (valid, config.metric_weights)):
            for loader in loaders if name is not None else ():
                if name not in loader.dataset.X_dict:
                    raise RowWeightsMissingError(str(name), list(loader.dataset.X_dict))
        monitor = None
        if config.monitor is not None:
            monitor = find_monitor(config.monitor, model, valid, self.slices)
        for sentence in empty_slices(self.slices) if together.first else ():
            _log.warning("%s: slices with %s", self.name, sentence)
        if together.first and (problem := _unlearnable(train, model.task_name)):
            _log.warning("%s: %s", self.name, problem)
        for tensor in model.state_dict().values():
            together.of_first(tensor)

        steps_per_epoch = sum(len(loader) for loader in train)
        steps = config.n_steps or config.n_epochs * steps_per_epoch
        epochs = math.ceil(steps / steps_per_epoch) if steps_per_epoch else config.n_epochs
        trained = [p for p in model.parameters() if p.requires_grad]
        return _Run(
            model=model,
            optimizer=OPTIMIZERS[config.optimizer](trained, config.lr, config.l2),
            trained=trained,
            train=train,
            valid=valid,
            monitor=monitor,
            steps=steps,
            epochs=epochs,
            together=together,
            random=drawn,
            setup={} if config.folder is None else self._setup(model, train, valid),
            normalises=any(isinstance(m, _BatchNorm) for m in model.modules()),
        )

    def _epoch(self, run: _Run, standing: Standing, screen: Screen) -> EpochLog:
        """Train one epoch, or what is left of the steps."""
        config, model, together = self.config, run.model, run.together
        factor = lr_factor(config, run.steps)
        autocast = _autocast(config.precision, model.device)
        # By position: a GPU would have to count what a mask selects, and the host to wait.
        held = [
            (p, at, p.detach()[at].clone())
            for p, rows in model.held_weights()
            for (at,) in [rows.nonzero(as_tuple=True)]
        ]
        over_processes = together.sum if together.size > 1 else None
        start, before, rows, total, lr = time.perf_counter(), standing.step, 0, 0.0, 0.0
        sums, counts = torch.zeros(2, len(model.label_names), dtype=torch.float64)

        model.train()
        for loader, batch in _mixed(run.train):
            if standing.step == run.steps:
                break
            standing.step += 1
            screen.advance(1)
            n = len(next(iter(batch[1].values())))
            # A batch of one row has no variance to be normalised by; its rows have other epochs.
            if run.normalises and n < _TWO * together.size:
                continue
            rows += n
            with together.own_randomness(standing.step), autocast:
                tasks = model.loss(*together.share(batch), over_processes)
            shares = together.sum(torch.cat([tasks.total[None], tasks.losses]).detach())
            figures = _on_host(torch.cat([shares, tasks.counts.to(shares)]))

            for p in run.trained:
                p.grad = None
            torch.autograd.backward(tasks.total)

            # Only now, so that a GPU has the backward pass to do while the host looks.
            read = figures().double()
            losses, active = read[: 1 + len(sums)], read[1 + len(sums) :]
            # Without a label there is nothing to learn, but momentum would still move.
            if not active.any():
                continue
            if not losses[0].isfinite():
                raise self._not_a_number(run, standing, losses[1:], loader, batch[1])
            together.sum_gradients(run.trained)
            if config.grad_clip:
                _clip(run.trained, config.grad_clip)
            lr = config.lr * factor(standing.updates)
            for group in run.optimizer.param_groups:
                group["lr"] = lr
            run.optimizer.step()
            standing.updates += 1
            with torch.no_grad():
                for p, at, values in held:
                    p.index_copy_(0, at, values)

            total += float(losses[0])
            sums += losses[1:] * active
            counts += active

        seconds = time.perf_counter() - start
        means = zip(model.label_names, (sums / counts).tolist(), strict=True)
        return EpochLog(
            epoch=standing.epoch + 1,
            step=standing.step,
            seconds=seconds,
            rows_per_second=rows / seconds,
            lr=lr,
            loss=total / max(standing.step - before, 1),
            task_losses={name: mean for name, mean in means if not math.isnan(mean)},
            metrics={},
        )

    def _not_a_number(
        self, run: _Run, standing: Standing, losses: Tensor, loader: DictDataLoader, labels: Labels
    ) -> NotANumberLossError:
        finite = zip(run.model.label_names, losses.isfinite().tolist(), strict=True)
        rows = None
        if isinstance(labels, SliceLabels) and labels.rows is not None:
            rows = loader.dataset.called(labels.rows.tolist())
        kept = self.config.folder if standing.epoch else None
        wrong = [name for name, is_finite in finite if not is_finite]
        return NotANumberLossError(standing.step, wrong, rows, kept)

    def _scored(self, run: _Run, log: EpochLog) -> EpochLog:
        """Add the valid split's metrics; all processes hear the monitor's value from the first."""
        metrics: dict[str, float] = {}
        if run.together.first:
            with torch.random.fork_rng(devices=[]):  # a valid split changes no shuffle
                scored = run.model.score_slices(run.valid, row_weights=self.config.metric_weights)
                metrics = cast("dict[str, float]", scored)
        if run.monitor is None:
            return replace(log, metrics=metrics)
        value = run.monitor.value(metrics) if run.together.first else 0.0
        told = torch.tensor(value, dtype=torch.float64, device=run.model.device)
        return replace(log, metrics=metrics, monitored=run.together.of_first(told).item())

    def _resumed(self, run: _Run) -> Standing:
        """Put everything back to where the state in ``folder`` says, if there is one."""
        standing, config = Standing(random=run.random), self.config
        if config.folder is None:
            return standing
        folder = Path(config.folder)
        if config.resume and (folder / state.STATE).exists():
            tensors, facts = state.read(folder / state.STATE)
            then, now = facts["setup"], run.setup
            differ = [key for key in now if then.get(key) != now[key]]
            if differ:
                raise ResumeError(folder, [(key, then.get(key), now[key]) for key in differ])
            run.model.load_state_dict(state.under("model", tensors))
            state.restore_optimizer(run.optimizer, state.under("optimizer", tensors))
            standing = Standing(
                **facts["standing"],
                random=(state.under("random", tensors), facts["random"]),
                history=[EpochLog(**epoch) for epoch in facts["history"]],
            )
            if standing.best_epoch:
                standing.best_weights, _ = state.read(_best(folder, standing.best_epoch))
            _log.info("%s: goes on after epoch %d", self.name, standing.epoch)
        told = torch.tensor(standing.epoch, device=run.model.device)
        if (epoch := int(run.together.of_first(told))) != standing.epoch:
            raise SharedFolderError(folder, run.together.rank, standing.epoch, epoch)
        return standing

    def _save(self, run: _Run, standing: Standing) -> None:
        """Write the state of training; the best weights first, since the state names their file."""
        if self.config.folder is None:
            return
        folder = Path(self.config.folder)
        best = _best(folder, standing.best_epoch)
        if standing.best_epoch == standing.epoch:
            state.write(best, standing.best_weights, {"epoch": standing.epoch})
        random_tensors, random_facts = state.random_state(run.train)
        parts: dict[str, state.Tensors] = {
            "model": run.model.state_dict(),
            "optimizer": state.optimizer_tensors(run.optimizer),
            "random": random_tensors,
        }
        named = {f"{part}/{n}": tensor for part, of in parts.items() for n, tensor in of.items()}
        facts = {
            "setup": run.setup,
            "random": random_facts,
            "history": [asdict(epoch) for epoch in standing.history],
            "standing": {name: getattr(standing, name) for name in _STANDING},
        }
        state.write(folder / state.STATE, named, facts)
        for old in folder.glob("best-*.safetensors"):
            if old != best:
                old.unlink()

    def _setup(
        self,
        model: SlicingClassifier,
        train: Sequence[DictDataLoader],
        valid: Sequence[DictDataLoader],
    ) -> dict[str, Any]:
        """Describe what must be the same for two runs to be one, as JSON gives it back."""
        settings = {n: v for n, v in asdict(self.config).items() if n not in _CHANGEABLE}
        setup = settings | {name: getattr(model, name) for name in _MODEL_SETTINGS}
        setup |= {
            "slices": model.head_names,
            "trained": [name for name, p in model.named_parameters() if p.requires_grad],
            "weights": {name: list(w.shape) for name, w in model.state_dict().items()},
            "training rows": [state.fingerprint(d.dataset) for d in train],
            "validation rows": [state.fingerprint(d.dataset) for d in valid],
            "batches": [len(d) for d in train],
        }
        return cast("dict[str, Any]", json.loads(json.dumps(setup)))

    @contextmanager
    def _curves(
        self, standing: Standing, together: Processes
    ) -> Iterator[TensorBoardWriter | None]:
        if self.config.tensorboard is None or not together.first:
            yield None
            return
        curves = TensorBoardWriter(self.config.tensorboard, standing.step + 1)
        try:
            yield curves
        finally:
            curves.close()

    def _by_split(
        self, dataloaders: Sequence[DictDataLoader]
    ) -> tuple[list[DictDataLoader], list[DictDataLoader]]:
        splits = (self.config.train_split, self.config.valid_split, self.config.test_split)
        for loader in dataloaders:
            if loader.dataset.split not in splits:
                raise SplitError(loader.dataset.name, loader.dataset.split, splits)
        train, valid, _ = ([d for d in dataloaders if d.dataset.split == s] for s in splits)
        if not train:
            raise TrainSplitMissingError(
                self.config.train_split, sorted({d.dataset.split for d in dataloaders})
            )
        return train, valid

    def _report(self, epoch: EpochLog, run: _Run) -> None:
        _log.info(
            "%s: epoch %d of %d, loss %.4f%s, %.1f s, %.0f rows/s",
            *(self.name, epoch.epoch, run.epochs, epoch.loss),
            overall_figures(epoch, run.model.task_name),
            *(epoch.seconds, epoch.rows_per_second),
        )
        if self.config.log is not None:
            write_history(self.config.log, self.history)


def _check_rows(train: Sequence[DictDataLoader]) -> None:
    """See that there is a batch to learn from.

    Raises
    ------
    EmptyTrainingError
    """
    names = [loader.dataset.name for loader in train]
    if not any(len(loader) for loader in train):
        dropped = any(len(loader.dataset) for loader in train)
        few = (
            "it has fewer rows than a batch, and drop_last is set" if dropped else "it has no rows"
        )
        raise EmptyTrainingError(names, few)


def _unlearnable(train: Sequence[DictDataLoader], task: str) -> str | None:
    """Say that the labels of all rows leave nothing to tell apart; None where they don't."""
    found: set[int] = set()
    for loader in train:
        labels = loader.dataset.Y_dict
        found |= set(torch.unique(hard(labels[task])).tolist() if task in labels else ())
    classes = sorted(found - {INACTIVE})
    if not classes:
        return f"no training row has a label of {task!r}: its head learns nothing"
    if len(classes) == 1:
        return f"all training labels of {task!r} are {classes[0]}: there is nothing to tell apart"
    return None


def _check_places(config: TrainerConfig) -> None:
    """See that files can be written where they are to be, and make the folders.

    Raises
    ------
    TrainerSettingError
    """
    for name, of_file in (("log", True), ("folder", False), ("tensorboard", False)):
        value = getattr(config, name)
        if value is None:
            continue
        place = Path(value)
        if place.exists() and place.is_dir() is of_file:
            is_one = "which is a folder, and must be a file" if of_file else "which is a file"
            raise TrainerSettingError(name, place, f", {is_one}")
        try:
            (place.parent if of_file else place).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            end = f", which can't be made: {e.strerror}"
            raise TrainerSettingError(name, place, end) from e


def usable_cores() -> int:
    """Count the cores that this process may use, under its affinity and its container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.is_file():
        most, period = quota.read_text(encoding="ascii").split()
        if most != "max":
            cores = min(cores, math.ceil(int(most) / int(period)))
    return max(cores, 1)


def _best(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch:06d}.safetensors"


def _keep_best(
    standing: Standing, log: EpochLog, model: SlicingClassifier, monitor: Monitor | None
) -> None:
    best = standing.best_value if standing.best_epoch else None
    if monitor is not None and log.monitored is not None and monitor.beats(log.monitored, best):
        standing.best_epoch, standing.best_value = log.epoch, log.monitored
        weights = model.state_dict().items()
        standing.best_weights = {name: w.detach().cpu().clone() for name, w in weights}


def _clip(parameters: Sequence[torch.nn.Parameter], most: float) -> None:
    """Do what ``clip_grad_norm_`` does; on a CPU without the pass that mostly multiplies by 1."""
    if plain():
        torch.nn.utils.clip_grad_norm_(parameters, most)
        return
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm.is_cuda or norm > most:  # a GPU's norm is not looked at, which would be waiting for it
        torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)


def _on_host(values: Tensor) -> Callable[[], Tensor]:
    """Start to bring a tensor to the host; calling what this gives waits for it alone."""
    if not values.is_cuda:
        return lambda: values
    copy = values.to("cpu", non_blocking=True)
    here: Any = torch.cuda.current_stream(values.device).record_event()

    def wait() -> Tensor:
        here.synchronize()
        return copy

    return wait


def _device(choice: str, model: SlicingClassifier) -> torch.device:
    if choice == "auto":
        on_cpu = model.device.type == "cpu"
        return torch.device("cuda") if on_cpu and torch.cuda.is_available() else model.device
    check_device(choice)
    return torch.device(choice)


def check_device(choice: str) -> None:
    """See that torch has a device here.

    Raises
    ------
    TrainerSettingError
    """
    if choice == "auto":
        return
    try:
        torch.empty(0, device=choice)
    except (RuntimeError, AssertionError) as e:
        end = ", and torch has no such device here: use 'auto' or 'cpu'"
        raise TrainerSettingError("device", choice, end) from e


def _autocast(precision: str, device: torch.device) -> torch.autocast:
    on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
    enabled = precision == "bf16" or (precision == "auto" and on_gpu)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _work(run: _Run) -> int:
    """Tell about how much there is to do in a step: every weight once for every row."""
    weights = sum(p.numel() for p in run.model.parameters())
    return weights * max(loader.batch_size or 1 for loader in run.train)


@contextmanager
def _threads(wanted: int | None, work: int) -> Iterator[None]:
    """Train on so many CPU threads; the cores are shared with the processes on this machine."""
    before = torch.get_num_threads()
    share = max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    most = share if work >= _WORTH_SHARING else 1
    torch.set_num_threads(wanted or min(before, most))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _mixed(loaders: Sequence[DictDataLoader]) -> Iterator[tuple[DictDataLoader, Batch]]:
    """Give the batches of several loaders in a random order of loaders."""
    order = [i for i, loader in enumerate(loaders) for _ in range(len(loader))]
    random.shuffle(order)
    batches = [iter(loader) for loader in loaders]
    for i in order:
        yield loaders[i], next(batches[i])


@dataclass(frozen=True)
class Screen:
    """What a terminal shows while training.

    Parameters
    ----------
    visible
        Whether there is one.
    advance
        Counts steps on the bar.
    show
        Prints above the bar.
    """

    visible: bool
    advance: Callable[[int], None]
    show: Callable[[RenderableType], None]


@contextmanager
def _screen(config: TrainerConfig, steps: int) -> Iterator[Screen]:
    """Show a bar of the steps and a table per epoch on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    hidden = not (config.progress_bar and console.is_terminal)
    with Progress(*columns, console=console, disable=hidden) as progress:
        bar = progress.add_task("training", total=steps)
        advance = partial(progress.advance, bar)
        yield Screen(not hidden, (lambda _: None) if hidden else advance, progress.console.print)
