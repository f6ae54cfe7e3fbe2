"""bisect_slice names the two runs between which a figure fell, and what changed between them."""

from __future__ import annotations

import re

import pytest

from engine.report.archive import Archive, read_archive
from engine.report.sections import Line, Section

SCHEMA = "id int, text string, y int, part string"
ROWS = [(i, "ab" if i % 2 else "abcdef", i % 2, "test") for i in range(200)]
GIVEN = "id int, pred int, label int"


@pytest.fixture
def project(bench, spark):
    bench.rows(ROWS, SCHEMA)
    settings = {
        "slices": [{"name": "short", "where": "length(text) < 3"}],
        "metrics": ["accuracy", "count"],
        "predictions": {"given": {"table": bench.place("given")}},
    }
    file = bench.project(**settings)
    bench.done("label_slices", file)
    for wrong in (7, 9, 2):  # every so many-th prediction is wrong
        rows = [(i, y if i % wrong else 1 - y, y) for i, _, y, _ in ROWS]
        bench.write(spark.createDataFrame(rows, GIVEN), bench.place("given"))
        bench.done("evaluate_slices", file)
    return file


def test_where_a_figure_fell(bench, project):
    out = bench.done("bisect_slice", project, "--slice", "overall", "--metric", "accuracy")
    assert "accuracy of overall, model given, split all, oldest first" in out
    sentence = out.strip().splitlines()[-1]
    assert re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "T", sentence) == (
        "accuracy of overall fell from 0.8850 to 0.5000 between the runs of T and T (their "
        "intervals don't meet). What changed: the predictions from version 1 to 2"
    )
    never = bench.done("bisect_slice", project, "--slice", "short", "--metric", "accuracy")
    assert never.strip().splitlines()[-1] == "accuracy of short never fell over 3 runs"
    count = bench.done("bisect_slice", project, "--slice", "short", "--metric", "count")
    assert count.strip().splitlines()[-1] == "of count neither high nor low values are better"


def test_a_figure_that_is_not_there(bench, project):
    wrong = bench.run("bisect_slice", project, "--slice", "shrt", "--metric", "accuracy")
    assert wrong.error == "'shrt' was not evaluated; did you mean 'short'?"
    wrong = bench.run("bisect_slice", project, "--slice", "short", "--metric", "f1")
    assert wrong.error == "'f1' was not evaluated; known: accuracy, count"


def test_sections_come_back_as_they_were():
    sections = [Section("A", ["n", "x"], [[1, 0.5], [None, Line((0.25, float("inf")))]], "note")]
    sections += [Section("B", ["n"], [[1]], "", True, "short")]
    archive = Archive("key", {"models": "m"}, sections)
    assert read_archive(archive.text) == archive
    assert read_archive(archive.text[:-9]) is None
    assert read_archive("[]") is None
    assert read_archive(archive.text.replace('"format": 2', '"format": 1')) is None
