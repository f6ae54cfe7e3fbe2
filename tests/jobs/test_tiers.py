"""Tiers asked for in the project file, and the share of rows that is compared with Python."""

from __future__ import annotations

import ast

import pytest

from engine.lift import expressions
from engine.ops.operations import OPERATIONS

SCHEMA = "id int, text string, likes bigint"
ROWS = [(i, f"text {i}" if i % 3 else None, i) for i in range(60)]
SLICES = (
    "@slicing_function()\ndef loud(x):\n    return 'T' in x.text.upper() and x.likes % 2 == 0\n"
    "@slicing_function()\ndef liked(x):\n    return x.likes > 30\n"
)


def masks(bench, *arguments):
    out = bench.done("label_slices", bench.project(sf_modules=[bench.module(SLICES)]), *arguments)
    return out, bench.masks()


def test_every_tier_writes_the_same_table(bench):
    bench.rows(ROWS, SCHEMA)
    out, chosen = masks(bench)
    assert "Arrow columns" in out
    for tier, shown in (("row", "Python per row"), ("arrow", "Arrow columns")):
        out, found = masks(bench, "--force", f"tier={tier}")
        assert out.count(shown) == 2
        assert found == chosen
    out, found = masks(bench, "--force", "tiers={liked: spark, loud: row}")
    assert (out.count("Spark expression"), out.count("Python per row")) == (1, 1)
    assert found == chosen


def test_a_tier_that_would_answer_otherwise_is_refused(bench):
    bench.rows(ROWS, SCHEMA)
    project = bench.project(sf_modules=[bench.module(SLICES)])
    assert bench.run("label_slices", project, "tiers={loud: spark}").error == (
        "slice 'loud' can't run as 'Spark expression': Spark has no upper that is the same as "
        "Python's"
    )
    assert bench.run("label_slices", project, "tiers={lod: row}").error == (
        "there is no slice 'lod'; did you mean 'loud'?"
    )


PLACES = {"arrow": "Arrow columns", "spark": "Spark expression"}


@pytest.mark.parametrize("layout", ["boolean", "packed"])
@pytest.mark.parametrize("tier", PLACES)
def test_a_wrong_rule_stops_the_run_before_anything_is_written(
    bench, monkeypatch, caplog, tier, layout
):
    caplog.set_level("INFO", "engine")
    bench.rows(ROWS, SCHEMA)
    project = bench.project(sf_modules=[bench.module(SLICES)], layout=layout, on_error="null")
    ran = bench.run("label_slices", project, "verify=1.0", f"tier={tier}")
    assert ran.status == 0
    same = "2 compiled slices give what Python gives on a sample of 100% of the rows"
    assert any(same in message for message in caplog.messages)
    # The rule is planted where trees are made, which is on the driver.
    wrong = {**expressions._OPERATORS, ast.Gt: OPERATIONS["ge"]}
    monkeypatch.setattr(expressions, "_OPERATORS", wrong)
    error = bench.run(
        "label_slices", project, "verify=1.0", f"tier={tier}", f"root={bench.folder / 'other'}"
    ).error
    assert error == (
        f"slice 'liked' on row id=30: its compiled form ({PLACES[tier]}) says True, the Python "
        "function says False; nothing was written. Run it as Python (tiers: {liked: row}) and "
        "report this as a bug of the engine"
    )
    assert not (bench.folder / "other" / "masks").exists()
