"""What a report holds of single rows, of columns and of tiny slices: it travels, data may not."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from engine.masks.splits import split_name
from engine.metrics.catalog import OVERALL
from engine.report.sections import Section

_SLICES = ("slice", "nearly the same")  # columns of sections that name one
_CAUSE = "why"  # the column of a section that quotes rows
Hidden = Mapping[str, Collection[str]]  # split, as it is shown, to its slices that are left out


@dataclass(frozen=True)
class Sharing:
    """What a report may hold.

    Attributes
    ----------
    rows
        Of single rows: ``none``, their ``keys`` with what models say of them, or ``text``, all.
    hide
        Columns that it holds no value of.
    smallest
        Slices of fewer rows are left out.
    texts
        Columns that are shown of rows besides their keys.
    by_column
        Slice by value to its columns.
    """

    rows: Literal["none", "keys", "text"] = "text"
    hide: Collection[str] = ()
    smallest: int = 0
    texts: Collection[str] = ()
    by_column: Mapping[str, Sequence[str]] | None = None

    def hidden(self, figures: pd.DataFrame) -> dict[str, set[str]]:
        """Return the slices of each split that the report leaves out.

        Examples
        --------
        >>> rows = pd.DataFrame({"split": "test", "slice": ["overall", "a", "b"],
        ...                      "support": [3, 2, 9]})
        >>> Sharing(smallest=5).hidden(rows)
        {'test': {'a'}}
        """
        by = {s for s, columns in (self.by_column or {}).items() if {*columns} & {*self.hide}}
        by_slice = figures.groupby(["split", "slice"], dropna=False, sort=False)["support"]
        largest = by_slice.max().reset_index()
        hidden: dict[str, set[str]] = {}
        for row in largest.to_dict("records"):
            there, at = hidden.setdefault(split_name(row["split"]), set()), str(row["slice"])
            if at != OVERALL and (row["support"] < self.smallest or at in by):
                there.add(at)
        return hidden

    def figures(self, figures: pd.DataFrame, hidden: Hidden) -> pd.DataFrame:
        """Return the figures of slices that aren't left out."""
        names = zip(map(split_name, figures["split"]), figures["slice"], strict=True)
        return figures[[s not in hidden[split] for split, s in names]]

    def sections(self, sections: Sequence[Section], hidden: Hidden) -> list[Section]:
        """Return sections without what the report leaves out."""
        every = set().union(*hidden.values())
        chosen = (s for s in sections if s.rows_of is None or self.rows != "none")
        chosen = (s for s in chosen if s.rows_of not in every)
        return [self._section(s, hidden, every) for s in chosen]

    def _section(self, section: Section, hidden: Hidden, every: Collection[str]) -> Section:
        columns = list(section.columns)
        rows = [r for r in section.rows if not _names_hidden(columns, r, hidden, every)]
        note = section.note
        if section.first and every:  # sentences
            named = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(every)))})\b")
            rows = [r for r in rows if not any(named.search(str(value)) for value in r)]
            note = "\n".join(line for line in note.split("\n") if not named.search(line))
        away = {*self.hide, *(self.texts if self.rows == "keys" else ())}
        if section.rows_of is None:
            away = {_CAUSE} if self.rows != "text" or self.hide else set()
        left = [i for i, name in enumerate(columns) if name not in away]
        if _CAUSE in away and _CAUSE in columns:
            note = f"{note} What they did isn't told, for it may quote rows.".strip()
        return replace(
            section,
            columns=[columns[i] for i in left],
            rows=[[row[i] for i in left] for row in rows],
            note=note,
        )

    def sentence(self, hidden: Hidden) -> str:
        """Say what the report leaves out; nothing where it holds all."""
        n = len(set().union(*hidden.values()))
        slices = f"{n:,} slice{'s' if n != 1 else ''}"
        reasons = []
        if self.smallest:
            reasons.append(f"fewer than {self.smallest:,} rows")
        if self.hide:
            reasons.append("values of hidden columns")
        parts = [
            f"{slices} with {' or '.join(reasons)}" if n else "",
            {"none": "single rows", "keys": "the texts of single rows", "text": ""}[self.rows],
            f"the columns {', '.join(sorted(self.hide))}" if self.hide else "",
        ]
        there = [part for part in parts if part]
        return f"This report leaves out {'; '.join(there)}." if there else ""


def _names_hidden(
    columns: Sequence[str], row: Sequence[Any], hidden: Hidden, every: Collection[str]
) -> bool:
    """Tell whether a line of a section is about a slice that is left out."""
    cells = dict(zip(columns, row, strict=True))
    out = hidden.get(str(cells.get("split")), every)
    return any(cells.get(name) in out for name in _SLICES)
