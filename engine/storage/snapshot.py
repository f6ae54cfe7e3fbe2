"""A table as it was read, and as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.storage.place import Place

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Snapshot:
    """A table as it was read.

    Attributes
    ----------
    place
        Where it is.
    df
        Its rows; for Delta pinned at ``version``, however often it is read.
    version
        The Delta version, or a hash of what is known of its files or its plan; for people to read.
    identity
        Differs where rows differ: this, not ``version``, tells tables apart.
    rows_version
        The Delta version that made its rows; later commits changed none.
    unknown
        A sentence that says why rows may differ though ``identity`` is the same; else None.
    known_by
        How its files are identified, in words; empty for Delta.
    facts
        The metadata of the commit that made its rows; empty where its writer isn't ours.
    """

    place: Place
    df: DataFrame
    version: str
    identity: str = ""
    rows_version: str = ""
    unknown: str | None = None
    known_by: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its path or catalog name."""
        return str(self.place)


@dataclass(frozen=True)
class Written:
    """What a write did: the table, its version, rows written, seconds taken, and whose it is."""

    place: Place
    version: str
    rows: int
    seconds: float
    changed: bool = True
    attempt: str = ""

    @property
    def name(self) -> str:
        """The table's path or catalog name."""
        return str(self.place)

    def __str__(self) -> str:
        if not self.changed:
            return f"unchanged {self.name} version {self.version}"
        return (
            f"wrote {self.name} version {self.version}: {self.rows:,} rows in {self.seconds:.1f} s"
        )
