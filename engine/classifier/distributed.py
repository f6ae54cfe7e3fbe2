"""Several processes that train one model, each on its share of every batch.

pyspark's ``TorchDistributor`` starts the processes and runs ``train_together`` in each; what is
here knows torch alone. The task losses' denominators are summed over the processes before
dividing, and gradients are summed, so that the processes take the step that one process would
take on the whole batch. (A base with batch normalisation sees its share only, and dropout draws
other units.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.classifier.data import Batch, take

if TYPE_CHECKING:
    from engine.classifier.data import DictDataLoader
    from engine.classifier.model import SlicingClassifier
    from engine.classifier.monitor import SliceRows
    from engine.classifier.train import EpochLog, Trainer


@dataclass(frozen=True)
class Processes:
    """One process among those that train together; by default it is alone.

    Parameters
    ----------
    rank
        Which one this is, from 0.
    size
        How many there are.

    Examples
    --------
    >>> Processes(rank=1, size=2).share(({"x": torch.arange(5)}, {"task": torch.arange(5)}))
    ({'x': tensor([1, 3])}, {'task': tensor([1, 3])})
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that scores, writes and reports."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def of_first(self, values: Tensor) -> Tensor:
        """Give every process what the first one has, in place."""
        if self.size > 1:
            dist.broadcast(values, 0)
        return values

    def share(self, batch: Batch) -> Batch:
        """Take this process's rows of a batch: every ``size``-th, from ``rank`` on."""
        if self.size == 1:
            return batch
        X_dict, Y_dict = batch  # noqa: N806 - as everywhere
        rows = torch.arange(self.rank, len(next(iter(Y_dict.values()))), self.size)
        return {key: _part(values, rows) for key, values in X_dict.items()}, take(Y_dict, rows)

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum gradients over all processes; they are few and large, since heads are stacked."""
        if self.size == 1:
            return
        waiting = []
        for p in parameters:
            # Every process must take part, also one whose rows gave this weight no gradient.
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad.contiguous()
            waiting.append(dist.all_reduce(p.grad, async_op=True))
        for work in filter(None, waiting):
            work.wait()

    @contextmanager
    def own_randomness(self, step: int) -> Iterator[None]:
        """Let processes draw different dropout, but the same shuffles afterwards."""
        if self.size == 1:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch.initial_seed() + step * self.size + self.rank)
            yield


def processes() -> Processes:
    """Say which process this is, of those that ``torch.distributed`` connects."""
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return Processes()


@dataclass(frozen=True)
class Trained:
    """What training in processes gives back.

    Parameters
    ----------
    weights
        The model's ``state_dict`` as arrays.
    history
        The trainer's.
    best_epoch
        The trainer's: the epoch whose weights these are, None without a monitor.
    slices
        The trainer's: each slice's rows and status.
    """

    weights: dict[str, np.ndarray[Any, Any]]
    history: list[EpochLog]
    best_epoch: int | None
    slices: list[SliceRows]

    def into(self, model: SlicingClassifier) -> None:
        """Put the weights into a model of the same architecture."""
        model.load_state_dict({name: torch.from_numpy(w) for name, w in self.weights.items()})


Make = Callable[[], "tuple[SlicingClassifier, Sequence[DictDataLoader], Trainer]"]


def train_together(make: Make) -> Trained:
    """Train in the processes that torchrun or ``TorchDistributor`` started.

    A job runs ``TorchDistributor(num_processes=2, local_mode=True, use_gpu=False)
    .run(train_together, make)`` and gets what the first process returns.

    Parameters
    ----------
    make
        Gives the model, the loaders and the trainer; called in each process, it must give the
        same ones in all of them. Batch sizes are those of the whole batch. It is pickled, so it
        should read its rows from files.

    Returns
    -------
    Trained
        The trained weights and the history of epochs.
    """
    model, loaders, trainer = make()
    gpu = trainer.config.device != "cpu" and torch.cuda.is_available()
    if gpu:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
        model.to(device)
    # nccl refuses two processes on one GPU, which then share it by way of gloo.
    alone = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count()
    dist.init_process_group("nccl" if gpu and alone else "gloo")
    try:
        trainer.fit(model, loaders)
    finally:
        dist.destroy_process_group()
    weights = {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
    return Trained(weights, trainer.history, trainer.best_epoch, trainer.slices)


def _part(values: Any, rows: Tensor) -> Any:
    if isinstance(values, Tensor):
        return values[rows.to(values.device)]
    return [values[row] for row in rows.tolist()]
