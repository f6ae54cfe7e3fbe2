"""Rows as preprocessors leave them: each runs once per row, or once per distinct input.

A memoized result never carries another row's columns along.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import operator
import pickle
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from engine.lift.reads import preprocessor_reads
from engine.plain import plain
from engine.run.steps import Change, Undecided, run_many, run_one, step
from engine.slicing.functions import Preprocessor
from engine.slicing.rows import Row, TracedRow, has_containers, values_of

MEMO_SIZE = 100_000  # distinct inputs a memoized preprocessor remembers, per Python worker

# Values that are equal though a function may tell them apart: 0.0 and -0.0, 1.0 and 1.00, and
# two times of the hour that a clock change repeats.
_BY_TEXT = (float, complex, bytearray, Decimal, dt.date, dt.time, np.generic)


@dataclass(frozen=True)
class Prepared:
    """Rows after a chain of preprocessors.

    Attributes
    ----------
    rows
        A :class:`Row` each (or what the applier was given), :class:`Undecided` where one failed.
    before
        The rows before the chain's last preprocessor; None where nothing ran yet.
    steps
        For each row what that preprocessor did with it.
    """

    rows: Sequence[Any]
    before: Prepared | None = None
    steps: Sequence[Any] = ()

    def then(self, steps: Sequence[Any]) -> Prepared:
        """Return the rows after one more preprocessor, by what it did with each."""
        rows = [
            step.applied(x) if type(step) is Change else step
            for x, step in zip(self.rows, steps, strict=True)
        ]
        return Prepared(rows, self, steps)

    def take(self, at: Sequence[int]) -> Prepared:
        """Return some of the rows."""
        before = None if self.before is None else self.before.take(at)
        steps = [self.steps[i] for i in at] if self.steps else ()
        return Prepared([self.rows[i] for i in at], before, steps)

    def trace(self, i: int) -> tuple[Set[str], Set[str]]:
        """Return a row's source columns that were read, and those that still are as they were.

        Needed only where something failed, so computed from the steps and not stored.
        """
        if self.before is None:
            row = self.rows[i]
            return frozenset(), values_of(row).keys() if isinstance(row, Row) else frozenset()
        (read, source), step = self.before.trace(i), self.steps[i]
        if isinstance(step, Change):
            return read | step.read & source, source - step.gone - step.fields.keys()
        return (read | step.read & source if isinstance(step, Undecided) else read), source

    @functools.cached_property
    def shares(self) -> bool:
        """Whether a function could change a value in place that the next one reads."""
        rows = (values_of(x) for x in self.rows if isinstance(x, Row))
        return has_containers({type(v) for values in rows for v in values.values()})


class Preprocessing:
    """Runs preprocessors over batches, and remembers what memoized ones did."""

    def __init__(self) -> None:
        self._memos: dict[int, _Memo] = {}

    def after(
        self, chain: tuple[Preprocessor, ...], states: dict[tuple[int, ...], Prepared]
    ) -> Prepared:
        """Return the rows after a chain, taking what ``states`` has and adding to it."""
        done = tuple(id(p) for p in chain)
        if done not in states:
            before = self.after(chain[:-1], states)
            states[done] = before.then(self.steps(chain[-1], before.rows))
        return states[done]

    def steps(self, p: Preprocessor, rows: Sequence[Any]) -> Sequence[Any]:
        """Return what a preprocessor does with each row."""
        if p.batch and not plain():
            return self._run_distinct(p, rows) if p.memoize else run_many(p, rows)
        run = self._memoized(p) if p.memoize and not plain() else functools.partial(run_one, p)
        return [step(run, x) for x in rows]

    def _memo(self, p: Preprocessor) -> _Memo:
        return self._memos.setdefault(id(p), _Memo(p.memo_size or MEMO_SIZE))

    def _memoized(self, p: Preprocessor) -> Callable[[Any, set[str]], Any]:
        memo, fields = self._memo(p), _fields(p)

        def run(x: Any, read: set[str]) -> Any:
            key = _key(p, x, read, fields)
            change = memo.take(key)
            if change is None:
                return memo.add(key, run_one(p, x, read))
            return _for_another(memo.add(key, change), read)

        return run

    def _run_distinct(self, p: Preprocessor, rows: Sequence[Any]) -> Sequence[Any]:
        """Run a preprocessor of batches on one row of each distinct input that is new."""
        memo, fields = self._memo(p), _fields(p)

        def keyed(x: Any, read: set[str]) -> _Keyed:
            key = _key(p, x, read, fields)
            hash(key)
            return _Keyed(key, read)

        steps = [step(keyed, x) for x in rows]
        places: dict[Hashable, list[int]] = {}
        for i, one in enumerate(steps):
            if type(one) is _Keyed:
                places.setdefault(one.key, []).append(i)
        changes = {key: memo.take(key) for key in places}
        new = [key for key, change in changes.items() if change is None]
        changes |= zip(new, run_many(p, [rows[places[k][0]] for k in new]), strict=True)
        for key, at in places.items():
            own = [changes[key]] * len(at)
            if type(own[0]) is Undecided:  # each row fails by itself: it is a fault each time
                own[1:] = run_many(p, [rows[i] for i in at[1:]])
            else:
                memo.add(key, own[0])
            for i, change in zip(at, own, strict=True):
                steps[i] = _for_another(change, steps[i].read)
        return steps


class _Memo:
    """What a preprocessor did with the inputs that it had last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._changes: OrderedDict[Hashable, Any] = OrderedDict()

    def take(self, key: Hashable) -> Any:
        return self._changes.get(key)

    def add(self, key: Hashable, change: Any) -> Any:
        """Remember a change, or that it was needed again; the one not needed longest goes."""
        self._changes.pop(key, None)
        self._changes[key] = change
        if len(self._changes) > self._size:
            self._changes.popitem(last=False)
        return change


class _Keyed(NamedTuple):
    """A row's input, and what was read for it."""

    key: Hashable
    read: set[str]


def _for_another(change: Any, read: set[str]) -> Any:
    """Return what a preprocessor did with a row of the same input; a key may read more of this."""
    if type(change) is Undecided:
        return Undecided(change.error, change.read | read)
    if not isinstance(change, Change):
        return copy.deepcopy(change)
    return change if read <= change.read else replace(change, read=change.read | read)


def _fields(p: Preprocessor) -> Callable[[dict[str, Any]], Any]:
    """Return what takes the values that a preprocessor reads from a row's: all, if any may be."""
    columns = preprocessor_reads(p)
    if columns.escapes:
        return lambda values: values
    needed, maybe = sorted(columns.columns), sorted(columns.covered - columns.columns)
    if maybe:
        return lambda values: (
            *(values[c] for c in needed),
            *(values.get(c, _ABSENT) for c in maybe),
        )
    return operator.itemgetter(*needed) if needed else lambda _: ()


_ABSENT = object()


def _key(
    p: Preprocessor, x: Any, read: set[str], fields: Callable[[dict[str, Any]], Any]
) -> Hashable:
    if not isinstance(x, Row):
        return p.memoize_key(x) if p.memoize_key else hashable(x)
    values = values_of(x)
    if p.memoize_key:
        return p.memoize_key(TracedRow(values, read, set(values)))
    try:
        return hashable(fields(values))
    except KeyError:  # a field that isn't there: what comes of it depends on the others
        return _ABSENT, hashable(values)


def hashable(value: Any) -> Hashable:
    """Make a key of a value; values that a function could tell apart never give equal keys.

    Examples
    --------
    >>> hashable(1) == hashable(1.0), hashable([1, "a"]) == hashable([1, "a"])
    (False, True)
    """
    if isinstance(value, str):
        return value
    kind = type(value)
    if isinstance(value, Row):
        return kind, hashable(values_of(value))
    if isinstance(value, Mapping):
        return kind, tuple((hashable(k), hashable(v)) for k, v in value.items())
    if isinstance(value, list | tuple):
        return kind, tuple(map(hashable, value))
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(hashable, value))
    if isinstance(value, _BY_TEXT):
        return kind, repr(value)
    return kind, value if isinstance(value, Hashable) else pickle.dumps(value)
