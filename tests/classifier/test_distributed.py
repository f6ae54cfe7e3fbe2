"""Two processes take the steps that one takes on the whole batch."""

from __future__ import annotations

import os
import socket
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from engine.classifier.data.dataset import DictDataset
from engine.classifier.data.labels import SliceLabels
from engine.classifier.distributed import train_together
from engine.classifier.hardware import Processes, processes
from engine.classifier.model import SlicingClassifier
from engine.classifier.train import Trainer

BATCH, ROWS = 9, 9 * 10 - 8  # the last batch of an epoch is one row: one process has none


def make(soft=False, dropout=0.0, batch=BATCH, **settings):
    """A model in float64 and a trainer of 20 steps."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    X = torch.from_numpy(rng.normal(size=(ROWS, 6)))
    Y = torch.from_numpy(rng.integers(-1, 2, ROWS))
    if soft:
        Y = torch.from_numpy(rng.dirichlet([1, 1], ROWS))
    S = np.rec.fromarrays(
        [rng.integers(-1, 2, ROWS), (rng.random(ROWS) < 0.1).astype(int)], names=["a", "rare"]
    )
    base = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Dropout(dropout))
    model = SlicingClassifier(
        base, 5, ["a", "rare"], class_weights=(1.0, 2.0), indicator_loss_weight=0.5
    ).double()
    data, valid = (DictDataset.from_tensors(X, Y, split) for split in ("train", "valid"))
    loaders = [
        model.make_slice_dataloader(data, S, batch_size=batch, shuffle=True),
        model.make_slice_dataloader(valid, S, batch_size=batch),
    ]
    shared = {"n_steps": 20, "lr": 0.05, "seed": 7, "monitor": "overall/f1", "device": "cpu"}
    return model, loaders, Trainer(progress_bar=False, **(shared | settings))


class KilledError(Exception):
    pass


def make_killed_after_an_epoch(folder):
    model, loaders, trainer = make(dropout=0.5, folder=folder)
    epoch = trainer._epoch

    def once(run, standing, screen):
        if standing.epoch:
            raise KilledError
        return epoch(run, standing, screen)

    trainer._epoch = once
    return model, loaders, trainer


def scenarios(folder):
    return {
        "a step an epoch": partial(make, batch=ROWS),
        "unequal shares": partial(make, soft=True, optimizer="sgd", lr_scheduler="linear"),
        "dropout": partial(make, dropout=0.5),
        "killed": partial(make_killed_after_an_epoch, folder / "state"),
        "resumed": partial(make, dropout=0.5, folder=folder / "state"),
    }


def _process(rank, folder, ports):
    """What torchrun does, for one scenario after the other."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    for (name, scenario), port in zip(scenarios(folder).items(), ports, strict=True):
        os.environ["MASTER_PORT"] = str(port)
        try:
            trained = train_together(scenario)
        except KilledError:
            torch.save({"killed": True}, folder / f"{name} {rank}")
            continue
        shared = {
            "weights": {n: torch.from_numpy(w) for n, w in trained.weights.items()},
            "losses": torch.tensor([e.loss for e in trained.history], dtype=torch.float64),
            "tasks": [e.task_losses for e in trained.history],
            "monitored": [e.monitored for e in trained.history],
            "metrics": [len(e.metrics) for e in trained.history],
        }
        torch.save(shared, folder / f"{name} {rank}")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """What each of two processes of this machine got, by scenario."""
    folder = tmp_path_factory.mktemp("processes")
    names = list(scenarios(folder))
    free = [socket.socket() for _ in names]
    for opened in free:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in free]
    for opened in free:
        opened.close()
    torch.multiprocessing.spawn(_process, (folder, ports), nprocs=2)
    return {
        name: [SimpleNamespace(**torch.load(folder / f"{name} {rank}")) for rank in range(2)]
        for name in names
    }


def same(ours, theirs):
    assert torch.equal(ours.losses, theirs.losses)
    assert all(torch.equal(w, theirs.weights[name]) for name, w in ours.weights.items())


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["a step an epoch", "unequal shares"])
def test_two_processes_lose_what_one_does(both, tmp_path, scenario):
    model, loaders, trainer = scenarios(tmp_path)[scenario]()
    trainer.fit(model, loaders)
    assert trainer.history[-1].step == 20
    assert len(trainer.history) == (20 if scenario == "a step an epoch" else 2)
    first, second = both[scenario]
    same(first, second)
    wanted = torch.tensor([e.loss for e in trainer.history], dtype=torch.float64)
    torch.testing.assert_close(first.losses, wanted, rtol=0, atol=1e-8)
    for tasks, epoch in zip(first.tasks, trainer.history, strict=True):
        assert tasks == pytest.approx(epoch.task_losses, abs=1e-8)
    assert first.monitored == second.monitored == [e.monitored for e in trainer.history]
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(first.weights[name], tensor, rtol=0, atol=1e-8)
    assert all(first.metrics)
    assert not any(second.metrics)  # the first process alone scores


@pytest.mark.slow
def test_with_dropout_processes_stay_in_step(both):
    same(*both["dropout"])


@pytest.mark.slow
def test_two_processes_go_on_after_a_kill(both):
    assert all(process.killed for process in both["killed"])
    same(both["resumed"][0], both["dropout"][0])
    same(*both["resumed"])


def test_shares_are_every_row_once():
    fields = {"x": torch.arange(7.0), "text": list("abcdefg")}
    shared = {"task": torch.arange(7)}
    labels = SliceLabels(shared, "task", ("a",), torch.zeros(7, 1).to(torch.int8), torch.arange(7))
    shares = [Processes(rank, 3).share((fields, labels)) for rank in range(3)]
    assert sorted(text for X, _ in shares for text in X["text"]) == list("abcdefg")
    assert torch.cat([X["x"] for X, _ in shares]).sort().values.tolist() == list(range(7))
    assert [Y.rows.tolist() for _, Y in shares] == [[0, 3, 6], [1, 4], [2, 5]]


def test_alone_nothing_is_shared():
    alone = processes()
    assert (alone.rank, alone.size, alone.first) == (0, 1, True)
    batch = ({"x": torch.ones(2)}, {"task": torch.ones(2)})
    assert alone.share(batch) is batch
    values = torch.ones(2)
    assert alone.sum(values) is alone.of_first(values) is values


def test_a_folder_that_is_not_shared_is_found():
    from engine.classifier.train import not_shared

    assert str(not_shared("/tmp/state", 1, 0, 3)) == (
        "process 1 finds training in '/tmp/state' at epoch 0, and process 0 at epoch 3: the folder "
        "must be on storage that all processes share"
    )


@pytest.mark.slow
def test_pysparks_distributor_runs_it(spark):
    from pyspark import cloudpickle
    from pyspark.ml.torch.distributor import TorchDistributor

    # The processes can't import tests.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        distributor = TorchDistributor(num_processes=2, local_mode=True, use_gpu=False)
        trained = distributor.run(train_together, make)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    model, loaders, trainer = make()
    trainer.fit(model, loaders)
    losses = [e.loss for e in trainer.history]
    assert [e.loss for e in trained.history] == pytest.approx(losses, abs=1e-8)
    other, _, _ = make()
    trained.into(other)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=1e-8)
