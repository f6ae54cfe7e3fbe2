"""Writers that meet: who is first keeps the table, and clean-up removes its own work alone."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from unittest import mock

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

from engine.errors import TableError
from engine.storage import own_commits, tables
from engine.storage.upsert import insert_missing


class Slow(threading.Thread):
    """A write whose rows come when they are let, and fail if they shall."""

    def __init__(self, spark, place: str, folder: Path, fails: bool, write=tables.overwrite):
        super().__init__()
        self.begun, self.let = folder / "begun", folder / "let"
        begun, let = str(self.begun), str(self.let)

        def wait(n: int) -> int:
            Path(begun).touch()
            while not Path(let).exists():
                time.sleep(0.02)
            if fails:
                raise ValueError("no such row")
            return n

        folder.mkdir()
        self.df = spark.range(3, numPartitions=1).select(F.udf(wait, "long")("id").alias("id"))
        self.place, self.write, self.error, self.written = place, write, None, None
        self.start()
        for _ in range(6000):
            if self.begun.exists():
                return
            time.sleep(0.02)
        raise AssertionError("the write didn't begin")

    def run(self) -> None:
        try:
            self.written = self.write(self.df, self.place, facts={"by": "slow"})
        except Exception as error:
            self.error = error

    def ends(self) -> None:
        self.let.touch()
        self.join(120)
        assert not self.is_alive()


def ids(spark, place: str) -> list[int]:
    return sorted(r.id for r in spark.read.format("delta").load(place).collect())


def files(place: str) -> list[str]:
    return sorted(p.name for p in Path(place).rglob("*") if p.is_file())


MADE = (
    "somebody else made {0} while this run was writing it, so this run wrote nothing "
    "there; run it again"
)


@pytest.mark.parametrize("fails", [True, False])
def test_the_loser_of_two_first_writers_leaves_the_winners_table(spark, tmp_path, fails):
    place = str(tmp_path / "table")
    slow = Slow(spark, place, tmp_path / "slow", fails)
    tables.overwrite(spark.range(10, 12), place, facts={"by": "quick"})
    slow.ends()
    assert ids(spark, place) == [10, 11]
    assert tables.read(spark, place).facts["by"] == "quick"
    assert not [name for name in files(place) if name.startswith("_writing")]
    if fails:
        assert "no such row" in str(slow.error)
    else:
        assert str(slow.error) == MADE.format(place)


def test_a_first_write_that_fails_leaves_one_under_way_alone(spark, tmp_path):
    place = str(tmp_path / "table")
    slow = Slow(spark, place, tmp_path / "slow", fails=False)
    bad = spark.range(4, numPartitions=2).select(F.expr("if(id < 2, id, raise_error('no'))"))
    with pytest.raises(PySparkException):
        tables.overwrite(bad, place, facts={})
    slow.ends()
    assert slow.error is None
    assert ids(spark, place) == [0, 1, 2]


def test_a_first_write_that_fails_alone_leaves_nothing(spark, tmp_path):
    place = str(tmp_path / "table")
    good = spark.range(4, numPartitions=2)
    commit = "engine.storage.tables.written"
    bad = good.select(F.expr("if(id < 2, id, raise_error('no'))").cast("long").alias("id"))
    with pytest.raises(PySparkException):
        tables.overwrite(bad, place, facts={})
    assert not Path(place).exists()
    # What a run that was killed left is nobody's; what no write left is.
    (tmp_path / "table" / "_delta_log").mkdir(parents=True)
    (tmp_path / "table" / "part-00000.parquet").touch()
    with mock.patch(commit, side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        tables.overwrite(good, place, facts={})
    assert ids(spark, place) == [0, 1, 2, 3]
    other = tmp_path / "other"
    other.mkdir()
    (other / "part-00000.parquet").touch()
    with pytest.raises(TableError):
        tables.overwrite(good, str(other), facts={})
    assert files(str(other)) == ["part-00000.parquet"]


@pytest.mark.parametrize("by_spark", [False, True])
def test_rows_of_a_table_that_was_made_meanwhile_are_added(spark, tmp_path, monkeypatch, by_spark):
    place = str(tmp_path / "table")
    owner, name = (tables, "overwrite") if by_spark else (own_commits, "commit_here")
    if by_spark:
        monkeypatch.setattr(own_commits, "form_of", lambda *args, **more: None)
    real, others = getattr(owner, name), [spark.range(10, 12)]

    def late(*args, **options):
        if others:
            others.pop().write.format("delta").save(place)
        return real(*args, **options)

    monkeypatch.setattr(owner, name, late)
    insert_missing(spark.range(11, 14), place, ["id"])
    assert ids(spark, place) == [10, 11, 12, 13]


def test_a_write_is_taken_back_if_it_is_the_newest(spark, tmp_path):
    place = str(tmp_path / "table")
    first = tables.overwrite(spark.range(2), place, facts={})
    (tmp_path / "table" / "theirs.txt").touch()
    assert tables.undo(spark, first) == f"{place}, which this run had made, was dropped"
    assert files(place) == ["theirs.txt"]
    (tmp_path / "table" / "theirs.txt").unlink()

    tables.overwrite(spark.range(2), place, facts={})
    second = tables.overwrite(spark.range(5), place, facts={})
    assert tables.undo(spark, second) == f"{place} was restored to version 0"
    assert ids(spark, place) == [0, 1]
    third = tables.overwrite(spark.range(7), place, facts={})
    spark.range(100, 101).write.format("delta").mode("append").save(place)
    assert tables.undo(spark, third) == (
        f"{place} was left as it is, for version 4 came after this run's version 3, whose masks "
        "are in it or were replaced: label again, or RESTORE it"
    )
    assert len(ids(spark, place)) == 8

    # A commit between the look and the restore is put back.
    fourth = tables.overwrite(spark.range(3), place, facts={})
    real = tables.restore

    def late(session, table, version):
        if version == int(fourth.version) - 1:
            spark.range(200, 201).write.format("delta").mode("append").save(place)
        return real(session, table, version)

    with mock.patch("engine.storage.tables.restore", late):
        assert "was left as it is, for version" in tables.undo(spark, fourth)
    assert ids(spark, place) == [0, 1, 2, 200]


def test_writers_of_a_catalog(spark, tmp_path):
    spark.sql("CREATE DATABASE IF NOT EXISTS meet")
    about = dict(map(tuple, spark.sql("DESCRIBE DATABASE meet").collect()))
    folder = Path(about["Location"].removeprefix("file:"))
    place = "meet.masks"
    for fails, error in ((True, "no such row"), (False, MADE.format(place))):
        slow = Slow(spark, place, tmp_path / f"slow {fails}", fails=fails)
        tables.overwrite(spark.range(10, 12), place, facts={"by": "quick"})
        slow.ends()
        assert error in str(slow.error)
        assert sorted(r.id for r in spark.table(place).collect()) == [10, 11]
        assert tables.read(spark, place).facts["by"] == "quick"
        assert not [name for name in files(str(folder)) if name.startswith("_writing")]
        spark.sql(f"DROP TABLE {place}")

    # What a killed or failed first write leaves hinders none; what it committed is kept.
    good = spark.range(1, 5)
    for name in ("replaced", "added"):
        (folder / name / "_delta_log").mkdir(parents=True)
        (folder / name / "part-00000.parquet").touch()
    tables.overwrite(good, "meet.replaced", facts={})
    insert_missing(good, "meet.added", ["id"])
    spark.range(3).write.format("delta").save(str(folder / "committed"))
    insert_missing(good, "meet.committed", ["id"])
    for name, start in {"replaced": 1, "added": 1, "committed": 0}.items():
        found = spark.table(f"meet.{name}").collect()
        assert sorted(r.id for r in found) == list(range(start, 5))


def test_files_that_may_be_of_two_writers_hinder_no_later_one(spark, tmp_path):
    place = str(tmp_path / "table")
    slow = Slow(spark, place, tmp_path / "slow", fails=True)
    bad = spark.range(4, numPartitions=2).select(F.expr("if(id < 2, id, raise_error('no'))"))
    with pytest.raises(PySparkException):
        tables.overwrite(bad, place, facts={})
    slow.ends()
    tables.overwrite(spark.range(2), place, facts={})
    assert ids(spark, place) == [0, 1]
    assert not [name for name in files(place) if name.startswith("_writing")]
