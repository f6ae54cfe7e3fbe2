"""The slicing functions in users' own Python files."""

from __future__ import annotations

import importlib.util
import linecache
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.arguments import entries, text
from engine.errors import ArgumentError, InputError, SliceError, interrupts, text_of
from engine.slicing.containment import ClosedError, LeavingError, contained, imported
from engine.slicing.evaluate import short
from engine.slicing.functions import SlicingFunction
from engine.slicing.ids import digest
from engine.slicing.origin import is_own


def load_slices(module: str, folders: Sequence[Path] = ()) -> list[SlicingFunction]:
    """Import a module and return its slicing functions, in the order they are defined.

    These are the values of the module's names, and the members of its lists and tuples.

    Parameters
    ----------
    module
        A dotted name (``sfs.spam``) or the path of a ``.py`` file.
    folders
        Where to look, besides ``sys.path``.

    Raises
    ------
    InputError
        If it can't be imported.
    SliceError
        If it has no slicing function.
    """
    module = text("load_slices", "module", module, "a module's name, or the path of its file")
    values = [*vars(load_module(module, _folders(folders))).values()]
    items = (i for v in values for i in (v if type(v) in (list, tuple) else (v,)))
    sfs = {id(item): item for item in items if issubclass(type(item), SlicingFunction)}
    if not sfs:
        raise SliceError(
            f"{module!r} has no slicing function; write one with @slicing_function() at the top "
            "level of the module"
        )
    return list(sfs.values())


def _folders(folders: Any) -> list[Path]:
    paths = entries("load_slices", "folders", folders, "a list of folders")
    for path in paths:
        if not isinstance(path, str | Path):
            raise ArgumentError("load_slices", "each of folders", "a path", path)
    return [Path(path) for path in paths]


def load_module(module: str, folders: Sequence[Path] = ()) -> ModuleType:
    """Import a module, by its dotted name or the path of its file; as :func:`load_slices`."""
    added = [str(f) for f in folders if str(f) not in sys.path]
    sys.path.extend(added)  # stays: the module may import its neighbours later
    try:
        if not module.endswith(".py"):
            return imported(module)
        with contained(module):
            return _import_file(module, folders)
    except BaseException as error:  # sys.exit(): a script without a guard
        if interrupts(error):
            raise
        raise InputError(
            f"the module {module!r} can't be imported: {_cause(error)}{_place(module, error)}"
            f"{_GUARD if isinstance(error, SystemExit | LeavingError) else ''}"
            f"{_package_of(module) if isinstance(error, ModuleNotFoundError) else ''}"
        ) from error


_GUARD = '; what runs as a script belongs under `if __name__ == "__main__":`'


def _cause(error: BaseException) -> str:
    if isinstance(error, LeavingError | ClosedError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"it called sys.exit({short(error.code)})"
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg}"
    return f"{type(error).__name__}: {text_of(error)}"


def _place(module: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f" ({Path(error.filename or module).name}:{error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith("<") and is_own(f.filename)]
    return f" ({Path(theirs[-1].filename).name}:{theirs[-1].lineno})" if theirs else ""


def _package_of(module: str) -> str:
    """Say where Python finds the package of a module: another one may come first on the path."""
    top, dot, _ = module.partition(".")
    places = list(getattr(sys.modules.get(top), "__path__", ()))
    return f"; the package {top!r} is the one in {places[0]}" if dot and places else ""


def _import_file(module: str, folders: Sequence[Path]) -> ModuleType:
    tried = [Path(module), *(f / module for f in folders)]
    path = next((p.resolve() for p in tried if p.is_file()), None)
    if path is None:
        raise FileNotFoundError(f"there is no file {module}")
    name, source = _free_name(path), path.read_bytes()
    if name in sys.modules and _sources.get(name, source) == source:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    loaded, before = importlib.util.module_from_spec(spec), sys.modules.get(name)
    linecache.checkcache(str(path))  # functions' sources are read by it
    sys.modules[name] = loaded
    try:
        # Not by its loader, which takes compiled code of another text of that second and length.
        exec(compile(source, str(path), "exec", dont_inherit=True), vars(loaded))
    except BaseException:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise
    _sources[name] = source
    return loaded


_sources: dict[str, bytes] = {}  # of the files that were loaded, which people edit meanwhile


def _free_name(path: Path) -> str:
    """Return a file's module name: its own, unless that is another module's (a `random.py`)."""
    known = sys.modules.get(path.stem)
    is_free = known is None and path.stem not in sys.stdlib_module_names
    if is_free or getattr(known, "__file__", None) == str(path):
        return path.stem
    return f"{path.stem}_{digest(str(path))[:8]}"
