"""Sections as lines of text: none is wider than a terminal, and no name or number is cut.

A table that is too wide comes as several, one after the other, each with the columns that name its
rows. Where even these leave no place for a column, they stand on a line of their own. Only long
texts are wrapped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest

from rich.cells import cell_len, chop_cells

from engine.report.sections import Section, cell

WIDEST = 60  # letters of a column; what is longer is a text, which may be wrapped
IN_A_LOG = 200  # columns, or as many as the figures take: a log has no width
_LEAST = 24  # letters of a line of a text, so that it can be read
_EDGE, _GAP, _INDENT = " ", "   ", "    "


@dataclass(frozen=True)
class _Column:
    """A column's header and cells, as texts, and whether it is one of those that name a row."""

    header: str
    texts: Sequence[str]
    numeric: bool
    names: bool

    @property
    def natural(self) -> int:
        """The width at which no cell is wrapped."""
        lines = (line for text in (self.header, *self.texts) for line in text.split("\n"))
        return max(map(cell_len, lines), default=0)

    @property
    def is_long(self) -> bool:
        """Whether it has texts that may be wrapped."""
        return not self.numeric and not self.names and self.natural > WIDEST

    @property
    def least(self) -> int:
        """The width below which it has no place."""
        return _LEAST if self.is_long else self.natural


def lines(section: Section, width: int | None = None) -> list[str]:
    """Return the lines of a section.

    Parameters
    ----------
    section
        A table with its title and note.
    width
        How many columns a line has at most; None for a log, where tables aren't cut up.

    Examples
    --------
    >>> rows = [["short_link", 3, "0.3333 [0.06 0.79]"], ["all", 1250, "0.9280 [0.89 0.95]"]]
    >>> section = Section("Slices", ["slice", "support", "f1"], rows)
    >>> for line in lines(section, 30):
    ...     print(line)
    Slices
    <BLANKLINE>
     slice        support
     ────────────────────
     short_link         3
     all            1,250
    <BLANKLINE>
     slice
         f1
     ──────────────────────
     short_link
         0.3333 [0.06 0.79]
     all
         0.9280 [0.89 0.95]
    <BLANKLINE>
    """
    room = width or 10**6
    shown = _wrapped(section.title, room)
    if section.rows:
        columns = _columns(section)
        if width is None:
            widths = [WIDEST if c.is_long else c.natural for c in columns]
            room = max(IN_A_LOG, _total(widths))
        for table in _tables(columns, room):
            shown += ["", *table]
        shown.append("")
    return shown + (_wrapped(section.note, width or 10**6) if section.note else [])


def _columns(section: Section) -> list[_Column]:
    """Return the columns; the first names a row, and so do short texts that follow it."""
    columns: list[_Column] = []
    for name, values in zip(section.columns, zip(*section.rows, strict=True), strict=True):
        numeric = any(isinstance(v, int | float) for v in values)
        column = _Column(name, [cell(v) for v in values], numeric, False)
        first = all(c.names for c in columns) and not (numeric or column.is_long)
        columns.append(replace(column, names=first or not columns))
    return columns


def _total(widths: Sequence[int]) -> int:
    """Return the width of a table with columns of these."""
    return len(_EDGE) + sum(widths) + len(_GAP) * (len(widths) - 1)


def _tables(columns: Sequence[_Column], room: int) -> Iterator[list[str]]:
    """Yield tables that fit, which together have all columns."""
    if _least(columns) <= room:
        yield _table(columns, room)
        return
    keys, others = ([c for c in columns if c.names is names] for names in (True, False))
    inner = room - len(_INDENT)
    blocks: list[tuple[bool, list[_Column]]] = []  # whether beside the keys, or under them
    for together in _units(others, inner):
        beside = _least([*keys, *together]) <= room
        if blocks and blocks[-1][0] is beside:
            more = [*blocks[-1][1], *together]
            if _least([*keys, *more] if beside else more) <= (room if beside else inner):
                blocks[-1] = beside, more
                continue
        blocks.append((beside, together))
    for beside, block in blocks:
        yield _table([*keys, *block], room) if beside else _stacked(keys, block, room)


def _least(columns: Sequence[_Column]) -> int:
    """Return the least width that a table of these columns takes."""
    return _total([c.least for c in columns])


def _units(columns: Sequence[_Column], inner: int) -> Iterator[list[_Column]]:
    """Yield columns that stay together: those of a metric, unless they are too wide for that."""
    for _, group in groupby(columns, lambda c: c.header.partition("\n")[0]):
        unit = list(group)
        yield from [unit] if _least(unit) <= inner else ([column] for column in unit)


def _table(columns: Sequence[_Column], room: int) -> list[str]:
    """Return a table's lines; texts that are wrapped share what room there is."""
    widths = _widths(columns, room)
    head = _row([c.header for c in columns], columns, widths)
    body = [_row(row, columns, widths) for row in zip(*(c.texts for c in columns), strict=True)]
    rule = _EDGE + "─" * (_total(widths) - len(_EDGE))
    return [*head, rule, *(line for row in body for line in row)]


def _stacked(keys: Sequence[_Column], columns: Sequence[_Column], room: int) -> list[str]:
    """Return a table in which what names a row stands on a line above its cells."""
    inner = room - len(_INDENT)
    widths = _widths(columns, inner)

    def both(names: Sequence[str], texts: Sequence[str]) -> list[str]:
        above = _wrapped(_GAP.join(names), room - len(_EDGE), _GAP)
        below = _row(texts, columns, widths)
        return [_EDGE + line for line in above] + [(_INDENT + line).rstrip() for line in below]

    head = both([c.header for c in keys], [c.header for c in columns])
    rows = zip(
        zip(*(c.texts for c in keys), strict=True), zip(*(c.texts for c in columns), strict=True),
        strict=True,
    )  # fmt: skip
    body = [line for row in rows for line in both(*row)]
    longest = max(map(cell_len, [*head, *body]))
    return [*head, _EDGE + "─" * (longest - len(_EDGE)), *body]


def _widths(columns: Sequence[_Column], room: int) -> list[int]:
    """Return the columns' widths, long ones by the room that is left."""
    widths = [c.natural for c in columns]
    long = [i for i, c in enumerate(columns) if c.is_long or c.natural > room - len(_EDGE)]
    for n, i in zip(range(len(long), 0, -1), sorted(long, key=lambda i: widths[i]), strict=True):
        others = [w for j, w in enumerate(widths) if j not in long]
        left = room - _total([*others, *([0] * len(long))])
        widths[i] = min(widths[i], max(left // n, 1))
        long.remove(i)
    return widths


def _row(texts: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> list[str]:
    """Return a row's lines, as many as its longest cell has."""
    cells = [_wrapped(text, width) for text, width in zip(texts, widths, strict=True)]
    return [
        (_EDGE + _GAP.join(map(_padded, line, columns, widths))).rstrip()
        for line in zip_longest(*cells, fillvalue="")
    ]


def _padded(text: str, column: _Column, width: int) -> str:
    space = " " * (width - cell_len(text))
    return space + text if column.numeric else text + space


def _wrapped(text: str, width: int, between: str = " ") -> list[str]:
    """Return lines of at most a width; only a word that is longer is broken."""
    shown: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(between):
            if line and cell_len(line) + len(between) + cell_len(word) <= width:
                line += between + word
                continue
            if line:
                shown.append(line)
            *full, line = chop_cells(word, width) or [""]
            shown += full
        shown.append(line)
    return shown
