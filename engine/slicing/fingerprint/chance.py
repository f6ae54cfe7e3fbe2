"""What makes a function answer otherwise another time: chance, the time, what it counts itself."""

from __future__ import annotations

import ast
import datetime as dt
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from engine.slicing.fingerprint.code import references
from engine.slicing.source import SourceError, located
from engine.slicing.uses import uses_of

_RANDOM = ("random", "numpy.random", "secrets", "uuid")
# Of these modules, what says the same of the same values.
_NOT_DRAWN = frozenset({"UUID", "uuid3", "uuid5", "compare_digest"})
_SEEDS = frozenset({"seed", "Random", "default_rng", "RandomState", "SystemRandom"})
# Functions that say what time it is, and others that no two processes answer alike.
_MOMENTS: Mapping[Callable[..., Any], str] = {
    **{getattr(time, name): f"time.{name}" for name in (
        "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns",
        "process_time", "process_time_ns",
    )},
    dt.datetime.now: "datetime.now",
    dt.datetime.utcnow: "datetime.utcnow",
    dt.datetime.today: "datetime.today",
    dt.date.today: "date.today",
}  # fmt: skip
_OF_A_PROCESS: Mapping[Callable[..., Any], str] = {
    os.urandom: "os.urandom",
    os.getpid: "os.getpid",
}
_PLACES = (ModuleType, type)
_OF_PICKLE = frozenset({"__getstate__", "__reduce__", "__reduce_ex__"})


def randomness(f: FunctionType) -> str | None:
    """Return what of Python's unseeded randomness a function names, or None.

    Examples
    --------
    >>> import random
    >>> randomness(lambda x: random.random() < 0.5), randomness(lambda x: x.a > 1)
    ('random.random', None)
    """
    names = {n for code in _codes(f.__code__) for n in code.co_names}
    used = {n: v for n, v in references(f).items() if _may_draw(v)}
    if names & _SEEDS or not used:
        return None
    for value in _values(f, used, names):
        if callable(value) and not isinstance(value, type) and is_random(value):
            return f"{_home(value)}.{getattr(value, '__name__', value)}"
    return None


def moment(f: FunctionType) -> str | None:
    """Return the function of time, or of the process, that a function names, or None.

    Examples
    --------
    >>> moment(lambda x: time.time() > x.at), moment(lambda x: time.sleep(0))
    ('time.time', None)
    """
    names = {n for code in _codes(f.__code__) for n in code.co_names}
    used = {n: v for n, v in references(f).items() if isinstance(v, _PLACES) or _named(v)}
    return next(filter(None, map(_named, _values(f, used, names))), None) if used else None


def counter(f: FunctionType) -> str | None:
    """Return the variable outside of it that a function counts up, or None.

    A cache that it fills is none: it says the same, full or empty.

    Examples
    --------
    >>> counter(lambda x: x.a > 1) is None
    True
    """
    try:
        node = located(f)[0]
    except SourceError:
        return None
    around = {*references(f), *f.__code__.co_freevars}
    changed = uses_of(node).changed
    for part in ast.walk(node):
        if isinstance(part, ast.AugAssign):
            name = _root(part.target)
        elif isinstance(part, ast.Call) and getattr(part.func, "id", "") == "next" and part.args:
            name = _root(part.args[0])
        else:
            continue
        if name in around and (name in changed or isinstance(part, ast.Call)):
            return name
    return None


def unrepeatable(f: FunctionType) -> str:
    """Say why a function may answer otherwise another time, as a clause; empty if nothing shows it.

    Examples
    --------
    >>> unrepeatable(lambda x: time.time() > x.at)
    'which calls time.time, whose answer is another one each time'
    """
    if f.__code__.co_name in _OF_PICKLE:
        return ""  # it doesn't answer
    named = randomness(f) or moment(f)
    return f"which calls {named}, whose answer is another one each time" if named else ""


def is_random(f: Any) -> bool:
    """Tell whether a function is one of Python's or numpy's that draw.

    Examples
    --------
    >>> import random, uuid
    >>> is_random(random.random), is_random(uuid.uuid4), is_random(uuid.UUID), is_random(len)
    (True, True, False, False)
    """
    return _home(f) in _RANDOM and getattr(f, "__name__", None) not in _NOT_DRAWN


def _named(value: Any) -> str | None:
    try:
        return _MOMENTS.get(value) or _OF_A_PROCESS.get(value)
    except TypeError:  # it has no hash
        return None


def _root(place: ast.AST) -> str | None:
    while isinstance(place, ast.Attribute | ast.Subscript):
        place = place.value
    return place.id if isinstance(place, ast.Name) else None


def _may_draw(value: Any) -> bool:
    names_some = isinstance(value, ModuleType) and value.__name__ in (*_RANDOM, "numpy")
    return names_some or is_random(value)


def _values(f: FunctionType, used: Mapping[str, Any], names: Iterable[str]) -> Iterator[Any]:
    """Yield what a function reads from modules and classes that it uses, and what else it uses."""
    try:
        chains = uses_of(located(f)[0]).chains
    except SourceError:  # every name may be one of every module
        chains = {name: {(n,) for n in names} for name in used}
    for name, value in used.items():
        for chain in sorted(chains.get(name, ())):
            part = value
            for attribute in chain:
                part = getattr(part, attribute, None) if _has_names(part) else part
            yield part


def _has_names(value: Any) -> bool:
    return isinstance(value, ModuleType) or value in (dt.datetime, dt.date)


def _home(f: Any) -> str:
    home = getattr(f, "__module__", None) or type(getattr(f, "__self__", None)).__module__
    return str(home).removesuffix(".mtrand")  # where numpy says that its functions are, before 2.1


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)
