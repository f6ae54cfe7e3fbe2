"""What a GPU trains is what a CPU trains from the same seed; all of this needs a GPU."""

from __future__ import annotations

import os
import socket
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from engine.classifier.bases import build_base
from engine.classifier.checkpoint import load, save
from engine.classifier.data.dataset import DictDataset
from engine.classifier.distributed import train_together
from engine.classifier.features.kinds import fit_features
from engine.classifier.heads import ATTENTIONS
from engine.classifier.model import SlicingClassifier
from engine.classifier.train import OPTIMIZERS, Trainer
from engine.errors import EngineError

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

WIDTH, LOSSES = 16, {"class_weights": (1.0, 2.0, 0.5), "indicator_loss_weight": 0.5}


def rows(n_slices, n=512, *, n_classes=2, soft=False):
    """Labels and masks that can be learned, one row in ten undecided."""
    rng = np.random.default_rng(n_slices)
    X = rng.normal(size=(n, WIDTH)).astype(np.float32)
    direction = rng.normal(size=(WIDTH, n_classes + n_slices))
    scores = X @ direction
    Y = torch.from_numpy(scores[:, :n_classes].argmax(1))
    if soft:
        Y = torch.from_numpy(scores[:, :n_classes]).softmax(-1).float()
    names = [f"s{i}" for i in range(n_slices)]
    masks = np.where(rng.random((n, n_slices)) < 0.1, -1, scores[:, n_classes:] > 4)
    return torch.from_numpy(X), Y, np.rec.fromarrays(list(masks.T), names=names)


def trained(device, n_slices=50, *, n_classes=2, soft=False, settings=None, **trainer):
    torch.manual_seed(1)
    X, Y, S = rows(n_slices, n_classes=n_classes, soft=soft)
    base = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Tanh())
    model = SlicingClassifier(base, WIDTH, S.dtype.names, n_classes=n_classes, **(settings or {}))
    fields = {"input_data": X, "w": torch.linspace(0.5, 2, len(X))}
    data = [DictDataset("rows", split, fields, {"task": Y}) for split in ("train", "valid")]
    loaders = [model.make_slice_dataloader(d, S, batch_size=64, shuffle=True) for d in data]
    options = {"n_epochs": 3, "lr": 0.05, "optimizer": "sgd", "seed": 3, "progress_bar": False}
    fitted = Trainer(device=device, **(options | trainer))
    fitted.fit(model, loaders)
    return model, fitted, loaders


def same(cpu, gpu, tolerance):
    """Losses of all tasks and probabilities of all heads."""
    (ours, history, loaders), (theirs, other, _) = cpu, gpu
    assert theirs.device.type == "cuda"
    for one, two in zip(history.history, other.history, strict=True):
        assert two.task_losses == pytest.approx(one.task_losses, rel=tolerance, abs=tolerance)
        assert list(two.metrics) == list(one.metrics)
    torch.manual_seed(0)
    probs = ours.predict(loaders[1])["probs"]
    torch.manual_seed(0)
    for label, outcome in theirs.predict(loaders[1])["probs"].items():
        torch.testing.assert_close(outcome, probs[label], rtol=0, atol=tolerance, msg=label)


@pytest.mark.parametrize("n_slices", [50, 1000])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_attention(attention, n_slices):
    train = partial(trained, n_slices=n_slices, settings={"attention": attention})
    same(train("cpu"), train("cuda"), 1e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_loss(n_classes, soft, weighted):
    settings = LOSSES | {"slice_weights": {"s1": 3.0}, "row_weights": "w"} if weighted else {}
    if weighted:
        settings["class_weights"] = settings["class_weights"][:n_classes]
    train = partial(trained, n_classes=n_classes, soft=soft, settings=settings)
    same(train("cpu"), train("cuda"), 1e-3)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer(optimizer):
    train = partial(trained, optimizer=optimizer, lr=1e-3, grad_clip=0.5, lr_scheduler="cosine")
    same(train("cpu"), train("cuda"), 1e-2)


def test_mixed_precision():
    full, mixed = trained("cuda", n_epochs=8), trained("cuda", n_epochs=8, precision="auto")
    same(full, mixed, 0.1)
    pairs = zip(full[0].parameters(), mixed[0].parameters(), strict=True)
    assert not all(torch.equal(one, two) for one, two in pairs)  # auto is bf16 where there is bf16
    assert all(p.dtype == torch.float32 for p in mixed[0].parameters())


def test_the_same_seed_gives_the_same_weights():
    once, again = (trained("auto")[0].state_dict() for _ in range(2))
    assert all(torch.equal(tensor, again[name]) for name, tensor in once.items())


def test_a_run_that_was_killed_goes_on(tmp_path, monkeypatch):
    options = {"monitor": "s1/accuracy", "optimizer": "adam", "lr": 0.01}
    whole = trained("cuda", **options, n_epochs=4)[0].state_dict()
    epoch = Trainer._epoch

    class KilledError(Exception):
        pass

    def killed(self, run, standing, screen):
        if standing.epoch == 2:
            raise KilledError
        return epoch(self, run, standing, screen)

    monkeypatch.setattr(Trainer, "_epoch", killed)
    with pytest.raises(KilledError):
        trained("cuda", **options, n_epochs=4, folder=tmp_path / "state")
    monkeypatch.undo()
    resumed = trained("cuda", **options, n_epochs=4, folder=tmp_path / "state")[0].state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_a_checkpoint_predicts_the_same_on_a_cpu(tmp_path):
    df = pd.DataFrame({"text": [f"word{i % 7} word{i % 5} word{i % 3}" for i in range(200)]})
    features = fit_features({"kind": "bag_of_words", "column": "text"}, df)
    spec = {"kind": "mlp", "layers": 2, "width": 8}
    base = build_base(spec, features.width)
    model = SlicingClassifier(base.module, base.width, ["a"], slice_weights={"a": 2.0})
    Y, S = torch.arange(200) % 2, np.rec.fromarrays([np.arange(200) % 7 == 0], names=["a"])
    fields = {"input_data": features.field(df)}
    data = DictDataset("texts", "train", fields, {"task": Y})
    loader = model.make_slice_dataloader(data, S, batch_size=32, shuffle=True)
    Trainer(n_epochs=3, progress_bar=False, device="cuda").fit(model, [loader])
    facts = {"features": features, "base": spec, "classes": ["no", "yes"]}
    save(tmp_path / "model", model, **facts, slices={"a": "f"}, facts={})

    loaded = load(tmp_path / "model")
    assert loaded.model.device.type == "cpu"
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name].cpu())
    on_cpu = loaded.predict(df, heads=True)
    loaded.model.to("cuda")
    on_gpu = loaded.predict(df, heads=True)
    figures = [c for c in on_cpu if c != "pred"]
    np.testing.assert_allclose(on_gpu[figures], on_cpu[figures], rtol=0, atol=1e-5)
    wanted = model.eval().predict_proba({"input_data": features.transform(df)})
    np.testing.assert_allclose(on_cpu[["prob_no", "prob_yes"]], wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_further_slices_leave_the_others_as_they_are(optimizer):
    model, _, _ = trained("cuda", 3)
    X, Y, S = rows(4)
    model.add_slices(["s3"])
    model.train_only(["s3"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    data = DictDataset.from_tensors(X, Y, "train")
    loader = model.make_slice_dataloader(data, S, batch_size=64)
    Trainer(optimizer=optimizer, l2=0.1, progress_bar=False).fit(model, [loader])
    new = model.head_names.index("s3")
    for name, tensor in model.state_dict().items():
        stacked = name.startswith(("indicator", "transform"))
        old = [i for i in range(len(tensor)) if not stacked or i != new]
        assert torch.equal(tensor[old], before[name][old])
        assert not stacked or not torch.equal(tensor[new], before[name][new])


def test_rows_that_are_on_the_gpu():
    X, Y, S = rows(3)
    losses = []
    for of_rows, of_model in (("cpu", "cpu"), ("cuda", "cuda"), ("cuda", "cpu")):
        torch.manual_seed(0)
        base = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh())
        model = SlicingClassifier(base, WIDTH, S.dtype.names)
        data = DictDataset.from_tensors(X.to(of_rows), Y.to(of_rows), "train")
        loader = model.make_slice_dataloader(data, S, batch_size=64, pin_memory=True)
        trainer = Trainer(device=of_model, progress_bar=False)
        trainer.fit(model, [loader])
        losses.append(trainer.history[0].loss)
        assert model.score([loader])
    assert losses == pytest.approx(losses[:1] * 3, rel=1e-4)


def test_a_loss_that_is_not_a_number_stops_before_the_weights():
    X, Y, S = rows(3)
    X[200] = 3e38  # finite, but not in the base's output
    torch.manual_seed(0)
    model = SlicingClassifier(nn.Linear(WIDTH, WIDTH), WIDTH, S.dtype.names)
    nn.init.ones_(model.base_architecture.weight)
    data = DictDataset.from_tensors(X, Y, "train")
    loader = model.make_slice_dataloader(data, S, batch_size=64)
    with pytest.raises(EngineError, match="is not finite at step 4 on the batch row 192, "):
        Trainer(device="cuda", progress_bar=False).fit(model, [loader])
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


@pytest.mark.parametrize("frozen", [False, True])
def test_a_step_waits_for_its_own_losses_alone(frozen):
    settings = LOSSES | {"slice_weights": {"s1": 3.0}, "row_weights": "w"}
    X, Y, S = rows(50, n_classes=3)

    def waits(n_steps):
        model = SlicingClassifier(
            nn.Linear(WIDTH, WIDTH), WIDTH, S.dtype.names, n_classes=3, **settings
        )
        model.train_only(["s1"] if frozen else None)
        fields = {"input_data": X, "w": torch.ones(len(X))}
        data = DictDataset("rows", "train", fields, {"task": Y})
        loader = model.make_slice_dataloader(data, S, batch_size=32)
        trainer = Trainer(device="cuda", n_steps=n_steps, progress_bar=False)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                trainer.fit(model, [loader])
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(w.message) for w in caught)

    waits(1)
    assert waits(12) == waits(2)


def _make(folder):
    torch.manual_seed(1)
    X, Y, S = rows(5)
    model = SlicingClassifier(nn.Linear(WIDTH, WIDTH), WIDTH, S.dtype.names)
    data = [DictDataset.from_tensors(X, Y, split) for split in ("train", "valid")]
    loaders = [model.make_slice_dataloader(d, S, batch_size=64, shuffle=True) for d in data]
    settings = {"n_epochs": 3, "seed": 7, "monitor": "overall/f1", "folder": folder / "state"}
    return model, loaders, Trainer(progress_bar=False, **settings)


def _process(rank, folder, port):
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    outcome = train_together(partial(_make, folder))
    torch.save([epoch.loss for epoch in outcome.history], folder / f"{rank}")


def test_two_processes_on_however_many_gpus(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (tmp_path, port), nprocs=2)
    model, loaders, trainer = _make(tmp_path / "alone")
    trainer.fit(model, loaders)
    wanted = [epoch.loss for epoch in trainer.history]
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}") == pytest.approx(wanted, rel=1e-4)
