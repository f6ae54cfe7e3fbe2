"""What a function's compiled code reads, stores and imports, and what it closes over."""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType
from typing import Any

from engine.slicing.source import codes

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
CHANGES = _LOADS | {"STORE_GLOBAL", "DELETE_GLOBAL"}


def references(f: FunctionType) -> dict[str, Any]:
    """Return the globals and closed-over values that a function uses, by name.

    Examples
    --------
    >>> least = 3
    >>> sorted(references(lambda words: [w for w in words if len(w) >= least]))
    ['least']
    """
    used = {name: f.__globals__[name] for name in global_names(f.__code__) & f.__globals__.keys()}
    return used | {name: cell.cell_contents for name, cell in cells(f).items()}


@functools.lru_cache(maxsize=100_000)
def global_names(code: CodeType, operations: frozenset[str] = _LOADS) -> frozenset[str]:
    """Return the global names that code reads; by :data:`CHANGES`, those that it changes too."""
    return frozenset(_arguments(code, operations))


def imported_names(code: CodeType) -> list[str]:
    """Return the names of the modules that code imports."""
    return [name for name in _arguments(code, {"IMPORT_NAME"}) if name]


def _arguments(code: CodeType, operations: frozenset[str] | set[str]) -> Iterator[str]:
    for part in codes(code):
        for step in dis.get_instructions(part):
            if step.opname in operations:
                yield "" if step.argval is None else str(step.argval)


def cells(f: FunctionType) -> dict[str, CellType]:
    """Return the variables that a function closes over, but those without a value yet."""
    pairs = zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)
    return {name: cell for name, cell in pairs if _is_filled(cell)}


def _is_filled(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where the cell is empty
    except ValueError:
        return False
    return True


def is_importable(f: FunctionType) -> bool:
    """Tell whether a function has its name in the module that its code is of."""
    value: Any = sys.modules.get(str(f.__globals__.get("__name__")))
    for name in f.__qualname__.split("."):
        value = getattr(value, name, None)
    return value is f or getattr(value, "__func__", None) is f


def function_of(member: Any) -> FunctionType | None:
    """Return the function that a class's member is, or wraps."""
    if isinstance(member, classmethod | staticmethod):
        member = member.__func__
    elif isinstance(member, property):
        member = member.fget
    elif isinstance(member, functools.cached_property):
        member = member.func
    return member if type(member) is FunctionType else None


def enclosing(value: FunctionType | type) -> set[str]:
    """Return the names of the functions that a function or a class stands in."""
    name = value.__qualname__ if isinstance(value, type) else value.__code__.co_qualname
    return {*name.rpartition(".<locals>.")[0].split(".")} - {"", "<locals>"}
