"""Spark's SQL as sqlglot reads it, but that calls and operands stay as they are written.

sqlglot gives a function of Spark the meaning that other databases have of it, so that it can be
written for them. Here it is written for Spark again, so each call keeps its name and arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp
from sqlglot.dialects.spark import Spark
from sqlglot.tokenizer_core import TokenType

_Parser: Any = Spark.Parser


class Positive(exp.Unary):
    """``+x``, which sqlglot leaves out; Spark makes a number of a text by it."""


class PredicateDialect(Spark):
    """Spark's dialect for predicates."""

    NORMALIZE_NOT_NULL = False  # IS NOT NULL stays what it is

    class Parser(_Parser):  # type: ignore[misc] # sqlglot's own are no classes to mypy
        """Reads calls as they are written, and CAST as a cast that may fail."""

        STRICT_CAST = True
        FUNCTIONS: dict[str, Callable[..., Any]] = {}  # noqa: RUF012 - as sqlglot has them
        FUNCTION_PARSERS = {  # noqa: RUF012
            name: _Parser.FUNCTION_PARSERS[name]
            for name in (
                "CAST",
                "EXTRACT",
                "OVERLAY",
                "POSITION",
                "SUBSTR",
                "SUBSTRING",
                "TRIM",
                "TRY_CAST",
            )
        }
        NO_PAREN_FUNCTION_PARSERS = {  # noqa: RUF012
            name: _Parser.NO_PAREN_FUNCTION_PARSERS[name] for name in ("CASE", "IF")
        }
        NO_PAREN_IF_COMMANDS = False
        ARRAY_CONSTRUCTORS: dict[str, Any] = {}  # noqa: RUF012
        UNARY_PARSERS = {  # noqa: RUF012
            **_Parser.UNARY_PARSERS,
            TokenType.PLUS: lambda self: self.expression(Positive(this=self._parse_unary())),
        }

        def _parse_interval(self, *args: Any, **kwargs: Any) -> Any:
            """Read an interval of several units, which sqlglot makes a sum, as one value."""
            interval = super()._parse_interval(*args, **kwargs)
            return exp.Paren(this=interval) if isinstance(interval, exp.Add) else interval

        def _build_predicate(
            self,
            klass: Callable[..., exp.Expr],
            this: Any,
            expression: Any,
            comments: Any = None,
            negate: bool = False,
        ) -> Any:
            """Leave out the parentheses that sqlglot adds where it isn't sure of a reading."""
            more = {"negate": True} if negate else {}
            return self.expression(klass(this=this, expression=expression, **more))
