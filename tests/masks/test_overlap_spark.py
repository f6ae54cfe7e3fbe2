"""Overlap in Spark: either layout and any partitions give numpy's counts; null is never in."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from engine.errors import MaskError
from engine.masks.layout import Bits, Layout, StoredSlice, TableForm
from engine.masks.overlap import overlap
from engine.masks.reader import read_masks

IDS = tuple(f"s{i}" for i in range(70))
SOME = ("s69", "s3", "s63", "s0")
N = 9_000  # more than a block, and than two


@pytest.fixture(scope="module")
def codes():
    """Masks as 1, 0 and -1: s0 is empty, s1 undecided everywhere, s3 is s2 again."""
    rng = np.random.default_rng(5)
    shares = rng.choice([0.002, 0.03, 0.4], len(IDS))
    found = np.where(rng.random((N, len(IDS))) < shares, 1, 0)
    found[rng.random((N, len(IDS))) < 0.03] = -1
    found[:, 0], found[:, 1], found[:, 3] = 0, -1, found[:, 2]
    found[:100] = np.minimum(found[:100], 0)
    return found


@pytest.fixture(scope="module")
def source(spark, codes):
    masks = {s: pa.array(c == 1, mask=c == -1) for s, c in zip(IDS, codes.T, strict=True)}
    return spark.createDataFrame(pa.table({"id": pa.array(range(N)), **masks})).cache()


def stored(layout, source, ids=IDS):
    form = TableForm(("id",), layout, Bits(tuple(StoredSlice(s, s, "") for s in ids)))
    return form.rows(source, [F.col(s) for s in ids])


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("partitions", [1, 7])
@pytest.mark.parametrize("ids", [None, SOME])
def test_counts_are_those_of_numpy(source, codes, layout, partitions, ids):
    found = overlap(stored(layout, source.repartition(partitions)), ids)
    chosen = (codes[:, [IDS.index(s) for s in ids or IDS]] == 1).astype(int)
    assert found.ids == (ids or IDS)
    assert found.counts.dtype == np.int64
    assert (found.counts == chosen.T @ chosen).all()
    assert found.rows == N
    assert found.uncovered == (chosen.sum(axis=1) == 0).sum() >= 100


def test_the_same_slice_twice_is_found(source):
    found = overlap(stored(Layout.PACKED, source))
    near = found.near_duplicates()
    assert near[["slice_a", "slice_b", "jaccard"]].to_numpy().tolist() == [["s2", "s3", 1.0]]


def test_a_slice_asked_for_twice_and_dropped_bits(source, codes):
    bits = Bits(tuple(StoredSlice(s, s, "") for s in IDS))
    later = bits.with_slices([s for s in bits.slices if s.id != "s2"])
    df = TableForm(("id",), Layout.PACKED, later).rows(source, [F.col(s) for s in later.at])
    assert overlap(df).ids == tuple(s for s in IDS if s != "s2")
    found = overlap(df, ["s3", "s3"])
    assert found.ids == ("s3",)
    assert found.counts.tolist() == [[(codes[:, 3] == 1).sum()]]


@pytest.mark.parametrize("layout", Layout)
def test_no_rows_no_slices_and_a_slice_that_is_not_there(source, layout):
    table = stored(layout, source)
    empty = overlap(table.where("false"), SOME)
    assert (empty.rows, empty.uncovered, empty.counts.sum()) == (0, 0, 0)
    assert empty.jaccard().isna().all(axis=None)
    none = overlap(table, [])
    assert (none.rows, none.uncovered, none.counts.shape) == (N, N, (0, 0))
    with pytest.raises(MaskError) as raised:
        overlap(table, ["s0", "s6_3"])
    assert str(raised.value) == "the mask table has no slice 's6_3'; did you mean 's63'?"
    assert read_masks(table).ids == IDS
