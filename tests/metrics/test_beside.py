"""Masks and predictions that workers join give the figures and rows that Spark's join gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from engine import evaluate
from engine.errors import TableError
from engine.masks.layout import StoredSlice, described_mask
from engine.metrics import in_spark
from engine.metrics.inference import per_slice
from engine.metrics.scan import beside, largest
from engine.metrics.scan import scan as scan_module
from engine.storage import ranges

N = 3000
MASKS = "id long, day string, part string, v double, a boolean, b boolean, c boolean"
PREDICTIONS = "id int, day string, label int, pred int, prob {prob}, weight double"


def none_for_nan(rows):
    return rows.astype(object).where(rows.notna(), None)


def shuffled(df):
    return df.repartition(3)


def in_order(df):
    """Return rows of which most are in order, in files with a range of ids each, and some later."""
    late = df.where("id % 7 = 1").orderBy("id").coalesce(1)
    return (
        df.where("id % 7 != 1").repartitionByRange(3, "id").sortWithinPartitions("id").union(late)
    )


ORDERS = [("double", shuffled), ("double", in_order), ("array<float>", in_order)]


@pytest.fixture(scope="module")
def stored(spark, tmp_path_factory, request):
    """Return masks, and predictions of two models: one lacks rows and has some of no row."""
    kind, arranged = request.param
    r, place = np.random.default_rng(5), tmp_path_factory.mktemp("tables")
    rows = pd.DataFrame({
        "id": np.arange(N), "day": r.choice(["é", "b"], N), "part": r.choice(["tr", "te", None], N),
        "v": r.normal(size=N), "a": r.choice(np.array([True, False, None], object), N),
        "b": r.random(N) < 0.1, "c": np.zeros(N, bool),
    })  # fmt: skip
    masks = arranged(spark.createDataFrame(none_for_nan(rows), MASKS))
    marks = [described_mask(F.col(s), StoredSlice(s, s, "")) for s in "abc"]
    masks.select("id", "day", "part", "v", *marks).write.format("delta").save(str(place / "m"))
    for name, first in (("p", 0), ("q", 400)):
        n = N + 100
        prob = r.choice([0.1, 0.3, 0.9], n) if name == "p" else r.random(n)
        given = pd.DataFrame({
            "id": np.arange(n), "day": [*rows["day"], *["b"] * 100], "label": r.choice([0, 1], n),
            "pred": r.choice([0, 1], n), "weight": r.choice([1.0, 2.0, 0.5], n),
        })  # fmt: skip
        given["prob"] = [[1 - p, p] for p in prob] if "array" in kind else list(prob)
        schema = PREDICTIONS.format(prob=kind)
        df = spark.createDataFrame(
            none_for_nan(given[first:])[[c.split()[0] for c in schema.split(", ")]], schema
        )
        arranged(df).write.format("delta").save(str(place / name))
    return [spark.read.format("delta").load(str(place / name)) for name in "mpq"]


def by_spark(monkeypatch):
    for module in (scan_module, per_slice, largest):
        monkeypatch.setattr(module, "joined_by_workers", lambda *_: None)


@pytest.mark.parametrize(
    ("stored", "key", "rows_of_a_part"),
    [
        (ORDERS[0], ["id"], 500),
        (ORDERS[1], ["id"], 500),
        (ORDERS[1], ["id", "day"], 500),
        (ORDERS[2], ["id", "day"], 2**19),
    ],
    indirect=["stored"],
)
def test_figures_and_rows_are_the_same(stored, monkeypatch, request, key, rows_of_a_part):
    masks, p, q = stored

    def everything():
        e = evaluate(
            masks, {"p": p, "q": q}, key=key, split="part", allow_missing=True, n_replicates=10,
            metrics=["accuracy", "roc_auc", "log_loss", "mean@column=v"],
        )  # fmt: skip
        wanted = [(("p",), "a", 5), (("q",), "overall", 7), (("p", "q"), "b", 4), (("p",), "c", 3)]
        return [
            e.table, e.compare("p", "q"), *e.rows_of(wanted, ["v"]),
            *e.rows_of([(("p", "q"), "overall", 4)], (), "tr"),
            *e.rows_of([(("p",), "b", 5)], (), None),
        ]  # fmt: skip

    monkeypatch.setattr(beside, "PART", rows_of_a_part)
    used = []
    keys = in_spark.keys_of_selections
    monkeypatch.setattr(
        in_spark, "keys_of_selections", lambda *a: used.append(keys(*a)) or used[-1]
    )
    ranged = []
    by_ranges = beside._by_ranges
    monkeypatch.setattr(ranges, "_FEW", 1000)
    monkeypatch.setattr(beside, "_by_ranges", lambda *a: ranged.append(by_ranges(*a)) or ranged[-1])
    ours = everything()
    ordered = request.node.callspec.params["stored"] is not ORDERS[0] and key == ["id"]
    # The scan, and three times the rows that are shown; of few rows one task joins all.
    assert len(ranged) == (4 if rows_of_a_part < N else 0)
    assert all((one is not None) is ordered for one in ranged)
    assert all(used)
    assert len(used) == 3
    by_spark(monkeypatch)
    theirs = everything()
    assert len(ours) == len(theirs) == 8
    for one, other in zip(ours, theirs, strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.mark.parametrize("stored", ORDERS[1:2], indirect=True)
@pytest.mark.parametrize("rows_of_a_part", [2**19, 500])
def test_keys_that_repeat_or_are_null_are_seen(
    spark, stored, tmp_path, monkeypatch, rows_of_a_part
):
    masks, p, _ = stored
    monkeypatch.setattr(beside, "PART", rows_of_a_part)
    p.union(p.where("id = 7")).write.format("delta").save(str(tmp_path / "twice"))
    twice = spark.read.format("delta").load(str(tmp_path / "twice"))
    with pytest.raises(TableError, match=r"the first are id=7 \(2 rows\)"):
        evaluate(masks, twice, key="id", metrics=["f1"], n_replicates=0)
    nulls = masks.withColumn("id", F.expr("nullif(id, 9)"))
    nulls.write.format("delta").save(str(tmp_path / "null"))
    nulls = spark.read.format("delta").load(str(tmp_path / "null"))
    with pytest.raises(TableError, match="key column 'id' of the mask table is null on 1 of"):
        evaluate(nulls, p, key="id", metrics=["f1"], n_replicates=0, allow_missing=True)
