"""Masks in tables that aren't Spark's: pandas', pyarrow's, and the record arrays of appliers.

Outside Spark a mask's value is 1 or True (in), 0 or False (out), -1 or null (undecided).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.errors import MaskError, listed, no_such_mask
from engine.slicing.fingerprint.identity import fingerprint

if TYPE_CHECKING:
    from engine.slicing.functions import SlicingFunction

UNDECIDED = -1
MARK, MARKS = "slice", "slices"  # a column's metadata in pyarrow, a table's attrs in pandas


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


def mark_of(sf: SlicingFunction) -> dict[str, str]:
    """Return a mask's mark, as a mask table's column has it."""
    return {"name": sf.name, "fingerprint": fingerprint(sf)}


def marked_field(sf: SlicingFunction) -> pa.Field:
    """Return the field of a slice's BOOLEAN column in a table of pyarrow."""
    return pa.field(sf.id, pa.bool_(), metadata={MARK: json.dumps(mark_of(sf))})


def is_local(masks: Any) -> bool:
    """Tell whether something is a table of pandas' or pyarrow's, or a record array."""
    if isinstance(masks, np.ndarray):
        return masks.dtype.names is not None and masks.ndim == 1
    return isinstance(masks, pd.DataFrame | pa.Table | pa.RecordBatch)


def inside(masks: Any, ids: Sequence[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the slices of a local table, and ``[n, S]`` which rows are in them.

    Parameters
    ----------
    masks
        The table; of a record array every field is a slice.
    ids
        The slices; all that are marked if None.

    Raises
    ------
    MaskError
        If none are named and none are marked.
        If there is no such slice, or its column can't be a mask.
        If a record array holds what is neither 1, 0, -1 nor null.

    Examples
    --------
    >>> ids, members = inside(pa.table({"a": [True, None], "b": [False, True]}), ["b", "a"])
    >>> ids, members.tolist()
    (('b', 'a'), [[False, True], [True, False]])
    """
    wanted, names = named_masks(masks, ids, "ids"), _names(masks)[0]
    members = np.zeros((len(masks), len(wanted)), bool)
    for i, one in enumerate(wanted):
        members[:, i] = _column(masks, names.index(one))
    return wanted, members


def named_masks(masks: Any, ids: Sequence[str] | None, argument: str) -> tuple[str, ...]:
    """Return the slices that someone asks for of a local table, or all that are marked.

    Parameters
    ----------
    masks, ids
        As for :func:`inside`, which raises the same.
    argument
        What names slices, for the message.
    """
    names, known, flags = _names(masks)
    wanted = tuple(dict.fromkeys(known if ids is None else ids))
    if ids is None and not wanted:
        raise no_masks(flags, argument)
    for one in wanted:
        if one not in names:
            raise no_such_mask(one, known or flags)
        if names.count(one) > 1:
            raise unreadable_mask(one, f"there are {names.count(one)} columns {one!r}")
        if one not in flags:
            raise unreadable_mask(one, f"the column {one!r} is no BOOLEAN one")
    return wanted


def _names(masks: Any) -> tuple[list[str], list[str], list[str]]:
    """Return the names of all columns, of those marked as masks, and of those that can be one."""
    if isinstance(masks, np.ndarray):
        names = list(masks.dtype.names or ())
        flags = [n for n in names if masks.dtype[n].kind in "bi"]
        return names, flags, flags
    if isinstance(masks, pd.DataFrame):
        names = list(map(str, masks.columns))
        flags = [n for n, k in zip(names, masks.dtypes, strict=True) if str(k) in _BOOLEAN]
        marks: Mapping[str, Any] = masks.attrs.get(MARKS, {})
        return names, [n for n in flags if n in marks], flags
    flags = [f.name for f in masks.schema if pa.types.is_boolean(f.type)]
    marked = {f.name for f in masks.schema if MARK.encode() in (f.metadata or {})}
    return list(masks.schema.names), [n for n in flags if n in marked], flags


_BOOLEAN = ("bool", "boolean", "bool[pyarrow]")


def _column(masks: Any, at: int) -> np.ndarray:
    if isinstance(masks, np.ndarray):
        name = (masks.dtype.names or ())[at]
        return np.asarray(codes_of(name, masks[name]) == 1)  # undecided is out
    if isinstance(masks, pd.DataFrame):
        return np.asarray(masks.iloc[:, at].fillna(False).to_numpy(bool))
    column = masks.column(at).fill_null(False)
    values = column.to_numpy() if isinstance(masks, pa.Table) else column.to_numpy(False)
    return np.asarray(values, bool)
