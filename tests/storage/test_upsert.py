"""Tables of records: rows are there once, whoever else adds rows at the same time."""

from __future__ import annotations

from unittest import mock

import pytest

from engine.errors import MeanwhileError
from engine.storage import own_commits, tables
from engine.storage.upsert import insert_missing, local_rows, upsert

SCHEMA = "run string, slice string, n long"
KEY = ("run", "slice")


def stored(spark, place) -> list[tuple]:
    return sorted(map(tuple, tables.read(spark, place).df.collect()), key=str)


def operations(spark, place) -> list[str]:
    history = spark.sql(f"DESCRIBE HISTORY delta.`{place}`").collect()
    return [commit["operation"] for commit in reversed(history)]


@pytest.mark.parametrize("last", ["WRITE", "MERGE"])
def test_rows_are_appended_updated_or_left(spark, tmp_path, monkeypatch, last):
    place = str(tmp_path / "records")
    if last == "MERGE":  # Spark has to write
        monkeypatch.setattr(own_commits, "form_of", lambda *args, **more: None)

    def done(rows, compare=("n",)):
        return upsert(local_rows(spark, rows, SCHEMA), place, KEY, compare)

    first = [("a", "x", 1), ("a", None, 2)]
    assert (done(first).version, done(first).changed) == ("0", False)
    assert done([("b", "x", 3), ("b", None, None)]).rows == 2
    assert done([("b", "x", 3), ("b", "y", 4)]).rows == 1
    assert done([("b", None, 5), ("c", "y", 6)]).version == "3"
    assert not done([("b", "x", 9)], compare=()).changed
    assert not done([]).changed
    assert operations(spark, place) == ["WRITE", "WRITE", "WRITE", last]
    assert stored(spark, place) == sorted(
        [*first, ("b", "x", 3), ("b", None, 5), ("b", "y", 4), ("c", "y", 6)], key=str
    )


@pytest.mark.parametrize("in_catalog", [False, True])
def test_two_that_read_the_same_version_add_a_row_once(spark, tmp_path, in_catalog):
    spark.sql("CREATE DATABASE IF NOT EXISTS upserts")
    place = "upserts.records" if in_catalog else str(tmp_path / "records")
    insert_missing(local_rows(spark, [("a", "x", 1)], SCHEMA), place, KEY)
    old, rows = tables.find(spark, place), local_rows(spark, [("b", "x", 2)], SCHEMA)
    insert_missing(rows, place, KEY)
    real = tables.find
    seen = mock.Mock(side_effect=[old, real(spark, place)])
    with mock.patch("engine.storage.tables.find", seen):
        assert not insert_missing(rows, place, KEY).changed
    assert seen.call_count == 2
    with (
        mock.patch("engine.storage.tables.find", return_value=old),
        pytest.raises(MeanwhileError) as error,
    ):
        insert_missing(rows, place, KEY)
    assert str(error.value) == (
        f"somebody else wrote to {place} while this run was writing it, so this run wrote "
        "nothing there; run it again"
    )
    assert stored(spark, place) == [("a", "x", 1), ("b", "x", 2)]
    spark.sql("DROP DATABASE upserts CASCADE")


def test_updates_of_two_are_both_there(spark, tmp_path):
    place = str(tmp_path / "records")
    upsert(local_rows(spark, [("a", "x", 1)], SCHEMA), place, KEY, ["n"])
    real, other = tables.find, local_rows(spark, [("a", "y", 2)], SCHEMA)

    def late(session, table):
        snapshot = real(session, table)
        with mock.patch("engine.storage.tables.find", real):
            upsert(other, place, KEY, ["n"])
        return snapshot

    with mock.patch("engine.storage.tables.find", late):
        upsert(local_rows(spark, [("a", "x", 3)], SCHEMA), place, KEY, ["n"])
    assert stored(spark, place) == [("a", "x", 3), ("a", "y", 2)]


def test_columns_that_an_older_engine_did_not_write_are_added(spark, tmp_path):
    place = str(tmp_path / "records")
    upsert(local_rows(spark, [("a", 1)], "run string, n long"), place, ["run"], ["n"])
    more = "run string, n long, note string"
    upsert(local_rows(spark, [("b", 2, "new")], more), place, ["run"], ["n"])
    upsert(local_rows(spark, [("a", 1, "now")], more), place, ["run"], ["n", "note"])
    assert stored(spark, place) == [("a", 1, "now"), ("b", 2, "new")]


@pytest.mark.parametrize("by_spark", [False, True])
def test_an_update_leaves_columns_and_rows_that_it_does_not_know(
    spark, tmp_path, monkeypatch, by_spark
):
    """A newer engine may have added a column, and a person a row with a key that is there."""
    place = str(tmp_path / "records")
    rows = [("a", "x", 1, "kept"), ("a", "x", 1, "twice"), ("b", "y", 2, "as it was")]
    spark.createDataFrame(rows, f"{SCHEMA}, more string").write.format("delta").save(place)
    if by_spark:
        monkeypatch.setattr(own_commits, "form_of", lambda *args, **more: None)
    upsert(local_rows(spark, [("a", "x", 5), ("c", "z", 3)], SCHEMA), place, KEY, ("n",))
    assert stored(spark, place) == [
        ("a", "x", 5, "kept"), ("a", "x", 5, "twice"), ("b", "y", 2, "as it was"),
        ("c", "z", 3, None),
    ]  # fmt: skip
