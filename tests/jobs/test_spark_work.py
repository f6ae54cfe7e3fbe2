"""How many Spark jobs the jobs run beside Delta's own, and how often they read rows."""

from __future__ import annotations

import pytest

from tests.jobs.spark_work import spark_work

N = 300
SCHEMA = "id int, text string, label int, part string"
ROWS = [(i, f"text {i}" if i % 7 else "no", i % 2, "test" if i % 3 else "train") for i in range(N)]
SLICES = (
    "@slicing_function()\ndef short(x):\n    return len(x.text) < 6\n"
    "@slicing_function()\ndef odd(x):\n    return x.id % 2 == 1\n"
)
GIVEN = "id int, pred int, label int, prob array<double>, weight double"


@pytest.fixture
def settings(bench):
    bench.rows(ROWS, SCHEMA)
    for name, wrong in (("base", 5), ("next", 9)):
        rows = [(i, y if i % wrong else 1 - y, y, [0.6, 0.4], None) for i, _, y, _ in ROWS]
        bench.write(bench.spark.createDataFrame(rows, GIVEN), bench.place(f"given_{name}"))
    return {
        "split": "part", "label": "label", "verify": 0.001,
        "sf_modules": [bench.module(SLICES)],
        "slices": [{"name": "no", "where": "text = 'no'"}],
        "metrics": ["accuracy", "f1"],
        "audit": {"worst_rows": 3, "flips": 3, "columns": ["text"]},
        "predictions": {"base": {"table": bench.place("given_base")}},
    }  # fmt: skip


def test_labelling(bench, spark, settings):
    project = bench.project(**settings)
    with spark_work(spark) as first:
        bench.done("label_slices", project)
    assert len(first.ours) <= 10, first  # three write the table of runs, which is new
    assert first.scans_of("source") <= 2, first
    assert first.scans_of("masks") <= 1, first
    with spark_work(spark) as again:
        bench.done("label_slices", project)
    assert len(again.ours) <= 4, again  # one reads the table of runs, one writes it
    assert again.scans_of("source") == again.scans_of("masks") == 0, again


def test_evaluating(bench, spark, settings):
    project = bench.project(**settings)
    bench.done("label_slices", project)
    with spark_work(spark) as first:
        bench.done("evaluate_slices", project)
    assert len(first.ours) <= 13, first  # three are of the table of runs
    assert first.scans_of("masks") <= 2, first
    assert first.scans_of("given_base") <= 2, first
    assert first.scans_of("source") <= 1, first  # the text of rows that are shown
    with spark_work(spark) as again:
        bench.done("evaluate_slices", project)
    assert len(again.ours) <= 3, again
    assert again.scans_of("masks") == again.scans_of("given_base") == 0, again
    some = {"train_split": "train", "evaluate_splits": ["test"]}
    with spark_work(spark) as of_one_split:
        bench.done("evaluate_slices", bench.project(**settings, **some))
    assert len(of_one_split.ours) <= 14, of_one_split  # one looks whether the run is known
    assert of_one_split.scans_of("masks") <= 2, of_one_split
    two = {**settings["predictions"], "next": {"table": bench.place("given_next")}}
    with spark_work(spark) as compared:
        bench.done("evaluate_slices", bench.project(**{**settings, "predictions": two}))
    assert len(compared.ours) <= 16, compared
    assert compared.scans_of("masks") <= 2, compared
    assert max(compared.scans_of("given_base"), compared.scans_of("given_next")) <= 2, compared
