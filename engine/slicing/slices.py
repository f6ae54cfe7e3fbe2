"""What a slice is to whoever only reads it, and which keys it looks up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol, Self, cast

from engine.errors import SliceError
from engine.slicing.expr import FEW, Expr, Lookup
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


def joined(sfs: Iterable[Slice]) -> list[Lookup]:
    """Return the look-ups of slices that Spark joins, each once."""
    every = (part for sf in sfs for part in (sf, *sf.parts.values()) if part.expr is not None)
    nodes = (node for part in every for node in cast("Expr", part.expr).walk())
    lookups = dict.fromkeys(node for node in nodes if isinstance(node, Lookup))
    return [node for node in lookups if not node.has_few_keys(FEW)]


def key_tables(sfs: Iterable[Slice]) -> list[str]:
    """Return the tables that slices look keys up in, each once."""
    return list(dict.fromkeys(node.keys.table for node in joined(sfs) if node.keys.table))


def check_local(sfs: Iterable[Slice]) -> None:
    """Check that slices look up no table of keys, which only Spark reads.

    Raises
    ------
    SliceError
    """
    for sf in sfs:
        for table in key_tables([sf]):
            raise SliceError(
                f"slice {sf.name!r}: its keys are in {table}, which is read in Spark only"
            )
