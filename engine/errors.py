"""Every error a user can meet: one class per cause, each building its own sentence.

Constructors take facts (a slice, a column, what was found), never a finished sentence, so that
the sentence can be tested in one place and the facts stay readable as attributes.
"""

from __future__ import annotations

import difflib
import dis
import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class EngineError(Exception):
    """Base of every error that the engine raises on purpose."""


class InputError(EngineError, ValueError):
    """Something the user gave can't be used; also a ``ValueError``, as callers expect."""


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


_RAISE = dis.opmap["RAISE_VARARGS"]


def near(word: str, known: Iterable[str]) -> str:
    """Say which known word is nearest, or list a few, as the end of a sentence.

    >>> near("txet", ["text", "label"])
    "; did you mean 'text'?"
    >>> near("zzz", ["text", "label"])
    '; known: label, text'
    """
    words = sorted(set(known))
    match = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if not match:
        match = [w for w in words if w.lower() == word.lower()]
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
    if hasattr(value, "columns"):
        return f"a {module} {kind.__name__}"
    if hasattr(value, "dtype"):
        single = getattr(value, "shape", None) == ()  # a number of numpy's
        return str(value) if single else f"a {module} {kind.__name__}"
    said = repr(value)
    if " at 0x" in said:
        return f"a {kind.__name__}"
    return said if len(said) <= most else f"{said[: most - 3]}..."


class ArgumentError(InputError):
    """A call was given something that it can't take."""

    def __init__(
        self, call: str, argument: str, wanted: str, value: object, hint: str = ""
    ) -> None:
        super().__init__(f"{call}: {argument} must be {wanted}, found {shown(value)}{hint}")


class DecoratorParenthesesError(InputError):
    """A decorator was used without its parentheses."""

    def __init__(self, decorator: str, f: object) -> None:
        name = getattr(f, "__name__", repr(f))
        super().__init__(f"@{decorator} on {name} needs parentheses: write @{decorator}()")


class PreprocessorReturnError(InputError):
    """A preprocessor returned nothing, or something without attributes."""

    def __init__(self, name: str, found: Any = None) -> None:
        super().__init__(f"preprocessor {name!r} returned {shown(found)}; it must return the row")


class SliceFormError(InputError):
    """A slicing function is put together in a way that can't run."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"slice {name!r}: {problem}")


class VersionTypeError(InputError):
    """A version that an author gives is neither text nor a whole number."""

    def __init__(self, what: str, name: str, version: object) -> None:
        super().__init__(
            f"{what} {name!r}: the version {shown(version)} is a {type(version).__name__}; "
            "give text or a whole number, such as version=2"
        )


class SliceIdError(InputError):
    """A slice's id can't be a mask column."""

    def __init__(self, name: str, slice_id: str, problem: str) -> None:
        super().__init__(
            f"slice {name!r}: the id {slice_id!r} {problem}; give the slice another id"
        )


class DuplicateSliceError(InputError):
    """Two slices have the same id."""

    def __init__(self, slice_id: str, first: str, second: str) -> None:
        super().__init__(
            f"slices {first!r} and {second!r} have the same id {slice_id!r} (ids are compared "
            "ignoring case); give one of them another id"
        )


class SlicePatternError(InputError):
    """A slicing function uses a regex that doesn't compile."""

    def __init__(self, name: str, pattern: str, problem: str) -> None:
        super().__init__(f"slice {name!r}: the pattern {pattern!r} doesn't compile: {problem}")


class NeedsSparkError(InputError):
    """A slice that only Spark can evaluate was applied to another table."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(
            f"slice {name!r} is a {kind} slice, which only Spark can evaluate: apply it to a "
            "Spark DataFrame"
        )


class TierError(InputError):
    """A slice was to run in a tier that would not give the same answer."""

    def __init__(self, name: str, tier: str, why: str) -> None:
        super().__init__(f"slice {name!r} can't run as {tier!r}: {why}")


class UnknownTierError(InputError):
    """There is no such tier, or no such slice to run in one."""

    def __init__(self, what: str, word: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no {what} {word!r}{near(word, known)}")


class VerifyError(EngineError):
    """A compiled slice and its Python function disagree on a row."""

    def __init__(self, name: str, key: str, tier: str, ours: object, python: object) -> None:
        super().__init__(
            f"slice {name!r} on row {key}: its compiled form ({tier}) says {ours}, the Python "
            f"function says {python}; nothing was written. Run it as Python (tiers: "
            f"{{{name}: row}}) and report this as a bug of the engine"
        )


class CompositionError(InputError):
    """The text of a composition can't be read."""

    def __init__(self, text: str, at: int, problem: str) -> None:
        super().__init__(
            f"the composition {text!r} can't be read: {problem} at character {at + 1}; it is made "
            "of slice ids, &, |, ~ and parentheses"
        )


class UnknownSliceError(InputError):
    """A composition names a slice that isn't there."""

    def __init__(self, name: str, slice_id: str, known: Iterable[str]) -> None:
        super().__init__(
            f"slice {name!r} is composed of {slice_id!r}, which is no slice's id"
            f"{near(slice_id, known)}"
        )


class CompositionCycleError(InputError):
    """Slices are composed of each other."""

    def __init__(self, ids: Sequence[str]) -> None:
        first, *others = ids[:-1]  # the last is the first again
        super().__init__(
            f"slices are composed of each other: {' -> '.join(ids)}; take one of them out of the "
            "circle"
            if others
            else f"slice {first!r} is composed of itself; take it out of its own text"
        )


class ValueTypeError(InputError):
    """Slices by value were asked of values that can't be slices."""

    def __init__(self, column: str, found: str) -> None:
        super().__init__(
            f"column {column!r} can't be sliced by value: it is of type {found}; use text, a "
            "boolean, a whole number, a date or a float, or cast it in the source"
        )


class ValueMismatchError(InputError):
    """Given values are of another type than their column."""

    def __init__(self, column: str, kind: str, found: str, values: Sequence[object]) -> None:
        super().__init__(
            f"column {column!r} is {kind}, and its values to slice by are given as {found}: "
            f"{listed([repr(v) for v in values], 3)}; write them as the column has them (YAML "
            "reads no, yes, on and off as booleans unless they are quoted)"
        )


class LookupTypeError(InputError):
    """A column and the keys it is looked up in are of different types."""

    def __init__(self, name: str, column: str, kind: str, keys: str, key_kind: str) -> None:
        super().__init__(
            f"slice {name!r}: column {column!r} is {kind}, and {keys} are {key_kind}; a look-up "
            "takes text, whole numbers, booleans, dates, DECIMAL or timestamps, both sides of one "
            "type: cast one of them"
        )


class KeyTypeError(InputError):
    """A key column's type has no canonical text."""

    def __init__(self, column: str, kind: str) -> None:
        super().__init__(
            f"key column {column!r} is {kind}, which can't be a key: use a string, integer, "
            "boolean, date, timestamp or DECIMAL(p,0), or cast it in the source"
        )


class PartitionValueError(InputError):
    """A value of a partition column can't be one of the table's."""

    def __init__(
        self, table: str, column: str, problem: str, cause: str, n: int, rows: int, first: str
    ) -> None:
        super().__init__(
            f"partition column {column!r} of {table} {problem} on {n:,} of {rows:,} rows, the "
            f"first is {first}: {cause}; give it another value in the source, or leave the column "
            "out of partition_by"
        )


class CaseError(InputError):
    """Two columns' names differ in case alone, which Spark doesn't tell apart."""

    def __init__(self, table: str, column: str, other: str) -> None:
        super().__init__(
            f"column {column!r} of {table} can't be told from {other!r}, as Spark looks at no "
            "case: rename one in the source, or set spark.sql.caseSensitive under spark"
        )


class LayoutFixedError(InputError):
    """A mask table was to change its layout."""

    def __init__(self, table: str, stored: str, wanted: str) -> None:
        super().__init__(
            f"the masks in {table} are {stored} and the project's layout is {wanted}, but a mask "
            f"table's layout is fixed when it is made: set layout to {stored} or auto, or remove "
            "the table to have it made again"
        )


class WordColumnError(InputError):
    """A column has the name of a word of a packed mask table."""

    def __init__(self, column: str) -> None:
        super().__init__(
            f"column {column!r} has the name of a word of the packed mask table: rename it in the "
            "source, leave it out of carry, or set layout to boolean"
        )


class NoSuchMaskError(InputError):
    """A mask table, or what was made of one, has no such slice."""

    def __init__(self, slice_id: str, known: Iterable[str], of: str = "the mask table") -> None:
        super().__init__(f"{of} has no slice {slice_id!r}{near(slice_id, known)}")


class JavaMissingError(EngineError):
    """Spark would find no Java."""

    def __init__(self, java_home: str | None, install: str) -> None:
        found = (
            f"JAVA_HOME is {java_home!r}, which has no bin/java: correct or unset it, or"
            if java_home
            else "JAVA_HOME is not set and there is no java on PATH:"
        )
        super().__init__(f"Spark needs Java 17 or 21, and {found} install one with `{install}`")


class JavaUnsupportedError(EngineError):
    """The Java that Spark would use is not one that it can use."""

    def __init__(self, java: str, version: int | None, install: str) -> None:
        found = "does not run" if version is None else f"is version {version}"
        super().__init__(
            f"Spark needs Java 17 or 21, and {java} {found}: install one with `{install}`, "
            "and set JAVA_HOME to its folder"
        )


class DemoDataError(InputError):
    """A folder does not hold the five YouTube comment files."""

    def __init__(self, folder: object, found: str, files: Sequence[str]) -> None:
        super().__init__(
            f"can't read the YouTube comments in {str(folder)!r}: {found}; it must hold "
            f"{listed(files)}, each with the columns COMMENT_ID, AUTHOR, DATE, CONTENT and CLASS"
        )


class MissingColumnError(InputError):
    """A slice, key or setting names a column that the table doesn't have."""

    def __init__(self, who: str, column: str, columns: Iterable[str]) -> None:
        super().__init__(f"{who}: there is no column {column!r}{near(column, columns)}")


class DuplicateColumnError(InputError):
    """Several columns of a table have the name that is read."""

    def __init__(self, column: str, count: int) -> None:
        super().__init__(
            f"{count} columns of the table are called {column!r}, so it can't be told which one is "
            "meant; give each column a name of its own"
        )


class TableTypeError(InputError):
    """Something was given as a table that isn't one."""

    def __init__(self, what: str, found: object, wanted: str) -> None:
        super().__init__(f"{what} is of type {type(found).__name__}; give {wanted}")


class PredicateError(InputError):
    """A SQL predicate or Column can't be a slice."""

    def __init__(self, name: str, text: str, problem: str) -> None:
        super().__init__(f"slice {name!r}: the predicate {text!r} {problem}")


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


class UnreadableValueError(InputError):
    """A function reads a value that Python can't hold."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(f"the column {column!r} has {what} there, which Python can't read")


class SliceDepthError(InputError):
    """Spark's stack ends before a slice does."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"slice {name!r} is nested too deeply for Spark, whose stack is used up; write it with "
            "fewer parentheses, as a Python function, or give the driver a larger stack "
            "(spark.driver.extraJavaOptions: -Xss16m)"
        )


class FaultBudgetError(EngineError):
    """More rows failed than max_error_rate allows."""

    def __init__(
        self,
        over: Sequence[tuple[str, int, int]],
        budget: float,
        examples: Sequence[str],
        undone: str,
    ) -> None:
        rates = listed([f"{s!r} on {n:,} of {rows:,} rows" for s, n, rows in over], 5)
        shown = f" For example: {'; '.join(examples)}." if examples else ""
        super().__init__(
            f"more slicing functions failed than max_error_rate={budget:g} allows: {rates}; "
            f"{undone}.{shown}"
        )


class ExecutorImportError(EngineError):
    """Executors lack a module."""

    def __init__(self, module: str) -> None:
        super().__init__(
            f"Spark's executors cannot import {module!r}: pass the zip of `make dist` with "
            "--py-files for the engine, and install what slicing functions import on every worker"
        )


class ScoringImportError(EngineError):
    """Executors lack a module that scoring needs."""

    def __init__(self, module: str) -> None:
        super().__init__(
            f"Spark's executors cannot import {module!r}: pass the zip of `make dist` with "
            "--py-files for the engine, and install torch, scikit-learn and safetensors on every "
            "worker"
        )


class CheckpointUnreachableError(EngineError):
    """Executors can't read a checkpoint that the driver can."""

    def __init__(self, path: object, cause: str) -> None:
        super().__init__(
            f"Spark's executors cannot read the checkpoint at {str(path)!r} ({cause}): keep it "
            "on storage that all of them share, or send it along with --send"
        )


class UnpicklableSliceError(InputError):
    """A slicing function can't travel to executors."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(
            f"slice {name!r} cannot be sent to executors: {cause}; make its resources and globals "
            "picklable, or build them inside the function"
        )


class LabelTypeError(InputError):
    """A data set's label is not a tensor."""

    def __init__(self, label: str, found: type) -> None:
        super().__init__(
            f"label {label!r} is of type {found.__name__}, and must be a torch.Tensor: "
            "wrap it with torch.as_tensor"
        )


class FieldLengthsError(InputError):
    """The fields and labels of a data set are not equally long."""

    def __init__(self, dataset: str, lengths: Mapping[str, int]) -> None:
        found = listed([f"{name} has {length:,}" for name, length in lengths.items()])
        super().__init__(
            f"the fields and labels of data set {dataset!r} differ in length: {found}; "
            "give each one value per row"
        )


class TaskLabelsMissingError(InputError):
    """A data set has no labels for the model's task."""

    def __init__(self, task: str, dataset: str, labels: Sequence[str]) -> None:
        super().__init__(
            f"data set {dataset!r} has no labels for task {task!r}; its labels are "
            f"{listed(labels) or 'none'}: name them so in Y_dict, or give the model their task_name"
        )


class MaskLengthError(InputError):
    """Slice masks and data set are not equally long."""

    def __init__(self, masks: int, dataset: str, rows: int) -> None:
        super().__init__(
            f"S has {masks:,} rows and data set {dataset!r} has {rows:,}: "
            "apply the slicing functions to the rows of this data set"
        )


class SliceMasksMissingError(InputError):
    """Slices of the model have no mask."""

    def __init__(self, missing: Sequence[str], fields: Sequence[str]) -> None:
        super().__init__(
            f"S has no mask for {listed([repr(name) for name in missing])}, which the model has; "
            f"its masks are {listed(fields)}: apply the slicing functions of the model's slices"
        )


class MaskValueError(InputError):
    """A mask holds something that is neither in, out nor undecided."""

    def __init__(self, name: str, value: object, row: int) -> None:
        super().__init__(
            f"the mask of slice {name!r} holds {value!r} in row {row}; a mask is 1 (in), 0 (out) "
            "or -1 (could not be decided)"
        )


class DuplicateHeadError(InputError):
    """A classifier was given a slice name twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f"slice_names has {name!r} twice; each slice has one head")


class TrainerSettingError(InputError):
    """A trainer's setting has a value that it can't have."""

    def __init__(self, setting: str, value: object, wanted: str) -> None:
        given = repr(str(value)) if isinstance(value, Path) else brief(value)  # a path is whole
        super().__init__(f"Trainer: {setting} is {given}{wanted}")


class TrainerKeywordError(InputError):
    """A trainer was given a setting that it doesn't have."""

    def __init__(self, setting: str, known: Iterable[str]) -> None:
        super().__init__(f"Trainer has no setting {setting!r}{near(setting, known)}")


class SplitError(InputError):
    """A loader's split is none that the trainer was told of."""

    def __init__(self, dataset: str, split: str, splits: Sequence[str]) -> None:
        super().__init__(
            f"data set {dataset!r} is of split {split!r}, and the Trainer knows {listed(splits)}: "
            "name the split so, or set train_split, valid_split or test_split"
        )


class TrainSplitMissingError(InputError):
    """No loader holds rows to train on."""

    def __init__(self, train: str, splits: Sequence[str]) -> None:
        super().__init__(
            f"no loader is of the train split {train!r}; the splits given are "
            f"{listed(splits) or 'none'}"
        )


class TextTypeError(InputError):
    """A text is neither text nor null."""

    def __init__(self, value: object, row: int) -> None:
        super().__init__(
            f"row {row} holds {value!r} of type {type(value).__name__} where a text is due: "
            "cast the column to text"
        )


class EmptyVocabularyError(InputError):
    """Texts hold no token to build a vocabulary from."""

    def __init__(self, texts: int, token_pattern: str) -> None:
        super().__init__(
            f"no token in {texts:,} texts matches {token_pattern!r}, so there is no vocabulary: "
            "check the text column, or set another token_pattern"
        )


class BaseSpecError(InputError):
    """A base architecture is described in a way that can't be built."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"base architecture: {problem}")


class CheckpointMissingError(InputError):
    """There is no checkpoint at a path."""

    def __init__(self, path: object, absent: str) -> None:
        super().__init__(
            f"no checkpoint at {str(path)!r}: {absent} is not there; train one first, or correct "
            "the path"
        )


class CheckpointCorruptError(EngineError):
    """A checkpoint can't be read."""

    def __init__(self, path: object, problem: str) -> None:
        super().__init__(
            f"the checkpoint at {str(path)!r} can't be read: {problem}; copy it again, or train "
            "it again"
        )


class CheckpointClassesError(InputError):
    """A checkpoint's classes are not those of its model."""

    def __init__(self, classes: Sequence[object], n_classes: int) -> None:
        super().__init__(
            f"classes are {list(classes)}, and the model has {n_classes}: give the label of each, "
            "in the model's order"
        )


class CheckpointFactsError(InputError):
    """What goes into a checkpoint can't be written as JSON."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the checkpoint can't be written as JSON: {problem}; base, classes, slices and facts "
            "must be texts, numbers, lists and dicts"
        )


class CheckpointFormatError(EngineError):
    """A checkpoint was written in another format."""

    def __init__(self, path: object, found: object, wanted: int) -> None:
        super().__init__(
            f"the checkpoint at {str(path)!r} is of format {found!r}, and this engine reads "
            f"format {wanted}: train it again with this version"
        )


class SingleClassError(InputError):
    """The training rows have no two classes to tell apart."""

    def __init__(self, labels: Sequence[object]) -> None:
        found = f"only the label {listed(labels)}" if labels else "no label"
        super().__init__(
            f"the baseline can't be trained: its rows have {found}, and it takes two classes; "
            "check the label column and the training split"
        )


class NoWordsError(InputError):
    """The training texts hold no word."""

    def __init__(self, column: str, n: int, n_null: int) -> None:
        super().__init__(
            f"the baseline can't be trained: no word of two letters or more in column {column!r} "
            f"({n_null} of {n} training texts are null); check the text column"
        )


class BinarySolverError(InputError):
    """A solver for two classes was given more."""

    def __init__(self, solver: str, n_classes: int) -> None:
        super().__init__(
            f"the solver {solver!r} tells two classes apart and the training labels have "
            f"{n_classes}; use 'lbfgs'"
        )


class BaselineMissingError(InputError):
    """There is no saved baseline in a folder."""

    def __init__(self, folder: object) -> None:
        super().__init__(
            f"there is no baseline in {str(folder)!r}; jobs/train_baseline.py writes one"
        )


class DeltaMissingError(EngineError):
    """Spark-submit was started without Delta's JARs."""

    def __init__(self, package: str) -> None:
        super().__init__(
            "Delta Lake is not on Spark's class path: start spark-submit with "
            f"--packages {package} (or --jars and the JARs themselves)"
        )


class DeltaJarsError(EngineError):
    """Delta's JARs could not be fetched."""

    def __init__(self, package: str, cause: str) -> None:
        super().__init__(
            f"Delta Lake's JARs ({package}) are not on this machine and could not be fetched: "
            f"{cause}; run `make setup` once where Maven Central can be reached"
        )


class TableMissingError(InputError):
    """A table that a job reads isn't there."""

    _MAKERS: Mapping[str, str] = {
        "mask table": "run `python -m jobs.label_slices` first",
        "prediction table": "run the job that makes it first (train_baseline or score_table)",
    }

    def __init__(self, role: str, table: str) -> None:
        hint = self._MAKERS.get(role, "check the project file")
        super().__init__(f"the {role} {table} does not exist or is not a Delta table; {hint}")


class OccupiedPlaceError(InputError):
    """A table would be written among files that aren't its own."""

    def __init__(self, table: str) -> None:
        super().__init__(
            f"{table} holds files that are no Delta table, so none is written there: give another "
            "place, or remove it"
        )


class MeanwhileError(EngineError):
    """Somebody else wrote a table while a job was about to."""

    def __init__(self, table: str, new: bool) -> None:
        did = "made" if new else "wrote to"
        super().__init__(
            f"somebody else {did} {table} while this run was writing it, so this run wrote "
            "nothing there; run it again"
        )


class SourceReadError(InputError):
    """The source can't be read."""

    def __init__(self, table: str, problem: str) -> None:
        super().__init__(f"source {table} can't be read: {problem}")


class SourceEncodingError(InputError):
    """A source's text isn't UTF-8, and nothing says what it is."""

    def __init__(self, table: str, file: str, shown: str) -> None:
        super().__init__(
            f"the source {table!r} is not UTF-8: in {file!r} there are bytes that are none, at "
            f"{shown!r}; say what it is, as in source.options: {{encoding: latin1}}, or "
            "{encoding: utf-8} to read such bytes as \ufffd"
        )


class WherePredicateError(InputError):
    """A partition predicate names something else than partition columns."""

    def __init__(self, where: str, partition_by: Sequence[str], problem: str) -> None:
        known = f"it may name {listed(partition_by)} only: " if partition_by else ""
        super().__init__(f"where={where!r} can't choose partitions: {known}{problem}")


class TaskUnknownError(InputError):
    """A label is remapped to a task that the model doesn't have."""

    def __init__(self, label: str, task: str, known: Iterable[str]) -> None:
        super().__init__(
            f"remap_labels sends label {label!r} to task {task!r}, which the model does not "
            f"have{near(task, known)}"
        )


class UnknownMetricError(InputError):
    """There is no such metric."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown metric {name!r}{near(name, known)}")


class MetricParameterError(InputError):
    """A metric's parameter can't be used."""

    def __init__(self, metric: str, parameter: str, problem: str) -> None:
        super().__init__(f"metric {metric!r}: parameter {parameter!r}: {problem}")


class EmptyLabelsError(InputError):
    """There is nothing to score."""

    def __init__(self) -> None:
        super().__init__("there are no labels to score: golds is empty")


class LengthError(InputError):
    """Arrays that belong together have different lengths."""

    def __init__(self, lengths: Mapping[str, int]) -> None:
        found = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        super().__init__(f"all must have one entry per row, but {found}")


class MetricInputError(InputError):
    """A metric lacks an array."""

    def __init__(self, metric: str, name: str) -> None:
        super().__init__(f"metric {metric!r} needs {name}, which was not given")


class NotBinaryError(InputError):
    """A metric of two classes met others."""

    def __init__(self, metric: str, hint: str) -> None:
        super().__init__(f"metric {metric!r} is for binary problems: {hint}")


class TooManyClassesError(InputError):
    """There are more classes than can be told apart, or shown."""

    def __init__(self, what: str, n: int, most: int) -> None:
        super().__init__(f"{what}: there are {n:,} classes, and at most {most:,} are possible")


class LabelValueError(InputError):
    """A label or prediction isn't what it must be."""

    def __init__(self, name: str, found: object, problem: str) -> None:
        super().__init__(f"{name}: {found} is {problem}")


class ProbabilityError(InputError):
    """Probabilities have the wrong shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__(
            f"probs must have one row per data point and at least 2 columns, found {tuple(shape)}"
        )


class CheckpointTargetError(InputError):
    """A checkpoint would replace something else."""

    def __init__(self, path: object) -> None:
        super().__init__(
            f"{str(path)!r} exists and is no checkpoint, so it is not replaced by one: give "
            "another path, or remove it"
        )


class ModuleImportError(InputError):
    """A module of slicing functions or metrics can't be imported."""

    def __init__(self, module: str, cause: str) -> None:
        super().__init__(f"the module {module!r} can't be imported: {cause}")


class NoSlicesError(InputError):
    """A module has no slicing function."""

    def __init__(self, module: str) -> None:
        super().__init__(
            f"{module!r} has no slicing function; write one with @slicing_function() at the top "
            "level of the module"
        )


class ConfigError(InputError):
    """The project file can't be used."""

    def __init__(self, file: str, problem: str) -> None:
        super().__init__(f"{file}: {problem}")


class EmptyTableError(InputError):
    """A table has no row."""

    def __init__(self, table: str, where: str | None = None) -> None:
        chosen = f" where {where}" if where else ""
        super().__init__(f"{table} has no rows{chosen}; nothing was written")


class AllNullColumnError(InputError):
    """A column that is needed has no value."""

    def __init__(self, table: str, column: str, rows: int, users: Sequence[str]) -> None:
        super().__init__(
            f"column {column!r} of {table} is null on all {rows:,} rows, and is read by "
            f"{listed(users, 5)}; check the source, or leave them out"
        )


class NullKeyError(InputError):
    """A key column is null."""

    def __init__(self, table: str, column: str, n: int, rows: int) -> None:
        super().__init__(
            f"key column {column!r} of {table} is null on {n:,} of {rows:,} rows; every row needs "
            "a key"
        )


class SeveralProblemsError(InputError):
    """Several things are wrong with a table's rows, each with its sentence."""

    def __init__(self, problems: Sequence[InputError]) -> None:
        super().__init__("; besides, ".join(map(str, problems)))


class DuplicateKeyError(InputError):
    """A key names more than one row."""

    def __init__(self, table: str, key: Sequence[str], n: int, examples: Sequence[str]) -> None:
        super().__init__(
            f"the key ({', '.join(key)}) of {table} is not unique: {n:,} keys name more than one "
            f"row, the first are {'; '.join(examples)}"
        )


class MissingPredictionsError(InputError):
    """A prediction table doesn't cover the mask table."""

    def __init__(self, table: str, model: str, n: int, rows: int, examples: Sequence[str]) -> None:
        super().__init__(
            f"{table} has no prediction of model {model!r} for {n:,} of {rows:,} rows of the mask "
            f"table, the first are {'; '.join(examples)}; score them, choose other "
            "evaluate_splits, or set missing_predictions: count (in Python allow_missing=True)"
        )


class UnknownClassError(InputError):
    """A label or prediction is none of the classes."""

    def __init__(
        self, table: str, column: str, found: Sequence[str], classes: Sequence[Any]
    ) -> None:
        super().__init__(
            f"column {column!r} of {table} has values that are not in classes {list(classes)}: "
            f"{listed(found, 5)}"
        )


class PredictionValueError(InputError):
    """A weight or probability of a prediction can't be one."""

    def __init__(
        self, table: str, column: str, n: int, problem: str, examples: Sequence[str]
    ) -> None:
        super().__init__(
            f"column {column!r} of {table} {problem} on {n:,} rows, the first are "
            f"{'; '.join(examples)}; correct them, or make them null"
        )


class PredictionTypeError(InputError):
    """A column of predictions is of a type that can't be what it is for."""

    def __init__(self, table: str, column: str, found: str, wanted: str) -> None:
        super().__init__(
            f"column {column!r} of {table} is {found}, and must be {wanted}: cast it, or name "
            "another one in columns"
        )


class KeyTypesError(InputError):
    """A key is of one type in masks and of another in predictions."""

    def __init__(self, column: str, ours: str, model: str, theirs: str) -> None:
        super().__init__(
            f"key column {column!r} is {ours} in the masks and {theirs} in the predictions of "
            f"{model!r}: cast one of them"
        )


class SplitMissingError(InputError):
    """A split that should be evaluated isn't there."""

    def __init__(self, table: str, split: str | None, known: Iterable[str | None]) -> None:
        super().__init__(f"evaluate_splits: {table} has no split {_no_split(split, known)}")


def _no_split(split: str | None, known: Iterable[str | None]) -> str:
    """Say which split isn't there, and which may have been meant."""
    there = set(known)
    if split is None:
        return (
            f"null: the split of every row is known{near('', (s for s in there if s is not None))}"
        )
    if split == "null" and None in there:
        return "'null', but rows whose split is null: write it as null, without quotes"
    return f"{split!r}{near(split, (s for s in there if s is not None))}"


class QuotaError(InputError):
    """A sampling quota isn't positive."""

    def __init__(self, name: str, value: object) -> None:
        super().__init__(f"sample.{name} must be a positive number of rows, found {brief(value)}")


class SampleKindError(InputError):
    """There is no such way to sample."""

    def __init__(self, kind: object, known: Iterable[str]) -> None:
        super().__init__(f"sample.kind: there is no kind {brief(kind)}{near(str(kind), known)}")


class SlicesChangedError(InputError):
    """Some partitions would get other slices than the rest."""

    def __init__(self, table: str, changed: Sequence[str]) -> None:
        super().__init__(
            f"slices {listed(changed, 5)} changed since {table} was labelled, so labelling some "
            "partitions only would leave the others with the old ones; label all (without --where)"
        )


class PredictionColumnError(InputError):
    """A prediction table's column mapping names something that isn't ours."""

    def __init__(self, table: str, column: str, known: Sequence[str]) -> None:
        super().__init__(
            f"columns of {table}: {column!r} is not a column of prediction tables"
            f"{near(column, known)}"
        )


class SampleColumnError(InputError):
    """A column of the source is named as one that the sample has for itself."""

    def __init__(self, table: str, column: str) -> None:
        super().__init__(
            f"{table}: {column!r} can't be a key or an input of the classifier, as the sample has "
            "a column of that name; rename it in the source"
        )


class PredictionKeyError(InputError):
    """A key or partition column is named as a column that prediction tables have."""

    def __init__(self, table: str, column: str) -> None:
        super().__init__(
            f"{table}: {column!r} can't be a key or partition column, as prediction tables have a "
            "column of that name; rename it in the source"
        )


class ClassOrderError(InputError):
    """Probabilities are in another class order than the project's."""

    def __init__(self, table: str, stored: Sequence[Any], classes: Sequence[Any]) -> None:
        super().__init__(
            f"the probabilities of {table} are in class order {list(stored)}, the project's "
            f"classes are {list(classes)}; score again, or set classes in that order"
        )


class StaleMasksError(InputError):
    """The source changed since it was labelled."""

    def __init__(self, masks: str, source: str, labelled: str, now: str, rows: str = "") -> None:
        # A table that is made again begins with the same version.
        came = "was made again since" if labelled == now else f"is now at version {now}"
        where = f", on {rows}" if rows else ""
        super().__init__(
            f"{masks} was labelled from version {labelled} of {source}, which {came}{where}; run "
            f"`python -m jobs.label_slices` {_again(bool(rows))}, or set on_stale: count"
        )


class StaleRowsError(InputError):
    """Two tables that meet were made from different versions of the source."""

    def __init__(
        self, first: str, second: str, rows: str, jobs: Sequence[str], partly: bool = False
    ) -> None:
        run = " and ".join(f"`python -m jobs.{job}`" for job in jobs)
        super().__init__(
            f"{first}, and {second}: this is so on {rows}; run {run} {_again(partly)}, or set "
            "on_stale: count"
        )


def _again(partly: bool) -> str:
    """Say how jobs are to be run: those that wrote single partitions leave the others as old."""
    return "for all partitions, without --where" if partly else "again"


class CheckpointMixError(InputError):
    """Some partitions would be scored by another checkpoint than the rest."""

    def __init__(self, table: str, stored: str, now: str) -> None:
        super().__init__(
            f"{table} was scored by checkpoint {stored}, and the checkpoint is now {now}: run "
            "without --where, so that all partitions are scored by one model"
        )


class NoPredictionsError(InputError):
    """There is no prediction table to evaluate."""

    def __init__(self, places: Sequence[str]) -> None:
        super().__init__(
            f"there is no prediction table yet, looked at {listed(places)}; run "
            "`python -m jobs.train_baseline` first, or name one under predictions"
        )


class FeatureSpecError(InputError):
    """Features are described in a way that can't be built."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"features: {problem}")


class FeatureTypeError(InputError):
    """A column is of a type that its kind of feature can't read."""

    def __init__(self, column: str, found: str, kind: str, wanted: str) -> None:
        super().__init__(
            f"{kind} feature {column!r} is of type {found}, and must be {wanted}: cast it in the "
            "source, or leave it out"
        )


class NotFiniteError(InputError):
    """A numeric feature holds NaN or infinity."""

    def __init__(self, column: str, n: int, rows: Sequence[str]) -> None:
        super().__init__(
            f"numeric feature {column!r} is NaN or infinite on {n:,} rows, the first are "
            f"{'; '.join(rows)}; correct them, or make them null, which is a value of its own"
        )


class SampleBudgetError(InputError):
    """A sample would take more memory than the driver may give it."""

    def __init__(self, rows: int, bytes_per_row: float, budget_mb: int) -> None:
        takes = rows * bytes_per_row / 2**20
        super().__init__(
            f"the sample would take about {takes:,.1f} MB ({rows:,} rows of {bytes_per_row:,.0f} "
            f"bytes), and sample.budget_mb is {budget_mb:,}: lower sample.overall, per_slice or "
            "per_class, or raise the budget; nothing was collected"
        )


class GroupSplitError(InputError):
    """A group has rows in more than one split."""

    def __init__(self, table: str, group: str, n: int, first: str, splits: Sequence[str]) -> None:
        super().__init__(
            f"{n:,} groups of {group!r} in {table} have rows in more than one split, the first is "
            f"{first} in {listed(splits)}; split by group, or leave split out of the project to "
            "have it done"
        )


class CheckpointSlicesError(InputError):
    """A checkpoint was trained on other slices than the project has."""

    def __init__(self, path: object, differences: str, fix: str) -> None:
        super().__init__(
            f"the slices of the checkpoint at {str(path)!r} are not the project's: "
            f"{differences}; {fix}"
        )


class SampleSharesError(InputError):
    """The splits' shares aren't shares."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        found = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        super().__init__(f"sample.shares must be positive and add up to 1, found {found}")


class BaseWidthError(InputError):
    """A base architecture gives something else than its head_dim says."""

    def __init__(
        self, found: tuple[int, ...] | str, head_dim: int, rows: int | None = None
    ) -> None:
        if rows is not None:
            super().__init__(
                f"base_architecture gives {found[0]} rows for a batch of {rows}: it must give one "
                "row for each, in their order"
            )
            return
        if isinstance(found, str):
            gives = f"a {found}, not a tensor"
        elif len(found) == 2:  # noqa: PLR2004 - [batch, width]
            gives = f"an output {found[1]} wide"
        else:
            gives = f"an output of {len(found)} dimensions, {list(found)}"
        super().__init__(
            f"base_architecture gives {gives}, and head_dim is {head_dim}: the output must be "
            f"[batch, {head_dim}]; change head_dim, or the base's last layer"
        )


class BaseRunError(InputError):
    """A base architecture fails on a batch."""

    def __init__(self, fields: Mapping[str, str], cause: Exception) -> None:
        given = listed([f"{name} {shape}" for name, shape in fields.items()], 5)
        first = str(cause).partition("\n")[0]
        super().__init__(
            f"base_architecture can't read a batch whose fields are {given}: "
            f"{type(cause).__name__}: {first}; change its first layer, the fields, or "
            "input_data_key"
        )


class ArgumentTypeError(InputError):
    """An argument is of another type than the function takes."""

    def __init__(self, name: str, found: object, wanted: str, hint: str = "") -> None:
        kind = type(found).__name__
        what = "None" if found is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
        super().__init__(f"{name} is {what}, and must be {wanted}{hint}")


class LoaderSettingError(InputError):
    """A loader is told something that it can't do."""

    def __init__(self, dataset: str, problem: str) -> None:
        super().__init__(f"the loader of data set {dataset!r}: {problem}")


class EmptyTrainingError(InputError):
    """There is no row, or no label, to learn from."""

    def __init__(self, datasets: Sequence[str], problem: str) -> None:
        super().__init__(
            f"nothing can be learned from data set {listed([repr(d) for d in datasets], 5)}: "
            f"{problem}"
        )


class RowWeightsTypeError(InputError):
    """The field that says what rows count is no tensor."""

    def __init__(self, field: str, found: str) -> None:
        super().__init__(
            f"row_weights or metric_weights names the field {field!r}, which is a {found}, and "
            "must be a torch.Tensor of a number per row"
        )


class RowWeightsMissingError(InputError):
    """Rows lack the field that says what each counts."""

    def __init__(self, field: str, fields: Sequence[str]) -> None:
        super().__init__(
            f"row_weights or metric_weights names the field {field!r}, which the rows do not have; "
            f"their fields are {listed(fields) or 'none'}"
        )


class FieldMissingError(InputError):
    """A batch lacks a field that the base reads."""

    def __init__(self, missing: Sequence[str], fields: Sequence[str]) -> None:
        super().__init__(
            f"the base reads {listed([repr(name) for name in missing])}, which the rows do not "
            f"have; their fields are {listed(fields) or 'none'}: rename them, or set input_data_key"
        )


class ModelSettingError(InputError):
    """A classifier's setting has a value that it can't have."""

    def __init__(self, setting: str, value: object, wanted: str) -> None:
        super().__init__(f"SlicingClassifier: {setting} is {brief(value)}{wanted}")


class LabelRangeError(InputError):
    """A label is none of the classes."""

    def __init__(self, task: str, dataset: str, value: float, row: str, n_classes: int) -> None:
        super().__init__(
            f"label {task!r} of data set {dataset!r} is {value:g} at {row}; labels are 0 to "
            f"{n_classes - 1} (n_classes={n_classes}), or -1 for none"
        )


class SoftLabelShapeError(InputError):
    """Soft labels have the wrong shape."""

    def __init__(
        self,
        task: str,
        dataset: str,
        shape: tuple[int, ...],
        dtype: str,
        wanted: tuple[int, int],
    ) -> None:
        super().__init__(
            f"label {task!r} of data set {dataset!r} is {list(shape)} of {dtype}; soft labels are "
            f"one probability per row and class, {list(wanted)} floats"
        )


class SoftLabelValueError(InputError):
    """Soft labels are not probabilities."""

    def __init__(self, task: str, dataset: str, found: Sequence[float], row: str) -> None:
        values = ", ".join(f"{value:g}" for value in found)
        super().__init__(
            f"label {task!r} of data set {dataset!r} is [{values}] at {row}; a soft label is "
            "probabilities that sum to 1, or all -1 for none"
        )


class NotANumberFeatureError(InputError):
    """Features hold NaN or infinity."""

    def __init__(self, field: str, dataset: str, n: int, rows: Sequence[str]) -> None:
        count = "1 row" if n == 1 else f"{n:,} rows"
        more = f" and {n - len(rows):,} more" if n > len(rows) else ""
        super().__init__(
            f"field {field!r} of data set {dataset!r} is NaN or infinite in {count}: "
            f"{', '.join(rows)}{more}; fill them, or leave these rows out"
        )


class NotANumberLossError(EngineError):
    """Training met a loss that is not finite."""

    def __init__(
        self, step: int, tasks: Sequence[str], rows: Sequence[str] | None, kept: object
    ) -> None:
        batch = f" on the batch {listed(rows, 8)}" if rows else ""
        last = (
            f"the last good state is kept in {str(kept)!r}"
            if kept
            else "the weights are those of the step before"
        )
        super().__init__(
            f"the loss of {listed(tasks, 5)} is not finite at step {step}{batch}; {last}: lower "
            "lr, set grad_clip, or check these rows"
        )


class MonitorError(InputError):
    """The metric to watch in training can't be computed."""

    def __init__(self, monitor: str, problem: str) -> None:
        super().__init__(
            f"monitor {monitor!r} can't be computed: {problem}; it is '<slice>/<metric>' or "
            "'overall/<metric>' on the valid split"
        )


class ResumeError(InputError):
    """A folder holds the state of another training."""

    def __init__(self, folder: object, changed: Sequence[tuple[str, object, object]]) -> None:
        short = {"weights", "trained", "training rows", "validation rows", "slices", "batches"}
        found = listed(
            [
                name if name in short else f"{name} was {before!r} and is {now!r}"
                for name, before, now in changed
            ],
            5,
        )
        super().__init__(
            f"{str(folder)!r} holds the state of another training, so it can't be gone on with: "
            f"these differ: {found}; give another folder, remove it, or set resume=False"
        )


class SharedFolderError(EngineError):
    """Processes that train together found different states."""

    def __init__(self, folder: object, rank: int, epoch: int, first: int) -> None:
        super().__init__(
            f"process {rank} finds training in {str(folder)!r} at epoch {epoch}, and process 0 at "
            f"epoch {first}: the folder must be on storage that all processes share"
        )


class NoMasksError(InputError):
    """A table has no slice."""

    def __init__(self, flags: Sequence[str] = (), argument: str = "slices") -> None:
        end = ""
        if flags:
            names = ", ".join(map(repr, flags[:2]))
            end = (
                f". Its BOOLEAN columns ({listed(flags, 5)}) are not marked as masks, which pandas "
                f"and casts undo: name those that are, {argument}=[{names}]"
            )
        functions = ", or slicing functions as slices=[...]" if argument == "slices" else ""
        super().__init__(
            "the table has no slice masks; give one that label_slices, MaskPlan.apply or "
            f"SparkSFApplier.apply made{functions}{end}"
        )


class MaskColumnError(InputError):
    """A column can't be read as a slice's mask."""

    def __init__(self, slice_id: str, problem: str) -> None:
        super().__init__(
            f"the mask of slice {slice_id!r} can't be read: {problem}; a mask is one BOOLEAN "
            "column (true in, false out, null undecided), or both words of a packed table. To "
            "slice by another column, give slicing functions, as where(...) and by(...) make them"
        )


class MetricDefinitionError(InputError):
    """A metric of the user's own is not what one is made of."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"metric {name!r}: {problem}; @metric takes a function of (y_true, y_pred, y_prob, "
            "weight), or a class with state, merge and compute"
        )


class NoReplicatesError(InputError):
    """Models are to be compared without replicates."""

    def __init__(self) -> None:
        super().__init__("models are compared by replicates: evaluate with n_replicates=200")


class NoSuchModelError(InputError):
    """A model wasn't evaluated."""

    def __init__(self, model: str, known: Iterable[str]) -> None:
        super().__init__(f"model {model!r} was not evaluated{near(model, known)}")


class NotEvaluatedError(InputError):
    """A metric or split wasn't evaluated."""

    def __init__(self, what: str, name: object, known: Iterable[str]) -> None:
        super().__init__(f"{what} {name!r} was not evaluated{near(str(name), known)}")


class MetricCellsError(InputError):
    """A metric isn't made of the cells that are to be shown."""

    def __init__(
        self, metric: str | None, cells: str, known: Sequence[object], example: str
    ) -> None:
        what = "no metric evaluated has any" if metric is None else f"metric {metric!r} has no"
        there = (
            f"of those evaluated {listed(known)} {'has' if len(known) == 1 else 'have'}"
            if known
            else f"evaluate one that has, such as {example!r}"
        )
        super().__init__(f"{what} {cells}; {there}")


class PositiveClassError(InputError):
    """The positive class is none of the classes."""

    def __init__(self, positive: object, classes: Sequence[object]) -> None:
        super().__init__(f"positive={shown(positive)} is none of the classes {list(classes)}")


class SignatureMetricError(InputError):
    """A metric can't be computed from signatures."""

    def __init__(self, metric: str, problem: str) -> None:
        super().__init__(
            f"metric {metric!r} can't be computed from signatures: {problem}; evaluate() can"
        )


class SignatureColumnsError(InputError):
    """Signatures were made without what a confusion counts."""

    def __init__(self, missing: Sequence[str]) -> None:
        names = " and ".join(missing)
        given = ", ".join(f"{name}=..." for name in missing)
        super().__init__(
            f"these signatures hold no {names}, so they have no confusion: make them with {given}"
        )


class SignatureSplitError(InputError):
    """Signatures have no such split."""

    def __init__(self, split: str | None, known: Iterable[str | None]) -> None:
        super().__init__(f"the signatures have no split {_no_split(split, known)}")


class SignatureLimitError(InputError):
    """No number of signatures to keep."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"limit must be a positive number of signatures to keep, found {limit}")
