"""Does slice-aware training help? Six ways to train one base with one budget, five seeds.

  make study                          all of it, about eight minutes on two cores
  python -m tests.benchmarks.study --data ../shared/data --seeds 2 --docs build/study

Writes the tables in docs/study.md, and the charts and figures in docs/study. Every setting is
below, the same for all methods, and none is tuned on test rows. The last lines are
`figure <claim>: <number>`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split

from engine import PandasSFApplier
from engine.classifier.features.tabular import Tabular
from engine.classifier.features.text import BagOfWords
from engine.project.demo_data import read_youtube_spam
from engine.slicing.discovery import load_slices
from tests.benchmarks import study_pages as pages
from tests.benchmarks.methods import METHODS, Budget
from tests.benchmarks.planted import Rows, planted_rows
from tests.benchmarks.summary import IN_A_SLICE, OVERALL, Run, summarise

Split = tuple[Rows, Rows]

TUTORIAL_SEED = 111
PLANTED = Budget(layers=0, width=8, n_epochs=10, batch_size=64, lr=0.005)
WIDTHS = (4, 8, 16, 32, 64)
WITHOUT_WEIGHTS = ("baseline", "slice-aware", "paper attention", "wrong masks")
TRAIN_ROWS, TEST_ROWS = 4000, 8000

NUMBERS = ["age", "education_num", "hours_per_week"]
AMOUNTS = ["capital_gain", "capital_loss"]
NAMES = [
    *("workclass", "marital_status", "occupation", "relationship", "race", "sex"),
    "native_country",
]


@dataclass(frozen=True)
class Study:
    """A data set: what a seed's train and test rows are, and the budget of all methods."""

    split: Callable[[int], Split]
    budget: Budget


def planted_split(seed: int) -> Split:
    """Draw train and test rows anew for every seed."""
    return planted_rows(seed, TRAIN_ROWS), planted_rows(1000 + seed, TEST_ROWS)


def spam_split(folder: Path) -> Split:
    """Train on videos 1 to 4, test on 250 comments of video 5, as in Snorkel's tutorial."""
    comments = read_youtube_spam(folder)
    S = PandasSFApplier(load_slices("sfs.spam")).apply(comments, progress_bar=False)
    parts = {name: (comments["split"] == name).to_numpy() for name in ("train", "test")}
    bag = BagOfWords.fit(comments["text"][parts["train"]])
    train, test = (
        Rows(bag.transform(comments["text"][at]), _labels(comments["label"][at]), S[at])
        for at in parts.values()
    )
    return train, test


def adult_split(file: Path) -> Split:
    """Train on 70 % of the people, test on the others, the same income shares in both."""
    people = pd.read_csv(file, na_values="?")
    people.columns = people.columns.str.replace("-", "_")
    S = PandasSFApplier(load_slices("sfs.adult")).apply(people, progress_bar=False)
    label = (people["income_per_year"] == ">50K").astype(int)
    at = train_test_split(np.arange(len(people)), test_size=0.3, random_state=0, stratify=label)
    people[AMOUNTS] = np.log1p(people[AMOUNTS])
    # fnlwgt is left out: it says how many people a row stands for, nothing about this one.
    features = Tabular.fit(people.iloc[at[0]], NUMBERS + AMOUNTS, NAMES)
    X = features.transform(people)
    train, test = (Rows(X[rows], _labels(label.iloc[rows]), S[rows]) for rows in at)
    return train, test


def _labels(values: pd.Series) -> torch.Tensor:
    return torch.from_numpy(values.to_numpy(np.int64, copy=True))


def studies(data: Path) -> dict[str, Study]:
    """Return the data sets by name, planted first."""
    spam, adult = spam_split(data / "youtube-spam"), adult_split(data / "adult" / "adult.csv")
    return {
        "planted": Study(planted_split, PLANTED),
        "spam": Study(lambda _: spam, Budget(2, 64, n_epochs=8, batch_size=64, lr=0.003)),
        "adult": Study(lambda _: adult, Budget(2, 64, n_epochs=10, batch_size=256, lr=0.001)),
    }


def compare(
    study: Study, seeds: Sequence[int], methods: Sequence[str] = tuple(METHODS)
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train every method with every seed; return the summary and the cost per method."""
    runs, costs = [], []
    for seed in seeds:
        train, test = study.split(seed)
        preds = {}
        for method in methods:
            trained = METHODS[method](train, study.budget, seed)
            preds[method] = trained.predict(test.X)
            costs.append((method, trained.seconds, trained.parameters))
        runs.append(Run(test.y.numpy(), test.S, preds))
    cost = pd.DataFrame(costs, columns=["method", "seconds", "parameters"])
    return summarise(runs), cost.groupby("method", sort=False).median()


def capacity(seeds: Sequence[int]) -> pd.DataFrame:
    """Compare methods on the planted rows by the base's kind and width."""
    found = []
    for layers, kind in ((0, "linear"), (1, "one ReLU layer")):
        for width in WIDTHS:
            study = Study(planted_split, replace(PLANTED, layers=layers, width=width))
            summary, _ = compare(study, seeds, WITHOUT_WEIGHTS)
            found.append(summary.assign(base=kind, width=width))
    both = pd.concat(found)
    return both[both["group"].isin([OVERALL, IN_A_SLICE]) & (both["metric"] == "accuracy")]


def tutorial(data: Path) -> pd.DataFrame:
    """Train in the tutorial's set-up: a base as wide as the vocabulary, 2 epochs, one seed."""
    train, test = spam_split(data / "youtube-spam")
    budget = Budget(2, train.X.shape[1], n_epochs=2, batch_size=64, lr=1e-4)
    found = []
    for method in ("baseline", "slice-aware"):
        trained = METHODS[method](train, budget, TUTORIAL_SEED)
        preds, y = trained.predict(test.X), test.y.numpy()
        f1 = 2 * (preds & y).sum() / (preds.sum() + y.sum())
        found.append((method, (preds == y).mean(), f1, trained.seconds, trained.parameters))
    return pd.DataFrame(found, columns=["method", "accuracy", "f1", "seconds", "parameters"])


def claims(planted: pd.DataFrame, tutored: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Give the figures that the project has promised."""
    sliced = (planted["method"] == "slice-aware") & (planted["metric"] == "accuracy")
    at = planted[sliced].set_index("group")
    for name, group in (("planted", IN_A_SLICE), ("planted_overall", OVERALL)):
        gain = at.loc[group]
        yield f"{name}_gain", gain["gain"]
        yield f"{name}_gain_low", min(gain["gain_rows_low"], gain["gain_seeds_low"])
    in_set_up = tutored.set_index("method").loc["slice-aware"]
    yield "tutorial_accuracy", in_set_up["accuracy"]
    yield "tutorial_f1", in_set_up["f1"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and write its pages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args(argv)
    if args.seeds < 2:
        parser.error("--seeds must be at least 2: one seed has no interval")
    # Results are the same for any number of threads but not bit for bit.
    torch.set_num_threads(1)
    seeds = range(1, args.seeds + 1)

    begun = time.perf_counter()
    say = partial(_say, begun)
    summaries, costs = {}, {}
    for name, study in studies(args.data).items():
        summaries[name], costs[name] = compare(study, seeds)
        say(name)
    by_width = capacity(seeds)
    say("capacity")
    tutored = tutorial(args.data)
    say("tutorial")

    pages.write(args.docs, summaries, costs, by_width, tutored)
    for claim, value in claims(summaries["planted"], tutored):
        print(f"figure {claim}: {value:.3f}")
    return 0


def _say(begun: float, what: str) -> None:
    print(f"{time.perf_counter() - begun:5.0f} s  {what} done", flush=True)


if __name__ == "__main__":
    sys.exit(main())
