"""What the writer of a slicing function should know before it runs."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from types import BuiltinMethodType, CodeType, FunctionType, ModuleType
from typing import Any

from engine.compile.regex import backtracks
from engine.slicing.description import references
from engine.slicing.expr import Const, Expr
from engine.slicing.functions import SlicingFunction

_RANDOM = ("random", "numpy.random", "secrets", "uuid")
_SEEDS = frozenset({"seed", "Random", "default_rng", "RandomState", "SystemRandom"})


def notes_on(sf: SlicingFunction, tree: Expr | None, linear: Container[str]) -> Iterator[str]:
    """Yield what a slice's writer should know: a clause each, whose subject is the slice.

    Parameters
    ----------
    sf
        The slice.
    tree
        What it was lifted to.
    linear
        Patterns that are searched for without backtracking.
    """
    for f in (sf.f, *(p.f for p in sf.chain)):
        if isinstance(f, FunctionType):
            drawn = randomness(f)
            if drawn is not None:
                yield (
                    f"is random ({drawn} without a seed): its mask is another one in every run; "
                    "seed a random.Random from the row's key instead"
                )
    for node in tree.walk() if tree is not None else ():
        pattern = node.value if isinstance(node, Const) else None
        if isinstance(pattern, re.Pattern) and pattern.pattern not in linear:
            yield from _on_pattern(pattern)


def _on_pattern(pattern: re.Pattern[Any]) -> Iterator[str]:
    if not isinstance(pattern.pattern, str):
        return
    part = backtracks(pattern.pattern, pattern.flags)
    if part is not None:
        yield (
            f"has the pattern {pattern.pattern!r}, which may take for ever on some texts: "
            f"{part} can match one text in many ways; make them exclude each other"
        )


def randomness(f: FunctionType) -> str | None:
    """Return what of Python's unseeded randomness a function names, or None.

    Examples
    --------
    >>> import random
    >>> randomness(lambda x: random.random() < 0.5), randomness(lambda x: x.a > 1)
    ('random.random', None)
    """
    names = {n for code in _codes(f.__code__) for n in code.co_names}
    if names & _SEEDS:
        return None
    for used in references(f).values():
        if isinstance(used, ModuleType) and used.__name__ in _RANDOM:
            drawn = sorted(n for n in names if callable(getattr(used, n, None)))
            if drawn:
                return f"{used.__name__}.{drawn[0]}"
        owner = getattr(used, "__self__", None)  # `from random import random`
        if isinstance(used, BuiltinMethodType) or callable(used):
            home = getattr(used, "__module__", None) or type(owner).__module__
            if home in _RANDOM and not isinstance(used, type):
                return f"{home}.{getattr(used, '__name__', used)}"
    return None


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)
