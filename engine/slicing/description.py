"""What a function depends on, described the same in every process: what fingerprints are made of.

Described are the user's own functions, classes and values. Of what is installed, the name is.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import pickle
import re
import site
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from engine.slicing.expr import Const, Expr, Lookup, Mask
from engine.slicing.functions import Preprocessor, SlicingFunction

_ENGINE = Path(__file__).resolve().parents[1]
_PLAIN = (str, bytes, int, float, complex, type(None), type(Ellipsis))
# Attributes of a class that say nothing about what it does.
_ABOUT = frozenset(
    f"__{name}__"
    for name in (
        "dict", "weakref", "module", "doc", "annotations", "annotate", "annotate_func",
        "annotations_cache", "firstlineno", "static_attributes",
    )
)  # fmt: skip


def digest(text: str) -> str:
    """Return the hex SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def references(f: types.FunctionType) -> dict[str, Any]:
    """Return the globals and closed-over values that a function uses, by name.

    Examples
    --------
    >>> least = 3
    >>> sorted(references(lambda words: [w for w in words if len(w) >= least]))
    ['least']
    """
    cells = zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)
    found = {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
    used = {n for code in _codes(f.__code__) for n in _global_names(code)}
    return {name: f.__globals__[name] for name in used if name in f.__globals__} | found


def is_own(file: str | None) -> bool:
    """Tell whether a source file is the user's: not Python's, nor installed, nor the engine's."""
    if file is None:
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(place) for place in (_ENGINE, *_installed()))


class Description:
    """Describes values for one fingerprint.

    Parameters
    ----------
    functions
        The functions that it is about: what is in their packages is the user's own, even where
        it is installed.
    """

    def __init__(self, *functions: Callable[..., Any]) -> None:
        self._homes = {_package(_module_of(f)) for f in functions} - sys.stdlib_module_names
        self._known: dict[int, tuple[Any, str]] = {}  # keeps the value, so that its id stays its
        self.unknowns: list[str] = []  # what can't be described, and why

    def of(self, value: Any) -> str:
        """Describe a value: itself if it is plain, else a digest."""
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__}:{value!r}"
        if id(value) not in self._known:
            self._known[id(value)] = value, "itself"  # a cycle ends here
            self._known[id(value)] = value, digest(self._describe(value))
        return self._known[id(value)][1]

    def _describe(self, value: Any) -> str:
        for kind, describe in _DESCRIBED.items():
            if isinstance(value, kind):
                return describe(self, value)
        wrapped = inspect.getattr_static(value, "__wrapped__", None)  # such as functools.cache
        return self._object(value) if wrapped is None else self.of(wrapped)

    def _slice(self, sf: SlicingFunction) -> str:
        if sf.expr is not None:
            return f"slice:{self.of([str(sf.kind), sf.expr, sf.parts])}"
        return f"slice:{self.of([str(sf.kind), sf.sql, sf.resources, sf.f, sf.pre])}"

    def _tree(self, tree: Expr) -> str:
        known: dict[Expr, str] = {}
        for node in tree.walk():
            own = _LEAVES.get(type(node), str)(node) if not node.parts else getattr(node, "op", "")
            below = ",".join(known[part] for part in node.parts)
            known[node] = digest(f"{type(node).__name__}:{own}({below})")
        return f"tree:{known[tree]}"

    def _preprocessor(self, p: Preprocessor) -> str:
        return f"preprocessor:{self.of([p.f, p.memoize_key, p.pre])}"

    def _mapping(self, value: Mapping[Any, Any]) -> str:
        return f"map:{sorted((self.of(k), self.of(v)) for k, v in value.items())}"

    def _sequence(self, value: list[Any] | tuple[Any, ...]) -> str:
        return f"{type(value).__name__}:{[self.of(v) for v in value]}"

    def _set(self, value: frozenset[Any]) -> str:
        return f"set:{sorted(map(self.of, value))}"  # a set's order is per process

    def _pattern(self, value: re.Pattern[Any]) -> str:
        return f"re:{value.pattern!r}:{value.flags}"

    def _module(self, value: types.ModuleType) -> str:
        return f"module:{value.__name__}"

    def _method(self, value: types.MethodType) -> str:
        return f"method:{self.of(value.__func__)}:{self.of(value.__self__)}"

    def _wrapper(self, value: staticmethod[..., Any] | classmethod[Any, ..., Any]) -> str:
        return f"{type(value).__name__}:{self.of(value.__func__)}"

    def _property(self, value: property) -> str:
        return f"property:{self.of((value.fget, value.fset, value.fdel))}"

    def _partial(self, value: functools.partial[Any]) -> str:
        return f"partial:{self.of(value.func)}:{self.of((value.args, value.keywords))}"

    def _code(self, value: types.CodeType) -> str:
        names = value.co_names, value.co_varnames
        return f"code:{names}{self.of(value.co_consts)}{value.co_code.hex()}"

    def _function(self, f: types.FunctionType) -> str:
        if not self._is_own(f.__module__, f.__code__.co_filename):
            return f"function:{f.__module__}.{f.__qualname__}"
        parts = [_source(f.__code__) or self.of(f.__code__)]
        parts += [self.of(f.__defaults__), self.of(f.__kwdefaults__)]
        names = {n for code in _codes(f.__code__) for n in code.co_names}
        for name, used in sorted(references(f).items()):
            parts.append(f"{name}={self.of(used)}")
            parts += self._attributes(used, names)
        return "function:" + "\n".join(parts)

    def _attributes(self, module: Any, names: set[str]) -> Iterator[str]:
        """Describe what a function may use of a module of the user's own."""
        if not isinstance(module, types.ModuleType):
            return
        if not self._is_own(module.__name__, getattr(module, "__file__", None)):
            return
        for name in sorted(names.intersection(vars(module))):
            yield f"{module.__name__}.{name}={self.of(vars(module)[name])}"
            yield from self._attributes(vars(module)[name], names - {name})

    def _class(self, value: type) -> str:
        if not self._is_own(value.__module__):
            return f"class:{value.__module__}.{value.__qualname__}"
        members = {k: v for k, v in vars(value).items() if k not in _ABOUT}
        return f"class:{value.__qualname__}:{self.of(value.__bases__)}:{self.of(members)}"

    def _object(self, value: Any) -> str:
        """Describe an object as it would be pickled, or else by its class and attributes."""
        try:
            pickle.dumps(value)
            parts = value.__reduce_ex__(4)
        except Exception:
            own = self._is_own(type(value).__module__)
            if not own:
                kind = f"{type(value).__module__}.{type(value).__qualname__}"
                self.unknowns.append(f"it uses a {kind}, whose contents can't be read")
            about = getattr(value, "__dict__", {}) if own else {}
            return f"object:{self.of(type(value))}:{self.of(about)}"
        if isinstance(parts, str):
            return f"global:{parts}"
        made, arguments, state, *items = (*parts, None, None)[:5]
        listed = [None if i is None else list(i) for i in items]
        return f"object:{self.of(made)}:{self.of((arguments, state, listed))}"

    def _is_own(self, module: str | None, file: str | None = None) -> bool:
        if _package(module) in {"__main__", *self._homes}:
            return True
        return is_own(file or getattr(sys.modules.get(module or ""), "__file__", None))


_LEAVES: dict[type, Callable[[Any], str]] = {
    Const: lambda node: node.key,
    Mask: lambda node: node.slice_id,
    Lookup: lambda node: f"{node.column}\n{node.keys.about}",
}
_DESCRIBED: dict[Any, Callable[[Description, Any], str]] = {
    SlicingFunction: Description._slice,
    Expr: Description._tree,
    Preprocessor: Description._preprocessor,
    re.Pattern: Description._pattern,
    types.ModuleType: Description._module,
    types.FunctionType: Description._function,
    types.MethodType: Description._method,
    types.CodeType: Description._code,
    staticmethod | classmethod: Description._wrapper,
    property: Description._property,
    functools.partial: Description._partial,
    type: Description._class,
    Mapping: Description._mapping,
    list | tuple: Description._sequence,
    set | frozenset: Description._set,
}


def _source(code: types.CodeType) -> str:
    """Return a function's source without comments, docstrings and decorators.

    Empty for a lambda, which may stand beside another one or a slice's name, and where there is
    no file (a REPL): the compiled code stands in.
    """
    if code.co_name == "<lambda>":
        return ""
    try:
        text = inspect.getsource(code)
        tree = ast.parse(f"if True:\n{text}" if text[0].isspace() else text)
    except (OSError, SyntaxError):
        return ""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.decorator_list = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.body = node.body[ast.get_docstring(node) is not None :] or [ast.Pass()]
    return ast.unparse(tree)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a function's code and that of the functions in it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from _codes(const)


def _global_names(code: types.CodeType) -> Iterator[str]:
    for i in dis.get_instructions(code):
        if i.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
            yield str(i.argval)


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where the cell is empty
    except ValueError:
        return False
    return True


def _module_of(f: Any) -> str | None:
    while isinstance(f, functools.partial):
        f = f.func
    module: str | None = (f if hasattr(f, "__code__") else type(f)).__module__
    return module


def _package(module: str | None) -> str:
    return (module or "").partition(".")[0]


@functools.cache
def _installed() -> tuple[Path, ...]:
    places = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    return tuple(Path(p).resolve() for p in places if p not in (sys.prefix, sys.exec_prefix))
