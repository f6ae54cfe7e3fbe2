"""Constants that are large, or take long, wait for a row: reading a function has no limits."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices

LARGE = {
    "times": lambda x: x.n != 1 or len(b"x" * (20 << 30)) > 0,
    "list": lambda x: x.n != 1 or len([0] * 10**10) > 0,
    "padded": lambda x: x.n != 1 or len("a".ljust(10**11)) > 0,
    "formatted": lambda x: x.n != 1 or len(f"{5:>30000000000}") > 0,
    "summed": lambda x: x.n != 1 or sum(range(10**12)) > 0,
    "bytes": lambda x: x.n != 1 or len(bytes(10**11)) > 0,
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_constant_is_not_computed_while_a_function_is_read(name):
    start = time.monotonic()
    plan = compile_slices([SlicingFunction(name, LARGE[name])], pa.schema({"n": pa.int64()}))
    assert plan.apply(pa.table({"n": [0]}))[name].to_pylist() == [True]
    assert time.monotonic() - start < 20
