from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from engine.errors import SampleError, TableError
from engine.hashing import unit_interval
from engine.metrics.scorer import Scorer, preds_to_probs
from engine.sampling import (
    Counts,
    Quota,
    _measured,
    check_groups,
    class_counts,
    collect,
    counted,
    draw,
    hash_split,
    stored_counts,
)

N = 4000
SLICES = ("rare", "half", "none")
QUOTA = Quota(per_slice=300, overall=400, per_class=250)


@pytest.fixture(scope="module")
def rows(spark):
    """Rows 0..N-1: "rare" is every 40th, "half" every 2nd (null on some), class 1 every 10th."""
    df = spark.range(N, numPartitions=3).select(
        F.col("id"),
        F.when(F.col("id") % 4 == 3, "valid").otherwise("train").alias("split"),
        (F.col("id") % 40 == 0).alias("rare"),
        F.when(F.col("id") % 7 == 0, None).otherwise(F.col("id") % 2 == 0).alias("half"),
        F.lit(False).alias("none"),
        F.when(F.col("id") % 11 == 5, None)
        .otherwise((F.col("id") % 10 == 0).cast("int"))
        .alias("_label"),
    )
    return df.cache()


def facts():
    i = np.arange(N)
    half = (i % 2 == 0) & (i % 7 != 0)
    masks = {"rare": i % 40 == 0, "half": half, "none": np.zeros(N, bool)}
    labels = np.where(i % 11 == 5, -1, i % 10 == 0)
    return i, masks, labels


def labels_of(rows, split=None):
    of = F.lit("all") if split is None else split
    label = F.coalesce("_label", F.lit(-1))
    return rows.select("id", of.alias("_split"), label.alias("_label"))


def p_of(chances, masks, classes):
    """Each row's p: the largest of its slices' chances, its class's and that of all rows."""
    p = np.full(len(classes), chances.overall)
    for slice_id, chance in chances.slices.items():
        p = np.where(masks[slice_id], np.maximum(p, chance), p)
    by_class = np.array([*chances.classes, 0.0])  # a row without a class takes the last
    position = np.where((classes >= 0) & (classes < len(chances.classes)), classes, -1)
    return np.maximum(p, by_class[position])


def numpy_draw(quota, seed=0):
    i, masks, labels = facts()
    classes = tuple(int((labels == c).sum()) for c in (0, 1))
    counts = Counts(N, {s: int(m.sum()) for s, m in masks.items()}, classes)
    p = p_of(quota.chances(counts), masks, labels)
    kept = unit_interval(i.tolist(), seed) < p
    return counts, dict(zip(i[kept].tolist(), p[kept].tolist(), strict=True))


@pytest.mark.parametrize("kind", ["quota", "simple", "stratified", "oversample"])
def test_spark_and_numpy_draw_the_same_rows(rows, kind):
    quota = Quota(300, 400, 250, kind)
    counts, wanted = numpy_draw(quota)
    chances = {"all": quota.chances(counts)}
    drawn = draw(rows.drop("_label"), ["id"], chances, 0, labels=labels_of(rows)).collect()
    assert {r["id"]: r["sample_p"] for r in drawn} == pytest.approx(wanted)
    assert 100 < len(drawn) <= quota.expected(counts) * 1.2


def test_small_slices_come_whole_and_classes_get_their_quota(rows):
    _, wanted = numpy_draw(QUOTA)
    i, masks, labels = facts()
    kept = np.isin(i, list(wanted))
    assert kept[masks["rare"]].all()
    only_half = masks["half"] & ~masks["rare"] & (labels != 1)
    assert 0.75 < kept[only_half].mean() / (300 / masks["half"].sum()) < 1.25
    assert int((kept & (labels == 1)).sum()) > 200


@pytest.mark.parametrize("partitions", [1, 7])
def test_partitioning_and_order_change_no_row(rows, partitions):
    chances = {"all": QUOTA.chances(numpy_draw(QUOTA)[0])}
    moved = rows.repartition(partitions, "half").sortWithinPartitions(F.desc("id"))
    tables = [
        draw(df.drop("_label"), ["id"], chances, 0, labels=labels_of(df))
        .select("id", *SLICES, "sample_p")
        .toArrow()
        .sort_by("id")
        for df in (rows, moved)
    ]
    assert tables[0] == tables[1]
    assert tables[0].num_rows > 100


def test_another_seed_is_another_sample(rows):
    chances = {"all": Quota(1, 400, kind="simple").chances(Counts(N))}
    first, second = (
        {r["id"] for r in draw(rows, ["id"], chances, seed).collect()} for seed in (0, 1)
    )
    assert len(first & second) < 100


def test_each_split_has_its_own_chances_and_others_none(rows):
    counts = counted(rows, SLICES, "split")
    assert counts["train"].rows == 3000
    assert counts["valid"].slices == {"rare": 0, "half": 0, "none": 0}
    train_only = {"train": Quota(10, 100).chances(counts["train"])}
    splits = draw(rows, ["id"], train_only, 0, F.col("split")).select("split").distinct()
    assert [r["split"] for r in splits.collect()] == ["train"]


def test_weighted_by_one_over_p_a_sample_is_unbiased(rows):
    """The mean over seeds of an estimate is the table's figure, within 4 standard errors."""
    i, masks, labels = facts()
    counts, _ = numpy_draw(QUOTA)
    chances = QUOTA.chances(counts)
    p, right = p_of(chances, masks, labels), (i * 7919) % 100 < 80 + 10 * masks["rare"]
    seeds, keys = range(300), i.tolist()
    kept = np.stack([unit_interval(keys, seed) < p for seed in seeds])
    for inside in (np.ones(N, bool), masks["rare"], masks["half"], labels == 1):
        estimates = (kept * (right & inside) / p).sum(1)
        error = estimates.std(ddof=1) / np.sqrt(len(seeds))
        assert abs(estimates.mean() - (right & inside).sum()) <= 4 * error + 1e-9
    plain = (kept * right).sum(1) / kept.sum(1)  # without weights it is another figure
    assert abs(plain.mean() - right.mean()) > 10 * plain.std(ddof=1) / np.sqrt(len(seeds))
    # Spark's estimates are those of the simulation, seed by seed.
    for seed in (0, 1, 2):
        drawn = draw(rows.drop("_label"), ["id"], {"all": chances}, seed, labels=labels_of(rows))
        half = drawn.where("half").agg(F.sum(1 / F.col("sample_p"))).collect()[0][0]
        assert half == pytest.approx((kept[seed] * masks["half"] / p).sum())


def test_hash_splits_share_neither_keys_nor_groups(rows):
    grouped = rows.withColumn("author", F.when(F.col("id") % 5 > 0, F.col("id") % 500))
    shares = {"train": 0.7, "valid": 0.2, "test": 0.1}
    split = hash_split(grouped, ["id"], shares, 0, "author")
    found = grouped.select("id", "author", split.alias("split")).toPandas()
    authors = found.dropna().groupby("author")["split"].nunique()
    assert (authors == 1).all()
    alone = found[found["author"].isna()]["split"]  # those without a group are split by key
    assert set(alone) == set(shares)
    share = found["split"].value_counts(normalize=True)
    assert all(abs(share[s] - shares[s]) < 0.07 for s in shares)
    check_groups(grouped, "source", "author", split)


def test_the_split_does_not_depend_on_the_draw(rows):
    split = hash_split(rows, ["id"], {"train": 0.5, "valid": 0.5}, 0)
    chances = {"all": Quota(1, N // 2, kind="simple").chances(Counts(N))}
    drawn = draw(rows.withColumn("half_of", split), ["id"], chances, 0)
    assert abs(drawn.where("half_of = 'train'").count() / drawn.count() - 0.5) < 0.05


def test_shares_that_are_none(rows):
    with pytest.raises(SampleError) as caught:
        hash_split(rows, ["id"], {"train": 0.8, "valid": 0.3}, 0)
    assert str(caught.value) == (
        "sample.shares must be positive and add up to 1, found train 0.8, valid 0.3"
    )


def test_a_group_in_two_splits(rows):
    with pytest.raises(SampleError) as caught:
        check_groups(
            rows.withColumn("author", F.concat(F.lit("a"), F.col("id") % 2)),
            "db.comments", "author", F.col("split"),
        )  # fmt: skip
    assert str(caught.value) == (
        "1 groups of 'author' in db.comments have rows in more than one split, the first is "
        "author='a1' in train, valid; split by group, or leave split out of the project to have "
        "it done"
    )


def test_counts_come_from_coverage_as_stored(spark):
    coverage = spark.createDataFrame(
        [("3", "train", "a", 10, 4), ("3", "train", "b", 10, 0), ("2", "train", "a", 9, 9)],
        "mask_identity string, split string, slice string, n_rows long, n_in long",
    )
    assert stored_counts(coverage, "3", ["a", "b"]) == {"train": Counts(10, {"a": 4, "b": 0})}
    assert stored_counts(coverage, "4", ["a", "b"]) == {}
    assert stored_counts(coverage, "2", ["a", "b"]) == {}  # one slice was not counted


def test_class_counts_and_labels_outside_the_classes(rows):
    labels = labels_of(rows, F.col("split")).withColumn("_value", F.col("_label"))
    counts = class_counts(labels, "t", "label", [0, 1])
    assert sum(counts["train"]) + sum(counts["valid"]) == (facts()[2] >= 0).sum()
    assert counts["valid"][1] == 0
    odd = labels.withColumn("_label", F.when(F.col("id") < 2, -2).otherwise(F.col("_label")))
    odd = odd.withColumn("_value", F.when(F.col("id") < 2, F.lit("maybe")).otherwise("0"))
    with pytest.raises(TableError) as caught:
        class_counts(odd, "db.comments", "label", [0, 1])
    assert str(caught.value) == (
        "column 'label' of db.comments has values that are not in classes [0, 1]: 'maybe'"
    )


def test_a_sample_comes_as_arrow_sorted_by_key(rows):
    inputs = rows.select("id", F.concat(F.lit("text "), "id").alias("text"))
    drawn = rows.where("id % 100 = 0").select("id", "rare").repartition(4)
    table = collect(drawn, inputs, ["id"], most=40, budget_mb=1)
    assert isinstance(table, pa.Table)
    assert table.column("id").to_pylist() == list(range(0, N, 100))
    assert table.column("text")[1].as_py() == "text 100"
    assert table.column("rare").to_pylist()[:3] == [True, False, True]


def test_a_sample_over_the_budget_is_refused_before_it_is_collected(rows, monkeypatch):
    inputs = rows.select("id", F.repeat(F.lit("x"), 10_000).alias("text"))
    drawn = rows.where("id % 2 = 0").select("id")
    probed = []
    to_arrow = type(rows).toArrow
    monkeypatch.setattr(type(rows), "toArrow", lambda df: probed.append(to_arrow(df)) or probed[-1])
    with pytest.raises(SampleError) as caught:
        collect(drawn, inputs, ["id"], most=N, budget_mb=10)
    assert str(caught.value) == (
        "the sample would take about 19.1 MB (2,000 rows of 10,012 bytes), and sample.budget_mb "
        "is 10: lower sample.overall, per_slice or per_class, or raise the budget; nothing was "
        "collected"
    )
    assert [table.num_rows for table in probed] == [1000, 1000]  # to guess from, and nothing else
    # "most" counts rows of several slices several times; those that come do fit.
    assert collect(drawn.where("id < 1000"), inputs, ["id"], N, 10).num_rows == 500


def test_rows_that_are_longer_than_the_first_ones_are_measured(rows):
    longer = F.repeat(F.lit("x"), F.when(F.col("id") < 1000, 1800).otherwise(9000))
    inputs = rows.select("id", longer.alias("text")).coalesce(1)
    with pytest.raises(SampleError) as caught:
        collect(rows.select("id"), inputs, ["id"], most=N, budget_mb=10)
    assert "about 27.5 MB (4,000 rows of 7,212 bytes)" in str(caught.value)


def test_what_is_measured_is_what_arrow_takes(spark):
    df = spark.range(3000, numPartitions=1).select(
        "id",
        F.when(F.col("id") % 3 > 0, F.repeat(F.lit("é"), 9)).alias("text"),
        (F.col("id") % 2 == 0).alias("mask"),
        (F.col("id") / 7).alias("p"),
        F.col("id").cast("int").alias("label"),
        F.col("id").cast("decimal(12, 2)").alias("price"),
        F.current_timestamp().alias("at"),
        F.array(F.lit("aaa"), F.lit("bbb")).alias("words"),
    )
    rows, size = _measured(df.drop("words"))
    assert rows == 3000
    assert size == pytest.approx(df.drop("words").toArrow().nbytes, rel=0.02)
    assert _measured(df)[1] == pytest.approx(df.toArrow().nbytes, rel=0.2)  # nested, it is a guess
    assert _measured(df.where("id < 0")) == (0, 0)


def test_metrics_on_a_sample_are_the_tables_in_expectation(rows):
    """Each metric's mean over seeds is the table's, in slices that the draw favours or not."""
    i, masks, labels = facts()
    golds = np.maximum(labels, 0)
    preds = np.where((i * 7919) % 100 < 80 + 15 * masks["rare"], golds, 1 - golds)
    probs = preds_to_probs(preds, 2) * 0.6 + 0.2
    counts, _ = numpy_draw(QUOTA)
    p, keys = p_of(QUOTA.chances(counts), masks, labels), i.tolist()
    scorer, seeds = Scorer(["accuracy", "recall", "f1", "roc_auc"]), range(200)
    for inside in (np.ones(N, bool), masks["rare"], masks["half"]):
        table = scorer.score(golds[inside], preds[inside], probs[inside])
        found: dict[str, list[list[float]]] = {"weighted": [], "plain": []}
        for seed in seeds:
            kept = (unit_interval(keys, seed) < p) & inside
            for name, weights in (("weighted", 1 / p[kept]), ("plain", None)):
                scores = scorer.score(golds[kept], preds[kept], probs[kept], weights)
                found[name].append(list(scores.values()))
        weighted, plain = (np.array(found[name]) for name in ("weighted", "plain"))
        wanted, error = np.array(list(table.values())), weighted.std(0, ddof=1) / np.sqrt(200)
        # A ratio of two unbiased sums is off by a little of its own variance.
        assert (np.abs(weighted.mean(0) - wanted) <= 4 * error + 0.005).all()
        if inside.all():
            assert np.abs(plain.mean(0) - wanted)[0] > 10 * error[0]


def test_a_quota_of_nothing():
    with pytest.raises(SampleError) as caught:
        Quota(per_slice=1, overall=1, per_class=0)
    assert str(caught.value) == ("sample.per_class must be a positive number of rows, found 0")
