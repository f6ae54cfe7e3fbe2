"""Every tier asked the same: what it says of each row, beside what the function says."""

from __future__ import annotations

import decimal
import functools
import importlib.util
import itertools
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.compile.program import Program
from engine.compile.tiers import Tier
from engine.label import local
from engine.label.local import batches
from engine.label.plan import MaskPlan, compile_slices
from engine.run.kernel import BatchMasks, Kernel
from engine.run.udf import FAULT, FAULTS
from engine.slicing.functions import SlicingFunction
from tests.fuzz import oracle
from tests.fuzz.series import HELPERS
from tests.fuzz.strategies import COLUMNS, HEADER, table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_NUMBERS = itertools.count()
_KEY = "row_number"


@dataclass(frozen=True)
class Suite:
    """Functions, as source and as slicing functions."""

    sources: tuple[str, ...]
    sfs: tuple[SlicingFunction, ...]

    def __len__(self) -> int:
        return len(self.sfs)


@dataclass(frozen=True)
class Mismatch:
    """A row on which a tier doesn't say what the function says."""

    tier: str
    source: str
    row: Mapping[str, Any]
    expected: int
    found: int

    def __str__(self) -> str:
        read = {c: v for c, v in self.row.items() if f"x.{c}" in self.source or f'"{c}"' in
                self.source}  # fmt: skip
        return (
            f"{self.source}\n\non the row {read!r}\n"
            f"Python says: {oracle.WORDS[self.expected]}; "
            f"tier {self.tier} says: {oracle.WORDS[self.found]}"
        )


def load(sources: Sequence[str], folder: Path) -> Suite:
    """Write functions to a module, so that they have a source to be lifted from; import it."""
    name = f"fuzzed_{next(_NUMBERS)}"
    path = folder / f"{name}.py"
    parts = [HEADER, HELPERS, *(s.replace("_N_", str(i)) for i, s in enumerate(sources))]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec.loader.exec_module(module)
    made = [
        SlicingFunction(f"s{i}", getattr(module, f"f{i}"), getattr(module, f"r{i}", None))
        for i in range(len(sources))
    ]
    return Suite(tuple(sources), tuple(made))


def by_oracle(suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask each function of each row: ``[functions, rows]`` int8."""
    xs = oracle.rows_of(columns)
    return np.array([oracle.answers(_f(sf), sf.resources, xs) for sf in suite.sfs], np.int8)


def _f(sf: SlicingFunction) -> Callable[..., Any]:
    """Return a function of a row, which one of Series has beside it."""
    assert sf.f is not None
    law: Callable[..., Any] = getattr(sf.f, "law", sf.f)
    return law


# Tiers without Spark


def by_kernel(suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask the engine's own row tier."""
    given = table(columns)
    arrays = {c: given[c].combine_chunks() for c in given.column_names}
    out = Kernel(suite.sfs).run(arrays, len(given))
    return _codes(suite, [(0, len(given), out)], len(given))


def by_arrow(suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask whole Arrow columns."""
    first = {c: v[:3] for c, v in columns.items()}
    given = pa.concat_tables([table(first), table(columns)]).combine_chunks().slice(len(first["t"]))
    return by_plan(suite, compile_slices(suite.sfs, given.schema, tier="arrow"), given)


def by_given(suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask with a table as users may have it: other types of the same values, uneven chunks."""
    plain = table(columns)
    n = len(plain)
    given = {
        name: _cut(_encoded(plain[name].combine_chunks(), n + i), n + i)
        for i, name in enumerate(plain.column_names)
    }
    return by_plan(suite, compile_slices(suite.sfs, pa.table(given)), pa.table(given))


_TEXTS = (pa.large_string(), pa.string_view(), pa.string())


def _encoded(array: pa.Array, which: int) -> pa.Array:
    kind = array.type
    if which % 2 and not pa.types.is_nested(kind) and not pa.types.is_boolean(kind):
        return array.dictionary_encode()
    return array.cast(_TEXTS[which // 2 % 3]) if pa.types.is_string(kind) else array


def _cut(array: pa.Array, which: int) -> pa.ChunkedArray:
    n = len(array)
    ends = sorted({0, which * 7 % (n + 1), which * 13 % (n + 1), n})
    parts = [array[a:b] for a, b in itertools.pairwise(ends)]
    return pa.chunked_array([array[:0], *parts], array.type)


def by_pandas(suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask with a pandas DataFrame, where each slice gets the tier that it would."""
    given = frame(columns)
    return by_plan(suite, compile_slices(suite.sfs, given), given)


def by_plain(suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask with every fast path off."""
    with mock.patch.dict(os.environ, ENGINE_PLAIN="1"):
        return by_arrow(suite, columns)


def by_composed(suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask compositions that say what their first part says: ``a & (a | b)``, b being the next."""
    given, sfs = table(columns), suite.sfs
    made = [
        (a & (a | ~b)).named(f"composed {i}")
        for i, (a, b) in enumerate(zip(sfs, (*sfs[1:], sfs[0]), strict=True))
    ]
    whole = SlicingFunction.__or__
    made.append(functools.reduce(whole, sfs).named("any of them"))
    plan = compile_slices(made, given.schema)
    codes = np.full((len(sfs), len(given)), 9, np.int8)
    places = {sf.id: i for i, sf in enumerate(sfs)}
    for start, n, out in batches(plan, given, range(0, len(given), 10_000)):
        for i in range(len(sfs)):
            codes[i, start : start + n] = out.masks[made[i].id]
        any_of = codes[:, start : start + n].max(axis=0)
        some = (codes[:, start : start + n] == 1).any(axis=0)
        none = (codes[:, start : start + n] == 0).all(axis=0)
        assert (out.masks[made[-1].id] == np.where(some, 1, np.where(none, 0, -1))).all(), any_of
        for fault in out.faults:
            codes[places[fault.slice_id], start + fault.row] = oracle.FAULT
    return codes


def by_series(suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask functions of Series of a table of Arrow."""
    given = table(columns)
    return by_plan(suite, compile_slices(suite.sfs, given.schema), given)


def null_for_nan(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return rows with null for NaN, as functions of Series have a DataFrame's floats."""
    return {
        c: [None if isinstance(x, float) and x != x else x for x in v]  # noqa: PLR0124
        for c, v in columns.items()
    }


def by_form(name: str, suite: Suite, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
    """Ask a table or frame of one of :data:`FORMS`, in batches of several sizes."""
    given = FORMS[name](columns)
    plan = compile_slices(suite.sfs, given.schema if isinstance(given, pa.Table) else given)
    nothing = given.iloc[:0] if isinstance(given, pd.DataFrame) else given.slice(0, 0)
    assert by_plan(suite, plan, nothing).shape == (len(suite), 0)
    size = max(1, -(-len(given) // 3))
    with mock.patch.object(local, "BATCH", size):
        return _codes(suite, batches(plan, given, range(0, len(given), size)), len(given))


def _texts_as(change: Callable[[pa.ChunkedArray], Any]) -> Callable[..., pa.Table]:
    def made(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        given = table(columns)
        is_text = [pa.types.is_string(given[c].type) for c in given.column_names]
        held = [change(c) if t else c for c, t in zip(given.columns, is_text, strict=True)]
        return pa.table(held, names=given.column_names)

    return made


def _chunked(columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    given, cut = table(columns), len(next(iter(columns.values()))) // 4
    parts = [given.slice(0, cut), given.slice(cut, 0), given.slice(cut, cut), given.slice(2 * cut)]
    return pa.concat_tables(parts)


def _of_arrow(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    found = table(columns).to_pandas(types_mapper=pd.ArrowDtype)
    return found.set_axis([7] * len(found), axis=0)


def _concatenated(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    text = pd.StringDtype(na_value=np.nan)  # what "str" is depends on an option
    given = frame(columns).astype(dict.fromkeys(("t", "u", "t0"), text))
    cut = len(given) // 2
    return pd.concat([given.iloc[:cut], given.iloc[cut:]]).sort_index(kind="stable")


# What a table may be made of besides whole arrays.
FORMS: Mapping[str, Callable[[Mapping[str, Sequence[Any]]], Any]] = {
    "chunks": _chunked,
    "a dictionary": _texts_as(lambda c: c.dictionary_encode()),
    "large strings": _texts_as(lambda c: c.cast(pa.large_string())),
    "string views": _texts_as(lambda c: c.cast(pa.string_view())),
    "a frame of Arrow's columns": _of_arrow,
    "frames put together": _concatenated,
    "categories": lambda columns: frame(columns).astype(dict.fromkeys(("u", "t0"), "category")),
}
NAN_FOR_NULL = frozenset({"frames put together", "categories"})


@contextmanager
def _in_tokyo() -> Iterator[None]:
    with mock.patch.dict(os.environ, TZ="Asia/Tokyo"):
        time.tzset()
        try:
            yield
        finally:
            os.environ.pop("TZ")
            time.tzset()


def _few_digits() -> Any:
    context = decimal.Context(prec=6, rounding=decimal.ROUND_UP)
    return decimal.localcontext(context)


# What a process may be set to, which changes no answer but Python's own.
ENVIRONMENTS: Mapping[str, Callable[[], Any]] = {
    "as it is": nullcontext,
    "another time zone": _in_tokyo,
    "numpy raises": lambda: np.errstate(all="raise"),
    "decimals of few digits": _few_digits,
    "pandas infers strings": lambda: pd.option_context("future.infer_string", True),
    "pandas infers none": lambda: pd.option_context("future.infer_string", False),
}


def by_plan(suite: Suite, plan: MaskPlan, given: pa.Table | pd.DataFrame) -> np.ndarray:
    """Ask a plan of a table, in batches of two sizes."""
    starts = range(0, len(given), 10_000)
    return _codes(suite, batches(plan, given, starts), len(given))


def _codes(suite: Suite, parts: Any, n: int) -> np.ndarray:
    codes = np.full((len(suite), n), 9, np.int8)
    places = {sf.id: i for i, sf in enumerate(suite.sfs)}
    start: int
    out: BatchMasks
    for start, _, out in parts:
        for s, i in places.items():
            part = out.masks[s]
            codes[i, start : start + len(part)] = part
        for fault in out.faults:
            assert codes[places[fault.slice_id], start + fault.row] == oracle.NULL
            codes[places[fault.slice_id], start + fault.row] = oracle.FAULT
    return codes


_PANDAS: Mapping[pa.DataType, Any] = {
    pa.int8(): "Int8", pa.int16(): "Int16", pa.int32(): "Int32", pa.int64(): "Int64",
    pa.float32(): "float32", pa.float64(): "float64", pa.bool_(): "boolean",
    pa.timestamp("us", "UTC"): "datetime64[us, UTC]",
}  # fmt: skip


def frame(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """Return rows as a DataFrame: nullable integers, floats of numpy, text as objects."""
    return pd.DataFrame(
        {c: pd.Series(list(v), dtype=_PANDAS.get(COLUMNS[c], object)) for c, v in columns.items()}
    )


def for_pandas(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return rows as a DataFrame can hold them: a float column has NaN in place of null."""
    return {
        c: [float("nan") if x is None else x for x in v] if pa.types.is_floating(COLUMNS[c])
        else list(v)
        for c, v in columns.items()
    }  # fmt: skip


# Tiers of Spark


def in_spark(spark: SparkSession, given: pa.Table) -> DataFrame:
    """Return a table as a DataFrame whose times without a zone have none."""
    from pyspark.sql.pandas.types import from_arrow_schema

    schema = from_arrow_schema(given.schema, prefer_timestamp_ntz=True)
    return spark.createDataFrame(given, schema)


def by_spark(
    spark: SparkSession,
    suite: Suite,
    columns: Mapping[str, Sequence[Any]],
    tier: str | None,
    words: bool = True,
) -> tuple[np.ndarray, MaskPlan]:
    """Ask Spark, with all slices that may run there in one tier; return the plan too.

    Masks are read as columns and from words, which must say the same.
    """
    given = table(columns).append_column(_KEY, pa.array(range(len(next(iter(columns.values()))))))
    df = in_spark(spark, given)
    plan = compile_slices(suite.sfs, df.schema, tier=tier)
    bits = {sf.id: 3 * i + 1 for i, sf in enumerate(reversed(suite.sfs))}  # gaps, several words
    faulty = plan.with_faults(df)
    as_columns = faulty.select(_KEY, *plan.mask_columns(), *_faults(faulty)).toArrow()
    codes = _read(suite, as_columns)
    if words:
        packed = plan.with_faults(df, bits).select(_KEY, *plan.word_columns(bits)).toArrow()
        _check_words(suite, packed, bits, codes)
    return codes, plan


def _faults(df: Any) -> list[Any]:
    from pyspark.sql import functions as F

    found = f"{FAULTS}.{FAULT}"
    return [F.transform(found, lambda f: f["slice"]).alias(FAULT)] if FAULTS in df.columns else []


def _read(suite: Suite, masks: pa.Table) -> np.ndarray:
    masks = masks.sort_by(_KEY)
    codes = np.empty((len(suite), len(masks)), np.int8)
    for i, sf in enumerate(suite.sfs):
        mask = masks[sf.id].combine_chunks()
        known = mask.is_valid().to_numpy(zero_copy_only=False)
        codes[i] = np.where(known, mask.fill_null(False).to_numpy(zero_copy_only=False), -1)
    if FAULT in masks.column_names:
        places = {sf.id: i for i, sf in enumerate(suite.sfs)}
        for row, slices in enumerate(masks[FAULT].to_pylist()):
            for s in slices or ():
                assert codes[places[s], row] == oracle.NULL
                codes[places[s], row] = oracle.FAULT
    return codes


def _check_words(suite: Suite, words: pa.Table, bits: Mapping[str, int], codes: np.ndarray) -> None:
    words = words.sort_by(_KEY)
    packed = {c: words[c].to_numpy().astype(np.int64) for c in words.column_names if c != _KEY}
    for i, sf in enumerate(suite.sfs):
        k, b = divmod(bits[sf.id], 64)
        member, null = ((packed[f"{kind}_{k}"] >> b) & 1 for kind in ("in", "null"))
        expected = np.where(codes[i] == oracle.FAULT, oracle.NULL, codes[i])
        assert (np.where(null == 1, -1, member) == expected).all(), suite.sources[i]


def in_parts(
    ask: Callable[[Suite, Mapping[str, Sequence[Any]]], np.ndarray],
    size: int,
    suite: Suite,
    columns: Mapping[str, Sequence[Any]],
) -> np.ndarray:
    """Ask a few functions at a time: what they share is answered in other ways then."""
    parts = [
        Suite(suite.sources[at : at + size], suite.sfs[at : at + size])
        for at in range(0, len(suite), size)
    ]
    return np.concatenate([ask(part, columns) for part in parts])


# Verdicts


def mismatches(
    tier: str,
    suite: Suite,
    columns: Mapping[str, Sequence[Any]],
    expected: np.ndarray,
    found: np.ndarray,
) -> Iterator[Mismatch]:
    """Yield the first row of each function on which a tier says otherwise."""
    for i in np.flatnonzero((expected != found).any(axis=1)).tolist():
        row = int(np.flatnonzero(expected[i] != found[i])[0])
        values = {c: v[row] for c, v in columns.items()}
        yield Mismatch(tier, suite.sources[i], values, int(expected[i, row]), int(found[i, row]))


def lifted(plan: MaskPlan, tier: Tier = Tier.ARROW) -> int:
    """Return how many slices run in a tier."""
    return sum(found is tier for found in plan.tiers.values())


@contextmanager
def asked() -> Iterator[list[tuple[int, int]]]:
    """Note of each program's run how many answers it gave, and how many it left to Python."""
    noted: list[tuple[int, int]] = []
    run = Program.run

    def counting(self: Program, *args: Any) -> Any:
        found = run(self, *args)
        noted.append((sum(len(f.members) for f in found),
                      sum(0 if f.ask is None else int(f.ask.sum()) for f in found)))  # fmt: skip
        return found

    with mock.patch.object(Program, "run", counting):
        yield noted
