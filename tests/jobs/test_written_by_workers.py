"""Mask tables that workers write are those that Spark writes, night after night."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from engine.storage import tables

SLICES = """
@slicing_function()
def even(x):
    return x.id % 2 == 0 if x.id % 11 else None

@slicing_function()
def edited(x):
    return len(x.text) {edit}

@slicing_function()
def raises(x):
    return 10 / (x.id % 50) > {limit}
"""
ROWS = [(i, f"text {i}" if i % 7 else None, i % 3 == 0) for i in range(400)]


def nights(bench, layout):
    """Label, edit a function, let rows come; return what the table was each time, and its files."""
    bench.rows(ROWS[:300], "id long, text string, known boolean")
    module = bench.module("")
    settings = {"sf_modules": [module], "carry": ["known", "text"], "layout": layout, "verify": 0.3,
                "tier": "arrow", "on_error": "null", "max_error_rate": 1.0,
                "slices": [{"name": "both", "where": "even & edited"}]}  # fmt: skip
    project, states = bench.project(**settings), []
    later = (("> 7", 1, []), ("> 7", 1, ROWS[300:]), ("< 6", 2, []))
    for edit, limit, more in (("> 6", 1, []), *later):
        Path(bench.folder, module).write_text(
            "from engine import slicing_function\n" + SLICES.format(edit=edit, limit=limit)
        )
        if more:
            df = bench.spark.createDataFrame(more, "id long, text string, known boolean")
            bench.write(df, bench.source, "append")
        bench.done("label_slices", project)
        df = bench.spark.read.format("delta").load(bench.place("masks"))
        coverage = bench.spark.read.format("delta").load(bench.place("coverage"))
        counted = coverage.drop("mask_version", "run_ts", "mask_identity", "source_table")
        faults = [r.faults for r in bench.spark.read.format("delta").load(bench.place("runs"))
                  .where("state = 'accepted'").orderBy("ended").collect()]  # fmt: skip
        columns = [(f.name, f.dataType, f.metadata) for f in df.schema]
        counts = sorted(map(str, counted.collect()))
        states.append((df.orderBy("id").collect(), columns, counts, faults))
    return states, {p.name[:5] for p in Path(bench.place("masks")).glob("*.parquet")}


@pytest.mark.parametrize("layout", ["boolean", "packed"])
def test_the_same_tables(bench, tmp_path, layout):
    other = replace(bench, folder=tmp_path / "spark")
    other.folder.mkdir()
    ours, own = nights(bench, layout)
    with mock.patch.object(tables, "form_of_own", return_value=None):
        theirs, files = nights(other, layout)
    assert len(own - {"part-"}) == 3  # all nights but that of rows that came, which Spark reads
    assert files == {"part-"}
    for night, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert a == b, night
    assert len(ours[-1][0]) == 400
    assert ours[-1][3][0]["raises"] == 6  # of 300 rows, by zero


def test_a_fault_that_stops_the_run_leaves_nothing(bench):
    bench.rows(ROWS, "id long, text string, known boolean")
    module = bench.module(SLICES.format(edit="> 6", limit=1))
    ran = bench.run("label_slices", bench.project(sf_modules=[module], tier="arrow"))
    assert ran.error.startswith("slice 'raises' failed on row id=")
    assert "ZeroDivisionError: division by zero" in ran.error
    assert not Path(bench.place("masks")).exists()


def test_over_the_budget_the_table_is_as_it_was(bench):
    bench.rows(ROWS, "id long, text string, known boolean")
    module = bench.module(SLICES.format(edit="> 6", limit=1))
    settings = {"sf_modules": [module], "tier": "arrow", "on_error": "null"}
    error = bench.run("label_slices", bench.project(**settings, max_error_rate=0.01)).error
    assert "'raises' on 8 of 400 rows" in error
    assert not Path(bench.place("masks")).exists()
