"""Arrow's mask columns to words: as bit by bit, from any slice of a column."""

import numpy as np
import pyarrow as pa
import pytest

from engine.masks.layout import Layout
from engine.masks.reader import StoredWords, words_in
from engine.words import WORD, packed, transposed


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 63, 1000])
def test_bitmaps_are_transposed_bit_by_bit(n):
    bits = np.random.default_rng(n).random((WORD, n)) < 0.4
    found = transposed(np.packbits(bits, axis=1, bitorder="little"))[:n]
    assert (found == packed(bits.T)[:, 0].view(np.uint64)).all()


@pytest.mark.parametrize("offset", [0, 1, 8, 13, 64])
@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
def test_boolean_columns_are_words_whatever_part_of_them(offset, nulls):
    rng = np.random.default_rng(offset)
    names = [f"s{i}" for i in range(70)]
    values, missing = rng.random((70, 150)) < 0.5, rng.random((70, 150)) < nulls
    columns = [pa.array(v, mask=m) for v, m in zip(values, missing, strict=True)]
    batch = pa.record_batch(columns, names).slice(offset, 81)
    stored = StoredWords(Layout.BOOLEAN, (tuple(names[:64]), tuple(names[64:])))
    part = slice(offset, offset + 81)
    words, undecided, which = words_in(batch, stored)
    inside, nulls_ = (packed(m[:, part].T).view(np.uint64).T for m in (values & ~missing, missing))
    assert (words == inside).all()
    assert undecided.tolist() == np.flatnonzero(nulls_.any(axis=0)).tolist()
    assert (which == nulls_[:, undecided]).all()


def test_packed_columns_without_nulls_undecided_are_taken_as_they_are():
    inside, undecided = [5, -1, None, 3], [0, 2**63 - 1, 0, None]
    words = pa.record_batch(
        {"in_0": inside, "null_0": undecided, "in_1": inside, "null_1": [0] * 4}
    )
    stored = StoredWords(Layout.PACKED, (("in_0", "null_0"), ("in_1", "null_1")))
    found, undecided, nulls = (w.view(np.int64).tolist() for w in words_in(words, stored))
    # Of a row without words all slices are null.
    assert found == [[5, -(2**63), 0, 0], [5, -1, 0, 3]]
    assert undecided == [1, 2, 3]
    assert nulls == [[2**63 - 1, -1, -1], [0, -1, 0]]


def test_without_slices_there_is_a_word():
    batch = pa.record_batch({"a": [1, 2]})
    words, undecided, nulls = words_in(batch, StoredWords(Layout.PACKED, ()))
    assert (words.tolist(), undecided.tolist(), nulls.tolist()) == ([[0, 0]], [], [[]])
