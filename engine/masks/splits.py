"""Splits as values: a text, or None for the rows whose split is null, which is a split of its own.

In tables such a split is SQL NULL. It is shown as ``null`` and the text as ``'null'``, as slices by
value show them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypeVar

from engine.arguments import text
from engine.errors import MetricError, near
from engine.slicing.by_value import shown
from engine.sql import name_sql, text_sql

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"  # the split of a table without splits
Split = str | None
AnySplit = Split | EllipsisType  # of every split where it is ``...``
_K = TypeVar("_K", bound=tuple[Any, ...])
_V = TypeVar("_V")


def split_sql(split: str | None) -> str:
    """Return the split as text, in SQL: "all" in a table without splits, NULL where it is null.

    Examples
    --------
    >>> split_sql(None), split_sql("part")
    ("'all'", 'CAST(`part` AS STRING)')
    """
    return f"'{ALL}'" if split is None else f"CAST({name_sql(split)} AS STRING)"


def is_split(of: str, splits: Iterable[Split]) -> str:
    """Tell whether a split in SQL is one of these; never null.

    Examples
    --------
    >>> is_split("part", ["test", None])
    "(part <=> 'test' OR part <=> NULL)"
    """
    tests = (f"{of} <=> {'NULL' if s is None else text_sql(s)}" for s in splits)
    return f"({' OR '.join(tests)})"


def split_name(split: Any) -> str:
    """Return a split as it is shown.

    Examples
    --------
    >>> [split_name(s) for s in ("test", None, "null", "")]
    ['test', 'null', "'null'", "''"]
    """
    return "null" if split is None or split != split else shown(split)  # noqa: PLR0124 - NaN


def in_split(column: pd.Series, split: AnySplit) -> pd.Series:
    """Tell which rows of a frame are of a split, given its column of splits.

    Examples
    --------
    >>> import pandas as pd
    >>> splits = pd.Series(["null", None, "test"], dtype=object)
    >>> [in_split(splits, s).tolist() for s in ("null", None, ...)]
    [[True, False, False], [False, True, False], [True, True, True]]
    """
    if split is ...:
        return column.isna() | True
    return column.isna() if split is None else column.eq(split) & column.notna()


def check_split(call: str, split: Any, column: pd.Series) -> None:
    """Check that a split is one of a frame's; where there are no rows, any is.

    Raises
    ------
    ArgumentError, MetricError

    Examples
    --------
    >>> import pandas as pd
    >>> check_split("worst", "tst", pd.Series(["test", "train"]))
    Traceback (most recent call last):
    engine.errors.MetricError: split 'tst' was not evaluated; did you mean 'test'?
    """
    if split is ...:
        return
    if split is not None:
        text(call, "split", split)
    if len(column) and not in_split(column, split).any():
        known = (split_name(s) for s in column.astype(object).unique())
        raise MetricError(f"split {split!r} was not evaluated{near(str(split), known)}")


def by_split(parts: Mapping[_K, _V]) -> list[tuple[_K, _V]]:
    """Return items in the order of their keys, tuples of names; the split that is null is first.

    Examples
    --------
    >>> by_split({("m", "a"): 1, ("m", None): 2})
    [(('m', None), 2), (('m', 'a'), 1)]
    """
    return sorted(parts.items(), key=lambda item: [(p is not None, p or "") for p in item[0]])


def no_split(split: str | None, known: Iterable[str | None]) -> str:
    """Say which split isn't there, and which may have been meant."""
    there = set(known)
    if split is None:
        return (
            f"null: the split of every row is known{near('', (s for s in there if s is not None))}"
        )
    if split == "null" and None in there:
        return "'null', but rows whose split is null: write it as null, without quotes"
    return f"{split!r}{near(split, (s for s in there if s is not None))}"
