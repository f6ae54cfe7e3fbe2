"""A plan applied to pandas and pyarrow tables: the tiers of executors, without Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.arrow.columns import Columns, Local, columns_of, names_of, places_of, plain_type
from engine.arrow.values import pandas_values
from engine.compile.vectors import kind_of
from engine.errors import SliceError, SliceFaultError
from engine.label.placement import Placement
from engine.masks.frames import MARKS, mark_of, marked_field
from engine.run.kernel import BatchMasks
from engine.run.series import pandas_series
from engine.slicing.ids import check_ids

BATCH = 10_000  # rows, as in Spark's Arrow batches


def applied(plan: Placement, df: Local, keep: Sequence[str] | None) -> Local:
    """Return a table with a BOOLEAN column per slice; see :meth:`engine.MaskPlan.apply`."""
    names = names_of(df)
    places = list(range(len(names)))
    if keep is not None:
        places = list(places_of(names, map(str, keep)).values())
    check_ids(plan.sfs, dict.fromkeys((names[at] for at in places), "table"))
    masks = mask_codes(plan, df)
    if isinstance(df, pd.DataFrame):
        columns = {
            s: pd.Series(pd.arrays.BooleanArray(m == 1, m == -1), df.index)
            for s, m in masks.items()
        }
        table = pd.DataFrame(columns, df.index)
        table = pd.concat([df.iloc[:, places], table], axis=1) if places else table
        marks = {sf.id: mark_of(sf) for sf in plan.sfs}
        table.attrs = {**df.attrs, MARKS: {**df.attrs.get(MARKS, {}), **marks}}
        return table
    fields = [*map(df.schema.field, places), *map(marked_field, plan.sfs)]
    added = (pa.array(m == 1, mask=m == -1) for m in masks.values())
    arrays = [*map(df.column, places), *added]
    return type(df).from_arrays(arrays, schema=pa.schema(fields, df.schema.metadata))


def mask_codes(plan: Placement, df: Local) -> dict[str, np.ndarray]:
    """Return ``[n]`` int8 codes per slice.

    Raises
    ------
    SliceFaultError
        If a function fails on a row.
    """
    masks = {s: np.empty(len(df), np.int8) for s in plan.ids}
    for start, n, out in batches(plan, df, range(0, len(df), BATCH)):
        for fault in out.faults[:1]:
            name, key = plan.all_sfs[fault.slice_id].name, f"{start + fault.row}"
            raise SliceFaultError(name, key, fault.read, fault.cause)
        for s, codes in masks.items():
            codes[start : start + n] = out.by_slice[s].codes
    return masks


def batches(
    plan: Placement, df: Local, starts: Iterable[int]
) -> Iterator[tuple[int, int, BatchMasks]]:
    """Yield (first row, number of rows, masks) of each batch of :data:`BATCH` rows.

    Raises
    ------
    SliceError
        If a slice can run in Spark alone.
    """
    inside = {sf.id for sf in plan.python_sfs}
    for sf in plan.sfs:
        if sf.id not in inside:
            raise SliceError(
                f"slice {sf.name!r} is a {sf.kind!s} slice, which only Spark can evaluate: apply "
                "it to a Spark DataFrame"
            )
    of_series = plan.kernel.series if isinstance(df, pd.DataFrame) else frozenset()
    columns = columns_of(df, [c for c in plan.crossing if c not in of_series - plan.by_row])
    if not _fits(plan, columns):
        plan = plan.as_python()  # compiled for values of another kind, which trees tell apart
    series, unreadable = {}, {}
    if isinstance(df, pd.DataFrame):
        for c, at in places_of(names_of(df), of_series).items():
            series[c], unreadable[c] = pandas_series(df.iloc[:, at])
    for start in starts:
        n = min(BATCH, columns.n - start)
        part = slice(start, start + n)
        out = plan.kernel.run(
            columns.batch(start, n),
            n,
            {c: pandas_values(s.iloc[part]) for c, s in columns.objects.items()},
            {c: s.iloc[part] for c, s in series.items()},
            {c: {i - start: v for i, v in bad.items() if start <= i < start + n}
             for c, bad in unreadable.items()},
        )  # fmt: skip
        yield start, n, out


def _fits(plan: Placement, columns: Columns) -> bool:
    return all(
        kind_of(plain_type(a.type)) == kind_of(plan.kinds[c])
        for c, a in columns.arrays.items()
        if not pa.types.is_null(plan.kinds[c])
    ) and all(pa.types.is_null(plan.kinds[c]) for c in columns.objects)
