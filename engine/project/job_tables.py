"""The tables of one job: what must hold of the source that it reads, and the one that it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame

from engine.masks.checks import check_columns, check_rows, check_unique
from engine.project.settings import Project
from engine.storage import tables
from engine.storage.lineage import Snapshot
from engine.storage.place import Place


def check_roles(source: Snapshot, roles: Mapping[str, Sequence[str | None]]) -> dict[str, str]:
    """Check that a source has the columns of some roles; return each column's role.

    Parameters
    ----------
    source
        The source.
    roles
        Role to its columns; None is ignored, as of a setting that the project leaves out.
    """
    columns = {role: [c for c in columns if c] for role, columns in roles.items()}
    check_columns(source.df, source.name, columns)
    return {column: role for role, names in columns.items() for column in names}


def check_source(
    project: Project,
    df: DataFrame,
    name: str,
    readers: Mapping[str, Sequence[str]],
    where: str | None = None,
) -> int:
    """Check a source's rows, and its key unless the project trusts it; return how many there are.

    Parameters
    ----------
    project
        The project.
    df, name
        The rows, and their table's name.
    readers
        Column to the names of what reads it.
    where
        The predicate that chose the rows, for messages.
    """
    rows = check_rows(df, name, project.join_columns, readers, where, project.partition_by)
    if project.check_key == "full":
        check_unique(df, name, project.join_columns)
    return rows


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
