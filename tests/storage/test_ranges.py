"""Tables in the order of a key are read by ranges of it: all rows once, side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.storage import ranges as ranges_of_keys
from engine.storage.files import Files, Span, batches
from engine.storage.ranges import (
    UNORDERED,
    Keyed,
    Ordered,
    in_key_order,
    in_ranges,
    side_by_side,
    within,
)

KINDS = {"id": pa.int64(), "v": pa.int64()}


def table_of(folder, files, groups=50):
    """Write files of ids, in row groups of some rows; return them as a table."""
    spans = []
    for i, ids in enumerate(files):
        path = str(folder / f"{i}.parquet")
        pq.write_table(
            pa.table({"id": ids, "v": [2 * n for n in ids]}), path, row_group_size=groups
        )
        spans.append(Span(path, 0, 2**40))
    return Keyed(Files((tuple(spans),), KINDS), "id")


def read(ranges, table, at):
    """Return the ids of a table's rows in a range, as tasks see them."""
    return [
        Ordered(
            (within(b, "id", ranges.cuts[at]) for b in batches(ranges.tables[table], n, 7)), "id"
        )
        for n in ranges.tasks[at][table]
    ]


def together(ranges):
    """Return each table's ids as they are brought together, a list for each time."""
    for at in range(len(ranges.cuts)):
        tables = [read(ranges, i, at) for i in range(len(ranges.tables))]
        for rows in side_by_side(tables):
            yield [[n for b in own for n in b.column("id").to_pylist()] for own in rows]


@pytest.fixture(autouse=True)
def of_few_rows(monkeypatch):
    monkeypatch.setattr(ranges_of_keys, "_FEW", 1)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(st.lists(st.integers(-500, 500), min_size=1, max_size=80), min_size=1, max_size=5),
    st.lists(st.lists(st.integers(-500, 500), min_size=1, max_size=80), min_size=1, max_size=5),
    st.integers(1, 9),
    st.integers(1, 60),
)
def test_rows_of_one_key_come_together_and_each_row_once(
    tmp_path_factory, masks, model, slots, groups
):
    folder = tmp_path_factory.mktemp("ranges")
    tables = []
    for name, files in (("masks", masks), ("model", model)):
        (folder / name).mkdir()
        tables.append(table_of(folder / name, [sorted(ids) for ids in files], groups))
    ranges = in_ranges(tables, slots)
    if ranges is None:  # files overlap so much that they would be read too often
        return
    seen, of_model, last = [], [], None
    for own, other in together(ranges):
        assert own
        assert last is None or min(own) > last
        last = max(own)
        seen += own
        of_model += other
        # All rows of the model that have one of these keys are here.
        wanted = [n for ids in model for n in ids if n in set(own)]
        assert sorted(n for n in other if n in set(own)) == sorted(wanted)
    assert sorted(seen) == sorted(n for ids in masks for n in ids)
    assert len(of_model) <= sum(map(len, model))


def test_a_table_that_grows_is_read_by_as_many_tasks_as_run(tmp_path):
    files = [list(range(i * 100, i * 100 + 100)) for i in range(10)]
    ranges = in_ranges([table_of(tmp_path, files)], 4)
    assert ranges is not None
    sizes = [
        sum(batch.num_rows for (own,) in side_by_side([read(ranges, 0, at)]) for batch in own)
        for at in range(4)
    ]
    assert sizes == [200, 250, 250, 300]  # where a file ends near, it is whole
    assert [cut[0] for cut in ranges.cuts] == [None, 200, 450, 700]


def test_tasks_read_ranges_of_a_table_whose_files_are_in_any_order(tmp_path):
    starts = [500, 100, 300, 0, 200, 400]
    table = table_of(tmp_path, [list(range(i, i + 100)) for i in starts])
    three = replace(table, files=replace(table.files, tasks=table.files.tasks * 3))
    files = in_key_order(three)
    ids = [
        [n for b in batches(files, at, 64) for n in b.column("id").to_pylist()] for at in (0, 1, 2)
    ]
    assert ids == [list(range(0, 200)), list(range(200, 400)), list(range(400, 600))]


def test_a_row_group_of_many_rows_is_cut(tmp_path):
    ranges = in_ranges([table_of(tmp_path, [list(range(1000))], 1000)], 2)
    assert ranges is not None
    assert ranges.cuts == ((None, 500), (500, None))


@pytest.mark.parametrize(
    "files",
    [
        [list(np.random.default_rng(i).permutation(1000)) for i in range(9)],  # each has all keys
        [[3, 1, 2]],
        [[1, None, 2]],
        [[]],
    ],
    ids=["overlap", "no order", "null", "no rows"],
)
def test_tables_without_an_order_are_exchanged(tmp_path, files):
    path_of = [[int(n) if n is not None else None for n in ids] for ids in files]
    spans = []
    for i, ids in enumerate(path_of):
        path = str(tmp_path / f"{i}.parquet")
        pq.write_table(pa.table({"id": pa.array(ids, pa.int64())}), path)
        spans.append(Span(path, 0, 2**40))
    assert in_ranges([Keyed(Files((tuple(spans),), {"id": pa.int64()}), "id")], 2) is None


def test_keys_that_turn_out_to_be_unordered_are_seen(tmp_path):
    ids = [*range(6000), *range(6001, 7000), 6000]
    ranges = in_ranges([table_of(tmp_path, [ids], 6000)], 1)
    assert ranges is not None
    with pytest.raises(OSError, match=UNORDERED):
        list(together(ranges))
