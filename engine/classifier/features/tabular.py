"""Columns of numbers and categories as features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from engine.arrow.numbers import MOST_LEVELS, ColumnNumbers
from engine.arrow.rows import Rows
from engine.classifier.settings import TabularSpec


class Tabular(ColumnNumbers):
    """Numeric columns standardised, category columns one-hot.

    A numeric column gives (x - mean) / std, 0 where it is null, and whether it is null. A category
    column gives one feature per level, one for any other level and one for null.

    Parameters
    ----------
    numbers, categories
        The columns, with what training saw of them.
    key
        Columns that name a row in messages, where the rows have them.

    Examples
    --------
    >>> import pyarrow as pa
    >>> people = pa.table({"age": [20, 40, None], "city": ["Oslo", None, "Oslo"]})
    >>> table = Tabular.fit(people, numeric=["age"], category=["city"])
    >>> table.transform(pa.table({"age": [40, None], "city": ["Rome", "Oslo"]})).tolist()
    [[1.0, 0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0]]
    """

    @classmethod
    def fit(
        cls,
        rows: Rows,
        numeric: Sequence[str] = (),
        category: Sequence[str] = (),
        max_levels: int = MOST_LEVELS,
        key: Sequence[str] = (),
    ) -> Self:
        """Take means, deviations and levels from rows, as :meth:`ColumnNumbers.fit` does.

        Raises
        ------
        SettingError
            When no column is named, or a setting's value can't be.
        ColumnError, DatasetError
            When a column is not there, is of another type, or holds NaN or infinity.
        """
        spec = TabularSpec(numeric, category, max_levels, key)
        spec.check_columns()
        return super().fit(rows, spec.numeric, spec.category, spec.max_levels, spec.key)

    def transform(self, rows: Rows) -> Tensor:
        """Turn n rows into float32 [n, width].

        Raises
        ------
        ColumnError, DatasetError
            When a column is not there, is of another type, or holds NaN or infinity.
        """
        one_hot = (
            np.eye(len(category.levels) + 2)[level]
            for category, level in zip(self.categories, self.levels(rows), strict=True)
        )
        parts = [np.empty((len(rows), 0)), *self.numeric(rows), *one_hot]
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))

    field = transform  # few of its numbers are zero
