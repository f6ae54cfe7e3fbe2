"""What a run that died left in a table: a candidate, which is taken back or made one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.storage import tables
from engine.storage.acceptance import RUN
from engine.storage.delta_log import (
    alone,
    facts_of,
    last_change,
    remove_first,
    restore,
    table_sql,
)
from engine.storage.place import Place
from engine.storage.runs import Runs


@dataclass(frozen=True)
class Recovery:
    """What became of a dead run's candidate: a sentence, and the run if its commit stays."""

    sentence: str
    run: str | None = None


def recover(
    runs: Runs, place: Place, keep: Callable[[Mapping[str, Any]], bool] = lambda _: False
) -> Recovery | None:
    """Take back the candidate on top of a table, or keep it; None where there is none.

    The caller holds the table, so that whoever made the candidate is dead.

    Parameters
    ----------
    runs
        The table of runs.
    place
        The table.
    keep
        Whether a commit with these facts is what the caller would write.
    """
    spark, accepted = runs.spark, runs.acceptance
    if not tables.exists(spark, place):
        return None
    leaf = tables.newest(spark, place)
    run = accepted.candidate(spark, leaf, leaf.version)
    if run is None:
        return None
    change = last_change(spark, leaf.log, leaf.version)
    facts = facts_of(change.info.get("userMetadata"))
    alone_on_top = change.version == 0 or not accepted.candidate(spark, leaf, change.version - 1)
    if alone_on_top and facts.get(RUN) == run and keep(facts):
        why = f"run {run} made it and ended before it was accepted"
        return Recovery(f"{place} version {change.version} is kept: {why}", run)
    with alone(place, new=False):
        became = _taken_back(runs, place, leaf.version)
        return Recovery(f"{place}: run {run} ended before it was accepted; {became}")


def _taken_back(runs: Runs, place: Place, newest: int) -> str:
    """Take back what no accepted run made."""
    spark = runs.spark
    version = runs.acceptance.version(spark, tables.newest(spark, place))
    if version is not None:
        restore(spark, place, version)
        return f"the table was restored to version {version}"
    if newest:
        spark.sql(f"DELETE FROM {table_sql(spark, place)}")
        return "the table, none of whose rows were accepted, was emptied"
    if place.in_catalog:
        spark.sql(f"DROP TABLE IF EXISTS {place.text}")
    else:
        remove_first(spark, place.text)
    return "the table, which it had made, was dropped"
