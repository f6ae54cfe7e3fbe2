"""Tasks' sums: sent in rows of up to 64 slices, brought together, arranged by split and model.

What doesn't add up is sent as bytes.

Keys that are null or name more than one row are found on the way, without a scan of their own: each
task sends the hashes of its rows' keys, in blocks of like hashes; Spark brings a block's together
and compares them, wherever the rows are. Two keys that hash alike seem to repeat, too: so then the
tables are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.masks.pairs import Overlap
from engine.masks.splits import ALL, Split, by_split
from engine.metrics.formulas.exact import BITS, LOWEST, PLACES, Exact
from engine.metrics.formulas.states import State
from engine.metrics.scan.form import (
    FLAGS,
    KEY_ROW,
    PAIR_CELLS,
    EvaluationSpec,
    Form,
    Part,
    Scan,
)
from engine.metrics.scan.kernel import PLAIN, Line, scores_from
from engine.sql import name_sql

COLUMNS = ("split", "row", "rep", "block")  # what names a row; sums and a payload follow
PAYLOAD = "payload"
_SENT = 2**20  # sums in a batch
_MOST_SENT = 2**10  # parts of what is sent as bytes of one slice
_BLOCK_BITS = 8  # of a hash, that say which block it is in
_NULL = 0  # in place of the hash of a key that is null
_ALL = "flatten(collect_list(keys))"
# Of a block's keys, in SQL.
REPEATED: Final = f"size({_ALL}) > size(array_distinct({_ALL})) OR array_contains({_ALL}, {_NULL})"


def sums(
    split: Split, first: int, rep: int, of: np.ndarray, form: Form
) -> Iterator[pa.RecordBatch]:
    """Yield sums ``[rows, replicates, bits]`` as rows of one block of slices each."""
    at = np.flatnonzero(of.any(axis=-1))
    width = len(form.sums)
    step = max(1, _SENT // (form.blocks * width))
    for start in range(0, len(at), step):
        rows, drawn = np.divmod(at[start : start + step], of.shape[1])
        full = np.zeros((len(rows), form.blocks, width), dtype=np.int64)
        full.reshape(len(rows), -1)[:, : len(form.places)] = of[rows, drawn][:, form.places]
        which, block = np.nonzero(full.any(axis=-1))
        if len(which):  # bits that nobody asked for may be all there is
            yield _row_batch(
                split, first + rows[which], rep + drawn[which], block,
                np.ascontiguousarray(full[which, block].T),
                pa.nulls(len(which), pa.binary()), form,
            )  # fmt: skip


def payloads(
    split: Split,
    row: int,
    at: Sequence[int],
    n: Sequence[int],
    payload: Sequence[bytes | None],
    form: Form,
) -> pa.RecordBatch:
    """Return bytes of slices; of their sums n is the first."""
    place, same = form.place_of[np.array(at, dtype=np.intp)], np.zeros(len(at), np.int32)
    first = [pa.array(n, pa.int64()), *(pa.nulls(len(at), pa.int64()) for _ in form.sums[1:])]
    return _row_batch(
        split, same + row, same - 1, place, first, pa.array(payload, pa.binary()), form
    )


def _row_batch(
    split: Split,
    row: np.ndarray,
    rep: np.ndarray,
    block: np.ndarray,
    columns_of_sums: Iterable[Any],
    payload: pa.Array,
    form: Form,
    keys: pa.Array | None = None,
) -> pa.RecordBatch:
    columns = [
        pa.repeat(pa.scalar(split, pa.string()), len(row)),
        pa.array(row.astype(np.int64)),
        *(pa.array(a.astype(np.int32)) for a in (rep, block)),
        *(a if isinstance(a, pa.Array) else pa.array(a) for a in columns_of_sums),
        payload,
    ]
    if form.key:
        columns.append(pa.nulls(len(row), pa.list_(pa.int64())) if keys is None else keys)
    return pa.record_batch(columns, [*COLUMNS, *form.sums, PAYLOAD, "keys"][: len(columns)])


def key_sql(columns: Sequence[str]) -> str:
    """Return the hash of a row's key in SQL.

    Examples
    --------
    >>> key_sql(["day", "id"])
    'IF(`day` IS NULL OR `id` IS NULL, 0L, xxhash64(`day`, `id`))'
    """
    names = [name_sql(c) for c in columns]
    null = " OR ".join(f"{name} IS NULL" for name in names)
    return f"IF({null}, {_NULL}L, xxhash64({', '.join(names)}))"


def blocks(hashes: Sequence[np.ndarray]) -> tuple[np.ndarray, pa.ListArray]:
    """Return which blocks hashes ``[n]`` int64 are in, and the hashes of each.

    Examples
    --------
    >>> of, keys = blocks([np.array([1, -1]), np.array([2])])
    >>> of.tolist(), keys.to_pylist()
    ([0, 255], [[1, 2], [-1]])
    """
    every = np.concatenate([np.empty(0, np.int64), *hashes])
    of = (every.view(np.uint64) >> np.uint64(64 - _BLOCK_BITS)).astype(np.uint8)
    each = np.bincount(of, minlength=1 << _BLOCK_BITS)
    used = np.flatnonzero(each)
    ends = np.concatenate([[0], np.cumsum(each[used])]).astype(np.int32)
    order = np.argsort(of, kind="stable")  # of bytes it is a radix sort
    return used, pa.ListArray.from_arrays(pa.array(ends), pa.array(every[order]))


def key_hashes(hashes: Sequence[np.ndarray], form: Form) -> pa.RecordBatch:
    """Return the hashes of rows' keys."""
    block, keys = blocks(hashes)
    n = len(block)
    row, none = np.full(n, KEY_ROW), [pa.nulls(n, pa.int64())] * len(form.sums)
    return _row_batch(ALL, row, np.zeros(n), block, none, pa.nulls(n, pa.binary()), form, keys)


def repeated(form: Form) -> pa.RecordBatch:
    """Return what says that a key is null or names two rows, of rows that workers joined."""
    one = [pa.array([1]), *(pa.nulls(1, pa.int64()) for _ in form.sums[1:])]
    row, none = np.array([KEY_ROW]), pa.nulls(1, pa.binary())
    return _row_batch(ALL, row, np.zeros(1), np.zeros(1), one, none, form)


def grouped(parts: pa.Table, form: Form) -> pa.Table:
    """Add up tasks' sums, as Spark would."""
    return _totals(parts, form, (PAYLOAD, "list"))


def _totals(parts: pa.Table, form: Form, *more: tuple[str, str]) -> pa.Table:
    """Return the sums of each row, and what else is asked for of a column."""
    wanted = [*((c, "sum") for c in form.sums), *more]
    totals = parts.group_by(list(COLUMNS)).aggregate(wanted)
    names = {f"{c}_{how}": c for c, how in wanted}
    return totals.rename_columns([names.get(c, c) for c in totals.column_names])


def without_keys(table: pa.Table, form: Form) -> tuple[pa.Table, Form, bool]:
    """Return the sums without keys' hashes, their form, and whether a key is null or repeats."""
    of_keys = pc.equal(table.column("row"), KEY_ROW)
    keys, rest = table.filter(of_keys), table.filter(pc.invert(of_keys))
    repeats = bool(keys.num_rows)
    if form.key:
        repeats = bool(pc.any(keys.column("repeated")).as_py())
    columns = [c for c in (*COLUMNS, *form.sums, PAYLOAD) if c in table.column_names]
    return rest.select(columns), replace(form, key=()), repeats


def with_more(
    before: pa.Table, came: pa.Table, went: pa.Table | None, form: Form
) -> pa.Table | None:
    """Return the sums of all rows after some came and others went; None where that isn't known.

    Of what was sent as bytes nothing can be taken away again: it is only known that there is none
    of slices that were, and stay, too large for it. What adds up to nothing isn't there, as in a
    scan of all rows.

    Parameters
    ----------
    before, came, went
        The sums of the rows that were there, of those that came, and of those that went.
    form
        What was added up.
    """
    parts = [of.select([*COLUMNS, *form.sums]) for of in (before, came)]
    if went is not None:
        less = [pc.negate(went.column(c)) for c in form.sums]
        parts.append(pa.table([*(went.column(c) for c in COLUMNS), *less], parts[0].column_names))
    totals = _totals(pa.concat_tables(parts), form)
    sent, less_sent = _sent(before), set() if went is None else set(_sent(went))
    for at, more in _sent(came).items():
        sent[at] = [*sent.get(at, ()), *more]
    payload: list[list[bytes | None] | None] = []
    rows = zip(*(totals.column(c).to_pylist() for c in COLUMNS), strict=True)
    for at, n in zip(rows, totals.column(form.sums[0]).to_pylist(), strict=True):
        own, large = sent.get(at), n > form.spec.exact_rows
        payload.append(None if large else own)
        if not large and (at in less_sent or len(own or ()) > _MOST_SENT):
            return None
    some = np.any([totals.column(c).to_numpy() for c in form.sums], axis=0)
    some |= np.array([bool(own) for own in payload], bool)
    whole = totals.append_column(PAYLOAD, pa.array(payload, pa.list_(pa.binary())))
    return whole.filter(pa.array(some))


def _sent(table: pa.Table) -> dict[tuple[Any, ...], list[bytes | None]]:
    """Return what was sent as bytes, by the row that it is of."""
    if PAYLOAD not in table.column_names:
        return {}
    rows = table.filter(pc.less(table.column("row"), 0))
    *at, bytes_ = (rows.column(c).to_pylist() for c in (*COLUMNS, PAYLOAD))
    lists = ([*(sent or ())] for sent in bytes_)
    return dict(zip(zip(*at, strict=True), lists, strict=True))


def arranged(table: pa.Table, form: Form) -> Scan:
    """Arrange Spark's sums by split, model and slice."""
    spec = form.spec
    split_at: dict[tuple[Split], list[int]] = {}
    for at, name in enumerate(table.column("split").to_pylist()):
        split_at.setdefault((name,), []).append(at)
    parts, nulls, pairs = {}, {}, {}
    shared, n_rows = np.zeros((1 + len(form.bits),) * 2, np.int64), 0
    for (name,), rows in by_split(split_at):
        sums = _Sums(table.take(pa.array(rows)), form)
        nulls[name] = sums.slices(sums.total(form.rows["nulls"], 1))[:, 0]
        nulls[name][0] = 0
        for i, model in enumerate(spec.models):
            parts[model, name] = sums.part(i)
        for j, (a, b) in enumerate(form.pairs):
            cells = sums.total(form.rows["pairs"] + j * PAIR_CELLS, PAIR_CELLS)
            pairs[spec.models[a], spec.models[b], name] = sums.slices(cells)
        if spec.overlap:
            # Of sums the first are those of all rows: here of rows in no slice.
            shared += np.roll(sums.total(form.rows["overlap"], len(shared)), -1, axis=1)
            n_rows += int(parts[spec.models[0], name].state.rows["rows"][0, 0])
    return Scan(parts, nulls, pairs, overlap=_overlap(shared, n_rows, spec))


def _overlap(shared: np.ndarray, rows: int, spec: EvaluationSpec) -> Overlap | None:
    """Return the rows that slices share, of the upper triangle of their counts."""
    if not spec.overlap:
        return None
    upper = shared[:-1, :-1]
    counts = upper + upper.T - np.diag(np.diag(upper))
    return Overlap(tuple(spec.slice_ids), rows, counts, int(shared[-1, -1]))


class _Sums:
    """The sums of one split, by row."""

    def __init__(self, table: pa.Table, form: Form) -> None:
        self.form = form
        order = np.lexsort([table.column(c).to_numpy() for c in ("block", "rep", "row")])
        table = table.take(pa.array(order))
        self.row, self.rep, self.block = (table.column(c).to_numpy() for c in COLUMNS[1:])
        self.sums = np.stack([table.column(c).to_numpy() for c in form.sums], axis=1)
        self.payload = table.column(PAYLOAD) if PAYLOAD in table.column_names else None

    def slices(self, sums: np.ndarray) -> np.ndarray:
        """Return sums ``[cells, …, 1 + S]`` as ``[1 + S, …, cells]``."""
        return np.ascontiguousarray(np.moveaxis(sums, (0, -1), (-1, 0)))

    def total(self, first: int, cells: int, replicates: int = 0) -> np.ndarray:
        """Return the sums of some rows, ``[cells, 1 + S]``, or of their replicates."""
        part = slice(*np.searchsorted(self.row, [first, first + cells]))
        here = self.rep[part] >= 0 if replicates else self.rep[part] < 0
        drawn = max(1, replicates)
        full = np.zeros((cells, drawn, self.form.blocks, len(self.form.sums)), dtype=np.int64)
        at = self.rep[part][here] if replicates else 0
        full[self.row[part][here] - first, at, self.block[part][here]] = self.sums[part][here]
        totals = full.reshape(cells, drawn, -1)[..., : len(self.form.places)]
        return totals if replicates else totals[:, 0]

    def part(self, i: int) -> Part:
        form, spec = self.form, self.form.spec
        flags = self.total(form.rows["flags"] + i * len(FLAGS), len(FLAGS))[:, 0]
        scored = form.rows["scored"] + i * len(spec.custom)
        return Part(
            self._state(i, 0),
            self._state(i, form.replicates) if form.replicates else None,
            {at: scores_from(states) for at, states in self.sent(form.scores_row(i))},
            {name: int(n) for name, n in zip(FLAGS, flags, strict=True)},
            {
                (metric.name, at): states
                for j, metric in enumerate(spec.custom)
                for at, states in self.sent(form.state_row(i, j))
            },
            {
                metric.name: self.slices(self.total(scored + j, 1))[:, 0]
                for j, metric in enumerate(spec.custom)
            },
        )

    def _state(self, i: int, replicates: int) -> State:
        work, form = self.form.work, self.form
        counts = [c for c in work.counts if not replicates or c.name in work.replicated]
        names = {c.name for c in counts}

        def lines(line: Line, cells: int) -> np.ndarray:
            first = i * form.cells + form.first(line, cells)
            return self.slices(self.total(first, cells, replicates))

        def exact(name: str, cells: int) -> Exact:
            first = i * form.cells + form.starts[Line(name, BITS * LOWEST)]
            rows = self.row[slice(*np.searchsorted(self.row, [first, first + cells * PLACES]))]
            low, high = (rows[[0, -1]] - first) // cells if len(rows) else (0, 0)  # few places
            places = range(LOWEST + int(low), LOWEST + int(high) + 1)
            digits = np.stack([lines(Line(name, BITS * p), cells) for p in places])
            return Exact(places.start, digits).carried()

        weighed = {c.name: exact(c.name, c.cells) for c in counts} if work.weighted else {}
        sums = {s.name: exact(s.name, s.by.cells) for s in work.sums if s.by.name in names}
        if replicates and work.weighted:
            # Replicates know weights alone; of what has the weight 0 in all of them, rows do.
            whole = self._state(i, 0)
            none = {n: np.where(whole.weights[n] == 0, whole.rows[n], 0) for n in weighed}
            rows = {n: np.repeat(each[:, None], replicates, axis=1) for n, each in none.items()}
        else:
            rows = {c.name: lines(Line(c.name, PLAIN), c.cells) for c in counts}
        return State(rows, weighed, sums)

    def sent(self, row: int) -> Iterator[tuple[int, list[bytes]]]:
        """Yield what tasks sent as bytes in a row: the slice's position, and all that they sent."""
        if self.payload is None:
            return
        for at in range(*np.searchsorted(self.row, [row, row + 1])):
            if self.sums[at, 0] <= self.form.spec.exact_rows:
                parts = [one for one in self.payload[int(at)].as_py() or () if one is not None]
                if parts:
                    yield int(self.block[at]), parts
