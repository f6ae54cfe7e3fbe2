"""Texts cut into words and parts, put together, and in lower case: whole columns at once."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.compile.lists import Lists, as_text, lists_of, over_array
from engine.compile.vectors import BY_KIND, RAISED, Batch, Vec, first_fail, strict_fail, where_fails
from engine.matching.charsets import Charset
from engine.matching.regex import Repeat, parse
from engine.matching.text import PAD, TextBatch, ranks, widths, word_marks
from engine.slicing.expr import Call

_MOST_PARTS = 2**31 - 1


def of_text(form: Callable[..., Vec | None]) -> Callable[..., Vec | None]:
    """Return a form whose first operand is text in Arrow."""

    def run(batch: Batch, node: Call, a: Vec, *rest: Vec) -> Vec | None:
        text = as_text(batch, node.args[0], a)
        return None if text is None else form(batch, text, *rest)

    return run


def filled(batch: Batch, text: Vec) -> pa.Array:
    """Return texts as Arrow has them, empty where there is none."""
    array = batch.array(text.values)
    return array.fill_null("") if array.null_count else array


def _words(array: pa.Array) -> Lists:
    """Return what ``split()`` gives: the bytes without white space, and where words begin."""
    text = TextBatch(array)
    begins, space = word_marks(text)
    lens = np.diff(ranks(begins, text.offsets))
    data = np.append(np.compress(~space, text.data[: text.size]), np.zeros(PAD, np.uint8))
    starts = np.flatnonzero(begins)
    starts -= ranks(space, starts)
    ends = np.append(starts, len(data) - PAD)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    words = pa.Array.from_buffers(pa.large_string(), len(starts), buffers)
    return over_array(lens.astype(np.int64), words)


def _split(reverse: bool) -> Callable[..., Vec | None]:
    def split(batch: Batch, text: Vec, *by: Vec) -> Vec | None:
        if any(v.kind != "const" for v in by):
            return None
        if not by or by[0].values is None:
            lists = _words(filled(batch, text)) if len(by) < 2 else None  # noqa: PLR2004
        else:
            lists = _parts(filled(batch, text), reverse, *(v.values for v in by))
        return None if lists is None else Vec("list", lists, None, strict_fail(text))

    return split


def _parts(array: pa.Array, reverse: bool, sep: Any, most: Any = -1) -> Lists | None:
    if type(sep) is not str or not sep or type(most) is not int or abs(most) > _MOST_PARTS:
        return None
    try:
        parts = pc.split_pattern(array, sep, max_splits=None if most < 0 else most, reverse=reverse)
    except UnicodeEncodeError:  # half of a pair
        return None
    lens = pc.list_value_length(parts).to_numpy(zero_copy_only=False)
    return over_array(lens.astype(np.int64), parts.flatten())


def _partition(reverse: bool) -> Callable[..., Vec | None]:
    """Return a form of partition: what is before a text, the text, and what is behind."""

    def partition(batch: Batch, text: Vec, by: Vec) -> Vec | None:
        lists = _parts(filled(batch, text), reverse, by.values, 1) if by.kind == "const" else None
        if lists is None:
            return None
        items, cut = lists.batch.array(lists.items.values), lists.lens > 1
        first, last = lists.starts, lists.starts + lists.lens - 1
        ends = [pc.take(items, pa.array(at)) for at in (first, last)]
        sep = pc.if_else(pa.array(cut), by.values, "").cast(items.type)
        without = pa.scalar("", items.type)
        whole = 1 if reverse else 0  # where a text goes that isn't cut
        ends[1 - whole] = pc.if_else(pa.array(cut), ends[1 - whole], without)
        parts = tuple(map(batch.keep, (ends[0], sep, ends[1])))
        return Vec("tuple", parts, None, strict_fail(text))

    return partition


def _lower(batch: Batch, text: Vec) -> Vec:
    lower = batch.text(text.values).lowered().array
    return replace(batch.keep(lower), fail=strict_fail(text))


def _or_text(batch: Batch, node: Call, a: Vec, *rest: Vec) -> Vec | None:
    """Return texts, and a constant one where there is none or an empty one."""
    if len(rest) != 1 or rest[0].kind != "const" or type(rest[0].values) is not str:
        return None
    array, other = batch.array(a.values), rest[0].values
    if other:
        try:
            some = pc.fill_null(pc.greater(pc.binary_length(array), 0), False)
            array = pc.if_else(some, array, pa.scalar(other, array.type))
        except UnicodeEncodeError:
            return None
    else:
        array = array.fill_null("")
    return replace(batch.keep(array), fail=a.fail)


def _join(batch: Batch, node: Call, sep: Vec, over: Vec) -> Vec | None:
    lists = lists_of(batch, node.args[1], over)
    if lists is None or lists.items.kind != "text" or type(sep.values) is not str:
        return None
    lens = np.append(0, np.cumsum(lists.lens))
    items = lists.batch.array(lists.items.values).cast(pa.large_string())
    whole = pa.LargeListArray.from_arrays(pa.array(lens), items.take(pa.array(lists.at)))
    fail = strict_fail(over)
    if lists.items.fail is not None:
        return None
    try:
        joined = pc.binary_join(whole, pa.scalar(sep.values, pa.large_string()))
    except UnicodeEncodeError:
        return None
    if joined.null_count:  # one of them is None
        null = joined.is_null().to_numpy(zero_copy_only=False)
        fail = first_fail(fail, where_fails(null, RAISED[TypeError]))
        joined = joined.fill_null("")
    return replace(batch.keep(joined), fail=fail)


def _without(
    batch: Batch, node: Call, pattern: Vec, over: Vec, instead: Vec, most: Vec
) -> Vec | None:
    """Return texts without the characters that a pattern of one is about."""
    constant = all(v.kind == "const" for v in (pattern, instead, most))
    if not constant or instead.values != "" or most.values != 0:
        return None
    text, charset = as_text(batch, node.args[1], over), _of_one(pattern.values)
    if text is None or charset is None:
        return None
    out = _compressed(TextBatch(filled(batch, text)), charset)
    return replace(batch.keep(out), fail=strict_fail(text))


def _of_one(pattern: Any) -> Charset | None:
    """Return the characters of a pattern of one, once or more: a text without it is the others."""
    if not isinstance(pattern, re.Pattern) or not isinstance(pattern.pattern, str):
        return None
    node = parse(pattern.pattern, pattern.flags)
    if isinstance(node, Repeat) and node.least == 1 and node.most is None:
        node = node.part
    return node if isinstance(node, Charset) else None


def _compressed(text: TextBatch, charset: Charset) -> pa.Array:
    """Return texts without the characters of a set."""
    data = text.data[: text.size]
    gone = np.frombuffer(bytearray(data.tobytes().translate(charset.table.tobytes())), np.bool_)
    wide = text.places(charset.wide) if charset.beyond else np.zeros(0, np.int64)
    length = widths(text.data, wide)
    for i in range(4):
        gone[wide[length > i] + i] = True
    ends = ranks(~gone, text.offsets).astype(np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.compress(~gone, data))]
    return pa.Array.from_buffers(pa.large_string(), len(text), buffers)


for _kind in ("text", "object"):
    BY_KIND |= {
        ("split", _kind): of_text(_split(reverse=False)),
        ("rsplit", _kind): of_text(_split(reverse=True)),
        ("partition", _kind): of_text(_partition(reverse=False)),
        ("rpartition", _kind): of_text(_partition(reverse=True)),
        ("lower", _kind): of_text(_lower),
        ("re_sub", _kind): _without,
    }
BY_KIND |= {("or", "text"): _or_text, ("join", "const"): _join}
