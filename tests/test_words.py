"""Words: packing and counting bits is counting booleans."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.masks.coverage import batch_counts
from engine.run import packing
from engine.slicing.evaluate import BatchMask
from engine.words import WORD, bit_counts, bit_sums, packed, unpacked

pytestmark = pytest.mark.usefixtures("both_ways")


@st.composite
def masks(draw, most=40):
    n, slices, share = (
        draw(st.integers(1, most)),
        draw(st.integers(1, 150)),
        draw(st.sampled_from([0, 0.1, 1])),
    )
    return np.random.default_rng(draw(st.integers(0, 99))).random((n, slices)) < share


@given(masks())
def test_what_is_packed_is_unpacked(found):
    words = packed(found)
    assert (words.dtype, words.shape) == (np.int64, (len(found), -(-found.shape[1] // WORD)))
    bits = unpacked(words)
    assert (bits[:, : found.shape[1]] == found).all()
    assert not bits[:, found.shape[1] :].any()
    for k, b in ((0, 0), divmod(found.shape[1] - 1, WORD)):
        assert ((words[:, k] >> b & 1) == found[:, k * WORD + b]).all()


@given(masks(), st.integers(0, 2**32 - 1))
def test_a_batch_of_masks_is_packed_at_any_bits(found, seed):
    """Bits may be in any order, with gaps; a byte and a word without a mask are zero."""
    slices = found.shape[1]
    bits = np.random.default_rng(seed).permutation(slices + 70)[:slices].tolist()
    n_words = slices // WORD + 3
    kept = [BatchMask(m, ~m if i % 3 == 0 else None) for i, m in enumerate(found.T)]
    members, undecided = packing.packed(kept, bits, n_words, len(found))
    assert members.dtype == undecided.dtype == np.int64
    full = np.zeros((2, len(found), n_words * WORD), bool)
    full[0][:, bits] = found
    full[1][:, bits[::3]] = ~found[:, ::3]
    assert (packed(full[0]) == members.T).all()
    assert (packed(full[1]) == undecided.T).all()


@given(masks(1000), st.integers(1, 5), st.integers(0, 9))
def test_bits_are_counted_and_their_weights_added_per_group(found, groups, seed):
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(0, groups, len(found)))
    weight = rng.integers(0, 2**40, len(found))
    values, starts = np.unique(group, return_index=True)
    n, total = bit_counts(packed(found), starts), bit_sums(packed(found), weight, starts)
    for i, value in enumerate(values):
        rows = group == value
        assert n[i, : found.shape[1]].tolist() == found[rows].sum(axis=0).tolist()
        assert total[i, : found.shape[1]].tolist() == (weight[rows] @ found[rows]).tolist()
    assert not n[:, found.shape[1] :].any()


@given(masks(), st.integers(0, 9))
def test_a_batch_is_counted_by_split(found, seed):
    splits = [("x", "y", None)[i] for i in np.random.default_rng(seed).integers(0, 3, len(found))]
    columns = {"_split": splits} | {f"word_{k}": w for k, w in enumerate(packed(found).T)}
    rows = batch_counts(pa.record_batch(columns)).to_pylist()
    wanted = {}
    for split, bits in zip(splits, found, strict=True):
        for bit in np.flatnonzero(bits):
            wanted[split, bit] = wanted.get((split, bit), 0) + 1
    counted = {(r["_split"], r["_bit"]): r["_rows"] for r in rows}
    assert len(counted) == len(rows)
    assert counted == wanted


def test_weights_that_no_sum_can_hold():
    words, weight = np.ones((3, 1), dtype=np.int64), np.full(3, 2**62)
    with pytest.raises(OverflowError, match="more than 64 bits hold"):
        bit_sums(words, weight, np.array([0]))
