"""The same figures, bit for bit, from Spark, from files, from Scorer and from signatures."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from engine import evaluate
from engine.metrics.explore.signatures import signatures
from engine.metrics.scan.form import MOST_CLASSES, code_of, code_sql
from engine.metrics.scorer import Scorer

N = 400
NUMBERS = ["mae", "mse", "rmse", "bias", "r2", "mape"]
CLASSES = ["accuracy", "f1", "f1_macro", "recall", "matthews_corrcoef"]
PROBABLE = ["log_loss", "brier", "ece"]


def both(spark, tmp_path, rows: pd.DataFrame, kinds: str):
    """Return a table that Spark reads and one whose files workers read, with the mask a."""
    df = spark.createDataFrame(rows, kinds)
    about = {"slice": {"name": "a", "fingerprint": "a"}}
    df = df.withColumn("a", df["a"].alias("a", metadata=about))
    df.repartition(3).write.format("delta").save(str(tmp_path / "rows"))
    return df.repartition(5, "id"), spark.read.format("delta").load(str(tmp_path / "rows"))


def figures(df, metrics, **asked) -> dict[str, dict[str, float]]:
    found = evaluate(df, key="id", metrics=metrics, n_replicates=20, **asked)
    table = pd.concat([found.overall, found.by_slice])
    ends = table.set_index(["slice", "metric"])[["value", "ci_low", "ci_high", "p_value"]]
    return ends.to_dict("index")


def equal(one: dict, other: dict) -> bool:
    frames = (pd.DataFrame.from_dict(each, orient="index") for each in (one, other))
    first, second = frames
    return first.equals(second.loc[first.index])


def test_numbers_at_odd_scales(spark, tmp_path):
    rng = np.random.default_rng(1)
    label = 1.7e15 + rng.integers(0, 9, N) + rng.integers(0, 4, N) / 4  # microseconds
    rows = pd.DataFrame({
        "id": np.arange(N), "label": label, "pred": label + rng.normal(size=N),
        "weight": rng.random(N) * 10.0 ** rng.integers(-18, 15, N), "a": rng.random(N) < 0.4,
    })  # fmt: skip
    by_spark, by_files = both(
        spark, tmp_path, rows, "id long, label double, pred double, weight double, a boolean"
    )
    found = figures(by_spark, NUMBERS, classes=())
    assert equal(found, figures(by_files, NUMBERS, classes=()))
    for name, part in (("overall", rows), ("a", rows[rows["a"]])):
        arrays = (part[c].to_numpy() for c in ("label", "pred"))
        wanted = Scorer(NUMBERS).score(*arrays, weights=part["weight"].to_numpy())
        assert {m: found[name, m]["value"] for m in NUMBERS} == wanted
        assert 0 < abs(wanted["r2"]) < 1000
        assert all(found[name, m]["ci_low"] < found[name, m]["ci_high"] for m in NUMBERS)


def test_weights_of_any_size_in_four_ways(spark, tmp_path):
    rng = np.random.default_rng(2)
    high = rng.random(N).astype(np.float32)
    high[:40] = rng.choice([0.0, 1.0], 40)
    rows = pd.DataFrame({
        "id": np.arange(N), "label": rng.integers(0, 2, N), "pred": rng.integers(0, 2, N),
        "prob": [[float(1 - p), float(p)] for p in high], "a": rng.random(N) < 0.4,
        "weight": rng.random(N) * 1e-18 * 10.0 ** rng.integers(-3, 3, N),
    })  # fmt: skip
    kinds = "id long, label int, pred int, prob array<float>, a boolean, weight double"
    by_spark, by_files = both(spark, tmp_path, rows, kinds)
    found = figures(by_spark, CLASSES + PROBABLE)
    assert equal(found, figures(by_files, CLASSES + PROBABLE))
    held = signatures(by_files, label="label", pred="pred", weight="weight")
    for name, part in (("overall", rows), ("a", rows[rows["a"]])):
        label, pred, weight = (part[c].to_numpy() for c in ("label", "pred", "weight"))
        prob = np.array(part["prob"].tolist(), np.float32)
        wanted = Scorer(CLASSES + PROBABLE).score(label, pred, prob, weight)
        assert {m: found[name, m]["value"] for m in CLASSES} == {m: wanted[m] for m in CLASSES}
        assert found[name, "brier"]["value"] == wanted["brier"]
        own = held.figures(name, CLASSES).set_index("metric")["value"]
        assert own.to_dict() == {m: wanted[m] for m in CLASSES}
        for m in ("log_loss", "ece"):  # of the one probability that is read, not of both
            assert found[name, m]["value"] == pytest.approx(wanted[m], rel=1e-6)
        asked = {"sample_weight": weight}
        assert wanted["accuracy"] == pytest.approx(sk.accuracy_score(label, pred, **asked))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert wanted["log_loss"] == pytest.approx(sk.log_loss(label, prob, **asked), rel=1e-5)


@pytest.mark.parametrize("classes", [4095, 4097])
def test_very_many_classes(spark, tmp_path, classes):
    label = [0, 5, classes - 2, classes - 1, classes - 1]
    prob = np.full((5, classes), 0.5 / (classes - 1))
    prob[np.arange(5), label] = 0.5
    rows = pd.DataFrame({
        "id": range(5), "label": label, "pred": [0, 4, classes - 2, 7, classes - 1],
        "prob": prob.tolist(), "a": [True, False, True, True, False],
    })  # fmt: skip
    kinds = "id long, label int, pred int, prob array<double>, a boolean"
    metrics = ["log_loss", "accuracy", "f1_macro"]
    for df in both(spark, tmp_path, rows, kinds):
        found = figures(df, metrics, classes=[*range(classes)])
        assert (
            found["overall", "log_loss"]["value"] == found["a", "log_loss"]["value"] == math.log(2)
        )
        assert found["overall", "accuracy"]["value"] == 3 / 5
        assert found["overall", "f1_macro"]["value"] == pytest.approx(
            sk.f1_score(label, rows["pred"], average="macro", zero_division=0)
        )


def test_sql_and_numpy_write_the_same_codes(spark):
    at = [-2, -1, 0, 4093, 4094, 4095, 65_535, 65_536, MOST_CLASSES - 1]
    pairs = [(a, b) for a in at for b in at]
    flags = {"found": "label >= 0", "bad_number": "pred < 0"}
    positions = {"label": "label", "pred": "pred"}
    df = spark.createDataFrame(pairs, "label int, pred int").coalesce(1)
    code = [r[0] for r in df.selectExpr(code_sql(flags, positions)).collect()]
    label, pred = np.array(pairs).T
    given = {"found": label >= 0, "bad_number": pred < 0}
    assert code == code_of(given, {"label": label, "pred": pred}).tolist()
