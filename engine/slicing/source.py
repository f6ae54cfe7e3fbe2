"""A function's syntax tree, from its code: also of lambdas, several on a line."""

from __future__ import annotations
import __future__

import ast
import functools
import linecache
import os
import warnings
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# Compiler flags that a shell or a doctest may have on where the text doesn't say so.
_FUTURE = __future__.annotations.compiler_flag


class SourceError(Exception):
    """A function's source can't be read, or has changed since Python compiled it."""


def function_node(f: FunctionType) -> Function:
    """Return the node that a function was compiled from.

    Raises
    ------
    SourceError
        If there is no source, or the file now compiles to something else.

    Examples
    --------
    >>> both = (lambda x: x + 1), (lambda x: x + 2)
    >>> ast.unparse(function_node(both[1]).body)
    'x + 2'
    """
    return located(f)[0]


def located(f: FunctionType) -> tuple[Function, ast.Module]:
    """Return the node that a function was compiled from, and the module that the node is in.

    Raises
    ------
    SourceError
        As :func:`function_node` does.
    """
    code = f.__code__
    if not os.path.exists(code.co_filename):  # a module in an archive: its loader has the text
        linecache.lazycache(code.co_filename, f.__globals__)
    place = _node(code, code.co_filename)
    if isinstance(place, str):
        raise SourceError(place)
    return place


@functools.lru_cache(maxsize=100_000)
def _node(code: CodeType, filename: str) -> tuple[Function, ast.Module] | str:
    linecache.checkcache(filename)
    text = "".join(linecache.getlines(filename))
    parsed = _parsed(text, filename, code.co_flags & _FUTURE) if text else None
    if parsed is None:
        return "its source can't be read"
    tree, by_line, compiled = parsed
    if code not in compiled:
        return "its source has changed since it was loaded"
    node = _at(by_line, code)
    return "its source can't be told from its neighbours'" if node is None else (node, tree)


@functools.lru_cache(maxsize=64)
def _parsed(
    text: str, filename: str, flags: int
) -> tuple[ast.Module, Mapping[int, list[Function]], set[CodeType]] | None:
    """Parse and compile a file once for all its functions."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python gave them when it loaded the file
            tree = ast.parse(text)
            code = compile(text, filename, "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: too deep
        return None
    by_line: dict[int, list[Function]] = {}
    for node in ast.walk(tree):
        if isinstance(node, Function):
            line = min(n.lineno for n in (node, *getattr(node, "decorator_list", ())))
            by_line.setdefault(line, []).append(node)
    return tree, by_line, set(codes(code))


def codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a function's code and that of the functions in it."""
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from codes(const)


def _at(by_line: Mapping[int, list[Function]], code: CodeType) -> Function | None:
    """Return the innermost function on a line whose body holds all of a code's instructions."""
    spans = [
        (line, column, end_line, end_column)
        for line, end_line, column, end_column in list(code.co_positions())[1:]
        if None not in (line, column, end_line, end_column) and end_column
    ]
    fitting = [
        node
        for node in by_line.get(code.co_firstlineno, [])
        if getattr(node, "name", "<lambda>") == code.co_name
        and all(_holds(node, span) for span in spans)
    ]
    if not spans and len(fitting) > 1:  # Python runs without columns in its code
        return None
    # The last that fits starts furthest right: the innermost.
    return max(fitting, key=lambda n: (n.lineno, n.col_offset)) if fitting else None


def _holds(node: Function, span: tuple[int | None, ...]) -> bool:
    line, column, end_line, end_column = span
    first: ast.expr | ast.stmt = node.body if isinstance(node, ast.Lambda) else node
    start = (first.lineno, first.col_offset)
    end = (first.end_lineno, first.end_col_offset)
    return start <= (line, column) and (end_line, end_column) <= end
