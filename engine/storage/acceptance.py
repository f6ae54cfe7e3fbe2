"""Which version of a table counts: the newest that rests on no run that nobody accepted.

A job's commits carry its run's id and are candidates until the table of runs accepts the run.
Commits of runs that the table doesn't know, and those without an id, are nobody's candidates: what
they made counts if what they rest on does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.storage.delta_log import DeltaLeaf, facts_of, is_maintenance, read_commit

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

RUN = "run"  # whose commit it is, among the facts


@dataclass(frozen=True)
class Acceptance:
    """What the table of runs says of tables.

    Attributes
    ----------
    versions
        A table's own id to its newest version that a run which was accepted read or wrote.
    open
        The runs whose commits don't count, for nobody accepted them.
    """

    versions: Mapping[str, int] = field(default_factory=dict)
    open: frozenset[str] = frozenset()

    def version(self, spark: SparkSession, leaf: DeltaLeaf) -> int | None:
        """Return the newest version of a table that counts; None where none does."""
        known = self.versions.get(leaf.id, -1)
        for version in range(leaf.version, known, -1):
            if self.candidate(spark, leaf, version) is None:
                return version
        return known if known >= 0 else None

    def candidate(self, spark: SparkSession, leaf: DeltaLeaf, version: int) -> str | None:
        """Return the run whose candidate a version rests on; None where it rests on none.

        Parameters
        ----------
        spark
            The session.
        leaf
            The table.
        version
            The version that is looked at.
        """
        at = version
        while at > self.versions.get(leaf.id, -1):
            commit = read_commit(spark, leaf.log, at)
            if commit is None:  # the log is cleaned up before that
                return None
            back = (commit.info.get("operationParameters") or {}).get("version")
            run = str(facts_of(commit.info.get("userMetadata")).get(RUN, ""))
            if commit.info.get("operation") == "RESTORE" and back is not None:
                at = int(back)
            elif run in self.open:
                return run
            elif not run or is_maintenance(commit):
                at -= 1
            else:
                return None
        return None
