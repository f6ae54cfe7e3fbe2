"""The settings of training that a project leaves out: each by a rule of how much there is to learn.

Nothing here loads torch. docs/training.md states the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, log2, sqrt
from typing import Any

VERSION = 1  # of these rules: what other ones chose is trained again

MONITOR = "overall/log_loss"
NARROWEST, WIDEST = 16, 128
MOST_WEIGHTS = 2**22  # of all slices' transforms, each of width by width
STEPS = 4_000  # that training may take, ...
FEWEST_EPOCHS, MOST_EPOCHS = 3, 50  # ... in so many epochs
PATIENCE, PATIENT_STEPS = 5, 150  # epochs, and steps, without a better one
WORDS = {"kind": "bag_of_words"}  # the features of a text
BASES = {"tabular": "tabular_mlp"}  # by the features' kind; "mlp" for all others
LEARNING_RATES = {"adam": 0.001, "adamw": 0.001, "adamax": 0.002, "sgd": 0.01}
_BATCH, _WIDTH = 64, 64  # of which these are
HELD_OUT, FEWEST_HELD_OUT = 0.1, 50  # the share, and rows, that are held out of training rows
FEWEST_ROWS = 20  # of fewer, none is held out


def width(rows: int, slices: int) -> int:
    """Return a base's width: the power of two next to twice the root of the rows, in bounds.

    Parameters
    ----------
    rows
        Training rows.
    slices
        Slices; each one has a transform of width by width.

    Examples
    --------
    >>> width(1_500, 5), width(50_000, 5), width(10, 5), width(10**9, 5), width(50_000, 1_000)
    (64, 128, 16, 128, 64)
    """
    wanted = round(log2(2 * sqrt(max(rows, 1))))
    most = int(log2(sqrt(MOST_WEIGHTS / (slices + 1))))
    return max(min(1 << min(wanted, max(most, 0)), WIDEST), NARROWEST)


def learning_rate(optimizer: str, batch_size: int, width: int) -> float:
    """Return an optimizer's learning rate: smaller of a wide network, larger of large batches.

    Examples
    --------
    >>> learning_rate("adam", 64, 64), learning_rate("sgd", 256, 16)
    (0.001, 0.04)
    """
    return LEARNING_RATES[optimizer] * sqrt(batch_size / _BATCH * _WIDTH / width)


def epochs(rows: int, batch_size: int) -> int:
    """Return how many epochs are trained at most: those of 4,000 steps, but 3 to 50.

    Examples
    --------
    >>> epochs(1_500, 64), epochs(30_000, 64), epochs(10**6, 64)
    (50, 9, 3)
    """
    return min(max(ceil(STEPS / _steps(rows, batch_size)), FEWEST_EPOCHS), MOST_EPOCHS)


def patience(rows: int, batch_size: int) -> int:
    """Return after how many epochs without a better one training stops: 150 steps, 5 at least.

    Examples
    --------
    >>> patience(353, 64), patience(30_000, 64)
    (25, 5)
    """
    return max(PATIENCE, ceil(PATIENT_STEPS / _steps(rows, batch_size)))


def held_out_share(rows: int) -> float:
    """Return the share of training rows that choose the epoch where there is no valid split.

    Examples
    --------
    >>> held_out_share(10_000), held_out_share(400), held_out_share(60), held_out_share(19)
    (0.1, 0.125, 0.5, 0.0)
    """
    if rows < FEWEST_ROWS:
        return 0.0
    return min(max(HELD_OUT, FEWEST_HELD_OUT / rows), 0.5)


def stops_early(settings: Mapping[str, Any]) -> bool:
    """Tell whether training ends where the valid rows' log loss does: no length is set."""
    return settings["n_epochs"] is None and settings["n_steps"] is None


def chosen(settings: Mapping[str, Any], rows: int, slices: int) -> dict[str, Any]:
    """Return the settings that are left out, as rules have them; those that are set stay.

    Parameters
    ----------
    settings
        A project's ``classifier``; None is what is left out.
    rows, slices
        Training rows, without those held out, and slices.

    Examples
    --------
    >>> unset = dict.fromkeys(["base", "lr", "n_epochs", "n_steps", "monitor", "patience"])
    >>> of = {**unset, "features": {"kind": "tfidf"}, "optimizer": "adam", "batch_size": 64}
    >>> chosen(of, 1_500, 5)["base"]
    {'kind': 'mlp', 'width': 64}
    >>> chosen({**of, "n_epochs": 2, "base": {"kind": "mlp", "width": 8}}, 1_500, 5)
    {'lr': 0.0028284271247461905}
    """
    batch, base = settings["batch_size"], settings["base"]
    values: dict[str, Any] = {"features": settings["features"] or WORDS}
    if base is None or "width" not in base:
        kind = BASES.get(values["features"]["kind"], "mlp")
        values["base"] = {**(base or {"kind": kind}), "width": width(rows, slices)}
    if settings["lr"] is None:
        wide = values.get("base", base)["width"] or WIDEST
        values["lr"] = learning_rate(settings["optimizer"], batch, wide)
    if stops_early(settings):
        values["n_epochs"] = epochs(rows, batch)
        values["monitor"] = settings["monitor"] or MONITOR
        values["patience"] = settings["patience"] or patience(rows, batch)
    return {name: value for name, value in values.items() if value != settings[name]}


def _steps(rows: int, batch_size: int) -> int:
    return max(ceil(rows / batch_size), 1)
