"""Mask law: true, false or null; an exception where a column that was read is null is null."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import SlicingFunction, preprocessor, slicing_function
from engine.run.kernel import Kernel
from engine.run.row_faults import Fault, Texts

pytestmark = pytest.mark.usefixtures("both_ways")

IN, OUT, NULL = 1, 0, -1
HERE = "test_mask_law.py"


def run(f, pre=None, **columns):
    """Return the codes of one slicing function over columns, and its faults."""
    sf = f if isinstance(f, SlicingFunction) else SlicingFunction("s", f, pre=pre)
    arrays = {c: v if isinstance(v, pa.Array) else pa.array(v) for c, v in columns.items()}
    out = Kernel([sf]).run(arrays)
    return out.masks["s"].tolist(), list(out.faults)


def line_of(f) -> int:
    return inspect.getsourcelines(f)[1]


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        (True, IN), (False, OUT), (None, NULL), (pd.NA, NULL), (1, IN), (0, OUT), (-1, NULL),
        (np.True_, IN), (np.False_, OUT), (np.int8(1), IN), (np.int64(0), OUT), (np.int8(-1), NULL),
    ],
)  # fmt: skip
def test_what_a_function_may_return(returned, code):
    assert run(lambda x: returned, n=[1]) == ([code], [])


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("yes", "'yes' (str)"),
        ("", "'' (str)"),
        (1.0, "1.0 (float)"),
        (float("nan"), "nan (float)"),
        (np.float64(0), "np.float64(0.0) (float64)"),
        (2, "2 (int)"),
        (-2, "-2 (int)"),
        (np.int64(7), "np.int64(7) (int64)"),
        ([], "[] (list)"),
        (re.search("a", "a"), "<re.Match object; span=(0, 1), match='a'> (Match)"),
        (pd.NaT, "NaT (NaTType)"),
        (np.array([True]), "array([ True]) (ndarray)"),
        ("a" * 100, "'" + "a" * 56 + "... (str)"),
    ],
)
def test_anything_else_is_a_fault_even_where_what_was_read_is_null(returned, said):
    cause = f"it returned {said}, not True, False or None"
    for n, read in ((1, "n=1"), (None, "n=None")):
        out = run(lambda x: (x.n, returned)[1], n=pa.array([n], pa.int64()))
        assert out == ([NULL], [Fault("s", 0, Texts(read, cause))])


def lower(x):
    return "spam" in x.text.lower()


def test_an_exception_where_a_column_that_was_read_is_null_is_null_and_no_fault():
    assert run(lower, text=["SPAM", None, "ham"]) == ([IN, NULL, OUT], [])


def test_an_exception_elsewhere_is_a_fault_with_what_was_read_and_where():
    def divide(x):
        return x.a / x.b > 1

    line = line_of(divide) + 1
    faults = [
        Fault("s", 0, Texts("a=4, b=0", f"ZeroDivisionError: division by zero ({HERE}:{line})"))
    ]
    columns = {"a": [4, 4, None], "b": [0, 2, 0], "other": [None, None, None]}
    assert run(divide, **columns) == ([NULL, IN, NULL], faults)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.other + 1 / 0,
        lambda x: x["other"] + 1 / 0,
        lambda x: (x.get("other"), 1 / 0),
        lambda x: (vars(x)["other"], 1 / 0),
        lambda x: (x.asDict()["other"], 1 / 0),
        lambda x: (getattr(x, "oth" + "er"), 1 / 0),
        lambda x: ({**x}["other"], 1 / 0),
        lambda x: any(x[name] is None and 1 / 0 for name in x),
    ],
)
def test_null_is_seen_however_it_is_read(f):
    assert run(f, other=pa.array([None], pa.int64())) == ([NULL], [])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (x.text, 1 / 0),
        lambda x: ("other" in x, 1 / 0),
        lambda x: (list(x), x.keys(), 1 / 0),
        lambda x: x.txet,
        lambda x: x["txet"],
    ],
)
def test_a_null_that_was_not_read_excuses_nothing(f):
    codes, faults = run(f, text=["a"], other=pa.array([None], pa.string()))
    assert (codes, len(faults)) == ([NULL], 1)


def test_a_null_read_after_the_row_was_changed_excuses_nothing():
    def changes(x):
        x.seen = True
        return x.other.lower()

    codes, faults = run(changes, other=pa.array([None], pa.string()))
    cause = (
        "AttributeError: a slicing function cannot change x.seen; do it in a @preprocessor, "
        f"which gets a copy of the row ({HERE}:{line_of(changes) + 1})"
    )
    assert (codes, faults) == ([NULL], [Fault("s", 0, Texts("", cause))])


def test_nan_is_not_null():
    codes, faults = run(lambda x: int(x.n) > 0, n=[1.0, float("nan"), None])
    assert codes == [IN, NULL, NULL]
    assert [f.row for f in faults] == [1]


def test_a_missing_column_is_a_fault_that_names_the_nearest():
    _, faults = run(lambda x: x.txet, text=["a"])
    assert faults[0].cause.startswith(
        "AttributeError: the row has no column 'txet'; did you mean 'text'?"
    )


def test_an_exception_in_a_preprocessor_follows_the_same_law():
    @preprocessor()
    def words(x):
        x.words = x.text.split()
        return x

    @preprocessor()
    def broken(x):
        return 1 / x.zero

    def few(x):
        return len(x.words) < 2

    assert run(few, [words], text=["a", None, "a b"]) == ([IN, NULL, OUT], [])
    line = line_of(broken.f) + 2
    cause = f"ZeroDivisionError: division by zero ({HERE}:{line})"
    for chain in ([broken], [broken, words], [words, broken]):
        read = "text='a', zero=0" if chain[0] is words else "zero=0"
        assert run(few, chain, text=["a"], zero=[0]) == (
            [NULL],
            [Fault("s", 0, Texts(read, cause))],
        )


def test_a_null_that_a_preprocessor_read_excuses_the_function():
    @preprocessor()
    def size(x):
        x.size = None if x.text is None else len(x.text)
        return x

    assert run(lambda x: x.size > 1, [size], text=["ab", None]) == ([IN, NULL], [])


def test_a_null_that_a_preprocessor_replaced_unread_does_not():
    @preprocessor()
    def constant(x):
        x.text = "constant"
        return x

    codes, faults = run(lambda x: x.text + 1, [constant], text=pa.array([None], pa.string()))
    assert (codes, [f.read for f in faults]) == ([NULL], [""])


def test_a_preprocessor_that_returns_nothing_is_a_fault():
    codes, faults = run(lambda x: True, [preprocessor(name="p")(lambda x: None)], text=["a"])
    said = "SliceError: preprocessor 'p' returned None; it must return the row"
    assert (codes, faults) == ([NULL], [Fault("s", 0, Texts("", said))])


def test_long_values_are_cut_in_messages():
    _, faults = run(lambda x: x.text + 1, text=["a" * 100])
    assert faults[0].read == "text='" + "a" * 56 + "..."


def test_every_slice_has_its_own_faults():
    sfs = [SlicingFunction(n, f) for n, f in (("a", lambda x: 1 / x.n), ("b", lambda x: x.n < 1))]
    out = Kernel(sfs).run({"n": pa.array([0, 1])})
    assert out.masks["b"].tolist() == [IN, OUT]
    assert [(f.slice_id, f.row) for f in out.faults] == [("a", 0), ("a", 1)]  # 1.0 is no mask


# Functions of pandas Series.


def vectorised(f) -> SlicingFunction:
    return slicing_function(name="s")(f)


@pytest.mark.parametrize(
    ("f", "codes"),
    [
        (lambda t: t.str.len() > 1, [IN, OUT, NULL]),
        (lambda t: (t.str.len() > 1).fillna(False), [IN, OUT, OUT]),
        (lambda t: t.isna(), [OUT, OUT, IN]),
        (lambda t: np.array([True, False, True]), [IN, OUT, IN]),
        (lambda t: [True, None, False], [IN, NULL, OUT]),
        (lambda t: pd.Series([1, 0, -1]), [IN, OUT, NULL]),
        (lambda t: pd.Series([True, False, None], dtype="bool[pyarrow]"), [IN, OUT, NULL]),
        (lambda t: pd.Series([True, np.nan, pd.NA], dtype=object), [IN, NULL, NULL]),
        (lambda t: (t.str.len() > 1).sample(frac=1, random_state=1).sort_index(), [IN, OUT, NULL]),
    ],
)
def test_what_a_vectorised_function_may_return(f, codes):
    def call(text: pd.Series):
        return f(text)

    assert run(vectorised(call), text=["ab", "a", None]) == (codes, [])


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda t: t, "it returned 'ab' (str), not True, False or None"),
        (lambda t: t.str.len(), "it returned np.int64(2) (int64), not True, False or None"),
        (lambda t: True, "it returned True (bool), not a boolean Series"),
        (lambda t: None, "it returned None (NoneType), not a boolean Series"),
        (lambda t: [True] * 5, "it returned 5 values for 1 rows"),
        (
            lambda t: t.str.len() / 2,
            "it returned np.float64(1.0) (float64), not True, False or None",
        ),
    ],
)
def test_a_vectorised_function_that_returns_something_else(f, said):
    def call(text: pd.Series):
        return f(text)

    codes, faults = run(vectorised(call), text=["ab", None])
    assert (codes, faults) == ([NULL, NULL], [Fault("s", 0, Texts("text='ab'", said))])


def test_a_vectorised_function_that_fails_is_undecided_on_the_bad_rows_only():
    def whole(text: pd.Series) -> pd.Series:
        return text.map(int) > 1

    codes, faults = run(vectorised(whole), text=["5", "1", "x", None, "7", "y", "0"])
    assert codes == [IN, OUT, NULL, NULL, IN, NULL, OUT]
    assert [(f.row, f.read) for f in faults] == [(2, "text='x'"), (5, "text='y'")]
    assert faults[0].cause.startswith("ValueError: invalid literal for int() with base 10: 'x' (")


def test_a_vectorised_function_cannot_change_what_others_see():
    def changes(text: pd.Series) -> pd.Series:
        text[:] = "changed"
        return text.isna()

    def reads(text: pd.Series) -> pd.Series:
        return text == "a"

    sfs = [SlicingFunction(f.__name__, f) for f in (changes, reads)]
    assert Kernel(sfs).run({"text": pa.array(["a"])}).masks["reads"].tolist() == [IN]


@given(
    st.lists(st.one_of(st.none(), st.booleans(), st.sampled_from([-1, 0, 1])), max_size=20),
)
def test_a_mask_is_what_was_returned(returned):
    answers = pa.array(range(len(returned)), pa.int64())
    codes, faults = run(lambda x: returned[x.i], i=answers)
    meant = {True: IN, False: OUT, None: NULL, -1: NULL}
    assert (codes, faults) == ([meant[r] for r in returned], [])
