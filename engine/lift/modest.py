"""Whether constants can be computed with while functions are read: what is large waits for a row.

A driver that reads a function has no limits, as workers have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

MOST = 1_000_000  # items of a collection, letters of a text, or times that one is repeated
MOST_SEARCHED = 25  # letters that a pattern may go through again and again
_SIZED = (str, bytes, bytearray, list, tuple, set, frozenset, dict, range)
_WIDTH = re.compile(r"\d{7}")  # of a format
_MOST_COUNTED = 1_000
_COUNTING = (math.factorial, math.comb, math.perm)  # large for numbers that aren't


def is_modest(values: Iterable[Any], does: Callable[..., Any] | str = "") -> bool:
    """Tell whether computing with constants takes no time and no memory to speak of.

    Parameters
    ----------
    values
        The constants.
    does
        The function, or an operation's name.

    Examples
    --------
    >>> is_modest(["a", 30], "mul"), is_modest(["a", 20 << 30], "mul"), is_modest([20 << 30])
    (True, False, True)
    """
    known = list(values)
    texts = [v for v in known if isinstance(v, _SIZED)]
    numbers = [abs(v) for v in known if type(v) is int]
    if any(len(v) > MOST for v in texts if not isinstance(v, range)) or any(
        isinstance(v, range) and v[MOST:] for v in texts
    ):
        return False
    if does is format or does in ("format", "mod"):
        return not any(_WIDTH.search(v) for v in texts if isinstance(v, str))
    if any(does is f for f in _COUNTING):
        return max(numbers, default=0) <= _MOST_COUNTED
    many = max(numbers, default=0) > MOST
    return not (many and (texts or does is bytes or does is bytearray))
