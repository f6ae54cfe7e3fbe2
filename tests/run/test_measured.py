"""A worker's second batch shows which lifted functions are quicker by rows: masks are the same."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices
from engine.run import kernel
from engine.run.kernel import TRIAL

N = 3 * TRIAL
TEXTS = [None, "", "Sale: 10%", "ÉCOLE", "12", "x" * 40]
TABLE = pa.table({
    "text": [TEXTS[i % 6] and f"{TEXTS[i % 6]}{i}" for i in range(N)],
    "likes": [None if i % 7 == 0 else i - 100 for i in range(N)],
})  # fmt: skip
SFS = [
    SlicingFunction("number", lambda x: int(x.text) > 100),
    SlicingFunction("title", lambda x: x.text.strip().title() == x.text),
    SlicingFunction("sale", lambda x: "Sale" in x.text),
    SlicingFunction("ratio", lambda x: len(x.text) / x.likes > 0.5),
    SlicingFunction("both", lambda x: x.text.swapcase().endswith(str(x.likes))),
]


def run(built, times: int):
    columns = {c: TABLE[c].combine_chunks() for c in TABLE.column_names}
    outs = [built.run(columns, N) for _ in range(times)]
    return [({s: m.tolist() for s, m in o.masks.items()}, list(map(repr, o.faults))) for o in outs]


@pytest.mark.parametrize("quicker", [0, np.inf, kernel._QUICKER])
def test_masks_and_faults_are_the_same_wherever_it_runs(monkeypatch, quicker):
    monkeypatch.setattr(kernel, "_QUICKER", quicker)
    monkeypatch.setattr(kernel, "_SLOW", 0)
    plan = compile_slices(SFS, TABLE.schema, tier="arrow")
    free = compile_slices(SFS, TABLE.schema)
    forced = run(plan.kernel, 4)
    assert all(out == forced[0] for out in forced)
    assert plan.kernel.quicker_by_row == frozenset()
    assert run(free.kernel, 4) == forced
    moved = free.kernel.quicker_by_row
    assert moved == (
        set() if quicker == 0 else {sf.id for sf in SFS} if quicker == np.inf else moved
    )


def test_a_small_batch_is_not_measured():
    built = compile_slices(SFS, TABLE.schema).kernel
    for _ in range(3):
        built.run({c: TABLE[c].combine_chunks()[: TRIAL - 1] for c in TABLE.column_names})
    assert built._ways.by_row is None


def test_what_is_slow_over_columns_moves(monkeypatch):
    monkeypatch.setattr(kernel, "_SLOW", 0)
    for seconds, moves in ((1e-3, True), (1e-12, False)):
        built = compile_slices(SFS, TABLE.schema).kernel
        source = kernel._Source(
            {c: TABLE[c].combine_chunks() for c in TABLE.column_names}, N, {}, {}
        )
        built._move(built._ways, {sf.id: seconds for sf in SFS}, source)
        assert built.quicker_by_row == ({sf.id for sf in SFS} if moves else set())


def test_threads_share_a_kernel(monkeypatch):
    """One of them moves functions to rows while others are in the middle of a batch."""
    monkeypatch.setattr(kernel, "_QUICKER", np.inf)
    monkeypatch.setattr(kernel, "_SLOW", 0)
    wanted = run(compile_slices(SFS, TABLE.schema, tier="arrow").kernel, 1)[0]
    thresholds, interval = gc.get_threshold(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            for _ in range(4):
                shared = compile_slices(SFS, TABLE.schema).kernel
                for out in pool.map(lambda _, one=shared: run(one, 1)[0], range(18)):
                    assert out == wanted
                assert shared.quicker_by_row == {sf.id for sf in SFS}
    finally:
        sys.setswitchinterval(interval)
    assert gc.get_threshold() == thresholds
