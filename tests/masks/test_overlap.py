"""Overlap: what is counted by blocks is what numpy counts at once, and the figures made of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import PandasSFApplier, SlicingFunction, compile_slices
from engine.errors import MaskError
from engine.masks import overlap, pairs
from engine.masks.pairs import Overlap, add_pairs
from engine.words import WORD, packed

pytestmark = pytest.mark.usefixtures("both_ways")


@given(
    st.integers(0, 200),
    st.integers(1, 150),
    st.sampled_from([0, 0.02, 0.5, 1]),
    st.integers(0, 2**32 - 1),
)
def test_pairs_are_those_of_a_product(n, slices, share, seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((n, slices)) < share
    bits = rng.permutation(slices)[: rng.integers(0, slices + 1)]
    counts = np.ones((len(bits), len(bits)), dtype=np.int64)
    covered = add_pairs(counts, packed(masks), bits)
    chosen = masks[:, bits].astype(int)
    assert (counts == 1 + chosen.T @ chosen).all()
    assert covered == chosen.any(axis=1).sum()


def test_rows_are_counted_block_by_block(monkeypatch):
    monkeypatch.setattr(pairs, "BLOCK", 7)
    masks = np.random.default_rng(0).random((7 * 30 + 3, 70)) < 0.05
    counts = np.zeros((70, 70), dtype=np.int64)
    assert add_pairs(counts, packed(masks), np.arange(70)) == masks.any(axis=1).sum()
    assert (counts == masks.astype(int).T @ masks.astype(int)).all()


def test_a_bit_that_is_not_asked_for_covers_no_row():
    counts = np.zeros((1, 1), dtype=np.int64)
    words = np.array([[-(2**63), 0], [0, 1]])
    assert add_pairs(counts, words, np.array([WORD])) == 1
    assert counts.tolist() == [[1]]


@pytest.fixture
def found():
    """Rows 0 to 9: b is a without a row, c is a again, d is apart, e and f are empty."""
    members = [{0, 1, 2, 3}, {0, 1, 2}, {0, 1, 2, 3}, {3, 8}, set(), set()]
    counts = np.array([[len(a & b) for b in members] for a in members])
    return Overlap(tuple("abcdef"), 10, counts, 5)


def test_pairs_that_share_a_row(found):
    pairs = found.to_pandas()
    assert list(map(tuple, pairs.drop(columns=["jaccard"]).itertuples(index=False))) == [
        ("a", "b", 4, 3, 3, 0.75, 1.0),
        ("a", "c", 4, 4, 4, 1.0, 1.0),
        ("a", "d", 4, 2, 1, 0.25, 0.5),
        ("b", "c", 3, 4, 3, 1.0, 0.75),
        ("c", "d", 4, 2, 1, 0.25, 0.5),
    ]
    assert pairs["jaccard"].tolist() == [0.75, 1.0, 0.2, 0.75, 0.2]


def test_squares(found):
    jaccard, containment = found.jaccard(), found.containment()
    assert list(jaccard.index) == list(jaccard.columns) == list(found.ids)
    assert (jaccard.loc["a", "b"], jaccard.loc["a", "e"], jaccard.loc["b", "d"]) == (0.75, 0, 0)
    assert np.isnan(jaccard.loc["e", "f"])
    assert np.isnan(jaccard.loc["e", "e"])
    assert (containment.loc["b", "a"], containment.loc["a", "b"]) == (1, 0.75)
    assert containment.loc["e"].isna().all()
    assert (containment.loc["a":"d", "e"] == 0).all()
    pd.testing.assert_frame_equal(jaccard, jaccard.T)


def test_near_duplicates_come_nearest_first_and_empty_slices_are_none(found):
    def pairs(at_least):
        near = found.near_duplicates(at_least)
        assert list(near.index) == list(range(len(near)))
        return ["".join(p) for p in near[["slice_a", "slice_b"]].to_numpy()]

    assert pairs(0.95) == ["ac"]
    assert pairs(0.75) == ["ac", "ab", "bc"]
    assert pairs(0) == ["ac", "ab", "bc", "ad", "cd"]


def test_contained_slices_are_not_equal_ones(found):
    strict = found.contained()
    assert strict[["slice_a", "slice_b"]].to_numpy().tolist() == [["b", "a"], ["b", "c"]]
    loose = found.contained(0.5)
    assert loose[["slice_a", "slice_b", "containment_a"]].to_numpy().tolist() == [
        ["b", "a", 1.0], ["b", "c", 1.0], ["a", "b", 0.75], ["c", "b", 0.75],
        ["d", "a", 0.5], ["d", "c", 0.5],
    ]  # fmt: skip


def test_no_slices_and_no_rows():
    none = Overlap((), 3, np.zeros((0, 0), dtype=np.int64), 3)
    assert none.to_pandas().empty
    assert none.jaccard().shape == (0, 0)
    assert none.near_duplicates().empty
    assert none.contained().empty


def test_masks_that_are_not_sparks_are_counted_too():
    rows = pd.DataFrame({"n": [1, 2, 3, 4, None]})
    sfs = [
        SlicingFunction("few", lambda x: x.n < 3),
        SlicingFunction("odd", lambda x: x.n % 2 == 1),
    ]
    rows["n"] = rows["n"].astype("Int64")
    arrow = pa.Table.from_pandas(rows)
    plan = compile_slices(sfs, rows)
    made = {
        "pandas": plan.apply(rows),
        "pandas, used": plan.apply(rows).assign(more=True).sort_values("n"),
        "pyarrow": compile_slices(sfs, arrow).apply(arrow),
        "a batch": compile_slices(sfs, arrow).apply(arrow).to_batches()[0],
        "records": PandasSFApplier(sfs).apply(rows, progress_bar=False),
    }
    for how, masks in made.items():
        found = overlap.overlap(masks)
        assert found.ids == ("few", "odd"), how
        assert found.counts.tolist() == [[2, 1], [1, 2]], how
        assert (found.rows, found.uncovered) == (5, 2), how
        assert overlap.overlap(masks, ["odd"]).counts.tolist() == [[2]]
    assert overlap.overlap(made["pandas"][:0]).rows == 0
    assert overlap.overlap(made["pandas"], []).uncovered == 5
    lost = pd.DataFrame(made["pandas"].to_dict("list")).astype({"few": "boolean"})
    with pytest.raises(MaskError, match=r"name those that are, ids=\['few'\]"):
        overlap.overlap(lost)
    assert overlap.overlap(lost, ["few"]).counts.tolist() == [[2]]
    with pytest.raises(MaskError, match="the column 'n' is no BOOLEAN one"):
        overlap.overlap(lost, ["n"])
    with pytest.raises(MaskError, match="there are 2 columns 'few'"):
        overlap.overlap(pd.concat([made["pandas"], made["pandas"]], axis=1), ["few"])
