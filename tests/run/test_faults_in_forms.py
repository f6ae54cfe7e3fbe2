"""What Python raises on a row is that row's fault, however the function runs; a batch goes on."""

from __future__ import annotations

import datetime as dt
import re
import signal
from collections import namedtuple
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from engine import SlicingFunction, compile_slices, preprocessor, slicing_function
from engine.errors import SliceFaultError
from engine.label.local import batches
from engine.run.kernel import Kernel
from engine.slicing.rows import Row
from tests.fuzz import oracle

ROWS = {
    "k": [1, 2, None, 5, 0, -7],
    "t": ["a", "b(", None, "7", "", "1" * 5_000],
    "f": [1.0, float("nan"), None, float("inf"), 0.0, 1e308],
    "b": [True, False, None, True, False, True],
    "l": [[1], [2], None, [], [None], [1, 2]],
    "d": [dt.date(2020, 1, 1), None, dt.date(1, 1, 1), dt.date(9999, 12, 31), None, None],
}
TABLE = pa.table(ROWS)
CONSTANTS: dict[str, Any] = {
    "NONE": None, "FIVE": 5, "HALF": 0.5, "YES": True, "TEXT": "a", "BYTES": b"a", "NA": pd.NA,
    "ARRAY": np.array([1, 2, 3]), "EMPTY": np.array([]), "HUGE": 10**400, "ARRAYS": (np.arange(2),),
    "NAN": Decimal("sNaN"), "LISTS": ([1], {1: 2}), "SERIES": pd.Series([1, 2]), "OBJECT": object(),
    "KIND": int, "SLICE": slice(1), "FUNCTION": len, "DATE": dt.date(2020, 1, 1), "NAT": pd.NaT,
}  # fmt: skip
# Templates of a function's result: C is a column, K a constant.
FORMS = (
    "x.C in K", "x.C not in K", "K in x.C", "x.C == K", "K == x.C", "x.C != K", "x.C < K",
    "K >= x.C", "x.C is None or x.C in K", "x.C is not None and x.C == K", "x.C + K == K",
    "x.C * K == K", "x.C / K > 1", "x.C // K > 1", "x.C % K == 0", "not K", "bool(K)", "K or x.C",
    "x.C and K", "K if x.C else x.b", "x.b if K else x.C", "K", "x.C[K] == 1", "len(K) > x.k",
    "x.t.startswith(K)", "x.t.count(K) > 0", "x.t.replace('a', K) == 'a'", "x.t.zfill(K) == 'a'",
    "any(w in x.t for w in (K, 'a'))", "all(x.t.startswith(w) for w in ('a', K))", "-K == x.C",
    "min(x.C, K) == K", "x.C == K == x.k", "sum(x.C == w for w in (K, 1)) > 0", "x.C is K",
    "isinstance(x.C, K)", "getattr(x, K) == 1", "x[K] == 1", "int(x.t) == K", "x.t[K:] == 'a'",
)  # fmt: skip


def forms() -> list[SlicingFunction]:
    """Return each template with each constant, and columns in turn."""
    names = list(ROWS)
    made = []
    for i, (form, constant) in enumerate((f, c) for f in FORMS for c in CONSTANTS):
        said = re.sub(r"\bC\b", names[i % len(names)], re.sub(r"\bK\b", constant, form))
        made.append(f"def f{i}(x):\n    return {said}\n")
    return [SlicingFunction(f"s{i}", f) for i, f in enumerate(_functions(made))]


def _functions(sources: list[str]) -> list[Any]:
    import linecache

    names: dict[str, Any] = {**CONSTANTS, "__name__": "__main__"}
    found = []
    for i, source in enumerate(sources):
        file = f"<form {i}>"
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        exec(compile(source, file, "exec"), names)  # the sources are above
        found.append(names[f"f{i}"])
    return found


def codes(sfs: list[SlicingFunction], tier: str) -> dict[str, list[int]]:
    plan = compile_slices(sfs, TABLE.schema, tier=tier)
    ((_, n, out),) = batches(plan, TABLE, [0])
    found = {s: masks.tolist() for s, masks in out.masks.items()}
    for fault in out.faults:
        assert found[fault.slice_id][fault.row] == -1
        found[fault.slice_id][fault.row] = oracle.FAULT
    assert all(len(c) == n for c in found.values())
    return found


def test_every_form_with_every_constant_says_what_python_says():
    sfs = forms()
    xs = oracle.rows_of(ROWS)
    by_hand = {sf.id: _by_hand(sf.f, xs) for sf in sfs}
    for tier in ("arrow", "row"):
        found = codes(sfs, tier)
        wrong = [(s, c, found[s]) for s, c in by_hand.items() if found[s] != c]
        assert not wrong, wrong[:3]
    every = {code for found in by_hand.values() for code in found}
    assert every == {oracle.IN, oracle.OUT, oracle.NULL, oracle.FAULT}


def _by_hand(f: Any, xs: Any) -> list[int]:
    """Ask the oracle; NA is null, as a mask says."""
    found = []
    for x in xs:
        try:
            found.append(oracle.NULL if f(x) is pd.NA else oracle.answer(f, {}, x))
        except Exception:
            found.append(oracle.answer(f, {}, x))
    return found


# ---- exceptions of every kind


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class Stop(BaseException):
    def __reduce__(self) -> Any:
        raise TypeError("not pickled")


class Shy:
    def __repr__(self) -> str:
        raise ValueError("no repr")


def endless(n: int) -> int:
    return endless(n + 1)


def raises(error: BaseException) -> Any:
    def f(x):
        raise error

    return f


RAISED = {
    "its message can't be told": (raises(Mute()), "Mute: (what it says can't be told)"),
    "none of Exception's": (raises(Stop("enough")), "Stop: enough"),
    "it ends the process": (raises(SystemExit(3)), "SystemExit: 3"),
    "a generator's end": (raises(StopIteration()), "StopIteration: "),
    "a generator's closing": (raises(GeneratorExit()), "GeneratorExit: "),
    "its own Ctrl-C": (raises(KeyboardInterrupt("no")), "KeyboardInterrupt: no"),
    "memory": (raises(MemoryError()), "MemoryError: "),
    "half of a pair": (raises(ValueError("\ud83d")), "ValueError: \\ud83d"),
    "a long message": (raises(ValueError("a" * 10_000)), "ValueError: " + "a" * 497 + "..."),
    "recursion": (lambda x: endless(0), "RecursionError: maximum recursion depth exceeded"),
    "a result without repr": (
        lambda x: Shy(), "it returned <a Shy whose repr raises ValueError> (Shy), not True",
    ),
    "a result of many": (lambda x: np.array([1]), "it returned array([1]) (ndarray), not True"),
    "a Series": (lambda x: pd.Series([True]), "it returned 0    True"),
    "a text": (lambda x: "yes", "it returned 'yes' (str), not True, False or None"),
    "a float": (lambda x: np.float64(1), "it returned np.float64(1.0) (float64), not True"),
}  # fmt: skip


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("pre", [False, True], ids=["function", "preprocessor"])
def test_what_is_raised_or_returned_is_the_rows_fault(what, pre):
    f, cause = RAISED[what]
    if pre and cause.startswith("it returned"):
        return
    sf = SlicingFunction("s", f)
    if pre:
        sf = SlicingFunction("s", lambda x: True, pre=[preprocessor("p")(f)])
    other = SlicingFunction("other", lambda x: x.k > 1)
    out = Kernel([sf, other]).run({"k": pa.array([1, 2])})
    assert out.masks["other"].tolist() == [0, 1]
    assert out.masks["s"].tolist() == [-1, -1]
    assert [fault.cause.startswith(cause) for fault in out.faults] == [True, True]
    pa.array([fault.cause for fault in out.faults])


@pytest.mark.parametrize("what", [w for w, (_, cause) in RAISED.items() if "returned" not in cause])
def test_what_a_function_of_series_raises_is_the_rows_fault(what):
    f, cause = RAISED[what]

    def series(k: pd.Series):
        if (k == 2).any():
            f(None)
        return k > 1

    out = Kernel([SlicingFunction("s", series)]).run({"k": pa.array([1, 2, None, 3])})
    assert out.masks["s"].tolist() == [0, -1, -1, 1]
    (fault,) = out.faults
    assert (fault.row, fault.read) == (1, "k=2")
    assert fault.cause.startswith(cause)


def pressed(_: Any) -> bool:
    signal.raise_signal(signal.SIGINT)
    return True


def of_library(number: int, frame: Any) -> None:
    """Raise as Spark's own handler does, which replaces Python's."""
    raise KeyboardInterrupt


def of_series(k: pd.Series):
    return k == pressed(None)


@pytest.mark.parametrize(
    "sf",
    [
        SlicingFunction("s", pressed), SlicingFunction("s", of_series),
        SlicingFunction("s", lambda x: True, pre=[preprocessor("p")(pressed)]),
    ],
    ids=["row", "Series", "preprocessor"],
)  # fmt: skip
@pytest.mark.parametrize("handler", [signal.default_int_handler, of_library])
def test_ctrl_c_ends_it_all(sf, handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Kernel([sf]).run({"k": pa.array([1, None])})
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_it_while_a_failure_is_explained():
    calls = []

    def once(x):
        calls.append(x.k)
        if len(calls) > 1:
            pressed(None)
        raise ValueError

    (fault,) = Kernel([SlicingFunction("s", once)]).run({"k": pa.array([1])}).faults
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fault.cause  # noqa: B018 - it is made when it is read
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_fault_in_a_preprocessor_names_its_line():
    @preprocessor()
    def broken(x):
        x.n = x.missing
        return x

    @preprocessor()
    def forgets(x):
        x.n = 1

    line = broken.f.__code__.co_firstlineno + 2
    causes = []
    for p in (broken, forgets):
        sf = SlicingFunction("s", lambda x: x.n > 1, pre=[p])
        for rows in ([Row({"k": 1})], [SimpleNamespace(k=1)], [{"k": 1}]):
            ((fault,),) = ((Kernel([sf]).run_rows(rows).faults),)
            causes.append(fault.cause)
    said = "AttributeError: the row has no column 'missing'; known: k"
    place = f"(test_faults_in_forms.py:{line})"
    assert causes[0] == f"{said} {place}"
    assert all(cause.endswith(place) for cause in causes[:2])
    assert not any("functions.py" in cause or "preprocess.py" in cause for cause in causes)


# ---- a composition that is called


Point = namedtuple("Point", ["n", "m"])


@pytest.mark.parametrize(
    "row",
    [
        Row({"n": None, "m": 1}), SimpleNamespace(n=None, m=1), Point(None, 1),
        pd.Series({"n": None, "m": 1}, dtype=object),
    ],
    ids=["row", "namespace", "named tuple", "series"],
)  # fmt: skip
def test_calling_a_composition_keeps_the_mask_law(row):
    few, one, bad = (
        SlicingFunction(name, f)
        for name, f in (
            ("few", lambda x: x.n < 3), ("one", lambda x: x.m == 1), ("bad", lambda x: x.m / 0),
        )
    )  # fmt: skip
    assert (few & one)(row) is None
    assert (few | one)(row) is True
    assert (few & ~one)(row) is False
    assert (~few)(row) is None
    with pytest.raises(ZeroDivisionError):
        (few | bad)(row)


def test_calling_a_composition_takes_masks_alone():
    said = SlicingFunction("said", lambda x: "yes")
    with pytest.raises(SliceFaultError) as caught:
        (~said)(Row({"n": 1}))
    assert str(caught.value) == (
        "slice 'said' failed on a row: it returned 'yes' (str), not True, False or None; fix the "
        'function, or set on_error: "null" to leave such rows undecided and count them'
    )
    known = [(True, False), (1, False), (0, True), (-1, None), (pd.NA, None), (np.True_, False)]
    for answer, mask in known:
        assert (~SlicingFunction("s", lambda x, answer=answer: answer))(Row({"n": 1})) is mask


def test_a_composition_with_a_preprocessor_keeps_the_mask_law():
    @preprocessor()
    def doubled(x):
        x.twice = x.n + x.n
        return x

    @slicing_function(pre=[doubled])
    def much(x):
        return x.twice > 4

    for row in (Row({"n": None}), SimpleNamespace(n=None)):
        assert (~much)(row) is None
    assert (~much)(Row({"n": 3})) is False
