"""Which class a value is: labels and predictions of one type, classes of another.

Numbers, booleans and DECIMAL are compared as numbers: 1, 1.0 and true are one class. Text is
compared with text as it is. Text and numbers meet where the text reads as a number ("1" and "1.0"
are 1), text and booleans where it says true or false, in any case.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from engine.arguments import entries
from engine.errors import ArgumentError
from engine.metrics.formulas.outputs import MISSING, UNKNOWN_CLASS
from engine.slicing.by_value import plain
from engine.sql import text_sql

INTEGERS = frozenset({"tinyint", "smallint", "int", "bigint"})
_WORDS: Mapping[str, int] = {"false": 0, "true": 1}
_MOST = 2**63


@dataclass(frozen=True)
class Keys:
    """What a column's values are compared with, a key per class.

    Attributes
    ----------
    type
        ``BIGINT``, ``FLOAT``, ``DOUBLE`` or ``STRING``: what values are cast to.
    keys
        Each class's; None for one that no value of this column is.
    """

    type: str
    keys: tuple[Any, ...]


def keys_of(kind: str, classes: Sequence[Any]) -> Keys:
    """Return what values of a column of this type are compared with.

    Parameters
    ----------
    kind
        The type, as Spark writes it.
    classes
        The classes.

    Examples
    --------
    >>> keys_of("boolean", ["no", "0", True])
    Keys(type='BIGINT', keys=(None, 0, 1))
    >>> keys_of("double", [0, 1]), keys_of("string", [0, 1])
    (Keys(type='DOUBLE', keys=(0.0, 1.0)), Keys(type='STRING', keys=('0', '1')))
    """
    whole = kind in INTEGERS or kind == "boolean" or _whole_decimal(kind)
    if not (whole or kind in ("float", "double") or kind.startswith("decimal")):
        return Keys("STRING", tuple(map(class_text, classes)))
    numbers = tuple(_number(c, words=kind == "boolean") for c in classes)
    if not whole:
        name = "FLOAT" if kind == "float" else "DOUBLE"
        return Keys(name, tuple(None if n is None else float(n) for n in numbers))
    # A column of whole numbers has no value that is a fraction.
    fits = (n if n is not None and n == int(n) and abs(n) < _MOST else None for n in numbers)
    return Keys("BIGINT", tuple(None if n is None else int(n) for n in fits))


def class_position(value: str, kind: str, classes: Sequence[Any]) -> str:
    """Return a value's class position, -1 for null, -2 for none of the classes; all in SQL.

    Parameters
    ----------
    value, kind
        The value in SQL, and its type, as Spark writes it.
    classes
        The classes.
    """
    keys = keys_of(kind, classes)
    cast = f"CAST({value} AS {keys.type})"
    at = _place(keys.keys, keys.type, cast)
    if keys.type == "STRING" and not all(isinstance(c, str) for c in classes):
        numbers = (None if isinstance(c, str) else _number(c) for c in classes)
        doubles = [None if n is None else float(n) for n in numbers]
        others = [at, _place(doubles, "DOUBLE", f"try_cast({cast} AS DOUBLE)")]
        if any(isinstance(c, bool) for c in classes):
            words = [class_text(c) if isinstance(c, bool) else None for c in classes]
            others.append(_place(words, "STRING", f"lower({cast})"))
        at = f"COALESCE({', '.join(f'NULLIF({one}, 0)' for one in others)})"
    position = f"CAST(NULLIF({at}, 0) AS INT) - 1"
    return f"COALESCE({position}, IF({value} IS NULL, {MISSING}, {UNKNOWN_CLASS}))"


def class_text(value: Any) -> str:
    """Return a class as Spark's cast to string shows it.

    Examples
    --------
    >>> class_text(True), class_text(1), class_text("spam")
    ('true', '1', 'spam')
    """
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_class(value: Any) -> Any:
    """Return a class's value as Python's own, a whole number as an int.

    Examples
    --------
    >>> import numpy as np
    >>> as_class(1.0), as_class(np.True_), as_class(np.str_("a")), as_class(0.5)
    (1, True, 'a', 0.5)
    """
    own = plain(value)
    if isinstance(own, float | Decimal) and math.isfinite(own) and own == int(own):
        return int(own)
    return str(own) if isinstance(own, str) else own


def given_classes(call: str, classes: Any) -> list[Any]:
    """Return classes that were given as a list, as :func:`as_class` has them.

    Raises
    ------
    ArgumentError
        If they are no list of at least two different values.

    Examples
    --------
    >>> given_classes("evaluate", [0.0, 1.0])
    [0, 1]
    """
    wanted = "a list of the label's values, such as [0, 1]"
    values = [as_class(c) for c in entries(call, "classes", classes, wanted)]
    for one in values:
        known = isinstance(one, str | int | Decimal) or type(one).__name__ in ("date", "datetime")
        if not known and not (isinstance(one, float) and math.isfinite(one)):
            raise ArgumentError(call, "each of classes", "text, a number, or True or False", one)
    if len(values) < 2 or not different(values):  # noqa: PLR2004
        raise ArgumentError(call, "classes", "a list of at least two different values", values)
    return values


def different(classes: Sequence[Any]) -> bool:
    """Tell whether no value can be two of the classes.

    Examples
    --------
    >>> different([0, 1]), different([1, True]), different([1, "1"]), different([True, "true"])
    (True, False, False, False)
    """
    texts = [t for c in classes for t in _texts_of(c)]
    return len(set(texts)) == len(texts)


def _texts_of(one: Any) -> set[str]:
    """Return how a class is written: True is 1 and true."""
    return {class_text(one), class_text(int(one))} if isinstance(one, bool) else {class_text(one)}


def _whole_decimal(kind: str) -> bool:
    digits, _, scale = kind.removeprefix("decimal(").removesuffix(")").partition(",")
    return kind.startswith("decimal(") and scale == "0" and int(digits) <= 18  # noqa: PLR2004


def _number(value: Any, *, words: bool = False) -> Any:
    """Return a class as a number; None for text that reads as none."""
    if not isinstance(value, str):
        return value if isinstance(value, int | float | Decimal) else None
    if words and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    try:
        number = float(value)
    except ValueError:
        return None
    if not math.isfinite(number) or "_" in value:
        return None
    return int(value) if number.is_integer() and value.strip().lstrip("+-").isdigit() else number


def _place(keys: Sequence[Any], kind: str, value: str) -> str:
    return f"array_position(array({', '.join(_literal(k, kind) for k in keys)}), {value})"


def _literal(key: Any, kind: str) -> str:
    if key is None:
        return f"CAST(NULL AS {kind})"
    if kind == "STRING":
        return text_sql(key)
    return f"CAST({key} AS BIGINT)" if kind == "BIGINT" else f"CAST({key!r}D AS {kind})"
