"""What of a value may raise, and values that raise where something before them does."""

from __future__ import annotations

import functools

from engine.lift.scope import Items, Value
from engine.ops.operations import OPERATIONS
from engine.slicing.expr import Call, Expr


def then(first: Expr, value: Expr) -> Expr:
    """Return a value that raises where what came before it raises."""
    return Call("then", (first, value))


def raising(value: Value) -> Expr | None:
    """Return what may raise where Python evaluates a value, or None."""
    if isinstance(value, Items):
        effects = [v for v in value.values if raising(v) is not None] if not value.lazy else []
        return functools.reduce(then, effects) if effects else None
    if not isinstance(value, Call):
        return None
    if OPERATIONS[value.op].safe and all(raising(a) is None for a in value.args):
        return None
    return value
