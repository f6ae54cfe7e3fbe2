"""A predicate that may run: its text read, checked, and written anew from its tree.

What Spark runs is written from the tree that was checked, so that no second parser can read
something else in the words: :mod:`engine.predicates.writing`.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from engine.errors import PredicateError, near
from engine.predicates.dialect import PredicateDialect
from engine.predicates.functions import (
    ALLOWED,
    BARE,
    DATES,
    FIXED,
    LOCAL_MOMENTS,
    MOMENTS,
    REFUSED,
)
from engine.predicates.precedence import fits, operands, rank
from engine.predicates.writing import PARTS, call_name, check_words, unit_of, written

LONGEST = 1_000_000  # characters
DEEPEST = 250  # brackets in brackets; Spark's own parser gives up soon after
_EXPRESSIONS = (exp.Condition, exp.Alias, exp.Interval, exp.Tuple)
_SUBQUERIES = (exp.Query, exp.Exists)
_FRAMES = 20_000  # of Python's; brackets in brackets need some 15 each
_DAYS = ("epoch", "now", "today", "tomorrow", "yesterday")
_OF_NOW = ("to_unix_timestamp", "unix_timestamp")
_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMPLTZ", "TIMESTAMPNTZ", "TIMESTAMPTZ", "TIME")


@dataclass(frozen=True)
class Predicate:
    """A predicate that was read and checked.

    Attributes
    ----------
    text
        As its user wrote it.
    tree
        What it says.

    Examples
    --------
    >>> import datetime as dt
    >>> late = read("day < current_date() and upper(text) <> 'A'")
    >>> late.sql()
    "`day` < current_date() AND upper(`text`) <> 'A'"
    >>> late.sql(dt.date(2024, 5, 1))
    "`day` < CAST('2024-05-01' AS DATE) AND upper(`text`) <> 'A'"
    """

    text: str
    tree: exp.Expr = field(repr=False, compare=False)

    @property
    def dated(self) -> bool:
        """Whether it asks for the date or the time."""
        return any(map(_is_dated, self.tree.walk()))

    @property
    def bare(self) -> frozenset[str]:
        """Names that Spark takes as functions where there is no column of the name."""
        names = (node.name.lower() for node in self.tree.find_all(exp.Column) if _is_bare(node))
        return frozenset(names) & BARE

    @property
    def may_name_days(self) -> bool:
        """Whether a text in it may be one like 'today', which Spark reads as another each day."""
        return any(map(_may_name_a_day, self.tree.walk()))

    def sql(self, date: dt.date | None = None, columns: Collection[str] = ()) -> str:
        """Write it for Spark, on one line.

        Parameters
        ----------
        date
            What ``current_date()`` and ``now()`` mean; None leaves them to Spark.
        columns
            The table's columns: a name of theirs without brackets is no function.
        """
        with _deep():
            if date is None:
                return written(self.tree)
            known = {name.lower() for name in columns}
            return written(self.tree.copy().transform(_on_date, date, known, copy=False))


def read(text: str, allowed: Collection[str] | None = ()) -> Predicate:
    """Read a predicate and check that it may run.

    Parameters
    ----------
    text
        SQL, as Spark has it.
    allowed
        Functions that it may call besides Spark's own; None for any that isn't refused by name.

    Raises
    ------
    PredicateError
        With a clause that says what of it isn't taken, and what to write instead.

    Examples
    --------
    >>> read("rand() < 0.5")
    Traceback (most recent call last):
    engine.errors.PredicateError: calls rand(), which answers otherwise each time
    """
    names = None if allowed is None else frozenset(name.lower() for name in allowed)
    return _read(text, names)


def rewritten(text: str) -> str:
    """Return a predicate as Spark is to read it; any function that isn't refused may be called.

    Raises
    ------
    PredicateError
        As :func:`read` does.

    Examples
    --------
    >>> rewritten("ds='2024-05-01' -- May")
    "`ds` = '2024-05-01'"
    """
    return read(text, None).sql()


@functools.lru_cache(maxsize=4096)
def _read(text: str, allowed: frozenset[str] | None) -> Predicate:
    if len(text) > LONGEST:
        raise PredicateError(f"has {len(text):,} characters, and may have {LONGEST:,}")
    try:
        with _deep():
            predicate = Predicate(text, _tree(text))
            _check(predicate.tree, allowed)
            predicate.sql()
    except RecursionError:
        raise too_nested() from None
    return predicate


@contextmanager
def _deep() -> Iterator[None]:
    """Let functions call each other as deeply as brackets may be in brackets."""
    frames = sys.getrecursionlimit()
    sys.setrecursionlimit(max(_FRAMES, frames))
    try:
        yield
    finally:
        sys.setrecursionlimit(frames)


def too_nested() -> PredicateError:
    """Return the error of a predicate with too many brackets in brackets."""
    return PredicateError("is nested too deeply; write it with fewer brackets in brackets")


@functools.lru_cache(maxsize=4096)
def _tree(text: str) -> exp.Expr:
    dialect = PredicateDialect()
    try:
        tokens = dialect.tokenize(text)
    except TokenError:
        raise PredicateError("is not SQL: a text, a name or a comment doesn't end") from None
    _check_tokens(text, tokens)
    tokens = _with_whole_texts(text, tokens)
    try:
        trees = dialect.parser(error_level=ErrorLevel.IMMEDIATE).parse(tokens, text)
    except ParseError as error:
        raise _syntax(text, error) from None
    except (SqlglotError, ValueError, AttributeError, TypeError, KeyError, IndexError):
        raise PredicateError("is not SQL that can be read") from None
    if len(trees) != 1 or trees[0] is None:
        raise PredicateError("is empty")
    return trees[0]


def _check_tokens(text: str, tokens: list[Token]) -> None:
    depth = 0
    for token, after in itertools.zip_longest(tokens, tokens[1:]):
        if token.token_type is TokenType.COMMA and (after is None or after.text in (",", ")", "]")):
            raise PredicateError("is not SQL: syntax error at or near ','")
        depth += (token.text in "([{") - (token.text in ")]}") if len(token.text) == 1 else 0
        if depth > DEEPEST:
            raise too_nested()
        if token.token_type is TokenType.SEMICOLON:
            raise PredicateError("has a semicolon, and must be one expression")
        if token.token_type is TokenType.HINT:
            raise PredicateError("has a hint, which isn't taken")
        if token.token_type is TokenType.HEX_STRING and text[token.start] == "0":
            raise PredicateError(f"has the number {text[token.start : token.end + 1]!r}, which "
                                 "Spark can't read")  # fmt: skip


def _with_whole_texts(text: str, tokens: list[Token]) -> list[Token]:
    """Join texts that stand side by side, as Spark does: a quote is between those that touch."""
    whole: list[Token] = []
    for token in tokens:
        before = whole[-1] if whole else None
        if before is None or {before.token_type, token.token_type} != {TokenType.STRING}:
            whole.append(token)
            continue
        quote = text[token.start]
        touch = before.end + 1 == token.start and text[before.end] == quote
        joined = f"{before.text}{quote if touch else ''}{token.text}"
        whole[-1] = Token(
            TokenType.STRING, joined, before.line, before.col, before.start, token.end
        )
    return whole


def _syntax(text: str, error: ParseError) -> PredicateError:
    facts = error.errors[0] if error.errors else {}
    highlight, after = str(facts.get("highlight") or ""), facts.get("end_context")
    near_to = repr(highlight) if highlight and after else "end of input"
    return PredicateError(f"is not SQL: syntax error at or near {near_to}")


def _check(tree: exp.Expr, allowed: frozenset[str] | None) -> None:
    if not isinstance(tree, _EXPRESSIONS) or isinstance(tree, exp.Query):
        raise PredicateError("is a statement, and must be an expression")
    if any(isinstance(node, _SUBQUERIES) for node in tree.walk()):
        raise PredicateError("has a subquery, and may look at its own row only")
    for node in tree.walk():
        _check_kind(node)
        _check_order(node)
        _check_moment(node)
        check_words(node)
        if isinstance(node, exp.Anonymous):
            _check_call(node, allowed)


def _check_kind(node: Any) -> None:
    parts = PARTS.get(type(node))
    extra = () if parts is None else [n for n, v in node.args.items() if v and n not in parts]
    if parts is None or extra:
        shown = _word(node)
        raise PredicateError(f"has {shown}, which predicates can't have")
    if isinstance(node, exp.Alias) and not _names_a_field(node):
        raise PredicateError("has a name for a value (AS), which only struct(...) takes")
    if isinstance(node, exp.Dot) and not isinstance(
        node.expression, exp.Identifier | exp.Anonymous
    ):
        raise PredicateError(f"has {_word(node)}, which predicates can't have")
    if isinstance(node, exp.Is) and not isinstance(node.expression, exp.Null | exp.Boolean):
        raise PredicateError(f"has {_word(node)}: IS takes NULL, TRUE, FALSE or UNKNOWN")
    if isinstance(node, exp.Lambda) and not isinstance(node.parent, exp.Anonymous):
        raise PredicateError("has a function (->) outside of a call")
    if isinstance(node, exp.Any | exp.All) and not isinstance(node.parent, exp.Like | exp.ILike):
        raise PredicateError(f"has {_word(node)}, which predicates can't have")


def _names_a_field(node: exp.Alias) -> bool:
    parent = node.parent
    return isinstance(parent, exp.Anonymous) and parent.name.lower() == "struct"


def _word(node: exp.Expr) -> str:
    try:
        text = " ".join(node.sql(dialect="spark").split())
    except (SqlglotError, ValueError, AttributeError, TypeError, KeyError):
        text = type(node).__name__
    return repr(text if len(text) <= 60 else f"{text[:57]}...")  # noqa: PLR2004


def _check_order(node: exp.Expr) -> None:
    """Refuse what two parsers may read differently."""
    if rank(node) < 0 or isinstance(node, exp.Escape):
        return
    for operand, first in operands(node):
        if not fits(node, operand, first or isinstance(node, exp.Unary)):
            raise PredicateError(
                f"leaves open whether {_word(operand)} is a part by itself: put it in brackets"
            )


def _check_moment(node: Any) -> None:
    """Refuse texts that Spark reads as another day each day."""
    if not isinstance(node, exp.Cast) or getattr(node.args["to"].this, "name", "") not in _TIMES:
        return
    value = node.this.unnest()
    if isinstance(value, exp.Literal | exp.RawString):
        if _is_day(value):
            raise names_a_day(str(value.this))
    elif not any(isinstance(one, exp.Column | exp.Identifier) for one in value.walk()) and any(
        isinstance(one, exp.Literal | exp.RawString) and one.name and not _digits(one.name)
        for one in value.walk()
    ):
        raise PredicateError("casts a computed text to a time: write the time itself")


def names_a_day(text: str) -> PredicateError:
    """Return the error of a text that Spark reads as another time each day."""
    word = text.strip().lower()
    return PredicateError(
        f"casts {word!r}, which means another time each day; write current_date()"
    )


def _may_name_a_day(node: Any) -> bool:
    if isinstance(node, exp.Literal | exp.RawString):
        return _is_day(node)
    if not isinstance(node, exp.Anonymous | exp.DPipe):
        return False
    below = list(node.walk())
    computed = not any(isinstance(one, exp.Column | exp.Identifier) for one in below)
    return computed and any(isinstance(one, exp.Literal) and one.is_string for one in below)


def _is_day(node: Any) -> bool:
    return str(node.this).strip().lower().startswith(_DAYS[1:])


def _digits(text: str) -> bool:
    return not any(c.isalpha() for c in text)


def _check_call(node: exp.Anonymous, allowed: frozenset[str] | None) -> None:
    in_catalog = isinstance(node.parent, exp.Dot) and node.arg_key == "expression"
    name, own = call_name(node.parent if in_catalog else node).lower(), node.name.lower()
    if own in REFUSED:
        raise PredicateError(f"calls {name}(), which {REFUSED[own]}")
    if own in _OF_NOW and not node.expressions:
        raise PredicateError(f"calls {name}() of the time at which it runs; give it a time")
    known = ALLOWED | FIXED if not in_catalog else frozenset()
    if allowed is None or name in known or name in allowed:
        return
    raise PredicateError(
        f"calls {name}(), which isn't one of Spark's functions that predicates may call"
        f"{_nearest(name)}; allow_sql_functions: [{name}] allows a function of your own"
    )


def _nearest(name: str) -> str:
    end = near(name, ALLOWED)
    return end if "did you mean" in end else ""


def _is_dated(node: Any) -> bool:
    if isinstance(node, exp.CurrentDate | exp.CurrentTimestamp):
        return True
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in FIXED and not node.expressions
    return _is_bare(node) and node.name.lower() in FIXED


def _is_bare(node: Any) -> bool:
    if isinstance(node, exp.CurrentDate | exp.CurrentTimestamp):
        return True
    return isinstance(node, exp.Column) and len(node.parts) == 1 and unit_of(node) is None


def _on_date(node: Any, date: dt.date, columns: set[str]) -> Any:
    """Return a value in place of what asks for the date or the time."""
    if not _is_dated(node):
        return node
    name = {exp.CurrentDate: "current_date", exp.CurrentTimestamp: "current_timestamp"}.get(
        type(node), node.name.lower()
    )
    if not isinstance(node, exp.Anonymous) and name in columns:
        return exp.Column(this=exp.Identifier(this=name, quoted=True))
    kind, text = _MOMENTS[next(names for names in _MOMENTS if name in names)]
    value = exp.Literal.string(text.format(date.isoformat()))
    return exp.Cast(this=value, to=exp.DataType(this=kind))


_MOMENTS = {
    DATES: (exp.DType.DATE, "{}"),
    MOMENTS: (exp.DType.TIMESTAMP, "{} 00:00:00Z"),
    LOCAL_MOMENTS: (exp.DType.TIMESTAMPNTZ, "{} 00:00:00"),
}
