"""The kinds of features by name, so that a checkpoint can say in JSON what to rebuild.

Each reads ``columns``, gives ``width`` features per row, turns rows into a tensor by ``transform``
and into a data set's field by ``field``; JSON holds all of it, nothing is fitted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias, cast

from engine.arrow.rows import Rows
from engine.classifier.features.tabular import Tabular
from engine.classifier.features.text import BagOfWords, TfIdf
from engine.classifier.settings import FeatureSpec, feature_spec

Features: TypeAlias = BagOfWords | TfIdf | Tabular
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
    SettingError
        When the kind or a setting is not known, or there is no column to read.

    Examples
    --------
    >>> import pyarrow as pa
    >>> fit_features({"kind": "tfidf"}, pa.table({"body": ["out now"]}), text="body").width
    2
    """
    spec = feature_spec(spec, text, key)
    settings = {name: value for name, value in asdict(spec).items() if name != "kind"}
    return cast("Features", FEATURES[spec.kind].fit(rows, **settings))
