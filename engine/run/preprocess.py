"""Rows as preprocessors leave them: each runs once per row, or once per distinct input.

What a preprocessor did is kept as the fields that it made, so that it never changes what
functions without it see, and a memoized result never carries another row's columns along.
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
from typing import Any

import numpy as np

from engine.errors import interrupts
from engine.lift.reads import reads
from engine.plain import plain
from engine.slicing.functions import Preprocessor, not_a_row
from engine.slicing.rows import (
    Row,
    TracedMutableRow,
    TracedRow,
    has_containers,
    own_copy,
    values_of,
)

MEMO_SIZE = 100_000  # distinct inputs a memoized preprocessor remembers, per Python worker

# Values that nobody can change in place, and so need no copy.
_FIXED = (str, int, float, bytes, type(None), Decimal, dt.date, dt.time, dt.timedelta)
# Values that are equal though a function may tell them apart: 0.0 and -0.0, 1.0 and 1.00, and
# two times of the hour that a clock change repeats.
_BY_TEXT = (float, complex, bytearray, Decimal, dt.date, dt.time, np.generic)


class Undecided:
    """Stands for a row on which a preprocessor failed, after it read some columns."""

    __slots__ = ("error", "read")

    def __init__(self, error: BaseException, read: Set[str]) -> None:
        self.error, self.read = error, read


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

    def then(self, run: Callable[[Any, set[str]], Any]) -> Prepared:
        """Return the rows after one more preprocessor."""
        steps = [_step(run, x) for x in self.rows]
        rows = [
            step.applied(x) if type(step) is _Change else step
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
        if isinstance(step, _Change):
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
        self._memos: dict[int, OrderedDict[Hashable, Any]] = {}

    def after(
        self, chain: tuple[Preprocessor, ...], states: dict[tuple[int, ...], Prepared]
    ) -> Prepared:
        """Return the rows after a chain, taking what ``states`` has and adding to it."""
        done = tuple(id(p) for p in chain)
        if done not in states:
            before, p = self.after(chain[:-1], states), chain[-1]
            remembers = p.memoize and not plain()
            run = self._memoized(p) if remembers else functools.partial(_run, p)
            states[done] = before.then(run)
        return states[done]

    def _memoized(self, p: Preprocessor) -> Callable[[Any, set[str]], Any]:
        memo = self._memos.setdefault(id(p), OrderedDict())
        fields = _fields(p)

        def run(x: Any, read: set[str]) -> Any:
            key = _key(p, x, read, fields)
            change = memo.get(key)
            if change is None:
                change = _run(p, x, read)
                if len(memo) >= MEMO_SIZE:
                    memo.popitem(last=False)
                memo[key] = change
                return change
            memo.move_to_end(key)
            if not isinstance(change, _Change):
                return copy.deepcopy(change)
            # A key of the user's own may have read more of this row.
            return change if read <= change.read else replace(change, read=change.read | read)

        return run


@dataclass(frozen=True, slots=True)
class _Change:
    """What a preprocessor did with one row: fields set or changed, deleted, and read."""

    fields: Mapping[str, Any]
    gone: frozenset[str]
    read: frozenset[str]

    def applied(self, x: Row) -> Row:
        fields = values_of(x)
        if self.gone:
            fields = {k: v for k, v in fields.items() if k not in self.gone}
        return type(x)({**fields, **self.fields})


def _step(run: Callable[[Any, set[str]], Any], x: Any) -> Any:
    """Return what one preprocessor did with a row: its changes, an object, or that it failed."""
    if type(x) is Undecided:
        return x
    read: set[str] = set()
    try:
        return run(x, read)
    except BaseException as error:  # sys.exit() too is the row's own
        if interrupts(error):
            raise
        return Undecided(error, read)


def _run(p: Preprocessor, x: Any, read: set[str]) -> Any:
    """Run a preprocessor on a copy of one row; ``read`` is filled even where it fails."""
    if not isinstance(x, Row):
        return p.run_alone(x)
    before = {k: v if isinstance(v, _FIXED) else own_copy(v) for k, v in values_of(x).items()}
    unset = set(before)
    after = p.f(TracedMutableRow(dict(before), read, unset))
    if after is None:
        raise not_a_row(p.name)
    values = values_of(after) if isinstance(after, Row) else getattr(after, "__dict__", None)
    if values is None:
        raise not_a_row(p.name, after)

    def is_set(name: str, value: Any) -> bool:
        if name not in unset or value is not before[name]:  # set to the same value is set, too
            return True
        return name in read and not isinstance(value, _FIXED)  # maybe changed in place

    fields = {k: v for k, v in values.items() if is_set(k, v)}
    return _Change(fields, _shared(before.keys() - values.keys()), _shared(read))


_SETS: dict[frozenset[str], frozenset[str]] = {}


def _shared(names: Set[str]) -> frozenset[str]:
    """Return a set of names, the same object each time: one per memoized row would be many."""
    one = frozenset(names)
    return _SETS.setdefault(one, one)


def _fields(p: Preprocessor) -> Callable[[dict[str, Any]], Any]:
    """Return what takes the values that a preprocessor reads from a row's: all, if any may be."""
    columns = reads(p.f)
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
