"""Plain mode: the same answers with every fast path off, and none of them taken."""

from __future__ import annotations

from random import Random
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from engine import SlicingFunction, lookup, preprocessor
from engine.classifier.checkpoint import Checkpoint
from engine.classifier.data.dataset import SparseRows
from engine.classifier.features.text import TfIdf
from engine.compile.program import Program
from engine.compile.tiers import Tier
from engine.label.local import batches
from engine.label.plan import compile_slices
from engine.masks.pairs import add_pairs
from engine.metrics.catalog import parse_metric
from engine.metrics.formulas.families import addends_of
from engine.metrics.formulas.outputs import Classes, Outputs
from engine.metrics.scan.kernel import Added, Masks, Work, add
from engine.plain import obey, plain
from engine.project.settings import Project
from engine.project.training import Recipe
from engine.run.packing import packed
from engine.slicing.evaluate import BatchMask
from engine.words import bit_counts, bit_sums, set_bits
from tests.fuzz import differ, oracle, strategies


@pytest.fixture
def each_way(monkeypatch):
    """Call a function with fast paths and without; return both answers."""

    def ask(f):
        monkeypatch.setenv("ENGINE_PLAIN", "0")
        fast = f()
        monkeypatch.setenv("ENGINE_PLAIN", "1")
        return fast, f()

    return ask


@pytest.mark.parametrize(
    ("value", "is_plain"),
    [("1", True), ("yes", True), ("", False), ("0", False), ("Off", False), (None, False)],
)
def test_what_turns_it_on(value, is_plain, monkeypatch):
    if value is None:
        monkeypatch.delenv("ENGINE_PLAIN", raising=False)
    else:
        monkeypatch.setenv("ENGINE_PLAIN", value)
    assert plain() is is_plain


def test_a_worker_obeys_the_driver_and_not_its_own_environment(monkeypatch):
    for own, driver in (("1", False), ("0", True)):
        monkeypatch.setenv("ENGINE_PLAIN", own)
        obey(driver)
        assert plain() is driver


# Masks


def test_functions_run_as_python_and_say_so(monkeypatch):
    monkeypatch.setenv("ENGINE_PLAIN", "1")
    short = SlicingFunction("short", lambda x: len(x.text) < 20)
    known = lookup("known", "text", ["a", "b"])
    either = (short | known).named("either")
    table = pa.table({"text": ["a", None, "c" * 30]})
    # What is asked for is off too, and no error.
    plan = compile_slices([short, known, either], table.schema, tiers={"short": "arrow"})
    assert set(plan.tiers.values()) == {Tier.ROW, Tier.MASKS}
    said = str(plan.explain()).splitlines()
    assert said[1].split(None, 1)[1] == (
        "Python per row       ?  a Python function that reads text; not lifted: ENGINE_PLAIN is set"
    )
    assert said[-1] == (
        "ENGINE_PLAIN=1: every fast path is off, row functions run as Python, row by row"
    )
    with mock.patch.object(Program, "run", side_effect=AssertionError):
        masks = plan.apply(table, keep=[])
    assert masks.to_pydict() == {
        "short": [True, None, False],
        "known": [True, None, False],
        "either": [True, None, False],
    }


def test_a_sample_of_functions_says_the_same(tmp_path, each_way):
    r = Random(3)
    suite = differ.load([strategies.function(r) for _ in range(60)], tmp_path)
    columns = strategies.values(r, 150)
    fast, slow = each_way(lambda: differ.by_arrow(suite, columns))
    assert (slow == differ.by_oracle(suite, columns)).all()
    assert (fast == slow).all()
    assert len({*fast.ravel().tolist()} & {oracle.IN, oracle.OUT, oracle.NULL, oracle.FAULT}) == 4


def test_nothing_is_remembered_or_shared(each_way):
    calls = []

    @preprocessor(memoize=True)
    def noted(x):
        calls.append(x.text)
        x.length = len(x.text)
        return x

    sfs = [
        SlicingFunction("short", lambda x: x.length < 2, pre=[noted]),
        SlicingFunction("long", lambda x: x.length > 2, pre=[noted]),
        SlicingFunction("pure", lambda x: calls.append("pure") is None, pure=True),
    ]
    table = pd.DataFrame({"text": ["a", "a", "bbb"]})

    def ask():
        calls.clear()
        plan = compile_slices(sfs, table)
        ((_, _, out),) = batches(plan, table, [0])
        return sorted(calls), {s: m.tolist() for s, m in out.masks.items()}

    (few, fast), (many, slow) = each_way(ask)
    assert fast == slow == {"short": [1, 1, 0], "long": [0, 0, 1], "pure": [1, 1, 1]}
    assert few == ["a", "bbb", "pure"]
    assert many == [*["a"] * 4, *["bbb"] * 2, *["pure"] * 3]


# Words and metrics


@pytest.mark.parametrize("n", [1, 64, 255, 256, 1_000])
@pytest.mark.parametrize("words", [1, 3])
def test_bits_are_counted_alike(n, words, each_way):
    rng = np.random.default_rng(n)
    drawn = rng.integers(-(2**63), 2**63, (n, words))
    starts = np.unique([0, n // 3, n // 2])
    weight = rng.integers(0, 2**40, n)
    bits = rng.permutation(64 * words)[:20]

    def pairs():
        counts = np.zeros((20, 20), np.int64)
        return add_pairs(counts, drawn, bits), counts

    asked = [
        lambda: set_bits(np.ascontiguousarray(drawn.T)),
        lambda: bit_counts(drawn, starts),
        lambda: bit_sums(drawn, weight, starts),
        pairs,
    ]
    for f in asked:
        fast, slow = map(_arrays, each_way(f))
        assert [a.dtype for a in fast] == [a.dtype for a in slow]
        assert all(map(np.array_equal, fast, slow))


def _arrays(found):
    return [np.asarray(part) for part in (found if isinstance(found, tuple) else (found,))]


def test_masks_are_packed_alike(each_way):
    rng = np.random.default_rng(0)
    found = [BatchMask.of(rng.integers(-1, 2, 100).astype(np.int8)) for _ in range(70)]
    fast, slow = each_way(lambda: packed(found, [3 * i for i in range(70)], 4, 100))
    for a, b in zip(fast, slow, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_are_added_up_alike(weighted, each_way):
    rng = np.random.default_rng(5)
    n, classes = 300, Classes((0, 1), 1)
    names = ["f1", "log_loss", "ece@bins=90", "roc_auc@bins=50", "r2", "mean@column=x"]
    work = Work(
        *addends_of([parse_metric(m) for m in names], classes), weighted, 4,
        frozenset({"f1", "confusion"}),
    )  # fmt: skip
    column = rng.normal(size=n)
    column[::7] = np.nan
    outputs = Outputs(
        classes, rng.integers(-1, 2, n), rng.integers(-1, 2, n), rng.random((n, 1)),
        target=rng.normal(size=n), predicted=rng.normal(size=n), columns={"mean:x": column},
        weight=rng.random(n) * 10 if weighted else None,
    )  # fmt: skip
    masks = Masks(
        rng.integers(0, 2**63, (2, n)).astype(np.uint64),
        rng.integers(0, 2**63, n).astype(np.uint64),
    )

    def ask():
        add(added := Added(), work, masks, outputs)
        return added

    fast, slow = each_way(ask)
    for kind in ("totals", "drawn"):
        # Of sums the digits are compared: units are chosen by what is added at a time.
        one, other = (Added._digits(getattr(way, kind)) for way in (fast, slow))
        lines = {line for both in (one, other) for line, total in both.items() if total.any()}
        assert lines
        for line in lines:
            assert np.array_equal(one[line], other[line]), line


# Training


def _sample(n=240):
    rng = np.random.default_rng(1)
    words = np.array([f"word{i}" for i in range(60)])
    texts = [" ".join(rng.choice(words, 8)) for _ in range(n)]
    label = np.array([("word1 " in t) ^ ("word2 " in t) for t in texts]).astype(np.int64)
    return pa.table(
        {
            "text": texts,
            "_label": label,
            "sample_p": rng.uniform(0.2, 1, n),
            "_mask_a": ["word3 " in t for t in texts],
            "_mask_b": [None if i % 9 == 0 else "word4 " in t for i, t in enumerate(texts)],
        }
    )


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("features", ["tfidf", "bag_of_words"])
def test_training_gives_the_same_to_a_millionth(optimizer, features, each_way):
    torch.set_num_threads(1)
    sample = _sample()
    settings = {
        "features": {"kind": features}, "base": {"kind": "mlp", "layers": 1, "width": 8},
        "n_epochs": 3, "lr": 1e-3, "optimizer": optimizer, "monitor": "overall/accuracy",
        "sample_weights": True,
    }  # fmt: skip
    about = {
        "name": "sample",
        "root": "./out",
        "source": {"table": "t"},
        "key": "id",
        "text": "text",
    }
    recipe = Recipe(Project.model_validate({**about, "classifier": settings}), ["a", "b"], {})

    def ask():
        fitted, setup = recipe.build({"train": sample.slice(0, 180), "valid": sample.slice(180)})
        model, loaders, trainer = setup
        trainer.fit(model, loaders)
        slices = {"a": "", "b": ""}
        checkpoint = Checkpoint(model.eval(), fitted, settings["base"], (0, 1), slices, {})
        scores = checkpoint.score(sample, heads=True)
        field = loaders[0].dataset.X_dict["input_data"]
        return model, scores, [log.metrics for log in trainer.history], type(field)

    (fast, ours, metrics, kept), (slow, theirs, again, dense) = each_way(ask)
    assert (kept, dense) == (SparseRows, torch.Tensor)
    assert metrics == again
    for name, weight in fast.state_dict().items():
        other = slow.state_dict()[name]
        assert (weight - other).abs().max() < 1e-6, name
    for part in ("prob", "indicator", "attention"):
        assert np.abs(getattr(ours, part) - getattr(theirs, part)).max() < 1e-6


def test_features_are_the_same_dense_and_sparse(each_way):
    texts = ["out now", None, "out out THERE"]
    fitted = TfIdf.fit(texts)
    fast, slow = each_way(lambda: fitted.field(texts))
    assert torch.equal(fast.take(torch.arange(3)), slow)
