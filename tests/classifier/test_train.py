from __future__ import annotations

import json
import logging
import random

import numpy as np
import pytest
import torch

from engine.classifier.data import DictDataset
from engine.classifier.train import (
    LR_SCHEDULERS,
    OPTIMIZERS,
    Trainer,
    TrainerConfig,
    _lr_factor,
    set_seed,
)


def message(error, f, *args, **kwargs):
    with pytest.raises(error) as caught:
        f(*args, **kwargs)
    return str(caught.value)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_set_seed_seeds_all_three_generators():
    def drawn():
        set_seed(7)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert drawn() == drawn()


def test_training_lowers_the_loss_and_keeps_a_history(make):
    made = make(n=200, shuffle=True)
    trainer = Trainer(n_epochs=5, lr=0.01, seed=1, progress_bar=False)
    trainer.fit(made.model, [made.loader])
    first, *_, last = trainer.history
    assert last.loss < first.loss
    assert (first.epoch, first.step, last.epoch, last.step) == (1, 13, 5, 65)
    assert set(last.task_losses) == set(made.model.label_names)
    assert last.rows_per_second == pytest.approx(200 / last.seconds)
    assert last.lr == 0.01
    assert last.metrics == {}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_seed_gives_the_same_weights_to_the_last_bit(make, optimizer):
    def trained(seed):
        made = make(shuffle=True)
        loaders = [made.loader, made.model.make_slice_dataloader(made.data, made.S, batch_size=7)]
        Trainer(n_epochs=2, seed=seed, optimizer=optimizer, progress_bar=False).fit(
            made.model, loaders
        )
        return weights(made.model)

    once, again, other = trained(5), trained(5), trained(6)
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not all(torch.equal(once[name], other[name]) for name in once)


def test_a_step_is_that_of_torch_with_clipping_and_weight_decay(make):
    made = make(n=16)
    theirs, ours = made.model, make(n=16).model
    theirs.load_state_dict(ours.state_dict())
    Trainer(n_epochs=1, lr=0.1, l2=0.01, grad_clip=0.5, progress_bar=False).fit(ours, [made.loader])
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.1, weight_decay=0.01)
    losses, _ = theirs.calculate_loss(*next(iter(made.loader)))
    sum(losses.values()).backward()
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    optimizer.step()
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_batch_without_labels_moves_no_weight(make):
    made = make(n=32)
    unlabelled = DictDataset.from_tensors(made.X, torch.full((32,), -1), "train")
    nothing = {name: np.full(32, -1) for name in ("short", "link", "base")}
    S = np.rec.fromarrays(list(nothing.values()), names=list(nothing))
    before = weights(made.model)
    trainer = Trainer(progress_bar=False)
    trainer.fit(made.model, [made.model.make_slice_dataloader(unlabelled, S, batch_size=16)])
    assert all(torch.equal(before[name], t) for name, t in made.model.state_dict().items())
    assert trainer.history[0].task_losses == {}


def test_frozen_weights_stay(make):
    made = make()
    for p in made.model.base_architecture.parameters():
        p.requires_grad_(False)
    before = weights(made.model)
    Trainer(progress_bar=False).fit(made.model, [made.loader])
    moved = {n for n, t in made.model.state_dict().items() if not torch.equal(before[n], t)}
    assert moved == {name for name in before if not name.startswith("base_architecture")}


def test_the_valid_split_is_scored_each_epoch_and_the_log_holds_it(make, tmp_path):
    made = make(("short", "never"))
    valid = make(("short", "never"), split="valid", seed=1)
    valid.S["never"][:] = 0
    test = make(("short", "never"), split="test")
    loaders = [
        made.loader,
        made.model.make_slice_dataloader(valid.data, valid.S),
        made.model.make_slice_dataloader(test.data, test.S),
    ]
    trainer = Trainer(n_epochs=2, progress_bar=False, log=tmp_path / "log.jsonl")
    trainer.fit(made.model, loaders)
    keys = trainer.history[-1].metrics
    assert "task_slice:short_pred/SliceDataset/valid/f1" in keys
    assert not any("/test/" in key for key in keys)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[1]["loss"] == trainer.history[1].loss
    assert lines[1]["metrics"]["task_slice:never_pred/SliceDataset/valid/f1"] is None


def test_away_from_a_terminal_an_epoch_is_a_line_of_the_log(make, caplog, capfd):
    made = make()
    with caplog.at_level(logging.INFO, logger="engine"):
        Trainer("mine", n_epochs=2, progress_bar=True).fit(made.model, [made.loader])
    assert [record.message.split(",")[0] for record in caplog.records] == [
        "mine: epoch 1 of 2",
        "mine: epoch 2 of 2",
    ]
    assert capfd.readouterr().err == ""


def test_on_a_terminal_a_bar_shows_the_steps(make, monkeypatch, capfd):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    for shown in (True, False):
        made = make()
        Trainer(n_epochs=2, progress_bar=shown).fit(made.model, [made.loader])
        assert ("6/6" in capfd.readouterr().err) == shown


@pytest.mark.parametrize(
    ("scheduler", "wanted"),
    [
        ("constant", [0, 0.5, 1, 1, 1, 1]),
        ("linear", [0, 0.5, 1, 0.9, 0.8, 0.7]),
        ("exponential", [0, 0.5, 1, 0.9, 0.81, 0.729]),
        ("step", [0, 0.5, 1, 1, 1, 1]),
        ("cosine", [0, 0.5, 1, 0.9755, 0.9045, 0.7939]),
    ],
)
def test_learning_rate_warms_up_and_follows_its_scheduler(scheduler, wanted):
    factor = _lr_factor(TrainerConfig(lr_scheduler=scheduler, warmup_steps=2), 12)
    assert [factor(step) for step in range(6)] == pytest.approx(wanted, abs=1e-4)
    assert set(LR_SCHEDULERS) == {"constant", "linear", "exponential", "step", "cosine"}
    assert LR_SCHEDULERS["step"](5, 12) == 0.9


def test_the_last_learning_rate_is_logged(make):
    made = make(n=64)
    trainer = Trainer(n_epochs=2, lr=1.0, lr_scheduler="linear", progress_bar=False)
    trainer.fit(made.model, [made.loader])
    assert [epoch.lr for epoch in trainer.history] == pytest.approx([5 / 8, 1 / 8])


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({"n_epochs": 0}, "Trainer: n_epochs is 0, and must be at least 1"),
        ({"lr": -1.0}, "Trainer: lr is -1.0, and must be above 0"),
        ({"l2": -0.1}, "Trainer: l2 is -0.1, and must not be below 0"),
        (
            {"grad_clip": -1},
            "Trainer: grad_clip is -1, and must be above 0, or None for no clipping",
        ),
        ({"warmup_steps": -5}, "Trainer: warmup_steps is -5, and must not be below 0"),
        ({"optimizer": "adm"}, "Trainer: optimizer is 'adm'; did you mean 'adam'?"),
        (
            {"lr_scheduler": "plateau"},
            "Trainer: lr_scheduler is 'plateau'; known: constant, cosine, exponential, linear, "
            "step",
        ),
        ({"epochs": 3}, "Trainer has no setting 'epochs'; did you mean 'n_epochs'?"),
    ],
)
def test_settings_that_can_not_be(setting, wanted):
    assert message(ValueError, Trainer, **setting) == wanted


def test_splits_that_can_not_be(make):
    made, other = make(split="test"), make(split="holdout")
    trainer = Trainer(progress_bar=False)
    assert message(ValueError, trainer.fit, made.model, [other.loader]) == (
        "data set 'SliceDataset' is of split 'holdout', and the Trainer knows train, valid, test: "
        "name the split so, or set train_split, valid_split or test_split"
    )
    assert message(ValueError, trainer.fit, made.model, [made.loader]) == (
        "no loader is of the train split 'train'; the splits given are test"
    )
    assert message(ValueError, trainer.fit, made.model, []) == (
        "no loader is of the train split 'train'; the splits given are none"
    )
