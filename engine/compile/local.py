"""A plan applied to pandas and pyarrow tables: the tiers of executors, without Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.compile.kernel import BatchMasks
from engine.compile.values import nullable, pandas_values
from engine.compile.vectors import kind_of
from engine.errors import NeedsSparkError, SliceFaultError
from engine.slicing.identity import check_ids

if TYPE_CHECKING:
    from engine.compile.plan import MaskPlan
    from engine.masks.coverage import Coverage

BATCH = 10_000  # rows, as in Spark's Arrow batches


def applied(
    plan: MaskPlan, df: pa.Table | pd.DataFrame, keep: Sequence[str] | None
) -> pa.Table | pd.DataFrame:
    """Return a table with a BOOLEAN column per slice; see :meth:`MaskPlan.apply`."""
    kept = list(df.columns if isinstance(df, pd.DataFrame) else df.column_names)
    kept = kept if keep is None else list(keep)
    check_ids(plan.sfs, dict.fromkeys(map(str, kept), "table"))
    masks = _masks(plan, df)
    if isinstance(df, pd.DataFrame):
        columns = {
            s: pd.Series(pd.arrays.BooleanArray(m == 1, m == -1), df.index)
            for s, m in masks.items()
        }
        return pd.concat([df[kept], pd.DataFrame(columns, df.index)], axis=1)
    made = df.select(kept)
    for s, m in masks.items():
        made = made.append_column(s, pa.array(m == 1, mask=m == -1))
    return made


def counted(plan: MaskPlan, df: pa.Table | pd.DataFrame) -> list[Coverage]:
    """Count each slice's rows; see :meth:`MaskPlan.coverage`."""
    from engine.masks.coverage import Coverage
    from engine.masks.table import ALL

    return [
        Coverage(s, ALL, len(df), int((m == 1).sum()), int((m == -1).sum()))
        for s, m in _masks(plan, df).items()
    ]


def _masks(plan: MaskPlan, df: pa.Table | pd.DataFrame) -> dict[str, np.ndarray]:
    """Return ``[n]`` int8 codes per slice.

    Raises
    ------
    SliceFaultError
        If a function fails on a row.
    """
    names = {s: sf.name for s, sf in plan.all_sfs.items()}
    masks = {s: np.empty(len(df), np.int8) for s in plan.ids}
    for start, n, out in batches(plan, df, range(0, len(df), BATCH)):
        for fault in out.faults[:1]:
            key = f"{start + fault.row}"
            raise SliceFaultError(names[fault.slice_id], key, fault.read, fault.cause)
        for s, codes in masks.items():
            codes[start : start + n] = out.found[s].codes
    return masks


def batches(
    plan: MaskPlan, df: pa.Table | pd.DataFrame, starts: Iterable[int]
) -> Iterator[tuple[int, int, BatchMasks]]:
    """Yield (first row, number of rows, masks) of each batch of :data:`BATCH` rows.

    Raises
    ------
    NeedsSparkError
        If a slice can run in Spark alone.
    """
    inside = {sf.id for sf in plan.python_sfs}
    for sf in plan.sfs:
        if sf.id not in inside:
            raise NeedsSparkError(sf.name, str(sf.kind))
    arrays, others = _columns(df, plan.crossing)
    if not _fits(plan, arrays):
        plan = plan.as_python()  # compiled for values of another kind, which trees tell apart
    series = _series(df, plan.kernel.series)
    for start in starts:
        n = min(BATCH, len(df) - start)
        yield (
            start,
            n,
            plan.kernel.run(
                {c: a.slice(start, n) for c, a in arrays.items()},
                n,
                {c: pandas_values(s.iloc[start : start + n]) for c, s in others.items()},
                {c: s.iloc[start : start + n] for c, s in series.items()},
            ),
        )


def _fits(plan: MaskPlan, arrays: Mapping[str, pa.Array]) -> bool:
    return all(
        pa.types.is_null(kind) or (c in arrays and kind_of(arrays[c].type) == kind_of(kind))
        for c, kind in plan.kinds.items()
        if c in plan.crossing
    )


def arrow_columns(df: pd.DataFrame) -> dict[str, pa.Array | None]:
    """Return a DataFrame's columns as Arrow arrays; None where that would change a value.

    Examples
    --------
    >>> found = arrow_columns(pd.DataFrame({"a": ["x", None], "b": [1, "mixed"]}))
    >>> found["a"].to_pylist(), found["b"]
    (['x', None], None)
    """
    return {str(c): _arrow(df.iloc[:, i]) for i, c in enumerate(df.columns)}


def _columns(
    df: pa.Table | pd.DataFrame, names: Sequence[str]
) -> tuple[dict[str, pa.Array], dict[str, pd.Series]]:
    """Return columns as Arrow, and as Series those that are none."""
    if isinstance(df, pa.Table):
        return {c: _whole(df[c]) for c in names}, {}
    places = [str(c) for c in df.columns]
    series = {c: df.iloc[:, places.index(c)] for c in names}
    made = {c: _arrow(s) for c, s in series.items()}
    arrays = {c: a for c, a in made.items() if a is not None}
    return arrays, {c: s for c, s in series.items() if c not in arrays}


def _series(df: pa.Table | pd.DataFrame, names: Iterable[str]) -> Mapping[str, pd.Series]:
    if isinstance(df, pa.Table):
        return {}  # the kernel makes them of the arrays
    places = [str(c) for c in df.columns]
    return {c: nullable(df.iloc[:, places.index(c)]) for c in names}


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined: Any = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):  # none, or too large for one array
        combined = (
            pa.concat_arrays(combined.chunks) if combined.num_chunks else pa.array([], column.type)
        )
    return combined


def _arrow(series: pd.Series) -> pa.Array | None:
    kind = series.dtype.kind if isinstance(series.dtype, np.dtype) else ""
    if kind in ("b", "i", "u", "f"):
        return pa.array(series.to_numpy(), from_pandas=False)  # NaN of a float column stays NaN
    if isinstance(series.dtype, pd.ArrowDtype):
        return _whole(pa.chunked_array(series.array.__arrow_array__()))
    if isinstance(series.dtype, pd.StringDtype) or (
        kind == "O" and pd.api.types.infer_dtype(series, skipna=True) in ("string", "empty")
    ):
        try:
            return pa.array(series, pa.large_string(), from_pandas=True)
        except (pa.ArrowException, UnicodeEncodeError):  # half of a surrogate pair
            return None
    if str(series.dtype).startswith(("Int", "UInt", "boolean")):  # pandas' nullable ones
        return pa.array(series, from_pandas=True)
    return None
