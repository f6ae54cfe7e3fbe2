"""Training: a loop that reads from top to bottom."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, Adam, Adamax, AdamW, Optimizer

from engine.classifier import hardware, preconditions, resume
from engine.classifier.data.dataset import Batch, DictDataLoader, check_loaders
from engine.classifier.data.labels import Labels, SliceLabels
from engine.classifier.hardware import Processes, processes
from engine.classifier.model import SlicingClassifier
from engine.classifier.monitor import (
    EpochLog,
    Monitor,
    Screen,
    SliceRows,
    TensorBoardWriter,
    count_rows,
    empty_slices,
    find_monitor,
    first_better,
    overall_figures,
    screen,
    slice_table,
    write_history,
)
from engine.classifier.rules import check_is
from engine.classifier.settings import SEED, TrainerConfig, lr_factor, trainer_setting
from engine.errors import SettingError, TrainingError, listed, near
from engine.plain import plain

Parameters = Iterable[torch.nn.Parameter]

# (parameters, learning rate, weight decay) -> optimizer. The fused ones do a step in one pass
# over the weights: 51 ms for 90 M of them on two cores, where the loop takes 364 and foreach 650.
OPTIMIZERS: Mapping[str, Callable[[Parameters, float, float], Optimizer]] = {
    "sgd": lambda p, lr, l2: SGD(p, lr=lr, weight_decay=l2, momentum=0.9, fused=not plain()),
    "adam": lambda p, lr, l2: Adam(p, lr=lr, weight_decay=l2, fused=not plain()),
    "adamax": lambda p, lr, l2: Adamax(p, lr=lr, weight_decay=l2),
    "adamw": lambda p, lr, l2: AdamW(p, lr=lr, weight_decay=l2, fused=not plain()),
}

_log = logging.getLogger(__name__)

_PAIR = 2  # rows of a batch that can be normalised, in each process


def set_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators.

    >>> set_seed(111)
    >>> first = torch.rand(3)
    >>> set_seed(111)
    >>> bool((torch.rand(3) == first).all())
    True

    Raises
    ------
    SettingError
        If it is no whole number from 0 to 2^32 - 1.
    """
    if end := SEED.broken(seed):
        raise trainer_setting("seed", seed, end)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


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
    random: resume.RandomState
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
    SettingError
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
                raise SettingError(f"Trainer has no setting {setting!r}{near(setting, known)}")
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
        DatasetError
            When a loader's split is not known, or none is the train split.
        SettingError, DatasetError
            When the model can't read the rows, or a feature is NaN; before anything is trained.
        SettingError
            When there is nothing to compute the monitor on.
        CheckpointError
            When ``folder`` holds the state of another training.
        TrainingError
            When a loss is not finite; the weights are then those of the step before.
        """
        config = self.config
        run = self._prepared(model, dataloaders)
        standing = self._resumed(run)
        self.history = standing.history
        weights = sum(p.numel() for p in model.parameters())
        work = weights * max(loader.batch_size or 1 for loader in run.train)
        curves = None
        if config.tensorboard is not None and run.together.first:
            curves = TensorBoardWriter(config.tensorboard, standing.step + 1)

        with (
            hardware.threads(config.threads, work),
            screen(config, run.steps) as shown,
            nullcontext() if curves is None else closing(curves),
        ):
            shown.advance(standing.step)
            # An import on the way here may have drawn numbers: rich does, the first time.
            resume.restore_random_state(run.train, *standing.random)
            while not standing.done:
                log = self._scored(run, self._epoch(run, standing, shown))
                standing.add(log, model, run.monitor)
                waited = log.epoch - standing.best_epoch
                standing.done = log.epoch >= run.epochs or waited >= (config.patience or math.inf)
                if run.together.first:
                    self._save(run, standing)
                    self._report(log, run, shown)
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
        train, valid = preconditions.by_split(dataloaders, config)
        preconditions.check_rows(train)
        preconditions.check_places(config)
        seed = config.seed
        if seed is None and together.size > 1:  # all must shuffle alike
            seed = int(together.of_first(torch.randint(2**31, (), device=model.device)))
        if seed is not None:
            set_seed(seed)
        drawn = resume.random_state(train)
        for loader in (*train, *valid):
            preconditions.check_features(loader.dataset)
        model.to(hardware.device_of(config.device, model.device))
        model.dry_run(train[0].dataset)
        self.slices = count_rows(model, train, valid)
        preconditions.check_row_weights(train, model.row_weights)
        preconditions.check_row_weights(valid, config.metric_weights)
        monitor = config.monitor and find_monitor(config.monitor, model, valid, self.slices)
        if together.first:
            for sentence in empty_slices(self.slices):
                _log.warning("%s: slices with %s", self.name, sentence)
            if problem := preconditions.unlearnable(train, model.task_name):
                _log.warning("%s: %s", self.name, problem)
        for tensor in model.state_dict().values():
            together.of_first(tensor)

        steps_per_epoch = sum(len(loader) for loader in train)
        steps = config.n_steps or config.n_epochs * steps_per_epoch
        trained = [p for p in model.parameters() if p.requires_grad]
        return _Run(
            model=model,
            optimizer=OPTIMIZERS[config.optimizer](trained, config.lr, config.l2),
            trained=trained,
            train=train,
            valid=valid,
            monitor=monitor or None,
            steps=steps,
            epochs=math.ceil(steps / steps_per_epoch),
            together=together,
            random=drawn,
            setup={} if config.folder is None else resume.setup_of(config, model, train, valid),
            normalises=any(isinstance(m, _BatchNorm) for m in model.modules()),
        )

    def _epoch(self, run: _Run, standing: resume.Standing, shown: Screen) -> EpochLog:
        """Train one epoch, or what is left of the steps."""
        config, model, together = self.config, run.model, run.together
        factor = lr_factor(config, run.steps)
        autocast = hardware.autocast(config.precision, model.device)
        # By position: a GPU would have to count what a mask selects, and the host to wait.
        frozen = [
            (p, at, p.detach()[at].clone())
            for p, mask in model.frozen_weights()
            for (at,) in [mask.nonzero(as_tuple=True)]
        ]
        over_processes = together.sum if together.size > 1 else None
        start, before, rows, total, lr = time.perf_counter(), standing.step, 0, 0.0, 0.0
        sums, counts = torch.zeros(2, len(model.label_names), dtype=torch.float64)

        model.train()
        for loader, batch in _mixed(run.train):
            if standing.step == run.steps:
                break
            standing.step += 1
            shown.advance(1)
            n = len(next(iter(batch[1].values())))
            # A batch of one row has no variance to be normalised by; its rows have other epochs.
            if run.normalises and n < _PAIR * together.size:
                continue
            rows += n
            with together.own_randomness(standing.step), autocast:
                tasks = model.loss(*together.share(batch), over_processes)
            shares = together.sum(torch.cat([tasks.total[None], tasks.losses]).detach())  # [1 + T]
            figures = hardware.on_host(torch.cat([shares, tasks.counts.to(shares)]))  # [1 + 2T]

            for p in run.trained:
                p.grad = None
            torch.autograd.backward(tasks.total)

            # Only now, so that a GPU computes the backward pass while the host looks.
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
                for p, at, values in frozen:
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
        self,
        run: _Run,
        standing: resume.Standing,
        losses: Tensor,
        loader: DictDataLoader,
        labels: Labels,
    ) -> TrainingError:
        finite = zip(run.model.label_names, losses.isfinite().tolist(), strict=True)
        wrong = [name for name, is_finite in finite if not is_finite]
        batch, last = "", "the weights are those of the step before"
        if isinstance(labels, SliceLabels) and labels.rows is not None:
            batch = f" on the batch {listed(loader.dataset.called(labels.rows.tolist()), 8)}"
        if self.config.folder and standing.epoch:
            last = f"the last good state is kept in {str(self.config.folder)!r}"
        return TrainingError(
            f"the loss of {listed(wrong, 5)} is not finite at step {standing.step}{batch}; {last}: "
            "lower lr, set grad_clip, or check these rows"
        )

    def _scored(self, run: _Run, log: EpochLog) -> EpochLog:
        """Add the valid split's metrics; the first process gives its monitor's value to all."""
        metrics: dict[str, float] = {}
        if run.together.first:
            with torch.random.fork_rng(devices=[]):  # a valid split changes no shuffle
                scores = run.model.score_slices(run.valid, row_weights=self.config.metric_weights)
                metrics = cast("dict[str, float]", scores)
        if run.monitor is None:
            return replace(log, metrics=metrics)
        value = run.monitor.value(metrics) if run.together.first else 0.0
        monitored = torch.tensor(value, dtype=torch.float64, device=run.model.device)
        return replace(log, metrics=metrics, monitored=run.together.of_first(monitored).item())

    def _resumed(self, run: _Run) -> resume.Standing:
        """Put everything back to where the state in ``folder`` is, if there is one."""
        standing, config = resume.Standing(random=run.random), self.config
        if config.folder is None:
            return standing
        folder = Path(config.folder)
        if config.resume and (
            before := resume.restore(folder, run.setup, run.model, run.optimizer)
        ):
            standing = before
            _log.info("%s: goes on after epoch %d", self.name, standing.epoch)
        own = torch.tensor(standing.epoch, device=run.model.device)
        if (epoch := int(run.together.of_first(own))) != standing.epoch:
            raise not_shared(folder, run.together.rank, standing.epoch, epoch)
        return standing

    def _save(self, run: _Run, standing: resume.Standing) -> None:
        if self.config.folder is not None:
            folder = Path(self.config.folder)
            resume.save(folder, standing, run.setup, run.model, run.optimizer, run.train)

    def _report(self, epoch: EpochLog, run: _Run, shown: Screen) -> None:
        task = run.model.task_name
        _log.info(
            "%s: epoch %d of %d, loss %.4f%s, %.1f s, %.0f rows/s",
            *(self.name, epoch.epoch, run.epochs, epoch.loss),
            overall_figures(epoch, task),
            *(epoch.seconds, epoch.rows_per_second),
        )
        if self.config.log is not None:
            write_history(self.config.log, self.history)
        if shown.visible:
            better = first_better(run.model)
            shown.show(slice_table(epoch, self.slices, task, run.epochs, better=better))


def not_shared(folder: object, rank: int, epoch: int, first: int) -> TrainingError:
    """Return the error of processes that train together and find different states."""
    return TrainingError(
        f"process {rank} finds training in {str(folder)!r} at epoch {epoch}, and process 0 at "
        f"epoch {first}: the folder must be on storage that all processes share"
    )


def _clip(parameters: Sequence[torch.nn.Parameter], most: float) -> None:
    """Do what ``clip_grad_norm_`` does; on a CPU without the pass that mostly multiplies by 1."""
    if plain():
        torch.nn.utils.clip_grad_norm_(parameters, most)
        return
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm.is_cuda or norm > most:  # a GPU's norm is not looked at, which would be waiting for it
        torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)


def _mixed(loaders: Sequence[DictDataLoader]) -> Iterator[tuple[DictDataLoader, Batch]]:
    """Give the batches of several loaders in a random order of loaders."""
    order = [i for i, loader in enumerate(loaders) for _ in range(len(loader))]
    random.shuffle(order)
    batches = [iter(loader) for loader in loaders]
    for i in order:
        yield loaders[i], next(batches[i])
