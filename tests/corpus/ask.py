"""What the corpus's functions say of their rows: a plain loop over them."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import Row as SparkRow

from engine import SlicingFunction
from tests.fuzz.oracle import Plain, answer


def rows_of(table: pa.Table) -> list[Plain]:
    """Return a table's rows as Python has them: structs are Spark's rows, maps are dicts, times
    have the column's zone."""
    columns = {f.name: [_value(v, f.type) for v in table[f.name].to_pylist()] for f in table.schema}
    return [
        Plain(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
    ]


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Return a table's rows as somebody has them who makes a DataFrame of Python values."""
    rows = rows_of(table)
    return pd.DataFrame({c: pd.Series([x[c] for x in rows]) for c in table.column_names})


def rows_of_frame(frame: pd.DataFrame) -> list[Plain]:
    """Return a DataFrame's rows: what is missing is None, but in a float column it is NaN."""
    columns = {c: _missing_as_none(frame[c]) for c in frame}
    return [Plain({c: values[i] for c, values in columns.items()}) for i in range(len(frame))]


def answers(
    sfs: Iterable[SlicingFunction], given: pa.Table | pd.DataFrame
) -> dict[str, np.ndarray]:
    """Return what functions answer, a row at a time, by name; each has rows of its own."""
    rows = pickle.dumps(rows_of(given) if isinstance(given, pa.Table) else rows_of_frame(given))
    return {sf.name: np.array([_asked(sf, x) for x in pickle.loads(rows)], np.int8) for sf in sfs}


def _missing_as_none(values: pd.Series) -> list[Any]:
    if values.dtype.kind == "f":
        return values.tolist()
    if values.dtype.kind == "M":
        values = values.astype(object).map(pd.Timestamp.to_pydatetime, na_action="ignore")
    return [None if pd.api.types.is_scalar(v) and pd.isna(v) else v for v in values]


def _asked(sf: SlicingFunction, x: Plain) -> int:
    for step in sf.chain:
        x = step.f(x)
    assert sf.f is not None
    return answer(sf.f, sf.resources, x)


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return SparkRow(**{f.name: _value(value[f.name], f.type) for f in kind})
    if pa.types.is_map(kind):
        return {k: _value(v, kind.item_type) for k, v in value}
    if pa.types.is_list(kind):
        return [_value(v, kind.value_type) for v in value]
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return value.astimezone(ZoneInfo(kind.tz))
    return value
