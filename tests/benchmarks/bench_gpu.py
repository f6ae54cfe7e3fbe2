"""Training on a GPU against the CPU of the same machine; it needs a GPU.

  python -m tests.benchmarks.bench_gpu

Rows per second are those of the quickest of 3 epochs, loading included. *Busy* is the share of a
step in which the GPU computes: where it is low, launching its kernels takes longer than they do.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from engine.classifier.data.dataset import DictDataLoader, DictDataset
from engine.classifier.model import SlicingClassifier
from engine.classifier.train import Trainer, set_seed

EPOCHS, STEPS = 3, 64


@dataclass(frozen=True)
class Case:
    name: str
    slices: int
    batch: int
    width: int = 64
    layers: int = 1
    precision: str = "float32"


CASES = (
    *(Case("small base", slices, batch) for batch in (64, 1024) for slices in (50, 200, 1000)),
    *(Case("large base", 50, 1024, 2048, 6, precision) for precision in ("float32", "bf16")),
)


def made(case: Case) -> tuple[SlicingClassifier, DictDataLoader]:
    """Rows of noise with overlapping slices, each a tenth of them."""
    set_seed(0)
    rng = np.random.default_rng(case.slices)
    n, names = case.batch * STEPS, [f"s{i:04d}" for i in range(case.slices)]
    steps = [nn.Linear(64, case.width), nn.ReLU()]
    for _ in range(case.layers - 1):
        steps += [nn.Linear(case.width, case.width), nn.ReLU()]
    base = nn.Sequential(*steps, nn.Linear(case.width, 64), nn.ReLU())
    model = SlicingClassifier(base, 64, names)
    X = torch.from_numpy(rng.normal(size=(n, 64)).astype(np.float32))
    data = DictDataset.from_tensors(X, torch.from_numpy(rng.integers(0, 2, n)), "train")
    masks = rng.random((case.slices, n), dtype=np.float32) < 0.1
    S = np.rec.fromarrays(list(masks.astype(np.int8)), names=names)
    return model, model.make_slice_dataloader(data, S, batch_size=case.batch, shuffle=True)


def rows_per_second(case: Case, device: str, **settings: object) -> tuple[float, float]:
    """Of the quickest epoch; and the last epoch's loss."""
    model, loader = made(case)
    trainer = Trainer(device=device, lr=1e-3, seed=1, progress_bar=False, **settings)
    trainer.fit(model, [loader])
    return max(e.rows_per_second for e in trainer.history), trainer.history[-1].loss


def looked_into(case: Case) -> tuple[float, float, float, float]:
    """Milliseconds, the GPU's own, kernels and waits of a step; a short run less a shorter one."""
    found = []
    for n in (4, 24):
        model, loader = made(case)
        settings = {"device": "cuda", "precision": case.precision, "progress_bar": False}
        trainer = Trainer(n_steps=n, **settings)
        with profile(activities=[ProfilerActivity.CUDA]) as profiled:
            trainer.fit(model, [loader])
            torch.cuda.synchronize()
        events = [e for e in profiled.events() if e.device_type == torch.autograd.DeviceType.CUDA]
        busy = sum(e.time_range.elapsed_us() for e in events) / 1000
        model, loader = made(case)
        model.to("cuda")
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            start = time.perf_counter()
            trainer.fit(model, [loader])
            torch.cuda.set_sync_debug_mode("default")
            torch.cuda.synchronize()
        waits = sum("synchronizing" in str(w.message) for w in caught)
        found.append((1000 * (time.perf_counter() - start), busy, len(events), waits))
    few, many = found
    return tuple((b - a) / 20 for a, b in zip(few, many, strict=True))  # type: ignore[return-value]


def main() -> None:
    print(torch.cuda.get_device_name(), "torch", torch.__version__, flush=True)
    heads = "slices batch precision  CPU rows/s  GPU rows/s  ratio  busy  kernels  waits"
    print(f"{'base':10} {heads}")
    rows_per_second(CASES[0], "cuda")
    for case in CASES:
        slow = case.layers > 1 or case.slices * case.batch > 500_000
        cpu = {"n_steps": 8} if slow else {"n_epochs": EPOCHS}
        on_cpu, _ = rows_per_second(case, "cpu", **cpu)
        on_gpu, _ = rows_per_second(case, "cuda", n_epochs=EPOCHS, precision=case.precision)
        ms, busy, kernels, waits = looked_into(case)
        print(
            f"{case.name:10} {case.slices:6} {case.batch:5} {case.precision:9} {on_cpu:11,.0f} "
            f"{on_gpu:11,.0f} {on_gpu / on_cpu:6.1f} {busy / ms:5.0%} {kernels:8.0f} {waits:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
