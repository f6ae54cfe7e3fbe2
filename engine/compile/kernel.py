"""Slicing functions run over one batch of rows: what an executor does, and a driver too.

Needs numpy, pandas and pyarrow alone. All row functions of a run share one list of rows, and one
result of each preprocessor per row.
"""

from __future__ import annotations

import contextlib
import copy
import traceback
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.errors import PreprocessorReturnError
from engine.slicing.functions import Preprocessor, SliceKind, SlicingFunction, series_parameters
from engine.slicing.rows import MutableRow, Row, TracedRow, has_containers, isolated

IN, OUT, NULL = np.int8(1), np.int8(0), np.int8(-1)
MEMO_SIZE = 100_000  # distinct inputs a memoized preprocessor remembers, per Python worker

SHOWN = 60  # characters of a value in a message

# What a slicing function may return, and the mask it means. bool first: it is nearly always that.
_MASK_OF: dict[Any, int] = {True: 1, False: 0, -1: -1}
_RETURNS = (bool, int, np.bool_, np.integer)


@dataclass(frozen=True)
class Fault:
    """One row on which one slicing function failed.

    Attributes
    ----------
    slice_id
        The slice.
    row
        Position in the batch.
    read
        The columns that the function read, with the values found, as text.
    cause
        The exception's type, message and place, or what was returned.
    """

    slice_id: str
    row: int
    read: str
    cause: str


@dataclass(frozen=True)
class BatchMasks:
    """Masks of one batch: ``[n]`` int8 per slice id (1 in, 0 out, -1 null), and the faults.

    A faulted row's mask is null.
    """

    masks: Mapping[str, np.ndarray]
    faults: Sequence[Fault]


class _Undecided:
    """Stands for a row on which a preprocessor failed."""

    __slots__ = ("error", "read")

    def __init__(self, error: Exception, read: str | None) -> None:
        self.error, self.read = error, read  # read is None where a column it read is null


class Kernel:
    """The row and vectorised slicing functions of a run, ready for batches.

    Parameters
    ----------
    sfs
        Slicing functions of the kinds ROW and PANDAS.

    Examples
    --------
    >>> kernel = Kernel([SlicingFunction("short", lambda x: len(x.text) < 3)])
    >>> out = kernel.run({"text": pa.array(["a", "abc", None])})
    >>> out.masks["short"].tolist(), len(out.faults)
    ([1, 0, -1], 0)
    """

    def __init__(self, sfs: Sequence[SlicingFunction]) -> None:
        self.sfs = tuple(sfs)
        self._memos: dict[int, OrderedDict[Hashable, dict[str, Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"sfs": self.sfs, "_memos": {}}

    def run(self, columns: Mapping[str, pa.Array], n: int | None = None) -> BatchMasks:
        """Run all functions over Arrow columns of equal length."""
        n = len(next(iter(columns.values()))) if n is None else n
        by_row = any(sf.kind is SliceKind.ROW for sf in self.sfs)
        lists = {c: python_values(array) for c, array in columns.items()} if by_row else {}
        return self.run_values(
            lists, {c: null_series(a) for c, a in columns.items() if c in self.series}, n
        )

    def run_values(
        self, lists: Mapping[str, Sequence[Any]], series: Mapping[str, pd.Series], n: int
    ) -> BatchMasks:
        """Run row functions over Python values and vectorised ones over Series, by column."""
        names = list(lists)
        values = zip(*lists.values(), strict=True) if names else ((),) * n
        out = self.run_rows([Row(dict(zip(names, v, strict=True))) for v in values])
        masks, faults = dict(out.masks), list(out.faults)
        for sf in self.sfs:
            if sf.kind is SliceKind.PANDAS:
                masks[sf.id] = _run_series(sf, series, n, faults)
        return BatchMasks({sf.id: masks[sf.id] for sf in self.sfs}, faults)

    @property
    def series(self) -> frozenset[str]:
        """Columns that vectorised functions take."""
        return frozenset(
            column
            for sf in self.sfs
            if sf.kind is SliceKind.PANDAS and sf.f is not None
            for column in series_parameters(sf.f, sf.resources)
        )

    def run_rows(self, rows: Sequence[Any]) -> BatchMasks:
        """Run the row functions over rows: :class:`Row` or any object that they can read."""
        states: dict[tuple[int, ...], list[Any]] = {(): list(rows)}
        masks: dict[str, np.ndarray] = {}
        faults: list[Fault] = []
        for sf in self.sfs:
            if sf.kind is SliceKind.ROW:
                state = self._state(sf.chain, states)
                masks[sf.id] = _run_rows(sf, state, rows, faults)
        return BatchMasks(masks, faults)

    def _state(
        self, chain: tuple[Preprocessor, ...], states: dict[tuple[int, ...], list[Any]]
    ) -> list[Any]:
        """Return the rows after a chain of preprocessors, each run once per batch."""
        done = tuple(id(p) for p in chain)
        if done not in states:
            before = self._state(chain[:-1], states)
            source = states[()]
            run = self._memoized(chain[-1]) if chain[-1].memoize else _run_preprocessor
            states[done] = [
                _preprocess(run, chain, x, raw) for x, raw in zip(before, source, strict=True)
            ]
        return states[done]

    def _memoized(self, p: Preprocessor) -> Callable[[Preprocessor, Any], Any]:
        """Return a runner that keeps what ``p`` added to a row, per distinct input."""
        from engine.compile.reads import reads

        memo = self._memos.setdefault(id(p), OrderedDict())
        read = reads(p.f)
        fields = None if read.escapes else sorted(read.columns)

        def run(p: Preprocessor, x: Any) -> Any:
            if not isinstance(x, Row):
                return _run_preprocessor(p, x)
            key = p.memoize_key(x) if p.memoize_key else _memo_key(x, fields)
            if key in memo:
                memo.move_to_end(key)
                return Row({**x.asDict(), **isolated(memo[key])})
            after = _run_preprocessor(p, x)
            if len(memo) >= MEMO_SIZE:
                memo.popitem(last=False)
            before = x.asDict()
            memo[key] = {
                k: v for k, v in after.asDict().items() if k not in before or before[k] is not v
            }
            return after

        return run


def python_values(array: pa.Array) -> list[Any]:
    """Return an Arrow array as the Python values that a collected Spark row has.

    Examples
    --------
    >>> python_values(pa.array([1, None], pa.int64()))
    [1, None]
    """
    if pa.types.is_timestamp(array.type) and array.type.unit == "ns":
        array = array.cast(pa.timestamp("us", array.type.tz), safe=False)
    values: list[Any] = array.to_pylist()
    if pa.types.is_nested(array.type):
        return [_nested(v, array.type) for v in values]
    return values


def null_series(array: pa.Array) -> pd.Series:
    """Return an Arrow array as a Series that keeps null apart: nullable dtypes, NA for null.

    Examples
    --------
    >>> null_series(pa.array([1, None])).dtype
    Int64Dtype()
    """
    series: pd.Series = array.to_pandas(types_mapper=_SERIES_DTYPES.get)
    return series


_SERIES_DTYPES: dict[pa.DataType, Any] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.float32(): pd.Float32Dtype(),
    pa.float64(): pd.Float64Dtype(),
    # Python strings: `.str` methods then use Python's `re`, as row functions do.
    pa.string(): pd.StringDtype("python", na_value=pd.NA),
    pa.large_string(): pd.StringDtype("python", na_value=pd.NA),
}


def _nested(value: Any, kind: pa.DataType) -> Any:
    """Give structs attributes and maps keys, as a collected Spark row has them."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return Row({f.name: _nested(value[f.name], f.type) for f in kind})
    if pa.types.is_map(kind):
        return {_nested(k, kind.key_type): _nested(v, kind.item_type) for k, v in value}
    if pa.types.is_nested(kind):
        return [_nested(v, kind.value_type) for v in value]
    return value


def _run_rows(
    sf: SlicingFunction, state: Sequence[Any], source: Sequence[Any], faults: list[Fault]
) -> np.ndarray:
    f, resources, own_copy = sf.f, sf.resources, _isolates(state)
    assert f is not None  # a ROW function has one
    codes = np.empty(len(state), dtype=np.int8)
    for i, x in enumerate(state):
        if type(x) is _Undecided:
            codes[i] = -1
            if x.read is not None:
                faults.append(Fault(sf.id, i, x.read, _cause(x.error)))
            continue
        try:
            y = f(Row(isolated(x.asDict())) if own_copy else x, **resources)
        except Exception as error:
            codes[i] = -1
            read = _null_or_read(source[i], sf)
            if read is not None:
                faults.append(Fault(sf.id, i, read, _cause(error)))
            continue
        if y is True:
            codes[i] = 1
        elif y is False:
            codes[i] = 0
        else:
            codes[i] = _code(sf, i, y, source, faults)
    return codes


def _isolates(state: Sequence[Any]) -> bool:
    """Tell whether a function could change a value in place that the next one reads."""
    return any(isinstance(x, Row) and has_containers(x.__dict__) for x in state)


def _code(sf: SlicingFunction, i: int, y: Any, source: Sequence[Any], faults: list[Fault]) -> int:
    if y is None or y is pd.NA:
        return -1
    if isinstance(y, _RETURNS) and y in _MASK_OF:
        return _MASK_OF[y]
    read = _reads(source[i], sf)
    faults.append(Fault(sf.id, i, _shown(source[i], read), wrong_return(y)))
    return -1


def wrong_return(y: Any) -> str:
    """Say that a function returned something that isn't a mask."""
    return f"it returned {_short(y)} ({type(y).__name__}), not True, False or None"


def _run_preprocessor(p: Preprocessor, x: Any) -> Any:
    if not isinstance(x, Row):
        return p.run_alone(x)
    after = p.f(MutableRow(copy_for_preprocessor(x)))
    if after is None:
        raise PreprocessorReturnError(p.name)
    return Row(after.asDict() if isinstance(after, Row) else dict(vars(after)))


def copy_for_preprocessor(x: Row) -> dict[str, Any]:
    """Copy a row's values for a preprocessor, which may change any of them in place."""
    return {
        k: v if isinstance(v, str | int | float | bytes | type(None)) else copy.deepcopy(v)
        for k, v in x.__dict__.items()
    }


def _preprocess(
    run: Callable[[Preprocessor, Any], Any], chain: tuple[Preprocessor, ...], x: Any, raw: Any
) -> Any:
    if type(x) is _Undecided:
        return x
    try:
        return run(chain[-1], x)
    except Exception as error:
        return _Undecided(error, _null_or_read(raw, lambda row: _run_chain(chain, row)))


def _run_chain(chain: Iterable[Preprocessor], x: Any) -> None:
    for p in chain:
        x = p.run_alone(x)


def _memo_key(x: Row, fields: list[str] | None) -> Hashable:
    values = x.__dict__
    return _hashable({f: values.get(f) for f in fields} if fields is not None else values)


def _hashable(value: Any) -> Hashable:
    """Make a key of a value; values of other types never give equal keys (1 and True, 0 and -0)."""
    if isinstance(value, Mapping):
        return tuple((k, _hashable(v)) for k, v in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return type(value).__name__, tuple(_hashable(v) for v in value)
    if isinstance(value, Row):
        return _hashable(value.asDict())
    if isinstance(value, str):
        return value
    if isinstance(value, float | bytearray):
        return type(value).__name__, repr(value)
    return type(value).__name__, value


def _null_or_read(raw: Any, call: Callable[[Any], Any]) -> str | None:
    """Return None if a column that ``call`` read is null, else what it read, as text."""
    read = _reads(raw, call)
    values = raw.__dict__ if isinstance(raw, Row) else {}
    if any(values.get(name) is None for name in read):
        return None
    return _shown(raw, read)


def _reads(raw: Any, call: Callable[[Any], Any]) -> set[str]:
    """Call again on a row that records reads; only done on rows that failed."""
    read: set[str] = set()
    if isinstance(raw, Row):
        values = raw.asDict()
        with contextlib.suppress(Exception):  # the failure is the one being explained
            call(TracedRow(copy.deepcopy(values), read, set(values)))
    return read


def _shown(raw: Any, read: Iterable[str]) -> str:
    return ", ".join(f"{name}={_short(raw.__dict__[name])}" for name in sorted(read))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _cause(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    # The innermost frame that isn't the engine's is the user's line, or a library it called.
    theirs = [f for f in frames if "/engine/compile/" not in f.filename.replace("\\", "/")]
    place = f" ({theirs[0].filename.rpartition('/')[2]}:{theirs[0].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{place}"


def _run_series(
    sf: SlicingFunction, series: Mapping[str, pd.Series], n: int, faults: list[Fault]
) -> np.ndarray:
    assert sf.f is not None  # a PANDAS function has one
    names = series_parameters(sf.f, sf.resources)
    codes = np.empty(n, dtype=np.int8)
    _fill_series(sf, names, [series[name] for name in names], 0, codes, faults)
    return codes


def _fill_series(
    sf: SlicingFunction,
    names: Sequence[str],
    series: Sequence[pd.Series],
    at: int,
    codes: np.ndarray,
    faults: list[Fault],
) -> None:
    """Run a vectorised function; where it fails, halve the rows until the bad ones are found."""
    n = len(series[0])
    if n == 0:
        return
    assert sf.f is not None  # a PANDAS function has one
    try:
        codes[at : at + n] = _series_codes(
            sf.f(**dict(zip(names, series, strict=True)), **sf.resources), n
        )
    except Exception as error:
        if n > 1:
            half = n // 2
            _fill_series(sf, names, [s.iloc[:half] for s in series], at, codes, faults)
            _fill_series(sf, names, [s.iloc[half:] for s in series], at + half, codes, faults)
            return
        codes[at] = -1
        values = {name: s.iloc[0] for name, s in zip(names, series, strict=True)}
        if not any(v is None or v is pd.NA or v is pd.NaT for v in values.values()):
            cause = str(error) if isinstance(error, _NotAMaskError) else _cause(error)
            faults.append(Fault(sf.id, at, _shown(Row(values), names), cause))


class _NotAMaskError(Exception):
    """A vectorised function returned something that isn't a mask per row."""


def _series_codes(y: Any, n: int) -> np.ndarray:
    """Turn a boolean Series (or array) into mask codes."""
    y = pd.Series(y) if isinstance(y, np.ndarray | list) else y
    if not isinstance(y, pd.Series):
        raise _NotAMaskError(wrong_return(y).replace("True, False or None", "a boolean Series"))
    if len(y) != n:
        raise _NotAMaskError(f"it returned {len(y)} values for {n} rows")
    null = y.isna().to_numpy(dtype=bool)
    known = y[~null]
    if not all(isinstance(v, _RETURNS) and v in _MASK_OF for v in known.unique()):
        bad = next(v for v in known if not (isinstance(v, _RETURNS) and v in _MASK_OF))
        raise _NotAMaskError(wrong_return(bad))
    codes = np.full(n, -1, dtype=np.int8)
    codes[~null] = known.astype("int8").to_numpy()
    return codes
