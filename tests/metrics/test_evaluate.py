"""Metrics from the scan equal metrics of arrays, whatever the partitioning."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from sklearn import metrics as sk

from engine import Scorer, evaluate, overlap, slicing_function, where
from engine.errors import ArgumentError, ColumnError, MaskError, MetricError, TableError
from engine.hashing import KeyHash, key_hash
from engine.masks.layout import Bits, StoredSlice, described_words, words_sql
from engine.metrics import custom
from engine.metrics.catalog import parse_metric
from engine.metrics.inference.compare import compare
from engine.metrics.inference.uncertainty import Confidence, with_uncertainty
from engine.metrics.predictions import normalised
from engine.metrics.scan.form import EvaluationSpec
from engine.metrics.scan.joined import join_predictions
from engine.metrics.scan.replicates import weights
from engine.metrics.scan.scan import sums_of
from tests.jobs.spark_work import spark_work
from tests.metrics.scanned import figures

NAMES = ["accuracy", "f1", "precision", "recall", "matthews_corrcoef", "fbeta@beta=2", "f1_macro"]
N = 400
ABOUT = {"name": "a slice", "fingerprint": ""}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, N)
    score = np.clip(label * 0.3 + rng.random(N) * 0.7, 0, 1)
    return pd.DataFrame(
        {
            "id": np.arange(N),
            "split": rng.choice(["train", "test"], N),
            "a": rng.choice(np.array([True, False, None], dtype=object), N, p=[0.3, 0.6, 0.1]),
            "b": rng.random(N) < 0.05,
            "nobody": False,
            "label": label,
            "pred": (score > 0.5).astype(int),
            "score": score,
            "weight": rng.integers(1, 9, N) / 8,
        }
    )


def spec(metrics, **more):
    given = {"slice_ids": ["a", "b", "nobody"], "classes": [0, 1], "positive": 1, "split": "split"}
    return EvaluationSpec([parse_metric(m) for m in metrics], **{**given, **more})


def joined(spark, rows, weighted=False, partitions=None, models=("m",)):
    masks = spark.createDataFrame(
        rows[["id", "split", "a", "b", "nobody"]],
        "id long, split string, a boolean, b boolean, nobody boolean",
    )
    given = rows[["id", "label", "pred", "score"]].assign(weight=rows["weight"])
    table = spark.createDataFrame(given)
    if not weighted:
        table = table.drop("weight")
    if partitions:
        masks, table = masks.repartition(partitions), table.repartition(partitions)
    given = {m: normalised(table, "t", m, ["id"], {"prob": "score"}, [0, 1]) for m in models}
    return join_predictions(masks, given, ["id"])


def scanned(df, spec, **more):
    return figures(sums_of(df, spec, **more).scan, spec)


def value(found, **where):
    for column, wanted in where.items():
        found = found[found[column] == wanted]
    (row,) = found.to_dict("records")
    return row


def test_the_scan_gives_what_score_slices_gives(spark, rows):
    found = scanned(joined(spark, rows), spec(NAMES))
    for split in ("train", "test"):
        part = rows[rows["split"] == split]
        S = np.recarray(len(part), dtype=[("a", int), ("b", int)])
        S["a"] = part["a"].map({True: 1, False: 0, None: -1})
        S["b"] = part["b"]
        golds, preds = part["label"].to_numpy(), part["pred"].to_numpy()
        wanted = Scorer(NAMES).score_slices(S, golds, preds, np.eye(2)[preds])
        for name, scores in wanted.items():
            for metric, score in scores.items():
                row = value(found, split=split, slice=name, metric=metric)
                assert row["value"] == pytest.approx(score, abs=1e-12)
                assert row["status"] == "ok"
        row = value(found, split=split, slice="a", metric="f1")
        assert row["support"] == (S["a"] == 1).sum()
        assert row["n_null"] == (S["a"] == -1).sum()
        assert row["n_missing"] == 0


def test_an_empty_slice_has_rows_with_a_status(spark, rows):
    names = [*NAMES, "roc_auc", "coverage"]
    found = scanned(joined(spark, rows), spec(names))
    empty = found[found["slice"] == "nobody"]
    assert len(empty) == 2 * len(names)
    assert set(empty["status"]) == {"empty"}
    assert empty["value"].isna().all()
    assert (empty["support"] == 0).all()


def test_weights_count_and_roc_auc_is_within_its_bound(spark, rows):
    names = ["accuracy", "f1", "roc_auc", "roc_auc@bins=16"]
    weighted = spec(names, weighted=True)
    found = scanned(joined(spark, rows, weighted=True), weighted)
    part = rows[rows["split"] == "test"]
    y, p, w = part["label"], part["pred"], part["weight"]
    row = {"split": "test", "slice": "overall"}
    exact = {
        "accuracy": sk.accuracy_score(y, p, sample_weight=w),
        "f1": sk.f1_score(y, p, sample_weight=w),
    }
    for metric, wanted in exact.items():
        assert value(found, metric=metric, **row)["value"] == pytest.approx(wanted, abs=1e-12)
    auc = sk.roc_auc_score(y, part["score"], sample_weight=w)
    for metric, bins in (("roc_auc", 4096), ("roc_auc@bins=16", 16)):
        at = np.minimum((part["score"] * bins).astype(int), bins - 1)
        pos = np.bincount(at[y == 1], w[y == 1], bins)
        neg = np.bincount(at[y == 0], w[y == 0], bins)
        bound = (pos * neg).sum() / (2 * pos.sum() * neg.sum())
        held = value(found, metric=metric, **row)  # few rows, so the scores themselves
        assert held["value"] == pytest.approx(auc, abs=1e-12)
        assert held["bound"] == 0 <= bound


@pytest.mark.parametrize(("layout", "weighted"), [("boolean", False), ("packed", True)])
def test_partitioning_and_order_change_no_bit(spark, rows, layout, weighted):
    """Figures, intervals, tests and replicates, of every kind of state."""
    names = [*NAMES, "roc_auc", "pr_auc", "precision@threshold=0.3", "log_loss", "brier", "ece"]
    names += ["mae", "rmse", "r2", "mape", "coverage", "recall@top=0.2", "count"]
    asked = spec(names, weighted=weighted, models=("m", "n"))
    first = None
    shuffled = rows.sample(frac=1, random_state=1)
    for partitions, order in ((1, rows), (7, shuffled), (200, rows)):
        df = joined(spark, order, weighted, partitions, models=("m", "n"))
        df = packed(df, asked.slice_ids) if layout == "packed" else df
        scan_ = sums_of(df, asked, KeyHash(("id",), 3), 20).scan
        found = with_uncertainty(figures(scan_, asked), scan_, asked, Confidence())
        compared = compare(scan_, asked, Confidence(), "m", "n")
        drawn = {at: part.replicates.weights["confusion"] for at, part in scan_.parts.items()}
        first = (found, compared, drawn) if first is None else first
        for one, other in zip(first, (found, compared), strict=False):
            pd.testing.assert_frame_equal(one, other, check_exact=True)
        assert drawn.keys() == first[2].keys()
        for at, replicates in drawn.items():
            np.testing.assert_array_equal(replicates, first[2][at])
    assert first[0]["ci_low"].notna().sum() > 100


def packed(df, ids):
    bits = Bits(tuple(StoredSlice(s, s, "") for s in ids))
    others = [c for c in df.columns if c not in ids]
    return df.select(*others, *described_words(words_sql(bits), bits))


def test_a_threshold_takes_the_place_of_the_prediction(spark, rows):
    names = ["precision@threshold=0.7", "precision"]
    found = scanned(joined(spark, rows), spec(names))
    part = rows[rows["split"] == "test"]
    wanted = sk.precision_score(part["label"], part["score"] >= 0.7)
    row = value(found, split="test", slice="overall", metric="precision@threshold=0.7")
    assert row["value"] == pytest.approx(wanted, abs=1e-12)
    assert row["class"] == "1"


def test_null_labels_nan_scores_and_missing_predictions_are_counted(spark):
    masks = spark.createDataFrame([(i, True) for i in range(6)], "id int, s boolean")
    given = spark.createDataFrame(
        [
            (0, 1, 1, 0.9),
            (1, None, 1, 0.9),
            (2, 0, 0, math.nan),
            (3, 0, None, None),
            (4, 0, 1, 0.7),
        ],
        "id int, label int, pred int, prob double",
    )
    one = normalised(given, "t", "m", ["id"], {}, [0, 1])
    names = ["accuracy", "roc_auc", "coverage"]
    asked = spec(names, slice_ids=["s"], split=None)
    found = scanned(join_predictions(masks, {"m": one}, ["id"]), asked)
    accuracy = value(found, slice="s", metric="accuracy")
    assert (accuracy["value"], accuracy["support"], accuracy["n_missing"]) == (2 / 3, 3, 3)
    auc = value(found, slice="s", metric="roc_auc")
    assert (auc["value"], auc["support"], auc["n_missing"]) == (1.0, 2, 4)
    assert value(found, slice="s", metric="coverage")["value"] == pytest.approx(4 / 6)


@pytest.mark.parametrize("classes", [["ham", "spam", "other_"], [False, True]])
def test_classes_may_be_text_or_booleans(spark, classes):
    kind = "boolean" if classes[0] is False else "string"
    pairs = [(i, classes[i % len(classes)], classes[i * i % len(classes)]) for i in range(12)]
    given = spark.createDataFrame(pairs, f"id int, label {kind}, pred {kind}")
    masks = spark.createDataFrame([(i, i % 2 == 0) for i in range(12)], "id int, s boolean")
    one = normalised(given, "t", "m", ["id"], {}, classes)
    asked = EvaluationSpec([parse_metric("f1_macro")], ["s"], classes, len(classes) - 1)
    found = scanned(join_predictions(masks, {"m": one}, ["id"]), asked)
    chosen = [p for p in pairs if p[0] % 2 == 0]
    wanted = sk.f1_score([p[1] for p in chosen], [p[2] for p in chosen], average="macro")
    assert value(found, slice="s")["value"] == pytest.approx(wanted, abs=1e-12)


def test_single_class_slices_have_a_status(spark):
    masks = spark.createDataFrame([(i, i > 0) for i in range(4)], "id int, s boolean")
    given = spark.createDataFrame(
        [(i, int(i > 0), 0, 0.2) for i in range(4)], "id int, label int, pred int, prob double"
    )
    one = normalised(given, "t", "m", ["id"], {}, [0, 1])
    asked = spec(["roc_auc", "precision"], slice_ids=["s"], split=None)
    found = scanned(join_predictions(masks, {"m": one}, ["id"]), asked)
    assert value(found, slice="s", metric="roc_auc")["status"] == "single_class"
    undefined = value(found, slice="s", metric="precision")
    assert (undefined["status"], undefined["value"]) == ("undefined", 0.0)


def test_prediction_tables_that_do_not_fit_are_refused(spark):
    from pyspark.sql import functions as F

    given = spark.createDataFrame([(1, "1")], "id int, pred string")
    with pytest.raises(ColumnError) as missing:
        normalised(given.drop("pred"), "t", "m", ["id"], {}, [0, 1])
    assert str(missing.value) == "predictions t: there is no column 'pred'; known: id"
    with pytest.raises(ColumnError) as mapped:
        normalised(given, "t", "m", ["id"], {"prd": "pred"}, [0, 1])
    assert str(mapped.value) == (
        "columns of t: 'prd' is not a column of prediction tables; did you mean 'pred'?"
    )
    ordered = given.withColumn("prob", F.array(F.lit(0.1), F.lit(0.9)))
    ordered = ordered.withMetadata("prob", {"classes": ["1", "0"]})
    with pytest.raises(TableError) as order:
        normalised(ordered, "t", "m", ["id"], {}, [0, 1])
    assert str(order.value) == (
        "the probabilities of t are in class order ['1', '0'], the project's classes are [0, 1]; "
        "score again, or set classes in that order"
    )


@pytest.mark.parametrize(("layout", "weighted"), [("boolean", False), ("packed", True)])
def test_replicates_are_those_of_numpy(spark, rows, layout, weighted):
    asked = spec(["f1"], weighted=weighted)
    df = joined(spark, rows, weighted)
    df = packed(df, asked.slice_ids) if layout == "packed" else df
    found = sums_of(df, asked, KeyHash(("id",), 3), 12).scan
    drawn = weights(key_hash(rows["id"].tolist(), 3), 12).astype(float)
    if weighted:
        drawn = drawn * rows["weight"].to_numpy()[:, None]
    members = [np.ones(N, bool), *(rows[s].eq(True).to_numpy(bool) for s in asked.slice_ids)]
    for split in ("train", "test"):
        found_ = found.parts["model", split].replicates.weights["confusion"]
        for cell, (label, pred) in enumerate(itertools.product((0, 1), (0, 1))):
            at = (rows["split"] == split) & (rows["label"] == label) & (rows["pred"] == pred)
            expected = np.stack([drawn[at & m].sum(axis=0) for m in members])
            np.testing.assert_array_equal(found_[..., cell], expected)  # eighths add up exactly


@pytest.fixture(scope="module")
def tables(spark, rows):
    """A mask table, two models' predictions, and one table that has it all."""
    masks = spark.createDataFrame(
        rows[["id", "split", "a", "b", "nobody"]],
        "id long, split string, a boolean, b boolean, nobody boolean",
    )
    for s in ("a", "b", "nobody"):
        masks = masks.withColumn(
            s, masks[s].alias(s, metadata={"slice": {"name": s, "fingerprint": s}})
        )
    one = spark.createDataFrame(rows[["id", "label", "pred", "score"]])
    other = one.withColumn("pred", one["label"])
    return masks, one, other, masks.join(one, "id")


def test_evaluate_has_the_words_of_the_field(tables, rows):
    masks, one, other, _ = tables
    found = evaluate(
        masks, {"one": one, "best": other}, key="id", metrics=["f1"], columns={"prob": "score"}
    )
    f1 = sk.f1_score(rows["label"], rows["pred"])
    member = rows["a"].eq(True).to_numpy(bool)
    of_a = sk.f1_score(rows["label"][member], rows["pred"][member])
    outside = sk.f1_score(rows["label"][~member], rows["pred"][~member])

    def of(table):
        return table.set_index(["model_id", "slice"])["value"]["one"]

    assert of(found.overall)["overall"] == pytest.approx(f1)
    assert of(found.by_slice)["a"] == pytest.approx(of_a)
    assert of(found.difference())["a"] == pytest.approx(of_a - f1)
    assert of(found.difference("complement"))["a"] == pytest.approx(of_a - outside)
    assert of(found.difference("a"))["a"] == 0
    assert of(found.ratio())["a"] == pytest.approx(of_a / f1)
    assert found.worst(1)["slice"].tolist() == ["a"]
    gained = found.compare("one", "best").set_index("slice")
    assert gained.loc["overall", "difference"] == pytest.approx(1 - f1)
    assert gained.loc["overall", "ci_low"] > 0
    with pytest.raises(MaskError):
        found.difference("c")


def test_an_evaluation_is_written_as_the_metrics_table_has_it(spark, tables, tmp_path):
    masks, one, _, _ = tables
    found = evaluate(masks, one, key="id", metrics=["accuracy"], columns={"prob": "score"})
    found.to_delta(str(tmp_path / "figures"))
    written = spark.read.format("delta").load(str(tmp_path / "figures"))
    assert dict(written.dtypes)["class"] == "string"
    stored = {r["slice"]: r for r in written.collect()}
    assert stored["a"]["value"] == found.by_slice["value"][0]
    assert stored["overall"]["p_value"] is None
    assert stored["nobody"]["status"] == "empty"
    with pytest.raises(ArgumentError) as caught:
        found.to_delta(str(tmp_path / "figures"))
    assert str(caught.value).startswith(
        "to_delta: path must be where Spark can write, and no table is yet, found "
    )


def test_rows_are_shown_once_where_a_column_is_named_as_an_output(tables):
    masks, one, best, _ = tables
    masks = masks.withColumn("label", F.lit("other")).withColumn("flip", F.lit(1))
    models = {"one": one, "best": best}
    found = evaluate(masks, models, key="id", metrics=["accuracy"], columns={"prob": "score"})
    for rows in (
        found.flipped_rows("one", "best", columns=["label", "flip"]),
        found.worst_rows(columns=["label"]),
    ):
        assert rows.columns.is_unique
        assert set(rows["label"]) <= {0, 1}
    assert found.flipped_rows("one", "one").empty
    with pytest.raises(ColumnError) as caught:
        found.worst_rows(columns=["nothing like it"])
    assert "@prediction" not in str(caught.value)


def test_evaluate_takes_one_table_and_slicing_functions(tables, rows):
    _, _, _, all_in_one = tables
    asked = {"key": "id", "metrics": ["accuracy", "roc_auc"], "columns": {"prob": "score"}}
    held = evaluate(all_in_one, split="split", **asked)
    hit = (rows["label"] == rows["pred"]).groupby(rows["split"]).mean()
    overall = held.overall.query("metric == 'accuracy'").set_index("split")["value"]
    assert overall.to_dict() == pytest.approx(hit.to_dict())
    with pytest.raises(MetricError) as caught:
        held.compare("model", "model")
    assert str(caught.value) == (
        "models are compared by replicates: evaluate with n_replicates=200"
    )
    with pytest.raises(MetricError) as unknown:
        held.compare("model", "modell")
    assert str(unknown.value) == ("model 'modell' was not evaluated; did you mean 'model'?")
    with pytest.raises(MetricError) as positive:
        evaluate(all_in_one, positive=2, **asked)
    assert str(positive.value) == "positive=2 is none of the classes [0, 1]"

    def sure_of(x):
        return x.score > 0.6

    named = evaluate(all_in_one, slices=[slicing_function(name="sure_of")(sure_of)], **asked)
    assert named.by_slice["slice"].unique().tolist() == ["sure_of"]
    chosen = rows[rows["score"] > 0.6]
    accuracy = named.by_slice.query("metric == 'accuracy'").iloc[0]
    assert accuracy["support"] == len(chosen)
    assert accuracy["value"] == pytest.approx((chosen["label"] == chosen["pred"]).mean())


def test_a_table_without_slices_is_refused(spark, rows):
    df = spark.createDataFrame(rows[["id", "label", "pred"]])
    with pytest.raises(MaskError) as caught:
        evaluate(df, key="id")
    assert str(caught.value) == (
        "the table has no slice masks; give one that label_slices, MaskPlan.apply or "
        "SparkSFApplier.apply made, or slicing functions as slices=[...]"
    )


def test_metrics_of_the_users_own(tables, rows):
    _, _, _, all_in_one = tables

    @custom.metric(better="low")
    def missed(y_true, y_pred, y_prob, weight):
        return (y_true > y_pred).mean()

    @custom.metric(needs="prob")
    class sure:
        def state(y_true, y_pred, y_prob, weight):
            return np.array([(y_prob.max(axis=1) > 0.9).sum(), len(y_true)])

        def merge(a, b):
            return a + b

        def compute(state):
            return state[0] / state[1]

    asked = {"key": "id", "columns": {"prob": "score"}, "sure": Confidence(min_support=0)}
    found = evaluate(all_in_one, metrics=["accuracy", missed, sure], **asked)
    values = found.table.set_index(["slice", "metric"])
    members = {"overall": np.ones(N, bool), "a": rows["a"].eq(True), "b": rows["b"]}
    for name, member in members.items():
        part = rows[member.to_numpy(bool) if name != "overall" else member]
        row = values.loc[name, "missed"]
        assert (row["value"], row["support"]) == ((part.label > part.pred).mean(), len(part))
        likeliest = np.maximum(part.score, 1 - part.score)
        assert values.loc[name, "sure"]["value"] == (likeliest > 0.9).mean()
    assert values.loc["nobody", "missed"]["status"] == "empty"
    assert values.loc["nobody", "sure"]["status"] == "empty"
    worst = found.worst(1, "missed")["slice"][0]
    assert values.loc[worst, "missed"]["value"] == max(
        values.loc[s, "missed"]["value"] for s in ("a", "b")
    )


def test_numbers_are_evaluated_without_classes(spark, rows):
    given = rows.assign(label=rows["score"] * 100, pred=rows["score"] * 90 + 3)
    masks = spark.createDataFrame(given[["id", "label", "pred", "b"]])
    masks = masks.withColumn(
        "b", masks["b"].alias("b", metadata={"slice": {"name": "b", "fingerprint": "b"}})
    )
    found = evaluate(masks, key="id", metrics=["mae", "rmse", "r2", "bias", "mape", "coverage"])
    values = found.table.set_index(["slice", "metric"])["value"]
    for name, part in (("overall", given), ("b", given[given["b"]])):
        y, p = part["label"], part["pred"]
        for m, expected in {
            "mae": sk.mean_absolute_error(y, p),
            "rmse": sk.root_mean_squared_error(y, p),
            "r2": sk.r2_score(y, p),
            "bias": (p - y).mean(),
            "mape": sk.mean_absolute_percentage_error(y, p),
            "coverage": 1.0,
        }.items():
            assert values[name, m] == pytest.approx(expected, abs=1e-9)
    rows_ = found.worst_rows("b", 3)
    part = given[given["b"]]
    worst = (part["label"] - part["pred"]).abs().nlargest(3)
    assert rows_["loss"].tolist() == pytest.approx(worst.tolist())
    text = masks.withColumn("pred", masks["pred"].cast("string"))
    assert evaluate(text, key="id", metrics=["mae"]).overall["value"][0] == values["overall", "mae"]
    from pyspark.sql import functions as F

    broken = masks.withColumn("pred", F.when(masks["id"] == 3, "x").otherwise("1"))
    with pytest.raises(TableError) as caught:
        evaluate(broken, key="id", metrics=["mae"])
    assert str(caught.value) == (
        "column 'pred' of predictions of 'model' is not a number of a size of at most 4e+307 on 1 "
        "rows, the first are x at id=3; correct them, or make them null"
    )


def test_rows_to_look_at(tables, rows):
    masks, one, other, _ = tables
    asked = {"key": "id", "metrics": ["accuracy"], "columns": {"prob": "score"}}
    found = evaluate(masks, {"one": one, "best": other}, **asked)
    loss = -np.log(np.where(rows["label"] == 1, rows["score"], 1 - rows["score"]))
    member = rows["a"].eq(True).to_numpy(bool)
    worst = found.worst_rows("a", 4, "one", columns=["split"])
    assert worst.columns.tolist() == ["id", "split", "label", "pred", "prob", "loss"]
    assert worst["loss"].tolist() == pytest.approx(sorted(loss[member])[:-5:-1])
    test = found.worst_rows("a", 4, "one", split="all")
    pd.testing.assert_frame_equal(test, worst.drop(columns="split"))
    wrong = rows[member & (rows["label"] != rows["pred"]).to_numpy()]
    flips = found.flips("one", "best").set_index("slice").loc["a"]
    assert (flips["won"], flips["lost"]) == (len(wrong), 0)
    shown = found.flipped_rows("one", "best", "a", n=3)
    assert shown["flip"].tolist() == ["won"] * min(3, len(wrong))
    assert set(shown["id"]) <= set(wrong["id"])
    with pytest.raises(MaskError):
        found.worst_rows("c")

    # Many are of one scan, each as if it were asked for alone.
    wanted = [(("one",), "a", 4), (("one", "best"), "a", 3), (("best",), "overall", 2)]
    alone = [worst, found.flipped_rows("one", "best", "a", n=3, columns=["split"]),
             found.worst_rows(n=2, model="best", columns=["split"])]  # fmt: skip
    with spark_work(masks.sparkSession) as work:
        together = found.rows_of(wanted, ["split"])
    for one_, other_ in zip(together, alone, strict=True):
        pd.testing.assert_frame_equal(one_, other_)
    assert len(work.ours) <= 4, work  # a broadcast for each model, a shuffle, what is shown
    assert found.rows_of([]) == []


def test_whole_numbers_with_and_without_null_are_shown_as_if_alone(spark):
    big = 2**60 + 1
    rows = [(1, 0, 1, None, True, False), (2, 0, 1, big, False, True), (3, 1, 1, 7, False, False)]
    schema = "id int, pred int, label int, n bigint, a boolean, b boolean"
    found = evaluate(
        spark.createDataFrame(rows, schema), key="id", metrics=["accuracy"], slices=["a", "b"]
    )
    first, second = found.rows_of([(("model",), s, 1) for s in ("a", "b")], ["n"])
    assert first["n"].isna().all()
    assert second["n"].tolist() == [big]
    pd.testing.assert_frame_equal(second, found.worst_rows("b", 1, columns=["n"]))


@pytest.mark.parametrize("layout", ["boolean", "packed"])
def test_pairs_of_slices_are_counted_in_the_scan(spark, rows, layout):
    asked = replace(spec(["accuracy"]), overlap=True)
    df = joined(spark, rows, partitions=7)
    df = packed(df, asked.slice_ids) if layout == "packed" else df
    counted, found = sums_of(df, asked).scan.overlap, overlap(df, asked.slice_ids)
    assert (counted.ids, counted.rows, counted.uncovered) == (found.ids, N, found.uncovered)
    np.testing.assert_array_equal(counted.counts, found.counts)
    assert counted.counts[0, 1] > 0
    assert sums_of(df, spec(["accuracy"])).scan.overlap is None


@pytest.mark.parametrize("classes", [["c", "a", "b"], ["c", "a", "e", "b", "d"]])
def test_confusions_are_those_of_the_rows(spark, classes):
    rng = np.random.default_rng(5)
    rows = pd.DataFrame(
        {"id": range(N), "n": rng.integers(0, 9, N), "weight": rng.integers(1, 9, N) / 4}
    )
    rows["label"], rows["pred"] = rng.choice(np.array([*classes, None], object), (2, N))
    found = evaluate(
        spark.createDataFrame(rows), key="id", slices=[where("few", "n < 3")], classes=classes,
        metrics=["count", "f1_macro"],
    )  # fmt: skip
    known = rows.dropna()
    for name, some in (("overall", known), ("few", known[known["n"] < 3])):
        told = found.confusion(name)
        assert told[["label", "pred"]].to_numpy().tolist() == [
            [a, b] for a in classes for b in classes
        ]
        for column, weight in (("rows", None), ("weight", some["weight"])):
            expected = sk.confusion_matrix(
                some["label"], some["pred"], labels=classes, sample_weight=weight
            )
            matrix = told[column].to_numpy().reshape(len(classes), len(classes))
            assert matrix == pytest.approx(expected, abs=1e-12)
    with pytest.raises(MaskError):
        found.confusion("many")
    with pytest.raises(MetricError, match=r"^metric 'accuracy' was not evaluated"):
        found.confusion("few", "accuracy")


def test_confusions_are_of_a_metrics_own_threshold(tables, rows):
    _, _, _, all_in_one = tables
    found = evaluate(
        all_in_one, key="id", metrics=["accuracy", "recall@threshold=0.3"],
        columns={"prob": "score"},
    )  # fmt: skip
    for metric, pred in (
        ("accuracy", rows["pred"]),
        ("recall@threshold=0.3", rows["score"] >= 0.3),
    ):
        expected = sk.confusion_matrix(rows["label"], pred)
        assert found.confusion(metric=metric)["rows"].tolist() == expected.ravel().tolist()
    assert found.confusion().equals(found.confusion(metric="accuracy"))
    none = evaluate(all_in_one, key="id", metrics=["log_loss"], columns={"prob": "score"})
    with pytest.raises(MetricError) as told:
        none.confusion(metric="log_loss")
    assert str(told.value) == (
        "metric 'log_loss' has no confusion matrix; evaluate one that has, such as 'accuracy'"
    )


def test_calibration_is_told_bin_by_bin(tables, rows):
    _, _, _, all_in_one = tables
    found = evaluate(all_in_one, key="id", metrics=["ece@bins=4"], columns={"prob": "score"})
    bins = found.calibration("overall", "ece@bins=4")
    sure = np.maximum(rows["score"], 1 - rows["score"])
    right = (rows["score"] > 0.5) == rows["label"]
    for i, (_, row) in enumerate(bins.iterrows()):
        held = np.minimum((sure * 4).astype(int), 3) == i
        assert row["weight"] == held.sum()
        if held.any():
            assert row["confidence"] == pytest.approx(sure[held].mean(), abs=1e-12)
            assert row["accuracy"] == pytest.approx(right[held].mean(), abs=1e-12)
    apart = (bins["weight"] / N * (bins["confidence"] - bins["accuracy"]).abs()).sum()
    assert found.overall["value"][0] == pytest.approx(apart, abs=1e-12)
    assert found.calibration().equals(bins)
    with pytest.raises(MetricError):
        found.calibration("overall", "ece")


def test_names_and_classes_are_taken_as_they_are(spark):
    """They are part of SQL, in which none of them means anything."""
    from pyspark.sql import functions as F

    classes, model = ["it's", 'a\\nb "c"', "`x`"], "m'; --"
    frame = pd.DataFrame(
        {"k`e": [0, 1, 2], "s-1": [True, True, False], "label": classes, "pred": [classes[0]] * 3}
    )
    table = spark.createDataFrame(frame)
    masks = table.select("`k``e`", table["s-1"].alias("s-1", metadata={"slice": ABOUT}))
    given = {model: table.select("`k``e`", "label", "pred", F.lit(model).alias("model_id"))}
    found = evaluate(masks, given, key="k`e", metrics=["accuracy"], classes=classes)
    assert found.table[["model_id", "slice", "value"]].to_numpy().tolist() == [
        [model, "overall", 1 / 3],
        [model, "s-1", 0.5],
    ]
    shown = found.worst_rows("s-1", columns=["s-1"])
    assert shown[["k`e", "label"]].to_numpy().tolist() == [[1, classes[1]]]
