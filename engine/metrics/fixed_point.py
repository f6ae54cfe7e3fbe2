"""Sums of floats that no order of adding changes: fixed point in units of 2^-64.

A float64 is rounded once to a whole number of units and written with six digits of 32 bits, each
from -2^31 to 2^31. A digit's sum is an int64, which holds 2^32 rows of any digits; Spark says so
if it doesn't. So values up to 2^126 are summed with an error of 2^-65 per row, and to the same
bits in any partitioning, order or retry.
"""

from __future__ import annotations

import numpy as np

DIGITS = 6
BITS = 32
SCALE = 64  # units are 2^-SCALE
LARGEST = 2.0**126


def digits_of(values: np.ndarray) -> dict[int, np.ndarray]:
    """Return the digits of values ``[n]`` that aren't all 0: place to ``[n]`` float64.

    Float64, since that is what matrix products and ``np.bincount`` add exactly.

    Raises
    ------
    OverflowError
        If a value is larger than 2^126, or not finite.

    Examples
    --------
    >>> {k: d.tolist() for k, d in digits_of(np.array([1.5, -2.0**-40])).items()}
    {2: [2.0, 0.0], 1: [-2147483648.0, 0.0], 0: [0.0, -16777216.0]}
    """
    left = np.asarray(values, np.float64)
    largest = float(np.abs(left).max(initial=0.0))
    if not largest <= LARGEST:
        raise OverflowError(f"a value of {largest} is too large to be summed exactly")
    found: dict[int, np.ndarray] = {}
    for place in reversed(range(DIGITS)):
        unit = 2.0 ** (BITS * place - SCALE)
        if largest < unit / 2:
            continue
        digit = np.rint(left / unit) + 0.0  # no -0.0
        left = left - digit * unit  # exact: what is left are the lower bits
        if digit.any():
            found[place] = digit
    return found


def value_of(sums: np.ndarray) -> np.ndarray:
    """Return sums of digits ``[DIGITS, ...]`` int64 as float64 ``[...]``.

    Examples
    --------
    >>> float(value_of(np.array([0, -(2**31), 2, 0, 0, 0])))
    1.5
    """
    digits = sums.astype(np.int64, copy=True)
    for place in range(DIGITS - 1):
        carry = (digits[place] + (1 << (BITS - 1))) >> BITS
        digits[place] -= carry << BITS
        digits[place + 1] += carry
    total = np.zeros(sums.shape[1:])
    for place in range(DIGITS):  # from the least, so that it is rounded as seldom as can be
        total += digits[place] * 2.0 ** (BITS * place - SCALE)
    return total
