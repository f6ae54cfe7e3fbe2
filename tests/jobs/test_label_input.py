"""Bad input: every sentence in full, and nothing is written."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

ROWS = [(1, "a", "train"), (2, "b", "test")]
SCHEMA = "id int, text string, split string"
SHORT = {"name": "short", "where": "length(text) < 3"}


def refused(bench, *arguments: str, **settings) -> str:
    project = bench.project(**{"slices": [SHORT], **settings})
    error = bench.run("label_slices", project, *arguments).error
    assert not Path(bench.place("masks")).exists()
    return error


def function(bench, body: str) -> dict[str, list[str]]:
    return {"sf_modules": [bench.module(f"@slicing_function()\n{body}\n")], "slices": []}


def test_a_column_that_is_not_there(bench):
    source = bench.rows(ROWS, SCHEMA)
    row = function(bench, "def f(x):\n    return x.txet")
    assert refused(bench, **row) == "slice 'f': there is no column 'txet'; did you mean 'text'?"
    item = function(bench, "def f(x):\n    return x['zzz']")
    assert refused(bench, **item) == ("slice 'f': there is no column 'zzz'; known: id, split, text")
    series = function(bench, "def f(texts: pd.Series):\n    return texts == ''")
    assert refused(bench, **series) == "slice 'f': there is no column 'texts'; did you mean 'text'?"
    sql = {"slices": [{"name": "f", "where": "length(txt) > 3"}]}
    assert refused(bench, **sql) == (
        "slice 'f': the predicate 'length(txt) > 3' names no column of the table: 'txt'; did you "
        "mean 'text'?"
    )
    column = function(
        bench, "def f():\n    from pyspark.sql import functions as F\n    return F.col('txt') > ''"
    )
    assert refused(bench, **column) == (
        "slice 'f': the predicate 'f' names no column of the table: 'txt'; did you mean 'text'?"
    )
    for setting, role in {
        "key": "key", "split": "split", "carry": "carried", "partition_by": "partition",
    }.items():  # fmt: skip
        value = "idd" if setting in ("key", "split") else ["idd"]
        assert refused(bench, **{setting: value}) == (
            f"{role} of {source}: there is no column 'idd'; did you mean 'id'?"
        )


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("length(text)", "is int, not boolean"),
        ("length(text) >", "is not SQL: syntax error at or near end of input"),
        ("max(id) = 1", "calls max(), which is of many rows, and a predicate is of one"),
        (
            "no_such(text)",
            "calls no_such(), which isn't one of Spark's functions that predicates may call; "
            "allow_sql_functions: [no_such] allows a function of your own",
        ),
        ("user = 'x'", "names no column of the table: 'user'"),
        ("text IN (SELECT text FROM json.`/etc/passwd`)", "has a subquery, and may look at its"),
    ],
)
def test_a_predicate_that_is_none(bench, where, said):
    bench.rows(ROWS, SCHEMA)
    error = refused(bench, slices=[{"name": "f", "where": where}])
    assert error.startswith(f"slice 'f': the predicate {where!r} {said}")
    assert "\n" not in error


def test_a_column_function_that_returns_no_predicate(bench):
    bench.rows(ROWS, SCHEMA)
    text = function(bench, "def f():\n    return 'text'")
    assert refused(bench, **text) == (
        "slice 'f': the predicate 'f' can't be used: it returned 'text' (str), not a Spark Column"
    )
    number = function(
        bench, "def f():\n    from pyspark.sql import functions as F\n    return F.length('text')"
    )
    assert refused(bench, **number) == "slice 'f': the predicate 'f' is int, not boolean"


def test_a_null_key(bench):
    source = bench.rows([(1, "a", "x"), (None, "b", "x"), (None, "c", "x")], SCHEMA)
    said = f"key column 'id' of {source} is null on 2 of 3 rows; every row needs a key"
    assert refused(bench) == said
    assert refused(bench, check_key="off") == said


def test_a_key_that_is_not_unique(bench):
    rows = [(k, "a", s) for k in range(9) for s in ("x", "y") if k > 3 or s == "x"]
    source = bench.rows(rows, SCHEMA)
    assert refused(bench) == (
        f"the key (id) of {source} is not unique: 5 keys name more than one row, the first are "
        "id=4 (2 rows); id=5 (2 rows); id=6 (2 rows)"
    )
    twice = [*rows, (8, "b", "y")]
    source = bench.rows(twice, SCHEMA)
    assert refused(bench, key=["split", "id"]) == (
        f"the key (split, id) of {source} is not unique: 1 keys name more than one row, the first "
        "are split='y', id=8 (2 rows)"
    )
    bench.done("label_slices", bench.project(slices=[SHORT], check_key="off"))


def test_a_key_that_cannot_be_one(bench):
    bench.rows([(1.5, "a", "x")], "id double, text string, split string")
    assert refused(bench) == (
        "key column 'id' is double, which can't be a key: use a string, integer, boolean, date, "
        "timestamp or DECIMAL(p,0), or cast it in the source"
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["ID"], "slice 'ID': the id 'ID' is the name of a key column; give the slice another id"),
        (["Split"], "slice 'Split': the id 'Split' is the name of a split column; "),
        (["region"], "slice 'region': the id 'region' is the name of a carried column; "),
        (["day"], "slice 'day': the id 'day' is the name of a partition column; "),
        (["base"], "slice 'base': the id 'base' is reserved; give the slice another id"),
        (["Overall"], "slice 'Overall': the id 'Overall' is reserved; give the slice another id"),
        (["other"], "slice 'other': the id 'other' is reserved; give the slice another id"),
        (
            ["a b", "A_B"],
            "slices 'a b' and 'A_B' have the same id 'A_B' (ids are compared ignoring case); give "
            "one of them another id",
        ),
    ],
)
def test_ids_that_collide(bench, names, said):
    rows = [(1, "a", "train", "eu", "mon")]
    bench.rows(rows, "id int, text string, split string, region string, day string")
    settings = {"split": "split", "carry": ["region"], "partition_by": ["day"]}
    slices = [{"name": name, "where": "id > 0"} for name in names]
    assert refused(bench, slices=slices, **settings).startswith(said)


def test_ids_that_are_no_identifiers(bench):
    bench.rows(ROWS, SCHEMA)
    for bad in ("a-b", "1a", "", " ", "é", "x" * 65):
        assert refused(bench, slices=[{"name": "n", "id": bad, "where": "id > 0"}]) == (
            f"slice 'n': the id {bad!r} is not an identifier of at most 64 letters, digits and "
            "underscores; give the slice another id"
        )


def test_a_slice_may_be_named_like_a_column_that_the_table_does_not_keep(bench):
    bench.rows(ROWS, SCHEMA)
    project = bench.project(
        slices=[{"name": "text", "where": "text = 'a'"}, {"name": "_slices", "where": "id = 1"}],
        **{"sf_modules": function(bench, "def label(x):\n    return x.id == 2")["sf_modules"]},
    )
    bench.done("label_slices", project)
    assert bench.masks() == {
        1: {"label": False, "text": True, "_slices": True},
        2: {"label": True, "text": False, "_slices": False},
    }


def test_a_table_without_rows(bench):
    source = bench.rows([], SCHEMA)
    assert refused(bench) == f"{source} has no rows; nothing was written"


def test_a_column_without_values(bench):
    source = bench.rows([(1, None, "x"), (2, None, "x")], SCHEMA)
    body = "def f(x):\n    return x.text == ''\n@slicing_function()\ndef g(text: pd.Series):\n"
    assert refused(bench, **function(bench, body + "    return text == ''")) == (
        f"column 'text' of {source} is null on all 2 rows, and is read by slice 'f', slice 'g'; "
        "check the source, or leave them out"
    )


def test_sources_that_cannot_be_read(bench):
    folder = bench.folder / "files"
    folder.mkdir()
    (folder / "rows.txt").write_text("a")
    (folder / "rows.csv").write_text("id\n1\n")
    nowhere = str(bench.folder / "nowhere")

    assert refused(bench, source={"table": nowhere}) == (
        f"source {nowhere} can't be read: [PATH_NOT_FOUND] Path does not exist: file:{nowhere}."
    )
    (folder / "rows.csv").rename(folder / "rows.log")
    assert refused(bench, source={"table": str(folder)}) == (
        f"source {folder} can't be read: its format can't be told from its files; set source.format"
    )
    assert refused(bench, source={"table": "db.nowhere"}).startswith(
        "source db.nowhere can't be read: [TABLE_OR_VIEW_NOT_FOUND] The table or view "
        "`db`.`nowhere` cannot be found."
    )
    assert refused(bench, source={"table": nowhere, "format": "delta"}).startswith(
        f"source {nowhere} can't be read: "
    )


def test_partitions_that_cannot_be_chosen(bench):
    bench.rows(ROWS, SCHEMA)
    assert refused(bench, "--where", "split = 'test'") == (
        "where=\"split = 'test'\" can't choose partitions: the project has no partition_by"
    )
    by = {"partition_by": ["split"]}
    assert refused(bench, "--where", "text = 'a'", **by).startswith(
        "where=\"text = 'a'\" can't choose partitions: it may name split only: "
        "[UNRESOLVED_COLUMN.WITH_SUGGESTION]"
    )
    assert refused(bench, "--where", "split =", **by).startswith(
        "where='split =' can't choose partitions: it is not SQL: syntax error at or near end "
        "of input"
    )
    for where, why in (
        ("split >= concat(current_user(), now())", "calls current_user(), which depends on who"),
        ("rand() < 2", "calls rand(), which answers otherwise each time"),
        ("split IN (SELECT 'x')", "has a subquery, and may look at its own row only"),
        ("split = 'x'; DROP TABLE t", "has a semicolon, and must be one expression"),
    ):
        assert refused(bench, "--where", where, **by).startswith(
            f"where={where!r} can't choose partitions: it {why}"
        )
    source = bench.source
    today = refused(bench, "--where", "split = string(current_date())", run_date="2024-05-01", **by)
    assert today == (
        f"{source} has no rows where `split` = string(CAST('2024-05-01' AS DATE)); nothing was "
        "written"
    )
    assert refused(bench, "--where", "split = 'none'", **by) == (
        f"{source} has no rows where split = 'none'; nothing was written"
    )


def test_modules_that_cannot_be_used(bench):
    bench.rows(ROWS, SCHEMA)
    assert refused(bench, sf_modules=["no_such_module"]) == (
        "the module 'no_such_module' can't be imported: ModuleNotFoundError: No module "
        "named 'no_such_module'"
    )
    broken = bench.module("def f(:\n")
    assert refused(bench, sf_modules=[broken]) == (
        f"the module {broken!r} can't be imported: SyntaxError: invalid syntax ({broken}:3)"
    )
    empty = bench.module("x = 1\n")
    assert refused(bench, sf_modules=[empty]) == (
        f"{empty!r} has no slicing function; write one with @slicing_function() at the top level "
        "of the module"
    )
    assert refused(bench, slices=[]) == "bench: there is no slice: give sf_modules, slices or by"


def test_a_function_that_cannot_travel(bench):
    bench.rows(ROWS, SCHEMA)
    module = bench.module(
        "import threading\nlock = threading.Lock()\n"
        "@slicing_function()\ndef f(x):\n    with lock:\n        return x.text == ''\n"
    )
    assert refused(bench, sf_modules=[module], slices=[]) == (
        "slice 'f' cannot be sent to executors: TypeError: cannot pickle '_thread.lock' object; "
        "make its resources and globals picklable, or build them inside the function"
    )


def test_what_is_there_is_not_overwritten_by_a_table(bench):
    """A folder of somebody else's files is neither taken for a table nor removed."""
    bench.rows(ROWS, SCHEMA)
    precious = Path(bench.place("masks")) / "notes.txt"
    precious.parent.mkdir(parents=True)
    precious.write_text("precious")
    failing = function(bench, "def f(x):\n    return 1 / 0")
    error = bench.run("label_slices", bench.project(**failing)).error
    assert error == (
        f"{precious.parent} holds files that are no Delta table, so none is written there: give "
        "another place, or remove it"
    )
    assert precious.read_text() == "precious"


def test_the_runs_date_decides_a_slice_that_asks_for_it(bench):
    rows = [(1, dt.date(2024, 4, 30)), (2, dt.date(2024, 5, 1))]
    bench.rows(rows, "id int, day date")
    module = bench.module(
        "from engine import where\npast = where('past', 'day < date(now())')\nnot_past = ~past\n"
    )
    settings = {
        "slices": [
            {"name": "late", "where": "day >= current_date"},
            {"name": "one", "where": "id=1"},
        ],
        "sf_modules": [module],
    }
    project = bench.project(run_date="2024-05-01", **settings)
    bench.done("label_slices", project)
    assert bench.masks() == {
        1: {"late": False, "one": True, "past": True, "not_past": False},
        2: {"late": True, "one": False, "past": False, "not_past": True},
    }
    assert "unchanged" in bench.done("label_slices", project)
    out = bench.done("label_slices", project, "run_date=2024-05-02")
    assert "is brought up to date, for this changed: run date, slices (late, not_past, past)" in out
    assert bench.masks()[2] == {"late": False, "one": False, "past": True, "not_past": False}


def test_a_function_of_ones_own_is_allowed_by_name(bench):
    bench.rows(ROWS, SCHEMA)
    bench.spark.udf.register("shouts", lambda text: text == text.upper(), "boolean")
    slices = [{"name": "loud", "where": "shouts(text)"}]
    assert "allow_sql_functions: [shouts]" in refused(bench, slices=slices)
    assert refused(bench, allow_sql_functions=["reflect"]).endswith(
        "project.yaml: allow_sql_functions: 'reflect' can't be allowed: it runs Java code"
    )
    bench.done("label_slices", bench.project(slices=slices, allow_sql_functions=["shouts"]))
    assert bench.masks()[1]["loud"] is False
