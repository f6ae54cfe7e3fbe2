"""What binds closer in Spark's grammar, and where a tree needs parentheses.

sqlglot has one rank for ``|``, ``^`` and ``&``, and ranks ``||``, ``LIKE``, ``IN`` and ``BETWEEN``
otherwise than Spark does. A tree that fits Spark's ranks is the only one that Spark can read in the
same words; any other is refused until parentheses say what is meant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

from engine.predicates.dialect import Positive

_RANKS: tuple[tuple[type[exp.Expr], ...], ...] = (
    (exp.Neg, exp.BitwiseNot, Positive),
    (exp.Mul, exp.Div, exp.Mod, exp.IntDiv),
    (exp.Add, exp.Sub, exp.DPipe),
    (exp.BitwiseLeftShift, exp.BitwiseRightShift),
    (exp.BitwiseAnd,),
    (exp.BitwiseXor,),
    (exp.BitwiseOr,),
    (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE),
    (
        exp.Between, exp.Escape, exp.ILike, exp.In, exp.Is, exp.Like, exp.NullSafeEQ,
        exp.NullSafeNEQ, exp.RegexpLike,
    ),
    (exp.Not,),
    (exp.And,),
    (exp.Or,),
    (exp.Lambda,),
)  # fmt: skip
RANK: Mapping[type[exp.Expr], int] = {
    kind: rank for rank, kinds in enumerate(_RANKS) for kind in kinds
}
_ATOM = -1
PREDICATE = RANK[exp.Like]


def rank(node: exp.Expr) -> int:
    """Return how loosely a node binds; -1 for a name, a value, a call and what has brackets."""
    return RANK.get(type(node), _ATOM)


def fits(node: exp.Expr, operand: exp.Expr, first: bool) -> bool:
    """Tell whether an operand needs no parentheses.

    Parameters
    ----------
    node
        The operation.
    operand
        One of its operands.
    first
        Whether it is the first of several.
    """
    own, below = rank(node), rank(operand)
    if isinstance(node, exp.NullSafeEQ):  # written as an operator, beside =
        return below < RANK[exp.EQ]
    if own == PREDICATE:
        return below < own
    return below <= own if first else below < own


def operands(node: exp.Expr) -> Iterator[tuple[exp.Expr, bool]]:
    """Yield what an operation stands between, and whether it is the first."""
    for name in ("this", "expression", "low", "high"):
        child = node.args.get(name)
        if isinstance(child, exp.Expr):
            yield child, name == "this"
