"""Where training computes: cores, threads, device and precision."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
