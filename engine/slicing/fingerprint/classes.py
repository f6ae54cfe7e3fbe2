"""What a class depends on, and an object of one: members, bases, fields, and what it holds."""

from __future__ import annotations

import _abc  # type: ignore[import-not-found]
import abc
import copyreg
import enum
import functools
import inspect
import pickle
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from engine.slicing.fingerprint.changes import Changes
from engine.slicing.fingerprint.owners import Owners
from engine.slicing.fingerprint.parts import Named, Parts, others

# Attributes of a class that say nothing about what it does, or that Python makes of the others.
_ABOUT = frozenset(
    f"__{name}__"
    for name in (
        "abstractmethods", "annotate", "annotate_func", "annotations", "annotations_cache",
        "classdictcell", "conditional_annotations", "dataclass_fields", "dataclass_params", "dict",
        "doc", "firstlineno", "module", "non_callable_proto_members", "orig_bases", "parameters",
        "protocol_attrs", "static_attributes", "type_params", "weakref",
    )
) | {"_abc_impl", "_is_protocol", "_is_runtime_protocol"}  # fmt: skip
_SLOTS = (types.GetSetDescriptorType, types.MemberDescriptorType)


def class_parts(kind: type, changes: Changes) -> Parts:
    """Describe a class: the user's by all that it says, others' by its name."""
    if not changes.owners.has_class(kind):
        label = f"class:{kind.__module__}.{kind.__qualname__}"
        registered = [(n, c) for n, c in _registered(kind) if changes.owners.has_class(c)]
        return Parts(label, [("", others(kind.__module__)), *registered])
    below: list[Named] = [("", base) for base in kind.__bases__]
    if type(kind) is not type:
        below.append(("metaclass", type(kind)))
    if issubclass(type(kind), enum.EnumType):
        below += [(n, m._value_) for n, m in kind.__members__.items()]  # type: ignore[attr-defined]
    below += [*_fields_of(kind), *_registered(kind)]
    members = [(n, v) for n, v in vars(kind).items() if _is_written(kind, n, v, changes.owners)]
    members += [("__doc__", d) for d in {kind.__doc__} if "__doc__" in changes.changed.remarks]
    below += ((f"{kind.__name__}.{n}", v) for n, v in changes.of_members(kind, members))
    return Parts(f"class:{kind.__qualname__}", below)


def _is_written(kind: type, name: str, value: Any, owners: Owners) -> bool:
    """Tell whether a member is what the class says, not what Python makes of it."""
    if name in _ABOUT or type(value) in _SLOTS:
        return False
    if name.startswith("__pydantic_") or name == "__signature__":  # made of the fields
        return name in ("__pydantic_fields__", "__pydantic_decorators__")
    by_python = ("__dataclass_fields__", "_is_protocol")
    generates = hasattr(kind, "_field_defaults") or any(n in vars(kind) for n in by_python)
    if issubclass(type(kind), enum.EnumType):
        if name in kind.__members__:  # type: ignore[attr-defined]
            return False
        generates = generates or name.startswith("_")
    if not generates:
        return True
    if name.startswith("_"):
        f = getattr(value, "__func__", value)
        is_code = type(f) is types.FunctionType and owners.has_code(f)
        return is_code and not f.__code__.co_filename.startswith("<string>")  # a dataclass's do
    return type(value).__name__ != "_tuplegetter"


def _registered(kind: type) -> Iterator[Named]:
    """Yield the classes that were registered with an abstract base class."""
    if isinstance(kind, abc.ABCMeta):
        classes = [c for ref in _abc._get_dump(kind)[0] if (c := ref()) is not None]
        for c in sorted(classes, key=lambda c: (c.__module__, c.__qualname__)):
            yield "registered", c


def _fields_of(kind: type) -> Iterator[Named]:
    """Yield what a class says of its fields: annotations, and what a dataclass makes of them."""
    try:
        annotations = inspect.get_annotations(kind)
    except Exception:  # a name that isn't defined yet
        annotations = {}
    if annotations:
        yield "annotations", annotations
    fields = vars(kind).get("__dataclass_fields__", {})
    about = ("default", "default_factory", "init", "compare", "hash", "kw_only", "metadata")
    for name, f in fields.items():
        yield name, [getattr(f, a) for a in about]
    if fields:
        params = vars(kind)["__dataclass_params__"]
        yield "dataclass", [getattr(params, a) for a in ("init", "eq", "order", "frozen")]
    if "_fields" in vars(kind) and issubclass(kind, tuple):
        yield "fields", [kind._fields, kind._field_defaults]  # type: ignore[attr-defined]


def object_parts(value: Any, changes: Changes) -> Parts:
    """Describe an object by its class and what it holds."""
    kind = type(value)
    if issubclass(kind, enum.Enum):
        about = [(k, v) for k, v in vars(value).items() if not k.startswith("_")]
        return Parts(
            f"member:{value._name_}",
            [("", kind), ("", value._value_), *sorted(about, key=lambda item: item[0])],
        )
    if changes.owners.has_class(kind):
        return _own_object(value, changes)
    if "__wrapped__" in _vars(value):
        about = [(k, v) for k, v in _vars(value).items() if _is_setting(k, v)]
        about.append(("", getattr(value, "_self_wrapper", None)))  # wrapt's
        return Parts("wrapper", [("", kind), *about])
    try:
        return _reduced(value)
    except Exception:
        return Parts("object", [("", kind)], unknown=_unreadable(kind))


def _reduced(value: Any) -> Parts:
    """Describe an object as it is pickled."""
    kind = type(value)
    by_table = copyreg.dispatch_table.get(kind)
    parts: Any = by_table(value) if by_table else value.__reduce_ex__(4)
    if isinstance(parts, str):
        return Parts(f"global:{parts}", [("", kind)])
    maker, arguments, state, items, pairs = (*parts, None, None, None)[:5]
    if isinstance(state, dict):  # scikit-learn notes where in memory stop words are
        places = {id(other) for other in state.values()}
        state = {k: v for k, v in state.items() if type(v) is not int or v not in places}
    below = [("", maker), ("", arguments), ("", state)]
    lists = [("", None if i is None else list(i)) for i in (items, pairs)]
    return Parts("object", [*below, *lists])


def _own_object(value: Any, changes: Changes) -> Parts:
    """Describe an object of a class of the user's.

    Executors get what it is pickled as: where its class says how, that is described.
    """
    kind = type(value)
    if _says_how(kind):
        try:
            once, again = (pickle.dumps(value.__reduce_ex__(4)[1:3]) for _ in range(2))
            if once == again:
                return _reduced(value)
            return Parts("object", [("", kind)], unknown=f"{_a(kind)} that is pickled "
                         "in another way each time")  # fmt: skip
        except Exception:
            pass
    below: list[Named] = [("", kind)]
    base = next(k for k in kind.__mro__ if not changes.owners.has_class(k))
    if base is not object:
        below += _as_base(value)
    own = {**_vars(value), **dict(_slots(value))}
    caches = {n for k in kind.__mro__ for n, v in vars(k).items()
              if isinstance(v, functools.cached_property)}  # fmt: skip
    attributes = ((n, v) for n, v in own.items() if n not in caches and n not in _ABOUT)
    below += changes.of_attributes(value, attributes)
    return Parts("own", below)


def _as_base(value: Any) -> Iterator[Named]:
    """Yield what an object holds as one of the type that its class extends."""
    for kind, base_value in _BASES.items():
        if isinstance(value, kind):
            yield kind.__name__, base_value(value)
            return
    try:
        parts = value.__reduce_ex__(4)
    except Exception:
        yield "base", Parts("unknown:base", unknown=_unreadable(type(value)))
        return
    yield "base", [a for a in parts[1] if a is not type(value)]
    for items in parts[3:5]:
        yield "items", None if items is None else list(items)


_BASES: dict[type, Callable[[Any], Any]] = {
    bool: bool,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    str: str.__str__,
    bytes: lambda v: bytes(memoryview(v)),
    tuple: lambda v: tuple(tuple.__iter__(v)),
    list: lambda v: [*list.__iter__(v)],
    set: lambda v: set(set.__iter__(v)),
    frozenset: lambda v: frozenset(frozenset.__iter__(v)),
}


def _a(kind: type) -> str:
    return f"a {kind.__module__}.{kind.__qualname__}".replace("a builtins.", "a ")


def _unreadable(kind: type) -> str:
    return f"{_a(kind)}, whose contents can't be read"


def _vars(value: Any) -> Mapping[str, Any]:
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _slots(value: Any) -> Iterator[Named]:
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if type(slot) is types.MemberDescriptorType:
                try:
                    yield name, slot.__get__(value)
                except AttributeError:  # has no value yet
                    continue


def _says_how(kind: type) -> bool:
    """Tell whether a class says how its objects are pickled."""
    names = ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__", "__getnewargs_ex__")
    return not hasattr(kind, "_field_defaults") and any(
        type(vars(k).get(name)) is types.FunctionType for k in kind.__mro__ for name in names
    )


def _is_setting(name: str, value: Any) -> bool:
    """Tell whether an attribute of others' wrapper is a setting, not a count of calls."""
    if name == "__wrapped__":
        return True
    plain = (str, bool, float, type(None), types.FunctionType, type, functools.partial)
    return not name.startswith("__") and isinstance(value, (*plain, types.MethodType))
