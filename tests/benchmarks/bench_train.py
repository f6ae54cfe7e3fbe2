"""Training and scoring against Snorkel 0.10: the same rows, base, batches, optimizer and epochs.

  .venv/bin/python -m tests.benchmarks.bench_train               all claims
  .venv/bin/python -m tests.benchmarks.bench_train train_50      some of them

Each ratio is Snorkel's median time over ours of 3 runs that take turns (one run for the
tutorial's set-up, which takes Snorkel minutes). Building data sets and models is not timed. Both
sides have one thread, on which Snorkel's small steps are quickest, but for the tutorial, where
both have all.
The last lines are `ratio <claim>: <number>` and `figure <claim>: <number>`.
"""

from __future__ import annotations

import random
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from snorkel.classification import Trainer as SnorkelTrainer
from snorkel.classification.data import DictDataset as SnorkelDataset
from snorkel.slicing import SliceAwareClassifier as SnorkelClassifier
from torch import nn

from engine.classifier.data.dataset import DictDataset
from engine.classifier.features.text import BagOfWords
from engine.classifier.model import SlicingClassifier
from engine.classifier.train import Trainer, set_seed
from engine.project.demo_data import generate_comments, read_youtube_spam

ROWS, WIDTH, BATCH, TURNS = 4096, 64, 64, 3
YOUTUBE = Path(__file__).parents[3] / "shared" / "data" / "youtube-spam"


def made_up(n_slices: int) -> SimpleNamespace:
    """Rows of noise with overlapping slices, each a tenth of them."""
    rng = np.random.default_rng(n_slices)
    names = [f"s{i:04d}" for i in range(n_slices)]
    columns = [(rng.random(ROWS) < 0.1).astype(np.int64) for _ in names]
    return SimpleNamespace(
        X=torch.from_numpy(rng.normal(size=(ROWS, WIDTH)).astype(np.float32)),
        Y=torch.from_numpy(rng.integers(0, 2, ROWS)),
        S=np.rec.fromarrays(columns, names=names),
        base=lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
        width=WIDTH,
    )


def ours(data: SimpleNamespace) -> tuple[SlicingClassifier, object]:
    set_seed(0)
    model = SlicingClassifier(data.base(), data.width, data.S.dtype.names)
    rows = DictDataset.from_tensors(data.X, data.Y, "train")
    return model, model.make_slice_dataloader(rows, data.S, batch_size=BATCH, shuffle=True)


def snorkels(data: SimpleNamespace) -> tuple[SnorkelClassifier, object]:
    set_seed(0)
    names = list(data.S.dtype.names)
    model = SnorkelClassifier(data.base(), data.width, names, device=-1, dataparallel=False)
    rows = SnorkelDataset.from_tensors(data.X, data.Y.clone(), "train")
    return model, model.make_slice_dataloader(rows, data.S, batch_size=BATCH, shuffle=True)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def medians(turns: int, *runs: Callable[[], float]) -> list[float]:
    """Let each run take its turn, several times over."""
    times = [[run() for run in runs] for _ in range(turns)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def fit(make: Callable, trainer: type, data: SimpleNamespace, **settings: object) -> float:
    model, loader = make(data)
    trained = trainer(progress_bar=False, **{"n_epochs": 1, "lr": 1e-3} | settings)
    return seconds(lambda: trained.fit(model, [loader]))


def train(n_slices: int) -> tuple[float, float]:
    data = made_up(n_slices)
    fit(ours, Trainer, data)  # neither side pays for torch's first steps
    mine, theirs = medians(
        TURNS,
        lambda: fit(ours, Trainer, data),
        lambda: fit(snorkels, SnorkelTrainer, data),
    )
    print(
        f"train, {n_slices} slices: Snorkel {ROWS / theirs:,.0f} rows/s, "
        f"ours {ROWS / mine:,.0f} rows/s",
        flush=True,
    )
    return mine, theirs


def train_50() -> dict[str, float]:
    mine, theirs = train(50)
    return {"ratio train_50": theirs / mine}


def train_200() -> dict[str, float]:
    mine, theirs = train(200)
    return {"ratio train_200": theirs / mine}


def train_1000() -> dict[str, float]:
    data = made_up(1000)
    (mine,) = medians(TURNS, lambda: fit(ours, Trainer, data))
    # Snorkel's time per row rises linearly with the slices: a line through two short runs.
    few, many = (fit(snorkels, SnorkelTrainer, made_up(n)) for n in (20, 100))
    theirs = few + (many - few) / 80 * 980
    print(
        f"train, 1000 slices: ours {ROWS / mine:,.0f} rows/s, Snorkel extrapolated "
        f"{ROWS / theirs:,.0f} rows/s",
        flush=True,
    )
    return {"figure train_1000_rows_per_s": ROWS / mine}


def score_slices_200() -> dict[str, float]:
    data = made_up(200)
    (model, loader), (their_model, their_loader) = ours(data), snorkels(data)
    mine, theirs = medians(
        TURNS,
        lambda: seconds(lambda: model.score_slices([loader])),
        lambda: seconds(lambda: their_model.score_slices([their_loader])),
    )
    print(f"score_slices, 200 slices: Snorkel {theirs:.2f} s, ours {mine:.2f} s", flush=True)
    return {"ratio score_slices_200": theirs / mine}


def tutorial() -> dict[str, float]:
    """The spam tutorial: every word a feature, two layers as wide as the vocabulary, six slices."""
    comments = read_youtube_spam(YOUTUBE) if YOUTUBE.exists() else generate_comments()
    rows = comments[(comments.split == "train") & comments.text.notna()].sample(frac=1)
    texts = rows.text.astype(str)
    bag = BagOfWords.fit(texts)
    slices = {
        "short": texts.str.split().str.len() < 5,
        "link": texts.str.contains(r"https?:"),
        "please": texts.str.contains(r"please|plz", flags=re.I),
        "subscribe": texts.str.contains("subscribe", case=False),
        "check_out": texts.str.contains(r"check.*out", flags=re.I),
        "question": texts.str.contains(r"\?"),
    }
    columns = [mask.to_numpy(np.int64) for mask in slices.values()]
    width = bag.width

    def base() -> nn.Module:
        return nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())

    data = SimpleNamespace(
        X=bag.transform(texts),
        Y=torch.tensor(rows.label.to_numpy(np.int64)),
        S=np.rec.fromarrays(columns, names=list(slices)),
        base=base,
        width=width,
    )
    mine, theirs = medians(
        1,
        lambda: fit(ours, Trainer, data, n_epochs=2, lr=1e-4),
        lambda: fit(snorkels, SnorkelTrainer, data, n_epochs=2, lr=1e-4),
    )
    print(
        f"tutorial, {len(rows):,} rows, {width:,} words: Snorkel {theirs:.0f} s, ours {mine:.0f} s",
        flush=True,
    )
    return {"ratio tutorial": theirs / mine}


CLAIMS: dict[str, Callable[[], dict[str, float]]] = {
    f.__name__: f for f in (train_50, train_200, train_1000, score_slices_200, tutorial)
}


def main(chosen: list[str]) -> None:
    random.seed(0)
    warnings.simplefilter("ignore")
    figures: dict[str, float] = {}
    cores = torch.get_num_threads()
    for claim in chosen or CLAIMS:
        torch.set_num_threads(cores if claim == "tutorial" else 1)
        figures |= CLAIMS[claim]()
    for claim, figure in figures.items():
        print(f"{claim}: {figure:.1f}" if claim.startswith("ratio") else f"{claim}: {figure:.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
