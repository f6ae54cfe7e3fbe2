"""Compile law without Spark: a batch of Arrow columns gives what the function gives row by row."""

from __future__ import annotations

import datetime as dt
import html
import re
import unicodedata
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import PandasSFApplier, SlicingFunction, preprocessor
from engine.arrow.values import python_values
from engine.run.kernel import Kernel
from engine.slicing.rows import Row

pytestmark = pytest.mark.usefixtures("both_ways")

NASTY = [
    "", " ", "\x00", "a\x00b", "\u0130", "i\u0307", "\u0131", "\ufb01", "\u00e9", "e\u0301",
    "\x1c", "\x1d x", "\x85", "\u2028", "\u2029", "\u200b", "\ufeff", "a\r\nb", "\t", "\u00df",
    "\U0001f469\u200d\U0001f467", "\U0001d518", "&#39;", "&amp;", "check\nout", "CHECK this OUT",
    "bit.ly/x", "Please", "PLZ", "subscribe!", "x" * 5000, "'", '"', "\\", "%", "`",
]  # fmt: skip
TEXT = st.one_of(
    st.none(),
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.lists(st.sampled_from(NASTY), max_size=4).map("".join),
)
ROW = st.fixed_dictionaries(
    {
        "text": TEXT,
        "n": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        "p": st.one_of(st.none(), st.floats()),
        "flag": st.one_of(st.none(), st.booleans()),
        "price": st.one_of(
            st.none(),
            st.decimals(-999, 999, places=2, allow_nan=False, allow_infinity=False),
        ),
        "day": st.one_of(st.none(), st.dates()),
        "at": st.one_of(st.none(), st.datetimes(timezones=st.just(dt.UTC))),
        "tags": st.one_of(st.none(), st.lists(st.one_of(st.none(), TEXT), max_size=3)),
        "map": st.one_of(
            st.none(), st.dictionaries(st.text("abc", max_size=2), st.integers(0, 9), max_size=3)
        ),
        "struct": st.one_of(
            st.none(), st.fixed_dictionaries({"x": st.one_of(st.none(), st.integers(0, 9))})
        ),
    }
)
TYPES = {
    "text": pa.string(),
    "n": pa.int64(),
    "p": pa.float64(),
    "flag": pa.bool_(),
    "price": pa.decimal128(5, 2),
    "day": pa.date32(),
    "at": pa.timestamp("us", "UTC"),
    "tags": pa.list_(pa.string()),
    "map": pa.map_(pa.string(), pa.int64()),
    "struct": pa.struct([("x", pa.int64())]),
}


@preprocessor()
def words(x):
    x.words = x.text.split()
    x.text = None
    return x


@preprocessor(memoize=True)
def lowered(x):
    x.text = html.unescape(x.text).lower()
    return x


@preprocessor(memoize=True, pre=[lowered])
def marks(x):
    x.tags.append(x.text)
    x.marks = unicodedata.normalize("NFD", x.text).count("\u0301")
    return x


FUNCTIONS = [
    (lambda x: bool(re.search(r"\w+\.ly", x.text)), []),
    (lambda x: bool(re.search("check.*out", x["text"], re.I)), []),
    (lambda x: len(x.text.split()) < 2, []),
    (lambda x: x.text.lower() == x.text.casefold(), []),
    (lambda x: "plz" in x.text.lower() or "\x00" in x.text, []),
    (lambda x: len(x.text) > 1 if x.text is not None else None, []),
    (lambda x: x.n % 2 == 0, []),
    (lambda x: type(x.n) is int and x.n > 2**53, []),
    (lambda x: 10 / x.n > 1, []),
    (lambda x: x.p > 0.5, []),
    (lambda x: x.p != x.p, []),
    (lambda x: str(x.p).startswith("-0"), []),
    (lambda x: x.flag, []),
    (lambda x: x.price * 2 > Decimal("0.01"), []),
    (lambda x: str(x.price).endswith("0"), []),
    (lambda x: x.day.weekday() < 5, []),
    (lambda x: x.at.utcoffset() == dt.timedelta(0) and x.at.hour > 11, []),
    (lambda x: type(x.at) is dt.datetime, []),
    (lambda x: None in x.tags, []),
    (lambda x: x.tags.pop() is None, []),
    (lambda x: x.map["a"] > 4, []),
    (lambda x: x.struct.x > 4, []),
    (lambda x: x.n, []),
    (lambda x: -1 if x.flag else x.text, []),
    (lambda x: any(v is None for v in x.asDict().values()), []),
    (lambda x: len(x.words) > 1 and x.text is None, [words]),
    (lambda x: x.text == x.text.lower(), [lowered]),
    (lambda x: x.marks > 0 or len(x.tags) > 2, [marks]),
    (lambda x: x.text is None or len(x.text) % 2 == 0, []),
]


def by_hand(f, pre, row):
    """Return the mask that the law gives, computed as plainly as can be."""
    read: set[str] = set()

    class Watched(dict):
        def __getattr__(self, name):
            return self[name]

        def __getitem__(self, name):
            if self.source.get(name, "") is None:
                read.add(name)
            return super().__getitem__(name)

        def __setattr__(self, name, value):
            self.source.pop(name, None)
            self[name] = value

        def asDict(self):
            for name in self:
                self[name]
            return dict(self)

    def copied(values):
        array = {c: pa.array([values[c]], TYPES[c]) for c in TYPES}
        return {c: python_values(a)[0] for c, a in array.items()}

    x = Watched(copied(row))
    object.__setattr__(x, "source", dict(x))
    try:
        for p in (q for outer in pre for q in outer.chain):
            x = p.f(x)
        y = f(x)
    except Exception:
        return -1, not read
    good = y is None or (isinstance(y, int) and y in (-1, 0, 1))
    return (-1 if y is None or not good else int(y)), not good


@settings(max_examples=30, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=8))
def test_a_batch_gives_what_the_function_gives_row_by_row(rows):
    columns = {c: pa.array([r[c] for r in rows], kind) for c, kind in TYPES.items()}
    sfs = [SlicingFunction(f"s{i}", f, pre=pre) for i, (f, pre) in enumerate(FUNCTIONS)]
    out = Kernel(sfs).run(columns)
    faulted = {(f.slice_id, f.row) for f in out.faults}
    for sf, (f, pre) in zip(sfs, FUNCTIONS, strict=True):
        for i, row in enumerate(rows):
            expected = by_hand(f, pre, row)
            assert (out.masks[sf.id][i], (sf.id, i) in faulted) == expected, (sf.id, row)


@settings(max_examples=30, deadline=None)
@given(st.lists(ROW, max_size=8), st.integers(1, 5))
def test_batches_of_any_size_and_functions_alone_or_together_give_the_same(rows, size):
    columns = {c: pa.array([r[c] for r in rows], kind) for c, kind in TYPES.items()}
    sfs = [SlicingFunction(f"s{i}", f, pre=pre) for i, (f, pre) in enumerate(FUNCTIONS)]
    whole, kernel = Kernel(sfs).run(columns), Kernel(sfs)
    parts = [
        kernel.run({c: a[at : at + size] for c, a in columns.items()})
        for at in range(0, len(rows), size)
    ]
    for sf in sfs:
        alone = Kernel([sf]).run(columns).masks[sf.id].tolist()
        joined = [code for part in parts for code in part.masks[sf.id].tolist()]
        assert whole.masks[sf.id].tolist() == alone == joined


@settings(max_examples=40, deadline=None)
@given(st.lists(TEXT, max_size=8))
def test_pandas_gives_what_arrow_gives(texts):
    fs = {f"s{i}": f for i, (f, pre) in enumerate(FUNCTIONS[:5])}
    sfs = [SlicingFunction(name, f) for name, f in fs.items()]
    arrow = Kernel(sfs).run({"text": pa.array(texts, pa.string())})
    for dtype in ("str", "string", object):
        df = pd.DataFrame({"text": pd.Series(texts, dtype=dtype)})
        S = PandasSFApplier(sfs).apply(df, progress_bar=False, fault_tolerant=True)
        for name in fs:
            assert S[name].tolist() == arrow.masks[name].tolist(), dtype


def test_a_function_that_reads_no_column():
    out = Kernel([SlicingFunction("s", lambda x: True)]).run({}, 3)
    assert out.masks["s"].tolist() == [1, 1, 1]


def test_no_rows():
    sfs = [
        SlicingFunction("a", lambda x: x.text),
        SlicingFunction("b", lambda x: 1 / 0, pre=[marks]),
    ]
    out = Kernel(sfs).run({"text": pa.array([], pa.string())})
    assert [m.tolist() for m in out.masks.values()] == [[], []]


def test_the_kernels_row_is_the_row():
    seen = []
    Kernel([SlicingFunction("s", seen.append)]).run({"text": pa.array(["a"]), "n": pa.array([1])})
    assert seen == [Row({"text": "a", "n": 1})]
