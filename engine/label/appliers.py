"""The appliers people know from Snorkel: slicing functions over a list, a DataFrame, a Spark table.

Masks come back as -1/0/1 here and nowhere else; -1 is "could not decide" and is out of the slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
import pandas as pd
import pyarrow as pa

from engine.arguments import flag
from engine.arrow.columns import LOCAL, Local
from engine.errors import InputError, SliceError, SliceFaultError
from engine.label.local import BATCH, batches
from engine.run.kernel import BatchMasks, Kernel
from engine.slicing.compositions import with_parts
from engine.slicing.evaluate import codes, field_of, is_combination
from engine.slicing.functions import SlicingFunction, functions
from engine.slicing.ids import same_id
from engine.slicing.rows import Row
from engine.slicing.slices import SliceKind, check_local

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from engine.slicing.expr import Expr


@dataclass(frozen=True)
class ApplierMetadata:
    """What an applier counted: faults per slice name."""

    faults: dict[str, int]


class _Applier:
    """A list of slicing functions, checked."""

    def __init__(self, sfs: Sequence[SlicingFunction]) -> None:
        self.sfs = functions(type(self).__name__, sfs)
        names: dict[str, str] = {}
        for sf in self.sfs:
            if sf.id in names:
                raise same_id(sf.id, names[sf.id], sf.name)
            if sf.name in names.values():
                raise SliceError(
                    f"slice {sf.name!r}: another slice has this name; give one another name"
                )
            names[sf.id] = sf.name
        every = with_parts(self.sfs)  # those of compositions too
        self._functions = [sf for sf in every if sf.expr is None]

    def __repr__(self) -> str:
        return f"{type(self).__name__}, SFs: {[sf.name for sf in self.sfs]}"

    def _require(self, *kinds: SliceKind) -> None:
        check_local(self.sfs)
        for sf in self._functions:
            if sf.kind not in kinds:
                raise SliceError(
                    f"slice {sf.name!r}: a {sf.kind} slice cannot be applied by "
                    f"{type(self).__name__}"
                )

    def _collect(
        self,
        batches: Iterable[tuple[int, int, BatchMasks]],
        n: int,
        index: pd.Index | None,
        fault_tolerant: bool,
        return_meta: bool,
    ) -> Any:
        S = np.recarray(n, dtype=[(sf.name, np.int64) for sf in self.sfs])  # noqa: N806
        names = {sf.id: sf.name for sf in (*self._functions, *self.sfs)}
        counts: dict[str, int] = {}
        for start, n_rows, out in batches:
            for fault in out.faults:
                name, at = names[fault.slice_id], start + fault.row
                if not fault_tolerant:
                    key = f"{at}" if index is None else f"{at} (index {index[[at]].tolist()[0]!r})"
                    raise SliceFaultError(name, key, fault.read, fault.cause)
                counts[name] = counts.get(name, 0) + 1
            for sf in self.sfs:
                S[sf.name][start : start + n_rows] = out.masks[sf.id]
        return (S, ApplierMetadata(counts)) if return_meta else S


class SFApplier(_Applier):
    """Apply row functions to a list of objects (or the rows of a numpy array).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from engine import slicing_function
    >>> @slicing_function()
    ... def big(x):
    ...     return x.num > 42
    >>> S = SFApplier([big]).apply([SimpleNamespace(num=10), SimpleNamespace(num=100)])
    >>> S["big"].tolist()
    [0, 1]
    """

    def apply(
        self,
        data_points: Sequence[Any],
        progress_bar: bool = True,
        fault_tolerant: bool = False,
        return_meta: bool = False,
    ) -> Any:
        """Return the masks of all data points.

        Parameters
        ----------
        data_points
            What the functions are called with, one at a time.
        progress_bar
            Show progress where the output is a terminal.
        fault_tolerant
            Give -1 where a function fails, instead of raising.
        return_meta
            Return ``(S, ApplierMetadata)``.

        Returns
        -------
        np.recarray
            ``[n]`` with one int64 field per slice name: 1 in, 0 out, -1 undecided.

        Raises
        ------
        SliceFaultError
            If a function fails and ``fault_tolerant`` is False.
        """
        odd = isinstance(data_points, (str, bytes, Mapping, type, *get_args(Local)))
        if odd or not (hasattr(data_points, "__len__") and hasattr(data_points, "__getitem__")):
            raise InputError(
                f"what SFApplier takes is of type {type(data_points).__name__}; give a list of "
                "data points, or the table to PandasSFApplier"
            )
        _check_flags("SFApplier.apply", progress_bar, fault_tolerant, return_meta)
        self._require(SliceKind.ROW)
        kernel = Kernel(self._functions)
        made_of = (sf for sf in with_parts(self.sfs) if sf.expr is not None)
        trees = sorted(made_of, key=lambda sf: is_combination(sf.expr))

        def run(start: int) -> tuple[int, int, BatchMasks]:
            points = [_row(x) for x in data_points[start : start + BATCH]]
            out = kernel.run_rows(points)
            for sf in trees:
                tree = cast("Expr", sf.expr)
                out.masks[sf.id] = codes(
                    tree, out.masks, lambda name: [field_of(x, name) for x in points], len(points)
                )
            return start, len(points), out

        parts = (run(start) for start in _starts(len(data_points), progress_bar))
        return self._collect(parts, len(data_points), None, fault_tolerant, return_meta)


class PandasSFApplier(_Applier):
    """Apply row and vectorised functions to a pandas DataFrame, or a table of pyarrow.

    Examples
    --------
    >>> from engine import slicing_function
    >>> @slicing_function()
    ... def short(x):
    ...     return len(x.text) < 3
    >>> df = pd.DataFrame({"text": ["a", "abc", None]})
    >>> PandasSFApplier([short]).apply(df, progress_bar=False)["short"].tolist()
    [1, 0, -1]
    """

    def apply(
        self,
        df: Local,
        progress_bar: bool = True,
        fault_tolerant: bool = False,
        return_meta: bool = False,
    ) -> Any:
        """Return the masks of all rows; see :meth:`SFApplier.apply`.

        A missing value in a text, object, nullable or datetime column is None to a function; in
        a float64 column NaN stays NaN.

        Raises
        ------
        ColumnError
            If a function reads a column that the DataFrame doesn't have.
        SliceFaultError
            If a function fails and ``fault_tolerant`` is False.
        """
        _check_flags("PandasSFApplier.apply", progress_bar, fault_tolerant, return_meta)
        self._require(SliceKind.ROW, SliceKind.PANDAS)
        from engine.label.plan import compile_slices  # imports pyspark, which SFApplier lacks

        if not isinstance(df, Local):
            raise InputError(f"the table is of type {type(df).__name__}; give {LOCAL}")
        parts = batches(compile_slices(self.sfs, df), df, _starts(len(df), progress_bar))
        index = df.index if isinstance(df, pd.DataFrame) else None
        return self._collect(parts, len(df), index, fault_tolerant, return_meta)


class SparkSFApplier(_Applier):
    """Apply slicing functions of any form to a Spark DataFrame, on the executors.

    Examples
    --------
    >>> from engine import where
    >>> SparkSFApplier([where("short", "length(text) < 20")])
    SparkSFApplier, SFs: ['short']
    """

    def apply(self, df: DataFrame) -> DataFrame:
        """Return ``df`` with one BOOLEAN column per slice id added; null is "could not decide".

        Tables of keys to look up are read by name, or by path: Delta unless it ends otherwise.

        Raises
        ------
        EngineError
            As :func:`engine.compile_slices` does, before anything runs. A function that fails on
            a row stops the Spark action that evaluates it, see :meth:`MaskPlan.apply`.
        """
        # They import pyspark, which SFApplier doesn't need.
        from engine.label.lookup_joins import with_own_lookups
        from engine.label.plan import compile_slices
        from engine.masks.checks import spark_table

        df = spark_table("SparkSFApplier.apply", "df", df, stream=True)
        looked_up, added = with_own_lookups(df, self.sfs)
        masked: DataFrame = compile_slices(self.sfs, looked_up.schema).apply(looked_up)
        return masked.drop(*added)


def slice_dataframe(df: Local, slicing_function: SlicingFunction) -> Local:
    """Return the rows of a DataFrame, or of a table of pyarrow, that are in a slice.

    Examples
    --------
    >>> from engine import slicing_function
    >>> @slicing_function()
    ... def short(x):
    ...     return len(x.text) < 3
    >>> slice_dataframe(pd.DataFrame({"text": ["a", "abc", None]}), short).text.tolist()
    ['a']
    """
    functions("slice_dataframe", [slicing_function])
    S = PandasSFApplier([slicing_function]).apply(df, progress_bar=False)  # noqa: N806
    rows = np.flatnonzero(S[slicing_function.name] == 1)
    try:
        return df.iloc[rows] if isinstance(df, pd.DataFrame) else df.take(rows)
    except pa.ArrowNotImplementedError:  # some types can be cut, but not taken from
        if isinstance(df, pd.DataFrame):
            return pd.concat([df.iloc[:0], *(df.iloc[r : r + 1] for r in rows.tolist())])
        table = pa.table(df)
        parts = pa.concat_tables([table.slice(0, 0), *(table.slice(r, 1) for r in rows.tolist())])
        if isinstance(df, pa.Table):
            return parts
        return pa.RecordBatch.from_arrays(
            [column.combine_chunks() for column in parts.columns], schema=df.schema
        )


def _check_flags(call: str, progress_bar: Any, fault_tolerant: Any, return_meta: Any) -> None:
    flag(call, "progress_bar", progress_bar)
    flag(call, "fault_tolerant", fault_tolerant)
    flag(call, "return_meta", return_meta)


def _row(x: Any) -> Any:
    """Return a namespace as the row it is; other data points are called with as they are."""
    return Row(dict(vars(x))) if type(x) is SimpleNamespace else x


def _starts(n: int, progress_bar: bool) -> Iterable[int]:
    """Return batch starts, with a progress bar on a terminal."""
    starts = range(0, n, BATCH)
    if progress_bar:
        from rich.console import Console  # rich is for terminals only: executors lack it
        from rich.progress import track

        console = Console(stderr=True)
        if console.is_terminal:
            return track(starts, "slicing", console=console, transient=True)
    return starts
