"""Texts as one buffer: words, lengths, forms and where characters are, against Python."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.matching.text import (
    LOWERED_TO_ASCII,
    WIDE_SPACES,
    Characters,
    TextBatch,
    beyond_ascii,
    char_lengths,
    characters,
    code_points,
    ranks,
    word_counts,
)
from tests.matching.nasty import PIECES, array_of, arrays, texts


def python(array, f, null):
    return [null if t is None else f(t) for t in array.to_pylist()]


@given(arrays)
def test_word_counts_are_pythons(array):
    found = word_counts(array)
    assert found.dtype == np.int32
    assert found.tolist() == python(array, lambda t: len(t.split()), 0)


@given(arrays)
def test_char_lengths_are_pythons(array):
    found = char_lengths(array)
    assert found.dtype == np.int32
    assert found.tolist() == python(array, len, 0)


@pytest.mark.parametrize("f", [word_counts, char_lengths])
def test_no_rows_have_no_counts(f):
    assert f(pa.array([], pa.string())).tolist() == []
    assert f(pa.array([None, ""], pa.string())).tolist() == [0, 0]
    assert f(pa.nulls(2, pa.string())).tolist() == [0, 0]
    assert f(TextBatch(pa.array(["ab"]))).tolist() == f(pa.array(["ab"])).tolist()


def test_counts_of_very_long_rows():
    rows = ["word " * 50_000, "é\u2003" * 70_000, "x" * 200_000]
    assert word_counts(pa.array(rows)).tolist() == [50_000, 70_000, 1]
    assert char_lengths(pa.array(rows)).tolist() == [250_000, 140_000, 200_000]


def test_whitespace_is_what_python_splits_at():
    spaces = {c for c in map(chr, (*range(0x80), *beyond_ascii())) if c.isspace()}
    assert spaces == {*map(chr, WIDE_SPACES), *map(chr, range(9, 14)), *map(chr, range(28, 33))}
    assert all(not c.split() for c in spaces)
    assert word_counts(pa.array([f"a{c}b" for c in spaces])).tolist() == [2] * len(spaces)


def test_all_characters_whose_lower_case_has_ascii_characters():
    chars = {c for c in beyond_ascii() if any(x.isascii() for x in chr(c).lower())}
    assert chars == LOWERED_TO_ASCII


@given(array=arrays)
def test_lower_case_is_pythons(array):
    lowered = TextBatch(array).lowered()
    want = python(array, str.lower, None)
    assert lowered.array.to_pylist() == want
    known = lowered.known(np.arange(len(array)))
    assert lowered.strings(known) == [t for t in want if t is not None]
    assert lowered.offsets[-1] == lowered.size
    data = lowered.data[: lowered.size].tobytes()
    assert lowered.folded[: lowered.size].tobytes() == data.lower()


@given(array=arrays)
def test_lower_case_that_is_not_exact_has_the_ascii_characters(array):
    def ascii_of(text):
        return None if text is None else [c for c in text if c.isascii()]

    lowered = TextBatch(array).lowered(exact=False).array.to_pylist()
    assert list(map(ascii_of, lowered)) == list(map(ascii_of, python(array, str.lower, None)))


@given(arrays, st.frozensets(st.sampled_from([c for t in PIECES for c in t if not c.isascii()])))
def test_rows_with_characters(array, wanted):
    found = TextBatch(array).rows_with(characters(frozenset(map(ord, wanted))))
    rows = enumerate(array.to_pylist())
    assert found.tolist() == [i for i, t in rows if t is not None and wanted & set(t)]


def test_all_characters_can_be_looked_up():
    for some in (range(0x80, 0x900), range(0xFFF0, 0x10100), range(0x1F600, 0x1F650)):
        batch = TextBatch(pa.array(["".join(map(chr, some))]))
        assert code_points(batch.data, batch.leads).tolist() == list(some)
        every = Characters([(some.start, some.stop - 1)])
        assert every.hold(np.array(some)).all()
        assert not every.hold(np.array([some.start - 1, some.stop])).any()
        assert len(batch.places(every)) == len(some)
        assert len(batch.places(Characters([(some.start + 3, some.start + 5)]))) == 3


@given(arrays)
def test_rows_of_positions(array):
    few, many = TextBatch(array), TextBatch(array)
    want = [i for i, n in enumerate(np.diff(few.offsets)) for _ in range(n)]
    assert many.rows_at(np.arange(many.size)).tolist() == want
    assert [few.rows_at(np.array([p])).tolist() for p in range(few.size)] == [[i] for i in want]


@given(st.lists(texts, max_size=8))
def test_strings_of_some_rows(rows):
    batch = TextBatch(array_of(rows, 2))
    assert [batch.strings([i]) for i in range(len(rows))] == [[t] for t in rows]
    assert batch.strings(range(len(rows))) == rows


@given(st.lists(st.booleans(), max_size=300))
def test_ranks_count_the_marks_before(marks):
    want = np.concatenate([[0], np.cumsum(marks)]).tolist()
    assert ranks(np.array(marks, dtype=bool), np.arange(len(marks) + 1)).tolist() == want


def test_other_kinds_of_text_are_cast():
    assert word_counts(pa.array(["a b"], pa.string_view())).tolist() == [2]
