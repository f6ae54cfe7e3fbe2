"""Methods of text as whole columns, by Arrow's functions where they agree with Python's.

Where Arrow agrees on ASCII alone, texts with other characters are asked of Python, value by value.
A test compares each form with Python on all characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.arrow.values import is_ascii
from engine.compile.lists import as_text
from engine.compile.texts import filled, of_text
from engine.compile.vectors import (
    BY_KIND,
    RAISED,
    Batch,
    Vec,
    equality,
    first_fail,
    strict_fail,
    strict_fails,
    where_fails,
)
from engine.matching.charsets import ASCII_SIZE
from engine.matching.text import WIDE_SPACES
from engine.slicing.expr import Call

Of = Callable[[pa.Array], pa.Array]
_WHITE = "".join(map(chr, (*filter(lambda c: chr(c).isspace(), range(ASCII_SIZE)), *WIDE_SPACES)))
_HALF = re.compile("[\ud800-\udfff]")  # of a pair
_INT32 = range(-(2**31), 2**31)


def _result(batch: Batch, out: pa.Array, fail: np.ndarray | None) -> Vec:
    """Return Arrow's booleans, counts or texts as a Vec."""
    kind = out.type
    if pa.types.is_boolean(kind):
        return Vec("bool", out.to_numpy(zero_copy_only=False), None, fail)
    if pa.types.is_integer(kind):
        return Vec("int", out.to_numpy(zero_copy_only=False).astype(np.int64), None, fail)
    return replace(batch.keep(out), fail=fail)


def _texts(*args: Vec) -> list[str] | None:
    """Return constant texts that Arrow can hold; None if some operand is something else."""
    values = [a.values for a in args]
    known = all(a.kind == "const" and type(a.values) is str for a in args)
    return values if known and all(map(_is_utf8, values)) else None


def _is_utf8(text: str) -> bool:
    return not _HALF.search(text)


def _agreeing(of: Of) -> Callable[..., Vec | None]:
    """Return a form without arguments whose Arrow function says what Python says."""

    def form(batch: Batch, text: Vec, *args: Vec) -> Vec | None:
        return None if args else _result(batch, of(filled(batch, text)), strict_fail(text))

    return form


def _on_ascii(of: Of, python: Callable[[str], Any]) -> Callable[..., Vec | None]:
    """Return a form whose Arrow function agrees on ASCII: other texts are Python's."""

    def form(batch: Batch, text: Vec, *args: Vec) -> Vec | None:
        if args:
            return None
        array = filled(batch, text)
        return _result(batch, _mixed(array, of, python), strict_fail(text))

    return form


def _mixed(array: pa.Array, of: Of, python: Callable[[str], Any]) -> pa.Array:
    out = of(array)
    if is_ascii(array):
        return out
    others = pc.invert(pc.string_is_ascii(array))
    values = [python(v) for v in array.filter(others).to_pylist()]
    return pc.replace_with_mask(out, others, pa.array(values, out.type))


def _trimmed(trim: Callable[..., pa.Array]) -> Callable[..., Vec | None]:
    def form(batch: Batch, text: Vec, *args: Vec) -> Vec | None:
        if args and args[0].kind != "const":
            return None
        away = _WHITE if not args or args[0].values is None else args[0].values
        if type(away) is not str or not _is_utf8(away):
            return None
        array = filled(batch, text)
        return _result(batch, trim(array, characters=away) if away else array, strict_fail(text))

    return form


def _with_texts(of: Callable[..., pa.Array]) -> Callable[..., Vec | None]:
    """Return a form whose arguments are constant texts, the first of them not empty."""

    def form(batch: Batch, text: Vec, *args: Vec) -> Vec | None:
        texts = _texts(*args)
        if not texts or not texts[0]:
            return None
        return _result(batch, of(filled(batch, text), *texts), strict_fail(text))

    return form


def _find(array: pa.Array, what: str) -> pa.Array:
    return _mixed(array, lambda a: pc.find_substring(a, what), lambda v: v.find(what))


def _without_first(array: pa.Array, what: str) -> pa.Array:
    shorter = pc.utf8_slice_codeunits(array, len(what))
    return pc.if_else(pc.starts_with(array, what), shorter, array)


def _without_last(array: pa.Array, what: str) -> pa.Array:
    shorter = pc.utf8_slice_codeunits(array, 0, -len(what))
    return pc.if_else(pc.ends_with(array, what), shorter, array)


def _any_end(test: Callable[[pa.Array, str], pa.Array]) -> Callable[..., Vec | None]:
    """Return startswith or endswith of a text, or of several."""

    def form(batch: Batch, text: Vec, *args: Vec) -> Vec | None:
        ends = args[0].values if args[0].kind == "const" else None
        ends = ends if type(ends) is tuple else (ends,)
        if len(args) > 1 or not all(type(end) is str and _is_utf8(end) for end in ends):
            return None
        array = filled(batch, text)
        out = np.zeros(batch.n, np.bool_)
        for end in ends:
            out |= test(array, end).to_numpy(zero_copy_only=False)
        return Vec("bool", out, None, strict_fail(text))

    return form


def _slice(batch: Batch, text: Vec, part: Vec) -> Vec | None:
    cut = part.values
    if part.kind != "const" or type(cut) is not slice:
        return None
    start, stop, step = cut.start, cut.stop, 1 if cut.step is None else cut.step
    ends = [0 if start is None else start, step, *([] if stop is None else [stop])]
    if not all(type(end) is int and end in _INT32 for end in ends) or step < 1:
        return None
    array = filled(batch, text)
    return _result(batch, pc.utf8_slice_codeunits(array, ends[0], stop, step), strict_fail(text))


def _item(batch: Batch, text: Vec, at: Vec) -> Vec | None:
    if at.kind != "const" or type(at.values) is not int or at.values not in _INT32:
        return None
    place = at.values
    out = pc.utf8_slice_codeunits(filled(batch, text), place, place + 1 if place != -1 else None)
    nothing = pc.equal(pc.binary_length(out), 0).to_numpy(zero_copy_only=False)
    outside = where_fails(nothing, RAISED[IndexError])
    return _result(batch, out, first_fail(strict_fail(text), outside))


def _contains(batch: Batch, node: Call, item: Vec, over: Vec) -> Vec | None:
    what = _texts(item)
    text = None if what is None else as_text(batch, node.args[1], over)
    if text is None or what is None:
        return None
    hits = np.ones(batch.n, np.bool_)
    if what[0]:
        hits = pc.match_substring(filled(batch, text), what[0]).to_numpy(zero_copy_only=False)
    return Vec("bool", hits, None, first_fail(item.fail, strict_fail(text)))


def _sides(batch: Batch, node: Call | None, a: Vec, b: Vec) -> tuple[Any, Any] | None:
    """Return two operands as Arrow's texts, one of them maybe a constant."""
    sides: list[Any] = []
    parts = (None, None) if node is None else node.args  # elements' comparisons have no node
    for part, vec in zip(parts, (a, b), strict=True):
        text = None if vec.kind == "const" else as_text(batch, part, vec)
        constant = _texts(vec)
        if text is not None:
            sides.append(filled(batch, text).cast(pa.large_string()))
        elif constant is not None:
            sides.append(pa.scalar(constant[0], pa.large_string()))
        else:
            return None
    return None if a.kind == b.kind == "const" else (sides[0], sides[1])


def _compared(compare: Callable[..., pa.Array], *, equal: bool | None) -> Callable[..., Vec | None]:
    """Return a comparison: UTF-8 is in the order of characters."""

    def form(batch: Batch, node: Call | None, a: Vec, b: Vec) -> Vec | None:
        sides = _sides(batch, node, a, b)
        if sides is None:
            return None
        values = compare(*sides).to_numpy(zero_copy_only=False)
        if equal is None:
            return Vec("bool", values, None, strict_fails(a, b))
        return equality(batch, values, a, b, same=equal)

    return form


def _joined(batch: Batch, node: Call, a: Vec, b: Vec) -> Vec | None:
    sides = _sides(batch, node, a, b)
    if sides is None:
        return None
    joined = pc.binary_join_element_wise(*sides, pa.scalar("", pa.large_string()))
    return _result(batch, joined, strict_fails(a, b))


_AGREEING: Mapping[str, Of] = {
    "isascii": pc.string_is_ascii,
    "isspace": lambda a: pc.and_(
        pc.greater(pc.binary_length(a), 0),
        pc.equal(pc.binary_length(pc.utf8_trim(a, characters=_WHITE)), 0),
    ),
}
_ASCII: Mapping[str, Of] = {
    "upper": pc.ascii_upper, "casefold": pc.ascii_lower, "swapcase": pc.ascii_swapcase,
    "capitalize": pc.ascii_capitalize, "title": pc.ascii_title, "isalnum": pc.ascii_is_alnum,
    "isalpha": pc.ascii_is_alpha, "isdecimal": pc.ascii_is_decimal,
    "isdigit": pc.ascii_is_decimal, "isnumeric": pc.ascii_is_decimal,
    "islower": pc.ascii_is_lower, "isupper": pc.ascii_is_upper, "istitle": pc.ascii_is_title,
    "isprintable": pc.ascii_is_printable,
}  # fmt: skip
FORMS: Mapping[str, Callable[..., Vec | None]] = {
    **{name: _agreeing(of) for name, of in _AGREEING.items()},
    **{name: _on_ascii(of, getattr(str, name)) for name, of in _ASCII.items()},
    "strip": _trimmed(pc.utf8_trim),
    "lstrip": _trimmed(pc.utf8_ltrim),
    "rstrip": _trimmed(pc.utf8_rtrim),
    "replace": _with_texts(pc.replace_substring),
    "count": _with_texts(pc.count_substring),
    "find": _with_texts(_find),
    "removeprefix": _with_texts(_without_first),
    "removesuffix": _with_texts(_without_last),
    "startswith": _any_end(pc.starts_with),
    "endswith": _any_end(pc.ends_with),
    "getslice": _slice,
    "getitem": _item,
}
_COMPARISONS: Mapping[str, tuple[Callable[..., pa.Array], bool | None]] = {
    "eq": (pc.equal, True), "ne": (pc.not_equal, False), "lt": (pc.less, None),
    "le": (pc.less_equal, None), "gt": (pc.greater, None), "ge": (pc.greater_equal, None),
}  # fmt: skip
for _kind in ("text", "object"):
    BY_KIND |= {(name, _kind): of_text(form) for name, form in FORMS.items()}
    BY_KIND |= {
        (name, _kind): _compared(test, equal=same) for name, (test, same) in _COMPARISONS.items()
    }
    BY_KIND["add", _kind] = _joined
BY_KIND["in", "const"] = _contains
