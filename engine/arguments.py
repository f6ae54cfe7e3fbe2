"""Checks of a public call's arguments: each says what is wrong, or returns the value.

They run before anything else does, so that a wrong argument costs no scan and no trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from engine.errors import ArgumentError, listed, near


def text(call: str, argument: str, value: Any, wanted: str = "a text") -> str:
    """Return a text that isn't blank.

    Examples
    --------
    >>> text("worst", "model", 3)
    Traceback (most recent call last):
    engine.errors.ArgumentError: worst: model must be a text, found 3
    """
    if not isinstance(value, str) or not value.strip():
        raise ArgumentError(call, argument, wanted, value)
    return str(value)


def texts(
    call: str, argument: str, value: Any, wanted: str = "a list of texts", *, least: int = 0
) -> list[str]:
    """Return a list of texts that aren't blank; one text alone is refused.

    Examples
    --------
    >>> texts("worst_rows", "columns", "price", "a list of columns")
    Traceback (most recent call last):
    engine.errors.ArgumentError: worst_rows: columns must be a list of columns, found 'price'; \
write columns=['price']
    """
    listed = members(
        call, argument, value, str, wanted, "a text",
        write=lambda one: f"{argument}=[{one!r}]", least=least,
    )  # fmt: skip
    return [str(item) for item in listed]


def members(
    call: str,
    argument: str,
    value: Any,
    kinds: type | tuple[type, ...],
    wanted: str,
    each: str,
    *,
    write: Callable[[Any], str],
    hint: Callable[[Any], str] = lambda _: "",
    least: int = 0,
) -> list[Any]:
    """Return a list of values of some types; one of them alone is refused, and a blank text too.

    Parameters
    ----------
    call, argument, value
        The call, the argument's name and its value.
    kinds
        The types that each may have.
    wanted, each
        The list and one of it, in words.
    write
        Writes a list of the one that stands alone.
    hint
        Says what to do with one of another type.
    least
        How many there must be.
    """
    if isinstance(value, kinds):
        says = not isinstance(value, str) or value.strip()
        raise ArgumentError(
            call, argument, wanted, value, f"; write {write(value)}" if says else ""
        )
    listed = entries(call, argument, value, wanted, least=least)
    for one in listed:
        if not isinstance(one, kinds) or (isinstance(one, str) and not one.strip()):
            raise ArgumentError(call, f"each of {argument}", each, one, hint(one))
    return listed


def entries(call: str, argument: str, value: Any, wanted: str, *, least: int = 0) -> list[Any]:
    """Return the entries of a list, a tuple, a one-dimensional array or the like."""
    frame = hasattr(value, "columns") or getattr(value, "ndim", 1) != 1
    single = isinstance(value, str | bytes | Mapping | type) or callable(value)
    if frame or single or not isinstance(value, Iterable):
        raise ArgumentError(call, argument, wanted, value)
    items = list(value)
    if len(items) < least:
        raise ArgumentError(call, argument, wanted, items)
    return items


def choice(call: str, argument: str, value: Any, known: Sequence[str]) -> str:
    """Return one of the known texts.

    Examples
    --------
    >>> choice("lookup", "how", "brodcast", ["auto", "broadcast", "join"])
    Traceback (most recent call last):
    engine.errors.ArgumentError: lookup: how must be one of auto, broadcast, join, found \
'brodcast'; did you mean 'broadcast'?
    """
    if not isinstance(value, str) or value not in known:
        end = near(value, known) if isinstance(value, str) else ""
        hint = end if "did you mean" in end else ""
        raise ArgumentError(call, argument, f"one of {listed(known)}", value, hint)
    return value


def is_whole(value: Any) -> bool:
    """Tell whether a value is a whole number; True and False aren't."""
    return isinstance(value, Integral) and not _is_bool(value)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number; True and False aren't."""
    return isinstance(value, Real) and not _is_bool(value) and math.isfinite(value)


def whole(
    call: str, argument: str, value: Any, least: int | None = None, most: int | None = None
) -> int:
    """Return a whole number in a range.

    Examples
    --------
    >>> whole("evaluate", "n_replicates", -5, 0)
    Traceback (most recent call last):
    engine.errors.ArgumentError: evaluate: n_replicates must be a whole number of at least 0, \
found -5
    """
    if not is_whole(value) or not _between(value, least, most):
        raise ArgumentError(call, argument, f"a whole number{_range(least, most)}", value)
    return int(value)


def number(
    call: str,
    argument: str,
    value: Any,
    least: float | None = None,
    most: float | None = None,
    hint: str = "",
) -> float:
    """Return a finite number in a range."""
    if not is_number(value) or not _between(value, least, most):
        raise ArgumentError(call, argument, f"a number{_range(least, most)}", value, hint)
    return float(value)


def flag(call: str, argument: str, value: Any) -> bool:
    """Return True or False."""
    if not _is_bool(value):
        raise ArgumentError(call, argument, "True or False", value)
    return bool(value)


def mapping(call: str, argument: str, value: Any, wanted: str) -> dict[Any, Any]:
    """Return a mapping as a dict."""
    if not isinstance(value, Mapping):
        raise ArgumentError(call, argument, wanted, value)
    return dict(value)


def pandas_table(call: str, argument: str, value: Any, spark: str = "") -> None:
    """Check that a value is a pandas DataFrame; ``spark`` says what to do with one of Spark's."""
    import pandas as pd  # which takes long to load, and few calls need it

    if not isinstance(value, pd.DataFrame):
        hint = f"; {spark}" if spark and hasattr(value, "toPandas") else ""
        raise ArgumentError(call, argument, "a pandas DataFrame", value, hint)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or type(value).__name__ in ("bool_", "bool")


def _between(value: Any, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _range(least: float | None, most: float | None) -> str:
    if least is None and most is None:
        return ""
    if most is None:
        return f" of at least {least:,}"
    return f" of at most {most:,}" if least is None else f" from {least:,} to {most:,}"
