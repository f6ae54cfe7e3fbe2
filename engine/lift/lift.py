"""A row function's source, lifted to an expression tree over columns.

What a function says in plain Python (comparisons, ``in``, string methods, ``re``, conditions,
early returns, loops over constants, helper functions) becomes a tree; anything else is named,
with its line, and the function runs as Python. Nothing is run here but operations on constants.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from engine.errors import interrupts
from engine.lift.scope import ROW, CannotLiftError, PatternSyntaxError
from engine.lift.statements import Statements
from engine.slicing.expr import Expr


@dataclass(frozen=True)
class Lifted:
    """What a function says, and the columns that it may read when it is called.

    It may read more than the tree does: what it never uses isn't there.
    """

    tree: Expr
    reads: frozenset[str]


@dataclass(frozen=True)
class NotLifted:
    """Why a function runs as Python: the line, what stands there, and a column that is missing."""

    why: str
    line: int | None = None
    missing: str | None = None

    def __str__(self) -> str:
        return self.why if self.line is None else f"line {self.line}: {self.why}"


def lift(
    f: Callable[..., Any],
    resources: Mapping[str, Any],
    columns: Sequence[str],
    scalars: Container[str] = (),
) -> Lifted | NotLifted:
    """Return what a row function says as a tree over columns, or why it can't be one.

    Parameters
    ----------
    f
        A function of a row.
    resources
        Its further keyword arguments.
    columns
        The table's columns.
    scalars
        Those that hold text, whole numbers, floats or booleans: numpy's scalars compare with them
        as Python's do.

    Raises
    ------
    PatternSyntaxError
        If it uses a constant regex that doesn't compile.

    Examples
    --------
    >>> print(lift(lambda x: x.text is None or "a" in x.text.lower(), {}, ["text"]).tree)
    or(is_none(text), in('a', lower(text)))
    >>> print(lift(lambda x: print(x.text), {}, ["text"]))
    line 1: it calls print
    """
    if not isinstance(f, FunctionType):
        return NotLifted(f"it is a {type(f).__name__}, not a plain function")
    lifter = Statements(frozenset(columns), scalars)
    try:
        tree = lifter.result(f, [ROW], resources)
        return Lifted(tree, frozenset(lifter.reads))
    except CannotLiftError as error:
        return NotLifted(error.why, getattr(error.node, "lineno", None), error.missing)
    except RecursionError:
        return NotLifted("it is nested too deeply")
    except PatternSyntaxError:
        raise
    except BaseException as error:  # of a constant that refuses to be compared, or to be true
        if interrupts(error):
            raise
        return NotLifted(f"its constants raise {type(error).__name__} when they are worked with")
