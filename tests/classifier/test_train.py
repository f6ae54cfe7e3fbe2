from __future__ import annotations

import json
import logging
import random

import numpy as np
import pytest
import torch

from engine.classifier.data.dataset import DictDataLoader, DictDataset
from engine.classifier.hardware import usable_cores
from engine.classifier.model import SlicingClassifier
from engine.classifier.monitor import SliceRows, slice_table
from engine.classifier.settings import LR_SCHEDULERS, TrainerConfig, lr_factor
from engine.classifier.train import OPTIMIZERS, Trainer, set_seed
from engine.errors import EngineError
from engine.metrics.scorer import Scorer


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
    parts = make(n=200, shuffle=True)
    trainer = Trainer(n_epochs=5, lr=0.01, seed=1, progress_bar=False)
    trainer.fit(parts.model, [parts.loader])
    first, *_, last = trainer.history
    assert last.loss < first.loss
    assert (first.epoch, first.step, last.epoch, last.step) == (1, 13, 5, 65)
    assert set(last.task_losses) == set(parts.model.label_names)
    assert last.rows_per_second == pytest.approx(200 / last.seconds)
    assert last.lr == 0.01
    assert last.metrics == {}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_same_seed_gives_the_same_weights_to_the_last_bit(make, optimizer):
    def trained(seed):
        parts = make(shuffle=True)
        loaders = [
            parts.loader,
            parts.model.make_slice_dataloader(parts.data, parts.S, batch_size=7),
        ]
        Trainer(n_epochs=2, seed=seed, optimizer=optimizer, progress_bar=False).fit(
            parts.model, loaders
        )
        return weights(parts.model)

    once, again, other = trained(5), trained(5), trained(6)
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not all(torch.equal(once[name], other[name]) for name in once)


def test_a_step_is_that_of_torch_with_clipping_and_weight_decay(make):
    parts = make(n=16)
    theirs, ours = parts.model, make(n=16).model
    theirs.load_state_dict(ours.state_dict())
    Trainer(n_epochs=1, lr=0.1, l2=0.01, grad_clip=0.5, progress_bar=False).fit(
        ours, [parts.loader]
    )
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.1, weight_decay=0.01)
    losses, _ = theirs.calculate_loss(*next(iter(parts.loader)))
    sum(losses.values()).backward()
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    optimizer.step()
    for name, tensor in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], tensor, rtol=1e-5, atol=1e-6)


def test_a_batch_without_labels_moves_no_weight(make):
    parts = make(n=32)
    unlabelled = DictDataset.from_tensors(parts.X, torch.full((32,), -1), "train")
    nothing = {name: np.full(32, -1) for name in ("short", "link", "base")}
    S = np.rec.fromarrays(list(nothing.values()), names=list(nothing))
    before = weights(parts.model)
    trainer = Trainer(progress_bar=False)
    trainer.fit(parts.model, [parts.model.make_slice_dataloader(unlabelled, S, batch_size=16)])
    assert all(torch.equal(before[name], t) for name, t in parts.model.state_dict().items())
    assert trainer.history[0].task_losses == {}


def test_frozen_weights_stay(make):
    parts = make()
    for p in parts.model.base_architecture.parameters():
        p.requires_grad_(False)
    before = weights(parts.model)
    Trainer(progress_bar=False).fit(parts.model, [parts.loader])
    moved = {n for n, t in parts.model.state_dict().items() if not torch.equal(before[n], t)}
    assert moved == {name for name in before if not name.startswith("base_architecture")}


def test_the_valid_split_is_scored_each_epoch_and_the_log_holds_it(make, tmp_path):
    parts = make(("short", "never"))
    valid = make(("short", "never"), split="valid", seed=1)
    valid.S["never"][:] = 0
    test = make(("short", "never"), split="test")
    loaders = [
        parts.loader,
        parts.model.make_slice_dataloader(valid.data, valid.S),
        parts.model.make_slice_dataloader(test.data, test.S),
    ]
    trainer = Trainer(n_epochs=2, progress_bar=False, log=tmp_path / "log.jsonl")
    trainer.fit(parts.model, loaders)
    keys = trainer.history[-1].metrics
    assert "task_slice:short_pred/SliceDataset/valid/f1" in keys
    assert not any("/test/" in key for key in keys)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[1]["loss"] == trainer.history[1].loss
    assert lines[1]["metrics"]["task_slice:never_pred/SliceDataset/valid/f1"] is None


def test_away_from_a_terminal_an_epoch_is_a_line_of_the_log(make, caplog, capfd):
    parts = make()
    with caplog.at_level(logging.INFO, logger="engine"):
        Trainer("mine", n_epochs=2, progress_bar=True).fit(parts.model, [parts.loader])
    assert [record.message.split(",")[0] for record in caplog.records] == [
        "mine: epoch 1 of 2",
        "mine: epoch 2 of 2",
    ]
    assert capfd.readouterr().err == ""
    parts, loaders = with_valid(make, "short", "link")
    trainer = Trainer("mine", progress_bar=False)
    with caplog.at_level(logging.INFO, logger="engine"):
        trainer.fit(parts.model, loaders)
    (epoch,) = trainer.history
    accuracy, f1 = (epoch.metrics[f"task/SliceDataset/valid/{m}"] for m in ("accuracy", "f1"))
    assert caplog.messages[-1].startswith(
        f"mine: epoch 1 of 1, loss {epoch.loss:.4f}, accuracy {accuracy:.3f}, f1 {f1:.3f}, "
    )


def test_on_a_terminal_a_bar_shows_the_steps(make, monkeypatch, capfd):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    for shown in (True, False):
        parts = make()
        Trainer(n_epochs=2, progress_bar=shown).fit(parts.model, [parts.loader])
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
    factor = lr_factor(TrainerConfig(lr_scheduler=scheduler, warmup_steps=2), 12)
    assert [factor(step) for step in range(6)] == pytest.approx(wanted, abs=1e-4)
    assert set(LR_SCHEDULERS) == {"constant", "linear", "exponential", "step", "cosine"}
    assert LR_SCHEDULERS["step"](5, 12) == 0.9


def test_the_last_learning_rate_is_logged(make):
    parts = make(n=64)
    trainer = Trainer(n_epochs=2, lr=1.0, lr_scheduler="linear", progress_bar=False)
    trainer.fit(parts.model, [parts.loader])
    assert [epoch.lr for epoch in trainer.history] == pytest.approx([5 / 8, 1 / 8])


LEAST = ", and must be a whole number of at least"


LEAST = ", and must be a whole number of at least"


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({"n_epochs": 0}, f"Trainer: n_epochs is 0{LEAST} 1"),
        ({"lr": -1.0}, "Trainer: lr is -1.0, and must be above 0"),
        ({"l2": -0.1}, "Trainer: l2 is -0.1, and must not be below 0"),
        (
            {"grad_clip": -1},
            "Trainer: grad_clip is -1, and must not be below 0, or None",
        ),
        (
            {"n_steps": 0},
            "Trainer: n_steps is 0, and must be a whole number of at least 1, or None",
        ),
        (
            {"patience": 0},
            "Trainer: patience is 0, and must be a whole number of at least 1, or None",
        ),
        ({"patience": 3}, "Trainer: patience is 3, and needs a monitor"),
        (
            {"threads": 0},
            "Trainer: threads is 0, and must be a whole number of at least 1, or None",
        ),
        ({"precision": "fp16"}, "Trainer: precision is 'fp16'; did you mean 'bf16'?"),
        (
            {"warmup_steps": -5},
            "Trainer: warmup_steps is -5, and must be a whole number of at least 0",
        ),
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
    parts, other = make(split="test"), make(split="holdout")
    trainer = Trainer(progress_bar=False)
    assert message(ValueError, trainer.fit, parts.model, [other.loader]) == (
        "data set 'SliceDataset' is of split 'holdout', and the Trainer knows train, valid, test: "
        "name the split so, or set train_split, valid_split or test_split"
    )
    assert message(ValueError, trainer.fit, parts.model, [parts.loader]) == (
        "no loader is of the train split 'train'; the splits given are test"
    )
    assert message(ValueError, trainer.fit, parts.model, []) == (
        "no loader is of the train split 'train'; the splits given are none"
    )


def test_steps_instead_of_epochs(make):
    parts = make(n=64)
    trainer = Trainer(n_steps=10, n_epochs=50, lr=1.0, lr_scheduler="linear", progress_bar=False)
    trainer.fit(parts.model, [parts.loader])
    assert [(e.epoch, e.step) for e in trainer.history] == [(1, 4), (2, 8), (3, 10)]
    assert [e.lr for e in trainer.history] == pytest.approx([0.7, 0.3, 0.1])


def with_valid(make, *slices, empty=None, **settings):
    parts = make(slices, n=80, **settings)
    valid = make(slices, split="valid", seed=1)
    if empty:
        valid.S[empty][:] = 0
    return parts, [parts.loader, parts.model.make_slice_dataloader(valid.data, valid.S)]


def test_the_best_epoch_of_a_slice_is_kept_and_training_stops_early(make):
    parts, loaders = with_valid(make, "short", "link")
    trained = []
    trainer = Trainer(
        n_epochs=30, lr=0.5, monitor="short/accuracy", patience=3, seed=1, progress_bar=False
    )
    score_slices = parts.model.score_slices

    def spy(valid, **settings):
        trained.append(weights(parts.model))
        return score_slices(valid, **settings)

    parts.model.score_slices = spy
    trainer.fit(parts.model, loaders)
    values = [epoch.monitored for epoch in trainer.history]
    assert trainer.best_epoch == values.index(max(values)) + 1
    assert len(values) == trainer.best_epoch + 3 < 30
    best = trained[trainer.best_epoch - 1]
    assert all(torch.equal(best[name], t) for name, t in parts.model.state_dict().items())
    key = "task_slice:short_pred/SliceDataset/valid/accuracy"
    assert values == [epoch.metrics[key] for epoch in trainer.history]


def test_the_epoch_of_the_least_loss_is_kept(make):
    _, loaders = with_valid(make, "short", "link")
    base = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU())
    scorer = Scorer(["log_loss", "accuracy"])
    model = SlicingClassifier(base, 5, ("short", "link"), scorer=scorer)
    trainer = Trainer(
        n_epochs=30, lr=0.5, monitor="overall/log_loss", patience=2, seed=1, progress_bar=False
    )
    trainer.fit(model, loaders)
    values = [epoch.monitored for epoch in trainer.history]
    assert min(values) < max(values)
    assert trainer.best_epoch == values.index(min(values)) + 1
    assert len(values) in (trainer.best_epoch + 2, 30)


def test_overall_can_be_monitored(make):
    parts, loaders = with_valid(make, "short", "link")
    trainer = Trainer(n_epochs=2, monitor="overall/f1", progress_bar=False)
    trainer.fit(parts.model, loaders)
    last = trainer.history[-1]
    assert last.monitored == last.metrics["task/SliceDataset/valid/f1"]


def test_monitors_that_can_not_be(make):
    parts, loaders = with_valid(make, "short", "link", empty="link")

    def refused(monitor, chosen=loaders):
        trainer = Trainer(monitor=monitor, progress_bar=False)
        return message(ValueError, trainer.fit, parts.model, chosen)

    end = "; it is '<slice>/<metric>' or 'overall/<metric>' on the valid split"
    assert refused("shrt/f1") == (
        f"monitor 'shrt/f1' can't be computed: there is no slice 'shrt'; did you mean 'short'?{end}"
    )
    assert refused("short/recal") == (
        "monitor 'short/recal' can't be computed: the model's scorer has no metric 'recal'; "
        f"known: accuracy, f1{end}"
    )
    assert refused("link/f1") == (
        "monitor 'link/f1' can't be computed: slice 'link' has no labelled row in the valid "
        f"split{end}"
    )
    assert refused("link/f1", loaders[:1]) == (
        "monitor 'link/f1' can't be computed: there is no loader of the valid split to compute "
        f"it on{end}"
    )


def test_a_slice_without_rows_trains_with_a_warning_and_a_status(make, caplog):
    parts = make(("short", "never"), n=40)
    parts.S["never"][:] = 0
    valid = make(("short", "never"), split="valid", seed=1)
    valid.S["short"][:] = -1
    loaders = [
        parts.model.make_slice_dataloader(parts.data, parts.S, batch_size=16),
        parts.model.make_slice_dataloader(valid.data, valid.S),
    ]
    trainer = Trainer("mine", progress_bar=False)
    with caplog.at_level(logging.WARNING, logger="engine"):
        trainer.fit(parts.model, loaders)
    assert [record.message for record in caplog.records] == [
        "mine: slices with no row in train: never; their experts learn nothing",
        "mine: slices with no row in valid: short; they have no metrics",
    ]
    in_train, in_valid = int(parts.S["short"].sum()), int(valid.S["never"].sum())
    assert trainer.slices == [
        SliceRows("short", in_train, 0),
        SliceRows("never", 0, in_valid),
        SliceRows("base", 40, 40),
    ]
    assert [s.status for s in trainer.slices] == ["no row in valid", "no row in train", "ok"]
    assert "task_slice:never_pred" not in trainer.history[0].task_losses
    assert "task_slice:never_ind" in trainer.history[0].task_losses


@pytest.mark.parametrize("named", [False, True])
def test_features_that_are_not_numbers_are_found_before_training(make, named):
    parts = make(n=40)
    parts.X[[3, 17], 2] = float("nan")
    parts.X[5, 1] = float("inf")
    keys = [f"c{i}" for i in range(40)] if named else None
    data = DictDataset.from_tensors(parts.X, parts.Y, "train", keys=keys)
    before = weights(parts.model)
    trainer = Trainer(progress_bar=False)
    loader = parts.model.make_slice_dataloader(data, parts.S)
    rows = [f"{'c' if named else 'row '}{i}" for i in (3, 5, 17)]
    assert message(ValueError, trainer.fit, parts.model, [loader]) == (
        f"field 'input_data' of data set 'SliceDataset' is NaN or infinite in 3 rows: {rows[0]} "
        f"(nan in column 2), {rows[1]} (inf in column 1), {rows[2]} (nan in column 2); fill them, "
        "or leave these rows out"
    )
    assert all(torch.equal(before[name], t) for name, t in parts.model.state_dict().items())


def test_a_loss_that_is_not_a_number_names_step_task_and_rows(make, tmp_path):
    parts = make(("short",), n=8)
    keys = [f"c{i}" for i in range(8)]
    parts.S["short"][:] = 1
    data = DictDataset.from_tensors(parts.X, parts.Y, "train", keys=keys)
    loader = parts.model.make_slice_dataloader(data, parts.S, batch_size=4)
    calls = []

    def spoil(module, inputs, output):
        calls.append(1)
        return output * float("nan") if len(calls) == 1 + 4 else output  # 1 is the dry run

    parts.model.base_architecture.register_forward_hook(spoil)
    trainer = Trainer(n_epochs=3, progress_bar=False, folder=tmp_path / "state")
    sentence = message(EngineError, trainer.fit, parts.model, [loader])
    assert sentence == (
        "the loss of task, task_slice:short_pred, task_slice:base_pred, task_slice:short_ind, "
        "task_slice:base_ind is not finite at step 4 on the batch c4, c5, c6, c7; the last good "
        f"state is kept in '{tmp_path}/state': lower lr, set grad_clip, or check these rows"
    )
    assert all(tensor.isfinite().all() for tensor in parts.model.state_dict().values())
    assert (tmp_path / "state" / "training.safetensors").exists()

    again = make(("short",), n=8)
    again.model.base_architecture[0].weight.data[0, 0] = float("nan")
    sentence = message(EngineError, Trainer(progress_bar=False).fit, again.model, [again.loader])
    assert "at step 1 on the batch row 0, row 1, row 2, row 3, row 4, row 5, row 6, row 7; " in (
        sentence
    )
    assert "; the weights are those of the step before: lower" in sentence


def test_mixed_precision_and_devices(make):
    full, mixed = make(n=64), make(n=64)
    for parts, precision in ((full, "auto"), (mixed, "bf16")):
        Trainer(n_epochs=3, precision=precision, device="cpu", progress_bar=False).fit(
            parts.model, [parts.loader]
        )
    for name, tensor in full.model.state_dict().items():
        other = mixed.model.state_dict()[name]
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, tensor, rtol=0.1, atol=0.05)
    assert any(
        not torch.equal(tensor, mixed.model.state_dict()[name])
        for name, tensor in full.model.state_dict().items()
    )
    trainer = Trainer(device="gpu:7", progress_bar=False)
    assert message(ValueError, trainer.fit, full.model, [full.loader]) == (
        "Trainer: device is 'gpu:7', and torch has no such device here: use 'auto' or 'cpu'"
    )


def test_no_more_threads_than_cores_and_back_to_those_before(make, monkeypatch):
    parts, counts = make(), []
    parts.model.base_architecture.register_forward_hook(
        lambda *_: counts.append(torch.get_num_threads())
    )

    def threads(**settings):
        counts.clear()
        torch.set_num_threads(64)
        Trainer(progress_bar=False, **settings).fit(parts.model, [parts.loader])
        assert torch.get_num_threads() == 64
        return set(counts[1:])  # 1 is the dry run

    assert threads() == {1}  # a step is too little work to share
    assert threads(threads=2) == {2}
    monkeypatch.setattr("engine.classifier.hardware._WORTH_SHARING", 1)
    assert threads() == {usable_cores()}
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(usable_cores()))
    assert threads() == {1}  # each of the processes of this machine has its share


def test_figures_of_a_sample_estimate_the_tables(make):
    """Rows drawn by half count twice: figures and losses are those of the rows written twice."""
    parts, loaders = with_valid(make, "short", "link")
    valid = loaders[1].dataset
    count = torch.tensor([1.0, 2.0]).repeat(len(valid) // 2)
    counted = DictDataset("d", "valid", valid.X_dict | {"w": count}, valid.Y_dict)
    twice = torch.repeat_interleave(torch.arange(len(valid)), count.long())
    rows = DictDataset("d", "valid", *valid.__getitems__(twice))
    shuffled, repeated = (
        DictDataLoader(data, batch_size=size, shuffle=True)
        for data, size in ((counted, 7), (rows, len(rows)))
    )
    weighted = parts.model.score_slices([shuffled], row_weights="w")
    assert weighted == pytest.approx(parts.model.score_slices([repeated]), nan_ok=True)
    assert weighted != pytest.approx(parts.model.score_slices([shuffled]), nan_ok=True)

    trainer = Trainer(n_epochs=1, metric_weights="w", progress_bar=False)
    trainer.fit(parts.model, [loaders[0], shuffled])
    wanted = parts.model.score_slices([repeated])
    assert trainer.history[0].metrics == pytest.approx(wanted, nan_ok=True)


def test_rows_without_the_field_that_weighs_them(make):
    parts, loaders = with_valid(make, "short", "link")
    sentence = (
        "row_weights or metric_weights names the field 'w', which the rows do not have; their "
        "fields are input_data"
    )
    trainer = Trainer(metric_weights="w", progress_bar=False)
    assert message(ValueError, trainer.fit, parts.model, loaders) == sentence
    parts.model.row_weights = "w"
    assert message(ValueError, Trainer(progress_bar=False).fit, parts.model, loaders) == sentence


def test_weights_that_are_no_tensor(make):
    made, loaders = with_valid(make, "short", "link")
    for loader in loaders:
        loader.dataset.X_dict["w"] = ["1"] * len(loader.dataset)
    made.model.row_weights = "w"
    assert message(ValueError, Trainer(progress_bar=False).fit, made.model, loaders) == (
        "row_weights or metric_weights names the field 'w', which is a list, and must be a "
        "torch.Tensor of a number per row"
    )


def test_a_valid_split_changes_no_weight(make):
    parts, loaders = with_valid(make, "short", "link", shuffle=True)
    alone, _ = with_valid(make, "short", "link", shuffle=True)
    for model, chosen in ((parts.model, loaders), (alone.model, [alone.loader])):
        Trainer(n_epochs=3, seed=2, progress_bar=False).fit(model, chosen)
    assert all(
        torch.equal(t, alone.model.state_dict()[name])
        for name, t in parts.model.state_dict().items()
    )


def test_the_table_of_an_epoch_has_all_rows_and_the_worst_slices_first(make, monkeypatch, capfd):
    parts, loaders = with_valid(make, "short", "link", "never", empty="never")
    trainer = Trainer(progress_bar=False)
    trainer.fit(parts.model, loaders)
    (epoch,) = trainer.history
    table = slice_table(epoch, trainer.slices, "task", epochs=5, most=3)
    cells = [list(map(str, column.cells)) for column in table.columns]
    names = ["slice", "train rows", "valid rows", "loss", "accuracy", "f1", "status"]
    assert [column.header for column in table.columns] == names
    by_slice = {
        name: epoch.metrics[f"task_slice:{name}_pred/SliceDataset/valid/accuracy"]
        for name in ("short", "link", "base")
    }
    wanted = sorted(by_slice, key=by_slice.get)
    assert cells[0] == ["overall", *wanted]
    assert cells[4][1:] == [f"{by_slice[name]:.3f}" for name in wanted]
    assert cells[3][0] == f"{epoch.task_losses['task']:.3f}"
    assert table.title == f"epoch 1 of 5, loss {epoch.loss:.4f}"
    assert table.caption == "the 3 worst of 4 slices"

    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "160")
    Trainer(n_epochs=2).fit(parts.model, loaders)
    shown = capfd.readouterr().err
    assert "epoch 2 of 2" in shown
    assert "no row in valid" in shown


def test_curves_of_every_slice_for_tensorboard(make, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    parts, loaders = with_valid(make, "short", "link")
    trainer = Trainer(n_epochs=3, progress_bar=False, tensorboard=tmp_path / "tb")
    trainer.fit(parts.model, loaders)
    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"loss", "lr", "rows_per_second"} <= tags
    assert {f"loss/{label}" for label in parts.model.label_names} <= tags
    tag = "f1/task_slice:short_pred/SliceDataset/valid"
    points = events.Scalars(tag)
    assert [point.step for point in points] == [e.step for e in trainer.history]
    wanted = [e.metrics["task_slice:short_pred/SliceDataset/valid/f1"] for e in trainer.history]
    assert [point.value for point in points] == pytest.approx(wanted)
