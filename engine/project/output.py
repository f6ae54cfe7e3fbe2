"""A table that a run writes, and whether it is there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.storage import tables
from engine.storage.place import Place
from engine.storage.snapshot import Snapshot


@dataclass(frozen=True)
class Output:
    """A table as one run writes it.

    Attributes
    ----------
    place
        Where it is.
    stored
        The table as it is; None where there is none.
    facts
        What decides its rows.
    """

    place: Place
    stored: Snapshot | None
    facts: Mapping[str, Any]

    @property
    def stored_facts(self) -> Mapping[str, Any]:
        """What decided the rows of the table as it is; empty where there is none."""
        return self.stored.facts if self.stored else {}

    def same(self, force: bool) -> Snapshot | None:
        """Return the stored table if the same facts decided its rows, unless a run is forced."""
        same = not force and self.stored and tables.same(self.stored.facts, self.facts)
        return self.stored if same else None
