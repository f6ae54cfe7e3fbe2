"""How the users' functions reach executors: pickled by value, with the modules of theirs they use.

Executors have the engine and what is installed on them, but not the files that functions were read
from. Own means: neither the engine's, nor Python's, nor installed.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from pyspark import cloudpickle

from engine.errors import SliceError, interrupts, text_of
from engine.slicing.containment import imported
from engine.slicing.functions import SlicingFunction
from engine.slicing.origin import is_own
from engine.slicing.pipelines import Pipeline
from engine.slicing.source import SourceError, located
from engine.slicing.uses import Import, uses_of

if TYPE_CHECKING:
    from importlib.abc import Loader

_SENT = "__sent__"  # set in modules that came with a parcel
# What Python says of the place that a module was read from, and makes itself.
_PLACE = frozenset({"__builtins__", "__cached__", "__loader__", "__spec__"})


T = TypeVar("T")


@dataclass(frozen=True)
class _Source:
    """A module that doesn't pickle, as it was written: what imports it runs it again."""

    text: str
    file: str
    is_package: bool


class Parcel(Generic[T]):
    """A value that is sent to executors, with the user's own modules that it needs there.

    Examples
    --------
    >>> pickle.loads(pickle.dumps(Parcel(lambda n: n + 1))).unpack()(2)
    3
    """

    def __init__(
        self,
        value: T,
        modules: Mapping[str, ModuleType] | None = None,
        sources: Mapping[str, _Source] | None = None,
    ) -> None:
        self._value = value
        self._modules, self._sources = modules or {}, sources or {}

    def __reduce__(self) -> tuple[Callable[[bytes], Parcel[T]], tuple[bytes]]:
        return _opened, (_pickled(self._value),)

    def unpack(self) -> T:
        """Return the value; from now on its functions find what they import when they run."""
        for name, module in self._modules.items():
            if hasattr(sys.modules.get(name, module), _SENT):  # none of the executor's own
                sys.modules[name] = module
        if self._sources:
            _Finder.offer(self._sources)
        return self._value


class _Finder:
    """Finds modules that came as source, where the executor has none of that name."""

    sources: ClassVar[dict[str, _Source]] = {}

    @classmethod
    def offer(cls, sources: Mapping[str, _Source]) -> None:
        for name, source in sources.items():
            if getattr(sys.modules.get(name), _SENT, source) != source:  # another run's
                del sys.modules[name]
        cls.sources.update(sources)
        if cls not in sys.meta_path:
            sys.meta_path.append(cls)

    @classmethod
    def find_spec(cls, name: str, *_: Any) -> ModuleSpec | None:
        source, loader = cls.sources.get(name), cast("Loader", cls())
        if source is None:
            return None
        spec = ModuleSpec(name, loader, origin=source.file, is_package=source.is_package)
        spec.has_location = True  # a module that reads its own file says which it lacks
        return spec

    def create_module(self, _: ModuleSpec) -> None:
        return None

    def get_source(self, name: str) -> str:
        return self.sources[name].text

    def exec_module(self, module: ModuleType) -> None:
        source = self.sources[module.__name__]
        setattr(module, _SENT, source)
        code = compile(source.text, source.file, "exec", dont_inherit=True)
        exec(code, vars(module))


def check_picklable(sfs: Sequence[SlicingFunction]) -> None:
    """Check that every function pickles.

    Raises
    ------
    SliceError
        If a function, its resources or a global it uses doesn't pickle.
    """
    for sf in sfs:
        if why := unsendable(sf):
            raise SliceError(
                f"slice {sf.name!r} cannot be sent to executors: {why}; make its resources and "
                "globals picklable, or build them inside the function"
            )


def unsendable(value: Any) -> str | None:
    """Say why a value can't be sent to executors; None if it can.

    Examples
    --------
    >>> import threading
    >>> unsendable(len), unsendable(threading.Lock())
    (None, "TypeError: cannot pickle '_thread.lock' object")
    """
    try:
        _needed(_dumps(value)[1])
    except BaseException as error:  # of a class of the user's own, which says how it is pickled
        if interrupts(error):
            raise
        return f"{type(error).__name__}: {text_of(error)}"
    return None


def _opened(data: bytes) -> Parcel[Any]:
    return Parcel(*pickle.loads(data))


def _pickled(value: Any) -> bytes:
    """Pickle a value with the modules that its functions import, and that these import."""
    data, imports = _dumps((value,))
    modules, sources = _needed(imports)
    return _dumps((value, modules, sources))[0] if modules or sources else data


def _needed(
    imports: Mapping[str, ModuleType],
) -> tuple[dict[str, ModuleType], dict[str, _Source]]:
    """Return modules and what they import; as source those that don't pickle.

    Raises
    ------
    Exception
        What pickling raises, where a module's source can't be read either.
    """
    left, names = dict(imports), set()
    modules, sources = {}, {}
    while left:
        name, module = left.popitem()
        if name in names:
            continue
        names.add(name)
        try:
            left |= _dumps(module)[1]
            modules[name] = module
        except Exception as error:
            text = _text_of(module)
            if text is None:
                message = f"{error}, in the module {name!r}, whose source can't be read"
                raise type(error)(message) from None
            sources[name] = _Source(text, module.__file__ or name, hasattr(module, "__path__"))
            used = uses_of(ast.parse(text)).imports
            left |= {m.__name__: m for m in _own_modules(used, module.__package__ or "")}
    return modules, sources


def _text_of(module: ModuleType) -> str | None:
    try:
        text = module.__loader__.get_source(module.__name__)  # type: ignore[union-attr]
    except (AttributeError, ImportError, OSError):
        return None
    return text if isinstance(text, str) else None


def _dumps(value: Any) -> tuple[bytes, dict[str, ModuleType]]:
    """Pickle a value; return the bytes, and the modules that functions in it import."""
    with io.BytesIO() as file:
        pickler = _Pickler(file)
        pickler.dump(value)  # type: ignore[no-untyped-call]
        return file.getvalue(), pickler.imports


def _reduce_module(module: ModuleType) -> Any:
    if not _is_own(module):
        return cloudpickle.CloudPickler.dispatch_table[ModuleType](module)
    state = {name: value for name, value in vars(module).items() if name not in _PLACE}
    if "__path__" in state:
        state["__path__"] = list(state["__path__"])
    # Its names come after it: modules may import each other in a circle.
    return ModuleType, (module.__name__,), state | {_SENT: True}, None, None, _fill_module


def _fill_module(module: ModuleType, state: dict[str, Any]) -> None:
    vars(module).update(state)


_CACHED = type(functools.cache(len))


def _reduce_cache(cached: Any) -> Any:
    """Reduce what `functools.cache` made; pickle itself would look for its name in its module."""
    f = cached.__wrapped__
    if isinstance(f, FunctionType) and (f.__module__ == "__main__" or _is_own(_home(f))):
        about = cached.cache_parameters()
        return _empty_cache, (about["maxsize"], about["typed"]), f, None, None, _fill_cache
    return cached.__reduce__()


def _empty_cache(maxsize: int | None, typed: bool) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return functions[0](*args, **kwargs)

    functions: list[Any] = []
    call.functions = functions  # type: ignore[attr-defined]
    return functools.lru_cache(maxsize, typed)(call)


def _fill_cache(cached: Any, f: FunctionType) -> None:
    cached.__wrapped__.functions.append(f)
    functools.update_wrapper(cached, f)


class _Pickler(cloudpickle.CloudPickler):
    """Pickles what is of the user's own code by value, and notes what functions import."""

    dispatch_table: ClassVar[ChainMap[type, Any]] = ChainMap(  # type: ignore[misc]
        {ModuleType: _reduce_module, _CACHED: _reduce_cache},
        cloudpickle.CloudPickler.dispatch_table,
    )

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)  # type: ignore[no-untyped-call]
        self.imports: dict[str, ModuleType] = {}

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Pipeline):
            packed = obj.packed(self._bytes_of)
            return Pipeline, (packed.language, packed.disable, packed.gpu)
        if isinstance(obj, FunctionType | type):
            home = _home(obj)
            own = _is_own(home)
            if own:
                cloudpickle.register_pickle_by_value(home)  # type: ignore[no-untyped-call]
            if isinstance(obj, FunctionType) and (own or obj.__module__ == "__main__"):
                self.imports.update((m.__name__, m) for m in _imported(obj))
        return super().reducer_override(obj)  # type: ignore[no-untyped-call]

    def _bytes_of(self, value: Any) -> bytes:
        data, imports = _dumps(value)
        self.imports.update(imports)
        return data


def _imported(f: FunctionType) -> Iterator[ModuleType]:
    """Yield the user's own modules that a function imports when it is called."""
    try:
        imports = uses_of(located(f)[0]).imports
    except SourceError:
        return
    home = f.__globals__.get("__package__") or f.__module__.rpartition(".")[0]
    yield from _own_modules(imports, home)


def _own_modules(imports: Iterable[Import], home: str) -> Iterator[ModuleType]:
    """Yield the user's own among modules that code of a package imports."""
    for import_ in imports:
        for name in _names(import_, home):
            try:
                module = imported(name) if _may_be_own(name) else None
            except BaseException as error:  # the row's fault, or the function's own except, says it
                if interrupts(error):
                    raise
                break
            if module is not None and _is_own(module):
                yield module


def _names(import_: Import, home: str) -> Iterator[str]:
    """Yield the packages above what is imported, from the topmost, and it."""
    try:
        full = importlib.util.resolve_name("." * import_.level + import_.module, home)
    except ImportError:
        return
    parts = full.split(".")
    for n in range(1, len(parts) + 1):
        yield ".".join(parts[:n])
    if import_.name is not None and not hasattr(sys.modules.get(full), import_.name):
        yield f"{full}.{import_.name}"


def _may_be_own(name: str) -> bool:
    """Tell whether a module may be the user's, without importing others' packages for it."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    loaded = sys.modules.get(top)
    if loaded is not None:
        return _is_own(loaded)
    spec = importlib.util.find_spec(top)
    if spec is None:
        return False
    return is_own(spec.origin if spec.has_location else _first(spec.submodule_search_locations))


def _home(value: Any) -> Any:
    """Return the module that a function or a class says it is of."""
    return sys.modules.get(value.__module__) if isinstance(value.__module__, str) else None


def _is_own(module: Any) -> bool:
    if not isinstance(module, ModuleType) or module.__name__ == "__main__":
        return False
    file = getattr(module, "__file__", None) or _first(getattr(module, "__path__", None))
    return isinstance(file, str) and is_own(file)


def _first(places: Any) -> str | None:
    return next(iter(places or ()), None)
