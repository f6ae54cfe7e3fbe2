"""Python's own operations leave out the rows on which nothing looks at what they give."""

from __future__ import annotations

import pyarrow as pa
import pytest

from engine.compile.guards import Condition, conditions
from engine.compile.program import Program
from engine.compile.vectors import VECTORS, each
from engine.slicing.expr import Call, Column, Const

OK, TEXT = Column("ok"), Column("text")
NUMBER = Call("gt", (Call("int", (TEXT,)), Const(1)))
KINDS = {"ok": pa.bool_(), "text": pa.string()}
N = 40
ROWS = {
    "ok": pa.array([i % 4 == 0 for i in range(N)]),
    "text": pa.array([str(i) if i % 4 == 0 else "no number" for i in range(N)]),
}


EVERY = set(ROWS["text"].to_pylist())
NUMBERS = EVERY - {"no number"}


@pytest.mark.parametrize(
    ("tree", "looked_at"),
    [
        (Call("and", (OK, NUMBER)), NUMBERS),
        (Call("or", (Call("not", (OK,)), NUMBER)), NUMBERS),
        (Call("if", (OK, NUMBER, Const(False))), NUMBERS),
        (Call("if", (Call("not", (OK,)), Const(False), NUMBER)), NUMBERS),
        (Call("and", (NUMBER, OK)), EVERY),
        (Call("any", (Call("and", (OK, NUMBER)), NUMBER)), EVERY),
    ],
    ids=lambda value: str(value) if isinstance(value, Call) else "",  # a set has no order
)
def test_what_is_behind_a_condition_is_computed_where_it_holds(tree, looked_at, monkeypatch):
    texts = set()

    def number(value):
        texts.add(value)
        return int(value)

    monkeypatch.setitem(VECTORS, "int", lambda batch, _, a: each(batch, number, a))
    (mask,) = Program([tree], KINDS).run(ROWS, N)
    assert texts == looked_at
    assert (mask.ask is None) == (looked_at is NUMBERS)


def test_conditions_are_those_of_every_use():
    steps = [(None, OK, ()), (None, TEXT, ()), (None, Call("and", (OK, TEXT)), (0, 1))]
    assert conditions(steps, [2]) == [(), (Condition(0, True),), ()]
    assert conditions(steps, [1, 2]) == [(), (), ()]
