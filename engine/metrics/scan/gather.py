"""Tasks' sums, brought together and arranged by split, model and slice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.masks.splits import Split, by_split
from engine.metrics.formulas.exact import BITS, LOWEST, PLACES, Exact
from engine.metrics.formulas.states import State
from engine.metrics.scan.form import EXACT_ROWS, FLAGS, KEY_ROW, PAIR_CELLS, Form, Part, Scan
from engine.metrics.scan.kernel import PLAIN, Line, scores_from
from engine.metrics.scan.sums import COLUMNS


def grouped(parts: pa.Table, form: Form) -> pa.Table:
    """Add up tasks' sums, as Spark would."""
    sums: list[tuple[str, str]] = [(c, "sum") for c in form.sums]
    totals = parts.group_by(list(COLUMNS)).aggregate([*sums, ("payload", "list")])
    names = {**{f"{c}_sum": c for c in form.sums}, "payload_list": "payload"}
    return totals.rename_columns([names.get(c, c) for c in totals.column_names])


def arranged(table: pa.Table, form: Form) -> Scan:
    """Arrange Spark's sums by split, model and slice."""
    spec, repeats = form.spec, False
    if form.key:
        of_keys = pc.equal(table.column("row"), KEY_ROW)
        repeats = bool(pc.any(table.filter(of_keys).column("repeated")).as_py())
        table = table.filter(pc.invert(of_keys))
    names = table.column("split").to_pylist()
    split_at: dict[tuple[Split], list[int]] = {}
    for at, name in enumerate(names):
        split_at.setdefault((name,), []).append(at)
    parts, nulls, pairs = {}, {}, {}
    for (name,), rows in by_split(split_at):
        sums = _Sums(table.take(pa.array(rows)), form)
        nulls[name] = sums.slices(sums.total(form.null_row, 1))[:, 0]
        nulls[name][0] = 0
        for i, model in enumerate(spec.models):
            parts[model, name] = sums.part(i)
        for j, (a, b) in enumerate(form.pairs):
            cells = sums.total(form.pair_row + j * PAIR_CELLS, PAIR_CELLS)
            pairs[spec.models[a], spec.models[b], name] = sums.slices(cells)
    return Scan(parts, nulls, pairs, repeats)


class _Sums:
    """The sums of one split, by row."""

    def __init__(self, table: pa.Table, form: Form) -> None:
        self.form = form
        self.row, self.rep, self.block = (
            table.column(c).to_numpy(zero_copy_only=False) for c in COLUMNS[1:]
        )
        order = np.lexsort((self.block, self.rep, self.row))
        self.row, self.rep, self.block = (a[order] for a in (self.row, self.rep, self.block))
        table = table.take(pa.array(order))
        self.sums = np.stack(
            [table.column(c).to_numpy(zero_copy_only=False) for c in form.sums], axis=1
        )
        self.payload = table.column("payload") if "payload" in table.column_names else None

    def slices(self, sums: np.ndarray) -> np.ndarray:
        """Return sums ``[cells, …, 1 + S]`` as ``[1 + S, …, cells]``."""
        return np.ascontiguousarray(np.moveaxis(sums, (0, -1), (-1, 0)))

    def total(self, first: int, cells: int, replicates: int = 0) -> np.ndarray:
        """Return the sums of some rows, ``[cells, 1 + S]``, or of their replicates."""
        start, end = np.searchsorted(self.row, [first, first + cells])
        part = slice(start, end)
        here = self.rep[part] >= 0 if replicates else self.rep[part] < 0
        shape = (cells, max(1, replicates), self.form.blocks, len(self.form.sums))
        full = np.zeros(shape, dtype=np.int64)
        drawn = self.rep[part][here] if replicates else 0
        full[self.row[part][here] - first, drawn, self.block[part][here]] = self.sums[part][here]
        totals = full.reshape(cells, shape[1], -1)[..., : len(self.form.places)]
        return totals if replicates else totals[:, 0]

    def part(self, i: int) -> Part:
        form, spec = self.form, self.form.spec
        flags = self.total(form.flag_row + i * len(FLAGS), len(FLAGS))[:, 0]
        return Part(
            self._state(i, 0),
            self._state(i, form.replicates) if form.replicates else None,
            self._scores(i),
            {name: int(n) for name, n in zip(FLAGS, flags, strict=True)},
            {
                (metric.name, at): states
                for j, metric in enumerate(spec.custom)
                for at, states in self.sent(form.state_row(i, j))
            },
            {
                metric.name: self.slices(self.total(form.scored_row(i, j), 1))[:, 0]
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
            used = np.unique((rows - first) // cells)  # few of all places
            if not len(used):
                used = np.arange(1)
            places = range(LOWEST + int(used[0]), LOWEST + int(used[-1]) + 1)
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
            if self.sums[at, 0] <= EXACT_ROWS:
                parts = [one for one in self.payload[int(at)].as_py() or () if one is not None]
                if parts:
                    yield int(self.block[at]), parts

    def _scores(self, i: int) -> dict[int, np.ndarray]:
        return {at: scores_from(parts) for at, parts in self.sent(self.form.scores_row(i))}
