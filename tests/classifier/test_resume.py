"""A run that is killed and goes on ends with the weights of one that was not."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import WeightedRandomSampler

from engine.classifier import tensorfile
from engine.classifier.data.dataset import DictDataset
from engine.classifier.model import SlicingClassifier
from engine.classifier.resume import STATE
from engine.classifier.train import OPTIMIZERS, Trainer
from engine.errors import EngineError


class KilledError(Exception):
    pass


def message(error, f, *args, **kwargs):
    with pytest.raises(error) as caught:
        f(*args, **kwargs)
    return str(caught.value)


def setup(rows_seed=0, width=6):
    """A model with dropout and batch normalisation, loaders that shuffle in three ways."""
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(width, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.3))
    model = SlicingClassifier(base, 5, ["a", "b"])
    rng = np.random.default_rng(rows_seed)

    def loader(n, split, **settings):
        X = torch.from_numpy(rng.normal(size=(n, width)).astype(np.float32))
        data = DictDataset.from_tensors(X, (X[:, 0] > 0).long(), split)
        columns = [rng.integers(-1, 2, n) for _ in range(2)]
        S = np.rec.fromarrays(columns, names=["a", "b"])
        return model.make_slice_dataloader(data, S, batch_size=8, **settings)

    own = torch.Generator().manual_seed(9)
    drawn = WeightedRandomSampler([1.0] * 24, 24, generator=torch.Generator().manual_seed(3))
    return model, [
        loader(40, "train", shuffle=True),
        loader(24, "train", shuffle=True, generator=own),
        loader(24, "train", sampler=drawn),
        loader(32, "valid"),
    ]


def run(folder, kill_after=None, midway=False, parts=None, **settings):
    """Train, or be killed after an epoch was kept, or in the middle of the one after it."""
    model, loaders = parts or setup()
    defaults = {"n_epochs": 5, "seed": 4, "lr": 0.02, "lr_scheduler": "cosine", "warmup_steps": 3}
    trainer = Trainer(
        folder=folder, progress_bar=False, **(defaults | {"monitor": "overall/f1"} | settings)
    )
    if kill_after is not None:
        save, steps = trainer._save, []

        def save_and_die(*args):
            save(*args)
            if len(trainer.history) == kill_after and not midway:
                raise KilledError

        def die(*args):
            steps.append(1)
            if len(steps) == 1 + kill_after * 11 + 5 and midway:  # 11 steps an epoch, a dry run
                raise KilledError

        trainer._save = save_and_die
        loss = model.loss
        model.loss = lambda *args: (die(), loss(*args))[1]
        with pytest.raises(KilledError):
            trainer.fit(model, loaders)
    else:
        trainer.fit(model, loaders)
    return model, trainer


def same(ours, theirs):
    assert all(torch.equal(t, theirs.state_dict()[n]) for n, t in ours.state_dict().items())


@pytest.mark.parametrize("midway", [False, True])
@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_killed_at_any_epoch_the_final_weights_are_the_same(tmp_path, epoch, midway):
    whole, whole_trainer = run(None)
    run(tmp_path, kill_after=epoch, midway=midway)
    # Another process would begin with other random states.
    torch.manual_seed(99)
    random.seed(99)
    np.random.seed(99)
    model, trainer = run(tmp_path)
    same(model, whole)
    assert trainer.best_epoch == whole_trainer.best_epoch
    timed = {"seconds", "rows_per_second"}
    for ours, theirs in zip(trainer.history, whole_trainer.history, strict=True):
        assert {k: v for k, v in vars(ours).items() if k not in timed} == {
            k: v for k, v in vars(theirs).items() if k not in timed
        }


@pytest.mark.slow
def test_a_process_that_is_killed_outright_goes_on_too(tmp_path):
    """SIGKILL in the middle of a step: nothing is tidied up, and another process goes on."""
    code = (
        "import os, signal, torch, test_resume as t\n"
        "torch.set_num_threads(1)\n"
        "model, loaders = t.setup()\n"
        "loss, steps = model.loss, []\n"
        "def die(*args):\n"
        "    steps.append(1)\n"
        "    if len(steps) == 2 * 11 + 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return loss(*args)\n"
        "model.loss = die\n"
        f"t.run({str(tmp_path)!r}, parts=(model, loaders))"
    )
    here = str(Path(__file__).parent)
    killed = subprocess.run([sys.executable, "-c", code], timeout=300, cwd=here, check=False)
    assert killed.returncode == -signal.SIGKILL
    model, trainer = run(tmp_path)
    same(model, run(None)[0])
    assert len(trainer.history) == 5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("seed", [4, None])
def test_every_optimizer_goes_on_where_it_was(tmp_path, optimizer, seed):
    settings = {"optimizer": optimizer, "seed": seed, "monitor": None}
    random.seed(1)
    whole, _ = run(None, **settings)
    random.seed(1)
    run(tmp_path, kill_after=2, **settings)
    random.seed(2)
    model, _ = run(tmp_path, **settings)
    same(model, whole)


@pytest.mark.slow
def test_the_first_run_of_a_process_draws_what_later_ones_do():
    code = (
        "import test_resume as t\n"
        "first, again = (t.run(None, n_epochs=2)[0] for _ in range(2))\n"
        "t.same(first, again)"
    )
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, cwd=here)


def test_a_finished_run_is_not_trained_again(tmp_path):
    done, trainer = run(tmp_path)
    model, again = run(tmp_path)
    same(model, done)
    assert again.history == trainer.history
    assert again.best_epoch == trainer.best_epoch
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [f"best-{trainer.best_epoch:06d}.safetensors", "training.safetensors"]


def test_patience_counts_on_after_a_kill(tmp_path):
    settings = {"n_epochs": 40, "patience": 4, "lr": 0.3}
    whole, whole_trainer = run(None, **settings)
    assert len(whole_trainer.history) < 40
    run(tmp_path, kill_after=whole_trainer.best_epoch + 2, **settings)
    model, trainer = run(tmp_path, **settings)
    same(model, whole)
    assert len(trainer.history) == len(whole_trainer.history)


def test_a_kill_while_writing_leaves_the_state_before(tmp_path, monkeypatch):
    run(tmp_path, kill_after=2)
    before = (tmp_path / STATE).read_bytes()

    def half(tensors, file, header):
        file.write_bytes(b"half")
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(tensorfile, "save_file", half)
        model, loaders = setup()
        trainer = Trainer(
            folder=tmp_path,
            **{"n_epochs": 5, "seed": 4, "lr": 0.02, "lr_scheduler": "cosine", "warmup_steps": 3},
            monitor="overall/f1",
            progress_bar=False,
        )
        with pytest.raises(KilledError):
            trainer.fit(model, loaders)
    assert (tmp_path / STATE).read_bytes() == before
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
    same(run(tmp_path)[0], run(None)[0])


def test_without_resume_training_begins_again(tmp_path):
    run(tmp_path, kill_after=2)
    _, trainer = run(tmp_path, resume=False, n_epochs=1)
    assert [epoch.epoch for epoch in trainer.history] == [1]


def test_another_training_is_not_gone_on_with(tmp_path):
    run(tmp_path, kill_after=1)
    start = (
        f"'{tmp_path}' holds the state of another training, so it can't be gone on with: these "
        "differ: "
    )
    end = "; give another folder, remove it, or set resume=False"
    assert message(ValueError, run, tmp_path, lr=0.5, optimizer="sgd") == (
        f"{start}lr was 0.02 and is 0.5, optimizer was 'adam' and is 'sgd'{end}"
    )
    model, loaders = setup()
    model.attention = "paper"
    assert message(ValueError, run, tmp_path, parts=(model, loaders)) == (
        f"{start}attention was 'snorkel' and is 'paper'{end}"
    )
    model, loaders = setup()
    model.train_only(["a"])
    assert message(ValueError, run, tmp_path, parts=(model, loaders)) == f"{start}trained{end}"
    assert message(ValueError, run, tmp_path, parts=setup(rows_seed=1)) == (
        f"{start}training rows, validation rows{end}"
    )
    assert message(ValueError, run, tmp_path, parts=setup(width=7)) == (
        f"{start}weights, training rows, validation rows{end}"
    )


def test_a_state_that_is_damaged_or_of_another_format(tmp_path):
    run(tmp_path, kill_after=1)
    file = tmp_path / STATE
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    assert message(EngineError, run, tmp_path) == (
        f"the checkpoint at '{tmp_path}' can't be read: training.safetensors is damaged (Error "
        "while deserializing header: incomplete metadata, file not fully covered); copy it again, "
        "or train it again"
    )
    file.write_bytes(whole.replace(b'"format":"1"', b'"format":"9"'))
    assert message(EngineError, run, tmp_path) == (
        f"the checkpoint at '{tmp_path}' is of format 9, which a newer engine wrote, and this "
        "engine reads format 1: use that engine, or train it again with this one"
    )


def test_tied_weights_are_kept_too(tmp_path):
    shared = torch.randn(3, 4)
    tensorfile.write(tmp_path / "x", {"a": shared, "b": shared, "row": shared[1]}, {"n": 1})
    tensors, facts = tensorfile.read(tmp_path / "x")
    assert facts == {"n": 1}
    assert torch.equal(tensors["a"], shared)
    assert torch.equal(tensors["b"], shared)
    assert torch.equal(tensors["row"], shared[1])
