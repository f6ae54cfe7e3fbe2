"""What a table's metadata says is data: anybody who writes the table writes it."""

from __future__ import annotations

import pytest

from engine.errors import TableError
from engine.storage.delta_log import facts_of
from engine.storage.lineage import Reading, _version_sql, readings

WHERES = [
    "true) THEN named_struct('version', '1', 'identity', 'x') WHEN (true",
    "reflect('java.lang.System', 'exit', 0) IS NULL",
    "s IN (SELECT value FROM text.`/etc/passwd`)",
    "true; DROP TABLE t",
    "rand() < 1",
    "1 = 1 -- ",
    "",
    "'",
    "/*",
]


@pytest.mark.parametrize("where", WHERES)
def test_a_predicate_in_the_metadata_is_checked(where):
    try:
        sql = _version_sql([Reading(where, "s", "1", "x@1")])
    except TableError as error:
        sentence = str(error)
        assert sentence.startswith(f"a table's metadata names rows by {where!r}, which ")
        return
    assert where in ("", "1 = 1 -- ")
    assert sql.startswith(("CASE WHEN true THEN", "CASE WHEN (1 = 1) THEN"))


@pytest.mark.parametrize(
    "read",
    [
        [1], ["x"], [[]], [None], 5, True, [{}], [{"where": None}],
        [{"where": 1, "source": "s", "version": "1", "identity": "x"}],
        [{"where": None, "source": ["s"], "version": "1", "identity": "x"}],
        [{"where": None, "source": "s", "version": 1, "identity": "x"}],
        [{"where": None, "source": "s", "version": "1", "identity": "x", "__class__": "y"}],
        [{"where": None, "source": "s", "version": "1", "identity": "x", "unknown": 0}],
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_reading_is_refused(read):
    with pytest.raises(
        TableError, match=r"^a table's metadata says that it was made from .*: make "
    ):
        readings({"read": read})


@pytest.mark.parametrize(
    "text", [None, "", "x", "[]", "1", "null", "[" * 20_000, "{", '"a"', "NaN"]
)
def test_metadata_that_is_not_ours_has_no_facts(text):
    assert facts_of(text) == {}
