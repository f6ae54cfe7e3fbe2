"""What the writer of a slicing function should know before it runs."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

from engine.matching.regex import backtracks
from engine.slicing.expr import Const, Expr
from engine.slicing.fingerprint.code import references
from engine.slicing.functions import SlicingFunction
from engine.slicing.source import SourceError, located
from engine.slicing.uses import uses_of

_RANDOM = ("random", "numpy.random", "secrets", "uuid")
# Of these modules, what says the same of the same values.
_NOT_DRAWN = frozenset({"UUID", "uuid3", "uuid5", "compare_digest"})
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
    used = {n: v for n, v in references(f).items() if _may_draw(v)}
    if names & _SEEDS or not used:
        return None
    for value in _values(f, used, names):
        if callable(value) and not isinstance(value, type) and is_random(value):
            return f"{_home(value)}.{getattr(value, '__name__', value)}"
    return None


def _may_draw(value: Any) -> bool:
    names_some = isinstance(value, ModuleType) and value.__name__ in (*_RANDOM, "numpy")
    return names_some or is_random(value)


def _values(f: FunctionType, used: Mapping[str, Any], names: Iterable[str]) -> Iterator[Any]:
    """Yield what a function reads from modules that it uses, and what else it uses."""
    try:
        chains = uses_of(located(f)[0]).chains
    except SourceError:  # every name may be one of every module
        chains = {name: {(n,) for n in names} for name in used}
    for name, value in used.items():
        for chain in sorted(chains.get(name, ())):
            part = value
            for attribute in chain:
                part = getattr(part, attribute, None) if isinstance(part, ModuleType) else part
            yield part


def is_random(f: Any) -> bool:
    """Tell whether a function is one of Python's or numpy's that draw.

    Examples
    --------
    >>> import random, uuid
    >>> is_random(random.random), is_random(uuid.uuid4), is_random(uuid.UUID), is_random(len)
    (True, True, False, False)
    """
    return _home(f) in _RANDOM and getattr(f, "__name__", None) not in _NOT_DRAWN


def _home(f: Any) -> str:
    home = getattr(f, "__module__", None) or type(getattr(f, "__self__", None)).__module__
    return str(home).removesuffix(".mtrand")  # where numpy says that its functions are, before 2.1


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _codes(const)
