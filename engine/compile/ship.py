"""How slicing functions reach executors: pickled by value, with the user's own modules."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

from pyspark import cloudpickle

from engine.errors import UnpicklableSliceError
from engine.slicing.description import references
from engine.slicing.functions import Preprocessor, SlicingFunction
from engine.slicing.origin import is_own


def check_picklable(sfs: Sequence[SlicingFunction]) -> None:
    """Register the users' modules by value, and check that every function pickles.

    Executors have the engine and what is installed on them, but not the files that slicing
    functions were read from.

    Raises
    ------
    UnpicklableSliceError
        If a function, its resources or a global it uses doesn't pickle.
    """
    for module in own_modules(sfs):
        cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]
    for sf in sfs:
        try:
            cloudpickle.dumps(sf)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise UnpicklableSliceError(sf.name, f"{type(error).__name__}: {error}") from None


def own_modules(sfs: Iterable[object]) -> list[ModuleType]:
    """Return the user's own modules that slicing functions or metrics come from or refer to.

    Own means: neither the engine's, nor Python's, nor installed.
    """
    found: dict[str, ModuleType] = {}
    seen: dict[int, Any] = {}
    left: list[Any] = [part for sf in sfs for part in vars(sf).values()]
    while left:
        value = left.pop()
        if id(value) in seen or isinstance(value, _PLAIN):
            continue
        seen[id(value)] = value
        module = _home(value)
        if module is not None and module.__name__ not in found and _is_own(module):
            found[module.__name__] = module
            left += vars(module).values()
        left += _parts(value)
    return list(found.values())


_PLAIN = (str, bytes, int, float, complex, type(None))


def _parts(value: Any) -> list[Any]:
    """Return what pickling a value pickles too."""
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return [*value]
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if not _is_theirs(value):
        return [*vars(value).values()] if isinstance(value, Preprocessor | SlicingFunction) else []
    if isinstance(value, FunctionType):
        return [*references(value).values(), *vars(value).values()]
    return [*getattr(value, "__dict__", {}).values()]  # a class, or an object of one


def _home(value: Any) -> ModuleType | None:
    if isinstance(value, ModuleType):
        return value
    of = value if isinstance(value, FunctionType | type) else type(value)
    return sys.modules.get(of.__module__)


def _is_theirs(value: Any) -> bool:
    """Tell whether a function, class or object is of the user's own code."""
    module = None if isinstance(value, ModuleType) else _home(value)
    return module is not None and (module.__name__ == "__main__" or _is_own(module))


def _is_own(module: ModuleType) -> bool:
    return module.__name__ != "__main__" and is_own(getattr(module, "__file__", None))
