"""What a slice says, as a tree over columns: what tiers translate.

Lifting makes a tree of a Python function (:mod:`engine.lift.lift`), factories make one of a
column's value or of slices. It says *what*, in Python's terms: a tier that translates an operation
must give what Python gives, or leave the row to Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.slicing.constants import constant_key
from engine.slicing.ids import digest


@dataclass(frozen=True, slots=True)
class Expr:
    """A node; equal nodes have equal values on every row, so a batch computes each once."""

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The nodes directly below."""
        return ()

    def walk(self) -> Iterator[Expr]:
        """Yield every distinct node, those below before those above.

        Examples
        --------
        >>> [type(e).__name__ for e in Call("len", (Column("text"),)).walk()]
        ['Column', 'Call']
        """
        done: set[Expr] = set()
        left: list[tuple[Expr, bool]] = [(self, False)]
        while left:
            e, below_done = left.pop()
            if e in done:
                continue
            if below_done:
                done.add(e)
                yield e
            else:
                left.append((e, True))
                left += [(p, False) for p in reversed(e.parts)]


@dataclass(frozen=True, slots=True)
class Column(Expr):
    """A column's value: what ``x.name`` is in a row function."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Const(Expr):
    """A value that is the same for every row.

    Constants are the same where their types and texts are: 1, 1.0 and True are three.
    """

    value: Any = field(compare=False)
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", constant_key(self.value))

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Mask(Expr):
    """Another slice's mask: True, False, or null where it could not decide."""

    slice_id: str

    def __str__(self) -> str:
        return self.slice_id


@dataclass(frozen=True)
class Call(Expr):
    """An operation on the values of other nodes; its name is a key of the tiers' tables.

    A tree may be thousands of nodes deep: nothing here calls itself for what is below.

    Examples
    --------
    >>> deep = Column("a")
    >>> for _ in range(5_000):
    ...     deep = Call("not", (deep,))
    >>> deep == Call("not", deep.args), len(str(deep))
    (True, 25001)
    """

    op: str
    args: tuple[Expr, ...]
    _hash: int = field(default=0, init=False, repr=False, compare=False)

    def __hash__(self) -> int:  # once: a tree of a thousand keywords is looked up often
        left: list[Call] = [] if self._hash else [self]
        while left:
            below = [a for a in left[-1].args if isinstance(a, Call) and not a._hash]
            if below:
                left += below
            else:
                node = left.pop()
                object.__setattr__(node, "_hash", hash((node.op, node.args)) or 1)
        return self._hash

    def __eq__(self, other: object) -> bool:
        left: list[tuple[object, object]] = [(self, other)]
        same: set[tuple[int, int]] = set()  # a node that is shared is compared once
        while left:
            a, b = left.pop()
            if a is b or (id(a), id(b)) in same:
                continue
            if isinstance(a, Call) and isinstance(b, Call):
                if hash(a) != hash(b) or a.op != b.op or len(a.args) != len(b.args):
                    return False
                same.add((id(a), id(b)))
                left += zip(a.args, b.args, strict=True)
            elif isinstance(a, Call) or isinstance(b, Call) or a != b:
                return False
        return True

    def __reduce__(self) -> tuple[Any, ...]:  # texts have another hash in each process
        places: dict[Expr, int] = {}
        nodes: list[Any] = []
        for node in self.walk():
            places[node] = len(nodes)
            nodes.append((node.op, [places[a] for a in node.args]) if isinstance(node, Call)
                         else node)  # fmt: skip
        return _call, (nodes,)

    @property
    def parts(self) -> tuple[Expr, ...]:
        """The arguments."""
        return self.args

    def __str__(self) -> str:
        return "".join(_pieces(self))

    __repr__ = __str__


def _call(nodes: list[Any]) -> Expr:
    """Return a tree from its nodes, those below before those above."""
    trees: list[Expr] = []
    for node in nodes:
        trees.append(
            node if isinstance(node, Expr) else Call(node[0], tuple(trees[i] for i in node[1]))
        )
    return trees[-1]


def _pieces(tree: Expr) -> Iterator[str]:
    left: list[Expr | str] = [tree]
    while left:
        node = left.pop()
        if isinstance(node, Call):
            yield f"{node.op}("
            left.append(")")
            for at, arg in enumerate(reversed(node.args)):
                left += [", ", arg] if at else [arg]
        else:
            yield str(node)


def shown(tree: Expr, most: int) -> str:
    """Return a tree as text, cut after some characters; what is cut off costs no time.

    Examples
    --------
    >>> shown(Call("not", (Column("a_column"),)), 9)
    'not(a_...'
    """
    text = ""
    for piece in _pieces(tree):
        text += piece
        if len(text) > most:
            return text[: most - 3] + "..."
    return text


@dataclass(frozen=True)
class Keys:
    """What a column's values are looked up in: a set of keys, or a column of a table.

    Attributes
    ----------
    about
        A text that two have in common only if they are the same keys.
    values
        The keys; None where they are in a table.
    table, column, version
        The place of keys in a table; the version is known once the table was looked at.
    """

    about: str
    values: frozenset[Any] | None = field(default=None, repr=False, compare=False)
    table: str = ""
    column: str = ""
    version: str = ""

    @staticmethod
    def of_values(values: Iterable[Any]) -> Keys:
        """Return a set of keys; None is ignored."""
        keys = frozenset(v for v in values if v is not None)
        return Keys(digest("\n".join(sorted(map(constant_key, keys)))), keys)

    @staticmethod
    def of_table(table: str, column: str, version: str = "") -> Keys:
        """Return the keys in a column of a table."""
        return Keys(f"{table}\n{column}\n{version}", None, table, column, version)


@dataclass(frozen=True, slots=True)
class Lookup(Expr):
    """Whether a column's value is one of many keys: null where it is null.

    Where keys are many or in a table, Spark joins them and leaves the answer in a BOOLEAN column
    with the name :attr:`marker` (:mod:`engine.label.lookup_joins`).
    """

    column: str
    keys: Keys
    how: Literal["auto", "broadcast", "join"] = field(default="auto", compare=False)

    @property
    def marker(self) -> str:
        """Name of the column that the answer is in."""
        return "__in_" + digest(f"{self.column}\n{self.keys.about}")[:16]

    def has_few_keys(self, few: float) -> bool:
        """Tell whether the keys are a set of at most ``few``."""
        return self.keys.values is not None and len(self.keys.values) <= few

    def __str__(self) -> str:
        return f"lookup({self.column}, {self.keys.table or len(self.keys.values or ())})"


def replaced(tree: Expr, new: Mapping[Expr, Expr]) -> Expr:
    """Return a tree in which some nodes are others.

    Examples
    --------
    >>> str(replaced(Call("not", (Mask("a"),)), {Mask("a"): Column("b")}))
    'not(b)'
    """
    done = dict(new)
    for node in tree.walk():
        if isinstance(node, Call) and node not in done:
            args = tuple(done.get(part, part) for part in node.args)
            done[node] = node if args == node.args else Call(node.op, args)
    return done.get(tree, tree)


FEW = 10_000  # keys that are compared with directly; Spark joins more


def without_lookups(tree: Expr, few: float = FEW) -> Expr:
    """Return a tree in which look-ups are other operations.

    A look-up of few keys becomes ``None if column is None else column in keys``. Any other
    one becomes the BOOLEAN column in which :mod:`engine.label.lookup_joins` leaves its answer.

    Examples
    --------
    >>> str(without_lookups(Lookup("a", Keys.of_values([1]))))
    'if(is_none(a), None, in(a, frozenset({1})))'
    """
    lookups = [node for node in tree.walk() if isinstance(node, Lookup)]
    return replaced(tree, {node: _compared(node, few) for node in lookups}) if lookups else tree


def _compared(node: Lookup, few: float) -> Expr:
    if not node.has_few_keys(few):
        return Column(node.marker)
    column = Column(node.column)
    is_key = Call("in", (column, Const(node.keys.values, node.keys.about)))
    return Call("if", (Call("is_none", (column,)), Const(None), is_key))
