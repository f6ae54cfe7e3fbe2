"""Tables as users have them: every way to hold the same values gives the masks of its rows."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import (
    PandasSFApplier,
    SlicingFunction,
    compile_slices,
    preprocessor,
    slice_dataframe,
)
from tests.fuzz import oracle

NAN = float("nan")
PANDAS_3 = int(pd.__version__.partition(".")[0]) >= 3


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.UTC)


# Values of a column, and functions of a row that tell them apart.
KINDS = {
    "text": (
        ["a", "abc", None, "Bb", "a", "", "check out", "é", None, "b"],
        [
            lambda x: len(x.c) < 3,
            lambda x: x.c == "a",
            lambda x: x.c is None,
            lambda x: "b" in x.c,
            lambda x: x.c in ("a", "b", None),
            lambda x: bool(re.search("check.*out|^B", x.c)),
            lambda x: x.c.lower().startswith("b"),
            lambda x: len(x.c.split()) == 1,
            lambda x: {"a": True, "b": False}.get(x.c),
            lambda x: x.c[0] == "a",
        ],
    ),
    "whole": (
        [1, None, -3, 0, 7, 7, None, 100, 2, 1],
        [
            lambda x: x.c > 1,
            lambda x: x.c == 1,
            lambda x: x.c in (1, 7),
            lambda x: x.c is None,
            lambda x: 10 // x.c > 1 if x.c else None,
            lambda x: isinstance(x.c, int),
            lambda x: str(x.c) == "7",
            lambda x: type(x.c) is int,
        ],
    ),
    "real": (
        [1.5, NAN, None, -0.0, float("inf"), 2.0, None, 0.5, 2.0, 1.5],
        [
            lambda x: x.c > 1,
            lambda x: x.c != x.c,
            lambda x: x.c is None,
            lambda x: x.c == 2,
            lambda x: str(x.c) == "-0.0",
            lambda x: type(x.c) is float,
        ],
    ),
    "truth": (
        [True, None, False, True, None, False, False, True, True, None],
        [
            lambda x: x.c,
            lambda x: not x.c,
            lambda x: x.c is None,
            lambda x: x.c is True,
            lambda x: type(x.c) is bool,
        ],
    ),
    "decimal": (
        [Decimal("1.50"), None, Decimal("-2.00"), Decimal("0.00"), None, Decimal("9.99")],
        [
            lambda x: x.c > 1,
            lambda x: x.c == Decimal("1.5"),
            lambda x: str(x.c) == "1.50",
            lambda x: x.c is None,
        ],
    ),
    "date": (
        [dt.date(2024, 2, 29), None, dt.date(1960, 1, 1), dt.date(1, 1, 1), None],
        [
            lambda x: x.c > dt.date(2000, 1, 1),
            lambda x: x.c.year < 2000,
            lambda x: type(x.c) is dt.date,
            lambda x: x.c is None,
        ],
    ),
    "naive": (
        [dt.datetime(2024, 2, 29, 1, 2, 3, 4), None, dt.datetime(1960, 1, 1, 0, 0, 0, 999999)],
        [
            lambda x: x.c > dt.datetime(2000, 1, 1),
            lambda x: x.c.microsecond == 999999,
            lambda x: type(x.c) is dt.datetime and x.c.tzinfo is None,
            lambda x: x.c is None,
        ],
    ),
    "aware": (
        [utc(2024, 2, 29, 1, 2, 3, 4), None, utc(2024, 10, 27, 0, 30), utc(1960, 1, 1)],
        [
            lambda x: x.c > dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
            lambda x: x.c.microsecond == 4,
            lambda x: type(x.c) is dt.datetime and x.c.tzinfo is not None,
            lambda x: x.c is None,
        ],
    ),
    "duration": (
        [dt.timedelta(days=1), None, dt.timedelta(microseconds=-1)],
        [
            lambda x: x.c > dt.timedelta(0),
            lambda x: x.c.microseconds == 999999,
            lambda x: type(x.c) is dt.timedelta,
            lambda x: x.c is None,
        ],
    ),
    "bytes": (
        [b"a", None, b"", b"\xff\x00", b"a"],
        [lambda x: len(x.c) > 1, lambda x: x.c == b"a", lambda x: x.c is None],
    ),
    "list": (
        [["a"], None, [], ["b", None], ["a", "a"]],
        [
            lambda x: len(x.c) > 1,
            lambda x: "a" in x.c,
            lambda x: x.c is None,
            lambda x: x.c == ["a"],
            lambda x: type(x.c) is list,
        ],
    ),
    "pair": (
        [["a", "b"], None, ["b", None], ["a", "a"]],
        [lambda x: x.c[0] == "a", lambda x: "a" in x.c, lambda x: type(x.c) is list],
    ),
    "struct": (
        [{"n": 1, "t": "a"}, None, {"n": None, "t": "b"}],
        [lambda x: x.c.t == "a", lambda x: x.c["n"] is None, lambda x: x.c is None],
    ),
    "nothing": ([None] * 4, [lambda x: x.c is None, lambda x: len(x.c) > 1, lambda x: x.c == "a"]),
}
PLAIN = {
    "text": pa.string(), "whole": pa.int64(), "real": pa.float64(), "truth": pa.bool_(),
    "decimal": pa.decimal128(5, 2), "date": pa.date32(), "naive": pa.timestamp("us"),
    "aware": pa.timestamp("us", "UTC"), "duration": pa.duration("us"), "bytes": pa.binary(),
    "list": pa.list_(pa.string()), "pair": pa.list_(pa.string(), 2),
    "struct": pa.struct([("n", pa.int64()), ("t", pa.string())]), "nothing": pa.null(),
}  # fmt: skip


def newer(*names: str) -> list[pa.DataType]:
    """Return types that only newer versions of pyarrow have: name, and its arguments."""
    makers = ((getattr(pa, n, None), args) for n, *args in names)
    return [make(*args) for make, args in makers if make is not None]


# Other types that hold the same values.
OTHERS = {
    "text": [pa.large_string(), pa.string_view()],
    "whole": [pa.int8(), pa.int16(), pa.int32(), pa.decimal128(10, 0)],
    "real": [pa.float32(), pa.float16()],
    "decimal": [pa.decimal256(50, 2), *newer(("decimal32", 5, 2), ("decimal64", 5, 2))],
    "date": [pa.date64()],
    "naive": [pa.timestamp("ns")],
    "aware": [pa.timestamp("ns", "UTC"), pa.timestamp("us", "Europe/Berlin"),
              pa.timestamp("ns", "Europe/Berlin")],
    "duration": [pa.duration("ns")],
    "bytes": [pa.large_binary(), pa.binary_view()],
    "list": [pa.large_list(pa.string()), pa.list_(pa.large_string()),
             *newer(("list_view", pa.string()), ("large_list_view", pa.string()))],
    "pair": [pa.list_(pa.string()), pa.large_list(pa.string())],
}  # fmt: skip


def encodings(kind: str) -> Iterator[tuple[str, pa.Array]]:
    """Yield the values of a kind in every type that can hold them."""
    values = KINDS[kind][0]
    plain = pa.array(values, PLAIN[kind])
    yield "plain", plain
    for other in OTHERS.get(kind, ()):
        if pa.types.is_float16(other):
            halves = np.array([NAN if v is None else v for v in values], np.float16)
            yield str(other), pa.array(halves, other, mask=np.array([v is None for v in values]))
        elif pa.types.is_decimal(other) and kind == "whole":
            continue  # those values are DECIMAL
        else:
            yield str(other), pa.array(values, other)
    if kind in ("text", "whole", "decimal", "date", "bytes", "naive"):
        yield "dictionary", plain.dictionary_encode()
        yield (
            "null in the dictionary",
            pa.DictionaryArray.from_arrays(pa.array([*range(len(values))], pa.int16()), plain),
        )
    if kind in ("text", "whole", "truth", "real"):
        yield (
            "runs",
            pa.RunEndEncodedArray.from_arrays(
                pa.array(range(1, len(values) + 1), pa.int32()), plain
            ),
        )
    if kind == "text":
        large = plain.cast(pa.large_string())
        yield "large dictionary", large.dictionary_encode()
        runs = pa.array(range(1, len(values) + 1), pa.int32())
        yield "runs of views", pa.RunEndEncodedArray.from_arrays(runs, plain.cast(pa.string_view()))


def shapes(array: pa.Array) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield an array as tables: whole, in chunks, from the middle of another, beside others."""
    n = len(array)
    kind = array.type
    yield "table", lambda: pa.table({"c": array})
    yield "batch", lambda: pa.record_batch({"c": array})
    cuts = [0, 0, 1, n // 2, n // 2, n]
    chunks = pa.chunked_array([array[a:b] for a, b in itertools.pairwise(cuts)], kind)
    beside = pa.chunked_array([np.arange(3), np.arange(3, n)])
    yield "chunks", lambda: pa.table({"other": beside, "c": chunks})
    twice = pa.concat_arrays([array, array])
    yield "offset", lambda: pa.table({"c": twice}).slice(n - 3, n).slice(3)
    yield "offset in a batch", lambda: pa.record_batch({"c": twice}).slice(n - 3, n).slice(3)
    yield "no rows", lambda: pa.table({"c": array}).slice(0, 0)
    yield "no chunks", lambda: pa.table({"c": pa.chunked_array([], kind)})


CASES = [
    pytest.param(kind, array, make, id=f"{kind}, {encoding}, {shape}")
    for kind in KINDS
    for encoding, array in encodings(kind)
    for shape, make in shapes(array)
]


def expected_codes(functions, values):
    xs = oracle.rows_of({"c": [oracle.Plain(v) if isinstance(v, dict) else v for v in values]})
    return [oracle.answers(f, {}, xs).tolist() for f in functions]


def found_codes(plan, table):
    """Ask a plan of a table; faults are told apart."""
    from engine.compile.local import batches

    codes = {s: [] for s in plan.ids}
    for _, _, out in batches(plan, table, range(0, len(table), 4)):
        for s in plan.ids:
            codes[s] += out.masks[s].tolist()
    return codes


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    for module in ("compile.local", "masks.appliers"):
        monkeypatch.setattr(f"engine.{module}.BATCH", 4)


@pytest.mark.parametrize(("kind", "array", "make"), CASES)
def test_a_table_of_arrow_says_what_its_rows_say(kind, array, make):
    values, functions = KINDS[kind]
    table = make()
    if table.num_rows == 0:
        values = []
    elif table.num_rows < len(array):
        values = values[-table.num_rows :] if table.num_rows != len(values) - 3 else values[:-3]
    sfs = [SlicingFunction(f"s{i}", f) for i, f in enumerate(functions)]
    sfs.append(SlicingFunction("pure", functions[0], pure=True))
    sfs.append(SlicingFunction("after", functions[0], pre=[as_it_is]))
    sfs.append((sfs[0] & ~sfs[1]).named("both"))
    expected = expected_codes([*functions, functions[0], functions[0]], values)
    wanted = [[-1 if c == oracle.FAULT else c for c in one] for one in expected]
    for tier, schema in ((None, table), ("arrow", table.schema), ("row", table.schema)):
        codes = found_codes(compile_slices(sfs, schema, tier=tier), table)
        both = codes.pop("both")
        assert list(codes.values()) == wanted, tier
        assert both == [_kleene(a, b) for a, b in zip(*wanted[:2], strict=True)]


def _kleene(a, b):
    b = -1 if b == -1 else 1 - b
    return 0 if 0 in (a, b) else min(a, b)


@preprocessor()
def as_it_is(x):
    return x


def as_frames(kind: str) -> Iterator[tuple[str, pd.Series]]:
    """Yield the values of a kind as pandas may hold them."""
    values = KINDS[kind][0]
    if kind != "struct":  # a dict is a dict there
        yield "object", pd.Series(values, dtype=object)
    for encoding, array in encodings(kind):
        chunks = pa.chunked_array([array[:1], array[1:1], array[1:]])
        if not pa.types.is_float16(array.type):
            try:
                yield (
                    f"arrow {encoding}",
                    pd.Series(pd.arrays.ArrowExtensionArray(chunks)),
                )
            except NotImplementedError:
                continue
    names = {
        "text": ("string[python]", "string[pyarrow]", "category", *(["str"] if PANDAS_3 else [])),
        "whole": ("Int64", "Int8", "category"),
        "real": ("Float64", "Float32", "float64", "float32", "Sparse[float64]"),
        "truth": ("boolean", "category"),
        "decimal": ("category",),
        "date": ("category",),
        "naive": ("datetime64[us]", "datetime64[ns]", "category"),
        "aware": ("datetime64[us, UTC]", "datetime64[ns, UTC]", "datetime64[ns, Europe/Berlin]"),
        "duration": ("timedelta64[ns]", "timedelta64[us]"),
        "bytes": ("category",),
    }
    for name in names.get(kind, ()):
        yield name, pd.Series(values, dtype=object).astype(name)
    if kind == "text":
        parts = [pd.Series(values[:4]), pd.Series([], dtype="str"), pd.Series(values[4:])]
        yield "concat", pd.concat(parts, ignore_index=True)
        yield (
            "concat of arrow",
            pd.concat([p.astype("string[pyarrow]") for p in parts], ignore_index=True),
        )


FRAMES = [
    pytest.param(kind, series, id=f"{kind}, {form}")
    for kind in KINDS
    for form, series in as_frames(kind)
]


@pytest.mark.parametrize(("kind", "series"), FRAMES)
def test_a_frame_says_what_its_rows_say(kind, series):
    values, functions = KINDS[kind]
    if kind == "real" and not isinstance(series.dtype, pd.ArrowDtype):
        plain = str(series.dtype) in ("float64", "float32", "Sparse[float64, nan]")
        values = [(NAN if plain else None) if pd.isna(v) else v for v in values]
    n = len(series)
    sfs = [SlicingFunction(f"s{i}", f) for i, f in enumerate(functions)]
    expected = [
        [-1 if c == oracle.FAULT else c for c in one] for one in expected_codes(functions, values)
    ]
    frame = pd.DataFrame({"c": series, "other": 1})
    for tier in (None, "row"):
        plan = compile_slices(sfs, frame, tier=tier)
        assert list(found_codes(plan, frame).values()) == expected, tier
    for index in (pd.Index([1] * n), pd.MultiIndex.from_product([["a"], range(n)])):
        frame = frame.set_axis(index)
        S, _ = PandasSFApplier(sfs).apply(frame, False, fault_tolerant=True, return_meta=True)
        assert [S[sf.name].tolist() for sf in sfs] == expected
    empty = pd.DataFrame({"c": series.iloc[:0]})
    assert PandasSFApplier(sfs).apply(empty).shape == (0,)
    shown = slice_dataframe(frame, SlicingFunction("null", lambda x: x.c is None))
    assert len(shown) == sum(v is None for v in values)
