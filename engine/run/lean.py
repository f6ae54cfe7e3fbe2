"""Row functions over a batch's columns, without rows: one loop, in which fields are arguments.

It is for functions that do nothing with their row but read it (`engine.lift.fields`). What they
answer, and on which rows they fail, is what :mod:`engine.run.kernel` has with a row each.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType, TracebackType
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from engine.errors import interrupts
from engine.lift.changes import known_builtins, may_change
from engine.lift.failures import SureReads
from engine.lift.fields import OfFields, of_fields
from engine.run.row_faults import Place, place_of
from engine.slicing.evaluate import is_mask, is_undecided
from engine.slicing.functions import SlicingFunction
from engine.slicing.source import codes

# An error's type, the instruction that failed, and the code below it and its instruction.
_At = tuple[type[BaseException], int, int, int]


class Failure(NamedTuple):
    """What a function raised and where, and the fields that it surely read before.

    The exception has no traceback: thousands of those, each with its frame, are slow to keep.
    """

    error: BaseException
    place: Place | None
    read: frozenset[str]


@dataclass(frozen=True)
class Answers:
    """What a function said of a batch's rows.

    Attributes
    ----------
    codes
        ``[n]`` int8: 1 in, 0 out, -1 undecided, also where it failed.
    errors
        Row to what it raised, where no null that it surely read is to blame.
    wrong
        Row to what it returned, where that isn't a mask.
    """

    codes: np.ndarray
    errors: Mapping[int, Failure]
    wrong: Mapping[int, Any]


class LeanCall:
    """A function of users' over fields, ready for batches.

    Parameters
    ----------
    f
        The function of a row.
    of
        Its code over fields.
    resources
        What else it is called with.
    """

    def __init__(self, f: Any, of: OfFields, resources: Mapping[str, Any]) -> None:
        self.f = cast("FunctionType", f)  # of_fields takes no other
        self.of, self._resources = of, resources
        self._places: dict[_At, tuple[frozenset[str], Place]] = {}
        self._inner = {id(code): code for code in codes(of.code) if code is not of.code}
        self._changed: dict[Any, frozenset[str]] = {}

    @functools.cached_property
    def _reads(self) -> SureReads:
        return SureReads(self.of)

    def changed(self, kinds: Mapping[str, pa.DataType]) -> frozenset[str]:
        """Return the fields whose values it may change in place, as its globals are now."""
        own = {c: kinds[c] for c in self.of.fields}
        key = known_builtins(self.f), *own.values()
        if key not in self._changed:
            self._changed[key] = may_change(self.of, self.f, own)
        return self._changed[key]

    def call(
        self,
        columns: Mapping[str, Sequence[Any]],
        n: int,
        fail: Callable[[int, BaseException, Place | None, frozenset[str]], None],
    ) -> list[Any] | None:
        """Return what it says of each row; None where calling it with a row fails by itself.

        Parameters
        ----------
        columns
            The fields' values.
        n
            The number of rows.
        fail
            Gets each row on which it fails, what it raised and where, and what was surely read
            before. The answer is None there.
        """
        f = self.of.bound(self.f, self._resources)
        if f is None:
            return None
        values = [columns[c] for c in self.of.fields] or [(None,) * n]
        rows, out = map(f, *values), list[Any]()
        code, inner, places = self.of.code, self._inner, self._places
        while len(out) < n:
            try:
                out.extend(rows)
                if len(out) < n:  # StopIteration, which ends a map without a word
                    out.append(f(*(v[len(out)] for v in values)))
            except BaseException as error:  # sys.exit() too is the row's own
                trace = error.__traceback__.tb_next  # type: ignore[union-attr]
                if trace is None or trace.tb_frame.f_code is not code:
                    read, place = self._unsure(error, trace)
                else:
                    below = trace.tb_next  # a generator of its own, say
                    within = 0 if below is None else id(below.tb_frame.f_code)
                    instruction = below.tb_lasti if within in inner else -1  # type: ignore[union-attr]
                    at = type(error), trace.tb_lasti, within, instruction
                    read, place = places[at] if at in places else self._place(error, at, trace)
                fail(len(out), error.with_traceback(trace), place, read)
                out.append(None)
        return out

    def _place(
        self,
        error: BaseException,
        at: _At,
        trace: TracebackType,
    ) -> tuple[frozenset[str], Place | None]:
        """Return what was surely read before an error, by its type and the place that it is from.

        Of an error that may be someone's who interrupts, or of a variable that has no value yet,
        the place says nothing.
        """
        place = place_of(trace)
        if interrupts(error) or issubclass(at[0], NameError | KeyboardInterrupt) or place is None:
            return self._unsure(error, trace)
        read = self._reads.at(self.of.code, at[1])
        if at[2] in self._inner:
            read |= self._reads.at(self._inner[at[2]], at[3])
        self._places[at] = read, place
        return self._places[at]

    def _unsure(
        self, error: BaseException, trace: TracebackType | None
    ) -> tuple[frozenset[str], Place | None]:
        if interrupts(error):
            raise error
        return frozenset(), place_of(trace)


class LeanFunction(LeanCall):
    """A row function over fields, ready for batches.

    Parameters
    ----------
    sf
        The slicing function.
    of
        Its code over fields.
    """

    def __init__(self, sf: SlicingFunction, of: OfFields) -> None:
        super().__init__(sf.f, of, sf.resources)
        self.sf = sf

    def run(self, columns: Mapping[str, Sequence[Any]], n: int) -> Answers | None:
        """Return what it says of each row; None where calling it with a row fails by itself."""
        errors: dict[int, Failure] = {}

        def fail(row: int, error: BaseException, place: Place | None, read: frozenset[str]) -> None:
            for column in read:
                if columns[column][row] is None:
                    return
            error.__traceback__ = None
            errors[row] = Failure(error, place, read)

        out = self.call(columns, n, fail)
        if out is None:
            return None
        codes, wrong = _codes(out)
        return Answers(codes, errors, wrong)


def lean_function(sf: SlicingFunction, columns: Iterable[str]) -> LeanFunction | None:
    """Return a row function over a table's columns, if it does nothing with its row but read."""
    of = of_fields(sf.f, frozenset(columns))
    return None if of is None else LeanFunction(sf, of)


def _codes(answers: list[Any]) -> tuple[np.ndarray, dict[int, Any]]:
    """Return a code for each answer, and those that are none by their row."""
    kinds = set(map(type, answers))
    if kinds <= {bool, type(None)}:
        known = answers if kinds == {bool} else [_NULL if y is None else y for y in answers]
        return np.frombuffer(bytearray(known), np.int8), {}
    wrong = {i: y for i, y in enumerate(answers) if type(y) is not bool and not is_mask(y)}
    codes = [-1 if i in wrong or is_undecided(y) else int(y) for i, y in enumerate(answers)]
    return np.array(codes, np.int8), wrong


_NULL = 255  # -1, as a byte
