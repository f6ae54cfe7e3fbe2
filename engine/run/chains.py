"""A batch after preprocessors: as columns where its rows have the same fields, and as rows.

A preprocessor that does nothing but read and set fields is a function over columns
(:mod:`engine.lift.setters`); any other gets rows, of the fields that it reads where that is known.
It runs once, whoever looks at what it did.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence, Set
from itertools import chain as joined
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from engine.arrow.values import PartialValues, values_at
from engine.lift.reads import reads_in_chain
from engine.lift.setters import of_setters
from engine.run.contents import full_type, shallow_type
from engine.run.lean import LeanCall
from engine.run.preprocess import MEMO_SIZE, Prepared, Preprocessing, hashable
from engine.run.steps import FIXED, Change, Undecided, run_one, step
from engine.slicing.functions import Preprocessor
from engine.slicing.rows import Row, isolated_values, values_of


class Source(Protocol):
    """A batch's columns, and what preprocessors made of them so far."""

    n: int
    stages: dict[tuple[int, ...], Stage]

    @property
    def names(self) -> frozenset[str]:
        """The columns."""

    @property
    def kinds(self) -> Mapping[str, pa.DataType]:
        """Column to the type of its values."""

    def values(self, column: str) -> Sequence[Any]:
        """Return a column's values, which everyone shares."""

    def own(self, column: str) -> Sequence[Any]:
        """Return a column's values for someone who may change them."""

    def rows(self, at: np.ndarray | None = None) -> Sequence[Row]:
        """Return rows."""


class Stage:
    """A batch before its first preprocessor.

    Attributes
    ----------
    source
        The batch.
    at
        ``[n]``: the rows on which no preprocessor failed.
    fields
        Field to its values on these rows, of those that preprocessors set; None where rows differ
        in their fields.
    failed
        The rows on which one failed, unless a null that it read explains that.
    original
        The columns that no preprocessor set.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.at = source, np.arange(source.n)
        self.fields: Mapping[str, Sequence[Any]] | None = {}
        self.failed: Sequence[int] = ()
        self.original = source.names
        self._shared: dict[str, Sequence[Any]] = {}
        self._kinds: dict[str, pa.DataType] = {}
        self._full: set[str] = set()  # fields that were looked into

    @property
    def names(self) -> frozenset[str]:
        """All fields."""
        return self.source.names.union(self.fields or ())

    def values(self, name: str) -> Sequence[Any]:
        """Return a field's values, which everyone shares."""
        if self.fields and name in self.fields:
            return self.fields[name]
        if name not in self._shared:
            self._shared[name] = self._of_source(self.source.values(name))
        return self._shared[name]

    def columns(self, call: LeanCall) -> Mapping[str, Sequence[Any]] | None:
        """Return the values of a function's fields, its own of those that it may change.

        They are None where Python can't hold some.
        """
        changed = self.changed(call)
        values = {c: self._own(c) if c in changed else self.values(c) for c in call.of.fields}
        return None if any(isinstance(v, PartialValues) for v in values.values()) else values

    def changed(self, call: LeanCall) -> frozenset[str]:
        """Return the fields whose values a function may change in place."""
        kinds = {c: self._kind(c) for c in call.of.fields}
        changed = call.changed(kinds)
        unsure = [c for c in changed - self._full if self.fields and c in self.fields]
        if not unsure:
            return changed
        self._full.update(unsure)
        self._kinds |= {c: full_type(self.fields[c]) for c in unsure}  # type: ignore[index]
        return call.changed(kinds | {c: self._kinds[c] for c in unsure})

    def prepared(self, at: np.ndarray | None = None) -> Prepared:
        """Return rows, and what preprocessors did with them."""
        return Prepared(self.source.rows(at))

    def _kind(self, name: str) -> pa.DataType:
        if not self.fields or name not in self.fields:
            return self.source.kinds[name]
        if name not in self._kinds:
            self._kinds[name] = shallow_type(self.fields[name])
        return self._kinds[name]

    def _own(self, name: str) -> Sequence[Any]:
        if self.fields and name in self.fields:
            return isolated_values(self.fields[name])
        return self._of_source(self.source.own(name))

    def _of_source(self, values: Sequence[Any]) -> Sequence[Any]:
        return values if len(self.at) == self.source.n else values_at(values, self.at)


class _Did(Protocol):
    """What a preprocessor did with a stage's rows."""

    @property
    def failures(self) -> Mapping[int, Set[str]]:
        """Place in the stage to what was surely read, of the rows on which it failed."""

    def fields(self) -> Mapping[str, Sequence[Any]] | None:
        """Return the fields that it set, or None where they aren't the same on all rows."""

    def step(self, place: int, x: Row) -> Any:
        """Return what it did with a row."""

    def row(self, place: int, x: Row) -> Any:
        """Return a row after it, or Undecided."""


class _After(Stage):
    """A batch after one more preprocessor."""

    def __init__(self, before: Stage, did: _Did) -> None:
        super().__init__(before.source)
        self._before, self._did, self.at = before, did, before.at
        fields = None if before.fields is None else did.fields()
        self.fields = None if fields is None else {**(before.fields or {}), **fields}
        none: frozenset[str] = frozenset()
        self.original = none if self.fields is None else before.original - self.fields.keys()
        if did.failures:
            left = np.delete(np.arange(len(before.at)), list(did.failures))
            self.at = before.at[left]
            if self.fields is not None:
                self.fields = {c: values_at(v, left) for c, v in self.fields.items()}
        judged = before.original if before.fields is not None else none
        self.failed = [*before.failed, *(
            int(before.at[place]) for place, read in did.failures.items()
            if all(before.values(c)[place] is not None for c in read & judged)
        )]  # fmt: skip

    def prepared(self, at: np.ndarray | None = None) -> Prepared:
        return self._all if at is None else self._prepared(at, self._before.prepared(at))

    @functools.cached_property
    def _all(self) -> Prepared:
        return self._prepared(np.arange(self.source.n), self._before.prepared())

    def _prepared(self, at: np.ndarray, before: Prepared) -> Prepared:
        places, row = np.searchsorted(self._before.at, at).tolist(), self._did.row
        rows = [
            x if type(x) is Undecided else row(place, x)
            for place, x in zip(places, before.rows, strict=True)
        ]
        return Prepared(rows, before, _Steps(self._did, places, before.rows))


class _Steps(Sequence[Any]):
    """What a preprocessor did with each of some rows, made when it is asked for."""

    def __init__(self, did: _Did, places: Sequence[int], rows: Sequence[Any]) -> None:
        self._did, self._places, self._rows = did, places, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, i: Any) -> Any:
        x = self._rows[i]
        return x if type(x) is Undecided else self._did.step(self._places[i], x)


class _ByColumns:
    """What a preprocessor over columns did: what it returned for each row, or why it failed."""

    def __init__(
        self,
        p: Preprocessor,
        call: LeanCall,
        out: Sequence[Any],
        errors: Mapping[int, tuple[BaseException, frozenset[str]]],
    ) -> None:
        self._p, self._of, self._out, self._errors = p, call.of, out, errors
        self._again: dict[int, Any] = {}
        self.failures: Mapping[int, Set[str]] = {place: read for place, (_, read) in errors.items()}

    def fields(self) -> Mapping[str, Sequence[Any]]:
        sets = self._of.sets
        if len(sets) == 1:
            return {sets[0]: self._out}
        nothing = (None,) * len(sets)
        out = [nothing if y is None else y for y in self._out] if self.failures else self._out
        return dict(zip(sets, zip(*out, strict=True) if out else [()] * len(sets), strict=True))

    def step(self, place: int, x: Row) -> Any:
        if place not in self._errors:
            out, values = self._out[place], values_of(x)
            own = {c: values[c] for c in self._of.fields if not isinstance(values[c], FIXED)}
            sets = dict(zip(self._of.sets, (out,) if len(self._of.sets) == 1 else out, strict=True))
            return Change({**own, **sets}, frozenset(), frozenset(self._of.fields))
        error, read = self._errors[place]
        if read >= self._of.fields.keys():
            return Undecided(error, read)
        if place not in self._again:  # its place doesn't say what it read
            self._again[place] = step(functools.partial(run_one, self._p), x)
        return self._again[place]

    def row(self, place: int, x: Row) -> Any:
        if place in self._errors:
            step = self.step(place, x)
            return step.applied(x) if type(step) is Change else step
        out, sets = self._out[place], self._of.sets
        if len(sets) == 1:
            return type(x)({**values_of(x), sets[0]: out})
        return type(x)({**values_of(x), **dict(zip(sets, out, strict=True))})


class _BySteps:
    """What a preprocessor over rows did."""

    def __init__(self, before: Stage, steps: Sequence[Any]) -> None:
        self._before, self._steps = before, steps
        self.failures: Mapping[int, Set[str]] = {
            i: s.read for i, s in enumerate(steps) if type(s) is Undecided
        }

    def fields(self) -> Mapping[str, Sequence[Any]] | None:
        changes = [s for s in self._steps if type(s) is not Undecided]
        if any(type(s) is not Change or s.gone for s in changes):
            return None
        names = dict.fromkeys(joined.from_iterable(s.fields for s in changes))
        fields = {}
        for name in names:
            column: list[Any] = [
                None if type(s) is Undecided else s.fields.get(name, _ABSENT) for s in self._steps
            ]
            if any(v is _ABSENT for v in column):
                if name not in self._before.names:
                    return None
                olds = self._before.values(name)
                column = [
                    old if new is _ABSENT else new for old, new in zip(olds, column, strict=True)
                ]
            fields[name] = column
        return fields

    def step(self, place: int, _: Row) -> Any:
        return self._steps[place]

    def row(self, place: int, x: Row) -> Any:
        step = self._steps[place]
        return step.applied(x) if type(step) is Change else step


_ABSENT: Any = object()  # stands for a field that a preprocessor left alone


class Chains:
    """Runs preprocessors over batches."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self._calls: dict[tuple[int, frozenset[str]], LeanCall | None] = {}
        self._memos: dict[int, dict[Hashable, Any]] = {}

    def after(self, chain: tuple[Preprocessor, ...], source: Source) -> Stage:
        """Return a batch after a chain, of which others may have run the beginning."""
        done = tuple(id(p) for p in chain)
        if done not in source.stages:
            before = self.after(chain[:-1], source) if chain else None
            source.stages[done] = (
                Stage(source) if before is None else _After(before, self._run(before, chain[-1]))
            )
        return source.stages[done]

    def _run(self, before: Stage, p: Preprocessor) -> _Did:
        did = None if before.fields is None else self._over_columns(before, p)
        return did or _BySteps(before, self._preprocessing.steps(p, self._rows(before, p)))

    def _rows(self, before: Stage, p: Preprocessor) -> Sequence[Row]:
        """Return rows of what a preprocessor reads, where that is known, or whole ones."""
        reads = reads_in_chain(p)
        names = reads.columns | reads.covered
        unknown = reads.escapes or p.memoize_key or not names <= before.names
        if before.fields is None or unknown:
            rows = before.prepared().rows
            return rows if len(before.at) == len(rows) else [rows[i] for i in before.at.tolist()]
        ordered = [c for c in (*before.source.names, *before.fields) if c in names]
        columns = [before.values(c) for c in dict.fromkeys(ordered)]
        values = zip(*columns, strict=True) if columns else [()] * len(before.at)
        return [Row(dict(zip(dict.fromkeys(ordered), v, strict=True))) for v in values]

    def _over_columns(self, before: Stage, p: Preprocessor) -> _ByColumns | None:
        """Run a preprocessor that is a function of fields; None where it isn't."""
        if p.batch or p.memoize_key is not None:
            return None
        key = id(p), before.names
        if key not in self._calls:
            of = of_setters(p.f, before.names)
            self._calls[key] = None if of is None else LeanCall(p.f, of, {})
        call = self._calls[key]
        if call is None or before.changed(call):
            return None
        columns = before.columns(call)
        if columns is None:
            return None
        errors: dict[int, tuple[BaseException, frozenset[str]]] = {}
        run = functools.partial(self._run_distinct, p) if p.memoize else _run_all
        out = run(call, columns, len(before.at), errors)
        return None if out is None else _ByColumns(p, call, out, errors)

    def _run_distinct(
        self, p: Preprocessor, call: LeanCall, columns: _Columns, n: int, errors: _Errors
    ) -> Sequence[Any] | None:
        """Run a memoized preprocessor on each distinct input that is new."""
        memo = self._memos.setdefault(id(p), {})
        keys = _keys([columns[c] for c in call.of.fields], n)
        if keys is None:
            return None
        new = {k: i for i, k in enumerate(keys) if k not in memo}  # the last with it: all are alike
        some, own = columns, _Errors()
        if len(new) < n:
            at = np.fromiter(new.values(), np.int64, len(new))
            some = {c: values_at(v, at) for c, v in columns.items()}
        out = _run_all(call, some, len(new), own)
        if out is None:
            return None
        fresh = dict(zip(new, out, strict=True))
        failed = {k: own[i] for i, k in enumerate(new) if i in own} if own else {}
        errors.update((i, failed[k]) for i, k in enumerate(keys) if k in failed)
        if len(new) < n:
            out = [fresh[k] if k in fresh else memo[k] for k in keys]
        if len(memo) + len(new) > (p.memo_size or MEMO_SIZE):
            self._memos[id(p)] = memo = {}  # another thread may read the old one
        memo.update((k, y) for k, y in fresh.items() if k not in failed)
        return out


_Columns = Mapping[str, Sequence[Any]]
_Errors = dict[int, tuple[BaseException, frozenset[str]]]


def _run_all(call: LeanCall, columns: _Columns, n: int, errors: _Errors) -> list[Any] | None:
    def fail(place: int, error: BaseException, _: object, read: frozenset[str]) -> None:
        errors[place] = error, read

    return call.call(columns, n, fail)


def _keys(columns: Sequence[Sequence[Any]], n: int) -> Sequence[Hashable] | None:
    """Return what tells a memoized preprocessor's inputs apart; None where that can't be said."""
    if not columns:
        return [()] * n
    if len(columns) == 1 and set(map(type, columns[0])) <= {str}:  # as hashable has them
        return columns[0]
    try:
        keys = [*map(hashable, columns[0] if len(columns) == 1 else zip(*columns, strict=True))]
        set(keys)
    except Exception:  # a value of the user's own: rows say which
        return None
    return keys
