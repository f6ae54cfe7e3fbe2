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
    SFApplier,
    SlicingFunction,
    by,
    compile_slices,
    cross,
    lookup,
    preprocessor,
    slice_dataframe,
)
from engine.arrow.columns import names_of
from engine.errors import ColumnError, InputError, SliceFaultError
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
    from engine.label.local import batches

    codes = {s: [] for s in plan.ids}
    for _, _, out in batches(plan, table, range(0, len(table), 4)):
        for s in plan.ids:
            codes[s] += out.masks[s].tolist()
    return codes


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    for module in ("label.local", "label.appliers"):
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


def test_columns_called_by_numbers_and_tuples_are_found_by_them():
    frame = pd.DataFrame([[1, 5], [7, 2]])
    sfs = [
        SlicingFunction("by_number", lambda x: x[0] > x[1]),
        SlicingFunction("by_text", lambda x: x["0"] > x["1"]),
        SlicingFunction("both", lambda x: x[[0, 1]].max() == 7),
    ]
    assert PandasSFApplier(sfs).apply(frame).tolist() == [(0, 0, 0), (1, 1, 1)]
    levels = pd.DataFrame({("a", "n"): [1, 7], ("a", "m"): [5, 2], ("b", ""): ["x", None]})
    sfs = [
        SlicingFunction("by_tuple", lambda x: x["a", "n"] > x["a", "m"]),
        SlicingFunction("null", lambda x: x["b", ""] is None),
    ]
    assert PandasSFApplier(sfs).apply(levels).tolist() == [(0, 0), (1, 1)]
    made = compile_slices(sfs, levels).apply(levels)
    assert made["null"].tolist() == [False, True]
    assert made.iloc[:, :3].equals(levels.set_axis(made.columns[:3], axis=1))


def test_a_list_of_columns_gives_a_series_as_a_row_of_pandas_does():
    frame = pd.DataFrame({"n": pd.array([1, None, 5], "Int64"), "m": pd.array([2, 2, 2], "Int64")})
    sfs = [
        SlicingFunction("sum", lambda x: x[["n", "m"]].sum() > 3),
        SlicingFunction("missing", lambda x: x[["n", "m"]].isna().any()),
        SlicingFunction("one", lambda x: x[["n"]]["n"] == 5),
    ]
    assert PandasSFApplier(sfs).apply(frame).tolist() == [(0, 0, 0), (0, 1, 0), (1, 0, 1)]
    wrong = SlicingFunction("wrong", lambda x: x[["n", "nn"]].sum() > 3)
    with pytest.raises(SliceFaultError) as caught:
        PandasSFApplier([wrong]).apply(frame.iloc[2:])
    assert "KeyError: \"the row has no column 'nn'; did you mean 'n'?\"" in str(caught.value)


def test_a_name_of_two_columns_is_refused_where_it_is_read():
    frame = pd.DataFrame([[1, 2, "a"]], columns=["n", "n", "t"])
    for table in (frame, pa.table([[1], [2], ["a"]], ["n", "n", "t"])):
        for sf in (
            SlicingFunction("n", lambda x: x.n > 1),
            SlicingFunction("whole", lambda x: len(list(x)) > 1),
            SlicingFunction("series", _first),
        ):
            with pytest.raises(ColumnError) as caught:
                PandasSFApplier([sf]).apply(table)
            assert str(caught.value) == (
                "2 columns of the table are called 'n', so it can't be told which one is meant; "
                "give each column a name of its own"
            )
        text = SlicingFunction("text", lambda x: x.t == "a")
        assert PandasSFApplier([text]).apply(table)["text"].tolist() == [1]
        made = compile_slices([text], table).apply(table)
        assert names_of(made) == ["n", "n", "t", "text"]


def _first(n: pd.Series):
    return n > 1


def test_what_is_no_table_is_refused():
    sf = SlicingFunction("text", lambda x: x.t == "a")
    plan = compile_slices([sf], pa.schema({"t": pa.string()}))
    tables = "a pandas DataFrame, or a pyarrow Table or RecordBatch"
    spark = f"a Spark DataFrame, {tables}"
    frame, series, applier = pd.DataFrame({"t": ["a"]}), pd.Series(["a"]), PandasSFApplier([sf])
    for act, said in (
        (lambda: plan.apply([{"t": "a"}]), f"the table is of type list; give {spark}"),
        (lambda: plan.coverage({"t": 1}), f"the table is of type dict; give {spark}"),
        (lambda: applier.apply(series), f"the table is of type Series; give {tables}"),
        (
            lambda: SFApplier([sf]).apply(frame),
            "what SFApplier takes is of type DataFrame; give a list of data points, or the table "
            "to PandasSFApplier",
        ),
        (
            lambda: compile_slices([sf], {"t": "string"}),
            "the schema to compile slices for is of type dict; give the schema of a Spark "
            f"DataFrame, a pyarrow Schema, {tables}",
        ),
    ):  # fmt: skip
        with pytest.raises(InputError) as caught:
            act()
        assert str(caught.value) == said


def test_a_table_that_lacks_a_column_is_refused():
    sf = SlicingFunction("text", lambda x: x.t == "a")
    plan = compile_slices([sf], pa.schema({"t": pa.string()}))
    with pytest.raises(ColumnError) as caught:
        plan.apply(pd.DataFrame({"tt": ["a"]}))
    assert str(caught.value) == "the table: there is no column 't'; did you mean 'tt'?"
    with pytest.raises(ColumnError):
        plan.apply(pa.table({"t": ["a"]}), keep=["u"])


def test_batches_stay_batches_and_keep_their_metadata():
    sf = SlicingFunction("text", lambda x: x.t == "a")
    batch = pa.record_batch({"t": ["a", "b"]}).replace_schema_metadata({"k": "v"})
    made = compile_slices([sf], batch).apply(batch)
    assert type(made) is pa.RecordBatch
    assert (made["text"].to_pylist(), made.schema.metadata) == ([True, False], {b"k": b"v"})
    assert slice_dataframe(batch, sf)["t"].to_pylist() == ["a"]
    assert slice_dataframe(pa.table(batch), sf)["t"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.list_(pa.string_view()), ["a", None]),
        (pa.list_(pa.binary_view()), [b"a"]),
        (pa.list_(pa.string_view(), 2), ["a", "b"]),
        (pa.struct([("k", pa.string_view())]), {"k": "a"}),
        (pa.map_(pa.string(), pa.string_view()), [("k", "a")]),
    ],
    ids=str,
)
def test_views_inside_others(kind, value):
    """pyarrow can't take from them, which a form does that leaves a few rows to Python."""
    c = pa.array([value, None] * 50, kind)
    table = pa.table({"c": c, "n": pa.array(range(100))})
    few = SlicingFunction("few", lambda x: 1 // (x.n - 7) >= 0 if x.n != 7 else x.c is None)
    none = SlicingFunction("none", lambda x: len(repr(x.c)) == 0)
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    for given in (table, table.to_batches()[0], frame):
        assert PandasSFApplier([few]).apply(given, False)["few"].tolist() == [0] * 7 + [1] * 93
        for sf, rows in ((few, range(7, 100)), (none, ())):
            found = slice_dataframe(given, sf)
            assert type(found) is type(given)
            assert list(found["n"].tolist() if given is frame else found["n"].to_pylist()) == list(
                rows
            )


WIDE = {"i": np.int64, "f": np.float64}


@pytest.mark.parametrize(
    "numbers",
    [
        np.arange(20)[::2],
        np.arange(10).astype(">i4"),
        np.arange(10).astype(np.longdouble),
        np.arange(10, dtype=np.float16),
        np.lib.stride_tricks.as_strided(np.arange(10), (10,), (8,), writeable=False),
    ],
    ids=["strided", "big endian", "long double", "half", "read only"],
)
def test_numbers_in_any_layout(numbers):
    frame = pd.DataFrame({"n": numbers}, copy=False)
    sfs = [SlicingFunction("n", lambda x: x.n > 3), SlicingFunction("r", lambda x: str(x.n) > "3")]

    def series(n: pd.Series):
        return n > 3

    S = PandasSFApplier([*sfs, SlicingFunction("s", series)]).apply(frame)
    assert S["n"].tolist() == S["s"].tolist() == [int(n > 3) for n in numbers]
    assert S["r"].tolist() == [int(str(n) > "3") for n in numbers.astype(WIDE[numbers.dtype.kind])]


def test_periods_intervals_and_objects_of_any_kind_are_themselves():
    frame = pd.DataFrame(
        {
            "month": pd.Series(pd.PeriodIndex(["2024-01", "NaT"], freq="M")),
            "range": pd.Series(pd.IntervalIndex.from_tuples([(0, 1), None])),
            "mixed": pd.Series([1, "a"], dtype=object),
            "complex": [1j, 2],
        }
    )
    sfs = [
        SlicingFunction("month", lambda x: x.month.year == 2024),
        SlicingFunction("range", lambda x: 0.5 in x.range),
        SlicingFunction("mixed", lambda x: x.mixed == "a"),
        SlicingFunction("complex", lambda x: x.complex.imag == 1),
    ]

    def late(month: pd.Series):
        return month > pd.Period("2023-12", "M")

    S = PandasSFApplier([*sfs, SlicingFunction("late", late)]).apply(frame)
    assert S.tolist() == [(1, 1, 0, 1, 1), (-1, -1, 1, 0, -1)]


def test_nanoseconds_before_1970_are_the_microsecond_before_them():
    ticks = [-1, -1001, 1999, None]
    expected = [dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=n) for n in (-1, -2, 1)]
    sf = SlicingFunction("f", lambda x: x.t in expected)
    array = pa.array(ticks, pa.int64()).view(pa.timestamp("ns"))
    nested = pa.array([[v] for v in ticks[:3]], pa.list_(pa.int64())).view(
        pa.list_(pa.timestamp("ns"))
    )
    inside = SlicingFunction("f", lambda x: x.t[0] in expected)
    series = pd.Series(np.array(ticks[:3], "datetime64[ns]"))
    for table, function, n in (
        (pa.table({"t": array}), sf, 3),
        (pd.DataFrame({"t": series}), sf, 3),
        (pd.DataFrame({"t": pd.Series(pd.arrays.ArrowExtensionArray(array))}), sf, 3),
        (pa.table({"t": nested}), inside, 3),
    ):
        S = PandasSFApplier([function]).apply(table)
        assert S["f"].tolist() == [1] * n + [0] * (len(S) - n)
    spans = pd.DataFrame({"d": np.array(ticks[:3], "timedelta64[ns]")})
    before = SlicingFunction("d", lambda x: x.d // dt.timedelta(microseconds=1) in (-1, -2, 1))
    for table in (spans, pa.Table.from_pandas(spans)):
        assert PandasSFApplier([before]).apply(table)["d"].tolist() == [1, 1, 1]


def test_an_hour_that_comes_twice_is_no_fault():
    times = pd.to_datetime(["2024-10-27 00:30:00.000000001", "2024-10-27 01:30:00.5"], utc=True)
    frame = pd.DataFrame({"t": times.tz_convert("Europe/Berlin")})
    sf = SlicingFunction("half_past_two", lambda x: (x.t.hour, x.t.minute) == (2, 30))
    assert PandasSFApplier([sf]).apply(frame)["half_past_two"].tolist() == [1, 1]


def test_values_and_keys_may_be_in_any_array():
    values = ["US", "DE", "US", None]
    array = pa.array(values)
    ids = ["c_us", "c_de", "c_null", "c_other"]
    for given in (
        values, np.array(values, object), pd.Series(values), pd.Index(values), array,
        pa.chunked_array([array[:1], array[1:1], array[1:]]), array.dictionary_encode(),
        array.cast(pa.large_string()), array.cast(pa.string_view()),
        pd.Series(values, dtype="category"), pd.Series(values, dtype="string[pyarrow]"),
        pd.Series(values, dtype=pd.ArrowDtype(pa.string())),
    ):  # fmt: skip
        assert [sf.id for sf in by("c", given)] == ids
        asked = lookup("l", "c", given)
        assert [asked({"c": v}) for v in ("US", "FR", None)] == [True, False, None]
    frame = pd.DataFrame({"a": ["x", "y"], "n": [1, 2]})
    ids = ["a_x_n_1", "a_y_n_2", "a_n_null", "a_n_other"]
    for given in (frame, pa.table(frame), pa.RecordBatch.from_pandas(frame), frame.to_numpy()):
        assert [sf.id for sf in cross("a", "n", values=given)] == ids


def test_masks_of_values_and_keys_are_those_of_rows_in_any_table():
    sfs = [*by("c", ["a", "b"]), lookup("keys", "c", ["a", "abc"])]
    for _, array in encodings("text"):
        for _, make in shapes(array):
            table = make()
            rows = table.column("c").to_pylist()
            S = PandasSFApplier(sfs).apply(table)
            for sf in sfs:
                codes = [-1 if (m := sf({"c": v})) is None else int(m) for v in rows]
                assert S[sf.name].tolist() == codes, (sf.name, array.type)
