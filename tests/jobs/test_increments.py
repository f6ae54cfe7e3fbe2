"""Labelling and evaluating what changed gives what everything gives, whatever changed."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException

from engine.storage import tables
from tests.chaos.seams import Fault, InjectedError, injected

SCHEMA = "id int, text string, n int, part string"
WORDS = ("buy", "hello you", "x", "some longer text", "")
PREDICATES = ("length(text) < {}", "n > {}", "n % 7 = {}")
PREDICTIONS = "id int, label int, pred int, prob double, part string"
# Of a ranking nothing can be taken away again, so that it hides what is taken away of others.
METRICS = {1: ["accuracy", "f1", "log_loss"], 2: ["accuracy", "log_loss", "roc_auc"]}
KINDS = (
    "only rows that changed are labelled", "only rows that changed are evaluated", "computes",
    "all rows are",
)  # fmt: skip
FUNCTIONS = "@slicing_function()\ndef odd(x):\n    return x.n % {} == 1\n"


def row(i: int, chance: random.Random) -> tuple:
    return (i, chance.choice(WORDS), chance.randrange(40), chance.choice("ab"))


class Night:
    """A table that changes, and the settings of the project over it."""

    def __init__(self, bench, seed: int, by: list[str]) -> None:
        self.bench, self.chance, self.by, self.seed = bench, random.Random(seed), by, seed
        self.slices = {"first": "length(text) < 5", "second": "n > 20"}
        self.odd, self.fault = 2, None
        self.part: dict[int, str] = {}
        self.next, self.predicted = 0, 0
        bench.rows(self.rows(40), SCHEMA, by=by)
        self.predict(40)

    @property
    def steps(self) -> list[Callable[[], None]]:
        return [
            self.append, self.append, self.update, self.delete, self.merge, self.optimize,
            self.edit, self.add, self.drop, self.edit_function, self.nothing,
            self.predict, self.predict, self.score_again, self.forget,
            self.recreate, self.rename, self.repartition, self.vacuum, self.restore, self.die,
        ]  # fmt: skip

    def sql(self, text: str) -> None:
        self.bench.spark.sql(text.format(t=f"delta.`{self.bench.source}`"))

    def rows(self, n: int) -> list[tuple]:
        self.next += n
        rows = [row(i, self.chance) for i in range(self.next - n, self.next)]
        self.part |= {r[0]: r[3] for r in rows}
        return rows

    def append(self) -> None:
        df = self.bench.spark.createDataFrame(self.rows(self.chance.randrange(1, 5)), SCHEMA)
        self.bench.write(df, self.bench.source, mode="append", by=self.by)

    def predict(self, n: int | None = None) -> None:
        """Add predictions for rows that have none, or will come."""
        n, scores = n or self.chance.randrange(1, 9), []
        self.predicted += n
        for i in range(self.predicted - n, self.predicted):
            prob = self.chance.choice([0.1, 0.35, 0.5, 0.8, 0.95])
            part = self.part.get(i, "a")
            scores.append((i, self.chance.randrange(2), int(prob > 0.4), prob, part))
        df = self.bench.spark.createDataFrame(scores, PREDICTIONS)
        self.bench.write(df, self.bench.place("scores"), mode="append")

    def score_again(self) -> None:
        of = f"delta.`{self.bench.place('scores')}`"
        self.sql(f"UPDATE {of} SET pred = 1 - pred WHERE id % 5 = {self.chance.randrange(5)}")

    def forget(self) -> None:
        of = f"delta.`{self.bench.place('scores')}`"
        self.sql(f"DELETE FROM {of} WHERE id % 11 = {self.chance.randrange(11)}")

    def update(self) -> None:
        self.sql(f"UPDATE {{t}} SET n = n + 1 WHERE id % 9 = {self.chance.randrange(9)}")

    def delete(self) -> None:
        self.sql(f"DELETE FROM {{t}} WHERE id % 19 = {self.chance.randrange(19)}")

    def merge(self) -> None:
        old = [(self.chance.randrange(self.next), "merged", 3, "a")]
        df = self.bench.spark.createDataFrame([*old, *self.rows(2)], SCHEMA)
        df.createOrReplaceTempView("merged_rows")
        self.sql(
            "MERGE INTO {t} AS o USING merged_rows AS n ON o.id = n.id "
            "WHEN MATCHED THEN UPDATE SET o.text = n.text WHEN NOT MATCHED THEN INSERT *"
        )

    def optimize(self) -> None:
        self.sql("OPTIMIZE {t}")

    def nothing(self) -> None:
        pass

    def recreate(self) -> None:
        """Drop the table, and make another in its place."""
        shutil.rmtree(self.bench.source)
        self.bench.rows(self.rows(9), SCHEMA, by=self.by)

    def repartition(self) -> None:
        df = self.bench.spark.read.format("delta").load(self.bench.source)
        rows = self.bench.spark.createDataFrame(df.collect(), df.schema)
        self.bench.write(
            rows.repartition(self.chance.randrange(1, 4)), self.bench.source, by=self.by
        )

    def vacuum(self) -> None:
        self.bench.spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
        self.sql("VACUUM {t} RETAIN 0 HOURS")

    def restore(self) -> None:
        """Take back the last commit, as far as its files are there still."""
        history = self.bench.spark.sql(f"DESCRIBE HISTORY delta.`{self.bench.source}`")
        last = history.agg({"version": "max"}).collect()[0][0]
        with contextlib.suppress(Py4JJavaError, PySparkException):
            self.sql(f"RESTORE TABLE {{t}} TO VERSION AS OF {max(0, last - 1)}")

    def die(self) -> None:
        """Let the next run fail at some call, before or after its effect."""
        self.fault = Fault(self.chance.randrange(1, 50), self.chance.random() < 0.5)

    def edit(self) -> None:
        if self.slices:
            self.slices[self.chance.choice(list(self.slices))] = self.predicate()

    def add(self) -> None:
        self.slices[f"more_{len(self.slices)}_{self.chance.randrange(99)}"] = self.predicate()

    def rename(self) -> None:
        name = self.chance.choice(list(self.slices))
        self.slices[f"renamed_{self.chance.randrange(999)}"] = self.slices.pop(name)

    def drop(self) -> None:
        if len(self.slices) > 1:
            del self.slices[self.chance.choice(list(self.slices))]

    def edit_function(self) -> None:
        self.odd = self.chance.choice(sorted({2, 3, 5} - {self.odd}))

    def predicate(self) -> str:
        return self.chance.choice(PREDICATES).format(self.chance.randrange(20))

    def settings(self, layout: str) -> dict:
        module = self.bench.folder / f"odd_{self.odd}.py"
        module.write_text(f"from engine import slicing_function\n{FUNCTIONS.format(self.odd)}")
        return {
            "slices": [{"name": name, "where": sql} for name, sql in self.slices.items()],
            "sf_modules": [module.name], "partition_by": self.by, "carry": ["n"], "layout": layout,
            "predictions": {"m": {"table": str(self.bench.place("scores"))}},
            "missing_predictions": "count", "metrics": METRICS[self.seed], "split": "part",
            "audit": {"trend": 0, "worst_rows": 3},
        }  # fmt: skip


def label(bench, root: str, settings: dict, fault: Fault | None = None) -> str:
    project = bench.project(**settings, root=root)
    if fault is not None:
        with injected(fault), contextlib.suppress(InjectedError):
            bench.run("label_slices", project)
            bench.run("evaluate_slices", project)
    return bench.done("label_slices", project) + bench.done("evaluate_slices", project)


def contents(bench, root: str) -> dict:
    def read(name: str, without: set[str] = frozenset()):
        df = tables.read(bench.spark, f"{root}/{name}").df
        return sorted(str(r) for r in df.select(*sorted(set(df.columns) - without)).collect())

    newest = tables.read(bench.spark, f"{root}/masks").identity
    coverage = bench.spark.read.format("delta").load(f"{root}/coverage")
    counts = coverage.where(f"mask_identity = '{newest}'")
    return {
        "masks": read("masks"),
        "slices": len(read("slices")) > 0,
        "figures": figures(bench, root),
        "shown": shown(root),
        "coverage": sorted(
            str(r) for r in counts.select("split", "slice", "n_rows", "n_in", "n_null").collect()
        ),
    }


def figures(bench, root: str) -> list[str]:
    """Return the last run's figures, bit by bit."""
    df = bench.spark.read.format("delta").load(f"{root}/metrics")
    last = df.where("run_ts = (SELECT max(run_ts) FROM {df})".format(df=f"delta.`{root}/metrics`"))
    names = [
        "split", "slice", "metric", "value", "low", "high", "p_value", "support", "n_null",
        "n_missing",
    ]  # fmt: skip
    there = [c for c in names if c in df.columns]
    return sorted(repr(r) for r in last.select(*there).collect())


def shown(root: str) -> list:
    """Return what the report shows."""
    newest = max((Path(root) / "report_archive").glob("*.json"))
    return json.loads(newest.read_text().splitlines()[1])


def mask_names(bench, root: str) -> list[str]:
    return sorted(bench.spark.read.format("delta").load(f"{root}/masks").columns)


@pytest.mark.parametrize(("seed", "by", "layout"), [(1, [], "boolean"), (2, ["part"], "boolean")])
def test_increments_are_what_everything_is(bench, seed, by, layout):
    night, root = Night(bench, seed, by), str(bench.folder / "out")
    label(bench, root, night.settings(layout))
    kinds = set()
    for i in range(4):
        # Of the first nights it is known what can be left out.
        first = {0: [night.append, night.predict], 1: [night.edit_function]}
        n = night.chance.choice((1, 1, 1, 2))
        steps = first.get(i) or night.chance.sample(night.steps, n)
        for step in steps:
            step()
        out = label(bench, root, night.settings(layout), night.fault)
        night.fault = None
        kinds |= {kind for kind in KINDS if kind in out}
        whole = str(bench.folder / f"whole_{i}")
        label(bench, whole, night.settings(layout))
        assert mask_names(bench, root) == mask_names(bench, whole), out
        assert contents(bench, root) == contents(bench, whole), (steps, out)
        shutil.rmtree(whole)
    assert set(KINDS[:3]) <= kinds


BOTH = "computes 1 of 2 slices (short); other masks are those of version {}"


@pytest.mark.parametrize("layout", ["boolean", "packed"])
def test_rows_and_slices_that_changed_in_one_night(bench, spark, layout):
    def more(*ids: int) -> None:
        rows = spark.createDataFrame([(i, "x" * (i % 9), i, "a") for i in ids], SCHEMA)
        bench.write(rows, bench.source, mode="append")

    def night(longest: int, module: str = "", **more: object) -> str:
        slices = [{"name": "short", "where": f"length(text) < {longest}"}]
        settings = {"slices": slices, "sf_modules": [module or odd], "layout": layout, **more}
        return bench.project(**settings)

    odd = bench.module("@slicing_function()\ndef odd(x):\n    return x.n % 2 == 1\n")
    for first in (0, 10, 20, 30):
        more(*range(first, first + 10))
    bench.done("label_slices", night(3))
    more(*range(40, 45))
    spark.sql(f"UPDATE delta.`{bench.source}` SET text = 'xxxxx' WHERE id = 21")
    out = bench.done("label_slices", night(5))
    assert BOTH.format(0) in out
    assert "; then only rows that changed are labelled: 2 files came and 1 went" in out
    there = sorted(row["id"] for row in bench.read(bench.place("masks")))
    assert there == list(range(45))
    masks, whole = bench.read(bench.place("masks")), str(bench.folder / "whole")
    bench.done("label_slices", night(5, root=whole))
    assert masks == bench.read(f"{whole}/masks")
    assert bench.versions()["masks"] == 2
    assert "unchanged" in bench.done("label_slices", night(5))

    # Of a night that fails with the rows that came, nothing is left.
    fails = bench.module("@slicing_function()\ndef odd(x):\n    return 40 // (x.n - 50) < 0\n")
    bench.done("label_slices", night(5, fails))
    spark.sql(f"INSERT INTO delta.`{bench.source}` VALUES (50, 'a', 50, 'a')")
    assert "'odd' failed on row id=50" in bench.run("label_slices", night(6, fails)).error
    assert len(bench.read(bench.place("masks"))) == len(masks)
    assert "was restored" not in bench.done("label_slices", night(6))
    assert len(bench.read(bench.place("masks"))) == 46


def test_partitions_whose_folders_have_other_names(bench, spark):
    schema = "id int, text string, part string"
    parts = ["a b", "ü/%41", "x=y", None]
    for ids, mode in ((range(4), "overwrite"), (range(4, 8), "append")):
        old = spark.createDataFrame([(i, "a", parts[i % 4]) for i in ids], schema)
        bench.write(old, bench.source, mode=mode, by=["part"])
    short = {"name": "short", "where": "length(text) < 3"}
    project = bench.project(slices=[short], split="part")
    bench.done("label_slices", project)
    more = [(i, "long text", parts[i % 4]) for i in range(8, 12)]
    bench.write(spark.createDataFrame(more, schema), bench.source, mode="append", by=["part"])
    out = bench.done("label_slices", project)
    assert "only rows that changed are labelled: 4 files came since version 1 of the source" in out
    spark.sql(f"UPDATE delta.`{bench.source}` SET text = 'b' WHERE id = 9")
    assert "and 1 went since version" in bench.done("label_slices", project)
    rows = {r["id"]: (r["part"], r["short"]) for r in bench.read(bench.place("masks"))}
    assert rows == {i: (parts[i % 4], i < 8 or i == 9) for i in range(12)}


def test_files_that_vacuum_removed_are_no_longer_asked_for(bench, spark):
    bench.rows([(i, "a", i, "a") for i in range(20)], SCHEMA)
    more = spark.createDataFrame([(i, "a" * 99, i, "a") for i in range(20, 999)], SCHEMA)
    bench.write(more.coalesce(1), bench.source, mode="append")
    first = {"name": "first", "where": "n < 5"}
    project = bench.project(
        slices=[first], metrics=["count"],
        predictions={"m": {"table": bench.source, "columns": {"label": "n", "pred": "n"}}},
    )  # fmt: skip
    for job in ("label_slices", "evaluate_slices"):
        bench.done(job, project)
    spark.sql(f"UPDATE delta.`{bench.source}` SET n = n + 1 WHERE id < 3")
    spark.conf.set("spark.databricks.delta.retentionDurationCheck.enabled", "false")
    spark.sql(f"VACUUM delta.`{bench.source}` RETAIN 0 HOURS")
    out = bench.done("label_slices", project)
    assert "all rows are labelled, for what changed isn't known: files that" in out
    assert "had in version 1 are removed (part-" in out
    assert "all rows are evaluated, for most of" in bench.done("evaluate_slices", project)
    assert sum(m["first"] for m in bench.masks().values()) == 5


SCORES = "id int, text string, y int, pred int, prob double, weight double, part string"


def scored(*ids: int, part: str = "a", weight: float | None = None) -> list[tuple]:
    return [(i, "x" * (i % 5), i % 2, i % 3 % 2, 0.01 + i % 50 / 55, weight, part) for i in ids]


SOME, ALL = "only rows that changed are evaluated", "all rows are evaluated, for {} changed"
CHANGES = {  # by SQL: to what is evaluated then
    "DELETE FROM {t} WHERE id = 401": SOME,  # a row that was shown
    "UPDATE {t} SET part = 'c' WHERE id % 10 = 1 AND id < 60": SOME,  # to a split that is new
    "DELETE FROM {t} WHERE part = 'b'": SOME,  # a split that is no more
    "UPDATE {t} SET weight = 3 WHERE id = 5": ALL.format("what is evaluated"),  # none had any
}


def test_figures_and_rows_shown_after_each_change(bench, spark):
    bench.rows(scored(*range(60)) + scored(*range(60, 80), part="b"), SCORES)
    predictions = {"m": {"table": bench.source, "columns": {"label": "y"}}}
    settings = {
        "slices": [{"name": "short", "where": "length(text) < 3"}], "split": "part",
        "metrics": ["accuracy", "log_loss"], "predictions": predictions,
        "audit": {"trend": 0, "worst_rows": 3},
    }  # fmt: skip
    root, whole = str(bench.folder / "out"), str(bench.folder / "whole")
    label(bench, root, settings)
    worst = (401, "x", 1, 0, 0.001, None, "a")
    for rows in (scored(*range(100, 300)), [worst]):  # in files of their own
        bench.write(spark.createDataFrame(rows, SCORES).coalesce(1), bench.source, mode="append")
        label(bench, root, settings)
    for change, evaluated in CHANGES.items():
        spark.sql(change.format(t=f"delta.`{bench.source}`"))
        assert evaluated in label(bench, root, settings), change
        label(bench, whole, settings)
        assert figures(bench, root) == figures(bench, whole), change
        assert shown(root) == shown(whole), change
        shutil.rmtree(whole)
