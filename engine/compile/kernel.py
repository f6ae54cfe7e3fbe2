"""Slicing functions run over one batch of rows: what an executor does, and a driver too.

Needs numpy, pandas and pyarrow alone. All row functions of a run share one list of rows.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.compile.preprocess import Prepared, Preprocessing, Undecided
from engine.compile.values import nan_apart, null_series, python_values
from engine.slicing.functions import SliceKind, SlicingFunction, series_parameters
from engine.slicing.rows import Row, TracedRow, isolated, values_of

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
        self._preprocessing = Preprocessing()

    def __reduce__(self) -> tuple[Any, ...]:
        return Kernel, (self.sfs,)

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
        states: dict[tuple[int, ...], Prepared] = {(): Prepared(rows)}
        masks: dict[str, np.ndarray] = {}
        faults: list[Fault] = []
        for sf in self.sfs:
            if sf.kind is SliceKind.ROW:
                prepared = self._preprocessing.after(sf.chain, states)
                masks[sf.id] = _run_rows(sf, prepared, rows, faults)
        return BatchMasks(masks, faults)


def _run_rows(
    sf: SlicingFunction, prepared: Prepared, source: Sequence[Any], faults: list[Fault]
) -> np.ndarray:
    f, resources, shares = sf.f, sf.resources, prepared.shares
    assert f is not None  # a ROW function has one
    codes = np.empty(len(source), dtype=np.int8)
    for i, x in enumerate(prepared.rows):
        try:
            if type(x) is Undecided:
                raise x.error  # noqa: TRY301 - judged below as the function's own
            y = f(Row(isolated(values_of(x))) if shares and isinstance(x, Row) else x, **resources)
        except Exception as error:
            codes[i] = -1
            read = _reads(sf, prepared, i)
            if not _any_null(source[i], read):
                faults.append(Fault(sf.id, i, _shown(source[i], read), _cause(error)))
            continue
        if y is True:
            codes[i] = 1
        elif y is False:
            codes[i] = 0
        elif y is None or y is pd.NA:
            codes[i] = -1
        elif isinstance(y, _RETURNS) and y in _MASK_OF:
            codes[i] = _MASK_OF[y]
        else:
            codes[i] = -1
            read = _reads(sf, prepared, i)
            faults.append(Fault(sf.id, i, _shown(source[i], read), wrong_return(y)))
    return codes


def _reads(sf: SlicingFunction, prepared: Prepared, i: int) -> set[str]:
    """Return the source's columns that a function read of a row, preprocessors included.

    The function is called again, on a row that records reads; only done on rows that failed.
    """
    read, source = map(set, prepared.trace(i))
    x = prepared.rows[i]
    if isinstance(x, Row) and sf.f is not None:
        with contextlib.suppress(Exception):  # the failure is the one being explained
            sf.f(TracedRow(isolated(values_of(x)), read, source), **sf.resources)
    return read


def _any_null(raw: Any, read: Iterable[str]) -> bool:
    return any(values_of(raw)[name] is None for name in read)


def wrong_return(y: Any) -> str:
    """Say that a function returned something that isn't a mask."""
    return f"it returned {_short(y)} ({type(y).__name__}), not True, False or None"


def _shown(raw: Any, read: Iterable[str]) -> str:
    return ", ".join(f"{name}={_short(values_of(raw)[name])}" for name in sorted(read))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _cause(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    # The outermost frame that isn't the engine's is the line of the user's function.
    theirs = [f for f in frames if "/engine/compile/" not in f.filename.replace("\\", "/")]
    place = f" ({theirs[0].filename.rpartition('/')[2]}:{theirs[0].lineno})" if theirs else ""
    return f"{type(error).__name__}: {error}{place}"


def _run_series(
    sf: SlicingFunction, series: Mapping[str, pd.Series], n: int, faults: list[Fault]
) -> np.ndarray:
    assert sf.f is not None  # a PANDAS function has one
    names = series_parameters(sf.f, sf.resources)
    codes = np.empty(n, dtype=np.int8)
    with nan_apart():
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
        own = {name: s.copy() for name, s in zip(names, series, strict=True)}
        codes[at : at + n] = _series_codes(sf.f(**own, **sf.resources), n)
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
