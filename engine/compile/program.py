"""Trees as one list of steps for a batch: each distinct node once, texts scanned once."""

from __future__ import annotations

import copy
import functools
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

import engine.compile.catch
import engine.compile.decimals
import engine.compile.folds
import engine.compile.methods
import engine.compile.times  # noqa: F401 - all four: they register their forms
from engine.compile.guards import Condition, conditions, idle_rows
from engine.compile.lists import values_at
from engine.compile.repeats import repeats
from engine.compile.vectors import ASK, BY_KIND, VECTORS, Batch, Vec, kind_of, leaf, strict_fail
from engine.lift.body import Body
from engine.matching.patterns import PatternSet, Search
from engine.ops.operations import OPERATIONS
from engine.slicing.evaluate import BatchMask
from engine.slicing.expr import Call, Column, Const, Expr

# Operation on a text -> the kind of search that a pattern set answers.
_SEARCHES = {
    "in": "contains", "startswith": "startswith", "endswith": "endswith", "re_search": "search",
    "re_match": "match", "re_fullmatch": "fullmatch",
}  # fmt: skip
FORMS = frozenset({"lower"})  # of a text, that a pattern set searches


class Steps(NamedTuple):
    """What a tree is made of: operations, those of them that run in Python, and what a row costs.

    The cost is an estimate in microseconds of one core; those shared with other trees count.
    """

    n: int
    in_python: int
    microseconds: float


def _nothing(_: int) -> None:
    pass


class Program:
    """Trees compiled for columns of known types.

    Parameters
    ----------
    trees
        A tree per slice.
    kinds
        Column to its Arrow type.
    matcher
        Which multi-pattern matcher is used; see :class:`PatternSet`.
    masks
        Whether values are wanted as masks.

    Examples
    --------
    >>> short = Call("lt", (Call("len", (Column("text"),)), Const(3)))
    >>> program = Program([short], {"text": pa.string()})
    >>> mask, = program.run({"text": pa.array(["a", "abc", None])}, 3)
    >>> mask.members.tolist(), mask.undecided.tolist()
    ([True, False, False], [False, False, True])
    """

    def __init__(
        self,
        trees: Sequence[Expr],
        kinds: Mapping[str, pa.DataType],
        matcher: str = "auto",
        masks: bool = True,
    ) -> None:
        self.kinds, self._matcher = dict(kinds), matcher
        self._bodies: dict[tuple[Body, frozenset[str]], Program] = {}
        done: dict[Expr, Expr] = {}
        roots = [rewritten(tree, done) for tree in trees]
        roots = [as_mask(root) for root in roots] if masks else roots
        places: dict[Expr, int] = {}
        self._steps: list[tuple[Callable[..., Vec] | None, Expr, tuple[int, ...]]] = []
        self._columns: list[str | None] = []  # of each step: the only column that it is of
        self._searches: dict[str, dict[Search, int]] = {}
        self._search_of: dict[int, tuple[str, int, str]] = {}
        for root in roots:
            for node in distinct(root, places, self.kinds):
                places[node] = len(self._steps)
                self._steps.append(self._step(node, places))
                self._columns.append(self._column_of(len(self._columns)))
        self._roots = [places[root] for root in roots]
        self._live: Sequence[int] = range(len(self._steps))
        self._drop = _last_uses(self._steps, self._live, self._roots)
        self._owners = self._first_trees()
        self._slow = self._slow_columns()
        self._conditions = conditions(self._steps, self._roots)
        self._sets = {
            column: PatternSet(list(searches), matcher)
            for column, searches in self._searches.items()
        }

    def _step(
        self, node: Expr, places: Mapping[Expr, int]
    ) -> tuple[Callable[..., Vec] | None, Expr, tuple[int, ...]]:
        where = search_of(node, self.kinds)
        if where is not None:
            column, search = where
            searches = self._searches.setdefault(column, {})
            at = searches.setdefault(search, len(searches))
            assert isinstance(node, Call)
            kind = "match" if node.op.startswith("re_") else "bool"
            self._search_of[len(self._steps)] = column, at, kind
            return None, node, ()
        if isinstance(node, Call):
            return VECTORS[node.op], node, tuple(places[a] for a in node.args)
        return None, node, ()

    def _column_of(self, at: int) -> str | None:
        """Return the only column that a step is of; a constant is of none."""
        _, node, args = self._steps[at]
        if at in self._search_of:
            return self._search_of[at][0]
        if isinstance(node, Column):
            return node.name
        of = {self._columns[a] for a in args if not _is_of_none(self._steps[a][1])}
        return of.pop() if len(of) == 1 else None

    def _slow_columns(self) -> list[str]:
        """Return columns about which enough is asked to look for distinct values first."""
        costs: dict[str, float] = dict.fromkeys(self._searches, _SCAN)
        for column, (run, node, _) in zip(self._columns, self._steps, strict=True):
            if column is not None and run is not None and isinstance(node, Call):
                cost = OPERATIONS[node.op].cost
                quick = _WHOLE_TEXT if (node.op, "text") in BY_KIND else cost.columns
                costs[column] = costs.get(column, 0.0) + (cost.python if quick is None else quick)
        return [column for column, cost in costs.items() if cost >= _WORTH]

    def run(
        self,
        columns: Mapping[str, pa.Array],
        n: int,
        seconds: list[float] | None = None,
        unreadable: dict[str, np.ndarray] | None = None,
        begin: Callable[[int], object] = _nothing,
    ) -> list[BatchMask]:
        """Return each tree's mask over Arrow columns of ``n`` rows.

        Parameters
        ----------
        columns, n
            The batch.
        seconds
            Gets the CPU seconds that each tree took; of what several share, its part.
        unreadable
            Gets the rows of columns that hold what Python can't; of the trees' columns.
        begin
            Is called before each step, with the first tree that the step is of.
        """
        batch = Batch(columns, n)
        of_steps = None if seconds is None else dict.fromkeys(self._live, 0.0)
        values = self._values(batch, of_steps, unreadable=unreadable, begin=begin)
        masks = [_mask(vec, batch) for vec in values]
        if seconds is None or of_steps is None:
            return masks
        users = {at: set(self._below(root)) for at, root in enumerate(self._roots)}
        shares = Counter(step for steps in users.values() for step in steps)
        seconds += (sum(of_steps[at] / shares[at] for at in steps) for steps in users.values())
        return masks

    def without(self, trees: Collection[int]) -> Program:
        """Return a program that leaves out some trees, by their positions."""
        fewer = copy.copy(self)
        fewer._roots = [root for at, root in enumerate(self._roots) if at not in trees]
        fewer._live = sorted({step for root in fewer._roots for step in self._below(root)})
        fewer._drop = _last_uses(self._steps, fewer._live, fewer._roots)
        fewer._owners = fewer._first_trees()
        searched = {self._search_of[at][0] for at in fewer._live if at in self._search_of}
        fewer._sets = {c: patterns for c, patterns in self._sets.items() if c in searched}
        columns = {self._columns[at] for at in fewer._live}
        fewer._slow = [c for c in self._slow if c in columns]
        return fewer

    def _first_trees(self) -> dict[int, int]:
        """Return for each step the first tree that it is of."""
        trees = reversed([*enumerate(self._roots)])
        return {step: at for at, root in trees for step in self._below(root)}

    def _below(self, root: int) -> Iterator[int]:
        """Yield the steps that a step is made of, itself among them."""
        left, known = [root], {root}
        while left:
            at = left.pop()
            yield at
            new = [a for a in self._steps[at][2] if a not in known]
            known.update(new)
            left += new

    def dry_run(self) -> tuple[list[str], list[Steps]]:
        """Return what columns of these types say, whatever the rows are.

        They are why parts of the trees are left to Python, and the steps of each tree.
        """
        batch = Batch({c: pa.array([], kind) for c, kind in self.kinds.items()}, 0)
        by_value: set[int] = set()
        self._values(batch, by_value=by_value)
        return batch.notes.doubts, [self._steps_of(root, by_value) for root in self._roots]

    def _steps_of(self, root: int, by_value: Set[int]) -> Steps:
        n, microseconds, below = 0, 0.0, set(self._below(root))
        for at in below:
            node = self._steps[at][1]
            if isinstance(node, Call):
                n += 1
                cost = OPERATIONS[node.op].cost
                quick = _QUICK_STEP if cost.columns is None else cost.columns
                microseconds += cost.python + PER_VALUE if at in by_value else quick
        return Steps(n, len(below & by_value), microseconds)

    def _body(self, body: Body, inner: Batch) -> Vec:
        """Return what a body gives of elements."""
        texts = frozenset(name for name in body.names if inner.vec(name).kind == "text")
        if (body, texts) not in self._bodies:
            kinds = {n: pa.string() if n in texts else pa.null() for n in body.names}
            self._bodies[body, texts] = Program([body.tree], kinds, self._matcher, masks=False)
        (value,) = self._bodies[body, texts]._values(inner)
        return value

    def _values(
        self,
        batch: Batch,
        seconds: dict[int, float] | None = None,
        by_value: set[int] | None = None,
        unreadable: dict[str, np.ndarray] | None = None,
        begin: Callable[[int], object] = _nothing,
    ) -> list[Vec]:
        """Return the trees' values.

        ``seconds`` gets the CPU seconds of each step, ``by_value`` those that ran in Python, and
        ``unreadable`` the rows of columns that hold what Python can't.
        """
        clock = _stopped if seconds is None else time.thread_time
        start = clock()
        own, places = self._repeating(batch)
        hits = {c: patterns.run(own.get(c, batch).text(c)) for c, patterns in self._sets.items()}
        prepared = clock() - start
        values: dict[int, Vec] = {}
        wide: dict[int, Vec] = {}  # values of distinct values, for each row
        idle: dict[Condition, np.ndarray] = {}

        def value(at: int, column: str | None) -> Vec:
            """Return a step's value where a step of a column needs it."""
            of = self._columns[at]
            if of is None or of not in own or of == column:
                return values[at]
            if at not in wide:
                node = self._steps[at][1]
                of_rows = isinstance(node, Column)
                wide[at] = (
                    leaf(batch, node)
                    if of_rows
                    else values_at(values[at], places[of], own[of], batch)
                )
            return wide[at]

        for at in self._live:
            begin(self._owners[at])
            start, before = clock(), batch.notes.by_value
            run, node, args = self._steps[at]
            column = self._columns[at]
            here = batch if column is None else own.get(column, batch)
            if run is not None:
                before_it = here.idle
                if self._conditions[at]:
                    here.idle = self._idle(at, here, own, value, idle)
                values[at] = run(here, node, *(value(a, column) for a in args))
                here.idle = before_it
            elif at in self._search_of:
                name, which, kind = self._search_of[at]
                values[at] = Vec(kind, hits[name][which], None, strict_fail(here.vec(name)))
            elif isinstance(node, Body):
                values[at] = Vec("body", functools.partial(self._body, node))
            else:
                values[at] = leaf(here, node)
            if seconds is not None:
                seconds[at] = clock() - start + prepared / len(self._live)
            if by_value is not None and batch.notes.by_value > before:
                by_value.add(at)
            for done in self._drop.get(at, ()):
                del values[done]
                wide.pop(done, None)
        if unreadable is not None:
            for column in self._read:
                bad = own.get(column, batch).unreadable(column)
                if bad is not None:
                    unreadable[column] = bad[places[column]] if column in places else bad
        return [value(at, None) for at in self._roots]

    @functools.cached_property
    def _read(self) -> list[str]:
        """The columns of the rows that the trees read."""
        return [c for c in dict.fromkeys(self._columns) if c is not None and c in self.kinds]

    def _idle(
        self,
        at: int,
        batch: Batch,
        own: Mapping[str, Batch],
        value: Callable[[int, str | None], Vec],
        known: dict[Condition, np.ndarray],
    ) -> Callable[[], np.ndarray | None]:
        """Return what tells the rows on which nothing looks at a step's values."""
        column = self._columns[at] if self._columns[at] in own else None
        known = known if column is None else {}

        def tested(step: int) -> Vec | None:
            here = column is None or self._columns[step] == column
            return value(step, column) if here else None

        outside = batch.idle
        return lambda: idle_rows(self._conditions[at], batch, outside(), tested, known)

    def _repeating(self, batch: Batch) -> tuple[dict[str, Batch], dict[str, np.ndarray]]:
        """Return batches of the distinct values of columns that have few, and each row's place."""
        own: dict[str, Batch] = {}
        places: dict[str, np.ndarray] = {}
        for column in self._slow:
            distinct = repeats(batch.columns[column]) if batch.is_given(column) else None
            if distinct is not None:
                values, places[column] = distinct
                own[column] = Batch({column: values}, len(values), batch.notes)
        return own, places

    @property
    def linear(self) -> set[str]:
        """Patterns whose every search takes time in proportion to the text."""
        risky = {
            (search.pattern, risk)
            for column, patterns in self._sets.items()
            for search, risk in zip(self._searches[column], patterns.backtracking, strict=True)
        }
        return {p for p, _ in risky} - {p for p, risk in risky if risk is not None}

    @property
    def methods(self) -> dict[tuple[str, Search], str]:
        """How each search in a column is answered, in a few words."""
        return {
            (column, search): how
            for column, patterns in self._sets.items()
            for search, how in zip(self._searches[column], patterns.methods, strict=True)
        }


def _is_of_none(node: Expr) -> bool:
    """Tell what has the same value whatever the rows are."""
    return isinstance(node, Const | Body)


PER_VALUE = 0.08  # microseconds of going through a column's values in Python
_QUICK_STEP = 0.01  # microseconds of a step over columns whose operation has no cost for it
_WHOLE_TEXT = 0.02  # microseconds of a method of text over a whole column
_SCAN = 0.05  # microseconds that searches in a text take, at least
_WORTH = 0.05  # microseconds per row from which on distinct values are looked for


def _mask(vec: Vec, batch: Batch) -> BatchMask:
    if vec.kind == "const":
        null = np.full(batch.n, True) if vec.values is None else None
        vec = Vec("bool", np.full(batch.n, vec.values is True), null, vec.fail)
    if vec.kind != "bool":  # every row failed, so the values have no kind
        vec = VECTORS["mask"](batch, None, vec)
    members, null, fail = vec.values, vec.null, vec.fail
    if null is not None:
        members = members & ~null
    if fail is None:
        return BatchMask(members, null)
    members = members & (fail == 0)
    undecided = fail == 1 if null is None else (fail == 1) | (null & (fail == 0))
    ask = fail >= ASK
    return BatchMask(members, undecided, ask if ask.any() else None)


def search_of(node: Expr, kinds: Mapping[str, pa.DataType]) -> tuple[str, Search] | None:
    """Return the column and the search that a node asks, if a pattern set answers it."""
    if not isinstance(node, Call) or node.op not in _SEARCHES:
        return None
    what, text = node.args[::-1] if node.op in ("startswith", "endswith") else node.args
    form = "as_is"
    if isinstance(text, Call) and text.op in FORMS and len(text.args) == 1:
        form, text = text.op, text.args[0]
    if not isinstance(what, Const) or not isinstance(text, Column):
        return None
    if kind_of(kinds[text.name]) != "text":
        return None
    kind, value = _SEARCHES[node.op], what.value
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        return text.name, Search(kind, value.pattern, value.flags, form)
    return (text.name, Search(kind, value, 0, form)) if isinstance(value, str) else None


def as_mask(tree: Expr) -> Expr:
    """Return a tree whose value is a function's answer as True, False or None."""
    if isinstance(tree, Const):
        known = isinstance(tree.value, bool | int | type(None))
        answers: Mapping[Any, bool | None] = {1: True, 0: False, -1: None, None: None}
        if known and tree.value in answers:
            return Const(answers[tree.value])
        return Call("raise", ())  # no mask: Python says which fault it is
    if isinstance(tree, Call):
        if OPERATIONS[tree.op].returns_bool:
            return tree
        if tree.op == "if":
            return Call("if", (tree.args[0], as_mask(tree.args[1]), as_mask(tree.args[2])))
        if tree.op == "then":
            return Call("then", (tree.args[0], as_mask(tree.args[1])))
        if tree.op in ("and", "or"):
            masks = [as_mask(arg) for arg in tree.args]
            if all(mask is arg for mask, arg in zip(masks, tree.args, strict=True)):
                return Call("any" if tree.op == "or" else "all", tree.args)
            rest = masks[-1]
            for mask, arg in zip(masks[-2::-1], tree.args[-2::-1], strict=True):
                rest = Call("if", (arg, *((rest, mask) if tree.op == "and" else (mask, rest))))
            return rest
    return Call("mask", (tree,))


def rewritten(tree: Expr, done: dict[Expr, Expr]) -> Expr:
    """Return a tree in which operations that have a quick form together are one."""
    for node in tree.walk():
        if node in done or not isinstance(node, Call):
            continue
        args = tuple(done.get(a, a) for a in node.args)
        new = node if args == node.args else Call(node.op, args)
        done[node] = _REWRITES[new.op](new) if new.op in _REWRITES else new
    return done.get(tree, tree)


def _rewritten_len(node: Call) -> Call:
    inner = node.args[0]
    if not isinstance(inner, Call) or (inner.op == "split" and len(inner.args) > 1):
        return node
    return Call(_COUNTS[inner.op], inner.args) if inner.op in _COUNTS else node


_COUNTS = {"split": "word_count", "findall": "match_count"}  # what the length of a list is


def _rewritten_starts(node: Call) -> Call:
    what = node.args[1]
    if isinstance(what, Const) and isinstance(what.value, tuple) and what.value:
        return Call("any", tuple(Call(node.op, (node.args[0], Const(v))) for v in what.value))
    return node


_REWRITES: Mapping[str, Callable[[Call], Expr]] = {
    "len": _rewritten_len,
    "startswith": _rewritten_starts,
    "endswith": _rewritten_starts,
}


def distinct(
    root: Expr, places: Mapping[Expr, int], kinds: Mapping[str, pa.DataType]
) -> Iterator[Expr]:
    """Yield a tree's nodes that have no place yet, arguments first; a search has no arguments."""
    left: list[tuple[Expr, bool]] = [(root, False)]
    while left:
        node, below_done = left.pop()
        if node in places:
            continue
        if below_done or search_of(node, kinds) is not None:
            yield node
        else:
            left.append((node, True))
            left += [(part, False) for part in reversed(node.parts)]


def _last_uses(
    steps: Sequence[tuple[Any, Expr, tuple[int, ...]]], live: Sequence[int], roots: Sequence[int]
) -> dict[int, list[int]]:
    """Return after which step which values are not needed any more."""
    last = {a: at for at in live for a in steps[at][2]}
    drop: dict[int, list[int]] = {}
    for value in last.keys() - set(roots):
        drop.setdefault(last[value], []).append(value)
    return drop


def _stopped() -> float:
    return 0.0
