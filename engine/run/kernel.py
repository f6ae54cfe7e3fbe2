"""Slicing functions run over one batch of rows: what an executor does, and a driver too.

Needs numpy, pandas and pyarrow alone. All row functions of a run share one list of rows.
"""

from __future__ import annotations

import functools
import math
import time
import uuid
from collections import OrderedDict
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray

from engine.arrow.columns import taken_from
from engine.arrow.values import (
    PartialValues,
    decoded,
    python_values,
    readable,
    unreadable_rows,
    values_at,
    values_between,
)
from engine.compile.program import Program
from engine.compile.repeats import repeats
from engine.compile.vectors import Batch
from engine.errors import UnreadableValueError, interrupts
from engine.garbage import fewer_collections
from engine.lift.body import columns_of
from engine.lift.changes import ANY
from engine.lift.reads import slice_reads
from engine.matching.patterns import Search
from engine.plain import plain
from engine.run.chains import Chains, Stage
from engine.run.contents import full_type
from engine.run.lean import Answers, Failure, LeanFunction, lean_function
from engine.run.preprocess import MEMO_SIZE, Prepared, Preprocessing, hashable
from engine.run.row_faults import Fault, Texts, cause_of, place_of, read_of
from engine.run.series import nan_apart, null_series
from engine.run.steps import Undecided
from engine.slicing.evaluate import (
    BatchMask,
    combined,
    is_combination,
    is_mask,
    is_undecided,
    masks_needed,
    of_row,
    wrong_return,
)
from engine.slicing.expr import Expr
from engine.slicing.functions import SlicingFunction, series_parameters
from engine.slicing.rows import (
    PartialRow,
    Row,
    TracedRow,
    Unreadable,
    isolated,
    isolated_values,
    values_of,
)
from engine.slicing.slices import SliceKind
from engine.watch import COMPILED, enter

_UNKNOWN = -2  # a code that isn't known yet
_PART = 1024  # rows that go through preprocessors at a time
TRIAL = 1024  # rows, at least, of a batch that is measured
_TRIED = 4096  # rows, at most, on which another way is tried
_SLOW = 5e-8  # seconds per row that make another way worth a trial
_QUICKER = 0.9  # of the time: what another way must take less


@dataclass(frozen=True)
class BatchMasks:
    """Masks of one batch by slice id, and the faults; a faulted row's mask is null."""

    by_slice: Mapping[str, BatchMask]
    faults: Sequence[Fault]

    @functools.cached_property
    def masks(self) -> dict[str, np.ndarray]:
        """``[n]`` int8 per slice id: 1 in, 0 out, -1 null."""
        return {slice_id: mask.codes for slice_id, mask in self.by_slice.items()}


class _Ways(NamedTuple):
    """Which slices run over columns, and which of those that have a tree by rows.

    The latter are None before a batch was measured.
    """

    lifted: Sequence[str]
    program: Program
    by_row: frozenset[str] | None


class Kernel:
    """The Python slices of a run, ready for batches.

    Parameters
    ----------
    sfs
        Slicing functions of any kind but SQL and COLUMN. What a composition combines is among
        them.
    trees
        Slice id to what its function says, for those that run over whole columns.
    kinds
        Column to its Arrow type: those of the trees.
    matcher
        Which multi-pattern matcher is used.
    decoders
        Of a column that crosses in another form: what makes a value of what crossed.
    forced
        Slices that stay where they are. Others that have a tree run by rows once a batch showed
        that to be quicker; masks and faults are the same.
    unused
        Slice id to columns that its function reads and its tree doesn't.

    Examples
    --------
    >>> kernel = Kernel([SlicingFunction("short", lambda x: len(x.text) < 3)])
    >>> out = kernel.run({"text": pa.array(["a", "abc", None])})
    >>> out.masks["short"].tolist(), len(out.faults)
    ([1, 0, -1], 0)
    """

    def __init__(
        self,
        sfs: Sequence[SlicingFunction],
        trees: Mapping[str, Expr] | None = None,
        kinds: Mapping[str, pa.DataType] | None = None,
        matcher: str = "auto",
        decoders: Mapping[str, Callable[[Any], Any]] | None = None,
        forced: Collection[str] = (),
        unused: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.sfs, self.forced, self.unused = tuple(sfs), frozenset(forced), dict(unused or {})
        self.trees, self.kinds, self.matcher = dict(trees or {}), dict(kinds or {}), matcher
        self.decoders = dict(decoders or {})
        self._preprocessing = Preprocessing()
        self._chains = Chains(self._preprocessing)
        self._answers: dict[str, dict[Hashable, int]] = {}
        self._leans: dict[tuple[str, frozenset[str]], LeanFunction | None] = {}
        self._warm = False  # a first batch takes longer than the others
        self._token = uuid.uuid4().hex

    def __reduce__(self) -> tuple[Any, ...]:
        parts = self.sfs, self.trees, self.kinds, self.matcher, self.decoders
        return _kernel, (self._token, *parts, self.forced, self.unused)

    @functools.cached_property
    def _combined(self) -> dict[str, Expr]:
        """Trees over other slices' masks: evaluated last."""
        return {s: t for s, t in self.trees.items() if is_combination(t)}

    @functools.cached_property
    def _order(self) -> list[str]:
        """Those trees' slices, each behind what it combines."""
        needed = {s: self._combined.keys() & masks_needed(t) for s, t in self._combined.items()}
        return list(TopologicalSorter(needed).static_order())

    @functools.cached_property
    def _ways(self) -> _Ways:
        lifted = [sf.id for sf in self.sfs if sf.id in self.trees.keys() - self._combined.keys()]
        program = Program([self.trees[s] for s in lifted], self.kinds, self.matcher)
        return _Ways(lifted, program, None)

    @property
    def linear(self) -> set[str]:
        """Patterns that are answered without backtracking."""
        return self._ways.program.linear

    @property
    def methods(self) -> dict[tuple[str, Search], str]:
        """How each search in a column is answered."""
        return self._ways.program.methods

    @property
    def quicker_by_row(self) -> frozenset[str]:
        """Slices that have a tree and run by rows, since a batch showed that to be quicker."""
        return self._ways.by_row or frozenset()

    def _rows_of(self, ways: _Ways) -> list[SlicingFunction]:
        """Return the functions that run by rows."""
        columns = self.trees.keys() - (ways.by_row or ())
        return [sf for sf in self.sfs if sf.kind is SliceKind.ROW and sf.id not in columns]

    def run(
        self,
        columns: Mapping[str, pa.Array],
        n: int | None = None,
        lists: Mapping[str, Sequence[Any]] | None = None,
        series: Mapping[str, pd.Series] | None = None,
        unreadable: Mapping[str, Mapping[int, Unreadable]] | None = None,
    ) -> BatchMasks:
        """Run all slices over a batch of ``n`` rows.

        Parameters
        ----------
        columns
            Column to its Arrow values.
        n
            The number of rows; that of the columns by default.
        lists, series
            Columns as Python values or Series, where they are known as such.
        unreadable
            What Python can't hold, by row, of columns known as Series.
        """
        n = len(next(iter(columns.values()))) if n is None else n
        with fewer_collections():
            return self._run(columns, n, lists, series, unreadable)

    def _run(
        self,
        columns: Mapping[str, pa.Array],
        n: int,
        lists: Mapping[str, Sequence[Any]] | None,
        series: Mapping[str, pd.Series] | None,
        unreadable: Mapping[str, Mapping[int, Unreadable]] | None,
    ) -> BatchMasks:
        source = _Source(columns, n, lists or {}, self.decoders)
        source.unreadable = dict(unreadable or {})
        faults: list[Fault] = []
        masks: dict[str, BatchMask] = {}
        ways = self._ways  # which another thread may change
        by_row = self._rows_of(ways)
        if len(self.trees) > len(self._combined):
            masks |= self._run_trees(ways, source, faults)
        parted = [sf for sf in by_row if sf.chain and not any(p.batch for p in sf.chain)]
        whole = [sf for sf in by_row if sf not in parted]
        masks |= self._run_functions(whole, source.rows, faults, source)
        masks |= self._run_parts(parted, source, faults)
        for sf in self.sfs:
            if sf.kind is SliceKind.PANDAS:
                enter(sf.id)
                of_series = series or source.series(self.series)
                masks[sf.id] = BatchMask.of(
                    _run_series(sf, of_series, source.unreadable, n, faults)
                )
        self._combine(masks)
        ids = [sf.id for sf in self.sfs]
        return BatchMasks({s: masks[s] for s in ids}, sorted(faults, key=lambda f: f.row))

    def _run_trees(self, ways: _Ways, source: _Source, faults: list[Fault]) -> dict[str, BatchMask]:
        """Run the program, and the functions themselves on the rows that it asks about."""
        measures = ways.by_row is None and source.n >= TRIAL and self._warm
        self._warm |= source.n >= TRIAL
        seconds: list[float] | None = [] if measures else None
        bad: dict[str, np.ndarray] = {}
        enter(COMPILED, compiled=True)
        begin = functools.partial(_enter_tree, ways.lifted)
        answers = ways.program.run(source.columns, source.n, seconds, bad, begin)
        masks = self._that_read(bad, dict(zip(ways.lifted, answers, strict=True)), source)
        costs = dict(zip(ways.lifted, seconds or (), strict=False))
        open_ = {s: m for s, m in masks.items() if m.ask is not None}
        for sf in self.sfs:
            if sf.id not in open_:
                continue
            mask, start = open_[sf.id], time.thread_time()
            at = np.flatnonzero(mask.ask)  # type: ignore[arg-type]
            own: list[Fault] = []
            masks[sf.id] = mask.answered(at, self._by_python(sf, source, at, own))
            faults += [f.at(int(at[f.row])) for f in own]
            if measures:
                costs[sf.id] += time.thread_time() - start
        if measures:
            self._move(ways, {s: seconds / source.n for s, seconds in costs.items()}, source)
        return masks

    def _that_read(
        self, bad: dict[str, np.ndarray], masks: dict[str, BatchMask], source: _Source
    ) -> dict[str, BatchMask]:
        """Return masks that ask on the rows that hold what Python can't: reading it fails.

        A tree evaluates less than its function does, which may read what it doesn't need.
        """
        for column in dict.fromkeys(c for columns in self.unused.values() for c in columns):
            rows = Batch(source.columns, source.n).unreadable(column)
            bad |= {} if rows is None else {column: rows}
        if not bad:
            return masks
        for sf in self.sfs:
            read = self._columns_read.get(sf.id, frozenset()) & bad.keys()
            if sf.id in masks and read:
                rows = np.logical_or.reduce([bad[c] for c in read])
                mask = masks[sf.id]
                masks[sf.id] = replace(mask, ask=rows if mask.ask is None else mask.ask | rows)
        return masks

    @functools.cached_property
    def _columns_read(self) -> dict[str, frozenset[str]]:
        """Slice id to the columns that a function with a tree reads."""
        return {
            sf.id: frozenset(c.name for c in columns_of(self.trees[sf.id]))
            | frozenset(self.unused.get(sf.id, ()))
            for sf in self.sfs
            if sf.id in self.trees and sf.f is not None
        }

    def _move(self, ways: _Ways, costs: Mapping[str, float], source: _Source) -> None:
        """Let functions run by rows where that is quicker than the seconds per row given."""
        at = np.linspace(0, source.n - 1, min(source.n, _TRIED)).astype(np.int64)
        slow = {s for s, cost in costs.items() if cost > _SLOW} - self.forced
        by_row = frozenset(
            sf.id for sf in self.sfs
            if sf.id in slow and self._by_rows(sf, source, at) < _QUICKER * costs[sf.id]
        )  # fmt: skip
        places = [at for at, s in enumerate(ways.lifted) if s in by_row]
        left = [s for s in ways.lifted if s not in by_row]
        program = ways.program.without(places) if places else ways.program
        self._ways = _Ways(left, program, by_row)

    def _by_rows(self, sf: SlicingFunction, source: _Source, at: np.ndarray) -> float:
        """Return the seconds per row that a function takes by rows, tried on some."""
        enter(sf.id)
        lean = None if sf.f is None else self._lean(sf, source.names)
        if lean is None:
            return math.inf
        for rows in (at[::16], at):  # the first time, it is compiled, and its failures' places read
            start = time.thread_time()
            codes = self._once_per_value(sf, source.at(rows, lean.of.fields), [])
            took = time.thread_time() - start
        return math.inf if codes is None else took / len(at)

    def _by_python(
        self, sf: SlicingFunction, source: _Source, at: np.ndarray, faults: list[Fault]
    ) -> np.ndarray:
        """Run a function that has a tree on some rows."""
        enter(sf.id)
        lean = None if sf.f is None else self._lean(sf, source.names)
        if lean is not None:
            codes = self._once_per_value(sf, source.at(at, lean.of.fields), faults)
            if codes is not None:
                return codes
        python = sf if sf.f is not None else _of_tree(sf, self.trees[sf.id])
        return _run_rows(python, Prepared(source.rows(at)), source.rows(at), faults)

    def _once_per_value(
        self, sf: SlicingFunction, source: _Source, faults: list[Fault]
    ) -> np.ndarray | None:
        """Run a function over fields that has a tree, and so says the same of equal values."""
        lean = self._lean(sf, source.names)
        only = next(iter(lean.of.fields)) if lean is not None and len(lean.of.fields) == 1 else None
        known = only is None or only not in source.columns or only in source.lists
        distinct = None if only is None or known else repeats(source.columns[only])
        if only is None or distinct is None:
            return self._run_lean(sf, source, faults)
        own: list[Fault] = []
        values, places = distinct
        codes = self._run_lean(sf, _Source({only: values}, len(values), {}, self.decoders), own)
        faults += [f.at(i) for f in own for i in np.flatnonzero(places == f.row).tolist()]
        return None if codes is None else codes[places]

    def _run_parts(
        self, sfs: Sequence[SlicingFunction], source: _Source, faults: list[Fault]
    ) -> dict[str, BatchMask]:
        """Run functions behind preprocessors over a few rows at a time.

        What preprocessors make is large; of few rows it is still in the processor's cache.
        """
        parts = []
        for start in range(0, source.n, _PART) if sfs else ():
            part, own = source.part(start, start + _PART), list[Fault]()
            parts.append(self._run_functions(sfs, part.rows, own, part))
            faults += [f.at(start + f.row) for f in own]
        none = np.empty(0, np.int8)
        return {
            sf.id: BatchMask.of(np.concatenate([none, *(p[sf.id].codes for p in parts)]))
            for sf in sfs
        }

    def _run_functions(
        self,
        sfs: Iterable[SlicingFunction],
        rows: Callable[[], Sequence[Any]],
        faults: list[Fault],
        source: _Source | None = None,
    ) -> dict[str, BatchMask]:
        """Run the row functions: over columns where there are any and that is enough, or rows."""
        states: dict[tuple[int, ...], Prepared] = {}
        masks, shared = {}, not plain()
        for sf in sfs:
            enter(sf.id)
            codes = None
            if source and shared:
                lean = self._once_per_value if sf.id in self.trees else self._run_lean
                codes = lean(sf, source, faults)
            if codes is None:
                states = states or {(): Prepared(rows())}
                if source and shared:
                    prepared = self._chains.after(sf.chain, source).prepared()
                else:
                    alone = states if shared else dict(states)
                    prepared = self._preprocessing.after(sf.chain, alone)
                run = self._once_each if sf.pure and shared else _run_rows
                codes = run(sf, prepared, states[()].rows, faults)
            masks[sf.id] = BatchMask.of(codes)
        if source:
            source.stages.clear()  # each knows its source
        return masks

    def _run_lean(
        self, sf: SlicingFunction, source: _Source, faults: list[Fault]
    ) -> np.ndarray | None:
        if sf.chain:
            return self._run_chain(sf, source, faults)
        lean = self._lean(sf, source.names)
        if lean is None:
            return None
        changed = lean.changed(source.kinds)
        values = {c: source.own(c) if c in changed else source.values(c) for c in lean.of.fields}
        if any(isinstance(v, PartialValues) for v in values.values()):
            return None  # Python can't hold some of them
        answers = lean.run(values, source.n)
        if answers is None:
            return None
        faults += _lean_faults(lean, answers, source)
        return answers.codes

    def _run_chain(
        self, sf: SlicingFunction, source: _Source, faults: list[Fault]
    ) -> np.ndarray | None:
        """Run a function over what its preprocessors made; over rows where one of them failed."""
        stage = self._chains.after(sf.chain, source)
        lean = None if stage.fields is None else self._lean(sf, stage.names)
        columns = None if lean is None else stage.columns(lean)
        if lean is None or columns is None:
            return None
        answers = lean.run(columns, len(stage.at))
        if answers is None:
            return None
        codes = np.full(source.n, -1, np.int8)
        codes[stage.at] = answers.codes
        unsure = stage.at[[*answers.errors, *answers.wrong]].tolist()
        open_ = np.array(sorted({*stage.failed, *unsure}), np.int64)
        if len(open_):
            own: list[Fault] = []
            codes[open_] = _run_rows(sf, stage.prepared(open_), source.rows(open_), own)
            faults += [f.at(int(open_[f.row])) for f in own]
        return codes

    def _lean(self, sf: SlicingFunction, columns: frozenset[str]) -> LeanFunction | None:
        key = sf.id, columns
        if key not in self._leans:
            self._leans[key] = None if sf.pure else lean_function(sf, columns)
        return self._leans[key]

    def _once_each(
        self, sf: SlicingFunction, prepared: Prepared, rows: Sequence[Any], faults: list[Fault]
    ) -> np.ndarray:
        """Run a pure function once per distinct value of the columns that it reads."""
        read = slice_reads(sf)
        if read.escapes or not all(isinstance(x, Row) for x in rows):
            return _run_rows(sf, prepared, rows, faults)
        memo = self._answers.setdefault(sf.id, {})
        needed = read.columns | read.covered
        keys = [hashable({c: v for c, v in values_of(x).items() if c in needed}) for x in rows]
        codes = np.fromiter((memo.get(k, _UNKNOWN) for k in keys), np.int8, len(keys))
        first = {k: i for i, k in reversed(list(enumerate(keys))) if k not in memo}
        if first:
            at = np.array(sorted(first.values()))
            own: list[Fault] = []
            answers = _run_rows(sf, prepared.take(at.tolist()), [rows[i] for i in at], own)
            wrong = {int(at[f.row]): f for f in own}
            new = {keys[i]: int(code) for i, code in zip(at, answers, strict=True)}
            for i in np.flatnonzero(codes == _UNKNOWN):
                codes[i] = new[keys[i]]
                fault = wrong.get(first[keys[i]])
                if fault is not None:
                    faults.append(fault.at(int(i)))
            # A row that fails runs again each time, so that it is a fault each time.
            failed = {keys[i] for i in wrong}
            if len(memo) + len(new) > MEMO_SIZE:
                memo.clear()
            memo.update((k, code) for k, code in new.items() if k not in failed)
        return codes

    def run_rows(self, rows: Sequence[Any]) -> BatchMasks:
        """Run the row functions over rows: :class:`Row` or any object that they can read."""
        faults: list[Fault] = []
        masks = self._run_functions(self._rows_of(self._ways), lambda: rows, faults)
        self._combine(masks)
        return BatchMasks(masks, faults)

    def _combine(self, masks: dict[str, BatchMask]) -> None:
        """Add combinations' masks; one may be of others."""
        for slice_id in self._order:
            masks[slice_id] = combined(self.trees[slice_id], masks.__getitem__)

    @property
    def series(self) -> frozenset[str]:
        """Columns that vectorised functions take."""
        return frozenset(
            column
            for sf in self.sfs
            if sf.kind is SliceKind.PANDAS and sf.f is not None
            for column in series_parameters(sf.f, sf.resources)
        )


class _Source:
    """A batch's columns, as Arrow, and as rows where they are needed."""

    def __init__(
        self,
        columns: Mapping[str, pa.Array],
        n: int,
        lists: Mapping[str, Sequence[Any]],
        decoders: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        self.columns, self.n, self.lists, self.decoders = columns, n, lists, decoders
        self.unreadable: dict[str, Mapping[int, Unreadable]] = {}
        self._rows: list[Row] | None = None
        self._shared: dict[str, Sequence[Any]] = {}
        self.stages: dict[tuple[int, ...], Stage] = {}

    def series(self, names: Iterable[str]) -> dict[str, pd.Series]:
        """Return columns as Series, null for what Python can't hold; what that is stays noted."""
        series = {}
        for c in names:
            if c in self.decoders:
                values = self._values(c, None)
                bad: Mapping[int, Unreadable] = {
                    i: v for i, v in enumerate(values) if type(v) is Unreadable
                }
                series[c] = pd.Series([None if i in bad else v for i, v in enumerate(values)],
                                    dtype=object)  # fmt: skip
            else:
                array, bad = readable(self.columns[c])
                series[c] = null_series(array)
            self.unreadable[c] = bad
        return series

    def at(self, at: np.ndarray, columns: Iterable[str]) -> _Source:
        """Return some columns at some positions."""
        places, known = pa.array(at), {**self._shared, **self.lists}
        arrays = {c: taken_from(self.columns[c], places) for c in columns if c in self.columns}
        lists = {c: values_at(known[c], at) for c in columns if c in known}
        return _Source(arrays, len(at), lists, self.decoders)

    def part(self, start: int, stop: int) -> _Source:
        """Return the rows from one position to another."""
        columns = {c: array[start:stop] for c, array in self.columns.items()}
        lists = {c: values_between(v, start, stop) for c, v in self.lists.items()}
        part = _Source(columns, min(stop, self.n) - start, lists, self.decoders)
        part._shared = {c: values_between(v, start, stop) for c, v in self._shared.items()}
        return part

    def again(self) -> _Source:
        """Return the same batch, of which nothing is Python's yet: faults are kept for long."""
        return _Source(self.columns, self.n, self.lists, self.decoders)

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """The columns."""
        return frozenset((*self.lists, *self.columns))

    @functools.cached_property
    def kinds(self) -> dict[str, pa.DataType]:
        """Column to the type of its values; one that tells nothing where Arrow doesn't have it."""
        lists = {c: full_type(values) for c, values in self.lists.items()}
        known = {c: a.type for c, a in self.columns.items() if c not in self.decoders}
        return {c: known.get(c, ANY) for c in self.columns} | lists

    def values(self, column: str) -> Sequence[Any]:
        """Return a column's Python values, which everyone shares."""
        if column not in self._shared:
            in_lists = column in self.lists
            self._shared[column] = self.lists[column] if in_lists else self._values(column, None)
        return self._shared[column]

    def own(self, column: str) -> Sequence[Any]:
        """Return a column's Python values for someone who may change them."""
        if column in self.lists:
            return isolated_values(self.lists[column])
        return self._values(column, None)

    def _values(self, column: str, at: pa.Array | None) -> list[Any]:
        array = self.columns[column]
        values = python_values(array if at is None else taken_from(array, at))
        decode = self.decoders.get(column)
        return values if decode is None else decoded(values, decode)

    def rows(self, at: np.ndarray | None = None) -> Sequence[Row]:
        """Return all rows, or those at some positions."""
        if at is not None and self._rows is None and len(at) < self.n // 2:
            return self._rows_at(at)
        if self._rows is None:
            self._rows = self._rows_at(None)
        return self._rows if at is None else [self._rows[i] for i in at.tolist()]

    def _rows_at(self, at: np.ndarray | None) -> list[Row]:
        places = None if at is None else pa.array(at)
        lists = {c: v if at is None else values_at(v, at)
                 for c, v in {**self.lists, **self._shared}.items()}  # fmt: skip
        for c in self.columns:
            if c not in lists:
                lists[c] = self._values(c, places)
        n = self.n if at is None else len(at)
        names = [c for c in (*self.lists, *self.columns) if c in lists]
        values = zip(*(lists[c] for c in names), strict=True) if names else ((),) * n
        rows = [Row(dict(zip(names, v, strict=True))) for v in values]
        for column in lists.values():
            bad = unreadable_rows(column)
            for i in np.flatnonzero(bad).tolist() if bad is not None else ():
                rows[i] = PartialRow(values_of(rows[i]))
        return rows


def _enter_tree(lifted: Sequence[str], at: int) -> None:
    enter(lifted[at], compiled=True)


_KERNELS: OrderedDict[str, Kernel] = OrderedDict()
_KEPT = 4  # kernels a Python worker keeps between tasks: what they compiled and memoized


def _kernel(token: str, *parts: Any) -> Kernel:
    """Return a run's kernel: the one that an earlier task of this process had, or a new one."""
    if token not in _KERNELS:
        _KERNELS[token] = Kernel(*parts)
        _KERNELS[token]._token = token
        while len(_KERNELS) > _KEPT:
            _KERNELS.popitem(last=False)
    _KERNELS.move_to_end(token)
    return _KERNELS[token]


def _of_tree(sf: SlicingFunction, tree: Expr) -> SlicingFunction:
    """Return a slice of an expression as a function: what its tree means."""
    return SlicingFunction(sf.name, lambda x: of_row(tree, x, {}), id=sf.id)


def _run_rows(
    sf: SlicingFunction, prepared: Prepared, source: Sequence[Any], faults: list[Fault]
) -> np.ndarray:
    f, resources, shares = sf.f, sf.resources, prepared.shares
    assert f is not None  # a ROW function has one
    codes = np.empty(len(source), dtype=np.int8)
    for i, x in enumerate(prepared.rows):
        try:
            if type(x) is Undecided:
                raise x.error  # noqa: TRY301 - judged below as the function's own
            own = type(x)(isolated(values_of(x))) if shares and isinstance(x, Row) else x
            y = f(own, **resources)
        except BaseException as error:  # sys.exit() too is the row's own
            if interrupts(error):
                raise
            codes[i] = -1
            read = _reads(sf, prepared, i)
            if not _any_null(source[i], read):
                faults.append(Fault(sf.id, i, _texts(source[i], read, error)))
            continue
        if y is True:
            codes[i] = 1
        elif y is False:
            codes[i] = 0
        elif is_mask(y):
            codes[i] = -1 if is_undecided(y) else int(y)
        else:
            codes[i] = -1
            read = _reads(sf, prepared, i)
            faults.append(Fault(sf.id, i, Texts(read_of(source[i], read), wrong_return(y))))
    return codes


def _lean_faults(lean: LeanFunction, answers: Answers, source: _Source) -> Iterator[Fault]:
    """Yield what no null that was read explains.

    A function is called again, to see what it reads, only where a column is null and the place
    that failed doesn't say; and for a fault's texts.
    """
    errors, wrong = answers.errors, answers.wrong
    calls = _CallsAgain(lean, source.again(), sorted((*errors, *wrong)))
    columns = [source.values(c) for c in lean.of.fields]
    for i, failure in errors.items():
        if (
            len(failure.read) == len(columns)  # none of them is null, or it wouldn't be here
            or all(values[i] is not None for values in columns)
            or not _any_null(*calls.reads(i, failure.read))
        ):
            yield Fault(lean.sf.id, i, functools.partial(calls.texts, i, failure))
    for i, value in wrong.items():
        yield Fault(lean.sf.id, i, functools.partial(calls.texts, i, value))


class _CallsAgain:
    """What a function over fields reads of the rows on which it failed: it is called again."""

    def __init__(self, lean: LeanFunction, source: _Source, at: Sequence[int]) -> None:
        self._sf, self._fields, self._source = lean.sf, frozenset(lean.of.fields), source
        self._places = {row: k for k, row in enumerate(at)}

    @functools.cached_property
    def _prepared(self) -> Prepared:
        return Prepared(self._source.rows(np.array(list(self._places), np.int64)))

    def reads(self, i: int, sure: frozenset[str] = frozenset()) -> tuple[Row, Set[str]]:
        """Return a row and the columns that were read of it, of which some are known."""
        at = self._places[i]
        known = sure == self._fields
        return self._prepared.rows[at], sure if known else _reads(self._sf, self._prepared, at)

    def texts(self, i: int, failure: Any) -> Texts:
        """Return what a fault says: of what was raised, or of what was returned and is no mask."""
        if isinstance(failure, Failure):
            shown = read_of(*self.reads(i, failure.read))
            return Texts(shown, cause_of(failure.error, failure.place))
        return Texts(read_of(*self.reads(i)), wrong_return(failure))


def _reads(sf: SlicingFunction, prepared: Prepared, i: int) -> set[str]:
    """Return the source's columns that a function read of a row, preprocessors included.

    The function is called again, on a row that records reads; only done on rows that failed.
    """
    read, source = map(set, prepared.trace(i))
    x = prepared.rows[i]
    if isinstance(x, Row) and sf.f is not None:
        try:
            sf.f(TracedRow(isolated(values_of(x)), read, source), **sf.resources)
        except BaseException as error:  # the failure is the one being explained
            if interrupts(error):
                raise
    return read


def _texts(raw: Any, read: Iterable[str], error: BaseException) -> Texts:
    return Texts(read_of(raw, read), cause_of(error, place_of(error.__traceback__)))


def _any_null(raw: Any, read: Iterable[str]) -> bool:
    return any(values_of(raw)[name] is None for name in read)


def _run_series(
    sf: SlicingFunction,
    series: Mapping[str, pd.Series],
    unreadable: Mapping[str, Mapping[int, Unreadable]],
    n: int,
    faults: list[Fault],
) -> np.ndarray:
    assert sf.f is not None  # a PANDAS function has one
    names = series_parameters(sf.f, sf.resources)
    codes = np.full(n, -1, dtype=np.int8)
    bad = sorted({i for name in names for i in unreadable.get(name, ())})
    own = {name: series[name] for name in names}
    with nan_apart():
        _fill_series(sf, own, np.delete(np.arange(n), np.array(bad, np.intp)), codes, faults)
    for i in bad:
        row = PartialRow(
            {name: unreadable.get(name, {}).get(i, _item(s, i)) for name, s in own.items()}
        )
        if not any(map(_is_null, values_of(row).values())):
            error = next(_errors(row))
            faults.append(Fault(sf.id, i, _texts(row, names, error)))
    return codes


def _errors(row: Row) -> Iterator[UnreadableValueError]:
    """Yield what reading a row's values raises."""
    for name in row:
        try:
            row[name]
        except UnreadableValueError as error:
            yield error


def _item(series: pd.Series, i: int) -> Any:
    value = series.iloc[i]
    return value.item() if isinstance(value, np.generic) else value


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT


def _fill_series(
    sf: SlicingFunction,
    series: Mapping[str, pd.Series],
    at: np.ndarray,
    codes: np.ndarray,
    faults: list[Fault],
) -> None:
    """Run a vectorised function on some rows; where it fails, on fewer, until the bad are found.

    Rows in which a column is null are apart first, since a function that can't take null fails on
    all of those.
    """
    n = len(at)
    if n == 0:
        return
    assert sf.f is not None  # a PANDAS function has one
    own = {name: s.copy() if n == len(s) else s.iloc[at] for name, s in series.items()}
    try:
        codes[at] = _series_codes(sf.f(**own, **sf.resources), n)
    except BaseException as error:
        if interrupts(error):
            raise
        null = np.logical_or.reduce([s.iloc[at].isna().to_numpy(np.bool_) for s in series.values()])
        if n > 1:
            first = np.arange(n) < n // 2 if null.all() or not null.any() else null
            for part in (at[~first], at[first]):
                _fill_series(sf, series, part, codes, faults)
            return
        codes[at] = -1
        if not null[0]:
            row = Row({name: _item(s, at[0]) for name, s in series.items()})
            texts = _texts(row, series, error)
            if isinstance(error, _NotAMaskError):
                texts = texts._replace(cause=str(error))
            faults.append(Fault(sf.id, int(at[0]), texts))


class _NotAMaskError(Exception):
    """A vectorised function returned something that isn't a mask per row."""


def _series_codes(y: Any, n: int) -> np.ndarray:
    """Turn a boolean Series (or array) into mask codes."""
    y = pd.Series(y) if isinstance(y, np.ndarray | list | ExtensionArray) else y
    if not isinstance(y, pd.Series):
        raise _NotAMaskError(wrong_return(y).replace("True, False or None", "a boolean Series"))
    if len(y) != n:
        raise _NotAMaskError(f"it returned {len(y)} values for {n} rows")
    if y.dtype in (bool, "boolean"):
        answers: Any = y.array.astype("boolean")
        return answers.to_numpy(np.int8, na_value=-1)  # type: ignore[no-any-return]
    null = y.isna().to_numpy(dtype=bool)
    known = y[~null]
    if not all(map(is_mask, known.unique())):
        bad = next(v for v in known if not is_mask(v))
        raise _NotAMaskError(wrong_return(bad))
    codes = np.full(n, -1, dtype=np.int8)
    codes[~null] = known.astype("int8").to_numpy()
    return codes
