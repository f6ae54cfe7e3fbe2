"""Signatures: the distinct patterns of masks with their counts, which answer any composition.

No slice distinguishes rows on which all slices say the same. So the rows of a table,
grouped by what all slices say, by split, label and prediction, are all that a question about
``a & ~(b | c)`` needs; there are far fewer groups than rows, and they fit on the driver.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812

from engine.arguments import text, texts, whole
from engine.errors import MetricError, no_such_mask, unknown_class
from engine.masks.checks import EXAMPLES, check_columns, quoted, spark_table
from engine.masks.reader import MaskTable, named_masks, read_masks
from engine.masks.splits import AnySplit, in_split, no_split, split_sql
from engine.metrics.catalog import OVERALL, MetricSpec, parse_metric
from engine.metrics.classes import class_position, given_classes
from engine.metrics.formulas.classification import of_confusions
from engine.metrics.formulas.exact import BITS, Exact
from engine.metrics.formulas.outputs import UNKNOWN_CLASS
from engine.metrics.formulas.states import STATUSES, WEIGHTLESS
from engine.metrics.inference.figures import EMPTY, UNSCORED
from engine.metrics.request import position_of
from engine.metrics.scan.checks import wrong_value
from engine.metrics.scan.joined import MAX_WEIGHT, bad_weight
from engine.slicing.algebra import parse
from engine.slicing.evaluate import codes
from engine.slicing.expr import Mask
from engine.sql import name_sql
from engine.words import WORD, packed

log = logging.getLogger("engine")

FIGURES = ("metric", "value", "support", "status", "complete")
_GROUPS = ["split", "label", "pred"]
_ROWS, _WEIGHT, _BAD, _PLACE = "_rows", "_weight", "_bad", "_place"
_OWN_WEIGHT = "@weight"  # named as no slice can be, as @label and @pred are
_BAD_WEIGHT = bad_weight(name_sql(_OWN_WEIGHT))
_DIGITS = ("_digit_0", "_digit_1", "_digit_2")  # of a float64: 53 bits, of which a digit has 40
_LOWEST, _HIGHEST = -27, 2  # places of weights, from 2^-1074 to 2^100


@dataclass(frozen=True)
class RowCount:
    """How many rows a composition is true, false and undecided on.

    Attributes
    ----------
    true, false, undecided
        Rows among the signatures that were kept.
    left_out
        Rows of signatures that weren't; each may be any of the three.
    """

    true: int
    false: int
    undecided: int
    left_out: int = 0

    @property
    def complete(self) -> bool:
        """Whether every row was counted."""
        return not self.left_out

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most rows that it can be true on.

        Examples
        --------
        >>> RowCount(5, 3, 0, left_out=2).bounds
        (5, 7)
        """
        return self.true, self.true + self.left_out


@dataclass(frozen=True)
class Signatures:
    """The distinct combinations of masks, split, label and prediction, the most frequent first.

    Attributes
    ----------
    ids
        The slices.
    in_words, null_words
        ``[P, words]`` int64: which slices a signature is in, and which are undecided on it.
    at
        Slice id to its bit in both.
    groups
        ``[P]`` rows of ``split``, ``label`` and ``pred``, the last two as class positions, -1
        where there is none.
    counts
        ``[P]`` int64: the signature's rows.
    weights
        ``[P]``: their weights, added up exactly; None without weights.
    classes, positive
        Label values in class order, and the position of the positive one.
    n_patterns
        How many signatures the table has; more than P where some were left out.
    rows_left_out
        Their rows.
    missing
        Which of ``label`` and ``pred`` the signatures were made without.
    """

    ids: tuple[str, ...]
    in_words: np.ndarray = field(repr=False)
    null_words: np.ndarray = field(repr=False)
    at: Mapping[str, int] = field(repr=False)
    groups: pd.DataFrame = field(repr=False)
    counts: np.ndarray = field(repr=False)
    weights: Exact | None = field(repr=False)
    classes: tuple[Any, ...]
    positive: int
    n_patterns: int
    rows_left_out: int = 0
    missing: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The table's rows, those left out too."""
        return int(self.counts.sum()) + self.rows_left_out

    @property
    def complete(self) -> bool:
        """Whether no signature was left out."""
        return not self.rows_left_out

    def rows_in(self, expr: str, split: AnySplit = ...) -> RowCount:
        """Count the rows that a composition is true, false and undecided on.

        Parameters
        ----------
        expr
            Slice ids with ``&``, ``|``, ``~`` and parentheses; ``overall`` is every row.
        split
            The split whose rows are counted, None for that of rows whose split is null; by
            default all.

        Raises
        ------
        SliceError
            If it can't be read.
        MaskError
            If it names a slice that isn't among them.
        MetricError
            If there is no such split.
        """
        answers, counts = self._codes(expr), np.where(self._of(split), self.counts, 0)
        true, false, undecided = (int(counts[answers == code].sum()) for code in (1, 0, -1))
        return RowCount(true, false, undecided, self.rows_left_out)

    def confusion(self, expr: str, split: AnySplit = ...) -> np.ndarray:
        """Return the confusion ``[C, C]`` of the rows that a composition is true on.

        Returns
        -------
        np.ndarray
            ``[i, j]``: rows of class i predicted class j, int64; with weights their sums, float64.

        Raises
        ------
        MetricError
            If the signatures have no label or no prediction; and as :meth:`rows_in`.
        """
        return self._confusions(self._codes(expr) == 1, split)[1]

    def figures(
        self,
        expr: str,
        metrics: Sequence[str] = ("accuracy", "f1"),
        split: AnySplit = ...,
    ) -> pd.DataFrame:
        """Compute metrics of the rows that a composition is true on.

        Parameters
        ----------
        expr, split
            As :meth:`rows_in` takes them.
        metrics
            Metrics of classes without a threshold.

        Returns
        -------
        pd.DataFrame
            Columns ``metric, value, support, status, complete``: support counts rows with a label
            and a prediction, and ``complete`` is False where signatures were left out.

        Raises
        ------
        MetricError
            If a metric needs scores or has a threshold.
            If there is no such metric, or nothing to compute it of; and as :meth:`rows_in`.
        """
        names = texts("figures", "metrics", metrics, "a list of metrics", least=1)
        specs, member = [_computable(m) for m in names], self._codes(expr) == 1
        in_rows, confusion = self._confusions(member, split)
        support, n = int(in_rows.sum()), self.counts[member & self._of(split)].sum()
        none = (None, STATUSES[WEIGHTLESS] if support else UNSCORED if n else EMPTY)
        rows = []
        for m in specs:
            values = of_confusions(m, confusion, self.positive, in_rows)
            figure = (float(values.value), STATUSES[int(values.status)])
            value, status = figure if support and confusion.sum() else none
            rows.append((str(m), value, support, status, self.complete))
        return pd.DataFrame(rows, columns=list(FIGURES)).astype({"value": float})

    def to_pandas(self) -> pd.DataFrame:
        """Return a row per signature, with a column per slice.

        Returns
        -------
        pd.DataFrame
            ``@split``, ``@label`` and ``@pred`` (class values, None where there is none),
            ``@rows``, with weights ``@weight``, and each slice as nullable booleans. No slice can
            be named as the former.
        """
        names = np.array([*self.classes, None], dtype=object)  # -1 is the last
        columns: dict[str, Any] = {
            "@split": self.groups["split"].astype(object).where(self.groups["split"].notna(), None)
        }
        for name in ("label", "pred"):
            if name not in self.missing:
                columns[f"@{name}"] = pd.Series(names[self.groups[name].to_numpy()], dtype=object)
        columns["@rows"] = self.counts
        if self.weights is not None:
            columns["@weight"] = self.weights.value
        for slice_id in self.ids:
            mask = self._mask(slice_id)
            columns[slice_id] = pd.arrays.BooleanArray(mask == 1, mask == -1)
        return pd.DataFrame(columns)

    def _codes(self, expr: str) -> np.ndarray:
        """Return what a composition is of each signature: 1 true, 0 false, -1 undecided."""
        tree = parse(text("Signatures", "expr", expr, "slice ids with &, | and ~"))
        named = [node.slice_id for node in tree.walk() if isinstance(node, Mask)]
        return codes(tree, {s: self._mask(s) for s in named}, list, len(self.counts))

    def _mask(self, slice_id: str) -> np.ndarray:
        if slice_id == OVERALL:  # an id that is reserved
            return np.ones(len(self.counts), dtype=np.int8)
        if slice_id not in self.at:
            raise no_such_mask(slice_id, self.ids, "the table of signatures")
        k, bit = divmod(self.at[slice_id], WORD)
        member, undecided = ((w[:, k] >> bit) & 1 for w in (self.in_words, self.null_words))
        return (member - undecided).astype(np.int8)

    def _of(self, split: AnySplit) -> np.ndarray:
        if split is ...:
            return np.ones(len(self.counts), dtype=bool)
        if split is not None:
            text("Signatures", "split", split)
        rows: np.ndarray = in_split(self.groups["split"], split).to_numpy(bool)
        if not rows.any() and self.complete:
            known = [None if pd.isna(s) else s for s in self.groups["split"].unique()]
            raise MetricError(f"the signatures have no split {no_split(split, known)}")
        return rows

    def _confusions(self, member: np.ndarray, split: AnySplit) -> tuple[np.ndarray, np.ndarray]:
        """Return the confusion of rows, and that of weights: of rows where there are none."""
        if self.missing:
            raise no_confusion(self.missing)
        of_split, groups = self._of(split), self.groups[["label", "pred"]].to_numpy()
        chosen = member & of_split & (groups >= 0).all(axis=1)
        # What is whole adds up exactly: rows, and each digit of weights.
        values = [self.counts, *([] if self.weights is None else self.weights.digits)]
        filled = np.zeros((len(values), len(self.classes), len(self.classes)), dtype=np.int64)
        for into, each in zip(filled, values, strict=True):
            np.add.at(into, tuple(groups[chosen].T), each[chosen])
        if self.weights is None:
            return filled[0], filled[0]
        return filled[0], Exact(self.weights.low, filled[1:]).value


def no_confusion(missing: Sequence[str]) -> MetricError:
    """Return the error of signatures without what a confusion counts."""
    names = " and ".join(missing)
    arguments = ", ".join(f"{name}=..." for name in missing)
    return MetricError(
        f"these signatures hold no {names}, so they have no confusion: make them with {arguments}"
    )


def signatures(
    df: DataFrame,
    ids: Sequence[str] | None = None,
    *,
    label: str | None = None,
    pred: str | None = None,
    split: str | None = None,
    weight: str | None = None,
    classes: Sequence[Any] = (0, 1),
    positive: Any = None,
    limit: int = 100_000,
) -> Signatures:
    """Group a mask table's rows by what all slices say of them, in one scan.

    At most ``limit`` rows come to the driver; where there are more signatures, the most frequent
    are kept, a second scan counts the others, and a warning is logged.

    Parameters
    ----------
    df
        The rows of a mask table of either layout, with the columns named below.
    ids
        The slices; by default all. There are fewer signatures of fewer slices.
    label, pred, split, weight
        Columns; signatures differ by the first three. A weight that is null is 1.
    classes, positive
        Label values in class order, and the positive one (the last by default).
    limit
        How many signatures are kept.

    Raises
    ------
    MaskError, ColumnError
        If there is no such slice or column.
    MetricError
        If the limit isn't positive.
    TableError
        If a label or prediction is no class, or a weight isn't a finite number of at least 0.

    Examples
    --------
    ::

        found = signatures(scored, label="label", pred="pred", split="split")
        found.rows_in("short & ~(link | please)")
        found.figures("short | link", ["accuracy", "f1"], split="test")
    """
    call = "signatures"
    df = spark_table(call, "df", df)
    named_ids = None if ids is None else texts(call, "ids", ids, "a list of slice ids")
    if whole(call, "limit", limit) <= 0:
        raise MetricError(f"limit must be a positive number of signatures to keep, found {limit}")
    classes = given_classes(call, classes)
    at_positive = position_of(classes, positive)
    roles = {"label": label, "pred": pred, "split": split, "weight": weight}
    named = {role: text(call, role, c, "a column") for role, c in roles.items() if c is not None}
    check_columns(df, "the table", {role: [c] for role, c in named.items()})
    wanted = named_masks(df, named_ids, "ids") if named_ids is None or named_ids else ()
    none = F.lit(None).cast("string")
    own = {r: quoted(named[r]) if r in named else none for r in ("label", "pred", "weight")}
    own["weight"] = own["weight"].cast("double")
    rows = df.withColumns({f"@{role}": column for role, column in own.items()})
    positions = {
        role: class_position(name_sql(f"@{role}"), dict(rows.dtypes)[f"@{role}"], classes)
        for role in ("label", "pred")
    }
    words, at = _words(read_masks(rows), wanted)
    by = {"split": split_sql(split), **positions, **{f"_word_{i}": w for i, w in enumerate(words)}}
    grouped = _grouped(rows, by, weighted=weight is not None)
    # Ties are broken by the signature itself, so that a table always keeps the same ones.
    frequent = grouped.orderBy(F.desc(_ROWS), *by).limit(limit).toPandas()
    n_patterns, left_out = _left_out(grouped, frequent, limit)
    _check(frequent, rows, positions, classes, all_kept=not left_out)
    if left_out:
        log.warning(
            "%s of %s signatures were kept; the others have %s of %s rows, which no answer counts",
            *(
                f"{n:,}"
                for n in (len(frequent), n_patterns, left_out, left_out + frequent[_ROWS].sum())
            ),
        )
    patterns = frequent[[f"_word_{i}" for i in range(len(words))]].to_numpy(np.int64)
    return Signatures(
        ids=wanted,
        in_words=patterns[:, : len(words) // 2],
        null_words=patterns[:, len(words) // 2 :],
        at=at,
        groups=frequent[_GROUPS],
        counts=frequent[_ROWS].to_numpy(np.int64),
        weights=None if weight is None else _exact(frequent[_WEIGHT]),
        classes=tuple(classes),
        positive=at_positive,
        n_patterns=n_patterns,
        rows_left_out=left_out,
        missing=tuple(name for name in ("label", "pred") if name not in named),
    )


def _words(table: MaskTable, ids: Sequence[str]) -> tuple[list[str], dict[str, int]]:
    """Return the words with the bits of these slices alone, in then null, and their bits."""
    all_words = table.words(ids)
    bits = np.zeros((1, len(all_words.in_words) * WORD), dtype=bool)
    bits[0, list(all_words.at.values())] = True
    # Other slices of a word would distinguish rows that the wanted slices don't.
    masks = packed(bits)[0].tolist()
    words = [
        f"({w}) & {m}L"
        for kind in (all_words.in_words, all_words.null_words)
        for w, m in zip(kind, masks, strict=True)
    ]
    return words, dict(all_words.at)


def _grouped(rows: DataFrame, by: Mapping[str, str], weighted: bool) -> DataFrame:
    if not weighted:
        narrow = rows.selectExpr(*(f"{sql} AS {name}" for name, sql in by.items()))
        return narrow.groupBy(*by).agg(F.expr("count(1)").alias(_ROWS))
    known = f"coalesce(IF({_BAD_WEIGHT}, 0D, {name_sql(_OWN_WEIGHT)}), 1D)"
    digits = _weight_digits(rows, by, known, _BAD_WEIGHT)
    # Weights of one place at a time, so that whole numbers add up; then the few places there are.
    sums = {_ROWS: "count(1)", _BAD: f"count_if({_BAD})", **{d: f"sum({d})" for d in _DIGITS}}
    placed = digits.groupBy(*by, _PLACE).agg(*(F.expr(sql).alias(n) for n, sql in sums.items()))
    places = f"collect_list(struct({_PLACE}, {', '.join(_DIGITS)}))"
    totals = {_ROWS: f"sum({_ROWS})", _BAD: f"sum({_BAD})", _WEIGHT: places}
    return placed.groupBy(*by).agg(*(F.expr(sql).alias(name) for name, sql in totals.items()))


def _weight_digits(rows: DataFrame, by: Mapping[str, str], weight: str, bad: str) -> DataFrame:
    """Return each row's weight as digits of 40 bits, the first of a place; exactly."""
    place = f"coalesce(CAST(floor(log2({_WEIGHT}) / {BITS}) AS INT), 0)"
    # 2^(-40 · place) in two factors, since for the least places it is no float64.
    halves = ", ".join(f"{2.0 ** (-BITS // 2 * p)!r}D" for p in range(_LOWEST, _HIGHEST + 1))
    unit = f"{2.0**BITS!r}D"
    columns = {**by, _WEIGHT: weight, _BAD: bad}
    names, left = [*by, _BAD, _PLACE], "_left"
    digits = rows.selectExpr(*(f"{sql} AS {name}" for name, sql in columns.items()))
    digits = digits.selectExpr(*by, _BAD, _WEIGHT, f"{place} AS {_PLACE}")
    half = f"get(array({halves}), {_PLACE} - ({_LOWEST}))"
    digits = digits.selectExpr(*names, f"{_WEIGHT} * {half} * {half} AS {left}")
    for digit in _DIGITS:
        rest = f"({left} - floor({left})) * {unit}"
        digits = digits.selectExpr(
            *names, f"CAST(floor({left}) AS BIGINT) AS {digit}", f"{rest} AS {left}"
        )
        names.append(digit)
    return digits.select(*names)


def _exact(sums: pd.Series) -> Exact:
    """Return signatures' weights of their places' digits."""
    low = _LOWEST - len(_DIGITS) + 1
    digits = np.zeros((_HIGHEST - low + 1, len(sums)), np.int64)
    for i, places in enumerate(sums):
        for each in places:
            place, *own = each.values() if isinstance(each, dict) else each
            digits[np.arange(place - low, place - low - len(own), -1), i] += own
    return Exact(low, digits).carried()


def _left_out(grouped: DataFrame, frequent: pd.DataFrame, limit: int) -> tuple[int, int]:
    """Return how many signatures there are, and the rows of those that weren't kept."""
    if len(frequent) < limit:
        return len(frequent), 0
    n, rows = grouped.agg(F.count(F.lit(1)), F.sum(_ROWS)).collect()[0]
    return int(n), int(rows - frequent[_ROWS].sum())


def _check(
    frequent: pd.DataFrame,
    rows: DataFrame,
    positions: Mapping[str, str],
    classes: Sequence[Any],
    *,
    all_kept: bool,
) -> None:
    """Check labels, predictions and weights; Spark runs only where some may be wrong."""
    for column, position in positions.items():
        if not all_kept or (frequent[column] == UNKNOWN_CLASS).any():
            unknown = rows.where(f"{position} = {UNKNOWN_CLASS}").select(f"@{column}")
            if bad := unknown.distinct().limit(6).collect():
                raise unknown_class("the table", column, sorted(str(r[0]) for r in bad), classes)
    if _BAD in frequent and (not all_kept or frequent[_BAD].any()):
        wrong = rows.where(_BAD_WEIGHT).select(_OWN_WEIGHT)
        if n := wrong.count():
            values = [str(r[0]) for r in wrong.limit(EXAMPLES).collect()]
            problem = f"is not a number from 0 to {MAX_WEIGHT:.0e}"
            raise wrong_value("the table", "weight", n, problem, values)


def _computable(text: str) -> MetricSpec:
    metric = parse_metric(text)
    if metric.kind.family != "confusion":
        raise not_from_signatures(str(metric), "it is not made of labels and predictions alone")
    if metric.needs != "pred":
        raise not_from_signatures(
            str(metric), "its predictions are made of scores, which signatures do not hold"
        )
    return metric


def not_from_signatures(metric: str, problem: str) -> MetricError:
    """Return the error of a metric that can't be computed from signatures."""
    return MetricError(
        f"metric {metric!r} can't be computed from signatures: {problem}; evaluate() can"
    )
