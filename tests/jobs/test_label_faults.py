"""Faults: a run stops with the slice, the row, the value and the cause, or counts to a budget."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

ROWS = [(1, "7", 1.0), (2, "x", 2.0), (3, None, 3.0), (4, "9", None), (5, "y", 5.0)]
SCHEMA = "id int, text string, d double"

NUMBER = """
@slicing_function()
def seven(x):
    return int(x.text) == 7
"""


def line_of(bench, module: str, code: str) -> int:
    lines = (bench.folder / module).read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if code in line)


def leftovers(bench) -> list[str]:
    out = Path(bench.place(""))
    # The table of runs says that the run failed, and why.
    return sorted(p.name for p in out.iterdir() if p.name != "runs") if out.exists() else []


def test_a_fault_stops_the_run_and_leaves_nothing(bench):
    bench.rows(ROWS, SCHEMA)
    module = bench.module(NUMBER)
    error = bench.run("label_slices", bench.project(sf_modules=[module])).error
    assert error == (
        "slice 'seven' failed on row id=2 having text='x': ValueError: invalid literal for int() "
        f"with base 10: 'x' ({module}:{line_of(bench, module, 'int(x.text)')}); fix the function, "
        'or set on_error: "null" to leave such rows undecided and count them'
    )
    assert leftovers(bench) == []


def test_a_fault_leaves_the_table_before_as_it_was(bench):
    bench.rows(ROWS, SCHEMA)
    bench.done("label_slices", bench.project(slices=[{"name": "long", "where": "d > 2"}]))
    before, masks = bench.versions(), bench.masks()
    broken = bench.project(sf_modules=[bench.module(NUMBER)])
    assert "slice 'seven' failed on row id=2" in bench.run("label_slices", broken).error
    assert bench.versions() == before == {"masks": 0, "slices": 0, "coverage": 0}
    assert bench.masks() == masks


def test_nulls_that_a_function_read_are_no_fault(bench):
    bench.rows([(1, "7", 1.0), (2, None, None)], SCHEMA)
    module = bench.module(
        NUMBER
        + """
@slicing_function()
def by_value(x):
    return x["d"] + 1 > 0 and len(x["text"]) > 0

@preprocessor()
def with_length(x):
    x.n = len(x.text)
    return x

@slicing_function(pre=[with_length])
def prepared(x):
    return x.n == 1

@slicing_function()
def vectorised(text: pd.Series):
    return text.map(lambda t: len(t) == 1)
"""
    )
    bench.done("label_slices", bench.project(sf_modules=[module]))
    slices = ("seven", "by_value", "prepared", "vectorised")
    assert bench.masks() == {1: dict.fromkeys(slices, True), 2: dict.fromkeys(slices)}


def test_a_function_that_returns_text_stops_the_run(bench):
    bench.rows([(1, "x", None)], SCHEMA)  # that an unread column is null excuses nothing
    module = bench.module("@slicing_function()\ndef same(x):\n    return x.text\n")
    error = bench.run("label_slices", bench.project(sf_modules=[module])).error
    assert error == (
        "slice 'same' failed on row id=1 having text='x': it returned 'x' (str), not True, False "
        'or None; fix the function, or set on_error: "null" to leave such rows undecided and '
        "count them"
    )


def test_functions_that_return_no_mask(bench, caplog):
    bench.rows([(1, "7", 1.0)], SCHEMA)
    returned = {
        "x.text": "'7' (str), not True, False or None",
        "'z' * 100": f"'{'z' * 56}... (str), not True, False or None",
        "2": "2 (int), not True, False or None",
        "0.5": "0.5 (float), not True, False or None",
        "[True]": "[True] (list), not True, False or None",
    }
    series = {
        "text": "'7' (str), not True, False or None",
        "True": "True (bool), not a boolean Series",
        "pd.Series([True] * 9)": "9 values for 1 rows",
    }
    functions = [f"def row_{i}(x):\n    x.text\n    return {r}" for i, r in enumerate(returned)]
    functions += [f"def s_{i}(text: pd.Series):\n    return {r}" for i, r in enumerate(series)]
    module = bench.module("\n".join(f"@slicing_function()\n{f}" for f in functions))
    project = bench.project(sf_modules=[module], on_error="null", max_error_rate=1.0)
    bench.done("label_slices", project)
    names = [f"row_{i}" for i in range(len(returned))] + [f"s_{i}" for i in range(len(series))]
    expected = [
        f"  {name!r} on row id=1 having text='7': it returned {said}"
        for name, said in zip(names, [*returned.values(), *series.values()], strict=True)
    ]
    shown = [r.getMessage() for r in caplog.records if " on row " in r.getMessage()]
    assert shown == expected
    assert bench.masks() == {1: dict.fromkeys(names)}


def test_the_row_is_named_by_all_its_key(bench):
    rows = [("2024-05-01", 1, "7"), ("2024-05-02", 1, "x")]
    bench.rows(rows, "ds string, id int, text string", by=["ds"])
    project = bench.project(sf_modules=[bench.module(NUMBER)], partition_by=["ds"])
    error = bench.run("label_slices", project).error
    assert error.startswith("slice 'seven' failed on row ds=2024-05-02, id=1 having text='x': ")


def test_a_predicate_that_fails_on_a_value_is_named(bench):
    bench.rows(ROWS, SCHEMA)
    slices = [{"name": "is seven", "where": "int(text) = 7"}, {"name": "fine", "where": "d > 1"}]
    error = bench.run("label_slices", bench.project(slices=slices)).error
    assert error == (
        "slice 'is seven': the predicate 'int(text) = 7' failed on a row: [CAST_INVALID_INPUT] "
        'The value \'x\' of the type "STRING" cannot be cast to "INT" because it is malformed. '
        "Correct the value as per the syntax, or change its target type. Use `try_cast` to "
        "tolerate malformed input and return NULL instead."
    )
    assert leftovers(bench) == []


def test_a_predicate_of_several_lines_that_fails_is_named(bench):
    bench.rows(ROWS, SCHEMA)
    slices = [{"name": "seven", "where": "d > 0\n  and\n  int(text) = 7"}]
    error = bench.run("label_slices", bench.project(slices=slices)).error
    assert error.startswith("slice 'seven': the predicate 'd > 0\\n  and\\n  int(text) = 7' failed")


def test_a_column_function_that_fails_on_a_value_is_named(bench):
    bench.rows(ROWS, SCHEMA)
    module = bench.module(
        "from pyspark.sql import functions as F\n"
        "@slicing_function()\ndef fine():\n    return F.col('d') > 1\n"
        "@slicing_function()\ndef seven():\n    return F.col('text').cast('int') == 7\n"
    )
    error = bench.run("label_slices", bench.project(sf_modules=[module])).error
    assert error.startswith(
        "slice 'seven': the predicate 'seven' failed on a row: [CAST_INVALID_INPUT] The value 'x'"
    )
    assert leftovers(bench) == []


def test_faults_within_the_budget_are_counted_and_shown(bench, caplog):
    bench.rows(ROWS, SCHEMA)
    module = bench.module(NUMBER)
    project = bench.project(sf_modules=[module], on_error="null", max_error_rate=0.4)
    with caplog.at_level(logging.INFO, "engine"):
        bench.done("label_slices", project)
    masks = {k: row["seven"] for k, row in bench.masks().items()}
    assert masks == {1: True, 2: None, 3: None, 4: False, 5: None}
    place = f"({module}:{line_of(bench, module, 'int(x.text)')})"
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warned == [
        "slice 'seven' failed on 2 of 5 rows",
        "  'seven' on row id=2 having text='x': ValueError: invalid literal for int() with base "
        f"10: 'x' {place}",
        "  'seven' on row id=5 having text='y': ValueError: invalid literal for int() with base "
        f"10: 'y' {place}",
    ]


def test_only_the_first_few_faults_of_a_slice_are_shown(bench, caplog):
    bench.rows([(k, "x", 1.0) for k in range(50)], SCHEMA)
    module = bench.module(NUMBER + "\n@slicing_function()\ndef second(x):\n    return x.d / 0\n")
    project = bench.project(sf_modules=[module], on_error="null", max_error_rate=1.0)
    with caplog.at_level(logging.INFO, "engine"):
        bench.done("label_slices", project)
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warned[:2] == [
        "slice 'seven' failed on 50 of 50 rows",
        "slice 'second' failed on 50 of 50 rows",
    ]
    assert [w.split()[0] for w in warned[2:]] == ["'seven'", "'second'"] * 3
    assert "ZeroDivisionError: float division by zero" in warned[3]


def test_over_the_budget_a_first_table_is_dropped(bench):
    bench.rows(ROWS, SCHEMA)
    module = bench.module(NUMBER)
    project = bench.project(sf_modules=[module], on_error="null", max_error_rate=0.39)
    error = bench.run("label_slices", project).error
    place = f"({module}:{line_of(bench, module, 'int(x.text)')})"
    assert error == (
        "more slicing functions failed than max_error_rate=0.39 allows: 'seven' on 2 of 5 rows; "
        f"{bench.place('masks')}, which this run had made, was dropped. For example: 'seven' on "
        f"row id=2 having text='x': ValueError: invalid literal for int() with base 10: 'x' "
        f"{place}; 'seven' on row id=5 having text='y': ValueError: invalid literal for int() "
        f"with base 10: 'y' {place}."
    )
    assert leftovers(bench) == []


def test_over_the_budget_a_table_is_restored(bench):
    bench.rows(ROWS, SCHEMA)
    fine = bench.project(slices=[{"name": "long", "where": "d > 2"}])
    bench.done("label_slices", fine)
    masks, catalogue = bench.masks(), bench.read(bench.place("slices"))
    covered = bench.read(bench.place("coverage"))
    broken = bench.project(sf_modules=[bench.module(NUMBER)], on_error="null")
    error = bench.run("label_slices", broken).error
    assert "max_error_rate=0 allows: 'seven' on 2 of 5 rows; " in error
    assert f"{bench.place('masks')} was restored to version 0. For example: " in error
    assert bench.masks() == masks
    assert bench.read(bench.place("slices")) == catalogue
    assert bench.read(bench.place("coverage")) == covered
    # What the restored rows are is known again, so the run that made them has nothing to do.
    bench.project(slices=[{"name": "long", "where": "d > 2"}])
    assert f"unchanged {bench.place('masks')} version 2" in bench.done("label_slices", fine)


def test_the_rate_is_per_slice_and_of_the_rows_evaluated(bench):
    rows = [("a", k, "x") for k in range(2)] + [("b", k, "7") for k in range(8)]
    bench.rows(rows, "ds string, id int, text string", by=["ds"])
    project = bench.project(
        sf_modules=[bench.module(NUMBER)], partition_by=["ds"], on_error="null", max_error_rate=0.2
    )
    bench.done("label_slices", project)
    before = bench.masks()
    error = bench.run("label_slices", project, "--where", "ds = 'a'").error
    assert "'seven' on 2 of 2 rows" in error
    assert bench.masks() == before


def test_a_slice_without_python_has_no_faults_to_count(bench):
    bench.rows(ROWS, SCHEMA)
    project = bench.project(slices=[{"name": "long", "where": "d > 2"}], on_error="null")
    bench.done("label_slices", project)
    assert {k: row["long"] for k, row in bench.masks().items()} == {
        1: False, 2: False, 3: True, 4: None, 5: True,
    }  # fmt: skip


def test_a_module_that_executors_lack_is_named(bench, monkeypatch):
    """A slice that needs a module which only the driver has."""
    import sys

    package = bench.folder / "site-packages"
    package.mkdir()
    (package / "only_here.py").write_text("def f(t):\n    return sorted(t) is not None\n")
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setattr("engine.run.ship._is_own", lambda module: False)
    bench.rows(ROWS, SCHEMA)
    module = bench.module(
        "import only_here\n@slicing_function()\ndef gone(x):\n    return only_here.f(x.text)\n"
    )
    error = bench.run("label_slices", bench.project(sf_modules=[module])).error
    name = module.removesuffix(".py")
    assert error in {
        f"Spark's executors cannot import {missing!r}: pass the zip of `make dist` with --py-files "
        "for the engine, and install what slicing functions import on every worker"
        for missing in ("only_here", name)
    }
    sys.modules.pop("only_here", None)


def test_the_python_interface_names_slice_and_row_too(spark):
    from pyspark.errors import PySparkException

    from engine import SparkSFApplier, evaluate, slicing_function, where
    from engine.errors import ArgumentError, SliceError, SliceFaultError

    @slicing_function()
    def seven(x):
        return int(x.text) == 7

    df = spark.createDataFrame(ROWS[:3], SCHEMA)
    with pytest.raises(PySparkException) as raised:
        SparkSFApplier([seven]).apply(df).collect()
    assert str(raised.value).startswith(
        "[USER_RAISED_EXCEPTION] slice 'seven' failed on row id=2 having text='x': ValueError: "
    )
    assert "\n" not in str(raised.value)
    with pytest.raises(SliceFaultError) as fault:
        evaluate(df.selectExpr("*", "1 label", "1 pred"), key="id", slices=[seven])
    assert str(fault.value).startswith("slice 'seven' failed on row id=2 having text='x': ")
    raising = where("raising", "raise_error('no such ' || text) IS NULL")
    with pytest.raises(SliceError) as wrong:
        evaluate(df.selectExpr("*", "1 label", "1 pred"), key="id", slices=[raising])
    assert "slice 'raising'" in str(wrong.value)
    assert "[USER_RAISED_EXCEPTION] no such " in str(wrong.value)
    stream = spark.readStream.format("rate").load().selectExpr("value id", "1 label", "1 pred")
    with pytest.raises(ArgumentError) as streaming:
        evaluate(stream, key="id", slices=[raising])
    assert str(streaming.value) == (
        "evaluate: masks must be a Spark DataFrame that is no stream, found a pyspark DataFrame; "
        "call it on each batch, in writeStream.foreachBatch"
    )


UNREADABLE = """
select id, case id when 2 then cast(unhex('61FF') as string) else 'ab' end text,
    case id when 3 then date'+12020-01-01' else date'2020-01-01' end day,
    concat(cast(unhex('FE') as string), id) place
from range(1, 5)
"""
READS = """
import datetime as dt

@slicing_function()
def is_ab(x):
    return x.text == "ab"

@slicing_function()
def early(x):
    return x.day < dt.date(2021, 1, 1)

@slicing_function()
def by_row(x):
    return "ab" in [x.text]

@slicing_function()
def first(x):
    return x.id == 1
"""


@pytest.mark.parametrize("tier", ["spark", "row"])
def test_values_that_python_cannot_hold_are_counted(bench, caplog, tier):
    """Such a value is a key, one is carried, others are read; what isn't read harms nothing."""
    bench.write(bench.spark.sql(UNREADABLE), bench.source)
    module = bench.module(READS)
    settings = {"sf_modules": [module], "key": ["place"], "carry": ["id", "day"], "tier": tier}
    project = bench.project(**settings, on_error="null", max_error_rate=0.5, verify=1.0)
    with caplog.at_level(logging.WARNING):
        bench.done("label_slices", project)
    shown = [r.getMessage() for r in caplog.records if " on row " in r.getMessage()]
    text, day = (
        f"the column {c!r} has {what} there, which Python can't read"
        for c, what in (
            ("text", "text that is not UTF-8"), ("day", "a date before the year 1 or after 9999")
        )
    )  # fmt: skip
    assert sorted(shown) == [
        f"  'by_row' on row place=\ufffd2 having text=X'61FF': {text}",
        f"  'early' on row place=\ufffd3 having day=+12020-01-01: {day}",
        f"  'is_ab' on row place=\ufffd2 having text=X'61FF': {text}",
    ]
    stored = bench.spark.read.format("delta").load(bench.place("masks"))
    masks = {r.id: r for r in stored.drop("day").collect()}
    assert [masks[i].is_ab for i in range(1, 5)] == [True, None, True, True]
    assert [masks[i].by_row for i in range(1, 5)] == [True, None, True, True]
    assert [masks[i].early for i in range(1, 5)] == [True, True, None, True]
    assert [masks[i].first for i in range(1, 5)] == [True, False, False, False]
    error = bench.run("label_slices", bench.project(**settings), "--force").error
    assert error.endswith(
        f"having text=X'61FF': {text}; fix the function, or set "
        'on_error: "null" to leave such rows undecided and count them'
    ) or error.endswith(
        f"having day=+12020-01-01: {day}; fix the function, or set "
        'on_error: "null" to leave such rows undecided and count them'
    )
