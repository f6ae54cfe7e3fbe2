"""Columns as numbers: fitted pipelines that travel in a checkpoint as JSON."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import repeat
from typing import Any, Protocol, Self, TypeAlias, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from scipy.sparse import coo_matrix
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor

from engine.arrow.columns import dense, plain_array
from engine.classifier.data.sparse import SparseRows
from engine.classifier.settings import FEATURES as SETTINGS
from engine.classifier.settings import check_spec
from engine.errors import (
    EmptyVocabularyError,
    FeatureSpecError,
    FeatureTypeError,
    MissingColumnError,
    NotFiniteError,
    TextTypeError,
)
from engine.plain import plain

Rows: TypeAlias = Any  # a pyarrow Table or RecordBatch (which have no types), or a DataFrame
Sparse: TypeAlias = Any  # scipy's csr_matrix, which has no types either

_TOKEN = r"(?u)\b\w\w+\b"
_ROW, _NEXT = "\0", -2  # between texts, and what stands for it; no token has it
_TOKEN_OR_ROW = re.compile(rf"{_TOKEN}|{_ROW}")
_EXAMPLES = 3


class Features(Protocol):
    """What turns rows into a model's input; all of it is JSON, nothing is fitted again."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""

    @property
    def width(self) -> int:
        """How many features there are."""

    def transform(self, rows: Any) -> Tensor:
        """Turn n rows into float32 [n, width]."""

    def field(self, rows: Any) -> Tensor | SparseRows:
        """Give :meth:`transform` as a data set keeps it: sparse where most of it is zero."""

    def to_json(self) -> dict[str, Any]:
        """Give the settings as JSON has them."""


@dataclass(frozen=True)
class BagOfWords:
    """Token counts over a fixed vocabulary, as scikit-learn's ``CountVectorizer`` counts them.

    Parameters
    ----------
    vocabulary
        The tokens, one per feature, in the features' order.
    ngram_range
        Shortest and longest run of tokens that is one feature.
    lowercase
        Whether text is lower-cased first.
    token_pattern
        The regular expression of a token.
    column
        The column of a table that holds the text.

    Examples
    --------
    >>> bag = BagOfWords.fit(["check this out", "out now", None])
    >>> bag.vocabulary
    ('check', 'now', 'out', 'this')
    >>> bag.transform(["Out, out!", None]).tolist()
    [[0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """

    vocabulary: tuple[str, ...]
    ngram_range: tuple[int, int] = (1, 1)
    lowercase: bool = True
    token_pattern: str = _TOKEN
    column: str = "text"

    @classmethod
    def fit(
        cls,
        texts: Iterable[Any] | Rows,
        ngram_range: Sequence[int] = (1, 1),
        lowercase: bool = True,
        token_pattern: str = _TOKEN,
        max_words: int | None = None,
        column: str = "text",
    ) -> Self:
        """Take the vocabulary from texts; a null text counts as empty.

        Parameters
        ----------
        texts
            Texts, or a table with ``column``.
        ngram_range, lowercase, token_pattern, column
            As the class has them.
        max_words
            Keep this many of the most frequent only.

        Raises
        ------
        TextTypeError
            When something is neither text nor null.
        EmptyVocabularyError
            When the texts hold no token.
        """
        about = {
            "ngram_range": ngram_range, "lowercase": lowercase, "token_pattern": token_pattern,
            "max_words": max_words, "column": column,
        }  # fmt: skip
        check_spec({"kind": "bag_of_words", **about}, SETTINGS, FeatureSpecError)
        known = _texts(texts, column)
        shortest, longest = ngram_range
        bag = cls((), (shortest, longest), lowercase, token_pattern, column)
        try:
            vectorizer = bag._vectorizer(max_words).fit(known)
        except ValueError as e:
            if "empty vocabulary" not in str(e):
                raise
            raise EmptyVocabularyError(len(known), token_pattern) from e
        return replace(bag, vocabulary=tuple(vectorizer.get_feature_names_out()))

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that it reads."""
        return (self.column,)

    @property
    def width(self) -> int:
        """How many features there are."""
        return len(self.vocabulary)

    def transform(self, texts: Iterable[Any] | Rows) -> Tensor:
        """Count tokens: n texts to float32 [n, vocabulary]; a null text counts as empty.

        Raises
        ------
        TextTypeError
            When something is neither text nor null.
        """
        return torch.from_numpy(self.counts(texts).toarray())

    def sparse(self, texts: Iterable[Any] | Rows) -> Tensor:
        """Give :meth:`transform` as a sparse CSR tensor, which ``nn.Linear`` takes too."""
        return _sparse_tensor(self.counts(texts))

    def field(self, texts: Iterable[Any] | Rows) -> Tensor | SparseRows:
        """Give :meth:`transform` as rows that take memory for their tokens only."""
        return _kept(self.counts(texts))

    def counts(self, texts: Iterable[Any] | Rows) -> Sparse:
        """Count tokens, as a sparse float32 [n, vocabulary]."""
        known = _texts(texts, self.column)
        joined = _ROW.join(known)
        usual = (self.ngram_range, self.token_pattern) == ((1, 1), _TOKEN)
        if plain() or not usual or joined.count(_ROW) != len(known) - 1:
            return self._fitted.transform(known)
        # All texts at once: a third of the time that scikit-learn's loop over texts takes.
        tokens = _TOKEN_OR_ROW.findall(joined.lower() if self.lowercase else joined)
        at = np.fromiter(map(self._positions.get, tokens, repeat(-1)), np.int64, len(tokens))
        row, held = np.cumsum(at == _NEXT), at >= 0
        shape = (len(known), self.width)
        counts = coo_matrix((np.ones(held.sum(), np.float32), (row[held], at[held])), shape)
        return counts.tocsr()  # which adds up a token's occurrences

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {_ROW: _NEXT, **{token: i for i, token in enumerate(self.vocabulary)}}

    def to_json(self) -> dict[str, Any]:
        """Give the settings as JSON has them."""
        return asdict(self)

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Self:
        """Build it from what ``to_json`` gave."""
        return cls(
            tuple(spec["vocabulary"]),
            tuple(spec["ngram_range"]),
            spec["lowercase"],
            spec["token_pattern"],
            spec.get("column", "text"),  # the first checkpoints don't say
        )

    @cached_property
    def _fitted(self) -> CountVectorizer:
        return self._vectorizer()

    def _vectorizer(self, max_words: int | None = None) -> CountVectorizer:
        return CountVectorizer(
            vocabulary=list(self.vocabulary) or None,
            ngram_range=self.ngram_range,
            lowercase=self.lowercase,
            token_pattern=self.token_pattern,
            max_features=max_words,
            dtype=np.float32,
        )


@dataclass(frozen=True)
class TfIdf:
    """Token counts weighted by how rare a token is, each text scaled to length 1.

    A token's weight is ln((1 + n) / (1 + df)) + 1 for n training texts of which df have it, as
    scikit-learn's ``TfidfVectorizer`` has it.

    Parameters
    ----------
    bag
        What counts tokens.
    idf
        The weight of each.
    sublinear_tf
        Whether a count c counts as 1 + ln c.

    Examples
    --------
    >>> rare = TfIdf.fit(["out now", "out there"])
    >>> rare.bag.vocabulary
    ('now', 'out', 'there')
    >>> [round(x, 2) for x in rare.transform(["out now now"])[0].tolist()]
    [0.94, 0.34, 0.0]
    """

    bag: BagOfWords
    idf: tuple[float, ...]
    sublinear_tf: bool = False

    @classmethod
    def fit(
        cls,
        texts: Iterable[Any] | Rows,
        ngram_range: Sequence[int] = (1, 1),
        lowercase: bool = True,
        token_pattern: str = _TOKEN,
        max_words: int | None = None,
        column: str = "text",
        sublinear_tf: bool = False,
    ) -> Self:
        """Take vocabulary and weights from texts; a null text counts as empty.

        Raises
        ------
        TextTypeError, EmptyVocabularyError
            As :meth:`BagOfWords.fit`.
        """
        known = _texts(texts, column)
        bag = BagOfWords.fit(known, ngram_range, lowercase, token_pattern, max_words, column)
        having = np.bincount(bag.counts(known).indices, minlength=bag.width)  # [vocabulary]
        idf = np.log((1 + len(known)) / (1 + having)) + 1
        return cls(bag, tuple(idf.tolist()), sublinear_tf)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column that it reads."""
        return self.bag.columns

    @property
    def width(self) -> int:
        """How many features there are."""
        return self.bag.width

    def transform(self, texts: Iterable[Any] | Rows) -> Tensor:
        """Weigh tokens: n texts to float32 [n, vocabulary]; a null text counts as empty."""
        return torch.from_numpy(self._weighted(texts).toarray())

    def sparse(self, texts: Iterable[Any] | Rows) -> Tensor:
        """Give :meth:`transform` as a sparse CSR tensor, which ``nn.Linear`` takes too."""
        return _sparse_tensor(self._weighted(texts))

    def field(self, texts: Iterable[Any] | Rows) -> Tensor | SparseRows:
        """Give :meth:`transform` as rows that take memory for their tokens only."""
        return _kept(self._weighted(texts))

    def to_json(self) -> dict[str, Any]:
        """Give the settings as JSON has them."""
        return {**self.bag.to_json(), "idf": self.idf, "sublinear_tf": self.sublinear_tf}

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Self:
        """Build it from what ``to_json`` gave."""
        return cls(BagOfWords.from_json(spec), tuple(spec["idf"]), spec["sublinear_tf"])

    def _weighted(self, texts: Iterable[Any] | Rows) -> Sparse:
        found = self.bag.counts(texts)
        if self.sublinear_tf:
            found.data = 1 + np.log(found.data)
        found.data *= np.array(self.idf, np.float32)[found.indices]
        row = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
        squares = np.bincount(row, found.data.astype(np.float64) ** 2, minlength=found.shape[0])
        found.data /= np.sqrt(squares)[row].astype(np.float32)
        return found


@dataclass(frozen=True)
class Number:
    """A numeric column's mean and standard deviation in training."""

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class Category:
    """A category column's known levels, most frequent first."""

    name: str
    levels: tuple[str, ...]


@dataclass(frozen=True)
class Tabular:
    """Numeric columns standardised, category columns one-hot.

    A numeric column gives (x - mean) / std, 0 where it is null, and whether it is null. A category
    column gives one feature per level, one for any other level and one for null.

    Parameters
    ----------
    numbers, categories
        The columns with what training saw.
    key
        Columns that name a row in messages, where the rows have them.

    Examples
    --------
    >>> people = pa.table({"age": [20, 40, None], "city": ["Oslo", None, "Oslo"]})
    >>> table = Tabular.fit(people, numeric=["age"], category=["city"])
    >>> table.transform(pa.table({"age": [40, None], "city": ["Rome", "Oslo"]})).tolist()
    [[1.0, 0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0]]
    """

    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    key: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        rows: Rows,
        numeric: Sequence[str] = (),
        category: Sequence[str] = (),
        max_levels: int = 100,
        key: Sequence[str] = (),
    ) -> Self:
        """Take means, deviations and levels from rows.

        Parameters
        ----------
        rows
            A table with these columns.
        numeric
            Columns of numbers or booleans.
        category
            Columns of texts, whole numbers, booleans or dates.
        max_levels
            Keep this many of a category's levels, the most frequent ones; the rest is "other".
        key
            As the class has it.

        Raises
        ------
        FeatureSpecError
            When no column is named.
        MissingColumnError, FeatureTypeError, NotFiniteError
            When a column is not there, is of another type, or holds NaN or infinity.
        """
        about = {"numeric": numeric, "category": category, "max_levels": max_levels, "key": key}
        check_spec({"kind": "tabular", **about}, SETTINGS, FeatureSpecError)
        if not len(numeric) and not len(category):
            raise FeatureSpecError("tabular reads no column: name some in numeric or category")
        empty = cls((), (), tuple(key))
        numbers = [(name, empty._number(rows, name)) for name in numeric]
        categories = [(name, _level_texts(rows, name)) for name in category]
        return cls(
            tuple(_measured(name, values) for name, values in numbers),
            tuple(Category(name, _most_frequent(texts, max_levels)) for name, texts in categories),
            tuple(key),
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        return (*(n.name for n in self.numbers), *(c.name for c in self.categories))

    @property
    def width(self) -> int:
        """How many features there are."""
        return 2 * len(self.numbers) + sum(len(c.levels) + 2 for c in self.categories)

    def transform(self, rows: Rows) -> Tensor:
        """Turn n rows into float32 [n, width].

        Raises
        ------
        MissingColumnError, FeatureTypeError, NotFiniteError
            When a column is not there, is of another type, or holds NaN or infinity.
        """
        parts = [np.empty((len(rows), 0))]
        for number in self.numbers:
            values = self._number(rows, number.name)
            null = np.isnan(values)
            standard = np.where(null, 0.0, (values - number.mean) / number.std)
            parts.append(np.column_stack([standard, null]))
        for category in self.categories:
            texts = _level_texts(rows, category.name)
            at = pc.index_in(texts, pa.array(category.levels, pa.string()))
            other, null_at = len(category.levels), len(category.levels) + 1
            at = np.where(texts.is_null(), null_at, at.fill_null(other).to_numpy())
            parts.append(np.eye(null_at + 1)[at])
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))

    def field(self, rows: Rows) -> Tensor:
        """Give :meth:`transform`."""
        return self.transform(rows)

    def to_json(self) -> dict[str, Any]:
        """Give the settings as JSON has them."""
        return asdict(self)

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Self:
        """Build it from what ``to_json`` gave."""
        return cls(
            tuple(Number(**number) for number in spec["numbers"]),
            tuple(Category(c["name"], tuple(c["levels"])) for c in spec["categories"]),
            tuple(spec["key"]),
        )

    def _number(self, rows: Rows, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Give a column as float64 [n], NaN for null and for nothing else."""
        column = _column(rows, name)
        if not _is_number(column.type):
            raise FeatureTypeError(name, str(column.type), "numeric", "a number or boolean")
        whole = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
        values = whole.cast(pa.float64(), safe=False)
        found = cast("np.ndarray[Any, np.dtype[np.float64]]", values.to_numpy(zero_copy_only=False))
        bad = ~np.isfinite(found) & ~values.is_null().to_numpy(zero_copy_only=False)
        if bad.any():
            first = np.flatnonzero(bad)[:_EXAMPLES].tolist()
            raise NotFiniteError(name, int(bad.sum()), row_names(rows, self.key, first))
        return found


FEATURES: Mapping[str, Any] = {"bag_of_words": BagOfWords, "tfidf": TfIdf, "tabular": Tabular}


def input_columns(spec: Mapping[str, Any], text: str | None) -> list[str]:
    """Return the columns that features described by a spec will read.

    Parameters
    ----------
    spec
        ``kind`` and that kind's settings, as JSON has them.
    text
        The text column of those that don't name one.

    Raises
    ------
    FeatureSpecError
        When the kind or a setting is not known, or there is no column to read.

    Examples
    --------
    >>> input_columns({"kind": "tabular", "numeric": ["age"], "category": ["city"]}, None)
    ['age', 'city']
    """
    given = check_spec(spec, SETTINGS, FeatureSpecError)
    if spec["kind"] == "tabular":
        columns = [*given.get("numeric", ()), *given.get("category", ())]
    else:
        columns = [c for c in (given.get("column", text),) if c]
    if not columns:
        raise FeatureSpecError(
            f"{spec['kind']} reads no column: name some in numeric or category"
            if spec["kind"] == "tabular"
            else f"{spec['kind']} reads a text: set text, or column here"
        )
    return columns


def fit_features(
    spec: Mapping[str, Any], rows: Rows, text: str | None = None, key: Sequence[str] = ()
) -> Features:
    """Fit the features that a spec describes.

    Parameters
    ----------
    spec
        ``kind`` and that kind's settings, as JSON has them.
    rows
        The training rows.
    text
        The text column of those that don't name one.
    key
        Columns that name a row in messages.

    Raises
    ------
    FeatureSpecError
        When the kind or a setting is not known, or there is no column to read.

    Examples
    --------
    >>> fit_features({"kind": "tfidf"}, pa.table({"body": ["out now"]}), text="body").width
    2
    """
    columns = input_columns(spec, text)
    given = {"key": key} if spec["kind"] == "tabular" else {"column": columns[0]}
    wanted = check_spec(spec, SETTINGS, FeatureSpecError)
    return cast("Features", FEATURES[spec["kind"]].fit(rows, **{**given, **wanted}))


def take_rows(rows: Any, start: int, stop: int) -> Any:
    """Cut rows out of a table, a frame or a list."""
    if isinstance(rows, pd.DataFrame):
        return rows.iloc[start:stop]
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return rows.slice(start, stop - start)
    return rows[start:stop]


def _column(rows: Rows, name: str) -> pa.Array:
    known = rows.columns if isinstance(rows, pd.DataFrame) else rows.schema.names
    if name not in known:
        raise MissingColumnError("features", name, map(str, known))
    if isinstance(rows, pd.DataFrame):
        column = dense(rows[name])
        # A float64 column keeps its NaN; in every other one NaN is pandas' null.
        return plain_array(pa.array(column, from_pandas=column.dtype != np.float64))
    return plain_array(rows.column(name))


def _texts(rows: Iterable[Any] | Rows, column: str) -> list[str]:
    values = (
        _column(rows, column).to_pylist()
        if isinstance(rows, pa.Table | pa.RecordBatch)
        else (_pandas_column(rows, column) if isinstance(rows, pd.DataFrame) else rows)
    )
    return [
        text if isinstance(text, str) else _null_as_empty(text, row)
        for row, text in enumerate(values)
    ]


def _pandas_column(rows: pd.DataFrame, column: str) -> Iterable[Any]:
    if column not in rows:
        raise MissingColumnError("features", column, map(str, rows.columns))
    return cast("Iterable[Any]", rows[column])


def _null_as_empty(value: Any, row: int) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    raise TextTypeError(value, row)


def _sparse_tensor(found: Sparse) -> Tensor:
    with warnings.catch_warnings():  # all that is used of them is a product, which is tested
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return _csr(found)


def _kept(found: Sparse) -> Tensor | SparseRows:
    return torch.from_numpy(found.toarray()) if plain() else SparseRows.from_scipy(found)


def _csr(found: Sparse) -> Tensor:
    indptr, indices, data = map(torch.from_numpy, (found.indptr, found.indices, found.data))
    return torch.sparse_csr_tensor(indptr, indices, data, size=found.shape, check_invariants=False)


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in (*tests, pa.types.is_null))


def _level_texts(rows: Rows, name: str) -> pa.Array:
    column = _column(rows, name)
    if pa.types.is_floating(column.type) or pa.types.is_nested(column.type):
        wanted = "a text, whole number, boolean or date"
        raise FeatureTypeError(name, str(column.type), "category", wanted)
    return column.cast(pa.string())


def _measured(name: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> Number:
    known = values[~np.isnan(values)]
    if not len(known):
        return Number(name, 0.0, 1.0)
    return Number(name, float(known.mean()), float(known.std()) or 1.0)


def _most_frequent(texts: pa.Array, most: int) -> tuple[str, ...]:
    counts = Counter(text for text in texts.to_pylist() if text is not None)
    # Equally frequent ones by name, so that the order of rows decides nothing.
    return tuple(sorted(counts, key=lambda level: (-counts[level], level))[:most])


def row_names(rows: Rows, key: Sequence[str], at: Sequence[int] | None = None) -> list[str]:
    """Return what messages call rows: their key where the table has it, else their position.

    Examples
    --------
    >>> row_names(pa.table({"id": [7, 8]}), ["id"])
    ['id=7', 'id=8']
    """
    known = rows.columns if isinstance(rows, pd.DataFrame) else rows.schema.names
    at = range(len(rows)) if at is None else at
    if key and all(k in known for k in key):
        values = [_column(rows, k).to_pylist() for k in key]
        return [", ".join(f"{k}={v[i]!r}" for k, v in zip(key, values, strict=True)) for i in at]
    return [f"row {rows.index[i] if isinstance(rows, pd.DataFrame) else i}" for i in at]
