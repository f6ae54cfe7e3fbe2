"""What each slice really takes of a core, measured on some of the rows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame

from engine.arguments import whole
from engine.arrow.columns import Local
from engine.errors import ArgumentError
from engine.label.local import BATCH, batches
from engine.label.lookup_joins import with_own_lookups
from engine.label.plan import MaskPlan, is_local
from engine.slicing.evaluate import is_combination

_TURNS = 3


@dataclass(frozen=True)
class SliceTime:
    """What a slice that runs in Python took, on its own.

    Attributes
    ----------
    slice_id
        The slice.
    microseconds
        CPU time of a row, on one core; the median of three turns.
    by_row
        Whether a batch showed its function to be quicker by rows than over columns.
    rows
        How many rows it was measured on.
    """

    slice_id: str
    microseconds: float
    by_row: bool
    rows: int

    def __str__(self) -> str:
        way = ", by rows" if self.by_row else ""
        return f"{self.slice_id}: {self.microseconds:.3f} us a row{way}"


def profile(plan: MaskPlan, df: DataFrame | Local, rows: int = BATCH) -> list[SliceTime]:
    """Measure each slice that runs in Python on the first rows of a table, slowest first.

    Parameters
    ----------
    plan
        The compiled slices.
    df
        A table with the plan's columns: Spark's, pandas' or pyarrow's.
    rows
        How many rows, at most.

    Raises
    ------
    ArgumentError
        If the plan is none, or the number of rows isn't positive.
    InputError
        If the table is of another type.

    Examples
    --------
    >>> from engine import SlicingFunction, compile_slices
    >>> table = pa.table({"n": list(range(2000))})
    >>> plan = compile_slices([SlicingFunction("few", lambda x: x.n < 9)], table.schema)
    >>> (few,) = profile(plan, table)
    >>> few.slice_id, few.rows, few.by_row, few.microseconds < 10
    ('few', 2000, False, True)
    """
    if not isinstance(plan, MaskPlan):
        raise ArgumentError("profile", "plan", "what compile_slices returned", plan)
    rows = whole("profile", "rows", rows, 1)
    is_local(df)  # refuses what is no table
    some = _crossed(plan, df, rows) if isinstance(df, DataFrame) else df[:rows]
    times = [_measured(plan.only([sf.id]), some) for sf in _measurable(plan)]
    return sorted(times, key=lambda t: -t.microseconds)


def _measurable(plan: MaskPlan) -> Iterator[Any]:
    for sf in plan.python_sfs:
        tree = plan.candidates[sf.id].tree
        if tree is None or not is_combination(tree):
            yield sf


def _crossed(plan: MaskPlan, df: DataFrame, rows: int) -> Mapping[str, pa.Array]:
    """Return columns as they cross from Spark to Python."""
    inputs = [plan.input(c).alias(c) for c in plan.crossing]
    table = with_own_lookups(df, plan.sfs)[0].select(*inputs).limit(rows).toArrow()
    return {c: table[c].combine_chunks() for c in plan.crossing}


def _measured(one: MaskPlan, some: Any) -> SliceTime:
    run: Callable[[], int]
    if isinstance(some, Mapping):
        own = {c: some[c] for c in one.crossing}
        n = len(next(iter(some.values()))) if some else 0

        def run() -> int:
            one.kernel.run(own, n)
            return n
    else:

        def run() -> int:
            return sum(n for _, n, _ in batches(one, some, range(0, len(some), BATCH)))

    n_rows, seconds = run(), []  # the first time, patterns are compiled and ways are compared
    for _ in range(_TURNS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    microseconds = 1e6 * statistics.median(seconds) / max(n_rows, 1)
    (slice_id,) = one.ids
    return SliceTime(slice_id, microseconds, slice_id in one.kernel.quicker_by_row, n_rows)
