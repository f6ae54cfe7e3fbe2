"""What a value of Python, numpy, pandas or torch holds: what tells it from another one."""

from __future__ import annotations

import array
import collections
import datetime as dt
import functools
import hashlib
import logging
import operator
import os
import re
import sys
import types
import typing
import uuid
import weakref
import zoneinfo
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any

import numpy as np

from engine.slicing.origin import package, version_of

Text = Callable[[Any], "str | None"]  # a plain value's text; None for any other value
Named = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a value consists of.

    Attributes
    ----------
    label
        What is known of the value itself.
    below
        The values in it, each with the name that it has there.
    ordered
        Whether their order counts.
    unknown
        Why the value can't be described; empty where it can.
    """

    label: str
    below: Sequence[Named] = ()
    ordered: bool = True
    unknown: str = ""


def others(module: str) -> Parts:
    """Describe a module of others' by its version."""
    return Parts(f"module:{module}:{version_of(package(module))}")


def parts_of(value: Any, text: Text) -> Parts | None:
    """Return the parts of a value of a known type, None for any other.

    Examples
    --------
    >>> parts_of([1, [2]], lambda v: str(v) if type(v) is int else None)
    Parts(label='list:1,~', below=[('[1]', [2])], ordered=True, unknown='')
    """
    make = _KINDS.get(type(value))
    if make is not None:
        return make(value, text)
    if isinstance(value, np.generic):
        return Parts(f"scalar:{value.dtype.str}:{value.tobytes().hex()}")
    name = type(value).__module__.partition(".")[0]
    if name == "typing" and typing.get_origin(value) is not None:
        return _generic(value, text)
    if name == "pandas":
        return _pandas(value)
    if name == "torch":
        return _tensor(value)
    return None


def _sequence(value: Any, text: Text) -> Parts:
    return _items(type(value).__name__, value, text)


def _items(label: str, values: Iterable[Any], text: Text) -> Parts:
    return _listed(label, ((f"[{i}]", v) for i, v in enumerate(values)), text)


def _mapping(value: Any, text: Text, label: str = "dict") -> Parts:
    items = ((k, v, f"[{k!r:.40}]" if text(k) is not None else "[…]") for k, v in value.items())
    return _listed(label, (pair for k, v, name in items for pair in (("key", k), (name, v))), text)


def _listed(label: str, values: Iterable[Named], text: Text) -> Parts:
    """Describe values that have an order: plain ones by their texts, at once."""
    texts, below = [], []
    for name, value in values:
        t = text(value)
        if t is None:
            below.append((name, value))
        texts.append("~" if t is None else t)
    return Parts(f"{label}:{','.join(texts)}", below)


def _set(value: Any, text: Text) -> Parts:
    # Its order is another one in every process.
    texts = sorted(t for v in value if (t := text(v)) is not None)
    other = sorted((v for v in value if text(v) is None), key=lambda v: _shallow(v, text))
    return Parts(f"{type(value).__name__}:{','.join(texts)}", [("{}", v) for v in other], False)


def _shallow(value: Any, text: Text, depth: int = 3) -> str:
    """Return a text that gives a set's values the same order in every process."""
    plain = text(value)
    if plain is not None or depth == 0:
        return plain or type(value).__qualname__
    if isinstance(value, tuple | frozenset):
        below = [_shallow(v, text, depth - 1) for v in value]
        return f"{type(value).__name__}{sorted(below) if isinstance(value, frozenset) else below}"
    attributes = [*getattr(value, "__dict__", {}).items()]
    about = getattr(value, "__qualname__", type(value).__qualname__)
    return f"{about}{sorted((k, _shallow(v, text, 0)) for k, v in attributes)}"


def _repr(value: Any, _: Text) -> Parts:
    return Parts(f"{type(value).__name__}:{value!r}")


def _str(value: Any, _: Text) -> Parts:
    return Parts(f"{type(value).__name__}:{value}")


def _path(value: Any, text: Text) -> Parts:
    return Parts(f"path:{isinstance(value, PureWindowsPath)}:{text(str(value))}")


def _sha(content: Any) -> str:
    return hashlib.sha256(content).hexdigest()


def _time(value: Any, _: Text) -> Parts:
    return Parts(
        f"{type(value).__name__}:{value.isoformat()}:{value.fold}", [("tzinfo", value.tzinfo)]
    )


def _reduced(value: Any, _: Text) -> Parts:
    maker, *arguments = value.__reduce__()[:2]
    return Parts(type(value).__name__, [("", maker), *(("", a) for a in arguments)])


def _attributes(*names: str) -> Callable[[Any, Text], Parts]:
    def parts(value: Any, _: Text) -> Parts:
        return Parts(type(value).__name__, [(n.strip("_"), getattr(value, n)) for n in names])

    return parts


def _builtin(value: Any, _: Text) -> Parts:
    # A function, or a method with the value that it is of.
    owner = getattr(value, "__self__", None)
    if owner is None or isinstance(owner, types.ModuleType):
        home = value.__module__ or getattr(owner, "__name__", "")
        return Parts(f"builtin:{value.__qualname__}", [("", others(home))])
    return Parts(f"builtin:{value.__name__}", [("", owner)])


def _descriptor(value: Any, _: Text) -> Parts:
    return Parts(f"descriptor:{value.__objclass__.__qualname__}.{value.__name__}")


def _generic(value: Any, _: Text) -> Parts:
    origin = typing.get_origin(value)
    label = "Union" if origin in (typing.Union, types.UnionType) else getattr(
        origin, "__qualname__", str(origin)
    )  # fmt: skip
    return Parts(f"generic:{label}", [("", a) for a in typing.get_args(value)])


def _ndarray(value: np.ndarray, text: Text) -> Parts:
    if value.dtype.hasobject:
        return _items(f"ndarray:{value.dtype.str}:{value.shape}", value.ravel().tolist(), text)
    kind = value.dtype.str if value.dtype.names is None else str(value.dtype.descr)
    flat = np.ascontiguousarray(value).reshape(-1)
    content = _sha(flat.view(np.uint8).data if value.size else b"")
    return Parts(f"ndarray:{kind}:{value.shape}:{content}")


def _ufunc(value: np.ufunc, _: Text) -> Parts:
    known = getattr(np, value.__name__, None) is value
    why = "" if known else "a function of numpy's whose Python function can't be seen"
    return Parts(f"ufunc:{value.__name__}", [("", others("numpy"))], unknown=why)


def _pandas(value: Any) -> Parts | None:
    pd = sys.modules["pandas"]
    kind = type(value)
    label = f"pandas.{kind.__name__}"
    if kind is pd.DataFrame:
        columns = [(str(c), value.iloc[:, i].array) for i, c in enumerate(value.columns)]
        about = [("columns", value.columns), ("index", value.index), ("attrs", value.attrs)]
        return Parts(label, [*about, *columns])
    if kind is pd.Series:
        return Parts(label, [("name", value.name), ("index", value.index), ("", value.array)])
    if kind is pd.RangeIndex:
        return Parts(f"{label}:{value.start},{value.stop},{value.step}", [("name", value.name)])
    if kind is pd.MultiIndex:
        levels = ([*value.names], [*value.levels], [*map(np.asarray, value.codes)])
        return Parts(label, [("", level) for level in levels])
    if isinstance(value, pd.Index) and kind.__module__.startswith("pandas."):
        freq = getattr(value, "freq", None)
        return Parts(f"{label}:{freq}", [("name", value.name), ("", value.array)])
    if kind is pd.Categorical:
        return Parts(f"{label}:{value.ordered}", [("", value.categories), ("", value.codes)])
    if isinstance(value, pd.api.extensions.ExtensionArray):
        plain = isinstance(value.dtype, np.dtype) or kind is pd.arrays.NumpyExtensionArray
        return Parts(f"{label}:{value.dtype}", [("", value.to_numpy() if plain else list(value))])
    return None


def _tensor(value: Any) -> Parts | None:
    torch = sys.modules["torch"]
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        return None
    try:
        flat = value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
    except (RuntimeError, TypeError):  # sparse or quantised: as it is pickled
        return None
    return Parts(f"tensor:{value.dtype}:{tuple(value.shape)}:{_sha(flat.tobytes())}")


_KINDS: dict[type, Callable[[Any, Text], Parts]] = {
    list: _sequence,
    tuple: _sequence,
    dict: _mapping,
    set: _set,
    frozenset: _set,
    range: _repr,
    slice: _attributes("start", "stop", "step"),
    bytearray: lambda v, _: Parts(f"bytearray:{_sha(v)}"),
    memoryview: lambda v, _: Parts(f"memoryview:{v.format}:{v.shape}:{_sha(v.tobytes())}"),
    array.array: lambda v, _: Parts(f"array:{v.typecode}:{v.tobytes().hex()}"),
    collections.deque: lambda v, text: _items(f"deque:{v.maxlen}", v, text),
    collections.OrderedDict: lambda v, text: _mapping(v, text, "OrderedDict"),
    collections.Counter: lambda v, text: _mapping(v, text, "Counter"),
    collections.defaultdict: lambda v, _: Parts(
        "defaultdict", [("default_factory", v.default_factory), ("", dict(v))]
    ),
    collections.ChainMap: lambda v, _: Parts("ChainMap", [("maps", v.maps)]),
    types.MappingProxyType: lambda v, text: _mapping(v, text, "mappingproxy"),
    types.SimpleNamespace: lambda v, _: Parts("namespace", sorted(vars(v).items())),
    type({}.keys()): lambda v, text: _items("keys", v, text),
    type({}.values()): lambda v, text: _items("values", v, text),
    type({}.items()): lambda v, text: _items("items", v, text),
    type(os.environ): lambda *_: Parts("environment"),  # is read as functions run
    logging.Logger: lambda *_: Parts("logger"),
    weakref.WeakSet: lambda v, text: _set(set(v), text),
    weakref.WeakKeyDictionary: lambda v, text: _set({(k, w) for k, w in v.items()}, text),
    weakref.WeakValueDictionary: lambda v, text: _mapping(dict(v), text, "weak"),
    weakref.ref: lambda v, _: Parts("ref", [("", v())]),
    dt.date: _repr,
    dt.timedelta: _repr,
    dt.timezone: _repr,
    dt.datetime: _time,
    dt.time: _time,
    zoneinfo.ZoneInfo: lambda v, _: Parts(
        f"zone:{v.key}", unknown="" if v.key else "a zone without a name"
    ),
    Decimal: _str,
    Fraction: _str,
    uuid.UUID: _str,
    PosixPath: _path,
    PurePosixPath: _path,
    WindowsPath: _path,
    PureWindowsPath: _path,
    re.Pattern: lambda v, _: Parts(f"re:{v.pattern!r}:{int(v.flags)}"),
    operator.itemgetter: _reduced,
    operator.attrgetter: _reduced,
    operator.methodcaller: _reduced,
    functools.partial: _attributes("func", "args", "keywords"),
    functools.partialmethod: _attributes("func", "args", "keywords"),
    functools.cached_property: _attributes("func"),
    functools.singledispatchmethod: _attributes("func", "dispatcher"),
    type(functools.lru_cache(len)): _attributes("__wrapped__"),
    staticmethod: _attributes("__func__"),
    classmethod: _attributes("__func__"),
    property: _attributes("fget", "fset", "fdel"),
    types.MethodType: _attributes("__func__", "__self__"),
    types.BuiltinFunctionType: _builtin,
    types.MethodWrapperType: lambda v, _: Parts(f"wrapper:{v.__name__}", [("", v.__self__)]),
    types.MethodDescriptorType: _descriptor,
    types.WrapperDescriptorType: _descriptor,
    types.ClassMethodDescriptorType: _descriptor,
    types.GetSetDescriptorType: _descriptor,
    types.MemberDescriptorType: _descriptor,
    types.GenericAlias: _generic,
    types.UnionType: _generic,
    typing.TypeVar: lambda v, _: Parts(f"typevar:{v.__name__}"),
    np.ndarray: _ndarray,
    np.ufunc: _ufunc,
    np.vectorize: _attributes("pyfunc", "otypes", "excluded", "signature"),
}
