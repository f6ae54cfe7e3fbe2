"""A table's columns as numbers for models: numeric ones standardised, categories by their level."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.arrow.rows import Rows, column_of, row_names
from engine.errors import ColumnError, not_finite

_EXAMPLES = 3
MOST_LEVELS = 100  # of a category column, unless somebody says otherwise


@dataclass(frozen=True)
class Number:
    """A numeric column's mean and standard deviation in training."""

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class Category:
    """A category column's levels in training, the most frequent first."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class ColumnNumbers:
    """Numeric columns standardised, category columns as positions of their levels.

    Parameters
    ----------
    numbers, categories
        The columns, with what training saw of them.
    key
        Columns that name a row in messages, where the rows have them.

    Examples
    --------
    >>> people = pa.table({"age": [20, 40, None], "city": ["Oslo", None, "Oslo"]})
    >>> columns = ColumnNumbers.fit(people, numeric=["age"], category=["city"])
    >>> columns.width
    5
    >>> [one.tolist() for one in columns.numeric(people)]
    [[[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]]
    >>> [one.tolist() for one in columns.levels(people)]
    [[0, 2, 0]]
    """

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    key: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        rows: Rows,
        numeric: Sequence[str] = (),
        category: Sequence[str] = (),
        max_levels: int = MOST_LEVELS,
        key: Sequence[str] = (),
    ) -> Self:
        """Take means, deviations and levels from rows.

        Parameters
        ----------
        rows
            A table with these columns.
        numeric
            Columns of numbers or booleans.
        category
            Columns of texts, whole numbers, booleans or dates.
        max_levels
            Keep this many of a category's levels, the most frequent ones; the rest is "other".
        key
            As the class has it.

        Raises
        ------
        ColumnError, DatasetError
            When a column is not there, is of another type, or holds NaN or infinity.
        """
        empty = cls((), (), tuple(key))
        numbers = [(name, empty._number(rows, name)) for name in numeric]
        categories = [(name, _level_texts(rows, name)) for name in category]
        return cls(
            tuple(_measured(name, values) for name, values in numbers),
            tuple(Category(name, _most_frequent(texts, max_levels)) for name, texts in categories),
            empty.key,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (*(n.name for n in self.numbers), *(c.name for c in self.categories))

    @property
    def width(self) -> int:
        """How many features there are: two per number, one per level, other and null."""
        return 2 * len(self.numbers) + sum(len(c.levels) + 2 for c in self.categories)

    def numeric(self, rows: Rows) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
        """Return ``[n, 2]`` for each numeric column: the standardised value, and 1 where null.

        Raises
        ------
        ColumnError, DatasetError
            When a column is not there, is of another type, or holds NaN or infinity.
        """
        parts = []
        for number in self.numbers:
            values = self._number(rows, number.name)  # [n]
            null = np.isnan(values)
            standard = np.where(null, 0.0, (values - number.mean) / number.std)
            parts.append(np.column_stack([standard, null]))
        return parts

    def levels(self, rows: Rows) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
        """Return ``[n]`` for each category column: the level's position, then other, then null.

        Raises
        ------
        ColumnError
            When a column is not there, or is of another type.
        """
        parts = []
        for category in self.categories:
            texts = _level_texts(rows, category.name)
            level = pc.index_in(texts, pa.array(category.levels, pa.string()))
            other, null = len(category.levels), len(category.levels) + 1
            parts.append(np.where(texts.is_null(), null, level.fill_null(other).to_numpy()))
        return parts

    def to_json(self) -> dict[str, Any]:
        """Give the settings as JSON has them."""
        return asdict(self)

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Self:
        """Build it from what ``to_json`` gave."""
        return cls(
            tuple(Number(**number) for number in spec["numbers"]),
            tuple(Category(c["name"], tuple(c["levels"])) for c in spec["categories"]),
            tuple(spec["key"]),
        )

    def _number(self, rows: Rows, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Give a column as float64 [n], NaN for null and for nothing else."""
        column = column_of(rows, name)
        if not is_number(column.type):
            raise unreadable_type(name, str(column.type), "numeric", "a number or boolean")
        whole = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
        values = whole.cast(pa.float64(), safe=False)
        numbers = cast(
            "np.ndarray[Any, np.dtype[np.float64]]", values.to_numpy(zero_copy_only=False)
        )
        bad = ~np.isfinite(numbers) & ~values.is_null().to_numpy(zero_copy_only=False)
        if bad.any():
            first = np.flatnonzero(bad)[:_EXAMPLES].tolist()
            raise not_finite(name, int(bad.sum()), row_names(rows, self.key, first))
        return numbers


def unreadable_type(column: str, type_: str, kind: str, wanted: str) -> ColumnError:
    """Return the error of a column whose type its kind of feature can't read."""
    return ColumnError(
        f"{kind} feature {column!r} is of type {type_}, and must be {wanted}: cast it in the "
        "source, or leave it out"
    )


def is_number(kind: pa.DataType) -> bool:
    """Tell whether a column of this type can be numeric: numbers, booleans, or nulls alone."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in (*tests, pa.types.is_null))


def _level_texts(rows: Rows, name: str) -> pa.Array:
    column = column_of(rows, name)
    if pa.types.is_floating(column.type) or pa.types.is_nested(column.type):
        wanted = "a text, whole number, boolean or date"
        raise unreadable_type(name, str(column.type), "category", wanted)
    return column.cast(pa.string())


def _measured(name: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> Number:
    values = values[~np.isnan(values)]
    if not len(values):
        return Number(name, 0.0, 1.0)
    return Number(name, float(values.mean()), float(values.std()) or 1.0)


def _most_frequent(texts: pa.Array, most: int) -> tuple[str, ...]:
    counts = Counter(text for text in texts.to_pylist() if text is not None)
    # Names decide among equally frequent levels, so that the order of rows doesn't matter.
    return tuple(sorted(counts, key=lambda level: (-counts[level], level))[:most])
