"""How slicing functions reach executors: pickled by value, with the user's own modules."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any

from pyspark import cloudpickle

from engine.errors import UnpicklableSliceError
from engine.slicing.description import is_own, references
from engine.slicing.functions import SlicingFunction


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


def own_modules(sfs: Iterable[SlicingFunction]) -> list[ModuleType]:
    """Return the user's own modules that slicing functions come from or refer to.

    Own means: neither the engine's, nor Python's, nor installed.
    """
    found: dict[str, ModuleType] = {}
    for sf in sfs:
        for f in (sf.f, *(p.f for p in sf.chain), *(p.memoize_key for p in sf.chain)):
            _visit(f, found)
    return list(found.values())


def _visit(value: Any, found: dict[str, ModuleType]) -> None:
    for module in _modules_of(value):
        if module.__name__ in found or not _is_own(module):
            continue
        found[module.__name__] = module
        for inner in list(vars(module).values()):
            _visit(inner, found)


def _modules_of(value: Any) -> Iterator[ModuleType]:
    if isinstance(value, ModuleType):
        yield value
        return
    if isinstance(value, FunctionType):
        for used in references(value).values():
            if isinstance(used, ModuleType):
                yield used
            elif isinstance(used, FunctionType | type):
                yield from _home(used)
    if isinstance(value, FunctionType | type):
        yield from _home(value)


def _home(value: Any) -> Iterator[ModuleType]:
    module = sys.modules.get(value.__module__)
    if module is not None:
        yield module


def _is_own(module: ModuleType) -> bool:
    return module.__name__ != "__main__" and is_own(getattr(module, "__file__", None))
