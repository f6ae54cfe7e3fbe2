"""What settings are made of: the models' base, and values that YAML reads as another type."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict

from engine.metrics.classes import as_class


class Settings(BaseModel):
    """A group of settings: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_text(value: Any) -> Any:
    """Return an option's value as Spark takes it: YAML reads `header: true` as no text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _as_class(value: Any) -> Any:
    label = as_class(value)  # YAML reads 1.0 as no whole number
    if not isinstance(label, int | str):
        raise ValueError(  # noqa: TRY004 - pydantic takes no TypeError
            f"must be a whole number, text, true or false, found {label!r}"
        )
    return label


Options = dict[str, Annotated[str, BeforeValidator(_as_text)]]
Class = Annotated[int | str | bool, BeforeValidator(_as_class)]
Format: TypeAlias = Literal["delta", "parquet", "csv", "json"]
Tier: TypeAlias = Literal["spark", "arrow", "pandas", "row"]
