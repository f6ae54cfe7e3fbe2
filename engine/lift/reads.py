"""Which columns a row function reads, by its bytecode.

Only needed columns cross to Python, and a column that doesn't exist is named before Spark starts.
Where the row leaves the function (it is passed on, or read by a computed name) the answer is
"any column", with the reason.
"""

from __future__ import annotations

import dis
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, MethodType
from typing import Any

from engine.slicing.functions import Preprocessor, SlicingFunction
from engine.slicing.rows import Row

_ROW_METHODS = frozenset(name for name in dir(Row) if not name.startswith("__"))
# Instructions that may stand between two that belong together.
_NOISE = frozenset({"CACHE", "NOP", "RESUME", "EXTENDED_ARG", "PRECALL", "PUSH_NULL"})
# Names through which code gets at its local variables, the row among them.
REFLECTION = frozenset({"eval", "exec", "locals", "vars", "currentframe", "_getframe"})


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
        Why other columns may be read too, or None where these are all.
    covered
        Fields read after a preprocessor sets them, maybe not on every row: columns only where
        the table has them.
    """

    columns: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    escapes: str | None = None
    covered: frozenset[str] = frozenset()

    def __or__(self, other: Reads) -> Reads:
        return Reads(
            self.columns | other.columns,
            self.writes | other.writes,
            self.escapes or other.escapes,
            self.covered | other.covered,
        )

    def used(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Return which of a table's columns the function may read."""
        return tuple(c for c in columns if self.escapes or c in self.columns | self.covered)

    def missing(self, columns: Sequence[str]) -> list[str]:
        """Return the columns that a table lacks for the function; none if it may look first."""
        return [] if self.escapes else sorted(self.columns.difference(columns))


def slice_reads(sf: SlicingFunction) -> Reads:
    """Return what a row slicing function reads, its preprocessors included.

    A field that a preprocessor sets is not a column of the table.

    Examples
    --------
    >>> sorted(slice_reads(SlicingFunction("a", lambda x: len(x.text) < x["most"])).columns)
    ['most', 'text']
    """
    before = functools.reduce(_then, map(reads_in_chain, sf.chain), Reads())
    return _then(before, reads(sf.f)) if sf.f is not None else before


def _then(before: Reads, later: Reads) -> Reads:
    """Return what two functions do with a row, one after the other."""
    own = Reads(
        later.columns - before.writes,
        later.writes,
        later.escapes,
        later.covered | later.columns & before.writes,
    )
    return before | own


def preprocessor_reads(p: Preprocessor) -> Reads:
    """Return what a preprocessor itself reads and sets, by its code where it doesn't say."""
    return reads(p.f) if p.fields is None else Reads(*p.fields)


def reads_in_chain(p: Preprocessor) -> Reads:
    """Return what a preprocessor reads of a row on whose other fields functions go on.

    The key of a memoized one reads the row, too.
    """
    own = preprocessor_reads(p)
    if p.memoize and p.memoize_key is not None:
        own |= reads(p.memoize_key)
    if own.escapes or p.fields is not None or _gives_back(*_code(p.f)):
        return own
    return own | Reads(escapes=f"preprocessor {p.name!r} returns another row")


def reads(f: Callable[..., Any]) -> Reads:
    """Return what a function reads of its first argument."""
    code, row = _code(f)
    if code is None:
        return Reads(escapes=f"{getattr(f, '__name__', f)!r} has no Python code to read")
    if not row:
        return Reads(escapes=f"{code.co_name!r} takes its row as one of *args")
    return _reads_of(code, row)


def _code(f: Any) -> tuple[CodeType | None, str]:
    """Return a function's code and its row's name; a decorator's wrapper has code of its own."""
    before = 0  # parameters before the row
    while isinstance(f, functools.partial):
        if _PLACEHOLDER in f.args:
            return None, ""
        before, f = before + len(f.args), f.func
    if not isinstance(f, FunctionType | MethodType | type) and "__call__" not in getattr(
        f, "__dict__", ()
    ):
        f = getattr(f, "__call__", None)  # noqa: B004 - its class's, bound to it
    before += inspect.ismethod(f)
    code = getattr(f, "__code__", None)
    if not isinstance(code, CodeType):
        return None, ""
    return code, next(iter(code.co_varnames[before : code.co_argcount]), "")


_PLACEHOLDER = getattr(functools, "Placeholder", object())  # since Python 3.14


def _gives_back(code: CodeType | None, row: str) -> bool:
    """Tell whether every return of a preprocessor is of its row."""
    assert code is not None
    steps = [i for i in dis.get_instructions(code) if i.opname not in _NOISE]
    return all(
        before.opname.startswith("LOAD") and _last(before.argval) == row and not i.is_jump_target
        for before, i in itertools.pairwise(steps)
        if i.opname.startswith("RETURN")
    )


def _reads_of(code: CodeType, row: str, *, nested: bool = False) -> Reads:
    instructions = list(_plain(code))
    in_cell = row in code.co_cellvars + code.co_freevars
    total = Reads()
    if REFLECTION.intersection(code.co_names):
        total |= Reads(escapes=f"{code.co_name!r} looks at its local variables")
    for at, (op, value, line) in enumerate(instructions):
        if value != row or not ("FAST" in op or "DEREF" in op):
            continue
        if in_cell and op.startswith("LOAD_FAST"):
            continue  # since Python 3.13: the cell is handed to a nested function, read below
        where = f"line {line} of {code.co_filename.rpartition('/')[2]}"
        total = _then(total, _use(op, instructions[at + 1 : at + 3], where, nested))
    for const in code.co_consts:  # a comprehension or lambda in the function sees the row too
        if isinstance(const, CodeType) and row in const.co_freevars:
            total = _then(total, _reads_of(const, row, nested=True))
    return total


def _use(op: str, following: Sequence[tuple[str, Any, int]], where: str, nested: bool) -> Reads:
    """Judge one use of the row by the instructions behind it."""
    if not op.startswith("LOAD"):
        return Reads(escapes=f"{where} assigns to the row's name")
    next_op, next_value, _ = following[0] if following else ("", None, 0)
    if next_op in ("LOAD_ATTR", "LOAD_METHOD") and not _is_method(next_value):
        return Reads(columns=frozenset({str(next_value)}))
    if next_op == "STORE_ATTR":
        return Reads(writes=frozenset({str(next_value)}))
    if next_op == "LOAD_CONST" and isinstance(next_value, str) and len(following) > 1:
        subscript_op, subscript, _ = following[1]
        if subscript_op == "BINARY_SUBSCR" or subscript == "[]":
            return Reads(columns=frozenset({next_value}))
        if subscript_op == "STORE_SUBSCR":
            return Reads(writes=frozenset({next_value}))
    if next_op == "RETURN_VALUE" and not nested:  # a preprocessor gives its row back
        return Reads()
    return Reads(escapes=f"{where} passes the whole row on")


def _last(argument: Any) -> Any:
    return argument[-1] if isinstance(argument, tuple) and argument else argument


def _is_method(name: Any) -> bool:
    return name in _ROW_METHODS or str(name).startswith("__")


def _plain(code: CodeType) -> Iterator[tuple[str, Any, int]]:
    """Yield (operation, argument, line), a double load as two, without noise."""
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
