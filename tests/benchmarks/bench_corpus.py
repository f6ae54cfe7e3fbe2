"""The corpus's functions, each alone, against a plain Python loop over the same Arrow batch.

  .venv/bin/python -m tests.benchmarks.bench_corpus               the claims: the unseen half
  .venv/bin/python -m tests.benchmarks.bench_corpus worked row    the other half, one by one

Arrow batch to mask, in this process: the CPU time of the loop over ours, medians of 7 runs that
take turns; the functions below the claim's worst are measured once more. The loop converts the
columns that the function reads with ``to_pylist``, makes of each row the cheapest object that gives
the same masks, calls the function, and takes an exception as undecided.

``corpus_lifted`` is the share of functions that are lifted, ``corpus_loop`` the geometric mean over
them, ``corpus_row`` the one over the others, ``corpus_loop_worst`` the worst of all.
``corpus_hand`` is the geometric mean of ten functions of the worked half in pyarrow.compute, as one
would write them by hand (``by_hand.py``), over ours.

The last lines are ``ratio <claim>: <number>``.
"""

from __future__ import annotations

import collections
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from pyspark.sql import Row as SparkRow

from engine import SlicingFunction, compile_slices
from engine.compile.tiers import Tier
from tests.benchmarks.by_hand import HAND
from tests.benchmarks.turns import Claims
from tests.corpus import UNSEEN, WORKED, Domain, domains, part
from tests.corpus.ask import rows_of

ROWS, RUNS, WORST = 20_000, 7, 0.9
Columns = Mapping[str, pa.Array]


class _Noting:
    """A row that notes which of its columns are read."""

    def __init__(self, values: Any, read: set[str]) -> None:
        self._values, self._read = values, read

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            self._read.add(name)
        return getattr(self._values, name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str, default: Any = None) -> Any:
        return getattr(self, name) if name in self._values else default


def columns_read(sf: SlicingFunction, table: pa.Table) -> list[str]:
    """Return the columns that a function reads of any row."""
    read: set[str] = set()
    for x in rows_of(table):
        try:
            _called(sf, _Noting(x, read))
        except Exception:
            continue
    return [c for c in table.column_names if c in read]


def _called(sf: SlicingFunction, x: Any) -> Any:
    for step in sf.chain:
        x = step.f(x)
    assert sf.f is not None
    return sf.f(x, **sf.resources)


# The loop


def _slots(names: Sequence[str]) -> Callable[..., Any]:
    """Return a class of rows with slots, made by text as one would write it."""
    sets = "\n        ".join(f"self.{n} = {n}" for n in names) or "pass"
    arguments = "".join(f", {n}" for n in names)
    scope: dict[str, Any] = {"KeyError": KeyError}
    exec(
        f"class Row:\n"
        f"    __slots__ = {tuple(names)!r}\n"
        f"    def __init__(self{arguments}):\n        {sets}\n"
        f"    def __getitem__(self, name):\n        return getattr(self, name)\n"
        f"    def __contains__(self, name):\n        return name in self.__slots__\n"
        f"    def get(self, name, default=None):\n        return getattr(self, name, default)\n",
        scope,
    )
    made: Callable[..., Any] = scope["Row"]
    return made


def _named(names: Sequence[str]) -> Callable[..., Any]:
    return collections.namedtuple("Row", names)  # type: ignore[misc]


def _open(names: Sequence[str]) -> Callable[..., Any]:
    """Return a class of rows that preprocessors may add to, and a function may look through."""
    cls: Any = _slots(names)
    return type("Row", (cls,), {"__slots__": ("__dict__",)})


def _whole(names: Sequence[str]) -> Callable[..., Any]:
    return lambda *values: SparkRow(**dict(zip(names, values, strict=True)))


ROW_CLASSES = (_slots, _named, _open, _whole)


def _by_name(cls: Any) -> Any:
    """Return a class of tuples whose fields are read by attribute or by name."""

    def item(self: Any, key: Any) -> Any:
        return getattr(self, key) if type(key) is str else tuple.__getitem__(self, key)

    return type(cls.__name__, (cls,), {"__slots__": (), "__getitem__": item})


def _of_struct(kind: pa.StructType) -> Callable[[Any], Any]:
    cls: Any = _by_name(collections.namedtuple("Struct", [f.name for f in kind]))  # type: ignore[misc]
    made = {f.name: of for f in kind if (of := _nested(f.type)) is not None}
    if not made:
        return lambda value: cls(**value)

    def of_nested(value: Any) -> Any:
        inner = {c: None if value[c] is None else of(value[c]) for c, of in made.items()}
        return cls(**(value | inner))

    return of_nested


def _nested(kind: pa.DataType) -> Callable[[Any], Any] | None:
    """Return what makes of a value what functions read: None where ``to_pylist`` gives it."""
    if pa.types.is_struct(kind):
        return _of_struct(kind)
    if pa.types.is_map(kind):
        return dict
    if pa.types.is_list(kind) and (of := _nested(kind.value_type)):
        return lambda value: [None if v is None else of(v) for v in value]
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        zone = ZoneInfo(kind.tz)
        return lambda value: value.astimezone(zone) if value.tzinfo is None else value
    return None


def _pylist(array: pa.Array) -> list[Any]:
    values = array.to_pylist()
    of = None if pa.types.is_timestamp(array.type) else _nested(array.type)
    return values if of is None else [None if v is None else of(v) for v in values]


def looped(sf: SlicingFunction, columns: Columns, n: int, row: Any) -> np.ndarray:
    """Run a function over a batch as one would by hand."""
    f, steps, resources, out = sf.f, [p.f for p in sf.chain], sf.resources, []
    assert f is not None
    values = zip(*map(_pylist, columns.values()), strict=True) if columns else [()] * n
    if steps or resources:
        for one in values:
            try:
                x = row(*one)
                for step in steps:
                    x = step(x)
                out.append(f(x, **resources))
            except Exception:
                out.append(None)
    else:
        for one in values:
            try:
                out.append(f(row(*one)))
            except Exception:
                out.append(None)
    return np.array([-1 if y is None else y for y in out], np.int8)


# Measured


@dataclass(frozen=True)
class Measured:
    """A function's times over a batch."""

    sf: SlicingFunction
    lifted: bool
    loop: float
    ours: float

    @property
    def ratio(self) -> float:
        return self.loop / self.ours

    def __str__(self) -> str:
        per_row = 1e6 / ROWS
        where = "columns" if self.lifted else "rows"
        return (
            f"{self.ratio:7.2f}  loop {self.loop * per_row:7.2f} us  "
            f"ours {self.ours * per_row:7.2f} us  {where:7s}  {self.sf.name}"
        )


def batch_of(table: pa.Table) -> pa.RecordBatch:
    """Return a table's rows, over and over, in an order of their own."""
    places = np.random.default_rng(7).integers(0, len(table), ROWS)
    whole = table.take(pa.array(places)).combine_chunks()
    return whole.to_batches()[0]


def _runs(sf: SlicingFunction, domain: Domain, batch: pa.RecordBatch) -> tuple[Any, Any, bool]:
    """Return the loop and our way, which say the same, and whether it is lifted."""
    plan = compile_slices([sf], batch.schema)
    kernel, crossing = plan.kernel, plan.crossing
    own = {c: batch[c] for c in crossing}

    def ours() -> np.ndarray:
        return kernel.run(own, ROWS).masks[sf.id]

    expected, read = ours(), columns_read(sf, domain.table)
    given = {c: batch[c] for c in read}
    for make in ROW_CLASSES:
        row = make(list(given))
        codes = looped(sf, given, ROWS, row)
        if (codes == expected).all():
            loop = functools.partial(looped, sf, given, ROWS, row)
            return loop, ours, plan.tiers[sf.id] is not Tier.ROW
    differs = np.flatnonzero(codes != expected)
    raise AssertionError(f"{sf.name}: {batch.slice(int(differs[0]), 1).to_pylist()}")


def measured(sf: SlicingFunction, domain: Domain, batch: pa.RecordBatch) -> Measured:
    """Measure a function; once more where it is among the worst."""
    loop, ours, lifted = _runs(sf, domain, batch)
    for _ in range(2):
        seconds: list[tuple[float, float]] = []
        for _ in range(RUNS):
            seconds.append((_cpu(loop), _cpu(ours)))
        found = Measured(sf, lifted, *map(statistics.median, zip(*seconds, strict=True)))
        if found.ratio >= WORST:
            break
    return found


def _cpu(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measurements(half: str, only: str = "") -> Iterator[Measured]:
    """Measure the functions of a half; those that aren't lifted where only rows are asked for."""
    for domain in domains():
        batch = batch_of(domain.table)
        for sf in domain.sfs:
            if part(sf.name) != half:
                continue
            if only and (compile_slices([sf], batch.schema).tiers[sf.id] is Tier.ROW) != (
                only == "row"
            ):
                continue
            yield measured(sf, domain, batch)


def by_hand() -> Iterator[float]:
    """Yield how many times the engine's the CPU time of a function by hand is, masks compared."""
    for domain in domains():
        batch = batch_of(domain.table)
        columns = {c: batch[c] for c in batch.schema.names}
        for sf in domain.sfs:
            if sf.name not in HAND or part(sf.name) != WORKED:
                continue
            hand = functools.partial(HAND[sf.name], columns)
            _, ours, _ = _runs(sf, domain, batch)
            codes = [-1 if y is None else int(y) for y in hand().to_pylist()]
            assert codes == ours().tolist(), sf.name
            turns = [(_cpu(hand), _cpu(ours)) for _ in range(3 * RUNS)]
            ratio = statistics.median(a for a, _ in turns) / statistics.median(b for _, b in turns)
            print(f"{ratio:7.2f}  {sf.name}, by hand over ours", flush=True)
            yield ratio


def main(arguments: Sequence[str]) -> None:
    half = WORKED if WORKED in arguments else UNSEEN
    only = next((a for a in arguments if a in ("row", "lifted")), "")
    found = []
    for one in measurements(half, only):
        found.append(one)
        if half == WORKED:  # what is slow in the other half nobody looks at
            print(one, flush=True)
    claims, lifted = Claims(), [m.ratio for m in found if m.lifted]
    others = [m.ratio for m in found if not m.lifted]
    print(f"{len(found)} functions of the {half} half, {ROWS:,} rows each")
    if not only:
        claims.ratio("corpus_lifted", len(lifted) / len(found))
    if lifted:
        claims.ratio("corpus_loop", statistics.geometric_mean(lifted))
    if others:
        claims.ratio("corpus_row", statistics.geometric_mean(others))
    claims.ratio("corpus_loop_worst", min(m.ratio for m in found))
    if not only:
        claims.ratio("corpus_hand", statistics.geometric_mean(by_hand()))
    claims.tell()


if __name__ == "__main__":
    main(sys.argv[1:])
