"""Slices composed with &, | and ~: Kleene's logic, ids, texts, and what can't be composed."""

from __future__ import annotations

import itertools
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import PandasSFApplier, SFApplier, SlicingFunction, slice_dataframe, where
from engine.errors import ColumnError, SliceError
from engine.slicing.algebra import is_composition, parse, text_of
from engine.slicing.compositions import Composition, compositions, with_parts
from engine.slicing.constants import constant_key
from engine.slicing.evaluate import codes, of_row
from engine.slicing.expr import Call, Column, Const, Mask
from engine.slicing.fingerprint.identity import fingerprint
from engine.slicing.ids import check_ids, composition_id
from engine.slicing.slices import SliceKind

pytestmark = pytest.mark.usefixtures("both_ways")

MASKS = (True, False, None)
short = SlicingFunction("short", lambda x: len(x.text) < 3)
loud = SlicingFunction("loud", lambda x: x.text.isupper())
many = SlicingFunction("many", lambda x: x.n > 1)

TREES = st.recursive(
    st.sampled_from("abc").map(Mask),
    lambda below: st.one_of(
        st.tuples(st.sampled_from(["kleene_and", "kleene_or"]), st.tuples(below, below)),
        st.tuples(st.just("kleene_not"), st.tuples(below)),
    ).map(lambda made: Call(*made)),
    max_leaves=12,
)


# ---- logic


def known(mask, guess):
    return guess if mask is None else mask


def kleene(tree, masks):
    """Evaluate a composition of slices whose masks of a row are these."""
    parts = {i: SlicingFunction(i, lambda x, i=i: x[i]) for i in masks}
    return of_row(tree, masks, parts)


@pytest.mark.parametrize(("a", "b"), [*itertools.product(MASKS, MASKS)])
def test_null_is_either_of_two_answers(a, b):
    """A mask is null where the answer depends on what a null stands for."""
    for op, answer in {
        "kleene_and": lambda x, y: x and y,
        "kleene_or": lambda x, y: x or y,
    }.items():
        possible = {
            answer(known(a, g), known(b, h)) for g, h in itertools.product((True, False), repeat=2)
        }
        wanted = possible.pop() if len(possible) == 1 else None
        assert kleene(Call(op, (Mask("a"), Mask("b"))), {"a": a, "b": b}) is wanted


@pytest.mark.parametrize(("a", "wanted"), [(True, False), (False, True), (None, None)])
def test_not(a, wanted):
    assert kleene(Call("kleene_not", (Mask("a"),)), {"a": a}) is wanted


@given(TREES, st.lists(st.tuples(*[st.sampled_from(MASKS)] * 3), max_size=5))
def test_batches_and_rows_agree(tree, rows):
    def of(mask):
        return -1 if mask is None else int(mask)

    columns = {n: np.array([of(r[i]) for r in rows], np.int8) for i, n in enumerate("abc")}
    wanted = [of(kleene(tree, dict(zip("abc", row, strict=True)))) for row in rows]
    assert codes(tree, columns, list, len(rows)).tolist() == wanted


def test_a_constant_that_is_used_twice():
    a, b = (Call("eq", (Column(name), Const(1))) for name in "ab")
    rows = {"a": [1, 1], "b": [1, 2]}
    assert codes(Call("and", (a, b)), {}, rows.__getitem__, 2).tolist() == [1, 0]


@given(TREES)
def test_de_morgan(tree):
    def turned(node):
        if isinstance(node, Mask):
            return Call("kleene_not", (node,))
        if node.op == "kleene_not":
            return Call("kleene_not", (turned(node.args[0]),))
        other = {"kleene_and": "kleene_or", "kleene_or": "kleene_and"}[node.op]
        return Call(other, tuple(map(turned, node.args)))

    for row in itertools.product(MASKS, repeat=3):
        masks = dict(zip("abc", row, strict=True))
        assert kleene(Call("kleene_not", (tree,)), masks) is kleene(turned(tree), masks)


# ---- texts


@given(TREES)
def test_a_text_is_read_back(tree):
    text = text_of(tree)
    again = parse(text)
    assert text_of(again) == text
    for row in itertools.product(MASKS, repeat=3):
        masks = dict(zip("abc", row, strict=True))
        assert kleene(again, masks) is kleene(tree, masks)


@given(TREES)
def test_python_and_the_text_agree(tree):
    functions = {s: SlicingFunction(s, lambda x, s=s: x[s], id=s) for s in "abc"}
    names = {"kleene_and": "__and__", "kleene_or": "__or__", "kleene_not": "__invert__"}

    def made(node):
        if isinstance(node, Mask):
            return functions[node.slice_id]
        first, *others = map(made, node.args)
        return getattr(first, names[node.op])(*others)

    sf = made(tree)
    if isinstance(tree, Mask):
        return
    assert (sf.name, sf.expr) == (text_of(tree), parse(text_of(tree)))
    assert set(sf.parts) == {n.slice_id for n in tree.walk() if isinstance(n, Mask)}
    for row in itertools.product(MASKS, repeat=3):
        masks = dict(zip("abc", row, strict=True))
        assert sf(masks) is kleene(tree, masks)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("a & b", True),
        ("~a", True),
        ("(a|b)&~\n c_1", True),
        ("a & b &", True),
        ("a", False),
        ("(a)", False),
        ("", False),
        ("a AND b", False),
        ("n & 1", False),
        ("n & 1 = 0", False),
        ("1a & b", False),
        ("`a` & b", False),
        ("a & b > c", False),
        ("é & b", False),
        ("a.b & c", False),
    ],
)
def test_what_is_a_composition_and_what_is_sql(text, is_one):
    assert is_composition(text) is is_one


@pytest.mark.parametrize(
    ("text", "at", "problem"),
    [
        ("a & & b", 5, "a slice id is missing before '&'"),
        ("& a", 1, "a slice id is missing before '&'"),
        ("a &", 4, "a slice id is missing"),
        ("a & ~ ", 6, "a slice id is missing"),
        ("a b | c", 3, "an operator is missing before 'b'"),
        ("a ~b", 3, "an operator is missing before '~'"),
        ("a (b | c)", 3, "an operator is missing before '('"),
        ("(a | b", 1, "'(' is not closed"),
        ("a | b)", 6, "')' closes nothing"),
        ("a & ()", 6, "a slice id is missing before ')'"),
        ("a & 1", 5, "there is '1'"),
    ],
)
def test_a_text_that_can_not_be_read(text, at, problem):
    message = (
        f"the composition {text!r} can't be read: {problem} at character {at}; it is made of "
        "slice ids, &, |, ~ and parentheses"
    )
    with pytest.raises(SliceError, match=f"^{re.escape(message)}$"):
        parse(text)


@given(st.text("ab&|~() ", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        tree = parse(text)
    except SliceError:
        return
    assert set(text) & set("ab")
    assert text_of(parse(text_of(tree))) == text_of(tree)


def test_a_text_of_any_depth():
    deep = "(" * 5_000 + "a" + ")" * 5_000
    assert text_of(parse(f"~{deep} & b")) == "~a & b"


# ---- ids


@pytest.mark.parametrize(
    ("make", "name", "slice_id"),
    [
        (lambda: short & ~loud, "short & ~loud", "short_and_not_loud"),
        (lambda: short & loud | many, "short & loud | many", "short_and_loud_or_many"),
        (lambda: short & (loud | many), "short & (loud | many)", "short_and_loud_or_many_32473cbb"),
        (lambda: ~(short & loud), "~(short & loud)", "not_short_and_loud_1c552a97"),
        (lambda: ~short & loud, "~short & loud", "not_short_and_loud"),
        (lambda: ~~short, "~~short", "not_not_short"),
        (lambda: (short & loud).named("Both!") | many, "both | many", "both_or_many"),
    ],
)
def test_an_id_says_what_is_composed(make, name, slice_id):
    sf = make()
    assert (sf.name, sf.id, sf.description, sf.kind) == (name, slice_id, name, SliceKind.EXPR)
    check_ids([sf])


@given(st.sets(TREES, min_size=2, max_size=8))
def test_ids_differ_where_texts_do(trees):
    texts = {text_of(tree) for tree in trees}
    ids = {composition_id(text).lower() for text in texts}
    assert len(ids) == len(texts)
    assert all(len(i) <= 64 for i in ids)


def test_a_long_composition_is_cut():
    sf = SlicingFunction("a" * 40, len) & SlicingFunction("b" * 40, len)
    assert len(sf.id) == 64
    check_ids([sf])


def test_another_name_id_and_description():
    both = (short & loud).named("Short and loud")
    assert (both.name, both.id, both.description) == (
        "Short and loud",
        "short_and_loud",
        "short & loud",
    )
    other = both.named("x", id="y", description="z")
    assert (other.name, other.id, other.description) == ("x", "y", "z")
    assert fingerprint(other) == fingerprint(both)
    assert short.named("brief").f is short.f


# ---- fingerprints


def test_a_fingerprint_covers_the_tree_and_its_slices():
    def made(word, op="__and__"):
        part = SlicingFunction("part", lambda x, word: word in x.text, resources={"word": word})
        return getattr(part, op)(short)

    assert fingerprint(made("a")) == fingerprint(made("a"))
    assert fingerprint(made("a")) != fingerprint(made("b"))
    assert fingerprint(made("a")) != fingerprint(made("a", "__or__"))
    assert fingerprint(made("a")) != fingerprint(made("a"), zone="Asia/Tokyo")
    one = SlicingFunction("s", expr=Call("eq", (Column("a"), Const(1))))
    for other in (Call("eq", (Column("a"), Const(True))), Call("eq", (Column("b"), Const(1)))):
        assert fingerprint(one) != fingerprint(SlicingFunction("s", expr=other))


def test_a_tree_that_shares_its_nodes_is_described_once():
    sf = short
    for _ in range(60):  # 2**60 nodes if each were visited
        sf = SlicingFunction(
            "s", expr=Call("kleene_or", (sf.expr or Mask("short"),) * 2), parts={"short": short}
        )
    assert len(fingerprint(sf)) == 16


def test_long_patterns_are_different_constants():
    one, other = (re.compile("a" * 300 + end) for end in "xy")
    assert constant_key(one) != constant_key(other)
    assert constant_key(one) == constant_key(re.compile("a" * 300 + "x"))


def test_a_tree_is_hashed_anew_where_it_is_unpickled():
    tree = Call("eq", (Column("a"), Const("x")))
    object.__setattr__(tree, "_hash", 1)  # as another process would have it
    again = pickle.loads(pickle.dumps(tree))
    assert hash(again) == hash(Call("eq", (Column("a"), Const("x"))))


# ---- slices that texts describe


def asked(**texts):
    return [Composition(i, text, i, "") for i, text in texts.items()]


def test_compositions_name_each_other_in_any_order():
    made = compositions(asked(one="two | many", two="short & ~loud"), [short, loud, many])
    assert [sf.id for sf in made] == ["one", "two"]
    assert made[0].expr == parse("short & ~loud | many")
    assert list(made[0].parts.values()) == [short, loud, many]
    assert compositions([], [short]) == []


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        (
            {"both": "shrt & loud"},
            SliceError,
            "slice 'both' is composed of 'shrt', which is no slice's id; did you mean 'short'?",
        ),
        (
            {"a": "~c", "b": "~a", "c": "b | short"},
            SliceError,
            "slices are composed of each other: a -> c -> b -> a; take one of them out of the "
            "circle",
        ),
        (
            {"a": "a | short"},
            SliceError,
            "slice 'a' is composed of itself; take it out of its own text",
        ),
        (
            {"short": "~loud"},
            SliceError,
            "slices 'short' and 'short' have the same id 'short' (ids are compared ignoring case); "
            "give one of them another id",
        ),
    ],
)
def test_compositions_that_can_not_be(texts, kind, message):
    with pytest.raises(kind) as caught:
        compositions(asked(**texts), [short, loud, many])
    said = str(caught.value)
    if "each other" in said:  # a circle starts anywhere
        ids = said.partition(": ")[2].partition(";")[0].split(" -> ")[1:]
        at = ids.index("a")
        said = said.replace(
            " -> ".join([ids[-1], *ids]), " -> ".join(["a", *ids[at + 1 :], *ids[:at], "a"])
        )
    assert said == message


def test_the_slices_of_compositions_are_there_once():
    both = short & loud
    assert [sf.id for sf in with_parts([both, loud, many & short])] == [
        "short_and_loud", "loud", "many_and_short", "short", "many",
    ]  # fmt: skip
    other = SlicingFunction("short", lambda x: x.n == 7)
    with pytest.raises(SliceError):
        with_parts([both, other])
    with pytest.raises(SliceError):
        _ = short & other
    assert with_parts([where("w", "n > 1"), ~where("w", "n > 1")])[0].id == "w"


def test_what_is_no_composition():
    with pytest.raises(TypeError):
        _ = short & True
    with pytest.raises(
        SliceError,
        match=r"^slice 'short': compose slices with &, \| and ~, not with and, or and not$",
    ):
        _ = short and loud


# ---- appliers

DF = pd.DataFrame({"text": ["A", "a", "ABC", None], "n": [1, 2, 3, 4]})


def test_compositions_over_a_frame_and_a_list():
    by_hand = SlicingFunction("a row", expr=Call("eq", (Column("n"), Const(2))), id="second")
    sfs = [short & loud, loud | many, (~short).named("Long one"), by_hand | loud, many]
    wanted = {
        "short & loud": [1, 0, 0, -1],
        "loud | many": [1, 1, 1, 1],
        "Long one": [0, 0, 1, -1],
        "second | loud": [1, 1, 1, -1],
        "many": [0, 1, 1, 1],
    }
    S = PandasSFApplier(sfs).apply(DF, progress_bar=False)
    assert {name: S[name].tolist() for name in S.dtype.names} == wanted
    points = [
        SimpleNamespace(**row)
        for row in DF.astype(object).where(DF.notna(), None).to_dict("records")
    ]
    S = SFApplier(sfs).apply(points, progress_bar=False)
    assert {name: S[name].tolist() for name in S.dtype.names} == wanted
    items = [vars(p) for p in points]
    assert SFApplier([by_hand]).apply(items)["a row"].tolist() == [0, 1, 0, 0]
    assert slice_dataframe(DF, loud & ~short).index.tolist() == [2]


def test_a_compositions_columns_and_kinds_are_checked():
    of_city = SlicingFunction("rome", expr=Call("eq", (Column("ctiy"), Const("Rome"))))
    with pytest.raises(ColumnError) as caught:
        PandasSFApplier([of_city & short]).apply(DF.assign(city="Rome"))
    assert str(caught.value) == ("slice 'rome': there is no column 'ctiy'; did you mean 'city'?")
    with pytest.raises(SliceError, match="a sql slice cannot be applied by PandasSFApplier"):
        PandasSFApplier([short & where("w", "n > 1")]).apply(DF)
