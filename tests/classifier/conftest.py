from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from engine.classifier.data.dataset import DictDataset
from engine.classifier.model import SlicingClassifier


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def on_the_cpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promises to the last bit are a CPU's; what is the same on a GPU is in test_gpu."""
    if not request.node.path.stem.startswith("test_gpu"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def make() -> Callable[..., SimpleNamespace]:
    """Rows, masks, a model and a loader of them; what a test cares about is an argument."""

    def build(
        slices: tuple[str, ...] = ("short", "link"),
        *,
        n: int = 40,
        width: int = 6,
        n_classes: int = 2,
        split: str = "train",
        seed: int = 0,
        **loader: object,
    ) -> SimpleNamespace:
        torch.manual_seed(seed)
        X, Y = torch.randn(n, width), torch.arange(n) % n_classes
        rng = np.random.default_rng(seed)
        S = np.rec.fromarrays([rng.integers(0, 2, n) for _ in slices], names=list(slices))
        base = nn.Sequential(nn.Linear(width, 5), nn.ReLU())
        model = SlicingClassifier(base, 5, slices, n_classes=n_classes)
        data = DictDataset.from_tensors(X, Y, split)
        batches = model.make_slice_dataloader(data, S, **({"batch_size": 16} | loader))
        return SimpleNamespace(X=X, Y=Y, S=S, model=model, data=data, loader=batches)

    return build
