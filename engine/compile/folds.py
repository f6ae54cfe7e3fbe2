"""Loops that go on with what an earlier step left: a step at a time, of all rows that have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from engine.compile.lists import lists_of, values_at
from engine.compile.vectors import (
    ASK,
    DTYPES,
    QUICK,
    Batch,
    Vec,
    const_kind,
    first_fail,
    of_values,
    strict_fail,
)
from engine.slicing.expr import Call

MOST_STEPS = 64  # rows with more are asked of Python: few of them would take as long as many


@dataclass
class _Ends:
    """What a loop left in one name: pieces of rows, each with their values."""

    rows: list[np.ndarray] = field(default_factory=list)
    pieces: list[tuple[Vec, Batch]] = field(default_factory=list)

    def add(self, rows: np.ndarray, at: np.ndarray, vec: Vec, of: Batch) -> None:
        inner = Batch({}, len(at), of.notes)
        self.rows.append(rows)
        self.pieces.append((values_at(vec, at, of, inner), inner))

    def whole(self, batch: Batch) -> Vec:
        """Return all pieces as one Vec, of rows in their order."""
        rows = np.concatenate(self.rows)
        pieces = [(plain_const(vec, inner), inner) for vec, inner in self.pieces]
        kinds = {vec.kind for vec, _ in pieces} - {"const"}
        consts = {vec.values is None for vec, _ in pieces if vec.kind == "const"}
        if len(kinds) == 1 and kinds <= DTYPES.keys() - {"match"} and False not in consts:
            return _numbers_of(batch, rows, kinds.pop(), pieces)
        values: list[Any] = [None] * batch.n
        for at, (vec, inner) in zip(self.rows, self.pieces, strict=True):
            for i, value in zip(at.tolist(), inner.values(vec), strict=True):
                values[i] = value
        if kinds == {"text"}:
            return batch.keep(pa.array(values, pa.large_string()))
        return of_values(values)


def plain_const(vec: Vec, batch: Batch) -> Vec:
    """Return a constant number as numbers."""
    kind = const_kind(vec)
    if vec.kind != "const" or kind not in DTYPES:
        return vec
    return Vec(kind, np.full(batch.n, vec.values, DTYPES[kind]))


def _numbers_of(
    batch: Batch, rows: np.ndarray, kind: str, pieces: Sequence[tuple[Vec, Batch]]
) -> Vec:
    values, null = np.zeros(batch.n, DTYPES[kind]), np.ones(batch.n, np.bool_)
    empty = [vec.kind == "const" for vec, _ in pieces]
    values[rows] = np.concatenate([
        np.zeros(of.n, DTYPES[kind]) if none else vec.values
        for none, (vec, of) in zip(empty, pieces, strict=True)
    ])  # fmt: skip
    null[rows] = np.concatenate([
        np.full(of.n, none) if vec.null is None else vec.null
        for none, (vec, of) in zip(empty, pieces, strict=True)
    ])  # fmt: skip
    return Vec(kind, values, null if null.any() else None)


def _fold(batch: Batch, node: Call, items: Vec, step: Vec, n: Vec, *rest: Vec) -> Vec:
    """Return how the loop ended, what it returned, and what it left in its names."""
    lists = lists_of(batch, node.args[0], items)
    if lists is None:
        return batch.refuse("it loops over what isn't known to be a list")
    before, outer = rest[: n.values], rest[n.values :]
    names = node.args[1].names  # type: ignore[attr-defined]
    fail = first_fail(strict_fail(items), *(v.fail for v in before))
    fail = np.zeros(batch.n, np.uint8) if fail is None else fail.copy()
    ends = [_Ends() for _ in range(2 + n.values)]
    idle = np.flatnonzero((lists.lens == 0) | (fail != 0))
    first = (Vec("const", 0), Vec("const", None), *before)
    for end, vec in zip(ends, first, strict=True):
        end.add(idle, idle, _certain(vec), batch)
    rows = np.flatnonzero((lists.lens > 0) & (fail == 0))
    states: Sequence[Vec] = [values_at(v, rows, batch, batch) for v in before]
    source, taken_on = batch, np.arange(len(rows))
    for k in range(MOST_STEPS):
        if not len(rows) and k:
            break
        inner = Batch({}, len(rows), batch.notes)
        item = values_at(lists.items, lists.at[lists.starts[rows] + k], lists.batch, inner)
        known = [values_at(v, taken_on, source, inner) for v in states]
        others = [values_at(v, rows, batch, inner) for v in outer]
        for name, vec in zip(names, (item, *known, *others), strict=True):
            inner.bind(name, vec, inner)
        answer: Vec = step.values(inner)
        how, *states = (_certain(v) for v in answer.values)
        fails = np.zeros(len(rows), np.uint8) if answer.fail is None else answer.fail
        fail[rows] = fails
        left = _numbers(how, inner) != 0
        done = left | (fails != 0) | (lists.lens[rows] == k + 1)
        at = np.flatnonzero(done)
        for end, vec in zip(ends, (how, *states), strict=True):
            end.add(rows[at], at, vec, inner)
        states = states[1:]
        taken_on = np.flatnonzero(~done)
        rows, source = rows[taken_on], inner
    fail[rows] = ASK
    ends_of = tuple(end.whole(batch) for end in ends)
    return Vec("tuple", ends_of, None, fail if fail.any() else None)


def _certain(vec: Vec) -> Vec:
    """Return values without why some have none: those rows are at their end."""
    return Vec(vec.kind, vec.values, vec.null, None, vec.strict)


def _numbers(vec: Vec, batch: Batch) -> np.ndarray:
    if vec.kind == "const":
        return np.full(batch.n, vec.values)
    values: np.ndarray = np.asarray(vec.values)
    return values if vec.null is None else np.where(vec.null, 0, values)


QUICK["fold"] = _fold
