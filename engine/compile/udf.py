"""The one Arrow UDF that all Python slices of a run share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, BooleanType, StructType

from engine.compile.kernel import Fault, Kernel
from engine.slicing.functions import SlicingFunction

FAULTS = "_slices"  # the struct column: one BOOLEAN per slice, and FAULT
FAULT = "_fault"
EXAMPLES = 3  # faults per slice and task that are marked as examples

_FAULT_TYPE = StructType().add("slice", "string").add("read", "string").add("cause", "string")
_FAULT_TYPE = _FAULT_TYPE.add("example", "boolean")
_FAULT_ARROW = pa.struct(
    [("slice", pa.string()), ("read", pa.string()), ("cause", pa.string()), ("example", pa.bool_())]
)


def fused_udf(sfs: Sequence[SlicingFunction], columns: Sequence[str]) -> Callable[..., Any]:
    """Return a UDF from the crossing columns to a struct of masks and the row's faults.

    It is declared non-deterministic, so that Spark runs it once where several columns are taken
    from its result.
    """
    kernel = Kernel(sfs)
    names = tuple(columns)
    ids = tuple(sf.id for sf in sfs)
    result = StructType()
    for slice_id in ids:
        result = result.add(slice_id, BooleanType())
    result = result.add(FAULT, ArrayType(_FAULT_TYPE))
    shown: Counter[str] = Counter()  # per task: a task unpickles its own copy

    def run(*arrays: pa.Array) -> pa.Array:
        n = len(arrays[0])
        out = kernel.run(dict(zip(names, arrays, strict=False)), n)
        masks = [pa.array(m == 1, mask=m == -1) for m in out.masks.values()]
        return pa.StructArray.from_arrays(
            [*masks, _faults(out.faults, n, shown)], [*out.masks, FAULT]
        )

    run.__annotations__ = {"arrays": pa.Array, "return": pa.Array}
    # pyspark's annotations lag behind: arrow_udf is there since 4.1.
    made: Callable[..., Any] = F.arrow_udf(run, result).asNondeterministic()  # type: ignore[attr-defined]
    return made


def _faults(faults: Sequence[Fault], n: int, shown: Counter[str]) -> pa.Array:
    kind = pa.list_(_FAULT_ARROW)
    if not faults:
        return pa.nulls(n, kind)
    rows: list[list[dict[str, Any]] | None] = [None] * n
    for fault in faults:
        shown[fault.slice_id] += 1
        found = {
            "slice": fault.slice_id,
            "read": fault.read,
            "cause": fault.cause,
            "example": shown[fault.slice_id] <= EXAMPLES,
        }
        rows[fault.row] = [*(rows[fault.row] or []), found]
    return pa.array(rows, kind)
