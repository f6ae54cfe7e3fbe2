"""What code reads of modules: of the user's just what it names, of others' their version."""

from __future__ import annotations

import abc
import builtins
import importlib.util
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.errors import interrupts, text_of
from engine.slicing.fingerprint.owners import Owners
from engine.slicing.fingerprint.parts import Named, Parts, others
from engine.slicing.origin import file_digest, package
from engine.slicing.uses import Chain, Import

# Names of a module that say where it is, not what it does.
ABOUT_MODULES = frozenset(
    f"__{name}__"
    for name in (
        "annotations", "builtins", "cached", "doc", "file", "loader", "name", "package", "path",
        "spec",
    )
)  # fmt: skip
# Types of which Python has nothing among its builtins.
_PUT = frozenset({str, bytes, int, float, list, tuple, dict, set, frozenset})


def module_parts(module: types.ModuleType, owners: Owners) -> Parts:
    """Describe a module that is used as a whole: one of the user's with all that is in it."""
    if owners.has_module(module):
        return whole_parts(vars(module))
    return others(module.__name__)


def whole_parts(names: Mapping[str, Any]) -> Parts:
    """Describe a module of the user's by all that it holds."""
    file = str(names.get("__file__") or ".py")
    compiled = "" if file.endswith((".py", ".pyc")) else file_digest(file)
    values = sorted((k, v) for k, v in names.items() if k not in ABOUT_MODULES)
    return Parts(f"module:{compiled}", values)


def read(name: str, value: Any, chains: Iterable[Chain], owners: Owners) -> Iterator[Named]:
    """Yield what code reads that has a name, and reads chains of attributes from its value."""
    if not owners.has_module(value):
        yield name, value
        if any("__subclasses__" in chain for chain in chains) and isinstance(value, type):
            yield f"{name}.__subclasses__", _subclasses(value)
        if issubclass(type(value), types.ModuleType):
            for chain in sorted(chains):
                yield from _put_there(name, value, chain, owners)
        return
    for chain in sorted(chains):
        yield from _along(name, value, chain, owners)


def _put_there(path: str, value: Any, chain: Chain, owners: Owners) -> Iterator[Named]:
    """Yield what of the user's a chain of attributes leads to in a module of others."""
    for name in chain:
        if not issubclass(type(value), types.ModuleType):
            return
        path, value = f"{path}.{name}", vars(value).get(name)
    is_code = type(value) is types.FunctionType and owners.has_code(value)
    kind = value if isinstance(value, type) else type(value)
    if is_code or owners.has_class(kind) or isinstance(value, abc.ABCMeta):
        yield path, value


def _along(path: str, module: types.ModuleType, chain: Chain, owners: Owners) -> Iterator[Named]:
    """Yield what a chain of attributes leads to: the first that is no module of the user's."""
    if not chain or chain[0] in ("__dict__", "__getattribute__"):
        yield path, module
        return
    path, names = f"{path}.{chain[0]}", vars(module)
    if chain[0] not in names:
        if "__getattr__" in names:
            yield path, names["__getattr__"]
        return
    value = names[chain[0]]
    if owners.has_module(value):
        yield from _along(path, value, chain[1:], owners)
    else:
        yield path, value


def imports(
    statement: Import, names: Mapping[str, Any], chains: Iterable[Chain], owners: Owners
) -> Iterator[Named]:
    """Yield what a function reads of what it imports when it is called.

    Parameters
    ----------
    statement
        The import.
    names
        The variables of the function's module.
    chains
        The attributes that it reads from what it imports.
    owners
        Whose modules are.
    """
    home = names.get("__package__") or str(names.get("__name__")).rpartition(".")[0]
    try:
        full = importlib.util.resolve_name("." * statement.level + statement.module, home)
        module = owners.imported(full)
        if module is None:
            yield statement.alias, others(full)
            return
        if statement.name is None:
            value: Any = sys.modules[package(full)] if statement.top else module
        elif statement.name in vars(module) or statement.name == "*":
            value = vars(module).get(statement.name, module)
        else:
            value = owners.imported(f"{full}.{statement.name}")
    except BaseException as error:  # sys.exit() too
        if interrupts(error):
            raise
        why = f"which can't be imported ({type(error).__name__}: {text_of(error)})"
        yield statement.alias, Parts(f"unknown:import {statement.module}", unknown=why)
        return
    yield from read(statement.alias, value, chains, owners)


def is_put_into_builtins(name: str) -> bool:
    """Tell whether a name of everywhere isn't Python's."""
    value = getattr(builtins, name, None)
    home = getattr(value, "__module__", None) or type(value).__module__
    return value is not None and (
        home not in {"builtins", "_sitebuiltins", "io", "_io"} or type(value) in _PUT
    )


def _subclasses(kind: type) -> list[type]:
    below: list[type] = sorted(type.__subclasses__(kind), key=lambda k: k.__qualname__)
    return [*below, *(k for b in below for k in _subclasses(b))]
