"""Exceptions that a function catches: what is said instead, on the rows where they are raised."""

from __future__ import annotations

import numpy as np

from engine.compile.vectors import ASK, NULL, QUICK, RAISED, VECTORS, Batch, Vec, first_fail
from engine.slicing.expr import Call


def _caught(batch: Batch, node: Call, tried: Vec, instead: Vec, value: Vec, kinds: Vec) -> Vec:
    """Return a value, or another one where what was tried raises what is caught."""
    if tried.fail is None:
        return value
    caught = np.zeros(ASK + len(RAISED) + 1, np.bool_)
    for kind, code in RAISED.items():
        caught[code] = issubclass(kind, kinds.values)
    of_null = {bool(caught[RAISED[kind]]) for kind in (TypeError, AttributeError)}
    why = tried.fail
    if len(of_null) == 1:  # what None raises is one of the two
        caught[NULL] = of_null.pop()
    else:
        why = np.where(why == NULL, np.uint8(ASK), why)
    other = caught[why]
    left = np.where(other, np.uint8(0), why)
    chosen = VECTORS["if"](batch, node, Vec("bool", other), instead, value)
    return Vec(chosen.kind, chosen.values, chosen.null, first_fail(left, chosen.fail))


QUICK["catch"] = _caught
