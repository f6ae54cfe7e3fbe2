"""The bases that docs/classifier.md shows train in seconds, to models that are worth something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "classifier.md"


def run(kind):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (code,) = (block for block in blocks if f"class {kind}" in block)
    parts: dict = {"__name__": "docs"}
    exec(compile(code, f"{PAGE.name}: {kind}", "exec"), parts)
    return parts


@pytest.mark.parametrize(
    ("kind", "metric", "slices", "least"),
    [
        ("Block", "accuracy", ("faint", "bold", "lower_half"), 0.9),
        ("Transformer", "f1", ("short", "short_link", "please"), 0.8),
    ],
)
def test_the_bases_of_the_docs_learn(kind, metric, slices, least, capsys):
    parts = run(kind)
    model, trainer = parts["model"], parts["trainer"]
    scores = model.score_slices(parts["loaders"][2:])
    assert scores[f"task/SliceDataset/test/{metric}"] > least
    for name in (*slices, "base"):
        assert 0 <= scores[f"task_slice:{name}_pred/SliceDataset/test/{metric}"] <= 1
    assert [s.status for s in trainer.slices] == ["ok"] * (len(slices) + 1)
    assert trainer.history[trainer.best_epoch - 1].monitored == max(
        epoch.monitored for epoch in trainer.history
    )
    attention = model(next(iter(parts["loaders"][2]))[0]).attention
    assert attention.shape[1] == len(slices) + 1
    assert "task_slice:base_pred" in capsys.readouterr().out
