"""Whose fault a worker's death is, and on which row: its rows again, and slices one by one.

The rows are those that the worker's note names: a task's, by their position. The same scan gives
the same tasks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812

from engine.plain import plain
from engine.run.deaths import FIRST, LAST, ROW, WORDLESS, Death, death_in
from engine.run.faults import is_final, key_text
from engine.run.kernel import Kernel
from engine.run.ship import Parcel
from engine.run.udf import partition
from engine.storage.attempts import one_attempt
from engine.watch import Limits, watched
from engine.workers import begin

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from engine.label.plan import MaskPlan

_SECONDS = 15.0  # that a row, or a slice, may take now that something is known to be wrong
_ALL = 30.0  # seconds that all rows of a batch may take one by one
_LETTERS = 200  # of a key


def looked_into(death: Death, df: DataFrame, plan: MaskPlan, key: Sequence[str]) -> Death:
    """Return what is known of a death after its batch was run again, a slice and a row at a time.

    Parameters
    ----------
    death
        What is known of it.
    df
        The rows that were labelled, in the same tasks.
    plan
        The compiled slices.
    key
        The columns that name a row.
    """
    if "start" not in death.facts:
        return death
    if not death.slice_id:
        suspects = [s for s in plan.all_sfs if s in plan.lifted]
        again = _again(death, df, plan, suspects, key) if suspects else death
        if not again.slice_id:
            return replace(death, facts={**death.facts, **again.facts})
        death = replace(death, slice_id=again.slice_id)
    if death.slice_id not in plan.all_sfs:
        return death
    again = _again(death, df, plan, [death.slice_id], key)
    cause = again.cause if death.cause == WORDLESS else death.cause
    facts = {**death.facts, **again.facts, "rows": death.facts["rows"]}
    return replace(death, facts=facts, cause=cause, place=death.place or again.place)


def _again(
    death: Death, df: DataFrame, plan: MaskPlan, ids: Sequence[str], key: Sequence[str]
) -> Death:
    """Run some slices on a death's batch again; return the same death where nobody dies."""
    python = plan.only(ids).as_python()
    seconds = min(plan.limits.seconds or _SECONDS, _SECONDS)
    limits = Limits(seconds, plan.limits.memory_mb)
    batch = _Batch(death.facts["partition"], death.facts["start"], death.facts["rows"])
    udf = _udf(python.kernel, python.crossing, batch, limits, by_row=len(ids) == 1)
    inputs = [python.input(c) for c in python.crossing]
    rows = df.where(F.spark_partition_id() == batch.partition)
    ends = rows.select(udf(key_text(key), *inputs).alias("ends")).where("ends is not null")
    try:
        with one_attempt(df.sparkSession, is_final):
            texts = [row["ends"] for row in ends.collect()]
    except Exception as error:  # the death again, as is wanted
        return death_in(str(error)) or death
    facts = json.loads(texts[0]) if texts else {}
    return replace(death, facts=facts)


@dataclass(frozen=True)
class _Batch:
    """Some rows of a task: the task, the rows before them there, and how many they are."""

    partition: int
    start: int
    rows: int


def _udf(
    kernel: Kernel, columns: Sequence[str], batch: _Batch, limits: Limits, by_row: bool
) -> Callable[..., Any]:
    """Return a UDF of the key's text and the crossing columns that runs slices on one batch."""
    parcel, inputs, plainly, run_id = Parcel(kernel), tuple(columns), plain(), uuid4().hex
    before = [0]  # rows, per task: a task unpickles its own copy

    def run(key: pa.Array, *arrays: pa.Array) -> pa.Array:
        begin(plainly)
        n, start = len(key), before[0]
        before[0] += n
        if partition() != batch.partition or (start, n) != (batch.start, batch.rows):
            return pa.nulls(n, pa.string())
        facts = {"rows": n, FIRST: _cut(key[0]), LAST: _cut(key[-1])}
        own = parcel.unpack()
        values = dict(zip(inputs, arrays, strict=False))
        if by_row:
            _one_by_one(own, values, key, facts, limits)
        else:
            with watched(limits, facts, run_id):
                own.run(values, n)
        return pa.array([json.dumps(facts), *[None] * (n - 1)], pa.string())

    run.__annotations__ = {"key": pa.Array, "arrays": pa.Array, "return": pa.Array}
    udf: Callable[..., Any] = F.arrow_udf(run, "string").asNondeterministic()  # type: ignore[attr-defined]
    return udf


def _one_by_one(
    kernel: Kernel,
    values: dict[str, pa.Array],
    key: pa.Array,
    facts: dict[str, Any],
    limits: Limits,
) -> None:
    """Run a slice on one row after the other, each noted before."""
    end = time.monotonic() + _ALL
    for i in range(len(key)):
        if time.monotonic() > end:
            return
        with watched(limits, {**facts, ROW: _cut(key[i])}):
            kernel.run({name: array.slice(i, 1) for name, array in values.items()}, 1)


def _cut(key: pa.Scalar) -> str:
    text = str(key.as_py())
    return text if len(text) <= _LETTERS else text[: _LETTERS - 3] + "..."
