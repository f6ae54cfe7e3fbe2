"""With the same weights, our stacked heads compute what Snorkel 0.10's module per slice does."""

from __future__ import annotations

import random
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

pytest.importorskip("snorkel.slicing")

from snorkel.classification import Trainer as SnorkelTrainer
from snorkel.classification.data import DictDataset as SnorkelDataset
from snorkel.slicing import SliceAwareClassifier as SnorkelClassifier

from engine.classifier.data.dataset import DictDataset
from engine.classifier.model import SlicingClassifier
from engine.classifier.train import Trainer, set_seed

N, WIDTH = 96, 12
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def pair(n_slices: int, seed: int = 0) -> SimpleNamespace:
    """Both models, drawn from the same seed, and the same rows for both."""
    # Snorkel orders heads by their names, ind and pred apart; names of one length agree.
    names = [f"s{i:03d}" for i in range(n_slices)]
    rng = np.random.default_rng(seed)
    S = np.rec.fromarrays([(rng.random(N) < 0.3).astype(int) for _ in names], names=names)
    X = torch.from_numpy(rng.normal(size=(N, WIDTH)).astype(np.float32))
    Y = torch.from_numpy(rng.integers(0, 2, N))
    Y[:5] = -1

    def base() -> nn.Sequential:
        return nn.Sequential(nn.Linear(WIDTH, 10), nn.ReLU())

    set_seed(seed)
    theirs = SnorkelClassifier(base(), 10, names, dataparallel=False, device=-1)
    set_seed(seed)
    ours = SlicingClassifier(base(), 10, names)
    return SimpleNamespace(
        names=[*names, "base"],
        theirs=theirs,
        ours=ours,
        their_loader=theirs.make_slice_dataloader(
            SnorkelDataset.from_tensors(X, Y.clone(), "train", dataset_name="d"), S, batch_size=32
        ),
        our_loader=ours.make_slice_dataloader(
            DictDataset.from_tensors(X, Y, "train", dataset_name="d"), S, batch_size=32
        ),
    )


def their_parameters(made: SimpleNamespace) -> dict[str, list[torch.nn.Parameter]]:
    """Snorkel's parameters under our names, one per head where ours are stacked."""
    pool = made.theirs.module_pool
    ind = [pool[f"task_slice:{name}_ind_head"] for name in made.names]
    transform = [pool[f"task_slice:{name}_pred_transform"] for name in made.names]
    modules = {
        "master": pool["task_master_head"],
        "predictor": pool["task_slice:base_pred_head"],
        "base_architecture.0": pool["base_architecture"][0],
    }
    single = {f"{n}.{p}": [getattr(m, p)] for n, m in modules.items() for p in ("weight", "bias")}
    return single | {
        f"{n}.{p}": [getattr(m, p) for m in stack]
        for n, stack in (("indicator", ind), ("transform", transform))
        for p in ("weight", "bias")
    }


def stacked(parts: list[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    return torch.stack(parts).view(like.shape)


def copy_weights(made: SimpleNamespace, seed: int) -> None:
    """Give both models new weights, so that nothing rests on how they were drawn."""
    torch.manual_seed(seed)
    theirs = their_parameters(made)
    ours = dict(made.ours.named_parameters())
    assert set(ours) == set(theirs)
    with torch.no_grad():
        for name, parameter in ours.items():
            for part in theirs[name]:
                part.copy_(torch.randn_like(part) / 2)
            parameter.copy_(stacked(theirs[name], parameter))


@pytest.mark.parametrize("n_slices", [1, 6, 50])
def test_with_copied_weights_outputs_losses_and_gradients_are_the_same(n_slices):
    made = pair(n_slices)
    copy_weights(made, seed=n_slices)
    for (X, Y), (our_X, our_Y) in zip(made.their_loader, made.our_loader, strict=True):
        flows = made.theirs.forward(X, made.theirs.op_sequences)
        outputs = made.ours(our_X)

        def of(suffix, flows=flows):
            return torch.stack([flows[f"task_slice:{name}_{suffix}"] for name in made.names], 1)

        ind, pred = of("ind_head"), of("pred_head")
        attention = (ind.softmax(-1)[..., 1] * pred.softmax(-1)[..., 1]).softmax(-1)
        logits = flows[made.theirs.op_sequences["task"][-1].name]
        torch.testing.assert_close(outputs.logits, logits, **CLOSE)
        torch.testing.assert_close(outputs.indicators, ind, **CLOSE)
        torch.testing.assert_close(outputs.predictors, pred, **CLOSE)
        torch.testing.assert_close(outputs.attention, attention, **CLOSE)

        their_losses, their_counts = made.theirs.calculate_loss(X, Y)
        our_losses, our_counts = made.ours.calculate_loss(our_X, our_Y)
        assert our_counts == their_counts
        assert set(our_losses) == set(their_losses)
        for label, loss in their_losses.items():
            torch.testing.assert_close(our_losses[label], loss, **CLOSE)

        made.theirs.zero_grad()
        made.ours.zero_grad()
        torch.stack(list(their_losses.values())).sum().backward()
        made.ours.loss(our_X, our_Y).total.backward()
        theirs = their_parameters(made)
        for name, parameter in made.ours.named_parameters():
            wanted = stacked([part.grad for part in theirs[name]], parameter)
            torch.testing.assert_close(parameter.grad, wanted, **CLOSE, msg=name)


@pytest.mark.parametrize("n_slices", [1, 6])
def test_predictions_and_scores_are_the_same(n_slices):
    made = pair(n_slices)
    copy_weights(made, seed=n_slices)
    theirs = made.theirs.predict(made.their_loader, return_preds=True)
    ours = made.ours.predict(made.our_loader, return_preds=True)
    for kind in ("golds", "probs", "preds"):
        assert set(ours[kind]) == set(theirs[kind])
        for label, wanted in theirs[kind].items():
            torch.testing.assert_close(ours[kind][label].to(wanted.dtype), wanted, **CLOSE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for score in ("score", "score_slices"):
            pd.testing.assert_frame_equal(
                *(
                    getattr(model, score)([loader], as_dataframe=True)
                    .sort_values(["label", "metric"])
                    .reset_index(drop=True)
                    for model, loader in (
                        (made.ours, made.our_loader),
                        (made.theirs, made.their_loader),
                    )
                )
            )


@pytest.mark.parametrize("n_slices", [1, 6, 50])
def test_the_same_seed_draws_the_same_weights_and_trains_to_the_same(n_slices):
    made = pair(n_slices, seed=111)
    theirs = their_parameters(made)
    for name, parameter in made.ours.named_parameters():
        assert torch.equal(parameter, stacked(theirs[name], parameter)), name
    settings = {"n_epochs": 3, "lr": 1e-3, "l2": 1e-3, "progress_bar": False}
    SnorkelTrainer(**settings).fit(made.theirs, [made.their_loader])
    Trainer(**settings).fit(made.ours, [made.our_loader])
    for name, parameter in made.ours.named_parameters():
        torch.testing.assert_close(parameter, stacked(theirs[name], parameter), **CLOSE, msg=name)


def test_rows_are_shuffled_alike():
    made = pair(2)
    orders = []
    for model, dataset in ((made.theirs, SnorkelDataset), (made.ours, DictDataset)):
        data = dataset.from_tensors(torch.arange(50.0)[:, None], torch.zeros(50).long(), "train")
        S = np.rec.fromarrays([np.zeros(50, int)] * 2, names=["s000", "s001"])
        loader = model.make_slice_dataloader(data, S, batch_size=8, shuffle=True)
        random.seed(4)
        torch.manual_seed(4)
        orders.append(torch.cat([X["input_data"] for X, _ in loader]).flatten().tolist())
    assert orders[0] == orders[1]
