"""What a scan is asked for, how its rows and sums are laid out, and what comes back.

All of it is small and the same on the driver and in tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, combinations
from typing import Any, Final

import numpy as np

from engine.errors import MetricError
from engine.masks.pairs import Overlap
from engine.masks.splits import Split
from engine.metrics.catalog import MetricSpec, not_binary
from engine.metrics.custom import CustomMetric
from engine.metrics.formulas.classification import confusion_count
from engine.metrics.formulas.exact import BITS, LOWEST, PLACES
from engine.metrics.formulas.families import addends_of, family
from engine.metrics.formulas.outputs import UNKNOWN_CLASS, Classes
from engine.metrics.formulas.states import State
from engine.metrics.scan.kernel import PLAIN, Line, Work
from engine.words import WORD

EXACT_ROWS = 1_000  # a ranking of no more scored rows is of the scores themselves
MOST_REPLICATED = 1_024  # cells; replicates of averages of more classes would fill the memory
# The code: what a row has of a model's prediction, packed into one BIGINT. Spark's SQL writes it
# and so do workers that read files; tasks read it. The fields are these alone.
CODE_FLAGS = ("found", "bad_weight", "bad_prob", "bad_number")
CLASS_BITS = 28
SHIFTS: Final[Mapping[str, int]] = {
    **{flag: at for at, flag in enumerate(CODE_FLAGS)},
    "label": len(CODE_FLAGS),
    "pred": len(CODE_FLAGS) + CLASS_BITS,
}
MOST_CLASSES = (1 << CLASS_BITS) + UNKNOWN_CLASS  # positions start with that of no class
FLAGS = (*CODE_FLAGS, "unknown_label", "unknown_pred")
PAIR_CELLS = 4  # both models right, only the first, only the second, neither
KEY_ROW = -(2**31)  # where hashes of keys are
_MOST_SUMS = 64  # in a row that is sent
_PROBABILITIES = 2**22  # that a task holds at a time


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
    overlap
        Whether the rows are counted that each two slices share.
    matrix
        Whether the rows of each label by each prediction are counted, which metrics of many classes
        aren't made of.
    exact_rows
        Of how many scored rows a ranking is of the scores themselves, at most.
    most_replicated
        How many cells a metric has at most that replicates are drawn of.

    Raises
    ------
    MetricError
        If a metric has a threshold or a share, or ranks scores, and there aren't two classes.
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
    overlap: bool = False
    matrix: bool = False
    exact_rows: int = EXACT_ROWS
    most_replicated: int = MOST_REPLICATED

    def __post_init__(self) -> None:
        if len(self.classes) > MOST_CLASSES:
            raise MetricError(
                f"labels and predictions: there are {len(self.classes):,} classes, and at most "
                f"{MOST_CLASSES:,} are possible"
            )
        for metric in self.metrics:
            chosen = (metric.parameter("threshold"), metric.parameter("top"))
            binary = any(c is not None for c in chosen) or metric.kind.family == "scores"
            n = len(self.classes)
            if binary and n != 2:  # noqa: PLR2004
                there = "there is 1 class" if n == 1 else f"there are {n} classes"
                raise not_binary(str(metric), there)

    @cached_property
    def labels(self) -> Classes:
        """The classes, as formulas take them."""
        return Classes(tuple(self.classes), self.positive)

    @property
    def replicable(self) -> list[MetricSpec]:
        """The metrics that replicates can be drawn of."""
        return [
            m
            for m in self.metrics
            if family(m, self.labels).replicated and self.cells(m) <= self.most_replicated
        ]

    def cells(self, metric: MetricSpec) -> int:
        """Return how many numbers a metric's counts are, of a slice."""
        return sum(c.cells for c in addends_of([metric], self.labels)[0][1:])

    def work(self, replicates: int = 0) -> Work:
        """Return what is added up of each model."""
        counts, sums = addends_of(self.metrics, self.labels)
        if self.matrix:
            counts = (*counts, confusion_count(self.labels))
        drawn, _ = addends_of(self.replicable, self.labels) if replicates else ((), ())
        names = frozenset(c.name for c in drawn) - {"rows"}
        if any(m.name == "count" for m in self.metrics) and not self.weighted:
            names -= {"rows"}
        return Work(counts, sums, self.weighted, replicates, names)

    @property
    def columns(self) -> list[str]:
        """What is read of other columns: ``mean:<name>`` and ``null:<name>``."""
        kinds = {"mean": "mean", "null_rate": "null"}
        named = (m for m in self.metrics if m.name in kinds)
        return list(dict.fromkeys(f"{kinds[m.name]}:{m.parameter('column')}" for m in named))

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
    scores
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
    scores: Mapping[int, np.ndarray]
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
    overlap
        The rows that each two slices share, of all splits; None where it isn't asked for.
    """

    parts: Mapping[tuple[str, Split], Part]
    nulls: Mapping[Split, np.ndarray]
    pairs: Mapping[tuple[str, str, Split], np.ndarray]
    repeats: bool = False
    overlap: Overlap | None = None


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
        starts, at = {}, 0
        for count in self.work.counts:
            starts[Line(count.name, PLAIN)] = at
            at += count.cells
        for name, cells in self.work.exact.items():
            starts[Line(name, BITS * LOWEST)] = at
            at += cells * PLACES
        starts[Line("", PLAIN)] = at  # how many there are
        return starts

    def rows_at_once(self, most: int) -> int:
        """Return how many rows a task takes at a time: fewer where each has many probabilities."""
        each = len(self.spec.classes) if self.spec.needs("prob") else 1
        return min(most, max(1, _PROBABILITIES // max(1, each)))

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

    @cached_property
    def rows(self) -> dict[str, int]:
        """Where rows start that come after those of models' counts.

        Those of pairs of models, of undecided masks, of models' flags, of rows that slices share
        (a row per slice, and one of rows in none), and of how many rows the user's own metrics
        were given.
        """
        models = len(self.spec.models)
        sizes = {
            "pairs": PAIR_CELLS * len(self.pairs),
            "nulls": 1,
            "flags": models * len(FLAGS),
            "overlap": 1 + len(self.bits) if self.spec.overlap else 0,
        }
        starts = accumulate(sizes.values(), initial=self.cells * models)
        return dict(zip([*sizes, "scored"], starts, strict=True))

    # What tasks send as bytes is numbered below 0.
    def scores_row(self, i: int) -> int:
        """Return the row of a model's scores."""
        return -1 - i

    def state_row(self, i: int, j: int) -> int:
        """Return the row of the states of a model's j-th metric of the user's own."""
        return -1 - len(self.spec.models) * (1 + j) - i

    @cached_property
    def places(self) -> np.ndarray:
        """Where sums are among those of all bits: of all rows, then of each slice."""
        return np.array([self.words * WORD, *self.bits])

    @cached_property
    def place_of(self) -> np.ndarray:
        """The place of each bit's sum among those that are sent; -1 for bits nobody asked for."""
        place = np.full(self.words * WORD + 1, -1)
        place[self.places] = np.arange(len(self.places))
        return place

    @property
    def sent(self) -> int:
        """How many numbers a task sends at most, about."""
        scores = 3 * self.spec.exact_rows if self.spec.ranked else 0
        cells = self.work.numbers * (1 + self.replicates) + scores
        shared = len(self.places) if self.spec.overlap else 0
        return (cells * len(self.spec.models) + shared) * len(self.places)

    @property
    def blocks(self) -> int:
        """How many rows are sent for all slices."""
        return -(-len(self.places) // _MOST_SUMS)

    @property
    def sums(self) -> list[str]:
        """The columns of sums that a row has: as few as do, all blocks alike."""
        return [f"c_{i}" for i in range(-(-len(self.places) // self.blocks))]


def code_sql(flags: Mapping[str, str], positions: Mapping[str, str]) -> str:
    """Return the code in SQL.

    Parameters
    ----------
    flags
        Each of :data:`CODE_FLAGS` to a condition.
    positions
        Label and pred to class positions, -1 for null, -2 for none of the classes.

    Examples
    --------
    >>> code_sql({"found": "p IS NOT NULL"}, {"label": "y"})
    'IF(p IS NOT NULL, 1L, 0L) + (CAST(y AS BIGINT) + 2) * 16L'
    """
    parts = [f"IF({flag}, {1 << SHIFTS[name]}L, 0L)" for name, flag in flags.items()]
    parts += [
        f"(CAST({at} AS BIGINT) + {-UNKNOWN_CLASS}) * {1 << SHIFTS[name]}L"
        for name, at in positions.items()
    ]
    return " + ".join(parts)


def code_of(flags: Mapping[str, np.ndarray], positions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the codes of rows, ``[n]`` int64; as :func:`code_sql`.

    Examples
    --------
    >>> at = {"label": np.array([5000]), "pred": np.array([-2])}
    >>> code = code_of({"found": np.array([True])}, at)
    >>> positions_in(code)["label"].tolist(), positions_in(code)["pred"].tolist()
    ([5000], [-2])
    """
    flagged = (each.astype(np.int64) << SHIFTS[name] for name, each in flags.items())
    placed = (
        (at.astype(np.int64) - UNKNOWN_CLASS) << SHIFTS[name] for name, at in positions.items()
    )
    return np.asarray(sum([*flagged, *placed], start=np.int64(0)))


def flags_in(code: np.ndarray) -> dict[str, np.ndarray]:
    """Return which rows have each flag, ``[n]``."""
    return {flag: code >> SHIFTS[flag] & 1 for flag in CODE_FLAGS}


def positions_in(code: np.ndarray) -> dict[str, np.ndarray]:
    """Return rows' class positions, ``[n]``."""
    mask = (1 << CLASS_BITS) - 1
    return {at: (code >> SHIFTS[at] & mask) + UNKNOWN_CLASS for at in ("label", "pred")}
