"""Comments for benchmarks: as many as asked for, about 100 characters each, by a fixed seed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from engine.project.demo_data import generate_comments

_POOL = 20_000  # comments that others are put together from


def comments(n: int, seed: int = 7, distinct: int | None = None) -> pa.Table:
    """Return a table of the columns that comments have: two of the demo's put together, each.

    Parameters
    ----------
    n
        Rows.
    seed
        Draws others.
    distinct
        How many texts there are at the most; others repeat them.
    """
    pool = generate_comments(_POOL)
    texts = pool["text"].dropna().to_numpy(object)
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, len(texts), (2, distinct or n))
    made = texts[first] + " " + texts[second]
    if distinct is not None:
        made = made[rng.integers(0, distinct, n)]
    at = rng.integers(0, len(pool), n)
    return pa.table(
        {
            "comment_id": pa.array(np.char.add("comment-", np.arange(n).astype(str))),
            "author": pa.array(pool["author"].to_numpy(object)[at]),
            "date": pa.array(pool["date"].to_numpy(object)[at], pa.string(), from_pandas=True),
            "text": pa.array(made, pa.string()),
            "label": pa.array(pool["label"].to_numpy()[at]),
            "video": pa.array(pool["video"].to_numpy()[at]),
        }
    )
