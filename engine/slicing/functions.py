"""Slicing functions and preprocessors, as users write them.

The names and call shapes are those of Snorkel's slicing tutorial, so that a script written for
it needs other import lines only.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, cast

from engine.arguments import flag, mapping, members, text
from engine.errors import ArgumentError, SliceError, shown
from engine.slicing.algebra import composed
from engine.slicing.batch import per_row, stretched
from engine.slicing.evaluate import fields_of, of_row
from engine.slicing.expr import Expr
from engine.slicing.fingerprint.identity import describe
from engine.slicing.fingerprint.parts import Named, Parts, others
from engine.slicing.ids import check_id, composition_id, slug
from engine.slicing.rows import MutableRow, Row, own_copy, values_of
from engine.slicing.slices import SliceKind, check_local


class Preprocessor:
    """A function that adds fields to a row before slicing functions see it.

    It runs once per row, however many slicing functions name it, on a copy of the row.

    Parameters
    ----------
    name
        The name in errors and in ``explain``.
    f
        A function of a row that returns the row, with fields added or changed; with ``batch`` of
        a batch of rows.
    pre
        Preprocessors to run before this one.
    memoize
        Keep results per distinct input. Only for a function whose result depends on the row's
        values alone.
    memoize_key
        A function of the row giving a hashable key; by default all values of the columns read.
    batch
        Whether ``f`` takes many rows at once, as one row of lists: ``xs.text`` is the list of
        their texts, and a field is set to a list with a value per row, in the same order. What
        it sets for a row must not depend on the others: where it fails it is called with fewer,
        down to one.
    version
        What its author changes with it, see :class:`SlicingFunction`.

    Attributes
    ----------
    fields
        The fields that it reads and those that it sets, where its code doesn't say.
    memo_size
        How many distinct inputs a memoized one remembers in a Python worker, where not 100,000.

    Examples
    --------
    >>> from engine.slicing.rows import Row
    >>> def lengths(xs):
    ...     xs.length = [len(text) for text in xs.text]
    ...     return xs
    >>> Preprocessor("lengths", lengths, batch=True)(Row({"text": "hello"}))
    Row(text='hello', length=5)
    """

    fields: tuple[frozenset[str], frozenset[str]] | None = None
    memo_size: int | None = None

    def __init__(
        self,
        name: str,
        f: Callable[[Any], Any],
        pre: Sequence[Preprocessor] | None = None,
        memoize: bool = False,
        memoize_key: Callable[[Any], Hashable] | None = None,
        *,
        batch: bool = False,
        version: str | int | None = None,
    ) -> None:
        _check_parts("Preprocessor", f, None, pre, None, None)
        if memoize_key is not None and not callable(memoize_key):
            raise ArgumentError("Preprocessor", "memoize_key", "a function", memoize_key)
        self.name = text("Preprocessor", "name", name)
        self.f = f
        self.pre = tuple(pre or ())
        self.memoize = flag("Preprocessor", "memoize", memoize)
        self.memoize_key = memoize_key
        self.batch = flag("Preprocessor", "batch", batch)
        self.version = _version("preprocessor", name, version)

    @property
    def chain(self) -> tuple[Preprocessor, ...]:
        """The preprocessors before it and itself, in running order."""
        return (*(q for p in self.pre for q in p.chain), self)

    def __call__(self, x: Any) -> Any:
        """Return the preprocessed copy of one row."""
        for p in self.chain:
            x = p.run_alone(x)
        return x

    def run_alone(self, x: Any) -> Any:
        """Run this preprocessor only, not those before it, on a copy of ``x``."""
        if self.batch and not isinstance(x, Row):
            return self._of_object(x)
        own = MutableRow(own_copy(values_of(x))) if type(x) is Row else copy.deepcopy(x)
        if self.batch:
            values_of(own).update(stretched([values_of(own)]))
        result = self.f(own)
        if result is None:
            raise not_a_row(self.name)
        if self.batch:
            fields = self.returned(result)
            fields.update({k: per_row(self.name, k, v, 1)[0] for k, v in fields.items()})
        return result

    def returned(self, result: Any) -> dict[str, Any]:
        """Return the fields of what ``f`` returned.

        Raises
        ------
        SliceError
            If it is no row.
        """
        fields = values_of(result) if isinstance(result, Row) else getattr(result, "__dict__", None)
        if fields is None:
            raise not_a_row(self.name, result)
        return cast("dict[str, Any]", fields)

    def _of_object(self, x: Any) -> Any:
        """Run on the fields of a data point of another kind, and set them on a copy of it."""
        fields = fields_of(x)
        if fields is None:
            raise SliceError(
                f"preprocessor {self.name!r} takes batches, which have fields by name; a data "
                f"point of type {type(x).__name__} has none"
            )
        new, own = self.returned(self.run_alone(Row(dict(fields)))), copy.deepcopy(x)
        items, get = isinstance(x, Mapping), fields.get
        for name in fields.keys() - new.keys():
            own.__delitem__(name) if items else delattr(own, name)
        for name, value in new.items():
            if name not in fields or value is not get(name):
                own.__setitem__(name, value) if items else setattr(own, name, value)
        return own

    def __repr__(self) -> str:
        return f"Preprocessor {self.name}"


def not_a_row(name: str, value: Any = None) -> SliceError:
    """Return the error of a preprocessor that returns no row."""
    return SliceError(f"preprocessor {name!r} returned {shown(value)}; it must return the row")


class preprocessor:  # noqa: N801 - a decorator, named as people know it
    """Make a :class:`Preprocessor` of a function.

    Raises
    ------
    ValueError
        If the decorator is used without parentheses.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> @preprocessor(memoize=True)
    ... def with_length(x):
    ...     x.length = len(x.text)
    ...     return x
    >>> with_length(SimpleNamespace(text="hello")).length
    5
    """

    def __init__(
        self,
        name: str | None = None,
        pre: Sequence[Preprocessor] | None = None,
        memoize: bool = False,
        memoize_key: Callable[[Any], Hashable] | None = None,
        *,
        batch: bool = False,
        version: str | int | None = None,
    ) -> None:
        if callable(name):
            raise without_parentheses("preprocessor", name)
        Preprocessor("preprocessor" if name is None else name, bool, pre, memoize, memoize_key)
        self.name, self.pre, self.memoize, self.memoize_key = name, pre, memoize, memoize_key
        self.batch, self.version = flag("preprocessor", "batch", batch), version

    def __call__(self, f: Callable[[Any], Any]) -> Preprocessor:
        """Wrap ``f``."""
        if not callable(f):
            raise ArgumentError("preprocessor", "what it is put on", "a function", f)
        return Preprocessor(
            self.name or _name(f),
            f,
            self.pre,
            self.memoize,
            self.memoize_key,
            batch=self.batch,
            version=self.version,
        )


def without_parentheses(decorator: str, f: object) -> SliceError:
    """Return the error of a decorator that is used without its parentheses."""
    name = getattr(f, "__name__", repr(f))
    return SliceError(f"@{decorator} on {name} needs parentheses: write @{decorator}()")


class SlicingFunction:
    """A named function that says whether a row is in a slice.

    Parameters
    ----------
    name
        A free name. Where it is an identifier it is also the slice's id.
    f
        One of: a function of a row; a function of pandas Series whose parameters are annotated
        ``pd.Series`` and named like columns; a function without parameters that returns a Spark
        Column (called once a session exists).
    resources
        Further keyword arguments for ``f``.
    pre
        Preprocessors to run on the row first (row functions only).
    id
        The mask column's name; by default the slug of ``name``, see :func:`slug`.
    description
        One sentence for reports; by default the first line of ``f``'s docstring.
    pure
        Whether a row function's answer depends on the row's values alone, so that it need be
        called once per distinct value of the columns that it reads.
    sql
        A SQL predicate, in place of ``f``; :func:`engine.where` is the short form.
    expr
        A tree over columns and other slices, in place of ``f``: what ``&``, ``|``, ``~``,
        :func:`engine.by` and :func:`engine.lookup` make.
    parts
        Slice id to the slice that a :class:`Mask` of the tree means.
    version
        Text or a whole number that the author changes where the engine can't see that answers
        change: with a file, a service or the environment that the function reads when it runs.
        It is part of the slice's fingerprint.

    Attributes
    ----------
    text
        A composition's own text of slice ids, while it has no other name.

    Raises
    ------
    ValueError
        If not exactly one of ``f``, ``sql`` and ``expr`` is given, ``pre`` goes with another
        form than a row function, ``id`` isn't an identifier, or ``version`` is something else.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> def has_word(x, word):
    ...     return word in x.text
    >>> sf = SlicingFunction("has_hello", has_word, resources={"word": "hello"})
    >>> sf(SimpleNamespace(text="hello you"))
    True
    >>> (sf & ~SlicingFunction("short", lambda x: len(x.text) < 9)).id
    'has_hello_and_not_short'
    """

    def __init__(
        self,
        name: str,
        f: Callable[..., Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        pre: Sequence[Preprocessor] | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the field's name everywhere
        description: str | None = None,
        pure: bool = False,
        sql: str | None = None,
        expr: Expr | None = None,
        parts: Mapping[str, SlicingFunction] | None = None,
        version: str | int | None = None,
    ) -> None:
        name = text("SlicingFunction", "name", name)
        _check_parts("SlicingFunction", f, resources, pre, id, description)
        if sql is not None:
            text("SlicingFunction", "sql", sql, "a SQL predicate")
        pure = flag("SlicingFunction", "pure", pure)
        self.name, self.f, self.sql, self.expr, self.pure = name, f, sql, expr, pure
        self.resources, self.parts = dict(resources or {}), dict(parts or {})
        self.pre = tuple(pre or ())
        self.text: str | None = None
        if id is not None:
            self.id = check_id(name, id)
        self.version = _version("slice", name, version)
        if (f is None) + (sql is None) + (expr is None) != 2:  # noqa: PLR2004 - one is given
            raise SliceError(f"slice {name!r}: give either a function or a SQL predicate")
        self.kind = SliceKind.EXPR if expr is not None else _kind(f, self.resources)
        if self.pre and self.kind is not SliceKind.ROW:
            raise SliceError(
                f"slice {name!r}: preprocessors go with row functions, this is a {self.kind} one"
            )
        doc = None if f is None else inspect.getdoc(f)
        first = (doc or "").partition("\n")[0].strip()
        self.description = first if description is None else description

    @functools.cached_property
    def id(self) -> str:
        """The mask column's name."""
        return slug(self.name) if self.text is None else composition_id(self.text)

    @property
    def chain(self) -> tuple[Preprocessor, ...]:
        """All preprocessors in running order."""
        return tuple(q for p in self.pre for q in p.chain)

    def __call__(self, *args: Any) -> Any:
        """Call the function: on one row, on Series, or (a Column function) on nothing."""
        if self.expr is not None:
            check_local([self])
            return of_row(self.expr, args[0], self.parts)
        if self.f is None:
            raise SliceError(f"slice {self.name!r}: a SQL predicate runs in Spark only")
        for p in self.chain:
            args = (p.run_alone(args[0]),)
        return self.f(*args, **self.resources)

    def named(
        self,
        name: str,
        *,
        id: str | None = None,  # noqa: A002
        description: str | None = None,
    ) -> SlicingFunction:
        """Return the same slice with another name, and with the id of that name or ``id``.

        Examples
        --------
        >>> where("short", "length(text) < 20").named("Short text").id
        'short_text'
        """
        name = text("SlicingFunction.named", "name", name)
        _check_parts("SlicingFunction.named", None, None, None, id, description)
        new = copy.copy(self)
        new.name, new.id, new.text = name, slug(name) if id is None else check_id(name, id), None
        new.description = self.description if description is None else description
        return new

    def __and__(self, other: SlicingFunction) -> SlicingFunction:
        """Return the slice of the rows in both."""
        return self._composed("kleene_and", other)

    def __or__(self, other: SlicingFunction) -> SlicingFunction:
        """Return the slice of the rows in either."""
        return self._composed("kleene_or", other)

    def __invert__(self) -> SlicingFunction:
        """Return the slice of the rows out of this one."""
        return self._composed("kleene_not")

    def _composed(self, op: str, *others: SlicingFunction) -> SlicingFunction:
        if not all(isinstance(o, SlicingFunction) for o in others):
            return cast("SlicingFunction", NotImplemented)  # Python then says so
        written, tree, parts = composed(op, self, *others)
        sf = SlicingFunction(written, expr=tree, parts=parts)
        sf.text = sf.description = written
        return sf

    def __bool__(self) -> bool:
        """Refuse: Python's ``a and b`` would be ``b``, without a word."""
        raise SliceError(
            f"slice {self.name!r}: compose slices with &, | and ~, not with and, or and not"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.name} ({self.kind})"


class slicing_function:  # noqa: N801 - a decorator, named as people know it
    """Make a :class:`SlicingFunction` of a function.

    Raises
    ------
    ValueError
        If the decorator is used without parentheses.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> @slicing_function()
    ... def short_comment(x):
    ...     return len(x.text.split()) < 5
    >>> short_comment(SimpleNamespace(text="nice video"))
    True
    """

    def __init__(
        self,
        name: str | None = None,
        resources: Mapping[str, Any] | None = None,
        pre: Sequence[Preprocessor] | None = None,
        *,
        id: str | None = None,  # noqa: A002
        description: str | None = None,
        pure: bool = False,
        version: str | int | None = None,
    ) -> None:
        if callable(name):
            raise without_parentheses(type(self).__name__, name)
        if name is not None:
            text("slicing_function", "name", name)
        _check_parts("slicing_function", None, resources, pre, id, description)
        flag("slicing_function", "pure", pure)
        self.name, self.resources, self.pre = name, resources, pre
        self.id, self.description, self.pure, self.version = id, description, pure, version

    def __call__(self, f: Callable[..., Any]) -> SlicingFunction:
        """Wrap ``f``."""
        if not callable(f):
            raise ArgumentError("slicing_function", "what it is put on", "a function", f)
        about = {name: getattr(self, name) for name in ("id", "description", "pure", "version")}
        return self._function(self.name or _name(f), f, about)

    def _function(
        self, name: str, f: Callable[..., Any], about: Mapping[str, Any]
    ) -> SlicingFunction:
        return SlicingFunction(name, f, self.resources, self.pre, **about)


def where(
    name: str,
    predicate: str,
    *,
    id: str | None = None,  # noqa: A002
    description: str | None = None,
    version: str | int | None = None,
) -> SlicingFunction:
    """Make a slice of a SQL predicate; Spark runs it without Python.

    Examples
    --------
    >>> where("short", "length(text) < 20")
    SlicingFunction short (sql)
    """
    predicate = text("where", "predicate", predicate, "a SQL predicate")
    return SlicingFunction(
        text("where", "name", name),
        sql=predicate,
        id=id,
        description=predicate if description is None else description,
        version=version,
    )


def functions(call: str, sfs: Any) -> tuple[SlicingFunction, ...]:
    """Return the slicing functions of a list.

    Raises
    ------
    ArgumentError
        If it isn't a list, or one of its entries isn't a slicing function.

    Examples
    --------
    >>> functions("SFApplier", [len])
    Traceback (most recent call last):
    engine.errors.ArgumentError: SFApplier: each of sfs must be a slicing function, found the \
function 'len'; make it one with @slicing_function()
    """
    return tuple(members(
        call, "sfs", sfs, SlicingFunction, "a list of slicing functions", "a slicing function",
        write=lambda sf: f"[{sf.id}]", hint=how_to_slice,
    ))  # fmt: skip


def how_to_slice(value: Any) -> str:
    """Say what makes a slicing function of another value, as the end of a sentence."""
    if isinstance(value, list | tuple):
        return "; write [*by(...), other] to put lists together"
    return "; make it one with @slicing_function()" if callable(value) else ""


def _check_parts(
    call: str, f: Any, resources: Any, pre: Any, slice_id: Any, description: Any
) -> None:
    if f is not None and not callable(f):
        hint = "; a SQL predicate is given by where(...)" if isinstance(f, str) else ""
        raise ArgumentError(call, "f", "a function", f, hint)
    if resources is not None:
        for name in mapping(call, "resources", resources, "a dict of arguments by name"):
            text(call, "each name in resources", name)
    if pre is not None:
        members(
            call, "pre", pre, Preprocessor, "a list of preprocessors", "a preprocessor",
            write=lambda one: f"pre=[{one.name}]",
            hint=lambda one: "; make it one with @preprocessor()" if callable(one) else "",
        )  # fmt: skip
    for argument, value in (("id", slice_id), ("description", description)):
        if value is not None and not isinstance(value, str):
            raise ArgumentError(call, argument, "a text", value)


def series_parameters(f: Callable[..., Any], resources: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the parameters of ``f`` that are columns of a vectorised function.

    Examples
    --------
    >>> def long(text: "pd.Series", least=3): ...
    >>> series_parameters(long, {"least": 5})
    ('text',)
    """
    own = (p for p in _parameters(f) if p.name not in resources)
    return tuple(p.name for p in own if _is_series(p.annotation))


def _version(what: str, name: str, version: Any) -> str | int | None:
    if version is not None and type(version) not in (str, int):
        raise SliceError(
            f"{what} {name!r}: the version {shown(version)} is a {type(version).__name__}; give "
            "text or a whole number, such as version=2"
        )
    return cast("str | int | None", version)


def _name(f: Callable[..., Any]) -> str:
    return str(getattr(f, "__name__", type(f).__name__))


def _kind(f: Callable[..., Any] | None, resources: Mapping[str, Any]) -> SliceKind:
    if f is None:
        return SliceKind.SQL
    if series_parameters(f, resources):
        return SliceKind.PANDAS
    # A row function always takes the row, so one that can be called with nothing gives a Column.
    by_row = any(_takes_row(p, resources) for p in _parameters(f))
    return SliceKind.ROW if by_row else SliceKind.COLUMN


def _takes_row(p: inspect.Parameter, resources: Mapping[str, Any]) -> bool:
    """Tell whether a parameter takes the row: `*args` does, one with a value doesn't."""
    by_place = p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)
    return by_place and p.name not in resources and p.default is p.empty


def _parameters(f: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature takes the row
        return [inspect.Parameter("x", inspect.Parameter.POSITIONAL_ONLY)]


def _is_series(annotation: Any) -> bool:
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return name.partition("[")[0].rpartition(".")[2].strip("'\" ") == "Series"


def slice_parts(sf: SlicingFunction) -> Parts:
    """Return what of a slice is in its fingerprint."""
    if sf.expr is not None:
        ids = sorted(sf.parts)
        parts = [("", sf.parts[i]) for i in ids]
        return Parts(f"slice:{sf.kind}:{ids}", [*_about(sf), ("", sf.expr), *parts])
    resources = [*sf.resources.items()]
    code = getattr(sf.f, "__code__", None)
    if code is not None and not code.co_flags & inspect.CO_VARKEYWORDS:
        resources.sort()  # keyword arguments have no order
    pandas = [("", others("pandas"))] if sf.kind == "pandas" else []
    below = [*_about(sf), ("sql", sf.sql), ("", sf.f), *resources, ("pre", sf.pre), *pandas]
    return Parts(f"slice:{sf.kind}", below)


def preprocessor_parts(p: Preprocessor) -> Parts:
    """Return what of a preprocessor is in a fingerprint."""
    key = ("key", p.memoize_key if p.memoize else None)
    batch = [("batch", True)] if p.batch else []
    return Parts("preprocessor", [*_about(p), ("", p.f), key, ("pre", p.pre), *batch])


def _about(one: SlicingFunction | Preprocessor) -> list[Named]:
    return [] if one.version is None else [("version", one.version)]


describe(SlicingFunction, slice_parts)
describe(Preprocessor, preprocessor_parts)
