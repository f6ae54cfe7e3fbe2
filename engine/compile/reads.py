"""Which columns a row function reads, told from its bytecode.

Only needed columns cross to Python, and a column that doesn't exist is named before Spark starts.
Where the row leaves the function (it is passed on, or read by a computed name) the answer is
"any column", with the reason.
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

from engine.slicing.functions import SlicingFunction
from engine.slicing.rows import Row

_ROW_METHODS = frozenset(name for name in dir(Row) if not name.startswith("__"))
# Instructions that may stand between two that belong together.
_NOISE = frozenset({"CACHE", "NOP", "RESUME", "EXTENDED_ARG", "PRECALL", "PUSH_NULL"})


@dataclass(frozen=True)
class Reads:
    """What a function does with its row.

    Attributes
    ----------
    columns
        Fields read by a constant name.
    writes
        Fields set by a constant name (preprocessors do that).
    escapes
        Why other columns may be read too, or None where ``columns`` is all.
    """

    columns: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    escapes: str | None = None

    def __or__(self, other: Reads) -> Reads:
        return Reads(
            self.columns | other.columns,
            self.writes | other.writes,
            self.escapes or other.escapes,
        )


def slice_reads(sf: SlicingFunction) -> Reads:
    """Return what a row slicing function reads, its preprocessors included.

    A field that a preprocessor sets is not a column of the table.

    Examples
    --------
    >>> sorted(slice_reads(SlicingFunction("a", lambda x: len(x.text) < x["most"])).columns)
    ['most', 'text']
    """
    before = functools.reduce(lambda a, p: a.__or__(_after(a, reads(p.f))), sf.chain, Reads())
    own = _after(before, reads(sf.f)) if sf.f is not None else Reads()
    return before | own


def _after(before: Reads, later: Reads) -> Reads:
    return Reads(later.columns - before.writes, later.writes, later.escapes)


def reads(f: Callable[..., Any]) -> Reads:
    """Return what a function reads of its first argument."""
    plain = inspect.unwrap(f)
    skip = 1 if inspect.ismethod(plain) else 0
    code = getattr(plain, "__code__", None)
    if code is None or code.co_argcount <= skip:
        return Reads(escapes=f"{getattr(f, '__name__', f)!r} has no Python code to read")
    return _reads_of(code, code.co_varnames[skip])


def _reads_of(code: CodeType, row: str) -> Reads:
    instructions = list(_plain(code))
    found = Reads()
    for at, (op, value, line) in enumerate(instructions):
        if value != row or not op.startswith(
            ("LOAD_FAST", "LOAD_DEREF", "STORE_FAST", "STORE_DEREF")
        ):
            continue
        following = instructions[at + 1 : at + 3]
        found |= _use(code, op, following, line)
    for const in code.co_consts:  # a comprehension or lambda in the function sees the row too
        if isinstance(const, CodeType) and row in const.co_freevars:
            found |= _reads_of(const, row)
    return found


def _use(code: CodeType, op: str, following: Sequence[tuple[str, Any, int]], line: int) -> Reads:
    """Judge one use of the row by the instructions behind it."""
    where = f"line {line} of {code.co_filename.rpartition('/')[2]}"
    if op.startswith("STORE"):
        return Reads(escapes=f"{where} assigns to the row's name")
    next_op, next_value, _ = following[0] if following else ("", None, 0)
    if next_op in ("LOAD_ATTR", "LOAD_METHOD") and next_value not in _ROW_METHODS:
        return Reads(columns=frozenset({str(next_value)}))
    if next_op == "STORE_ATTR":
        return Reads(writes=frozenset({str(next_value)}))
    if next_op == "LOAD_CONST" and isinstance(next_value, str) and len(following) > 1:
        subscript_op, subscript, _ = following[1]
        if subscript_op == "BINARY_SUBSCR" or subscript == "[]":
            return Reads(columns=frozenset({next_value}))
        if subscript_op == "STORE_SUBSCR":
            return Reads(writes=frozenset({next_value}))
    if next_op == "RETURN_VALUE":  # a preprocessor gives its row back
        return Reads()
    return Reads(escapes=f"{where} passes the whole row on")


def _plain(code: CodeType) -> Iterator[tuple[str, Any, int]]:
    """Yield (operation, argument, line), double loads taken apart, without noise."""
    line = code.co_firstlineno
    for i in dis.get_instructions(code):
        if i.positions is not None and i.positions.lineno is not None:
            line = i.positions.lineno
        if i.opname in _NOISE or i.opname in ("MAKE_CELL", "COPY_FREE_VARS", "LOAD_CLOSURE"):
            continue
        if isinstance(i.argval, tuple) and "FAST" in i.opname:
            for name in i.argval:
                yield "LOAD_FAST", name, line
        else:
            value = i.argrepr if i.opname == "BINARY_OP" else i.argval
            yield i.opname, value, line
