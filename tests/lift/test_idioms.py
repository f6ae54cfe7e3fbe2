"""Functions as people write them, over values that are hard: each way says what plain rows say.

Of ``idioms.txt`` each line up to ``---`` is what one function returns; behind it are whole ones.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from types import FunctionType
from typing import Any

import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices
from engine.compile.tiers import Tier
from engine.run.kernel import BatchMasks

HEAD = """
import base64, calendar, collections, datetime as dt, fnmatch, functools, hashlib, itertools, json
import math, re, statistics, string, unicodedata, urllib.parse
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo
import numpy as np, pandas as pd
BAD, RATE, ORDER = {"spam", "free", "a"}, {"a": 1.5, "b": 2, None: 3}, ["x", "a", "b"]
W, LIM, BERLIN = re.compile(r"\\b\\w+@\\w+"), Decimal("1.50"), ZoneInfo("Europe/Berlin")
NO_PUNCT, LEVELS = str.maketrans("", "", string.punctuation), {"A": 1, "X": 2}
@functools.lru_cache(maxsize=None)
def _cached(value):
    return len(value) if value else 0
def _total(*values):
    return sum(values)
_half = functools.partial(lambda by, v: v / by, 2)
_even = lambda v: v % 2 == 0
def _clean(text):
    return re.sub(r"\\W+", "", text).lower()
def _kind(text):
    try:
        float(text)
    except ValueError:
        return "word" if text.isalpha() else "other"
    return "number"
def _first_word(text, default=""):
    words = (text or "").split()
    return words[0] if words else default
def _same_list(text):
    return [1, 2]
_MAKERS = {"lower": str.lower, "clean": _clean}
"""
ROWS = 400
PARTS = ((0, ROWS), (101, 150), (0, 1), (7, 3), (399, 1), (250, 0))  # a first row, and how many

TEXTS = (
    None, "", "a", "A b c", "free $$$ NOW!!", "http://bit.ly/x check", "  pad ", "ß İı", "x" * 50,
    "1", "1.5", "-7", "nan", "inf", "1e400", "12,300.50", "2024-02-30", "2024-05-06", "é😀 b",
    "tab\tnew\nline", "a,b,,c", "\x1c a\x85b", "Don't STOP",
)  # fmt: skip
WHOLE = (None, 0, 1, -1, 2, 7, 100, 2**31, 2**53 + 1, -(2**63), 2**63 - 1)
FLOATS = (None, 0.0, -0.0, 1.5, float("nan"), float("inf"), -2.25, 1e308, 0.1)
TIMES = (
    None, dt.datetime(2024, 2, 29, 23, 59, 59, 999999), dt.datetime(1969, 12, 31),
    dt.datetime(2024, 5, 6, 9), dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23),
)  # fmt: skip
DATES = (None, dt.date(2024, 2, 29), dt.date(1970, 1, 1), dt.date.min, dt.date.max,
         dt.date(2023, 12, 25))  # fmt: skip
MONEY = (None, *map(Decimal, ("0.00", "1.50", "-3.25", "99999.99", "10.00")))
MAPS = (None, {}, {"a": 1}, {"b": None, "a": 5}, {"k": -1})
STRUCTS = (None, {"a": 1, "s": "x"}, {"a": None, "s": "abc"}, {"a": 7, "s": None})
COLUMNS: dict[str, tuple[Sequence[Any], pa.DataType]] = {
    "text": (TEXTS, pa.string()),
    "title": (TEXTS, pa.string()),
    "n": (WHOLE, pa.int64()),
    "m": ((None, 0, 1, 2, 3, 12), pa.int32()),
    "f": (FLOATS, pa.float64()),
    "g": (FLOATS, pa.float64()),
    "tags": (TEXTS, pa.list_(pa.string())),
    "nums": (WHOLE, pa.list_(pa.int64())),
    "fl": (FLOATS, pa.list_(pa.float64())),
    "ts": (TIMES, pa.timestamp("us")),
    "ts2": (TIMES, pa.timestamp("us")),
    "utc": (TIMES, pa.timestamp("us", "UTC")),
    "d": (DATES, pa.date32()),
    "d2": (DATES, pa.date32()),
    "price": (MONEY, pa.decimal128(9, 2)),
    "cost": (MONEY, pa.decimal128(9, 2)),
    "b": ((None, True, False), pa.bool_()),
    "mp": (MAPS, pa.map_(pa.string(), pa.int64())),
    "st": (STRUCTS, pa.struct([("a", pa.int64()), ("s", pa.string())])),
}


def table(seed: int) -> pa.Table:
    random = Random(seed)

    def one(values: Sequence[Any], kind: pa.DataType) -> Any:
        if not pa.types.is_list(kind):
            return random.choice(values)
        length = random.choice((None, 0, 1, 2, 3, 4))
        return None if length is None else random.choices(values, k=length)

    columns = {c: [one(*of) for _ in range(ROWS)] for c, of in COLUMNS.items()}
    return pa.table({c: pa.array(v, COLUMNS[c][1]) for c, v in columns.items()})


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> list[SlicingFunction]:
    returned, written = (Path(__file__).parent / "idioms.txt").read_text().split("---\n")
    lines = enumerate(returned.splitlines())
    texts = [f"def line_{i}(x):\n    return {line}\n" for i, line in lines]
    file = tmp_path_factory.mktemp("idioms") / "functions_of_lines.py"
    file.write_text("\n".join([HEAD, *texts, written]), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    every = {n: f for n, f in vars(module).items() if isinstance(f, FunctionType)}
    return [SlicingFunction(name, f) for name, f in every.items() if not name.startswith("_")]


def ran(
    sfs: Sequence[SlicingFunction], rows: pa.Table, tier: str | None = None
) -> Callable[[int, int], BatchMasks]:
    plan = compile_slices(sfs, rows.schema, tier=tier)
    columns = {c: rows[c].chunk(0) for c in plan.crossing}
    return lambda first, n: plan.kernel.run(
        {c: values.slice(first, n) for c, values in columns.items()}, n
    )


@pytest.mark.parametrize(("seed", "tier"), [(1, "arrow"), (2, "arrow"), (3, None)])
def test_idioms_say_what_plain_rows_say(functions, monkeypatch, seed, tier):
    rows = table(seed)
    fast = ran(functions, rows, tier)
    monkeypatch.setenv("ENGINE_PLAIN", "1")
    plainly = ran(functions, rows)(0, ROWS)
    monkeypatch.delenv("ENGINE_PLAIN")
    for first, n in PARTS:
        said, last = fast(first, n), first + n
        for name, codes in plainly.masks.items():
            assert said.masks[name].tolist() == codes[first:last].tolist(), name
        expected = {f for f in faults(plainly) if first <= f[1] < last}
        assert {(s, r + first, *why) for s, r, *why in faults(said)} == expected


def faults(masks: BatchMasks) -> set[tuple[Any, ...]]:
    return {(f.slice_id, f.row, f.read, f.cause) for f in masks.faults}


def test_most_idioms_run_over_columns(functions):
    assignments = compile_slices(functions, table(1).schema).assignments
    assert sum(Tier.ARROW not in a.refused for a in assignments) > 0.9 * len(functions)
