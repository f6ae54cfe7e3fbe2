"""What a slicing function says of a row: the function called on it, as plainly as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tests.fuzz.strategies import Bad

IN, OUT, NULL, FAULT = 1, 0, -1, 2
WORDS = {IN: "in the slice", OUT: "out", NULL: "undecided", FAULT: "a fault"}


class Plain:
    """A row, by attribute and by item."""

    def __init__(self, values: dict[str, Any]) -> None:
        vars(self).update(values)

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def get(self, name: str, default: Any = None) -> Any:
        return self.__dict__.get(name, default)


class Partial(Plain):
    """A row some of whose values can't be read."""

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        return read(value)

    def __getitem__(self, name: str) -> Any:
        return read(self.__dict__[name])

    def get(self, name: str, default: Any = None) -> Any:
        return read(self.__dict__.get(name, default))


def read(value: Any) -> Any:
    """Return a value, if Python can hold it."""
    if type(value) is Bad:
        raise ValueError("Python can't hold it")
    return value


class Watched:
    """A row that notes whether a null was read from it."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values, self.read_null = values, False

    def __getattr__(self, name: str) -> Any:
        return self[name]

    def __getitem__(self, name: str) -> Any:
        value = read(self._values[name])
        self.read_null |= value is None
        return value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._values else default


def answer(f: Callable[..., Any], resources: Mapping[str, Any], x: Plain) -> int:
    """Call a function on a row."""
    try:
        said = f(x, **resources)
    except Exception:
        watched = Watched(x.__dict__)
        try:
            f(watched, **resources)
        except Exception:
            return NULL if watched.read_null else FAULT
        raise AssertionError("the function is not the same twice") from None
    if said is None or said is pd.NA:
        return NULL
    return (
        int(said) if isinstance(said, int | np.integer | np.bool_) and said in (1, 0, -1) else FAULT
    )


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[Plain]:
    """Return columns as rows."""
    kind = Partial if any(type(v) is Bad for values in columns.values() for v in values) else Plain
    return [
        kind(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
    ]


def answers(f: Callable[..., Any], resources: Mapping[str, Any], xs: Sequence[Plain]) -> np.ndarray:
    """Call a function on each row."""
    return np.fromiter((answer(f, resources, x) for x in xs), np.int8, len(xs))
