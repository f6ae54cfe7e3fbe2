"""What a row function sees, and that it can't change it."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from engine.slicing.rows import MutableRow, Row, TracedMutableRow, TracedRow, isolated, values_of

VALUES = {"text": "hello", "likes": None}


def test_a_row_is_read_by_attribute_item_and_get():
    x = Row(VALUES)
    assert (x.text, x["text"], x.get("text"), x.get("other"), x.get("other", 1)) == (
        "hello", "hello", "hello", None, 1,
    )  # fmt: skip
    assert ("text" in x, "other" in x, list(x), x.keys()) == (True, False, [*VALUES], [*VALUES])
    assert dict(x) == x.asDict() == VALUES
    assert repr(x) == "Row(text='hello', likes=None)"
    assert x == Row(dict(VALUES))
    assert hash(x) == hash(Row(dict(VALUES)))


# Columns may be called like methods, ours or Python's.
NAMES = [
    "get",
    "keys",
    "asDict",
    "count",
    "index",
    "_reads",
    "_source",
    "_see",
    "values",
    "a b",
    "",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [Row, lambda v: TracedRow(v, set(), set(v))])
def test_columns_called_like_methods(make, name):
    x = make({name: "mine", "text": "hello"})
    assert getattr(x, name) == x[name] == "mine"
    assert x["text"] == "hello"
    assert values_of(copy.deepcopy(x)) == {name: "mine", "text": "hello"}
    assert repr(x).startswith(f"Row({name}='mine'")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda x: setattr(x, "text", "other"), "text"),
        (lambda x: setattr(x, "new", "other"), "new"),
        (lambda x: delattr(x, "text"), "text"),
        (lambda x: x.__setitem__("text", 1), "text"),
        (lambda x: x.__delitem__("text"), "text"),
    ],
)
@pytest.mark.parametrize("make", [Row, lambda v: TracedRow(v, set(), set(v))])
def test_a_row_is_frozen(make, change, name):
    x = make(dict(VALUES))
    message = (
        f"a slicing function cannot change x.{name}; do it in a @preprocessor, which gets a copy "
        "of the row"
    )
    with pytest.raises(AttributeError, match=f"^{re.escape(message)}$"):
        change(x)
    assert values_of(x) == VALUES


@pytest.mark.parametrize(
    ("read", "kind", "message"),
    [
        (lambda x: x.txet, AttributeError, "the row has no column 'txet'; did you mean 'text'?"),
        (lambda x: x["Text"], KeyError, "the row has no column 'Text'; did you mean 'text'?"),
        (lambda x: x.zzz, AttributeError, "the row has no column 'zzz'; known: likes, text"),
        (lambda x: x[0], KeyError, "the row has no column 0; known: likes, text"),
    ],
)
def test_a_column_that_is_not_there(read, kind, message):
    with pytest.raises(kind) as caught:
        read(Row(dict(VALUES)))
    assert caught.value.args == (message,)


def test_a_mutable_row_is_written_by_attribute_and_item():
    x = MutableRow(dict(VALUES))
    x.text, x["n"] = "other", 1
    del x.likes
    assert values_of(x) == {"text": "other", "n": 1}
    del x["n"]
    assert values_of(x) == {"text": "other"}
    with pytest.raises(AttributeError, match=r"^the row has no column 'n'; known: text$"):
        del x.n


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
@pytest.mark.parametrize(
    "make",
    [
        Row,
        MutableRow,
        lambda v: TracedRow(v, set(), set(v)),
        lambda v: TracedMutableRow(v, set(), set(v)),
    ],
)
def test_rows_copy_and_pickle(make, twin):
    x = make({"text": "a", "tags": ["b"]})
    y = twin(x)
    assert type(y) is type(x)
    assert y == x


@pytest.mark.parametrize(
    ("read", "reads"),
    [
        (lambda x: x.text, {"text"}),
        (lambda x: x["text"], {"text"}),
        (lambda x: x.get("text"), {"text"}),
        (lambda x: x.get("other"), set()),
        (lambda x: getattr(x, "likes", 0), {"likes"}),
        (lambda x: x.asDict(), {"text", "likes"}),
        (vars, {"text", "likes"}),
        (lambda x: x.__dict__["text"], {"text", "likes"}),
        (dict, {"text", "likes"}),
        (lambda x: {**x}, {"text", "likes"}),
        (lambda x: "text" in x, set()),
        (list, set()),
        (lambda x: x.keys(), set()),
        (lambda x: hasattr(x, "other"), set()),
        (lambda x: copy.deepcopy(x).text, {"text"}),
        (lambda x: copy.copy(x).text, {"text"}),
    ],
)
@pytest.mark.parametrize("kind", [TracedRow, TracedMutableRow])
def test_a_traced_row_records_what_is_read(kind, read, reads):
    seen: set[str] = set()
    read(kind(dict(VALUES), seen, set(VALUES)))
    assert seen == reads


def test_a_field_that_was_set_is_no_longer_the_sources():
    reads: set[str] = set()
    source = set(VALUES)
    x = TracedMutableRow(dict(VALUES), reads, source)
    x.text = "other"
    assert (x.text, reads, source) == ("other", set(), {"likes"})
    del x.likes
    assert source == set()


def test_isolated_copies_what_can_be_changed_in_place():
    values = {"tags": ["a"], "map": {"k": [1]}, "struct": Row({"z": [1]}), "text": "t"}
    own = isolated(values)
    own["tags"].append("b")
    own["map"]["k"].append(2)
    own["struct"].z.append(2)
    assert values == {"tags": ["a"], "map": {"k": [1]}, "struct": Row({"z": [1]}), "text": "t"}
