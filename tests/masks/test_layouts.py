"""Both layouts of a mask table are one: what is read, counted, evaluated and drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from engine import compile_slices
from engine.errors import MaskError
from engine.masks.coverage import coverage
from engine.masks.layout import Bits, Layout, StoredSlice, TableForm, described_mask, slices_of
from engine.masks.reader import read_masks, view_select
from engine.metrics.catalog import parse_metric
from engine.metrics.predictions import normalised
from engine.metrics.scan.form import FLAGS, EvaluationSpec
from engine.metrics.scan.joined import join_predictions
from engine.metrics.scan.scan import sums_of
from engine.project.demo_data import generate_comments, read_youtube_spam
from engine.sampling import Chances, draw
from engine.slicing.discovery import load_slices
from engine.slicing.rows import Row
from engine.storage.place import Place
from engine.words import packed
from tests.metrics.scanned import figures

SHARED = Path(__file__).parents[3] / "shared" / "data"
N = 600
IDS = tuple(f"s{i}" for i in range(130))  # three words, the sign bit of two of them used
SOME = ("s0", "s62", "s63", "s64", "s127", "s129")


def form(layout, ids=IDS, bits=None):
    slices = tuple(StoredSlice(s, f"Slice {s}!", f"print of {s}") for s in ids)
    return TableForm(("id", "split"), layout, bits or Bits(slices))


@pytest.fixture(scope="module")
def codes():
    """Masks as 1, 0 and -1; slices are rare and common, one is empty, one undecided everywhere."""
    rng = np.random.default_rng(3)
    shares = rng.choice([0.01, 0.2, 0.9], len(IDS))
    found = np.where(rng.random((N, len(IDS))) < shares, 1, 0)
    found[rng.random((N, len(IDS))) < 0.05] = -1
    found[:, IDS.index("s62")], found[:, IDS.index("s127")] = 0, -1
    return found


@pytest.fixture(scope="module")
def source(spark, codes):
    masks = {s: pa.array(c == 1, mask=c == -1) for s, c in zip(IDS, codes.T, strict=True)}
    splits = [("train", "test", None)[i % 3] for i in range(N)]
    table = pa.table({"id": pa.array(range(N)), "split": splits, **masks})
    return spark.createDataFrame(table).repartition(3).cache()


@pytest.fixture(scope="module", params=Layout)
def table(request, source):
    """The mask table in either layout."""
    return form(request.param).rows(source, [F.col(s) for s in IDS])


def as_boolean(masks, ids=None):
    """The rows with a BOOLEAN mask for each of these slices, or for all."""
    known = {s.id: s for s in masks.slices}
    columns = [described_mask(masks.mask(s), known[s]) for s in (known if ids is None else ids)]
    return masks.df.select(*masks.columns, *columns)


def rows_of(df, ids=IDS):
    found = sorted(df.select("id", *ids).collect())
    return np.array([[-1 if v is None else int(v) for v in r[1:]] for r in found])


def test_what_is_read_is_what_was_written(table, codes):
    masks = read_masks(table)
    assert masks.ids == IDS
    assert masks.columns == ("id", "split")
    assert masks.fingerprints == slices_of(table.schema) == {s: f"print of {s}" for s in IDS}
    assert {s.name for s in masks.slices} == {f"Slice {s}!" for s in IDS}
    whole = as_boolean(masks)
    assert whole.columns == ["id", "split", *IDS]
    assert (rows_of(whole) == codes).all()
    again = read_masks(whole)
    assert (again.layout, again.slices) == (Layout.BOOLEAN, masks.slices)
    some = masks.narrowed(["id"]).df.select("id", *read_masks(table).masks(SOME))
    assert some.columns == ["id", *SOME]
    assert (rows_of(some, SOME) == codes[:, [IDS.index(s) for s in SOME]]).all()
    assert as_boolean(masks, SOME[:2]).columns == ["id", "split", *SOME[:2]]


def test_words_are_those_of_numpy(table, codes):
    words = read_masks(table).words()
    columns = [f"{w} AS w{i}" for i, w in enumerate((*words.in_words, *words.null_words))]
    found = np.array(table.selectExpr("id", *columns).orderBy("id").collect())[:, 1:]
    assert (found == np.hstack([packed(codes == 1), packed(codes == -1)])).all()
    assert words.at == {s: i for i, s in enumerate(IDS)}


def test_rows_of_words_are_rows_of_masks(spark, source, codes):
    made = form(Layout.PACKED)
    words = np.hstack([packed(codes == 1), packed(codes == -1)])
    columns = dict(zip(made.bits.columns, words.T, strict=True))
    splits = [("train", "test", None)[i % 3] for i in range(N)]
    given = spark.createDataFrame(pa.table({"split": splits, **columns, "id": np.arange(N)}))
    by_words = made.rows_of(given, made.bits.columns)
    by_masks = made.rows(source, [F.col(s) for s in IDS])
    described = [[(f.name, f.metadata) for f in df.schema] for df in (by_words, by_masks)]
    assert described[0] == described[1]
    assert sorted(by_words.collect(), key=str) == sorted(by_masks.collect(), key=str)


def test_a_test_of_many_slices(table, codes):
    masks = read_masks(table)
    for ids in (IDS[60:70], SOME, ("s62",)):
        tests = masks.in_any(ids)
        assert len(tests) <= (len(ids) if masks.layout is Layout.BOOLEAN else 3)
        member = F.lit(False)
        for test in tests:
            member = member | F.coalesce(test, F.lit(False))
        at = [IDS.index(s) for s in ids]
        wanted = np.flatnonzero((codes[:, at] == 1).any(axis=1)).tolist()
        assert [r.id for r in table.where(member).select("id").orderBy("id").collect()] == wanted


def test_a_slice_that_is_not_there(table):
    with pytest.raises(MaskError) as raised:
        read_masks(table).mask("s6_3")
    assert str(raised.value) == "the mask table has no slice 's6_3'; did you mean 's63'?"


def test_a_dropped_slice_keeps_its_bit_and_is_not_read(source, codes):
    bits = form(Layout.PACKED).bits
    left = [s for s in bits.slices if s.id not in {"s1", "s63"}]
    later = bits.with_slices(left).with_slices([*left, bits.slices[63]])
    df = form(Layout.PACKED, bits=later).rows(source, [F.col(s) for s in later.at])
    masks = read_masks(df)
    assert masks.bits == later
    assert masks.ids == (*(s.id for s in left), "s63")
    assert later.at["s63"] == 130
    back = rows_of(as_boolean(masks), list(masks.ids))
    assert (back == codes[:, [IDS.index(s) for s in masks.ids]]).all()
    held = [w.bitwiseAND(F.lit(1).cast("long")) for w in (F.shiftright("in_0", 1), F.col("in_1"))]
    assert df.where((held[0] != 0) | (F.col("in_0") < 0)).isEmpty()


def test_the_schema_alone_says_which_bit_is_whose(source):
    df = form(Layout.PACKED).rows(source, [F.col(s) for s in IDS])
    assert df.columns[2:] == ["in_0", "in_1", "in_2", "null_0", "null_1", "null_2"]
    for kind in ("in", "null"):
        about = df.schema[f"{kind}_1"].metadata["slices"]
        assert [(a["bit"], a["id"]) for a in about] == [(b, f"s{64 + b}") for b in range(64)]
        assert about[5] == {
            "bit": 5, "id": "s69", "name": "Slice s69!", "fingerprint": "print of s69",
            "dropped": False,
        }  # fmt: skip


def test_the_view_shows_each_slice_as_a_column(spark, source, codes, tmp_path):
    for layout in Layout:
        place = str(tmp_path / f"{layout} masks")
        df = form(layout).rows(source, [F.col(s) for s in IDS])
        df.write.format("delta").save(place)
        text = view_select(read_masks(spark.read.format("delta").load(place)), Place.of(place))
        view = spark.sql(text)
        assert view.columns == ["id", "split", *IDS]
        assert {view.schema[s].dataType.simpleString() for s in IDS} == {"boolean"}
        assert (rows_of(view) == codes).all()
        assert text.endswith(f"FROM delta.`{place}`")
    assert view_select(read_masks(df.select("id", "in_0")), Place.of("shop.masks")).startswith(
        "SELECT\n  `id`,\n  CASE WHEN bit_get(null_0,0)=1 THEN NULL ELSE bit_get(in_0,0)=1 END"
    )


@pytest.mark.parametrize("ids", [IDS, SOME])
def test_coverage_counts_every_slice_and_split(table, codes, ids):
    found = coverage(table, ids, "split")
    splits = np.array([("train", "test", None)[i % 3] for i in range(N)])
    wanted = {
        (s, split): (
            int((splits == split).sum()),
            int((codes[splits == split, IDS.index(s)] == 1).sum()),
            int((codes[splits == split, IDS.index(s)] == -1).sum()),
        )
        for s in ids
        for split in (None, "test", "train")
    }
    counted = {(c.slice_id, c.split): (c.rows, c.n_in, c.n_null) for c in found}
    assert counted == wanted
    assert [(c.slice_id, c.split) for c in found] == list(wanted)
    assert {type(n) for c in found for n in (c.rows, c.n_in, c.n_null)} == {int}


def test_no_rows_have_no_coverage(table):
    assert coverage(table.where("false"), IDS, "split") == []


METRICS = ["accuracy", "f1", "roc_auc@bins=16", "precision@threshold=0.3", "coverage"]


@pytest.mark.parametrize("weighted", [False, True])
def test_figures_are_the_same_bit_by_bit_in_either_layout(spark, source, codes, weighted):
    """Words and many columns are counted by numpy, a few columns by Spark."""
    rng = np.random.default_rng(1)
    given = pd.DataFrame({"id": np.arange(N), "label": rng.integers(0, 2, N)})
    given["prob"] = rng.random(N)
    given["pred"] = (given["prob"] > 0.5).astype(int)
    if weighted:
        given["weight"] = rng.integers(1, 9, N) / 8
    df = spark.createDataFrame(given[given["id"] % 50 != 7])
    given_ = normalised(df, "t", "m", ["id"], {}, [0, 1])

    def evaluated(layout, ids):
        table = form(layout).rows(source, [F.col(s) for s in IDS])
        metrics = [parse_metric(m) for m in METRICS]
        spec = EvaluationSpec(metrics, ids, [0, 1], 1, "split", weighted, ["m"])
        found = sums_of(join_predictions(table, {"m": given_}, ["id"]), spec).scan
        flags = [sum(p.flags[flag] for p in found.parts.values()) for flag in FLAGS]
        assert flags == [N - N // 50, 0, 0, 0, 0, 0]
        return figures(found, spec)

    whole = evaluated(Layout.PACKED, IDS)
    pd.testing.assert_frame_equal(evaluated(Layout.BOOLEAN, IDS), whole, check_exact=True)
    some = whole[whole["slice"].isin(["overall", *SOME])].reset_index(drop=True)
    for layout in Layout:
        pd.testing.assert_frame_equal(evaluated(layout, SOME), some, check_exact=True)
    rows = whole[(whole["metric"] == "accuracy") & (whole["slice"] != "overall")]
    undecided = rows.groupby("slice")["n_null"].sum()
    assert undecided.to_dict() == dict(zip(IDS, (codes == -1).sum(axis=0), strict=True))


def test_the_draw_does_not_depend_on_the_layout(source):
    shares = dict.fromkeys(IDS[1:50], 1.0) | dict.fromkeys(IDS[60:70], 0.5) | {"s129": 0.25}
    chances = {"train": Chances(0.1, shares), "test": Chances(0.2, {"s63": 0.3})}
    drawn = [
        sorted(
            draw(
                form(layout).rows(source, [F.col(s) for s in IDS]),
                ["id"],
                chances,
                0,
                F.col("split"),
            )
            .select("id", "sample_p")
            .collect()
        )
        for layout in Layout
    ]
    assert drawn[0] == drawn[1]
    assert 100 < len(drawn[0]) < N


# ---- real data: packed = boolean = Python, row by row


def comments():
    if not (SHARED / "youtube-spam").is_dir():
        pytest.skip(f"the YouTube Spam Collection is not in {SHARED}")
    return read_youtube_spam(SHARED / "youtube-spam"), "sfs.spam"


def people():
    if not (SHARED / "adult" / "adult.csv").is_file():
        pytest.skip(f"the Adult data set is not in {SHARED}")
    found = pd.read_csv(SHARED / "adult" / "adult.csv", na_values="?")
    found.columns = found.columns.str.replace("-", "_")
    return found, "sfs.adult"


def demo():
    found = generate_comments()
    found.loc[found.index[::97], "text"] = None
    return found, "sfs.spam"


def python_code(sf, values):
    """Call a slicing function on one row, as the mask law has it."""
    try:
        found = sf(Row(dict(values)))
    except Exception:
        assert None in values.values()
        return -1
    return -1 if found is None else int(bool(found))


@pytest.mark.parametrize("data", [comments, people, demo])
def test_real_rows_are_packed_as_python_slices_them(spark, data, tmp_path):
    frame, module = data()
    sfs = load_slices(module)
    frame = frame.astype(object).where(frame.notna(), None)
    frame["id"] = range(len(frame))
    columns = {c: pa.array(frame[c].tolist()) for c in frame.columns}
    df = spark.createDataFrame(pa.table(columns))
    plan = compile_slices(sfs, df.schema)
    slices = tuple(StoredSlice(sf.id, sf.name, "") for sf in sfs)
    found = []
    for layout in Layout:
        made = TableForm(("id",), layout, Bits(slices)).rows(
            plan.with_faults(df), plan.mask_columns()
        )
        made.write.format("delta").save(str(tmp_path / layout))
        stored = read_masks(spark.read.format("delta").load(str(tmp_path / layout)))
        assert stored.layout is layout
        found.append(rows_of(as_boolean(stored), plan.ids))
    records = frame.to_dict("records")
    wanted = np.array([[python_code(sf, values) for sf in sfs] for values in records])
    for masks in found:
        assert (masks == wanted).all()
    assert set(np.unique(wanted)) >= {0, 1}
    assert (wanted == 1).any(axis=0).all()
