r"""A Python regular expression, written for RE2, which needs time linear in the text's length.

RE2 comes with pyarrow. The two disagree on ``\w``, ``\s``, ``$``, case and more, so nothing is
handed over as written: every set is spelled out as the code points that Python gives it, and only
what both engines take to mean the same is used. What has no such form isn't translated.
"""

from __future__ import annotations

from dataclasses import dataclass
from re import _constants as c  # type: ignore[attr-defined]
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from engine.matching.charsets import ASCII_SIZE, Charset
from engine.matching.regex import At, Choice, Joined, Node, Opaque, Repeat, nodes

_MOST_REPEATS = 1000  # RE2 refuses more, nested ones multiplied
_NOTHING = r"[^\x{0}-\x{10FFFF}]"


@dataclass(frozen=True)
class Translation:
    """A pattern for RE2.

    Attributes
    ----------
    pattern
        To be searched for, whatever the original was for.
    ascii_only
        Whether the two agree on texts of ASCII characters only.
    """

    pattern: str
    ascii_only: bool


class _NoTranslationError(Exception):
    """RE2 has no form of it that means the same."""


def translate(node: Node) -> Translation | None:
    r"""Write an expression that is searched for in RE2's dialect, or return None.

    Examples
    --------
    >>> from engine.matching.regex import parse
    >>> translate(parse("[ab]+c$")).pattern
    '(?:[\\x{61}-\\x{62}])+[\\x{63}-\\x{63}](?:\\n?\\z)'
    >>> translate(parse(r"(a)\1")) is None
    True
    """
    try:
        boundaries = (n for n in nodes(node) if isinstance(n, At) and n.kind is c.AT_BOUNDARY)
        ascii_only = not all(boundary.ascii for boundary in boundaries)
        pattern = _text(node, True, 1, ASCII_SIZE if ascii_only else None)
        pc.match_substring_regex(pa.array([""]), pattern)
    except (_NoTranslationError, pa.ArrowInvalid):
        return None
    return Translation(pattern, ascii_only)


def _text(node: Node, last: bool, repeats: int, below: int | None) -> str:
    """Write a node; ``last``: nothing comes after it; ``below``: larger code points don't occur."""
    match node:
        case Charset():
            return _set(node, below)
        case At(kind=kind):
            if kind not in _CONDITIONS or (kind is c.AT_END and not last):
                raise _NoTranslationError
            return _CONDITIONS[kind]
        case Joined(parts=parts):
            end = len(parts) - 1
            texts = [_text(part, last and i == end, repeats, below) for i, part in enumerate(parts)]
            return "".join(
                f"(?:{text})" if isinstance(part, Choice) else text
                for part, text in zip(parts, texts, strict=True)
            )
        case Choice(parts=parts):
            return "|".join(_text(part, last, repeats, below) for part in parts)
        case Repeat(part=part, least=least, most=most):
            repeats *= max(least, most or 1)
            if repeats > _MOST_REPEATS:
                raise _NoTranslationError
            times = _TIMES.get((least, most), f"{{{least},{'' if most is None else most}}}")
            return f"(?:{_text(part, False, repeats, below)}){times}"
        case Opaque():
            raise _NoTranslationError


_TIMES = {(0, None): "*", (1, None): "+", (0, 1): "?"}


def _set(charset: Charset, below: int | None) -> str:
    ranges = charset.ranges
    if below is not None:
        ranges = tuple((a, min(b, below - 1)) for a, b in ranges if a < below)
    spelled = "".join(f"\\x{{{a:X}}}-\\x{{{b:X}}}" for a, b in ranges)
    return f"[{spelled}]" if spelled else _NOTHING


_CONDITIONS: dict[Any, str] = {
    c.AT_BEGINNING: r"\A",
    c.AT_BEGINNING_STRING: r"\A",
    c.AT_BEGINNING_LINE: r"(?m:^)",
    c.AT_END: r"(?:\n?\z)",  # Python's $ holds before a final line feed too; see `last`
    c.AT_END_LINE: r"(?m:$)",
    c.AT_END_STRING: r"\z",
    c.AT_BOUNDARY: r"\b",  # ASCII letters only in RE2
}
