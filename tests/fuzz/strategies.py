"""Slicing functions as source text, and rows to ask them of.

Everything is drawn from a `random.Random`: a plain one where millions are wanted, hypothesis' own
where a failure is to be shrunk. A function is written from tables of templates: a hole such as
`{text}` is filled with a template of that kind, leaves only once the depth is used up.
"""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

# Rows

COLUMNS: Mapping[str, pa.DataType] = {
    "t": pa.string(), "u": pa.string(), "t0": pa.string(),
    "i8": pa.int8(), "i16": pa.int16(), "i32": pa.int32(), "i64": pa.int64(), "n0": pa.int64(),
    "f32": pa.float32(), "f64": pa.float64(), "f0": pa.float64(),
    "b": pa.bool_(), "b0": pa.bool_(),
    "day": pa.date32(), "at": pa.timestamp("us", "UTC"), "price": pa.decimal128(12, 2),
    "tags": pa.list_(pa.string()), "nums": pa.list_(pa.float64()),
    "ints": pa.list_(pa.int32()), "local": pa.timestamp("us"),
}  # fmt: skip
NEVER_NULL = frozenset({"t0", "n0", "f0", "b0"})

KEYWORDS = (
    "check", "subscribe", "plz", "please", "k", "s", "i", "a", "A", "Check Out", "song", "bit.ly",
    "\u212a", "\u017f", "\u0130", "\u0131", "\u00df", "\ufb01", "\u03c3", "\u03c2", "\u03a3",
    "\u00e9", "e\u0301", "\U0001f600", "\x00", "\n", " ", "", "1", "\u0663", "\u00b2", "_", ".",
    "\ud83d", "ss", "fi", "\u2028", "\x1c", "\x85", "\ua7c1", "\u1e9e", "\U00010428", "$", "\\",
)  # fmt: skip
PIECES = (
    *(w for w in KEYWORDS if w != "\ud83d"),
    " ", " ", "\t", "\r\n", "\x0b", "\x0c", "\x1d", "\x1e", "\x1f", "\xa0", "\u1680", "\u2003",
    "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\ufeff", "\u180e", "\u0307", "\u0345",
    "\u0149", "\u01f0", "\u1e96", "\ufb06", "\u01c5", "\u1fb3", "\u10d0", "\u13a0", "\uab70",
    "\ua7c0", "\u2c2f", "\u00b5", "\u03bc", "\u00aa", "\u2160", "\u24b6", "\u0967", "\u00bd",
    "\u2460", "\U0001d7d8", "\U0001d518", "\U0010ffff", "\U0001f469\u200d\U0001f467", "&#39;",
    "chec\u212a", "plea\u017fe", "\u017fong", "sub\u017fcribe", "k\n", "song\n", "ly\n",
    "CHECK", "Subscribe", "PLZ", "this SONG", "bit.ly/x", "www.", "check out", "check\nout", "12",
    "-3", "+4", "1_0", "1e3", "nan", "0.5", "b", "B", "c", "xyz", "!", "?", "'", '"', "%", "\x7f",
)  # fmt: skip
_ALIKE = (
    "1\u0663\u00b2\u0967\u00bd\u2460\U0001d7d8\u2167\u4e00", "kK\u212asS\u017fi\u0130I\u0131",
    " \t\n\x0b\x0c\r\x1c\x1f\x85\xa0\u2003\u2028\u3000\u200b",
    "aA\u00e9\u00c9\u00df\u1e9e\u03c3\u03c2",
    "a\u0301\u0307\u0345\u01c5\u01f0\ufb01\u1fb3", ("check", "out", "\n", " ", "song", "k", "."),
)  # fmt: skip
_CASES: Sequence[Callable[[str], str]] = (
    str, str, str, str.upper, str.lower, str.title, str.swapcase,
)  # fmt: skip


def text(r: Random) -> str:
    """Write a text that trips string code, and that keywords and patterns are likely to hit."""
    kind = r.randrange(20)
    if kind == 0:
        return r.choice(KEYWORDS[:30])
    if kind == 1:
        return "".join(_character(r) for _ in range(r.randrange(12)))
    if kind == 2:
        return r.choice(PIECES) * r.choice((1, 7, 40, 100))
    if kind < 6:
        group = r.choice(_ALIKE)
        return "".join(r.choice(group) for _ in range(r.randrange(1, 4)))
    if kind == 6:
        return r.choice(_CASES)(r.choice(KEYWORDS[:12])) + "\n"
    if kind < 9:
        return r.choice(PIECES)
    if kind == 9:
        return " ".join(r.choice(KEYWORDS[:12]) for _ in range(r.randrange(1, 12)))
    return "".join(r.choice(_CASES)(r.choice(PIECES)) for _ in range(r.randrange(6)))


def _character(r: Random) -> str:
    most = r.choice((0x80, 0x250, 0x3000, 0x110000))
    found = r.randrange(most)
    return "?" if 0xD800 <= found < 0xE000 else chr(found)


def _integer(bits: int) -> Callable[[Random], int]:
    def draw(r: Random) -> int:
        near = r.choice((0, 0, 0, 2**31, 2**53, 2**63, -(2**31), -(2**53), -(2**63), 10, 100))
        found = near + r.randrange(-6, 7)
        least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        return min(max(found, least), most)

    return draw


_FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 2.5, -2.5, 3.0, 0.1, 1e-320, 1e308, -1e308, 2.0**53, 2.0**53 + 2,
    -(2.0**63), 9007199254740993.0, float("nan"), float("inf"), float("-inf"), 1e16, 100.0, 7.0,
)  # fmt: skip


def _float(r: Random) -> float:
    return r.choice(_FLOATS) if r.randrange(3) else r.uniform(-10, 10)


_VALUES: Mapping[pa.DataType, Callable[[Random], Any]] = {
    pa.string(): text,
    pa.int8(): _integer(8),
    pa.int16(): _integer(16),
    pa.int32(): _integer(32),
    pa.int64(): _integer(64),
    pa.float32(): lambda r: float(np.float32(min(max(_float(r), -3e38), 3e38))),
    pa.float64(): _float,
    pa.bool_(): lambda r: r.random() < 0.5,
    pa.date32(): lambda r: dt.date(2020, 1, 1) + dt.timedelta(r.randrange(-400, 800)),
    pa.timestamp("us", "UTC"): lambda r: (
        dt.datetime(2020, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=r.randrange(10**15))
    ),
    pa.list_(pa.string()): lambda r: [
        r.choice((None, *KEYWORDS[:10])) for _ in range(r.randrange(4))
    ],
    pa.list_(pa.float64()): lambda r: [
        r.choice((None, _float(r), _float(r), _float(r))) for _ in range(r.randrange(4))
    ],
    pa.list_(pa.int32()): lambda r: [
        r.choice((None, *([_integer(32)(r)] * 6))) for _ in range(r.randrange(5))
    ],
    pa.timestamp("us"): lambda r: (
        dt.datetime(2020, 1, 1) + dt.timedelta(microseconds=r.randrange(10**14))
    ),
    pa.decimal128(12, 2): lambda r: Decimal(r.choice((0, 1, 100, 250, -250, 10**9))) / 100,
}
_DISTINCT = 400  # values of a column, so that some rows share them, as real rows do


def values(r: Random, n: int) -> dict[str, list[Any]]:
    """Draw `n` rows: column to Python values, as a collected Spark row has them."""
    made = {}
    for name, kind in COLUMNS.items():
        pool = [_VALUES[kind](r) for _ in range(min(n, _DISTINCT))]
        if name not in NEVER_NULL:
            pool += [None] * (len(pool) // 8 + 1)
        made[name] = r.choices(pool, k=n)
    return made


@dataclass(frozen=True)
class Bad:
    """A value that Arrow and Spark hold, and Python can't: bytes of a text, a number of a time."""

    raw: bytes | int


_BAD: Mapping[str, Sequence[bytes | int]] = {
    "t": (b"\xff", b"check\xc3", b"\xed\xa0\x80k", b"\xf4\x90\x80\x80"),
    "u": (b"a\xff", b"\xc0\x80"),
    "day": (-719_163, 2_932_897, -(2**31)),
    "at": (-62_135_596_800 * 10**6 - 1, 253_402_300_800 * 10**6, 2**62),
}


def with_unreadable(r: Random, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return rows some of whose texts, dates and times are such as Python can't hold."""
    return {
        c: [Bad(r.choice(_BAD[c])) if c in _BAD and r.randrange(6) == 0 else v for v in values]
        for c, values in columns.items()
    }


def table(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return rows as an Arrow table."""
    return pa.table({c: _array(v, COLUMNS[c]) for c, v in columns.items()})


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if not any(type(v) is Bad for v in values):
        return pa.array(values, kind)
    if pa.types.is_string(kind):
        raw = [v.raw if type(v) is Bad else None if v is None else v.encode() for v in values]
        return pa.array(raw, pa.binary()).view(kind)
    width = pa.int32() if pa.types.is_date32(kind) else pa.int64()
    known = pa.array([None if type(v) is Bad else v for v in values], kind).view(width)
    return pa.array(
        [v.raw if type(v) is Bad else n for v, n in zip(values, known.to_pylist(), strict=True)],
        width,
    ).view(kind)


# Constants

_INTS = (
    0, 1, 2, 3, 5, 7, 10, -1, -2, -3, 100, 127, 128, 2**31 - 1, -(2**31), 2**31, 2**53, 2**53 + 1,
    2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 10**30,
)  # fmt: skip


def _int_text(r: Random) -> str:
    return repr(r.choice(_INTS[:10] if r.randrange(3) else _INTS))


def _float_text(r: Random) -> str:
    return f'float("{r.choice(_FLOATS)!r}")' if r.randrange(4) == 0 else repr(r.choice(_FLOATS[:9]))


def _keyword(r: Random) -> str:
    found = r.choice(KEYWORDS[:12] if r.randrange(3) else KEYWORDS)
    return repr(r.choice(_CASES)(found))


def _collection(
    item: Callable[[Random], str], most: int = 6, sets: bool = True
) -> Callable[[Random], str]:
    def draw(r: Random) -> str:
        items = [item(r) for _ in range(r.randrange(most))]
        kind = r.randrange(5)
        if kind == 0 and items and sets:
            return "{" + ", ".join(items) + "}"
        if kind == 1:
            return "[" + ", ".join(items) + "]"
        if kind == 2 and sets:
            return "frozenset((" + "".join(f"{i}, " for i in items) + "))"
        return "(" + "".join(f"{i}, " for i in items) + ")"

    return draw


def _anything(r: Random) -> str:
    kinds = (_keyword, _int_text, _float_text, lambda _: "None", lambda _: "True",
             lambda _: 'Decimal("1")', lambda _: "dt.date(2020, 1, 1)")  # fmt: skip
    return r.choice(kinds)(r)


# Regular expressions

_ATOMS = (
    r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", ".", "[a-z]", "[^a-z]", "[A-Z0-9_]", r"[\w.]", "[k]",
    "[s]", "[^\n]", r"[^\W\d]", "\u00e9", "\u212a", "i", "k", "s", "S", "\u00df", "a", "b", r"\.",
    " ", r"\n", "[\u0130i]", "\u03c3", r"\x1c", "[!-~]", "\U0001f600", r"\$",
)  # fmt: skip
_PLACES = ("^", "$", r"\b", r"\B", r"\A", r"\Z", "(?=a)", "(?!k)", "(?<=c)")
_QUANTIFIERS = ("", "", "", "", "", "+", "*", "?", "{2}", "{1,3}", "+?", "*?", "{0,2}", "{2,}")
_FLAGS = ("re.I", "re.M", "re.S", "re.A", "re.I | re.A", "re.I | re.S", "re.I | re.M", "re.X", "0")


def regex(r: Random, depth: int = 2) -> str:
    """Write a regular expression; its repeats aren't nested, so that none takes for ever."""
    parts = []
    for _ in range(r.randrange(1, 5)):
        kind = r.randrange(12)
        if kind < 4:
            word = r.choice(KEYWORDS[:12])
            parts.append(re.escape(r.choice(_CASES)(word)))
        elif kind == 4:
            parts.append(r.choice(_PLACES))
        elif kind < 7 and depth:
            choice = "|".join(regex(r, depth - 1) for _ in range(r.randrange(1, 4)))
            opening = r.choice(("(", "(?:", "(?:", "(?i:", "(?s:", "(?a:", "(?P<g>"))
            parts.append(f"{opening}{choice}){r.choice(('', '', '', '?'))}")
        else:
            parts.append(r.choice(_ATOMS) + r.choice(_QUANTIFIERS))
    return "".join(parts)


_LOOPS = 2
_PATTERNS = (
    r"k$", r"song$", r"check.out", r"(?i)check.out", r"k.s", r"out$", r"out\Z",
    r"(?i)ly$", r"(?i)check", r"(?i)please|song", r"(?i)song\b", r"(?i)s$", r"e$",
    r"\w+\.ly", r"check.*out", r"^\s*$", r"(?i)plz|please", r"\bsong\b", r"\d{2,}", r"[A-Z]{3}",
    r"^\S+$", r"s+$", r"\s\Z", r"(a)\1", r"subscribe|check\s+out", r"(?i)k", r"(?i)straße",
    r"[^\x00-\x7f]", r"(?i)[k-s]+", r"(?i)[^k]", r"(?m)^a$", r"(?s)a.b", r".", r"^.$", r"",
    *(f"{'|'.join(f'word{i}' for i in range(40))}|{last}" for last in ("check", "song")),
)  # fmt: skip


def _regex_text(r: Random) -> str:
    while True:
        found = r.choice(_PATTERNS) if r.randrange(3) == 0 else regex(r)
        if sum(map(found.count, ("*", "+", ",}"))) > _LOOPS:  # else some take for ever
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for flags in (0, re.X, re.A):  # a comment may take a bracket away; `a` once
                    re.compile(found, flags)
            except re.error:
                continue
        return repr(found)


# Functions

# fmt: off
TOKENS: Mapping[str, Callable[[Random], str]] = {
    "keyword": _keyword,
    "an_int": _int_text,
    "a_float": _float_text,
    "regex": _regex_text,
    "column": lambda r: "x." + r.choice(("i8", "i16", "i32", "i64", "n0", "i64", "b", "n0")),
    "real": lambda r: r.choice(("x.f64", "x.f32", "x.f0", "x.f0", _float_text(r))),
    "form": lambda r: r.choice(("lower", "lower", "upper", "casefold", "title", "capitalize",
                                "swapcase", "strip", "lstrip", "rstrip")),
    "tested": lambda r: r.choice(("isdigit", "isalpha", "isalnum", "isupper", "islower", "isspace",
                                  "isnumeric", "isdecimal", "istitle")),
    "great": lambda r: repr(r.choice((2.0**53, 2.0**53 + 2, -(2.0**53), 2.0**63, -(2.0**63)))),
    "letter": lambda r: repr(r.choice(("k", "i", "s", "ss", "check", "song"))),
    "length": lambda r: str(r.randrange(30)),
    "ending": lambda r: repr(
        r.choice(("", "^", r"\b")) + r.choice(KEYWORDS[:11]) + r.choice(("$", "$", r"\Z", r"\b"))
    ),
    "dotted": lambda r: repr(
        r.choice(("check", "out", "k", "(?i)song", "^"))
        + r.choice((".", ".*", ".+", ".?", ".{2}"))
        + r.choice(("out", "song", "k", "check", "$"))
    ),
    "keyword_re": lambda r: repr(re.escape(r.choice(KEYWORDS[:12]))),
    "flags": lambda r: r.choice(_FLAGS),
    "texts": _collection(_keyword),
    "ints": _collection(_int_text),
    # What is gone through: a set has another order in each process.
    "listed": _collection(_keyword, sets=False),
    "numbers": _collection(_int_text, sets=False),
    "mixed": _collection(_anything),
    "order": lambda r: r.choice(("<", "<=", ">", ">=", "==", "!=")),
    "same": lambda r: r.choice(("==", "!=")),
    "small": lambda r: str(r.randrange(-3, 6)),
    "divisor": lambda r: str(r.choice((1, 2, 3, 7, -2, 10, 0, 2**40))),
    "is": lambda r: r.choice(("is", "is not")),
    "in": lambda r: r.choice(("in", "not in")),
    "type": lambda r: r.choice(("str", "int", "float", "bool", "object", "(int, str)",
                                "type(None)", "dt.date", "re.Match", "list")),
}

# Kind -> leaves, and templates with holes. What is repeated is likelier.
GRAMMAR: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "bool": (
        ["x.b", "x.b0", 'x["b"]', "x.t is None", "x.i64 is not None", "True", "False",
         "x.b is True", "x.b is not False", "{keyword} in x.t", "{keyword} in x.t.lower()",
         "x.i64 > {an_int}", "x.n0 < {an_int}", "x.f64 >= {a_float}", "x.t0 == {keyword}",
         "x.u in {texts}", "x.i32 in {ints}", "len(x.t) < {small}", "x.t.startswith({keyword})",
         *["{sharp}"] * 12, *["{gone_through}"] * 6, *["{moment}"] * 5, *["{written}"] * 6],
        ["{number} {order} {number}"] * 4
        + ["{number} {order} {number} {order} {number}", "{text} {order} {text}",
           "{text} {order} {text} {order} {keyword}", "{text} {same} {keyword}",
           "({bool} and {bool})", "({bool} or {bool})", "({bool} and {bool} and {bool})",
           "({bool} or {bool} or {bool})", "not {bool}", "(not {any})", "bool({any})",
           "({bool} if {bool} else {bool})", "{maybe} {is} None", "{any} {same} {any}",
           "{bool} {is} True", "{bool} {is} False", "bool({search})", "{search} {is} None",
           "({search} {is} None) == {bool}", "{search} {same} None", "bool({search} or {bool})",
           "bool({search} and {search})", "{maybe_search} {is} None", "bool({maybe_search})",
           "{keyword} {in} {text}", "{text} {in} {text}", "{text} {in} {texts}",
           "{int} {in} {ints}", "{number} {in} {mixed}", "{any} {in} {mixed}",
           "{text} {in} {mixed}", "{text} {in} COUNTS", "{keyword} {in} {words}",
           "{text}.startswith({keyword})", "{text}.endswith({keyword})",
           "{text}.startswith({texts_tuple})", "{text}.endswith({texts_tuple})",
           "{keyword}.startswith({text})", "{keyword}.endswith({text}, {small})",
           "any(w in {text} for w in {listed})", "all(w in {text} for w in {listed})",
           "any([w in {text} for w in {listed}])", "any({text}.startswith(w) for w in {listed})",
           "any(re.search(p, {text}) for p in ({regex}, {regex}))",
           "any(n > {int} for n in {numbers})", "all(n != {int} for n in {numbers})",
           "any(({bool}, {bool}))", "all([{bool}, {bool}])",
           "{text}.isdigit()", "{text}.isalpha()", "{text}.isupper()", "{text}.islower()",
           "{text}.isspace()", "{text}.isnumeric()", "{text}.isdecimal()", "{text}.isalnum()",
           "{text}.istitle()", "{text}.isascii()", "{text}.isidentifier()",
           "{text}.isprintable()", "math.isnan({float})", "math.isinf({number})",
           "math.isfinite({number})", "isinstance({any}, {type})", "({bool} & {bool})",
           "({bool} | {bool})", "({bool} ^ {bool})", "(w := {int}) {order} {number}",
           "{bool} and (w := {int}) > {small}", "has_any({text}, {listed})",
           "shorter({text}, {small})", "shorter(n={int}, t={text})", "{words} {same} {words}",
           "{words} == [w for w in {listed}]", "{date} {order} dt.date(2020, 6, 1)",
           "{date} {same} {date}", "{date} {in} (dt.date(2020, 1, 1), None)",
           "x.at {order} dt.datetime(2020, 6, 1, tzinfo=dt.timezone.utc)",
           "x.price {order} {number}", "x.price {in} {mixed}", "x.price == Decimal('2.50')",
           "LINK.search({text}) {is} None", "{float} == {float}", "{float} != {float}",
           "{any} {order} {any}", "{any} {is} True", "str({any}) {same} {keyword}",
           "{text} {in} COUNTS.keys()",
           "any(k in {text} and v > {small} for k, v in COUNTS.items())",
           "any(COUNTS.get(w, 0) > {int} for w in {listed})", "{int} {in} range({small}, 9)",
           "all({int} > n for n in range({small}))", "any({text} == w.lower() for w in {listed})",
           "re.search('|'.join(({keyword_re}, {keyword_re})), {text}) {is} None",
           "any(p.search({text}) for p in (LINK, re.compile({regex})))",
           "any(re.search(w, {text}, {flags}) for w in ({keyword_re}, {keyword_re}))",
           "{keyword} {in} x.tags", "{text} {in} x.tags", "{bool} {same} {bool}",
           "{text} {in} {words}", "x.get('nope', {int}) {order} {int}", "'nope' in {text}",
           "x.tags {same} ['a', 'k']", "{number} {in} (0.0, 1, {a_float})",
           "sorted({texts}) {same} {words}", "{text} < {text} < {text}", "all(())",
           "any(w in {text} or w in {text} for w in {listed} if w != 'a')",
           *["{gone_through}"] * 40, *["{moment}"] * 30, *["{written}"] * 25]
        + ["{sharp}"] * 70,
    ),
    # What tells a rule from one that is nearly the same.
    "sharp": (
        ["({column} {order} {small} or {column} {order} {small})",
         "({column} {order} {small} and {column} {order} {small})",
         "x.i8 // {divisor} {same} {small}", "x.i8 % {divisor} {same} {small}",
         "{column} % {divisor} {order} {small}", "{column} // {divisor} {order} {small}",
         "{column} + {small} > {column}", "{column} + {column} {order} {an_int}",
         "{column} * {column} {order} {an_int}", "-{column} {order} {column}",
         "abs({column}) {order} {an_int}", "{column} - {column} {order} {small}",
         "x.f64 {order} x.f0", "x.f0 {order} {real}", "x.f32 {order} {small}",
         "{column} {order} {real}", "{column} {order} {great}", "{column} {same} {great}",
         "{column} / {divisor} {order} {small}",
         "{real} {order} {real}", "not {real} {order} {real}", "bool({real})", "not {column}",
         "{real} % {divisor} {order} {small}", "{real} // {divisor} {order} {small}",
         "{column} {in} {mixed}", "{column} {in} (Decimal('1'), {small})",
         "{real} {in} {mixed}", "{column} == {column}", "x.t {same} x.u", "x.t {same} None",
         "x.t.{form}() {same} x.t0.{form}()", "x.t.{form}() {same} x.t",
         "len(x.t0.{form}()) {order} len(x.t0)", "x.t0.{form}().{form}() {same} x.t0.{form}()",
         "{keyword} {in} x.t.{form}()", "{letter} {in} x.t0.lower()", "x.t0.{tested}()",
         "x.t.{tested}() {same} x.t0.{tested}()", "len(x.t) {order} {length}",
         "len(x.t.split()) {order} {small}", "bool(re.search({regex}, x.t))",
         'bool(re.search({dotted}, x.t0))',
         "bool(re.search({ending}, x.t0))", "bool(re.search({ending}, x.t, {flags}))",
         "bool(re.search({regex}, x.t0, {flags}))", "bool(re.match({regex}, x.t, {flags}))",
         "re.fullmatch({regex}, x.t) {is} None", "x.t {in} (None, {keyword})",
         "{column} {in} None", "x.t {in} 5", "{column} < {keyword}", "x.t.startswith(None)",
         "x.t0 {in} {column}",
         "{column} {in} (None, {small})", "isinstance({either}, {type})",
         "isinstance({column}, int)", "len(x.t.upper()) {same} len(x.t)",
         "{either} {is} True", "{either} {is} None", "{either} {same} {either}",
         "{search} {same} None", "x.i8 is True", "x.b == 1",
         "x.t0.partition({keyword})[0] {same} x.t0", "x.t.rpartition({keyword})[2] {same} x.t",
         "x.t0.endswith({keyword})", "x.t.startswith({keyword})", "x.day {order} x.day",
         *["' '.join(x.t0.split()) {same} x.t0", "x.t0.split() {same} x.t0.split(' ')"] * 4,
         "x.t0.count({keyword}) {order} {small}", "x.t0.find({keyword}) {order} {small}",
         "any(({sharp}, {either}))", "any([{sharp}, {sharp}])", "({sharp} or {sharp})",
         "({sharp} and {sharp})"],
        ["any(p > 1 / {column} for p in (0, {small}))", "({sharp} or 1 / {column} > {small})",
         "({sharp} and 1 / {column} > {small})", "all(({sharp}, {sharp}))",
         "(1 / {column} > 0 if {sharp} else {sharp})", "({sharp} and {sharp}) {is} False",
         "any({column} // n > 1 for n in (1, 0))", "all({column} // n > 1 for n in (1, 0))",
         "clipped({small}, least=1 // {column}) {order} {small}",
         "max(1 // {column}, {real}) {order} {small}", "({either} or {sharp})",
         "({either} and {sharp})", "not ({either} and {either})",
         "({search} if {sharp} else {either}) {is} None"],
    ),
    # What is said of a list's elements, of words, of characters.
    "gone_through": (
        ["any(w {same} {keyword} for w in {over})", "all(w {in} {texts} for w in {over})",
         "any(w.startswith({keyword}) for w in {over})", "any(w is None for w in x.tags)",
         "any(w and w.lower() == {keyword} for w in {over})", "{keyword} in [w for w in {over}]",
         "sum(w == {keyword} for w in {over}) {order} {small}",
         "len([w for w in {over} if w]) {order} {small}", "all(len(w) < 4 for w in {over})",
         "sum(1 for w in {over} if w {in} {texts}) {order} {small}", "any({over})", "all({over})",
         "any(w.isupper() for w in {over})", "sum(w.isdigit() for w in {over}) {order} {small}",
         "any(w == x.t0 for w in {over})", "x.u in [w for w in {over} if w]",
         "len(set(x.tags)) {order} {small}", "len(set({over})) {order} {small}",
            "len(set({over}) & {'a', 'k', 'check'}) > 0",
         "set({over}) >= {'a', 'k'}", "set({over}) == {'a', 'check'}", "{'a', 'k'} >= set({over})",
         "bool(set({over}) - {'a', None})", "{over}[{small}] {same} {keyword}",
         "sum(x.ints) {order} {small}", "sum(x.nums) {order} {small}",
         "max(x.ints) {order} {small}",
         "min(x.nums) {order} {a_float}", "max(x.nums, default=0.5) {order} {a_float}",
         "max((v for v in x.ints if v), default=None) {is} None",
         "sorted(x.ints)[{small}] {order} {small}", "sorted(x.nums)[-1] {order} {a_float}",
         "any(v > x.i32 for v in x.ints)", "all(v is not None and v > {small} for v in x.nums)",
         "any(1 // v > 0 for v in x.ints)", "sum(v or 0 for v in x.ints or []) {order} {an_int}",
         "sum(v * v for v in x.nums) {order} {a_float}", "{an_int} in x.ints", "x.i8 in x.ints",
         "x.ints[{small}] {order} {small}", "len(x.ints[{small}:]) {order} {small}",
         "any(x.ints[:{small}])", "any(v != v for v in x.nums)", "len(x.tags or []) {order} 2",
         "len([c for w in x.t.split() for c in w]) {order} {length}",
         "any(any(c == w for c in {over}) for w in x.tags)", "{keyword}.join({over}) {same} x.t",
         "(x.t.lower(), x.b) {in} {({keyword}, True), (None, None)}"],
        ["any({text} == w for w in {over})", "any({number} > v for v in x.ints)",
         "sum({number} > v for v in x.nums) > {int}"],
    ),
    # Functions and methods that people call, and how they put values together.
    "written": (
        ["f'{{column}}' {same} '1'", "f'{x.t}{{column}!r}' {order} x.t0", "f'{x.t:.2}' {same} x.t0",
         "f'{{column}:>4}' {same} '   1'", "'{}|{}'.format({column}, x.t) {order} {keyword}",
         "'%s' % ({column},) {same} '1'", "re.sub({regex}, '-', x.t) {same} x.t",
         "re.sub({regex}, '', x.t0) {order} x.u", "len(re.split({regex}, x.t)) {order} {small}",
         "sum(len(m.group()) for m in re.finditer({regex}, x.t)) {order} {small}",
         "(m := re.search({regex}, x.t)) {is} None or len(m.group()) {order} {small}",
         "(m := re.search('[a-z]', x.t0)) {is} None or m.start() {order} {small}",
         *["sum(i for i, w in enumerate({over})) {order} {small}"] * 3,
         *["any(a != b for a, b in zip(x.t0, x.t0))", "x.b0 or remembered(x.tags) {order} {small}",
           "any(a != b for a, b in itertools.pairwise(x.t0))"] * 3,
         *["sum(m.start() for m in re.finditer('[a-z]', x.t0)) {order} {length}"] * 3,
         *["sorted(x.t0, key=str.isupper)[:1] {same} [x.t0[:1]]"] * 3,
         *["re.sub('[a-z]', '', x.t0) {same} ''"] * 3, *[
           "max(x.t0, key=str.isupper) {same} x.t0[0]",
           "next((c for c in x.t0 if c.islower()), '') {same} x.t0[-1:]"] * 3,
         "{c.isalpha(): c for c in x.t0}.get(True) {same} x.t0[-1:]",
         "{len(w): w for w in x.t0.split()}.get(1, 'a') {same} {keyword}",
         "any(i {order} {small} and w {same} {keyword} for i, w in enumerate({over}))",
         "any(a {same} b for a, b in zip({over}, {over}))",
         "any(a {same} b for a, b in itertools.pairwise({over}))",
         "any(a > b for a, b in zip(x.ints, x.ints[1:]))",
         "[w for w in reversed(x.tags)] == x.tags",
         "sum(i for i in range(x.i8 or 0)) {order} {length}", "len(range(x.i8)) {order} {small}",
         "any(x.ints[i] > x.ints[i + 1] for i in range(len(x.ints) - 1))",
         "next((w for w in {over} if w), None) {same} {keyword}",
         "next(iter({over})) {same} {keyword}", "next((v for v in x.ints if v)) {order} {small}",
         "sorted({over}, key=len)[0] {same} {keyword}", "max({over}, key=len) {same} {keyword}",
         "sorted(x.ints, key=lambda v: -v)[{small}] {order} {small}",
         "min(x.ints, key=abs, default=0) {order} {small}", "max(x.i8, x.i16, {small}) {order} 2",
         "list(map(len, {over}))[:1] {same} [1]", "any(map(str.isupper, {over}))",
         "len(list(filter(None, {over}))) {order} {small}", "sum(map(int, {over})) {order} {small}",
         "collections.Counter({over}).most_common(1)[0][1] {order} {small}",
         "collections.Counter({over})[{keyword}] {order} {small}",
         "max(collections.Counter({over}).values(), default=0) {order} 1",
         "{'a': 1, 'k': x.i8}.get(x.t, {small}) {order} {small}",
         "{w: 1 for w in {over}}.get({keyword}) {is} None",
         "len({w: i for i, w in enumerate({over})}) {order} {small}",
         "set({over}).isdisjoint({over})", "{'a', 'k'}.isdisjoint({over})",
         "set({over}).issubset({texts})", "len(set({over}) | {'a'}) {order} {small}",
         "set({over}).difference({over}) == set()",
         "x.t[:len(x.t) // 2] {same} x.t[len(x.t) // 2:]",
         "x.t[x.i8:] {same} x.t0", "x.ints[:x.i8] {same} []", "x.tags[-1:] {same} ['a']",
         "x.ints == sorted(x.ints)", "x.t.index({keyword}) {order} {small}",
         "x.t.ljust({length}) {same} x.t", "x.t.rjust(x.i8) {same} x.t",
         "len(x.t.encode()) {order} len(x.t)", "x.t.translate({97: 'b', 99: None}) {same} x.t",
         "math.isclose(x.f64, x.f0, rel_tol=0.5)", "math.copysign(1, x.f64) < 0",
         "math.hypot(x.f64, {a_float}) {order} {a_float}", "round(x.f64) {order} {small}",
         "divmod({column}, {divisor})[1] {order} {small}",
         "statistics.mean(x.ints) {order} {small}",
         "math.fsum(v for v in x.nums if v) {order} {a_float}", "np.isnan(x.f64)",
         "np.sqrt(x.f64) > 1", "pd.isna({column})", "Decimal(x.t) {order} {small}",
         "x.price.quantize(Decimal('0.1')) {order} {small}", "x.f64.is_integer()",
         "x.day.replace(day={length}) {order} x.day",
         "x.local.replace(hour={length}) {order} x.local",
         "x.day.strftime('%Y-%m') {same} '2020-02'", "x.day.isocalendar()[1] {order} {length}",
         "x.at.isoformat() {order} '2020-05'", "dt.date(x.day.year, {length}, 1) {order} x.day",
         "dt.timedelta(days=x.i8) {order} dt.timedelta(1)",
         "x.local.time() {order} dt.time({length})",
         "dt.datetime.strptime(x.t, '%M') {order} dt.datetime(1900, 1, 1)",
         "(lambda v: v {order} {small})({column})", "remembered(x.t) {order} {small}",
         "remembered(x.tags) {order} {small}", "total({column}, {small}) {order} {small}",
         "x.t.isdigit() and int(x.t) {order} {small}",
         "[int(w) for w in {over} if w.isdigit()] == [1]",
         "x.t in {texts} and {texts}.index(x.t) {order} 1"],
        ["f'{{column}}' {order} {text}", "remembered({text}) {order} {int}",
         "any({text} {same} w for i, w in enumerate({over}) if i {order} {int})",
         "{text}[{int}:] {same} {text}", "pd.isna({any})", "max({int}, {number}, {int}) {order} 1"],
    ),
    "over": (["x.tags", "x.t.split()", "x.t0.split()", "x.t", "x.t0.lower().split()",
         "x.tags or []",
              "x.t.split({keyword})", "x.t0.split({keyword}, 1)", "(x.t or '').split()",
              "x.t0.rsplit({keyword}, 1)", "x.t0.splitlines()"], ["{words}", "{text}"]),
    "moment": (
        ["x.at - x.at {order} dt.timedelta(0)", "(x.at.date() - x.day).days {order} {length}",
         "(x.local - dt.datetime(2020, 2, 1)).days {order} {small}",
         "(x.local - dt.datetime(2020, 1, 5)).total_seconds() {order} 1e6",
         "x.at.replace(tzinfo=None) {order} x.local",
         "x.day + dt.timedelta(days={length}) {order} x.day",
         "x.local + {either} {is} None", "x.day - {either} {same} x.day",
         "x.local + dt.timedelta(hours={small}) {order} dt.datetime(2020, 1, 9, 12)",
         "x.day - dt.timedelta(hours={length}) {same} x.day",
         "x.local.date() {same} x.day", "x.at.date() {order} dt.date(2020, 9, 1)",
         "x.local.hour {order} {length}", "x.at.minute {order} {length}",
         "x.day.day {order} {length}",
         "x.local.second {order} {length}", "x.at.microsecond % 7 == 1",
         "x.day.month {order} {length}",
         "x.day.isoweekday() {order} {small}", "x.at.weekday() {order} {small}",
         "x.at.timestamp() {order} 1.6e9",
         "x.local {order} x.at", "abs(x.at - dt.datetime(2020, 3, 1, tzinfo=dt.timezone.utc)) "
         "{order} dt.timedelta(days={length})", "x.day {order} x.local", "not x.day",
         "(x.day - x.local.date()) {order} dt.timedelta(days={small})", "x.day - x.at > x.day",
         "(x.day.month, x.day.day) {order} (6, {length})", "x.day.toordinal() % 7 == {small}"],
        ["{date} {order} x.day + dt.timedelta(days={small})", "x.day - x.day == x.at - x.at"],
    ),
    "either": (["x.t", "x.i64", "x.b", "x.b", "x.f64", "x.day", "x.i8", "None", "True", "1"],
               ["{search}", "{maybe_search}", "{maybe}", "{sharp}"]),
    "int": (
        ["x.i64", "x.i32", "x.i8", "x.n0", 'x["i64"]', "{an_int}", "{small}", "len(x.t)", "x.b",
         "len(x.t.split())", "len(x.t0)", 'x.get("i32")', "x.day.year"],
        ["{int} + {int}", "{int} - {int}", "{int} * {int}", "{int} // {divisor}",
         "{int} % {divisor}", "({int}) // ({int})", "({int}) % ({int})", "-({int})",
         "+({int})", "abs({int})", "len({text})", "len({words})", "len({text}.split({keyword}))",
         "{text}.count({keyword})", "{text}.find({keyword})", "{text}.rfind({keyword})",
         "int({bool})", "int({number})", "int({text})", "({int} if {bool} else {int})",
         "sum(w in {text} for w in {listed})", "sum([{int}, {int}])",
         "sum({text}.count(w) for w in {listed})", "sum(1 for w in {listed})",
         "max({int}, {int})", "min({int}, {int})", "math.floor({float})", "math.ceil({float})",
         "ord({text}[{small}])", "COUNTS.get({text}, {small})", "COUNTS[{keyword}]",
         "COUNTS[{text}]", "clipped({int})", "clipped({int}, most={int})", "{date}.month",
         "{date}.weekday()", "x.at.hour", "{int} & {int}", "{int} | {int}", "{int} ^ {int}",
         "len(x.tags)", "x.i16", "sum(v for k, v in COUNTS.items())",
         "sum(k in {text} for k in COUNTS)", "x.i32 * x.i32 + x.i32 * x.i32",
         "len({text}[{small}:])",
         "({int} or {int})", "({int} and {int})", "{bool} + {bool}", "len({texts})",
         "({int}) * ({int}) + ({int}) * ({int})", "len(re.findall({regex}, {text}))"],
    ),
    "float": (
        ["x.f64", "x.f32", "x.f0", "{a_float}", "x.f64", 'x["f32"]'],
        ["{number} + {float}", "{float} - {number}", "{float} * {number}", "({int}) / ({int})",
         "{number} / {divisor}", "({float}) / ({float})", "({float}) // ({float})",
         "({float}) % ({float})", "-({float})", "abs({float})", "float({number})",
         "float({text})", "({float} if {bool} else {float})", "math.sqrt({number})",
         "math.log({number})", "max({float}, {number})", "min({number}, {float})",
         "({float} or {float})", "({number}) % {divisor}"],
    ),
    "number": (["{int}", "{float}", "{int}"], ["{int}", "{int}", "{float}"]),
    "text": (
        ["x.t", "x.t", "x.u", "x.t0", 'x["t"]', "x.t.lower()", 'x.get("u")', "{keyword}",
         'getattr(x, "t0")'],
        ["{text}.lower()", "{text}.lower()", "{text}.upper()", "{text}.casefold()",
         "{text}.title()", "{text}.capitalize()", "{text}.swapcase()", "{text}.strip()",
         "{text}.strip({keyword})", "{text}.lstrip()", "{text}.rstrip({keyword})",
         "{text}.replace({keyword}, {keyword})", "{text}.replace({keyword}, '', {small})",
         "{text}.removeprefix({keyword})", "{text}.removesuffix({keyword})", "{text}.zfill(5)",
         "{text}[{small}]", "{text}[:{small}]", "{text}[{small}:]", "{text}[::-1]",
         "({text} + {text})", "({text} if {bool} else {text})", "({text} or {text})",
         "({text} and {text})", "str({number})", "{words}[{small}]", "norm({text})",
         "either({text}, {keyword})", "{text}.partition({keyword})[0]", "({text} * 2)",
         "({keyword} + {text})", "x.tags[{small}]", "' '.join({words})",
         "(x.t or '').lower()", "either(x.u, x.t)"],
    ),
    "words": (
        ["x.t.split()", "x.t0.split()"],
        ["{text}.split()", "{text}.split({keyword})", "{text}.splitlines()", "{text}.rsplit()",
         "{text}.lower().split()", "{text}.split(None)", "re.findall({regex}, {text})",
         "{words}[{small}:]"],
    ),
    "texts_tuple": (["({keyword}, {keyword})", "({keyword},)", "()"], ["({keyword}, {an_int})",
                    "({keyword}, {keyword}, {keyword})"]),
    "search": (
        ["re.search({regex}, x.t)", "re.search({regex}, x.t, {flags})", "LINK.search(x.t)",
         "re.match({regex}, x.t0)", "re.fullmatch({regex}, x.t)",
         "re.compile({regex}, {flags}).search(x.t)"],
        ["re.search({regex}, {text})", "re.search({regex}, {text}, {flags})",
         "re.match({regex}, {text}, flags={flags})", "re.fullmatch({regex}, {text})",
         "re.compile({regex}, {flags}).match({text})",
         "re.compile({regex}).fullmatch({text}.lower())"],
    ),
    "maybe_search": (["({search} if {bool} else None)"], ["({search} if {bool} else {search})",
                     "({bool} and {search})", "(None if {bool} else {search})"]),
    "maybe": (
        ["x.t", "x.i64", "x.b", "x.f64", "x.day", "None", "x.price"],
        ["({text} if {bool} else None)", "({number} or None)", "COUNTS.get({text})",
         "(None if {bool} else {int})", "either({any}, {any})", "{any}"],
    ),
    "date": (["x.day", "x.day", "x.at"], ["({date} if {bool} else {date})"]),
    "any": (
        ["x.t", "x.i64", "x.b", "x.f64", "x.day", "x.price", "x.at", "{keyword}", "{an_int}",
         "None"],
        ["{text}", "{int}", "{float}", "{bool}", "{maybe}", "{words}", "{search}",
         "{maybe_search}", "{date}"],
    ),
    "answer": (
        ["{bool}", "{bool}", "True", "False"],
        ["{bool}"] * 16
        + ["({bool} or None)", "({bool} if {bool} else None)", "{maybe}", "{int}", "{number}",
           "({int}) % 2", "int({bool})", "-1 if {bool} else {bool}", "{search}", "{any}",
           "{search} and {bool}", "{text} and {bool}", "({any} and {bool})", "({any} or {bool})",
           "{maybe_search}"],
    ),
}
# fmt: on
_LOCAL_KINDS = ("bool", "int", "float", "text", "words", "search", "maybe", "any")
_HOLE = re.compile(r"\{(\w+)\}")

HEADER = '''"""Slicing functions that a fuzzer wrote."""

import collections
import datetime as dt
import enum
import functools
import itertools
import math
import re
import statistics
from decimal import Decimal

import numpy as np
import pandas as pd


class Loud(str):
    def __eq__(self, other): return other is not None and str.__len__(self) == len(other)
    def __hash__(self): return str.__len__(self)
    def __contains__(self, other): return len(other) < 3


class Near(int):
    def __eq__(self, other): return abs(int(self) - other) < 3
    def __lt__(self, other): return int(self) - 5 < other
    def __hash__(self): return 0


class Every(list):
    def __contains__(self, other): return other is not None


class Short(frozenset):
    def __contains__(self, other): return len(other) < 4


class Counted(dict):
    def get(self, key, default=None): return len(key)
    def __missing__(self, key): return len(key)


class Same:
    def __init__(self, n): self.n = n
    def __repr__(self): return "Same"
    def __eq__(self, other): return other == self.n
    def __gt__(self, other): return other < self.n
    def __contains__(self, other): return other == self.n
    __hash__ = None


def spread(n):
    """Return an array whose text doesn't show in what it differs from another one."""
    found = np.zeros(2_000, int)
    found[1_000] = n
    return found


# Factories: their functions have one source, and constants of their own.
def is_among(values):
    def f(x):
        return x.i64 in values

    return f


def text_among(values):
    return lambda x: x.t in values


def above(limit):
    return lambda x: x.n0 > limit


def same(value):
    return lambda x: x.t0 == value


def holds_any(words):
    return lambda x: any(w in x.t for w in words)


def has_all(tests):
    def f(x):
        return all(x.t.startswith(w) for w in tests)

    return f


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 3


class Name(enum.StrEnum):
    K = "k"
    CHECK = "check"


LINK = re.compile(r"\\w+\\.ly", re.I)
COUNTS = {"a": 1, "check": 2, "k": 0, "": -1}
LIMIT = 3


@functools.lru_cache(maxsize=None)
def remembered(t):
    return len(t)


def total(*values):
    return sum(values)


def shorter(t, n):
    return len(t) < n


def has_any(t, words):
    for word in words:
        if word in t:
            return True
    return False


def norm(t):
    """Say the same in fewer ways."""
    t = t.strip()
    return t.lower()


def clipped(n, least=0, *, most=10):
    if n < least:
        return least
    elif n > most:
        n = most
    return n


def either(a, b=None):
    return b if a is None else a
'''


@dataclass
class _Writer:
    """Writes one function."""

    r: Random
    local: dict[str, list[str]] = field(default_factory=dict)
    made: int = 0
    looped: tuple[str, ...] = ()

    def of(self, kind: str, depth: int) -> str:
        """Write an expression of a kind."""
        if kind in TOKENS:
            return TOKENS[kind](self.r)
        known = self.local.get(kind)
        if known and self.r.randrange(3) == 0:
            return self.r.choice(known)
        leaves, inner = GRAMMAR[kind]
        template = self.r.choice(leaves if depth <= 0 or self.r.randrange(5) == 0 else inner)
        return _HOLE.sub(lambda hole: self.of(hole[1], depth - 1), template)

    def name(self, kind: str) -> str:
        """Return a name to bind: a new one, or one that is known."""
        known = self.local.setdefault(kind, [])
        if known and self.r.randrange(3) == 0:
            return self.r.choice(known)
        self.made += 1
        return f"v{self.made}"

    def bind(self, kind: str, name: str) -> None:
        if name not in self.local.setdefault(kind, []):
            self.local[kind].append(name)

    def body(self, indent: str) -> list[str]:
        """Write a function's statements."""
        lines = []
        for _ in range(self.r.choice((0, 0, 0, 1, 1, 2, 3))):
            lines += self.r.choice(_STATEMENTS)(self)
        lines.append(f"return {self.of('answer', self.r.choice((0, 1, 2, 2, 3, 3)))}")
        return [indent + line for line in lines]

    def deep(self, kind: str) -> str:
        return self.of(kind, self.r.choice((0, 1, 1, 2)))


def _assign(w: _Writer) -> list[str]:
    kind = w.r.choice(_LOCAL_KINDS)
    value, name = w.deep(kind), w.name(kind)
    w.bind(kind, name)
    return [w.r.choice((f"{name} = {value}", f"{name} = {value}", f"{name}: object = {value}"))]


def _changed(w: _Writer) -> list[str]:
    known = w.local.get("int")
    if not known:
        return _assign(w)
    return [f"{w.r.choice(known)} {w.r.choice(('+=', '-=', '*='))} {w.deep('int')}"]


def _early_return(w: _Writer) -> list[str]:
    return [f"if {w.deep('bool')}:", f"    return {w.deep('answer')}"]


def _on_any(w: _Writer) -> list[str]:
    return [f"if {w.deep('any')}:", f"    return {w.of('answer', 0)}"]


def _returns(w: _Writer) -> list[str]:
    return [f"if {w.deep('bool')}:", f"    return {w.deep('answer')}", f"elif {w.deep('bool')}:",
            f"    return {w.deep('answer')}"]  # fmt: skip


def _falls_through(w: _Writer) -> list[str]:
    return [f"if {w.deep('bool')}:", f"    if {w.deep('bool')}:",
            f"        return {w.deep('answer')}", "else:",
            f"    if {w.deep('bool')}:", f"        return {w.of('answer', 0)}"]  # fmt: skip


def _either_bound(w: _Writer) -> list[str]:
    kind = w.r.choice(("int", "text", "bool", "maybe", "search"))
    test, one, two, name = w.deep("bool"), w.deep(kind), w.deep(kind), w.name(kind)
    lines = [f"if {test}:", f"    {name} = {one}"]
    if w.r.randrange(3):
        lines += ["else:", f"    {name} = {two}"]
    w.bind(kind, name)
    return lines


def _loop(w: _Writer) -> list[str]:
    over, name = w.of("listed", 0), w.r.choice(("w", "w", *w.local.get("text", ())))
    test = w.r.choice((f"{name} in {w.deep('text')}", f"{w.deep('text')} == {name}",
                       f"{w.deep('text')}.startswith({name})"))  # fmt: skip
    said = w.r.choice(("True", "False", "None", w.of("answer", 0)))
    lines = [f"for {name} in {over}:", f"    if {test}:", f"        return {said}"]
    if w.r.randrange(4) == 0:
        w.bind("text", name)
    return lines


def _counted(w: _Writer) -> list[str]:
    name = w.name("int")
    test = f"w in {w.deep('text')}"
    step = w.r.choice((f"    {name} += {test}", f"    if {test}:\n        {name} += 1"))
    lines = [f"{name} = 0", f"for w in {w.of('listed', 0)}:", *step.split("\n")]
    w.bind("int", name)
    return lines


def _ranged(w: _Writer) -> list[str]:
    test = w.r.choice((f"{w.deep('int')} == n", f"{w.deep('text')}[n] == 'a'", "n > 2"))
    return [f"for n in range({w.r.randrange(4)}):", f"    if {test}:",
            f"        return {w.of('answer', 0)}"]  # fmt: skip


def _weighed(w: _Writer) -> list[str]:
    name = w.name("int")
    pairs = "".join(f"({w.of('keyword', 0)}, {w.of('small', 0)}), " for _ in range(2))
    lines = [f"{name} = 0", f"for k, v in ({pairs}):", f"    if k in {w.deep('text')}:",
             f"        {name} += v"]  # fmt: skip
    w.bind("int", name)
    return lines


def _asserted(w: _Writer) -> list[str]:
    return [w.r.choice((f"assert {w.deep('bool')}", f"assert {w.of('any', 0)}, 'no'"))]


def _raised(w: _Writer) -> list[str]:
    return [f"if {w.deep('bool')}:", "    raise ValueError('no')"]


def _bare(w: _Writer) -> list[str]:
    return [w.r.choice(("pass", "'text'", w.deep("any"), w.deep("int"), w.deep("text")))]


def _unpacked(w: _Writer) -> list[str]:
    one, two = w.name("int"), w.name("text")
    line = f"{one}, {two} = {w.deep('int')}, {w.deep('text')}"
    w.bind("int", one)
    w.bind("text", two)
    return [line]


def _walrus(w: _Writer) -> list[str]:
    kind = w.r.choice(("int", "text", "bool"))
    value, name = w.deep(kind), w.name(kind)
    first = w.deep("bool")
    test = w.r.choice((f"({name} := {value})", f"{first} and ({name} := {value})",
                       f"({name} := {value}) == {w.of(kind, 0)}"))  # fmt: skip
    lines = [f"if {test}:", f"    return {w.of('answer', 0)}"]
    w.bind(kind, name)
    return lines


def _rebound(w: _Writer) -> list[str]:
    name = w.name("int")
    first, second = w.of("small", 0), w.of("small", 0)
    test = w.r.choice((
        f"{w.of('sharp', 0)} and ({name} := {second}) > {w.of('small', 0)}",
        f"{w.of('sharp', 0)} or ({name} := {second}) > {w.of('small', 0)}",
        f"(({name} := {second}) if {w.of('sharp', 0)} else {w.of('small', 0)})",
        f"{w.of('small', 0)} < {w.of('int', 0)} < ({name} := {second})",
    ))  # fmt: skip
    end = w.r.choice(([f"return {name} == {second}"], [f"return {name} == {second}"], []))
    w.bind("int", name)
    return [f"{name} = {first}", f"if {test}:", f"    return {w.of('answer', 0)}", *end]


def _not_lifted(w: _Writer) -> list[str]:
    return w.r.choice(([f"f'{{{w.of('int', 0)}}}'"], ["try:", f"    {w.deep('int')}",
                       "except ValueError:", "    return None"],
                       ["while False:", "    pass"]))  # fmt: skip


def _caught(w: _Writer) -> list[str]:
    kinds = w.r.choice((
        "ValueError", "(TypeError, ValueError)", "Exception", "ZeroDivisionError",
        "(KeyError, IndexError)", "KeyError", "AttributeError", "TypeError",
    ))  # fmt: skip
    tried = w.r.choice(("float({text})", "int({text})", "{int} // {column}", "x.tags[{small}]",
                        "len({maybe})", "{number} / {column}", "x.t.index({keyword})"))  # fmt: skip
    tried = _HOLE.sub(lambda hole: w.of(hole[1], 0), tried)
    name = w.name("any")
    if w.r.randrange(2):
        lines = ["try:", f"    return {tried} {w.of('order', 0)} {w.of('small', 0)}",
                 f"except {kinds}:", f"    return {w.deep('bool')}"]  # fmt: skip
        return [f"if {w.deep('bool')}:", *(f"    {line}" for line in lines)]
    lines = [f"{name} = None", "try:", f"    {name} = {tried}", f"except {kinds}:",
             w.r.choice(("    pass", f"    {name} = {w.of('small', 0)}"))]  # fmt: skip
    w.bind("any", name)
    return lines


def _matched(w: _Writer) -> list[str]:
    return [f"match {w.deep('any')}:", f"    case {w.of('keyword', 0)} | 1:",
            f"        return {w.deep('bool')}", "    case None:", "        return None",
            f"    case other if {w.deep('bool')}:", f"        return other == {w.of('small', 0)}",
            "    case _:", "        pass"]  # fmt: skip


def _goes_through(w: _Writer) -> list[str]:
    over, name = w.of("over", 1), w.name("int")
    if w.r.randrange(2):
        return [f"for w in {over}:", f"    if w == {w.of('keyword', 0)}:",
                f"        return {w.r.choice(('True', 'False', 'None'))}"]  # fmt: skip
    lines = [f"{name} = {w.of('small', 0)}", f"for w in {over}:",
             *w.r.choice(((), ("    if w is None:", "        continue"))),
             f"    if w.{w.of('tested', 0)}():",
         f"        {name} += {w.of('small', 0)}"]  # fmt: skip
    w.bind("int", name)
    return lines


def _parts_of_text(w: _Writer) -> list[str]:
    names = [w.name("text") for _ in range(w.r.choice((2, 3)))]
    star = w.r.choice(("", "", "*"))
    of = f"{w.of('text', 0)}.{w.r.choice(('split()', 'partition(chr(32))', 'split(chr(32), 1)'))}"
    lines = [f"{', '.join(names[:-1])}, {star}{names[-1]} = {of}"]
    for name in names[: -1 if star else None]:
        w.bind("text", name)
    return lines


def _step_by_step(w: _Writer) -> list[str]:
    over, name = w.of("over", 0), w.name("int")
    answer, small, test = w.of("answer", 0), w.of("small", 0), w.of("sharp", 0)
    ends = w.r.choice((f"        return {answer}", "        break", "        continue"))
    body = w.r.choice((
        [f"    if {name} and w == {name}:", ends, f"    {name} = w"],
        ["    if w is None:", "        continue", f"    {name} += len(w)",
         f"    if {name} > {small}:", ends],
        ["    if w in seen:", ends, "    seen.add(w)", f"    {name} = len(seen)"],
        *[["    counts[w] = 1", f"    {name} = len(counts)"]] * 2,
        ["    counts[w] = counts.get(w, 0) + 1", f"    {name} = len(counts)"],
        ["    if w:", f"        {name} += 1", "    else:", f"        {name} = 0",
         f"    if {name} == {small}:", ends],
        ["    try:", f"        {name} += int(w)", "    except ValueError:", "        pass"],
        [f"    if {test}:", f"        {name} = {name} * 2 + 1"],
        ["    words.append(w)", f"    {name} = len(words)"],
    ))  # fmt: skip
    last = w.r.choice(([], ["else:", f"    {name} = {small}"]))
    w.bind("int", name)
    start = f"{name} = {w.r.choice(('0', '0', '1'))}"
    test = [f"if {name} {w.of('order', 0)} {w.of('small', 0)}:", f"    return {answer}"]
    first = "seen, counts, words = set(), {}, []"
    return [start, first, f"for w in {over}:", *body, *last, *test]


def _within(w: _Writer) -> list[str]:
    name, value = w.name("bool"), w.of("small", 0)
    lines = ["def inner(v, most=2):", f"    if v {w.of('order', 0)} {value}:",
             f"        return {w.of('bool', 0)}", "    return v == most",
             f"{name} = inner({w.of('column', 0)})"]  # fmt: skip
    w.bind("bool", name)
    return lines


def _several_excepts(w: _Writer) -> list[str]:
    tried = w.r.choice(("float({text})", "1 // {column}", "x.tags[{small}].lower()",
    "x.t.index('a')",
                        "COUNTS[x.t]"))  # fmt: skip
    tried = _HOLE.sub(lambda hole: w.of(hole[1], 0), tried)
    kinds = ["ValueError", "TypeError", "ZeroDivisionError", "(IndexError, KeyError)",
             "AttributeError", "Exception"]  # fmt: skip
    first, second = w.r.sample(kinds, 2)
    return ["try:", f"    v = {tried}", f"    if v == {w.of('small', 0)}:", "        return True",
            f"except {first}:", f"    return {w.of('answer', 0)}",
            f"except {second}:", f"    return {w.of('answer', 0)}"]  # fmt: skip


_STATEMENTS: Sequence[Callable[[_Writer], list[str]]] = (
    *[_caught] * 2, _matched, _goes_through, _parts_of_text, *[_step_by_step] * 3, _within,
    _several_excepts,
    *[_assign] * 6, *[_early_return] * 6, *[_changed] * 2, _on_any, _returns, _falls_through,
    *[_either_bound] * 2, *[_loop] * 2, *[_counted] * 2, _ranged, _weighed, _asserted, _raised,
    _bare, _unpacked, _walrus, _rebound, _not_lifted,
)  # fmt: skip


def _def(w: _Writer) -> list[str]:
    return ["def f_N_(x):", *w.body("    ")]


def _lambda(w: _Writer) -> list[str]:
    return [f"f_N_ = lambda x: {w.of('answer', w.r.choice((1, 2, 2, 3, 4)))}"]


def _sharp(w: _Writer) -> list[str]:
    return [f"f_N_ = lambda x: {w.of('sharp', w.r.choice((0, 0, 1)))}"]


def _with_resources(w: _Writer) -> list[str]:
    w.local = {"text": ["word"], "int": ["most"], "texts": ["words"]}
    values = f"words={w.of('listed', 0)}, word={w.of('keyword', 0)}, most={w.of('an_int', 0)}"
    used = w.r.choice(("any(w in x.t for w in words)", "x.t in words", "word in x.t", "True"))
    return [f"r_N_ = dict({values})", "def f_N_(x, words, word, most):", f"    if {used}:",
            f"        return {w.of('answer', 0)}", *w.body("    ")]  # fmt: skip


def _closure(w: _Writer) -> list[str]:
    w.local = {"int": ["most", "LIMIT"], "text": ["word"]}
    return ["def make_N_(most, word):", "    def f(x):", *w.body("        "), "    return f",
            f"f_N_ = make_N_({w.of('an_int', 0)}, {w.of('keyword', 0)})"]  # fmt: skip


def _with_default(w: _Writer) -> list[str]:
    w.local = {"int": ["most"]}
    return [f"def f_N_(x, most={w.of('an_int', 0)}):", *w.body("    ")]


# Constants of every kind, each with ways to use it, `c`.
_NUMBER_USES = ("{number} {order} c", "c {order} {number}", "{number} {same} c", "c {in} {mixed}",
                "{any} {same} c", "({number} > c) + ({number} < c) == 1", "x.price {order} c",
                "{number} + c {order} {number}", "({number} > c) {is} True", "x.tags {same} c",
                "({number} > c) {same} {bool}", "{number} > c and {bool}", "{number} < c * 2",
                "{number} {in} [c, 3]", "{number} {order} c and {number} {order} 3")  # fmt: skip
_TEXT_USES = ("{text} {same} c", "c {in} {text}", "{text} {in} c", "{text} {order} c",
              "c {in} {texts}", "{any} {same} c", "x.t.startswith(c)", "{text} {in} (c, 'k')",
              "x.tags {same} c", "{text} {same} c or {text} {same} 'check'")  # fmt: skip
_OVER_USES = ("{text} {in} c", "{number} {in} c", "{any} {in} c", "len(c) {order} {int}",
              "any(w == x.t for w in c)", "{text} {in} c or {number} {in} c",
              "c {same} {mixed}")  # fmt: skip
_DICT_USES = (*_OVER_USES, "c[{text}] {order} 2", "c.get({text}, 1) {order} 1")
_CONSTANTS: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(
        ("np.int64({small})", "np.int8({small})", "np.uint8({length})", "np.float64({a_float})",
         "np.float32({a_float})", "np.bool_({small})", "np.int64(2**53 + {small})",
         "np.float64(2**53 + {small})", "Near({an_int})", "Level.LOW", "Level.HIGH",
         "Same({small})", "Decimal({small})"),
        _NUMBER_USES,
    ),
    **dict.fromkeys(("np.str_({keyword})", "Loud({keyword})", "Name.K", "Name.CHECK"), _TEXT_USES),
    **dict.fromkeys(
        ("Every()", "Short({texts})", "Same({keyword})", "np.array([{small}, {small}])",
         "np.array([{keyword}, {keyword}])", "[Same({small}), {small}]", "[Loud({keyword})]",
         "(np.int64({small}), np.float64({a_float}))", "frozenset(np.arange({length}))",
         "{{np.str_({keyword}), {keyword}}}", "[np.float32({a_float}), {an_int}]",
         "collections.deque({listed})", "range({length})", "list(Level)", "(True, {small})",
         "[0.0, -0.0, {small}]", "bytearray(b'k')"),
        _OVER_USES,
    ),
    **dict.fromkeys(
        ("collections.defaultdict(int, a=1, check=2)", "dict(a=1, check=2)", "Counted(a=1)",
         "collections.Counter({listed})", "{{True: 1, {keyword}: {small}}}",
         "{{1: 1, {keyword}: {small}}}", "{{np.int64(1): 1, 'check': 2}}", "{{Name.K: 1}}"),
        _DICT_USES,
    ),
}  # fmt: skip


def _of_constant(w: _Writer) -> list[str]:
    kind = w.r.choice(list(_CONSTANTS))
    use = w.r.choice(_CONSTANTS[kind])
    made, used = (_HOLE.sub(lambda hole: w.of(hole[1], 0), text) for text in (kind, use))
    made = made.replace("{{", "{").replace("}}", "}")
    shape = w.r.randrange(3)
    if shape == 0:
        return [f"def f_N_(x, c={made}):", f"    return {used}"]
    if shape == 1:
        return ["def make_N_(c):", "    def f(x):", f"        return {used}", "    return f",
                f"f_N_ = make_N_({made})"]  # fmt: skip
    used = re.sub(r"\bc\b", "c_N_", used)
    return [f"c_N_ = {made}", f"f_N_ = lambda x: {used}"]


_SHAPES: Sequence[Callable[[_Writer], list[str]]] = (
    *[_def] * 8, *[_lambda] * 4, *[_sharp] * 6, _with_resources, _closure, _with_default,
    *[_of_constant] * 2,
)  # fmt: skip


_MADE = (
    "is_among(spread({small}))", "is_among({ints})", "is_among(Same({small}))", "is_among(None)",
    "is_among({an_int})", "is_among(set(range(3_000)) - {{{small}}})", "is_among(Every())",
    "is_among(collections.defaultdict(int, {{{small}: 1}}))", "is_among(range({length}))",
    "text_among({texts})", "text_among({keyword})", "text_among(None)",
    "text_among(Short({texts}))",
    "text_among(dict.fromkeys({listed}))", "text_among([Same({keyword})])", "text_among(pd.NA)",
    "above({an_int})", "above({a_float})", "above(Same({small}))", "above(None)", "above(pd.NA)",
    "above(np.array([1, {small}]))", "above(np.int64({small}))", "above(Near({small}))",
    "same({keyword})", "same(Loud({keyword}))", "same(None)", "same(Same({keyword}))",
    "holds_any({listed})", "holds_any(({keyword}, None))", "holds_any(None)", "holds_any(7)",
    "has_all({listed})", "has_all(({keyword}, {an_int}))",
)  # fmt: skip


def _made(w: _Writer) -> list[str]:
    """Call a factory, as other functions of the suite do with other constants."""
    call = _HOLE.sub(lambda hole: w.of(hole[1], 0), w.r.choice(_MADE))
    return [f"f_N_ = {call.replace('{{', '{').replace('}}', '}')}"]


def _large(w: _Writer) -> list[str]:
    """Write a function of hundreds of parts, or of thousands of constants."""
    n, start = w.r.choice((60, 150, 400)), w.r.choice((0, -30, 2**53, 2**63 - 200))
    kind = w.r.randrange(5)
    if kind == 0:
        said = w.r.choice((" or ", " and ")).join(f"x.i64 != {start + i}" for i in range(n))
    elif kind == 1:
        said = f"x.t in {[f'word{i}' for i in range(10 * n)] + ['check', 'k']!r}"
    elif kind == 2:
        said = f"x.i64 in {tuple(range(start, start + 10 * n))!r}"
    elif kind == 3:
        said = "not " * (n // 2) + w.of("sharp", 0)
    else:
        words = [f"{w.of('letter', 0)[1:-1]}{i}" for i in range(n)] + ["song"]
        said = f"any(w in x.t for w in {words!r})"
    return ["def f_N_(x):", f"    return {said}"]


def odd_function(r: Random) -> str:
    """Write a function that shares its source with others, or is large."""
    return function(r, (_made, _made, _made, _large))


def function(r: Random, shapes: Sequence[Callable[[_Writer], list[str]]] = ()) -> str:
    """Write a slicing function `f_N_` of a row, maybe with resources `r_N_`; it compiles."""
    while True:
        source = "\n".join(r.choice(shapes or _SHAPES)(_Writer(r)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # `1 is True`, and other things nobody writes
                compile(source, "f", "exec")
        except SyntaxError:  # a name that is the comprehension's own, say
            continue
        return source


def sharp_function(r: Random) -> str:
    """Write a function that tells a rule from one that is nearly the same."""
    return function(r, (_sharp,))


# The same, as hypothesis shrinks them.
functions = st.randoms(use_true_random=False).map(function)
rows = st.randoms(use_true_random=False).map(lambda r: values(r, r.randrange(1, 8)))
