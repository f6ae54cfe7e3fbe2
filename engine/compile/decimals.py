"""Decimals as whole columns of integers of their last place, where those fit 64 bits.

What Python computes of decimals is exact up to the digits of its context, so that sums, products
and comparisons of such integers are what it gives, with the same number of places.
"""

from __future__ import annotations

import decimal
import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from engine.compile.lists import of_column
from engine.compile.vectors import (
    ASK,
    BY_KIND,
    COLUMNS,
    EXACT,
    INT64,
    TRUTHS,
    VALUES,
    Batch,
    Vec,
    bound,
    equality,
    first_fail,
    strict_fail,
    strict_fails,
    where_fails,
)
from engine.slicing.expr import Call

_DIGITS = 19  # that an integer of 64 bits may have
_PLACES = 22  # powers of ten up to here are exact as floats
_MOST_PLACES = 38  # that Arrow has


@dataclass(frozen=True)
class Units:
    """Decimals as integers.

    Attributes
    ----------
    numbers
        ``[n]`` int64: each decimal times ten to the power of ``places``.
    places
        How many digits each has behind the point.
    """

    numbers: np.ndarray
    places: int

    def __getitem__(self, at: np.ndarray) -> Units:
        return Units(self.numbers[at], self.places)

    @functools.cached_property
    def values(self) -> list[Decimal]:
        """The decimals."""
        words = np.stack([self.numbers, self.numbers >> 63], axis=1)
        kind = pa.decimal128(_MOST_PLACES, self.places)
        array = pa.Array.from_buffers(kind, len(words), [None, pa.py_buffer(words.tobytes())])
        return list(array.to_numpy(zero_copy_only=False).tolist())


def _column(_: Batch, array: pa.Array) -> Vec | None:
    """Return a column's decimals, if all fit."""
    if not pa.types.is_decimal128(array.type) or not 0 <= array.type.scale <= _MOST_PLACES:
        return None
    if array.null_count == len(array) or not _is_exact():
        return None
    words = np.frombuffer(array.buffers()[1], np.int64)
    words = words[2 * array.offset : 2 * (array.offset + len(array))].reshape(-1, 2)
    numbers, high = words[:, 0], words[:, 1]
    if array.null_count:
        there = array.is_valid().to_numpy(zero_copy_only=False)
        numbers, high = np.where(there, numbers, 0), np.where(there, high, 0)
    if (high != numbers >> 63).any():
        return None
    return of_column("decimal", array, Units(np.ascontiguousarray(numbers), array.type.scale))


def _is_exact() -> bool:
    """Tell whether Python keeps all digits of what fits, and raises for none of it."""
    context = decimal.getcontext()
    traps = (decimal.Inexact, decimal.Rounded, decimal.FloatOperation)
    wide = context.prec >= _DIGITS and context.Emin < -_MOST_PLACES < _DIGITS < context.Emax
    return (
        wide and context.rounding != decimal.ROUND_FLOOR and not any(map(context.traps.get, traps))
    )


def _values(_: Batch, vec: Vec) -> list[Any]:
    values: list[Decimal] = vec.values.values
    if vec.null is None:
        return values
    return [None if null else v for v, null in zip(values, vec.null.tolist(), strict=True)]


def _units(vec: Vec) -> Units | None:
    """Return a Vec's decimals, or a constant's or integers as such."""
    if vec.kind == "decimal":
        return vec.values  # type: ignore[no-any-return]
    if vec.kind in ("int", "bool"):
        return Units(vec.values.astype(np.int64), 0)
    if vec.kind != "const" or type(vec.values) not in (int, bool, Decimal):
        return None
    exact = Decimal(vec.values)
    if not exact.is_finite() or (exact.is_zero() and exact.is_signed()):
        return None
    exponent = exact.as_tuple().exponent
    assert isinstance(exponent, int)  # it is finite
    number = int(exact.scaleb(-exponent)) if exponent < 0 else int(exact)
    # A positive exponent is another than an integer's: what is computed with it would have it.
    known = -_MOST_PLACES <= exponent <= 0 and number in INT64
    return Units(np.array([number], np.int64), -exponent) if known else None


def _aligned(a: Units, b: Units) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Return numbers of the same places; None if some don't fit."""
    places = max(a.places, b.places)
    sides = []
    for one in (a, b):
        factor = 10 ** (places - one.places)
        if bound(one.numbers) * factor not in INT64:
            return None
        sides.append(one.numbers * factor)
    return sides[0], sides[1], places


def _compared(run: Callable[[Any, Any], Any]) -> Callable[..., Vec | None]:
    takes_none = run in (operator.eq, operator.ne)

    def compare(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec | None:
        one, other, test = (a, b, run) if a.kind == "decimal" else (b, a, _SWAPPED[run])
        if other.kind == "const" and type(other.values) in (int, bool, float, Decimal):
            answers = _against(one.values, other.values, test)
        else:
            units = _units(other)
            sides = None if units is None else _aligned(one.values, units)
            answers = None if sides is None else test(sides[0], sides[1])
        if answers is None:
            return None
        if takes_none:
            return equality(batch, answers, a, b, same=run is operator.eq)
        return Vec("bool", answers, None, strict_fails(a, b))

    return compare


def _against(units: Units, constant: Any, test: Callable[[Any, Any], Any]) -> np.ndarray | None:
    """Compare decimals with any finite number, exactly."""
    try:
        exact = Fraction(constant) * 10**units.places
    except (ValueError, OverflowError):  # it is no number, or infinite
        return None
    below = exact.numerator // exact.denominator
    # Between two integers it is more than the lower and less than the upper one.
    twice = 2 * below + (exact.denominator > 1)
    if 2 * bound(units.numbers) not in INT64 or twice not in INT64:
        return None
    answers: np.ndarray = test(2 * units.numbers, twice)
    return answers


_SWAPPED: Mapping[Callable[[Any, Any], Any], Callable[[Any, Any], Any]] = {
    operator.lt: operator.gt, operator.gt: operator.lt, operator.le: operator.ge,
    operator.ge: operator.le, operator.eq: operator.eq, operator.ne: operator.ne,
}  # fmt: skip


def _sum(run: Callable[[Any, Any], Any]) -> Callable[..., Vec | None]:
    def add(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec | None:
        one, other = _units(a), _units(b)
        sides = None if one is None or other is None else _aligned(one, other)
        if sides is None or bound(sides[0]) + bound(sides[1]) not in INT64:
            return None
        return _computed(run(sides[0], sides[1]), sides[2], a, b)

    return add


def _product(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec | None:
    one, other = _units(a), _units(b)
    if one is None or other is None or one.places + other.places > _MOST_PLACES:
        return None
    if bound(one.numbers) * bound(other.numbers) not in INT64:
        return None
    vec = _computed(one.numbers * other.numbers, one.places + other.places, a, b)
    # Nothing times a negative number has a sign of its own in Python.
    return _without(vec, (vec.values.numbers == 0) & ((one.numbers < 0) | (other.numbers < 0)))


def _remainder(batch: Batch, _: Call, a: Vec, b: Vec) -> Vec | None:
    one, other = _units(a), _units(b)
    sides = None if one is None or other is None else _aligned(one, other)
    if sides is None or not sides[1].all() or bound(sides[0]) not in INT64:
        return None
    vec = _computed(np.fmod(sides[0], sides[1]), sides[2], a, b)
    return _without(vec, (vec.values.numbers == 0) & (sides[0] < 0))


def _computed(numbers: np.ndarray, places: int, *of: Vec) -> Vec:
    return Vec("decimal", Units(numbers, places), None, strict_fails(*of))


def _without(vec: Vec, rows: np.ndarray) -> Vec:
    """Return decimals without some, of which Python says what they are."""
    return replace(vec, fail=first_fail(vec.fail, where_fails(rows, ASK)))


def _signed(run: Callable[[Any], Any]) -> Callable[..., Vec | None]:
    def of_each(_: Batch, __: Call, a: Vec) -> Vec | None:
        if bound(a.values.numbers) == -INT64[0]:
            return None
        return _computed(run(a.values.numbers), a.values.places, a)

    return of_each


def _int(_: Batch, __: Call, a: Vec) -> Vec | None:
    units: Units = a.values
    if units.places >= _DIGITS or bound(units.numbers) == -INT64[0]:
        return None
    whole = np.sign(units.numbers) * (np.abs(units.numbers) // 10**units.places)
    return Vec("int", whole, None, strict_fail(a))


def _float(_: Batch, __: Call, a: Vec) -> Vec | None:
    units: Units = a.values
    if units.places > _PLACES or bound(units.numbers) > EXACT:
        return None  # otherwise both are exact, and the quotient is rounded once
    return Vec("float", units.numbers / 10.0**units.places, None, strict_fail(a))


COLUMNS["decimal"] = _column
VALUES["decimal"] = _values
TRUTHS["decimal"] = lambda _, vec: vec.values.numbers != 0
BY_KIND |= {(run.__name__, "decimal"): _compared(run) for run in _SWAPPED}
BY_KIND |= {
    ("add", "decimal"): _sum(operator.add),
    ("sub", "decimal"): _sum(operator.sub),
    ("mul", "decimal"): _product,
    ("mod", "decimal"): _remainder,
    ("neg", "decimal"): _signed(operator.neg),
    ("pos", "decimal"): _signed(lambda numbers: numbers),
    ("abs", "decimal"): _signed(np.abs),
    ("int", "decimal"): _int,
    ("float", "decimal"): _float,
}
