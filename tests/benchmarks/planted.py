"""Rows with slices on which a model that all rows share must fail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SLICES = ("planted_0", "planted_1", "planted_2")
SHARE = 0.06
WIDTH = 12


@dataclass(frozen=True)
class Rows:
    """Features [n, width], labels [n], and a mask per slice, a record array of n rows."""

    X: Tensor
    y: Tensor
    S: np.recarray


def planted_rows(seed: int, n: int) -> Rows:
    """Draw n rows whose label rule is turned round inside the planted slices.

    The rule for all is simple: 1 where twelve normal features sum to more than 0. In a planted
    slice, 6 % of the rows each, it is the opposite. Each slice has a marker feature, 2 inside and
    0 outside with a little noise, so that one linear layer can tell it. No linear function of the
    features fits both rules at once: a model with a linear base fails in the slices however long
    it trains. With enough ReLU units it doesn't have to.
    """
    rng = np.random.default_rng(seed)
    inside = rng.random((n, len(SLICES))) < SHARE
    markers = 2 * inside + 0.1 * rng.standard_normal(inside.shape)
    features = rng.standard_normal((n, WIDTH))
    label = (features.sum(axis=1) > 0) != inside.any(axis=1)
    S = np.rec.fromarrays(list(inside.T.astype(np.int8)), names=list(SLICES))
    X = np.concatenate([markers, features], axis=1, dtype=np.float32)
    return Rows(torch.from_numpy(X), torch.from_numpy(label.astype(np.int64)), S)
