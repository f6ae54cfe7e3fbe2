"""Rows of mostly zeros, kept as what is not zero and cut into dense batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor

Matrix: TypeAlias = Any  # scipy's csr_matrix, which has no types


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A field of a data set that takes memory for what is not zero; a batch of it is dense.

    Batches are those of the dense tensor, to the last bit. 60,000 texts of 30 words over a
    vocabulary of 50,000 take 14 MB instead of 12 GB.

    Parameters
    ----------
    starts
        Where each row's entries begin, and behind the last one where they end, [n + 1].
    columns, values
        Column and value of each entry; no column twice in a row.
    width
        How many columns there are.

    Examples
    --------
    >>> from scipy.sparse import csr_matrix
    >>> rows = SparseRows.from_scipy(csr_matrix([[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]))
    >>> rows.take(torch.tensor([2, 0])).tolist()
    [[0.0, 0.0], [0.0, 2.0]]
    """

    starts: Tensor
    columns: Tensor
    values: Tensor
    width: int

    @classmethod
    def from_scipy(cls, matrix: Matrix) -> Self:
        """Take over a matrix in CSR form, whose entries are shared where they can be."""
        matrix.sum_duplicates()
        starts, columns, values = map(
            torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data)
        )
        return cls(starts.long(), columns, values, matrix.shape[1])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> Tensor:
        return self.take(torch.tensor([row]))[0]

    def take(self, rows: Tensor) -> Tensor:
        """Give some rows as a dense tensor, [k, width], by an index tensor [k]."""
        rows = torch.where(rows < 0, rows + len(self), rows)
        begin = self.starts[rows]  # [k]
        lengths = self.starts[rows + 1] - begin
        ends = lengths.cumsum(0)
        # An entry's place in the batch, and from there its row and its place among all entries.
        row_of = torch.repeat_interleave(lengths)
        entries = torch.arange(len(row_of)) + (begin - ends + lengths)[row_of]
        dense = self.values.new_zeros(len(rows) * self.width)
        dense[row_of * self.width + self.columns[entries]] = self.values[entries]
        return dense.view(len(rows), self.width)

    def parts(self) -> Mapping[str, Tensor]:
        """Give what it is made of, for a fingerprint."""
        names = ("starts", "columns", "values")
        return {name: getattr(self, name) for name in names} | {"width": torch.tensor(self.width)}

    def not_numbers(self) -> list[int]:
        """Give the rows that hold NaN or infinity."""
        entries = (~self.values.isfinite()).nonzero().flatten()
        rows: list[int] = (torch.searchsorted(self.starts, entries, right=True) - 1).tolist()
        return sorted(set(rows))
