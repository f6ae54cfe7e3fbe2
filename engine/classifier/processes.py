"""The processes that train one model, each on its share of every batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.classifier.data.dataset import Batch
from engine.classifier.data.labels import take


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
    """Return which process this is, of those that ``torch.distributed`` connects."""
    if dist.is_available() and dist.is_initialized():
        return Processes(dist.get_rank(), dist.get_world_size())
    return Processes()


def _part(values: Any, rows: Tensor) -> Any:
    if isinstance(values, Tensor):
        return values[rows.to(values.device)]
    return [values[row] for row in rows.tolist()]
