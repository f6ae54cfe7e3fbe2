"""A report's sections as they were shown: an evaluation of the same shows them again.

Two lines of JSON: what the report is of, which an index reads, and the sections.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from engine.report.sections import Line, Section

_FORMAT = 2
_FIELDS = [field.name for field in fields(Section)]


@dataclass(frozen=True)
class Archive:
    """What one report showed.

    Attributes
    ----------
    key
        A hash of what it was made of.
    about
        What an index says of it: label to text.
    sections
        Its tables, as terminals show them.

    Examples
    --------
    >>> archive = Archive("a1", {"models": "m"}, [Section("Rows", ["n"], [[1], [None]])])
    >>> read_archive(archive.text) == archive
    True
    """

    key: str
    about: Mapping[str, str]
    sections: Sequence[Section]

    @property
    def text(self) -> str:
        """The archive as text."""
        whole = [
            {
                **{name: getattr(s, name) for name in _FIELDS},
                "columns": list(s.columns),
                "rows": _plain(s.rows),
            }
            for s in self.sections
        ]
        head = {"format": _FORMAT, "key": self.key, "about": dict(self.about)}
        return "".join(json.dumps(line) + "\n" for line in (head, whole))


def read_archive(text: str) -> Archive | None:
    """Return an archive of its text; None where something else wrote it, or not to its end."""
    head, _, rest = text.partition("\n")
    try:
        about, sections = read_head(head), json.loads(rest)
        if about is None:
            return None
        key, of = about
        return Archive(
            key, of, [Section(**{**s, "rows": [*map(_cells, s["rows"])]}) for s in sections]
        )
    except (ValueError, KeyError, TypeError):
        return None


def read_head(line: str) -> tuple[str, dict[str, str]] | None:
    """Return key and description of an archive's first line; None where it is of another kind.

    Examples
    --------
    >>> read_head('{"format": 2, "key": "a1", "about": {"models": "m"}}')
    ('a1', {'models': 'm'})
    >>> read_head('{"format": 1') is None
    True
    """
    try:
        head = json.loads(line)
        return (head["key"], head["about"]) if head["format"] == _FORMAT else None
    except (ValueError, KeyError, TypeError):
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
