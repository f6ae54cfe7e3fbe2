"""Dates, times and lengths of time as whole columns of numbers, in Python's terms.

A date is a column of days, the others are microseconds; of times, those without a zone and those
in UTC. In another zone Python's own operations run on each value.
"""

from __future__ import annotations

import datetime as dt
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from engine.arrow.values import python_values
from engine.compile.vectors import (
    BY_KIND,
    EXACT,
    TIMES,
    TRUTHS,
    VALUES,
    Batch,
    Vec,
    as_time,
    strict_fail,
    strict_fails,
)
from engine.slicing.expr import Call

_SECOND = 10**6
_DAY = 86_400 * _SECOND
_EPOCH = dt.date(1970, 1, 1)
_DAYS = range((dt.date.min - _EPOCH).days, (dt.date.max - _EPOCH).days + 1)
# What each kind holds, in its unit.
_HELD: Mapping[str, range] = {
    "date": _DAYS,
    "naive": range(_DAYS.start * _DAY, _DAYS.stop * _DAY),
    "utc": range(_DAYS.start * _DAY, _DAYS.stop * _DAY),
    "delta": range(-(2**62), 2**62),  # less than Python holds
}
_MOMENTS = ("naive", "utc")
_POINTS = ("date", *_MOMENTS)


def _values(_: Batch, vec: Vec) -> list[Any]:
    bad = np.zeros(len(vec.values), np.bool_) if vec.null is None else vec.null
    bad = bad if vec.fail is None else bad | (vec.fail != 0)
    numbers = pa.array(vec.values, pa.int64(), mask=bad)
    kind = TIMES[vec.kind]
    return python_values((numbers.cast(pa.int32()) if vec.kind == "date" else numbers).cast(kind))


def _times(kind: str, numbers: Any, *of: Vec) -> Vec | None:
    """Return times of a kind; None where some may be out of Python's range."""
    fail = strict_fails(*of)
    known = numbers if fail is None else numbers[fail == 0]
    span = _HELD[kind]
    if len(known) and not (span.start <= known.min() and known.max() < span.stop):
        return None
    return Vec(kind, numbers, None, fail)


def _difference(unit: int, kind: str) -> Callable[..., Vec | None]:
    def subtract(_: Batch, __: Call, a: Vec, b: Vec) -> Vec | None:
        x, y = as_time(a, kind), as_time(b, kind)
        return None if x is None or y is None else _times("delta", (x - y) * unit, a, b)

    return subtract


def _moved(kind: str, sign: int) -> Callable[..., Vec | None]:
    """Move times by a length of time, which comes second, or first where it is added."""

    def move(batch: Batch, node: Call, a: Vec, b: Vec) -> Vec | None:
        x, y = as_time(a, kind), as_time(b, "delta")
        if sign > 0 and x is None:
            x, y = as_time(b, kind), as_time(a, "delta")
        if x is None or y is None or type(x) is type(y) is int:
            return None
        if kind == "date":  # only its days count
            y = y // _DAY
        return _times(kind, np.full(batch.n, 0) + x + sign * y, a, b)

    return move


def _first(*forms: Callable[..., Vec | None]) -> Callable[..., Vec | None]:
    def first(batch: Batch, node: Call, *args: Vec) -> Vec | None:
        answers = (form(batch, node, *args) for form in forms)
        return next((a for a in answers if a is not None), None)

    return first


def _part(run: Callable[[np.ndarray], np.ndarray], *, of: str = "int") -> Callable[..., Vec]:
    """Return a form that reads a number off each time."""

    def part(_: Batch, __: Call, a: Vec) -> Vec:
        return Vec(of, run(a.values), None, strict_fail(a))

    return part


def _of_day(run: Callable[[np.ndarray], np.ndarray], kind: str) -> Callable[..., np.ndarray]:
    return run if kind == "date" else lambda v: run(v // _DAY)


def _in_unit(days: np.ndarray, unit: str) -> np.ndarray:
    counted: np.ndarray = days.astype("datetime64[D]").astype(f"datetime64[{unit}]").view(np.int64)
    return counted


def _day_of_month(days: np.ndarray) -> np.ndarray:
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    first: np.ndarray = days - months.astype("datetime64[D]").view(np.int64) + 1
    return first


# Attribute or method -> what it is of a day.
_OF_DAY: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "year": lambda days: _in_unit(days, "Y") + 1970,
    "month": lambda days: _in_unit(days, "M") % 12 + 1,
    "day": _day_of_month,
    "weekday": lambda days: (days + 3) % 7,  # the first of 1970 was a Thursday
    "isoweekday": lambda days: (days + 3) % 7 + 1,
    "toordinal": lambda days: days + _EPOCH.toordinal(),
}
# Attribute -> what it is of a time's microseconds.
_OF_MOMENT: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "hour": lambda v: v % _DAY // (3600 * _SECOND),
    "minute": lambda v: v % (3600 * _SECOND) // (60 * _SECOND),
    "second": lambda v: v % (60 * _SECOND) // _SECOND,
    "microsecond": lambda v: v % _SECOND,
}
_OF_DELTA: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "days": lambda v: v // _DAY,
    "seconds": lambda v: v % _DAY // _SECOND,
    "microseconds": lambda v: v % _SECOND,
}


def _seconds(_: Batch, __: Call, a: Vec) -> Vec | None:
    """Return microseconds as seconds: Python rounds once, as this does where both are exact."""
    if len(a.values) and np.abs(a.values).max() > EXACT:
        return None
    return Vec("float", a.values / _SECOND, None, strict_fail(a))


def _date(_: Batch, __: Call, a: Vec) -> Vec:
    return Vec("date", a.values // _DAY, None, strict_fail(a))


def _without_zone(_: Batch, __: Call, a: Vec) -> Vec:
    return replace(a, kind="naive", null=None, fail=strict_fail(a), strict=None)


def _length(run: Callable[[Any], Any]) -> Callable[..., Vec | None]:
    def of_length(_: Batch, __: Call, a: Vec) -> Vec | None:
        return _times("delta", run(a.values), a)

    return of_length


def _certain(batch: Batch, vec: Vec) -> np.ndarray:
    return np.ones(batch.n, np.bool_)


VALUES |= dict.fromkeys(TIMES, _values)
TRUTHS |= dict.fromkeys(_POINTS, _certain)
for _kind in _POINTS:
    _unit = _DAY if _kind == "date" else 1
    BY_KIND["sub", _kind] = _first(_difference(_unit, _kind), _moved(_kind, -1))
    BY_KIND["add", _kind] = _moved(_kind, 1)
    BY_KIND |= {(name, _kind): _part(_of_day(run, _kind))
                for name, run in _OF_DAY.items()}  # fmt: skip
for _kind in _MOMENTS:
    BY_KIND |= {(name, _kind): _part(run) for name, run in _OF_MOMENT.items()}
    BY_KIND |= {("date", _kind): _date, ("without_zone", _kind): _without_zone}
BY_KIND |= {(name, "delta"): _part(run) for name, run in _OF_DELTA.items()}
BY_KIND |= {
    ("sub", "delta"): _first(*(_moved(k, -1) for k in _POINTS), _difference(1, "delta")),
    ("add", "delta"): _first(*(_moved(k, 1) for k in (*_POINTS, "delta"))),
    ("abs", "delta"): _length(np.abs),
    ("neg", "delta"): _length(operator.neg),
    ("total_seconds", "delta"): _seconds,
    ("timestamp", "utc"): _seconds,
}
