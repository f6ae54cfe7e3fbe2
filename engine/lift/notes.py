"""What the writer of a slicing function should know before it runs."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from types import FunctionType
from typing import Any

from engine.matching.regex import backtracks
from engine.slicing.expr import Const, Expr
from engine.slicing.fingerprint.chance import counter, moment, randomness
from engine.slicing.functions import SlicingFunction


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
            yield from _on_chance(f)
    for node in tree.walk() if tree is not None else ():
        pattern = node.value if isinstance(node, Const) else None
        if isinstance(pattern, re.Pattern) and pattern.pattern not in linear:
            yield from _on_pattern(pattern)


def _on_chance(f: FunctionType) -> Iterator[str]:
    if (drawn := randomness(f)) is not None:
        yield (
            f"is random ({drawn} without a seed): its mask is another one in every run; "
            "seed a random.Random from the row's key instead"
        )
    if (now := moment(f)) is not None:
        yield (
            f"depends on when and where it runs ({now}): its mask is another one in every run; "
            "compare with a column or a constant instead"
        )
    if (name := counter(f)) is not None:
        yield (
            f"counts in {name!r} as it runs: what it answers may depend on the rows before, which "
            "are others in each run; answer by the row alone"
        )


def _on_pattern(pattern: re.Pattern[Any]) -> Iterator[str]:
    if not isinstance(pattern.pattern, str):
        return
    part = backtracks(pattern.pattern, pattern.flags)
    if part is not None:
        yield (
            f"has the pattern {pattern.pattern!r}, which may take for ever on some texts: "
            f"{part} can match one text in many ways; make them exclude each other"
        )
