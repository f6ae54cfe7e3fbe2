"""What training chooses where a project leaves it out, and models that learn nothing."""

from __future__ import annotations

import logging

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.metrics import log_loss

from engine.baseline import fit_baseline
from engine.classifier import defaults
from engine.classifier.checkpoint import load
from engine.classifier.settings import OPTIMIZER_NAMES
from engine.classifier.train import Trainer
from engine.hashing import unit_interval
from engine.project import training
from engine.project.group_settings import Classifier
from engine.project.settings import Project
from engine.project.training import by_rule, train, with_valid

SLICES = {"high": "", "low": ""}


@pytest.fixture
def project(tmp_path):
    def of(**settings):
        about = {"name": "p", "root": str(tmp_path), "source": {"table": "t"}, "key": "id"}
        return Project.model_validate({**about, "label": "label", "split": "split", **settings})

    return of


def table(X, y, at):
    columns = {f"x{i}": X[at, i] for i in range(X.shape[1])}
    masks = {"_mask_high": X[at, 0] > 0, "_mask_low": X[at, 1] < 0}
    shared = {"id": at, "_label": y[at].astype(np.int32), "sample_p": np.ones(len(at))}
    return pa.table({**shared, **masks, **columns})


def noise(n=200, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    return table(rng.normal(size=(n, 3)), rng.integers(0, classes, n), np.arange(n))


def tabular(n):
    return {"kind": "tabular", "numeric": [f"x{i}" for i in range(n)]}


@pytest.mark.parametrize(
    ("rows", "slices", "width"),
    [(1, 1, 16), (100, 5, 16), (353, 5, 32), (1_500, 5, 64), (10**5, 5, 128), (10**5, 2_000, 32)],
)
def test_a_base_is_as_wide_as_the_rows_can_teach(rows, slices, width):
    assert defaults.width(rows, slices) == width
    assert width * width * (slices + 1) <= defaults.MOST_WEIGHTS


def test_the_learning_rate_is_of_the_optimizer_the_batch_and_the_width():
    assert tuple(sorted(defaults.LEARNING_RATES)) == tuple(sorted(OPTIMIZER_NAMES))
    assert [defaults.learning_rate("adam", 64, w) for w in (16, 64, 256)] == [0.002, 0.001, 0.0005]
    assert defaults.learning_rate("adam", 256, 64) == 0.002


def test_what_is_set_is_obeyed():
    given = {
        "features": {"kind": "tfidf"}, "base": {"kind": "mlp", "width": None}, "lr": 0.5,
        "n_epochs": 2, "monitor": "overall/f1", "patience": 3,
    }  # fmt: skip
    assert defaults.chosen(dict(Classifier(**given)), 1_000, 2) == {}
    del given["n_epochs"]
    assert defaults.chosen(dict(Classifier(**given)), 1_000, 2) == {"n_epochs": 50}
    steps = {**given, "n_steps": 70, "monitor": None, "patience": None}
    assert defaults.chosen(dict(Classifier(**steps)), 1_000, 2) == {}


def test_rows_are_held_out_by_their_key_where_there_is_no_valid_split(project, caplog):
    caplog.set_level(logging.INFO, "engine")
    rows = noise(1_200)
    parts = with_valid(project(), {"train": rows})
    keys = parts["valid"].column("id").to_pylist()
    held = unit_interval(range(1_200), 1) < 0.1
    assert keys == np.flatnonzero(held).tolist()
    assert parts["train"].column("id").to_pylist() == np.flatnonzero(~held).tolist()
    assert caplog.messages == [
        f"there is no valid split: {len(keys)} of 1,200 training rows are held out to choose the "
        "epoch"
    ]
    shuffled = with_valid(project(), {"train": rows.take(np.arange(1_200)[::-1])})
    assert sorted(shuffled["valid"].column("id").to_pylist()) == keys


def test_rows_of_a_group_are_held_out_together(project):
    groups = [None if i < 99 else i % 40 for i in range(600)]
    rows = noise(600).append_column("who", pa.array(groups))
    parts = with_valid(project(sample={"group": "who"}), {"train": rows})
    groups = [set(part.column("who").drop_null().to_pylist()) for part in parts.values()]
    assert not groups[0] & groups[1]
    assert all(part.column("who").null_count for part in parts.values())


def test_no_row_is_held_out_where_somebody_says_how_long_to_train_or_rows_are_few(project):
    few = noise(19)
    for one, rows in (
        (project(), {"train": few}),
        (project(classifier={"n_epochs": 3}), {"train": noise()}),
        (project(classifier={"n_steps": 3}), {"train": noise()}),
        (project(classifier={"monitor": "overall/f1"}), {"train": noise()}),
        (project(), {"train": noise(), "valid": few}),
    ):
        assert with_valid(one, rows) == rows
    chosen = by_rule(project(), {"train": few}, 2)
    assert chosen.keys() == {"features", "base", "lr", "n_epochs"}


class KilledError(Exception):
    pass


def test_the_best_epoch_is_kept_and_a_killed_run_ends_the_same(project, tmp_path, monkeypatch):
    one = project(classifier={"features": tabular(3), "lr": 0.03, "patience": 3})
    sample = {"train": noise(1_500), "valid": noise(100, seed=1)}
    train(one, sample, SLICES, {"run": 1}, tmp_path / "whole")
    whole = load(tmp_path / "whole")
    settings = whole.facts["chosen"]
    assert settings["monitor"] == "overall/log_loss"
    log = (tmp_path / "training_log.jsonl").read_text().splitlines()
    assert len(log) < settings["n_epochs"]  # noise can't be learned: it stops early
    losses = [training.json.loads(line)["monitored"] for line in log]
    assert whole.facts["metrics"]["task/p/valid/log_loss"] == min(losses)
    assert len(losses) == 1 + losses.index(min(losses)) + 3

    save = Trainer._save

    def save_and_die(self, *args):
        save(self, *args)
        if len(self.history) == 2 + losses.index(min(losses)):
            raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "_save", save_and_die)
        with pytest.raises(KilledError):
            train(one, sample, SLICES, {"run": 1}, tmp_path / "killed")
    torch.manual_seed(99)
    train(one, sample, SLICES, {"run": 1}, tmp_path / "killed")
    again = load(tmp_path / "killed")
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name
    assert again.facts == whole.facts


def test_a_model_that_learned_nothing_is_warned_of(project, tmp_path, caplog):
    X, y = np.random.default_rng(0).normal(size=(90, 3)), np.arange(90) % 3 // 2
    rows = table(X, y, np.arange(90))
    settings = {"features": tabular(3), "n_epochs": 3, "lr": 1e-12}
    one = project(classifier=settings, classes=["ham", "spam"])
    train(one, {"train": rows, "valid": rows}, SLICES, {"run": 1}, tmp_path / "model")
    warnings = load(tmp_path / "model").facts["warnings"]
    assert [m for m in caplog.messages if m in warnings] == warnings
    assert warnings[0] == (
        "model 'slice_aware' predicts one class only: spam on all 90 rows of the valid split, of "
        "which 60 have another"
    )
    assert warnings[-1].startswith("the loss of model 'slice_aware' never fell: it was ")


def shares(y, classes):
    return np.bincount(y, minlength=classes) / len(y)


@pytest.mark.parametrize(
    ("data", "accuracy"), [(load_digits, 0.94), (load_diabetes, 0.6)], ids=["digits", "diabetes"]
)
def test_defaults_learn_from_columns(project, tmp_path, data, accuracy):
    X, y = data(return_X_y=True)
    y = y.astype(int) if data is load_digits else (y > np.median(y)).astype(int)
    classes, u = len(np.unique(y)), unit_interval(range(len(y)), 0)
    parts = {"train": u < 0.7, "valid": (u >= 0.7) & (u < 0.8), "test": u >= 0.8}
    sample = {name: table(X, y, np.flatnonzero(of)) for name, of in parts.items()}
    test, gold = sample.pop("test"), y[parts["test"]]
    usual = log_loss(gold, np.tile(shares(y[parts["train"]], classes), (len(gold), 1)))

    names = tabular(X.shape[1])["numeric"]
    baseline = fit_baseline(sample["train"].select(names), y[parts["train"]])
    one = project(classifier={"features": tabular(X.shape[1])}, classes=list(range(classes)))
    train(one, sample, SLICES, {"run": 1}, tmp_path / "model")
    for prob in (baseline.predict_proba(test), load(tmp_path / "model").predict_proba(test)):
        assert (prob.argmax(1) == gold).mean() >= accuracy
        assert log_loss(gold, prob) < usual
