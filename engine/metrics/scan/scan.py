"""The one scan: all states of all slices, splits and models, added up from Arrow by Spark's tasks.

Each task turns its rows into words and outputs, adds them up with
:mod:`engine.metrics.scan.kernel`, and sends its sums once, in rows of up to 64 slices; Spark adds
these up as integers. So neither partitioning nor order nor a retry changes a bit of any figure.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PythonException
from pyspark.sql import functions as F  # noqa: N812

from engine.errors import NotBinaryError, TooManyClassesError
from engine.masks.reader import read_masks
from engine.masks.splits import ALL, Split, by_split, split_sql
from engine.metrics.catalog import MetricSpec
from engine.metrics.custom import RAISED, CustomMetric, failure
from engine.metrics.formulas.exact import BITS, LOWEST, PLACES, Exact
from engine.metrics.formulas.families import addends_of, family
from engine.metrics.formulas.outputs import MISSING, UNKNOWN_CLASS, Classes, Outputs, least_of
from engine.metrics.formulas.states import State
from engine.metrics.predictions import OURS
from engine.metrics.scan.chunks import CHUNK, Chunk, chunks
from engine.metrics.scan.code import FLAGS as CODE_FLAGS
from engine.metrics.scan.code import MOST_CLASSES, code_sql, flags_in, positions_in
from engine.metrics.scan.direct import Own, reader_of
from engine.metrics.scan.joined import (
    bad_number,
    bad_prob,
    bad_weight,
    has_prediction,
    number,
    position,
    predicted,
    probabilities_type,
)
from engine.metrics.scan.kernel import (
    PLAIN,
    Added,
    Kept,
    Line,
    Masks,
    Work,
    add,
    keep,
    kept_slices,
    scores_bytes,
    scores_from,
)
from engine.metrics.scan.repeats import REPEATED, blocks, key_sql
from engine.plain import plain
from engine.run.ship import Parcel
from engine.sql import name_sql
from engine.storage.files import UNREADABLE
from engine.storage.session import settings
from engine.words import WORD, set_bits, unpacked
from engine.workers import begin

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from engine.hashing import KeyHash

log = logging.getLogger("engine")
EXACT_ROWS = 1_000  # a ranking of no more scored rows is of the scores themselves
MOST_REPLICATED = 1_024  # cells; replicates of a confusion of more classes would fill the memory
# Before each row Spark asks all columns for their bytes, unless there is no limit to a batch's. A
# row has some hundred bytes here, so that the limit to its rows is enough.
_NARROW = {"spark.sql.execution.arrow.maxBytesPerBatch": str(2**31 - 1)}
FLAGS = (*CODE_FLAGS, "unknown_label", "unknown_pred")
_OUT = ("split", "row", "rep", "block")
_NAN = "double('NaN')"
_MOST_SUMS = 64  # in a row that is sent
_SENT = 2**20  # sums in a batch
_GATHERED = 2**24  # sums that the driver adds up itself
_KEY_ROW = -(2**31)  # where hashes of keys are
_PAIR_CELLS = 4  # both models right, only the first, only the second, neither


@dataclass(frozen=True)
class EvaluationSpec:
    """What is evaluated.

    Attributes
    ----------
    metrics
        The metrics.
    slice_ids
        Mask columns.
    classes
        Label values in class order; none where labels are numbers.
    positive
        Position of the positive class.
    split
        The split column, or None.
    weighted
        Whether predictions have weights.
    models
        Model ids, in the order in which their predictions were joined.
    custom
        Metrics of the user's own that have a state.

    Raises
    ------
    NotBinaryError
        If a metric has a threshold or a share, or ranks scores, and there aren't two classes.
    TooManyClassesError
        If there are more classes than a row's code has numbers for.
    """

    metrics: Sequence[MetricSpec]
    slice_ids: Sequence[str]
    classes: Sequence[Any]
    positive: int
    split: str | None = None
    weighted: bool = False
    models: Sequence[str] = ("model",)
    custom: Sequence[CustomMetric] = ()

    def __post_init__(self) -> None:
        if len(self.classes) > MOST_CLASSES:
            raise TooManyClassesError("labels and predictions", len(self.classes), MOST_CLASSES)
        for metric in self.metrics:
            chosen = (metric.parameter("threshold"), metric.parameter("top"))
            binary = any(c is not None for c in chosen) or metric.kind.family == "scores"
            n = len(self.classes)
            if binary and n != 2:  # noqa: PLR2004
                there = "there is 1 class" if n == 1 else f"there are {n} classes"
                raise NotBinaryError(str(metric), there)

    @cached_property
    def labels(self) -> Classes:
        """The classes, as formulas take them."""
        return Classes(tuple(self.classes), self.positive)

    @property
    def replicable(self) -> list[MetricSpec]:
        """The metrics that replicates can be drawn of."""
        return [m for m in self.metrics if family(m).replicated and self._fits(m)]

    def _fits(self, metric: MetricSpec) -> bool:
        counts, _ = addends_of([metric], self.labels)
        return all(c.cells <= MOST_REPLICATED for c in counts)

    def work(self, replicates: int = 0) -> Work:
        """Return what is added up of each model."""
        counts, sums = addends_of(self.metrics, self.labels)
        drawn, _ = addends_of(self.replicable, self.labels) if replicates else ((), ())
        names = frozenset(c.name for c in drawn) - {"rows"}
        if any(m.name == "count" for m in self.metrics) and not self.weighted:
            names -= {"rows"}
        return Work(counts, sums, self.weighted, replicates, names)

    @property
    def columns(self) -> list[str]:
        """What is read of other columns: ``mean:<name>`` and ``null:<name>``."""
        held = {"mean": "mean", "null_rate": "null"}
        found = (f"{held[m.name]}:{m.parameter('column')}" for m in self.metrics if m.name in held)
        return list(dict.fromkeys(found))

    def needs(self, what: str) -> bool:
        """Tell whether a metric is computed from ``prob``, or from ``numbers``."""
        own = any(c.needs == what for c in self.custom)
        return own or any(m.needs == what for m in self.metrics)

    @property
    def ranked(self) -> bool:
        """Whether a metric ranks scores, so that small slices' scores are kept."""
        return any(m.kind.family == "scores" for m in self.metrics)


@dataclass(frozen=True)
class Part:
    """What the scan has of one model in one split.

    Attributes
    ----------
    state
        Of all rows, then of each slice: ``[1 + S, …]``.
    replicates
        The same of each replicate, ``[1 + S, B, …]``; None without.
    kept
        Position among slices (0 is all rows) to the scores of a small one, ``[3, n]``: score,
        whether positive, weight.
    flags
        How many rows have each of :data:`FLAGS`.
    custom
        Metric and position among slices to the tasks' states.
    scored
        Metric of the user's own to how many rows it was given, ``[1 + S]``.
    clusters
        How many clusters there are to draw, ``[1 + S]``; None where rows are drawn.
    """

    state: State
    replicates: State | None
    kept: Mapping[int, np.ndarray]
    flags: Mapping[str, int]
    custom: Mapping[tuple[str, int], list[bytes]] = field(default_factory=dict)
    scored: Mapping[str, np.ndarray] = field(default_factory=dict)
    clusters: np.ndarray | None = None


@dataclass(frozen=True)
class Scan:
    """What one scan added up.

    Attributes
    ----------
    parts
        Model and split to its part.
    nulls
        Split to rows on which slices are undecided, ``[1 + S]``.
    pairs
        Two models and a split to ``[1 + S, 4]`` rows with a label and both predictions: both
        right, only the first, only the second, neither.
    repeats
        Whether a key seems to be null, or to name more than one row.
    """

    parts: Mapping[tuple[str, Split], Part]
    nulls: Mapping[Split, np.ndarray]
    pairs: Mapping[tuple[str, str, Split], np.ndarray]
    repeats: bool = False


@dataclass(frozen=True)
class Form:
    """How rows go to tasks and sums come back; small, and the same on both sides."""

    spec: EvaluationSpec
    replicates: int
    words: int
    bits: tuple[int, ...]
    key: tuple[str, ...] = ()  # columns whose values must not repeat; none where rows aren't joined

    @cached_property
    def work(self) -> Work:
        """What is added up of each model."""
        return self.spec.work(self.replicates)

    @cached_property
    def starts(self) -> dict[Line, int]:
        """Where rows of each count start, and of digits by name, among those of one model."""
        found, at = {}, 0
        for count in self.work.counts:
            found[Line(count.name, PLAIN)] = at
            at += count.cells
        for name, cells in self.work.exact.items():
            found[Line(name, BITS * LOWEST)] = at
            at += cells * PLACES
        found[Line("", PLAIN)] = at  # how many there are
        return found

    def first(self, line: Line, cells: int) -> int:
        """Return where a line's rows start, a count's or a digit's."""
        if line.exponent is PLAIN:
            return self.starts[line]
        place = line.exponent // BITS - LOWEST
        return self.starts[Line(line.name, BITS * LOWEST)] + place * cells

    @property
    def cells(self) -> int:
        """How many rows of sums a model may have."""
        return self.starts[Line("", PLAIN)]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of models."""
        return list(combinations(range(len(self.spec.models)), 2)) if self.spec.classes else []

    # What tasks send as bytes is numbered below 0.
    @property
    def pair_row(self) -> int:
        """Where rows of pairs start, after those of models."""
        return self.cells * len(self.spec.models)

    @property
    def null_row(self) -> int:
        """The row of undecided masks."""
        return self.pair_row + _PAIR_CELLS * len(self.pairs)

    @property
    def flag_row(self) -> int:
        """Where models' flags start, each a row."""
        return self.null_row + 1

    @property
    def scored_row(self) -> int:
        """Where the user's own metrics' supports start."""
        return self.flag_row + len(FLAGS) * len(self.spec.models)

    @cached_property
    def places(self) -> np.ndarray:
        """Where sums are among those of all bits: of all rows, then of each slice."""
        return np.array([self.words * WORD, *self.bits])

    @cached_property
    def place_of(self) -> np.ndarray:
        """The place of each bit's sum among those that are sent; -1 for bits nobody asked for."""
        found = np.full(self.words * WORD + 1, -1)
        found[self.places] = np.arange(len(self.places))
        return found

    @property
    def sent(self) -> int:
        """How many numbers a task sends at most, about."""
        kept = 3 * EXACT_ROWS if self.spec.ranked else 0
        cells = self.work.numbers * (1 + self.replicates) + kept
        return cells * len(self.spec.models) * len(self.places)

    @property
    def blocks(self) -> int:
        """How many rows are sent for all slices."""
        return -(-len(self.places) // _MOST_SUMS)

    @property
    def sums(self) -> list[str]:
        """The columns of sums that a row has: as few as do, all blocks alike."""
        return [f"c_{i}" for i in range(-(-len(self.places) // self.blocks))]


def scan(
    joined: DataFrame,
    spec: EvaluationSpec,
    hashed: KeyHash | None = None,
    replicates: int = 0,
    own: Own | None = None,
    key: Sequence[str] = (),
) -> Scan:
    """Scan joined rows once.

    Parameters
    ----------
    joined
        Mask rows with predictions, from :func:`engine.metrics.scan.joined.join_predictions`.
    spec
        What is evaluated.
    hashed
        The hash that decides how often replicates draw a row: of its key, or of its cluster.
    replicates
        How many there are.
    own
        The rows before ``joined`` was made of them, if they have predictions of their own: their
        files may be read without Spark.
    key
        The columns by which rows were joined, which must name one row each.
    """
    form = replace(form_of(joined, spec, hashed, replicates), key=tuple(key))
    if own is not None and (reader := reader_of(own, form, hashed, CHUNK)) is not None:
        n = len(reader.files.tasks)
        tasks = joined.sparkSession.range(0, n, 1, n)
        try:
            return _added_up(tasks, reader.chunks, form, gathered=n * form.sent <= _GATHERED)
        except PythonException as error:
            if UNREADABLE not in str(error):
                raise
            cause = str(error).partition(UNREADABLE)[2].partition("\n")[0]
            log.warning("%s%s; Spark reads the table instead", UNREADABLE, cause)
    with settings(joined.sparkSession, _NARROW):
        chunked = partial(chunks, words=form.words)
        return _added_up(narrowed(joined, form, hashed), chunked, form)


def _added_up(
    rows: DataFrame,
    chunked: Callable[[Iterable[Any]], Iterable[Chunk]],
    form: Form,
    *,
    gathered: bool = False,
) -> Scan:
    """Add up all rows.

    Parameters
    ----------
    rows
        What Spark gives to tasks.
    chunked
        Makes of it what they take.
    form
        What is added up.
    gathered
        Whether the driver adds up the tasks' sums, which spares Spark another stage.
    """
    sums = ", ".join(f"{c} long" for c in form.sums)
    schema = f"split string, row long, rep int, block int, {sums}, payload binary"
    totals = [f"sum({c}) AS {c}" for c in form.sums]
    if form.key:
        schema += ", keys array<long>"
        totals.append(f"{REPEATED} AS repeated")
    if form.spec.ranked or form.spec.custom:
        few = f"sum({form.sums[0]}) <= {EXACT_ROWS}"
        totals.append(f"IF({few}, collect_list(payload), NULL) AS payload")
    plainly, parcel = plain(), Parcel(form)

    def add_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        begin(plainly)
        task = _Task(parcel.unpack())
        for chunk in chunked(batches):
            task.take(chunk)
        yield from task.sums()

    parts = rows.mapInArrow(add_up, schema)
    if gathered:
        return _arranged(_grouped(parts.toArrow(), form), form)
    return _arranged(parts.groupBy(*_OUT).agg(*map(F.expr, totals)).toArrow(), form)


def _grouped(parts: pa.Table, form: Form) -> pa.Table:
    """Add up tasks' sums, as Spark would."""
    sums: list[tuple[str, str]] = [(c, "sum") for c in form.sums]
    found = parts.group_by(list(_OUT)).aggregate([*sums, ("payload", "list")])
    names = {**{f"{c}_sum": c for c in form.sums}, "payload_list": "payload"}
    return found.rename_columns([names.get(c, c) for c in found.column_names])


def form_of(
    joined: DataFrame, spec: EvaluationSpec, hashed: KeyHash | None = None, replicates: int = 0
) -> Form:
    """Return how rows go to tasks and sums come back; as for :func:`scan`."""
    held = read_masks(joined).words(spec.slice_ids)
    bits = tuple(held.at[s] for s in spec.slice_ids)
    return Form(spec, replicates if hashed else 0, max(1, len(held.in_words)), bits)


def narrowed(joined: DataFrame, form: Form, hashed: KeyHash | None = None) -> DataFrame:
    """Return what tasks read of joined rows."""
    masks = read_masks(joined)
    held = masks.words(form.spec.slice_ids)
    columns = columns_of(joined, form, hashed)
    # Few rows are undecided, so that most have no words to send. They have an empty array instead
    # of none, which is quicker to write than null.
    nulls = f"array({', '.join(held.null_words or ('0L',))})"
    columns["nulls"] = f"IF({held.undecided}, {nulls}, CAST(array() AS ARRAY<BIGINT>))"
    columns |= {f"word_{i}": word for i, word in enumerate(held.in_words or ("0L",))}
    return masks.df.selectExpr(*(f"{sql} AS {name}" for name, sql in columns.items()))


def columns_of(df: DataFrame, form: Form, hashed: KeyHash | None) -> dict[str, str]:
    """Return what tasks read of a row, but for its masks, in SQL."""
    spec = form.spec
    found: dict[str, str] = {}
    if spec.split is not None:
        found["split"] = split_sql(spec.split)
    if form.replicates and hashed is not None:
        found["hash"] = hashed.sql(df)
    if form.key:
        found["key"] = key_sql(form.key)
    for i in range(len(spec.models)):
        found |= {f"{name}_{i}": sql for name, sql in _of_model(df, i, spec).items()}
    for j, name in enumerate(spec.columns):
        kind, _, column = name.partition(":")
        value = name_sql(column)
        found[f"column_{j}"] = (
            f"IF({value} IS NULL, {_NAN}, 0D)"
            if kind == "null"
            else f"COALESCE(CAST({value} AS DOUBLE), {_NAN})"
        )
    return found


def _of_model(df: DataFrame, i: int, spec: EvaluationSpec) -> dict[str, str]:
    numbers = spec.needs("numbers")
    label, weight, pred, prob = (predicted(i, name) for name in OURS)
    flags = {
        "found": has_prediction(i),
        "bad_weight": bad_weight(weight),
        "bad_prob": bad_prob(prob, len(spec.classes)) if spec.classes else "false",
        "bad_number": f"{bad_number(label)} OR {bad_number(pred)}" if numbers else "false",
    }
    positions = {
        name: position(df, i, name, spec.classes)
        if spec.classes
        else f"IF({predicted(i, name)} IS NULL, {MISSING}, 0)"
        for name in ("label", "pred")
    }
    found = {"code": code_sql(flags, positions)}
    if spec.weighted:
        found["weight"] = f"IF({bad_weight(weight)}, 0D, COALESCE({weight}, 1D))"
    if spec.needs("prob") and spec.classes:
        # Not null, as for nulls of masks.
        every = f"COALESCE({prob}, CAST(array() AS {probabilities_type(df, i)}))"
        found["prob"] = every if len(spec.classes) > 2 else f"get({prob}, {spec.positive})"  # noqa: PLR2004
    if numbers:
        for name, value in (("label", label), ("pred", pred)):
            known = f"{value} IS NOT NULL AND NOT {bad_number(value)}"
            found[f"number_{name}"] = f"IF({known}, {number(value)}, {_NAN})"
    return found


class _Task:
    """What one task adds up."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.width = form.words * WORD + 1
        self.added: dict[tuple[Split, int], Added] = {}
        self.kept: dict[tuple[Split, int], Kept] = {}
        self.own: dict[tuple[Split, int, int, int], Any] = {}
        self.rows: dict[tuple[Split, int], np.ndarray] = {}
        self.keys: list[np.ndarray] = []

    def take(self, chunk: Chunk) -> None:
        """Add a chunk, split by split."""
        spec = self.form.spec
        if self.form.key:
            self.keys.append(chunk.numbers("key"))
        if spec.split is None:
            self._take(ALL, chunk)
            return
        coded = chunk.columns.column("split").dictionary_encode(null_encoding="encode")
        at = coded.indices.to_numpy(zero_copy_only=False)
        for i, name in enumerate(coded.dictionary.to_pylist()):
            rows = np.flatnonzero(at == i)
            self._take(name, chunk if len(rows) == len(at) else chunk.take(rows))

    def _take(self, split: Split, chunk: Chunk) -> None:
        form, spec = self.form, self.form.spec
        words = chunk.words
        hashes = chunk.numbers("hash").view(np.uint64) if form.replicates else None
        masks = Masks(words, hashes)
        self._row(split, form.null_row)[:-1] += set_bits(chunk.nulls)
        columns = {name: chunk.numbers(f"column_{j}") for j, name in enumerate(spec.columns)}
        all_outputs = []
        for i in range(len(spec.models)):
            code = chunk.numbers(f"code_{i}")
            outputs = outputs_of(chunk.columns, i, code, spec, columns)
            weight = chunk.numbers(f"weight_{i}") if spec.weighted else None
            all_outputs.append(outputs)
            self._flags(split, i, code, outputs)
            add(self.added.setdefault((split, i), Added()), form.work, masks, outputs, weight)
            if spec.ranked:
                none = Kept(np.zeros(self.width, np.int64))
                keep(self.kept.setdefault((split, i), none), masks, outputs, weight, EXACT_ROWS)
            self._own(split, i, masks, outputs, weight)
        for j, (a, b) in enumerate(form.pairs):
            self._pair(
                split, form.pair_row + j * _PAIR_CELLS, words, all_outputs[a], all_outputs[b]
            )

    def _row(self, split: Split, row: int) -> np.ndarray:
        return self.rows.setdefault((split, row), np.zeros(self.width, np.int64))

    def _flags(self, split: Split, i: int, code: np.ndarray, outputs: Outputs) -> None:
        found = [each.sum() for each in flags_in(code).values()]
        unknown = [(part == UNKNOWN_CLASS).sum() for part in (outputs.label, outputs.pred)]
        for k, n in enumerate((*found, *unknown)):
            self._row(split, self.form.flag_row + i * len(FLAGS) + k)[-1] += n

    def _pair(self, split: Split, row: int, words: np.ndarray, a: Outputs, b: Outputs) -> None:
        held = (a.label >= 0) & (a.pred >= 0) & (b.pred >= 0)
        cell = 2 * (a.pred != a.label) + (b.pred != b.label)
        for k in range(_PAIR_CELLS):
            at = np.flatnonzero(held & (cell == k))
            sums = self._row(split, row + k)
            sums[:-1] += set_bits(words[:, at])
            sums[-1] += len(at)

    def _own(
        self, split: Split, i: int, masks: Masks, outputs: Outputs, weight: np.ndarray | None
    ) -> None:
        """Merge the states of the user's own metrics, slice by slice."""
        for j, metric in enumerate(self.form.spec.custom):
            scored = np.flatnonzero(metric.scored(outputs))
            members = unpacked(masks.words[:, scored].T)
            rows_of = self._row(split, self.form.scored_row + i * len(self.form.spec.custom) + j)
            rows_of[:-1] += members.sum(axis=0, dtype=np.int64)
            rows_of[-1] += len(scored)
            wanted = np.array(self.form.bits, dtype=np.int64)
            for at in (*wanted[members[:, wanted].any(axis=0)], self.width - 1):
                rows = scored if at == self.width - 1 else scored[members[:, at] == 1]
                if not len(rows):
                    continue
                key = (split, i, j, int(at))
                held = self.own.get(key)
                if isinstance(held, bytes):  # it failed here, on other rows
                    continue
                try:
                    state = metric.state_of(outputs, rows, weight)
                    self.own[key] = state if held is None else metric.merged(held, state)
                except RAISED as error:
                    self.own[key] = failure(error)

    def sums(self) -> Iterator[pa.RecordBatch]:
        """Yield all that was added up, leaving out what is 0."""
        form = self.form
        for (split, i), added in self.added.items():
            start, carried = i * form.cells, added.carried()
            for line, total in carried.totals.items():
                first = start + form.first(line, len(total))
                yield from _batches(split, first, -1, total[:, None], form)
            for line, drawn in carried.drawn.items():
                first = start + form.first(line, len(drawn))
                yield from _batches(split, first, 0, drawn.transpose(0, 2, 1), form)
        for (split, row), total in self.rows.items():
            yield from _batches(split, row, -1, total[None, None], form)
        for (split, i), kept in self.kept.items():
            slices = [s for s in kept_slices(kept, EXACT_ROWS) if form.place_of[s[0]] >= 0]
            bytes_ = [None if found is None else scores_bytes(*found) for _, _, found in slices]
            whose, rows = [at for at, _, _ in slices], [n for _, n, _ in slices]
            yield _sent(split, _kept_row(i), whose, rows, bytes_, form)
        for (split, i, j, at), state in self.own.items():
            row = _own_row(form.spec, i, j)
            yield _sent(split, row, [at], [0], [_state_bytes(form.spec.custom[j], state)], form)
        if self.keys:
            yield _of_keys(self.keys, form)


def _state_bytes(metric: CustomMetric, state: Any) -> bytes:
    if isinstance(state, bytes):
        return state
    try:
        return metric.packed(state)
    except RAISED as error:
        return failure(error)


def _kept_row(i: int) -> int:
    return -1 - i


def _own_row(spec: EvaluationSpec, i: int, j: int) -> int:
    return -1 - len(spec.models) * (1 + j) - i


def _batches(
    split: Split, first: int, rep: int, sums: np.ndarray, form: Form
) -> Iterator[pa.RecordBatch]:
    """Yield sums ``[rows, replicates, bits]`` as rows of one block of slices each."""
    at = np.flatnonzero(sums.any(axis=-1))
    width = form.blocks * len(form.sums)
    step = max(1, _SENT // width)
    for start in range(0, len(at), step):
        rows, drawn = np.divmod(at[start : start + step], sums.shape[1])
        full = np.zeros((len(rows), width), dtype=np.int64)
        full[:, : len(form.places)] = sums[rows, drawn][:, form.places]
        blocks = full.reshape(len(rows), form.blocks, -1)
        which, block = np.nonzero(blocks.any(axis=-1))
        if len(which):  # bits that nobody asked for may be all there is
            yield _row_batch(
                split, first + rows[which], rep + drawn[which], block,
                np.ascontiguousarray(blocks[which, block].T),
                pa.nulls(len(which), pa.binary()), form,
            )  # fmt: skip


def _sent(
    split: Split,
    row: int,
    at: Sequence[int],
    n: Sequence[int],
    payload: Sequence[bytes | None],
    form: Form,
) -> pa.RecordBatch:
    """Return what is sent of slices as bytes; where it is a sum, n is the first."""
    place, same = form.place_of[np.array(at, dtype=np.intp)], np.zeros(len(at), np.int32)
    sums = [pa.array(n, pa.int64()), *(pa.nulls(len(at), pa.int64()) for _ in form.sums[1:])]
    return _row_batch(
        split, same + row, same - 1, place, sums, pa.array(payload, pa.binary()), form
    )


def _row_batch(
    split: Split,
    row: np.ndarray,
    rep: np.ndarray,
    block: np.ndarray,
    sums: Iterable[Any],
    payload: pa.Array,
    form: Form,
    keys: pa.Array | None = None,
) -> pa.RecordBatch:
    columns = [
        pa.repeat(pa.scalar(split, pa.string()), len(row)),
        pa.array(row.astype(np.int64)),
        *(pa.array(a.astype(np.int32)) for a in (rep, block)),
        *(a if isinstance(a, pa.Array) else pa.array(a) for a in sums),
        payload,
    ]
    if form.key:
        columns.append(pa.nulls(len(row), pa.list_(pa.int64())) if keys is None else keys)
    return pa.record_batch(columns, [*_OUT, *form.sums, "payload", "keys"][: len(columns)])


def _of_keys(hashes: Sequence[np.ndarray], form: Form) -> pa.RecordBatch:
    """Return hashes of rows' keys as they are sent."""
    block, keys = blocks(hashes)
    n = len(block)
    row, sums = np.full(n, _KEY_ROW), [pa.nulls(n, pa.int64())] * len(form.sums)
    return _row_batch(ALL, row, np.zeros(n), block, sums, pa.nulls(n, pa.binary()), form, keys)


def outputs_of(
    rows: pa.RecordBatch,
    i: int,
    code: np.ndarray,
    spec: EvaluationSpec,
    columns: Mapping[str, np.ndarray],
) -> Outputs:
    """Return a model's outputs on some rows."""
    names, at = set(rows.schema.names), positions_in(code)
    label, pred = at["label"], at["pred"]
    target, predicted_ = (
        rows.column(name).to_numpy(zero_copy_only=False) if name in names else None
        for name in (f"number_label_{i}", f"number_pred_{i}")
    )
    outputs = Outputs(spec.labels, label, pred, None, target, predicted_, columns)
    if f"prob_{i}" not in names:
        return outputs
    prob = rows.column(f"prob_{i}")
    kind = prob.type.value_type if pa.types.is_list(prob.type) else prob.type
    least = least_of(np.empty(0, kind.to_pandas_dtype()))
    return replace(outputs, prob=_prob(prob, len(spec.classes)), least=least)


def _prob(column: pa.Array, n_classes: int) -> np.ndarray:
    """Return probabilities ``[n, C]``, or the positive class's ``[n, 1]``; NaN without."""
    if not pa.types.is_list(column.type):
        found = column.cast(pa.float64()).to_numpy(zero_copy_only=False)[:, None]
        return np.asarray(np.clip(found, 0, 1))
    prob = np.full((len(column), n_classes), np.nan)
    lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    whole = np.flatnonzero(lengths == n_classes)
    if len(whole):
        values = column.values.to_numpy(zero_copy_only=False)
        starts = column.offsets.to_numpy(zero_copy_only=False)[:-1][whole]
        prob[whole] = values[starts[:, None] + np.arange(n_classes)]
    return np.asarray(np.clip(prob, 0, 1))


def _arranged(table: pa.Table, form: Form) -> Scan:
    """Arrange Spark's sums by split, model and slice."""
    spec, repeats = form.spec, False
    if form.key:
        of_keys = pc.equal(table.column("row"), _KEY_ROW)
        repeats = bool(pc.any(table.filter(of_keys).column("repeated")).as_py())
        table = table.filter(pc.invert(of_keys))
    names = table.column("split").to_pylist()
    split_at: dict[tuple[Split], list[int]] = {}
    for at, name in enumerate(names):
        split_at.setdefault((name,), []).append(at)
    parts, nulls, pairs = {}, {}, {}
    for (name,), rows in by_split(split_at):
        held = _Held(table.take(pa.array(rows)), form)
        nulls[name] = held.slices(held.total(form.null_row, 1))[:, 0]
        nulls[name][0] = 0
        for i, model in enumerate(spec.models):
            parts[model, name] = held.part(i)
        for j, (a, b) in enumerate(form.pairs):
            found = held.total(form.pair_row + j * _PAIR_CELLS, _PAIR_CELLS)
            pairs[spec.models[a], spec.models[b], name] = held.slices(found)
    return Scan(parts, nulls, pairs, repeats)


class _Held:
    """The sums of one split, by row."""

    def __init__(self, table: pa.Table, form: Form) -> None:
        self.form = form
        self.row, self.rep, self.block = (
            table.column(c).to_numpy(zero_copy_only=False) for c in _OUT[1:]
        )
        order = np.lexsort((self.block, self.rep, self.row))
        self.row, self.rep, self.block = (a[order] for a in (self.row, self.rep, self.block))
        table = table.take(pa.array(order))
        self.sums = np.stack(
            [table.column(c).to_numpy(zero_copy_only=False) for c in form.sums], axis=1
        )
        self.payload = table.column("payload") if "payload" in table.column_names else None

    def slices(self, sums: np.ndarray) -> np.ndarray:
        """Return sums ``[cells, …, 1 + S]`` as ``[1 + S, …, cells]``."""
        return np.ascontiguousarray(np.moveaxis(sums, (0, -1), (-1, 0)))

    def total(self, first: int, cells: int, replicates: int = 0) -> np.ndarray:
        """Return the sums of some rows, ``[cells, 1 + S]``, or of their replicates."""
        start, end = np.searchsorted(self.row, [first, first + cells])
        part = slice(start, end)
        here = self.rep[part] >= 0 if replicates else self.rep[part] < 0
        shape = (cells, max(1, replicates), self.form.blocks, len(self.form.sums))
        full = np.zeros(shape, dtype=np.int64)
        drawn = self.rep[part][here] if replicates else 0
        full[self.row[part][here] - first, drawn, self.block[part][here]] = self.sums[part][here]
        found = full.reshape(cells, shape[1], -1)[..., : len(self.form.places)]
        return found if replicates else found[:, 0]

    def part(self, i: int) -> Part:
        form, spec = self.form, self.form.spec
        flags = self.total(form.flag_row + i * len(FLAGS), len(FLAGS))[:, 0]
        return Part(
            self._state(i, 0),
            self._state(i, form.replicates) if form.replicates else None,
            self._kept(i),
            {name: int(n) for name, n in zip(FLAGS, flags, strict=True)},
            {
                (metric.name, at): found
                for j, metric in enumerate(spec.custom)
                for at, found in self.sent(_own_row(spec, i, j))
            },
            {
                metric.name: self.slices(self.total(self._scored(i, j), 1))[:, 0]
                for j, metric in enumerate(spec.custom)
            },
        )

    def _scored(self, i: int, j: int) -> int:
        return self.form.scored_row + i * len(self.form.spec.custom) + j

    def _state(self, i: int, replicates: int) -> State:
        work, form = self.form.work, self.form
        counts = [c for c in work.counts if not replicates or c.name in work.replicated]
        names = {c.name for c in counts}

        def lines(line: Line, cells: int) -> np.ndarray:
            first = i * form.cells + form.first(line, cells)
            return self.slices(self.total(first, cells, replicates))

        def exact(name: str, cells: int) -> Exact:
            first = i * form.cells + form.starts[Line(name, BITS * LOWEST)]
            found = self.row[slice(*np.searchsorted(self.row, [first, first + cells * PLACES]))]
            held = np.unique((found - first) // cells)  # few of all places
            if not len(held):
                held = np.arange(1)
            places = range(LOWEST + int(held[0]), LOWEST + int(held[-1]) + 1)
            digits = np.stack([lines(Line(name, BITS * p), cells) for p in places])
            return Exact(places.start, digits).carried()

        weighed = {c.name: exact(c.name, c.cells) for c in counts} if work.weighted else {}
        sums = {s.name: exact(s.name, s.by.cells) for s in work.sums if s.by.name in names}
        if replicates and work.weighted:
            # Replicates know weights alone; of what has the weight 0 in all of them, rows do.
            whole = self._state(i, 0)
            none = {n: np.where(whole.weights[n] == 0, whole.rows[n], 0) for n in weighed}
            rows = {n: np.repeat(each[:, None], replicates, axis=1) for n, each in none.items()}
        else:
            rows = {c.name: lines(Line(c.name, PLAIN), c.cells) for c in counts}
        return State(rows, weighed, sums)

    def sent(self, row: int) -> Iterator[tuple[int, list[bytes]]]:
        """Yield what tasks sent as bytes in a row: the slice's position, and all that they sent."""
        if self.payload is None:
            return
        for at in range(*np.searchsorted(self.row, [row, row + 1])):
            if self.sums[at, 0] <= EXACT_ROWS:
                found = [one for one in self.payload[int(at)].as_py() or () if one is not None]
                if found:
                    yield int(self.block[at]), found

    def _kept(self, i: int) -> dict[int, np.ndarray]:
        return {at: scores_from(found) for at, found in self.sent(_kept_row(i))}
