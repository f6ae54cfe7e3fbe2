"""Between which two runs a figure fell, by the figures that runs left in the metrics table."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pandas as pd

from engine.metrics.catalog import quality

_VERSIONS = {
    "source_version": "the source",
    "mask_version": "the masks",
    "prediction_version": "the predictions",
}
WORSE = "worse"


@dataclass(frozen=True)
class Fall:
    """Two runs, one after the other, between which a figure got worse.

    Attributes
    ----------
    before, after
        The figure of each, a row of ``trend`` with the versions that it was made of.
    disjoint
        Whether the two intervals don't meet.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    disjoint: bool

    def __str__(self) -> str:
        a, b = self.before, self.after
        sure = "their intervals don't meet" if self.disjoint else "their intervals meet"
        changed = [
            f"{what} from version {a[c]} to {b[c]}" for c, what in _VERSIONS.items() if a[c] != b[c]
        ]
        if b["slice_changed"]:
            changed.insert(0, "the definition of the slice, so that it has other rows")
        causes = "; ".join(changed) or "none of their versions"
        return (
            f"{b['metric']} of {b['slice']} fell from {a['value']:.4f} to {b['value']:.4f} "
            f"between the runs of {_at(a)} and {_at(b)} ({sure}). What changed: {causes}"
        )


def fall(moves: pd.DataFrame, better: str) -> Fall | None:
    """Return where a figure got worse: first where intervals don't meet, else by the most.

    Parameters
    ----------
    moves
        One figure's rows of ``trend``, oldest first, with columns of versions.
    better
        Which values are better: ``high`` or ``low``.

    Examples
    --------
    >>> rows = pd.DataFrame({"run_ts": pd.to_datetime([1, 2, 3]), "metric": "f1", "slice": "a",
    ...     "value": [0.9, 0.91, 0.7], "change": [float("nan"), 0.01, -0.21], "apart": False,
    ...     "slice_changed": False, "source_version": ["1", "2", "3"], "mask_version": "1",
    ...     "prediction_version": "1"})
    >>> fall(rows, "high").after["source_version"]
    '3'
    >>> fall(rows[:2], "high") is None
    True
    """
    rows = [{str(k): v for k, v in row.items()} for row in moves.to_dict("records")]
    falls = [
        Fall(a, b, bool(b["apart"]))
        for a, b in pairwise(rows)
        if quality(b["change"], better) == WORSE
    ]
    first = next((f for f in falls if f.disjoint), None)
    return first or max(falls, key=lambda f: abs(f.after["change"]), default=None)


def _at(row: dict[str, Any]) -> str:
    return f"{pd.Timestamp(row['run_ts']):%Y-%m-%d %H:%M:%S}"
