"""A mask's values outside Spark: 1 or True is in, 0 or False out, -1 or null undecided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from engine.errors import MaskError, listed

UNDECIDED = -1


def codes_of(name: str, values: Any, first: int = 0) -> np.ndarray:
    """Return a slice's mask as 1, 0 and -1, ``[n]`` int8.

    Parameters
    ----------
    name
        The slice.
    values
        What its mask holds.
    first
        The row of the first value.

    Raises
    ------
    MaskError
        With the first value that is no mask's, and its row.

    Examples
    --------
    >>> codes_of("short", [True, None, 0.0, -1]).tolist()
    [1, -1, 0, -1]
    >>> codes_of("short", [1, 0.5])
    Traceback (most recent call last):
    engine.errors.MaskError: the mask of slice 'short' holds 0.5 in row 1; a mask is 1 (in), \
0 (out) or -1 (could not be decided)
    """
    raw = np.asarray(values)
    if raw.ndim == 1 and raw.dtype.kind in "biuf":
        codes = np.where(raw == 1, 1, np.where(raw == 0, 0, UNDECIDED)).astype(np.int8)
        wrong = (codes == UNDECIDED) & (raw != UNDECIDED) & (raw == raw)  # noqa: PLR0124 - NaN
    else:
        known = [_code(v) for v in raw.tolist()]
        wrong = np.array([k is None for k in known], bool)
        codes = np.array([UNDECIDED if k is None else k for k in known], np.int8)
    if wrong.any():
        at = int(wrong.argmax())
        value = raw[at : at + 1].tolist()[0]
        raise MaskError(
            f"the mask of slice {name!r} holds {value!r} in row {first + at}; a mask is 1 (in), 0 "
            "(out) or -1 (could not be decided)"
        )
    return codes


def are_codes(block: np.ndarray) -> bool:
    """Tell quickly whether numbers of any shape may all be values of masks.

    Examples
    --------
    >>> are_codes(np.array([[1, 0], [-1, 1]])), are_codes(np.array([7]))
    (True, False)
    """
    kind = block.dtype.kind
    if kind == "b" or not block.size:
        return True
    if kind in "iu":
        whole = block.view(f"u{block.itemsize}").max() <= 1  # one look, where none is undecided
        return bool(whole or (block.max() <= 1 and block.min() >= UNDECIDED))
    if kind != "f":
        return False
    null = block != block  # noqa: PLR0124 - NaN
    return bool((null | (block == 0) | (np.abs(block) == 1)).all())


def _code(value: Any) -> int | None:
    if value is None or value is pd.NA or value is pd.NaT:
        return UNDECIDED
    if not isinstance(value, bool | int | float | np.number | np.bool_):
        return None
    return UNDECIDED if value != value else int(value) if value in (0, 1, UNDECIDED) else None  # noqa: PLR0124


def no_masks(flags: Sequence[str] = (), argument: str = "slices") -> MaskError:
    """Return the error of a table without slice masks."""
    end = ""
    if flags:
        names = ", ".join(map(repr, flags[:2]))
        end = (
            f". Its BOOLEAN columns ({listed(flags, 5)}) are not marked as masks, which pandas "
            f"and casts undo: name those that are, {argument}=[{names}]"
        )
    functions = ", or slicing functions as slices=[...]" if argument == "slices" else ""
    return MaskError(
        "the table has no slice masks; give one that label_slices, MaskPlan.apply or "
        f"SparkSFApplier.apply made{functions}{end}"
    )


def unreadable_mask(slice_id: str, problem: str) -> MaskError:
    """Return the error of a column that can't be read as a slice's mask."""
    return MaskError(
        f"the mask of slice {slice_id!r} can't be read: {problem}; a mask is one BOOLEAN "
        "column (true in, false out, null undecided), or both words of a packed table. To "
        "slice by another column, give slicing functions, as where(...) and by(...) make them"
    )
