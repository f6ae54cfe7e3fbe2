"""How figures went from run to run."""

import numpy as np
import pandas as pd
import pytest

from engine.errors import MetricError
from engine.metrics.explore.trend import TREND, trend


def rows():
    made = []
    for run, (value, low, high, fingerprint) in enumerate(
        [(0.5, 0.4, 0.6, "f"), (0.55, 0.45, 0.65, "f"), (0.8, 0.7, 0.9, "g")]
    ):
        for s in ("overall", "a"):
            made.append(
                {
                    "run_id": f"r{run}", "run_ts": run, "model_id": "m", "split": "test",
                    "slice": s, "slice_fingerprint": fingerprint if s == "a" else None,
                    "metric": "f1", "value": value, "ci_low": low, "ci_high": high, "support": 9,
                }
            )  # fmt: skip
    return pd.DataFrame(made).sample(frac=1, random_state=0)


def test_runs_follow_one_another():
    found = trend(rows())
    assert found.columns.tolist() == list(TREND)
    a = found[found["slice"] == "a"]
    assert a["run_id"].tolist() == ["r0", "r1", "r2"]
    np.testing.assert_allclose(a["change"], [np.nan, 0.05, 0.25])
    assert a["apart"].tolist() == [False, False, True]
    assert a["slice_changed"].tolist() == [False, False, True]
    assert not found[found["slice"] == "overall"]["slice_changed"].any()


def test_a_trend_is_of_what_was_asked():
    assert set(trend(rows(), slice_id="a")["slice"]) == {"a"}
    with pytest.raises(MetricError) as caught:
        trend(rows(), metric="acuracy")
    assert str(caught.value) == "metric 'acuracy' was not evaluated; known: f1"
    assert len(trend(rows(), model_id="m", split="test")) == 6
