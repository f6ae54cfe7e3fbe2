"""What someone may catch, and the sentences that several rooms share.

A class says what kind of thing is wrong. The sentence is written where the facts are: at the
``raise``, or in a small function beside it that returns the error.
"""

from __future__ import annotations

import difflib
import dis
import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


class EngineError(Exception):
    """Base of every error that the engine raises on purpose.

    Attributes
    ----------
    slices
        The ids of the slices whose fault it is, where that is known.
    """

    slices: tuple[str, ...] = ()


class InputError(EngineError, ValueError):
    """Something the user gave can't be used; also a ``ValueError``, as callers expect."""


class ArgumentError(InputError):
    """A call was given something that it can't take."""

    def __init__(
        self, call: str, argument: str, wanted: str, value: object, hint: str = ""
    ) -> None:
        super().__init__(f"{call}: {argument} must be {wanted}, found {shown(value)}{hint}")


class ConfigError(InputError):
    """The project file can't be used."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")


class SliceError(InputError):
    """A slice can't be what it is written as, or can't run as it should."""


class PredicateError(InputError):
    """A SQL predicate isn't taken; the text is a clause that says why, and follows its name."""


class PredicateFaultError(SliceError):
    """A SQL predicate or a Column failed on a row."""


class SliceFaultError(EngineError):
    """A slicing function failed on a row."""

    def __init__(self, name: str, key: str, read: str, cause: str) -> None:
        row = f"row {key}" if key else "a row"
        having = f" having {read}" if read else ""
        super().__init__(f"slice {name!r} failed on {row}{having}: {cause}{self.HOW}")

    HOW = '; fix the function, or set on_error: "null" to leave such rows undecided and count them'

    @classmethod
    def found_in(cls, text: str) -> SliceFaultError | None:
        """Return the error that a text tells among other things.

        >>> text = f"[E] {SliceFaultError('s', 'id=1', '', 'ValueError: no')} SQLSTATE: P0001"
        >>> str(SliceFaultError.found_in(text)).partition(";")[0]
        "slice 's' failed on row id=1: ValueError: no"
        """
        start = re.search(r"slice (['\"]).*?\1 failed on (a row|row )", text)
        end = -1 if start is None else text.find(cls.HOW, start.start())
        if start is None or end < 0:
            return None
        error = cls("", "", "", "")
        error.args = (text[start.start() : end] + cls.HOW,)
        return error


class WorkerError(EngineError):
    """A slicing function ended its worker process, or took more than it may.

    Attributes
    ----------
    death
        What is known of it, for who looks closer.
    """

    death: object = None


class VerifyError(EngineError):
    """A compiled slice and its Python function disagree on a row."""


class FaultBudgetError(EngineError):
    """More rows failed than max_error_rate allows."""


class UnreadableValueError(InputError):
    """A function reads a value that Python can't hold."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(f"the column {column!r} has {what} there, which Python can't read")


class ColumnError(InputError):
    """A column isn't there, can't be told from another, or is of a type that doesn't fit."""


class TableError(InputError):
    """A table, or a file to read one from, isn't there or holds what it must not."""


class StaleError(InputError):
    """Tables, slices or a checkpoint come from versions that don't fit each other."""


class MeanwhileError(EngineError):
    """Somebody else wrote a table while a job was about to."""

    def __init__(self, table: str, new: bool) -> None:
        did = "made" if new else "wrote to"
        super().__init__(
            f"somebody else {did} {table} while this run was writing it, so this run wrote "
            "nothing there; run it again"
        )


class HeldError(EngineError):
    """Another run holds a table that a job would write."""

    def __init__(self, job: str, table: str, holder: str, seconds: float) -> None:
        super().__init__(
            f"{job} can't write {table}: it is held by {holder}; waited {seconds:g} s for it "
            "(runs.wait_seconds). Run it again once that one has ended, or stop that one"
        )


class LostError(EngineError):
    """A run was taken for dead, and another one has its tables."""

    def __init__(self, run: str, by: str) -> None:
        super().__init__(
            f"run {run} gave no sign for so long that another run took its tables: {by}; what "
            "it wrote doesn't count, so run it again"
        )


class MaskError(InputError):
    """A table's masks aren't there or can't be read."""


class MetricError(InputError):
    """A metric, what it is computed from, or what is asked of an evaluation, can't be used."""


class GateError(EngineError):
    """A gate could not judge: there are no figures of what it is asked about."""


class SampleError(InputError):
    """A sample can't be drawn as it is described."""


class SettingError(InputError):
    """A setting of a model, its training, its loaders or its features can't be used."""


class DatasetError(InputError):
    """A data set's rows, labels or features can't be learned from."""


class TrainingError(EngineError):
    """Training went wrong, although what it was given can be used."""


class CheckpointError(InputError):
    """A checkpoint isn't there, can't be read or written, or is another one."""


class CheckpointMissingError(CheckpointError):
    """There is no checkpoint at a path."""

    def __init__(self, path: object, absent: str) -> None:
        super().__init__(
            f"no checkpoint at {str(path)!r}: {absent} is not there; train one first, or correct "
            "the path"
        )


class SetupError(EngineError):
    """Java, a JAR or a module is missing, or executors can't reach a file."""


def interrupts(error: BaseException) -> bool:
    """Tell whether someone pressed Ctrl-C.

    A function that raises KeyboardInterrupt itself fails like any other that raises.

    >>> try:
    ...     raise KeyboardInterrupt
    ... except KeyboardInterrupt as error:
    ...     interrupts(error)
    False
    """
    last = error.__traceback__
    if not isinstance(error, KeyboardInterrupt) or last is None:
        return False
    handler = getattr(signal.getsignal(signal.SIGINT), "__code__", None)  # Spark's, say
    while last.tb_next is not None and last.tb_frame.f_code is not handler:
        last = last.tb_next
    code = last.tb_frame.f_code
    return code is handler or code.co_code[last.tb_lasti] != _RAISE


@contextmanager
def during(what: str) -> Iterator[None]:
    """Note on what fails in this block what was being done; the engine's own errors say it.

    Examples
    --------
    >>> with during("write of t"):
    ...     raise OSError("disk full")
    Traceback (most recent call last):
    OSError: disk full
    write of t
    """
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        error.add_note(what)
        raise


_RAISE = dis.opmap["RAISE_VARARGS"]


def text_of(error: BaseException) -> str:
    """Return what an exception says, which may be of a class of the user's own.

    >>> text_of(ValueError("no"))
    'no'
    """
    try:
        return str(error)
    except BaseException as own:
        if interrupts(own):
            raise
        return "(what it says can't be told)"


def near(word: str, known: Iterable[str]) -> str:
    """Say which known word is nearest, or list a few, as the end of a sentence.

    >>> near("txet", ["text", "label"])
    "; did you mean 'text'?"
    >>> near("zzz", ["text", "label"])
    '; known: label, text'
    """
    words = sorted(set(known))
    match = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    match = match or [w for w in words if w.lower() == word.lower()]
    if match:
        return f"; did you mean {match[0]!r}?"
    return f"; known: {listed(words)}" if words else ""


def listed(items: Sequence[object], most: int = 10) -> str:
    """Join items with commas, the first ``most`` of them.

    >>> listed([1, 2, 3], most=2)
    '1, 2 and 1 more'
    """
    shown = ", ".join(str(i) for i in items[:most])
    return shown if len(items) <= most else f"{shown} and {len(items) - most} more"


def brief(value: object, most: int = 80) -> str:
    """Show a value on one line, cut where it is long.

    >>> brief("a"), brief(list(range(100)), most=12)
    ("'a'", '[0, 1, 2,...')
    """
    text = " ".join(repr(value).split())
    if " object at 0x" in text:
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shown(value: object, most: int = 60) -> str:
    """Show what was given in a message: a value as Python writes it, anything larger by its type.

    >>> shown("abc"), shown([1, 2]), shown(len), shown({})
    ("'abc'", '[1, 2]', "the function 'len'", '{}')
    """
    kind = type(value)
    if isinstance(value, type):
        return f"the class {value.__name__!r}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the function {value.__name__!r}"
    module = kind.__module__.partition(".")[0]
    if hasattr(value, "columns"):  # Spark looks for any other name among a table's columns
        return f"a {module} {kind.__name__}"
    if hasattr(value, "dtype"):
        single = getattr(value, "shape", None) == ()  # a number of numpy's
        return str(value) if single else f"a {module} {kind.__name__}"
    text = repr(value)
    if " at 0x" in text:
        return f"a {kind.__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def no_such_mask(slice_id: str, known: Iterable[str], of: str = "the mask table") -> MaskError:
    """Return the error of a slice that a mask table, or what is derived from one, lacks."""
    return MaskError(f"{of} has no slice {slice_id!r}{near(slice_id, known)}")


def missing_column(who: str, column: str, columns: Iterable[str]) -> ColumnError:
    """Return the error of a slice, key or setting that names a column that isn't there."""
    return ColumnError(f"{who}: there is no column {column!r}{near(column, columns)}")


def duplicate_column(column: str, count: int) -> ColumnError:
    """Return the error of a name that several columns have."""
    return ColumnError(
        f"{count} columns of the table are called {column!r}, so it can't be told which one is "
        "meant; give each column a name of its own"
    )


def unknown_class(
    table: str, column: str, values: Sequence[str], classes: Sequence[Any]
) -> TableError:
    """Return the error of values that are none of the classes."""
    return TableError(
        f"column {column!r} of {table} has values that are not in classes {list(classes)}: "
        f"{listed(values, 5)}"
    )


def not_finite(column: str, n: int, rows: Sequence[str]) -> DatasetError:
    """Return the error of a numeric feature with NaN or infinity."""
    return DatasetError(
        f"numeric feature {column!r} is NaN or infinite on {n:,} rows, the first are "
        f"{'; '.join(rows)}; correct them, or make them null, which is a value of its own"
    )


def no_shares(shares: Mapping[str, float]) -> SampleError:
    """Return the error of splits' shares that are none."""
    each = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    return SampleError(f"sample.shares must be positive and add up to 1, found {each}")
