"""Which tier a slice may run in, by rule, and which one it does, by cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import pyarrow as pa

from engine.compile.catalyst import NotTranslatedError, translated
from engine.compile.lists import AS_LISTS
from engine.compile.program import PER_VALUE, Program, distinct, rewritten, search_of
from engine.compile.vectors import QUICK, kind_of
from engine.errors import SliceError, missing_column
from engine.lift.lift import Lifted, NotLifted, lift
from engine.lift.reads import slice_reads
from engine.lift.scope import PatternSyntaxError
from engine.ops.operations import OPERATIONS
from engine.plain import NAME, plain
from engine.slicing.evaluate import is_combination
from engine.slicing.expr import Call, Column, Expr, shown, without_lookups
from engine.slicing.functions import SlicingFunction, series_parameters
from engine.slicing.slices import SliceKind

if TYPE_CHECKING:
    from pyspark.sql.types import StructType


class Tier(StrEnum):
    """Where a slice's function runs."""

    SPARK = "Spark expression"
    ARROW = "Arrow columns"
    PANDAS = "pandas Series"
    ROW = "Python per row"
    MASKS = "other masks"


# What a tier is called in settings.
TIERS: Mapping[str, Tier] = {
    "spark": Tier.SPARK, "arrow": Tier.ARROW, "pandas": Tier.PANDAS, "row": Tier.ROW,
}  # fmt: skip

# Measured microseconds per row of one core, as operations' costs are (`engine.ops`).
_PER_CALL = 0.1  # calling a function with what it reads, beside what it does
_PER_SERIES_VALUE = 0.12  # a function of Series
_CROSSING: Mapping[str, float] = {"text": 0.35, "object": 0.6}
_CROSSING_OTHER = 0.06  # a number's crossing to Python
_BATCH = 0.25  # rows crossing at all
_PLAIN = f"{NAME} is set"
# More expressions than these make a method that the JVM doesn't compile (over 8,000 bytes).
MOST_EXPRESSIONS = 48
_SHOWN = 100  # characters of a tree or description in a clause


@dataclass(frozen=True)
class Candidate:
    """A slice, with the tiers that it may run in and why it may not in others.

    Attributes
    ----------
    sf
        The slice.
    costs
        Allowed tier to microseconds per row.
    refused
        Other tier to the reason.
    columns
        What it reads.
    tree
        What it says, where its function was lifted or an expression defines it.
    reads
        One clause about how it is written.
    """

    sf: SlicingFunction
    costs: Mapping[Tier, float]
    columns: tuple[str, ...]
    reads: str
    refused: Mapping[Tier, str] = field(default_factory=dict)
    tree: Expr | None = None


def candidate(
    sf: SlicingFunction,
    columns: Sequence[str],
    kinds: Mapping[str, pa.DataType],
    few: float,
) -> Candidate:
    """Return the tiers that a slice may run in.

    Parameters
    ----------
    sf
        The slice.
    columns
        The table's columns.
    kinds
        Their Arrow types.
    few
        Of a look-up: up to how many keys it is a comparison with each; others are joined.

    Raises
    ------
    ColumnError
        If it reads a column that isn't there.
    SliceError
        If it uses a regex that doesn't compile.
    """
    if sf.expr is not None:
        return _expression(sf, without_lookups(sf.expr, few), columns, kinds)
    return _CANDIDATES[sf.kind](sf, columns, kinds)


def _row(
    sf: SlicingFunction,
    columns: Sequence[str],
    kinds: Mapping[str, pa.DataType],
) -> Candidate:
    assert sf.f is not None  # a ROW function has one
    read = slice_reads(sf)
    for column in read.missing(columns):
        raise missing_column(f"slice {sf.name!r}", column, columns)
    lifted = _lifted(sf, columns, kinds)
    if isinstance(lifted, Lifted):
        lifted = _certain(lifted, kinds)
    if isinstance(lifted, Lifted):
        return _of_tree(sf, lifted.tree, kinds, sorted(lifted.reads))
    crossing = read.used(columns)
    description = f"a Python function that reads {', '.join(crossing) or 'no column'}"
    if read.escapes:
        description = f"a Python function; {read.escapes}: all columns cross"
    if sf.chain:
        description += f", after {', '.join(p.name for p in sf.chain)}"
    why = str(lifted)
    refused = {Tier.SPARK: why, Tier.ARROW: why}
    return Candidate(sf, {Tier.ROW: _PER_CALL}, crossing, f"{description}; {why}", refused)


def _lifted(
    sf: SlicingFunction, columns: Sequence[str], kinds: Mapping[str, pa.DataType]
) -> Lifted | NotLifted:
    if sf.chain:
        return NotLifted("not lifted: it needs a preprocessor")
    assert sf.f is not None  # a ROW function has one
    if plain():
        return NotLifted(f"not lifted: {_PLAIN}")
    try:
        scalars = {name for name, kind in kinds.items() if _is_scalar(kind)}
        lifted = lift(sf.f, sf.resources, columns, scalars)
    except PatternSyntaxError as error:
        raise SliceError(
            f"slice {sf.name!r}: the pattern {error.pattern!r} doesn't compile: {error.error!s}"
        ) from None
    if isinstance(lifted, NotLifted):
        if lifted.missing is not None:
            raise missing_column(f"slice {sf.name!r}", lifted.missing, columns)
        return NotLifted(f"not lifted: {lifted}")
    return lifted


def _certain(lifted: Lifted, kinds: Mapping[str, pa.DataType]) -> Lifted | NotLifted:
    """Return what was lifted unless columns of other types were needed for a part of it."""
    ops = {node.op for node in lifted.tree.walk() if isinstance(node, Call)}
    if not ops & _OF_TYPES:
        return lifted
    used = (n.name for n in lifted.tree.walk() if isinstance(n, Column))
    doubts, _ = Program([lifted.tree], {name: kinds[name] for name in used}).dry_run()
    return NotLifted(f"not lifted: {doubts[0]}") if doubts else lifted


# Operations that only columns of some types have.
_OF_TYPES = frozenset({"over", "fold", *AS_LISTS, "field"})


def _is_scalar(kind: pa.DataType) -> bool:
    """Tell whether Python has a column's values as text, whole numbers, floats or booleans."""
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer,
             pa.types.is_floating, pa.types.is_boolean)  # fmt: skip
    return any(test(kind) for test in tests)


def _expression(
    sf: SlicingFunction, tree: Expr, columns: Sequence[str], kinds: Mapping[str, pa.DataType]
) -> Candidate:
    if is_combination(tree):
        return Candidate(sf, {Tier.MASKS: 0.0}, (), _short(sf.description), tree=tree)
    for node in tree.walk():
        if isinstance(node, Column) and node.name not in columns:
            raise missing_column(f"slice {sf.name!r}", node.name, columns)
    if plain():
        crossing = tuple(dict.fromkeys(n.name for n in tree.walk() if isinstance(n, Column)))
        refused = dict.fromkeys((Tier.SPARK, Tier.ARROW), _PLAIN)
        description = f"{shown(tree, _SHOWN)}; {_PLAIN}"
        return Candidate(sf, {Tier.ROW: _PER_CALL}, crossing, description, refused, tree)
    return _of_tree(sf, tree, kinds)


def _of_tree(
    sf: SlicingFunction,
    tree: Expr,
    kinds: Mapping[str, pa.DataType],
    reads: Sequence[str] = (),
) -> Candidate:
    nodes = list(tree.walk())
    others: dict[Tier, float] = {} if sf.f is None else {Tier.ROW: _row_cost(nodes)}
    used = (n.name for n in nodes if isinstance(n, Column))
    crossing = tuple(dict.fromkeys((*used, *reads)))
    refused = {Tier.SPARK: "Spark was not asked"}
    for name in crossing:
        if pa.types.is_null(kinds[name]) and others:
            why = f"the column {name!r} has values that Arrow doesn't have"
            description = f"{shown(tree, _SHOWN)}; {why}"
            return Candidate(sf, others, crossing, description, {**refused, Tier.ARROW: why})
    costs = {Tier.ARROW: _columns_cost(tree, kinds), **others}
    return Candidate(sf, costs, crossing, shown(tree, _SHOWN), refused, tree)


def with_spark(c: Candidate, schema: StructType) -> Candidate:
    """Return a candidate that may run as a Spark expression too, or with the reason why not."""
    if c.tree is None or is_combination(c.tree) or plain():
        return c
    refused: dict[Tier, str] = dict(c.refused)
    del refused[Tier.SPARK]
    try:
        translated(c.tree, schema)
    except NotTranslatedError as error:
        return replace(c, refused={**refused, Tier.SPARK: str(error)})
    costs = {**c.costs, Tier.SPARK: _spark_cost(c.tree)}
    return replace(c, costs=costs, refused=refused)


def _columns_cost(tree: Expr, kinds: Mapping[str, pa.DataType]) -> float:
    """Return what whole columns cost: each distinct operation is done once, a search as one."""
    places: dict[Expr, int] = {}
    cost = 0.0
    for node in distinct(rewritten(tree, {}), places, kinds):
        places[node] = len(places)
        cost += _node_cost(node, kinds) if isinstance(node, Call) else 0.0
    return cost


def _node_cost(node: Call, kinds: Mapping[str, pa.DataType]) -> float:
    op = OPERATIONS[node.op]
    needs_text = op.on_text and search_of(node, kinds) is None
    if op.cost.columns is None or (needs_text and not _is_quick_on_text(node, kinds)):
        return op.cost.python + PER_VALUE
    return op.cost.columns


def _is_quick_on_text(node: Call, kinds: Mapping[str, pa.DataType]) -> bool:
    """Tell whether an operation that no search answers is of a column of text as it is."""
    first = node.args[0]
    return node.op in QUICK and isinstance(first, Column) and kind_of(kinds[first.name]) == "text"


def _row_cost(nodes: Sequence[Expr]) -> float:
    """Return what calling the function costs, which does again what it says twice."""
    times: dict[Expr, float] = {nodes[-1]: 1.0}
    cost = _PER_CALL
    for node in reversed(nodes):  # those above before those below
        for part in node.parts:
            times[part] = times.get(part, 0.0) + times[node]
        cost += OPERATIONS[node.op].cost.python * times[node] if isinstance(node, Call) else 0.0
    return cost


def _spark_cost(tree: Expr) -> float:
    calls = (node for node in tree.walk() if isinstance(node, Call))
    return sum(OPERATIONS[node.op].cost.spark or 0.0 for node in calls)


def _pandas(sf: SlicingFunction, columns: Sequence[str], *_: object) -> Candidate:
    assert sf.f is not None  # a PANDAS function has one
    named = series_parameters(sf.f, sf.resources)
    for column in named:
        if column not in columns:
            raise missing_column(f"slice {sf.name!r}", column, columns)
    description = f"a function of pandas Series {', '.join(named)}"
    refused = dict.fromkeys((Tier.SPARK, Tier.ARROW, Tier.ROW), "it is written for pandas Series")
    return Candidate(sf, {Tier.PANDAS: _PER_SERIES_VALUE}, named, description, refused)


def _native(sf: SlicingFunction, *_: object) -> Candidate:
    description = f"SQL: {sf.sql}" if sf.sql is not None else "returns a Spark Column"
    refused = dict.fromkeys((Tier.ARROW, Tier.PANDAS, Tier.ROW), "it is written for Spark")
    return Candidate(sf, {Tier.SPARK: 0.0}, (), description, refused)


_CANDIDATES: Mapping[SliceKind, Callable[..., Candidate]] = {
    SliceKind.ROW: _row,
    SliceKind.PANDAS: _pandas,
    SliceKind.COLUMN: _native,
    SliceKind.SQL: _native,
}


def chosen(
    candidates: Sequence[Candidate],
    kinds: Mapping[str, pa.DataType],
    forced: Mapping[str, Tier],
) -> list[Tier]:
    """Return the cheapest tier of each slice, all slices of the run considered.

    Arrow columns come before rows: what is slower over columns depends on the values, and a
    worker that sees them lets it run by rows (:class:`engine.run.kernel.Kernel`). A column's
    crossing to Python is paid once, so that a slice that Spark could run joins the Arrow columns
    where another one needs the column anyway.

    Parameters
    ----------
    candidates
        The slices.
    kinds
        Column to its Arrow type.
    forced
        Slice id to the tier that it must run in.

    Raises
    ------
    SliceError
        If a slice may not run in the tier that it must run in.
    """
    tiers: dict[str, Tier] = {}
    open_: list[Candidate] = []
    for c in candidates:
        must = forced.get(c.sf.id)
        if must is not None and Tier.MASKS not in c.costs:
            if must not in c.costs:
                why = c.refused.get(must, "it isn't written for it")
                raise SliceError(f"slice {c.sf.name!r} can't run as {str(must)!r}: {why}")
            tiers[c.sf.id] = must
        elif {Tier.SPARK, Tier.ARROW} <= c.costs.keys():
            open_.append(c)
        else:
            tiers[c.sf.id] = _preferred(c)
    python = [c for c in candidates if tiers.get(c.sf.id) in (Tier.ARROW, Tier.PANDAS, Tier.ROW)]
    paid = {column for c in python for column in c.columns}
    started = bool(python)
    while open_:
        joined = _worth_crossing(open_, paid, started, kinds)
        if not joined:
            tiers |= {c.sf.id: Tier.SPARK for c in open_}
            break
        tiers |= {c.sf.id: Tier.ARROW for c in joined}
        paid |= {column for c in joined for column in c.columns}
        started = True
        open_ = [c for c in open_ if c not in joined]
    return [tiers[c.sf.id] for c in candidates]


def _preferred(c: Candidate) -> Tier:
    return Tier.ARROW if Tier.ARROW in c.costs else min(c.costs, key=c.costs.__getitem__)


def _worth_crossing(
    open_: Sequence[Candidate],
    paid: set[str],
    started: bool,
    kinds: Mapping[str, pa.DataType],
) -> list[Candidate]:
    """Return slices that are cheaper over Arrow columns, their columns' crossing included."""
    by_columns: dict[frozenset[str], list[Candidate]] = {}
    for c in open_:
        by_columns.setdefault(frozenset(c.columns) - paid, []).append(c)
    for new in sorted(by_columns, key=lambda s: (len(s), sorted(s))):
        group = [c for s, cs in by_columns.items() if s <= new for c in cs]
        gain = sum(c.costs[Tier.SPARK] - c.costs[Tier.ARROW] for c in group)
        price = sum(_CROSSING.get(kind_of(kinds[c]), _CROSSING_OTHER) for c in new)
        if gain > price + (0.0 if started else _BATCH):
            return group
    return []


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
