"""The one Arrow UDF that all Python slices of a run share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, LongType, StructType

from engine.plain import plain
from engine.run.kernel import Kernel
from engine.run.packing import packed
from engine.run.row_faults import Fault
from engine.run.ship import Parcel
from engine.watch import NO_LIMITS, Limits, Task, enter
from engine.words import WORD
from engine.workers import begin

FAULTS = "_slices"  # the struct column: words of masks, and FAULT
FAULT = "_fault"
EXAMPLES = 3  # faults per slice and task that are marked as examples

_FAULT_TYPE = StructType().add("slice", "string").add("name", "string").add("read", "string")
_FAULT_TYPE = _FAULT_TYPE.add("cause", "string").add("example", "boolean").add("batch", "string")
_FAULT_ARROW = pa.struct(
    [
        ("slice", pa.string()), ("name", pa.string()), ("read", pa.string()),
        ("cause", pa.string()), ("example", pa.bool_()), ("batch", pa.string()),
    ]
)  # fmt: skip


def partition() -> int:
    """Return which of a stage's tasks this is; -1 outside of one."""
    task = TaskContext.get()
    return -1 if task is None else task.partitionId()


def words_of(bits: Mapping[str, int]) -> int:
    """Return how many words hold some slices' bits.

    Examples
    --------
    >>> words_of({"a": 0, "b": 64}), words_of({})
    (2, 0)
    """
    return max(bits.values(), default=-1) // WORD + 1


def word_names(bits: Mapping[str, int], n_words: int | None = None) -> list[str]:
    """Return the names of some slices' words: as many as their bits need, or as said.

    Examples
    --------
    >>> word_names({"a": 0, "b": 64})
    ['in_0', 'in_1', 'null_0', 'null_1']
    """
    n_words = words_of(bits) if n_words is None else n_words
    return [f"{kind}_{k}" for kind in ("in", "null") for k in range(n_words)]


Run = Callable[..., pa.Array]  # of Arrow's columns


def fused_udf(
    kernel: Kernel, columns: Sequence[str], bits: Mapping[str, int], limits: Limits = NO_LIMITS
) -> Callable[..., Any]:
    """Return a UDF of :func:`fused_run`.

    Parameters
    ----------
    kernel, columns, bits, limits
        As for it.

    Notes
    -----
    It is declared non-deterministic, so that Spark runs it once where several columns are taken
    from its result.
    """
    return _udf(fused_run(kernel, columns, bits, limits), fused_type(bits))


def fused_type(bits: Mapping[str, int]) -> StructType:
    """Return the type of what :func:`fused_run` gives."""
    return _of_words(word_names(bits)).add(FAULT, ArrayType(_FAULT_TYPE))


def fused_run(
    kernel: Kernel, columns: Sequence[str], bits: Mapping[str, int], limits: Limits = NO_LIMITS
) -> Run:
    """Return a function from the crossing columns to words of masks and the row's faults.

    Parameters
    ----------
    kernel
        The slices.
    columns
        The names of the function's arguments.
    bits
        Slice id to its bit, of the slices whose masks are wanted.
    limits
        What a slice may take of a worker.
    """
    parcel = Parcel(kernel)
    inputs, n_words, words = tuple(columns), words_of(bits), word_names(bits)
    ids, places = tuple(bits), tuple(bits.values())
    shown: Counter[str] = Counter()  # per task: a task unpickles its own copy
    named = {sf.id: repr(sf.name) for sf in kernel.sfs}
    plainly = plain()
    task = Task(uuid4().hex, limits)

    def run(*arrays: pa.Array) -> pa.Array:
        begin(plainly)
        n = len(arrays[0])
        with task.batch(n, partition()):
            out = parcel.unpack().run(dict(zip(inputs, arrays, strict=False)), n)
            faults = _faults(out.faults, n, named, shown)
        packed_words = packed([out.by_slice[i] for i in ids], places, n_words, n)
        values = [pa.array(word) for part in packed_words for word in part]
        return pa.StructArray.from_arrays([*values, faults], [*words, FAULT])

    run.__annotations__ = {"arrays": pa.Array, "return": pa.Array}
    return run


def _udf(run: Run, result: StructType) -> Callable[..., Any]:
    # pyspark's annotations lag behind: arrow_udf is there since 4.1.
    udf: Callable[..., Any] = F.arrow_udf(run, result).asNondeterministic()  # type: ignore[attr-defined]
    return udf


def sampled_udf(
    kernel: Kernel, columns: Sequence[str], bits: Mapping[str, int], limits: Limits = NO_LIMITS
) -> Callable[..., Any]:
    """Return a UDF of :func:`sampled_run`.

    Parameters
    ----------
    kernel, columns, bits, limits
        As for it.
    """
    return _udf(sampled_run(kernel, columns, bits, limits), sampled_type(bits))


def sampled_type(bits: Mapping[str, int]) -> StructType:
    """Return the type of what :func:`sampled_run` gives."""
    return _of_words(word_names(bits))


def sampled_run(
    kernel: Kernel, columns: Sequence[str], bits: Mapping[str, int], limits: Limits = NO_LIMITS
) -> Run:
    """Return a function from a flag and the crossing columns to words of masks; 0 without it.

    Parameters
    ----------
    kernel, columns, bits, limits
        As for :func:`fused_run`; the flag comes before the columns.
    """
    parcel = Parcel(kernel)
    inputs, n_words, names = tuple(columns), words_of(bits), word_names(bits)
    ids, places = tuple(bits), tuple(bits.values())
    plainly = plain()
    task = Task(uuid4().hex, limits)

    def run(flag: pa.Array, *arrays: pa.Array) -> pa.Array:
        begin(plainly)
        words = np.zeros((len(names), len(flag)), np.int64)
        rows = np.flatnonzero(flag.to_numpy(zero_copy_only=False))
        with task.batch(len(flag), partition()):
            if len(rows):
                some = pa.array(rows)
                sampled = {name: a.take(some) for name, a in zip(inputs, arrays, strict=False)}
                out = parcel.unpack().run(sampled, len(rows))
                both = packed([out.by_slice[i] for i in ids], places, n_words, len(rows))
                words[:, rows] = np.concatenate(both)
        return pa.StructArray.from_arrays([pa.array(word) for word in words], names)

    run.__annotations__ = {"flag": pa.Array, "arrays": pa.Array, "return": pa.Array}
    return run


def _of_words(names: Sequence[str]) -> StructType:
    """Return the type of a struct of words."""
    result = StructType()
    for name in names:
        result = result.add(name, LongType())
    return result


def _faults(
    faults: Sequence[Fault], n: int, names: Mapping[str, str], shown: Counter[str]
) -> pa.Array:
    kind = pa.list_(_FAULT_ARROW)
    if not faults:
        return pa.nulls(n, kind)
    rows: list[list[dict[str, Any]] | None] = [None] * n
    # The first fault carries the counts: thousands of slices then need no aggregate each.
    batch: str | None = json.dumps(Counter(fault.slice_id for fault in faults))
    for fault in faults:
        enter(fault.slice_id)  # what it says is the function's own, which is called again
        shown[fault.slice_id] += 1
        facts = {
            "slice": fault.slice_id,
            "name": names[fault.slice_id],
            "read": fault.read,
            "cause": fault.cause,
            "example": shown[fault.slice_id] <= EXAMPLES,
            "batch": batch,
        }
        batch = None
        rows[fault.row] = [*(rows[fault.row] or []), facts]
    return pa.array(rows, kind)
