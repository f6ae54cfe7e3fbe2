"""Exceptions that a function catches: what is said instead, on the rows where they are raised."""

from __future__ import annotations

import numpy as np

from engine.compile.vectors import ASK, NULL, QUICK, RAISED, VECTORS, Batch, Vec, first_fail
from engine.slicing.expr import Call


def _caught(batch: Batch, node: Call, tried: Vec, value: Vec, *ways: Vec) -> Vec:
    """Return a value, or another one where what was tried raises what is caught.

    ``ways`` are exceptions and what is said instead, in turn: the first that fits counts.
    """
    if tried.fail is None:
        return value
    way = np.zeros(ASK + len(RAISED) + 1, np.int64)  # by code: which way is gone, from 1 on
    for at, kinds in enumerate(ways[::2], 1):
        for kind, code in RAISED.items():
            if not way[code] and issubclass(kind, kinds.values):
                way[code] = at
    why = tried.fail
    if way[RAISED[TypeError]] == way[RAISED[AttributeError]]:  # what None raises is one of the two
        way[NULL] = way[RAISED[TypeError]]
    else:
        why = np.where(why == NULL, np.uint8(ASK), why)
    gone = way[why]
    left = np.where(gone > 0, np.uint8(0), why)
    for at, instead in enumerate(ways[1::2], 1):
        value = VECTORS["if"](batch, node, Vec("bool", gone == at), instead, value)
    return Vec(value.kind, value.values, value.null, first_fail(left, value.fail))


QUICK["catch"] = _caught
