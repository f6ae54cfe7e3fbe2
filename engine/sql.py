"""Names and texts in Spark's SQL.

A Column costs some fifteen calls into the JVM, and so does each operation on it, while a whole
expression written as text costs one. What a scan reads is hundreds of operations, so that it is
text: docs/adr/0011 has the figures.
"""

from __future__ import annotations


def name_sql(name: str) -> str:
    """Return a column by its exact name, dots included.

    Examples
    --------
    >>> name_sql("a.b"), name_sql("a`b")
    ('`a.b`', '`a``b`')
    """
    return "`" + name.replace("`", "``") + "`"


def text_sql(text: str) -> str:
    r"""Return a string, whatever is in it and however the session reads backslashes.

    Examples
    --------
    >>> text_sql("spam"), text_sql("it's"), text_sql("a\\b")
    ("'spam'", "CAST(X'69742773' AS STRING)", "CAST(X'615C62' AS STRING)")
    """
    if text.isascii() and text.isprintable() and not set(text) & {"'", "\\", "$"}:
        return f"'{text}'"
    return f"CAST(X'{text.encode().hex().upper()}' AS STRING)"
