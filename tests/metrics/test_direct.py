"""A table's files read by workers give what Spark reads, bit for bit, or Spark reads them."""

import logging
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import evaluate
from engine.hashing import KeyHash, key_hash
from engine.masks.layout import Bits, StoredSlice, described_mask, described_words, words_sql
from engine.metrics import in_spark
from engine.metrics.scan import chunks as direct
from engine.metrics.scan import scan as scan_module
from engine.metrics.scan.joined import form_of, narrowed
from engine.storage.files import Files, Span, batches, files_of, shared

N = 700
NAMES = ["a", "b", "c", *(f"s{i}" for i in range(70))]  # two words


def masks(rng, n=N):
    found = {s: rng.random(n) < rng.choice([0.02, 0.5]) for s in NAMES}
    found["a"] = rng.choice(np.array([True, False, None], object), n)
    found["b"] = np.array([None] * n, object)
    found["c"] = np.zeros(n, bool)
    return pd.DataFrame(found)


def given(seed, label, pred, n=N, **more):
    """Rows with keys of any text, splits with nulls, and columns to take the mean of."""
    rng = np.random.default_rng(seed)

    def some(values):
        return pd.Series(rng.choice(np.array(values, object), n))

    texts = [None, "", "é", "a b", "𝄞" * 9, "x" * 31, "x" * 32, "x" * 77]
    rows = pd.DataFrame(
        {
            "row": np.arange(n) + n * seed,
            "text": some(texts),
            "day": some([None, 1, -7, 2**62]),
            "flag": some([None, True, False]),
            "value": some([None, 0.1, float("nan"), -3.0]),
            "label": some(label),
            "pred": some(pred),
            **{name: some(values) for name, values in more.items()},
        }
    )
    return pd.concat([rows, masks(rng, n)], axis=1)


HELD = "row long, text string, day long, flag boolean, value double"
# Prediction columns' types and values, metrics, classes, split.
CASES = {
    "integers, a probability, weights": (
        "label int, pred smallint, prob double, weight double",
        {
            "label": [0, 1, None, 7], "pred": [0, 1, None],
            "prob": [None, 0.0, 0.3, 1.0, 1.0000001, 1.5, -0.2, float("nan")],
            "weight": [None, 0.0, 1.0, 2.5, -1.0, float("nan"), 1e12],
        },
        ["f1", "roc_auc", "log_loss"], (0, 1), "text",
    ),
    "a 32-bit probability and integer weights": (
        "label tinyint, pred long, prob float, weight int",
        {
            "label": [0, 1], "pred": [0, 1, None], "prob": [0.1, 0.7, None],
            "weight": [None, 0, 3, -2],
        },
        ["f1", "roc_auc"], (0, 1), "day",
    ),
    "text and three probabilities": (
        "label string, pred string, prob array<double>",
        {
            "label": ["ham", "spam", "other", None, "x", "Ham"], "pred": ["ham", "spam", None],
            "prob": [None, [], [0.2, 0.3, 0.5], [0.1], [float("nan"), 0.2, 0.2], [1.5, 0.0, 0.0],
                     [0.1, 0.2, 0.3, 0.4], [None, 0.5, 0.5]],
        },
        ["f1_macro", "log_loss"], ("ham", "spam", "other"), "flag",
    ),
    "booleans and two 32-bit probabilities": (
        "label boolean, pred boolean, prob array<float>",
        {
            "label": [True, False, None], "pred": [True, False, None],
            "prob": [None, [], [0.25, 0.75], [0.1, 1.1], [1.0, 0.0], [0.5, None], [0.5],
                     [float("nan"), 0.5]],
        },
        ["f1", "roc_auc"], (False, True), None,
    ),
    "numbers": (
        "label double, pred float, weight float",
        {
            "label": [None, 0.1, 3.0, float("nan"), float("inf"), 1e30],
            "pred": [None, 0.1, 2.0, float("nan"), -float("inf")], "weight": [None, 1.5, -1.0],
        },
        ["mae", "r2"], (), "flag",
    ),
    "integers as text, texts as classes": (
        "label string, pred int",
        {"label": ["0", "1", "01", None], "pred": [0, 1, 2, None]}, ["f1"], ("0", "1"), None,
    ),
    "floats and booleans, as Spark ML has them": (
        "label double, pred float, prob array<double>",
        {
            "label": [-0.0, 0.0, 1.0, 0.5, float("nan"), None], "pred": [0.0, 1.0, 0.1, None],
            "prob": [[0.25, 0.75], None],
        },
        ["f1", "roc_auc"], (False, True), None,
    ),
    "no predictions but labels": (
        "label int, pred int", {"label": [0, 1], "pred": [None, 1]}, ["coverage"], (0, 1), None,
    ),
}  # fmt: skip


def masked(df, layout):
    slices = [StoredSlice(s, s, "") for s in NAMES]
    bits = Bits(tuple(slices))
    held = (
        described_words(words_sql(bits), bits)
        if layout == "packed"
        else [described_mask(df[s.id], s) for s in slices]
    )
    return df.select(*(c for c in df.columns if c not in NAMES), *held)


def written(spark, path, rows, schema, layout="boolean", mode="append", **options):
    kinds = f"{HELD}, {schema}, " + ", ".join(f"{s} boolean" for s in NAMES)
    named = [c.strip().split(" ")[0] for c in kinds.split(",")]
    df = spark.createDataFrame(rows[named], kinds).repartition(3)
    df = masked(df, layout)
    df.write.format("delta").mode(mode).options(**options).save(str(path))
    return spark.read.format("delta").load(str(path))


def asked(monkeypatch, df, **more):
    """Return what `evaluate` gives to the scan."""
    found = []
    with monkeypatch.context() as patched:
        patched.setattr(in_spark, "sums_of", lambda *a, **_: found.append(a) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate(df, **more)
    return found[0]


def both(joined, spec, hashed, replicates, own, rows=100):
    """Return what tasks take of the files, and what Spark gives them, in one order."""
    form = form_of(joined, spec, hashed, replicates)
    reader = direct.reader_of(own, form, hashed, rows)
    assert reader is not None, "Spark has to read it"
    tasks = pa.record_batch({"id": np.arange(len(reader.files.tasks))})
    ours = pa.Table.from_batches(map(batch_of, reader.chunks([tasks])))
    spark = narrowed(joined, form, hashed).toArrow()
    schema = pa.schema([f.with_nullable(True) for f in spark.schema])
    at = f"column_{spec.columns.index('mean:row')}"
    return [
        t.cast(schema).sort_by(at).combine_chunks()
        for t in (ours.select(spark.column_names), spark)
    ]


def batch_of(chunk):
    """Lay a chunk out as Spark gives it to tasks."""
    lists = [[] for _ in range(chunk.columns.num_rows)]
    for row, words in zip(chunk.undecided, chunk.nulls.T.view(np.int64), strict=True):
        lists[row] = words.tolist()
    columns = dict(zip(chunk.columns.schema.names, chunk.columns.columns, strict=True))
    words = {f"word_{k}": pa.array(word.view(np.int64)) for k, word in enumerate(chunk.words)}
    return pa.record_batch({**columns, "nulls": pa.array(lists, pa.list_(pa.int64())), **words})


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layout", ["boolean", "packed"])
def test_workers_read_what_spark_reads(spark, tmp_path, monkeypatch, case, layout):
    schema, values, metrics, classes, split = CASES[case]
    path = tmp_path / "a table, 100% é"
    for seed in (0, 1):
        df = written(spark, path, given(seed, **values), schema, layout)
    of_columns = ["mean@column=row", "mean@column=value", "null_rate@column=text"]
    joined, spec, hashed, _, own = asked(
        monkeypatch, df, key=["text", "day", "flag"], metrics=[*metrics, *of_columns],
        classes=classes, split=split, seed=3,
    )  # fmt: skip
    hashed = hashed or KeyHash(("text", "day", "flag"), 3)
    ours, spark_ = both(joined, spec, hashed, 5, own)
    assert ours.num_rows == 2 * N
    for name in spark_.column_names:
        one, other = (t.column(name).combine_chunks() for t in (ours, spark_))
        if name.startswith("prob") and pa.types.is_floating(other.type):
            # The scan takes null as NaN here.
            one, other = (np.asarray(c.to_numpy(zero_copy_only=False), float) for c in (one, other))
            np.testing.assert_array_equal(one, other, err_msg=name)
        elif pa.types.is_floating(other.type):
            assert one.null_count == other.null_count == 0
            np.testing.assert_array_equal(one.to_numpy(), other.to_numpy(), err_msg=name)
        elif name.startswith("prob"):
            lists = [[v or [] for v in c.to_pylist()] for c in (one, other)]
            pd.testing.assert_series_equal(*map(pd.Series, lists))
        else:
            assert one.equals(other), name


@pytest.mark.parametrize("layout", ["boolean", "packed"])
def test_figures_are_the_same_bit_for_bit(spark, tmp_path, monkeypatch, caplog, layout):
    schema, values, _, classes, _ = CASES["integers, a probability, weights"]
    known = {"label": [0, 1, None], "prob": [0.0, 0.3, 1.0, None], "weight": [0.5, 1.0, 2.25]}
    rows = given(0, **(values | known))
    df = written(spark, tmp_path / "t", rows, schema, layout)

    def table():
        return evaluate(
            df, key="row", metrics=["f1", "roc_auc", "ece", "log_loss", "count"], classes=classes,
            split="flag", n_replicates=40,
        ).table  # fmt: skip

    monkeypatch.setattr(scan_module, "_GATHERED", 2**40)
    gathered = table()
    monkeypatch.setattr(scan_module, "_GATHERED", -1)
    pd.testing.assert_frame_equal(table(), gathered, check_exact=True)
    with monkeypatch.context() as plain:
        plain.setenv("ENGINE_PLAIN", "1")
        pd.testing.assert_frame_equal(table(), gathered, check_exact=True)
    monkeypatch.setattr(scan_module, "reader_of", lambda *_: None)
    pd.testing.assert_frame_equal(table(), gathered, check_exact=True)
    monkeypatch.setattr(scan_module, "reader_of", gone)
    with caplog.at_level(logging.WARNING, "engine"):
        pd.testing.assert_frame_equal(table(), gathered, check_exact=True)
    (message,) = [r.message for r in caplog.records if "can't read" in r.message]
    assert message.startswith("a worker can't read /nowhere/gone.parquet: ")
    assert message.endswith("; Spark reads the table instead")
    assert gathered["ci_low"].notna().sum() > 100


def gone(own, form, hashed, rows):
    found = direct.reader_of(own, form, hashed, rows)
    files = Files(((Span("/nowhere/gone.parquet", 0, 9),),), found.files.columns)
    return direct.Reader(files, form, found.places, rows)


def plain(spark, path, n=10, *more, **options):
    df = spark.range(n).selectExpr("id", "id % 2 AS part", "CAST(id AS STRING) AS text", *more)
    df.write.format("delta").mode("append").options(**options).save(str(path))
    return spark.read.format("delta").load(str(path))


def read(files, *columns):
    found = [batches(files, i, 3) for i in range(len(files.tasks))]
    table = pa.Table.from_batches([b for task in found for b in task])
    return list(zip(*(table.column(c).to_pylist() for c in columns), strict=True))


def test_what_was_written_since_is_read(spark, tmp_path):
    df = plain(spark, tmp_path)
    plain(spark, tmp_path, 3)
    assert len(read(files_of(df, ["id"]), "id")) == df.count() == 13
    old = spark.read.format("delta").option("versionAsOf", 0).load(str(tmp_path))
    assert len(read(files_of(old, ["id"]), "id")) == old.count() == 10
    spark.sql(f"DELETE FROM delta.`{tmp_path}` WHERE id > 2")
    assert len(read(files_of(df, ["id"]), "id")) == df.count() == 6


def test_a_column_that_was_added_is_null_before(spark, tmp_path):
    plain(spark, tmp_path, 2)
    df = plain(spark, tmp_path, 3, "id * 2 AS late", "7L AS same", mergeSchema="true")
    found = read(files_of(df, ["id", "late", "same"]), "id", "late", "same")
    wanted = [tuple(r) for r in df.select("id", "late", "same").collect()]
    assert set(found) == set(wanted)
    assert len(found) == len(wanted) == 5


def test_chosen_columns_are_still_the_table(spark, tmp_path):
    df = plain(spark, tmp_path).select("text", "id").drop("text")
    assert len(read(files_of(df, ["id"]), "id")) == 10


@pytest.mark.parametrize(
    "change",
    [
        lambda df: df.where("id > 3"),
        lambda df: df.limit(3),
        lambda df: df.join(df.sparkSession.range(3), "id"),
        lambda df: df.union(df),
        lambda df: df.selectExpr("id + 1 AS id"),
        lambda df: df.selectExpr("part AS id"),
        lambda df: df.distinct(),
        lambda df: df.sample(0.5, 1),
    ],
    ids=["filter", "limit", "join", "union", "changed", "renamed", "distinct", "sample"],
)
def test_anything_else_is_read_by_spark(spark, tmp_path, change):
    assert files_of(change(plain(spark, tmp_path)), ["id"]) is None


def test_columns_that_workers_cant_read_are_read_by_spark(spark, tmp_path):
    assert files_of(spark.range(3), ["id"]) is None
    odd = spark.range(3).selectExpr("id", "id AS `a.b`", "parse_json('1') AS any")
    odd.write.format("delta").save(str(tmp_path / "odd"))
    odd = spark.read.format("delta").load(str(tmp_path / "odd"))
    assert files_of(odd, ["a.b"]) is files_of(odd, ["any"]) is None


def test_a_cached_table_is_read_from_its_cache(spark, tmp_path):
    df = plain(spark, tmp_path).cache()
    assert files_of(df, ["id"]) is None
    df.unpersist()


def test_text_that_may_read_as_a_number_is_read_by_spark(spark, tmp_path, monkeypatch):
    schema, values, *_ = CASES["integers as text, texts as classes"]
    df = written(spark, tmp_path, given(0, **values, n=9), schema)
    *joined, own = asked(monkeypatch, df, key="row", metrics=["f1"], classes=(0, 1), n_replicates=0)
    form = form_of(*joined[:2])
    assert direct.reader_of(own, form, None, 100) is None


def test_files_are_shared_out_once_and_evenly():
    rng = np.random.default_rng(0)
    for _ in range(200):
        names = [str(i) for i in range(rng.integers(1, 40))]
        sizes = {p: int(rng.integers(1, 2 ** rng.integers(2, 31))) for p in names}
        slots = int(rng.integers(1, 9))
        tasks = shared(sizes, slots, 2**27)
        for path, size in sizes.items():
            spans = sorted((s.start, s.end) for task in tasks for s in task if s.path == path)
            assert spans[0][0] == 0
            assert spans[-1][1] == size
            assert all(a[1] == b[0] for a, b in pairwise(spans))
        held = [sum(s.end - s.start for s in task) for task in tasks]
        assert min(held) > 0
        largest = max(s.end - s.start for task in tasks for s in task)
        assert max(held) <= sum(held) / len(held) + largest


def test_a_hash_of_arrow_columns_is_that_of_their_values():
    rng = np.random.default_rng(1)
    texts = ["".join(map(chr, rng.integers(32, 1000, n))) for n in rng.integers(0, 90, 500)]
    numbers = rng.integers(-(2**63), 2**63 - 1, 500)
    found = KeyHash(("a", "b"), 5).of([pa.array(texts), pa.array(numbers)])
    assert (found == key_hash(list(zip(texts, numbers.tolist(), strict=True)), 5)).all()
