"""Plans and shipping without a JVM: which slice runs where, and what travels with it."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
import textwrap
import threading

import pandas as pd
import pytest
from pyspark import cloudpickle
from pyspark.sql.types import StructType

from engine import SlicingFunction, compile_slices, preprocessor, slicing_function, where
from engine.compile.faults import FaultCounts, explained, fault_counts
from engine.compile.plan import Tier
from engine.compile.ship import own_modules
from engine.errors import (
    ExecutorImportError,
    MissingColumnError,
    PredicateError,
    SliceFaultError,
    SliceIdError,
    UnpicklableSliceError,
)

SCHEMA = StructType().add("id", "string").add("text", "string").add("likes", "integer")


@slicing_function()
def short(x):
    return len(x.text) < 20


@slicing_function()
def passed_on(x):
    return bool(dict(x))


@slicing_function()
def liked(likes: pd.Series):
    return likes > 3


@preprocessor()
def words(x):
    x.words = x.text.split()
    return x


@slicing_function(pre=[words])
def few(x):
    return len(x.words) < 3


@slicing_function()
def column():
    from pyspark.sql import functions as F

    return F.length("text") > 3


def test_explain_says_which_slice_runs_where_and_why():
    sfs = [short, where("many", "likes > 9"), liked, few, column]
    plan = compile_slices(sfs, SCHEMA)
    assert str(plan.explain()) == textwrap.dedent(
        """\
        slice   runs as           why
        short   Arrow columns     lt(len(text), 20)
        many    Spark expression  SQL: likes > 9
        liked   pandas Series     a function of pandas Series likes
        few     Python per row    a Python function that reads text, after words; not lifted: \
it needs a preprocessor
        column  Spark expression  returns a Spark Column
        3 of 5 slices share one Arrow UDF; columns crossing to Python, once each: text, likes"""
    )
    assert plan.crossing == ("text", "likes")
    assert [a.tier for a in plan.assignments].count(Tier.SPARK) == 2
    assert plan.ids == ("short", "many", "liked", "few", "column")


def test_a_row_that_is_passed_on_needs_all_columns():
    [assigned] = compile_slices([passed_on], SCHEMA).assignments
    line = passed_on.f.__code__.co_firstlineno + 2
    assert assigned.columns == ("id", "text", "likes")
    assert assigned.why == (
        f"a Python function; line {line} of test_plan.py passes the whole row on: all columns "
        "cross; "
        f"not lifted: line {line}: it calls dict"
    )


def test_predicates_alone_cross_nothing():
    said = str(compile_slices([where("many", "likes > 9")], SCHEMA).explain())
    assert said.endswith("\nno column crosses to Python")


def test_a_function_that_reads_nothing():
    [assigned] = compile_slices([SlicingFunction("all", lambda x: True)], SCHEMA).assignments
    assert (assigned.columns, assigned.why) == ((), "True")


@pytest.mark.parametrize(
    ("sf", "message"),
    [
        (
            SlicingFunction("typo", lambda x: x.txet),
            "slice 'typo': there is no column 'txet'; did you mean 'text'?",
        ),
        (
            SlicingFunction("typo", lambda x: x.words and x["Likes"], pre=[words]),
            "slice 'typo': there is no column 'Likes'; did you mean 'likes'?",
        ),
    ],
)
def test_a_missing_column_is_named_before_spark_starts(sf, message):
    with pytest.raises(MissingColumnError) as caught:
        compile_slices([sf], SCHEMA)
    assert str(caught.value) == message


def test_ids_are_checked_against_the_tables_columns():
    with pytest.raises(SliceIdError) as caught:
        compile_slices([where("ID", "true")], SCHEMA, {"id": "key"})
    assert str(caught.value) == (
        "slice 'ID': the id 'ID' is the name of a key column; give the slice another id"
    )


def test_a_function_that_cannot_be_pickled():
    sf = SlicingFunction("s", lambda x, lock: lock.locked(), {"lock": threading.Lock()})
    with pytest.raises(UnpicklableSliceError) as caught:
        compile_slices([sf], SCHEMA)
    assert str(caught.value) == (
        "slice 's' cannot be sent to executors: TypeError: cannot pickle '_thread.lock' "
        "object; make its resources and globals picklable, or build them inside the function"
    )


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Four modules of the user's own, the first using the second, and so on."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine_d.py").write_text("LIMIT = 3\n")
    (tmp_path / "mine_c.py").write_text("import mine_d\n\nclass Rule:\n    limit = mine_d.LIMIT\n")
    (tmp_path / "mine_b.py").write_text(
        "import re\nfrom mine_c import Rule\n\ndef is_bad(word):\n    return Rule.limit > 1\n"
    )
    (tmp_path / "mine_a.py").write_text(
        "import pandas as pd\nfrom mine_b import is_bad\n\n"
        "def bad(x):\n    return any(is_bad(w) for w in x.text.split())\n"
    )
    yield importlib.import_module("mine_a")
    for name in "abcd":
        sys.modules.pop(f"mine_{name}", None)


def names(*sfs):
    return {m.__name__ for m in own_modules(sfs) if m.__name__.startswith("mine_")}


def test_the_users_own_modules_travel_installed_ones_do_not(mine):
    sf = SlicingFunction("s", mine.bad)
    assert {m.__name__ for m in own_modules([sf])} == {"mine_a", "mine_b", "mine_c", "mine_d"}


def test_wherever_a_function_refers_to_them(mine):
    import mine_c

    everything = {"mine_c", "mine_d"}
    rule = mine_c.Rule()
    assert names(SlicingFunction("s", len, {"rule": rule})) == everything
    assert names(SlicingFunction("s", len, {"rules": [{"one": mine_c.Rule}]})) == everything
    assert names(SlicingFunction("s", lambda x: rule)) == everything
    assert names(SlicingFunction("s", lambda x: [rule for _ in x])) == everything
    assert names(SlicingFunction("s", functools.partial(len, rule))) == everything
    assert names(SlicingFunction("s", len, pre=[preprocessor()(lambda x: rule)])) == everything
    assert (
        names(SlicingFunction("s", len, {"sf": SlicingFunction("t", lambda x: rule)})) == everything
    )
    assert names(SlicingFunction("s", len)) == set()


def test_a_script_and_its_modules_run_where_their_files_are_not(tmp_path, mine):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from pyspark import cloudpickle
            from engine import SlicingFunction
            from engine.compile.ship import check_picklable
            from mine_b import is_bad

            def bad(x):
                return any(is_bad(w) for w in x.text.split())

            sf = SlicingFunction("s", bad)
            check_picklable([sf])
            sys.stdout.buffer.write(cloudpickle.dumps(sf))
            """
        )
    )
    pickled = subprocess.run(
        [sys.executable, str(script)], capture_output=True, check=True, cwd=tmp_path
    ).stdout
    code = """
    import sys
    from types import SimpleNamespace
    from pyspark import cloudpickle
    sf = cloudpickle.loads(sys.stdin.buffer.read())
    print(sf(SimpleNamespace(text="a b")))
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        input=pickled, capture_output=True, check=True, cwd=elsewhere,
    )  # fmt: skip
    assert ran.stdout == b"True\n"


def test_plans_pickle_and_come_back():
    assert cloudpickle.loads(cloudpickle.dumps(short)).name == "short"


# What comes back from executors.


def test_rates_over_the_budget():
    counts = FaultCounts(100, {"a": 5, "b": 1, "c": 0})
    assert counts.over(0.0) == [("a", 5, 100), ("b", 1, 100)]
    assert counts.over(0.01) == [("a", 5, 100)]
    assert counts.over(0.05) == []
    assert FaultCounts(0, {"a": 0}).over(0.0) == []


def test_what_was_observed_is_counted_and_the_first_few_kept():
    def example(key, slice_id):
        fault = f'{{"slice":"{slice_id}","read":"n=0","cause":"oops","example":true}}'
        return f'{{"key":"id={key}","faults":[{fault}]}}'

    batches = ['{"a": 2}', '{"a": 3}']
    observed = {"rows": 9, "batches": batches, "examples": [example(k, "a") for k in "dcbea"]}
    sfs = [SlicingFunction("A slice", len, id="a"), SlicingFunction("b", len)]
    counts = fault_counts(observed, sfs)
    assert (counts.rows, counts.faults) == (9, {"a": 5, "b": 0})
    assert counts.examples == tuple(f"'A slice' on row id={k} having n=0: oops" for k in "abc")


FAULT = (
    "[USER_RAISED_EXCEPTION] SLICE_FAULT {"
    '"key":"id=7","fault":{"slice":"s","read":"n=0","cause":"oops","example":true}}'
    " SQLSTATE: P0001"
)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (
            FAULT,
            SliceFaultError,
            "slice 'A slice' failed on row id=7 having n=0: oops; fix the function, or set "
            'on_error: "null" to leave such rows undecided and count them',
        ),
        (
            "Job aborted.\n  ModuleNotFoundError: No module named 'words'\n",
            ExecutorImportError,
            "Spark's executors cannot import 'words': pass the zip of `make dist` with --py-files "
            "for the engine, and install what slicing functions import on every worker",
        ),
        (
            "[CAST_INVALID_INPUT] The value 'x' cannot be cast to INT. SQLSTATE: 22018\n"
            "== SQL (line 1, position 1) ==\ncast(text as int) > 1\n^^^\n",
            PredicateError,
            "slice 'q': the predicate 'cast(text as int) > 1' failed on a row: "
            "[CAST_INVALID_INPUT] The value 'x' cannot be cast to INT.",
        ),
    ],
)
def test_what_spark_raises_is_explained(text, kind, message):
    sfs = [SlicingFunction("A slice", len, id="s"), where("q", "cast(text as int) > 1")]
    with pytest.raises(kind) as caught, explained(sfs):
        raise RuntimeError(text)
    assert str(caught.value) == message


def test_what_is_not_a_slices_fault_is_raised_as_it_is():
    with pytest.raises(RuntimeError, match=r"^disk full$"), explained([short]):
        raise RuntimeError("disk full")
