"""Which commit made a Delta table's rows: the log is walked back over what changes none."""

from __future__ import annotations

import pytest

from engine import table_identity
from engine.table_identity import Commit, last_change

W, Z, V, S = "WRITE", "OPTIMIZE", "VACUUM END", "SET TBLPROPERTIES"


class Table:
    """A Delta table that is its history alone."""

    def __init__(self, operations, restores=(), left=0):
        self.asked = []
        self.commits = [
            {
                "version": v, "operation": operation, "userMetadata": f"facts {v}",
                "operationParameters": {"version": str(dict(restores)[v])} if v in dict(restores)
                else None,
            }
            for v, operation in enumerate(operations) if v >= left
        ][::-1]  # fmt: skip

    def history(self, n=None):
        self.asked.append(n)
        found = self.commits[:n]
        return type("Rows", (), {"collect": lambda self: found})()


@pytest.fixture
def change(monkeypatch):
    """Return the commit that is found; those in `quiet` change nothing by their files."""

    def find(table, version=None, quiet=()):
        read = []

        def file(spark, location, v):
            read.append(v)
            return f"mark {v}", v not in quiet

        monkeypatch.setattr(table_identity, "_commit_file", file)
        newest, commit = last_change(None, table, "", version)
        return newest, commit.version, commit.metadata, read

    return find


def test_the_newest_commit_that_changes_rows(change):
    assert change(Table([W, W])) == (1, 1, "facts 1", [1])
    assert change(Table([W, Z, V, S])) == (3, 0, "facts 0", [0])
    assert change(Table([W, W, W]), quiet=[1, 2]) == (2, 0, "facts 0", [2, 1, 0])
    assert change(Table([W, W, Z]), version=0) == (0, 0, "facts 0", [0])
    assert change(Table(["ADD COLUMNS", Z])) == (1, 0, "facts 0", [0])


def test_a_restore_is_followed(change):
    assert change(Table([W, W, "RESTORE"], {2: 0})) == (2, 0, "facts 0", [0])
    assert change(Table([W, Z, W, "RESTORE", Z], {3: 1})) == (4, 0, "facts 0", [0])
    twice = Table([W, W, "RESTORE", W, "RESTORE"], {2: 0, 4: 2})
    assert change(twice) == (4, 0, "facts 0", [0])
    assert change(Table([W, W, "RESTORE"])) == (2, 2, "facts 2", [2])  # to a time


def test_more_commits_are_looked_at_where_the_first_change_nothing(change):
    table = Table([W, *[Z] * 200])
    assert change(table) == (200, 0, "facts 0", [0])
    assert table.asked == [50, None]
    few = Table([W, Z])
    change(few)
    assert few.asked == [50]


def test_a_log_that_has_lost_the_commit(change):
    """The newest stands for it, so that rows are labelled again rather than not."""
    assert change(Table([W, Z, Z, Z], left=1)) == (3, 3, None, [3])


def test_copies_that_went_on_apart_are_told_apart():
    one, other = (table_identity.delta_identity("id", Commit(3, m, None)) for m in ("a", "b"))
    assert one != other


def test_what_a_session_counts_up_is_no_part_of_a_plan():
    """Of a plan's JSON: ids of columns, and of what WITH names."""

    def plan(one: int, other: int, column: int) -> list:
        at = "org.apache.spark.sql.catalyst.plans.logical."
        ref = {"product-class": "org.apache.spark.sql.catalyst.expressions.ExprId", "id": column,
               "jvmId": "a"}  # fmt: skip
        return [
            {"class": f"{at}WithCTE", "plan": 0},
            {"class": f"{at}CTERelationDef", "id": one, "child": 0},
            {"class": f"{at}CTERelationDef", "id": other, "child": 0},
            {"class": f"{at}CTERelationRef", "cteId": other, "output": [[{"exprId": ref}]]},
            {"class": f"{at}Project", "desc": "of a catalog", "limit": one},
        ]

    def known(*numbers: int) -> list:
        return table_identity._normalised(plan(*numbers), {})

    assert known(4, 5, 9) == known(4, 8, 7)
    again = known(11, 12, 30)
    assert [one.get("id", one.get("cteId")) for one in again[1:4]] == [0, 1, 1]
    assert again[4] == {"class": plan(0, 0, 0)[4]["class"], "limit": 11}
    other = table_identity._normalised([*plan(4, 5, 9)[:3], {**plan(4, 5, 9)[3], "cteId": 4}], {})
    assert other != known(4, 5, 9)[:4]
