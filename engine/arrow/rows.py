"""Columns of a table, whatever holds it: pandas, pyarrow or, for texts, a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.arrow.columns import dense, plain_array
from engine.errors import missing_column

Rows: TypeAlias = Any  # a pyarrow Table or RecordBatch (which have no types), or a DataFrame


def column_of(rows: Rows, name: str) -> pa.Array:
    """Return a column as a plain Arrow array.

    Raises
    ------
    ColumnError
        If there is none of this name.
    """
    if name not in (names := _names(rows)):
        raise missing_column("features", name, map(str, names))
    if isinstance(rows, pd.DataFrame):
        column = dense(rows[name])
        # A float64 column keeps its NaN; in every other column NaN is pandas' null.
        return plain_array(pa.array(column, from_pandas=column.dtype != np.float64))
    return plain_array(rows.column(name))


def take_rows(rows: Any, start: int, stop: int) -> Any:
    """Cut rows out of a table, a frame or a list."""
    if isinstance(rows, pd.DataFrame):
        return rows.iloc[start:stop]
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return rows.slice(start, stop - start)
    return rows[start:stop]


def row_names(rows: Rows, key: Sequence[str], at: Sequence[int] | None = None) -> list[str]:
    """Return what messages call rows: their key where the table has it, else their position.

    Examples
    --------
    >>> row_names(pa.table({"id": [7, 8]}), ["id"])
    ['id=7', 'id=8']
    """
    at = range(len(rows)) if at is None else at
    if key and set(key) <= set(_names(rows)):
        values = [column_of(rows, k).to_pylist() for k in key]
        return [", ".join(f"{k}={v[i]!r}" for k, v in zip(key, values, strict=True)) for i in at]
    return [f"row {rows.index[i] if isinstance(rows, pd.DataFrame) else i}" for i in at]


def _names(rows: Rows) -> Sequence[Any]:
    return list(rows.columns) if isinstance(rows, pd.DataFrame) else list(rows.schema.names)
