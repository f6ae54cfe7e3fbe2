"""A seeded, slice-aware draw: the border between Spark and torch.

A row is drawn if u < p. u is the engine's hash of its key (:mod:`engine.hashing`), shared by all
slices, so the draw is the same whatever the partitioning. p is the largest of the row's chances:
over its slices, its class and all rows, min(1, quota / count). So each slice gets its quota in
expectation, small slices come whole, and p is exact. Weighting a row by 1/p makes sums over the
sample unbiased for the table (Horvitz and Thompson 1952).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import SampleError, brief, listed, near, no_shares, unknown_class
from engine.hashing import unit_interval_column
from engine.masks.checks import key_text, quoted
from engine.masks.coverage import Coverage, coverage
from engine.masks.reader import MaskTable, read_masks
from engine.masks.splits import Split, split_name
from engine.plain import plain

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructField

P = "sample_p"  # the column with a drawn row's probability
SPLIT, LABEL, VALUE, BY_CLASS = "_split", "_label", "_value", "_by_class"
_PROBED = 1000  # rows whose size is measured before all are collected
_MB = 2**20
_BROADCAST = 256 * _MB

# Bytes of an Arrow value of a Spark type; those of others depend on the value.
_ARROW_BYTES: Mapping[str, float] = {
    "boolean": 1 / 8, "byte": 1, "short": 2, "integer": 4, "long": 8, "float": 4, "double": 8,
    "decimal": 16, "date": 4, "timestamp": 8, "timestamp_ntz": 8, "void": 0,
}  # fmt: skip

Kind = Literal["quota", "simple", "stratified", "oversample"]


@dataclass(frozen=True)
class Counts:
    """How many rows a split has: in all, in each slice, of each class.

    Attributes
    ----------
    rows
        Rows of the split.
    slices
        Slice id to its rows.
    classes
        Rows of each class, by its position; nothing where classes don't matter.
    """

    rows: int
    slices: Mapping[str, int] = field(default_factory=dict)
    classes: Sequence[int] = ()

    def times(self, share: float) -> Counts:
        """Return what to expect of a share of the rows.

        Examples
        --------
        >>> Counts(100, {"a": 10}).times(0.8)
        Counts(rows=80, slices={'a': 8}, classes=())
        """
        return Counts(
            round(self.rows * share),
            {s: round(n * share) for s, n in self.slices.items()},
            tuple(round(n * share) for n in self.classes),
        )


@dataclass(frozen=True)
class Chances:
    """The probabilities by which a row may be drawn; the largest that applies to it is its p.

    Attributes
    ----------
    overall
        That of any row.
    slices
        Slice id to that of its rows.
    classes
        That of each class's rows, by the class's position.
    """

    overall: float
    slices: Mapping[str, float] = field(default_factory=dict)
    classes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Quota:
    """Expected rows of each slice, of each class and of all rows.

    Parameters
    ----------
    per_slice, overall, per_class
        How many, at least; a slice or class that has fewer comes whole.
    kind
        Which of them count: see ``KINDS``.

    Raises
    ------
    SampleError
        If one is not a positive whole number, or there is no such kind.
    """

    per_slice: int
    overall: int
    per_class: int = 1
    kind: Kind = "quota"

    def __post_init__(self) -> None:
        for name in ("per_slice", "overall", "per_class"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise SampleError(
                    f"sample.{name} must be a positive number of rows, found {brief(value)}"
                )
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise SampleError(
                f"sample.kind: there is no kind {brief(self.kind)}{near(str(self.kind), KINDS)}"
            )

    def chances(self, counts: Counts) -> Chances:
        """Return the probabilities that give these quotas.

        Examples
        --------
        >>> counts = Counts(100, {"a": 5, "b": 40, "none": 0}, (98, 2))
        >>> Quota(per_slice=10, overall=50, per_class=49).chances(counts)
        Chances(overall=0.5, slices={'a': 1.0, 'b': 0.25}, classes=(0.5, 1.0))
        >>> Quota(per_slice=10, overall=50, kind="simple").chances(counts)
        Chances(overall=0.5, slices={}, classes=())
        """
        counted = KINDS[self.kind]
        return Chances(
            _chance(self.overall, counts.rows) if "overall" in counted else 0.0,
            {s: _chance(self.per_slice, n) for s, n in counts.slices.items() if n}
            if "slices" in counted
            else {},
            tuple(_chance(self.per_class, n) for n in counts.classes)
            if "classes" in counted
            else (),
        )

    def expected(self, counts: Counts) -> int:
        """Return the most rows to expect: slices and classes add up where they don't overlap."""
        chances = self.chances(counts)
        by_slice = sum(p * counts.slices[s] for s, p in chances.slices.items())
        by_class = sum(p * n for p, n in zip(chances.classes, counts.classes, strict=False))
        return min(counts.rows, round(chances.overall * counts.rows + by_slice + by_class))


# What a row's chance is the largest of. An oversample is a simple one of which training then draws
# by weights that make slices' rows more frequent.
KINDS: Mapping[Kind, frozenset[str]] = {
    "quota": frozenset({"overall", "slices", "classes"}),
    "simple": frozenset({"overall"}),
    "stratified": frozenset({"classes"}),
    "oversample": frozenset({"overall"}),
}


def _chance(quota: int, count: int) -> float:
    return min(1.0, quota / count) if count else 1.0


def draw(
    masks: DataFrame,
    key: Sequence[str],
    chances: Mapping[Split, Chances],
    seed: int,
    split: Column | None = None,
    labels: DataFrame | None = None,
) -> DataFrame:
    """Return the sampled rows of a mask table, with their probability in ``sample_p``.

    One scan of the masks and nothing shuffled. Where classes have chances, ``labels`` is scanned
    too: both sides know a row's u from its key, so the rows that their class draws are joined, few
    enough to broadcast.

    Parameters
    ----------
    masks
        Rows of the mask table.
    key
        Columns that name a row.
    chances
        Split to its chances; rows of other splits are left out.
    seed
        Another seed is another sample.
    split
        The rows' split, text or null; not needed where there is one.
    labels
        Key columns, ``_split`` and ``_label`` (class position) of the same rows; without them
        classes don't count.
    """
    u = unit_interval_column(masks, key, seed)
    of = split if split is not None else F.lit(next(iter(chances)))
    table = read_masks(masks)
    p = _by_split(of, {name: _slice_chance(table, c) for name, c in chances.items()})
    drawn, hopeful = masks.withColumn(P, p).withColumn(SPLIT, of), _hopeful(table, u, chances)
    if labels is not None:
        in_class = _by_split(F.col(SPLIT), {s: _class_chance(c) for s, c in chances.items()})
        lucky = labels.select(*map(quoted, key), in_class.alias(BY_CLASS))
        lucky = lucky.where(unit_interval_column(lucky, key, seed) < F.col(BY_CLASS))
        # A row that isn't among them is drawn by its slices or not at all, so p is still exact.
        drawn = drawn.join(F.broadcast(lucky), list(key), "left")
        by_class = F.col(BY_CLASS)
        hopeful = by_class.isNotNull() | hopeful
        drawn = drawn.withColumn(P, F.greatest(P, by_class))  # greatest skips null
    return drawn.where(hopeful).where(u < F.col(P)).drop(BY_CLASS)


def _by_split(split: Column, chances: Mapping[Split, Column]) -> Column:
    # A split that isn't sampled has no chance.
    tests = [F.when(split.eqNullSafe(F.lit(name)), chance) for name, chance in chances.items()]
    return F.coalesce(*tests, F.lit(0.0))


def _slice_chance(table: MaskTable, chances: Chances) -> Column:
    """Return the largest chance over a row's slices and all rows."""
    # The largest first, so that the first slice that a row is in decides; one flat CASE is a third
    # of the byte code of a greatest, and the JVM compiles no method of more than 8,000 bytes.
    p: Column | None = None
    higher = sorted(
        ((chance, s) for s, chance in chances.slices.items() if chance > chances.overall),
        key=lambda item: -item[0],
    )
    for chance, equal in groupby(higher, key=lambda item: item[0]):
        for test in table.in_any([s for _, s in equal]):
            p = F.when(test, F.lit(chance)) if p is None else p.when(test, F.lit(chance))
    return F.lit(chances.overall) if p is None else p.otherwise(chances.overall)


def _hopeful(table: MaskTable, u: Column, chances: Mapping[Split, Chances]) -> Column:
    """Tell cheaply that a row may be drawn: its u is low, or a slice of it comes whole."""
    if plain():
        return F.lit(True)
    every = dict.fromkeys(s for c in chances.values() for s in c.slices)
    slices = {s: max(c.slices.get(s, 0.0) for c in chances.values()) for s in every}
    overall = (c.overall for c in chances.values())
    highest = max([*overall, *(chance for chance in slices.values() if chance < 1)])
    hopeful = F.when(u < highest, True)
    for test in table.in_any([s for s, chance in slices.items() if chance >= 1]):
        hopeful = hopeful.when(test, True)
    return hopeful.otherwise(False)


def _class_chance(chances: Chances) -> Column:
    by_class = F.array(*map(F.lit, chances.classes), F.lit(0.0))
    has_class = F.col(LABEL).between(0, len(chances.classes) - 1)
    return F.when(has_class, F.get(by_class, F.col(LABEL))).otherwise(0.0)


def hash_split(
    df: DataFrame,
    key: Sequence[str],
    shares: Mapping[str, float],
    seed: int,
    group: str | None = None,
) -> Column:
    """Return a split for each row of a table that has none, as text.

    A row's split depends on the hash of its key, or of its group where one is named, so no two
    splits share either. Rows without a group are split by key. It is another hash than the draw's.

    Parameters
    ----------
    df
        The table.
    key
        Columns that name a row.
    shares
        Split to its share of the keys (or groups); together 1.
    seed
        Another seed is another split.
    group
        Column of the group that a row belongs to.

    Raises
    ------
    SampleError
        If shares don't add up to 1.
    """
    total = sum(shares.values())
    if abs(total - 1) > 1e-9 or any(s < 0 for s in shares.values()):  # noqa: PLR2004 - rounding
        raise no_shares(shares)
    seed = -1 - seed  # never that of a draw, which is 0 or more
    u = unit_interval_column(df, key, seed)
    if group is not None:
        of_group = unit_interval_column(df, [group], seed)
        u = F.when(quoted(group).isNotNull(), of_group).otherwise(u)
    bounds = zip(shares, accumulate(shares.values()), strict=True)
    tests = [F.when(u < bound, name) for name, bound in bounds]
    return F.coalesce(*tests, F.lit(list(shares)[-1]))  # where rounding leaves a gap


def stored_counts(coverage: DataFrame, masks: str, ids: Sequence[str]) -> dict[Split, Counts]:
    """Return each split's counts as labelling stored them; empty where it stored none.

    Parameters
    ----------
    coverage
        The coverage table.
    masks
        The mask table's identity.
    ids
        The mask table's slices; counts that lack one are no use.
    """
    if "mask_identity" not in coverage.columns:  # an earlier version of the engine wrote it
        return {}
    by_split: dict[Split, dict[str, Any]] = {}
    for r in coverage.where(F.col("mask_identity") == masks).collect():
        by_split.setdefault(r["split"], {})[r["slice"]] = r
    if any(set(ids) - by_slice.keys() for by_slice in by_split.values()):
        return {}
    return {
        split: Counts(next(iter(rows.values()))["n_rows"], {s: rows[s]["n_in"] for s in ids})
        for split, rows in by_split.items()
    }


def counted(masks: DataFrame, ids: Sequence[str], split: str | None) -> dict[Split, Counts]:
    """Count each split's rows and slices, in one scan of the mask table."""
    by_split: dict[Split, list[Coverage]] = {}
    for c in coverage(masks, ids, split):
        by_split.setdefault(c.split, []).append(c)
    return {
        split: Counts(of_split[0].rows, {c.slice_id: c.n_in for c in of_split})
        for split, of_split in by_split.items()
    }


def class_counts(
    labels: DataFrame, table: str, column: str, classes: Sequence[Any]
) -> dict[Split, tuple[int, ...]]:
    """Count each split's rows of each class.

    Parameters
    ----------
    labels
        ``_split``, ``_label`` (class position, as :func:`engine.metrics.scan.joined.class_position`
        has it) and the label itself as ``_value``.
    table, column
        The label's table and column, for the message.
    classes
        The classes.

    Raises
    ------
    TableError
        If a label is none of the classes.
    """
    groups = labels.groupBy(SPLIT, LABEL, F.col(VALUE).cast("string").alias(VALUE)).count()
    rows = groups.where(f"{LABEL} <> -1").collect()
    unknown = sorted({r[VALUE] for r in rows if r[LABEL] < 0})
    if unknown:
        raise unknown_class(table, column, [repr(u) for u in unknown], classes)
    counts: dict[Split, list[int]] = {}
    for r in rows:
        counts.setdefault(r[SPLIT], [0] * len(classes))[r[LABEL]] += r["count"]
    return {split: tuple(n) for split, n in counts.items()}


def check_groups(df: DataFrame, table: str, group: str, split: Column) -> None:
    """Check that no group has rows in two splits; a shuffle of the groups.

    Raises
    ------
    SampleError
        With the first of those that have.
    """
    pairs = df.where(quoted(group).isNotNull()).select(quoted(group), split.alias(SPLIT)).distinct()
    # In structs, for null is left out of a list.
    both = F.sort_array(F.collect_list(F.struct(SPLIT))).alias("_splits")
    twice = pairs.groupBy(quoted(group)).agg(both).where(F.size("_splits") > 1)
    first = twice.orderBy(quoted(group)).limit(1).collect()
    if first:
        name = key_text(first[0].asDict(), [group])
        raise SampleError(
            f"{twice.count():,} groups of {group!r} in {table} have rows in more than one split, "
            f"the first is {name} in {listed([split_name(s[0]) for s in first[0]['_splits']])}; "
            "split by group, or leave split out of the project to have it done"
        )


def collect(
    drawn: DataFrame, inputs: DataFrame, on: Sequence[str], most: int, budget_mb: int
) -> pa.Table:
    """Bring a sample to the driver as Arrow batches, in one table sorted by key.

    Where a guess from the first rows comes near the budget, the sampled rows are measured in Spark
    before any is collected.

    Parameters
    ----------
    drawn
        What :func:`draw` returned, the columns needed only.
    inputs
        The columns of the source that are needed; joined to the sampled rows.
    on
        Columns that name a row in both.
    most
        The most rows to expect.
    budget_mb
        How large the sample may be as Arrow, in 2**20 bytes; sorting takes as much again.

    Raises
    ------
    SampleError
        If it would be larger.
    """
    # Broadcast, the sampled keys and masks spare the source a shuffle. A row of Spark's takes
    # eight bytes a column.
    small = most * 8 * len(drawn.columns) <= _BROADCAST
    joined = inputs.join(F.broadcast(drawn) if small else drawn, list(on))
    guess = most * (_bytes_per_row(drawn) + _bytes_per_row(inputs))
    # Later rows may be longer; where slices overlap, they are fewer.
    if guess > budget_mb * _MB / 2:
        rows, size = _measured(joined)
        if size > budget_mb * _MB:
            raise SampleError(
                f"the sample would take about {size / _MB:,.1f} MB ({rows:,} rows of "
                f"{size / rows:,.0f} bytes), and sample.budget_mb is {budget_mb:,}: lower "
                "sample.overall, per_slice or per_class, or raise the budget; nothing was "
                "collected"
            )
    return joined.toArrow().sort_by([(c, "ascending") for c in on])


def _bytes_per_row(df: DataFrame) -> float:
    probe = df.limit(_PROBED).toArrow()
    return float(probe.nbytes / probe.num_rows) if probe.num_rows else 0.0


def _measured(df: DataFrame) -> tuple[int, float]:
    """Return how many rows a frame has and how many bytes they take as Arrow."""
    columns = [_arrow_bytes(field) for field in df.schema.fields]
    per_row = sum(columns[1:], columns[0])
    rows, size = df.agg(F.count(F.lit(1)), F.sum(per_row)).collect()[0]
    return int(rows), float(size or 0)


def _arrow_bytes(field: StructField) -> Column:
    """Return the bytes that a value takes: a bit that it isn't null, and itself."""
    kind, column = field.dataType.typeName(), quoted(field.name)
    if kind in _ARROW_BYTES:
        return F.lit(1 / 8 + _ARROW_BYTES[kind])
    # An offset and the text; JSON is about as long as what is nested.
    text = column if kind in {"string", "binary"} else F.to_json(F.struct(column))
    return F.lit(1 / 8 + 4) + F.coalesce(F.octet_length(text), F.lit(0))
