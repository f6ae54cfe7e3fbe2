"""The corpus's unseen functions all together, from Delta to the noop sink, against the same loop.

  .venv/bin/python -m tests.benchmarks.bench_corpus_spark

Each domain's rows are a Delta table; a run goes through all of them. The loop runs in
``mapInArrow``: of each batch it converts the columns that a function reads once, and calls the
functions one after the other, an exception is undecided. Masks are compared first. The last line
is ``ratio corpus_together: <number>``, seconds of the loop over ours, medians of turns.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from engine import SlicingFunction, compile_slices
from engine.label.plan import MaskPlan
from engine.masks.checks import quoted
from engine.storage.session import open_session
from tests.benchmarks.bench_corpus import ROW_CLASSES, Columns, columns_read, looped
from tests.benchmarks.turns import Claims, medians
from tests.corpus import UNSEEN, Domain, domains, part

ROWS = 1_040_000


@dataclass(frozen=True)
class Side:
    """A domain's functions over its table, both ways."""

    df: DataFrame
    plan: MaskPlan
    rows: Mapping[str, tuple[list[str], int]]

    def ours(self) -> DataFrame:
        """Return the masks as the engine computes them; a fault is null."""
        masked = self.plan.with_faults(self.df)
        columns = self.plan.mask_columns()
        return masked.select(
            *(c.cast("tinyint").alias(s) for c, s in zip(columns, self.plan.ids, strict=True))
        )

    def loop(self) -> DataFrame:
        """Return the masks as a plain Python loop does."""
        sfs, rows = self.plan.sfs, dict(self.rows)
        schema = ", ".join(f"{name_of(sf)} tinyint" for sf in sfs)

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                masks = [_codes(sf, batch, *rows[sf.id]) for sf in sfs]
                yield pa.RecordBatch.from_arrays(masks, [sf.id for sf in sfs])

        needed = dict.fromkeys(c for columns, _ in self.rows.values() for c in columns)
        return self.df.select(*map(quoted, needed)).mapInArrow(run, schema)


def signed(table: pa.Table) -> pa.Table:
    """Return a table with the integers that Spark has."""
    kinds = [_SIGNED.get(field.type, field.type) for field in table.schema]
    return table.cast(pa.schema(zip(table.column_names, kinds, strict=True)))


_SIGNED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}


def name_of(sf: SlicingFunction) -> str:
    return f"`{sf.id}`"


def _codes(sf: SlicingFunction, batch: pa.RecordBatch, read: list[str], kind: int) -> pa.Array:
    columns: Columns = {c: batch[c] for c in read}
    codes = looped(sf, columns, len(batch), ROW_CLASSES[kind](read))
    return pa.array(codes, pa.int8(), mask=codes == -1)


def _kind(sf: SlicingFunction, domain: Domain, read: list[str]) -> int | None:
    """Return the cheapest row that gives the engine's masks; None if none does."""
    table = signed(domain.table).combine_chunks()
    batch = table.to_batches()[0]
    kernel = compile_slices([sf], batch.schema).kernel
    wanted = kernel.run({c: batch[c] for c in batch.schema.names}, len(batch)).masks[sf.id]
    given = {c: batch[c] for c in read}
    for kind, make in enumerate(ROW_CLASSES):
        if (looped(sf, given, len(batch), make(read)) == wanted).all():
            return kind
    return None


def sides(spark: SparkSession, folder: Path, n: int) -> list[Side]:
    """Write each domain's rows, over and over, and return what runs over them."""
    found = []
    for domain in domains():
        rows: dict[str, tuple[list[str], int]] = {}
        for sf in domain.sfs:
            read = columns_read(sf, domain.table)
            kind = _kind(sf, domain, read) if part(sf.name) == UNSEEN else None
            if kind is not None:
                rows[sf.id] = read, kind
        places = np.random.default_rng(7).integers(0, len(domain.table), n)
        place = str(folder / domain.name)
        rows_of = signed(domain.table).take(pa.array(places))
        schema = from_arrow_schema(rows_of.schema, prefer_timestamp_ntz=True)
        spark.createDataFrame(rows_of, schema).write.format("delta").save(place)
        df = spark.read.format("delta").load(place)
        sfs = [sf for sf in domain.sfs if sf.id in rows]
        found.append(Side(df, compile_slices(sfs, df.schema), rows))
    return found


def check(side: Side) -> tuple[SlicingFunction, ...]:
    """Return the functions whose masks are equal, counted in, out and null, in sums by row."""
    counts = []
    for df in (side.ours(), side.loop()):
        counts.append(df.agg(*map(_counted, side.plan.ids)).collect()[0].asDict())
    return tuple(sf for sf in side.plan.sfs if counts[0][sf.id] == counts[1][sf.id])


def _counted(slice_id: str) -> Any:
    column = F.col(slice_id)
    return F.struct(F.sum(column), F.count(column)).alias(slice_id)


def _noop(frames: Sequence[Callable[[], DataFrame]]) -> None:
    for frame in frames:
        frame().write.format("noop").mode("overwrite").save()


def main(arguments: Sequence[str]) -> None:
    n = int(arguments[0]) if arguments else ROWS
    with tempfile.TemporaryDirectory() as folder, open_session("bench_corpus") as spark:
        all_sides = sides(spark, Path(folder), n // 8)
        equal = [check(side) for side in all_sides]
        total = sum(len(side.plan.sfs) for side in all_sides)
        print(f"{sum(map(len, equal))} of {total} functions give equal masks and run, {n:,} rows")
        kept = [
            Side(s.df, compile_slices(sfs, s.df.schema), s.rows)
            for s, sfs in zip(all_sides, equal, strict=True)
        ]
        seconds = medians(
            {
                "a loop in mapInArrow": lambda: _noop([s.loop for s in kept]),
                "the engine": lambda: _noop([s.ours for s in kept]),
            }
        )
        claims = Claims()
        loop, ours = seconds.values()
        claims.ratio("corpus_together", loop / ours)
        claims.tell()


if __name__ == "__main__":
    main(sys.argv[1:])
