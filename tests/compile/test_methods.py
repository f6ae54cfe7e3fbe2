"""Methods of text over whole columns say what Python says, of every character."""

from __future__ import annotations

import itertools
import re

import pyarrow as pa
import pytest

from engine.compile.methods import FORMS
from engine.compile.vectors import NULL, RAISED, VECTORS, Batch, Vec
from engine.ops.operations import OPERATIONS
from engine.slicing.expr import Call, Column, Const

ALL = [chr(c) for c in (*range(0xD800), *range(0xE000, 0x110000))]
SOME = ["a", "B", " ", "\x1c", "1", "_", "'", "é", "ß", "ǆ", "İ", "\u2028", "😀"]
MIXED = ["", *map("".join, itertools.product(SOME, repeat=3))]
ARGUMENTS = {
    "strip": [(), (None,), ("a 😀",), ("",)],
    "lstrip": [(), (" \x1cé",)],
    "rstrip": [(), ("a\u2028",)],
    "replace": [("a", "bb"), ("é", ""), ("😀a", "x"), ("", "x")],
    "count": [("a",), ("é",), ("aa",), ("",)],
    "find": [("a",), ("é",), ("",)],
    "removeprefix": [("a",), ("😀",), ("é1",)],
    "removesuffix": [("a",), ("😀",), ("1é",)],
    "startswith": [("a",), ("é",), ("",), (("a", "é"),), ((),)],
    "endswith": [("a",), ("é",), ("",), (("a", "😀"),)],
    "getslice": [(slice(*part),) for part in (
        (0, 2), (1, None), (None, -1), (-2, None), (-9, 2), (2, 1), (None, None, 2), (1, 9, 3),
        (None, None, -1), (2**40,), (True, 2))],
    "getitem": [(0,), (1,), (-1,), (-3,), (7,), (True,)],
}  # fmt: skip


def said(name, texts, arguments, kind=None):
    """What a form says of texts; the number of the error where it fails."""
    kind = kind or pa.large_string()
    batch = Batch({"text": pa.array(texts, kind)}, len(texts))
    node = Call(name, (Column("text"), *map(Const, arguments)))
    constants = (Vec("const", value) for value in arguments)
    vec = VECTORS[name](batch, node, batch.vec("text"), *constants)
    values = batch.values(vec)
    fail = [0] * len(texts) if vec.fail is None else vec.fail.tolist()
    return [code or value for code, value in zip(fail, values, strict=True)]


def wanted(name, texts, arguments):
    def one(text):
        if text is None:
            return NULL
        try:
            return OPERATIONS[name].python(text, *arguments)
        except Exception as error:
            return RAISED[type(error)]

    return [one(text) for text in texts]


@pytest.mark.parametrize("name", FORMS)
def test_every_character(name):
    """Alone, and behind a letter."""
    texts = [*ALL, *(f"a{c}" for c in ALL)]
    (arguments, *_) = ARGUMENTS.get(name, [()])
    assert said(name, texts, arguments) == wanted(name, texts, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, arguments) for name in FORMS for arguments in ARGUMENTS.get(name, [()])],
)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_characters_together(name, arguments, kind):
    texts = [*MIXED, None]
    assert said(name, texts, arguments, kind) == wanted(name, texts, arguments)


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge", "add", "in"])
def test_two_texts(name):
    """The order of UTF-8 is that of characters; None is equal to None alone."""
    some = ["", "a", "aa", "é", "ﬀ", "😀", "\ue000", "Z"]
    pairs = [*itertools.product(some, some), (None, "a"), ("a", None), (None, None)]
    left, right = ([p[i] for p in pairs] for i in (0, 1))
    batch = Batch({"a": pa.array(left), "b": pa.array(right, pa.large_string())}, len(pairs))
    node = Call(name, (Column("a"), Column("b")))
    vec = VECTORS[name](batch, node, batch.vec("a"), batch.vec("b"))
    fail = [0] * len(pairs) if vec.fail is None else vec.fail.tolist()
    for code, value, (a, b) in zip(fail, batch.values(vec), pairs, strict=True):
        if name in ("eq", "ne") or None not in (a, b):
            assert (code, value) == (0, OPERATIONS[name].python(a, b)), (a, b)
        else:
            assert code == NULL


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "gt", "in", "add"])
def test_a_text_and_a_constant(name):
    texts = ["", "a", "ab", "é", None]
    for constant in ("a", "", "é", "\ud800"):
        batch = Batch({"text": pa.array(texts)}, len(texts))
        node = Call(name, (Const(constant), Column("text")))
        vec = VECTORS[name](batch, node, Vec("const", constant), batch.vec("text"))
        fail = [0] * len(texts) if vec.fail is None else vec.fail.tolist()
        for code, value, text in zip(fail, batch.values(vec), texts, strict=True):
            if text is not None or name in ("eq", "ne"):
                assert (code, value) == (0, OPERATIONS[name].python(constant, text))
            else:
                assert code == NULL


@pytest.mark.parametrize(
    "pattern", [r"\D", r"[^\w\s]+", "a", r"\s+?", "[é-ü]", "(?i)[^A]", ".", r"\d{1,2}", "ab", "a|b"]
)
def test_texts_without_some_characters(pattern):
    texts = [*MIXED, *ALL[:0x250], None]
    compiled = re.compile(pattern)
    batch = Batch({"text": pa.array(texts)}, len(texts))
    constants = [Vec("const", value) for value in (compiled, "", 0)]
    args = Const(compiled), Column("text"), Const(""), Const(0)
    given = constants[0], batch.vec("text"), *constants[1:]
    vec = VECTORS["re_sub"](batch, Call("re_sub", args), *given)
    found = batch.values(vec)
    assert [v for v, text in zip(found, texts, strict=True) if text is not None] == [
        compiled.sub("", text) for text in texts if text is not None
    ]
    assert vec.fail.tolist() == [NULL if text is None else 0 for text in texts]
    one = pattern not in (r"\d{1,2}", "ab")
    assert batch.notes.by_value == (not one)
