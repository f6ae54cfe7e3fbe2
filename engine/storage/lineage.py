"""A table as it was read and written, of which version of the source, and whether two agree.

A table that is written whole is of one version; ``--where`` writes some partitions again, of
another. So the facts of a commit hold readings, each of the rows that its predicate names: of the
readings that name a row the last one counts. What partitions there are isn't kept, only the
predicates of the runs; what isn't known, as of a table of another tool, is compared with nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from engine.errors import PredicateError, TableError, brief
from engine.redaction import redacted
from engine.sql import name_sql, text_sql
from engine.storage.place import Place

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

READ = "read"  # where facts hold readings
QUARANTINED = "quarantined"  # where facts hold slices that are left out, and why
_NAMES = {READ: "source", "mask_identity": "masks"}  # of facts, as people read them
_SHOWN = 5  # names of what changed
# Facts that people read and runs don't compare: a table has other versions without other rows.
_ONLY_READ = {
    QUARANTINED, "attempt", "format", "mask_version", "run", "source_version", "version",
}  # fmt: skip


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
    id
        The Delta table's own id, which a table that is made again doesn't share.
    """

    place: Place
    df: DataFrame
    version: str
    identity: str = ""
    rows_version: str = ""
    unknown: str | None = None
    known_by: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    @property
    def name(self) -> str:
        """Its path or catalog name."""
        return str(self.place)


@dataclass(frozen=True)
class Written:
    """What a write did: the table, its version, rows, seconds, whose it is, the table's own id."""

    place: Place
    version: str
    rows: int
    seconds: float
    changed: bool = True
    attempt: str = ""
    id: str = ""

    def __str__(self) -> str:
        if not self.changed:
            return f"unchanged {self.place} version {self.version}"
        return (
            f"wrote {self.place} version {self.version}: {self.rows:,} rows in {self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Reading:
    """A version of a source, and the rows that were made from it.

    Attributes
    ----------
    where
        The predicate over partition columns that names the rows; all of them where it is None.
    source, version
        The source's name, and its version as people read it.
    identity
        What tells versions apart; empty where nothing is known.
    unknown
        A sentence that says why rows may differ though ``identity`` is the same; else None.
    """

    where: str | None
    source: str
    version: str
    identity: str
    unknown: str | None = None


_READING: Mapping[str, Any] = {
    "where": str | None, "source": str, "version": str, "identity": str, "unknown": str | None,
}  # fmt: skip


@dataclass(frozen=True)
class Stale:
    """Rows of which two tables were made from two versions.

    Attributes
    ----------
    rows, all_rows
        How many such rows there are, and how many in all.
    partitions, first
        How many partitions have such rows, and the first one's values; empty without partitions.
    ours, theirs
        The versions, as people read them.
    """

    rows: int
    all_rows: int
    partitions: int
    first: Mapping[str, Any]
    ours: str
    theirs: str

    def other(self, source: str) -> str:
        """Name the second table's version; a table that is made again begins with the same ones.

        Examples
        --------
        >>> Stale(1, 2, 0, {}, "0", "0").other("rows")
        'version 0 of rows, which was made again in between'
        >>> Stale(1, 2, 0, {}, "0", "1").other("rows")
        'version 1 of rows'
        """
        again = ", which was made again in between" if self.ours == self.theirs else ""
        return f"version {self.theirs} of {source}{again}"

    def __str__(self) -> str:
        there = ", ".join(f"{k}={v!r}" for k, v in self.first.items())
        n = f"{self.partitions:,} partition{'s' if self.partitions > 1 else ''}"
        where = f" in {n}, the first is {there}" if there else ""
        return f"{self.rows:,} of {self.all_rows:,} rows{where}"


def reading(source: Snapshot, where: str | None = None) -> Reading:
    """Return what is read of a source: all of it, or the rows that a predicate names."""
    return Reading(where, source.name, source.version, source.identity, source.unknown)


def deciding(facts: Any) -> Any:
    """Return facts without those that people read.

    Examples
    --------
    >>> deciding({"source": "t", "source_version": "4", READ: [{"version": "4", "identity": "x"}]})
    {'source': 't', 'read': [{'identity': 'x'}]}
    """
    if isinstance(facts, list):
        return [deciding(one) for one in facts]
    if isinstance(facts, dict):
        return {k: deciding(v) for k, v in facts.items() if k not in _ONLY_READ}
    return redacted(facts) if isinstance(facts, str) else facts  # as they are stored


def changes(stored: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Name what decides a table and isn't as it was; nothing where nothing is stored.

    Examples
    --------
    >>> changes({"seed": 1, "slices": {"a": "f1", "b": "f2"}}, {"seed": 1, "slices": {"a": "f3"}})
    ['slices (a, b)']
    >>> changes({READ: [{"identity": "x@0"}]}, {READ: [{"identity": "x@1"}]})
    ['source']
    >>> changes({}, {"seed": 1})
    []
    """
    old, new = deciding(dict(stored)), deciding(dict(facts))
    changed = []
    for key in sorted((old.keys() | new.keys()) - {"where"}) if old else ():
        before, now = old.get(key), new.get(key)
        name = _NAMES.get(key) or key.replace("_", " ")
        if isinstance(before, dict) and isinstance(now, dict):
            names = sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n))
            more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
            name += f" ({', '.join(names[:_SHOWN])}{more})"
        if before != now and name not in changed:
            changed.append(name)
    return changed


def readings(facts: Mapping[str, Any]) -> tuple[Reading, ...]:
    """Return what a table's facts say; nothing where they say nothing.

    Examples
    --------
    >>> readings({"read": [{"where": None, "source": "s", "version": "3", "identity": "x@3"}]})
    (Reading(where=None, source='s', version='3', identity='x@3', unknown=None),)
    >>> readings({})
    ()

    Raises
    ------
    TableError
        If they say what is no reading: somebody else wrote the metadata.
    """
    stored = facts.get(READ, ())
    try:
        read = tuple(Reading(**r) for r in stored)
    except TypeError:
        raise _no_reading(stored) from None
    if not all(isinstance(part, _READING[name]) for r in read for name, part in asdict(r).items()):
        raise _no_reading(stored)
    return read


def _no_reading(stored: object) -> TableError:
    return TableError(
        f"a table's metadata says that it was made from {brief(stored)}, which can't be read: make "
        "the table again"
    )


def read_again(stored: Mapping[str, Any] | None, new: Reading) -> list[dict[str, Any]]:
    """Return the readings that facts hold once some rows were made again.

    Parameters
    ----------
    stored
        The table's facts before; None where it is a new one.
    new
        What is read now. What was read of the same rows doesn't count any more.

    Examples
    --------
    >>> first, day = Reading(None, "s", "0", "x@0"), Reading("ds = 1", "s", "1", "x@1")
    >>> facts = {"read": read_again(None, first)}
    >>> [r["version"] for r in read_again(facts, day)]
    ['0', '1']
    >>> [r["version"] for r in read_again({}, day)]  # nothing is known of the other rows
    ['', '1']
    """
    if new.where is None or stored is None:
        return [asdict(new)]
    before = readings(stored) or (Reading(None, new.source, "", ""),)
    now = [*(r for r in before if r.where != new.where), new]
    if now[0].where is None and len({r.identity for r in now}) == 1:
        now = now[:1]  # all rows are of one version again
    return [asdict(r) for r in now]


def versions(of: Sequence[Reading]) -> str:
    """Return the versions as people read them, each once.

    Examples
    --------
    >>> versions([Reading(None, "s", "0", "x@0"), Reading("ds = 1", "s", "1", "x@1")])
    '0 and 1'
    """
    return " and ".join(dict.fromkeys(r.version or "unknown" for r in of))


def stale_rows(
    rows: DataFrame, ours: Sequence[Reading], theirs: Sequence[Reading], by: Sequence[str]
) -> Stale | None:
    """Compare, row by row, which versions two tables were made from; None where they agree.

    Spark counts rows only where the tables don't agree as a whole.

    Parameters
    ----------
    rows
        The rows of one of them, with its partition columns.
    ours, theirs
        What the tables' facts say.
    by
        Partition columns.
    """
    if not (ours and theirs) or len({r.identity for r in (*ours, *theirs)}) == 1:
        return None
    columns = {"@ours": _version_sql(ours), "@theirs": _version_sql(theirs)}
    at = [name_sql(c) for c in by]
    cells = rows.selectExpr(*at, *(f"{sql} AS {name_sql(n)}" for n, sql in columns.items()))
    counts = cells.groupBy(*at, *map(name_sql, columns)).count()
    first = f"min(IF(`@differ`, struct({', '.join(at)}), NULL))" if at else "NULL"
    known = "`@ours`.identity != '' AND `@theirs`.identity != ''"
    differ = f"{known} AND `@ours`.identity != `@theirs`.identity"
    counted = (
        counts.selectExpr("*", f"{differ} AS `@differ`")
        .selectExpr("*", "IF(`@differ`, `@ours`.version, NULL) AS `@a`")
        .selectExpr("*", "IF(`@differ`, `@theirs`.version, NULL) AS `@b`")
        .selectExpr(
            "sum(IF(`@differ`, count, 0)) AS stale", "sum(count) AS all_rows",
            "count_if(`@differ`) AS partitions", f"{first} AS first",
            "array_sort(collect_set(`@a`)) AS ours", "array_sort(collect_set(`@b`)) AS theirs",
        )
        .collect()[0]
    )  # fmt: skip
    if not counted["stale"]:
        return None
    return Stale(
        int(counted["stale"]),
        int(counted["all_rows"]),
        int(counted["partitions"]) if by else 0,
        counted["first"].asDict() if by else {},
        " and ".join(counted["ours"]),
        " and ".join(counted["theirs"]),
    )


def _version_sql(of: Sequence[Reading]) -> str:
    """Return a row's version and identity in SQL, by the last reading that names it."""
    cases = [f"WHEN {_rows_sql(r.where)} THEN {_struct(r)}" for r in reversed(of)]
    return f"CASE {' '.join(cases)} ELSE {_struct(Reading(None, '', '', ''))} END"


def _rows_sql(where: str | None) -> str:
    """Return what names a reading's rows: a table's metadata has it, which anybody may write."""
    # Loads sqlglot, which only a comparison of rows needs: jobs answer --help without it.
    from engine.predicates.predicate import rewritten

    try:
        return f"({rewritten(where)})" if where else "true"
    except PredicateError as error:
        raise TableError(f"a table's metadata names rows by {where!r}, which {error}") from None


def _struct(of: Reading) -> str:
    return f"named_struct('version', {text_sql(of.version)}, 'identity', {text_sql(of.identity)})"
