"""Whose a module, a function or a class is: the user's own, or others'.

The packages of the user's functions are the user's own, even where they are installed.
"""

from __future__ import annotations

import builtins
import functools
import importlib.util
import linecache
import sys
import types
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from engine.slicing.containment import imported
from engine.slicing.fingerprint.loading import Modules, together
from engine.slicing.origin import is_own, package

_HEAP = 1 << 9  # CPython's flag of a class that Python code made


class Owners:
    """Tells the user's own code from others'.

    Parameters
    ----------
    functions
        Functions that are the user's.

    Attributes
    ----------
    folders
        The folders that their packages are in, each with the separator behind it.
    """

    def __init__(self, functions: Iterable[Callable[..., Any]]) -> None:
        self._modules = [m for m in map(_module_of, functions) if m is not None]
        tops = {package(m) for m in self._modules}
        self._homes = frozenset(tops - sys.stdlib_module_names - {"", "builtins"})
        self.folders = tuple({f for m in self._modules if (f := _folder(m)) is not None})

    def has_module(self, value: Any) -> bool:
        """Tell whether a value is a module of the user's."""
        return _is_own_module(value, self._homes)

    def has_code(self, f: types.FunctionType) -> bool:
        """Tell whether a function's code is the user's."""
        module = f.__globals__.get("__name__")
        file = f.__code__.co_filename
        if module is None or package(module) in {"__main__", "builtins", *self._homes}:
            return True
        if file.startswith("<"):  # made by exec
            return _is_own(module, f.__globals__.get("__file__"), self._homes)
        return is_own(file)

    def has_class(self, kind: type) -> bool:
        """Tell whether a class is the user's."""
        module = kind.__module__
        if module == "builtins":  # made where there is no module, or Python's
            return bool(kind.__flags__ & _HEAP) and not hasattr(builtins, kind.__name__)
        if module == "types":  # made by dataclasses.make_dataclass, or types' own
            return not hasattr(types, kind.__name__)
        file = getattr(sys.modules.get(module), "__file__", None)
        return _is_own(module, file, self._homes)

    def imported(self, name: str) -> types.ModuleType | None:
        """Import a module of the user's; return None for others', which may not even be there."""
        top = package(name)
        if top in sys.stdlib_module_names or top == "engine":
            return None
        loaded = sys.modules.get(top)
        if loaded is not None:
            own = self.has_module(loaded)
        else:
            spec = importlib.util.find_spec(top)
            own = spec is not None and (top in self._homes or _is_own_spec(spec))
        return imported(name) if own else None

    def loaded(self) -> Modules:
        """Return the user's modules that may reach the functions', with their source."""
        names = _own_modules((*sys.modules,), self._homes)
        modules = {n: (sys.modules[n], [*_texts_of(sys.modules[n])]) for n in names}
        near = {
            (id(vars(modules[n][0])), text): (vars(modules[n][0]), text)
            for n in sorted(together(self._modules, modules))
            for text in modules[n][1]
        }
        return [*near.values()]


def _is_own(module: str | None, file: str | None, homes: Collection[str]) -> bool:
    return package(module) in {"__main__", *homes} or is_own(file)


def _is_own_module(value: Any, homes: Collection[str]) -> bool:
    if not issubclass(type(value), types.ModuleType):
        return False
    file = getattr(value, "__file__", None)
    if file is None:  # a package without __init__.py
        file = next(iter(getattr(value, "__path__", ())), None)
    return _is_own(value.__name__, file, homes)


@functools.lru_cache(maxsize=8)
def _own_modules(names: tuple[str, ...], homes: frozenset[str]) -> list[str]:
    """Return those of the modules that are the user's; what runs as a script by its file."""
    own = []
    for name in names:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        script = name == "__main__" and file is not None
        if is_own(file) if script else _is_own_module(module, homes):
            own.append(name)
    return own


def _is_own_spec(spec: Any) -> bool:
    folders = spec.submodule_search_locations or ()
    return is_own(spec.origin if spec.has_location else next(iter(folders), None))


def _texts_of(module: types.ModuleType) -> Iterator[str]:
    """Yield a module's source; of a notebook, each cell that ran."""
    yield "".join(linecache.getlines(getattr(module, "__file__", None) or "", vars(module)))
    yield from (c for c in vars(module).get("In", ()) if type(c) is str)


def _folder(module: str) -> str | None:
    top = sys.modules.get(package(module))
    file = getattr(top, "__file__", None)
    if file is None:
        return None
    inside = Path(file).parent
    folder = str(inside.parent if hasattr(top, "__path__") else inside)
    return folder + "/" if len(folder) > 1 else None


def _module_of(f: Any) -> str | None:
    while isinstance(f, functools.partial):
        f = f.func
    if hasattr(f, "__code__"):
        return cast("str | None", f.__module__)
    module = type(f).__module__
    return None if package(module) == "engine" else module  # what the engine itself calls
