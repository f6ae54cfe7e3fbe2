from __future__ import annotations

import os
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from pyspark.sql import functions as F

from engine.classifier.bases import build_base
from engine.classifier.checkpoint import load, save
from engine.classifier.features.kinds import fit_features
from engine.classifier.features.text import BagOfWords
from engine.classifier.model import SlicingClassifier
from engine.errors import CheckpointMissingError, DatasetError, SetupError
from engine.scoring import (
    check_finite,
    checkpoint_predictor,
    explained,
    identity_of,
    ship,
    slice_differences,
    with_predictions,
)

TEXTS = ["check this out", "love this song", None, "out now: my channel", "", "😀 song"]
SLICES = {"short": "f1", "link": "f2"}
HEADS = ("short", "link", "base")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(3)
    features = BagOfWords.fit(TEXTS, column="body")
    spec = {"kind": "mlp", "layers": 1, "width": 8}
    base = build_base(spec, features.width)
    model = SlicingClassifier(base.module, base.width, list(SLICES))
    at = tmp_path_factory.mktemp("models") / "checkpoint"
    save(at, model, features=features, base=spec, classes=["ham", "spam"], slices=SLICES, facts={})
    return at


@pytest.fixture(scope="module")
def source(spark):
    rows = [(i, TEXTS[i % len(TEXTS)], ["ham", "spam"][i % 2]) for i in range(30)]
    return spark.createDataFrame(rows, "id long, body string, label string").repartition(3)


def scored(source, folder, heads=(), load=None, identity=None):
    identity = identity or f"{identity_of(folder)} {bool(heads)}"
    return with_predictions(
        source,
        keep=["id"],
        inputs=["body"],
        label="label",
        weight=None,
        model_id="m",
        classes=["ham", "spam"],
        identity=identity,
        load=load or partial(checkpoint_predictor, str(folder), heads=bool(heads)),
        heads=heads,
    ).orderBy("id")


def test_executors_say_what_the_checkpoint_says_on_the_driver(source, folder):
    df = scored(source, folder, HEADS)
    rows = df.collect()
    frame = source.orderBy("id").toPandas()
    here = load(folder).predict(frame, heads=True)
    assert [r["pred"] for r in rows] == here["pred"].tolist()
    prob = np.array([r["prob"] for r in rows])
    assert np.allclose(prob, here[["prob_ham", "prob_spam"]], atol=1e-6)
    for kind in ("indicator", "attention"):
        found = [[r[kind][s] for s in HEADS] for r in rows]
        assert np.allclose(found, here[[f"{kind}_{s}" for s in HEADS]], atol=1e-6)
    assert df.schema["prob"].metadata == {"classes": ["ham", "spam"]}
    assert df.select("indicator.short").schema[0].dataType.simpleString() == "float"


def test_without_heads_there_are_none(source, folder):
    columns = ["id", "model_id", "label", "weight", "pred", "prob"]
    assert scored(source, folder).columns == columns


def test_a_worker_loads_the_model_once_however_many_tasks_it_runs(source, folder, tmp_path):
    notes = str(tmp_path)

    def noting():
        with open(os.path.join(notes, str(os.getpid())), "a") as note:
            note.write("loaded\n")
        return checkpoint_predictor(str(folder))

    scored(source.repartition(8), folder, load=noting, identity="noted").collect()
    loads = [path.read_text() for path in tmp_path.iterdir()]
    assert loads
    assert set(loads) == {"loaded\n"}


def test_a_checkpoint_is_sent_where_its_path_can_not_be_read(spark, source, folder, tmp_path):
    moved = tmp_path / "gone"
    folder_copy = load(folder)
    save(
        moved,
        folder_copy.model,
        features=folder_copy.features,
        base=folder_copy.base,
        classes=folder_copy.classes,
        slices=folder_copy.slices,
        facts={"sent": True},
    )
    sent = ship(spark, moved, identity_of(moved))
    moved_identity = identity_of(moved)
    moved.rename(tmp_path / "elsewhere")
    rows = scored(
        source, tmp_path / "elsewhere", load=partial(checkpoint_predictor, sent), identity="sent"
    )
    assert sent == f"{moved_identity}.zip"
    assert [r["pred"] for r in rows.collect()] == [
        r["pred"] for r in scored(source, folder).collect()
    ]


def test_a_checkpoint_that_executors_can_not_read(source, folder, tmp_path):
    gone = tmp_path / "gone"
    load_gone = partial(checkpoint_predictor, str(gone))
    with pytest.raises(SetupError) as caught, explained(gone):
        scored(source, folder, load=load_gone, identity="gone").collect()
    assert str(caught.value) == (
        f"Spark's executors cannot read the checkpoint at '{gone}' (CheckpointMissingError): keep "
        "it on storage that all of them share, or send it along with --send"
    )


def lacking(module):
    raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def test_a_module_that_executors_lack(source, folder, tmp_path):
    from pyspark import cloudpickle

    # Executors can't import tests.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    found = scored(source, folder, load=partial(lacking, "torch"), identity="lacking")
    try:
        with pytest.raises(SetupError) as caught, explained(folder):
            found.write.save(str(tmp_path / "scored"))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert str(caught.value).startswith("Spark's executors cannot import 'torch': ")


def test_no_model_has_no_identity(tmp_path):
    with pytest.raises(CheckpointMissingError) as caught:
        identity_of(tmp_path / "none")
    assert str(caught.value) == (
        f"no checkpoint at '{tmp_path / 'none'}': checkpoint.json is not there; train one first, "
        "or correct the path"
    )


def test_numbers_that_are_none_are_found_before_scoring(spark):
    rows = [(1, 0.5, 1), (2, float("nan"), 2), (3, None, 3), (4, float("-inf"), 4)]
    df = spark.createDataFrame(rows, "id long, age double, n int")
    check_finite(df.where("id in (1, 3)"), "people", ["id"], ["age", "n"])
    check_finite(df, "people", ["id"], ["n"])
    with pytest.raises(DatasetError) as caught:
        check_finite(df, "people", ["id"], ["n", "age"])
    assert str(caught.value) == (
        "numeric feature 'age' is NaN or infinite on 2 rows, the first are id=2; id=4; correct "
        "them, or make them null, which is a value of its own"
    )


def test_tabular_rows_are_scored_with_several_columns(spark, tmp_path):
    frame = pd.DataFrame({"id": [1, 2, 3], "age": pd.array([20, 40, None], "Int64")})
    frame["city"] = ["Oslo", None, "Rome"]
    spec = {"kind": "tabular", "numeric": ["age"], "category": ["city"]}
    features = fit_features(spec, frame, key=["id"])
    base = build_base({"kind": "tabular_mlp", "width": 8}, features.width)
    model = SlicingClassifier(base.module, base.width, ["old"])
    facts = {"base": {"kind": "tabular_mlp", "width": 8}, "classes": [0, 1], "slices": {"old": "f"}}
    save(tmp_path / "c", model, features=features, facts={}, **facts)
    df = spark.createDataFrame(
        [(1, 20, "Oslo"), (2, 40, None), (3, None, "Rome")], "id long, age int, city string"
    )
    rows = with_predictions(
        df,
        keep=["id"],
        inputs=features.columns,
        label=None,
        weight=None,
        model_id="m",
        classes=[0, 1],
        identity=identity_of(tmp_path / "c"),
        load=partial(checkpoint_predictor, str(tmp_path / "c")),
    )
    prob = np.array([r["prob"] for r in rows.orderBy("id").collect()])
    assert np.allclose(prob, load(tmp_path / "c").predict_proba(frame), atol=1e-6)


def test_slices_that_differ_are_named():
    assert slice_differences(SLICES, {"short": "f1", "link": "f9", "new": "f"}) == (
        "added new; changed link"
    )
    assert slice_differences(SLICES, {"short": "f1"}) == "gone link"
    assert slice_differences(SLICES, dict(SLICES)) == ""


def test_probabilities_are_of_the_class_of_the_label(source, folder):
    right = scored(source, folder).where(F.col("pred").isin("ham", "spam")).count()
    assert right == 30
