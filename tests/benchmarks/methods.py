"""Ways to train for slices: one base, one budget, and what each does with the masks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import BatchSampler, RandomSampler, Sampler, WeightedRandomSampler

from engine import DictDataset, SlicingClassifier, Trainer, set_seed
from engine.classifier.bases import Base, build_base
from engine.project.training import oversampling_weights
from tests.benchmarks.planted import Rows

GRAD_CLIP = 1.0


@dataclass(frozen=True)
class Budget:
    """What every method gets: the base (0 layers is one linear map), and how long to train it."""

    layers: int
    width: int
    n_epochs: int
    batch_size: int
    lr: float


@dataclass(frozen=True)
class Trained:
    """A function from features to predicted classes, and what it cost."""

    predict: Callable[[Tensor], np.ndarray]
    seconds: float
    parameters: int


Method = Callable[[Rows, Budget, int], Trained]


def baseline(rows: Rows, budget: Budget, seed: int) -> Trained:
    """Cross entropy over all rows alike."""
    return _shared(rows, budget, seed, RandomSampler(rows.y), torch.ones(len(rows.y)))


def oversampling(rows: Rows, budget: Budget, seed: int) -> Trained:
    """As many rows an epoch, drawn with replacement so that every slice comes equally often."""
    weights = _slice_weights(rows.S)
    sampler = WeightedRandomSampler(weights.tolist(), len(weights))
    return _shared(rows, budget, seed, sampler, torch.ones(len(weights)))


def reweighting(rows: Rows, budget: Budget, seed: int) -> Trained:
    """Every row once an epoch, its loss multiplied so that every slice counts the same."""
    return _shared(rows, budget, seed, RandomSampler(rows.y), _slice_weights(rows.S))


def slice_aware(rows: Rows, budget: Budget, seed: int, attention: str = "snorkel") -> Trained:
    """A SlicingClassifier with its default settings."""
    base = _base(rows, budget, seed)
    names = rows.S.dtype.names
    model = SlicingClassifier(base.module, base.width, names, attention=attention)
    data = DictDataset.from_tensors(rows.X, rows.y, "train")
    loader = model.make_slice_dataloader(data, rows.S, batch_size=budget.batch_size, shuffle=True)
    trainer = Trainer(
        n_epochs=budget.n_epochs,
        lr=budget.lr,
        optimizer="adam",
        lr_scheduler="constant",
        grad_clip=GRAD_CLIP,
        seed=seed,
        progress_bar=False,
    )
    start = time.perf_counter()
    trainer.fit(model, [loader])
    seconds = time.perf_counter() - start
    return Trained(
        lambda X: model.predict_proba({"input_data": X}).argmax(axis=1), seconds, _size(model)
    )


def paper_attention(rows: Rows, budget: Budget, seed: int) -> Trained:
    """A SlicingClassifier that weighs its experts as the paper has it, not as Snorkel does."""
    return slice_aware(rows, budget, seed, attention="paper")


def wrong_masks(rows: Rows, budget: Budget, seed: int) -> Trained:
    """A control: the same SlicingClassifier, its masks dealt to other rows at random.

    It has the same weights and the same tasks, but what it is told about slices is noise: what it
    gains it gains from its size.
    """
    order = np.random.default_rng(seed).permutation(len(rows.S))
    return slice_aware(Rows(rows.X, rows.y, rows.S[order]), budget, seed)


METHODS: dict[str, Method] = {
    "baseline": baseline,
    "oversampling": oversampling,
    "reweighting": reweighting,
    "slice-aware": slice_aware,
    "paper attention": paper_attention,
    "wrong masks": wrong_masks,
}


def _slice_weights(S: np.recarray) -> Tensor:
    """Weights of mean 1, [n], by which every slice, and all rows as one more, weighs the same."""
    weights = oversampling_weights([S[name] for name in S.dtype.names])
    return torch.from_numpy(weights * len(weights)).float()


def _shared(
    rows: Rows, budget: Budget, seed: int, sampler: Sampler[int], weights: Tensor
) -> Trained:
    """Train the base with one linear head, as ``Trainer`` trains: Adam, clipped gradients."""
    base = _base(rows, budget, seed)
    model = nn.Sequential(base.module, nn.Linear(base.width, 2))
    set_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=budget.lr, fused=True)
    start = time.perf_counter()
    for _ in range(budget.n_epochs):
        for batch in BatchSampler(sampler, budget.batch_size, drop_last=False):
            at = torch.tensor(batch)
            losses = F.cross_entropy(model(rows.X[at]), rows.y[at], reduction="none")
            optimizer.zero_grad()
            (losses * weights[at]).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
            optimizer.step()
    seconds = time.perf_counter() - start

    def predict(X: Tensor) -> np.ndarray:
        with torch.no_grad():
            return model(X).argmax(dim=1).numpy()

    return Trained(predict, seconds, _size(model))


def _base(rows: Rows, budget: Budget, seed: int) -> Base:
    # First, so that every method starts from the same weights.
    set_seed(seed)
    width_in = rows.X.shape[1]
    if budget.layers == 0:
        return Base(nn.Linear(width_in, budget.width), budget.width)
    return build_base({"kind": "mlp", "layers": budget.layers, "width": budget.width}, width_in)


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
