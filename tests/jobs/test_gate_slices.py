"""gate_slices over tables that grow from night to night."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pyspark.sql import functions as F

from engine.storage import tables
from engine.storage.row_changes import only_came
from jobs import gate_slices

MASKS = "id int, short boolean"
GIVEN = "id int, pred int, label int"
RULES = [
    "accuracy >= 0.8",
    {"rule": "accuracy >= 0.8 on short", "name": "short ones", "level": "warn"},
    {"rule": "accuracy >= last - 0.05", "certainty": "none"},
]


@pytest.fixture
def night(bench, spark):
    """Let rows come, of which every so many-th prediction is wrong, and look at them."""
    ids = itertools.count()
    settings = {
        "metrics": ["accuracy"],
        "predictions": {"given": {"table": bench.place("given")}},
        "gate": {"rules": RULES},
    }

    def rows_come(n: int, wrong: int) -> str:
        mode = "append" if Path(bench.place("given")).exists() else "overwrite"
        now = [next(ids) for _ in range(n)]
        about = {"slice": {"name": "short", "fingerprint": "of short"}}
        masks = spark.createDataFrame([(i, i % 2 == 0) for i in now], MASKS)
        masks = masks.withColumn("short", F.col("short").alias("short", metadata=about))
        bench.write(masks, bench.place("masks"), mode)
        given = [(i, i % 2 if i % wrong else 1 - i % 2, i % 2) for i in now]
        bench.write(spark.createDataFrame(given, GIVEN), bench.place("given"), mode)
        file = bench.project(**settings)
        bench.done("evaluate_slices", file)
        return file

    return rows_come


def test_a_project_without_rules(tmp_path, capsys):
    file = tmp_path / "p.yaml"
    file.write_text(f"{{name: x, root: {tmp_path}, source: {{table: t}}, key: id}}")
    assert gate_slices.main(["--project", str(file)]) == 2
    assert capsys.readouterr().err == (
        "error: x: gate has no rules; add some to the project file, such as "
        "gate: {rules: ['f1 >= 0.8']}\n"
    )


def test_the_gate_from_night_to_night(bench, night, tmp_path):
    file, nightly = night(1000, 9), "gate.nightly=true"
    files = [str(tmp_path / name) for name in ("gate.json", "gate.xml", "gate.md")]
    given = tables.find(bench.spark, bench.place("given"))
    to_files = ("--json", files[0], "--junit", files[1], "--markdown", files[2])
    first = bench.run("gate_slices", file, *to_files, "--strict", nightly, "run_date=2024-05-01")
    assert first.status == 3, first.err
    assert "there is no run before this one" in first.out
    assert first.out.endswith(
        "gate: INCONCLUSIVE (exit status 3): 3 checks: 1 INCONCLUSIVE, 2 PASS\n"
    )
    result, junit = json.loads(Path(files[0]).read_text()), ElementTree.parse(files[1]).getroot()
    assert (result["success"], result["meta"]["run_id"]["project"]) == (False, "bench")
    assert (junit.get("tests"), junit.get("failures")) == ("3", "1")
    assert Path(files[2]).read_text().startswith("### gate: INCONCLUSIVE")

    night(400, 2)
    worse = bench.run("gate_slices", file, nightly, "run_date=2024-05-02")
    assert worse.status == 1, worse.err
    again = bench.run("gate_slices", file, nightly, "run_date=2024-05-03")
    assert worse.out.endswith("gate: FAIL (exit status 1): 3 checks: 3 FAIL (1 only warn)\n")
    assert "judged by this run alone: accuracy >= last - 0.05" in worse.out
    record = bench.read(bench.place("gate"))
    assert {(str(r["run_date"]), r["slice"], r["n_new"]) for r in record if r["wealth"]} == {
        ("2024-05-01", "overall", 1000), ("2024-05-01", "short", 500),
        ("2024-05-02", "overall", 400), ("2024-05-02", "short", 200),
    }  # fmt: skip
    assert again.status == 1
    assert "no new evidence: no new row" in again.out
    assert len(record) == 6  # the third gate said what the second had said

    now = tables.find(bench.spark, bench.place("given"))
    assert only_came(given.identity, now) == ""
    bench.write(now.df.where("id > 3"), bench.place("given"))
    rewritten = tables.find(bench.spark, bench.place("given"))
    assert only_came(given.identity, rewritten) == (
        f"what changed isn't known: rows were changed that had come in version 2 of "
        f"{bench.place('given')}"
    )
    assert only_came(now.identity, rewritten) == (
        f"rows of {bench.place('given')} were changed or went since version 1"
    )
