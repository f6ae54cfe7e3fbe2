"""Rules of settings: a few tests each, and how the sentence ends when one fails.

Nothing here loads torch, so that a project file is checked by the rules that training has.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.arguments import is_number, is_whole
from engine.errors import InputError, near

Test = Callable[[Any], bool]
_PAIR = 2


@dataclass(frozen=True)
class Rule:
    """Tests in their order, each with the end of the sentence that says what is wrong.

    Examples
    --------
    >>> number(lambda v: v > 0, "be above 0").broken(-1), whole(1).broken(2)
    (', and must be above 0', None)
    """

    tests: tuple[tuple[Test, str | Callable[[Any], str]], ...]
    or_none: bool = False

    def broken(self, value: Any) -> str | None:
        """Return how the sentence about a value ends; None where the value will do."""
        if value is None and self.or_none:
            return None
        for holds, end in self.tests:
            if not holds(value):
                wrong = end if isinstance(end, str) else end(value)
                return wrong + ", or None" if self.or_none and wrong.startswith(", and") else wrong
        return None


def optional(rule: Rule) -> Rule:
    """Return a rule that None meets too."""
    return Rule(rule.tests, or_none=True)


def _must(words: str, holds: Test) -> Rule:
    return Rule(((holds, f", and must {words}"),))


def whole(least: int, most: int | None = None) -> Rule:
    """Take whole numbers from one to another."""
    within = f"of at least {least}" if most is None else f"from {least} to {most}"

    top = math.inf if most is None else most
    return _must(f"be a whole number {within}", lambda v: is_whole(v) and least <= v <= top)


def number(holds: Test, words: str) -> Rule:
    """Take finite numbers of which a test holds."""
    return Rule(((is_number, ", and must be a number"), (holds, f", and must {words}")))


TEXT = _must("be text", lambda v: isinstance(v, str) and bool(v))
FLAG = _must("be True or False", lambda v: isinstance(v, bool))
PATH = _must("be a path", lambda v: isinstance(v, str | os.PathLike) and bool(v))


def one_of(known: Iterable[str]) -> Rule:
    """Take one of some words; the sentence says which is meant.

    Examples
    --------
    >>> one_of(["sgd", "adam"]).broken("adm")
    "; did you mean 'adam'?"
    """
    words = tuple(known)
    return Rule(((lambda v: isinstance(v, str) and v in words, lambda v: near(str(v), words)),))


def names(what: str) -> Rule:
    """Take a list of names; a single text would be read letter by letter."""

    def instead(value: Any) -> str:
        end = f": write [{value!r}]" if isinstance(value, str) and value else ""
        return f", and must be a list of {what}{end}"

    return Rule(((is_names, instead),))


def is_names(value: Any) -> bool:
    """Tell whether a value is a list of texts, in an order."""
    ordered = hasattr(value, "__getitem__") and hasattr(value, "__len__")
    if not ordered or getattr(value, "ndim", 1) != 1 or isinstance(value, str | bytes | Mapping):
        return False
    return all(isinstance(name, str) for name in value)


FIELD_NAMES = _must(
    "be a field's name, or a list of them",
    lambda v: (isinstance(v, str) or is_names(v)) and len(v) > 0,
)


def _groups(pattern: str) -> int:
    try:
        return re.compile(pattern).groups
    except re.error:
        return _PAIR


# As scikit-learn's vectorizers take it.
REGEX = _must(
    "be a regular expression with one group at most",
    lambda v: isinstance(v, str) and _groups(v) < _PAIR,
)


def _is_pair(value: Any) -> bool:
    ordered = isinstance(value, Sequence) and not isinstance(value, str)
    if not ordered or len(value) != _PAIR or not all(map(is_whole, value)):
        return False
    return bool(1 <= value[0] <= value[1])


PAIR_OF_LENGTHS = _must("be the shortest and longest run: [1, 2], say", _is_pair)


def _are_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and is_number(n) and n >= 0 for name, n in value.items()
    )


WEIGHTS = _must("be slices with numbers that are not below 0", _are_weights)


def plain(value: Any) -> Any:
    """Return a number of numpy's as Python's own, which JSON takes.

    Examples
    --------
    >>> import numpy as np
    >>> plain(np.int64(3)), plain("adam")
    (3, 'adam')
    """
    is_one = type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0
    return value.item() if is_one else value


def check_is(name: str, value: object, kind: type, hint: str = "") -> None:
    """Check that an argument is of its type.

    Raises
    ------
    InputError
    """
    if not isinstance(value, kind):
        wanted = {"Mapping": "a dict", "str": "text"}.get(kind.__name__, f"a {kind.__name__}")
        raise wrong_argument(name, value, wanted, hint)


def wrong_argument(name: str, value: object, wanted: str, hint: str = "") -> InputError:
    """Return the error of an argument of a wrong type."""
    kind = type(value).__name__
    what = "None" if value is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
    return InputError(f"{name} is {what}, and must be {wanted}{hint}")
