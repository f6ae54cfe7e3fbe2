"""gate_slices over tables that grow from night to night."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from pyspark.sql import functions as F

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

    def rows_come(n: int, wrong: int, mode: str = "append") -> str:
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


def why(ran, slice_id: str) -> str:
    """Return the last cell of the first line of a slice."""
    line = next(line for line in ran.out.splitlines() if slice_id in line.split()[1:3])
    return line.rpartition("   ")[2].strip()


def test_the_gate_from_night_to_night(bench, night, tmp_path):
    import time
    t=time.time()
    def lap(what):
        nonlocal t
        print(what, round(time.time()-t,1)); t=time.time()
    file = night(1000, 9, "overwrite")
    lap("evaluate")
    files = [str(tmp_path / name) for name in ("gate.json", "gate.xml", "gate.md")]
    out = bench.done(
        "gate_slices", file, "--json", files[0], "--junit", files[1], "--markdown", files[2]
    )
    lap("gate")
    assert out.endswith("gate: PASS (exit status 0): 3 checks: 1 INCONCLUSIVE, 2 PASS\n")
    assert "there is no run before this one" in out
    result, junit = json.loads(Path(files[0]).read_text()), ElementTree.parse(files[1]).getroot()
    assert (result["success"], result["meta"]["run_id"]["project"]) == (True, "bench")
    assert (junit.get("tests"), junit.get("skipped")) == ("3", "1")
    assert Path(files[2]).read_text().startswith("### gate: PASS")

    nightly = "gate.nightly=true"
    first = bench.done("gate_slices", file, nightly, "run_date=2024-05-01")
    lap("gate nightly")
    again = bench.done("gate_slices", file, nightly, "run_date=2024-05-02")
    lap("gate nightly again")
    print(first, again)
    record = bench.read(bench.place("gate"))
    assert {(r["slice"], r["n_new"]) for r in record if r["wealth"]} == {
        ("overall", 1000), ("short", 500),
    }  # fmt: skip
    lap("read")
    night(400, 2)
    lap("evaluate")
    bad = bench.run("gate_slices", file, "gate.nightly=true", "run_date=2024-05-02")
    lap("gate nightly again")
    print(bad.out, bad.err)
    assert bad.status == 1
    print(bench.read(bench.place("gate")))
    night(1400, 9, "overwrite")
    lap("evaluate")
    rewritten = bench.run("gate_slices", file, "gate.nightly=true", "run_date=2024-05-03")
    lap("gate nightly again")
    print(rewritten.out, rewritten.err)

    bench.write(bench.spark.createDataFrame([(5000,1,1)],GIVEN), bench.place("given"), "append")
    stale = bench.run("gate_slices", file)
    lap("stale")
    print(stale.error)
    assert 0
