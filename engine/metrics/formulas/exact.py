"""Exact sums of floats: whole numbers in units that no row has a say in.

What a row brings to a sum is a sum of products of float64s. Products are taken apart without error
(Dekker 1971), and the parts are cut into whole numbers, small enough for float64 to add up many of
them exactly. A sum is kept as digits of 40 bits in places that reach from the product of the least
three float64s to that of the largest; digits that are 0 aren't kept. So sums over any partition of
the rows are the same bits, whatever the rows' magnitudes are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

BITS = 40  # of a digit
LOWEST, PLACES = -84, 168  # a place's unit is 2^(BITS * place)
MOST_PARTS = 8  # that a row's number is cut from: 2 products of 3 factors
LARGEST = 2.0**1022  # of a number that is added up: two of them can be taken from each other
_ROWS = 2**14  # that are cut at a time, so that they stay in the processor's cache
_BAND = 64  # powers of two that rows of extreme magnitudes are cut together in
_USUAL = 2.0**100  # products of three factors from its inverse to it, and their errors, are normal
_SPLIT = 2.0**27 + 1
_PIECE = 24  # bits that can be moved by less than a digit's and fit into 64
_WINDOW = 62  # bits that a float is rounded from
_BLOCK = 2**15  # numbers that are rounded at a time, so that they stay in the processor's cache

_Halves = tuple[np.ndarray, np.ndarray]
Term = tuple[np.ndarray, ...]  # factors [n]; a row's number is the sum of some terms' products


@dataclass(frozen=True)
class Exact:
    """Numbers of any shape, exactly.

    Attributes
    ----------
    low
        The place of the first digit.
    digits
        ``[places, ...]`` int64, none above 2^62: the numbers are Σ digit · 2^(40 · place).

    Examples
    --------
    >>> both = exact([1e300, -1.5]), exact([1e300, 1.5 - 2.0**-70])
    >>> (both[0] - both[1]).value.tolist()
    [0.0, -3.0]
    """

    low: int
    digits: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The numbers' shape."""
        return self.digits.shape[1:]

    @property
    def value(self) -> np.ndarray:
        """The numbers as the nearest float64s, infinite where these end."""
        fraction, exponent = self.scaled
        with np.errstate(over="ignore", under="ignore"):
            return np.asarray(np.ldexp(fraction, exponent))

    @cached_property
    def scaled(self) -> tuple[np.ndarray, np.ndarray]:
        """Fractions, rounded once to 53 bits, and the powers of two they are to be scaled by."""
        flat = self.digits.reshape(len(self.digits), math.prod(self.shape))
        fraction, exponent = np.zeros(flat.shape[1]), np.zeros(flat.shape[1], np.int64)
        for start in range(0, flat.shape[1], _BLOCK):
            part = slice(start, start + _BLOCK)
            fraction[part], exponent[part] = _rounded(self.low, flat[:, part])
        return fraction.reshape(self.shape), exponent.reshape(self.shape)

    @property
    def integers(self) -> np.ndarray:
        """The numbers as Python's integers, in units of the first digit's place."""
        total = np.zeros(self.shape, object)
        for digit in self.digits[::-1]:
            total = (total << BITS) + digit.astype(object)
        return total

    def __getitem__(self, at: Any) -> Exact:
        """Return some of the numbers, as numpy indexes arrays of them."""
        index = at if isinstance(at, tuple) else (at,)
        return Exact(self.low, self.digits[(slice(None), *index)])

    def __sub__(self, other: Exact) -> Exact:
        """Subtract, as numpy does arrays of the same shapes."""
        both = (self, other)
        low, high = min(one.low for one in both), max(one.low + len(one.digits) for one in both)
        mine, theirs = (
            one._within(low, high, max(self.digits.ndim, other.digits.ndim)) for one in both
        )
        return Exact(low, mine - theirs).carried()

    def sum(self, axis: int) -> Exact:
        """Add up an axis of the numbers, which is negative."""
        return Exact(self.low, self.carried().digits.sum(axis=axis)).carried()

    def reshape(self, *shape: int) -> Exact:
        """Return the numbers in another shape."""
        return Exact(self.low, self.digits.reshape(len(self.digits), *shape))

    def carried(self) -> Exact:
        """Return the numbers with digits from -2^39 to 2^39, in the places that hold any."""
        places = [*self.digits]
        digits, carry, at = [], np.zeros(self.shape, np.int64), 0
        while at < len(places) or carry.any():
            digit = carry + places[at] if at < len(places) else carry
            carry = (digit + (1 << (BITS - 1))) >> BITS
            digits.append(digit - (carry << BITS))
            at += 1
        some = [i for i, digit in enumerate(digits) if digit.any()]
        if not some:
            return Exact(0, np.zeros((0, *self.shape), np.int64))
        return Exact(self.low + some[0], np.stack(digits[some[0] : some[-1] + 1]))

    def _within(self, low: int, high: int, axes: int) -> np.ndarray:
        """Return the digits in all of some places, with axes of length 1 where some lack."""
        digits = np.expand_dims(self.digits, tuple(range(1, 1 + axes - self.digits.ndim)))
        after = high - self.low - len(digits)
        return np.pad(digits, [(self.low - low, after), *[(0, 0)] * (axes - 1)])


def exact(values: Any) -> Exact:
    """Return floats or integers as what they are.

    Examples
    --------
    >>> exact([3, -(2**60)]).value.tolist(), exact(5e-324).value.tolist()
    ([3.0, -1.152921504606847e+18], 5e-324)
    """
    array = np.asarray(values)
    if array.dtype.kind in "biu":
        return Exact(0, array.astype(np.int64)[None]).carried()
    cut = columns([(array.astype(np.float64).ravel(),)], BITS)
    whole = gathered({at: column.astype(np.int64) for at, column in cut.items()}, (array.size,))
    return whole.reshape(*array.shape)


def gathered(sums: Mapping[int, np.ndarray], shape: tuple[int, ...]) -> Exact:
    """Add up sums of columns: exponent to int64 ``[...]``, of numbers that are Σ sum · 2^exponent.

    Examples
    --------
    >>> gathered({-3: np.array([4, 1]), 50: np.array([0, -1])}, (2,)).value.tolist()
    [0.5, -1125899906842623.9]
    """
    if not sums:
        return Exact(0, np.zeros((0, *shape), np.int64))
    low, high = min(sums) // BITS, (max(sums) + 2 * _PIECE) // BITS + 2
    digits = np.zeros((high - low, *shape), np.int64)
    piece_mask, mask = (1 << _PIECE) - 1, (1 << BITS) - 1
    for exponent, total in sums.items():
        for piece in range(3):  # the last has the sign
            bits = total >> (_PIECE * piece)
            place, by = divmod(exponent + _PIECE * piece, BITS)
            moved = (bits & piece_mask if piece < 2 else bits) << by  # noqa: PLR2004
            digits[place - low] += moved & mask
            digits[place - low + 1] += moved >> BITS
    return Exact(low, digits).carried()


def columns(terms: Sequence[Term], bits: int, *, rounded: bool = False) -> dict[int, np.ndarray]:
    """Cut rows' numbers into whole ones: exponent to ``[n]``; they are Σ column · 2^exponent.

    Columns are float64, since that is what matrix products and ``np.bincount`` add exactly.

    Parameters
    ----------
    terms
        The numbers: sums of products of finite factors.
    bits
        A column's numbers are at most 2^(bits - 1) for each of :data:`MOST_PARTS`.
    rounded
        Whether products are rounded to float64, rather than exact.

    Raises
    ------
    OverflowError
        If a factor isn't finite.

    Examples
    --------
    >>> {k: c.tolist() for k, c in columns([(np.array([1.5, 2.0**-60]),)], 38).items()}
    {-33: [12884901888.0, 0.0], -71: [0.0, 2048.0]}
    """
    by_exponent: dict[int, np.ndarray] = {}
    sized = [(term, [_sizes(factor) for factor in term]) for term in terms]
    if not all(math.isfinite(most) for _, sizes in sized for _, most in sizes):
        raise OverflowError("only finite numbers can be added up exactly")
    usual = [one for one in sized if all(_usual(least, most) for least, most in one[1])]
    if usual:
        # By four powers of two, so that chunks of rows are mostly cut alike.
        top = max(sum(int(np.frexp(most)[1]) for _, most in sizes) for _, sizes in usual)
        _cut([term for term, _ in usual], -(-top // 4) * 4, bits, rounded, by_exponent)
    for term, sizes in sized:
        if not all(_usual(least, most) for least, most in sizes):
            _cut_in_bands(term, bits, rounded, by_exponent)
    return {at: column for at, column in by_exponent.items() if column.any()}


def _sizes(factor: np.ndarray) -> tuple[float, float]:
    """Return the least size that isn't 0 and the largest; 1 and 0 where all are 0."""
    size = np.abs(factor)
    least = float(size.min(initial=1.0)) or float(size.min(initial=1.0, where=size > 0))
    return least, float(size.max(initial=0.0))


def _usual(least: float, most: float) -> bool:
    return most == 0 or (least >= 1 / _USUAL and most <= _USUAL)


def _cut(
    terms: Sequence[Term], top: int, bits: int, rounded: bool, into: dict[int, np.ndarray]
) -> None:
    """Cut numbers of usual factors from the top, and add the columns to those found."""
    n, first = len(terms[0][0]), top - (bits - 1)
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        own = {id(f): f[rows] for term in terms for f in term}  # the same array, the same part
        halves: dict[int, _Halves] = {}  # of factors, as terms share them
        waiting = [p for term in terms for p in _parts([own[id(f)] for f in term], rounded, halves)]
        left: list[np.ndarray] = []
        at = first
        while left or waiting:
            # Errors are too small for the first columns.
            for part, below in waiting:
                if first - at >= below // bits * bits:
                    left.append(part * 2.0**-at)
            waiting = [one for one in waiting if first - at < one[1] // bits * bits]
            column = into.setdefault(at, np.zeros(n))[rows]
            for part in left:
                digit = np.rint(part)
                column += digit
                np.subtract(part, digit, out=part)  # exact: what is left are the lower bits
                np.multiply(part, 2.0**bits, out=part)
            at -= bits
            if first - at > bits:  # before, hardly any is at its end
                left = [part for part in left if part.any()]


def _parts(
    factors: Sequence[np.ndarray], rounded: bool, halves: dict[int, _Halves]
) -> list[tuple[np.ndarray, int]]:
    """Return parts that add up to a product, and how many bits below its size each is at least."""
    parts = [(factors[0], 0)]
    for i, factor in enumerate(factors[1:]):
        if rounded:
            parts = [(parts[0][0] * factor, 0)]
        else:
            for one in factors[: i + 2]:
                if id(one) not in halves:
                    halves[id(one)] = _split(one)
            cut = halves[id(factor)]
            parts = [
                (each, below + more)
                for part, below in parts
                for each, more in zip(
                    _product(part, factor, halves.get(id(part)) or _split(part), cut),
                    (0, 53),
                    strict=False,
                )
            ]
    return parts


def _product(a: np.ndarray, b: np.ndarray, of_a: _Halves, of_b: _Halves) -> list[np.ndarray]:
    """Return the rounded product and its error, which add up to the exact one."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = of_a, of_b
    error = a_high * b_high
    error -= product
    error += a_high * b_low
    error += a_low * b_high
    error += a_low * b_low
    return [product, error] if error.any() else [product]


def _split(a: np.ndarray) -> _Halves:
    """Return two parts of 26 bits, which add up to the number (Veltkamp 1968)."""
    high = a * _SPLIT
    high -= high - a
    return high, a - high


def _cut_in_bands(term: Term, bits: int, rounded: bool, into: dict[int, np.ndarray]) -> None:
    """Cut rows whose products are of like magnitudes together, so that none underflows."""
    fractions, exponents = zip(*map(np.frexp, term), strict=True)
    exponent = np.asarray(np.sum(exponents, axis=0, dtype=np.int64))
    band = exponent // _BAND
    for one in np.unique(band):
        rows = np.flatnonzero(band == one)
        scaled = [fraction[rows] for fraction in fractions]
        scaled[0] = scaled[0] * 2.0 ** (exponent[rows] - one * _BAND)
        own: dict[int, np.ndarray] = {}
        _cut([tuple(scaled)], _BAND, bits, rounded, own)
        for at, column in own.items():
            into.setdefault(at + int(one) * _BAND, np.zeros(len(band)))[rows] += column


def _rounded(low: int, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round numbers ``[places, n]`` to fractions of 53 bits and powers of two."""
    number = Exact(low, digits).carried()
    n = digits.shape[1]
    if not len(number.digits):
        return np.zeros(n), np.zeros(n, np.int64)
    # The sign is the highest digit's; then all digits are made positive.
    top = len(number.digits) - 1 - (number.digits[::-1] != 0).argmax(axis=0)
    sign = np.sign(np.take_along_axis(number.digits, top[None], axis=0)[0])
    size = np.pad(number.digits * sign, ((2, 0), (0, 0)))
    for i in range(2, len(size) - 1):
        borrow = size[i] >> BITS  # -1 or 0
        size[i] -= borrow << BITS
        size[i + 1] += borrow
    top = len(size) - 1 - (size[::-1] != 0).argmax(axis=0)
    first, second, third = (
        np.take_along_axis(size, np.maximum(top - i, 0)[None], axis=0)[0] for i in range(3)
    )
    bits = np.frexp(first.astype(np.float64))[1].astype(np.int64)
    window, lost = first << (_WINDOW - bits), np.zeros(n, bool)
    for digit, by in ((second, _WINDOW - BITS - bits), (third, _WINDOW - 2 * BITS - bits)):
        left, right = np.maximum(by, 0), np.minimum(np.maximum(-by, 0), BITS)
        window |= digit << left >> right
        lost |= digit & ((np.int64(1) << right) - 1) != 0
    below = np.cumsum(size != 0, axis=0) - (size != 0)  # digits other than 0 below each
    lost |= np.take_along_axis(below, np.maximum(top - 2, 0)[None], axis=0)[0] > 0
    window |= lost  # so that a tie differs from what is next to it
    fraction = window.astype(np.float64) * sign
    return fraction, np.where(sign == 0, 0, BITS * (number.low - 2 + top) + bits - _WINDOW)
