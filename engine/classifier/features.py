"""Text as numbers: a fitted bag of words that travels in a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import CountVectorizer
from torch import Tensor

from engine.errors import EmptyVocabularyError, TextTypeError


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
    token_pattern: str = r"(?u)\b\w\w+\b"

    @classmethod
    def fit(
        cls,
        texts: Iterable[Any],
        ngram_range: tuple[int, int] = (1, 1),
        lowercase: bool = True,
        token_pattern: str = r"(?u)\b\w\w+\b",
    ) -> Self:
        """Take the vocabulary from texts; a null text counts as empty.

        Raises
        ------
        TextTypeError
            When something is neither text nor null.
        EmptyVocabularyError
            When the texts hold no token.
        """
        known = _as_text(texts)
        bag = cls((), ngram_range, lowercase, token_pattern)
        try:
            vectorizer = bag._vectorizer().fit(known)
        except ValueError as e:
            if "empty vocabulary" not in str(e):
                raise
            raise EmptyVocabularyError(len(known), token_pattern) from e
        return cls(tuple(vectorizer.get_feature_names_out()), ngram_range, lowercase, token_pattern)

    @property
    def width(self) -> int:
        """How many features there are."""
        return len(self.vocabulary)

    def transform(self, texts: Iterable[Any]) -> Tensor:
        """Count tokens: n texts to float32 [n, vocabulary]; a null text counts as empty.

        Raises
        ------
        TextTypeError
            When something is neither text nor null.
        """
        return torch.from_numpy(self._fitted.transform(_as_text(texts)).toarray())

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
        )

    @cached_property
    def _fitted(self) -> CountVectorizer:
        return self._vectorizer()

    def _vectorizer(self) -> CountVectorizer:
        return CountVectorizer(
            vocabulary=list(self.vocabulary) or None,
            ngram_range=self.ngram_range,
            lowercase=self.lowercase,
            token_pattern=self.token_pattern,
            dtype=np.float32,
        )


def _as_text(texts: Iterable[Any]) -> list[str]:
    return [
        text if isinstance(text, str) else _null_as_empty(text, row)
        for row, text in enumerate(texts)
    ]


def _null_as_empty(value: Any, row: int) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    raise TextTypeError(value, row)
