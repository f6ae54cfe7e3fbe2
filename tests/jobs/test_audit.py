"""evaluate_slices around its figures: own metrics, rows, overlap, earlier runs, what it costs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from engine.project.job_tables import RowColumns
from engine.storage import tables
from tests.jobs.spark_work import spark_work
from tests.report.pages import data_of

N = 400
MASKS = "id int, video string, bad boolean, twin boolean, few boolean"
GIVEN = "id int, pred int, label int, prob array<double>"
METRICS = """
import numpy as np
from engine import metric

@metric(better="low")
class cost:
    def state(y_true, y_pred, y_prob, weight):
        return np.array([5 * (y_true > y_pred).sum() + (y_true < y_pred).sum(), len(y_true)])
    def merge(a, b):
        return a + b
    def compute(state):
        return state[0] / state[1]

@metric
def agreement(y_true, y_pred, y_prob, weight):
    return (y_true == y_pred).mean()
"""


def outputs(flip: int) -> list[Any]:
    """Right but for the first `flip` rows, and the less sure the lower the id."""
    rows = []
    for i in range(N):
        label = i % 2
        pred = 1 - label if i < flip else label
        sure = 0.99 - 0.4 * i / N
        rows.append((i, pred, label, [1 - sure, sure] if pred else [sure, 1 - sure]))
    return rows


@pytest.fixture
def write(bench):
    """Write masks, a source and two models' predictions; return the project's settings."""

    def made(**models: int) -> dict[str, Any]:
        from pyspark.sql import functions as F

        rows = [(i, f"v{i % 3}", i < 100, i < 99, i < 5) for i in range(N)]
        df = bench.spark.createDataFrame(rows, MASKS)
        for s in ("bad", "twin", "few"):
            about = {"slice": {"name": s, "fingerprint": s}}
            df = df.withColumn(s, F.col(s).alias(s, metadata=about))
        bench.write(df, bench.place("masks"))
        bench.rows([(i, f"comment {i}") for i in range(N)], "id int, text string")
        predictions = {}
        for name, flip in models.items():
            bench.write(
                bench.spark.createDataFrame(outputs(flip), GIVEN), bench.place(f"given_{name}")
            )
            predictions[name] = {"table": bench.place(f"given_{name}")}
        return {"predictions": predictions, "metrics": ["accuracy"]}

    return made


def test_rows_models_overlap_and_trend(bench, write):
    settings = write(base=80, next=20)
    audit = {"worst_rows": 2, "flips": 2, "columns": ["video", "text"]}
    project = bench.project(**settings, audit=audit)
    lines = bench.done("evaluate_slices", project).splitlines()

    def after(title: str, n: int = 6) -> list[list[str]]:
        at = next((i for i, line in enumerate(lines) if line.startswith(title)), None)
        assert at is not None, f"{title!r} is not in:\n" + "\n".join(lines)
        return [line.split() for line in lines[at : at + n] if line.strip()]

    flips = [row[1:6] for row in after("Rows that next alone", 8) if row[0] == "all"]
    assert flips[0] == ["overall", "400", "60", "0", "60"]
    assert ["bad", "100", "60", "0", "60"] in flips
    won = [r for r in after("Rows that next wins and loses against base: ", 8) if r[0] == "won"]
    assert len(won) == 2
    assert all(int(id_) < 80 and text == ["comment", id_] for _, id_, _, *_, text in
               [(r[0], r[1], r[2], r[-2:]) for r in won])  # fmt: skip
    # Of the rows that base has wrong, the surest are the worst.
    worst = after("Rows of the largest loss of base: bad, split all", 6)
    assert worst[1][:3] == ["id", "video", "label"]
    assert [row[0] for row in worst[3:5]] == ["0", "1"]
    assert worst[3][-2:] == ["comment", "0"]
    assert after("Slices that are nearly the same")[3][:5] == ["bad", "twin", "100", "99", "99"]
    assert "300 of 400 rows (75.0%) are in no slice." in lines
    assert "This is the first run: there is none to compare it with" in lines

    write(base=80, next=90)
    again = bench.done("evaluate_slices", project)
    moved = again[again.index("Moved since the run of ") :]
    told = [line.split() for line in moved.splitlines()]
    row = next(row for row in told if row[:2] == ["all", "bad"])
    assert row[2:7] == ["accuracy", "next", "0.8000", "0.1000", "-0.7000"]
    assert row[7] == "worse"
    page = (bench.folder / "out" / "report.html").read_text()
    assert "Rows of the largest loss of base: bad, split all" in page
    assert "comment 0" in page

    quiet = bench.project(**settings, audit={"overlap": False, "trend": 0})
    out = bench.done("evaluate_slices", quiet)
    assert not any(t in out for t in ("nearly the same", "no slice.", "Moved", "largest loss"))


def test_a_report_of_one_model_stands_beside_that_of_two_and_holds_what_it_may(bench, write):
    settings = write(base=80, next=20)
    audit = {"worst_rows": 2, "flips": 2, "columns": ["video", "text"], "overlap": False}
    project = bench.project(**settings, audit=audit)
    both = bench.done("evaluate_slices", project)
    one = bench.done("evaluate_slices", project, "--model", "base")
    newest, pages = bench.folder / "out" / "report.html", bench.folder / "out" / "reports"
    assert data_of(newest.read_text())["models"] == ["base"]
    again = bench.done("evaluate_slices", project)
    assert f"unchanged {newest} ({pages}/" in again
    assert data_of(newest.read_text())["models"] == ["base", "next"]
    index = (pages / "index.html").read_text()
    names = [out.partition(f"({pages}/")[2].partition(")")[0] for out in (one, both)]
    assert re.findall("href='(.*?)'", index) == names
    assert {p.name for p in pages.iterdir()} == {*names, "index.html"}
    shown = (pages / names[1]).read_text()
    assert "Split all: of 3 slices, 3 are worse" in shown
    assert re.findall("<dt>(.*?)</dt>", shown)[:4] == ["date", "run", "models", "splits"]
    # 80 of the rows in `bad` are wrong of one model; 20 of the other.
    cells = data_of(shown)["splits"][0]["cells"]
    assert [1, 0, [[10, 40], [40, 10]], []] in cells
    assert [1, 1, [[40, 10], [10, 40]], []] in cells

    some = {"rows": "keys", "hide": ["video"], "smallest": 6}
    bench.done("evaluate_slices", bench.project(**settings, audit=audit, report=some))
    page = newest.read_text()
    assert [s["id"] for s in data_of(page)["slices"]] == ["overall", "bad", "twin"]
    assert "Rows of the largest loss of base: bad" in page
    assert "comment 0" not in page
    assert not re.search("<th [^>]*>(text|video)</th>", page)
    assert "1 slice with fewer than 6 rows or values of hidden columns; the texts of" in page
    wrong = bench.project(**settings, audit=audit, report={"hide": ["txet"]})
    assert bench.run("evaluate_slices", wrong).error == (
        f"report.hide of {bench.source}: there is no column 'txet'; did you mean 'text'?"
    )


def test_columns_of_rows_must_exist(bench, write):
    settings = write(base=80)
    project = bench.project(**settings, audit={"worst_rows": 2, "columns": ["video", "txet"]})
    assert bench.run("evaluate_slices", project).error == (
        f"audit.columns of {bench.source}: there is no column 'txet'; did you mean 'text'?"
    )
    project = bench.project(**{**settings, "metrics": ["accuracy", "mean@column=vidoe"]})
    assert bench.run("evaluate_slices", project).error == (
        f"metrics of {bench.place('masks')}: there is no column 'vidoe'; did you mean 'video'?"
    )


def test_columns_are_looked_up_by_any_key_in_one_scan(bench, spark):
    import datetime as dt
    from decimal import Decimal

    big, schema = (
        2**60 + 1,
        "d date, t timestamp, n decimal(20,0), s string, b boolean, x binary, f double, "
        "seen bigint",
    )
    keys = [
        (
            dt.date(2024, 5, i),
            dt.datetime(2024, 5, i, 1, 2, 3, 4),
            Decimal(10**18 + i),
            "it's",
            i < 3,
            bytes([0, 255, i]),
            i / 10,
        )
        for i in (1, 2, 3)
    ]
    rows = [(*key, n) for key, n in zip(keys, (big, None, 7), strict=True)]
    source = tables.read_source(spark, bench.rows(rows, schema))
    columns, key = RowColumns((), ["seen"], source), ["d", "t", "n", "s", "b", "x", "f"]
    shown = source.df.drop("seen").toPandas().sort_values("d", ignore_index=True)
    with spark_work(spark) as work:
        first, second, none = columns.added_to([shown[:1], shown[1:2], shown[:0]], key)
    assert (first["seen"].tolist(), second["seen"].tolist(), len(none)) == ([big], [None], 0)
    assert len(work.ours) == 1, work
    assert columns.added_to([shown[:0]], key)[0].empty


def test_metrics_of_ones_own(bench, write):
    settings = write(base=80)
    module = bench.module(METRICS)
    own = {**settings, "metric_modules": [module], "metrics": ["cost", "accuracy", "agreement"]}
    project = bench.project(**own)
    explained = bench.done("evaluate_slices", project, "--explain")
    assert not (bench.folder / "out" / "metrics").exists()
    assert "one scan for 2 metrics, 3 slices and models base" in explained
    assert "  cost: your state, merged as arrays; no interval" in explained
    # 400 rows, 204 memberships, and all rows once.
    assert (
        "  agreement: a plain function, a shuffle of its own: each of 400 rows travels 1.5 times "
        "per model, once for each slice that it is in; no interval (a class with state, merge and "
        "compute would be in the scan)"
    ) in explained
    assert "  accuracy: 4 numbers per slice, split and model; interval: Wilson" in explained

    out = bench.done("evaluate_slices", project)
    stored = {(r["slice"], r["metric"]): r for r in bench.read(bench.place("metrics"))}
    wrong = {"overall": 80, "bad": 80, "twin": 80, "few": 5}
    rows = {"overall": 400, "bad": 100, "twin": 99, "few": 5}
    for s, n in rows.items():
        missed = sum(i % 2 for i in range(wrong[s]))
        assert stored[s, "cost"]["value"] == (5 * missed + wrong[s] - missed) / n
        assert (
            stored[s, "agreement"]["value"]
            == stored[s, "accuracy"]["value"]
            == pytest.approx(1 - wrong[s] / n)
        )
        assert stored[s, "cost"]["support"] == stored[s, "agreement"]["support"] == n
    # Of a cost the highest is the worst, and the first metric orders the table.
    listed = [line.split()[0] for line in out.splitlines() if line.startswith((" bad", " few"))]
    cost = {s: stored[s, "cost"]["value"] for s in ("bad", "few")}
    assert listed[:2] == sorted(cost, key=cost.get, reverse=True)

    # Another cost is another question, though it has the same name.
    (bench.folder / module).write_text(METRICS.replace("5 *", "7 *"), encoding="utf-8")
    renamed = bench.module(METRICS.replace("5 *", "7 *"))
    bench.done("evaluate_slices", bench.project(**{**own, "metric_modules": [renamed]}))
    assert len({r["run_id"] for r in bench.read(bench.place("metrics"))}) == 2

    unknown = bench.project(**{**own, "metrics": ["csot"]})
    assert bench.run("evaluate_slices", unknown).error == (
        "unknown metric 'csot'; did you mean 'cost'?"
    )
    broken = bench.module("raise RuntimeError('no')\n")
    error = bench.run("evaluate_slices", bench.project(**{**own, "metric_modules": [broken]})).error
    assert error.startswith(f"the module {broken!r} can't be imported: RuntimeError: no")
