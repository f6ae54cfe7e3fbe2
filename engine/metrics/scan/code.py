"""The code: what a row has of a model's prediction, packed into one BIGINT.

Spark's SQL writes it and so do workers that read files; tasks read it. The fields are these alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from engine.metrics.formulas.outputs import UNKNOWN_CLASS

FLAGS = ("found", "bad_weight", "bad_prob", "bad_number")
CLASS_BITS = 28
SHIFTS: Final[Mapping[str, int]] = {
    **{flag: at for at, flag in enumerate(FLAGS)},
    "label": len(FLAGS),
    "pred": len(FLAGS) + CLASS_BITS,
}
MOST_CLASSES = (1 << CLASS_BITS) + UNKNOWN_CLASS  # positions start with that of no class


def code_sql(flags: Mapping[str, str], positions: Mapping[str, str]) -> str:
    """Return the code in SQL.

    Parameters
    ----------
    flags
        Each of :data:`FLAGS` to a condition.
    positions
        Label and pred to class positions, -1 for null, -2 for none of the classes.

    Examples
    --------
    >>> code_sql({"found": "p IS NOT NULL"}, {"label": "y"})
    'IF(p IS NOT NULL, 1L, 0L) + (CAST(y AS BIGINT) + 2) * 16L'
    """
    parts = [f"IF({flag}, {1 << SHIFTS[name]}L, 0L)" for name, flag in flags.items()]
    parts += [
        f"(CAST({at} AS BIGINT) + {-UNKNOWN_CLASS}) * {1 << SHIFTS[name]}L"
        for name, at in positions.items()
    ]
    return " + ".join(parts)


def code_of(flags: Mapping[str, np.ndarray], positions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the codes of rows, ``[n]`` int64; as :func:`code_sql`.

    Examples
    --------
    >>> at = {"label": np.array([5000]), "pred": np.array([-2])}
    >>> code = code_of({"found": np.array([True])}, at)
    >>> positions_in(code)["label"].tolist(), positions_in(code)["pred"].tolist()
    ([5000], [-2])
    """
    flagged = (each.astype(np.int64) << SHIFTS[name] for name, each in flags.items())
    placed = (
        (at.astype(np.int64) - UNKNOWN_CLASS) << SHIFTS[name] for name, at in positions.items()
    )
    return np.asarray(sum([*flagged, *placed], start=np.int64(0)))


def flags_in(code: np.ndarray) -> dict[str, np.ndarray]:
    """Return which rows have each flag, ``[n]``."""
    return {flag: code >> SHIFTS[flag] & 1 for flag in FLAGS}


def positions_in(code: np.ndarray) -> dict[str, np.ndarray]:
    """Return rows' class positions, ``[n]``."""
    mask = (1 << CLASS_BITS) - 1
    return {at: (code >> SHIFTS[at] & mask) + UNKNOWN_CLASS for at in ("label", "pred")}
