"""What a function depends on: its source, and what that names of what is around it."""

from __future__ import annotations

import builtins
import functools
import types
from collections.abc import Iterator

from engine.slicing.fingerprint import places
from engine.slicing.fingerprint.chance import unrepeatable
from engine.slicing.fingerprint.changes import Changes
from engine.slicing.fingerprint.code import cells, global_names, imported_names, is_importable
from engine.slicing.fingerprint.modules import (
    ABOUT_MODULES,
    imports,
    is_put_into_builtins,
    read,
    whole_parts,
)
from engine.slicing.fingerprint.parts import Named, Parts, others
from engine.slicing.source import Function, SourceError, located
from engine.slicing.uses import Import, Uses, text_of, uses_of


def function_parts(f: types.FunctionType, changes: Changes) -> Parts:
    """Describe a function: the user's by its source, others' by its name."""
    if not changes.owners.has_code(f):
        return _others_function(f)
    try:
        node, tree = located(f)
    except SourceError as error:
        return _compiled(f, str(error), changes)
    text, uses = _source(node)
    changes.trees.add(tree)
    changes.note(f, uses)
    attributes = [(k, v) for k, v in vars(f).items() if k != "__wrapped__"]
    below = [*changes.of_defaults(f, node, uses), *_used(f, uses, changes)]
    below += changes.of_attributes(f, attributes, places.around(tree, node))
    below += [
        (called, Parts("unknown:import", unknown=why)) for called, why in uses.unknown.items()
    ]
    below += [(remark, getattr(f, remark)) for remark in sorted(changes.changed.remarks)]
    below = [(f"{f.__code__.co_name}.{n}", v) for n, v in below]
    return Parts(f"function:{text}", below, unknown=unrepeatable(f))


@functools.lru_cache(maxsize=100_000)
def _source(node: Function) -> tuple[str, Uses]:
    return text_of(node), uses_of(node)


def _compiled(f: types.FunctionType, why: str, changes: Changes) -> Parts:
    """Describe a function without source by its code, which every Python has its own of."""
    modules = [Import(n, n) for n in imported_names(f.__code__)]
    names = [*global_names(f.__code__), *f.__code__.co_freevars, *(i.alias for i in modules)]
    uses = Uses({name: {()} for name in names}, modules)
    below = [("", f.__code__), *changes.of_defaults(f, None, uses)]
    below += [*_used(f, uses, changes), *vars(f).items()]
    return Parts("function", below, unknown=f"a function that counts as compiled, for {why}")


def code_parts(code: types.CodeType) -> Parts:
    """Describe a function's code."""
    about = code.co_names, code.co_varnames, code.co_code.hex()
    return Parts(f"code:{about}", [("", c) for c in code.co_consts])


def _others_function(f: types.FunctionType) -> Parts:
    """Describe a function of others' by its name, and by what of the user's it holds."""
    home = str(f.__globals__.get("__name__"))
    label = f"function:{home}.{f.__code__.co_qualname}"
    below: list[Named] = [("", others(home))]
    if is_importable(f):
        return Parts(label, below)
    registry = vars(f).get("registry")  # functools.singledispatch, which has a cache, too
    if home == "functools" and registry is not None:
        every = sorted(registry.items(), key=lambda item: item[0].__qualname__)
        return Parts(label, [*below, *((k.__qualname__, (k, v)) for k, v in every)])
    try:
        changed = uses_of(located(f)[0]).changed
    except SourceError:
        changed = set()
    below += [(n, c.cell_contents) for n, c in cells(f).items() if n not in changed]
    below += [("", f.__defaults__), ("", f.__kwdefaults__)]
    below += (("", v) for k, v in vars(f).items() if k == "__wrapped__")
    return Parts(label, below)


def _used(f: types.FunctionType, uses: Uses, changes: Changes) -> Iterator[Named]:
    """Yield what a function reads of what is around it."""
    owners, names = changes.owners, f.__globals__
    for name, cell in cells(f).items():
        if name in uses.chains:
            yield from read(name, changes.of_cell(f, name, cell), uses.chains[name], owners)
    for name in sorted(global_names(f.__code__) & uses.chains.keys()):
        if name in names and (name not in ABOUT_MODULES or name == "__doc__"):
            yield from read(name, changes.of_global(f, name), uses.chains[name], owners)
        elif name not in names and is_put_into_builtins(name):
            yield name, getattr(builtins, name)
    if uses.whole:
        yield "globals", whole_parts(names)
    for statement in uses.imports:
        yield from imports(statement, names, uses.chains.get(statement.alias, {()}), owners)
