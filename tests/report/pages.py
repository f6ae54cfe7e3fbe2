"""What tests read of a page, and a page as large as they come."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd

from engine.metrics.catalog import better
from engine.report.page import render
from engine.report.page_data import Cells, SliceText
from engine.report.sections import Line, Section, rows_of

METRICS = [
    "accuracy", "precision", "recall", "f1", "matthews_corrcoef", "roc_auc", "pr_auc", "log_loss",
    "brier", "ece", "bias", "selection_rate",
]  # fmt: skip
MODELS = ["baseline", "slice_aware"]
WORDS = ("short_link", "region_south_east_asia_and_pacific", "keyword subscribe", "age 80 and over")
LONG = (
    "Comments with a shortened link, which hides where it leads, and which moderators asked us to "
    "watch since the campaign of last spring; see the tracker for examples."
)


def data_of(page: str) -> dict[str, Any]:
    """Return the figures that a page's script reads."""
    (text,) = re.findall(r"<script type='application/json' id='data'>(.*?)</script>", page)
    return json.loads(text)


def marks_of(page: str) -> list[str]:
    """Return the marks of a page's figures, split by split."""
    return [split["marks"] for split in data_of(page)["splits"]]


def name_of(i: int) -> str:
    return f"{WORDS[i % len(WORDS)]}_{i}"


def figures(slices: int, metrics: list[str], splits: list[str | None]) -> pd.DataFrame:
    """Return figures of made-up slices, of which some are worse and some too small."""
    rng = np.random.default_rng(0)
    names = ["overall", *map(name_of, range(slices))]
    support = np.array([20_000, *(3 + rng.lognormal(5, 1.3, slices)).astype(int)])
    index = pd.MultiIndex.from_product(
        [MODELS, splits, names, metrics], names=["model_id", "split", "slice", "metric"]
    )
    table = index.to_frame(index=False)
    rows = table["slice"].map(dict(zip(names, support, strict=True))).to_numpy()
    effect = rng.normal(0, 0.06, len(table)) * (table["slice"] != "overall")
    low = {"bias": -0.3, "matthews_corrcoef": 0.1, "log_loss": 0.7}
    value = table["metric"].map(lambda m: low.get(m, 0.8)) + effect
    error = 0.4 / np.sqrt(rows)
    few = rows < 30
    return table.assign(
        value=value, support=rows, n_null=np.where(rows % 7 == 0, rows % 5, 0),
        status=np.where(few, "insufficient", "ok"), ci_low=value - error, ci_high=value + error,
        p_adjusted=np.where(few | (effect == 0), np.nan, np.exp(-((effect / error) ** 2))),
        effect=effect,
    )  # fmt: skip


def page_of(slices: int, metrics: list[str], splits: tuple[str | None, ...] = ("test",)) -> str:
    """Return a page with everything that a page may have."""
    texts = {
        name_of(i): SliceText(name_of(i), (LONG, "", "Comments that beg.")[i % 3], "SQL", "n > 3")
        for i in range(slices)
    }
    names = ["overall", name_of(0), name_of(1)]
    bins = [(10, 0.55, 0.5), (60, 0.95, 0.97)]
    sections = [
        Section("slice_aware less baseline", ["slice", "so"], [[name_of(1), "worse"]], "On rows."),
        rows_of(
            "Rows of the largest loss of baseline: short_link_0, split test",
            pd.DataFrame({"id": [1, 2], "text": [LONG, "ok"], "loss": [3.9, 2.3]}),
            name_of(0),
        ),
        Section("Moved", ["slice", "line"], [[name_of(2), Line((0.5, 0.75, float("nan"), 1.0))]]),
        Section("No two slices are nearly the same", note="12 of 20 rows are in no slice."),
    ]
    about = {
        "date": "2026-12-01 03:41 UTC", "run": "9f2c41d07b13aa52", "models": ", ".join(MODELS),
        "source": "warehouse.comments version 41",
    }  # fmt: skip
    return render(
        "spam filter", about, figures(slices, metrics, list(splits)), MODELS, better, sections,
        splits=list(splits), slices=texts, classes=["ham", "spam"],
        cells=[Cells("test", s, m, [[40, 3], [7, 51]], bins) for s in names for m in MODELS],
    )  # fmt: skip
