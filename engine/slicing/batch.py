"""A batch of rows as one row of lists: what a preprocessor of batches gets, and gives back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.errors import SliceError, shown
from engine.slicing.rows import Unreadable

# What can be gone through, but isn't a value per row.
_NO_LISTS = (str, bytes, bytearray, Mapping, set, frozenset)


def stretched(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows of the same fields as a list per field, with a value per row.

    In place of a list that holds a value that Python can't, there is that value: who reads the
    field of such a batch fails.

    Examples
    --------
    >>> stretched([{"text": "a", "n": 1}, {"text": "b", "n": 2}])
    {'text': ['a', 'b'], 'n': [1, 2]}
    """
    lists = {name: [values[name] for values in rows] for name in rows[0]}
    return {name: next((v for v in values if type(v) is Unreadable), values)
            for name, values in lists.items()}  # fmt: skip


def per_row(preprocessor: str, name: str, values: Any, n: int) -> list[Any]:
    """Return what a preprocessor set a field of ``n`` rows to, as a list of their values.

    Arrays and Series of one dimension give Python's values, arrays of more dimensions one per row.

    Raises
    ------
    SliceError
        If it isn't a value per row.

    Examples
    --------
    >>> per_row("p", "size", (1, 2), 2)
    [1, 2]
    >>> per_row("p", "size", [1], 2)
    Traceback (most recent call last):
    engine.errors.SliceError: preprocessor 'p' set 'size' to 1 value for 2 rows; it must set a \
list with a value per row
    """
    if type(values) is Unreadable:
        return [values] * n
    if isinstance(values, _NO_LISTS) or not isinstance(values, Iterable):
        raise SliceError(
            f"preprocessor {preprocessor!r} set {name!r} to {shown(values)}; it must set a list "
            "with a value per row"
        )
    listed = _listed(values)
    if len(listed) != n:
        some = "1 value" if len(listed) == 1 else f"{len(listed)} values"
        raise SliceError(
            f"preprocessor {preprocessor!r} set {name!r} to {some} for "
            f"{n} row{'s' if n > 1 else ''}; it must set a list with a value per row"
        )
    return listed


def _listed(values: Any) -> list[Any]:
    if hasattr(values, "to_pylist"):  # pyarrow's
        return list(values.to_pylist())
    return list(values.tolist() if getattr(values, "ndim", 0) == 1 else values)
