"""Twenty-four nights of one project: whatever happened by day, each figure is right afterwards.

Rows come, change and go, slices are edited, runs fail in the middle, the table gets columns, is
vacuumed, dropped and made again. An oracle in pandas says what masks and figures must be.
"""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from engine.storage import tables
from tests.chaos.seams import Fault, injected

pytestmark = pytest.mark.slow
SCHEMA = "id int, text string, y int, pred int"
COLUMNS = ("id", "text", "y", "pred")
WORDS = ("buy", "hello you", "x", "some longer text", "")
NIGHTS = 24


class Project:
    """A project's rows as pandas has them, its slices, and what happens to both."""

    def __init__(self, bench) -> None:
        self.bench, self.chance = bench, random.Random(24)
        self.next = 0
        self.longest = {"short": 4, "medium": 9}
        self.deleted: set[int] = set()
        bench.rows(self.rows(60), SCHEMA)

    def rows(self, n: int) -> list[tuple]:
        self.next += n
        return [
            (i, self.chance.choice(WORDS), i % 2, self.chance.randrange(2))
            for i in range(self.next - n, self.next)
        ]

    def sql(self, text: str) -> None:
        self.bench.spark.sql(text.format(t=f"delta.`{self.bench.source}`"))

    def append(self) -> None:
        columns = self.bench.spark.read.format("delta").load(self.bench.source).columns
        df = self.bench.spark.createDataFrame(self.rows(7), SCHEMA)
        for column in columns[4:]:
            df = df.selectExpr("*", f"'new' AS {column}")
        df.coalesce(1).write.format("delta").mode("append").save(self.bench.source)

    def update(self) -> None:
        self.sql(f"UPDATE {{t}} SET pred = 1 - pred WHERE id % 11 = {self.chance.randrange(11)}")

    def delete(self) -> None:
        self.sql(f"DELETE FROM {{t}} WHERE id % 23 = {self.chance.randrange(23)}")

    def edit(self) -> None:
        self.longest[self.chance.choice(sorted(self.longest))] = self.chance.randrange(2, 20)

    def add(self) -> None:
        self.longest[f"more_{len(self.longest)}"] = self.chance.randrange(2, 20)

    def drop(self) -> None:
        self.longest.pop(next(reversed(self.longest)))

    def crash(self) -> None:
        """Let a run fail at a call; it is run again in the night."""
        self.append()
        fault = Fault(self.chance.randrange(8, 40), after=self.chance.random() < 0.5)
        with contextlib.suppress(Exception), injected(fault):
            self.bench.run("label_slices", self.file())

    def more_columns(self) -> None:
        self.sql("ALTER TABLE {t} ADD COLUMNS (more string)")

    def optimize(self) -> None:
        self.sql("OPTIMIZE {t}")

    def vacuum(self) -> None:
        check = "spark.databricks.delta.retentionDurationCheck.enabled"
        self.bench.spark.conf.set(check, "false")
        self.sql("VACUUM {t} RETAIN 0 HOURS")
        self.bench.spark.conf.unset(check)

    def remake(self) -> None:
        rows = self.bench.spark.read.format("delta").load(self.bench.source).toPandas()
        shutil.rmtree(self.bench.source)
        self.bench.write(
            self.bench.spark.createDataFrame(rows[::2][[*COLUMNS]], SCHEMA), self.bench.source
        )

    def maintain(self) -> None:
        self.bench.done("maintain", self.file())

    def nothing(self) -> None:
        """Nothing happens."""

    def file(self) -> str:
        given = {"given": {"table": self.bench.source, "columns": {"pred": "pred", "label": "y"}}}
        return self.bench.project(
            slices=[
                {"name": name, "where": f"length(text) < {n}"} for name, n in self.longest.items()
            ],
            metrics=["accuracy", "count"], predictions=given, label="y",
        )  # fmt: skip

    def check(self) -> None:
        """Compare masks and the last figures with pandas."""
        rows = self.bench.spark.read.format("delta").load(self.bench.source).toPandas()
        rows = rows.sort_values("id", ignore_index=True)
        masks = tables.read(self.bench.spark, self.bench.place("masks")).df.toPandas()
        masks = masks.sort_values("id", ignore_index=True)
        assert masks["id"].tolist() == rows["id"].tolist()
        assert set(masks.columns) == {"id", *self.longest}
        metrics = tables.read(self.bench.spark, self.bench.place("metrics")).df.toPandas()
        last = metrics[metrics["run_ts"] == metrics["run_ts"].max()].set_index(["slice", "metric"])
        right = rows["y"] == rows["pred"]
        inside = {"overall": pd.Series(True, rows.index)}
        inside |= {name: rows["text"].str.len() < n for name, n in self.longest.items()}
        for name, wanted in inside.items():
            if name != "overall":
                assert masks[name].tolist() == wanted.tolist(), name
            assert last.loc[(name, "count"), "value"] == wanted.sum(), name
            if wanted.any():
                accuracy = last.loc[(name, "accuracy"), "value"]
                assert accuracy == pytest.approx(right[wanted].mean(), abs=1e-12), name


DAYS = (
    "append", "append", "edit", "crash", "update", "add", "append", "nothing", "more_columns",
    "append", "optimize", "crash", "vacuum", "delete", "append", "maintain", "append", "remake",
    "append", "drop", "crash", "update", "maintain", "append",
)  # fmt: skip


def test_twenty_four_nights(bench, capsys):
    project, kinds = Project(bench), []
    for day in DAYS:
        happens: Callable[[], None] = getattr(project, day)
        if day != "maintain" or kinds:
            happens()
        out = bench.done("label_slices", project.file())
        kinds.append(
            next((k for k in ("only rows", "computes", "all rows are") if k in out), "unchanged")
        )
        bench.done("evaluate_slices", project.file(), "--force")
        project.check()
    assert len(DAYS) == NIGHTS
    assert {"only rows", "computes", "all rows are", "unchanged"} <= set(kinds)
    sizes = {
        folder.parent.name: sum(f.stat().st_size for f in folder.parent.rglob("*") if f.is_file())
        for folder in sorted(Path(bench.place("")).glob("*/_delta_log"))
    }
    with capsys.disabled():
        print(f"\nafter {NIGHTS} nights, bytes: {sizes}")
    assert max(sizes.values()) < 5_000_000
