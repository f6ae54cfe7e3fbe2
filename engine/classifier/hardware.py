"""Where training computes: cores, threads, device and precision, and the processes of one model.

Each process trains on its share of every batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.classifier.data.dataset import Batch
from engine.classifier.data.labels import take
from engine.classifier.settings import trainer_setting

# Weights times rows of a batch, from which on more threads help. At 14 million two cores take as
# long as one and at 54 million nine tenths; on a busy machine threads wait for each other besides.
_WORTH_SHARING = 2**24


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


@contextmanager
def threads(wanted: int | None, work: int) -> Iterator[None]:
    """Compute on some CPU threads; processes on one machine share its cores."""
    before = torch.get_num_threads()
    share = max(1, usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    most = share if work >= _WORTH_SHARING else 1
    torch.set_num_threads(wanted or min(before, most))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_of(choice: str, now: torch.device) -> torch.device:
    """Return the device to train on, of a model that is on a device now.

    Raises
    ------
    SettingError
    """
    if choice == "auto":
        return torch.device("cuda") if now.type == "cpu" and torch.cuda.is_available() else now
    check_device(choice)
    return torch.device(choice)


def check_device(choice: str) -> None:
    """Check that torch has a device here.

    Raises
    ------
    SettingError
    """
    if choice == "auto":
        return
    try:
        torch.empty(0, device=choice)
    except (RuntimeError, AssertionError) as e:
        end = ", and torch has no such device here: use 'auto' or 'cpu'"
        raise trainer_setting("device", choice, end) from e


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Compute in bf16 where a precision of ``TrainerConfig`` says so."""
    on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
    enabled = precision == "bf16" or (precision == "auto" and on_gpu)
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def on_host(values: Tensor) -> Callable[[], Tensor]:
    """Start to copy a tensor to the host; calling the result waits for this copy alone."""
    if not values.is_cuda:
        return lambda: values
    copy = values.to("cpu", non_blocking=True)
    here: Any = torch.cuda.current_stream(values.device).record_event()

    def wait() -> Tensor:
        here.synchronize()
        return copy

    return wait


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
