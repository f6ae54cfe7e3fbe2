"""Sums are exact: those of rational arithmetic, at any magnitude, in any order and partition."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.metrics.formulas.exact import BITS, MOST_PARTS, Exact, columns, exact, gathered
from engine.metrics.scan import kernel
from engine.metrics.scan.kernel import Added, Line

ODD = [0.0, -0.0, 5e-324, -5e-324, 2.0**-1022, 1e-300, 1e300, -(2.0**1022), 1.0, 2.0**-149]
NUMBERS = st.one_of(
    st.floats(-(2.0**1022), 2.0**1022),
    st.floats(-1, 1),
    st.floats(-1e15, 1e15),
    st.sampled_from(ODD),
)
WEIGHTS = st.one_of(st.floats(0, 1), st.floats(0, 2.0**100), st.sampled_from([0.0, 5e-324, 1e-18]))
BITS_OF = st.sampled_from([kernel._PRODUCT_BITS, kernel._HISTOGRAM_BITS, BITS])


def fraction_of(sums: Exact) -> Fraction:
    return int(sums.integers.sum()) * Fraction(2) ** (BITS * sums.low)


def total(terms: list[tuple[np.ndarray, ...]], bits: int, rounded: bool = False) -> Exact:
    cut = columns(terms, bits, rounded=rounded)
    for column in cut.values():
        assert (column == np.rint(column)).all()
        assert np.abs(column).max() <= 2.0 ** (bits - 1) * MOST_PARTS
    return gathered({at: c.astype(np.int64) for at, c in cut.items()}, (len(terms[0][0]),))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, WEIGHTS), min_size=1, max_size=12), BITS_OF)
def test_products_are_exact_at_any_magnitude(rows, bits):
    t, p, w = map(np.array, zip(*rows, strict=True))
    half = p / 2  # 2 * p stays finite
    wanted = [
        ([(t,)], sum(Fraction(a) for a, _, _ in rows)),
        ([(t, t)], sum(Fraction(a) ** 2 for a, _, _ in rows)),
        ([(p,), (-t,)], sum(Fraction(b) - Fraction(a) for a, b, _ in rows)),
        ([(t, w)], sum(Fraction(a) * Fraction(c) for a, _, c in rows)),
        (
            [(2 * half, t, w), (-half, half, w)],
            sum(
                Fraction(c) * (2 * Fraction(b) * Fraction(a) - Fraction(b) ** 2)
                for a, b, c in zip(t.tolist(), half.tolist(), w.tolist(), strict=True)
            ),
        ),
    ]
    for terms, sum_ in wanted:
        assert fraction_of(total(terms, bits)) == sum_


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e70, 1e70), st.floats(0, 1e15)), min_size=1), BITS_OF)
def test_rounded_products_are_those_of_floats(rows, bits):
    a, b = map(np.array, zip(*rows, strict=True))
    normal = np.where(np.abs(a * b) < 2.0**-1000, 0.0, a)
    wanted = sum(Fraction(float(x)) for x in normal * b)
    assert fraction_of(total([(normal, b)], bits, rounded=True)) == wanted


def test_a_rounded_product_is_the_same_among_rows_of_any_magnitude():
    a, b = np.array([1 / 3, 1e-200]), np.array([1 / 7, 1e-200])
    alone, among = (
        {at: c[:1] for at, c in columns([(x, y)], 38, rounded=True).items() if c[0]}
        for x, y in ((a[:1], b[:1]), (a, b))
    )
    assert [fraction_of(gathered({k: c.astype(np.int64) for k, c in one.items()}, (1,)))
            for one in (alone, among)] == [Fraction(1 / 3 * (1 / 7))] * 2  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=30))
def test_values_are_the_nearest_floats(numbers):
    sums = exact(np.array(numbers)).reshape(1, len(numbers)).sum(-1)
    wanted = sum(map(Fraction, numbers))
    try:
        nearest = float(wanted)
    except OverflowError:
        nearest = math.inf if wanted > 0 else -math.inf
    assert float(sums.value[0]) == nearest
    fraction, exponent = sums.scaled
    close = Fraction(float(fraction[0])) * Fraction(2) ** int(exponent[0])
    assert abs(close - wanted) <= abs(wanted) / 2**53


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=6), st.integers(-30, 30))
def test_digits_that_carry_are_one_number(digits, low):
    given_ = Exact(low, np.array(digits)[:, None])
    carried = given_.carried()
    assert fraction_of(carried) == fraction_of(given_)
    assert (np.abs(carried.digits) <= 2 ** (BITS - 1)).all()
    again = gathered({BITS * (low + i): np.array([d]) for i, d in enumerate(digits)}, (1,))
    assert (again.low, again.digits.tolist()) == (carried.low, carried.digits.tolist())


@settings(max_examples=100, deadline=None)
@given(st.lists(NUMBERS, min_size=2, max_size=2), st.integers(-5, 5))
def test_differences_are_exact(pair, k):
    a, b = exact(np.full((2, 3), pair[0])), exact(np.full(3, pair[1]))
    assert fraction_of((a - b)[1, :1]) == Fraction(pair[0]) - Fraction(pair[1])
    assert fraction_of((b - a)[0, :1]) == Fraction(pair[1]) - Fraction(pair[0])
    assert fraction_of(exact([k, 0])) == k


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4)], ids=["totals", "drawn"])
def test_sums_that_would_overflow_are_cut_into_digits(shape):
    """As if a task had had very many rows, each of the largest column."""
    added, line, most = Added(), Line("s", 3), 2**60
    held = added.totals if len(shape) == 2 else added.drawn
    for _ in range(50):
        into = added.total(line, shape, most)
        into += most
    assert all(np.abs(sums).max() < 2**62 + 2**45 for sums in held.values())
    digits = (added.carried().totals if len(shape) == 2 else added.carried().drawn).items()
    found = gathered({one.exponent: sums for one, sums in digits}, shape)
    assert fraction_of(found[0, 1:2] if len(shape) == 2 else found[0, 1, :1]) == 50 * most * 2**3


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_refused(value):
    with pytest.raises(OverflowError) as caught:
        columns([(np.ones(2), np.array([1.0, value]))], BITS)
    assert str(caught.value) == "only finite numbers can be added up exactly"
