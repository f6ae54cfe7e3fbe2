"""A project from source to figures with every fast path and with none: the same tables."""

from __future__ import annotations

import datetime as dt
import random

import numpy as np
import pytest

from engine.plain import SENTENCE

SCHEMA = "id int, text string, likes long, city string, label string, split string, weight double"
WORDS = ("check", "out", "SONG", "plz", "subscribe", "bit.ly/x", "straße", "Kelvin \u212a", "é")
SLICES = """
import re
from engine import preprocessor

@preprocessor(memoize=True)
def words(x):
    x.words = x.text.split()
    return x

@slicing_function()
def keyword(x):
    return "plz" in x.text.lower() or bool(re.search(r"\\w+\\.ly", x.text))

@slicing_function()
def liked(x):
    return x.likes > 3 and x.likes % 2 == 0

@slicing_function(pre=[words])
def few(x):
    return len(x.words) < 4

@slicing_function(pure=True)
def city(x):
    return x.city.startswith("O")

@slicing_function()
def long(text: "pd.Series"):
    return text.str.len() > 20
"""


def source(n=400):
    r = random.Random(7)
    rows = []
    for i in range(n):
        text = " ".join(r.choices(WORDS, k=r.randrange(1, 7)))
        rows.append(
            (
                i,
                None if i % 31 == 0 else text,
                None if i % 17 == 0 else r.randrange(9),
                r.choice((None, "Oslo", "Rome", "Oulu")),
                "spam" if "plz" in text or i % 11 == 0 else "ham",
                ("train", "train", "valid", "test")[i % 4],
                None if i % 23 == 0 else r.choice((0.5, 1.0, 1.1, 3.0)),
            )
        )
    return rows


@pytest.fixture
def project(bench):
    bench.rows(source(), SCHEMA)
    return bench.project(
        text="text", label="label", split="split", weight="weight", classes=["ham", "spam"],
        sf_modules=[bench.module(SLICES)],
        slices=[
            {"name": "short", "where": "length(text) < 10"},
            {"name": "norse", "lookup": {"column": "city", "keys": ["Oslo", "Oulu"]}},
            {"name": "both", "where": "keyword & ~(liked | norse)"},
        ],
        by=[{"column": "city", "top": 2}],
        metrics=["accuracy", "f1", "roc_auc", "log_loss", "ece", "recall_macro"],
        certainty={"replicates": 20, "min_support": 5},
        sample={"per_slice": 40, "per_class": 40, "overall": 60},
        classifier={
            "n_epochs": 3, "features": {"kind": "tfidf"}, "lr": 1e-3, "sample_weights": True,
            "base": {"kind": "mlp", "layers": 1, "width": 8}, "monitor": "overall/accuracy",
        },
    )  # fmt: skip


@pytest.mark.slow
def test_a_project_is_the_same_both_ways(bench, project, monkeypatch, caplog):
    ours, theirs = bench.folder / "fast", bench.folder / "plain"
    # Figures are of the same predictions; those of training are the same to a millionth only.
    scored = f"predictions.slice_aware.table={ours / 'predictions_slice_aware'}"
    said = {}
    for root, plain in ((ours, "0"), (theirs, "1")):
        monkeypatch.setenv("ENGINE_PLAIN", plain)
        caplog.clear()
        said[root] = bench.done("label_slices", project, "--explain", f"root={root}")
        for job in ("label_slices", "train_baseline", "train_classifier", "score_table"):
            bench.done(job, project, f"root={root}")
        bench.done("evaluate_slices", project, f"root={root}", scored)
        assert (SENTENCE in caplog.messages) is (SENTENCE in said[root]) is (plain == "1")
    by_row = {root: text.count("Python per row") for root, text in said.items()}
    assert by_row[theirs] > by_row[ours] + 4

    for table in ("masks", "coverage", "metrics", "predictions_baseline"):
        fast, slow = (_facts(bench.read(str(root / table))) for root in (ours, theirs))
        assert len(fast) > 10
        assert fast == slow, table
    fast, slow = (bench.read(str(root / "predictions_slice_aware")) for root in (ours, theirs))
    assert [(r["id"], r["pred"]) for r in fast] == [(r["id"], r["pred"]) for r in slow]
    gap = np.abs(np.array([r["prob"] for r in fast]) - np.array([r["prob"] for r in slow]))
    assert gap.max() < 1e-6
    assert len({r["prob"][0] for r in fast}) > 100


def _facts(rows):
    """Leave out what runs and tables are called and when, and order by all else; NaN is equal."""
    called = {"run_id", "masks", "mask_identity"}
    return sorted(
        tuple(
            (name, repr(value))
            for name, value in row.items()
            if name not in called and not isinstance(value, dt.datetime)
        )
        for row in rows
    )


def test_executors_that_run_already_are_as_plain_as_the_driver(bench, monkeypatch):
    bench.rows([(1, "a")], "id int, text string")
    name = bench.module(
        "import os\n"
        "@slicing_function()\n"
        "def is_plain(x):\n"
        "    return os.environ.get('ENGINE_PLAIN') == '1'\n"
    )
    project = bench.project(sf_modules=[name])
    for i, value in enumerate(("0", "1")):
        monkeypatch.setenv("ENGINE_PLAIN", value)
        root = bench.folder / f"out{i}"
        bench.done("label_slices", project, f"root={root}")
        (row,) = bench.read(str(root / "masks"))
        assert row["is_plain"] is bool(i)
