"""The kinds of features by name, so that a checkpoint can say in JSON what to rebuild."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol, cast

from torch import Tensor

from engine.classifier.data.sparse import SparseRows
from engine.classifier.features.columns import Rows
from engine.classifier.features.tabular import Tabular
from engine.classifier.features.text import BagOfWords, TfIdf
from engine.classifier.settings import FeatureSpec, feature_spec


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


FEATURES: Mapping[str, Any] = {"bag_of_words": BagOfWords, "tfidf": TfIdf, "tabular": Tabular}


def fit_features(
    spec: FeatureSpec | Mapping[str, Any],
    rows: Rows,
    text: str | None = None,
    key: Sequence[str] = (),
) -> Features:
    """Fit the features that a spec describes.

    Parameters
    ----------
    spec
        The kind's settings, or ``kind`` and some of them, as JSON has them.
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
    spec = feature_spec(spec, text, key)
    settings = {name: value for name, value in asdict(spec).items() if name != "kind"}
    return cast("Features", FEATURES[spec.kind].fit(rows, **settings))
