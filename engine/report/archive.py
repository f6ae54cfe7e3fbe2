"""A report's sections as they were shown: an evaluation of the same shows them again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from engine.report.sections import Line, Section

_FORMAT = 2
_FIELDS = [field.name for field in fields(Section)]


def archived(key: str, sections: Iterable[Section]) -> str:
    """Return sections as JSON, under a key that says what they were made of.

    Examples
    --------
    >>> text = archived("a1", [Section("Rows", ["n"], [[1], [None]], "of two")])
    >>> of_archive(text, "a1") == [Section("Rows", ["n"], [[1], [None]], "of two")]
    True
    >>> of_archive(text, "b2") is None
    True
    """
    whole = [
        {**{name: getattr(s, name) for name in _FIELDS}, "rows": _plain(s.rows)} for s in sections
    ]
    return json.dumps({"format": _FORMAT, "key": key, "sections": whole}, indent=1) + "\n"


def of_archive(text: str, key: str) -> list[Section] | None:
    """Return the sections of a JSON; None where they were made of something else.

    Parameters
    ----------
    text
        What :func:`archived` returned.
    key
        What they must have been made of.
    """
    try:
        whole = json.loads(text)
        if (whole["format"], whole["key"]) != (_FORMAT, key):
            return None
        return [
            Section(**{**s, "rows": [*map(_cells, s["rows"])]}) for s in whole["sections"]
        ]
    except (ValueError, KeyError, TypeError):  # written by something else, or not to its end
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Line):
        return {"line": _plain(value.values)}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _cells(row: list[Any]) -> list[Any]:
    return [Line(tuple(v["line"])) if isinstance(v, dict) else v for v in row]
