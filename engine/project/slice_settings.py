"""Slices as the project file gives them: predicates, compositions, look-ups, values of columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from engine.project.fields import Settings
from engine.slicing.algebra import is_composition, parse
from engine.slicing.by_value import TOP, By, distinct


class LookupKeys(Settings):
    """The keys of a look-up slice.

    Attributes
    ----------
    column
        The column that is looked up.
    table, file
        Where the keys are: Delta, Parquet, CSV or JSON, by path or name.
    keys
        The keys themselves, in place of a table.
    key_column
        The table's column; ``column`` by default.
    how
        How Spark finds many keys; ``auto`` sends up to a million to all executors.
    """

    column: str
    table: str | None = None
    file: str | None = None
    keys: list[Any] | None = None
    key_column: str | None = None
    how: Literal["auto", "broadcast", "join"] = "auto"

    @model_validator(mode="after")
    def _keys_are_somewhere(self) -> LookupKeys:
        if sum(place is not None for place in (self.table, self.file, self.keys)) != 1:
            raise ValueError("give one of table, file and keys")
        return self


class InlineSlice(Settings):
    """A slice given as a SQL predicate, as a composition of slice ids, or as a look-up."""

    name: str
    where: str | None = None
    lookup: LookupKeys | None = None
    id: str | None = None
    description: str | None = None

    @field_validator("where")
    @classmethod
    def _composition_is_one(cls, value: str | None) -> str | None:
        if value is not None and is_composition(value):
            parse(value)
        return value

    @model_validator(mode="after")
    def _says_what_it_is(self) -> InlineSlice:
        if (self.where is None) == (self.lookup is None):
            raise ValueError(
                f"slice {self.name!r} needs either where (a SQL predicate, or slice ids with &, | "
                "and ~) or lookup"
            )
        return self


class ByValue(Settings):
    """Slices by the values of a column, or by the combinations of values of several.

    Attributes
    ----------
    column, columns
        One column, or two and more.
    top
        How many values get a slice when the source is asked for them, the most frequent first.
    other
        Whether rows of other values get a slice.
    values
        The values, or lists of values, in place of those of the source.
    """

    column: str | None = None
    columns: Annotated[list[str], Field(min_length=2)] | None = None
    top: Annotated[int, Field(gt=0)] = TOP
    other: bool = True
    values: list[Any] | None = None

    @model_validator(mode="after")
    def _columns_are_named(self) -> ByValue:
        if (self.column is None) == (self.columns is None):
            raise ValueError("give either column or columns")
        names = self.columns or []
        if len(set(names)) < len(names):
            raise ValueError(f"columns {', '.join(names)} must be different ones")
        width = len(self.columns or [self.column])
        for value in (self.values or []) if self.columns else []:
            if not isinstance(value, list) or len(value) != width:
                raise ValueError(f"values must be lists of {width}, found {value!r}")
        _ = self.spec  # refuses values that can't be slices
        return self

    @property
    def spec(self) -> By:
        """What is sliced."""
        columns = tuple(self.columns or [self.column or ""])
        spec = By(columns, self.top, self.other)
        if self.values is None:
            return spec
        cells = self.values if self.columns else ((value,) for value in self.values)
        return replace(spec, values=tuple(distinct(spec, cells)))
