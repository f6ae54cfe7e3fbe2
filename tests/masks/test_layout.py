"""Layouts: which one a run has, and which bit a slice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import MaskError
from engine.masks.layout import Bits, Layout, StoredSlice, check_word_names, choose_layout

RUNS = st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=8)


def slices(ids, run=0):
    return [StoredSlice(i, i.upper(), f"{i}{run}") for i in ids]


@given(RUNS)
def test_a_bit_is_one_slice_for_ever(runs):
    bits, owners = Bits(), {}
    for n, ids in enumerate(runs):
        before, bits = bits, bits.with_slices(slices(ids, n))
        assert set(bits.at) == set(ids)
        assert {s: b for s, b in before.at.items() if s in ids}.items() <= bits.at.items()
        for slice_id, bit in bits.at.items():
            assert bits.slices[bit] == StoredSlice(slice_id, slice_id.upper(), f"{slice_id}{n}")
        new = [bits.at[s] for s in ids if s not in before.at]
        assert new == list(range(len(before.slices), len(bits.slices)))
        for bit, found in enumerate(bits.slices):
            assert owners.setdefault(bit, found.id) == found.id
        for bit, found in enumerate(before.slices):
            assert bits.slices[bit].dropped == (found.dropped or found.id not in ids)


@given(RUNS)
def test_the_same_slices_in_any_order_change_no_bit(runs):
    bits = Bits()
    for ids in runs:
        bits = bits.with_slices(slices(ids))
    assert bits.with_slices(slices(sorted(bits.at))) == bits
    assert bits.with_slices(slices(sorted(bits.at, reverse=True))) == bits


@pytest.mark.parametrize(
    ("n", "words", "columns"),
    [
        (1, 1, ("in_0", "null_0")),
        (64, 1, ("in_0", "null_0")),
        (65, 2, ("in_0", "in_1", "null_0", "null_1")),
    ],
)
def test_words_of_64_slices(n, words, columns):
    bits = Bits().with_slices(slices([f"s{i}" for i in range(n)]))
    assert (bits.words, bits.columns) == (words, columns)
    assert sum(len(bits.of_word(k)) for k in range(words)) == n


@pytest.mark.parametrize(
    ("wanted", "stored", "n", "layout"),
    [
        ("auto", None, 100, "boolean"),
        ("auto", None, 101, "packed"),
        ("auto", Layout.BOOLEAN, 2000, "boolean"),
        ("auto", Layout.PACKED, 1, "packed"),
        ("packed", None, 1, "packed"),
        ("boolean", None, 2000, "boolean"),
        ("packed", Layout.PACKED, 1, "packed"),
    ],
)
def test_a_layout_is_chosen_once(wanted, stored, n, layout):
    assert choose_layout(wanted, stored, n, "masks") == layout


def test_a_layout_stays():
    with pytest.raises(MaskError) as raised:
        choose_layout("boolean", Layout.PACKED, 7, "audit/masks")
    assert str(raised.value).startswith(
        "the masks in audit/masks are packed and the project's layout is boolean, but"
    )


def test_a_column_named_as_a_word():
    bits = Bits().with_slices(slices("abc"))
    check_word_names(["id", "in_1", "in_", "null"], bits)
    with pytest.raises(MaskError, match="column 'IN_0' has the name of a word"):
        check_word_names(["id", "IN_0"], bits)
