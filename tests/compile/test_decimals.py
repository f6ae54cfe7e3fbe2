"""Decimals as integers of their last place: what Python says of each, places and all."""

from __future__ import annotations

import decimal
import itertools
import operator
from decimal import Decimal

import pyarrow as pa
import pytest

from engine.compile.vectors import ASK, NULL, VECTORS, Batch, Vec
from engine.ops.operations import OPERATIONS
from engine.slicing.expr import Call, Column, Const

SOME = [None, *map(Decimal, ["0.00", "0.01", "-0.01", "1.00", "-7.50", "99999999.99", "12.34"])]
WIDE = [None, *map(Decimal, ["0", "1", "-1", "9223372036854775807", "-9223372036854775808"])]
CONSTANTS = [
    0, 1, -3, True, 2**62, 2**63, Decimal("0.5"), Decimal("-0.001"), Decimal("1E+2"), 0.1, 12.34,
    float("nan"), float("inf"), Decimal("NaN"), Decimal("-0"), Decimal("1E-40"), "text", None,
]  # fmt: skip
TWO = ["lt", "le", "gt", "ge", "eq", "ne", "add", "sub", "mul", "mod", "truediv"]
ONE = ["neg", "pos", "abs", "int", "float", "bool", "not", "str"]


def check(name, vec, batch, rows):
    """Compare with Python's own, and with the text that it has; what fails is asked of Python."""
    fail = [0] * batch.n if vec.fail is None else vec.fail.tolist()
    known = 0
    for code, value, row in zip(fail, batch.values(vec), rows, strict=True):
        try:
            wanted = OPERATIONS[name].python(*row)
        except (TypeError, ArithmeticError):
            assert code, row
            continue
        if code not in (0, NULL):
            assert code == ASK, row
            continue
        assert code == 0, row
        assert (type(value), str(value)) == (type(wanted), str(wanted)), row
        known += 1
    return known


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("values", [SOME, WIDE], ids=["some", "wide"])
def test_of_one(name, values):
    kind = pa.decimal128(20, 2) if values is SOME else pa.decimal128(38, 0)
    batch = Batch({"a": pa.array(values, kind)}, len(values))
    vec = VECTORS[name](batch, Call(name, (Column("a"),)), batch.vec("a"))
    assert check(name, vec, batch, [(v,) for v in values]) > 3


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("constant", CONSTANTS, ids=repr)
@pytest.mark.parametrize("first", [True, False])
def test_with_a_constant(name, constant, first):
    batch = Batch({"a": pa.array(SOME, pa.decimal128(20, 2))}, len(SOME))
    sides = [(Column("a"), batch.vec("a")), (Const(constant), Vec("const", constant))]
    sides = sides if first else sides[::-1]
    vec = VECTORS[name](batch, Call(name, tuple(s[0] for s in sides)), *(s[1] for s in sides))
    check(name, vec, batch, [(v, constant) if first else (constant, v) for v in SOME])


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize(
    ("others", "kind"),
    [
        (SOME, pa.decimal128(20, 2)), (WIDE, pa.decimal128(38, 0)), ([1, -2, 0, None], pa.int64()),
        ([True, False], pa.bool_()), ([1.5, 0.1], pa.float64()),
        ([Decimal("0.001"), None], pa.decimal128(5, 3)),
    ],
    ids=str,
)  # fmt: skip
def test_of_two_columns(name, others, kind):
    pairs = list(itertools.product(SOME, others))
    a, b = (pa.array([p[i] for p in pairs], k) for i, k in ((0, pa.decimal128(20, 2)), (1, kind)))
    batch = Batch({"a": a, "b": b}, len(pairs))
    for columns in (("a", "b"), ("b", "a")):
        node = Call(name, tuple(map(Column, columns)))
        vec = VECTORS[name](batch, node, *map(batch.vec, columns))
        check(name, vec, batch, pairs if columns == ("a", "b") else [p[::-1] for p in pairs])


@pytest.mark.parametrize(
    "setting",
    [{"prec": 5}, {"rounding": decimal.ROUND_FLOOR}, {"traps": [decimal.Inexact]}, {"Emax": 9}],
    ids=str,
)
def test_another_context_is_python_s(setting):
    with decimal.localcontext(**setting):
        batch = Batch({"a": pa.array(SOME, pa.decimal128(20, 2))}, len(SOME))
        assert batch.vec("a").kind == "object"


def test_they_are_whole_columns():
    """Or a test that compares with Python would only see Python."""
    batch = Batch({"a": pa.array(SOME, pa.decimal128(20, 2))}, len(SOME))
    for name in ("lt", "add", "mul"):
        vec = VECTORS[name](batch, Call(name, ()), batch.vec("a"), Vec("const", 2))
        assert vec.kind in ("bool", "decimal")
    assert batch.notes.by_value == 0
    assert operator.lt(*SOME[1:3])
