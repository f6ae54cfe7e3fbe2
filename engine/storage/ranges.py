"""Tables whose files are in the order of one key: a task reads a range of it of all of them.

A table that grows has the order of its keys in its files, as long as keys grow, and so has what
was computed of it file by file. Then rows with one key are brought together without an exchange:
what came in one after another, and what a merge rewrote, are a few such orders each, which are
read side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.storage.files import Files, Span, group_start, unreadable

UNORDERED = "keys aren't in the order of its first rows"
Cut = tuple[int | None, int | None]  # a range's first key, and the first after it
_MOST_FILES = 2_000  # whose footers the driver reads
_MOST_ORDERS = 8  # that a table's files are
_MOST_READ = 2  # times that a table's rows are read, as a file may be in two ranges
_ROWS = 2**22  # in a range, about
_FEW = 2**14  # rows that one task reads as quickly as two
_LOOKED_AT, _LOOKS = 2**16, 16  # rows of an order's first group that are looked at, so many times
_SNAP = 0.25  # of a range, within which a file's end is taken for it


@dataclass(frozen=True)
class Keyed:
    """A table's files, and the column of integers that names its rows."""

    files: Files
    key: str


@dataclass(frozen=True)
class Ranges:
    """How tables are read by ranges of their key.

    Attributes
    ----------
    cuts
        Each range's first key and the first key after it; None where there is no bound.
    tables
        Each table's files. A task of these is one order's share of one range.
    tasks
        Of each range, for each table, its tasks.
    """

    cuts: tuple[Cut, ...]
    tables: tuple[Files, ...]
    tasks: tuple[tuple[tuple[int, ...], ...], ...]

    def rows(
        self, at: int, read: Callable[[int, int, Cut], Iterable[pa.RecordBatch]], key: str
    ) -> Iterator[list[list[pa.RecordBatch]]]:
        """Yield of each table all rows of some keys of a range; as :func:`side_by_side`.

        Parameters
        ----------
        at
            The range.
        read
            Reads a task of a table's files: of both the number, and the keys that are wanted.
        key
            The column of the key in what is read.
        """
        tables = enumerate(self.tasks[at])
        return side_by_side(
            [[Ordered(read(i, n, self.cuts[at]), key) for n in own] for i, own in tables]
        )


@dataclass(frozen=True)
class _Group:
    """A row group: where it is, its least and greatest key, and how many rows it has."""

    span: Span
    low: int
    high: int
    rows: int


@dataclass(frozen=True)
class _Orders:
    """A table's row groups as a few orders, in each of which no group overlaps another."""

    groups: tuple[tuple[_Group, ...], ...]

    @cached_property
    def every(self) -> list[_Group]:
        """All groups, by their least key."""
        return sorted((g for own in self.groups for g in own), key=lambda g: (g.low, g.high))


def in_ranges(tables: Sequence[Keyed], slots: int) -> Ranges | None:
    """Return how tables are read by ranges of their key; None where they aren't in its order.

    Parameters
    ----------
    tables
        The tables; ranges have as many rows of the first, about.
    slots
        How many tasks run at a time.
    """
    orders = []
    for table in tables:
        groups = _groups(table)
        own = None if groups is None else _ordered(groups)
        if own is None or not all(_looks_ordered(table, order) for order in own.groups):
            return None
        orders.append(own)
    rows = sum(g.rows for g in orders[0].every)
    n = slots * -(-rows // (_ROWS * slots))
    cuts = _cuts(orders[0].every, min(n, -(-rows // _FEW)))
    shared = [_shared(own, cuts) for own in orders]
    for own, tasks in zip(orders, shared, strict=True):
        read = sum(g.rows for ranges in tasks for order in ranges for g in order)
        if read > _MOST_READ * sum(g.rows for g in own.every):
            return None
    return _ranges(tables, cuts, shared)


def in_key_order(table: Keyed) -> Files:
    """Return files so that each task has a range of the key, where files have.

    What tasks write is in the order of the key then.
    """
    groups = _groups(table)
    if groups is None:
        return table.files
    n = len(table.files.tasks)
    groups.sort(key=lambda g: (g.low, g.high))
    ends = np.cumsum([g.rows for g in groups])
    task = (ends - 1) * n // ends[-1]
    spans = (tuple(g.span for g, at in zip(groups, task, strict=True) if at == i) for i in range(n))
    return replace(table.files, tasks=tuple(own for own in spans if own))


def _groups(table: Keyed) -> list[_Group] | None:
    """Return a table's row groups; None where one doesn't tell its keys, or has a null."""
    whole = {span.path: span for task in table.files.tasks for span in task}
    name = (table.files.names or {}).get(table.key, table.key)
    if len(whole) > _MOST_FILES or not pa.types.is_integer(table.files.columns[table.key]):
        return None
    groups = []
    for path, span in whole.items():
        try:
            about = pq.read_metadata(path, memory_map=True)
        except (OSError, pa.ArrowException):
            return None
        names = [about.schema.column(i).path for i in range(about.num_columns)]
        if name not in names:
            return None
        for g in range(about.num_row_groups):
            group, known = about.row_group(g), about.row_group(g).column(names.index(name))
            keys = known.statistics
            if not group.num_rows:
                continue
            if keys is None or not keys.has_min_max or keys.null_count != 0:
                return None
            start = group_start(group)
            here = replace(span, start=start, end=start + 1)
            groups.append(_Group(here, int(keys.min), int(keys.max), group.num_rows))
    return groups or None


def _ordered(groups: Sequence[_Group]) -> _Orders | None:
    """Arrange row groups as few orders as do; None where these are many."""
    orders: list[list[_Group]] = []
    for group in sorted(groups, key=lambda g: (g.low, g.high)):
        own = next((order for order in orders if order[-1].high < group.low), None)
        if own is not None:
            own.append(group)
        elif len(orders) < _MOST_ORDERS:
            orders.append([group])
        else:
            return None
    return _Orders(tuple(map(tuple, orders)))


def _looks_ordered(table: Keyed, order: Sequence[_Group]) -> bool:
    """Tell whether the first rows of an order's first file are in order."""
    span = order[0].span
    name = (table.files.names or {}).get(table.key, table.key)
    try:
        with pq.ParquetFile(span.path, memory_map=True) as file:
            starts = [group_start(file.metadata.row_group(g)) for g in range(file.num_row_groups)]
            at = [starts.index(span.start)]
            batches = islice(file.iter_batches(_LOOKED_AT, at, [name], use_threads=False), _LOOKS)
            keys = np.concatenate([batch.column(0).to_numpy() for batch in batches])
    except (OSError, pa.ArrowException):
        return False
    return bool((np.diff(keys) >= 0).all())


def _cuts(groups: Sequence[_Group], n: int) -> list[Cut]:
    """Cut keys into ``n`` ranges of about as many rows, where groups start if that is near.

    Examples
    --------
    >>> def group(low, high):
    ...     return _Group(Span("f", 0, 1), low, high, high - low + 1)
    >>> _cuts([group(0, 99), group(100, 209)], 2)
    [(None, 100), (100, None)]
    >>> _cuts([group(0, 99)], 2)
    [(None, 50), (50, None)]
    """
    total = sum(g.rows for g in groups)
    ends = np.cumsum([g.rows for g in groups])
    bounds: list[int] = []
    for i in range(1, n):
        rows = total * i / n
        at = int(np.searchsorted(ends, rows))
        group, before = groups[at], ends[at] - groups[at].rows
        share = (rows - before) / group.rows
        cut = group.low + round(share * (group.high - group.low))
        if rows - before < _SNAP * total / n:
            cut = group.low
        elif ends[at] - rows < _SNAP * total / n and at + 1 < len(groups):
            cut = groups[at + 1].low
        bounds.append(cut)
    # Of keys that groups share some are one range's and some the next one's.
    known = sorted(set(bounds) - {groups[0].low})
    return list(zip([None, *known], [*known, None], strict=True))


def _shared(orders: _Orders, cuts: Sequence[Cut]) -> list[list[list[_Group]]]:
    """Return of each range, for each order, its groups."""
    return [[[g for g in order if _overlaps(g, *cut)] for order in orders.groups] for cut in cuts]


def _overlaps(group: _Group, low: int | None, high: int | None) -> bool:
    return (low is None or group.high >= low) and (high is None or group.low < high)


def _ranges(
    tables: Sequence[Keyed],
    cuts: Sequence[Cut],
    shared: Sequence[list[list[list[_Group]]]],
) -> Ranges:
    files, numbers = [], []
    for table, of_ranges in zip(tables, shared, strict=True):
        tasks: list[tuple[Span, ...]] = []
        own = []
        for orders in of_ranges:
            there = [tuple(g.span for g in order) for order in orders if order]
            own.append(tuple(range(len(tasks), len(tasks) + len(there))))
            tasks += there
        files.append(replace(table.files, tasks=tuple(tasks)))
        numbers.append(own)
    return Ranges(tuple(cuts), tuple(files), tuple(zip(*numbers, strict=True)))


def within(batch: pa.RecordBatch, key: str, cut: Cut) -> pa.RecordBatch:
    """Return the rows of a batch whose key is in a range.

    Examples
    --------
    >>> within(pa.record_batch({"id": [1, 2, 3]}), "id", (2, None)).column("id").to_pylist()
    [2, 3]
    """
    keys, (low, high) = batch.column(key).to_numpy(zero_copy_only=False), cut
    inside = np.ones(len(keys), bool)
    if low is not None:
        inside &= keys >= low
    if high is not None:
        inside &= keys < high
    return batch if inside.all() else batch.filter(pa.array(inside))


class Ordered:
    """Rows in the order of a key, taken by its values.

    Parameters
    ----------
    batches
        The rows.
    key
        The column of the key, int64.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], key: str) -> None:
        self._batches, self._key = iter(batches), key
        self._waiting: deque[tuple[np.ndarray, pa.RecordBatch]] = deque()
        self._last: Any = None

    @property
    def end(self) -> int | None:
        """The last key of the next rows; None where there are no more."""
        return int(self._waiting[0][0][-1]) if self._waiting or self._pull() else None

    def until(self, last: int) -> Iterator[pa.RecordBatch]:
        """Take all rows up to a key.

        Raises
        ------
        OSError
            If keys aren't in order.
        """
        while self._waiting or self._pull():
            keys, batch = self._waiting.popleft()
            n = int(np.searchsorted(keys, last, "right"))
            if n:
                yield batch.slice(0, n)
            if n < len(keys):
                self._waiting.appendleft((keys[n:], batch.slice(n)))
                return

    def _pull(self) -> bool:
        for batch in self._batches:
            keys = batch.column(self._key).to_numpy()
            if len(keys):
                late = self._last is not None and keys[0] < self._last
                if late or bool((keys[1:] < keys[:-1]).any()):
                    raise unreadable("a table", UNORDERED)
                self._last = keys[-1]
                self._waiting.append((keys, batch))
                return True
        return False


def side_by_side(tables: Sequence[Sequence[Ordered]]) -> Iterator[list[list[pa.RecordBatch]]]:
    """Yield of each table all rows of some keys, in the order of these; the first table leads."""
    while ends := [end for rows in tables[0] if (end := rows.end) is not None]:
        last = min(ends)
        yield [[batch for rows in table for batch in rows.until(last)] for table in tables]
