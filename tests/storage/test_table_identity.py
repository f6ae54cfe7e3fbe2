"""Which commit made a Delta table's rows: the log is walked back over what changes none."""

from __future__ import annotations

import pytest

from engine.storage import delta_log, identity
from engine.storage.delta_log import Commit, DeltaLeaf, last_change

W, Z, V, S = "WRITE", "OPTIMIZE", "VACUUM END", "SET TBLPROPERTIES"


@pytest.fixture
def change(monkeypatch):
    """Find a commit; those in `quiet` change nothing, those before `left` are gone."""

    def find(operations, restores=(), version=None, quiet=(), left=0):
        read = []

        def commit(spark, log, v):
            read.append(v)
            if v < left:
                return None
            back = {"version": str(dict(restores)[v])} if v in dict(restores) else {}
            info = {
                "operation": operations[v],
                "userMetadata": f"facts {v}",
                "operationParameters": back,
            }
            return Commit(v, f"mark {v}", info, v not in quiet)

        monkeypatch.setattr(delta_log, "read_commit", commit)
        newest = len(operations) - 1 if version is None else version
        found = last_change(None, "", newest)
        return found.version, found.info.get("userMetadata"), read

    return find


def test_the_newest_commit_that_changes_rows(change):
    assert change([W, W]) == (1, "facts 1", [1])
    assert change([W, Z, V, S]) == (0, "facts 0", [3, 2, 1, 0])
    assert change([W, W, W], quiet=[1, 2]) == (0, "facts 0", [2, 1, 0])
    assert change([W, W, Z], version=0) == (0, "facts 0", [0])
    assert change([W, "CHANGE COLUMN"]) == (0, "facts 0", [1, 0])  # in the schema, if it matters
    assert change(["ADD COLUMNS", Z]) == (0, "facts 0", [1, 0])


def test_a_restore_is_followed(change):
    assert change([W, W, "RESTORE"], {2: 0}) == (0, "facts 0", [2, 0])
    assert change([W, Z, W, "RESTORE", Z], {3: 1}) == (0, "facts 0", [4, 3, 1, 0])
    twice = [W, W, "RESTORE", W, "RESTORE"]
    assert change(twice, {2: 0, 4: 2}) == (0, "facts 0", [4, 2, 0])
    assert change([W, W, "RESTORE"]) == (2, "facts 2", [2])  # to a time


def test_a_log_that_has_lost_the_commit(change):
    """The newest stands for it, so that rows are labelled again rather than not."""
    assert change([W, Z, Z, Z], left=1) == (3, None, [3, 2, 1, 0])
    assert change([W, Z], left=2) == (1, None, [1])


def test_copies_that_went_on_apart_are_told_apart():
    leaf = DeltaLeaf("id", "log", 4, "columns")
    one, other = (delta_log.delta_identity(leaf, Commit(3, m, {})) for m in ("a", "b"))
    assert one != other


def test_of_columns_that_counts_by_which_rows_are_others():
    def known(name="a", kind="long", nullable=True, **metadata):
        field = {"name": name, "type": kind, "nullable": nullable, "metadata": metadata}
        return delta_log._columns({"type": "struct", "fields": [field]})

    mapped = "delta.columnMapping.physicalName"
    plain = known()
    assert known(nullable=False) == plain
    assert known(comment="what it is") == plain
    assert known(**{"delta.columnMapping.id": 1, mapped: "a"}) == plain
    others = [
        known("b"), known(kind="int"), known(**{mapped: "col-1"}), known(**{mapped: "col-2"}),
        known(slice="a"), known(kind={"type": "struct", "fields": []}),
    ]  # fmt: skip
    assert all(other != plain for other in others)
    assert others[2] != others[3]  # dropped, and added again by the same name
    nested = [
        known(kind={"type": "struct", "fields": [
            {"name": "n", "type": "long", "nullable": nullable, "metadata": {"comment": comment}}
        ]})
        for nullable, comment in ((True, ""), (False, "x"))
    ]  # fmt: skip
    assert nested[0] == nested[1]


class Stream:
    """A commit's file as Hadoop gives it."""

    def __init__(self, content: bytes):
        self.content = content

    def readNBytes(self, n):
        piece, self.content = self.content[:n], self.content[n:]
        return piece

    def close(self):
        pass


ADD = b'{"add":{"path":"a","dataChange":%s}}'


@pytest.mark.parametrize("piece", [7, 64, 2**20])
def test_a_commits_file_is_read_until_it_says_so(monkeypatch, piece):
    def read(*lines: bytes):
        files = type("Files", (), {"open": lambda self, path: Stream(b"\n".join(lines) + b"\n")})()
        monkeypatch.setattr(delta_log, "file_system", lambda spark, path: (files, path))
        monkeypatch.setattr(delta_log, "_PIECE", piece)
        return delta_log.read_commit(None, "log", 3)

    said = b'{"commitInfo":{"operation":"WRITE","userMetadata":"{\\"slices\\": %s}"}}' % (
        b"1" * 300
    )
    commit = read(said, ADD % b"false", ADD % b"true")
    assert (commit.info["operation"], commit.changes) == ("WRITE", True)
    assert commit.info["userMetadata"] == '{"slices": ' + "1" * 300 + "}"
    assert not read(said, ADD % b"false", ADD % b"false").changes
    assert read(said, b'{"metaData":{"id":"x"}}').changes
    assert read(ADD % b"true").info == {}


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
        return identity._normalised(plan(*numbers), {})

    assert known(4, 5, 9) == known(4, 8, 7)
    again = known(11, 12, 30)
    assert [one.get("id", one.get("cteId")) for one in again[1:4]] == [0, 1, 1]
    assert again[4] == {"class": plan(0, 0, 0)[4]["class"], "limit": 11}
    other = identity._normalised([*plan(4, 5, 9)[:3], {**plan(4, 5, 9)[3], "cteId": 4}], {})
    assert other != known(4, 5, 9)[:4]
