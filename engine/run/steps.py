"""What a preprocessor does with rows: one at a time, or many at once.

What it did is kept as the fields that it set, so that it never changes what functions without it
see.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.errors import interrupts
from engine.slicing.batch import per_row, stretched
from engine.slicing.functions import Preprocessor, not_a_row
from engine.slicing.rows import Row, TracedMutableRow, Unreadable, own_copy, values_of

# Values that nobody can change in place, and so need no copy.
FIXED = (str, int, float, bytes, type(None), Decimal, dt.date, dt.time, dt.timedelta)


class Undecided:
    """Stands for a row on which a preprocessor failed, after it read some columns."""

    __slots__ = ("error", "read")

    def __init__(self, error: BaseException, read: Set[str]) -> None:
        self.error, self.read = error, read


@dataclass(frozen=True, slots=True)
class Change:
    """What a preprocessor did with one row: fields set or changed, deleted, and read."""

    fields: Mapping[str, Any]
    gone: frozenset[str]
    read: frozenset[str]

    def applied(self, x: Row) -> Row:
        """Return the row after it."""
        fields = values_of(x)
        if self.gone:
            fields = {k: v for k, v in fields.items() if k not in self.gone}
        return type(x)({**fields, **self.fields})


def step(run: Callable[[Any, set[str]], Any], x: Any) -> Any:
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


def run_one(p: Preprocessor, x: Any, read: set[str]) -> Any:
    """Run a preprocessor on a copy of one row; ``read`` is filled even where it fails."""
    if not isinstance(x, Row):
        return p.run_alone(x)
    if p.batch:
        return _run_batch(p, [x], read)[0]
    before = _own(values_of(x))
    unset = set(before)
    after = p.f(TracedMutableRow(dict(before), read, unset))
    if after is None:
        raise not_a_row(p.name)
    values = p.returned(after)

    def is_set(name: str, value: Any) -> bool:
        if name not in unset or value is not before[name]:  # set to the same value is set, too
            return True
        return name in read and not isinstance(value, FIXED)  # maybe changed in place

    fields = {k: v for k, v in values.items() if is_set(k, v)}
    return Change(fields, _shared(before.keys() - values.keys()), _shared(read))


def run_many(p: Preprocessor, rows: Sequence[Any]) -> list[Any]:
    """Run a preprocessor of batches on copies of many rows; what it gives is as of :func:`step`.

    Rows that have the same fields are a batch.
    """
    steps = [x if isinstance(x, Row | Undecided) else step(_alone(p), x) for x in rows]
    batches: dict[tuple[str, ...], list[int]] = {}
    for i, x in enumerate(rows):
        if isinstance(x, Row):
            batches.setdefault(tuple(values_of(x)), []).append(i)
    for at in batches.values():
        _fill(p, rows, at, steps)
    return steps


def _alone(p: Preprocessor) -> Callable[[Any, set[str]], Any]:
    return lambda x, _: p.run_alone(x)


def _fill(p: Preprocessor, rows: Sequence[Row], at: Sequence[int], steps: list[Any]) -> None:
    """Run on some rows; where it fails, on fewer, until the bad are found."""
    read: set[str] = set()
    try:
        changes = _run_batch(p, [rows[i] for i in at], read)
    except BaseException as error:
        if interrupts(error):
            raise
        if len(at) == 1:
            steps[at[0]] = Undecided(error, read)
            return
        for part in _parts(rows, at, read):
            _fill(p, rows, part, steps)
        return
    for i, change in zip(at, changes, strict=True):
        steps[i] = change


def _parts(rows: Sequence[Row], at: Sequence[int], read: Set[str]) -> list[Sequence[int]]:
    """Divide rows of which some are bad.

    Those in which something that was read is null go apart, and each for itself, since a function
    that can't take null fails on all of them.
    """
    null = {i for i in at if any(_is_missing(values_of(rows[i]).get(c, "")) for c in read)}
    if len(null) == len(at):
        return [[i] for i in at]
    if null:
        return [[i for i in at if i not in null], sorted(null)]
    return [at[: len(at) // 2], at[len(at) // 2 :]]


def _is_missing(value: Any) -> bool:
    return value is None or type(value) is Unreadable


def _run_batch(p: Preprocessor, rows: Sequence[Row], read: set[str]) -> list[Change]:
    """Run a preprocessor on copies of rows of the same fields, all at once."""
    before = [_own(values_of(x)) for x in rows]
    lists = stretched(before)
    unset = set(lists)
    after = p.f(TracedMutableRow(dict(lists), read, unset))
    if after is None:
        raise not_a_row(p.name)
    values = p.returned(after)
    fields: list[dict[str, Any]] = [{} for _ in rows]
    for name, column in values.items():
        is_set = name not in unset or column is not lists[name]
        if not is_set and name not in read:
            continue
        for own, old, new in zip(
            fields, before, per_row(p.name, name, column, len(rows)), strict=True
        ):
            if is_set or new is not old[name] or not isinstance(new, FIXED):
                own[name] = new
    gone, reads = _shared(lists.keys() - values.keys()), _shared(read)
    return [Change(own, gone, reads) for own in fields]


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v if isinstance(v, FIXED) else own_copy(v) for k, v in values.items()}


_SETS: dict[frozenset[str], frozenset[str]] = {}


def _shared(names: Set[str]) -> frozenset[str]:
    """Return a set of names, the same object each time: one per memoized row would be many."""
    one = frozenset(names)
    return _SETS.setdefault(one, one)
