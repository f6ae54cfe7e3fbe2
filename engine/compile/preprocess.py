"""Rows as preprocessors leave them: each runs once per row, or once per distinct input.

What a preprocessor did is kept as the fields that it made, so that it never changes what
functions without it see, and a memoized result never carries another row's columns along.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import pickle
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from engine.compile.reads import reads
from engine.errors import PreprocessorReturnError
from engine.slicing.functions import Preprocessor
from engine.slicing.rows import Row, TracedMutableRow, TracedRow, has_containers, values_of

MEMO_SIZE = 100_000  # distinct inputs a memoized preprocessor remembers, per Python worker

# Values that nobody can change in place, and so need no copy.
_FIXED = (str, int, float, bytes, type(None), Decimal, dt.date, dt.time, dt.timedelta)
# Values that are equal though a function may tell them apart: 0.0 and -0.0, 1.0 and 1.00, and
# two times of the hour that a clock change repeats.
_BY_TEXT = (float, complex, bytearray, Decimal, dt.date, dt.time, np.generic)


class Undecided:
    """Stands for a row on which a preprocessor failed."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


@dataclass(frozen=True)
class Prepared:
    """Rows after a chain of preprocessors.

    Attributes
    ----------
    rows
        A :class:`Row` each (or what the applier was given), :class:`Undecided` where one failed.
    traces
        For each row the source's columns that were read, and those that still are as they were;
        None where nothing ran yet.
    """

    rows: Sequence[Any]
    traces: Sequence[tuple[Set[str], Set[str]]] | None = None

    def trace(self, i: int) -> tuple[Set[str], Set[str]]:
        """Return a row's trace."""
        if self.traces is not None:
            return self.traces[i]
        row = self.rows[i]
        return frozenset(), values_of(row).keys() if isinstance(row, Row) else frozenset()

    @functools.cached_property
    def shares(self) -> bool:
        """Whether a function could change a value in place that the next one reads."""
        rows = (values_of(x) for x in self.rows if isinstance(x, Row))
        return has_containers({type(v) for values in rows for v in values.values()})


class Preprocessing:
    """Runs preprocessors over batches, and remembers what memoized ones made."""

    def __init__(self) -> None:
        self._memos: dict[int, OrderedDict[Hashable, Any]] = {}

    def after(
        self, chain: tuple[Preprocessor, ...], states: dict[tuple[int, ...], Prepared]
    ) -> Prepared:
        """Return the rows after a chain, taking what ``states`` has and adding to it."""
        done = tuple(id(p) for p in chain)
        if done not in states:
            before, p = self.after(chain[:-1], states), chain[-1]
            run = self._memoized(p) if p.memoize else functools.partial(_run, p)
            states[done] = _prepared(run, before)
        return states[done]

    def _memoized(self, p: Preprocessor) -> Callable[[Any, set[str]], Any]:
        memo = self._memos.setdefault(id(p), OrderedDict())
        found = reads(p.f)
        fields = None if found.escapes else sorted(found.columns)

        def run(x: Any, read: set[str]) -> Any:
            key = _key(p, x, read, fields)
            if key not in memo:
                made = _run(p, x, read)
                if len(memo) >= MEMO_SIZE:
                    memo.popitem(last=False)
                memo[key] = made
                return made
            memo.move_to_end(key)
            made = memo[key]
            if not isinstance(made, _Made):
                return copy.deepcopy(made)
            read |= made.read
            return made

        return run


@dataclass(frozen=True)
class _Made:
    """What a preprocessor did with one row: fields set or changed, deleted, and read."""

    fields: Mapping[str, Any]
    gone: frozenset[str]
    read: frozenset[str]

    def applied(self, x: Row) -> Row:
        kept = {k: v for k, v in values_of(x).items() if k not in self.gone}
        return Row({**kept, **self.fields})


def _prepared(run: Callable[[Any, set[str]], Any], before: Prepared) -> Prepared:
    steps = [_step(run, x, *before.trace(i)) for i, x in enumerate(before.rows)]
    return Prepared([row for row, _ in steps], [trace for _, trace in steps])


def _step(
    run: Callable[[Any, set[str]], Any], x: Any, read: Set[str], source: Set[str]
) -> tuple[Any, tuple[Set[str], Set[str]]]:
    """Return the row after one preprocessor, and its trace."""
    if type(x) is Undecided:
        return x, (read, source)
    own: set[str] = set()
    try:
        made = run(x, own)
    except Exception as error:
        return Undecided(error), (read | own & source, source)
    if not isinstance(made, _Made):
        return made, (read, source)
    return made.applied(x), (read | own & source, source - made.gone - made.fields.keys())


def _run(p: Preprocessor, x: Any, read: set[str]) -> Any:
    """Run a preprocessor on a copy of one row; ``read`` is filled even where it fails."""
    if not isinstance(x, Row):
        return p.run_alone(x)
    given = {k: v if isinstance(v, _FIXED) else copy.deepcopy(v) for k, v in values_of(x).items()}
    after = p.f(TracedMutableRow(dict(given), read, set(given)))
    if after is None:
        raise PreprocessorReturnError(p.name)
    values = values_of(after) if isinstance(after, Row) else vars(after)

    def is_made(name: str, value: Any) -> bool:
        if name not in given or value is not given[name]:
            return True
        return name in read and not isinstance(value, _FIXED)  # maybe changed in place

    fields = {k: v for k, v in values.items() if is_made(k, v)}
    return _Made(fields, frozenset(given.keys() - values.keys()), frozenset(read))


def _key(p: Preprocessor, x: Any, read: set[str], fields: list[str] | None) -> Hashable:
    if not isinstance(x, Row):
        return p.memoize_key(x) if p.memoize_key else hashable(x)
    values = values_of(x)
    if p.memoize_key:
        return p.memoize_key(TracedRow(values, read, set(values)))
    return hashable(values if fields is None else {f: values.get(f) for f in fields})


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
