"""Where a step's values are needed: an operand behind `and`, or a branch, isn't of every row.

Forms over whole columns compute all rows all the same. Python's own operations, value by value,
leave out the rows that nobody looks at, as Python does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from engine.compile.vectors import Batch, Vec, truth
from engine.slicing.expr import Call, Expr

_MOST = 3  # conditions of a step that count: more are rarely worth looking at


class Condition(NamedTuple):
    """What must be said of a step before another one is needed: that it is true, or false."""

    step: int
    is_true: bool


Step = tuple[Any, Expr, tuple[int, ...]]


def conditions(steps: Sequence[Step], roots: Sequence[int]) -> list[tuple[Condition, ...]]:
    """Return the conditions of each step that hold wherever its values are looked at."""
    needed: list[frozenset[Condition] | None] = [None] * len(steps)
    for root in roots:
        needed[root] = frozenset()
    for at in range(len(steps) - 1, -1, -1):  # what uses a step comes behind it
        own = needed[at]
        if own is None:
            continue
        for part, more in _parts(steps[at]):
            of_part = own | more if len(own) < _MOST else own
            known = needed[part]
            needed[part] = of_part if known is None else known & of_part
    return [tuple(sorted(c or ())) for c in needed]


def _parts(step: Step) -> Iterator[tuple[int, frozenset[Condition]]]:
    """Yield a step's operands, and the conditions under which it looks at them."""
    _, node, args = step
    op = node.op if isinstance(node, Call) else ""
    if op == "if":
        test, one, other = args
        yield test, frozenset()
        yield one, frozenset([Condition(test, True)])
        yield other, frozenset([Condition(test, False)])
    elif op in _GOING_ON:
        before: list[Condition] = []
        for part in args:
            yield part, frozenset(before)
            if len(before) < _MOST:
                before.append(Condition(part, _GOING_ON[op]))
    else:
        for part in args:
            yield part, frozenset()


# Operation -> what an operand must be for the next one to be looked at.
_GOING_ON: Mapping[str, bool] = {"and": True, "all": True, "or": False, "any": False}


def idle_rows(
    of: Sequence[Condition], batch: Batch, idle: np.ndarray | None,
    value: Callable[[int], Vec | None], known: dict[Condition, np.ndarray],
) -> np.ndarray | None:  # fmt: skip
    """Return the rows on which a step isn't needed, some of them known; None for no row."""
    for condition in of:
        if condition not in known:
            vec = value(condition.step)
            if vec is None:
                continue
            holds = truth(vec, batch)
            known[condition] = ~holds if condition.is_true else holds
        idle = known[condition] if idle is None else idle | known[condition]
    return idle if idle is not None and idle.any() else None
