"""What a slice is to whoever only reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, Self

from engine.slicing.expr import Expr
from engine.slicing.ids import Named


class SliceKind(StrEnum):
    """How a slicing function is written."""

    ROW = "row"  # a Python function of a row
    PANDAS = "pandas"  # a function of pandas Series, named like columns
    COLUMN = "column"  # a function without row that returns a Spark Column
    SQL = "sql"  # a SQL predicate
    EXPR = "expression"  # a tree over columns and other slices


class Step(Protocol):
    """A preprocessor, which a row function's rows go through first."""

    @property
    def f(self) -> Callable[[Any], Any]:
        """Its function."""


class Slice(Named, Protocol):
    """A slicing function, as :class:`engine.slicing.functions.SlicingFunction` is one."""

    kind: SliceKind
    text: str | None
    expr: Expr | None

    @property
    def f(self) -> Callable[..., Any] | None:
        """Its Python function."""

    @property
    def parts(self) -> Mapping[str, Self]:
        """Slice id to the slice that a mask of its tree means."""

    @property
    def chain(self) -> Sequence[Step]:
        """All preprocessors in running order."""

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
